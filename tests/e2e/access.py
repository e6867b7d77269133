"""--access-log: one line for each request, whatever becomes of it. That the lines are the counters' own numbers is checked after
each of these cases by the harness."""
import os
import signal
import time

from .harness import (ALL_WAYS, BODIES, CLOSED, DEAD_PORTS_TOO, FAILED, REQUEST, after, backend, black_hole, case, check_answer,
                      configured, echo, expect, http, ok, request, route, rule, script, service, silent, stalls_after, until, upgraded)


def started(pod, *arguments, **options):
    return pod.start("--access-log", *arguments, **options)


def lines(pod, count, within=5.0):
    """The access log, when it has that many lines; there must not be more."""
    until(lambda: len(pod.proxy.records(REQUEST)) >= count,
          lambda: f"{len(pod.proxy.records(REQUEST))} requests in the access log, expected {count}", within)
    time.sleep(0.05)
    have = pod.proxy.records(REQUEST)
    expect(len(have) == count, f"{len(have)} requests in the access log, expected {count}")
    return have


def holds(line, /, **fields):
    """Expects these fields; None: the line has no such field."""
    wrong = {name: line.get(name) for name, value in fields.items() if line.get(name) != value}
    expect(not wrong, f"the access log says {wrong}, expected { {name: fields[name] for name in wrong} }: {line}")
    return line


def only(pod, **fields):
    return holds(lines(pod, 1)[0], **fields)


@case(ways=ALL_WAYS)
def a_request(pod):
    """Method, path with its query, host, status, bytes both ways, duration and first byte, on each way."""
    pod.app(http(lambda message: after(0.2, ok(b"x" * 100))))
    started(pod)
    peer = pod.dial()
    peer.ask("POST", "/a/b?c=d", body=b"y" * 1000)
    line = only(pod, level="info", direction="inbound" if pod.inbound else "outbound", protocol="http/1.1", method="POST",
                path="/a/b?c=d", host="app", status=200, answer="server", classification="success", reason=None, retries=None,
                request_bytes=peer.sent, response_bytes=peer.received)
    expect(line["client"].endswith(f":{peer.local[1]}") and line["server"].endswith(":8080"), f"wrong addresses: {line}")
    expect(0.2 <= line["first_byte_s"] <= line["duration_s"] < 2, f"wrong times: {line}")


@case()
def off_by_default(pod):
    """Without the option there is no line; LAPSE_ACCESS_LOG is the option too."""
    pod.app()
    pod.start()
    pod.dial().ask("GET", "/quiet")
    time.sleep(0.1)
    expect(not any("/quiet" in line for line in pod.proxy.text), "a request was logged")
    pod.stop()
    pod.dials = 0
    pod.start(environment={"LAPSE_ACCESS_LOG": "true"})
    pod.dial().ask("GET", "/loud")
    only(pod, path="/loud")


@case()
def text_lines(pod):
    """--log-format text: the same fields as logfmt."""
    pod.app()
    proxy = started(pod, json_log=False)
    pod.uncounted()
    pod.dial().ask("GET", "/a b".replace(" ", "%20"))
    line = until(lambda: next((text for text in proxy.text if "msg=request " in text), None), "no line")
    for part in ("level=info", "direction=inbound", "method=GET", "host=app", "path=/a%20b", "status=200", "answer=server",
                 "classification=success", "duration_s=0.0", "first_byte_s=0.0", "request_bytes="):
        expect(part in line, f"{part} is not in {line}")


@case()
def keep_alive(pod):
    """A thousand requests on one connection: a thousand lines in order, --log-rate or not; their bytes are the connection's."""
    pod.app(http(lambda message: ok(b"x" * (len(message.target) * 10))))
    pod.uncounted()
    started(pod, "--log-rate", "1")
    peer = pod.dial()
    for number in range(1000):
        peer.ask("GET", f"/{number}")
    have = lines(pod, 1000)
    expect([line["path"] for line in have] == [f"/{number}" for number in range(1000)], "not every request, or not in order")
    peer.close()
    record = pod.ended("client_closed_idle")
    expect(record["sent_client"] == sum(line["response_bytes"] for line in have), "response_bytes do not add up")
    expect(record["sent_server"] == sum(line["request_bytes"] for line in have) == peer.sent, "request_bytes do not add up")


@case()
def pipelined(pod):
    """Five hundred requests in one write, bodies among them: each has its line, its bytes and its status."""
    pod.app(http(lambda message: ok(message.target.encode())))
    started(pod)
    sent = [request("POST", f"/{number}", body=b"y" * (number % 7)) for number in range(500)]
    peer = pod.dial()
    peer.send(b"".join(sent))
    got = [peer.response() for _ in sent]
    expect([answer.body.decode() for answer in got] == [f"/{number}" for number in range(500)], "wrong answers")
    for number, line in enumerate(lines(pod, 500)):
        holds(line, path=f"/{number}", status=200, request_bytes=len(sent[number]),
              response_bytes=len(got[number].raw_head) + len(got[number].body))


