"""Timers that wait for a peer: what it acknowledges is progress, what it does not take at all is a stall, and a process that was stopped
does not blame its peers."""
import contextlib
import threading
import time

from .harness import after, case, expect, http, ok, request, script, took
from .hostile import frozen

WAYS = ("in4", "in6", "out4", "out6")
ONE_WAY = ("in4", "out6")
BLOB = bytes(range(256)) * 6144  # 1.5 MiB: more than all buffers on the way
UPGRADE = request("GET", "/", "Connection: upgrade", "Upgrade: raw")


def small_buffers(pod):
    """Little fits into the kernels' buffers: what is not read is soon felt."""
    for host in {pod.client, pod.inside, pod.far}:
        host.sysctl("ipv4/tcp_rmem", "4096 65536 65536")
        host.sysctl("ipv4/tcp_wmem", "4096 65536 65536")


def sip(peer, total, piece=65536, every=0.12):
    """Reads `total` bytes, a piece at a time; what came."""
    got = b""
    while len(got) < total:
        part = peer.some(min(piece, total - len(got)))
        if not part:
            break
        got += part
        time.sleep(every)
    return got


def switching(serve):
    """An app that answers 101 and then goes on as `serve`."""
    def switched(peer):
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
        serve(peer)
    return http(lambda _: switched)


def gives(data, then_fin=False):
    """A handler that sends this unasked, and stays until its client has finished."""
    def serve(peer):
        peer.send(data)
        if then_fin:
            peer.fin()
        with contextlib.suppress(OSError):
            peer.all()
    return serve


@case(ways=WAYS)
def half_closed_slow_reader(pod):
    """halfClose=600ms: a client that takes 3 s over what the server sent before its FIN gets all of it."""
    small_buffers(pod)
    pod.app(gives(BLOB, then_fin=True))
    pod.start("--opaque-ports", "8080", half_close="600ms")
    peer = pod.dial()
    expect(sip(peer, len(BLOB)) == BLOB, "bytes are missing")
    expect(peer.some() == b"", "no FIN behind them")
    peer.fin()
    pod.ended("done", by="server")


@case(ways=WAYS)
def half_closed_slow_upload(pod):
    """halfClose=600ms: a server that takes 3 s over what its client sent before its FIN gets all of it."""
    small_buffers(pod)
    got = []

    def slow(peer):
        got.append(sip(peer, len(BLOB)))
        got.append(peer.some())
    pod.app(slow)
    pod.start("--opaque-ports", "8080", half_close="600ms")
    peer = pod.dial()
    peer.send(BLOB).fin()
    peer.ends("fin", within=10)
    expect(got == [BLOB, b""], f"{[len(part) for part in got]}")
    pod.ended("done", by="client")


@case(ways=("out4", "out6"))
def half_closed_slow_end_of_an_upload(pod):
    """halfClose=1s: the kernel has all that is left, and its server takes 2.4 s over it: what that acknowledges is asked for."""
    got = []
    pod.far.sysctl("ipv4/tcp_rmem", "4096 65536 65536")
    pod.app(lambda peer: got.extend((sip(peer, 400000, 16384, 0.1), peer.some())))
    pod.start("--opaque-ports", "8080", half_close="1s")
    peer = pod.dial()
    peer.send(BLOB[:400000]).fin()
    peer.ends("fin", within=10)
    expect(got == [BLOB[:400000], b""], f"{[len(part) for part in got]}")
    pod.ended("done", by="client")


@case(ways=ONE_WAY, each={"opaque": False, "tunnel": True})
def idle_slow_reader(pod, tunnel):
    """tcpIdle or streamIdle of 600ms, no byte is sent any more: as long as the client takes what is there it is no idle one."""
    small_buffers(pod)
    pod.app(switching(gives(BLOB)) if tunnel else gives(BLOB))
    pod.start(*([] if tunnel else ["--opaque-ports", "8080"]), tcp_idle="600ms", stream_idle="600ms")
    peer = pod.dial()
    if tunnel:
        peer.send(UPGRADE)
        expect(peer.head().status == 101, "not upgraded")
    expect(sip(peer, len(BLOB)) == BLOB, "bytes are missing")
    with took(0.5):
        peer.ends("fin")
    pod.ended("tunnel_idle_timeout" if tunnel else "tcp_idle_timeout", client_undelivered=0)


