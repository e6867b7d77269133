"""HTTP/1 as DESIGN.md §9 wants it carried: verbatim, framed right, in order."""
import hashlib
import os
import re
import threading
import time

from .harness import (ALL_WAYS, CLOSED, DEAD_PORTS_TOO, Message, after, case, check_answer, echo, expect, http, ok, request, script,
                      silent, took, until)

CHUNKED = (b"POST /upload HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
           b"5\r\nhello\r\n6;name=value\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n")
CHUNKED_ANSWER = (b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                  b"3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\nX-Sum: 13\r\n\r\n")


def raw(answer, count):
    """An app that takes count bytes of each request as they are, notes them and sends the answer."""
    seen = []

    def serve(peer):
        while data := peer.exactly(count):
            seen.append(data)
            peer.send(answer)
    return serve, seen


@case(ways=ALL_WAYS)
def verbatim(pod):
    """A request and a response with a body arrive byte for byte as they were sent; nothing is added."""
    sent = (b"POST /a/../b?q=%20&&x HTTP/1.1\r\nhOSt:  app:80  \r\nX-Twice: 1\r\nACCEPT: */*\r\nX-Twice:2\r\nX-Empty:\r\n"
            b"Content-Length:   5\r\nCookie: a=\xe4\xff\r\n\r\nhello")
    answer = b"HTTP/1.1 299 My own Words\r\nserver:me\r\nSET-cookie: a\r\nset-Cookie: b\r\ncontent-LENGTH: 3\r\n\r\nyes"
    serve, seen = raw(answer, len(sent))
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    for _ in range(3):
        peer.send(sent)
        got = peer.exactly(len(answer))
        expect(got == answer, f"the response arrived as {got!r}")
    expect(seen == [sent] * 3, f"the request arrived as {seen[0]!r}")


@case(ways=("in4", "out6"))
def chunked_verbatim(pod):
    """Chunked bodies with extensions and trailers pass unchanged, both ways, again and again."""
    serve, seen = raw(CHUNKED_ANSWER, len(CHUNKED))
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    for _ in range(3):
        peer.send(CHUNKED)
        got = peer.exactly(len(CHUNKED_ANSWER))
        expect(got == CHUNKED_ANSWER, f"the response arrived as {got!r}")
    expect(seen == [CHUNKED] * 3, f"the request arrived as {seen[0]!r}")


def in_two(pod, message, pause=0.02):
    """One connection per byte at which message can be split; each sends the halves apart. The peers."""
    peers = [pod.dial() for _ in range(len(message) - 1)]
    for at, peer in enumerate(peers, 1):
        peer.send(message[:at])
    time.sleep(pause)
    for at, peer in enumerate(peers, 1):
        peer.send(message[at:])
    return peers


@case()
def request_split_anywhere(pod):
    """A chunked request with trailers, split at every byte: understood and answered on every connection."""
    pod.app()
    pod.start()
    for peer in in_two(pod, CHUNKED):
        response = peer.response()
        expect(response.status == 200 and response.body == b"hello world", f"{response.start} {response.body!r}")


@case()
def response_split_anywhere(pod):
    """A chunked response with trailers, split at every byte: passed on unchanged."""
    def respond(message):
        at = int(message.target[1:])
        return script(CHUNKED_ANSWER[:at], 0.02, CHUNKED_ANSWER[at:])
    pod.app(http(respond))
    pod.start()
    peers = [pod.dial() for _ in range(len(CHUNKED_ANSWER) - 1)]
    for at, peer in enumerate(peers, 1):
        peer.send(request("GET", f"/{at}"))
    for peer in peers:
        got = peer.exactly(len(CHUNKED_ANSWER))
        expect(got == CHUNKED_ANSWER, f"arrived as {got!r}")


@case(ways=("in4", "out6"))
def pipelining(pod):
    """Pipelined requests, bodies among them, are answered in order; the server gets one at a time."""
    early = []

    def respond(message):
        def serve(peer):
            early.append(peer.wait(0.05))
            return ok(message.target.encode() + message.body)
        return serve
    pod.app(http(respond))
    pod.start()
    peer = pod.dial()
    peer.send(b"".join(request("POST", f"/{number}", body=b"x" * number) for number in range(8)))
    for number in range(8):
        body = peer.response().body
        expect(body == f"/{number}".encode() + b"x" * number, f"answer {number} is {body!r}")
    expect(not any(early), "a request reached the server before the one before it was answered")
    peer.fin()
    pod.ended("client_closed_idle", requests=8)


