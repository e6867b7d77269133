"""What Lapse costs a pod: start-up and memory."""
import time

from harness import KINDS, case, expect, pod

TIMES = 6


def seconds_until_ready(space, name, lapse):
    """From creation to the readiness of the application, at the kubelet's own clock of one second or finer."""
    began = time.monotonic()
    space.apply(pod(name, lapse))
    space.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    took = time.monotonic() - began
    space.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
    return took


def median(values):
    return sorted(values)[len(values) // 2]


@case(each={kind: kind for kind in KINDS}, limit=240, alone=True)
def start(space, kind):
    """A pod is ready less than a second later than without Lapse."""
    took = {"without": [], kind: []}
    for number in range(TIMES):  # in turns, so that a busy machine slows both
        took["without"].append(seconds_until_ready(space, f"without-{number}", None))
        took[kind].append(seconds_until_ready(space, f"with-{number}", kind))
    more = median(took[kind]) - median(took["without"])
    print(f"       start {kind}: {median(took['without']):.2f} s without, {more:+.2f} s with Lapse "
          f"({' '.join(f'{value:.1f}' for value in took[kind])})", flush=True)
    expect(more < 1, f"{more:.2f} s more: {took}")


@case()
def memory(space):
    """The proxy of a pod with some traffic stays within 8 MB."""
    address = space.start(pod("web", "native"), pod("client"))[0]
    space.exec("client", "/testapp", "load", f"http://{address}:8080/", "3")
    process = space.cluster.processes("lapse-proxy", address)[0]
    with open(f"/proc/{process}/status") as file:
        resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    print(f"       lapse-proxy of a pod: {resident / 1024:.1f} MB resident", flush=True)
    expect(resident < 8 * 1024, f"{resident} kB")
