"""Where the benchmark runs: a client and a pod joined by a veth pair, the app in the pod, one peer at a time before it."""
import collections
import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from harness.net import Host, link, run  # noqa: E402

INBOUND, PROXY_UID = 4143, 2102
# The app behind the redirect, and the same app past it.
APP, DIRECT = 8080, 8081
# Open files, for every peer alike: some size their tables by it.
FILES = 20000
NAME = "lapse-bench-"
# Of a CPU, by whoever else: a run with more is made again, up to so many times, for so many seconds in all.
QUIET, TRIES, PATIENCE = 0.05, 3, 60


class Broken(RuntimeError):
    """A figure cannot be had; the text says why."""


def cpu_seconds(pid):
    """User and system time of a process with all its threads, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def busy_seconds(cpus):
    """What the CPUs have spent otherwise than idle since boot, time stolen by the host included."""
    with open("/proc/stat") as file:
        rows = [line.split() for line in file]
    ticks = sum(int(row[column]) for row in rows for column in (1, 2, 3, 6, 7, 8) if row[0] in {f"cpu{cpu}" for cpu in cpus})
    return ticks / os.sysconf("SC_CLK_TCK")


class Process:
    """A child on these CPUs inside a namespace; what is asked of it is of the processes it has begun, too."""

    def __init__(self, host, cpus, command, **options):
        with host.entered():
            self.popen = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, cpus), **options)
        self.pid, self.name = self.popen.pid, os.path.basename(command[0])

    def pids(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return [self.pid, *map(int, file.read().split())]

    def cpu_seconds(self):
        return sum(map(cpu_seconds, self.pids()))

    def close(self):
        """SIGTERM, then SIGKILL."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(3)
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream:
                stream.close()

    def listens(self, port):
        tables = ""
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(OSError), open(f"/proc/{self.pid}/net/{table}") as file:  # it may have ended
                tables += file.read()
        return re.search(rf":{port:04X} [0-9A-F]+:0000 0A ", tables) is not None

    def wait_for(self, port, processes=1):
        deadline = time.monotonic() + 5
        while self.popen.poll() is None and time.monotonic() < deadline:
            if self.listens(port) and len(self.pids()) >= processes:
                return
            time.sleep(0.005)
        raise Broken(f"{self.name} does not listen on port {port}, exit {self.popen.poll()}")

    def memory(self):
        """KiB: Rss, Private_Dirty, Anonymous, … of /proc/PID/smaps_rollup."""
        sums = collections.Counter()
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                sums.update({match[1]: int(match[2]) for line in file if (match := re.match(r"(\w+): +(\d+) kB", line))})
        return sums

    def sockets(self):
        """Open descriptors, which but for a few are sockets."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())


class Load(Process):
    """A run of tests/bench/load."""

    def __init__(self, world, peer, process, arguments):
        self.peer = peer
        command = [world.bench("load"), world.pod.v4, str(APP if process else DIRECT), *map(str, arguments)]
        for pid in [*world.app.pids(), *(process.pids() if process else [])]:
            command += ["--watch", str(pid)]
        super().__init__(world.client, {world.load_cpu}, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)

    def result(self, within):
        """What it prints in the end."""
        try:
            said, errors = self.popen.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            raise Broken(f"load against {self.peer.name} does not end") from None
        if self.popen.returncode != 0:
            raise Broken(f"load against {self.peer.name}: {errors.strip() or self.popen.returncode}")
        return json.loads(said)

    def step(self, connections):
        """Waits until all the connections it holds have got as far as its next line."""
        line = self.popen.stdout.readline() if select.select([self.popen.stdout], [], [], 60)[0] else ""
        if json.loads(line or "{}").get("held") != connections:
            self.popen.kill()
            raise Broken(f"holding {connections} connections of {self.peer.name}: {self.popen.stderr.read().strip() or 'no progress'}")

    def ask(self, connections):
        """One request on each connection held."""
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        self.step(connections)


class World:
    def __init__(self, out):
        self.out = os.path.abspath(out)
        self.cleanup = contextlib.ExitStack()
        self.namespaces = 0
        self.runs = self.disturbed = 0
        self.patience = PATIENCE
        self.app = self.answers = None
        cpus = sorted(os.sched_getaffinity(0))
        # Load and app on the first, the proxy on the second, the two workers of a proxy on the next ones if there are so many.
        self.load_cpu, self.proxy_cpu = cpus[0], cpus[1 % len(cpus)]
        self.two_cpus = set(cpus[1:3] if len(cpus) > 2 else cpus)

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.cleanup.close()
            raise
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    def _build(self):
        sweep()
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
        self.scratch = tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-")
        self.cleanup.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        os.chmod(self.scratch, 0o755)
        self.pod, self.client = self.namespace(), self.namespace()
        link(self.client, self.pod, 1)
        self.pod.run([self.tool("lapse-init"), "install", "--skip-inbound-ports", str(DIRECT), "--log-level", "warn",
                      "--conntrack-timeout", "time_wait=1s", "--conntrack-timeout", "close=1s"])
        # A connection for every request: ports come round within seconds.
        for host in (self.pod, self.client):
            host.sysctl("ipv4/tcp_tw_reuse", 1)
            host.sysctl("ipv4/ip_local_port_range", "10000 65535")
        self.cleanup.callback(self._end_app)

    def _end_app(self):
        if self.app:
            self.app.close()
        self.app = self.answers = None

    def serve(self, answers):
        """The app from now on: bodies of so many bytes, or "opaque"; None: somebody else is."""
        if self.answers == answers:
            return
        self._end_app()
        if answers is None:
            return
        self.app = Process(self.pod, {self.load_cpu}, [self.bench("responder"), str(answers), str(APP), str(DIRECT)])
        self.app.wait_for(DIRECT)
        self.answers = answers

    def namespace(self):
        """A new one, deleted at the latest in the end."""
        self.namespaces += 1
        name = f"{NAME}{os.getpid()}-{self.namespaces}"
        self.cleanup.callback(delete, name)
        return Host(name)

    def tool(self, name):
        return os.path.join(self.out, name)

    def bench(self, name):
        return os.path.join(self.out, "tests", "bench", name)

    @contextlib.contextmanager
    def running(self, peer, cpus=None, workers=1, **settings):
        """The peer, ready for connections; None for the one that is no process."""
        command = peer.command(self, workers=workers, **settings)
        if not command:
            yield None
            return
        log = os.path.join(self.scratch, f"{peer.name}.log")
        with open(log, "wb") as out:
            process = Process(self.pod, cpus or {self.proxy_cpu}, command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            try:
                process.wait_for(INBOUND, peer.processes(workers))
            except Broken as broken:
                with open(log, errors="replace") as file:
                    raise Broken(f"{broken}: {file.read()[-500:].strip()}") from None
            yield process
        finally:
            process.close()

    def load(self, peer, process, seconds, warm_up=0.2, **options):
        """One closed-loop run, again when others used the machine; the quietest of them.

        What load prints, and proxy_cpu_s, load_share (CPU of load and app) and proxy_share (of its CPU), others (likewise)."""
        arguments = ["--seconds", seconds, "--warm-up", warm_up, *arguments_of(options)]
        cpus, best, ours = {self.load_cpu, self.proxy_cpu}, None, [each for each in (self.app, process) if each]
        for attempt in range(TRIES):
            start, busy = time.monotonic(), busy_seconds(cpus)
            used = sum(each.cpu_seconds() for each in ours) + sum(os.times()[:4])
            with contextlib.closing(Load(self, peer, process, arguments)) as load:
                result = load.result(seconds + warm_up + 15)
            used = sum(each.cpu_seconds() for each in ours) + sum(os.times()[:4]) - used
            span = time.monotonic() - start
            app_cpu, *proxy_cpu = result["watched_cpu_s"]
            result["proxy_cpu_s"] = sum(proxy_cpu)
            result["load_share"] = (result["own_cpu_s"] + app_cpu) / result["seconds"]
            result["proxy_share"] = result["proxy_cpu_s"] / result["seconds"]
            result["others"] = max(0.0, (busy_seconds(cpus) - busy - used) / span)
            if best is None or result["others"] < best["others"]:
                best = result
            self.patience -= span if attempt else 0
            if best["others"] <= QUIET or self.patience < span:
                break
        self.runs += 1
        self.disturbed += best["others"] > QUIET
        if process and best["proxy_share"] < 0.002:
            raise Broken(f"the load did not go through {peer.name}")
        return best

    @contextlib.contextmanager
    def held(self, peer, process, connections):
        """So many connections, on which nothing was said yet."""
        with contextlib.closing(Load(self, peer, process, ["--hold", "--connections", connections])) as load:
            load.step(connections)
            yield load


def arguments_of(options):
    """{"connections": 4, "fresh": True} → --connections 4 --fresh"""
    for name, value in options.items():
        yield from ["--" + name] if value is True else ["--" + name, value]


def delete(name):
    """The namespace, if it is still there."""
    if os.path.exists(f"/run/netns/{name}"):
        run(["ip", "netns", "delete", name], check=False)


def left_behind(directory):
    """Names in it that are of runs which are no more."""
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        if (match := re.match(NAME + r"(\d+)-", name)) and not os.path.exists(f"/proc/{match[1]}"):
            yield name


def sweep():
    """Ends what a run that was killed has left."""
    for name in left_behind("/run/netns"):
        for pid in run(["ip", "netns", "pids", name], check=False).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        delete(name)
    for name in left_behind(tempfile.gettempdir()):
        shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)
