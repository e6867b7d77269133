"""HTTP/2 is observed: until a timer acts, every byte arrives as it was sent, both ways, well-formed or not, however it is cut."""
import hashlib
import random
import socket
import threading
import time

from .harness import (CLOSED, DEAD_PORTS_TOO, Http2, black_hole, case, check_own, expect, frames, http, ok, pair, parked, punctual, request, serving,
                      together, took, until)
from .harness.frames import (ACK, CONTINUATION, DATA, END_HEADERS, FRAME_SIZE, GOAWAY, HEADERS, MAX_STREAMS, PADDED, PING, PREFACE, PRIORITY,
                             PUSH_PROMISE, RST_STREAM, SETTINGS, SETTINGS_ACK, TABLE_SIZE, WINDOW, WINDOW_UPDATE, data, frame, goaway,
                             headers, literals, ping, priority, rst_stream, settings, size_update, text, window_update)

WAYS = ("in4", "out6")
ASK = b"\x82\x86\x84" + b"\x01" + text(b"app")  # GET http / with :authority app, from the static table
POST = b"\x83\x86\x84" + b"\x01" + text(b"app")
OK = b"\x88"
HELLO = settings() + SETTINGS_ACK
FIELDS = literals(("a", "b"), ("c", "d" * 40))


# Conversations: name -> (what the client sends behind its preface, what the server sends).

WELL_FORMED = {
    "request": (HELLO + headers(1, ASK, end=True), HELLO + headers(1, OK) + data(1, b"hello", end=True)),
    "settings": (settings((TABLE_SIZE, 0), (MAX_STREAMS, 7), (WINDOW, 1), (FRAME_SIZE, 1 << 20), (99, 4294967295), (1, 65536)) + SETTINGS_ACK,
                 settings((6, 100), (8, 1), (0xfe00, 5)) + settings() * 3 + SETTINGS_ACK * 2),
    "pings": (HELLO + ping() * 3 + ping(b"\0" * 8, ack=True), HELLO + ping(b"somebody") + ping(ack=True) * 3),
    "unknown frames": (HELLO + frame(0xa, 0, 0, b"altsvc") + frame(0x10, 0, 0, b"0u=1") + frame(0xee, 0xff, 3, b"x" * 900),
                       HELLO + frame(0xb, 255, 1, b"") + frame(0xc, 0, 0, b"origin")),
    "flags nobody knows": (settings() + headers(1, ASK, end=True)[:4] + b"\xd5" + headers(1, ASK)[5:] + frame(PING, 0x7e, 0, b"12345678"),
                           HELLO + headers(1, OK) + frame(DATA, 0xd1, 1, b"x")),
    "reserved bit": (HELLO + headers(1 | 1 << 31, ASK, end=True) + window_update(0, 1 << 31 | 5), HELLO + headers(1 | 1 << 31, OK, end=True)),
    "priority": (HELLO + priority(3, 0, 200) + headers(1, ASK, end=True, priority=(3 | 1 << 31, 7)) + priority(1, 3) * 5, HELLO + priority(1, 0)),
    "padding": (HELLO + headers(1, POST, padding=255) + b"".join(data(1, b"x" * size, padding=pad) for size, pad in ((0, 0), (0, 255), (9, 1)))
                + data(1, b"", end=True, padding=9), HELLO + headers(1, OK, padding=1) + data(1, b"", padding=255) * 4 + data(1, end=True)),
    "continuation": (HELLO + headers(1, ASK + FIELDS, end=True, sizes=(1, 1, 0, 5, 0, 0, 9), padding=3, priority=(0, 1)),
                     HELLO + headers(1, OK + FIELDS, sizes=(0, 3)) + data(1, b"b") + headers(1, FIELDS, end=True, sizes=(2,))),
    "interim": (HELLO + headers(1, POST), HELLO + headers(1, literals((":status", "100"))) + headers(1, literals((":status", "103"), ("link", "x")))
                + headers(1, OK, end=True) + rst_stream(1, 0)),
    "push": (HELLO + headers(1, ASK, end=True), HELLO + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + ASK) + frame(
        PUSH_PROMISE, END_HEADERS | PADDED, 1, b"\2\0\0\0\4" + ASK + b"\0\0") + headers(2, OK, end=True) + headers(1, OK, end=True) + rst_stream(4)),
    "connect": (HELLO + headers(1, literals((":method", "CONNECT"), (":authority", "a:1"))) + data(1, b"raw"), HELLO + headers(1, OK) + data(1, b"raw")),
    "extended connect": (HELLO + headers(1, literals((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"),
                                                     (":authority", "a"))) + data(1, b"\x81\0"), settings((8, 1)) + headers(1, OK) + data(1, b"\x81\0", end=True)),
    "goaway": (HELLO + headers(1, ASK, end=True) + goaway(0, 0, b"bye"), HELLO + goaway(frames.LAST) + goaway(1, 11, b"too_many_pings" * 40)
               + headers(1, OK, end=True)),
    "resets": (HELLO + b"".join(headers(number, ASK, end=True) + rst_stream(number, number % 14) for number in range(1, 99, 2)),
               HELLO + b"".join(rst_stream(number, 0xdeadbeef) for number in range(1, 99, 2))),
    "windows": (HELLO + window_update(0, 1) * 40 + headers(1, ASK, end=True) + window_update(1, frames.LAST - 65535), HELLO + headers(1, OK)
                + data(1) * 30 + b"".join(data(1, b"x") for _ in range(50)) + data(1, end=True)),
    "tables": (HELLO + headers(1, size_update(0) + size_update(4096) + ASK + literals(("x-a", "b"), kind=0x40), end=True)
               + headers(3, b"\xbe" + ASK[:3] + literals(("secret", "s"), kind=0x10), end=True),
               HELLO + headers(1, OK + literals(("x-c", "d" * 3000), kind=0x40), end=True) + headers(3, size_update(0) + OK, end=True)),
    "half a frame": (HELLO + headers(1, ASK)[:-3], HELLO + data(1, b"abcdefgh")[:11]),
    "nothing": (b"", b""),
}

