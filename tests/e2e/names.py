"""Services that no document gives an address: DNS finds them, its answers change, fail, are late or long."""
import contextlib
import os
import queue
import re
import signal
import socket
import threading
import time

from .harness import case, expect, http, ok, until
from .harness.documents import configured, route, rule, service
from .harness.net import libc, table
from .harness.pod import PORT

DNS_PORT = 5300
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
BOTH = ("out4", "out6")


class Dns:
    """dnsmasq in the pod, on 127.0.0.1; it knows the names of a hosts file and of no other that ends in `domain`."""

    def __init__(self, pod, hosts=(), port=DNS_PORT, domain="cluster.local", run=True):
        self.pod, self.path, self.process = pod, f"{pod.scratch}/hosts", None
        self.command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts",
                        f"--addn-hosts={self.path}", f"--local=/{domain}/", "--local-ttl=1", f"--port={port}", "--user=root",
                        "--listen-address=127.0.0.1", "--bind-interfaces", "--log-facility=-", "--log-queries"]
        self.port = port
        self.write(hosts)
        if run:
            self.start()

    def write(self, hosts):
        with open(self.path, "w") as file:
            file.writelines(f"{address} {name}\n" for name, address in hosts)

    def start(self):
        self.process = self.pod.spawn(self.pod.inside, self.command, name="dnsmasq")
        until(self.answers, "dnsmasq does not answer")

    def answers(self):
        with self.pod.inside.socket(4, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            try:
                sock.connect(("127.0.0.1", self.port))
                sock.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\1a\5local\0\0\1\0\1")
                return sock.recv(512)
            except OSError:
                return None

    def change(self, hosts):
        self.write(hosts)
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        self.process.terminate()
        self.process.wait(5)

    @property
    def arguments(self):
        return ("--dns-server", f"127.0.0.1:{self.port}")


def marked(name, mark="yes", **more):
    """A route of Service `name` that marks the responses of whatever it governs."""
    edit = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "X-Route", "value": mark}]}}
    return route(name, rule(filters=[edit], **more))


def where_app(pod):
    """An app that says at which address it was reached."""
    return pod.app(lambda peer: http(lambda message: ok(peer.local[0].removeprefix("::ffff:").encode()))(peer))


def governed(pod, address=None, port=PORT):
    """Whether a new connection's request to this address is governed by a route."""
    with pod.dial(port, address) as peer:
        return peer.ask().get("X-Route") is not None


def fails(pod):
    return [line for line in pod.proxy.lines if line["msg"].startswith("DNS fails")]


@case(BOTH, each={"no document": (), "without clusterIP": ("document",), "of another namespace": ("route",)})
def by_name(pod, how):
    """A route's Service that has no address in the documents is found by its name, and connections there are governed."""
    namespace = "other" if how == ("route",) else "default"
    made = marked("web")
    made["spec"]["parentRefs"][0]["namespace"] = namespace
    documents = configured(pod, made, *([service("web")] if how == ("document",) else []))
    dns = Dns(pod, [(f"web.{namespace}.svc.cluster.local", pod.address)])
    where_app(pod)
    pod.app(port=PORT + 1)
    pod.start("--config", documents.path, *dns.arguments)
    until(lambda: governed(pod), "connections to the Service's address are not governed")
    expect(governed(pod, port=PORT + 1) == (how != ("document",)), "a port that is none of the Service's")
    expect(not fails(pod), "a failure is logged")
    pod.record(service=f"{namespace}/web", route=re.compile("HTTPRoute default/web rule 0"))


@case(("out4",))
def cluster_domain(pod):
    """--cluster-domain: Services are asked for under that domain."""
    documents = configured(pod, marked("web"))
    dns = Dns(pod, [("web.default.svc.corp.example", pod.address)], domain="corp.example")
    where_app(pod)
    pod.start("--config", documents.path, "--cluster-domain", "corp.example", *dns.arguments)
    until(lambda: governed(pod), "not governed")


