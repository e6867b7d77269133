"""Where a foreign suite runs: a network namespace of its own, whose loopback is what its clients and servers speak over. Inserted, a
lapse-proxy takes every connection that the suite opens there."""
import contextlib
import json
import os
import re
import signal
import subprocess
import time

PROXY_UID = 2102
PORTS = {"outbound": 4140, "inbound": 4143}
ADMIN = 4191

# The suite's SYNs are counted where no rule has touched them yet, so the count owes nothing to the proxy or to the redirect. A client
# that resets instead of completing the handshake, as HAProxy's checks do, has opened no connection.
COUNT = """table inet suite {{
    counter opened {{ }}
    counter given_up {{ }}
    chain opened {{
        type filter hook output priority -300;
        meta skuid {uid} accept
        tcp dport 4191 accept
        tcp flags & (syn | ack) == syn counter name opened
    }}
    chain given_up {{
        type filter hook output priority 0;
        tcp flags & rst == rst ct direction original ct status & (seen-reply | assured) == seen-reply counter name given_up
    }}
}}
"""
# The kernel asks nat once a connection. What the proxy dials is its own, which is the guard against loops.
REDIRECT = """table inet suite_redirect {{
    chain output {{
        type nat hook output priority -100;
        meta skuid {uid} accept
        oifname != "lo" accept
        tcp dport {{ 4140, 4143, 4191 }} accept
        meta l4proto tcp redirect to :{port}
    }}
}}
"""


class World:
    """One namespace, in one mode, a context manager. direct: no proxy; inserted: through it; opaque: the same with detection off."""

    alive = []

    def __init__(self, out, mode, direction="outbound", log=None):
        self.out, self.mode, self.direction, self.log = out, mode, direction, log
        self.name = f"lapse-insert-{os.getpid()}-{mode}"
        self.enter = ["nsenter", f"--net=/run/netns/{self.name}"]
        self.proxy = None

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        World.alive.append(self)
        try:
            subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
            self._nft(COUNT.format(uid=PROXY_UID))
            if self.mode != "direct":
                self._start()
                self._nft(REDIRECT.format(uid=PROXY_UID, port=PORTS[self.direction]))
        except BaseException:
            self.__exit__()
            raise
        return self

    def _nft(self, rules):
        subprocess.run([*self.enter, "nft", "-f", "-"], input=rules, text=True, check=True)

    def _start(self):
        command = [*self.enter, os.path.join(self.out, "lapse-proxy"), "--log-format", "json", "--log-level", "debug", "--log-rate", "0", "--log-paths"]
        if self.mode == "opaque":
            command += ["--opaque-ports", "1-65535"]
        command += os.environ.get("OPTIONS", "").split()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAPSE_")}
        with open(self.log, "wb") as log:
            self.proxy = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        for _ in range(100):
            ready = subprocess.run([*self.enter, "curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{ADMIN}/ready"], check=False)
            if ready.returncode == 0:
                return
            if self.proxy.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"lapse-proxy did not become ready; what it said is in {self.log}")

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            World.alive.remove(self)
            self.clear()
            subprocess.run(["ip", "netns", "delete", self.name], check=False)

    def stop(self):
        """Ends the proxy, so that every connection has its record. A proxy that ended by itself is an error."""
        if not self.proxy:
            return
        proxy, self.proxy = self.proxy, None
        if proxy.poll() is not None:
            raise RuntimeError(f"lapse-proxy ended by itself (exit {proxy.returncode}); what it said is in {self.log}")
        proxy.send_signal(signal.SIGTERM)
        try:
            proxy.wait(3)
        except subprocess.TimeoutExpired:
            proxy.send_signal(signal.SIGTERM)
            proxy.wait(20)

    def clear(self):
        """Kills what the suite left running: whoever is in this namespace and is not the proxy."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], text=True, capture_output=True, check=False).stdout
        for pid in [int(pid) for pid in listed.split() if not self.proxy or int(pid) != self.proxy.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @staticmethod
    def clear_all():
        for world in World.alive:
            world.clear()

    def connections(self):
        """How many the suite opened so far."""
        said = subprocess.run([*self.enter, "nft", "list", "counters", "table", "inet", "suite"], text=True, capture_output=True, check=True)
        opened, given_up = (int(re.search(rf"counter {name} {{\s*packets (\d+)", said.stdout)[1]) for name in ("opened", "given_up"))
        return opened - given_up

    def position(self):
        """Where the log ends now, for records()."""
        return os.path.getsize(self.log) if self.log and os.path.exists(self.log) else 0

    def records(self, since=0):
        """The lines of the log behind that position."""
        if not self.position():
            return []
        with open(self.log, "rb") as file:
            file.seek(since)
            return [line.decode("utf-8", "replace") for line in file.read().splitlines()]

    def closed(self):
        """How many connections have a close record."""
        return sum(closed(line) for line in self.records())


def closed(line):
    try:
        return json.loads(line).get("msg") == "connection closed"
    except ValueError:
        return False
