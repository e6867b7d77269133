"""HTTP/2: h2load through each peer to nghttpd, both on the load's CPU."""
import contextlib
import os
import re
import subprocess

from peers import PEERS, path_of
from world import APP, Broken, Process


@contextlib.contextmanager
def nghttpd(world):
    """In the app's place."""
    world.serve(None)
    root = os.path.join(world.scratch, "htdocs")
    os.makedirs(root, exist_ok=True)
    for name, size in (("small", 32), ("large", 64 << 20)):
        with open(os.path.join(root, name), "wb") as file:
            file.write(b"x" * size)
    command = [path_of("nghttpd"), "--no-tls", "-d", root, "-m", "1000", "-w", "20", "-W", "24", str(APP)]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with contextlib.closing(Process(world.pod, {world.load_cpu}, command, **quiet)) as app:
        app.wait_for(APP)
        yield


def run(world, name, process, path, requests, clients, each):
    command = [path_of("h2load"), "-n", str(requests), "-c", str(clients), "-m", str(each), "-w", "20", "-W", "24",
               f"http://{world.pod.v4}:{APP}/{path}"]
    before = process.cpu_seconds() if process else 0
    with contextlib.closing(Process(world.client, {world.load_cpu}, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True)) as load:
        try:
            said, _ = load.popen.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            raise Broken(f"h2load against {name} does not end") from None
    used = process.cpu_seconds() - before if process else 0
    done, rate = re.search(r"(\d+) succeeded, (\d+) failed", said), re.search(r"finished in .*, ([\d.]+) req/s", said)
    if not done or int(done[1]) != requests or int(done[2]):
        raise Broken(f"h2load against {name}: {said[-300:]}")
    return used, float(rate[1])


def streams(world, names, requests, connections, each, path="small"):
    figures = {}
    with nghttpd(world):
        for name in names:
            if name == "Envoy" and not os.path.exists(PEERS[name].command(world)[0]):
                continue  # tests/bench/envoy.sh has said why
            with world.running(PEERS[name]) as process:
                run(world, name, process, path, max(connections, requests // 10), connections, each)  # warm
                used, rate = run(world, name, process, path, requests, connections, each)
                figures[name] = {"rate": rate / 1000}
                if process:
                    figures[name] |= {"cpu": used / requests * 1e6, "cpu_gib": used / requests * (1 << 30) / (64 << 20)}
    return figures