# The other end's business: it is told what it would have been told without us.
MALFORMED = {
    "headers on stream 0": headers(0, ASK, end=True), "data on an idle stream": data(5, b"x"), "short settings": frame(SETTINGS, 0, 0, b"12345"),
    "settings on a stream": frame(SETTINGS, 0, 1), "acknowledged with content": frame(SETTINGS, ACK, 0, b"123456"),
    "short ping": frame(PING, 0, 0, b"1234567"), "ping on a stream": frame(PING, 0, 1, b"12345678"), "short goaway": frame(GOAWAY, 0, 0, b"1234"),
    "no increment": window_update(0, 0), "no increment on a stream": headers(1, POST) + window_update(1, 0),
    "short increment": frame(WINDOW_UPDATE, 0, 0, b"123"), "increment over the most": window_update(0, frames.LAST) * 2,
    "reset of an idle stream": rst_stream(1), "reset of stream 0": rst_stream(0), "short reset": headers(1, POST) + frame(RST_STREAM, 0, 1, b"123"),
    "continuation alone": frame(CONTINUATION, END_HEADERS, 1, ASK), "interleaved": headers(1, ASK, sizes=(2,))[:11] + ping(),
    "another stream's continuation": frame(HEADERS, 1, 1, ASK) + frame(CONTINUATION, END_HEADERS, 3, b""),
    "unknown inside a block": frame(HEADERS, 1, 1, ASK) + frame(0xee, 0, 0, b""), "index 0": headers(1, b"\x80", end=True),
    "index over the table": headers(1, ASK + b"\xff\x80\x01", end=True), "table size over the most": headers(1, size_update(8192) + ASK, end=True),
    "table size behind a field": headers(1, ASK + size_update(0), end=True), "text that does not end": headers(1, ASK + b"\x00\x7f\xff", end=True),
    "bad Huffman": headers(1, ASK + b"\x00\x83\xff\xff\xff\x00", end=True), "padding over the frame": frame(DATA, PADDED, 1, b"\xffab"),
    "padding over the block": frame(HEADERS, PADDED | END_HEADERS, 1, b"\x40" + ASK), "no room for padding": frame(DATA, PADDED, 1, b""),
    "over 16,384": headers(1, POST) + data(1, b"x" * 16385), "sixteen MiB promised": frame(DATA, 0, 1, b"abc", length=(1 << 24) - 1),
    "even stream": headers(2, ASK, end=True), "falling streams": headers(5, ASK, end=True) + headers(3, ASK, end=True),
    "upper case": headers(1, ASK + literals(("X-Upper", "a")), end=True), "connection field": headers(1, ASK + literals(("connection", "close")), end=True),
    "no path": headers(1, b"\x82\x86", end=True), "pseudo behind": headers(1, literals(("a", "b")) + ASK, end=True),
    "two methods": headers(1, ASK + b"\x82", end=True), "depends on itself": headers(1, ASK, end=True, priority=(1, 1)),
    "short priority": frame(PRIORITY, 0, 1, b"1234"), "closed stream": headers(1, ASK, end=True) + data(1, b"x"),
    "push by a client": headers(1, ASK) + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + ASK), "no settings": b"", "garbage": b"\xff" * 64,
    "push 2": settings((2, 2)), "window over the most": settings((WINDOW, 1 << 31)), "frame size below": settings((FRAME_SIZE, 100)),
    "longer than it says": headers(1, POST + literals(("content-length", "2"))) + data(1, b"abc", end=True),
}
FIRST = {"settings before": HELLO, "nothing before": b""}


