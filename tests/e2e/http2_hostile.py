"""HTTP/2 in bad hands: floods, bombs, stalls and frames out of place. What the proxy holds and spends is bounded, another connection is
unharmed, and the two ends deal with each other as they would direct."""
import contextlib
import os
import socket
import threading
import time

from .harness import CLOSED, Http2, case, expect, frames, pair, parked, serving, until
from .harness.frames import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, PUSH_PROMISE, SETTINGS_ACK, WINDOW, data, frame, frames_of,
                             headers, literals, ping, priority, rst_stream, settings, size_update, text, window_update)
from .http2_programs import WAITS, nghttpd

GET = b"\x82\x86\x84" + b"\x01" + text(b"app")
POST = b"\x83\x86\x84" + b"\x01" + text(b"app")
MANY = 20000
GROWS = 6144   # KiB that it may grow by meanwhile
OTHER = 8081   # where the neighbour's server is


def streams(make, count=MANY):
    return b"".join(make(number) for number in range(1, 2 * count, 2))


def flood(one, before=b"", count=MANY):
    return lambda: before + one * count


def bomb():
    """A field of 4,000 bytes put into the table, then named 16,000 times a block, in four blocks: 256 MiB of a header list in 64 KiB."""
    field = literals(("x-bomb", "b" * 3900), kind=0x40)
    return headers(1, GET + field, True) + b"".join(headers(number, GET + b"\xbe" * 16000, True) for number in (3, 5, 7, 9))