@case()
def deep_pipeline(pod):
    """Two thousand requests sent at once are answered in order, and other clients of the same worker are served meanwhile."""
    pod.app(http(lambda message: ok(message.target.encode())))
    pod.start("--workers", "1")
    peer = pod.dial()
    sender = threading.Thread(target=peer.send, args=(b"".join(request("GET", f"/{number}") for number in range(2000)),))
    sender.start()
    with took(0, late=1.5):
        pod.dial().ask()
    expect([peer.response().body for _ in range(2000)] == [f"/{number}".encode() for number in range(2000)], "wrong answers")
    sender.join()


@case()
def pipelined_then_fin(pod):
    """Pipelined requests followed by FIN are all answered before the connection ends."""
    pod.app(http(lambda message: after(0.1, ok(message.target.encode()))))
    pod.start()
    peer = pod.dial()
    peer.send(request("GET", "/1") + request("GET", "/2") + request("GET", "/3")).fin()
    expect([peer.response().body for _ in range(3)] == [b"/1", b"/2", b"/3"], "wrong answers")
    peer.ends("fin")


@case()
def empty_lines_between_requests(pod):
    """Empty lines before a request are skipped, in one piece, in two, or left half sent behind a pipelined request, at no cost."""
    app = pod.app()
    pod.start("--workers", "1")
    peer = pod.dial()
    peer.ask()
    for before, after_a_while in ((b"\r\n", b""), (b"\r\n\r\n", b""), (b"\r", b"\n"), (request() + b"\r", b"\n")):
        peer.send(before)
        if len(before) > 4:
            peer.response()
        peer.stays(0.2)
        peer.send(after_a_while + request())
        expect(peer.response().status == 200, f"no answer after {before!r}")
    peer.send(request() + b"\r")
    peer.response()
    used = pod.proxy.cpu_seconds()
    peer.stays(0.7)
    expect(pod.proxy.cpu_seconds() - used < 0.2, "half an empty line keeps the proxy busy")
    pod.dial().ask()
    expect(app.count >= 1, "no connection to the app")


@case()
def interim_responses(pod):
    """1xx responses pass on before the final one."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    pod.app(http(lambda message: hints + hints + ok(b"final")))
    pod.start()
    peer = pod.dial()
    for _ in range(2):
        response = peer.ask()
        expect([each.status for each in response.interim] == [103, 103] and response.body == b"final", "1xx lost")


@case()
def interim_responses_of_1_0(pod):
    """1xx that a server sends to HTTP/1.0 arrives as it was sent: a client that asked for it waits for it."""
    pod.app(script("head", b"HTTP/1.1 100 Continue\r\n\r\n", lambda peer: peer.send(ok(peer.exactly(4)))))
    pod.start()
    peer = pod.dial()
    peer.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 4", version="1.0"))
    expect(peer.head().status == 100, "no 100")
    peer.send(b"body")
    expect(peer.response().body == b"body", "wrong answer")


@case(ways=("in4", "out6"))
def expect_continue(pod):
    """Expect: 100-continue: the server's 100 reaches the client, then the body the server."""
    def serve(peer):
        head = peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.send(ok(peer.exactly(int(head.get("Content-Length")))))
        silent(peer)
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 4"))
    expect(peer.head().status == 100, "no 100")
    peer.send(b"body")
    expect(peer.response().body == b"body", "wrong answer")


@case()
def expect_refused(pod):
    """Expect: 100-continue refused by a final status: the client gets it without having sent the body."""
    def serve(peer):
        peer.head()
        peer.send(ok(b"no", status="417 Expectation Failed"))
        silent(peer)
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 4"))
    response = peer.response()
    expect(response.status == 417 and response.body == b"no", f"{response.start}")


