"""Where the benchmark runs: a client and a pod joined by a veth pair, the app in the pod, one peer at a time before it."""
import contextlib
import json
import os
import re
import resource
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
ANSWER_BYTES = 32
# Open files, for every peer alike: some size their tables by it.
FILES = 20000
NAME = "lapse-bench-"
# Of a CPU, by whoever else: a run with more is made again, up to so many times, in the first so many seconds.
QUIET, TRIES, PATIENCE = 0.05, 3, 120


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
    """A child on one CPU inside a namespace."""

    def __init__(self, host, cpu, command, **options):
        with host.entered():
            self.popen = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}), **options)
        self.pid, self.name = self.popen.pid, os.path.basename(command[0])

    def end(self):
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
            with open(f"/proc/{self.pid}/net/{table}") as file:
                tables += file.read()
        return re.search(rf":{port:04X} [0-9A-F]+:0000 0A ", tables) is not None

    def wait_for(self, port):
        deadline = time.monotonic() + 5
        while self.popen.poll() is None and time.monotonic() < deadline:
            if self.listens(port):
                return
            time.sleep(0.005)
        raise Broken(f"{self.name} does not listen on port {port}, exit {self.popen.poll()}")

    def memory(self):
        """KiB: Rss, Private_Dirty, Anonymous, … of /proc/PID/smaps_rollup."""
        with open(f"/proc/{self.pid}/smaps_rollup") as file:
            return {match[1]: int(match[2]) for line in file if (match := re.match(r"(\w+): +(\d+) kB", line))}

    def sockets(self):
        """Open descriptors, which but for a few are sockets."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class World:
    def __init__(self, out):
        self.out = os.path.abspath(out)
        self.cleanup = contextlib.ExitStack()
        self.namespaces = 0
        self.disturbed = 0
        self.began = time.monotonic()
        cpus = sorted(os.sched_getaffinity(0))
        # Load and app on the first, the proxy on the second.
        self.load_cpu, self.proxy_cpu = cpus[0], cpus[1 % len(cpus)]

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
        self.pod.run([self.tool("lapse-init"), "install", "--skip-inbound-ports", str(DIRECT), "--log-level", "warn"])
        self.app = Process(self.pod, self.load_cpu, [self.bench("responder"), str(ANSWER_BYTES), str(APP), str(DIRECT)])
        self.cleanup.callback(self.app.end)
        self.app.wait_for(DIRECT)

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
    def running(self, peer, cpu, **settings):
        """The peer, ready for connections; None for the one that is no process."""
        command = peer.command(self, **settings)
        if not command:
            yield None
            return
        log = os.path.join(self.scratch, f"{peer.name}.log")
        with open(log, "wb") as out:
            process = Process(self.pod, cpu, command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            try:
                process.wait_for(INBOUND)
            except Broken as broken:
                with open(log, errors="replace") as file:
                    raise Broken(f"{broken}: {file.read()[-500:].strip()}") from None
            yield process
        finally:
            process.end()

    def _load(self, peer, process, connections, seconds, warm_up):
        command = [self.bench("load"), self.pod.v4, str(DIRECT if process is None else APP), "--connections", str(connections),
                   "--seconds", str(seconds), "--warm-up", str(warm_up)]
        for each in filter(None, (self.app, process)):
            command += ["--watch", str(each.pid)]
        load = Process(self.client, self.load_cpu, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
        try:
            said, errors = load.popen.communicate(timeout=seconds + warm_up + 15)
        except subprocess.TimeoutExpired:
            raise Broken(f"load against {peer.name} does not end") from None
        finally:
            load.end()
        if load.popen.returncode != 0:
            raise Broken(f"load against {peer.name}: {errors.strip() or load.popen.returncode}")
        return json.loads(said)

    def load(self, peer, process, connections, seconds, warm_up=0.3):
        """One closed-loop run, again when others used the machine; the quietest of them.

        What load prints, and proxy_cpu_s, load_share (CPU of load and app) and proxy_share (of one CPU), others (likewise)."""
        cpus, best = {self.load_cpu, self.proxy_cpu}, None
        for _ in range(TRIES):
            start, busy = time.monotonic(), busy_seconds(cpus)
            used = [cpu_seconds(each.pid) for each in (self.app, process) if each]
            own = os.times()
            result = self._load(peer, process, connections, seconds, warm_up)
            ours = sum(cpu_seconds(each.pid) for each in (self.app, process) if each) - sum(used)
            ours += sum(os.times()[:4]) - sum(own[:4])  # this process and the load that it has waited for
            span = time.monotonic() - start
            app_cpu, *proxy_cpu = result["watched_cpu_s"]
            result["proxy_cpu_s"] = sum(proxy_cpu)
            result["load_share"] = (result["own_cpu_s"] + app_cpu) / result["seconds"]
            result["proxy_share"] = result["proxy_cpu_s"] / result["seconds"]
            result["others"] = max(0.0, (busy_seconds(cpus) - busy - ours) / span)
            if best is None or result["others"] < best["others"]:
                best = result
            if best["others"] <= QUIET or time.monotonic() - self.began > PATIENCE:
                break
        self.disturbed += best["others"] > QUIET
        if process and best["proxy_cpu_s"] / best["requests"] < 5e-7:
            raise Broken(f"the requests did not go through {peer.name}")
        return best

    @contextlib.contextmanager
    def held(self, peer, connections):
        """So many idle connections, one request done on each."""
        load = Process(self.client, self.load_cpu, [self.bench("load"), self.pod.v4, str(APP), "--connections", str(connections),
                       "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if json.loads(load.popen.stdout.readline() or "{}").get("held") != connections:
                raise Broken(f"holding {connections} connections of {peer.name}: {load.popen.stderr.read().strip()}")
            yield
        finally:
            load.end()


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
