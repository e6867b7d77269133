"""What is measured of the programs themselves: the time of init, start and reload, and their size."""
import contextlib
import json
import os
import re
import subprocess
import time

from peers import PEERS, path_of, written
from world import APP, INBOUND, Broken, Load, Process, link

# What Linkerd's init runs with its defaults, once for each family.
LINKERD = """
-save -t nat
 -t nat -N PROXY_INIT_REDIRECT
 -t nat -A PROXY_INIT_REDIRECT -p tcp --match multiport --dports 4190,4191,4567,4568 -j RETURN
 -t nat -A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-port 4143
 -t nat -A PREROUTING -j PROXY_INIT_REDIRECT
 -t nat -N PROXY_INIT_OUTPUT
 -t nat -A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN
 -t nat -A PROXY_INIT_OUTPUT -o lo -j RETURN
 -t nat -A PROXY_INIT_OUTPUT -p tcp --match multiport --dports 4567,4568 -j RETURN
 -t nat -A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-port 4140
 -t nat -A OUTPUT -j PROXY_INIT_OUTPUT
-save -t nat
""".strip("\n").splitlines()


def timed(commands, host):
    """Wall and CPU milliseconds of commands, one after the other, that must all succeed."""
    wall = cpu = 0
    with host.entered():
        for command in commands:
            files = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
            start = time.perf_counter()
            pid = os.posix_spawn(command[0], command, os.environ, file_actions=files)
            _, status, usage = os.wait4(pid, 0)
            wall += time.perf_counter() - start
            cpu += usage.ru_utime + usage.ru_stime
            if status:
                raise Broken(f"{' '.join(command)}: status {status}")
    return wall * 1000, cpu * 1000


def init(world, names, turns=4):
    """Each into a namespace that was new a moment ago; who is first changes from turn to turn."""
    lapse_init = world.tool("lapse-init")
    calls = [[path_of(f"{family}{line.split()[0]}") if line[0] == "-" else path_of(family), *line.split()[line[0] == "-":]]
             for family in ("iptables", "ip6tables") for line in LINKERD]
    restores = {family: [line.split(maxsplit=2)[2] for line in LINKERD if line[0] == " "] for family in ("iptables", "ip6tables")}
    commands = {
        "nft -f": [[path_of("nft"), "-f", os.path.join(world.scratch, "rules.nft")]],
        "iptables-restore": [[path_of(f"{family}-restore"), written(world, f"{family}.rules", "\n".join(["*nat", *lines, "COMMIT", ""]))]
                             for family, lines in restores.items()],
        f"{len(calls)} iptables calls": calls,
        "lapse-init": [[lapse_init, "install", "--log-level", "warn"]],
    }
    figures = {name: {"wall": [], "cpu": []} for name in commands}
    for turn in range(turns):
        for number in range(len(names)):
            name = names[(turn + number) % len(names)]
            pod, other = world.namespace(), world.namespace()
            link(other, pod, 2)
            written(world, "rules.nft", pod.run([lapse_init, "install", "--dry-run"]).stdout)
            wall, cpu = timed(commands[name], pod)
            figures[name]["wall"].append(wall)
            figures[name]["cpu"].append(cpu)
            for host in (pod, other):
                host.delete()
    return figures


def ready(process, host):
    """Whether Lapse says so at /ready, or another peer listens. A connection here would be no redirected one."""
    if process.name != "lapse-proxy":
        return process.listens(INBOUND)
    with contextlib.suppress(OSError), host.socket(4) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", 4191))
        sock.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in sock.recv(4096).split(b"\r\n")[0]
    return False


def start(world, names, turns=4):
    """From exec until it serves; and what it then has in memory."""
    figures = {name: {"ready": [], "rss": [], "private": []} for name in names}
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    for name in names * turns:
        peer = PEERS[name]
        with contextlib.closing(Process(world.pod, {world.proxy_cpu}, peer.command(world), **quiet)) as process:
            began = time.perf_counter()
            while not ready(process, world.pod):
                if time.perf_counter() > began + 5:
                    raise Broken(f"{name} does not get ready")
            figures[name]["ready"].append((time.perf_counter() - began) * 1000)
            process.wait_for(INBOUND, peer.processes(1))
            time.sleep(0.2)
            memory = process.memory()
            figures[name]["rss"].append(memory["Rss"] / 1024)
            figures[name]["private"].append(memory["Private_Dirty"] / 1024)
    return figures


def documents(count):
    """A Service of the pod and so many routes on it; the first takes every request."""
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
           "spec": {"selector": {"app": "web"}, "ports": [{"port": APP}]}}
    for number in range(count):
        path = f"/{number}" if number else "/"
        yield {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": f"route-{number}", "namespace": "default"},
               "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
                        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": path}}], "timeouts": {"request": "1h"}}]}}


def reload(world, names, count=10000):
    """From the rename of the file until it is in force, under load on 4 connections; the same load without a reload beside it."""
    world.serve(32)
    config, info = (os.path.join(world.scratch, name) for name in ("config", "pod-info"))
    for directory in (config, info):
        os.makedirs(directory, exist_ok=True)
    written(world, "pod-info/labels", 'app="web"\n')
    written(world, "pod-info/annotations", "")
    text = "\n---\n".join(map(json.dumps, documents(count)))
    written(world, "config/all.yaml", text)
    peer, figures = PEERS["Lapse"], {}
    with world.running(peer, options=("--config", config, "--pod-info", info)) as process:
        for name in names:
            with contextlib.closing(Load(world, peer, process, ["--connections", 4, "--seconds", 3, "--warm-up", 0.3])) as load:
                time.sleep(0.8)
                figures[name] = reloaded(world, config, text) if name == "reloading" else {}
                run = load.result(30)
            figures[name] |= {"slow": run["slow"], "rate": run["requests"] / run["seconds"] / 1000, "p99": run["p99_us"],
                              "most": run["most_us"] / 1000}
    return figures


def reloaded(world, config, text):
    def readings():
        with open(os.path.join(world.scratch, "Lapse.log")) as file:
            return re.findall(r"configuration read in (\d+) ms", file.read())
    written(world, "fresh.yaml", text + "\n")
    before, began = len(readings()), time.monotonic()
    os.rename(os.path.join(world.scratch, "fresh.yaml"), os.path.join(config, "all.yaml"))
    while len(readings()) == before:
        if time.monotonic() > began + 20:
            raise Broken("the proxy does not take up its new configuration")
        time.sleep(0.005)
    return {"wall": (time.monotonic() - began) * 1000, "reading": float(readings()[-1])}


def loaded_with(path):
    """Bytes of the shared libraries and the loader that a program brings into memory."""
    said = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    return sum(os.path.getsize(os.path.realpath(found)) for found in re.findall(r"(/\S+) \(0x", said))


def size(world, names):
    paths = {"relay": world.bench("relay"), "HAProxy": path_of("haproxy"), "nginx": path_of("nginx"), "lapse-init": world.tool("lapse-init"),
             "Lapse": world.tool("lapse-proxy")}
    figures = {}
    for name in names:
        stripped = os.path.join(world.scratch, "stripped")
        world.client.run(["strip", "-o", stripped, paths[name]])
        figures[name] = {"program": os.path.getsize(stripped) / 1024, "libraries": loaded_with(paths[name]) / 1024}
    return figures
