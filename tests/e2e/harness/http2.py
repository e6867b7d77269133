"""One end of an HTTP/2 connection, client or server, that does what a case says and keeps all that came."""
import time
import urllib.parse

import hpack

from . import frames
from .case import Failure, expect
from .frames import (CONTINUATION, DATA, END_HEADERS, FRAME_DEFAULT, GOAWAY, HEADERS, PING, PREFACE, PUSH_PROMISE, RST_STREAM, SETTINGS,
                     WINDOW_DEFAULT, WINDOW_UPDATE, Frame)
from .peer import PATIENCE

GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


class Stream:
    """What has come on a stream, and what may still be sent on it."""

    def __init__(self, number, window):
        self.id, self.window = number, window
        self.heads, self.body, self.frames = [], b"", []
        self.ended, self.reset = False, None

    @property
    def head(self):
        """The request's head, or the final response's, as pairs; None before it came."""
        return next((head for head in self.heads if not dict(head).get(":status", "200").startswith("1")), None)

    @property
    def trailers(self):
        """The fields behind the head's, {} where there are none."""
        final = [head for head in self.heads if not dict(head).get(":status", "200").startswith("1")]
        return dict(final[1]) if len(final) > 1 else {}

    @property
    def status(self):
        return int(self.get(":status", 0))

    def get(self, name, default=None):
        return dict(self.head or ()).get(name, default)

    @property
    def over(self):
        return self.ended or self.reset is not None

    def kinds(self):
        """The names of its frames that say something, in order, each with END_STREAM or its code where it has one."""
        said = []
        for each in self.frames:
            if each.kind in (DATA, HEADERS, RST_STREAM):
                said.append(each.name + (" " + each.code if each.kind == RST_STREAM else " END_STREAM" if each.end_stream else ""))
        return said

    def __repr__(self):
        return f"stream {self.id}: {self.frames}"


