"""The chart on a real node, from helm install to what it makes."""
import threading

from harness import case, deployment, expect, pod, until

from .chart import BARE, CHART, create, helm, values

IMAGE = {"image": {"repository": "localhost/lapse", "tag": "1"}}


def install(space, given):
    helm(space, "install", "lapse", CHART, "-f", values(space, {**IMAGE, **given}))


@case()
def first_record(space):
    """helm install, a label on the namespace, a restart: the application's pods have both containers, and what they do has its record."""
    space.apply(*deployment("web", pod("web"), replicas=1))
    space.rolled_out("deployment/web")
    install(space, {"log": {"format": "json"}})
    space.cluster.kubectl("label", "namespace", space.name, "lapse.proxy/inject=enabled")
    # A policy takes up to a second until it is in force.
    until(lambda: '"name": "lapse-proxy"' in create(space, BARE, check=False).stdout, "the policy injects nothing", 20, 0.2)
    space.kubectl("rollout", "restart", "deployment/web")
    space.rolled_out("deployment/web")

    def only():
        names = space.kubectl("get", "pods", "-l", "app=web", "-o", "name").stdout.split()
        return names[0].removeprefix("pod/") if len(names) == 1 else None
    name = until(only, "the earlier pod does not go", 60, 0.3)
    expect("2/2" in space.kubectl("get", "pod", name).stdout, "not two of two are ready")
    expect(space.cluster.curl(f"http://{space.address(name)}:8080/hello")[0] == 200, "not served")
    found = until(lambda: space.records(name), "no record", 20, 0.2)
    expect(found[0]["direction"] == "inbound" and found[0]["requests"] == 1, f"{found}")
    helm(space, "uninstall", "lapse")


@case()
def helm_test(space):
    """helm test dials through the redirect and finds its record; where nothing is redirected it fails, and says so."""
    server = space.start(pod("server"))
    given = {"injection": {"enabled": False}, "test": {"image": "localhost/testapp:1", "target": f"http://{server}:8080/"}}
    install(space, given)
    said = helm(space, "test", "lapse", "--timeout=90s", check=False)
    log = lambda: space.kubectl("logs", "job/lapse-test", "-c", "client", check=False).stdout  # noqa: E731
    expect("Succeeded" in said, lambda: f"{said}{log()}")
    helm(space, "upgrade", "lapse", CHART, "-f", values(space, {**IMAGE, **given, "skipOutboundPorts": [8080]}))
    helm(space, "test", "lapse", "--timeout=90s", check=False)
    expect("did not pass lapse-proxy" in log(), lambda: f"the test passes without a redirect: {log()}")


@case()
def half_closed_everywhere(space):
    """The DaemonSet sees a half-closed connection of a pod, with the capabilities that the chart gives it."""
    install(space, {"injection": {"enabled": False}, "halfClosed": {"enabled": True, "minAge": "1s"}})
    client, server = space.start(pod("client", "native"), pod("server"))
    space.rolled_out("daemonset/lapse-half-closed")
    talk = f"printf 'GET /?sleep=60s HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' | busybox nc {server} 8080"
    threading.Thread(target=lambda: space.exec("client", "/bin/sh", "-c", talk, check=False), daemon=True).start()
    said = lambda: space.kubectl("logs", "-l", "app.kubernetes.io/component=half-closed", "--tail=-1").stdout  # noqa: E731
    until(lambda: any(client in line and server in line for line in said().splitlines()), lambda: f"it said: {said()}", 40, 0.5)
