"""Floods: a hundred thousand connections that nobody needs. The log stays small, no count is lost, nothing is left behind."""
import collections
import re
import subprocess
import sys
import threading
import time

from .harness import CLOSED, case, expect, until

EVERYTHING = 99  # more than the workers there are: alone on the machine
FLOOD = 100000
PROBERS = WORKERS = 2
RATE = 50  # the default of --log-rate

# Opens COUNT connections, ends each without a byte and takes the other end's; at most a few wait for theirs at a time, so that no
# queue of the kernel overflows. Prints how many ended in which way.
PROBER = """
import collections, socket, sys
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ends, waiting = collections.Counter(), collections.deque()
def take(sock):
    try:
        ends["bytes" if sock.recv(1) else "fin"] += 1
    except TimeoutError:
        ends["late"] += 1
    except OSError:
        ends["rst"] += 1
    sock.close()
for number in range(count):
    sock = socket.socket()
    try:
        sock.connect((address, port))
        sock.shutdown(socket.SHUT_WR)
    except OSError:  # reset already
        ends["rst"] += 1
        sock.close()
        continue
    sock.settimeout(20)
    waiting.append(sock)
    if len(waiting) > 64:
        take(waiting.popleft())
for sock in waiting:
    take(sock)
print(*(f"{how}={number}" for how, number in ends.items()))
"""

# Accepts, and closes what its client has closed.
SERVER = """
import select, socket, sys
listener = socket.create_server(("", int(sys.argv[1])), backlog=4096)
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
socks = {}
while True:
    for fd, _ in poll.poll():
        if fd == listener.fileno():
            sock = listener.accept()[0]
            socks[sock.fileno()] = sock
            poll.register(sock, select.EPOLLIN)
        else:
            socks.pop(fd).close()
"""


def python(pod, host, program, *arguments):
    process = host.popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    pod.processes.append(process)
    return process


def roomy(pod):
    """Ports and conntrack entries are free again at once: a flood needs more of them than there are."""
    for host in pod.hosts:
        host.sysctl("ipv4/tcp_max_tw_buckets", 100)
        for state in ("time_wait", "close"):
            host.sysctl(f"netfilter/nf_conntrack_tcp_timeout_{state}", 1)


def flood(pod, port, count):
    """How this many connections to this port ended, and how long that took."""
    began, ends = time.monotonic(), collections.Counter()
    probers = [python(pod, pod.client, PROBER, pod.address, port, count // PROBERS) for _ in range(PROBERS)]
    for prober in probers:
        for how, number in re.findall(r"(\w+)=(\d+)", prober.communicate(timeout=150)[0]):
            ends[how] += int(number)
    return dict(ends), time.monotonic() - began


class Bystander(threading.Thread):
    """A keep-alive connection that asks and asks; what went wrong, and the slowest answer."""

    def __init__(self, pod):
        super().__init__(daemon=True)
        self.peer, self.stop, self.wrong, self.slowest, self.asked = pod.dial(), threading.Event(), None, 0, 0
        self.start()

    def run(self):
        try:
            while not self.stop.wait(0.02):
                began = time.monotonic()
                self.peer.ask("GET", f"/{self.asked}")
                self.asked += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
        except Exception as error:
            self.wrong = error

    def end(self):
        self.stop.set()
        self.join(20)
        expect(not self.wrong and self.asked > 10, f"the other connection: {self.asked} requests, then {self.wrong}")
        expect(self.slowest < 1, f"the other connection waited {self.slowest:.2f} s")
        self.peer.close()


def told(lines):
    """For how many connections these lines stand: each for itself, and for those that it says were held back."""
    return sum((line["msg"] == CLOSED) + line.get("suppressed", 0) for line in lines)


def check_counters(pod, reason, count, suppressed):
    """Opened and closed are the flood and the two others; nothing is open; so many records were held back."""
    def counted():
        metrics = pod.proxy.metrics()
        return {name: pod.proxy.counted(f"lapse_{name}", metrics=metrics, **labels) for name, labels in (
            ("connections_opened_total", {}), ("connections_closed_total", {"reason": reason}), ("connections_active", {}),
            ("connections_half_closed", {}), ("records_suppressed_total", {}), ("log_lines_dropped_total", {}))}
    wanted = {"connections_opened_total": count + 2, "connections_closed_total": count, "connections_active": 0,
              "connections_half_closed": 0, "records_suppressed_total": suppressed(), "log_lines_dropped_total": 0}
    until(lambda: counted() == {**wanted, "records_suppressed_total": suppressed()}, lambda: f"counted {counted()}, expected {wanted}")


def under_flood(pod, port, reason, end, shown, *arguments):
    """A flood of connections to this port, each of which ends so for its client, and for that reason: what must hold of the log (shown:
    its records have a place in it), of the counters, of the proxy's memory and descriptors, and of who else is served."""
    count = FLOOD // 10 if pod.context.sanitize else FLOOD
    roomy(pod)
    pod.uncounted()
    pod.app()
    python(pod, pod.inside, SERVER, 8081)
    proxy = pod.start("--log-rate", str(RATE), "--workers", str(WORKERS), *arguments, server_idle="200ms")
    with pod.dial() as first:
        first.ask()
    memory, bystander = proxy.private_kib(), Bystander(pod)
    ends, seconds = flood(pod, port, count)
    bystander.end()
    expect(ends == {end: count}, f"the flood's connections ended {ends}")

    def records():
        return [line for line in proxy.lines if line.get("reason") == reason]
    check_counters(pod, reason, count, lambda: count - len(records()) if shown else 0)
    until(lambda: proxy.fds() <= pod.fds_at_start, lambda: f"{proxy.fds()} descriptors, {pod.fds_at_start} at start")
    used = proxy.private_kib() - memory
    expect(used < 2048 or pod.context.sanitize, f"{used} KiB more than before")
    pod.stop()
    size, most = sum(len(line) + 1 for line in proxy.text), WORKERS * RATE * (seconds + 2) if shown else 0
    expect(told(records()) == (count if shown else 0), f"the log's lines stand for {told(records())} connections, not {count}")
    expect(len(records()) <= most, f"{len(records())} records in {seconds:.1f} s")
    expect(size < 600 * most + 8000, f"{size} bytes of log")


@case(weight=EVERYTHING, limit=200, each={"at info": False, "at debug": True})
def probes(pod, shown):
    """Probes, as of a health check: no line at info; at debug a few, which add up to all."""
    under_flood(pod, 8081, "client_closed_unused", "fin", shown, "--log-level", "debug" if shown else "info")


@case(weight=EVERYTHING, limit=200)
def strangers(pod):
    """Connections straight to the proxy's port: reset, with a few lines at info, which add up to all."""
    under_flood(pod, 4143, "not_redirected", "rst", True, "--log-level", "info")
