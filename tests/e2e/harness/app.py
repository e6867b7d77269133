"""Apps: listeners inside a host, and what they do with a connection: functions of the Peer, run in a thread each."""
import contextlib
import errno
import socket
import threading
import time

from .case import Failure, until
from .peer import Peer

BINARY = b"\x00\x01\x02 not HTTP"

# Response heads whose body ends in each of the three ways.
BODIES = {"length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
          "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
          "until close": b"HTTP/1.1 200 OK\r\n\r\n"}


def ok(body=b"ok\n", *fields, status="200 OK", version="1.1"):
    lines = [f"HTTP/{version} {status}", f"Content-Length: {len(body)}"] + list(fields)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def http(respond=lambda message: ok(message.body or b"ok\n")):
    """Serves requests until either side closes.

    respond(message) gives bytes, None to close, or a function of the Peer that sends what it likes and may give bytes, too."""
    def serve(peer):
        while message := peer.request():
            answer = respond(message)
            if callable(answer):
                answer = answer(peer) or b""
            if answer is None:
                return
            peer.send(answer)
            if b"\r\nconnection: close" in answer.split(b"\r\n\r\n")[0].lower():
                return
    return serve


def after(seconds, answer=None):
    """For http(): an answer that takes its time."""
    def respond(_):
        time.sleep(seconds)
        return ok() if answer is None else answer
    return respond


def script(*steps):
    """Does these steps, then closes: bytes are sent, a number is slept, a name is a Peer's method, a function gets the Peer."""
    def serve(peer):
        for step in steps:
            if isinstance(step, bytes):
                peer.send(step)
            elif isinstance(step, (int, float)):
                time.sleep(step)
            elif isinstance(step, str):
                getattr(peer, step)()
            else:
                step(peer)
    return serve


def silent(peer):
    """Reads everything and never says a word."""
    peer.sock.settimeout(None)
    peer.all()


def echo(peer):
    while data := peer.some():
        peer.send(data)


def stalls_after(*parts):
    """An HTTP app that sends these parts of a response, then nothing."""
    return script("request", *parts, silent)


def until_reset(peer):
    """Reads to the end, then keeps its own side open until it is reset."""
    peer.all()
    if peer.broken():
        raise ConnectionResetError


def upgraded(message):
    """Answers 101, then echoes."""
    def serve(peer):
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
        echo(peer)
    return serve


class App:
    """A listener whose connections are served by a function of the Peer."""

    def __init__(self, listener, handler):
        self.listener, self.handler = listener, handler
        self.port = listener.getsockname()[1]
        self.peers = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def count(self):
        return len(self.peers)

    def _accept(self):
        while True:
            try:
                peer = Peer(self.listener.accept()[0])
            except OSError as error:
                if error.errno == errno.ENOTCONN:  # gone before we looked
                    continue
                return
            self.peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        peer.over = ""
        try:
            self.handler(peer)
            peer.over = "fin"
        except (OSError, Failure) as error:  # the other end went away: many cases want just that
            peer.over = "rst" if isinstance(error, ConnectionError) else f"error: {error}"
        finally:
            with contextlib.suppress(OSError):
                peer.close()

    def peer(self, number=0):
        """The Peer of the number-th connection, waited for."""
        until(lambda: len(self.peers) > number, f"the app saw {len(self.peers)} connections, wanted {number + 1}")
        return self.peers[number]

    def ended(self, number=0, within=5.0):
        """How the number-th connection ended for its handler: "fin" (or of its own will), "rst", or what it stumbled over."""
        peer = self.peer(number)
        until(lambda: getattr(peer, "over", ""), f"the app's connection {number + 1} did not end", within)
        return peer.over

    def stop(self, peers=True):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers if peers else ():
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                peer.close()
