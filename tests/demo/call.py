#!/usr/bin/python3
"""The demo's gRPC client and server: the frames of HTTP/2 that the scene needs, by hand and without a library. `make test` has the real ones.

    call.py serve PORT                       /demo.Board/Watch says something each second, three times; /demo.Board/Ask answers after 5 s
    call.py call ADDRESS PORT METHOD...      calls them all at once on one connection, prints what comes of each
"""
import select
import socket
import struct
import sys
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM = ACK = 1
END_HEADERS = 4
PATIENCE = 8  # seconds a client waits


# --- bytes ---

def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(**fields):
    """Literals that no table remembers (RFC 7541 §6.2.2); each length fits in 7 bits."""
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
                    for name, value in ((name.replace("_", "-").encode().replace(b"colon-", b":"), value.encode())
                                        for name, value in fields.items()))


def integer(raw, at, bits):
    most = (1 << bits) - 1
    number, shift = raw[at] & most, 0
    at += 1
    while number >= most and (shift == 0 or raw[at - 1] & 128):
        number += (raw[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return number, at


def fields(raw):
    """The same, read: of this server, and of lapse-proxy, which writes nothing else either."""
    found, at = {}, 0
    while at < len(raw):
        if raw[at] & 0xe0 == 0x20:  # a table's size
            _, at = integer(raw, at, 5)
            continue
        at, parts = at + 1, []
        for _ in range(2):
            length, at = integer(raw, at, 7)
            parts.append(raw[at:at + length].decode())
            at += length
        found[parts[0]] = parts[1]
    return found


def message(text):
    return struct.pack(">BI", 0, len(text)) + text.encode()


def frames(connection):
    """Whole frames as they come: kind, flags, stream, payload; None when it ends, () when a tenth of a second brought nothing."""
    raw = b""
    while True:
        while len(raw) >= 9 and len(raw) >= (size := 9 + int.from_bytes(raw[:3], "big")):
            yield raw[3], raw[4], int.from_bytes(raw[5:9], "big"), raw[9:size]
            raw = raw[size:]
        if not select.select([connection], [], [], 0.1)[0]:
            yield ()
            continue
        part = connection.recv(65536)
        if not part:
            yield None
            return
        raw += part


def polite(connection, kind, flags):
    if kind == SETTINGS and not flags & ACK:
        connection.sendall(frame(SETTINGS, ACK))


# --- the server ---

class Board:
    def __init__(self, connection):
        self.connection, self.lock, self.cancelled = connection, threading.Lock(), set()

    def send(self, stream, *sent):
        with self.lock:
            if stream not in self.cancelled:
                self.connection.sendall(b"".join(sent))

    def head(self, stream):
        return frame(HEADERS, END_HEADERS, stream, block(colon_status="200", content_type="application/grpc"))

    def trailers(self, stream):
        return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(grpc_status="0"))

    def watch(self, stream):
        self.send(stream, self.head(stream))
        for number in range(1, 4):
            time.sleep(1)
            self.send(stream, frame(DATA, 0, stream, message(f"news {number}")))
        self.send(stream, self.trailers(stream))

    def ask(self, stream):
        time.sleep(5)
        self.send(stream, self.head(stream), frame(DATA, 0, stream, message("late")), self.trailers(stream))

    def run(self):
        self.connection.sendall(frame(SETTINGS))
        while len(begin := self.connection.recv(24, socket.MSG_PEEK)) < 24 and begin:
            time.sleep(0.01)
        self.connection.recv(24)
        for came in frames(self.connection):
            if came is None:
                return
            if not came:
                continue
            kind, flags, stream, payload = came
            polite(self.connection, kind, flags)
            if kind == RST_STREAM:
                with self.lock:
                    self.cancelled.add(stream)
                print(f"stream {stream}: RST_STREAM, code {int.from_bytes(payload, 'big')}", flush=True)
            elif kind == HEADERS:
                method = fields(payload)[":path"].rsplit("/", 1)[-1].lower()
                threading.Thread(target=getattr(self, method), args=(stream,), daemon=True).start()


def serve(port):
    listener = socket.create_server(("0.0.0.0", int(port)))
    while True:
        connection = listener.accept()[0]
        threading.Thread(target=Board(connection).run, daemon=True).start()


# --- the client ---

def show(streams, start, came):
    kind, flags, stream, payload = came
    if stream not in streams:
        return
    said = f"{time.monotonic() - start:4.1f} s  stream {stream} {streams[stream]:<18}"
    if kind == DATA and payload:
        print(f"{said} message: {payload[5:].decode()}")
    elif kind == HEADERS:
        head = fields(payload)
        for name in ("grpc-status", "grpc-message", "lapse-reason"):
            if name in head:
                print(f"{said} {name}: {head[name]}")
    elif kind == RST_STREAM:
        print(f"{said} RST_STREAM, code {int.from_bytes(payload, 'big')}")
    if flags & END_STREAM and kind in (DATA, HEADERS) or kind == RST_STREAM:
        del streams[stream]


def call(address, port, *methods):
    connection = socket.create_connection((address, int(port)), PATIENCE)
    start, streams = time.monotonic(), {1 + 2 * number: method for number, method in enumerate(methods)}
    sent = PREFACE + frame(SETTINGS)
    for stream, method in streams.items():
        head = block(colon_method="POST", colon_scheme="http", colon_path=method, colon_authority="board", content_type="application/grpc", te="trailers")
        sent += frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, message(""))
    connection.sendall(sent)
    for came in frames(connection):
        if came is None or time.monotonic() > start + PATIENCE:
            sys.exit(f"no end of {', '.join(streams.values())} within {PATIENCE} s" if came is not None else "the connection ended")
        if came:
            polite(connection, *came[:2])
            show(streams, start, came)
        if not streams:
            return


if __name__ == "__main__":
    commands = {"serve": serve, "call": call}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__.strip())
    commands[sys.argv[1]](*sys.argv[2:])
