"""Do no harm: whose a server leg is, when ends travel, what flows behind a request, and what becomes of an upload nobody wants."""
import socket
import threading
import time

from .harness import (ALL_WAYS, CLOSED, case, check_answer, echo, expect, http, ok, request, script, silent,
                      took, until)

OK = b"HTTP/1.1 200 OK\r\n"
BAD = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SOON = 1.0


# 3. A server leg belongs to its client.

@case(ways=ALL_WAYS)
def leg_of_its_client(pod):
    """Each client connection has a server connection of its own, one at a time, and takes it with it when it ends."""
    app = pod.app()
    pod.start("--workers", "1")
    for number in range(3):
        peer = pod.dial()
        peer.ask()
        peer.ask("POST", body=b"x")
        expect(app.count == number + 1, f"{app.count} connections to the server for {number + 1} clients")
        peer.close()
        expect(app.ended(number, within=SOON) == "fin", "the server's leg outlives its client")
    pod.all_recorded(3)


@case(each={"default": (), "shared": ("--pool-size", "8")})
def one_at_a_time(pod, options):
    """A server that serves one connection at a time is never kept waiting by a leg that only rests."""
    listener = pod.inside.listener(8080)
    ended = threading.Event()

    def serve():
        while not ended.is_set():
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            connection.settimeout(15)
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(ok() if data.startswith((b"GET", b"POST")) else b"")
    threading.Thread(target=serve, daemon=True).start()
    pod.start("--workers", "1", *options)
    with took(0, late=4):
        for method in ("GET", "POST", "GET", "POST"):
            with pod.dial() as peer:
                peer.ask(method)
                time.sleep(0.3)
                peer.ask(method, body=b"x" if method == "POST" else b"")
    ended.set()
    listener.shutdown(socket.SHUT_RDWR)
    pod.stop()  # and what it pooled


def expecting_end(peer):
    """Reads to the end and keeps what came."""
    peer.got = b""
    while data := peer.some():
        peer.got += data


# 4. FIN travels at once.

def waits_for_end(before=b"", answer=ok()):
    """Reads a request, says `before`, waits for the client's end, then answers."""
    def serve(peer):
        peer.request()
        peer.send(before)
        peer.all()
        peer.send(answer)
    return serve


@case(ways=ALL_WAYS, each={"GET": request(), "POST": request("POST", "/", body=b"x" * 10),
                           "chunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"})
def fin_behind_request(pod, sent):
    """A client's FIN behind a complete request is the server's within a round trip, and its answer is delivered."""
    app = pod.app(waits_for_end())
    pod.start()
    peer = pod.dial()
    peer.send(sent)
    time.sleep(0.3)
    with took(0, late=SOON):
        peer.fin()
        expect(peer.response().body == b"ok\n", "no answer")
        peer.ends("fin")
    expect(app.count == 1, "asked again")
    pod.record(msg=CLOSED, by="client")


@case(ways=("in4", "out6"))
def fin_in_silent_stream(pod):
    """A client that finishes while a stream is silent is seen by the server at once; the stream's end is delivered."""
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    pod.app(waits_for_end(head, b"0\r\n\r\n"))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    expect(peer.exactly(len(head)) == head, "no stream")
    with took(0, late=SOON):
        peer.fin()
        peer.ends("fin", data=b"0\r\n\r\n")


