#!/usr/bin/python3
"""The demo's small peers: what curl and nginx cannot do.

    talk.py slow PORT SECONDS          an HTTP application that takes SECONDS over each answer
    talk.py count PORT SECONDS         reads until the client has finished, answers SECONDS later
    talk.py greeter PORT               speaks first, as MariaDB and MySQL do
    talk.py ask ADDRESS PORT WORDS     sends WORDS, finishes (FIN), waits for the answer
    talk.py greeting ADDRESS PORT      connects three times, waits to be greeted
"""
import socket
import struct
import sys
import threading
import time

PATIENCE = 8  # seconds a client waits


def serve(port, handler):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen()
    while True:
        threading.Thread(target=handle, args=(handler, listener.accept()[0]), daemon=True).start()


def handle(handler, connection):
    with connection:
        try:
            handler(connection)
        except OSError:  # the other side went away
            pass


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(4096), b""))


def slow(port, seconds):
    def answer(connection):
        connection.recv(4096)
        time.sleep(float(seconds))
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\ndone\n")
    serve(int(port), answer)


def count(port, seconds):
    def answer(connection):
        asked = read_all(connection)
        time.sleep(float(seconds))
        connection.sendall(b"you sent %d bytes" % len(asked))
    serve(int(port), answer)


def greeter(port):
    """Protocol 10 of MySQL: a packet header (length, sequence number), version, thread id, and a challenge."""
    body = b"\x0a" + b"0.0-stand-in\0" + struct.pack("<I", 1) + b"challeng\0" + bytes(18)
    packet = struct.pack("<I", len(body)) + body

    def greet(connection):
        connection.sendall(packet)
        read_all(connection)
    serve(int(port), greet)


def ask(address, port, words):
    connection = socket.create_connection((address, int(port)), PATIENCE)
    start = time.monotonic()
    connection.sendall(words.encode())
    connection.shutdown(socket.SHUT_WR)
    print(f"sent {len(words)} bytes and finished (FIN), waiting for the answer", flush=True)
    try:
        answer = read_all(connection).decode()
    except TimeoutError:
        sys.exit(f"no answer within {PATIENCE} s")
    except OSError as error:
        sys.exit(f"after {time.monotonic() - start:.1f} s: {error.strerror}")
    print(f"after {time.monotonic() - start:.1f} s: {answer}")


def greet_once(address, port):
    start = time.monotonic()
    with socket.create_connection((address, int(port)), PATIENCE) as connection:
        packet = connection.recv(4096)
        return (time.monotonic() - start) * 1000, packet[5:].split(b"\0")[0].decode("ascii", "replace")


def greeting(address, port):
    try:
        taken = [greet_once(address, port) for _ in range(3)]
    except OSError as error:
        sys.exit(f"no greeting: {error}")
    times = " ".join(f"{milliseconds:.1f}" for milliseconds, version in taken)
    print(f"greeted by server version {taken[0][1]!r}, three times, after {times} ms")


if __name__ == "__main__":
    commands = {"slow": slow, "count": count, "greeter": greeter, "ask": ask, "greeting": greeting}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__.strip())
    commands[sys.argv[1]](*sys.argv[2:])