@case()
def chunked(pod):
    """A chunked body in pieces counts as it came, and so does a chunked response."""
    pod.app(script("request", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0.1, b"5\r\nhello\r\n", 0.1, b"0\r\n\r\n"))
    started(pod)
    peer = pod.dial()
    for piece in (b"POST /in HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"):
        peer.send(piece)
        time.sleep(0.05)
    expect(peer.response().body == b"hello", "wrong answer")
    only(pod, method="POST", path="/in", status=200, request_bytes=peer.sent, response_bytes=peer.received)


REFUSED = {"control byte in the path": (b"GET /a\x01\x1b[31mb HTTP/1.1\r\nHost: app\r\n\r\n", 400, "request_invalid",
                                        "GET /a\x01\x1b[31mb HTTP/1.1"),
           "no host": (b"\r\nGET /x HTTP/1.1\r\n\r\n", 400, "request_invalid", "GET /x HTTP/1.1"),
           "two lengths": (b"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
                           "request_ambiguous", "POST /y HTTP/1.1"),
           "long target": (b"GET /" + b"z" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "head_too_large", "GET /" + "z" * 507),
           "no UTF-8": (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", 400, "request_invalid", None)}


@case(each=REFUSED)
def refused_head(pod, row):
    """A head that is refused, behind a request that was not: its line shows what came, escaped."""
    sent, status, reason, shown = row
    pod.app()
    started(pod, "--on-malformed-http", "refuse")
    peer = pod.dial()
    peer.ask("GET", "/first")
    peer.send(sent)
    expect(peer.response().status == status, "wrong status")
    first, second = lines(pod, 2)
    holds(first, path="/first", status=200)
    holds(second, status=status, answer="proxy", classification="failure", reason=reason, method=None, path=None, duration_s=None)
    expect(second["line"] == shown if shown else "HTTP/1.1" in second["line"], f"line {second['line']!r}")


@case(ways=("in4", "out6"))
def unread_while_it_lasts(pod):
    """A response that cannot be read ends what is known of its request: its line does not wait for the end of the connection."""
    pod.app(script("head", b"HTTP/1.1 200 OK\r\nBad Field: x\r\n\r\n", "all"))
    started(pod)
    peer = pod.dial()
    peer.send(request("GET", "/first"))
    line = only(pod, path="/first", answer="unread")
    expect("reason" not in line and not pod.proxy.records(CLOSED), f"{line}")
    peer.fin()
    pod.ended("done")


@case(ways=("in4", "out6"))
def refused_behind_others(pod):
    """Two requests and a head that is refused in one write: three lines in order, the third with nothing of the others."""
    pod.app()
    started(pod, "--on-malformed-http", "refuse")
    peer = pod.dial()
    peer.send(request("GET", "/one") + request("POST", "/two", body=b"x" * 10) + b"GET /three HTTP/1.1\r\nBad Field: x\r\n\r\n")
    expect([peer.response().status for _ in range(3)] == [200, 200, 400], "wrong answers")
    one, two, three = lines(pod, 3)
    holds(one, path="/one", status=200)
    holds(two, path="/two", status=200)
    holds(three, status=400, path=None, line="GET /three HTTP/1.1")


@case()
def unfinished_head(pod):
    """408: the line shows what came of the head; a client that goes away in a head has no line."""
    pod.app()
    started(pod, request_headers="300ms")
    gone, peer = pod.dial(), pod.dial()
    gone.send(b"GET /gone HT").rst()
    peer.send(b"GET /slow HTTP/1.1\r\nHos")
    check_answer(peer.response(), 408, "header_timeout")
    pod.record(reason="client_reset")
    only(pod, status=408, answer="proxy", reason="header_timeout", line="GET /slow HTTP/1.1")


def thread_states(pid):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as file:
            yield file.read().rsplit(")", 1)[1].split()[0]


@case()
def refused_for_others(pod):
    """A client over --max-connections is answered 503, and that has a line."""
    pod.app(stalls_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
    started(pod, "--max-connections", "1", "--workers", "1")
    pod.dial().send(request()).head()
    pod.proxy.signal(signal.SIGSTOP)  # until its request is there
    try:
        until(lambda: all(state == "T" for state in thread_states(pod.proxy.pid)), "the proxy does not stop")
        peer = pod.dial()
        peer.send(request("GET", "/over"))
    finally:
        pod.proxy.signal(signal.SIGCONT)
    check_answer(peer.response(), 503, "conn_limit")
    holds(lines(pod, 1)[0], status=503, answer="proxy", reason="conn_limit")


@case()
def hostile_bytes(pod):
    """What a path and Host may hold arrives in JSON as it came, but for control characters and what is no UTF-8."""
    pod.app()
    started(pod)
    peer = pod.dial()
    sent = ((b'/"\\{}\'%00%0a?a=b', b"a'{}\xff\xc2\x9b\xc3\xbc", "a'{}\ufffd\x9bü"), (b"*", b"", None),
            (b"http://one.example:80/x", b"one.example:80", "one.example"), (b"/", b"[::1]:80", "[::1]"))
    for number, (target, host, shown) in enumerate(sent):
        peer.send(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        expect(peer.response().status == 200, f"{target} is refused")
        holds(lines(pod, number + 1)[number], path=target.decode(), host=shown)
    expect(not any(ord(char) < 0x20 or ord(char) == 0x7f for text in pod.proxy.text for char in text), "control bytes in the log")


@case()
def longest_paths(pod):
    """A path longer than a line may be: the line is cut there and nowhere else, says so and is still JSON."""
    pod.app()
    started(pod)
    peer = pod.dial()
    for filler in "z", '"', "%20":
        peer.ask("GET", "/" + filler * (15000 // len(filler)))
    peer.ask("GET", "/short")
    have = lines(pod, 4)
    for line in have[:3]:
        holds(line, truncated=True, method="GET", host="app", status=200, answer="server")
        expect(line["path"].startswith("/"), line["path"][:20])
    holds(have[3], truncated=None, path="/short")
    expect(max(len(text) for text in pod.proxy.text) <= 4096, "a line is too long")


@case()
def no_answer(pod):
    """502 for a refused dial, 504 for one that nobody answers, 504 for a response that does not come: answered by the proxy."""
    pod.app(silent)
    started(pod, init=DEAD_PORTS_TOO, connect="400ms", request="500ms")
    for port, status, reason in ((9, 502, "connect_refused"), (8089, 504, "connect_timeout"), (8080, 504, "request_timeout")):
        with pod.inside.ruled(black_hole(8089)):
            peer = pod.dial(port)
            peer.send(request("GET", f"/{port}"))
            check_answer(peer.response(), status, reason)
    for line, (status, reason, least) in zip(lines(pod, 3), ((502, "connect_refused", 0), (504, "connect_timeout", 0.4),
                                                             (504, "request_timeout", 0.5))):
        holds(line, status=status, answer="proxy", classification="failure", reason=reason, first_byte_s=None)
        expect(least - 0.05 <= line["duration_s"] < least + 2, f"duration {line['duration_s']}")
        expect(line["response_bytes"] > 60, f"response_bytes {line['response_bytes']}")


@case(each=BODIES)
def cut(pod, head):
    """A response that begins and stops: the status that was sent, answer=cut, and the reason."""
    pod.app(stalls_after(head))
    started(pod, stream_idle="400ms")
    peer = pod.dial()
    peer.send(request("GET", "/cut"))
    peer.end()
    only(pod, status=200, answer="cut", classification="failure", reason="stream_idle_timeout", path="/cut", response_bytes=len(head))


@case()
def client_gone(pod):
    """A client that goes away while it waits: no status, answer=none; in the middle of its body: 400 when it only finished."""
    pod.app(silent)
    started(pod)
    waiting, sending = pod.dial(), pod.dial()
    waiting.send(request("GET", "/wait"))
    sending.send(b"PUT /body HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nabc")
    time.sleep(0.2)
    waiting.rst()
    holds(lines(pod, 1)[0], path="/wait", status=None, answer="none", classification="failure", reason="client_aborted_wait",
          response_bytes=0)
    sending.fin()
    holds(lines(pod, 2)[1], path="/body", status=400, answer="proxy", reason="client_closed_request", request_bytes=sending.sent)


@case()
def bad_body(pod):
    """A chunked body that turns out to be none: 400 with the reason, method and path."""
    pod.app(silent)
    started(pod, "--on-malformed-http", "refuse")
    peer = pod.dial()
    peer.send(b"PUT /body HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    expect(peer.response().status == 400, "not refused")
    only(pod, method="PUT", path="/body", status=400, answer="proxy", reason="request_invalid", classification="success")


@case()
def tunnels(pod):
    """101 to an upgrade and 200 to CONNECT: the line comes at the switch, not at the tunnel's end."""
    pod.app(http(upgraded))
    pod.app(script("head", b"HTTP/1.1 200 OK\r\n\r\n", echo), port=8081)
    started(pod)
    peer = pod.dial()
    peer.send(request("GET", "/chat", "Connection: upgrade", "Upgrade: raw"))
    expect(peer.response().status == 101, "no upgrade")
    holds(lines(pod, 1)[0], path="/chat", status=101, answer="server", reason=None, response_bytes=peer.received)
    other = pod.dial(8081)
    other.send(b"CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\n\r\n")
    expect(other.response("CONNECT").status == 200, "no tunnel")
    holds(lines(pod, 2)[1], method="CONNECT", path="far:443", status=200, answer="server", request_bytes=other.sent)
    for each in (peer, other):
        each.send(b"more").exactly(4)
    lines(pod, 2)


@case()
def interim_and_head(pod):
    """100 and 103 before the response, HEAD, 204 and 304: one line each with the final status and all bytes."""
    answers = {"/continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
               "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
               "/304": b"HTTP/1.1 304 Not Modified\r\n\r\n"}
    pod.app(http(lambda message: answers[message.target]))
    started(pod)
    peer = pod.dial()
    for target in answers:
        peer.ask("HEAD" if target == "/head" else "GET", target, status={"/continue": 201, "/204": 204, "/304": 304}.get(target, 200))
    for line, (target, answer) in zip(lines(pod, 4), answers.items()):
        holds(line, path=target, answer="server", response_bytes=len(answer))


@case()
def old_http(pod):
    """HTTP/1.0 without Host; a response that ends with its connection."""
    pod.app(script("request", b"HTTP/1.0 200 OK\r\n\r\nall of it"))
    started(pod)
    peer = pod.dial()
    peer.send(request(version="1.0", host=None))
    expect(peer.response().body == b"all of it", "wrong answer")
    only(pod, protocol="http/1.0", host=None, status=200, answer="server", classification="success", reason=None)


@case(ways=("out4",))
def routed(pod):
    """Service, route and backend; 404 of no rule; a redirect by a filter; a rewritten path is logged as it came."""
    pod.app(port=8081)
    rules = [rule("/r", filters=[{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301, "hostname": "else.where"}}]),
             rule("/w", filters=[{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}}],
                  backends=[backend("other", 8081)])]
    directory = configured(pod, service("web", pod.server.v4), service("other", pod.server.v4, port=8081), route("web", *rules))
    started(pod, "--config", directory.path)
    peer = pod.dial()
    peer.ask("GET", "/r", status=301)
    peer.ask("GET", "/w")
    peer.ask("GET", "/none", status=404)
    moved, rewritten, lost = lines(pod, 3)
    holds(moved, service="default/web", route="HTTPRoute default/web rule 0", path="/r", status=301, answer="proxy",
          classification="success", reason=None)
    holds(rewritten, route="HTTPRoute default/web rule 1", backend=f"{pod.server.v4}:8081", path="/w", status=200, answer="server")
    holds(lost, service="default/web", route=None, backend=None, status=404, answer="proxy", reason="no_route")


@case(ways=("out4",))
def retried(pod):
    """retries counts the further attempts at this request, not at those before it."""
    answers = iter([b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"] * 2)
    pod.app(http(lambda message: next(answers, ok())))
    directory = configured(pod, service("web", pod.server.v4),
                           route("web", rule("/", retry={"codes": [503], "attempts": 3, "backoff": "10ms"})))
    started(pod, "--config", directory.path)
    peer = pod.dial()
    peer.ask("GET", "/first")
    peer.ask("GET", "/second")
    first, second = lines(pod, 2)
    holds(first, path="/first", retries=2, status=200, answer="server", classification="success", response_bytes=len(ok()))
    holds(second, path="/second", retries=None, status=200)


@case()
def drained(pod):
    """Requests under way when a drain begins are logged when they end; those cut by its end say drain_forced."""
    pod.app(http(lambda message: after(0.5 if message.target == "/short" else 30)))
    started(pod, drain="1s")
    short, long = pod.dial(), pod.dial()
    short.send(request("GET", "/short"))
    long.send(request("GET", "/long"))
    time.sleep(0.2)
    expect(not pod.proxy.records(REQUEST), "a line before its time")
    proxy = pod.stop()
    have = {line["path"]: line for line in proxy.records(REQUEST)}
    expect(len(have) == 2, f"{have}")
    holds(have["/short"], status=200, answer="server")
    holds(have["/long"], status=None, answer="none", reason="drain_forced")


@case()
def level(pod):
    """The lines are of level info: POST /log-level turns them off and on again."""
    pod.app()
    started(pod)
    for number, name in enumerate(("info", "warn", "info"), 1):
        pod.proxy.admin("/log-level", "POST", body=name.encode())
        with pod.dial() as peer:
            peer.ask("GET", f"/{name}/{number}")
        until(lambda: pod.proxy.counted("lapse_connections_closed_total") == number, "not closed")
    expect([line["path"] for line in lines(pod, 2)] == ["/info/1", "/info/3"], "wrong lines")
    pod.uncounted()
    pod.proxy.complete = False  # what was turned off is not there to be counted