@case(ways=("in4", "out6"))
def without_body(pod):
    """HEAD, 204 and 304 have no body whatever their Content-Length says; the connection goes on."""
    answers = {"/204": b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n",
               "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
               "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
               "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}
    app = pod.app(http(lambda message: answers.get(message.target, ok(message.target.encode()))))
    pod.start()
    peer = pod.dial()
    for method, target, status in (("HEAD", "/head", 200), ("HEAD", "/chunked", 200), ("GET", "/204", 204), ("GET", "/304", 304)):
        peer.ask(method, target, status=status)
        peer.stays(0.05)
        expect(peer.ask("GET", "/next").body == b"/next", f"after {method} {target}")
    expect(app.count == 1, f"{app.count} connections to the server")


@case()
def http_1_0(pod):
    """HTTP/1.0 without Host passes, is recorded as http/1.0 and closes after its response."""
    app = pod.app(http(lambda message: ok(message.start.encode(), version="1.0")))
    pod.start()
    peer = pod.dial()
    peer.send(request(host=None, version="1.0"))
    expect(peer.response().body == b"GET / HTTP/1.0", "the request was changed")
    peer.ends("fin")
    expect(app.count == 1, "more than one connection")
    pod.ended("connection_close", protocol="http/1.0", requests=1)


@case()
def http_1_0_keep_alive(pod):
    """HTTP/1.0 with Connection: keep-alive on both sides goes on."""
    pod.app(http(lambda message: ok(b"ok", "Connection: keep-alive", version="1.0")))
    pod.start()
    peer = pod.dial()
    for _ in range(3):
        peer.send(request("GET", "/", "Connection: keep-alive", version="1.0"))
        expect(peer.response().status == 200, "no answer")
    peer.fin()
    pod.ended("client_closed_idle", requests=3, protocol="http/1.0")


@case()
def server_speaks_1_0(pod):
    """A 1.0 server's body until FIN to a 1.1 client: whole, then FIN."""
    pod.app(script("head", b"HTTP/1.0 200 OK\r\n\r\n" + b"z" * 100000))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    expect(len(peer.response().body) == 100000, "body not whole")
    pod.ended(("connection_close", "done"))


@case(each={"absolute": "http://app/path?x", "asterisk": "*"})
def other_targets(pod, target):
    """absolute-form and asterisk-form targets pass unchanged."""
    pod.app(http(lambda message: ok(message.target.encode())))
    pod.start()
    expect(pod.dial().ask("OPTIONS", target).body == target.encode(), "target changed")


@case(ways=("in4", "out6"), each={"closes": True, "reads on": False})
def early_response(pod, closes):
    """A response while the request's body is still in flight reaches the client whole."""
    def serve(peer):
        head = peer.head()
        peer.send(ok(b"too large", *(["Connection: close"] if closes else []), status="413 Content Too Large"))
        if closes:
            peer.fin()
        peer.exactly(int(head.get("Content-Length")))
        if not closes:
            http()(peer)
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    size = 1 << 20
    peer.send(request("POST", "/", f"Content-Length: {size}") + b"x" * 1000)
    response = peer.response()
    expect(response.status == 413 and response.body == b"too large", f"{response.start} {response.get('lapse-reason')}")
    if not closes and response.get("connection") != "close":
        peer.send(b"x" * (size - 1000))
        peer.ask()


@case()
def early_response_and_reset(pod):
    """A server that answers early and then resets: what it said or a 502 reaches the client, never a bare end."""
    def serve(peer):
        peer.head()
        peer.send(ok(b"too large", "Connection: close", status="413 Content Too Large"))
        time.sleep(0.2)
        peer.rst()
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(request("POST", "/", "Content-Length: 1000000") + b"x" * 50000)
    expect(peer.response().status in (413, 502), "neither 413 nor 502")


@case(ways=ALL_WAYS)
def upgrade_tunnel(pod):
    """Upgrade: after 101 bytes pass both ways at once, those that came with the heads included; half-close passes."""
    def respond(message):
        def serve(peer):
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nserver says hello")
            got = peer.all()
            peer.send(b"got " + got)
            return None
        return serve
    pod.app(http(respond))
    pod.start()
    peer = pod.dial()
    peer.send(request("GET", "/chat", "Connection: Upgrade", "Upgrade: raw") + b"client says hello")
    head = peer.response()
    expect(head.status == 101 and head.get("Upgrade") == "raw", f"{head.start}")
    expect(peer.exactly(17) == b"server says hello", "bytes after 101 lost")
    peer.send(b"\x00 and more").fin()
    peer.ends("fin", data=b"got client says hello\x00 and more")
    pod.ended("done", by="client", phase=("tunnel", "closing"), protocol="http/1.1")


@case()
def upgrade_declined(pod):
    """Upgrade answered by 200: no tunnel, the connection goes on as HTTP."""
    pod.app(http(lambda message: ok(message.target.encode())))
    pod.start()
    peer = pod.dial()
    for number in range(3):
        response = peer.ask("GET", f"/{number}", "Connection: upgrade", "Upgrade: websocket")
        expect(response.body == f"/{number}".encode(), "wrong answer")


@case(ways=("in4", "out6"))
def connect_tunnel(pod):
    """CONNECT: after a 2xx bytes pass both ways; its Content-Length means nothing."""
    def respond(message):
        def serve(peer):
            peer.send(b"HTTP/1.1 200 Connected\r\nContent-Length: 5\r\n\r\n")
            echo(peer)
        return serve
    pod.app(http(respond))
    pod.start()
    peer = pod.dial()
    peer.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
    expect(peer.response("CONNECT").status == 200, "no 200")
    for size in (1, 100000, 7):
        data = os.urandom(size)
        peer.send(data)
        expect(peer.exactly(size) == data, "the tunnel changes bytes")
    peer.fin()
    peer.ends("fin")
    pod.ended("done", phase=("tunnel", "closing"))


@case()
def connect_refused_by_server(pod):
    """CONNECT answered by 403 with a body: no tunnel, the connection goes on."""
    pod.app(http(lambda message: ok(b"no", status="403 Forbidden") if message.method == "CONNECT" else ok()))
    pod.start()
    peer = pod.dial()
    peer.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
    expect(peer.response("CONNECT").body == b"no", "wrong answer")
    peer.ask()


@case(ways=("in4", "out6"), each={"length": False, "chunked": True})
def large_bodies(pod, chunked):
    """16 MiB up and down on one connection, with equal checksums."""
    block = os.urandom(1 << 16)
    count = 256

    def serve(peer):
        while peer.head():
            got = hashlib.sha256()
            if chunked:
                while (line := peer.until(b"\r\n")) != b"0\r\n":
                    got.update(peer.exactly(int(line, 16)))
                    peer.exactly(2)
                peer.exactly(2)
            else:
                for _ in range(count):
                    got.update(peer.exactly(1 << 16))
            peer.send(b"HTTP/1.1 200 OK\r\nX-Sum: " + got.hexdigest().encode() + framing + b"\r\n\r\n")
            send_body(peer)

    framing = b"\r\nTransfer-Encoding: chunked" if chunked else f"\r\nContent-Length: {count << 16}".encode()

    def send_body(peer):
        for _ in range(count):
            peer.send(b"10000\r\n" + block + b"\r\n" if chunked else block)
        if chunked:
            peer.send(b"0\r\n\r\n")

    pod.app(serve)
    pod.start()
    wanted = hashlib.sha256(block * count).hexdigest()
    peer = pod.dial()
    for _ in range(2):
        peer.send(b"POST / HTTP/1.1\r\nHost: app" + framing + b"\r\n\r\n")
        send_body(peer)
        response = peer.response()
        expect(response.get("X-Sum") == wanted, "the upload arrived changed")
        expect(hashlib.sha256(response.body).hexdigest() == wanted, "the download arrived changed")


@case()
def slow_reader_stops_its_writer(pod):
    """Back-pressure: while a client does not read, its server is stopped too and the proxy's memory stays small."""
    size = 64 << 20
    sent = []

    def serve(peer):
        peer.head()
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size >> 16):
            peer.send(b"b" * 65536)
            sent.append(65536)
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(request())
    until(lambda: sent, "nothing sent")
    time.sleep(1)
    stopped = len(sent)
    time.sleep(0.5)
    expect(len(sent) == stopped < size >> 16, f"the server was not stopped: {len(sent)} blocks sent")
    private = pod.proxy.private_kib()
    expect(private < 5000 or pod.context.sanitize, f"{private} KiB private memory")
    expect(len(peer.response().body) == size, "bytes are missing")