def recording(answer, cuts=None):
    """An app that sends its side when the preface has come, and keeps all that comes: peer.got."""
    def serve(peer):
        peer.got = peer.exactly(len(PREFACE))
        pieces(peer, answer, cuts)
        peer.got += peer.all()
    return serve


def pieces(peer, raw, cuts=None):
    """Sends raw, cut at these places, each piece a segment of its own."""
    places = [0, *(cuts or ()), len(raw)]
    for begin, end in zip(places, places[1:]):
        if begin:
            time.sleep(0.002)
        peer.send(raw[begin:end])


def carried(peer, app, number, sent, answer):
    """Expects both sides' bytes on both sides, then the FIN of each."""
    got = peer.exactly(len(answer))
    expect(got == answer, f"the client got {got!r} for {answer!r}")
    peer.fin()
    peer.ends("fin")
    app.ended(number)
    expect(app.peers[number].got == sent, f"the server got {app.peers[number].got!r} for {sent!r}")
    peer.close()


@case(ways=WAYS, each=WELL_FORMED)
def verbatim(pod, row):
    """What both ends say arrives byte for byte, then FIN."""
    app = pod.app(recording(row[1]))
    pod.start()
    peer = pod.dial()
    peer.send(PREFACE + row[0])
    carried(peer, app, 0, PREFACE + row[0], row[1])
    pod.record(msg=CLOSED, protocol="http/2")


@case(each=MALFORMED)
def malformed_verbatim(pod, sent):
    """What breaks the protocol arrives byte for byte too, whichever side says it, first or behind a greeting."""
    app = pod.app(None)
    app.handler = lambda peer: recording(answers[app.peers.index(peer)])(peer)
    answers, rows = [], [(before + sent, HELLO) for before in FIRST.values()] + [(HELLO, before + sent) for before in FIRST.values()]
    pod.start()
    for number, (said, answer) in enumerate(rows):
        answers.append(answer)
        peer = pod.dial()
        peer.send(PREFACE + said)
        carried(peer, app, number, PREFACE + said, answer)


