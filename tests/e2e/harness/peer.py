"""One end of a TCP connection with a deadline on every wait, and enough HTTP/1 to read what the other end says."""
import select
import socket
import struct
import time

from .case import Failure, expect

PATIENCE = 15.0


def request(method="GET", target="/", *fields, body=b"", host="app", version="1.1"):
    """A request head, and its body with a Content-Length."""
    lines = [f"{method} {target} HTTP/{version}"] + ([f"Host: {host}"] if host else []) + list(fields)
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Message:
    """A request or response: start line, fields in order, body, trailers; the 1xx that came before it."""

    def __init__(self, raw_head):
        self.raw_head = raw_head
        lines = raw_head.decode("latin-1").split("\r\n")
        self.start = lines[0]
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]
        self.body, self.trailers, self.interim = b"", [], []

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    @property
    def status(self):
        expect(self.start.startswith("HTTP/1."), f"no status line: {self.start!r}")
        return int(self.start.split()[1])

    @property
    def method(self):
        return self.start.split()[0]

    @property
    def target(self):
        return self.start.split()[1]


class Peer:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.sent = self.received = 0
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local, self.remote = sock.getsockname()[:2], sock.getpeername()[:2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Sending and ending.
    def send(self, data):
        self.sock.sendall(data)
        self.sent += len(data)
        return self

    def trickle(self, data, every, size=1):
        """Sends data in pieces until done or the other end closes; the bytes sent."""
        for at in range(0, len(data), size):
            try:
                self.send(data[at:at + size])
            except OSError:
                return at
            if self.wait(every):
                return at + size
        return len(data)

    def fin(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self):
        self.sock.close()

    def rst(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # Receiving. A reset raises ConnectionResetError, patience that ends raises Failure.
    def wait(self, seconds):
        """True when there is something to read (bytes or an end) within seconds."""
        if self.buffer:
            return True
        poll = select.poll()
        try:
            poll.register(self.sock, select.POLLIN)
        except ValueError:  # closed by another thread
            raise ConnectionAbortedError from None
        return bool(poll.poll(seconds * 1000))

    def some(self, most=65536):
        """The next bytes, b"" at the end."""
        if self.buffer:
            data, self.buffer = self.buffer[:most], self.buffer[most:]
            return data
        try:
            data = self.sock.recv(most)
        except TimeoutError:
            raise Failure(f"nothing received for {PATIENCE:g} s") from None
        self.received += len(data)
        return data

    def exactly(self, count):
        """count bytes; less only when the other end finished."""
        data = b""
        while len(data) < count:
            more = self.some(count - len(data))
            if not more:
                break
            data += more
        return data

    def until(self, mark):
        """Everything up to and with mark; b"" when the other end finished before the first byte."""
        data = b""
        while mark not in data:
            more = self.some()
            if not more:
                expect(not data, f"the other end finished inside a message: {data[-80:]!r}")
                return b""
            data += more
        end = data.index(mark) + len(mark)
        self.buffer = data[end:] + self.buffer
        return data[:end]

    def all(self):
        """Everything up to the end."""
        data = b""
        while more := self.some():
            data += more
        return data

    def end(self, within=PATIENCE):
        """("fin" | "rst" | "open", the bytes before it)."""
        data, deadline = b"", time.monotonic() + within
        while True:
            if not self.wait(max(0, deadline - time.monotonic())):
                return "open", data
            try:
                more = self.some()
            except ConnectionError:
                return "rst", data
            if not more:
                return "fin", data
            data += more

    def ends(self, how, within=PATIENCE, data=b""):
        """Expects the other end to finish in that way, with no byte before it but data."""
        ended, got = self.end(within)
        expect(ended == how and got == data, f"expected {how} after {data!r}, got {ended} after {got[:200]!r}")

    def broken(self, within=PATIENCE):
        """True when the other end resets within that time, also after its FIN (which recv() would not tell)."""
        poll = select.poll()
        poll.register(self.sock, 0)
        return bool(poll.poll(within * 1000))

    def stays(self, seconds):
        """Expects neither byte nor end for that long."""
        if self.wait(seconds):
            raise Failure(f"expected silence for {seconds:g} s, got {self.end(0)!r}")

    # HTTP.
    def head(self):
        """The next message head, None when the other end has finished."""
        raw = self.until(b"\r\n\r\n")
        return Message(raw) if raw else None

    def chunks(self, message):
        """Reads a chunked body into message.body and message.trailers."""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            message.body += self.exactly(size)
            expect(self.exactly(2) == b"\r\n", "chunk does not end in CRLF")
        while (line := self.until(b"\r\n")) != b"\r\n":
            message.trailers.append(line.decode("latin-1").strip())

    def request(self):
        """The next whole request, None when the other end has finished; empty lines before it are skipped."""
        line = b"\r\n"
        while line == b"\r\n":
            line = self.until(b"\r\n")
        self.buffer = line + self.buffer
        message = self.head()
        if message:
            if "chunked" in message.get("Transfer-Encoding", ""):
                self.chunks(message)
            else:
                message.body = self.exactly(int(message.get("Content-Length", 0)))
        return message

    def response(self, method="GET"):
        """The next whole response; those with 1xx before it are in .interim."""
        interim = []
        while True:
            message = self.head()
            expect(message, "the connection ended without a response")
            if message.status >= 200 or message.status == 101:
                break
            interim.append(message)
        message.interim = interim
        if method == "HEAD" or message.status in (101, 204, 304) or (method == "CONNECT" and message.status < 300):
            return message
        if "chunked" in message.get("Transfer-Encoding", ""):
            self.chunks(message)
        elif message.get("Content-Length") is not None:
            length = int(message.get("Content-Length"))
            message.body = self.exactly(length)
            expect(len(message.body) == length, f"body ends after {len(message.body)} of {length} bytes")
        else:
            message.body = self.all()
        return message

    def ask(self, method="GET", target="/", *fields, body=b"", status=200):
        """One request and its response, whose status is checked."""
        self.send(request(method, target, *fields, body=body))
        response = self.response(method)
        expect(response.status == status, f"{method} {target}: status {response.status}, expected {status}; "
               f"{response.get('lapse-reason', '')} {response.get('lapse-detail', '')}")
        return response


class ResetPeer:
    """A connection that was reset as soon as it stood."""
    local = remote = ("", 0)

    def send(self, _):
        raise ConnectionResetError

    fin = response = request = some = all = lambda self, *_: self.send(b"")

    def end(self, within=0):
        return "rst", b""

    def ends(self, how, within=0, data=b""):
        expect(how == "rst" and not data, f"expected {how} after {data!r}, got rst at once")

    def close(self):
        pass

    rst = close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
