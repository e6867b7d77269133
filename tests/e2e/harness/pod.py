"""The Pod: namespaces "pod" and "client" (and "server" when asked for), the two programs in them, and what must hold afterwards."""
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

from .app import App, http
from .case import Failure, expect, until
from .net import Host, link
from .peer import ResetPeer, request
from .record import CLOSED, FAILED, REQUEST, check_record, check_request
from .whole import read_text

PORT = 8080
PROXY_UID = 2102
ONLY_NET_ADMIN = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all,+net_admin",
                  "--ambient-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"]
NO_CAPABILITY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
AS_PROXY = ["setpriv", "--reuid", str(PROXY_UID), "--regid", str(PROXY_UID), "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all", "--no-new-privs"]
DEAD_PORTS_TOO = ("--redirect-dead-ports",)  # for start(init=…): the proxy gets what nobody listens for, and answers it
SPARE_PIPES = 2 * 16 * 2 + 2  # ends, kept for splice by each of two workers; and stdout
SANITIZER = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|UndefinedBehavior|Assertion .* failed")


class Proxy:
    """A running lapse-proxy and what it logs."""

    def __init__(self, host, command, environment, log_path, errors_path, own_pipe=False):
        self.host, self.log_path, self.errors_path = host, log_path, errors_path
        self.lines, self.bad_lines, self.text = [], [], []
        self.news = threading.Condition()
        self.reading = threading.Event()
        self.reading.set()
        out, into = os.pipe()
        if own_pipe:
            os.fchown(into, PROXY_UID, PROXY_UID)
        with open(errors_path, "ab") as errors:
            self.process = host.popen(command, stdin=subprocess.DEVNULL, stdout=into, stderr=errors, env=environment)
        os.close(into)
        self.pid, self.json_log = self.process.pid, "json" in command
        self.parse = json.loads if self.json_log else read_text if "text" in command else None
        # Every record is logged, so that they can be compared with the counters.
        self.complete = self.parse and command.count("--log-level") == command.count("--log-rate") == 1 and "off" not in command
        self.access_log = "--access-log" in command
        self.reader = threading.Thread(target=self._read, args=(out,), daemon=True)
        self.reader.start()

    def _read(self, fd):
        rest = b""
        with open(self.log_path, "ab") as copy:
            while True:
                self.reading.wait()
                data = os.read(fd, 1 << 16)
                if not data:
                    break
                copy.write(data)
                copy.flush()
                *lines, rest = (rest + data).split(b"\n")
                self._lines(lines)
        self._lines([rest] if rest else [])
        os.close(fd)

    def _lines(self, lines):
        with self.news:
            for line in lines:
                text = line.decode("utf-8", "replace")
                self.text.append(text)
                try:
                    self.lines.append((self.parse or json.loads)(text))
                except ValueError:
                    self.bad_lines.append(text)
            self.news.notify_all()

    def records(self, *messages):
        """What has been logged under these messages, in order."""
        return [line for line in self.lines if line.get("msg") in (messages or (CLOSED, FAILED))]

    def closed(self):
        """How many connections have a close record."""
        return len(self.records(CLOSED))

    def wait_line(self, predicate, within):
        """The first log line that satisfies predicate, None when none comes in time."""
        deadline, seen = time.monotonic() + within, 0
        with self.news:
            while True:
                for line in self.lines[seen:]:
                    if predicate(line):
                        return line
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.news.wait(left)

    def descriptors(self):
        """How many descriptors it holds in all."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def fds(self, pipes=False):
        """How many descriptors it holds, pipes (of which it keeps some for splice) or all others."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("pipe:") == pipes
        return count

    def private_kib(self):
        """The memory that is its own alone."""
        with open(f"/proc/{self.pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask_admin(self, path, method="GET", *fields, body=b"", address="127.0.0.1", port=4191, host=None, named_as=None):
        """The admin listener's answer, to this host or to another; named_as: what its Host field says instead of the address."""
        with (host or self.host).connect(address, port, timeout=3) as peer:
            named = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            peer.send(request(method, path, *fields, body=body, host=named if named_as is None else named_as))
            return peer.response()

    def admin(self, path, method="GET", *fields, **options):
        """(status, body) of the admin listener."""
        response = self.ask_admin(path, method, *fields, **options)
        return response.status, response.body

    def metrics(self):
        """What /metrics says: {(name, {label: value} as a frozenset of pairs): number}."""
        status, body = self.admin("/metrics")
        expect(status == 200, f"/metrics: {status}")
        return {(name, frozenset((label, re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), text))
                                 for label, text in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))): float(value)
                for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", body.decode(), re.M)}

    def counted(self, name, by=None, metrics=None, **labels):
        """The sum of a family's series with these labels; by: of each value of that label."""
        sums = collections.Counter()
        for (family, have), value in (metrics or self.metrics()).items():
            if family == name and set(labels.items()) <= have:
                sums[dict(have).get(by)] += value
        return {value: number for value, number in sums.items() if number} if by else sums[None]

    def ready(self):
        try:
            return self.admin("/ready")[0] == 200
        except (OSError, Failure):
            if self.process.poll() is not None:
                raise Failure(f"lapse-proxy ended with {self.process.returncode} at start") from None
            return False

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, within):
        """Its exit code, None when it still runs after `within` seconds."""
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            return None
        self.reading.set()
        self.reader.join(5)
        return code


