"""The admin listener: what its pages say, what its posts do, and that none of its clients can hurt."""
import contextlib
import html.parser
import json
import os
import re
import socket
import time

from .harness import (BINARY, CLOSED, PodInfo, after, case, check_answer, configured, echo, expect, http, ok, request, route, rule,
                      script, service, silent, took, until, until_reset)
from .scale import ManyApp, ask_all

ADMIN = ("127.0.0.1", 4191)
DEFS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib")


def page(pod, path, *fields, **options):
    """A page that is JSON."""
    response = pod.proxy.ask_admin(path, "GET", *fields, **options)
    expect(response.status == 200 and response.get("content-type") == "application/json",
           f"{path}: {response.start} {response.get('content-type')} {response.body[:200]!r}")
    return json.loads(response.body)


def connections(pod, **parameters):
    """/connections as a value, with these parameters."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return page(pod, f"/connections?{query}", "Accept: */*")


def post(pod, path, *fields, status=200, **options):
    got, body = pod.proxy.admin(path, "POST", *fields, **options)
    expect(got == status, f"POST {path}: {got} {body!r}, expected {status}")
    return body.decode()


def by_target(message):
    """An app: /slow takes three seconds, /part sends a part of its response only."""
    if message.target == "/slow":
        time.sleep(3)
    if message.target == "/part":
        return script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", silent)
    return ok(b"x" * 1000)


# The listener.

@case()
def pages(pod):
    """What there is, is listed; HEAD has no body; wrong methods, parameters, bodies and paths are refused in words."""
    pod.start()
    status, listed = pod.proxy.admin("/nowhere")
    expect(status == 404 and pod.proxy.admin("/") == (200, listed), "no list")
    for path in ("/live", "/ready", "/version", "/metrics", "/config", "/connections", "/half-closed"):
        expect(f"GET  {path} ".encode() in listed, f"{path} is not listed")
        response = pod.proxy.ask_admin(path)
        expect(response.status == 200 and response.body and response.get("connection") == "close", f"{path}: {response.start}")
        with pod.inside.connect(*ADMIN) as peer:
            peer.send(request("HEAD", path, host="localhost"))
            head = peer.all()
        expect(head.startswith(b"HTTP/1.1 200 OK\r\n") and head.endswith(b"\r\n\r\n") and b"content-length: " in head,
               f"HEAD {path}: {head!r}")
        refused = pod.proxy.ask_admin(path, "DELETE")
        expect(refused.status == 405 and refused.get("allow") == "GET, HEAD", f"DELETE {path}: {refused.start}")
    for path in ("/drain", "/shutdown", "/log-level", "/connections/close"):
        expect(f"POST {path} ".encode() in listed, f"{path} is not listed")
        refused = pod.proxy.ask_admin(path)
        expect(refused.status == 405 and refused.get("allow") == "POST", f"GET {path}: {refused.start}")
    for path, words in {"/connections?reason=done": "known are", "/connections?limit=10001": "10000", "/connections?limit=0": "10000",
                        "/connections?sort=size": "deadline or age", "/connections?client=10.0.0": "address",
                        "/connections?stage=asleep": "exchange", "/connections?timer=x": "idleConnection",
                        "/connections?service=web": "NAMESPACE", "/connections?direction=up": "inbound",
                        "/connections?id=-1": "number", "/connections?service=" + "n" * 400: "NAMESPACE",
                        "/config?service=web": "NAMESPACE", "/config?service=a/b:0": "NAMESPACE",
                        "/config?service=a/b:99999": "NAMESPACE", "/connections?%73ort=age": "known are",
                        "/connections?client+server=10.0.0.1": "known are",
                        "/connections?sort=age&limit=1&sort=deadline": "sort is given twice"}.items():
        status, body = pod.proxy.admin(path)
        expect(status == 400 and words in body.decode(), f"{path}: {status} {body!r}")
    expect(pod.proxy.admin("/log-level", "POST", body=b"x" * 4097)[0] == 413, "a body of 4097 bytes")
    expect(pod.proxy.admin("/log-level", "POST", body=b"x" * 4096)[0] == 400, "a body of 4096 bytes")
    expect(pod.proxy.admin("/log-level", "POST", "Transfer-Encoding: chunked")[0] == 411, "a chunked body")
    expect(pod.proxy.admin("/" + "x" * 5000)[0] in (414, 431), "a long target")
    expect(pod.proxy.admin("/live", "GET", *["A: b"] * 100)[0] == 431, "a hundred fields")


@case()
def slow_clients(pod):
    """Two hundred clients that say nothing, half a request, or do not read: admin and traffic are answered at once."""
    pod.app()
    pod.start()
    held = []
    for number in range(200):
        peer = pod.inside.connect(*ADMIN)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        with contextlib.suppress(OSError):  # some are let go already
            peer.send((b"", b"GET /metr", request("GET", "/metrics", host="localhost"), request("POST", "/drain", "Content-Length: 9"))[number % 4])
        held.append(peer)
    pod.dial().ask()
    for path in ("/ready", "/metrics", "/connections"):
        with took(0, late=1.5):
            expect(pod.proxy.admin(path)[0] == 200, f"{path} is not answered")
    with took(0, late=1):
        pod.dial().ask()
    until(lambda: pod.proxy.fds() <= pod.fds_at_start + 70, "more than 64 admin clients are held", within=8, every=0.1)
    for peer in held:
        peer.close()
    expect(pod.proxy.admin("/ready")[0] == 200, "not ready: a post without its body was obeyed")


@case()
def silent_clients_go(pod):
    """A client that does not finish its request, and one that does not take its answer, are let go after five seconds."""
    app = ManyApp(pod.inside.listener(8080))
    pod.start()
    ask_all([pod.dial() for _ in range(1000)])
    quiet = pod.inside.connect(*ADMIN)
    unread = pod.inside.socket(4)
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    unread.connect(ADMIN)
    unread.sendall(request("GET", "/connections?format=html&limit=10000", host="localhost"))
    with took(5):
        quiet.ends("fin")
    time.sleep(0.5)
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := unread.recv(65536):
            got += data
    unread.close()
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    expect(len(body) < length, f"all of the {length} bytes came: the client was waited for")
    app.stop = True


@case()
def descriptors_run_out(pod):
    """Without a descriptor for the admin listener, nothing spins; then it answers again."""
    pod.start("--max-connections", "100")
    pod.limit("nofile", pod.proxy.descriptors() + 8)
    held = [pod.inside.connect(*ADMIN) for _ in range(30)]
    time.sleep(0.3)
    before = pod.proxy.cpu_seconds()
    time.sleep(1)
    expect(pod.proxy.cpu_seconds() - before < 0.2, "it spins")
    for peer in held:
        peer.close()
    expect(pod.proxy.admin("/ready")[0] == 200, "not ready")


@case(each={"IPv4": 4, "IPv6": 6})
def posts_from_elsewhere(pod, family):
    """From another host, what probes and scrapers need is readable and all else refused; so are posts that a browser sends for some
    page, whatever name it uses."""
    pod.start("--admin", "0.0.0.0:4191" if family == 4 else "[::]:4191", init=["--skip-inbound-ports", "4191"])
    address = pod.inside.address(family)
    far = {"host": pod.client, "address": address}
    for path in ("/live", "/ready", "/metrics"):
        expect(pod.proxy.admin(path, **far)[0] == 200, f"GET {path} from elsewhere")
    for path in ("/", "/config", "/connections", "/connections.js", "/half-closed", "/version"):
        for options in (far, {"address": address}):
            status, body = pod.proxy.admin(path, **options)
            expect(status == 403 and b"port-forward" in body and b"/metrics" in body, f"GET {path} from elsewhere: {status} {body!r}")
    for path in ("/drain", "/shutdown", "/log-level?level=off", "/connections/close?direction=inbound"):
        expect("loopback" in post(pod, path, status=403, **far), "no reason given")
        post(pod, path, status=403, address=address)  # its own host, but not by a loopback address
        post(pod, path, "Origin: http://evil.example", status=403)
        post(pod, path, "Origin: null", status=403)
        for name in ("evil.example", "evil.example:4191", "localhost.evil.example", "127.0.0.1.evil.example", "[::1].evil.example", "[]"):
            expect("Host" in post(pod, path, status=403, named_as=name), f"Host: {name}")
    expect(pod.proxy.admin("/ready")[0] == 200, "it drains")
    loopback = {"address": "127.0.0.1" if family == 4 else "::1"}
    expect(post(pod, "/log-level?level=debug", **loopback) == "debug\n", "loopback is refused")
    for name in ("localhost", "LOCALHOST:4191", "127.0.0.1", "[::1]", "[::1]:9", "10.0.0.1:4191"):
        expect(post(pod, "/log-level?level=debug", named_as=name, **loopback) == "debug\n", f"Host: {name} is refused")


@case(each={"IPv4": 4, "IPv6": 6})
def names_answered_to(pod, family):
    """Pages are for requests that name an address, localhost, the pod or an --admin-host; others get 421 and are told of that option."""
    address = "127.0.0.1" if family == 4 else "::1"
    pod.start("--admin", "127.0.0.1:4191" if family == 4 else "[::]:4191", "--admin-host", "web.shop.svc,Targets.example",
              "--admin-host", "third.example", "--cluster-domain", "inner.example")
    own = os.uname().nodename
    pages = ("/", "/live", "/ready", "/metrics", "/config", "/connections", "/connections.js", "/half-closed", "/version", "/nowhere")
    for name in ("10.0.0.1", "10.0.0.1:4191", "[::1]", "[fd00::7]:4191", "localhost:9", "LocalHost", own, f"{own.upper()}:4191", f"{own}.",
                 f"{own}.web.shop.svc.inner.example:4191", "10-1-2-3.shop.pod.inner.example", "fd00--7.shop.pod.inner.example",
                 "web.shop.svc", "WEB.shop.svc.:4191", "targets.example", "third.example"):
        for path in pages:
            got = pod.proxy.ask_admin(path, address=address, named_as=name).status
            expect(got == (404 if path == "/nowhere" else 200), f"{path} as {name}: {got}")
    for name in ("evil.example", "evil.example:4191", "web.shop", "eb.shop.svc", "web.shop.svc,targets.example", f"{own}.evil.example",
                 f"{own}x", f"x.{own}", f"{own}.inner.example", f"{own}.web.shop.svc.cluster.local", "x.web.shop.svc.inner.example",
                 "10-1-2.shop.pod.inner.example", "svc.inner.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1].evil.example",
                 "x" * 300):
        for path in pages:
            status, body = pod.proxy.admin(path, address=address, named_as=name)
            expect(status == 421 and b"--admin-host" in body, f"{path} as {name!r}: {status} {body!r}")
        expect(pod.proxy.admin("/log-level?level=debug", "POST", address=address, named_as=name)[0] == 403, f"POST as {name!r}")
    with pod.inside.connect(address, 4191) as peer:
        peer.send(b"GET /live HTTP/1.0\r\n\r\n")
        expect(peer.response().status == 200, "a request of HTTP/1.0, which needs no Host")
    expect(page(pod, "/config", address=address)["settings"]["admin-host"] == "web.shop.svc,Targets.example third.example", "not in /config")
    pod.stop()
    for value in ("a.example:80", "a,,b", ",a", "a,", "a b", "*.example", "a" * 256, "https://a"):
        result = pod.inside.run([pod.context.proxy, "--admin-host", value], check=False)
        expect(result.returncode == 64 and f'--admin-host: "{value}" is not accepted; give names' in result.stderr, f"{value}: {result}")


# /config

@case()
def config_page(pod):
    """/config: timeouts with value, ms and source; a Service's; documents, warnings, conntrack, settings that differ, version."""
    directory = configured(
        pod, service("web", pod.inside.v4, port=[{"name": "a", "port": 8080}, {"name": "b", "port": 8081}],
                     annotations={"lapse.proxy/timeout-connect": "2s", "lapse.proxy/timeout-request": "soon"}),
        route("web", rule("/")))
    pod.start("--config", directory.path, "--namespace", "shop", "--max-head-size", "32KiB", "--opaque-ports", "3306,9000-9010",
              "--log-paths", idle_connection="90s")
    shown = page(pod, "/config")
    idle, connect = shown["timeouts"]["idleConnection"], shown["timeouts"]["connect"]
    expect(idle == {"value": "1m30s", "ms": 90000, "source": "flag --timeout-idle-connection"}, f"{idle}")
    expect("for about 2 minutes" in connect.pop("cost") and connect == {"value": "5s", "ms": 5000, "source": "built-in"}, f"{connect}")
    with open(f"{DEFS}/timeouts.def") as file:
        expect(list(shown["timeouts"]) == re.findall(r"^TIMEOUT\(\w+, (\w+),", file.read(), re.M), "not every timeout")
    expect(shown["namespace"] == "shop" and shown["draining"] is False, f"{shown}")
    expect(sorted(target["port"] for target in shown["targets"]) == [8080, 8081] and shown["targets_differing"] == 2, f"{shown}")
    for target in shown["targets"]:
        expect(list(target["timeouts"]) == ["connect"] and target["timeouts"]["connect"]["ms"] == 2000, f"what differs: {target}")
        expect("Service default/web" in target["timeouts"]["connect"]["source"], f"{target}")
    expect(shown["version"] in pod.proxy.admin("/version")[1].decode(), "version")
    versions = shown["versions"]
    expect(versions["lapse"] == shown["version"] and versions["kernel"] == os.uname().release, f"{versions}")
    expect(all(re.fullmatch(r"\d+\.\d+(\.\d+)?", versions[name]) for name in ("llhttp", "c-ares", "libyaml", "PCRE2")), f"{versions}")
    documents = shown["documents"]
    expect([os.path.basename(each["path"]) for each in documents["files"]] == ["all.yaml"], f"{documents['files']}")
    expect(documents["files"][0]["bytes"] == documents["bytes"] and documents["objects"] == {"Service": 1, "HTTPRoute": 1}, f"{documents}")
    expect(len(documents["warnings"]) == 1 and "soon" in documents["warnings"][0], f"{documents['warnings']}")
    expect(shown["conntrack"]["timeouts_s"]["close_wait"] == int(pod.inside.sysctl("netfilter/nf_conntrack_tcp_timeout_close_wait")),
           f"{shown['conntrack']}")
    expect(shown["conntrack"]["timeouts_s"]["syn_sent2"] is None, "a number that the kernel shows nowhere")
    expect(shown["settings"] == {"max-head-size": "32768", "opaque-ports": "3306,9000-9010", "log-paths": "true", "log-format": "json",
                                 "log-level": "debug", "log-rate": "0", "config": directory.path, "namespace": "shop"},
           f"{shown['settings']}")
    targets = page(pod, "/config?service=default/web")["targets"]
    expect(sorted((target["direction"], target["port"]) for target in targets) == [("outbound", 8080), ("outbound", 8081)], f"{targets}")
    targets = page(pod, "/config?service=default%2Fweb:8081")["targets"]
    expect(len(targets) == 1 and targets[0]["service"] == "default/web", f"{targets}")
    expect(targets[0]["timeouts"]["connect"]["ms"] == 2000 and "annotation" in targets[0]["timeouts"]["connect"]["source"], f"{targets}")
    expect(page(pod, "/config?service=default/none")["targets"] == [], "a Service that is not")


