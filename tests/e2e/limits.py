"""Limits and faults: connections, descriptors, memory, a stdout that nobody reads, heads that are too large."""
import contextlib
import os
import re
import socket
import threading
import time

from .harness import BINARY, CLOSED, Failure, case, check_answer, expect, http, ok, request, script, silent, stalls_after, took, until

REFUSE = ("--on-malformed-http", "refuse")


@case(ways=("in4", "out6"))
def conn_limit(pod):
    """--max-connections 4, three of one direction: with these at work the next is answered 503 or reset as conn_limit that names the
    limit; then there is room again."""
    pod.app(stalls_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
    pod.start("--max-connections", "4", "--workers", "1")
    held = [pod.dial() for _ in range(3)]
    for peer in held:
        peer.send(request()).head()
    peer = pod.dial()
    try:
        peer.send(request())
        check_answer(peer.response(), 503, "conn_limit", closes=True)
    except ConnectionError:
        pass
    record = pod.record(reason="conn_limit", by="proxy", msg=CLOSED)
    expect("4" in record["detail"] and "--max-connections" in record["detail"], f"limit not named: {record['detail']}")
    held.pop().close()
    until(lambda: pod.proxy.records(CLOSED)[-1]["reason"].startswith("client_"), "no room was made")
    pod.dial().send(request()).head()


@case(ways=("in4", "out6"))
def idle_ones_give_way(pod):
    """--max-connections 4, three of one direction: a fourth takes the place of the one idle longest, which ends with FIN as conn_limit."""
    pod.app()
    pod.start("--max-connections", "4", "--workers", "1")
    held = []
    for _ in range(3):
        held.append(pod.dial())
        held[-1].ask()
        time.sleep(0.1)
    held[0].ask()  # so that the second one has been idle longest
    pod.dial().ask()
    held[1].ends("fin")
    record = pod.record(reason="conn_limit", by="proxy", msg=CLOSED, phase="idle", requests=1)
    expect("gave way" in record["detail"] and "--max-connections" in record["detail"], f"detail: {record['detail']}")
    held[0].ask()
    held[2].ask()


@case(each={"one worker": 1, "two": 2})
def as_many_give_way_as_come(pod, workers):
    """Twenty that come at once, where as many as may be are idle: each takes the place of one, also of another worker's; none is refused."""
    count = 20
    pod.app(stalls_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), port=8081)
    pod.app()
    pod.start("--max-connections", str(count + 1), "--workers", str(workers))
    idle = [pod.dial() for _ in range(count)]
    for peer in idle:
        peer.ask()
    busy = [pod.dial(8081) for _ in range(count)]
    for peer in busy:
        peer.send(request())
    for peer in busy:
        peer.head()
    for peer in idle:
        peer.ends("fin")
    pod.all_recorded(count)
    for record in pod.proxy.records(CLOSED):
        expect(record["reason"] == "conn_limit" and record["phase"] == "idle", f"{record}")


@case()
def silent_ones_give_way(pod):
    """What has said nothing for a second gives way; a client whose first bytes may still be on their way does not."""
    pod.app()
    pod.start("--max-connections", "4", "--workers", "1")
    held = [pod.dial() for _ in range(3)]
    early = pod.dial()
    early.ends("rst")
    pod.record(reason="conn_limit", msg=CLOSED, phase="accept", detail=re.compile("no idle one could give way"))
    time.sleep(1.2)
    pod.dial().ask()
    held[0].ends("fin")
    pod.record(reason="conn_limit", msg=CLOSED, phase="detect", detail=re.compile("idle for 1.*gave way"))
    held[1].ask()
    held[2].ask()