CHOSEN = ("request", "settings", "unknown frames", "padding", "continuation", "push", "tables", "interim")


@case(each=dict.fromkeys(CHOSEN, None) | {name: name for name in CHOSEN}, limit=120)
def split_anywhere(pod, name):
    """Every frame cut at every byte, on both sides at once: byte for byte."""
    said, answer = WELL_FORMED[name][0][:600], WELL_FORMED[name][1][:600]
    sent, longest = PREFACE + said, max(len(PREFACE + said), len(answer))
    numbers = {}
    app = pod.app(lambda peer: recording(answer, [min(numbers_of(peer), len(answer))])(peer))

    def numbers_of(peer):
        return numbers.setdefault(peer, len(numbers) + 1)
    pod.start()
    for begin in range(1, longest, 60):
        places = range(begin, min(begin + 60, longest))
        before = app.count
        peers = [pod.dial() for _ in places]
        for at, peer in zip(places, peers):
            peer.send(sent[:at])
        time.sleep(0.02)
        for at, peer in zip(places, peers):
            peer.send(sent[at:])
        for at, peer in zip(places, peers):
            got = peer.exactly(len(answer))
            expect(got == answer, f"cut at {at}: the client got {got!r}")
            peer.fin()
            peer.ends("fin")
            peer.close()
        for number in range(before, before + len(peers)):
            app.ended(number)
            expect(app.peers[number].got == sent, f"the server got {app.peers[number].got!r}")
    pod.all_recorded()
    wrong = {record["protocol"] for record in pod.proxy.records(CLOSED)} - {"http/2"}
    expect(not wrong, f"not recognised: {wrong}")


def random_frames(random, client):
    """A side's bytes: mostly frames that may come so, some that may not, on few streams."""
    made = [settings(*((random.choice((1, 3, 4, 5, 6, 77)), random.choice((0, 100, 16384, 65535))) for _ in range(random.randrange(3))))]
    open_streams = []
    for number in range(1, 2 * random.randrange(2, 20), 2):
        block = (ASK if client else OK) + literals(*((f"x-{random.randrange(6)}", "v" * random.randrange(200)) for _ in range(random.randrange(4))),
                                                   kind=random.choice((0x00, 0x10, 0x40, 0x40)))
        sizes = [random.randrange(40) for _ in range(random.choice((0, 0, 0, 1, 4)))]
        made.append(headers(number, block, random.random() < 0.3, random.choice((None, None, 0, 255)),
                            random.choice((None, (0, 3))) if client else None, sizes if sum(sizes) < len(block) else ()))
        open_streams.append(number)
        for _ in range(random.randrange(6)):
            stream = random.choice(open_streams)
            made.append(random.choice((
                lambda: data(stream, random.randbytes(random.choice((0, 1, 500, 16384))), random.random() < 0.2, random.choice((None, None, 200))),
                lambda: window_update(random.choice((0, stream)), random.randrange(1, 1 << 20)), lambda: ping(random.randbytes(8), random.random() < 0.5),
                lambda: SETTINGS_ACK, lambda: rst_stream(stream, random.randrange(20)), lambda: priority(stream, 0, 5),
                lambda: frame(random.randrange(10, 256), random.randrange(256), random.choice((0, stream)), random.randbytes(random.randrange(99))),
                lambda: headers(stream, literals(("grpc-status", "0")), end=True)))())
    if random.random() < 0.3:
        made.insert(random.randrange(len(made)), frame(random.randrange(10), random.randrange(256), random.randrange(9), random.randbytes(random.randrange(60))))
    if random.random() < 0.2:
        made.append(made[-1][:random.randrange(len(made[-1]))])
    return b"".join(made)


