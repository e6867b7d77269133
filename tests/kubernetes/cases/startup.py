"""What Lapse costs a pod: start-up and memory."""
import copy
import re
import time
from datetime import datetime

from harness import KINDS, case, expect, init_of, pod, proxy_of, until
from harness.pods import APP

TIMES = 5


def bystander(kind):
    """The same two containers with nothing to do in them: what the kubelet and the runtime take for these, whoever they are."""
    made = copy.deepcopy(pod("bystander", kind))
    for container, command in ((init_of(made), ["true"]), (proxy_of(made), ["sleep", "600"])):
        container.update(image=APP, command=["/bin/busybox", *command], args=[])
        container.pop("readinessProbe", None)
    proxy_of(made)["lifecycle"]["postStart"]["exec"]["command"] = ["/bin/busybox", "true"]
    return made


def seconds_until_started(space, made, name):
    """From the pod's creation to the first line of its application."""
    made = copy.deepcopy(made)
    made["metadata"]["name"] = name
    began = time.time()
    space.apply(made)
    line = r"^(\S+)\.(\d{6})\d*Z .*listening"
    found = until(lambda: re.search(line, space.logs(name, "app", "--timestamps"), re.M), f"{name} did not start", 60, 0.3)
    space.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
    return datetime.fromisoformat(f"{found[1]}.{found[2]}+00:00").timestamp() - began


def median(values):
    return sorted(values)[len(values) // 2]


@case(alone=True)
def start(space):
    """The application starts less than a second later than without Lapse, and hardly later than with any two containers before it."""
    pods = {"without": pod("without"), **{kind: pod(kind, kind) for kind in KINDS}, **{f"any {kind}": bystander(kind) for kind in KINDS}}
    took = {label: [] for label in pods}
    for number in range(TIMES):  # in turns, so that a busy machine slows all of them
        for label, made in pods.items():
            took[label].append(seconds_until_started(space, made, f"{label.replace(' ', '-')}-{number}"))
    least = median(took["without"])
    for label, values in took.items():
        print(f"       start {label}: {median(values):.2f} s, {median(values) - least:+.2f} s ({' '.join(f'{value:.1f}' for value in values)})", flush=True)
    for kind in KINDS:
        # The quickest of each: what a busy machine adds at random says nothing about Lapse. One that is too busy to start any two
        # containers in time says nothing about a second either; what Lapse adds to them shows all the same.
        any_two = min(took[f"any {kind}"]) - min(took["without"])
        more = min(took[kind]) - min(took["without"])
        expect(more < max(1, any_two + 0.75), f"{kind}: {more:.2f} s more, any two containers {any_two:.2f} s: {took}")


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
