"""What is measured: one row a case; and what Lapse has to reach: one row a bar."""
import statistics

from memory import idle, timers
from peers import HTTP, OPAQUE, PEERS, STREAMS
from programs import init, reload, size, start
from report import ratio
from streams import streams
from traffic import busy, ping_pong, syscalls, traffic, workers


class Case:
    """function(world, columns, **settings) is called once a round, or once at all, and returns {column: {metric: value, or a list
    of values}}. rows: (metric, what it is called, digits after the point). The last column is set against `against`."""

    def __init__(self, name, title, function, columns, rows, against=(), once=False, **settings):
        self.name, self.title, self.function, self.columns, self.rows = name, title, function, columns, rows
        self.against, self.once, self.settings = against, once, settings

    def measure(self, world):
        return self.function(world, self.columns, **self.settings)


PEERS_MET = ("HAProxy", "relay")
REQUEST, PER_GIB, GBIT = ("cpu", "CPU µs/request", 2), ("cpu_gib", "CPU s/GiB", 3), ("gbit", "Gbit/s", 2)
RATE, P50, P99 = ("rate", "thousand/s", 1), ("p50", "p50 µs", 0), ("p99", "p99 µs", 0)
IDLE = (("before", "no request: private bytes", 0), ("before_sockets", "sockets", 2), ("before_kernel", "kernel KiB", 1),
        ("both", "one request: private bytes", 0), ("both_sockets", "sockets", 2), ("both_kernel", "kernel KiB", 1),
        ("one", "server leg closed: private bytes", 0), ("one_sockets", "sockets", 2), ("one_kernel", "kernel KiB", 1))
KEPT = ["direct", "relay", "HAProxy", "HAProxy tcp", "nginx", "nginx stream", "Lapse"]
WITHOUT_DIRECT = [name for name in KEPT if name != "direct"]

CASES = {case.name: case for case in (
    Case("keepalive", "64 connections, answers of 32 bytes", traffic, HTTP, (REQUEST, RATE, P50, P99), PEERS_MET,
         connections=64, seconds=1.5),
    Case("body_64k", "64 connections, answers of 64 KiB", traffic, HTTP, (REQUEST, PER_GIB, GBIT, P50, P99), PEERS_MET,
         answers=1 << 16, connections=64),
    Case("body_1m", "16 connections, answers of 1 MiB", traffic, HTTP, (REQUEST, PER_GIB, GBIT, P50, P99), PEERS_MET,
         answers=1 << 20, connections=16),
    Case("connections", "64 at a time, a connection for every request", traffic, [name for name in (*HTTP, "Lapse shared") if name != "relay splice"],
         (REQUEST, RATE, P50, P99), (*PEERS_MET, "HAProxy reuse", "nginx"), connections=64, fresh=True),
    Case("opaque_up", "one connection of opaque bytes, client to app", traffic, OPAQUE, (PER_GIB, GBIT), ("HAProxy tcp", "relay"),
         answers="opaque", stream="up"),
    Case("opaque_down", "one connection of opaque bytes, app to client", traffic, OPAQUE, (PER_GIB, GBIT), ("HAProxy tcp", "relay"),
         answers="opaque", stream="down"),
    Case("streams_1", "HTTP/2: 64 connections of 1 stream, answers of 32 bytes", streams, STREAMS, (REQUEST, RATE), ("HAProxy h2", "nghttpx", "relay"),
         requests=60000, connections=64, each=1),
    Case("streams_100", "HTTP/2: 8 connections of 100 streams, answers of 32 bytes", streams, STREAMS, (REQUEST, RATE),
         ("HAProxy h2", "nghttpx", "relay"), requests=200000, connections=8, each=100),
    Case("streams_large", "HTTP/2: one stream of 64 MiB after the other", streams, STREAMS, (PER_GIB, RATE), ("HAProxy h2", "nghttpx", "relay"),
         requests=16, connections=1, each=1, path="large"),
    Case("ping_pong", "1 connection, everything on one CPU", ping_pong, HTTP,
         (("p50", "p50 µs", 1), ("p99", "p99 µs", 1), ("added", "p50 over direct, µs", 1)), PEERS_MET),
    Case("workers", "64 connections, answers of 32 bytes, one and two workers on the same two CPUs", workers, ["HAProxy", "nginx", "Lapse"],
         (REQUEST, RATE, P50, P99)),
    Case("syscalls", "32 connections, answers of 32 bytes, under strace", syscalls, ["relay", "HAProxy", "nginx", "Lapse"],
         (("calls", "system calls/request", 2),), PEERS_MET, once=True),
    Case("idle_5000", "5,000 idle connections, each", idle, KEPT, IDLE, PEERS_MET, once=True, connections=5000),
    Case("idle_9500", "9,500 idle connections, each", idle, KEPT, IDLE, PEERS_MET, once=True, connections=9500),
    Case("timers", "9,500 idle connections, every timeout on", timers, WITHOUT_DIRECT, (("cpu", "CPU, % of a core", 3),), once=True,
         connections=9500),
    Case("busy", "4,000 connections, all receiving 64 KiB: above the memory at start", busy,
         ["relay", "HAProxy", "HAProxy tcp", "nginx", "nginx stream", "Lapse"], (("memory", "private MiB", 1), GBIT), PEERS_MET, once=True),
    Case("init", "the rules into a fresh namespace", init, ["24 iptables calls", "iptables-restore", "nft -f", "lapse-init"],
         (("wall", "wall ms", 2), ("cpu", "CPU ms", 2)), ("nft -f",), once=True),
    Case("start", "from exec until it listens, Lapse until /ready says 200", start, ["relay", "HAProxy", "nginx", "Lapse"],
         (("ready", "ms", 1), ("rss", "RSS MiB", 1), ("private", "private MiB", 2)), PEERS_MET, once=True),
    Case("reload", "10,000 routes read anew under load on 4 connections, all threads on one CPU", reload, ["at rest", "reloading"],
         (("wall", "until in force, ms", 0), ("reading", "of it reading, ms", 0), ("slow", "requests over 1 ms", 0), ("most", "longest, ms", 1),
          P99, RATE), once=True),
    Case("size", "programs, stripped, and the libraries they load", size, ["relay", "HAProxy", "nginx", "lapse-init", "Lapse"],
         (("program", "program KiB", 0), ("libraries", "libraries KiB", 0)), PEERS_MET, once=True),
)}


