"""Probes of the kubelet go through the redirect and tell the truth about the application."""
import json

from harness import KINDS, case, expect, pod, until

HTTP = {"httpGet": {"path": "/probe", "port": 8080}}
PROBES = {
    "http": (HTTP, "unwell"),
    "tcp": ({"tcpSocket": {"port": 8080}}, "deaf"),
    "exec": ({"exec": {"command": ["/bin/sh", "-c", "! [ -e /unwell ]"]}}, "unwell"),
    "grpc": ({"grpc": {"port": 9090}}, "unwell"),
}


@case(each={f"{name} {kind}": (name, kind) for name in PROBES for kind in KINDS})
def truth(space, way):
    """HTTP, TCP, exec and gRPC probes see the application, well and unwell."""
    name, kind = way
    probe, trouble = PROBES[name]
    args = ["serve", "-grpc", ":9090", ":8080"]
    space.start(pod("probed", kind, args=args, readinessProbe={**probe, "periodSeconds": 1, "failureThreshold": 1}))

    def ready(wanted):
        state = '.status.containerStatuses[?(@.name=="app")].ready'
        until(lambda: space.field("pod", "probed", state) == wanted, f"the application did not become ready={wanted}", 60, 0.3)
    space.exec("probed", "/bin/sh", "-c", f"> /{trouble}")
    ready("false")
    space.exec("probed", "/bin/sh", "-c", f"rm /{trouble}")
    ready("true")


@case()
def quiet(space):
    """A probe's clean end is no line of the log, but counted; another client's request is a line, and so is a probe that fails."""
    address = space.start(pod("probed", "native", readinessProbe={**HTTP, "periodSeconds": 1}, livenessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}))
    counted = lambda: space.metric(address, "lapse_connections_closed_total", direction="inbound")  # noqa: E731
    began = counted()
    until(lambda: counted() > began + 4, "probes are not counted", 60, 0.5)
    expect(not space.records("probed"), f"probes are in the log: {space.records('probed')[:2]}")
    space.cluster.curl(f"http://{address}:8080/hello")
    until(lambda: len(space.records("probed")) == 1, "another client's request is not in the log", 60, 0.2)
    space.exec("probed", "/bin/sh", "-c", "> /unwell")
    until(lambda: len(space.records("probed")) > 2, "probes that fail are not in the log", 60, 0.5)


@case()
def liveness(space):
    """A liveness probe that fails restarts the application, and the redirect holds."""
    address = space.start(pod("probed", "native", livenessProbe={**HTTP, "periodSeconds": 1, "failureThreshold": 2}))
    space.exec("probed", "/bin/sh", "-c", "> /unwell")
    until(lambda: space.field("pod", "probed", ".status.containerStatuses[0].restartCount") == "1", "it was not restarted", 60, 0.5)
    # The kubelet sends SIGTERM; the application's own file system is new.
    space.ready("probed")
    before = space.metric(address, "lapse_requests_total", direction="inbound")
    expect(space.cluster.curl(f"http://{address}:8080/")[0] == 200, "not reached after the restart")
    expect(space.metric(address, "lapse_requests_total", direction="inbound") > before, "passed by the proxy after the restart")