def long_list():
    block = GET + literals(*((f"x-{number}", "v" * 1000) for number in range(1024)))
    return headers(1, block, True, sizes=[16384] * (len(block) // 16384))


# Name -> (what the client sends behind its greeting, roughly how many frames that is).
ATTACKS = {
    "rapid reset": (lambda: streams(lambda number: headers(number, GET, True) + rst_stream(number)), 2 * MANY),
    "continuation": (lambda: frame(HEADERS, END_STREAM, 1, GET) + frame(CONTINUATION, 0, 1, literals(("a", "b"))) * MANY, MANY),
    "empty continuation": (lambda: frame(HEADERS, END_STREAM, 1, GET) + frame(CONTINUATION, 0, 1, b"") * MANY, MANY),
    "settings": (flood(settings()), MANY), "settings with values": (flood(settings(*[(1, 4096), (4, 65535)] * 10)), MANY),
    "pings": (flood(ping()), MANY), "ping answers": (flood(ping(ack=True)), MANY), "priority": (flood(priority(3, 0)), MANY),
    "priority of many": (lambda: streams(lambda number: priority(number, number + 2)), MANY),
    "empty data": (flood(data(1), headers(1, POST)), MANY), "unknown frames": (flood(frame(0xee, 3, 0, b"abc")), MANY),
    "padding": (flood(data(1, b"x", padding=255), headers(1, POST), 200), 200), "credit": (flood(window_update(0, 1)), MANY),
    "credit of a stream": (flood(window_update(1, 1), headers(1, POST)), MANY), "bomb": (bomb, 5), "long list": (long_list, 65),
    "size updates": (lambda: headers(1, size_update(0) * 16000 + GET, True), 1),
    "many streams": (lambda: streams(lambda number: headers(number, POST), 10000), 10000),
    "closed streams": (lambda: headers(1, GET, True) + (data(1, b"x") + headers(1, literals(("a", "b")), True)) * 3000, 6000),
    "idle streams": (flood(data(99, b"x") + rst_stream(101) + window_update(103, 1)), 3 * MANY),
    "no window": (lambda: settings((WINDOW, 0)) + streams(lambda number: headers(number, GET, True), 100), 100),
    "settings that change tables": (flood(settings((1, 0)) + settings((1, 65536))), 2 * MANY),
}


def strike(host, address, port, raw, patience=4.0):
    """Sends it all and reads meanwhile, for so long or to the end; ("fin" | "rst" | "open", frames that say something of the end)."""
    peer = host.connect(address, port)
    got, over, stop = bytearray(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                if peer.wait(0.1):
                    more = peer.some()
                    if not more:
                        over.append("fin")
                        return
                    got.extend(more)
            except OSError:
                over.append("rst")
                return
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    peer.sock.settimeout(patience)
    with contextlib.suppress(OSError):
        peer.send(PREFACE + settings() + SETTINGS_ACK + raw)
    seen, quiet, deadline = -1, 0, time.monotonic() + patience
    while not over and (time.monotonic() < deadline or quiet < 2) and quiet < 4:
        quiet = quiet + 1 if len(got) == seen else 0
        seen = len(got)
        time.sleep(0.4)
    stop.set()
    reader.join(1)
    peer.close()
    found = [each for each in frames_of(bytes(got))[0] if each.kind == frames.GOAWAY]
    return over[0] if over else "open", [(each.code, each.debug) for each in found]


class Neighbour:
    """Another connection, which asks for something every 20 ms; how long that took."""

    def __init__(self, pod):
        pod.app(serving(lambda end, stream: end.respond(stream)), port=OTHER)
        self.client = Http2(pod.dial(OTHER), True).start()
        begun = time.monotonic()
        for _ in range(5):
            self.client.finished(self.client.request())
        self.usual = (time.monotonic() - begun) / 5
        self.took, self.failed, self.stop = [], None, threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                stream = self.client.finished(self.client.request())
            except Exception as error:  # told by the case
                self.failed = repr(error)
                return
            if stream.status != 200:
                self.failed = repr(stream)
                return
            self.took.append(time.monotonic() - begun)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(20)


def unharmed(pod, neighbour, before, cpu, number):
    """What the proxy grew by and spent is bounded, and the neighbour was served all the time."""
    expect(not neighbour.failed and neighbour.took, f"the neighbour: {neighbour.failed}")
    middle = sorted(neighbour.took)[len(neighbour.took) // 2]
    expect(middle < max(0.25, 5 * neighbour.usual) and max(neighbour.took) < max(2.5, 20 * neighbour.usual), f"the neighbour waited {middle:.3f} s in the middle, {max(neighbour.took):.3f} s at most")
    if pod.context.release:
        grown, spent = pod.proxy.private_kib() - before, pod.proxy.cpu_seconds() - cpu
        expect(grown < GROWS, f"the proxy grew by {grown} KiB")
        expect(spent < 0.5 + 5e-6 * number + 1e-3 * len(neighbour.took), f"the proxy spent {spent:.2f} s on {number} frames and {len(neighbour.took)} requests")


@case(ways=("in4", "out4"), each=ATTACKS, limit=120)
def attacked(pod, row):
    """A client's flood at nghttpd: it ends as it does direct; memory, CPU and a neighbour's answers as they should be."""
    make, number = row
    raw = make()
    nghttpd(pod, "-m", "100")
    pod.start(*WAITS)
    pod.uncounted()
    direct = strike(pod.far, pod.address, 8080, raw)
    before, cpu = pod.proxy.private_kib(), pod.proxy.cpu_seconds()
    with Neighbour(pod) as neighbour:
        through = strike(pod.near, pod.address, 8080, raw)
    unharmed(pod, neighbour, before, cpu, number)
    told = [{code for code, _ in found[1]} for found in (direct, through)]
    # A RST that overtakes what came before it is the network's: whether the GOAWAY is still read differs direct from run to run, too.
    ended = [found[0] != "open" for found in (direct, through)]
    if ended[1] and not ended[0]:  # how many of its answers a server lets wait before it calls that a flood hangs on the moment
        pod.record(by="server", msg=CLOSED)
        return
    expect(ended[0] == ended[1] and (told[0] == told[1] or "rst" in (direct[0], through[0])), f"direct {direct}, through the proxy {through}")


SERVERS = {
    "pushes": b"".join(frame(PUSH_PROMISE, END_HEADERS, 1, number.to_bytes(4, "big") + GET) for number in range(2, 20000, 2)),
    "pings": ping() * MANY, "settings": settings() * MANY, "interim": headers(1, literals((":status", "103"))) * MANY,
    "continuation": frame(HEADERS, 0, 1, b"\x88") + frame(CONTINUATION, 0, 1, b"") * MANY,
    "bomb": headers(1, b"\x88" + literals(("x-bomb", "b" * 3900), kind=0x40)) + headers(1, b"\xbe" * 16000) * 4,
    "padding": headers(1, b"\x88") + data(1, b"", padding=255) * 250, "resets": b"".join(rst_stream(number) for number in range(1, MANY, 2)),
    "goaways": frames.goaway(1, debug=b"d" * 200) * 5000, "empty data": headers(1, b"\x88") + data(1) * MANY,
}


@case(each=SERVERS, limit=90)
def attacked_by_the_server(pod, raw):
    """The same by a server: every byte reaches its client, what the proxy holds and spends is bounded, a neighbour is unharmed."""
    def serve(peer):
        peer.exactly(len(PREFACE))
        peer.send(frames.settings() + raw)
        peer.all()
    pod.app(serve)
    pod.start()
    with Neighbour(pod) as neighbour:
        before, cpu = pod.proxy.private_kib(), pod.proxy.cpu_seconds()
        peer = pod.dial()
        peer.send(PREFACE + settings() + SETTINGS_ACK + headers(1, GET, True))
        want = frames.settings() + raw
        got = peer.exactly(len(want))
        expect(got == want, f"the client got {len(got)} of {len(want)} bytes")
    unharmed(pod, neighbour, before, cpu, len(raw) // 9)
    peer.close()


@case(ways=("in4", "out6"), limit=90)
def half_frames_that_stall(pod):
    """100 connections that stop inside a frame, a block, a message: they cost what any connection costs, and no one else waits."""
    app = pod.app(parked)
    pod.start()
    stalls = (headers(1, GET)[:12], frame(HEADERS, 0, 1, GET), headers(1, POST) + data(1, b"x" * 16000)[:8000], b"\0", headers(1, POST) + data(1, b"\0\0\0\xff\xff"),
              frame(DATA, 0, 1, b"", length=(1 << 24) - 1))
    with Neighbour(pod) as neighbour:
        before, cpu = pod.proxy.private_kib(), pod.proxy.cpu_seconds()
        peers = []
        for number in range(100):
            peers.append(pod.dial())
            peers[-1].send(PREFACE + settings() + stalls[number % len(stalls)])
        time.sleep(1)
    unharmed(pod, neighbour, before, cpu, 300)
    expect(app.count == 100, f"{app.count} connections reached the server")
    expect(not any(peer.wait(0) for peer in peers), "one of them was ended")
    for peer in peers:
        peer.close()


@case(limit=90)
def stalled_readers(pod):
    """20 clients that read nothing of large answers: back-pressure reaches their servers, what the proxy holds is bounded."""
    piece = data(1, os.urandom(16384)) * 16

    def serve(peer):
        peer.exactly(len(PREFACE))
        peer.sock.settimeout(None)
        with contextlib.suppress(OSError):
            peer.send(settings() + headers(1, b"\x88"))
            for _ in range(120):
                peer.send(piece)
    app = pod.app(serve)
    pod.start()
    with Neighbour(pod) as neighbour:
        before, cpu = pod.proxy.private_kib(), pod.proxy.cpu_seconds()
        peers = []
        for _ in range(20):
            peer = pod.dial()
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            peer.send(PREFACE + settings() + headers(1, GET, True))
            peers.append(peer)
        until(lambda: app.count == 20, "not all reached the server")
        time.sleep(1.5)
    unharmed(pod, neighbour, before, cpu, 20 * 100)
    for peer in peers:
        peer.close()


@case(limit=90)
def hostile_and_timed(pod):
    """With timers that act: 500 streams cut at once on a client that reads nothing, frames on cut streams by the thousand: bounded, and the end is told."""
    app = pod.app(parked)
    pod.start(request="500ms")
    client, server = pair(pod, app)
    with Neighbour(pod) as neighbour:
        before, cpu = pod.proxy.private_kib(), pod.proxy.cpu_seconds()
        numbers = [client.request(f"/{number}").id for number in range(500)]
        server.headed(numbers[-1])
        time.sleep(1)
        late = b"".join(data(number, b"late", padding=9) for number in numbers) * 10 + b"".join(
            headers(number, literals(("x-late", "y")), True) for number in numbers)
        with contextlib.suppress(OSError):
            server.peer.send(late)
        server.drain(0.5)
        client.drain(0.5)
    unharmed(pod, neighbour, before, cpu, 30000)
    expect(client.over or all(client.stream(number).get("lapse-reason") == "request_timeout" for number in numbers), "not all were answered")
    client.peer.close()


@case(limit=60)
def parted_tables_and_a_bad_block(pod):
    """Once tables have parted what cannot be understood cannot go on verbatim: GOAWAY(INTERNAL_ERROR) both ways, and a record that says whose it was."""
    app = pod.app(parked)
    pod.start(request="400ms")
    client, server = pair(pod, app)
    victim = client.request()
    server.headed(victim.id)
    client.finished(victim)
    server.respond(server.stream(victim.id), 200, ("x-late", "1"), body=b"")
    again = client.request("/again")
    server.headed(again.id)
    server.send(headers(again.id, b"\xff\xff\xff\xff\x0f", True))
    client.until(lambda: client.over, "the connection goes on")
    expect([each.code for each in client.goaways()] == ["INTERNAL_ERROR"], f"{client.frames[-3:]}")
    server.until(lambda: server.over, "the server's connection goes on")
    expect([each.code for each in server.goaways()] == ["INTERNAL_ERROR"], f"{server.frames[-3:]}")
    pod.record(msg="connection closed", reason="h2_protocol_error", by="server")


@case(each={"block": headers(1, GET + b"\xff\xff\xff\xff\x0f", True), "interleaved": frame(HEADERS, 1, 1, GET) + ping(), "padding": frame(DATA, 8, 1, b"\xffab"),
            "size": frame(0, 0, 0, b"x")})
def unread_from_there(pod, sent):
    """What cannot be understood before a frame of ours goes on as it came, unread from there: the record says in which frame, timers of streams end."""
    app = pod.app(parked)
    pod.start(request="400ms")
    client, server = pair(pod, app)
    for number in (1, 3):
        stream = client.request()
        server.respond(server.headed(stream.id))
        client.finished(stream)
    client.send(sent + ping(b"and more") + headers(7, GET, True))
    want = sent + ping(b"and more") + headers(7, GET, True)
    deadline = time.monotonic() + 3
    while want not in server.buffer and time.monotonic() < deadline and server.peer.wait(0.5):
        server.buffer += server.peer.some()
    expect(want in server.buffer, f"not every byte reached the server: {server.buffer!r}")
    client.quiet(0.8)
    client.peer.fin()
    server.peer.fin()
    record = pod.record(msg="connection closed")
    expect("client" in record.get("unread", "") and "frame" in record["unread"], f"{record}")
