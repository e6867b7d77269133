"""Size: a gibibyte each way, ten thousand idle connections."""
import contextlib
import hashlib
import json
import os
import select
import threading
import time

from .harness import CLOSED, case, expect, request, until
from .harness.documents import Directory, readings, route, rule, service

EVERYTHING = 99  # more than the workers there are: alone on the machine
GIB, BLOCK = 1 << 30, 1 << 20


class Stream:
    """A gibibyte of which every block differs, and its checksum."""

    def __init__(self):
        self.random = os.urandom(BLOCK + 1024)
        self.sum = hashlib.sha256()

    def send_to(self, peer):
        view = memoryview(self.random)
        for number in range(GIB // BLOCK):
            block = view[number:number + BLOCK]
            peer.sock.sendall(block)
            self.sum.update(block)


def receive(peer):
    """The checksum of a gibibyte that arrives."""
    total, left, buffer = hashlib.sha256(), GIB, bytearray(BLOCK)
    early = peer.buffer[:left]
    total.update(early)
    left -= len(early)
    peer.buffer = b""
    while left:
        count = peer.sock.recv_into(buffer, min(BLOCK, left))
        expect(count, f"ended {left} bytes early")
        total.update(memoryview(buffer)[:count])
        left -= count
    return total.hexdigest()


@case(weight=EVERYTHING, limit=120, each={"opaque": False, "http": True})
def gibibyte_both_ways(pod, is_http):
    """1 GiB up, then 1 GiB down, on one connection: equal checksums, right counts in the record."""
    sums = []
    upload = b"PUT / HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n\r\n" % GIB if is_http else b"\0up\r\n\r\n"
    download = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB if is_http else b"\0down\r\n\r\n"

    def serve(peer):
        peer.until(b"\r\n\r\n")
        sums.append(receive(peer))
        stream = Stream()
        peer.send(download)
        stream.send_to(peer)
        sums.append(stream.sum.hexdigest())
        peer.some()
    pod.app(serve)
    pod.start()
    peer, stream = pod.dial(), Stream()
    peer.send(upload)
    stream.send_to(peer)
    peer.until(b"\r\n\r\n")
    got = receive(peer)
    peer.fin()
    until(lambda: len(sums) == 2, "the server is not done")
    expect(sums[0] == stream.sum.hexdigest(), "the upload arrived changed")
    expect(sums[1] == got, "the download arrived changed")
    record = pod.ended(("client_closed_idle", "done"))
    expect(record["sent_server"] == GIB + len(upload) and record["sent_client"] == GIB + len(download),
           f"sent_server {record['sent_server']}, sent_client {record['sent_client']}")


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ManyApp(threading.Thread):
    """One thread that answers any number of connections."""

    def __init__(self, listener):
        super().__init__(daemon=True)
        self.listener = listener
        self.sockets = {}
        self.stop = False
        self.start()

    def run(self):
        poll = select.epoll()
        self.listener.setblocking(False)
        poll.register(self.listener, select.EPOLLIN)
        while not self.stop:
            for fd, _ in poll.poll(0.2):
                if fd == self.listener.fileno():
                    try:
                        sock = self.listener.accept()[0]
                    except OSError:
                        continue
                    sock.setblocking(False)
                    self.sockets[sock.fileno()] = sock
                    poll.register(sock, select.EPOLLIN)
                else:
                    self.answer(fd)
        self.listener.close()
        for sock in self.sockets.values():
            sock.close()

    def answer(self, fd):
        sock = self.sockets[fd]
        try:
            data = sock.recv(4096)
            if data:
                sock.send(ANSWER)
                return
        except OSError:
            pass
        del self.sockets[fd]
        sock.close()


def ask_all(peers, wave=200):
    """One request on each, in waves."""
    for start in range(0, len(peers), wave):
        some = peers[start:start + wave]
        for peer in some:
            peer.sock.sendall(request())
        for peer in some:
            expect(peer.exactly(len(ANSWER)) == ANSWER, "wrong answer")


def dial_many(pod, count, wave=200):
    """So many connections, in waves, of which each has had an answer."""
    peers = []
    for start in range(0, count, wave):
        some = [pod.dial() for _ in range(min(wave, count - start))]
        ask_all(some)
        peers += some
    return peers


def close_all(pod, peers, ended, wave=200):
    """In waves: the log is bounded, and read by Python."""
    for start in range(0, len(peers), wave):
        for peer in peers[start:start + wave]:
            peer.close()
        pod.all_recorded(min(ended + start + wave, pod.dials), within=20)


@case(weight=EVERYTHING, limit=150)
def ten_thousand_idle(pod):
    """As many idle keep-alive connections as may be, 9,829 where 20,000 files may be open: held with one socket each and no CPU, asked
    again. 300 that come at once beyond them take the places of those idle longest, and none is refused. Every one is recorded."""
    further = 300
    app = ManyApp(pod.inside.listener(8080))
    pod.start("--max-connections", "10000", server_idle="200ms")
    most = json.loads(pod.proxy.admin("/config")[1])["max_connections"]
    count = most - most // 100
    try:
        peers = dial_many(pod, count)
        until(lambda: pod.proxy.descriptors() <= count + 100,
              lambda: f"{pod.proxy.descriptors()} descriptors for {count} idle clients", within=20, every=0.1)
        before = pod.proxy.cpu_seconds()
        time.sleep(1.5)
        used = pod.proxy.cpu_seconds() - before
        expect(used <= 0.15, f"{used:.2f} s of CPU in 1.5 s of idleness")
        expect(not pod.proxy.records(CLOSED), f"closed meanwhile: {pod.proxy.records(CLOSED)[:1]}")
        private = pod.proxy.private_kib()
        expect(private < 20000 or pod.context.sanitize, f"{private} KiB private memory for {count} idle connections")
        ask_all(peers)
        peers += dial_many(pod, further, further)
        until(lambda: pod.proxy.closed() >= further, lambda: f"{pod.proxy.closed()} of {further} gave way", within=10)
        time.sleep(0.3)
        gone = pod.proxy.records(CLOSED)
        expect(len(gone) == further, f"{len(gone)} gave way to {further}")
        expect(all(record["reason"] == "conn_limit" and record["phase"] == "idle" for record in gone),
               f"not all gave way: {[record for record in gone if record['reason'] != 'conn_limit'][:1]}")
        ports = {int(record["client"].rsplit(":", 1)[1]) for record in gone}
        ended = [peer for peer in peers if peer.sock.getsockname()[1] in ports]
        for peer in ended:
            peer.ends("fin")
        late = sum(peer in ended for peer in peers[further * 2:])  # each worker has its own idlest, and their shares differ a little
        expect(len(ended) == len(gone) and not late, f"{len(ended)} gave way, {late} of them not idle longest")
        close_all(pod, [peer for peer in peers if peer not in ended], len(gone))
        wrong = [record for record in pod.proxy.records(CLOSED)[len(gone):] if record["reason"] != "client_closed_idle"]
        expect(not wrong, f"{len(wrong)} other records, e.g. {wrong[:1]}")
        requests = sum(record["requests"] for record in pod.proxy.records(CLOSED))
        expect(requests == 2 * count + further, f"{requests} requests counted")
    finally:
        app.stop = True
        app.join()


@case(weight=4, limit=90)
def connection_churn(pod):
    """4,000 connections of one request each from four clients at once: all answered, all recorded, nothing left."""
    app = ManyApp(pod.inside.listener(8080))
    pod.start()
    failures = []

    def client():
        for _ in range(1000):
            try:
                with pod.client.connect(pod.inside.v4, 8080) as peer:
                    peer.send(request())
                    expect(peer.exactly(len(ANSWER)) == ANSWER, "wrong answer")
            except Exception as error:
                failures.append(repr(error))
                return
    clients = [threading.Thread(target=client) for _ in range(4)]
    try:
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        pod.dials += 4000
        expect(not failures, f"{failures[:2]}")
        pod.all_recorded(within=15)
    finally:
        app.stop = True
        app.join()


class KindsApp(ManyApp):
    """Answers by what it is asked: opaque bytes come back, /stream has a response that never ends, /wait has none."""

    def answer(self, fd):
        sock = self.sockets[fd]
        with contextlib.suppress(OSError):
            data = sock.recv(4096)
            if data.startswith(b"GET /stream"):
                sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun")
            elif data and not data.startswith(b"GET /wait"):
                sock.send(ANSWER if data.startswith(b"GET") else data)
            if data:
                return
        del self.sockets[fd]
        sock.close()


# What a client says, and what it has to see before it rests.
KINDS = {"opaque": (b"\0abc", b"abc"), "idle": (request(), ANSWER), "stream": (request("GET", "/stream"), b"begun"),
         "wait": (request("GET", "/wait"), b"")}


def opened(pod, kind, port=8080):
    """A connection that rests, or waits, as its kind does."""
    said, seen = KINDS[kind]
    peer = pod.dial(port)
    peer.send(said)
    if seen:
        peer.until(seen)
    return peer


def crowd(pod, generation, services=300):
    """Documents of some size, in which a value that everyone goes by is another in each generation."""
    keep = {"lapse.proxy/timeout-tcp-idle": f"{4000 + generation}s", "lapse.proxy/timeout-stream-idle": f"{5000 + generation}s",
            "lapse.proxy/timeout-idle-connection": f"{6000 + generation}s"}
    brief = {"lapse.proxy/timeout-tcp-idle": "1h" if generation else "10s"}
    many = [each for number in range(services) for each in (
        service(f"s{number}", f"10.96.{number // 250}.{number % 250 + 1}"),
        route(f"s{number}", rule("/a", timeouts={"request": "5s"}), rule("/b"), rule()))]
    return (service("web", pod.address, annotations=keep), service("brief", pod.address, port=8081, annotations=brief),
            route("web", rule("/stream"), rule("/wait"), rule()), *many)


def said_of(pod, port, kind):
    """Stage, timer, value and source of the connection from this port, as /connections has it."""
    status, body = pod.proxy.admin("/connections?format=json&limit=5000")
    rows = [row for row in json.loads(body)["connections"] if row["client"].endswith(f":{port}")]
    expect(status == 200 and len(rows) == 1, f"{kind}: {status} {rows}")
    return tuple(rows[0][name] for name in ("stage", "timer", "value", "source"))


@case(("out4",), weight=4, limit=240)
def readings_times_connections(pod):
    """1,000 connections of all kinds, each ten opened under another of 100 readings: no more memory than after the first few; a connection
    from before them still says which timer ends it, and where that was set."""
    count, readings_wanted, settled = 1000, 100, 5
    each, first = count // readings_wanted, 0
    apps = [KindsApp(pod.far.listener(port)) for port in (8080, 8081)]
    documents = Directory(pod)
    documents.replace("all.yaml", *crowd(pod, 0))
    # Ports whose connections were reset come round again: conntrack is to have forgotten them by then (docs/architecture.md, limits).
    pod.start("--config", documents.path, "--log-rate", "0", server_idle="200ms", init=("--conntrack-timeout", "close=1s"))
    try:
        veterans = {kind: opened(pod, kind) for kind in KINDS}
        kinds = list(KINDS)
        for number in range(count // 2):  # what the log's rings and the first use of anything take
            opened(pod, kinds[number % len(kinds)]).close()
        peers = [opened(pod, kinds[number % len(kinds)]) for number in range(count)]
        brief = opened(pod, "opaque", 8081)
        for generation in range(1, readings_wanted + 1):
            documents.replace("all.yaml", *crowd(pod, generation))
            until(lambda: readings(pod) > generation, f"reading {generation} is not taken up")  # pylint: disable=cell-var-from-loop
            for peer in peers[:each]:
                peer.close()
            peers = peers[each:] + [opened(pod, kinds[number % len(kinds)]) for number in range(each)]
            brief.send(b"\0abc")
            brief.until(b"abc")
            if generation <= settled:  # how much of its heap the allocator gives back differs from reading to reading, by a third
                time.sleep(0.5)
                first = max(first, pod.proxy.private_kib())
        time.sleep(0.5)
        last = pod.proxy.private_kib()
        said = f"{first} KiB at most after the first {settled} changes, {last} KiB after {readings_wanted - settled} more"
        print(f"private with {count} connections: {said}", flush=True)
        expect(last <= 1.3 * first or pod.context.sanitize, said)
        on_web = "annotation lapse.proxy/timeout-{} on Service default/web"
        wanted = {"opaque": ("opaque", "tcpIdle", "1h6m40s", on_web.format("tcp-idle")),
                  "idle": ("idle", "idleConnection", "1h40m", on_web.format("idle-connection")),
                  "stream": ("response", "streamIdle", "1h23m20s", on_web.format("stream-idle")),
                  "wait": ("wait", "streamIdle", "1h23m20s", on_web.format("stream-idle"))}
        for kind, peer in veterans.items():
            said = said_of(pod, peer.sock.getsockname()[1], kind)
            expect(said == wanted[kind], f"{kind}: {said}")
        expect(veterans["idle"].ask().status == 200, "no answer")
        said = said_of(pod, veterans["idle"].sock.getsockname()[1], "idle")
        expect(said == ("idle", "idleConnection", "1h41m40s", on_web.format("idle-connection")), f"after its next request: {said}")
        brief.ends("fin", within=14)
        pod.record(reason="tcp_idle_timeout", timer="tcpIdle", value="10s", set_by="annotation lapse.proxy/timeout-tcp-idle on Service default/brief",
                   service="default/brief")
        for peer in [*peers, *veterans.values(), brief]:
            peer.close()
        pod.all_recorded(within=30)
    finally:
        for app in apps:
            app.stop = True
            app.join()
