"""What is measured at rest: memory, and the CPU that waiting costs."""
import contextlib
import time

from peers import PEERS


# What a connection is to the kernel.
SLABS = {"TCP", "TCPv6", "sock_inode_cache", "filp", "nf_conntrack"}


def kernel_kib():
    """Sockets and conntrack's entries of the whole machine: those of client, proxy and app."""
    with open("/proc/slabinfo") as file:
        rows = [line.split() for line in file]
    return sum(int(row[1]) * int(row[3]) for row in rows if row[0] in SLABS) / 1024


def taken(process):
    """What a peer has now."""
    own = {"": process.memory()["Private_Dirty"] * 1024, "_sockets": process.sockets()} if process else {}
    return own | {"_kernel": kernel_kib()}


@contextlib.contextmanager
def resting(world, peer, connections, **settings):
    """The load that holds so many connections, the peer's process, and a function that says what each connection takes now."""
    with world.running(peer, **settings) as process:
        time.sleep(0.2)
        start = taken(process)
        with world.held(peer, process, connections) as load:
            yield load, process, lambda when: {when + what: (now - start[what]) / connections for what, now in taken(process).items()}


def idle(world, names, connections):
    """Before a first request, after it, and once the server leg is closed."""
    world.serve(32)
    figures = {}
    for name in names:
        peer = PEERS[name]
        with resting(world, peer, connections) as (load, _, each):
            time.sleep(0.5)  # whoever waits a moment for first bytes has done so
            figures[name] = each("before")
            load.ask(connections)
            figures[name] |= each("both")
        if peer.closes:
            with resting(world, peer, connections, server_idle="500ms") as (load, process, each):
                load.ask(connections)
                deadline = time.monotonic() + 4
                while process.sockets() > connections + 40 and time.monotonic() < deadline:
                    time.sleep(0.05)
                figures[name] |= each("one")
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