class Http2:
    """An end over a Peer. polite: answers SETTINGS and PING; credits: gives back at once what came, on stream and connection."""

    def __init__(self, peer, client, polite=True, credits=True, table=4096):
        self.peer, self.client, self.polite, self.credits = peer, client, polite, credits
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 4 << 20
        self.decoder.max_allowed_table_size = self.decoder.header_table_size = table
        self.streams, self.frames = {}, []
        self.window, self.initial, self.largest = WINDOW_DEFAULT, WINDOW_DEFAULT, FRAME_DEFAULT
        self.next, self.buffer, self.block = 1, b"", None
        self.over = None  # how the connection ended: "fin" or "rst"

    # Sending.

    def start(self, *settings):
        self.peer.send((PREFACE if self.client else b"") + frames.settings(*settings))
        return self

    def send(self, raw):
        self.peer.send(raw)
        return self

    def stream(self, number):
        return self.streams.setdefault(number, Stream(number, self.initial))

    def block_of(self, fields):
        """A block that uses the dynamic table as Encoder does."""
        return self.encoder.encode(list(fields))

    def request(self, path="/", *fields, method="GET", end=True, body=b"", **options):
        """Opens a stream; its Stream. end: whether the request ends with its head or its body; options are those of frames.headers."""
        number, self.next = self.next, self.next + 2
        pseudo = ((":method", method), (":scheme", "http"), (":authority", "app"), (":path", path))
        self.send(frames.headers(number, self.block_of((*pseudo, *fields)), end and not body, **options))
        stream = self.stream(number)
        if body:
            self.data(stream, body, end)
        return stream

    def call(self, path="/lapse.Test/Call", *fields, end=True, body=None, **options):
        """A gRPC request: with one small message, unless body says otherwise."""
        return self.request(path, *GRPC, *fields, method="POST", end=end, body=frames.message(b"hello") if body is None else body, **options)

    def data(self, stream, payload=b"", end=False, padding=None):
        """DATA in frames of at most the other end's size; the windows are the case's to look after, but counted."""
        while True:
            piece, payload = payload[:self.largest], payload[self.largest:]
            raw = frames.data(stream.id, piece, end and not payload, padding)
            self.send(raw)
            self.window -= len(raw) - 9
            stream.window -= len(raw) - 9
            if not payload:
                return self

    def respond(self, stream, status=200, *fields, body=b"ok\n", end=True):
        self.send(frames.headers(stream.id, self.block_of(((":status", str(status)), *fields)), end and not body))
        if body:
            self.data(stream, body, end)
        return self

    def reply(self, stream, *messages, status=0, end=True):
        """A gRPC answer: head, messages, trailers."""
        self.respond(stream, 200, ("content-type", "application/grpc"), body=b"", end=False)
        for each in messages:
            self.data(stream, frames.message(each))
        return self.trailers(stream, ("grpc-status", str(status))) if end else self

    def trailers(self, stream, *fields):
        return self.send(frames.headers(stream.id, self.block_of(fields), True))

    # Receiving.

    def read(self, within=PATIENCE):
        """The next frame, None when the connection has ended or nothing came in time."""
        deadline = time.monotonic() + within
        while not self.over:
            size = 9 + int.from_bytes(self.buffer[:3], "big") if len(self.buffer) >= 9 else 0
            if size and len(self.buffer) >= size:
                raw, self.buffer = self.buffer[:size], self.buffer[size:]
                return self._came(Frame(raw[:9], raw[9:], time.monotonic()))
            if not self.peer.wait(max(0, deadline - time.monotonic())):
                return None
            self._more()
        return None

    def _more(self):
        try:
            more = self.peer.some(1 << 18)
        except ConnectionError:
            self.over = "rst"
            return
        if not more:
            self.over = "fin"
        self.buffer += more

    def _came(self, frame):
        self.frames.append(frame)
        stream = None
        if frame.stream:
            stream = self.stream(frame.stream)
            stream.frames.append(frame)
        if frame.kind == DATA:
            stream.body += frame.content
            if self.credits and frame.payload:
                self._reply(frames.window_update(0, len(frame.payload)))
                if not frame.end_stream and not stream.over:
                    self._reply(frames.window_update(frame.stream, len(frame.payload)))
        elif frame.kind in (HEADERS, PUSH_PROMISE, CONTINUATION):
            self._block(frame, stream)
        elif frame.kind == RST_STREAM:
            stream.reset = frame.code
        elif frame.kind == SETTINGS and not frame.ack:
            self._settings(frame)
        elif frame.kind == PING and not frame.ack and self.polite:
            self._reply(frames.ping(frame.payload, ack=True))
        elif frame.kind == WINDOW_UPDATE and frame.stream:
            stream.window += frame.increment
        elif frame.kind == WINDOW_UPDATE:
            self.window += frame.increment
        if frame.end_stream and (frame.kind == DATA or frame.flags & END_HEADERS):
            stream.ended = True
        return frame

    def _reply(self, raw):
        """What the protocol has us say; the other end may be gone."""
        try:
            self.peer.send(raw)
        except ConnectionError:
            pass

    def _block(self, frame, stream):
        if frame.kind != CONTINUATION:
            expect(self.block is None, f"{frame} inside a header block")
            self.block = [frame, b""]
        expect(self.block is not None and self.block[0].stream == frame.stream, f"{frame} belongs to no header block")
        self.block[1] += frame.content
        if not frame.flags & END_HEADERS:
            return
        (first, block), self.block = self.block, None
        try:
            pairs = self.decoder.decode(block, raw=True)
        except hpack.HPACKError as error:
            raise Failure(f"the block of {first.name}[{first.stream}] cannot be decoded: {type(error).__name__}: {error}; "
                          f"{block[:80].hex()}") from None
        first.fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in map(tuple, pairs)]
        first.block = block
        if first.kind == HEADERS:
            stream.heads.append(first.fields)
            stream.ended = stream.ended or first.end_stream

    def _settings(self, frame):
        for name, value in frame.settings:
            if name == frames.TABLE_SIZE and self.polite:
                self.encoder.header_table_size = min(value, 4096)
            elif name == frames.WINDOW:
                for stream in self.streams.values():
                    stream.window += value - self.initial
                self.initial = value
            elif name == frames.FRAME_SIZE:
                self.largest = value
        if self.polite:
            self._reply(frames.SETTINGS_ACK)

    def until(self, predicate, why="what was waited for did not come", within=PATIENCE):
        """Reads until predicate() gives something true, and returns it."""
        deadline = time.monotonic() + within
        while not (found := predicate()):
            if not self.read(max(0, deadline - time.monotonic())) and not predicate():
                raise Failure(f"{why}; the connection {'ended: ' + self.over if self.over else 'is open'}; the last of "
                              f"{len(self.frames)} frames: {self.frames[-6:]}")
        return found

    @property
    def greeted(self):
        """Whether the other end has acknowledged our SETTINGS."""
        return any(each.ack for each in self.frames if each.kind == SETTINGS)

    def headed(self, stream, within=PATIENCE):
        """Waits for the head of a stream, given as such or by its id; the Stream."""
        stream = self.stream(stream) if isinstance(stream, int) else stream
        self.until(lambda: stream.head, f"no head on stream {stream.id}", within)
        return stream

    def finished(self, stream, within=PATIENCE):
        """Waits until the other end has ended a stream one way or the other; the Stream."""
        stream = self.stream(stream) if isinstance(stream, int) else stream
        self.until(lambda: stream.over, f"stream {stream.id} does not end", within)
        return stream

    def goaways(self):
        return [each for each in self.frames if each.kind == GOAWAY]

    def drain(self, seconds=0.2):
        """Takes what comes until nothing has come for so long; the frames."""
        came = len(self.frames)
        while self.read(seconds):
            pass
        return self.frames[came:]

    def quiet(self, seconds):
        """Expects no frame and no end for that long."""
        frame = self.read(seconds)
        expect(not frame and not self.over, f"expected silence for {seconds:g} s, got {frame or self.over}")

    def ends(self, how, within=PATIENCE):
        """Reads to the connection's end, expected to be "fin" or "rst"; the frames before it."""
        came, deadline = len(self.frames), time.monotonic() + within
        while not self.over and time.monotonic() < deadline:
            self.read(max(0, deadline - time.monotonic()))
        expect(self.over == how and not self.buffer, f"expected {how}, got {self.over or 'an open connection'} after "
               f"{self.frames[-4:]}, {len(self.buffer)} bytes of a frame")
        return self.frames[came:]


