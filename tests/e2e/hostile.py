"""Faults that a hostile review proved: busy loops, stalls, memory without bound, bytes that answer another request."""
import contextlib
import glob
import os
import re
import signal
import socket
import threading
import time

from .harness import (BINARY, DEAD_PORTS_TOO, Failure, after, black_hole, case, check_answer, expect, http, ok, request, script,
                      silent, took, until, upgraded)
from .harness.documents import configured, route, rule, service
from .harness.record import CLOSED

ONE = ("--workers", "1")  # all of a case's connections meet in one loop
QUIET = ("--log-level", "error")  # where records would be too many
UPGRADE = request("GET", "/", "Connection: upgrade", "Upgrade: raw")
SEVERAL = request() * 1000


def rests(pod, seconds=1.0):
    """Expects that the proxy does nothing for a while: all of this case's peers wait for something."""
    most = 0.35 if pod.context.sanitize else 0.2
    time.sleep(0.3)
    before = pod.proxy.cpu_seconds()
    time.sleep(seconds)
    used = pod.proxy.cpu_seconds() - before
    expect(used < most * seconds, f"{used:.2f} s of CPU in {seconds:g} s of waiting")


def small_buffers(pod):
    """The kernel's buffers are soon full, so that a side that does not read is felt at once."""
    for host in (pod.client, pod.inside):
        host.sysctl("ipv4/tcp_rmem", "4096 65536 65536")
        host.sysctl("ipv4/tcp_wmem", "4096 65536 65536")


@contextlib.contextmanager
def frozen(pod):
    """The proxy stands still: what comes meanwhile is there at once when it goes on, in the order it came."""
    def threads():
        for path in glob.glob(f"/proc/{pod.proxy.pid}/task/*/stat"):
            with open(path) as file:
                yield file.read().rsplit(")", 1)[1].split()[0]
    pod.proxy.signal(signal.SIGSTOP)
    try:
        until(lambda: set(threads()) == {"T"}, "the proxy does not stand still")
        yield
    finally:
        pod.proxy.signal(signal.SIGCONT)


def lose_server_legs(pod, app):
    """The app closes what it has, and every dial after it fails at once: no descriptor is left."""
    before = pod.proxy.fds()
    pod.limit("nofile", 3)
    for peer in app.peers:
        peer.sock.shutdown(socket.SHUT_RDWR)
    until(lambda: pod.proxy.fds() < before, "the connection to the app stays open")


# Nothing happens, so nothing may be done.

def refusing(pod):
    """A route that takes /ok and nothing else: the proxy answers every other request itself."""
    return configured(pod, service("site", pod.address), route("site", rule("/ok"))).path


@case(ways=("out4", "out6"))
def pipeline_turn_ends_with_its_stage(pod):
    """64 requests that the proxy answers, one for the app, and more bytes in that round: the turn's alarm fires in no exchange."""
    pod.app(http())
    pod.start(*ONE, "--config", refusing(pod))
    peer = pod.dial()
    peer.send(request("GET", "/ok") + request("GET", "/no") * 64 + request("GET", "/ok"))
    time.sleep(0.1)
    with frozen(pod):
        time.sleep(0.2)
        peer.send(b"G")
    peer.send(request("GET", "/ok")[1:])
    statuses = [peer.response().status for _ in range(67)]
    expect(statuses == [200] + [404] * 64 + [200, 200], f"{statuses}")
    peer.fin()
    pod.record(msg=CLOSED, reason="client_closed_idle", requests=67)


@case(ways=("out4",))
def pipeline_takes_turns(pod):
    """Of thousands of pipelined requests that the proxy answers itself at most 65 are answered in a round of the loop."""
    pod.start(*ONE, "--config", refusing(pod))
    trace = f"{pod.scratch}/strace"
    tracer = pod.spawn(pod.inside, ["strace", "-f", "-qq", "-e", "trace=epoll_wait,sendto", "-o", trace, "-p", str(pod.proxy.pid)])
    until(lambda: f"TracerPid:\t{tracer.pid}" in open(f"/proc/{pod.proxy.pid}/status").read(), "strace does not watch")
    peer = pod.dial().send(request("GET", "/no") * 2000)
    for _ in range(2000):
        expect(peer.response().status == 404, "not refused")
    tracer.terminate()
    tracer.wait()
    with open(trace) as file:
        lines = file.readlines()
    worker = next(line.split()[0] for line in lines if "HTTP/1.1 404" in line)
    own = "".join(line for line in lines if line.startswith(worker + " "))
    rounds = [part.count('"HTTP/1.1 404') for part in own.split("epoll_wait(")]
    expect(sum(rounds) >= 2000 and max(rounds) <= 65, f"{sum(rounds)} answers, {max(rounds)} of them in one round")


