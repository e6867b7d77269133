"""Bad input that must be tried: options of both programs, HTTP that two parsers could read differently, rubbish on every port."""
import os
import re
import time

from .harness import AS_PROXY, CLOSED, NO_CAPABILITY, case, check_answer, expect, request, run, took
from .http1 import in_two
from .init import nothing_installed, said

# Options

INIT_OPTIONS = {
    "unknown": ("--no-such-option", None), "unknown close": ("--inbound-prt", None), "missing value": ("--inbound-port", None),
    "port 0": ("--inbound-port", "0"), "port 65536": ("--outbound-port", "65536"), "port word": ("--admin-port", "http"),
    "port negative": ("--inbound-port", "-1"), "range reversed": ("--skip-inbound-ports", "80-79"),
    "range open": ("--skip-outbound-ports", "80-"), "list hole": ("--inbound-ports", "80,,81x"),
    "list 0": ("--skip-inbound-ports", "0-10"),
    "prefix 33": ("--skip-subnets", "10.0.0.0/33"), "prefix 129": ("--skip-subnets", "fd00::/129"),
    "subnet word": ("--skip-subnets", "10.0.0/8x"), "duration unit": ("--close-wait-timeout", "5"),
    "duration negative": ("--close-wait-timeout", "-1s"), "duration day": ("--close-wait-timeout", "1d"),
    "duration overflow": ("--close-wait-timeout", "999999999h"), "duration empty part": ("--close-wait-timeout", "1h2"),
    "uid": ("--proxy-uid", "nobody-at-all-here"), "uid overflow": ("--proxy-uid", "99999999999"),
    "gid": ("--proxy-gid", "no-such-group"),
    "families": ("--ip-families", "ipx"), "conntrack state": ("--conntrack-timeout", "sleeping=1h"),
    "conntrack form": ("--conntrack-timeout", "established"), "conntrack value": ("--conntrack-timeout", "established=5"),
    "interface": ("--skip-interfaces", "a-name-far-too-long-for-linux"), "format": ("--log-format", "xml"),
    "level": ("--log-level", "loud"),
    "linkerd seconds": ("--timeout-close-wait-secs", "1h"),
}


def refused(done, option, value):
    """One sentence that names the option as given and the value; exit 64."""
    text = said(done).strip()
    expect(done.returncode == 64, f"exit {done.returncode}, expected 64: {text[:300]}")
    expect(option in text, f"{option} is not named: {text[:300]}")
    if value is not None:
        named = [part for part in re.split("[,=]", value) if part and part in text]
        expect(named, f"the value {value} is not named: {text[:300]}")
    expect(len(text.splitlines()) <= 2, f"more than a sentence: {text[:300]}")


def arguments(option, value):
    return [option] if value is None else [f"{option}={value}"]


@case(each=INIT_OPTIONS)
def init_option(pod, given):
    """lapse-init refuses a bad option: exit 64, option and value named, nothing applied."""
    refused(pod.init(*arguments(*given), exit_code=64), *given)
    nothing_installed(pod)


@case(each={name: INIT_OPTIONS[name] for name in ("port 0", "duration day", "prefix 33", "range reversed")})
def init_environment(pod, given):
    """lapse-init refuses a bad value from the environment in the same way, naming the variable."""
    option, value = given
    variable = "LAPSE_" + option[2:].replace("-", "_").upper()
    refused(pod.init(exit_code=64, environment={variable: value}), variable, value)
    nothing_installed(pod)


@case()
def init_contradictions(pod):
    """lapse-init refuses options that contradict each other: an IPv4 subnet with IPv6 only, one port twice, an unknown command."""
    refused(pod.init("--ip-families", "ipv6", "--skip-subnets", "10.0.0.0/8", exit_code=64), "--skip-subnets", "10.0.0.0/8")
    refused(pod.init("--inbound-port", "4140", exit_code=64), "--inbound-port", "4140")
    refused(pod.init("instal", exit_code=64), "instal", None)
    nothing_installed(pod)


