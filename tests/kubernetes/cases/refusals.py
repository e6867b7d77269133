"""What goes wrong in clusters, and what the user sees of it: docs/kubernetes.md tells it by symptom."""
import json

from harness import case, expect, init_of, pod, proxy_of, until
from harness.pods import LAPSE


def state(space, name, container="lapse-init"):
    statuses = space.get("pod", name)["status"].get("initContainerStatuses", [])
    return next((each for each in statuses if each["name"] == container), {})


def last_words(space, name, container="lapse-init"):
    """What a container that failed has said, and its exit code."""
    def ended():
        found = state(space, name, container)
        return found.get("state", {}).get("terminated") or found.get("lastState", {}).get("terminated")
    code = until(ended, lambda: f"{container} did not end: {state(space, name, container)}", 60, 0.3)["exitCode"]
    return code, space.logs(name, container) + space.logs(name, container, "--previous")


@case()
def no_capability(space):
    """NET_ADMIN not given to lapse-init: it says which capability is missing and where to add it."""
    made = pod("web", "native")
    init_of(made)["securityContext"]["capabilities"] = {"drop": ["ALL"]}
    space.apply(made)
    code, said = last_words(space, "web")
    expect(code == 1 and "NET_ADMIN" in said, f"exit {code}: {said}")


@case()
def bare_image(space):
    """An image that lost the file capability (copied without it): the same sentence, as any uid."""
    made = pod("web", "native")
    init_of(made)["image"] = "localhost/lapse-bare:1"
    space.apply(made)
    code, said = last_words(space, "web")
    expect(code == 1 and "NET_ADMIN" in said, f"exit {code}: {said}")


@case()
def root_needs_no_file_capability(space):
    """As root with NET_ADMIN added the bare image works."""
    made = pod("web", "native")
    init_of(made)["image"] = "localhost/lapse-bare:1"
    init_of(made)["securityContext"].update(runAsUser=0, runAsGroup=0, runAsNonRoot=False)
    address = space.start(made)
    expect(space.metric(address, "lapse_connections_opened_total", direction="inbound") >= 1, "no redirect")


@case()
def root_proxy(space):
    """lapse-proxy as root with every capability dropped cannot become uid 2102: it says so, and what to set."""
    made = pod("web", "native")
    proxy_of(made)["securityContext"].update(runAsUser=0, runAsGroup=0, runAsNonRoot=False)
    space.apply(made)
    code, said = last_words(space, "web", "lapse-proxy")
    expect(code != 0 and "2102" in said and "runAsUser" in said, f"exit {code}: {said}")


@case()
def forbidden_by_pod_security(space):
    """A namespace that enforces baseline refuses the pod, and names container and capability."""
    space.cluster.kubectl("label", "namespace", space.name, "pod-security.kubernetes.io/enforce=baseline")
    done = space.apply(pod("web", "native"), check=False)
    expect(done.returncode and "baseline" in done.stdout and "lapse-init" in done.stdout and "NET_ADMIN" in done.stdout, done.stdout)


@case()
def restricted_but_for_init(space):
    """Of the two containers only lapse-init asks for more than restricted allows."""
    space.cluster.kubectl("label", "namespace", space.name, "pod-security.kubernetes.io/warn=restricted")
    made = pod("web", "native", securityContext={"runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False,
                                                 "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}})
    said = space.apply(made).stdout
    expect("lapse-init" in said and "lapse-proxy" not in said, said)


@case()
def host_network(space):
    """A pod with hostNetwork would redirect the node: lapse-init refuses and says so."""
    made = pod("web", "native", readinessProbe=None, ports=None)
    made["spec"]["hostNetwork"] = True  # lapse-proxy inject would refuse it
    proxy_of(made).pop("ports")
    space.apply(made)
    code, said = last_words(space, "web")
    rules = space.cluster.run(["nft", "list", "tables"]).stdout
    if "inet lapse" in rules:
        space.cluster.run(["nft", "delete", "table", "inet", "lapse"])
    expect("inet lapse" not in rules, f"the node is redirected: {said}")
    expect(code == 1 and "host" in said, f"exit {code}: {said}")


@case()
def wrong_flag(space):
    """A flag that there is not ends the container, named, with the exit code of usage errors."""
    space.apply(pod("web", "native", init_args=["--close-wait-timout=1h"]))
    code, said = last_words(space, "web")
    expect(code == 64 and "--close-wait-timout" in said, f"exit {code}: {said}")


@case()
def works_without_capability(space):
    """Without the capability lapse-init still runs: --version and --help answer."""
    space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "version"}, "spec": {"restartPolicy": "Never", "containers": [
        {"name": "app", "image": LAPSE, "command": ["lapse-init", "--version"],
         "securityContext": {"runAsUser": 65534, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}}]}})
    until(lambda: space.field("pod", "version", ".status.phase") in ("Succeeded", "Failed"), "it did not end", 60, 0.3)
    said = space.logs("version", "app")
    expect(said.startswith("lapse-init "), f"{said} {json.dumps(space.get('pod', 'version')['status'].get('containerStatuses'))}")