@case()
def config_says_what_was_refused(pod):
    """/config names the files read and what came of the last reading: taken, refused for its first error, taken again."""
    directory = configured(pod, service("web", pod.inside.v4))
    info = PodInfo(pod, annotations={"lapse.proxy/timeout-connect": "4s"})
    pod.start("--config", directory.path, "--pod-info", info.path)
    documents = page(pod, "/config")["documents"]
    expect([os.path.basename(each["path"]) for each in documents["files"]] == ["all.yaml", "annotations", "labels"], f"{documents}")
    expect(documents["last_reading"] == {"at": documents["read_at"], "result": "taken", "errors": 0, "first_error": None}, f"{documents}")
    directory.write("all.yaml", service("web", pod.inside.v4, port="http"))
    until(lambda: page(pod, "/config")["documents"]["reloads_refused"], "not read again")
    refused = page(pod, "/config")["documents"]
    last = refused["last_reading"]
    expect(last["result"] == "refused" and last["errors"] == 1 and "default/web" in last["first_error"], f"{last}")
    expect(last["at"] > refused["read_at"] == documents["read_at"] and refused["files"] == documents["files"], f"{refused}")
    directory.write("all.yaml", service("web", pod.inside.v4), service("other", "10.99.0.1"))
    until(lambda: page(pod, "/config")["documents"]["last_reading"]["result"] == "taken", "the right documents are not taken")
    taken = page(pod, "/config")["documents"]
    expect(taken["objects"] == {"Service": 2} and taken["read_at"] == taken["last_reading"]["at"] > last["at"], f"{taken}")


