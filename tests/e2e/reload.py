"""Documents that change under a running proxy: who is governed by what, and that nobody notices but by the values."""
import os
import re
import signal
import threading
import time

from .harness import BINARY, Failure, after, case, echo, expect, http, ok, request, took, until
from .harness.documents import Directory, configured, profile, readings, route, rule, service, text_of
from .harness.pod import PORT, PROXY_UID

OUT = ("out4",)


def marked(pod, generation, *rules, name="web"):
    """A Service at the app's address whose route marks requests and responses with this generation, twice each."""
    def edits(where):
        return {"type": f"{where}HeaderModifier",
                f"{where[0].lower()}{where[1:]}HeaderModifier": {"set": [{"name": f"X-{each}", "value": str(generation)}
                                                                        for each in (f"{where}-A", f"{where}-B")]}}
    return (service(name, pod.address), route(name, *rules, rule(filters=[edits("Request"), edits("Response")])))


def marks(pod, peer):
    """The generation that governed one request; all its marks must say the same."""
    response = peer.ask()
    found = response.body.decode().split() + [response.get("X-Response-A"), response.get("X-Response-B")]
    expect(len(set(found)) == 1, f"one request was governed by several generations: {found}")
    return int(found[0])


def marking_app(pod, port=PORT):
    return pod.app(http(lambda message: ok(
        f"{message.get('X-Request-A')} {message.get('X-Request-B')}".encode())), port)


