"""What is measured under load: CPU, rates, latencies, system calls."""
import contextlib
import os
import re
import signal
import subprocess
import time

from peers import PEERS, path_of
from world import Load, Process

GIB = 1 << 30


def figures_of(run, proxied):
    """One run's figures, from what World.load() returns."""
    figures = {"gbit": run["bytes"] * 8 / run["seconds"] / 1e9}
    figures |= {name: run[name] for name in ("others", "load_share", "proxy_share")}
    if "requests" in run:
        figures |= {"rate": run["requests"] / run["seconds"] / 1000, "p50": run["p50_us"], "p99": run["p99_us"]}
    if proxied:
        figures["cpu_gib"] = run["proxy_cpu_s"] / run["bytes"] * GIB
        if "requests" in run:
            figures["cpu"] = run["proxy_cpu_s"] / run["requests"] * 1e6
    return figures


def traffic(world, names, answers=32, one_cpu=False, seconds=1, **load):
    """The same load through each of the peers."""
    world.serve(answers)
    figures = {}
    for name in names:
        with world.running(PEERS[name], {world.load_cpu} if one_cpu else None) as process:
            figures[name] = figures_of(world.load(PEERS[name], process, seconds, **load), process)
    return figures


def ping_pong(world, names):
    figures = traffic(world, names, one_cpu=True, connections=1)
    for name, metrics in figures.items():
        if name != "direct":
            metrics["added"] = metrics["p50"] - figures["direct"]["p50"]
    return figures


def workers(world, names):
    """One and two workers on the same CPUs."""
    world.serve(32)
    figures = {}
    for name in names:
        for count in (1, 2):
            with world.running(PEERS[name], world.two_cpus, workers=count) as process:
                figures[f"{name}, {count}"] = figures_of(world.load(PEERS[name], process, 1, connections=64), process)
    return figures


def busy(world, names, connections=4000):
    """The most memory while so many connections are receiving 64 KiB bodies, above what it was at start."""
    world.serve(65536)
    figures = {}
    for name in names:
        peer = PEERS[name]
        with world.running(peer) as process:
            time.sleep(0.2)
            start = most = process.memory()["Private_Dirty"]
            arguments = ["--connections", connections, "--seconds", 1.5, "--warm-up", 1]
            with contextlib.closing(Load(world, peer, process, arguments)) as load:
                deadline = time.monotonic() + 60
                while load.popen.poll() is None and time.monotonic() < deadline:
                    most = max(most, process.memory()["Private_Dirty"])
                    time.sleep(0.1)
                run = load.result(1)
            figures[name] = {"memory": (most - start) / 1024, "gbit": run["bytes"] * 8 / run["seconds"] / 1e9}
    return figures


def syscalls(world, names):
    """Under strace, which makes everything slower: with 32 connections no server connection rests long enough to be peeked at."""
    world.serve(32)
    figures, table = {}, os.path.join(world.scratch, "strace")
    for name in names:
        peer = PEERS[name]
        with world.running(peer) as process:
            command = [path_of("strace"), "-c", "-f", "-o", table, *(text for pid in process.pids() for text in ("-p", str(pid)))]
            quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            with contextlib.closing(Process(world.pod, {world.proxy_cpu}, command, **quiet)) as tracer:
                time.sleep(0.3)
                with contextlib.closing(Load(world, peer, process, ["--connections", 32, "--seconds", 1.5])) as load:
                    run = load.result(20)
                tracer.popen.send_signal(signal.SIGINT)
                tracer.popen.wait(5)
        with open(table) as file:
            calls = {line.split()[-1]: int(line.split()[3]) for line in file if re.match(r" *\d+\.\d+ ", line)}
        figures[name] = {"calls": calls["total"] / run["requests"]}
    return figures