@case(ways=ONE_WAY)
def response_slow_reader(pod):
    """streamIdle=600ms: a client that takes 3 s over its response gets it, though the server sent it in no time."""
    small_buffers(pod)
    pod.app(http(lambda _: ok(BLOB)))
    pod.start(stream_idle="600ms", idle_connection="600ms")
    peer = pod.dial()
    peer.send(request())
    head = peer.head()
    expect(head.status == 200 and sip(peer, len(BLOB)) == BLOB, "bytes are missing")
    peer.ends("fin")
    pod.ended("idle_timeout")


@case(ways=ONE_WAY, each={"opaque": False, "tunnel": True})
def stalled_client(pod, tunnel):
    """A client that takes nothing for all of the timer: client_stalled, RST, and how much it did not get."""
    small_buffers(pod)
    pod.app(switching(gives(BLOB)) if tunnel else gives(BLOB))
    pod.start(*([] if tunnel else ["--opaque-ports", "8080"]), tcp_idle="1s", stream_idle="1s")
    peer = pod.dial()
    if tunnel:
        peer.send(UPGRADE)
        expect(peer.head().status == 101, "not upgraded")
    with took(1.0, late=0.6):
        record = pod.record(reason="client_stalled", by="client", timer="streamIdle" if tunnel else "tcpIdle", value="1s")
    expect(record["client_undelivered"] > 20000 and record["server_undelivered"] == 0, f"{record}")
    expect("took none of the" in record["detail"], record["detail"])
    expect(peer.end()[0] == "rst", "a cut that looks like an end")


@case(ways=("in4",))
def stalled_behind_a_pipe(pod):
    """tcpIdle in the midst of much that goes through a pipe: what waits in it is undelivered too, beside what the kernel has."""
    pod.client.sysctl("ipv4/tcp_rmem", "4096 65536 65536")
    pod.app(gives(BLOB * 9))
    pod.start("--opaque-ports", "8080", tcp_idle="1s")
    peer = pod.dial()
    peer.exactly(4 * len(BLOB))
    record = pod.record(reason="client_stalled", timer="tcpIdle", value="1s")
    expect(record["client_notsent"] < record["client_undelivered"] < 5 * len(BLOB), f"{record}")


@case(ways=ONE_WAY)
def stalled_half_closed_client(pod):
    """halfClose: what the client does not take at all is client_stalled as well, and no clean end."""
    small_buffers(pod)
    pod.app(gives(BLOB[:100000], then_fin=True))  # fits into the kernel's: the FIN behind it is seen
    pod.start("--opaque-ports", "8080", half_close="1s")
    peer = pod.dial()
    record = pod.record(reason="client_stalled", timer="halfClose", value="1s")
    expect(record["client_undelivered"] > 20000, f"{record}")
    expect(peer.end()[0] == "rst", "a cut that looks like an end")


@case(ways=ONE_WAY, each={"opaque": False, "http": True})
def stalled_server(pod, is_http):
    """A server that takes nothing of an upload for all of the timer: server_stalled, 504 where there is an answer to give."""
    small_buffers(pod)
    stop = threading.Event()
    pod.app(lambda peer: stop.wait(10))
    pod.start(*([] if is_http else ["--opaque-ports", "8080"]), tcp_idle="1s", stream_idle="1s")
    peer = pod.dial()
    if is_http:
        peer.send(request("POST", "/", f"Content-Length: {len(BLOB)}"))
    with contextlib.suppress(OSError):
        peer.sock.settimeout(0.7)
        peer.send(BLOB)
    peer.sock.settimeout(10)
    record = pod.record(reason="server_stalled", by="server", timer="streamIdle" if is_http else "tcpIdle", value="1s")
    stop.set()
    expect(record["server_undelivered"] > 20000 and record["client_undelivered"] == 0, f"{record}")
    if is_http:
        expect(peer.head().status == 504, "no 504")
    else:
        expect(peer.end()[0] == "rst", "a cut that looks like an end")


@case(ways=WAYS)
def last_bytes_of_a_slow_reader(pod):
    """`Connection: close` is honoured while the client is still reading, longer than a lingering end lasts: it gets all."""
    small_buffers(pod)
    pod.app(http(lambda _: ok(BLOB, "Connection: close")))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    expect(peer.head().status == 200 and sip(peer, len(BLOB)) == BLOB, "bytes are missing")
    expect(peer.some() == b"", "no FIN behind them")
    pod.ended("connection_close")