@case()
def spin_half_closed_while_waiting(pod):
    """A client that half-closed after its request and waits for the answer costs no CPU; the answer comes."""
    pod.app(http(after(2)))
    pod.start()
    peer = pod.dial()
    peer.send(request()).fin()
    rests(pod)
    expect(peer.response().body == b"ok\n", "wrong answer")
    peer.ends("fin")


@case()
def spin_fin_behind_blocked_response(pod):
    """A client's FIN that waits behind a response it does not read costs no CPU; the response is delivered whole."""
    body = bytes(range(256)) * 8192
    pod.app(http(lambda message: ok(body)))
    small_buffers(pod)
    pod.start()
    peer = pod.dial()
    peer.send(request()).fin()
    rests(pod)
    expect(peer.response().body == body, "the response is not whole")
    peer.ends("fin")


@case(each={"http": (request(), b"HTTP/1.1 200 OK\r\n\r\n"), "opaque": (BINARY, b"")})
def spin_server_rst_behind_blocked_client(pod, what):
    """A server's RST that waits behind bytes the client does not read costs no CPU; the client gets RST when it reads."""
    first, head = what

    def serve(peer):
        peer.some()
        peer.sock.settimeout(0.3)
        try:
            peer.send(head + b"x" * (4 << 20))
        except TimeoutError:
            pass
        peer.rst()
    app = pod.app(serve)
    small_buffers(pod)
    pod.start()
    peer = pod.dial()
    peer.send(first)
    app.ended()
    rests(pod)
    how, got = peer.end()
    expect(how == "rst" and got.startswith(head), f"the client saw {how} after {got[:80]!r}")
    pod.ended("server_reset", by="server")


@case(each={"opaque": BINARY, "http": request()})
def spin_fin_while_dialling(pod, first):
    """Bytes and a FIN from a client while its server does not accept cost no CPU until connect expires."""
    pod.start(init=DEAD_PORTS_TOO, connect="2s")
    with pod.inside.ruled(black_hole()):
        peer = pod.dial(9)
        peer.send(first).fin()
        rests(pod)
        if first is BINARY:
            peer.ends("rst")
        else:
            check_answer(peer.response(), 504, "connect_timeout")
    pod.record(reason="connect_timeout", phase="connect")


# Answers that must come, and come from where they belong.

@case(each={"closes": (), "fin": ("fin", silent)})
def until_close_answer_to_unfinished_request(pod, then):
    """A response that lasts until close, to a request whose body is awaited: its end comes at once, connection_close."""
    answer = b"HTTP/1.1 401 Unauthorized\r\n\r\nno"
    pod.app(script("head", answer, *then))
    pod.start()
    peer = pod.dial()
    peer.send(request("POST", "/", "Content-Length: 100", "Expect: 100-continue"))
    with took(0, late=1.5):
        peer.ends("fin", data=answer)
    peer.close()
    pod.ended("connection_close", by="server")