@case(BOTH)
def address_changes(pod):
    """The name's address changes: with the TTL (1 s) over, the new one is governed and the old one is not; backends follow, too."""
    second = "10.77.2.9" if pod.family == 4 else "fd77:2::9"
    pod.server.ip(f"addr add {second}/{24 if pod.family == 4 else 64} dev eth0" + ("" if pod.family == 4 else " nodad"))
    documents = configured(pod, marked("web"), service("front", "10.77.2.7" if pod.family == 4 else "fd77:2::7"),
                           route("front", rule(backends=[{"name": "web", "port": PORT}])))
    dns = Dns(pod, [("web.default.svc.cluster.local", pod.address)])
    where_app(pod)
    pod.start("--config", documents.path, *dns.arguments)
    until(lambda: governed(pod), "not governed")
    front = pod.dial(address="10.77.2.7" if pod.family == 4 else "fd77:2::7")
    expect(front.ask().body.decode() == pod.address, "the backend is elsewhere")
    dns.change([("web.default.svc.cluster.local", second)])
    until(lambda: governed(pod, second), "the new address is not governed", within=4)
    expect(not governed(pod), "the old address is still governed")
    expect(front.ask().body.decode() == second, "a kept connection goes to the old address of the backend")
    # Two at once.
    dns.change([("web.default.svc.cluster.local", each) for each in (second, pod.address)])
    until(lambda: governed(pod) and governed(pod, second), "not both of two addresses are governed", within=4)


@case(("out4",))
def server_stops(pod):
    """DNS goes away: the last answer stays in use, with one warning; it comes back, and changes are seen again."""
    pod.server.ip("addr add 10.77.2.9/24 dev eth0")
    documents = configured(pod, marked("web"))
    dns = Dns(pod, [("web.default.svc.cluster.local", pod.address)])
    where_app(pod)
    pod.start("--config", documents.path, *dns.arguments)
    until(lambda: governed(pod), "not governed")
    dns.stop()
    pod.line("DNS fails; the addresses of the last answer are used meanwhile", level="warn", within=10)
    time.sleep(1.5)
    expect(governed(pod), "the last answer is lost")
    expect(len(fails(pod)) == 1, f"{len(fails(pod))} warnings")
    dns.write([("web.default.svc.cluster.local", "10.77.2.9")])
    dns.start()
    pod.line("DNS answers again", within=10)
    until(lambda: governed(pod, "10.77.2.9"), "the new address is not governed")