class Pod:
    """One case's world. `way` is in4, in6, out4 or out6: which direction and family dial() and app() mean."""

    def __init__(self, context, prefix, way="in4"):
        self.context, self.prefix, self.way = context, prefix, way
        self.inbound, self.family = way.startswith("in"), int(way[-1])
        self.hosts, self.apps, self.peers, self.proxies, self.processes = [], [], [], [], []
        self.proxy = None
        self.dials, self.counted = 0, True
        self.scratch = os.path.join(context.scratch, prefix)
        os.mkdir(self.scratch, 0o755)
        self.client, self.inside = self._host("c"), self._host("p")
        link(self.client, self.inside, 1)
        self.inside.ip(f"route add default via {self.client.v4}", f"route add default via {self.client.v6}")
        self._server = None

    def _host(self, suffix):
        host = Host(f"{self.prefix}-{suffix}")
        self.hosts.append(host)
        return host

    @property
    def server(self):
        """A host that is neither client nor pod, reachable from the pod."""
        if not self._server:
            self._server = self._host("s")
            link(self._server, self.inside, 2, name_right="eth1")
            self._server.ip(f"route add default via 10.77.2.2", f"route add default via fd77:2::2")
        return self._server

    def another_host(self, suffix):
        """A host with no way to the others yet."""
        return self._host(suffix)

    # The two programs.

    def init(self, *arguments, exit_code=0, user=ONLY_NET_ADMIN, host=None, environment=None):
        """Runs lapse-init inside the pod, as uid 65534 with CAP_NET_ADMIN and nothing else; expects its exit code."""
        done = (host or self.inside).run(list(user) + [self.context.init, *arguments], check=False,
                                         env=self.context.environment(environment))
        said = (done.stdout + done.stderr).strip()
        expect(done.returncode == exit_code,
               f"lapse-init {' '.join(arguments)}: exit {done.returncode}, expected {exit_code}: {said[-400:]}")
        expect(not SANITIZER.search(said), f"lapse-init {' '.join(arguments)}: {said[-2000:]}")
        return done

    def start(self, *arguments, init=(), environment=None, prefix=(), own_pipe=False, json_log=True, log_format="json", **timeouts):
        """Installs the rules (init: further options, None: not at all), starts lapse-proxy and waits until it is ready.

        log_format "text" is read back as if it were JSON; json_log=False leaves all about the log to the arguments.
        Keyword arguments are timeouts: idle_connection="1s" is --timeout-idle-connection 1s."""
        if init is not None:
            self.init(*init)
        flags = [text for name, value in timeouts.items() for text in (f"--timeout-{name.replace('_', '-')}", value)]
        log = ["--log-format", log_format, "--log-level", "debug", "--log-rate", "0"] if json_log else []
        if not any("drain-least" in str(word) for word in (*flags, *arguments, *(environment or {}))):
            flags += ["--drain-least", "0s"]  # only its own cases wait for it
        command = AS_PROXY + list(prefix) + [self.context.proxy, *log, *flags, *arguments]
        number = len(self.proxies)
        self.proxy = Proxy(self.inside, command, self.context.environment(environment),
                           f"{self.scratch}/proxy{number or ''}.log", f"{self.scratch}/proxy{number or ''}.stderr", own_pipe)
        self.proxies.append(self.proxy)
        until(self.proxy.ready, "lapse-proxy is not ready", within=15)
        self.fds_at_start = self._settled_fds()
        return self.proxy

    def _settled_fds(self):
        """The number of descriptors once our own admin connections and the proxy's trial dials (port 65535) are gone."""
        def open_ones():
            for name in ("tcp", "tcp6"):
                with open(f"/proc/{self.proxy.pid}/net/{name}") as file:
                    rows = [line.split() for line in file.readlines()[1:]]
                if any((row[1].endswith(":105F") or row[2].endswith(":FFFF")) and row[3] not in ("06", "0A") for row in rows):
                    return True  # neither TIME_WAIT nor LISTEN
            return False
        last, same = -1, 0
        for _ in range(200):
            now = self.proxy.fds()
            same = same + 1 if now == last and not open_ones() else 0
            if same >= 3:
                break
            last = now
            time.sleep(0.01)
        return last

    def stop(self, signals=(signal.SIGTERM,), within=None, exit_code=0):
        """Ends the proxy and expects its exit code."""
        for number in signals:
            self.proxy.signal(number)
        within = within or (20 if self.context.sanitize else 5)
        code = self.proxy.wait(within)
        expect(code is not None, f"lapse-proxy still runs {within:g} s after its signal")
        expect(code == exit_code, f"lapse-proxy exited {code}, expected {exit_code}")
        self.proxy, stopped = None, self.proxy
        if self.counted and code == 0:
            closed = stopped.closed()
            expect(closed == self.dials, f"{self.dials} connections but {closed} close records when lapse-proxy had ended")
        return stopped

    # Peers.

    @property
    def far(self):
        """Where apps of this way live."""
        return self.inside if self.inbound else self.server

    @property
    def near(self):
        """Where clients of this way live."""
        return self.client if self.inbound else self.inside

    @property
    def address(self):
        return self.far.address(self.family)

    def app(self, handler=None, port=PORT, host=None):
        """Serves port where this way's clients will look for it; handler None: HTTP that says ok or echoes bodies."""
        app = App((host or self.far).listener(port), handler or http())
        self.apps.append(app)
        return app

    def dial(self, port=PORT, address=None, host=None, **options):
        """A client's connection through the proxy, from where this way's clients are or from another host."""
        try:
            peer = (host or self.near).connect(address or self.address, port, **options)
        except ConnectionResetError:  # established, and reset before we could look
            peer = ResetPeer()
        self.peers.append(peer)
        self.dials += 1
        return peer

    def uncounted(self):
        """Programs of others connect now: their connections cannot be counted."""
        self.counted = False

    def limit(self, name, soft):
        """Changes a soft limit of the running proxy (nofile, data), as its own user may."""
        command = ["setpriv", "--reuid", str(PROXY_UID), "--regid", str(PROXY_UID), "--clear-groups",
                   "prlimit", "--pid", str(self.proxy.pid), f"--{name}={soft}:"]
        self.inside.run(command)

    def spawn(self, host, command, name="peer", **options):
        """A program that runs until the case ends; its output goes to a file that is shown when the case fails."""
        with open(f"{self.scratch}/{name}.out", "ab") as out:
            process = host.popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)
        self.processes.append(process)
        return process

    # Records.

    def record(self, within=8.0, msg=None, **fields):
        """Waits for a record with these fields, e.g. timer="idleConnection", detail=re.compile(…), phase=("head", "idle")."""
        def matches(line):
            return line.get("msg") in ((msg,) if msg else (CLOSED, FAILED)) and all(
                _holds(line.get(name), wanted) for name, wanted in fields.items())
        found = self.proxy.wait_line(matches, within)
        if not found:
            have = [{key: line.get(key) for key in ("reason", *fields)} for line in self.proxy.records()]
            raise Failure(f"no record with {_show(fields)} within {within:g} s; there are {have}")
        return found

    def fired(self, timer, reason, value="1s", **fields):
        """The record of a timer that fired: it names the timer, its value and the flag that set it."""
        flag = "--timeout-" + re.sub("[A-Z]", lambda found: "-" + found[0].lower(), timer)
        return self.record(timer=timer, reason=reason, value=value, set_by=re.compile(flag + "$"), **fields)

    def ended(self, reason, **fields):
        """The record of this case's only connection: closed, with that reason and no other record of a close."""
        record = self.record(msg=CLOSED, reason=reason, **fields)
        expect(len(self.proxy.records(CLOSED)) == 1, "more than one close record")
        return record

    def all_recorded(self, count=None, within=5.0):
        """Waits until each of this case's connections (or that many) has its close record; there must not be more."""
        count = self.dials if count is None else count
        closed = self.proxy.closed
        until(lambda: closed() >= count, lambda: f"{count} connections but {closed()} close records", within)
        expect(closed() == count, f"{count} connections but {closed()} close records")

    def line(self, pattern, within=5.0, level=None):
        """Waits for any log line whose message matches the pattern."""
        found = self.proxy.wait_line(
            lambda line: re.search(pattern, json.dumps(line)) and (not level or line.get("level") == level), within)
        expect(found, f"no log line like {pattern!r} within {within:g} s")
        return found

    # The end.

    def finish(self):
        """Ends everything this case made; what was not as it must be, one sentence each."""
        problems = []

        def attempt(step):
            try:
                step()
            except Failure as failure:
                problems.append(str(failure))
            except Exception as error:  # the clean-up goes on whatever happens
                problems.append(f"{step.__name__}: {type(error).__name__}: {error}")

        for step in (self._end_peers, self._account, self._end_proxies, self._check_logs, self._end_hosts):
            attempt(step)
        return problems

    def _end_peers(self):
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.close()
        for app in self.apps:
            app.stop()
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _account(self):
        """Every connection has its record, and the proxy holds no descriptor it did not hold at start."""
        if not self.proxy or self.proxy.process.poll() is not None:
            return
        if self.counted:
            self.all_recorded()
        until(lambda: self.proxy.fds() <= self.fds_at_start,
              lambda: f"lapse-proxy holds {self.proxy.fds()} descriptors, {self.fds_at_start} at start: {self._fd_list()}")
        expect(self.proxy.fds(pipes=True) <= SPARE_PIPES, f"lapse-proxy keeps too many pipes: {self._fd_list()}")
        self._check_counters()

    def _check_counters(self):
        """The counters are the records' own numbers, reason by reason: what was held back or lost taken into account."""
        proxy, wrong = self.proxy, []
        if not proxy.complete:
            return

        def same():
            metrics = proxy.metrics()
            if proxy.counted("lapse_log_lines_dropped_total", metrics=metrics):
                return True
            wrong.clear()
            for message, family, label, of in ((CLOSED, "lapse_connections_closed_total", "reason", "reason"),
                                               (FAILED, "lapse_requests_failed_total", "reason", "reason"),
                                               (CLOSED, "lapse_service_closed_total", "reason", "service"),
                                               (FAILED, "lapse_service_failed_total", "reason", "service"),
                                               (CLOSED, "lapse_service_closed_total", "service", "service"),
                                               (FAILED, "lapse_service_failed_total", "service", "service")):
                said = dict(collections.Counter(record[label] for record in proxy.records(message) if of in record))
                counted = proxy.counted(family, by=label, metrics=metrics)
                if said != counted:
                    wrong.append(f"{family} counts {counted}, the records say {said}")
            ended, effective = (proxy.counted(f"lapse_{name}_total", by="classification", metrics=metrics)
                                for name in ("responses", "route_effective"))
            if ended != effective:
                wrong.append(f"lapse_responses_total counts {ended}, lapse_route_effective_total {effective}")
            if proxy.access_log:
                wrong.extend(self._wrong_requests(metrics))
            return not wrong
        until(same, lambda: "; ".join(wrong))

    def _wrong_requests(self, metrics):
        """Where the access log and the counters of requests differ: a line each, its direction, status, class and duration."""
        lines = [line for line in self.proxy.records(REQUEST) if "duration_s" in line]
        for family in ("lapse_requests_total", "lapse_request_seconds_count"):
            counted = self.proxy.counted(family, by="direction", metrics=metrics)
            if counted != collections.Counter(line["direction"] for line in lines):
                yield f"{family} counts {counted}, the access log has {len(lines)} lines"
        said = collections.Counter((f"{line['status'] // 100}xx" if "status" in line else "none", line["classification"]) for line in lines)
        for (status, kind), number in said.items():
            counted = self.proxy.counted("lapse_responses_total", metrics=metrics, status=status, classification=kind)
            if counted != number:
                yield f"lapse_responses_total counts {counted} of {status} {kind}, the access log says {number}"
        seconds = self.proxy.counted("lapse_request_seconds_sum", metrics=metrics)
        if abs(seconds - sum(line["duration_s"] for line in lines)) > 1e-5:
            yield f"lapse_request_seconds_sum is {seconds}, not what the access log's lines add up to"

    def _fd_list(self):
        links = []
        for name in os.listdir(f"/proc/{self.proxy.pid}/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/{self.proxy.pid}/fd/{name}").split(":")[0])
        return ", ".join(f"{links.count(kind)} {kind}" for kind in sorted(set(links)))

    def _end_proxies(self):
        for proxy in self.proxies:
            proxy.reading.set()
        try:
            if self.proxy:
                self.stop()
        finally:
            for proxy in self.proxies:
                if proxy.process.poll() is None:
                    proxy.process.kill()
                    proxy.process.wait()

    def _check_logs(self):
        for proxy in self.proxies:
            with open(proxy.errors_path, errors="replace") as file:
                errors = file.read()
            expect(not SANITIZER.search(errors), f"stderr of lapse-proxy: {errors[-3000:]}")
            if proxy.parse:
                expect(not proxy.bad_lines, f"log line that is not {'JSON' if proxy.json_log else 'logfmt'}: {proxy.bad_lines[:1]}")
            for record in proxy.records():
                check_record(record)
            for line in proxy.records(REQUEST):
                check_request(line)

    def _end_hosts(self):
        left = []
        for host in self.hosts:
            for pid in host.pids():
                with contextlib.suppress(OSError):
                    with open(f"/proc/{pid}/comm") as file:
                        left.append(file.read().strip())
                    os.kill(pid, signal.SIGKILL)
        for host in self.hosts:
            host.delete()
        gone = [host.name for host in self.hosts if os.path.exists(host.path)]
        expect(not gone, f"namespaces left: {gone}")
        expect(not left, f"processes left in the namespaces: {left}")


def _holds(value, wanted):
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and bool(wanted.search(value))
    if isinstance(wanted, (tuple, list, set)):
        return value in wanted
    if callable(wanted):
        return value is not None and bool(wanted(value))
    return value == wanted


def _show(fields):
    return {name: wanted.pattern if isinstance(wanted, re.Pattern) else wanted for name, wanted in fields.items()}
