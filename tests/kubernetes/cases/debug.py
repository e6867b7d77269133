"""kubectl debug with the image: looking at a pod and at a node from inside."""
import json
import threading
import time

from harness import case, expect, pod, until
from harness.pods import LAPSE


def debug(space, target, profile, *command):
    space.kubectl("debug", target, f"--image={LAPSE}", f"--profile={profile}", "-c", "look", "--", *command)


def ended(space):
    """How the debug container of the pod ended."""
    def state():
        found = space.get("pod", "web")["status"].get("ephemeralContainerStatuses", [])
        return found and found[0].get("state", {}).get("terminated")
    return until(state, "the debug container did not end", 60, 0.3)["exitCode"], space.logs("web", "look")


@case()
def check(space):
    """kubectl debug POD -- lapse-init check finds the redirect in place and sends its probe through it."""
    space.start(pod("web", "native"))
    debug(space, "web", "netadmin", "lapse-init", "check")
    code, said = ended(space)
    expect(code == 0, f"exit {code}: {said}")


@case()
def check_fails(space):
    """In a pod without the redirect the same command says that there is none."""
    space.start(pod("web"))
    debug(space, "web", "netadmin", "lapse-init", "check")
    code, said = ended(space)
    expect(code == 95, f"exit {code}: {said}")


@case()
def half_closed_on_the_node(space):
    """kubectl debug node/… -- lapse-init half-closed --all-namespaces sees a half-closed connection of a pod."""
    client, server = space.start(pod("client", "native"), pod("server"))
    # nc sends its FIN at once and waits for the answer, which takes a while.
    talk = f"printf 'GET /?sleep=25s HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' | busybox nc {server} 8080"
    threading.Thread(target=lambda: space.exec("client", "/bin/sh", "-c", talk, check=False), daemon=True).start()
    time.sleep(2)
    debug(space, "node/node1", "sysadmin", "lapse-init", "half-closed", "--all-namespaces")
    name = space.kubectl("get", "pods", "-o", "name").stdout.split()
    debugger = next(each for each in name if "debugger" in each)
    until(lambda: json.loads(space.kubectl("get", debugger, "-o", "json").stdout)["status"]["phase"] in ("Succeeded", "Failed"),
          "the debug pod did not end", 60, 0.3)
    said = space.kubectl("logs", debugger).stdout
    expect(client in said and server in said, f"it said: {said}")