@case(ways=WAYS, each={f"seed {seed}": seed for seed in range(1, 5)}, limit=90)
def any_frames(pod, seed):
    """Random frames of both sides at once, cut and delayed at random, legal or not: byte for byte. 40 connections."""
    chance = random.Random(seed)
    plans = [(PREFACE + random_frames(chance, True), random_frames(chance, False), chance.random()) for _ in range(40)]

    def cuts(raw, number):
        chooser = random.Random(number)
        return sorted(chooser.randrange(len(raw)) for _ in range(chooser.randrange(12)))
    order, lock = [], threading.Lock()

    def serve(peer):
        with lock:
            plan = plans[len(order)]
            order.append(peer)
        recording(plan[1], cuts(plan[1], plan[2]))(peer)
    app = pod.app(serve)
    pod.start()
    for number, (sent, answer, draw) in enumerate(plans):
        peer = pod.dial()
        writer = threading.Thread(target=pieces, args=(peer, sent, cuts(sent, draw + 1)), daemon=True)
        writer.start()
        got = peer.exactly(len(answer))
        writer.join(20)
        expect(got == answer, lambda: f"connection {number}: the client got {differing(got, answer)}")
        peer.fin()
        peer.ends("fin")
        until(lambda: len(order) > number, "no connection to the server")
        until(lambda: getattr(order[number], "over", ""), "the server's connection does not end")
        expect(order[number].got == sent, lambda: f"connection {number}: the server got {differing(order[number].got, sent)}")
        peer.close()


def differing(got, sent):
    """Where what came first differs from what was sent, and in which frame that is."""
    at = next((at for at, (one, other) in enumerate(zip(got, sent)) if one != other), min(len(got), len(sent)))
    start, seen = (len(PREFACE) if sent.startswith(PREFACE) else 0), None
    for each in frames.frames_of(sent[start:])[0]:
        seen = each
        if start + len(each.raw) > at:
            break
        start += len(each.raw)
    return f"{len(got)} of {len(sent)} bytes, the same up to {at}: {got[at:at + 24].hex()} for {sent[at:at + 24].hex()}, byte {at - start} of {seen}"


# Detection and dialling.