STRAY = ok(b"EVIL")
SURPLUS = {
    "late rest": script(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", 0.2, b"67890" + STRAY),
    "large": script(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1000000, 0.1, b"x" * 1000000 + STRAY),
    "at once": script(ok(b"1234567890") + STRAY),
    "chunked": script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", 0.2, b"0\r\n\r\n" + STRAY),
}


@case(each=SURPLUS)
def surplus_on_own_leg(pod, response):
    """Bytes behind a response are never the answer to the request that the client pipelined behind it."""
    pod.app(http(lambda message: response if message.target == "/1" else ok(b"answer to /2")))
    pod.start()
    peer = pod.dial()
    peer.send(request("GET", "/1") + request("GET", "/2"))
    peer.response()
    body = peer.response().body
    expect(body == b"answer to /2", f"GET /2 was answered {body!r}")


@case()
def surplus_on_pooled_leg(pod):
    """Bytes behind a response are never the answer to another client whose request comes in the same moment."""
    rest = threading.Event()

    def late(peer):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        rest.wait(5)
        peer.send(b"67890" + STRAY)
    answers = {"/1": late, "/bye": script(ok(), "fin")}
    pod.app(http(lambda message: answers.get(message.target) or ok(b"answer to " + message.target.encode())))
    pod.start(*ONE)
    second = pod.dial()
    second.ask("GET", "/bye")  # it has no connection to the app any more
    first = pod.dial()
    first.send(request("GET", "/1"))
    first.wait(5)
    with frozen(pod):
        rest.set()
        time.sleep(0.15)
        first.fin()
        time.sleep(0.05)
        second.send(request("GET", "/2"))
        time.sleep(0.1)
    expect(first.response().body == b"1234567890", "wrong answer")
    body = second.response().body
    expect(body == b"answer to /2", f"another client's GET /2 was answered {body!r}")


@case()
def pipelined_refused(pod):
    """Two hundred pipelined requests to a server that refuses: the first is answered 502, which ends the connection."""
    pod.start(init=DEAD_PORTS_TOO)
    peer = pod.dial(9)
    peer.send(request() * 200)
    check_answer(peer.response(), 502, "connect_refused", closes=True)
    peer.ends("fin")


@case()
def pipelined_without_descriptor(pod):
    """Two hundred pipelined requests whose dials fail at once: each is answered 503, then there is room again."""
    app = pod.app()
    pod.start(*ONE)
    peer = pod.dial()
    peer.ask()
    lose_server_legs(pod, app)
    peer.send(request() * 200)
    for number in range(200):
        expect(peer.wait(3), f"{number} of 200 requests were answered")
        check_answer(peer.response(), 503, "fd_limit", closes=False)
    pod.limit("nofile", 1000)
    peer.ask()


# Costs.

def resident_kib(pod):
    with open(f"/proc/{pod.proxy.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


def send_until_blocked(peer, within):
    """Sends requests and reads nothing until nothing has been taken for half a second."""
    peer.sock.settimeout(0.5)
    deadline, sent = time.monotonic() + within, 0
    try:
        while time.monotonic() < deadline:
            sent += peer.sock.send(SEVERAL[sent % len(SEVERAL):])
    except TimeoutError:
        return
    raise Failure(f"{sent} bytes of requests were taken, the answers to which nobody reads")


@case(ways=("out4",), each={"no route": False, "no descriptor": True}, limit=40)
def unread_answers_are_bounded(pod, at_once):
    """A client that pipelines failing requests and never reads is read no more: memory is bounded, others are served."""
    small_buffers(pod)
    app = pod.app()
    pod.start(*ONE, *QUIET, "--config", configured(pod, service("site", pod.address)).path if at_once else refusing(pod))
    pod.uncounted()
    other, peer = pod.dial(), pod.dial()
    other.ask("GET", "/ok")
    if at_once:
        peer.ask()
        lose_server_legs(pod, app)
    before = resident_kib(pod)
    send_until_blocked(peer, 12 if pod.context.sanitize else 6)
    rests(pod, 0.5)
    grown = resident_kib(pod) - before
    expect(grown < (30000 if pod.context.sanitize else 3000), f"{grown} KiB for answers that one client does not read")
    pod.limit("nofile", 1000)
    other.ask("GET", "/ok")


@case()
def admin_without_descriptor(pod):
    """A client of the admin listener that waits for a descriptor costs no CPU, and is answered when there is one."""
    pod.start(*ONE)
    highest = max(int(name) for name in os.listdir(f"/proc/{pod.proxy.pid}/fd"))
    pod.limit("nofile", highest + 1)
    waiting = pod.inside.connect("127.0.0.1", 4191)
    left = pod.inside.connect("127.0.0.1", 4191)
    left.close()
    waiting.send(request("GET", "/ready", host="localhost"))
    rests(pod)
    waiting.stays(0)
    pod.limit("nofile", 1000)
    with took(0, late=2):
        expect(waiting.response().status == 200, "the client that waited was not answered")
    waiting.close()
    expect(pod.proxy.admin("/ready")[0] == 200, "/ready is not 200")


# The end.

@case(each={"deadline": 1, "second signal": 2}, weight=2)
def drain_ends_under_arrivals(pod, signals):
    """A draining proxy ends at its deadline, or at a second signal, although clients keep coming."""
    pod.app(silent)
    pod.start(*QUIET, "--opaque-ports", "8080", drain="1s" if signals == 1 else "1m")
    pod.uncounted()
    gone = threading.Event()

    def arrive():
        held = []
        with pod.near.entered():
            while not gone.is_set():
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex((pod.address, 8080))
                held.append(sock)
                if len(held) > 300:
                    held.pop(0).close()
                time.sleep(0.0005)
        for sock in held:
            sock.close()
    clients = [threading.Thread(target=arrive) for _ in range(2)]
    for each in clients:
        each.start()
    try:
        time.sleep(0.3)
        for _ in range(signals):
            pod.proxy.signal(signal.SIGTERM)
            time.sleep(0.3)
        pod.stop(signals=(), within=15 if pod.context.sanitize else 4)
    finally:
        gone.set()
        for each in clients:
            each.join()


@case()
def upgrade_while_draining(pod):
    """A 101 that comes while the proxy drains keeps its Connection: upgrade, and the tunnel works."""
    app = pod.app(http(after(0.6, upgraded(None))))
    pod.start()
    peer = pod.dial()
    peer.send(UPGRADE)
    app.peer()
    pod.proxy.signal(signal.SIGTERM)
    response = peer.response()
    expect(response.status == 101 and response.all("connection") == ["upgrade"], f"{response.start} {response.fields}")
    peer.send(BINARY)
    expect(peer.exactly(len(BINARY)) == BINARY, "the tunnel does not work")
    peer.close()
    pod.stop(signals=())


@case(each={"before": 0, "after": 1.4})
def upgrade_and_max_connection(pod, delay):
    """maxConnection leaves the Connection: upgrade of a 101 alone, and ends its tunnel, also when it expired before the 101."""
    pod.app(http(after(delay, upgraded(None))))
    pod.start(max_connection="1s")
    with took(max(1, delay)):
        peer = pod.dial()
        peer.send(UPGRADE)
        response = peer.response()
        expect(response.status == 101 and response.all("connection") == ["upgrade"], f"{response.start} {response.fields}")
        peer.ends("fin")
    peer.close()
    pod.fired("maxConnection", "max_connection", phase="tunnel")


# Small things.

@case()
def split_empty_line_on_idle_connection(pod):
    r"""An empty line in two halves, \r and later \n, is no request: no 408, and idleConnection runs on."""
    pod.app()
    pod.start(idle_connection="1s", request_headers="300ms")
    peer = pod.dial()
    with took(1):
        peer.ask()
        peer.stays(0.2)
        peer.send(b"\r")
        peer.stays(0.4)
        peer.send(b"\n")
        peer.ends("fin")
    pod.fired("idleConnection", "idle_timeout", phase="idle")


@case()
def conn_limit_answer_arrives(pod):
    """The 503 conn_limit is delivered, then FIN, although the request was not read; the connection does not stay."""
    app = pod.app(silent)
    pod.start("--max-connections", "1", "--workers", "1")
    pod.dial().send(request())
    until(lambda: app.count, "the first does not get through")
    before = pod.fds_at_start + 2
    with frozen(pod):  # so that the request is there when the connection is accepted
        peer = pod.dial()
        peer.send(request("POST", "/", body=b"x" * 20000))
        time.sleep(0.1)
    check_answer(peer.response(), 503, "conn_limit", closes=True)
    peer.ends("fin")
    expect(not peer.broken(0.3), "RST followed the FIN: unread bytes destroyed the answer, or might have")
    until(lambda: pod.proxy.fds() == before, "its descriptor is not given back")
    pod.record(reason="conn_limit", by="proxy")