@case()
def many_requests(pod):
    """A thousand requests on one connection, counted."""
    app = pod.app()
    pod.start()
    peer = pod.dial()
    for _ in range(1000):
        peer.ask()
    peer.fin()
    pod.ended("client_closed_idle", requests=1000)
    expect(app.count == 1, f"{app.count} connections to the server")


@case()
def equal_lengths(pod):
    """Several equal Content-Length values are one, or refused; nothing in between."""
    app = pod.app()
    pod.start()
    peer = pod.dial()
    peer.send(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
    response = peer.response()
    if response.status == 200:
        expect(response.body == b"hello", "wrong body")
    else:
        check_answer(response, 400, response.get("lapse-reason"), closes=True)
        expect(not app.count, "forwarded and refused")


@case()
def forwarded(pod):
    """--forwarded adds one Forwarded field to inbound requests and nothing else."""
    pod.app(http(lambda message: ok(message.raw_head)))
    pod.start("--forwarded")
    sent = request("GET", "/", "X-A: 1")
    peer = pod.dial()
    peer.send(sent)
    got = Message(peer.response().body)
    fields = [field for field in got.fields if field[0].lower() != "forwarded"]
    expect(fields == Message(sent).fields, f"other fields changed: {got.fields}")
    expect(re.search(rf"for=\"?\[?{re.escape(pod.client.v4)}", got.get("Forwarded", "")), f"Forwarded: {got.get('Forwarded')}")


@case(ways=("out4",))
def not_forwarded_outbound(pod):
    """--forwarded adds nothing to outbound requests."""
    pod.app(http(lambda message: ok(message.raw_head)))
    pod.start("--forwarded")
    peer = pod.dial()
    expect(peer.ask().body == request(), "the request was changed")


@case()
def no_reason_headers(pod):
    """--no-reason-headers: the proxy's own answers carry no lapse-… fields."""
    pod.start("--no-reason-headers", init=DEAD_PORTS_TOO)
    peer = pod.dial(9)
    peer.send(request())
    response = peer.response()
    expect(response.status == 502 and not [name for name, _ in response.fields if name.lower().startswith("lapse")],
           f"{response.start} {response.fields}")
    pod.record(reason="connect_refused")


@case()
def log_paths(pod):
    """--log-paths adds method, path and status of the last request, escaped; without it no path is logged."""
    pod.app()
    pod.start("--log-paths")
    peer = pod.dial()
    peer.ask("PUT", "/secret/%0a?\"quoted\\")
    peer.fin()
    record = pod.ended("client_closed_idle")
    last = (record["last_method"], record["last_path"], record["last_status"])
    expect(last == ("PUT", "/secret/%0a?\"quoted\\", 200), f"{last}")


@case()
def no_paths_by_default(pod):
    """Without --log-paths nothing of the request's path is logged."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.ask("GET", "/secret")
    peer.fin()
    pod.ended("client_closed_idle")
    expect(not any("secret" in line for line in pod.proxy.text), "the path was logged")


@case()
def text_log(pod):
    """--log-format text: logfmt with the same field names; debug lines are left out at info."""
    pod.app()
    proxy = pod.start("--log-format", "text", json_log=False, idle_connection="300ms")
    peer = pod.dial()
    peer.ask()
    peer.ends("fin")
    pod.dial().close()
    line = until(lambda: next((text for text in proxy.text if "idle_timeout" in text), None), "no record in text")
    for part in ("ts=2", "level=info", 'msg="connection closed"', "reason=idle_timeout", "by=proxy", "phase=idle",
                 "direction=inbound", "protocol=http/1.1", f"server={pod.inside.v4}:8080", "requests=1", "timer=idleConnection",
                 "value=300ms", 'set_by="flag --timeout-idle-connection"', 'detail="'):
        expect(part in line, f"{part} is not in {line}")
    expect("client_closed_unused" not in " ".join(proxy.text), "a probe is logged at info")
    pod.uncounted()


@case()
def log_rate(pod):
    """--log-rate: the lines of one reason above the rate are held back; the next one says how many."""
    pod.start("--log-rate", "5", "--workers", "1", init=DEAD_PORTS_TOO)
    pod.uncounted()
    for _ in range(30):
        pod.dial(9).ends("rst")
    lines = len(pod.proxy.records(CLOSED))
    expect(5 <= lines <= 15, f"{lines} lines for 30 connections")
    time.sleep(1.1)
    pod.dial(9).ends("rst")

    def accounted():
        return sum(1 + record.get("suppressed", 0) for record in pod.proxy.records(CLOSED))
    until(lambda: accounted() == 31, lambda: f"{accounted()} connections accounted for, 31 made")


@case()
def concurrent_clients(pod):
    """Sixteen clients at once, each with its own answers."""
    pod.app(http(lambda message: ok(message.target.encode())))
    pod.start()
    wrong = []

    def client(number):
        with pod.near.connect(pod.address, 8080) as peer:
            for turn in range(50):
                if peer.ask("GET", f"/{number}/{turn}").body != f"/{number}/{turn}".encode():
                    wrong.append((number, turn))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    pod.dials += len(clients)
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    expect(not wrong, f"wrong answers: {wrong[:3]}")
    pod.all_recorded()
    expect(sum(record["requests"] for record in pod.proxy.records(CLOSED)) == 800, "requests miscounted")