PROXY_OPTIONS = {
    "unknown": ("--no-such-option", None), "unknown timeout": ("--timeout-nothing", None),
    "missing value": ("--inbound-port", None),
    "port 0": ("--inbound-port", "0"), "port 65536": ("--outbound-port", "65536"), "admin": ("--admin", "127.0.0.1:65536"),
    "admin form": ("--admin", "localhost"), "workers": ("--workers", "-1"), "workers word": ("--workers", "many"),
    "duration unit": ("--timeout-request", "5"), "duration negative": ("--timeout-idle-connection", "-1s"),
    "duration day": ("--timeout-tcp-idle", "1d"), "duration overflow": ("--timeout-half-close", "999999999h"),
    "drain alias": ("--drain-timeout", "soon"), "opaque ports": ("--opaque-ports", "80-79"), "size": ("--max-head-size", "64QiB"),
    "size 0": ("--max-head-fields", "0"), "grace": ("--detect-grace", "20"), "keepalive": ("--keepalive-idle", "60"),
    "format": ("--log-format", "xml"), "level": ("--log-level", "loud"), "connections": ("--max-connections", "-5"),
}


def proxy(pod, *given, environment=None):
    return pod.inside.run(AS_PROXY + [pod.context.proxy, *given], check=False, timeout=5, env=pod.context.environment(environment))


@case(each=PROXY_OPTIONS)
def proxy_option(pod, given):
    """lapse-proxy refuses a bad option: exit 64, option and value named."""
    refused(proxy(pod, *arguments(*given)), *given)


@case()
def proxy_environment(pod):
    """lapse-proxy refuses a bad value from the environment, naming the variable."""
    for variable, value in (("LAPSE_TIMEOUT_REQUEST", "5"), ("LAPSE_INBOUND_PORT", "0"), ("LAPSE_TIMEOUT_STREAM_IDLE", "1d")):
        refused(proxy(pod, environment={variable: value}), variable, value)


@case()
def proxy_contradictions(pod):
    """lapse-proxy refuses two listeners on one port, names the option one must have meant, and says what it cuts or cannot have."""
    for given, words in ((("--inbound-port", "4140"), "--inbound-port and --outbound-port are both 4140"),
                         (("--admin", "127.0.0.1:4143"), "--inbound-port and --admin are both 4143"),
                         (("--admin", "127.0.0.1:4140"), "--outbound-port and --admin are both 4140"),
                         (("--idle-timeout", "5s"), "did you mean --timeout-idle-connection?")):
        done = proxy(pod, *given)
        expect(done.returncode == 64 and words in said(done), f"{given}: exit {done.returncode}: {said(done)}")
    done = pod.inside.run([*AS_PROXY, pod.context.proxy, "--inbound-port", "80"], check=False, env=pod.context.environment())
    expect(done.returncode == 1 and "ports under 1024" in said(done) and "ip_unprivileged_port_start" in said(done), said(done))


@case()
def proxy_notes_at_start(pod):
    """lapse-proxy starts beside a Service called lapse-admin and a misspelt variable, and says so; --max-connections is cut to what can be."""
    pod.start("--max-connections", "100000000", environment={
        "LAPSE_ADMIN_PORT": "tcp://10.96.7.7:80", "LAPSE_INBOUND_PORT": "tcp://10.96.7.7:80", "LAPSE_IDLE_TIMEOUT": "5s"})
    pod.line("made by Kubernetes for a Service, and not read: .*LAPSE_INBOUND_PORT", level="warn")
    pod.line(r"LAPSE_IDLE_TIMEOUT \(did you mean LAPSE_TIMEOUT_IDLE_CONNECTION\?\)", level="warn")
    pod.line("--max-connections 100000000 is cut to [0-9]+, as many as the limit of [0-9]+ open files carries", level="warn")
    pod.app()
    pod.dial().ask()


