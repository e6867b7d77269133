"""`make soak`: everything at once, for MINUTES."""
import contextlib
import json
import os
import random
import signal
import threading
import time
import types

from e2e.chaos import SHORT, client, server
from e2e.harness import Failure, Http2, case, expect, http, ok, request, serving, until
from e2e.harness.documents import Directory
from e2e.harness.frames import CANCEL, LAST, REFUSED_STREAM, goaway, rst_stream
from e2e.scale import crowd

MINUTES = float(os.environ.get("MINUTES", "10"))
UPLOAD = b"u" * 300000
SEED = os.environ.get("SEED", "1")
NUMBERS = random.Random(SEED)


def keep_alive(peer, own):
    for _ in range(own.randrange(1, 30)):
        peer.ask(target=own.choice(["/", "/stream", "/wait"]))
        time.sleep(own.choice([0, 0.001, 0.02, 0.12]))


def upload(peer, own):
    peer.ask("PUT", body=UPLOAD[:own.randrange(len(UPLOAD))])


def half_closed(peer, own):
    peer.send(b"\0half\n").fin()
    peer.end(1)


def reset(peer, own):
    peer.send(own.choice([request(), b"\0", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"]))
    peer.wait(own.choice([0, 0.01]))
    peer.rst()


def opaque(peer, own):
    for _ in range(own.randrange(1, 5)):
        data = b"\0" + b"o" * own.randrange(200000) + b"\n"
        peer.send(data)
        peer.until(b"\n")


def short(peer, own):
    peer.ask("GET", "/", "Connection: close")


def streams(peer, own):
    end = Http2(peer, True).start()
    for _ in range(own.randrange(1, 15)):
        some = [end.request(own.choice(["/", "/stream", "/wait"]), body=b"b" * own.randrange(3000)) for _ in range(own.randrange(1, 9))]
        if own.random() < 0.2:
            end.send(rst_stream(some.pop().id, CANCEL))
        end.until(lambda some=some: all(each.over for each in some), "streams that do not end")
        time.sleep(own.choice([0, 0.001, 0.02, 0.12]))
    peer.wait(own.choice([0, 0.3]))


KINDS = (keep_alive, upload, half_closed, reset, opaque, short, streams)


def answer_stream(end, stream):
    """Mostly well."""
    chance = NUMBERS.random()
    if chance < 0.03:
        end.send(rst_stream(stream.id, REFUSED_STREAM))
    elif chance < 0.04:
        end.send(goaway(LAST) + goaway(stream.id))
    elif chance < 0.05:
        end.peer.rst()
    elif chance < 0.95:
        end.respond(stream, body=stream.body or b"y" * 3000, end=chance < 0.9)


def echoing(peer):
    """What begins with a zero byte comes back a line at a time, anything else is HTTP, 1 or 2."""
    if not peer.wait(5):
        return
    if peer.sock.recv(1, 0x2) == b"\0":  # MSG_PEEK
        while True:
            peer.send(peer.until(b"\n"))
    if peer.sock.recv(3, 0x2) == b"PRI":
        serving(answer_stream)(peer)
        return
    http(lambda message: ok(message.body or b"y" * 3000))(peer)


class Soak:
    """Threads that go on until the end, each with one thing to do, and how often each has done it."""

    def __init__(self, pod, until_when):
        self.pod, self.until_when = pod, until_when
        self.threads, self.counts, self.wrong = [], {}, []

    def goes_on(self):
        return time.monotonic() < self.until_when and not self.wrong

    def repeat(self, name, every, step):
        """In a thread: step(random), again `every` seconds; what it raises but for errors of its connection is a failure."""
        def run():
            own = random.Random(f"{SEED} {name}")
            while self.goes_on():
                try:
                    with contextlib.suppress(OSError, Failure):  # any of these may be closed, reset or timed out at any time
                        step(own)
                        self.counts[name] = self.counts.get(name, 0) + 1
                except Exception as error:  # pylint: disable=broad-exception-caught
                    self.wrong.append(f"{name}: {type(error).__name__}: {error}")
                time.sleep(every)
        thread = threading.Thread(target=run, name=name)
        self.threads.append(thread)
        thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()


def close_some(pod, own):
    pod.proxy.admin("/connections/close?" + own.choice(["stage=idle", "direction=inbound", "protocol=opaque"]), "POST")


def stop_for_a_moment(pod, own):
    pod.proxy.signal(signal.SIGSTOP)
    time.sleep(own.choice([0.05, 0.3, 0.8]))
    pod.proxy.signal(signal.SIGCONT)


def look(pod, own):
    path = own.choice(["/metrics", "/connections?format=json&limit=500", "/connections", "/config", "/half-closed", "/ready"])
    status, body = pod.proxy.admin(path)
    if status not in (200, 503):
        raise ValueError(f"{path}: {status} {body[:200]}")
    if "json" in path:
        json.loads(body)


@case(weight=99, limit=MINUTES * 60 + 180)
def mixed_traffic(pod):
    """Keep-alive, short, opaque, uploads, half-closed, resets, streams and whatever comes into clients' and servers' heads, both directions, under
    short timeouts; a reload every second, scrapes, closes, SIGSTOP and SIGCONT: no report, no descriptor and no memory left."""
    documents = Directory(pod)
    documents.replace("all.yaml", *crowd(pod, 0, services=50))
    pod.uncounted()
    # Both directions have servers that behave (8080) and servers that do not (8081).
    for host in (pod.inside, pod.server):
        pod.app(echoing, 8080, host=host)
        pod.app(server(SEED), 8081, host=host)
    pod.start("--config", documents.path, "--log-level", "warn", **SHORT)
    begun, first = time.monotonic(), []
    soak = Soak(pod, begun + MINUTES * 60)
    places = {"inbound": types.SimpleNamespace(near=pod.client, address=pod.inside.v4),
              "outbound": types.SimpleNamespace(near=pod.inside, address=pod.server.v4)}
    for name, place in places.items():
        for kind in KINDS:
            def one(own, kind=kind, place=place):
                with place.near.connect(place.address, 8080) as peer:
                    kind(peer, own)
            soak.repeat(f"{name} {kind.__name__}", 0.01, one)
        soak.repeat(f"{name} anything", 0.01, lambda own, place=place: client(place, own, (8081,) * 9 + (9,)))
    generation = [0]

    def reload(_):
        generation[0] += 1
        documents.replace("all.yaml", *crowd(pod, generation[0], services=50))
    soak.repeat("reload", 1, reload)
    soak.repeat("look", 0.3, lambda own: look(pod, own))
    soak.repeat("close", 2, lambda own: close_some(pod, own))
    soak.repeat("stop", 7, lambda own: stop_for_a_moment(pod, own))

    def weigh(_):
        if time.monotonic() > begun + min(60, MINUTES * 20):
            first.append(pod.proxy.private_kib())
    soak.repeat("weigh", 5, weigh)
    soak.join()
    expect(not soak.wrong, f"{soak.wrong[:3]}")
    expect(pod.proxy.process.poll() is None, "lapse-proxy has ended")
    taken = pod.proxy.counted("lapse_config_reloads_total", result="taken")
    print(f"{MINUTES:g} minutes: {soak.counts}; {taken:g} readings; private KiB {first[:1]} → {first[-1:]}", flush=True)
    never = [thread.name for thread in soak.threads if not soak.counts.get(thread.name)]
    expect(not never, f"never done to its end: {never}")
    expect(taken > generation[0] * 0.5, f"{taken:g} readings of {generation[0]} changes")
    until(lambda: pod.proxy.counted("lapse_connections_active") == 0, "connections are left", within=20)
    opened, closed = (pod.proxy.counted(f"lapse_connections_{what}_total") for what in ("opened", "closed"))
    expect(opened == closed and opened > 10 * MINUTES, f"{opened} opened, {closed} closed")
    # The leak sanitizer says the rest at the end.
    last = pod.proxy.private_kib()
    expect(pod.context.sanitize or last <= 1.3 * first[0], f"{first[0]} KiB in the first minute, {last} KiB with no connection left")