class Load:
    """Clients that ask all the time, on one connection each or on a new one for every request."""

    def __init__(self, pod, keeping=3, dialling=2, ask=None):
        self.pod, self.stop, self.failures, self.latencies, self.newest = pod, threading.Event(), [], [], []
        self.ask = ask or (lambda peer: marks(pod, peer))
        self.threads = [threading.Thread(target=self._run, args=(number < keeping,), daemon=True)
                        for number in range(keeping + dialling)]
        self.lock = threading.Lock()

    def _dial(self):
        with self.lock:
            return self.pod.dial()

    def _run(self, keeps):
        last = -1
        peer = self._dial()
        try:
            while not self.stop.is_set():
                if not keeps:
                    peer.close()
                    peer = self._dial()
                began = time.monotonic()
                now = self.ask(peer)
                self.latencies.append(time.monotonic() - began)
                expect(not keeps or now >= last, f"a request was governed by generation {now} after {last}")
                last = now
                time.sleep(0.002)
            self.newest.append(last)
        except (Failure, OSError) as failure:
            self.failures.append(f"{type(failure).__name__} {failure}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(20)
        expect(not self.failures, f"{len(self.failures)} of {len(self.threads)} clients failed: {self.failures[:2]}")
        expect(len(self.newest) == len(self.threads), "a client is stuck")


# How documents change. Each takes the directory, the generation's objects and the Pod.

def in_place(documents, objects, pod):
    documents.write("all.yaml", *objects)


def renamed(documents, objects, pod):
    documents.replace("all.yaml", *objects)


def swapped(documents, objects, pod):
    documents.swap(all=objects[:1], route=objects[1:])


def hangup(documents, objects, pod):
    """Nothing is closed or renamed, so that only the signal tells."""
    written = text_of(*objects).encode()
    os.pwrite(documents.descriptor, written, 0)
    os.ftruncate(documents.descriptor, len(written))
    pod.proxy.signal(signal.SIGHUP)


@case(OUT, weight=2, each={"in place": in_place, "renamed": renamed, "..data": swapped, "SIGHUP": hangup})
def under_load(pod, change):
    """Fifteen changes under load: no request fails, each is governed by one generation, and none by an older one than before."""
    documents = Directory(pod)
    if change is hangup:
        documents.write("all.yaml", *marked(pod, 0))
        documents.descriptor = os.open(os.path.join(documents.path, "all.yaml"), os.O_WRONLY)
    else:
        change(documents, marked(pod, 0), pod)
    marking_app(pod)
    pod.start("--config", documents.path)
    with Load(pod) as load:
        for generation in range(1, 16):
            change(documents, marked(pod, generation), pod)
            time.sleep(0.15)
        with pod.dial() as peer:
            until(lambda: marks(pod, peer) == 15, "the last change is not taken up", within=3)
        time.sleep(0.05)
    if change is hangup:
        os.close(documents.descriptor)
    expect(set(load.newest) == {15}, f"clients ended with the generations {load.newest}")
    expect(len(load.latencies) > 300, f"only {len(load.latencies)} requests")
    expect(4 <= readings(pod) <= 17, f"15 changes were {readings(pod)} readings")
    expect(not any(line["level"] == "error" for line in pod.proxy.lines), "an error was logged")


ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: bad
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
"""

# name: (text, line, what the error says of it)
BAD = {
    "syntax": ("a: b\n  c: [\n", 2, "mapping values are not allowed"),
    "cut off": (ROUTE + "  rules: [{matches: [{path: {type: Exact", 8, "did not find expected"),
    "duration": (ROUTE + "  rules:\n  - timeouts:\n      request: 1.5h\n", 9,
                 'HTTPRoute default/bad: spec.rules[0].timeouts.request: "1.5h": must be'),
    "regex": (ROUTE + "  rules:\n  - matches:\n    - path: {type: RegularExpression, value: '/(a'}\n", 9,
              "HTTPRoute default/bad: spec.rules[0].matches[0].path.value"),
    "port": ("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 70000}]}\n", 4,
             'Service default/web: spec.ports[0].port: "70000": must be'),
    "no object": ("- 1\n- 2\n", 1, "must be a Kubernetes object"),
    "NUL": ("a: b\0\n", 1, "NUL"),
}


@case(OUT)
def warnings_of_the_policy(pod):
    """What only the whole of the documents shows (here a profile that takes the place of a route) is told at the start, and once more
    only where it is new."""
    directory = configured(pod, service("web", pod.address), route("web", rule("/")), profile("web", {"name": "a", "condition": {"method": "GET"}}))
    pod.start("--config", directory.path)

    def said():
        return [line["msg"] for line in pod.proxy.lines if "takes the place of the routes of Service default/web" in line["msg"]]
    expect(len(said()) == 1, f"{said()}")
    before = readings(pod)
    pod.proxy.signal(signal.SIGHUP)
    until(lambda: readings(pod) > before, "not read again")
    expect(len(said()) == 1, f"told again: {said()}")


@case(OUT)
def bad_documents(pod):
    """Each bad document is refused with its file and line, old values go on; a good one afterwards is taken up."""
    documents = configured(pod, *marked(pod, 1))
    marking_app(pod)
    pod.start("--config", documents.path)
    peer = pod.dial()
    expect(marks(pod, peer) == 1, "not the first values")
    for number, (name, (bad, line, what)) in enumerate(BAD.items()):
        documents.replace("all.yaml", *marked(pod, 99))
        documents.replace("bad.yaml", bad)
        pod.line(rf"bad\.yaml:{line}: [^\"]*{re.escape(json_inner(what))}", level="error")
        until(lambda: sum(each["msg"].endswith("the one in force stays") for each in pod.proxy.lines) == number + 1,
              f"{name}: the log does not say that the old one stays")
        expect(marks(pod, peer) == 1 and marks(pod, pod.dial()) == 1, f"{name}: the values have changed")
        expect(pod.proxy.ready(), f"{name}: not ready any more")
        documents.remove("bad.yaml")
        documents.write("all.yaml", *marked(pod, 1))
        until(lambda: readings(pod) == number + 2, f"{name}: the good one is not read", within=3)
        expect(marks(pod, peer) == 1, f"{name}: not the good one's values")
    documents.replace("all.yaml", *marked(pod, 2))
    until(lambda: marks(pod, peer) == 2, "a good document after bad ones is not taken up", within=3)


def json_inner(what):
    """As it stands inside a JSON text that is itself searched in JSON."""
    return what.replace('"', '\\"')


@case(OUT)
def half_written(pod):
    """A file whose writer takes its time governs as it was until it is closed, whatever else changes meanwhile; nor is one empty
    in between taken for no configuration."""
    documents = configured(pod, *marked(pod, 1))
    marking_app(pod)
    pod.start("--config", documents.path)
    peer = pod.dial()
    text = text_of(*marked(pod, 2))
    with open(documents.file("all.yaml"), "w") as file:
        for number, part in enumerate((text.index("---"), None)):
            documents.write("other.yaml", service(f"other-{number}"))
            time.sleep(0.4)
            expect(marks(pod, peer) == 1 and marks(pod, pod.dial()) == 1, "a file was taken up before its end")
            expect(readings(pod) == 1, "read while a file was being written")
            file.write(text[file.tell():part])
            file.flush()
    until(lambda: marks(pod, peer) == 2, "the whole file is not taken up", within=3)
    documents.write("all.yaml", *marked(pod, 3))
    os.truncate(documents.file("all.yaml"), 0)
    pod.proxy.signal(signal.SIGHUP)
    pod.line(r"all\.yaml: empty, and was not before", level="error")
    expect(marks(pod, peer) in (2, 3) and marks(pod, pod.dial()) in (2, 3), "an empty file was taken up")
    documents.write("all.yaml", *marked(pod, 4))
    until(lambda: marks(pod, peer) == 4, "a file that was empty is not taken up", within=3)
    documents.write("all.yaml", "# nothing")
    until(lambda: pod.dial().ask().get("X-Response-A") is None, "a file with a comment is not taken up", within=3)


@case(OUT)
def burst(pod):
    """Two hundred writes at once are at most three readings, and the last one counts."""
    documents = configured(pod, *marked(pod, 0))
    marking_app(pod)
    pod.start("--config", documents.path)
    before = readings(pod)
    for generation in range(1, 201):
        (documents.write if generation % 2 else documents.replace)("all.yaml", *marked(pod, generation))
    peer = pod.dial()
    until(lambda: marks(pod, peer) == 200, "the last write is not taken up", within=3)
    time.sleep(0.3)
    expect(1 <= readings(pod) - before <= 3, f"200 writes were {readings(pod) - before} readings")


@case(OUT)
def endless_writes(pod):
    """Writes that never pause do not put off the reading for good: it comes within a second or so."""
    documents = configured(pod, *marked(pod, 0))
    marking_app(pod)
    pod.start("--config", documents.path)
    peer, generation, began, pause = pod.dial(), 0, time.monotonic(), 0
    last = began
    while marks(pod, peer) == 0:
        generation += 1
        documents.replace("all.yaml", *marked(pod, generation))
        now = time.monotonic()
        last, pause = now, max(pause, now - last)
        time.sleep(0.02)
        expect(now - began < 4, f"{generation} writes and none is read")
    # Where a busy machine stopped this writer, the burst had an end.
    expect(last - began > 0.4 or pause > 0.09, "a burst is not waited for")


@case(OUT)
def files_come_and_go(pod):
    """Files are added to the directory and removed; others in it do not matter; the directory itself is replaced, goes and comes."""
    documents = Directory(pod)
    for port in (8080, 8081):
        marking_app(pod, port)
    pod.start("--config", documents.path)

    def sees(port, wanted):
        def now():
            with pod.dial(port) as peer:
                return peer.ask().get("X-Response-A") == wanted
        until(now, f"port {port} is not governed by {wanted}", within=3)

    def objects(port, generation):
        made = marked(pod, generation, name=f"web-{port}")
        made[0]["spec"]["ports"] = [{"port": port}]
        return made
    sees(8080, None)
    documents.write("a.yaml", *objects(8080, 1))
    sees(8080, "1")
    documents.replace("b.json", *objects(8081, 2))
    sees(8081, "2")
    documents.remove("a.yaml")
    sees(8080, None)
    sees(8081, "2")
    before = readings(pod)
    documents.write(".hidden.yaml", "no: [")
    documents.write("notes.txt", "no: [")
    time.sleep(0.3)
    expect(readings(pod) == before, "files that are no documents were read")
    # Another directory takes its place.
    other = configured(pod, *objects(8080, 3), name="other")
    os.rename(documents.path, documents.path + ".old")
    os.rename(other.path, documents.path)
    sees(8080, "3")
    sees(8081, None)
    # Gone, it is an error and nothing changes; back again, it counts.
    os.rename(documents.path, documents.path + ".gone")
    pod.line("--config .*No such file or directory", level="error")
    sees(8080, "3")
    os.mkdir(documents.path, 0o755)
    documents.write("a.yaml", *objects(8081, 4))
    sees(8081, "4")
    sees(8080, None)


@case(OUT)
def unreadable_later(pod):
    """A file that the proxy may not read any more is an error that names it; rights given back are noticed."""
    documents = configured(pod, *marked(pod, 1))
    marking_app(pod)
    pod.start("--config", documents.path)
    peer = pod.dial()
    os.chmod(os.path.join(documents.path, "all.yaml"), 0)
    pod.line(r"all\.yaml: Permission denied", level="error")
    expect(marks(pod, peer) == 1, "old values are lost")
    before = readings(pod)
    os.chmod(os.path.join(documents.path, "all.yaml"), 0o644)
    until(lambda: readings(pod) == before + 1, "it is not read again")


@case(OUT)
def running_exchange(pod):
    """A request under way keeps the timeout it began with, longer or shorter; the next one on its connection has the new one."""
    def timed(duration):
        return service("web", pod.address), route("web", rule(timeouts={"request": duration}))
    documents = configured(pod, *timed("1s"))
    pod.app(http(lambda message: after(2)(message) if message.target == "/2" else after(0.8)(message)))
    pod.start("--config", documents.path)
    first = pod.dial()
    with took(1):
        first.send(request("GET", "/2"))
        time.sleep(0.1)
        documents.replace("all.yaml", *timed("1m"))
        pod.line("configuration read in .*", level="info")
        expect(first.response().status == 504, "the request did not keep its timeout")
    until(lambda: readings(pod) == 2, "not read")
    second = pod.dial()
    second.ask("GET", "/0.8")
    second.send(request("GET", "/0.8"))
    time.sleep(0.1)
    documents.replace("all.yaml", *timed("300ms"))
    until(lambda: readings(pod) == 3, "not read")
    expect(second.response().status == 200, "the request did not keep its timeout")
    with took(0.3):
        second.ask("GET", "/0.8", status=504)
    pod.record(timer="request", value="300ms", set_by=re.compile(r"HTTPRoute default/web spec\.rules\[0\]\.timeouts\.request"))


@case(OUT)
def opaque_connection(pod):
    """An opaque connection keeps the tcpIdle it was accepted with; the next one has the new one."""
    def idle(duration):
        return (service("web", pod.address, annotations={"lapse.proxy/timeout-tcp-idle": duration}),)
    documents = configured(pod, *idle("1s"))
    pod.app(echo)
    pod.start("--config", documents.path)

    def opened():
        peer = pod.dial()
        peer.send(BINARY)
        expect(peer.exactly(len(BINARY)) == BINARY, "not echoed")
        return peer
    short = opened()
    with took(1):
        documents.replace("all.yaml", *idle("1h"))
        until(lambda: readings(pod) == 2, "not read", within=0.8)
        long = opened()
        short.ends("fin")
    documents.replace("all.yaml", *idle("300ms"))
    until(lambda: readings(pod) == 3, "not read")
    with took(0.3):
        opened().ends("fin")
    long.stays(0.5)
    pod.record(reason="tcp_idle_timeout", value="1s")
    pod.record(reason="tcp_idle_timeout", value="300ms")


@case(OUT)
def idle_connection(pod):
    """A connection that waits between requests takes up new routes at its next request."""
    documents = configured(pod, *marked(pod, 1))
    app = marking_app(pod)
    pod.start("--config", documents.path)
    peers = [pod.dial() for _ in range(4)]
    expect([marks(pod, peer) for peer in peers] == [1] * 4, "not the first values")
    documents.replace("all.yaml", *marked(pod, 2))
    until(lambda: readings(pod) == 2, "not read")
    until(lambda: marks(pod, peers[0]) == 2, "not taken up")
    expect([marks(pod, peer) for peer in peers] == [2] * 4, "a connection that waited did not take up the new values")
    expect(app.count == 4, "connections to the server were not kept")


# --- size ---

COUNT = 10000
MANY = """apiVersion: v1
kind: Service
metadata:
  name: web-{0}
  namespace: default
spec:
  clusterIP: 10.{1}.{2}.{3}
  ports:
    - name: http
      port: 80
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web-{0}
  namespace: default
spec:
  parentRefs:
    - group: ""
      kind: Service
      name: web-{0}
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: /items
      timeouts:
        request: 10s
"""


@case(OUT, weight=4, limit=90)
def ten_thousand_routes(pod):
    """10,000 HTTPRoutes and Services load in under a second; twenty readings delay no request by much, and memory does not grow."""
    documents = configured(pod, *marked(pod, 1))
    documents.write("many.yaml", *(MANY.format(number, 100 + number // 65536, number // 256 % 256, number % 256)
                                   for number in range(COUNT)))
    marking_app(pod)
    slow = 20 if pod.context.sanitize else 1
    pod.start("--config", documents.path)

    def milliseconds():
        return [int(re.search(r"read in (\d+) ms: 10001 HTTPRoute, 10001 Service", line["msg"])[1])
                for line in pod.proxy.lines if line["msg"].startswith("configuration read")]
    expect(len(milliseconds()) == 1, "the documents were not all read")

    def read_again():
        before = readings(pod)
        pod.proxy.signal(signal.SIGHUP)
        until(lambda: readings(pod) > before, "not read again", within=10 * slow)
    with Load(pod, keeping=2, dialling=1) as load:
        for _ in range(3):
            read_again()
        memory = pod.proxy.private_kib()
        for _ in range(3 if pod.context.sanitize else 17):
            read_again()
    # The quickest: a busy machine may hold up any of them.
    expect(min(milliseconds()) < 1000 * slow, f"readings took {milliseconds()} ms")
    expect(pod.proxy.private_kib() < 1.5 * memory + 4096, f"memory grew from {memory} to {pod.proxy.private_kib()} KiB")
    expect(max(load.latencies) < slow, f"a request took {max(load.latencies):.2f} s while documents were read")


# --- start ---

def starts_with_failure(pod, *arguments, exit_code=65):
    """lapse-proxy must end by itself with this code; its log."""
    done = pod.inside.run(["setpriv", "--reuid", str(PROXY_UID), "--regid", str(PROXY_UID), "--clear-groups",
                           pod.context.proxy, *arguments], check=False, env=pod.context.environment())
    expect(done.returncode == exit_code, f"exit {done.returncode}, expected {exit_code}: {done.stdout + done.stderr}")
    return done.stdout


@case()
def bad_at_start(pod):
    """Documents that are bad at start: exit 65 and a line that names file, line and field; so do paths that cannot be read."""
    documents = configured(pod, BAD["duration"][0])
    log = starts_with_failure(pod, "--config", documents.path)
    expect(re.search(r'level=error msg=".*all\.yaml:9: HTTPRoute default/bad: spec\.rules\[0\]\.timeouts\.request: \\"1\.5h\\"', log),
           f"the log does not name the mistake: {log}")
    log = starts_with_failure(pod, "--config", "/nowhere/at all")
    expect("--config /nowhere/at all: No such file or directory" in log, f"the log does not name the path: {log}")
    os.chmod(os.path.join(documents.path, "all.yaml"), 0o600)
    log = starts_with_failure(pod, "--config", documents.path)
    expect("all.yaml: Permission denied" in log, f"the log does not name the file: {log}")
    os.chmod(documents.path, 0o700)
    log = starts_with_failure(pod, "--config", documents.path)
    expect(f"--config {documents.path}: Permission denied" in log, f"the log does not name the directory: {log}")
    log = starts_with_failure(pod, "--config", "/dev/null")
    expect("--config /dev/null: not a regular file" in log, f"the log does not name the file: {log}")
