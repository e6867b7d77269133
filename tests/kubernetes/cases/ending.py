"""How pods, and parts of them, end: Jobs, deletion, SIGKILL of the proxy and of the sandbox."""
import os
import signal
import threading
import time

from harness import KINDS, case, expect, pod, records, until


def in_background(work):
    """Starts work() in a thread; the function that is returned waits for its end and gives what it gave."""
    result = []
    thread = threading.Thread(target=lambda: result.append(work()), daemon=True)
    thread.start()

    def join():
        thread.join(90)
        expect(result, "what was started beside the case did not end")
        return result[0]
    return join


@case(each={restarts: restarts for restarts in ("Never", "OnFailure")})
def job(space, restarts):
    """A Job with the native sidecar ends when its task does, and what the task did has its record."""
    address = space.start(pod("server"))
    task = pod("task", "native", args=["get", f"http://{address}:8080/"], readinessProbe=None, ports=None,
               spec={"restartPolicy": restarts})
    template = {"metadata": {"labels": task["metadata"]["labels"]}, "spec": task["spec"]}
    space.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"backoffLimit": 0, "template": template}})
    space.completed("once")
    name = space.kubectl("get", "pods", "-l", "job-name=once", "-o", "jsonpath={.items[0].metadata.name}").stdout
    expect(" 200 " in space.logs(name, "app"), space.logs(name, "app"))
    found = space.records(name)
    expect(len(found) == 1 and found[0]["direction"] == "outbound" and found[0]["server"] == f"{address}:8080", f"{found}")


@case()
def job_ordinary(space):
    """As an ordinary container the sidecar outlives a Job's task; POST /shutdown at its end lets the Job complete."""
    finish = "/testapp get http://127.0.0.1:4191/ready; wget -q -O- --post-data= http://127.0.0.1:4191/shutdown"
    task = pod("task", "ordinary", args=None, command=["/bin/sh", "-c", finish], readinessProbe=None, ports=None)
    task["spec"]["restartPolicy"] = "Never"  # lapse-proxy inject would refuse it
    template = {"metadata": {"labels": task["metadata"]["labels"]}, "spec": task["spec"]}
    space.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"backoffLimit": 0, "template": template}})
    space.completed("once")


@case(each={kind: kind for kind in KINDS})
def deletion(space, kind):
    """What is under way when a pod is deleted outlives that: a request of 6 s is answered, its record written."""
    address = space.start(pod("web", kind, lifecycle={"preStop": {"sleep": {"seconds": 1}}}))
    log = space.follow("web")
    answer = in_background(lambda: space.cluster.curl(f"http://{address}:8080/?sleep=6s"))
    time.sleep(1)
    began = time.monotonic()
    space.kubectl("delete", "pod", "web")
    took = time.monotonic() - began
    status, body = answer()
    expect(status == 200, f"status {status}: {body}")
    found = records(log())
    expect([record["reason"] for record in found if record["open_s"] > 5], f"no record of that request: {log()[-1000:]}")
    expect(4 < took < 25, f"the deletion took {took:.1f} s; the request had 5 s to go, the grace is 30 s")


@case(each={kind: kind for kind in KINDS})
def records_before_kill(space, kind):
    """What does not end within the pod's grace has its record before SIGKILL: drain is two seconds below it."""
    address = space.start(pod("web", kind, grace=8, args=["serve", ":8080"]))
    log = space.follow("web")
    answer = in_background(lambda: space.cluster.curl(f"http://{address}:8080/?sleep=60s"))
    time.sleep(1)
    space.kubectl("delete", "pod", "web")
    answer()
    long = [record for record in records(log()) if record["open_s"] > 4]
    expect(len(long) == 1, f"{log()[-1500:]}")


@case(each={kind: kind for kind in KINDS})
def outbound_while_ending(space, kind):
    """An application that is told to end can still reach others while it does."""
    server = space.start(pod("server"))
    last_words = f"sleep 1; /testapp get http://{server}:8080/last > /proc/1/fd/1"
    space.start(pod("web", kind, lifecycle={"preStop": {"exec": {"command": ["/bin/sh", "-c", last_words]}}}))
    log = space.follow("web", "app")
    space.kubectl("delete", "pod", "web")
    expect("/last 200 " in log(), f"the application said: {log()}")


def answers(space, address):
    return space.cluster.curl(f"http://{address}:8080/", within=1)[0] == 200


@case(alone=True)
def proxy_killed(space):
    """SIGKILL of the proxy: connections end, and new ones are served again in about a second."""
    address = space.start(pod("web", "native"))
    process = space.cluster.processes("lapse-proxy", address)
    expect(len(process) == 1, f"proxies in the pod: {process}")
    os.kill(process[0], signal.SIGKILL)
    began = time.monotonic()
    until(lambda: space.cluster.processes("lapse-proxy", address) not in ([], process), "it was not started again", 60)
    until(lambda: answers(space, address), "the pod is not served again", 60)
    took = time.monotonic() - began
    restarts = '.status.initContainerStatuses[?(@.name=="lapse-proxy")].restartCount'
    until(lambda: space.field("pod", "web", restarts) == "1", "no restart is counted", 60, 0.3)
    expect(space.metric(address, "lapse_requests_total", direction="inbound") >= 1, "served, but not by the proxy")
    print(f"       lapse-proxy: killed, back after {took:.2f} s", flush=True)
    # The kubelet looks for ended containers once a second, a busy machine is slow to start one, and the back-off begins with 10 s.
    expect(took < 8, f"back after {took:.2f} s")


@case(alone=True)
def sandbox_killed(space):
    """A sandbox that dies takes the rules with it: the new one is set up again, by lapse-init, before the application starts."""
    address = space.start(pod("web", "native"))
    pauses = space.cluster.processes("pause", address)
    expect(len(pauses) == 1, f"pause processes: {pauses}")
    os.kill(pauses[0], signal.SIGKILL)
    until(lambda: space.address("web") not in ("", address), "no new sandbox", 60, 0.3)
    space.ready("web")
    fresh = space.address("web")
    expect(answers(space, fresh), "not served")
    until(lambda: space.metric(fresh, "lapse_connections_opened_total", direction="inbound") >= 1, "the new sandbox has no redirect", 60)
    expect("rules installed" in space.logs("web", "lapse-init"), f"lapse-init said: {space.logs('web', 'lapse-init')}")


@case()
def app_killed(space):
    """The application dies and comes back: clients are refused meanwhile, as without Lapse, then served."""
    address = space.start(pod("web", "native"))
    victim = space.cluster.processes("testapp", address)
    expect(len(victim) == 1, f"{victim}")
    os.kill(victim[0], signal.SIGKILL)
    until(lambda: space.cluster.processes("testapp", address) not in ([], victim), "it was not started again", 60)
    until(lambda: answers(space, address), "not served again", 60)