@case()
def a_share_for_each_direction(pod):
    """Clients from outside that hold all they may get do not keep the application's own calls from getting out."""
    pod.app(silent)
    pod.start("--max-connections", "8", "--workers", "1")
    outside = [pod.dial() for _ in range(8)]
    for peer in outside:
        with contextlib.suppress(OSError):
            peer.send(request("POST", "/", "Content-Length: 9"))
    pod.server
    app = pod.app(http(), host=pod.server, port=8081)
    with pod.inside.connect(pod.server.v4, 8081) as peer:
        pod.dials += 1
        peer.ask()
    expect(app.count == 1, "it never reached the server")


@case()
def fd_limit(pod):
    """At the descriptor limit the proxy waits without spinning, says so once, fd_limit where it must refuse, and recovers."""
    pod.app()
    pod.start("--max-connections", "1000", "--workers", "1")
    pod.limit("nofile", pod.proxy.descriptors() + 21)
    peers = [pod.dial() for _ in range(60)]
    served, refused = [], []

    def ask(peer):
        try:
            peer.send(request())
            response = peer.response()
            (served if response.status == 200 else refused).append(response)
        except (OSError, Failure):
            refused.append(None)
    askers = [threading.Thread(target=ask, args=(peer,)) for peer in peers]
    for each in askers:
        each.start()
    time.sleep(0.5)
    before = pod.proxy.cpu_seconds()
    time.sleep(1)
    used = pod.proxy.cpu_seconds() - before
    expect(used < 0.3, f"{used:.2f} s of CPU in one second at the limit")
    told = [line["msg"] for line in pod.proxy.lines if "accepting pauses" in line["msg"]]
    expect(len(told) == 1 and "reason=fd_limit" in told[0] and "ulimit -n" in told[0], f"told of the pauses: {told}")
    for peer in peers:
        with contextlib.suppress(OSError, AttributeError):  # one that was reset is gone already
            peer.sock.shutdown(socket.SHUT_RDWR)
    for each in askers:
        each.join()
    for response in filter(None, refused):
        check_answer(response, 503, "fd_limit")
    pod.all_recorded(within=10)
    expect(served or refused, "nobody was answered")
    pod.dial().ask()


@case()
def fd_limit_names_itself(pod):
    """When no descriptor is left for dialling: 503 fd_limit to HTTP, RST to opaque, the limit named; then it recovers."""
    pod.app()
    pod.start("--max-connections", "1000")
    first = pod.dial()
    first.ask()
    pod.app(silent, port=8081)
    soft = max(int(name) for name in os.listdir(f"/proc/{pod.proxy.pid}/fd")) + 2
    pod.limit("nofile", soft)
    peer = pod.dial()
    peer.send(request())
    check_answer(peer.response(), 503, "fd_limit")
    peer.close()
    until(lambda: pod.proxy.records(CLOSED), "not closed")
    opaque = pod.dial(8081)
    opaque.send(BINARY)
    opaque.ends("rst")
    for msg in (None, CLOSED):
        record = pod.record(reason="fd_limit", by="proxy", msg=msg)
        expect(str(soft) in record["detail"], f"limit not named: {record['detail']}")
    pod.limit("nofile", 1000)
    pod.dial().ask()
    first.ask()


@case(each={"no room": 0, "some room": 300 << 10})
def memory_limit(pod, room):
    """Without memory: connections are refused or ended as memory_limit, the process lives, and recovers with memory."""
    if pod.context.sanitize:
        return  # the sanitizer itself cannot live with so little
    pod.app(script("head", 2, ok()))
    pod.start("--workers", "1")
    with open(f"/proc/{pod.proxy.pid}/status") as file:
        data = int(re.search(r"VmData:\s+(\d+)", file.read())[1]) << 10
    pod.limit("data", data + room)
    peers = []
    for _ in range(300):
        peer = pod.dial()
        peers.append(peer)
        try:
            peer.send(b"GET / HTTP/1.1\r\nHost: app\r\nX: " + b"x" * 20000)
        except OSError:
            pass
    pod.record(reason="memory_limit", by="proxy")
    pod.limit("data", "unlimited")
    for peer in peers:
        peer.close()
    pod.dial().ask()