@case(ways=("in4", "out6"), each={"wait": b"", "stream": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"})
def close_and_rst_travel(pod, said):
    """A client that closes with a RST while it waits, or in a stream: the server is reset at once; the record blames the client."""
    app = pod.app(script("request", said, silent))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    expect(peer.exactly(len(said)) == said, "no stream")
    app.peer()
    time.sleep(0.2)
    peer.rst()
    expect(app.ended(within=SOON) == "rst", f"the server saw {app.ended()}")
    pod.ended("client_aborted_response" if said else "client_aborted_wait", by="client")


@case()
def fin_behind_pipelined_requests(pod):
    """FIN behind three pipelined requests does not overtake them: the server sees it behind the last one only."""
    seen = []

    def serve(peer):
        while message := peer.request():
            time.sleep(0.2)
            seen.append((message.target, peer.wait(0) and not peer.sock.recv(1, socket.MSG_PEEK)))
            peer.send(ok())
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(request("GET", "/1") + request("GET", "/2") + request("GET", "/3")).fin()
    for _ in range(3):
        peer.response()
    peer.ends("fin")
    expect(seen == [("/1", False), ("/2", False), ("/3", True)], f"{seen}")


@case(ways=("in4", "out6"))
def client_gone_is_the_clients(pod):
    """The client finishes, the server ends without an answer: that is the client's doing, not server_closed_early."""
    pod.app(script("request", "all"))
    pod.start()
    peer = pod.dial()
    peer.send(request()).fin()
    peer.ends("fin")
    pod.ended("client_aborted_wait", by="client")


@case(ways=("in4", "out6"), each={"length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
                                  "chunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"})
def fin_inside_body(pod, sent):
    """A client that finishes inside its body is told so, and its server sees a FIN behind what came, no RST."""
    app = pod.app(expecting_end)
    pod.start()
    peer = pod.dial()
    peer.send(sent)
    app.peer()
    time.sleep(0.2)
    with took(0, late=SOON):
        peer.fin()
        check_answer(peer.response(), 400, "client_closed_request", closes=True)
        expect(app.ended(within=SOON) == "fin" and app.peer().got == sent, f"{app.ended()} behind {app.peer().got!r}")


@case(ways=("in4", "out6"))
def fin_inside_answered_body(pod):
    """The same while the answer is on its way already: that arrives to its end, and the server sees the FIN at once."""
    def serve(peer):
        peer.head()
        peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        peer.all()
        peer.send(b"0\r\n\r\n")
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    expect(peer.until(b"ok\r\n"), "no answer")
    with took(0, late=SOON):
        peer.fin()
        peer.ends("fin", data=b"0\r\n\r\n")
    pod.ended("connection_close", by="server", phase="response")


# A head that comes in part.

PART = b"GET / HTTP/1.1\r\nHost: a\r\n"


@case(ways=ALL_WAYS)
def server_times_a_head(pod):
    """A server with a timer of its own for request heads sees half a one, answers it, and ends: all of it arrives."""
    app = pod.app(script(lambda peer: setattr(peer, "got", peer.exactly(len(PART) + 3)), 0.3, b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n"))
    pod.start()
    peer = pod.dial()
    with took(0.5, late=SOON):
        peer.send(PART)
        time.sleep(0.2)
        peer.send(b"X: ")
        peer.ends("fin", data=b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n")
    expect(app.peer().got == PART + b"X: " and app.count == 1, f"the server got {app.peer().got!r}")
    peer.close()
    pod.ended("done", by="server", level="warn", unread="request 1: its head was not complete when the server acted")


@case(ways=("in4", "out6"), each={"fin": "fin", "rst": "rst"})
def server_ends_in_head_of_request(pod, how):
    """The same of a server that ends without a word: so does the client's connection."""
    pod.app(script(lambda peer: peer.exactly(len(PART)), 0.2, how))
    pod.start()
    peer = pod.dial()
    peer.send(PART)
    peer.ends(how, within=3)


@case(ways=("in4", "in6"), each={"plain": (), "rewritten": ("--forwarded",), "refuse": ("--on-malformed-http", "refuse"), "shared": ("--pool-size", "8")})
def slow_heads(pod, options):
    """Requests whose heads come slowly arrive once and whole, one connection for all, with a stale one in between."""
    heard = []

    def serve(peer):
        for _ in range(3):
            message = peer.request()
            if not message:
                return
            heard.append((message.target, message.body))
            peer.send(ok(message.target.encode()))
    app = pod.app(serve)
    pod.start(*options, "--workers", "1")
    peer = pod.dial()
    for number in range(6):
        for piece in (b"POST /", b"%d HTTP/1.1\r\nHo" % number, b"st: a\r\nContent-Length: 2\r\n", b"\r\nx", b"y"):
            peer.send(piece)
            time.sleep(0.06)
        expect(peer.response().body == b"/%d" % number, "another's answer")
    expect(heard == [(f"/{number}", b"xy") for number in range(6)], f"the server heard {heard}")
    expect(app.count == 2 or "--pool-size" in options, f"{app.count} connections to the server")
    peer.fin()
    record = pod.ended("client_closed_idle", requests=6)
    expect("unread" not in record, "went on unread")


# 5. Bytes behind a request.

@case(ways=("in4", "out6"))
def bytes_behind_until_close(pod):
    """While a response runs until close what the client sends flows on, though it looks like a request."""
    app = pod.app(script("request", OK + b"\r\nstream:", echo))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    expect(peer.exactly(len(OK) + 9) == OK + b"\r\nstream:", "no head")
    for sent in (b"ping", request("GET", "/next"), b"\0\1"):
        with took(0, late=SOON):
            peer.send(sent)
            got = peer.exactly(len(sent))
            expect(got == sent, f"{sent!r} came back as {got!r}")
    peer.fin()
    peer.end()
    expect(app.count == 1, "dialled again")


@case(ways=("in4", "out6"), each={"binary": b"\0\1\2data", "line": b"not a request\r\n", "nul": b"GET\0"})
def bytes_that_are_no_request(pod, behind):
    """Bytes behind a complete request that can begin none flow at once: their server waits for them, and answers then."""
    app = pod.app(script("request", lambda peer: setattr(peer, "got", peer.exactly(len(behind))), OK + b"\r\ndone"))
    pod.start()
    peer = pod.dial()
    with took(0, late=SOON):
        peer.send(request())
        time.sleep(0.1)
        peer.send(behind)
        peer.ends("fin", data=OK + b"\r\ndone")
    expect(app.peer().got == behind, f"the server got {app.peer().got!r}")


@case(ways=("in4", "out6"))
def switched_without_saying(pod):
    """A server that answers with what is no HTTP and goes on so: both directions flow from there."""
    app = pod.app(script("request", b"\x05\x00raw", echo))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    expect(peer.exactly(5) == b"\x05\x00raw", "not what it said")
    for sent in (b"abc", request(), b"\xff" * 5000):
        peer.send(sent)
        expect(peer.exactly(len(sent)) == sent, "not echoed")
    peer.fin().ends("fin")
    expect(app.count == 1, "dialled again")


@case(ways=("in4",))
def next_request_waits(pod):
    """A whole next request behind one that waits is not sent ahead of its answer."""
    seen = []

    def serve(peer):
        while message := peer.request():
            seen.append(peer.wait(0.3))
            peer.send(ok(message.target.encode()))
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(request("GET", "/1") + request("GET", "/2"))
    expect([peer.response().body for _ in range(2)] == [b"/1", b"/2"], "wrong answers")
    expect(seen[0] is False, "the second request was sent ahead")


# 6. An upload nobody wants.

@case(ways=("in4", "out6"))
def upload_read_on(pod):
    """A server that answers first and reads on gets the whole upload; the connection lives on."""
    got = []

    def serve(peer):
        peer.head()
        peer.send(ok(b"early"))
        got.append(len(peer.exactly(3000000)))
        while peer.request():
            peer.send(ok(b"later"))
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
    expect(peer.response().body == b"early", "no early answer")
    peer.send(b"u" * 3000000)
    expect(peer.ask().body == b"later", "the connection did not live on")
    expect(got == [3000000], f"the server got {got}")


@case(ways=("in4", "out6"), each={"length": ok(b"early"), "until close": OK + b"\r\nearly"})
def upload_read_on_behind_fin(pod, answer):
    """A server that answers, finishes and reads on gets the whole upload too; the client sees that FIN at once."""
    got = []

    def serve(peer):
        peer.head()
        peer.send(answer).fin()
        got.append(len(peer.exactly(3000000)))
    app = pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
    with took(0, late=SOON):
        peer.ends("fin", data=answer)
    peer.send(b"u" * 3000000)
    app.ended(within=10)
    expect(got == [3000000], f"the server got {got}")
    pod.record(msg=CLOSED, reason="connection_close", by="server", requests=1)


@case(ways=("in4", "out6"), each={"answered": (ok(b"early"), "connection_close"), "opaque": (b"early", "server_reset")})
def reset_behind_fin(pod, row):
    """A server that answers and finishes, and then resets: a client that has more to send, and sends nothing, sees an end at once."""
    answer, reason = row
    gone = threading.Event()

    def serve(peer):
        peer.head()
        peer.send(answer).fin()
        gone.wait(10)
        peer.rst()
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" if reason != "server_reset" else b"\0\r\n\r\n")
    peer.ends("fin", data=answer)
    gone.set()
    with took(0, late=2 * SOON):  # an answered client lingers for a second
        pod.record(msg=CLOSED, reason=reason, by="server")


@case(ways=("in4", "out6"))
def empty_line_behind_an_answer(pod):
    """An empty line behind a request that was answered, as some clients send it, reaches the server at once, and what that says to it the client."""
    got = []

    def serve(peer):
        peer.request()
        peer.send(ok(b"one"))
        got.append(peer.exactly(2))
        peer.request()
        peer.send(ok(b"two"))
        got.append(peer.exactly(4))
        peer.send(BAD).fin()
    app = pod.app(serve)
    pod.start()
    peer = pod.dial()
    expect(peer.ask().body == b"one", "no answer")
    peer.send(b"\r\n")
    until(lambda: got == [b"\r\n"], lambda: f"the server got {got}")
    peer.stays(0.2)
    expect(peer.ask().body == b"two", "no answer to the second request")
    peer.send(b"\n\r\n\n")
    with took(0, late=SOON):
        peer.ends("fin", data=BAD)
    peer.close()
    expect(app.count == 1 and got[1:] == [b"\n\r\n\n"], f"{app.count} connections, {got}")
    pod.record(msg=CLOSED, requests=2)


@case(ways=("in4", "out6"), each={"fast": False, "slow": True}, limit=60)
def upload_nobody_wants(pod, slow):
    """The answer of a server that closes in an upload is delivered; then at most 1 MiB or 2 s of the upload are taken."""
    for host in {pod.client, pod.inside, pod.far}:  # the kernel's buffers take some of it, too, and grow
        host.sysctl("ipv4/tcp_rmem", "4096 65536 65536")
        host.sysctl("ipv4/tcp_wmem", "4096 65536 65536")
    pod.app(script("head", b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
    pod.start()
    peer = pod.dial()
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000000\r\n\r\n" + b"u" * 1000)
    expect(peer.response().status == 413, "the answer is lost")
    sent, started = 0, time.monotonic()
    try:
        while time.monotonic() - started < 10:
            peer.send(b"u" * (100 if slow else 65536))
            sent += 65536
            if slow:
                time.sleep(0.1)
    except OSError:
        pass
    lasted = time.monotonic() - started
    expect(lasted < 5, f"the upload was taken for {lasted:.1f} s")
    expect(slow or sent < 3 << 20, f"{sent >> 10} KiB of the upload were taken")
    pod.record(msg=CLOSED, by="server")


# 7, 8, 10. The end of the proxy; ports nobody listens on; bad input.

@case(ways=("in4", "out6"))
def serves_on_at_first(pod):
    """On SIGTERM the proxy serves on for drainLeast, new connections too, with none open; then it ends."""
    pod.app()
    pod.start(drain_least="2s", drain="20s")
    with took(2, late=4):
        pod.proxy.signal(15)
        for _ in range(6):
            with pod.dial() as peer:
                peer.ask()
            time.sleep(0.2)
        expect(pod.proxy.wait(6) == 0, "it did not end by itself")
    pod.proxy = None


@case(ways=("in4", "in6"))
def dead_port_is_refused(pod):
    """A port nobody listens on is refused by the kernel, before and after an application was there."""
    pod.start()
    for listens in (False, True, False):
        app = pod.app(http()) if listens else None
        try:
            with pod.near.connect(pod.address, 8080) as peer:
                pod.dials += 1
                expect(listens, "a dead port was accepted")
                peer.ask()
        except ConnectionRefusedError:
            expect(not listens, "refused though an application listens")
        if app:
            app.stop()
            time.sleep(0.2)


@case(each={"request": True, "response": False}, limit=90, weight=2)
def endless_things(pod, of_request):
    """16 KiB without a line end, an endless status line, 64 MiB without CRLF: passed on in bounded memory."""
    size, block = 64 << 20, b"z" * 65536
    counted = []

    def serve(peer):
        if of_request:
            counted.append(len(peer.exactly(size)))
            peer.send(b"seen")
            return
        peer.request()
        peer.send(b"HTTP/1.1 200 ")
        for _ in range(size // len(block)):
            peer.send(block)
    pod.app(serve)
    pod.start("--workers", "1")
    peer = pod.dial()
    before = pod.proxy.private_kib()
    if of_request:
        peer.send(b"GET /aaaaaaaaaaa")
        for _ in range(size // len(block)):
            peer.send(block)
        expect(peer.exactly(4) == b"seen" and counted == [size], f"{counted}")
    else:
        peer.send(request())
        expect(len(peer.exactly(size + 13)) == size + 13, "not all came")
        peer.ends("fin")
    grown = pod.proxy.private_kib() - before
    expect(grown < 4096 or pod.context.sanitize, f"{grown} KiB grown")


@case(ways=("in4", "out6"))
def ten_thousand_empty_lines(pod):
    """10,000 empty lines are nobody's request: they arrive, and the server says what it thinks of them."""
    sent = b"\r\n" * 10000
    app = pod.app(script(lambda peer: setattr(peer, "got", peer.exactly(len(sent))), b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    pod.start()
    peer = pod.dial()
    peer.send(sent)
    peer.ends("fin", data=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    expect(app.peer().got == sent, "not what was sent")


@case(each={"word": (("--on-malformed-http", "maybe"), "maybe", "refuse"), "least": (("--drain-least", "40s", "--drain-timeout", "30s"), "40s", "30s")})
def bad_options(pod, row):
    """A value that is not accepted is named, with what is; nothing runs."""
    options, *named = row
    done = pod.inside.run([pod.context.proxy, *options], check=False, env=pod.context.environment())
    said = done.stdout + done.stderr
    expect(done.returncode and all(word in said for word in named), f"exit {done.returncode}: {said}")