# unacknowledged

@case(ways=ONE_WAY)
def unacknowledged_counts_from_what_is_outstanding(pod):
    """unacknowledged=1s: an old write that was acknowledged says nothing of a request whose acknowledgement is 0.5 s late."""
    pod.app(http())
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    begun = time.monotonic()
    peer.ask()
    time.sleep(max(0, begun + 0.8 - time.monotonic()))
    server = pod.inside if pod.inbound else pod.server
    answers = []

    def ask():
        answers.append(peer.ask().status)
    if pod.inbound:  # the app is beside the proxy: what can be cut is the client's answer on its way
        with pod.client.cut():
            thread = threading.Thread(target=ask)
            thread.start()
            time.sleep(0.5)
    else:
        with server.cut():
            thread = threading.Thread(target=ask)
            thread.start()
            time.sleep(0.5)
    thread.join(10)
    expect(answers == [200], f"{answers}")
    expect(not [record for record in pod.proxy.records() if "vanished" in record["reason"]], "taken for gone")


@case(ways=("out4", "out6"))
def unacknowledged_finds_the_vanished(pod):
    """unacknowledged=1s, a kept connection used before: a server that is gone is found 1 s after the first byte it did not answer."""
    pod.app(http())
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    peer.ask()
    time.sleep(1.5)
    with pod.server.cut():
        peer.send(request())
        with took(1.0, late=0.8):
            pod.record(reason="server_vanished", timer="unacknowledged", value="1s")
    expect(peer.response().status == 504, "no 504")


# A process that was stopped.

@case(ways=ONE_WAY)
def stopped_while_the_answer_came(pod):
    """request=1s, backendRequest=1s: the answer came after 0.3 s, the proxy stood still for 1.5 s: 200."""
    pod.app(http(after(0.3, ok(b"in time"))))
    pod.start("--workers", "1", request="1s", backend_request="1s", stream_idle="1s")
    peer = pod.dial()
    peer.send(request())
    time.sleep(0.1)
    with frozen(pod):
        time.sleep(1.5)
    response = peer.response()
    expect(response.status == 200 and response.body == b"in time", f"{response.start}")


@case(ways=("out4",))
def stopped_while_many_answers_came(pod):
    """The same for more connections than the kernel names at once: what it names first is not all that came in time."""
    many = 400
    pod.app(http(after(0.6, ok(b"in time"))))
    pod.start("--workers", "1", request="1500ms", backend_request="1500ms", stream_idle="1500ms")
    peers = [pod.dial() for _ in range(many)]
    for peer in peers:
        peer.send(request())
    time.sleep(0.2)
    with frozen(pod):
        time.sleep(2)
    answers = [peer.response().status for peer in peers]
    expect(answers == [200] * many, f"{many - answers.count(200)} of {many} were not answered")


@case(ways=ONE_WAY)
def stopped_while_the_head_came(pod):
    """requestHeaders=1s: the head was whole after 0.3 s, the proxy stood still for 1.5 s: it is served."""
    pod.app(http())
    pod.start("--workers", "1", request_headers="1s", stream_idle="1s")
    peer = pod.dial()
    peer.send(request()[:12])
    time.sleep(0.1)
    with frozen(pod):
        time.sleep(0.2)
        peer.send(request()[12:])
        time.sleep(1.3)
    expect(peer.response().status == 200, "cut off")


@case(ways=ONE_WAY)
def stopped_while_bytes_came(pod):
    """tcpIdle=1s: bytes came both ways while the proxy stood still for 1.5 s: nothing is lost, nothing ends."""
    pod.app(lambda peer: [peer.exactly(2), time.sleep(0.2), peer.send(b"pong"), peer.exactly(4), peer.send(b"end"), peer.all()])
    pod.start("--workers", "1", "--opaque-ports", "8080", tcp_idle="1s")
    peer = pod.dial()
    peer.send(b"hi")
    time.sleep(0.05)
    with frozen(pod):
        time.sleep(0.3)
        peer.send(b"ping")
        time.sleep(1.2)
    expect(peer.exactly(7) == b"pongend", "bytes are missing")
    peer.fin()
    pod.ended("done")
