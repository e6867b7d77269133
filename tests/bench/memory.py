"""What is measured at rest: memory, and the CPU that waiting costs."""
import re
import time

from peers import PEERS


def kernel_kib():
    """Slabs of the whole machine: the sockets of client, proxy and app, and conntrack's entries."""
    with open("/proc/meminfo") as file:
        return int(re.search(r"^Slab: +(\d+)", file.read(), re.M)[1])


def settled(process, most_sockets):
    """Waits until it has no more than so many open, or 4 s."""
    deadline = time.monotonic() + 4
    while process.sockets() > most_sockets and time.monotonic() < deadline:
        time.sleep(0.05)


def idle(world, names, connections):
    """Before a first request, after it, and once the server leg is closed."""
    world.serve(32)
    figures = {}
    for name in names:
        peer, figures[name] = PEERS[name], {}

        def note(metric, figures=figures[name]):
            if process:
                figures[metric] = (process.memory()["Private_Dirty"] - start) * 1024 / connections
                figures[metric + "_sockets"] = (process.sockets() - sockets) / connections
            figures[metric + "_kernel"] = (kernel_kib() - kernel) / connections

        # Twice: with the server leg kept, and with one that is closed soon.
        for server_idle, metrics in ((None, ("before", "both")), ("500ms", ("", "one"))):
            with world.running(peer, server_idle=server_idle) as process:
                time.sleep(0.2)
                if process:
                    start, sockets = process.memory()["Private_Dirty"], process.sockets()
                kernel = kernel_kib()
                with world.held(peer, process, connections) as load:
                    if metrics[0]:
                        time.sleep(0.5)  # whoever waits a moment for first bytes has done so
                        note(metrics[0])
                    load.ask(connections)
                    if not metrics[0]:
                        settled(process, sockets + connections + 20)
                    note(metrics[1])
            if not peer.closes:
                break
    return figures


def timers(world, names, connections, seconds=3):
    """CPU of so many connections at rest after a request, every timeout on, in per cent of a core."""
    world.serve(32)
    figures = {}
    for name in names:
        peer = PEERS[name]
        with world.running(peer, timers=True) as process, world.held(peer, process, connections) as load:
            load.ask(connections)
            time.sleep(1)
            used, start = process.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            figures[name] = {"cpu": (process.cpu_seconds() - used) / (time.monotonic() - start) * 100}
    return figures
