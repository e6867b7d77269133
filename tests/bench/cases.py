"""What is measured: one row a case. A case is a function that is called once a round and returns {column: {metric: value, or a
list of values}}; its rows say how the metrics are called, and its columns who is compared with whom."""
import os
import shutil
import statistics
import time

from peers import HAPROXY_PATH, PEERS
from world import Broken, link

# A proxy that used less of its CPU than this was not the limit of its requests a second.
FULL = 0.93


def keepalive(world):
    figures = {}
    for peer in PEERS.values():
        with world.running(peer, world.proxy_cpu) as process:
            run = world.load(peer, process, connections=64, seconds=3)
        figures[peer.name] = {
            "rate": run["requests"] / run["seconds"] / 1000,
            "p50": run["p50_us"],
            "p99": run["p99_us"],
            "others": run["others"],
            "load_share": run["load_share"],
        }
        if process:
            figures[peer.name]["cpu"] = run["proxy_cpu_s"] / run["requests"] * 1e6
            figures[peer.name]["proxy_share"] = run["proxy_share"]
    return figures


def keepalive_notes(samples):
    notes = []
    for name, metrics in samples.items():
        load = statistics.median(metrics["load_share"])
        proxy = statistics.median(metrics["proxy_share"]) if "proxy_share" in metrics else 0
        if proxy >= FULL:
            continue
        shares = f"load and app {load:.0%} of their CPU" + (f", the proxy {proxy:.0%} of its own" if proxy else "")
        if load >= FULL:
            notes.append(f"{name}: the load generator was the limit of requests/s ({shares})")
        else:
            notes.append(f"{name}: no CPU was full ({shares}): the machine was disturbed")
    return notes


def ping_pong(world):
    figures = {}
    for peer in PEERS.values():
        with world.running(peer, world.load_cpu) as process:
            run = world.load(peer, process, connections=1, seconds=1.5)
        figures[peer.name] = {"p50": run["p50_us"], "p99": run["p99_us"], "others": run["others"]}
    for name, metrics in figures.items():
        if name != "direct":
            metrics["added"] = metrics["p50"] - figures["direct"]["p50"]
    return figures


IDLE = 4000


def idle(world):
    figures = {}
    for name in ("relay", "HAProxy", "Lapse"):
        peer = PEERS[name]
        with world.running(peer, world.proxy_cpu) as process:
            time.sleep(0.2)
            start, sockets = process.memory(), process.sockets()
            with world.held(peer, IDLE):
                both = process.memory()
                figures[name] = {
                    "rss": start["Rss"],
                    "private": start["Private_Dirty"],
                    "anonymous": start["Anonymous"],
                    "both": (both["Private_Dirty"] - start["Private_Dirty"]) * 1024 / IDLE,
                    "both_sockets": (process.sockets() - sockets) / IDLE,
                }
        if name == "relay":
            continue
        with world.running(peer, world.proxy_cpu, server_idle="500ms") as process:
            time.sleep(0.2)
            start, sockets = process.memory(), process.sockets()
            with world.held(peer, IDLE):
                deadline = time.monotonic() + 4
                while process.sockets() > sockets + IDLE + 20 and time.monotonic() < deadline:
                    time.sleep(0.05)
                one = process.memory()
                figures[name]["one"] = (one["Private_Dirty"] - start["Private_Dirty"]) * 1024 / IDLE
                figures[name]["one_sockets"] = (process.sockets() - sockets) / IDLE
    return figures


def timed(command, host):
    """Wall and CPU milliseconds of a command that must succeed."""
    with host.entered():
        quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
        start = time.perf_counter()
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - start
    if status:
        raise Broken(f"{' '.join(command)}: status {status}")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def init(world, pairs=6):
    """Each into a namespace that was new a moment ago, turn about which is first."""
    nft = shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin:/bin")
    rules, init_path = os.path.join(world.scratch, "rules.nft"), world.tool("lapse-init")
    figures = {name: {"wall": [], "cpu": []} for name in ("nft -f", "lapse-init")}
    for pair in range(pairs):
        order = [("nft -f", [nft, "-f", rules]), ("lapse-init", [init_path, "install", "--log-level", "warn"])]
        for name, command in order if pair % 2 else reversed(order):
            pod, other = world.namespace(), world.namespace()
            link(other, pod, 2)
            with open(rules, "w") as file:
                file.write(pod.run([init_path, "install", "--dry-run"]).stdout)
            wall, cpu = timed(command, pod)
            figures[name]["wall"].append(wall)
            figures[name]["cpu"].append(cpu)
            for host in (pod, other):
                host.delete()
    return figures


def size(world):
    figures = {}
    for column, metric, path in (("Lapse", "proxy", world.tool("lapse-proxy")), ("Lapse", "init", world.tool("lapse-init")),
                                 ("HAProxy", "proxy", HAPROXY_PATH), ("relay", "proxy", world.bench("relay"))):
        stripped = os.path.join(world.scratch, "stripped")
        world.client.run(["strip", "-o", stripped, path])
        figures.setdefault(column, {})[metric] = os.path.getsize(stripped) / 1024
    return figures


class Case:
    """rows: (metric, what it is called, digits after the point). The last column is set against `against`."""

    def __init__(self, function, title, columns, against, rows, notes=None, once=False):
        self.name, self.function, self.title = function.__name__, function, title
        self.columns, self.against, self.rows = columns, against, rows
        self.notes, self.once = notes, once


ALL, PROXIES = list(PEERS), [name for name in PEERS if name != "direct"]
CASES = {case.name: case for case in (
    Case(keepalive, "keepalive: 64 connections, small answers, the proxy on a CPU of its own", ALL, ("HAProxy", "relay"), (
        ("cpu", "CPU of the proxy, µs a request", 2),
        ("rate", "thousand requests/s", 1),
        ("p50", "latency p50, µs", 0),
        ("p99", "latency p99, µs", 0),
    ), keepalive_notes),
    Case(ping_pong, "ping_pong: 1 connection, everything on one CPU", ALL, ("HAProxy", "relay"), (
        ("p50", "latency p50, µs", 1),
        ("p99", "latency p99, µs", 1),
        ("added", "p50 added to direct, µs", 1),
    )),
    Case(idle, f"idle: {IDLE} keep-alive connections, one request done on each", PROXIES, ("HAProxy", "relay"), (
        ("rss", "at start: RSS, KiB", 0),
        ("private", "at start: private dirty, KiB", 0),
        ("anonymous", "at start: anonymous, KiB", 0),
        ("both", "both legs open: private bytes each", 0),
        ("both_sockets", "… sockets each", 2),
        ("one", "server leg closed: private bytes each", 0),
        ("one_sockets", "… sockets each", 2),
    )),
    Case(init, "init: the rule set into a fresh namespace", ["nft -f", "lapse-init"], ("nft -f",), (
        ("wall", "wall, ms", 2),
        ("cpu", "CPU, ms", 2),
    )),
    Case(size, "size: the stripped program alone", PROXIES, ("HAProxy", "relay"), (
        ("proxy", "proxy, KiB", 0),
        ("init", "lapse-init, KiB", 0),
    ), once=True),
)}
