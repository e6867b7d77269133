"""The end of the proxy: SIGTERM, SIGINT, a second signal, SIGKILL, and its beginning."""
import os
import signal
import socket
import threading
import time

from .harness import AS_PROXY, BINARY, CLOSED, Failure, after, case, echo, expect, http, ok, request, silent, took, until

SIZE = 8 << 20


def slowly(message):
    """A response of 8 MiB that takes a second."""
    def serve(peer):
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        for _ in range(16):
            time.sleep(0.06)
            peer.send(b"d" * (SIZE // 16))
        return b""
    return serve


@case(ways=("in4", "out6"), each={"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT})
def transfer_in_flight(pod, number):
    """A signal with a transfer in flight: it is completed, the connection closes, exit 0."""
    pod.app(http(slowly))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    peer.wait(5)
    pod.proxy.signal(number)
    expect(len(peer.response().body) == SIZE, "the transfer was not completed")
    peer.ends("fin")
    proxy = pod.proxy
    pod.stop(signals=())
    expect([record["reason"] for record in proxy.records(CLOSED)] == ["drain"], f"{proxy.records(CLOSED)}")


@case()
def idle_closes(pod):
    """SIGTERM: idle keep-alive connections get FIN at once, reason drain; exit 0."""
    pod.app()
    pod.start()
    peers = [pod.dial() for _ in range(5)]
    for peer in peers:
        peer.ask()
    with took(0, late=1.5):
        pod.proxy.signal(signal.SIGTERM)
        for peer in peers:
            peer.ends("fin")
            peer.close()
    proxy = pod.stop(signals=())
    reasons = [record["reason"] for record in proxy.records(CLOSED)]
    expect(reasons == ["drain"] * 5, f"reasons {reasons}")


@case()
def still_serving(pod):
    """During the drain /ready says 503, /live 200, new connections are still served, responses say Connection: close."""
    pod.app(http(lambda message: after(1.2) if message.target == "/slow" else ok()))
    pod.start()
    held = pod.dial()
    held.send(request("GET", "/slow"))
    held.stays(0.2)
    pod.proxy.signal(signal.SIGTERM)
    until(lambda: pod.proxy.admin("/ready")[0] == 503, "/ready does not turn 503")
    expect(pod.proxy.admin("/live")[0] == 200, "/live is not 200")
    response = pod.dial().ask()
    expect(response.get("connection") == "close", "a response during the drain does not announce the close")
    expect(held.response().get("connection") == "close", "the response in flight does not announce the close")
    pod.stop(signals=())


@case()
def drain_forced(pod):
    """What outlives the drain timeout is reset as drain_forced, with timer and value; exit 0."""
    app = pod.app(silent)
    pod.app(echo, port=8081)
    pod.start(drain="1s")
    waiting, opaque = pod.dial(), pod.dial(8081)
    waiting.send(request())
    opaque.send(BINARY)
    opaque.exactly(len(BINARY))
    app.peer()
    with took(1):
        pod.proxy.signal(signal.SIGTERM)
        opaque.ends("rst")
    ended, answer = waiting.end()
    expect(ended == "rst" or b" 503 " in answer, f"{ended} {answer[:100]!r}")
    proxy = pod.stop(signals=())
    for record in proxy.records(CLOSED):
        expect((record["reason"], record["timer"], record["value"]) == ("drain_forced", "drain", "1s"), f"{record}")
    expect(len(proxy.records(CLOSED)) == 2, "records are missing")


@case()
def drain_timeout_alias(pod):
    """--drain-timeout is the same as --timeout-drain."""
    pod.app(silent)
    pod.start("--drain-timeout", "700ms")
    peer = pod.dial()
    peer.send(BINARY)
    peer.stays(0.2)
    with took(0.7):
        pod.proxy.signal(signal.SIGTERM)
        peer.ends("rst")
    proxy = pod.stop(signals=())
    expect(proxy.records(CLOSED)[0]["reason"] == "drain_forced", "wrong reason")


@case()
def second_signal(pod):
    """A second signal forces the end at once; exit 0."""
    pod.app(silent)
    pod.start()
    peer = pod.dial()
    peer.send(BINARY)
    peer.stays(0.2)
    with took(0.3, late=2):
        pod.proxy.signal(signal.SIGTERM)
        peer.stays(0.3)
        pod.proxy.signal(signal.SIGTERM)
        peer.ends("rst")
    proxy = pod.stop(signals=())
    expect(proxy.records(CLOSED)[0]["reason"] == "drain_forced", "wrong reason")


@case()
def opaque_may_finish(pod):
    """During the drain an opaque connection goes on until its peers end it; then exit 0."""
    pod.app(echo)
    pod.start()
    peer = pod.dial()
    peer.send(BINARY)
    peer.exactly(len(BINARY))
    pod.proxy.signal(signal.SIGTERM)
    time.sleep(0.5)
    peer.send(BINARY)
    expect(peer.exactly(len(BINARY)) == BINARY, "cut during the drain")
    peer.fin()
    peer.ends("fin")
    proxy = pod.stop(signals=())
    expect(proxy.records(CLOSED)[0]["reason"] == "done", f"{proxy.records(CLOSED)[0]['reason']}")


@case()
def killed_and_started_again(pod):
    """SIGKILL resets what was open; a new proxy serves at once behind the same rules."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.ask()
    pod.stop(signals=(signal.SIGKILL,), exit_code=-9)
    expect(peer.end()[0] in ("fin", "rst"), "the old connection stays open")
    try:
        with pod.near.connect(pod.address, 8080):
            raise AssertionError("a connection without a proxy")
    except ConnectionRefusedError:
        pass
    pod.dials = 0
    pod.start(init=None)
    pod.dial().ask()


@case()
def ignored_signals(pod):
    """SIGPIPE and SIGHUP end nothing."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.ask()
    for number in (signal.SIGPIPE, signal.SIGHUP):
        pod.proxy.signal(number)
    time.sleep(0.2)
    peer.ask()


@case()
def notify_socket(pod):
    """READY=1 goes to NOTIFY_SOCKET when the proxy serves."""
    path = f"{pod.scratch}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        os.chmod(path, 0o666)
        notify.settimeout(5)
        pod.start(environment={"NOTIFY_SOCKET": path})
        expect(b"READY=1" in notify.recv(1000).split(b"\n"), "no READY=1")


@case()
def admin_listener(pod):
    """/live and /ready answer 200, other paths 404, other methods 405 or 404, rubbish does no harm."""
    pod.start()
    expect(pod.proxy.admin("/live")[0] == 200 and pod.proxy.admin("/ready")[0] == 200, "not live or not ready")
    expect(pod.proxy.admin("/nowhere")[0] == 404, "/nowhere is not 404")
    expect(pod.proxy.admin("/ready", method="DELETE")[0] in (404, 405), "DELETE is accepted")
    for rubbish in (b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"x" * 100000):
        with pod.inside.connect("127.0.0.1", 4191) as peer:
            try:
                peer.send(rubbish).end(0.2)
            except OSError:
                pass
    with pod.inside.connect("127.0.0.1", 4191) as slow:
        slow.send(b"GET /li")
        expect(pod.proxy.admin("/live")[0] == 200, "a slow admin client blocks others")
        slow.send(b"ve HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect(slow.response().status == 200, "a slow admin client is not served")


def start_failure(pod, *arguments):
    """Starts a proxy that cannot; what it said."""
    done = pod.inside.run(AS_PROXY + [pod.context.proxy, *arguments], check=False, env=pod.context.environment())
    expect(done.returncode == 1, f"exit {done.returncode}")
    return done.stdout + done.stderr


@case(each={"inbound": 4143, "outbound": 4140, "admin": 4191})
def port_taken(pod, port):
    """A port that is taken: exit 1 with a sentence that names it."""
    pod.app(silent, port=port, host=pod.inside)
    expect(str(port) in start_failure(pod), "the port is not named")


@case()
def without_ipv6(pod):
    """Where there is no IPv6 the proxy serves IPv4."""
    pod.inside.sysctl("ipv6/conf/all/disable_ipv6", 1)
    pod.app()
    pod.start()
    pod.dial().ask()


@case()
def connections_during_drain_keep_coming(pod):
    """Clients that go on asking during a drain get answers until the proxy is gone; it goes within the drain timeout."""
    pod.app()
    pod.start(drain="1s")
    pod.uncounted()
    wrong, stop = [], threading.Event()

    def client():
        while not stop.is_set():
            try:
                with pod.near.connect(pod.address, 8080, timeout=3) as peer:
                    peer.ask()
            except (OSError, Failure) as error:
                wrong.append((time.monotonic(), str(error)))
                return
    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    time.sleep(0.3)
    pod.proxy.signal(signal.SIGTERM)
    gone = pod.proxy.wait(8)
    at = time.monotonic()
    stop.set()
    for each in clients:
        each.join()
    expect(gone == 0, f"exit {gone}")
    early = [error for when, error in wrong if when < at - 0.3]
    expect(not early, f"refused before the proxy was gone: {early[:1]}")
    pod.proxy = None