@case(ways=("in4", "out4"), each={"LF": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\n", "one line": b"PRI * HTTP/2.0\r\n\r\nGET", "other": b"PRI * HTTP/2.1\r\n",
                                  "empty": b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n"})
def no_preface(pod, sent):
    """What begins as the preface does and is none is opaque: byte for byte."""
    app = pod.app(lambda peer: setattr(peer, "got", peer.exactly(len(sent))) or peer.send(b"so?"))
    pod.start()
    peer = pod.dial()
    with took(0, late=1):
        peer.send(sent)
        peer.ends("fin", data=b"so?")
    expect(app.peer().got == sent, f"the server got {app.peer().got!r}")
    peer.close()
    pod.ended("done", protocol="opaque")


@case(ways=WAYS)
def preface_slowly(pod):
    """A preface that comes byte by byte with pauses: recognised, and nothing of it is held back once it is whole."""
    app = pod.app(recording(HELLO))
    pod.start()
    peer = pod.dial()
    for at in range(len(PREFACE)):
        peer.send(PREFACE[at:at + 1])
        time.sleep(0.02)
    with took(0, late=0.5):
        expect(peer.exactly(len(HELLO)) == HELLO, "changed on the way")
    expect(app.peer().got == PREFACE, f"the server got {app.peer().got!r}")
    peer.fin()
    pod.record(msg=CLOSED, protocol="http/2")


@case(ways=("in4", "out4"), each={"alone": b"", "with a call": HELLO + headers(1, ASK, end=True)})
def refused(pod, behind):
    """Nobody listens: RST and not a byte, so that a client tries its next address."""
    pod.start(init=DEAD_PORTS_TOO)
    peer = pod.dial(9)
    peer.send(PREFACE + behind)
    peer.ends("rst")
    pod.ended("connect_refused", by="server", phase="connect", protocol="http/2")


@case(ways=("out4",), each={"alone": b"", "with a call": HELLO + headers(1, ASK, end=True)})
def black_holed(pod, behind):
    """connect: an address that swallows what it is sent costs the client a RST after 1 s, and not a byte."""
    pod.app(port=9)
    pod.start(connect="1s")
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        with took(1):
            peer.send(PREFACE + behind)
            peer.ends("rst")
    pod.fired("connect", "connect_timeout", phase="connect", by="proxy", protocol="http/2")


@case(ways=("in4", "out6"))
def upgraded(pod):
    """h2c by Upgrade stays what it is: a 101 and a tunnel, byte for byte."""
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + HELLO + headers(1, OK, end=True)
    head = request("GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")

    def serve(peer):
        peer.request()
        peer.send(answer)
        peer.got = peer.all()
    app = pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(head)
    expect(peer.exactly(len(answer)) == answer, "changed on the way")
    peer.send(PREFACE + HELLO + ping())
    peer.fin()
    peer.ends("fin")
    expect(app.peer().got == PREFACE + HELLO + ping(), f"the server got {app.peer().got!r}")


@case(ways=WAYS)
def held_when_the_other_side_is_unread(pod):
    """Behind a server's GOAWAY the beginning of a frame is held until it can be judged: it goes on, too, where the server cannot be read further."""
    app = pod.app(parked)
    pod.start()
    client, server = pair(pod, app)
    server.send(goaway(5))
    client.until(client.goaways, "no GOAWAY")
    sent = ping(b"held so.") + ping(b"and more")
    client.peer.send(sent[:5])
    time.sleep(0.2)
    server.send(odd := frame(SETTINGS, 0, 0, b"odd"))
    expect(client.peer.exactly(len(odd)) == odd, "what cannot be read did not come")
    client.peer.send(sent[5:])
    server.until(lambda: [each.payload for each in server.frames if each.kind == PING] == [b"held so.", b"and more"], "bytes were lost", within=3)


@case()
def not_http2_server(pod):
    """A server that answers the preface in HTTP/1: its answer arrives as it was sent, and so does its FIN."""
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    app = pod.app(lambda peer: peer.exactly(24) and peer.send(answer) and peer.fin() and setattr(peer, "got", peer.all()))
    pod.start()
    peer = pod.dial()
    peer.send(PREFACE + HELLO)
    peer.ends("fin", data=answer)
    peer.send(ping())
    peer.fin()
    app.ended()
    expect(app.peer().got == HELLO + ping(), f"the server got {app.peer().got!r}")


# Bulk and back-pressure.

@case(ways=WAYS, limit=120)
def bulk(pod):
    """24 MiB of DATA each way at once, in frames of many sizes on many streams: byte for byte."""
    chance = random.Random(5)
    block = random.Random(7).randbytes(1 << 20)

    def side(first):
        raw, number = [HELLO], 1
        while sum(map(len, raw)) < 24 << 20:
            raw.append(headers(number, first))
            raw += [data(number, block[:chance.choice((0, 10, 1000, 16384, 300000, 1 << 20))], padding=chance.choice((None, 33))) for _ in range(6)]
            raw.append(data(number, b"", end=True))
            number += 2
        return b"".join(raw)
    sent, answer = PREFACE + side(POST), side(OK)

    def serve(peer):
        writer = threading.Thread(target=peer.send, args=(answer,), daemon=True)
        peer.hash, seen = hashlib.sha256(), 0
        while more := peer.some():
            if not seen:
                writer.start()
            seen += len(more)
            peer.hash.update(more)
    app = pod.app(serve)
    pod.start()
    peer = pod.dial()
    writer = threading.Thread(target=peer.send, args=(sent,), daemon=True)
    writer.start()
    expect(hashlib.sha256(peer.exactly(len(answer))).digest() == hashlib.sha256(answer).digest(), "the client got other bytes")
    writer.join(30)
    peer.fin()
    peer.ends("fin")
    app.ended()
    expect(app.peer().hash.digest() == hashlib.sha256(sent).digest(), "the server got other bytes")
    pod.record(msg=CLOSED, sent_client=len(answer), sent_server=len(sent))


@case(limit=90)
def back_pressure(pod):
    """A server that reads nothing stops its client; what the proxy holds is bounded; then all arrives."""
    goes_on = threading.Event()

    def serve(peer):
        goes_on.wait(30)
        peer.hash, peer.count = hashlib.sha256(), 0
        while more := peer.some():
            peer.hash.update(more)
            peer.count += len(more)
    app = pod.app(serve)
    pod.start()
    before = pod.proxy.private_kib()
    peer = pod.dial()
    raw = PREFACE + HELLO + headers(1, POST) + data(1, random.Random(3).randbytes(16384)) * 4000
    writer = threading.Thread(target=peer.send, args=(raw,), daemon=True)
    writer.start()
    time.sleep(1.5)
    expect(writer.is_alive(), "a client was not stopped")
    grown = pod.proxy.private_kib() - before
    expect(grown < 4096 or pod.context.sanitize, f"the proxy grew by {grown} KiB")
    goes_on.set()
    writer.join(30)
    peer.fin()
    app.ended(within=20)
    expect(app.peer().hash.digest() == hashlib.sha256(raw).digest(), f"the server got other bytes, {app.peer().count} of {len(raw)}")


# Ends.

@case(ways=WAYS, each={f"{side} {how}{' with a call' * call}": (side, how, call) for side in ("client", "server") for how in ("fin", "rst")
                       for call in (False, True)})
def ends_travel(pod, row):
    """A FIN or RST of either side arrives at the other as such, behind every byte before it. Only a call that its server leaves without a
    word is answered, with status 14; then the connection ends by FIN."""
    side, how, call = row
    app = pod.app(parked)
    pod.start()
    client, server = pair(pod, app)
    if call:
        stream = client.call(end=False)
        server.headed(stream.id)
    left, told = (client, server) if side == "client" else (server, client)
    left.send(ping(b"farewell"))
    told.until(lambda: any(each.kind == PING for each in told.frames), "the last frame did not arrive")
    getattr(left.peer, how)()
    answered = call and side == "server"
    told.ends("fin" if answered else how)
    if answered:
        check_own(stream, {"fin": "server_closed_early", "rst": "server_reset"}[how], grpc=14, unfinished=True)
    if how == "fin":
        told.send(ping(b"not over"))
        left.until(lambda: any(each.kind == PING for each in left.frames), "the other direction ended too")


@case(ways=WAYS)
def streams_live_on(pod):
    """Streams that come, go, are reset and overlap on one connection for a while: right at both ends, and every window as it was."""
    def respond(server, stream):
        if stream.get(":path") == "/reset":
            server.send(rst_stream(stream.id, frames.REFUSED_STREAM))
        else:
            server.respond(stream, 200, ("x-path", stream.get(":path")), body=stream.body or b"ok\n")
    app = pod.app(serving(respond))
    pod.start()
    client = Http2(pod.dial(), True).start()
    for batch in range(40):
        streams = [client.request(f"/{batch}/{number}", ("x-number", str(number)), body=b"b" * number * 10) for number in range(12)]
        streams.append(client.request("/reset"))
        together(lambda: all(stream.over for stream in streams), client)
        for number, stream in enumerate(streams[:-1]):
            expect(stream.get("x-path") == f"/{batch}/{number}" and len(stream.body) == (number * 10 or 3), f"{stream}")
        expect(streams[-1].reset == "REFUSED_STREAM", f"{streams[-1]}")
    client.until(lambda: client.window == frames.WINDOW_DEFAULT, lambda: f"the connection's window is {client.window}")
    until(lambda: app.peer().end.window == frames.WINDOW_DEFAULT, lambda: f"the server's window is {app.peer().end.window}")
    client.peer.fin()
    pod.record(protocol="http/2", msg=CLOSED)
