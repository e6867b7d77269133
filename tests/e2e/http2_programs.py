"""Real programs that speak HTTP/2, with the proxy in between as without it: nghttp, nghttpd, h2load, curl, nginx, HAProxy, gRPC."""
import importlib.util
import json
import os
import re

from .harness import CLOSED, DEAD_PORTS_TOO, Failure, black_hole, case, expect, until
from .peers import curl, needs, nginx, wait_listening

WAYS = ("in4", "out6")
ONE, OTHER = 8080, 8081
KNOWS = "--http2-prior-knowledge"
# A server of HTTP/2 speaks at once too: a client that is late on a busy machine must not be taken for one that waits to be spoken to.
WAITS = ("--detect-grace", "5s")


def url(pod, path="/", port=ONE, address=None):
    address = address or pod.address
    return f"http://{f'[{address}]' if ':' in address else address}:{port}{path}"


def nghttpd(pod, *options, port=ONE):
    """nghttpd where this way's apps are: a page and a file of 3 MiB."""
    needs("nghttpd")
    root = f"{pod.scratch}/www"
    if not os.path.isdir(root):
        os.makedirs(root)
        with open(f"{root}/index.html", "w") as file:
            file.write("welcome\n")
        with open(f"{root}/big", "wb") as file:
            file.write(os.urandom(3 << 20))
    pod.spawn(pod.far, ["nghttpd", "--no-tls", "-d", root, *options, str(port)], name=f"nghttpd{port}")
    wait_listening(pod.far, port)
    return root


def said(pod, host, command, within=30):
    """(exit code, output) of a program."""
    pod.uncounted()
    done = host.run(command, check=False, timeout=within)
    return done.returncode, done.stdout + done.stderr


