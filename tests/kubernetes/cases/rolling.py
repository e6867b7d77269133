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


def restart(space, ending, ways):
    """What clients of Deployments saw while these were restarted, all at once: quick requests, and slow ones that are under way in pods
    that end; and what the proxies' logs say of it. ways: {name: (with Lapse in the server, in the client)}."""
    for name, (server, client) in ways.items():
        space.apply(*deployment(name, pod(name, server, grace=40, **ENDINGS[ending])), pod(f"{name}-client", client))
    for name in ways:
        space.rolled_out(f"deployment/{name}")
    space.ready(*(f"{name}-client" for name in ways))
    loads, logs = {}, []
    for name, (server, client) in ways.items():
        address = space.field("service", name, ".spec.clusterIP")
        until(lambda: space.cluster.curl(f"http://{address}/", within=1)[0] == 200, "kube-proxy knows no endpoint", 20, 0.2)
        load = ("exec", f"{name}-client", "-c", "app", "--", "/testapp", "load")
        loads[name, "quick"] = space.spawn(*load, f"http://{address}/", "24")
        if ending == "graceful":
            loads[name, "slow"] = space.spawn(*load, f"http://{address}/?sleep=8s", "16")
        logs += [space.spawn("logs", "-f", "-l", f"app={whose}", "-c", "lapse-proxy", "--prefix", "--max-log-requests=9")
                 for whose, kind in ((name, server), (f"{name}-client", client)) if kind]
    time.sleep(1)
    space.kubectl("rollout", "restart", *(f"deployment/{name}" for name in ways))
    seen = {name: {} for name in ways}
    for (name, which), said in loads.items():
        try:
            seen[name][which] = json.loads(said().strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Failure(f"{name}, {which}: the load said {said()[-500:]!r}") from None
        expect(which == "slow" or sum(seen[name][which].values()) > 500, f"no load: {seen}")
    for name in ways:
        space.rolled_out(f"deployment/{name}")
    told = [line for said in logs for line in said(wait=False).splitlines() if '"level":"warn' in line]
    return seen, "".join(f"\n{line}" for line in told[:8])


def lost(seen):
    return sum(count for kinds in seen.values() for what, count in kinds.items() if what != "200")


def restarted(space, ending, kind, side):
    ways = {"with": tuple(kind if side in sides else None for sides in (("inbound", "both"), ("outbound", "both")))}
    if ending == "abrupt":
        ways["without"] = (None, None)
    seen, told = restart(space, ending, ways)
    if ending != "abrupt":
        expect(lost(seen["with"]) == 0, f"lost: {seen}{told}")
        return
    with_lapse, without = lost(seen["with"]), lost(seen["without"])
    print(f"       rolling {ending} {kind} {side}: lost {with_lapse} of {sum(seen['with']['quick'].values())}, "
          f"without Lapse {without} of {sum(seen['without']['quick'].values())}", flush=True)
    expect(with_lapse <= 1.5 * without + 6, f"{seen}{told}")


@case(each={f"{ending} {kind} {side}": (ending, kind, side) for ending in ENDINGS for kind in KINDS for side in SIDES})
def restarts(space, way):
    """A rolling restart under keep-alive load loses nothing that it would not lose without Lapse."""
    restarted(space, *way)


@case(each={ending: ending for ending in ENDINGS if ending != "abrupt"})
def restarts_without(space, ending):
    """Without Lapse this load loses nothing: what the cases with it are measured by."""
    seen, _ = restart(space, ending, {"without": (None, None)})
    expect(lost(seen["without"]) == 0, f"lost without Lapse: {seen}")