# /connections

@case(ways=("in4", "out6"))
def connections_tell(pod):
    """/connections tells of each connection what its record will, with the next deadline, its timer and source."""
    pod.app(http(after(30)))
    pod.app(echo, port=8081)
    pod.app(port=8082)
    documents = configured(pod, service("web", pod.address, port=8082, annotations={"lapse.proxy/timeout-idle-connection": "7m"}))
    pod.start("--config", documents.path, tcp_idle="10m", request="5m", max_connection="2h")
    peers = []
    for port in (8080, 8081, 8082, 8082):
        peers.append(pod.dial(port))
        time.sleep(0.01)
    asking, opaque, idle, fresh = peers
    asking.send(request("POST", "/", body=b"b" * 100))
    opaque.send(BINARY)
    expect(opaque.exactly(len(BINARY)) == BINARY, "no echo")
    idle.ask()
    idle.ask()
    until(lambda: connections(pod, stage="wait")["matched"] == 1, "the request is not waiting")
    until(lambda: connections(pod, timer="unacknowledged")["matched"] == 0, "what was sent is not acknowledged")
    until(lambda: connections(pod, stage="connect")["matched"] == 0, "the silent one's server is not dialled")
    expect((shown := connections(pod))["open"] == shown["matched"] == 4, f"{shown}")
    rows = {row["client"]: row for row in shown["connections"]}
    row = {name: rows[f"{'[%s]' if ':' in peer.local[0] else '%s'}:%d" % peer.local] for name, peer in
           {"asking": asking, "opaque": opaque, "idle": idle, "fresh": fresh}.items()}
    outbound = not pod.inbound

    def holds(name, deadline, **fields):
        wrong = {key: (row[name][key], value) for key, value in fields.items() if row[name][key] != value}
        expect(not wrong, f"{name}: {wrong}")
        expect(deadline - 3000 <= row[name]["deadline_ms"] <= deadline, f"{name}: {row[name]['deadline_ms']} ms, expected {deadline}")
        expect(row[name]["direction"] == ("outbound" if outbound else "inbound"), f"{row[name]}")
        expect(0 <= row[name]["idle_ms"] <= row[name]["age_ms"] < 10000, f"{row[name]}")
    holds("asking", 300000, stage="wait", protocol="http/1.1", timer="request", value="5m", source="flag --timeout-request",
          requests=1, received_client=asking.sent, sent_server=asking.sent, service=None)
    holds("opaque", 600000, stage="opaque", protocol="opaque", timer="tcpIdle", value="10m", source="flag --timeout-tcp-idle",
          sent_client=len(BINARY), received_client=len(BINARY), sent_server=len(BINARY), received_server=len(BINARY))
    if outbound:
        holds("idle", 420000, stage="idle", timer="idleConnection", value="7m", service="default/web", requests=2)
        expect("annotation" in row["idle"]["source"], row["idle"]["source"])
    else:
        holds("idle", 3600000, stage="idle", timer="idleConnection", value="1h", service=None, requests=2, source="built-in")
    expect(row["fresh"]["stage"] == "detect" and row["fresh"]["protocol"] == "undetected", f"{row['fresh']}")
    expect([each["id"] for each in connections(pod, sort="age")["connections"]] == [1, 2, 3, 4], "not the oldest first")
    deadlines = [each["deadline_ms"] for each in shown["connections"]]
    expect(deadlines == sorted(deadlines), f"not the next deadline first: {deadlines}")
    host = idle.local[0]
    for number, filters in enumerate((
            {"stage": "opaque"}, {"stage": "exchange"}, {"protocol": "opaque"}, {"timer": "request"}, {"id": row["idle"]["id"]},
            {"client": ("%%5B%s%%5D:%d" if ":" in host else "%s:%d") % idle.local},
            {"protocol": "http/1.1", "stage": "idle"}, {"timer": "tcpIdle", "stage": "opaque"})):
        found = connections(pod, **filters)
        expect(found["matched"] == len(found["connections"]) == 1 and found["open"] == 4, f"{filters}: {found}")
    for filters, count in (({"direction": "outbound"}, 4 * outbound), ({"client": host}, 4), ({"server": pod.address}, 4),
                           ({"server": "10.77.0.0/16"}, 0 if pod.family == 6 else 4), ({"client": "192.0.2.1"}, 0),
                           ({"service": "default/web"}, 2 * outbound), ({"timer": "none"}, 0), ({"limit": 2}, 4)):
        found = connections(pod, **filters)
        expect(found["matched"] == count and len(found["connections"]) == min(count, 2 if "limit" in filters else 4), f"{filters}: {found}")


