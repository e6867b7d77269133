"""A rolling restart under keep-alive load loses no request that it would not lose without Lapse."""
import json
import time

from harness import KINDS, Failure, case, deployment, expect, pod, until

# How the application ends; slow requests are under way only where it waits for them. Endings that lose nothing without Lapse may lose
# nothing with it; one that drops what it has may lose as much with it as without, a machine's accidents apart.
ENDINGS = {
    "graceful": {"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}},
    "sleep": {"args": ["serve", "-abrupt", ":8080"], "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}},
    "abrupt": {"args": ["serve", "-abrupt", ":8080"]},
}
SIDES = ("inbound", "outbound", "both")


def restart(space, name, ending, server, client):
    """What the clients of a Deployment saw while it was restarted: quick requests, and slow ones that are under way in pods that end.
    And what the proxies' logs say of it."""
    space.apply(*deployment(name, pod(name, server, grace=40, **ENDINGS[ending])), pod(f"{name}-client", client))
    space.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")
    space.ready(f"{name}-client")
    address = space.field("service", name, ".spec.clusterIP")
    until(lambda: space.cluster.curl(f"http://{address}/", within=1)[0] == 200, "kube-proxy knows no endpoint", 20, 0.2)
    load = ("exec", f"{name}-client", "-c", "app", "--", "/testapp", "load")
    loads = {"quick": space.spawn(*load, f"http://{address}/", "24")}
    if ending == "graceful":
        loads["slow"] = space.spawn(*load, f"http://{address}/?sleep=8s", "16")
    logs = [space.spawn("logs", "-f", "-l", f"app={whose}", "-c", "lapse-proxy", "--prefix", "--max-log-requests=9")
            for whose, kind in ((name, server), (f"{name}-client", client)) if kind]
    time.sleep(1)
    space.kubectl("rollout", "restart", f"deployment/{name}")
    seen = {}
    for which, said in loads.items():
        try:
            seen[which] = json.loads(said().strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Failure(f"{which} load said {said()[-500:]!r}") from None
    space.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")
    told = [line for said in logs for line in said(wait=False).splitlines() if '"level":"warn' in line]
    return seen, "".join(f"\n{line}" for line in told[:8])


def lost(seen):
    return sum(count for kinds in seen.values() for what, count in kinds.items() if what != "200")


def restarted(space, ending, kind, side):
    server, client = (kind if side in sides else None for sides in (("inbound", "both"), ("outbound", "both")))
    seen, told = restart(space, "with", ending, server, client)
    requests = sum(seen["quick"].values())
    expect(requests > 500, f"only {requests} requests: no load")
    if ending != "abrupt":
        expect(lost(seen) == 0, f"lost: {seen}{told}")
        return
    without, _ = restart(space, "without", ending, None, None)
    print(f"       rolling {ending} {kind} {side}: lost {lost(seen)} of {requests}, without Lapse {lost(without)} of {sum(without['quick'].values())}",
          flush=True)
    expect(lost(seen) <= 1.5 * lost(without) + 6, f"with Lapse {seen}, without {without}{told}")


@case(each={f"{ending} {kind} {side}": (ending, kind, side) for ending in ENDINGS for kind in KINDS for side in SIDES}, limit=240)
def restarts(space, way):
    """A rolling restart under keep-alive load loses nothing that it would not lose without Lapse."""
    restarted(space, *way)


@case(each={ending: ending for ending in ENDINGS if ending != "abrupt"}, limit=200)
def restarts_without(space, ending):
    """Without Lapse this load loses nothing: what the cases with it are measured by."""
    seen, _ = restart(space, "without", ending, None, None)
    expect(lost(seen) == 0, f"lost without Lapse: {seen}")