class Bar:
    """The figure of `ours` is at most (or at least) so much; with `of`, so many times that of the best of these peers."""

    def __init__(self, case, metric, text, limit, of=(), at_least=False, ours="Lapse"):
        self.case, self.metric, self.text, self.limit, self.of, self.at_least = CASES[case], metric, text, limit, of, at_least
        self.ours = ours if ours in self.case.columns else self.case.columns[-1]

    def judge(self, samples):
        """What to say of it, from {column: {metric: [value, …]}}."""
        middle = {column: statistics.median(metrics[self.metric]) for column, metrics in samples.items() if metrics.get(self.metric)}
        if self.ours not in middle:
            return None
        best = (max if self.at_least else min)(self.of, key=lambda name: middle[name]) if self.of else None
        value = ratio(samples[self.ours][self.metric], samples[best][self.metric]) if best else middle[self.ours]
        met = value >= self.limit if self.at_least else value <= self.limit
        return {"case": self.case.name, "bar": self.text, "measured": round(value, 3), "of": best, "met": met}


MODES = [name for name in OPAQUE if name not in ("direct", "Lapse")]
BARS = (
    Bar("keepalive", "cpu", "CPU per request ≤ 0.85 × HAProxy", 0.85, ("HAProxy",)),
    Bar("keepalive", "cpu", "CPU per request ≤ 1.20 × relay", 1.20, ("relay",)),
    Bar("keepalive", "rate", "requests/s ≥ 1.35 × HAProxy", 1.35, ("HAProxy",), at_least=True),
    Bar("body_64k", "cpu", "CPU per request ≤ 1.10 × relay", 1.10, ("relay",)),
    Bar("body_1m", "cpu", "CPU per request ≤ 0.80 × relay", 0.80, ("relay",)),
    Bar("connections", "cpu", "CPU per connection ≤ 1.10 × relay", 1.10, ("relay",)),
    Bar("connections", "cpu", "CPU per connection ≤ 0.95 × HAProxy without reuse", 0.95, ("HAProxy",)),
    Bar("connections", "cpu", "shared: CPU per connection ≤ 1.00 × the better of nginx and HAProxy", 1.00, ("nginx", "HAProxy", "HAProxy reuse"),
        ours="Lapse shared"),
    Bar("opaque_up", "cpu_gib", "CPU per GiB ≤ 1.00 × the best peer", 1.00, MODES),
    Bar("opaque_down", "cpu_gib", "CPU per GiB ≤ 1.00 × the best peer", 1.00, MODES),
    Bar("streams_1", "cpu", "HTTP/2, 1 stream: CPU per request ≤ 1.12 × relay", 1.12, ("relay",)),
    Bar("streams_100", "cpu", "HTTP/2, 100 streams: CPU per request ≤ 0.35 × the best peer", 0.35, ("HAProxy h2", "nghttpx")),
    Bar("streams_large", "cpu_gib", "HTTP/2, long DATA: CPU per GiB ≤ 1.10 × relay", 1.10, ("relay",)),
    Bar("ping_pong", "p50", "p50 ≤ 1.15 × relay", 1.15, ("relay",)),
    Bar("ping_pong", "p50", "p50 ≤ 0.85 × HAProxy", 0.85, ("HAProxy",)),
    Bar("idle_9500", "one", "private memory, server leg closed ≤ 512 bytes", 512),
    Bar("idle_9500", "both", "private memory, both legs open ≤ 1,024 bytes", 1024),
    Bar("busy", "memory", "private memory ≤ 8 MiB above start", 8),
    Bar("start", "rss", "RSS ≤ 5 MiB", 5),
    Bar("start", "private", "private memory ≤ 1.5 MiB", 1.5),
    Bar("timers", "cpu", "CPU ≤ 0.1 % of a core", 0.1),
    Bar("init", "wall", "wall time ≤ 1.00 × nft -f", 1.00, ("nft -f",)),
    Bar("syscalls", "calls", "system calls per request ≤ 4.2", 4.2),
)