class Page(html.parser.HTMLParser):
    """A page's table as lists of texts; that what is opened is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.links, self.fetches, self.fields = [], [], [], [], {}
        self.feed(text)
        expect(not self.open, f"not closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.fetches += [attributes[name] for name in ("src", "srcset", "action") if name in attributes]
        if tag in ("input", "select"):
            self.fields[attributes["name"]] = attributes.get("value")
        if tag == "a":
            self.links.append(attributes["href"])
        if tag in ("meta", "wbr", "input"):
            return
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        self.open.append(tag)

    def handle_endtag(self, tag):
        expect(self.open and self.open[-1] == tag, f"</{tag}> in {self.open}")
        self.open.pop()

    def handle_data(self, data):
        if "td" in self.open:
            self.rows[-1][-1] += data


@case()
def connections_page(pod):
    """The page: sound HTML that fetches but its own script, links and fields that filter, and nothing that a value could smuggle in."""
    pod.app()
    pod.start()
    pod.dial().ask()

    def browse(path):
        return pod.proxy.ask_admin(path, "GET", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
    response = browse("/connections")
    text = response.body.decode()
    expect(response.get("content-type") == "text/html; charset=utf-8", response.get("content-type"))
    policy = response.get("content-security-policy").split("; ")
    expect({"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy), f"{policy}")
    found = Page(text)
    expect("<noscript><meta http-equiv=refresh content=5></noscript>" in text and "url(" not in text, "the page")
    expect(found.fetches == ["/connections.js", "/connections"] and text.count("<script") == 1, f"{found.fetches}")
    expect(list(found.fields) == ["direction", "client", "server", "service", "protocol", "stage", "timer", "id"], f"{found.fields}")
    filtered = browse("/connections?direction=inbound&sort=age").body.decode()
    expect({"<option selected>inbound</option>", "<option>outbound</option>", "<option>http/1.1</option>", "<option>idleConnection</option>"} <=
           set(re.findall("<option[^>]*>[^<]*</option>", filtered)), f"choices: {filtered}")
    kind = pod.proxy.ask_admin("/connections.js").get("content-type")
    expect(kind == "text/javascript; charset=utf-8", f"the script is {kind}")
    empty = "/connections?" + "&".join(f"{name}=" for name in found.fields)
    expect(Page(browse(empty).body.decode()).rows[-1][:4] == found.rows[-1][:4], "a form with empty fields does not show all")
    row = found.rows[-1]
    expect(row[1] == "inbound" and "idleConnection 1h" in row and "built-in" in row and "http/1.1" in row, f"{row}")
    for link in set(found.links):
        expect(pod.proxy.admin(link.replace("&amp;", "&"))[0] == 200, f"a link leads nowhere: {link}")
    hostile = '/connections?service="><b/%3Cscript%3Ealert(1)</script>&refresh=0'
    text = browse(hostile).body.decode()
    expect(text.count("<script") == 1 and "&lt;script&gt;alert" in text and "http-equiv" not in text, f"{text[-600:]}")
    expect(Page(text).fields["service"] == '"><b/<script>alert(1)</script>', "the field does not hold what was asked for")


@case()
def half_closed(pod):
    """/half-closed lists what is half-closed now and who has finished, as many as the gauge says."""
    pod.app()
    pod.app(until_reset, port=8081)
    pod.app(script(lambda peer: peer.exactly(len(BINARY)), "fin", silent), port=8082)
    pod.start(half_close="20m")
    pod.dial().ask()
    by_client, by_server = pod.dial(8081), pod.dial(8082)
    by_client.send(BINARY).fin()
    by_server.send(BINARY)
    until(lambda: page(pod, "/half-closed")["matched"] == 2, lambda: f"{page(pod, '/half-closed')}")
    until(lambda: page(pod, "/half-closed?timer=halfClose")["matched"] == 2, "what was sent is not acknowledged")
    found = {row["client"].rsplit(":", 1)[1]: row for row in page(pod, "/half-closed")["connections"]}
    for peer, side in ((by_client, "client"), (by_server, "server")):
        row = found[str(peer.local[1])]
        expect(row["finished"] == side and row["timer"] == "halfClose" and row["value"] == "20m", f"{row}")
    expect(pod.proxy.counted("lapse_connections_half_closed") == 2, "the gauge")
    expect(page(pod, f"/half-closed?id={row['id']}")["matched"] == 1, "a filter")
    by_client.close()
    by_server.close()
    pod.record(reason=("done", "client_reset", "server_reset"), client=re.compile(f":{by_server.local[1]}$"))
    until(lambda: pod.proxy.counted("lapse_connections_half_closed") <= 1, "the gauge does not come down")


@case()
def unread_is_shown(pod):
    """/connections and its page say since which message a connection is not read any more, and why; of others nothing."""
    pod.app(until_reset)
    pod.app(port=8081)
    pod.start()
    peer, other = pod.dial(), pod.dial(8081)
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n")
    other.ask()
    until(lambda: page(pod, "/connections")["matched"] == 2, lambda: f"{page(pod, '/connections')}")
    found = {row["client"].rsplit(":", 1)[1]: row["unread"] for row in page(pod, "/connections")["connections"]}
    why = found[str(peer.local[1])]
    expect(why and why.startswith("request 1: ") and found[str(other.local[1])] is None, f"{found}")
    text = pod.proxy.ask_admin("/connections", "GET", "Accept: text/html").body.decode()
    expect(text.count("unread since request 1: ") == 1, f"{text[-2000:]}")


# Posts.

@case(ways=("in4", "out6"))
def close_connections(pod):
    """POST /connections/close: idle ends with FIN, a request with 503, a response and opaque bytes with RST; each as admin_closed."""
    pod.app(http(by_target))
    pod.app(echo, port=8081)
    pod.start()
    idle, head, waiting, part, opaque, other, fresh = (pod.dial(port) for port in (8080, 8080, 8080, 8080, 8081, 8080, 8080))
    idle.ask()
    other.ask()
    head.send(b"GET / HTTP/1.1\r\nHost: a")
    waiting.send(request("GET", "/slow"))
    part.send(request("GET", "/part"))
    part.until(b"x")
    opaque.send(BINARY)
    opaque.exactly(len(BINARY))
    until(lambda: connections(pod, stage="head")["matched"] == connections(pod, stage="wait")["matched"] == 1, "not there")
    rows = {row["client"].rsplit(":", 1)[1]: row["id"] for row in connections(pod)["connections"]}
    expect("say which" in post(pod, "/connections/close", status=400), "all of them were closed")
    expect("twice" in post(pod, "/connections/close?id=1", status=400, body=b"id=2"), "one of the two was left out")
    expect("known are" in post(pod, "/connections/close?protocol=http/1.1", status=400, body=b"stage idle=1"), "a filter was left out")
    post(pod, "/connections/close?limit=1", status=400)
    post(pod, "/connections/close?id=&protocol=http/1.1", status=400)  # a variable that was empty must not mean all
    post(pod, "/connections/close?id=4711", status=404)
    post(pod, "/connections/close?stage=tunnel&direction=" + ("inbound" if pod.inbound else "outbound"))
    expect(connections(pod)["open"] == 7, "one was closed")
    for peer, how in ((idle, "fin"), (head, 503), (waiting, 503), (part, "rst"), (opaque, "rst"), (fresh, "rst")):
        said = json.loads(post(pod, "/connections/close", body=f"id={rows[str(peer.local[1])]}".encode()))
        expect(said == {"closed": 1}, f"{said}")
        if how == 503:
            check_answer(peer.response(), 503, "admin_closed", closes=True)
            how = "fin"
        peer.ends(how)
        peer.close()
        record = pod.record(reason="admin_closed", by="proxy", msg=CLOSED, client=re.compile(f":{peer.local[1]}$"))
        expect("operator" in record["detail"], record["detail"])
    other.ask()
    expect(json.loads(post(pod, "/connections/close?protocol=http/1.1&stage=idle")) == {"closed": 1}, "by filter")
    other.ends("fin")
    other.close()
    until(lambda: pod.proxy.counted("lapse_connections_closed_total", reason="admin_closed") == 7, "the counter")


@case()
def log_level(pod):
    """POST /log-level: debug lines come and go, in main and workers; a wrong level changes nothing."""
    pod.app()
    pod.start()
    pod.proxy.complete = False  # what is not logged is not recorded

    def probe():
        before = len(pod.proxy.lines)
        peer = pod.dial()
        peer.close()
        until(lambda: connections(pod)["open"] == 0, "it stays")
        time.sleep(0.1)
        return [line["reason"] for line in pod.proxy.lines[before:] if line.get("msg") == CLOSED]
    expect(probe(), "no record at debug")
    expect(post(pod, "/log-level?level=info") == "info\n" and pod.line("log level becomes info"), "info")
    expect(not probe(), "a debug record at info")
    expect("debug" in post(pod, "/log-level?level=loud", status=400), "not told what there is")
    post(pod, "/log-level", body=b"level=debug")
    expect(probe(), "no record at debug again")
    post(pod, "/log-level", body=b"off\n")
    expect(not probe(), "a record although it is off")
    post(pod, "/log-level", body=b"debug")
    expect(pod.line("log level becomes debug"), "not said")
    pod.uncounted()


@case(each={"drain": "/drain", "shutdown": "/shutdown"})
def drain_by_post(pod, path):
    """POST /drain and /shutdown do what SIGTERM does; the page then shows the drain's own deadline; a second one changes nothing."""
    pod.app(http(lambda message: after(1.5) if message.target == "/slow" else ok()))
    pod.start(drain="1m")
    idle, busy = pod.dial().ask() and pod.peers[-1], pod.dial().send(request("GET", "/slow"))
    busy.stays(0.2)
    expect(pod.proxy.counted("lapse_draining") == 0 and post(pod, path) == "draining\n", "not draining")
    idle.ends("fin")
    expect(pod.proxy.admin("/ready")[0] == 503 and pod.proxy.counted("lapse_draining") == 1, "still ready")
    post(pod, "/drain")
    row = connections(pod, stage="wait")["connections"][0]
    expect(row["timer"] == "drain" and row["source"] == "flag --timeout-drain" and row["deadline_ms"] <= 60000, f"{row}")
    expect(page(pod, "/config")["draining"] is True and busy.response().get("connection") == "close", "the close is not announced")
    busy.close()
    pod.stop(signals=())


# Many.