def together(predicate, *ends, why="what was waited for did not come", within=PATIENCE):
    """Reads on several ends in turn until predicate() gives something true, and returns it."""
    deadline = time.monotonic() + within
    while not (found := predicate()):
        came = [end.read(0.005) for end in ends]
        expect(any(came) or time.monotonic() < deadline, lambda: f"{why}: {[(end.over, end.frames[-4:]) for end in ends]}")
    return found


def pair(pod, app, *settings, server=(), port=8080, **options):
    """Both ends of a connection through the proxy, greeted, to be driven by the case itself. settings: the client's; server: the server's."""
    number = app.count
    client = Http2(pod.dial(port), True, **options).start(*settings)
    far = Http2(app.peer(number), False, **options)
    expect(far.peer.exactly(len(PREFACE)) == PREFACE, "no preface")
    far.start(*server)
    together(lambda: client.greeted and far.greeted, client, far, why="no SETTINGS acknowledged")
    return client, far


def parked(peer):
    """For app(): the connection is the case's, which reads and writes on it."""
    peer.parked = True
    while peer.sock.fileno() >= 0:
        time.sleep(0.1)


def serving(respond, *settings, **options):
    """For app(): serves requests; respond(end, stream) is called once for each whole request, or as soon as its head is there when it
    takes one (respond.early = True)."""
    def serve(peer):
        if peer.exactly(len(PREFACE)) != PREFACE:
            return
        peer.end = end = Http2(peer, False, **options)
        end.start(*settings)
        answered = set()
        while not end.over:
            frame = end.read(PATIENCE)
            if not frame:
                break
            stream = end.streams.get(frame.stream)
            ready = stream and (stream.head if getattr(respond, "early", False) else stream.ended and stream.head)
            if ready and stream.id not in answered and not stream.reset:
                answered.add(stream.id)
                respond(end, stream)
            if stream and stream.id in answered and stream.over:
                stream.frames.clear()
    return serve


# What the proxy says itself (DESIGN.md §17, "Answers").

ALLOWED = {":status", "content-length", "content-type", "date", "proxy-status", "lapse-reason", "lapse-detail", "grpc-status", "grpc-message"}


def check_own(stream, reason, status=504, grpc=None, unfinished=False):
    """A stream that a timer ended before its head had passed: one HEADERS with END_STREAM, and behind it, where the request was not
    finished, RST_STREAM(NO_ERROR). grpc: the status of a gRPC answer, trailers alone."""
    kinds = [kind for kind in stream.kinds() if not _interim(stream, kind)]
    expect(kinds == ["HEADERS END_STREAM"] + (["RST_STREAM NO_ERROR"] if unfinished else []), f"the client got {stream}")
    check_fields(stream.head, reason, grpc)
    expect(stream.head[0] == (":status", str(200 if grpc is not None else status)), f"the answer is {stream.head}, expected {status}")
    expect(set(dict(stream.head)) <= ALLOWED, f"unexpected fields in {stream.head}")


def _interim(stream, kind):
    return kind == "HEADERS" and len(stream.heads) > 1


def check_fields(fields, reason, grpc=None):
    """Reason and sentence, and of a gRPC answer its status and message."""
    said = dict(fields)
    expect(len(said) == len(fields), f"a field twice in {fields}")
    expect(said.get("lapse-reason") == reason and said.get("lapse-detail"), f"lapse-reason in {fields}, expected {reason}")
    expect(("grpc-status" in said) == (grpc is not None), f"grpc-status in {fields}")
    if grpc is None:
        return
    message = said.get("grpc-message", "")
    expect(said["grpc-status"] == str(grpc), f"grpc-status {said['grpc-status']}, expected {grpc}")
    expect(all(0x20 <= ord(each) <= 0x7e for each in message) and 0 < len(message) <= 1024, f"grpc-message {message!r}")
    expect(urllib.parse.unquote(message) == said["lapse-detail"], f"grpc-message {message!r} is not the sentence {said['lapse-detail']!r}")
    if ":status" in said:
        expect(said.get("content-type", "").startswith("application/grpc"), f"content-type in {fields}")


def check_trailers(stream, reason, grpc=4, unfinished=False):
    """A gRPC stream that a timer ended between two messages: trailers with the status."""
    expect(stream.kinds()[-2 if unfinished else -1:] == ["HEADERS END_STREAM"] + (["RST_STREAM NO_ERROR"] if unfinished else []),
           f"the client got {stream}")
    expect(":status" not in stream.trailers, f"not trailers: {stream.heads}")
    check_fields([pair for pair in stream.heads[-1]], reason, grpc)