@case()
def help_and_version(pod):
    """--help, --version and version work for both programs without any right."""
    for program in (pod.context.init, pod.context.proxy):
        text = run(NO_CAPABILITY + [program, "--help"]).stdout
        expect("--inbound-port" in text and len(text) > 500, f"--help says {text[:200]!r}")
        expect(re.search(r"\d+\.\d+", run(NO_CAPABILITY + [program, "--version"]).stdout), "--version shows no version")
    text = proxy(pod, "--help").stdout
    for name in ("request", "backend-request", "stream-idle", "request-headers", "idle-connection", "tcp-idle", "half-close",
                 "connect", "detect", "server-idle", "unacknowledged", "max-connection", "drain"):
        expect(f"--timeout-{name}" in text, f"--timeout-{name} is not in --help")


# HTTP that is refused. Each is sent whole, and split in two at every byte.

INVALID, AMBIGUOUS, EITHER = ("request_invalid",), ("request_ambiguous",), ("request_invalid", "request_ambiguous")


def head(*fields, start="POST / HTTP/1.1", host="Host: a"):
    return "\r\n".join([start, *([host] if host else []), *fields, "", ""]).encode("latin-1")


CHUNKED = "Transfer-Encoding: chunked"
HEADS = {
    "length and chunked": (head("Content-Length: 3", CHUNKED), AMBIGUOUS),
    "chunked and length": (head(CHUNKED, "Content-Length: 3"), AMBIGUOUS),
    "two lengths": (head("Content-Length: 3", "Content-Length: 4"), AMBIGUOUS),
    "length list": (head("Content-Length: 3, 4"), EITHER),
    "length sign": (head("Content-Length: +3"), EITHER),
    "length negative": (head("Content-Length: -3"), EITHER),
    "length hex": (head("Content-Length: 0x3"), EITHER),
    "length overflow": (head("Content-Length: 99999999999999999999"), EITHER),
    "length empty": (head("Content-Length: "), EITHER),
    "coding not chunked": (head("Transfer-Encoding: gzip"), AMBIGUOUS + INVALID),
    "chunked not last": (head("Transfer-Encoding: chunked, gzip"), EITHER),
    "chunked in two": (head("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), EITHER),
    "chunked twice": (head("Transfer-Encoding: chunked, chunked"), EITHER),
    "coding disguised": (head("Transfer-Encoding: \x0bchunked"), EITHER),
    "coding quoted": (head("Transfer-Encoding: \"chunked\""), EITHER),
    "coding prefix": (head("Transfer-Encoding: xchunked"), EITHER),
    "coding in 1.0": (head(CHUNKED, start="POST / HTTP/1.0"), EITHER),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", INVALID),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", INVALID),
    "bare LF in fields": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", INVALID),
    "CR for CRLF": (b"GET / HTTP/1.1\rHost: a\r\r", INVALID),
    "NUL in value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", INVALID),
    "NUL in name": (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", INVALID),
    "folded": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", INVALID),
    "folded with tab": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", INVALID),
    "space before colon": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\n", INVALID),
    "space before first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", INVALID),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", INVALID),
    "empty name": (b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", INVALID),
    "target with control byte": (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", INVALID),
    "target with space": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", INVALID),
    "no target": (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", INVALID),
    "no version": (b"GET /\r\nHost: a\r\n\r\n", INVALID),
    "version 2": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", INVALID),
    "version 1.11": (b"GET / HTTP/1.11\r\nHost: a\r\n\r\n", INVALID),
    "version case": (b"GET / http/1.1\r\nHost: a\r\n\r\n", INVALID),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", INVALID),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", EITHER),
}
BODIES = {
    "size overflow": b"FFFFFFFFFFFFFFFFF\r\nx", "size word": b"xyz\r\n", "size empty": b"\r\nabc", "size sign": b"-1\r\n",
    "size hex prefix": b"0x3\r\nabc\r\n", "bare LF after size": b"3\nabc\r\n", "no CRLF after chunk": b"3\r\nabcd\r\n",
    "bare LF after chunk": b"3\r\nabc\n0\r\n\r\n", "extension with NUL": b"3;a\0b\r\nabc\r\n",
    "extension with bare CR": b"3;a\rb\r\nabc\r\n",
    "trailer folded": b"0\r\nX: a\r\n b\r\n\r\n", "trailer without colon": b"0\r\nnonsense\r\n\r\n",
}


def all_refused(pod, peers, reasons, message):
    for at, peer in enumerate(peers):
        try:
            response = peer.response()
        except Exception as error:
            raise AssertionError(f"split {at} of {message!r}: {error}") from error
        reason = response.get("lapse-reason")
        expect(response.status == 400 and reason in reasons, f"split {at} of {message!r}: {response.start} {reason}")
        check_answer(response, 400, reason, closes=True)
        peer.ends("fin")
        peer.close()


@case(each=HEADS)
def refused_head(pod, what):
    """A request that two parsers could read differently, whole and split at every byte: 400, close, nothing forwarded."""
    message, reasons = what
    app = pod.app()
    pod.start("--on-malformed-http", "refuse")
    whole = pod.dial()
    whole.send(message)
    all_refused(pod, [whole, *in_two(pod, message)], reasons, message)
    expect(all(record["phase"] == "head" for record in pod.proxy.records(CLOSED)), "wrong phase")
    expect(not any(peer.received for peer in app.peers), "bytes of it reached the server")


@case(each=BODIES)
def refused_body(pod, broken):
    """A chunked body that is broken, split at every byte of it: refused, the server never sees a complete request."""
    complete = []

    def serve(peer):
        peer.request()
        complete.append(peer)
    app = pod.app(serve)
    pod.start("--on-malformed-http", "refuse")
    start = head(CHUNKED) + b"2\r\nok\r\n"
    peers = [pod.dial() for _ in range(len(broken) - 1)]
    for at, peer in enumerate(peers, 1):
        peer.send(start + broken[:at])
    time.sleep(0.02)
    for at, peer in enumerate(peers, 1):
        try:
            peer.send(broken[at:])
        except OSError:
            pass
    for peer in peers:
        response = peer.response()
        check_answer(response, 400, "request_invalid", closes=True)
    for number in range(app.count):
        app.ended(number)
    expect(not complete, f"the server took {len(complete)} requests for complete")


@case()
def chunk_extensions(pod):
    """Chunk extensions of more than 1 KiB in one message, in one chunk or many: refused."""
    pod.app(lambda peer: peer.request())
    pod.start("--on-malformed-http", "refuse")
    for body in (b"1;" + b"e" * 1100 + b"\r\nx\r\n", b"1;eeeeeeeeee\r\nx\r\n" * 120):
        peer = pod.dial()
        peer.send(head(CHUNKED) + body)
        response = peer.response()
        check_answer(response, response.status, response.get("lapse-reason"), closes=True)
        expect(response.status in (400, 431), f"{response.start}")


@case()
def refused_later(pod):
    """An invalid request on a connection that served valid ones: 400 and close; an unknown method is none."""
    app = pod.app()
    pod.start("--on-malformed-http", "refuse")
    for bad in (HEADS["two hosts"][0], b"NONSENSE / HTTP/1.1\r\nHost : a\r\n\r\n", b"NON(SENSE / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x00\x01\x02\r\n\r\n"):
        peer = pod.dial()
        peer.ask()
        peer.ask("NONSENSE")
        peer.send(bad)
        response = peer.response()
        expect(response.status == 400 and response.get("lapse-reason") in EITHER, f"{response.start}")
        expect("byte 0 " not in response.get("lapse-detail"), response.get("lapse-detail"))
        peer.ends("fin")
    pod.record(reason="request_invalid", requests=lambda count: count >= 1)
    expect(app.count <= 4, "an invalid request reached the server")


@case()
def smuggling(pod):
    """What follows a refused request on the same connection is never served."""
    seen = []
    pod.app(lambda peer: [seen.append(message.target) for message in iter(peer.request, None)])
    pod.start("--on-malformed-http", "refuse")
    for fields in (("Content-Length: 3", CHUNKED), ("Content-Length: 0", "Content-Length: 5"), ("Transfer-Encoding: chunked, x",)):
        peer = pod.dial()
        peer.send(head(*fields) + b"0\r\n\r\n" + request("GET", "/smuggled"))
        expect(peer.response().status == 400, "not refused")
        ended, data = peer.end()
        expect(not data, f"served more: {data[:100]!r}")
    expect(not seen, f"the server saw {seen}")


# Rubbish and slowness

@case()
def garbage_on_both_listeners(pod):
    """Random bytes, redirected to both listeners and sent to them directly: every connection has its record, the proxy lives."""
    pod.app(lambda peer: peer.all())
    pod.app(lambda peer: peer.all(), host=pod.server)
    pod.start("--on-malformed-http", "refuse")
    lengths = (1, 2, 3, 5, 17, 100, 1000, 70000)
    for length in lengths:
        for first in (b"", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n", b"GET ", b"\0" * 4):
            data = first + os.urandom(length)
            for host, address, port in ((pod.client, pod.inside.v4, 8080), (pod.inside, pod.server.v4, 8080),
                                        (pod.client, pod.inside.v4, 4143), (pod.client, pod.inside.v4, 4140)):
                try:
                    with pod.dial(port, address, host) as peer:
                        peer.send(data).fin()
                        peer.end(0.01)
                except OSError:
                    pass
    pod.all_recorded()


@case()
def log_injection(pod):
    """Control bytes and quotes from outside never reach the log raw."""
    pod.app(lambda peer: peer.all())
    pod.start("--on-malformed-http", "refuse", "--log-paths")
    for data in (b"GET /\n\"level\":\"error\" HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
                 b"GET /\xff\xfe HTTP/1.1\r\nHost: \"a\\\r\n\r\n"):
        with pod.dial() as peer:
            peer.send(data).fin()
            peer.end(0.3)
    pod.all_recorded()
    for line in pod.proxy.text:
        expect(line.isprintable(), f"raw bytes in {line!r}")


@case()
def a_byte_at_a_time(pod):
    """A client that sends its head byte by byte for ever is ended by requestHeaders, and does not disturb others."""
    pod.app()
    pod.start(request_headers="1500ms")
    slow = pod.dial()
    with took(1.5):
        for number in range(40):
            slow.send(b"GET / HTTP/1.1\r\nHost: "[number:number + 1] or b"a")
            pod.dial().ask()
            if slow.wait(0.1):
                break
        check_answer(slow.response(), 408, "header_timeout", closes=True)
    pod.record(reason="header_timeout", timer="requestHeaders")


@case()
def thousands_of_short_connections(pod):
    """Three thousand connections that come and go in every way: every one has its record; no descriptor, no memory is left."""
    pod.app()
    pod.start("--on-malformed-http", "refuse")
    private = []
    for _ in range(3):
        for number in range(1000):
            peer = pod.dial()
            if number % 5:
                peer.send((b"G", request(), b"\0", b"GET / HTTP/1.1\r\n")[number % 4])
            (peer.rst if number % 3 else peer.close)()
        pod.all_recorded(within=15)
        private.append(pod.proxy.private_kib())
    # A leaked connection would be half a KiB or more; tables that fill once (of log lines, of ports) are less than 600 KiB.
    expect(private[2] - private[0] < 600 or pod.context.sanitize, f"private memory grows, KiB after each thousand: {private}")