@case(each={"pipe": False, "own pipe": True})
def stdout_blocked(pod, own):
    """Nobody reads the log: traffic goes on, lines are dropped and counted rather than waited for; then lines come again."""
    pod.app()
    pod.start(own_pipe=own)
    pod.uncounted()
    pod.proxy.reading.clear()
    with took(0, late=20):
        for _ in range(3000):
            with pod.near.connect(pod.address, 8080) as peer:
                peer.ask()
    pod.proxy.reading.set()
    seen = -1
    while seen < len(pod.proxy.lines):
        seen = len(pod.proxy.lines)
        time.sleep(0.3)
    last = pod.dial()
    last.ask()
    last.fin()
    pod.record(reason="client_closed_idle", client=re.compile(rf":{last.local[1]}$"))
    lines = len(pod.proxy.records(CLOSED))
    expect(lines >= 100, f"only {lines} of 3001 records came after all")


def large_head(size):
    """A request whose head has exactly this many bytes."""
    empty = request("GET", "/", "X: ")
    return request("GET", "/", "X: " + "x" * (size - len(empty)))


HEADS = {
    "head": (large_head(65537), 431), "endless head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000, 431),
    "fields": (request("GET", "/", *["A: b"] * 128), 431), "target": (request("GET", "/" + "t" * 16384), 414),
    "endless target": (b"GET /" + b"t" * 20000, 414),
}


@case(each=HEADS)
def head_too_large(pod, what):
    """A head over a limit: 431 or 414, head_too_large, the limit named; the server hears nothing of it."""
    head, status = what
    app = pod.app()
    pod.start(*REFUSE)
    peer = pod.dial()
    peer.send(head)
    check_answer(peer.response(), status, "head_too_large", closes=True)
    record = pod.ended("head_too_large", by="client", phase="head")
    expect(re.search(r"--max-(head-size|head-fields|target-size)", record["detail"]), f"limit not named: {record['detail']}")
    expect(not any(peer.received for peer in app.peers), "part of it reached the server")


@case()
def heads_at_the_limit(pod):
    """Heads just within the limits pass: 64 KiB, 128 fields, a target of 16 KiB."""
    pod.app(http(lambda message: ok(str(len(message.raw_head)).encode())))
    pod.start()
    peer = pod.dial()
    for head in (large_head(65536), request("GET", "/", *["A: b"] * 127), request("GET", "/" + "t" * 16383)):
        peer.send(head)
        response = peer.response()
        expect(response.body == str(len(head)).encode(), f"{response.start} {response.get('lapse-detail')}")


@case()
def lower_limits(pod):
    """--max-head-size, --max-head-fields, --max-target-size and --max-chunk-extensions lower the limits."""
    pod.app()
    pod.start(*REFUSE, "--max-head-size", "1KiB", "--max-head-fields", "5", "--max-target-size", "100", "--max-chunk-extensions", "10")
    heads = (large_head(1025), 431), (request("GET", "/", *["A: b"] * 5), 431), (request("GET", "/" + "t" * 100), 414)
    for head, status in heads:
        peer = pod.dial()
        peer.send(head)
        check_answer(peer.response(), status, "head_too_large", closes=True)
    peer = pod.dial()
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 11 + b"\r\nx\r\n0\r\n\r\n")
    response = peer.response()
    expect(response.status in (400, 413, 431), f"{response.start}")
    pod.dial().ask()


@case()
def half_heads_are_bounded(pod):
    """Three hundred clients that hold back the end of a large head cost bounded memory and do not disturb others."""
    pod.app()
    pod.start()
    peers = [pod.dial() for _ in range(300)]
    for peer in peers:
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30000)
    with took(0, late=2):
        pod.dial().ask()
    private = pod.proxy.private_kib()
    expect(private < 25000 or pod.context.sanitize, f"{private} KiB private memory for 300 half heads of 30 KB")
