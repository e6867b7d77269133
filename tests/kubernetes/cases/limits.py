"""Limits of a container count for the proxy as they count for the kernel."""
from harness import case, expect, pod, proxy_of

CPUS = {"half a processor": ("500m", 1), "two": ("2", 2)}  # of machines with two or more


def workers(space, name):
    line = next(line for line in space.logs(name).splitlines() if " runs as uid " in line)
    return int(line.split(" workers")[0].split(" worker")[0].rsplit(" ", 1)[1])


@case(each=CPUS)
def processors(space, limit):
    """The number of workers follows the container's CPU limit, whichever cgroup version the node has."""
    cpu, wanted = limit
    made = pod("web", "native")
    proxy_of(made)["resources"] = {"limits": {"cpu": cpu}, "requests": {"cpu": "10m"}}  # else it asks for all that the node has
    space.start(made)
    expect(workers(space, "web") == wanted, f"{workers(space, 'web')} workers at a limit of {cpu}")