@case(("out4",))
def backends_unknown(pod):
    """A backend that does not exist: 500 route_invalid. One DNS has not answered for: 503 backend_unresolved, until it does."""
    documents = configured(pod, service("web", pod.address), route(
        "web", rule("/absent", backends=[{"name": "absent", "port": PORT}]),
        rule("/late", backends=[{"name": "late", "port": PORT}]), rule("/")))
    dns = Dns(pod, [("late.default.svc.cluster.local", "10.77.2.9")], run=False)
    pod.server.ip("addr add 10.77.2.9/24 dev eth0")
    where_app(pod)
    pod.start("--config", documents.path, *dns.arguments)
    peer = pod.dial()
    for target in ("/absent", "/late"):
        answer = pod.dial().ask("GET", target, status=503)
        expect(answer.get("lapse-reason") == "backend_unresolved", f"lapse-reason {answer.get('lapse-reason')}")
        expect(f"no address is known for Service default/{target[1:]}" in answer.get("lapse-detail"), answer.get("lapse-detail"))
    expect(peer.ask().body == pod.address.encode(), "a rule without backends")
    pod.line("DNS fails; the name has no addresses meanwhile", level="warn", within=5)
    dns.start()

    def asked(target):
        with pod.dial() as one:
            one.send(f"GET {target} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
            return one.response()
    until(lambda: asked("/late").body == b"10.77.2.9", "the late backend is not used", within=8, every=0.05)
    until(lambda: asked("/absent").get("lapse-reason") == "route_invalid", "the absent one is not known to be absent",
          within=8, every=0.05)
    answer = peer.ask("GET", "/absent", status=500)
    expect("Service default/absent" in answer.get("lapse-detail"), answer.get("lapse-detail"))
    pod.record(reason="backend_unresolved")
    pod.record(reason="route_invalid", msg="request failed")


class Slow:
    """A DNS server in front of another: every question is passed on after a delay."""

    def __init__(self, pod, port, behind, delay):
        self.delay, self.waiting = delay, queue.Queue()
        self.sock, self.onward = (pod.inside.socket(4, socket.SOCK_DGRAM) for _ in range(2))
        self.sock.bind(("127.0.0.1", port))
        self.onward.connect(("127.0.0.1", behind))
        self.onward.settimeout(2)
        for work in (self._take, self._pass):
            threading.Thread(target=work, daemon=True).start()

    def _take(self):
        with contextlib.suppress(OSError):
            while True:
                self.waiting.put((time.monotonic() + self.delay, *self.sock.recvfrom(4096)))

    def _pass(self):
        with contextlib.suppress(OSError):
            while True:
                due, question, source = self.waiting.get()
                time.sleep(max(0, due - time.monotonic()))
                self.onward.send(question)
                self.sock.sendto(self.onward.recv(4096), source)


@case(("out4",))
def slow_answers(pod):
    """DNS that takes 1.5 s for each of fifty names delays no request, and its answers count when they come."""
    names = [f"web-{number}" for number in range(50)]
    documents = configured(pod, service("web", pod.address, port=PORT + 1), marked("web"), *(marked(name) for name in names))
    dns = Dns(pod, [(f"{names[-1]}.default.svc.cluster.local", pod.address)])
    Slow(pod, DNS_PORT + 1, DNS_PORT, 1.5)
    where_app(pod)
    pod.app(port=PORT + 1)
    began = time.monotonic()
    pod.start("--config", documents.path, "--dns-server", f"127.0.0.1:{DNS_PORT + 1}")
    expect(time.monotonic() - began < 1.4, "the start waited for DNS")
    peer, latencies = pod.dial(PORT + 1), []
    while time.monotonic() < began + 3:
        asked = time.monotonic()
        expect(peer.ask().get("X-Route"), "not governed")
        latencies.append(time.monotonic() - asked)
        time.sleep(0.005)
    expect(max(latencies) < 0.7, f"a request took {max(latencies):.2f} s")
    expect(dns.process.poll() is None, "dnsmasq ended")
    until(lambda: governed(pod), "the answer does not count", within=5)


@case(("out4",))
def five_hundred_addresses(pod):
    """A backend with 500 addresses, too many for UDP: requests are spread over the lowest 64."""
    addresses = [f"10.88.{number // 250}.{number % 250 + 1}" for number in range(500)]
    pod.server.ip("route add local 10.88.0.0/16 dev lo")
    pod.inside.ip(f"route add 10.88.0.0/16 via {pod.server.v4}")
    documents = configured(pod, service("web", pod.address), route("web", rule(backends=[{"name": "many", "port": PORT}])))
    dns = Dns(pod, [("many.default.svc.cluster.local", address) for address in addresses])
    where_app(pod)
    pod.start("--config", documents.path, *dns.arguments)
    pod.line("DNS: many.default.svc.cluster.local has 500 A records")

    def reached():
        with pod.dial() as one:
            one.send(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
            return one.response().status == 200
    until(reached, "the backend is not used")
    peer, seen = pod.dial(), {}
    for _ in range(640):
        body = peer.ask().body.decode()
        seen[body] = seen.get(body, 0) + 1
    expect(set(seen) <= set(addresses[:64]), "an address that is none of the Service's lowest 64")
    expect(48 <= len(seen) <= 64, f"{len(seen)} of 500 addresses were used")
    expect(max(seen.values()) <= 40, f"one of {len(seen)} addresses got {max(seen.values())} of 640 requests")


@case(("out4",))
def resolv_conf(pod):
    """Without --dns-server those of /etc/resolv.conf are asked; its search domains and /etc/hosts do not matter."""
    documents = configured(pod, marked("web"), marked("pod-itself"))
    Dns(pod, [("web.default.svc.cluster.local", pod.address), ("pod-itself.default.svc.cluster.local.wrong", pod.address)], port=53)
    texts = {"resolv.conf": "search wrong default.svc.cluster.local\nnameserver 127.0.0.1\noptions ndots:15\n",
             "hosts": f"{pod.address} pod-itself.default.svc.cluster.local\n"}
    where_app(pod)
    failure = []

    def start():
        """In a mount namespace that this thread and its children have to themselves."""
        try:
            expect(libc.unshare(CLONE_NEWNS) == 0, "unshare")
            expect(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0, "mount --make-rprivate")
            for name, text in texts.items():
                path = f"{pod.scratch}/{name}.mounted"
                with open(path, "w") as file:
                    file.write(text)
                expect(libc.mount(path.encode(), f"/etc/{name}".encode(), None, MS_BIND, None) == 0, f"bind /etc/{name}")
            pod.start("--config", documents.path)
        except BaseException as error:
            failure.append(error)
    thread = threading.Thread(target=start)
    pod.server
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    until(lambda: governed(pod), "not governed")
    pod.record(service="default/web")
    with open(f"{pod.scratch}/dnsmasq.out") as file:
        asked = set(re.findall(r"query\[\w+\] (\S+)", file.read()))
    expect(asked - {"a.local"} == {"web.default.svc.cluster.local", "pod-itself.default.svc.cluster.local"}, f"asked for {asked}")
    expect(os.path.exists(pod.inside.path), "the namespaces are still there")


@case(BOTH, each={"number": PORT + 5, "none": None})
def headless(pod, target_port):
    """A backend that is a headless Service: its name leads to pods, which are dialled at the targetPort."""
    ports = [{"port": PORT, **({"targetPort": target_port} if target_port else {})}]
    documents = configured(pod, service("web", pod.address), service("pods", "None", port=ports),
                           route("web", rule("/pods", backends=[{"name": "pods", "port": PORT}]), rule("/")))
    second = "10.77.2.9" if pod.family == 4 else "fd77:2::9"
    pod.server.ip(f"addr add {second}/{24 if pod.family == 4 else 64} dev eth0" + ("" if pod.family == 4 else " nodad"))
    dns = Dns(pod, [("pods.default.svc.cluster.local", second)])
    app = where_app(pod)
    far = pod.app(http(lambda message: ok(b"the pod")), target_port) if target_port else app
    pod.start("--config", documents.path, *dns.arguments)
    peer = pod.dial()
    expect(peer.ask().body.decode() == pod.address, "the other rule")

    def reached():
        peer.send(b"GET /pods HTTP/1.1\r\nHost: app\r\n\r\n")
        answer = peer.response()
        return answer.status != 503 and answer
    expect(until(reached, "not resolved", every=0.05).body.decode() == ("the pod" if target_port else second), "not the pods' port")
    expect(far.count >= 1, "not the pods' port")


def deaf(pod):
    """DNS hears no question."""
    return pod.inside.ruled(table("deaf", ("filter", "input", 0, f"udp dport {DNS_PORT} drop")))


@case(("out4",))
def lost_question(pod):
    """A question that got lost is asked again after 2 s, without a warning."""
    documents = configured(pod, marked("web"))
    dns = Dns(pod, [("web.default.svc.cluster.local", pod.address)])
    where_app(pod)
    with deaf(pod):
        pod.start("--config", documents.path, *dns.arguments)
        expect(not governed(pod), "governed without an answer")
    until(lambda: governed(pod), "the question is not asked again", within=4)
    expect(not fails(pod), "a failure is logged")


@case(("out4",))
def silent_server(pod):
    """A DNS server that says nothing has its warning after some seconds; when it speaks again that is seen soon."""
    documents = configured(pod, marked("web"))
    dns = Dns(pod, [("web.default.svc.cluster.local", pod.address)])
    where_app(pod)
    with deaf(pod):
        pod.start("--config", documents.path, *dns.arguments)
        pod.line("DNS fails; the name has no addresses meanwhile.*web.default.svc.cluster.local", level="warn", within=9)
    until(lambda: governed(pod), "an answer is not seen", within=4)
    pod.line("DNS answers again")