def timeless(text):
    """nghttp's and h2load's words without what differs from run to run: instants, ports, dates."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return sorted(re.sub(r"^\[ *[\d.]+\] ", "", line) for line in text.splitlines() if not re.search(r"(?i)date:|last-modified|Connected|recv \(|^ *$", line))


# nghttp, nghttpd, h2load, curl.

NGHTTP = {"one": ("-nv",), "twenty": ("-n", "-m20", "-v"), "padded": ("-nv", "-b255"), "continuation": ("-nv", "--continuation"),
          "upload": ("-nv", "-d", "FILE"), "upload padded": ("-nv", "-d", "FILE", "-b", "100"), "small windows": ("-nv", "-w", "12", "-W", "16"),
          "small table": ("-nv", "-c", "0", "-m", "3"), "encoder's table": ("-nv", "--encoder-header-table-size", "100", "-m", "3"),
          "trailers": ("-nv", "--trailer", "x-check: 1", "-d", "FILE"), "upgrade": ("-nuv",), "huge head": ("-nv", "-H", "x-long: " + "x" * 20000),
          "expect": ("-nv", "--expect-continue", "-d", "FILE"), "no push": ("-nv", "--no-push")}


@case(ways=WAYS, each=NGHTTP)
def nghttp_and_nghttpd(pod, options):
    """nghttp to nghttpd: every frame that nghttp tells of is the same as without us."""
    needs("nghttp")
    root = nghttpd(pod, "--push=/=/big", "--trailer=x-trailer: 1", "-b", "7")
    pod.start(*WAITS)
    path = f"{pod.scratch}/upload"
    with open(path, "wb") as file:
        file.write(b"u" * 10000)
    words = ["nghttp", *(path if word == "FILE" else word for word in options)]
    direct, through = (said(pod, host, [*words, url(pod)]) for host in (pod.far, pod.near))
    expect(direct[0] == through[0] == 0, f"exit {direct[0]} direct, {through[0]} through: {through[1][-300:]}")
    wrong = set(timeless(direct[1])) ^ set(timeless(through[1]))
    # How much came in one DATA frame hangs on the moment, and whether the last acknowledgement is still sent.
    wrong = [line for line in wrong if not re.search(r"(DATA|WINDOW_UPDATE) frame|window_size_increment|^ *;|\(padlen|send SETTINGS frame <length=0", line)]
    expect(not wrong, f"differs: {sorted(wrong)[:6]}")
    os.stat(root)
    pod.record(protocol=re.compile("http/1.1" if "-nuv" in options else "http/2"), msg=CLOSED)


@case(ways=("in4", "out4"))
def nghttp_fetches(pod):
    """nghttp fetches a file of 3 MiB through small frames and windows: the same bytes."""
    root = nghttpd(pod)
    pod.start(*WAITS)
    for options in ((), ("-w", "10"), ("-b", "200")):
        code, got = 0, None
        pod.uncounted()
        with open(f"{pod.scratch}/got", "wb") as into:
            process = pod.near.popen(["nghttp", *options, url(pod, "/big")], stdout=into)
            code = process.wait(30)
        with open(f"{pod.scratch}/got", "rb") as file:
            got = file.read()
        with open(f"{root}/big", "rb") as file:
            expect(code == 0 and got == file.read(), f"{options}: exit {code}, {len(got)} bytes")


LOADS = {"many streams": ("-n", "20000", "-c", "4", "-m", "100"), "one at a time": ("-n", "2000", "-c", "8", "-m", "1"),
         "1,000 streams": ("-n", "10000", "-c", "1", "-m", "1000"), "tables off": ("-n", "2000", "-c", "4", "-m", "10", "--header-table-size", "0")}


@case(ways=WAYS, each=LOADS, weight=2)
def h2load(pod, options):
    """h2load to nghttpd: every request succeeds, and each connection has its record."""
    needs("h2load")
    nghttpd(pod, "-m", "1000")
    pod.start(*WAITS)
    code, text = said(pod, pod.near, ["h2load", *options, "-H", "x-some: field of some length", url(pod)], within=50)
    number = options[1]
    expect(code == 0 and f"{number} succeeded, 0 failed, 0 errored, 0 timeout" in text, f"exit {code}: {text[-500:]}")
    until(lambda: len(pod.proxy.records(CLOSED)) >= int(options[3]), "records are missing")
    expect({record["protocol"] for record in pod.proxy.records(CLOSED)} == {"http/2"}, "not recognised")


@case(ways=WAYS)
def curl_downloads(pod):
    """curl with prior knowledge to nginx: a page and a large file. (curl 7.88 cannot use such a connection twice.)"""
    root = nginx(pod, listen="http2")
    pod.start(*WAITS)
    expect(curl(pod, KNOWS, "URL/", "-w", "%{http_version}") == "welcome\n2", "wrong page")
    curl(pod, KNOWS, "-o", f"{root}/got", "URL/big")
    with open(f"{root}/got", "rb") as got, open(f"{root}/html/big", "rb") as big:
        expect(got.read() == big.read(), "the file arrived changed")


@case(ways=WAYS)
def curl_uploads(pod):
    """curl with prior knowledge to nghttpd, which echoes: uploads with and without length, and a method without a body."""
    root = nghttpd(pod, "--echo-upload")
    pod.start(*WAITS)
    for options in (["-T", f"{root}/big"], ["--data-binary", f"@{root}/big"], ["-T", f"{root}/big", "-H", "Content-Length:"]):
        curl(pod, KNOWS, "-o", f"{root}/got", *options, "URL/")
        with open(f"{root}/got", "rb") as got, open(f"{root}/big", "rb") as big:
            expect(got.read() == big.read(), f"{options[0]}: it came back changed")
    expect(curl(pod, KNOWS, "-I", "URL/").startswith("HTTP/2 200"), "HEAD was answered otherwise")


@case(ways=WAYS)
def haproxy_server(pod):
    """HAProxy as the server, h2c in front: pages, uploads and streams at once."""
    needs("haproxy", "h2load")
    path = f"{pod.scratch}/haproxy.cfg"
    with open(path, "w") as file:
        file.write("global\n  nbthread 1\ndefaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 1s\n"
                   "frontend f\n  bind :::8080 v4v6 proto h2\n"
                   "  http-request return status 200 content-type text/plain string \"welcome\\n\"\n")
    pod.spawn(pod.far, ["haproxy", "-db", "-f", path], name="haproxy")
    wait_listening(pod.far, ONE)
    pod.start(*WAITS)
    expect(curl(pod, KNOWS, "URL/", "-w", "%{http_version}") == "welcome\n2", "wrong page")
    code, text = said(pod, pod.near, ["h2load", "-n", "3000", "-c", "3", "-m", "50", url(pod)])
    expect(code == 0 and "3000 succeeded, 0 failed" in text, text[-400:])


@case(ways=("in4", "out4"))
def curl_refused(pod):
    """curl with prior knowledge to a port without an app ends as at a reset, with nothing received."""
    pod.start(*WAITS, init=DEAD_PORTS_TOO)
    code, text = said(pod, pod.near, ["curl", "-sS", KNOWS, url(pod, port=9)])
    expect(code in (16, 52, 55, 56), f"exit {code}: {text}")
    pod.record(reason="connect_refused", protocol="http/2", msg=CLOSED)


# gRPC.

CALLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "harness/grpc_calls.py")
OFTEN = (".keepalive_time_ms=150", ".keepalive_permit_without_calls=1", ".http2.max_pings_without_data=0")
SCENARIOS = {
    "unary": ("unary", (), ()), "1 MB": ("big", (), ()), "statuses": ("missing", (), ()), "streamings": ("streams", (), ()),
    "deadlines": ("deadline", (), ()), "cancellation": ("cancel", (), ()), "1,000 streams": ("many", (), ()),
    "too many pings": ("pinging", (".http2.min_ping_interval_without_data_ms=300000",), OFTEN),
    "pings allowed": ("cancel", (".http2.min_ping_interval_without_data_ms=10", ".http2.max_ping_strikes=0"), OFTEN),
    "server pings": ("streams", (".keepalive_time_ms=100", ".http2.max_pings_without_data=0"), ()),
    "connection age": ("patient", ("age=1", "grace=5"), ()),
}


def grpc_server(pod, *options, port=ONE, host=None):
    expect(importlib.util.find_spec("grpc"), "python3-grpcio is not installed; make deps installs it")
    pod.spawn(host or pod.far, ["/usr/bin/python3", CALLS, "serve", str(port), *options], name=f"grpc{port}")
    wait_listening(host or pod.far, port)


def grpc_call(pod, host, scenario, *options, target=None, within=55):
    target = target or (f"ipv6:[{pod.address}]:{ONE}" if ":" in pod.address else f"ipv4:{pod.address}:{ONE}")
    pod.uncounted()
    done = host.run(["/usr/bin/python3", CALLS, "call", target, scenario, *options], check=False, timeout=within)
    if done.returncode != 0:
        raise Failure(f"{scenario}: exit {done.returncode}: {done.stderr[-400:]}")
    return json.loads(done.stdout), done.stderr


@case(ways=WAYS, each=SCENARIOS, limit=120)
def grpc(pod, row):
    """grpcio on both sides: every call comes to the same as without us, word for word."""
    scenario, server, client = row
    grpc_server(pod, *server)
    pod.start(*WAITS)
    direct, through = (grpc_call(pod, host, scenario, *client) for host in (pod.far, pod.near))
    expect(direct[0] == through[0], f"direct {str(direct[0])[:300]}, through the proxy {str(through[0])[:300]}")
    if "pinging" in row:
        expect(through[0] == {"status": "UNAVAILABLE", "details": "Too many pings"}, f"{through[0]}")
        for each in (direct, through):
            expect('ENHANCE_YOUR_CALM and debug data equal to "too_many_pings"' in each[1], f"stderr: {each[1][-300:]}")
    if scenario == "patient":
        expect(through[0] == [0, "OK"], f"calls lost: {through[0]}")
    if scenario == "many":
        expect(through[0] == {"OK": 1000}, f"{through[0]}")
    until(lambda: pod.proxy.records(CLOSED), "no record")
    expect({record["protocol"] for record in pod.proxy.records(CLOSED)} <= {"http/2", "undetected"}, "not recognised")


@case(ways=("in4", "out4"), limit=120)
def grpc_first_address_refuses(pod):
    """A client whose first address refuses tries the next one: 50 of 50 calls succeed, as without us."""
    grpc_server(pod, port=OTHER)
    pod.start(*WAITS, init=DEAD_PORTS_TOO)
    target = f"ipv4:{pod.address}:9,{pod.address}:{OTHER}"
    found, _ = grpc_call(pod, pod.near, "failover", target=target)
    expect(found == 50, f"{found} of 50 calls")
    pod.record(reason="connect_refused", by="server", protocol=("http/2", "undetected"), msg=CLOSED)


@case(ways=("out4",), limit=120)
def grpc_first_address_is_a_black_hole(pod):
    """The same with a first address that swallows what it is sent: `connect` ends it by RST, and the next one is tried."""
    grpc_server(pod, port=OTHER)
    pod.start(*WAITS, connect="100ms")
    with pod.server.ruled(black_hole()):
        found, _ = grpc_call(pod, pod.near, "failover", target=f"ipv4:{pod.address}:9,{pod.address}:{OTHER}")
    expect(found == 50, f"{found} of 50 calls")
    pod.record(reason="connect_timeout", timer="connect", protocol=("http/2", "undetected"), msg=CLOSED)


@case(ways=WAYS)
def grpc_cancels_reach_the_server(pod):
    """A call that its client cancels, or whose deadline passes, ends at the server too, on a connection that lives on."""
    grpc_server(pod)
    pod.start(*WAITS)
    for scenario in ("cancel", "deadline"):
        grpc_call(pod, pod.near, scenario)

    def told(what):
        with open(f"{pod.scratch}/grpc{ONE}.out") as file:
            return file.read().count(what)
    until(lambda: told("forever: begun") == told("forever: ended") >= 1,
          lambda: f"{told('forever: ended')} of {told('forever: begun')} endless calls ended at the server")
