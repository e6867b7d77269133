"""Annotations: the pod's own, live; those of Services and routes in their three families; what cannot be read is left out alone."""
import json
import re
import signal
import time

from .harness import (BINARY, CLOSED, PodInfo, after, case, check_answer, configured, document, echo, expect, explain, http, ok,
                      on_gateway, readings, request, route, rule, run, service, silent, took, until)
from .harness.documents import profile

OUT = ("out4",)


def change(pod, step, *arguments):
    """Does a step that changes the configuration, and waits for it to be read and handed to the workers."""
    before = readings(pod)
    step(*arguments)
    until(lambda: readings(pod) > before, "the configuration was not read again")
    time.sleep(0.2)


# The pod's own

@case(ways=("in4", "out6"))
def pod_annotations(pod):
    """Annotations of the pod (--pod-info): idle-connection, tcp-idle, request-headers and stream-idle, each as it is written."""
    pod.app(http(lambda message: silent if message.target == "/never" else ok()))
    pod.app(echo, port=8081)
    values = {"idle-connection": "700ms", "tcp-idle": "800ms", "request-headers": "900ms", "stream-idle": "1s"}
    info = PodInfo(pod, annotations={"kubernetes.io/config.source": "api", "note": 'a "word"\nand \\ a line',
                                     **{f"lapse.proxy/timeout-{name}": value for name, value in values.items()}})
    pod.start("--pod-info", info.path)
    idle, opaque, slow, never = pod.dial(), pod.dial(8081), pod.dial(), pod.dial()
    opaque.send(BINARY)
    slow.send(b"GET / HTTP/1.1\r\n")
    never.send(request("GET", "/never"))
    with took(0.7):
        idle.ask()
        idle.ends("fin")
    expect(opaque.exactly(len(BINARY)) == BINARY, "no echo")
    opaque.ends("fin")
    check_answer(slow.response(), 408, "header_timeout")
    check_answer(never.response(), 504, "stream_idle_timeout")
    for timer, name in (("idleConnection", "idle-connection"), ("tcpIdle", "tcp-idle"), ("requestHeaders", "request-headers"),
                        ("streamIdle", "stream-idle")):
        record = pod.record(timer=timer, value=values[name], set_by=f"annotation lapse.proxy/timeout-{name} on the pod")
        said = explain(pod, "--pod-info", info.path, "--direction", record["direction"], to=record["server"])["timeouts"][timer]
        expect((said["value"], said["source"]) == (record["value"], record["set_by"]), f"explain: {said}")
    expect(not [line for line in pod.proxy.lines if line["level"] == "warn" and "annotation" in line["msg"]], "a warning")


@case(ways=OUT)
def changes_are_told(pod):
    """A reading of annotations says what it changed; a value that becomes wrong leaves the one before in force, and says so."""
    key, other = "lapse.proxy/timeout-request", "lapse.proxy/timeout-tcp-idle"
    pod.app(http(lambda message: silent))
    info = PodInfo(pod, annotations={key: "700ms", "lapse.proxy/inject": "enabled", "lapse.proxy/close-wait-timeout": "1h",
                                     "config.linkerd.io/skip-inbound-ports": "25"})
    pod.start("--pod-info", info.path)
    pod.line(re.compile(r"configuration read in \d+ ms: 4 annotations and 0 labels of the pod; 0 warnings"))
    change(pod, info.annotate, {key: "600ms", other: "2h"})
    pod.line(f"annotation {key} on the pod: 700ms .* 600ms\"")
    pod.line(f"annotation {other} on the pod: not set .* 2h\"")
    change(pod, info.annotate, {key: "1d"})
    pod.line(f"annotation {other} on the pod: 2h .* not set\"")
    pod.line(re.compile(rf'annotation {key}: .*1d.*: a Go duration .*; 600ms, which was in force before, stays'), level="warn")
    expect(not [line for line in pod.proxy.lines if "600ms →" in line["msg"]], "said to have changed")
    peer = pod.dial()
    with took(0.6):
        peer.send(request())
        check_answer(peer.response(), 504, "request_timeout")
    pod.record(reason="request_timeout", value="600ms", set_by=f"annotation {key} on the pod")
    change(pod, info.annotate, {key: "650ms"})
    pod.line(f"annotation {key} on the pod: 600ms .* 650ms\"")


@case(ways=("in4", "out4"))
def changed_while_idle(pod):
    """An annotation that changes while a connection is idle holds from its next request on, for new connections at once."""
    key = "lapse.proxy/timeout-idle-connection"
    pod.app()
    info = PodInfo(pod, annotations={key: "2s"})
    pod.start("--pod-info", info.path)
    resting, asking = pod.dial(), pod.dial()
    asking.ask()
    start = time.monotonic()
    resting.ask()
    change(pod, info.annotate, {key: "500ms"})
    fresh = pod.dial()
    with took(0.5):
        asking.ask()  # the first under the new value
        fresh.ask()
        for peer in (asking, fresh):
            peer.ends("fin")
            peer.close()
    resting.ends("fin")
    resting.close()
    expect(time.monotonic() - start >= 1.9, "the old value did not hold to the end")
    pod.all_recorded()
    by_requests = sorted((record["requests"], record["value"]) for record in pod.proxy.records(CLOSED))
    expect(by_requests == [(1, "2s"), (1, "500ms"), (2, "500ms")], f"recorded {by_requests}")


@case()
def longer_while_idle(pod):
    """An annotation raised, then removed: idle connections keep the value of their last request; new ones have the Config's."""
    key = "lapse.proxy/timeout-idle-connection"
    pod.app()
    info = PodInfo(pod, annotations={key: "1200ms"})
    config = configured(pod, document("Config", "c", {"timeouts": {"idleConnection": "2s"}}))
    pod.start("--pod-info", info.path, "--config", config.path)
    resting, asking = pod.dial(), pod.dial()
    resting.ask()
    asking.ask()
    change(pod, info.annotate, {})
    start = time.monotonic()
    asking.ask()
    resting.ends("fin")
    asking.ends("fin")
    expect(1.85 <= time.monotonic() - start <= 5, "the Config's value did not hold after the request")
    for peer in (resting, asking):
        peer.close()
    pod.record(requests=1, value="1s200ms", set_by=f"annotation {key} on the pod")
    pod.record(requests=2, value="2s", set_by="Config default/c spec.timeouts.idleConnection")


# What cannot be read

WRONG = {"kubelb.k8c.io/timeout-request": "-1s", "kubelb.k8c.io/timeout-stream-idle": "soon",
         "kubelb.k8c.io/timeout-tcp-idle": "1d", "kubelb.k8c.io/timeout-connect": "5", "kubelb.k8c.io/timeout-nothing": "1s", "lapse.proxy/timeout-nothing": "1s",
         "timeout.linkerd.io/request": "-1s", "timeout.linkerd.io/nothing": "1s", "lapse.proxy/timeout-half-close": ""}
FOREIGN = {"kubelb.k8c.io/other": "x", "linkerd.io/inject": "enabled", "example.com/timeout-request": "1ms"}


@case(ways=OUT)
def wrong_ones_are_left_out(pod):
    """Invalid, negative, unknown annotations are ignored alone, each with one warning, also when read again; the others apply."""
    pod.app(http(lambda message: after(0.7)(message)))
    good = {"kubelb.k8c.io/timeout-idle-connection": "600ms"}
    pod_wrong = {"lapse.proxy/timeout-request": "-5s", "lapse.proxy/timeout-idle": "1ms", "kubelb.k8c.io/timeout-request": "1ms"}
    info = PodInfo(pod, annotations=pod_wrong)
    documents = [service("web", pod.address), route("web", annotations={**WRONG, **FOREIGN, **good})]
    config = configured(pod, *documents)
    pod.start("--config", config.path, "--pod-info", info.path)
    change(pod, pod.proxy.signal, signal.SIGHUP)
    change(pod, config.replace, "all.yaml", *documents)
    peer = pod.dial()
    peer.ask()
    with took(0.6):
        peer.ends("fin")
    pod.ended("idle_timeout", value="600ms", set_by="annotation kubelb.k8c.io/timeout-idle-connection on HTTPRoute default/web")
    warnings = [line["msg"] for line in pod.proxy.lines if line["level"] == "warn" and ": annotation " in line["msg"]]
    for key in WRONG:
        found = [each for each in warnings if f"HTTPRoute default/web: annotation {key}:" in each]
        expect(len(found) == 1 and f"{config.file('all.yaml')}:" in found[0], f"{key}: {found}")
    for key in pod_wrong:
        found = [each for each in warnings if f"annotation {key}:" in each and f"{info.path}/annotations:" in each]
        expect(len(found) == 1, f"{key} of the pod: {found}")
    expect(len(warnings) == len(WRONG) + len(pod_wrong), f"{len(warnings)} warnings: {warnings}")
    said = explain(pod, "--config", config.path, "--pod-info", info.path, to="default/web:8080", request="GET /")["timeouts"]
    sources = {name: value["source"] for name, value in said.items() if value["source"] != "built-in"}
    expect(list(sources) == ["idleConnection"], f"explain: {sources}")


# Families

LINKERD = {"request": ("request", "request_timeout"), "response": ("backendRequest", "backend_request_timeout"),
           "idle": ("streamIdle", "stream_idle_timeout")}


@case(ways=OUT, each={"Service": True, "HTTPRoute": False})
def linkerd(pod, on_service):
    """timeout.linkerd.io/request, response and idle on Services and HTTPRoutes are request, backendRequest and streamIdle."""
    documents = [document("Config", "c", {"timeouts": {"request": "3s", "backendRequest": "3s", "streamIdle": "3s"}})]
    for port, name in enumerate(LINKERD, 8081):
        pod.app(silent, port=port)
        annotations = {f"timeout.linkerd.io/{name}": f" +{500 + port - 8000}ms"}
        documents += [service(name, pod.address, port=port, annotations=annotations if on_service else None),
                      route(name, annotations=None if on_service else annotations)]
    config = configured(pod, *documents)
    pod.start("--config", config.path)
    peers = [pod.dial(port) for port in range(8081, 8084)]
    with took(0.58):
        for peer in peers:
            peer.send(request())
        answers = [peer.response() for peer in peers]
    for port, (name, (timer, reason)) in enumerate(LINKERD.items(), 8081):
        check_answer(answers[port - 8081], 504, reason)
        place = f"{'Service' if on_service else 'HTTPRoute'} default/{name}"
        record = pod.record(service=f"default/{name}", timer=timer, reason=reason, value=f"{500 + port - 8000}ms",
                            set_by=f"annotation timeout.linkerd.io/{name} on {place}")
        said = explain(pod, "--config", config.path, to=record["server"], request="GET /")["timeouts"][timer]
        expect((said["value"], said["source"]) == (record["value"], record["set_by"]), f"explain: {said}")


def answers_after(seconds):
    return http(lambda message: after(seconds))


@case(ways=OUT)
def linkerd_response_counts_from_the_end_of_the_request(pod):
    """timeout.linkerd.io/response: 1s does not run during an upload of 2 s; an answer 1.5 s after its end is too late, and all say so."""
    pod.app(answers_after(0.5))
    pod.app(answers_after(1.5), port=8081)
    annotations = {"timeout.linkerd.io/response": "1s"}
    config = configured(pod, service("quick", pod.address, annotations=annotations),
                        service("slow", pod.address, port=8081, annotations=annotations))
    pod.start("--config", config.path)
    peer, late = pod.dial(), pod.dial(8081)
    for each in (peer, late):
        each.send(request("POST", "/", "Content-Length: 20"))
    sent = peer.trickle(b"x" * 20, 0.1)
    expect(sent == 20, f"the upload was cut after {sent} bytes")
    expect(peer.response().status == 200, "the answer after the upload is none")
    with took(1):
        late.send(b"y" * 20)
        check_answer(late.response(), 504, "backend_request_timeout")
    record = pod.record(service="default/slow", timer="backendRequest", reason="backend_request_timeout", value="1s",
                        counted_from="the end of the request", set_by="annotation timeout.linkerd.io/response on Service default/slow")
    said = explain(pod, "--config", config.path, to=record["server"], request="POST /")["timeouts"]["backendRequest"]
    expect((said["value"], said["source"], said["counted_from"]) == ("1s", record["set_by"], record["counted_from"]), f"explain: {said}")
    text = run([pod.context.proxy, "explain", "--config", config.path, "--to", "default/slow:8081", "POST /"]).stdout
    expect("(from the end of the request)" in text, f"explain: {text}")
    shown = json.loads(pod.proxy.admin("/config")[1])
    differing = [target["timeouts"]["backendRequest"] for target in shown["targets"] if target["service"] == "default/slow"]
    expect(differing and differing[0]["counted_from"] == record["counted_from"], f"/config: {shown['targets']}")
    cost = shown["timeouts"]["tcpIdle"]["cost"]
    expect("1h" in cost and "cost" not in differing[0], f"/config: {shown['timeouts']}")


OPAQUE = {"config.linkerd.io/opaque-ports": "8081,8090-8099"}


def protocols(pod, ports):
    """By port: what the record says of a request to it."""
    found = {}
    for port in ports:
        peer = pod.dial(port)
        peer.ask()
        peer.fin()
        peer.ends("fin")
        found[port] = pod.record(msg=CLOSED, server=re.compile(f":{port}$"))["protocol"]
    return found


@case(ways=("in4", "out4"))
def linkerd_opaque_ports_of_a_service(pod):
    """config.linkerd.io/opaque-ports on a Service: its listed ports are opaque both ways, others are not; explain says so."""
    for port in (8080, 8081):
        pod.app(port=port)
    config = configured(pod, *(service(name, pod.address, port=port, selector={"app": "x"}, annotations=OPAQUE)
                               for name, port in (("web", 8080), ("data", 8081))))
    info = PodInfo(pod, labels={"app": "x"})
    pod.start("--config", config.path, "--pod-info", info.path)
    found = protocols(pod, (8080, 8081))
    expect(found == {8080: "http/1.1", 8081: "opaque"}, f"{found}")
    for name, port, opaque in (("web", 8080, False), ("data", 8081, True)):
        said = explain(pod, "--config", config.path, to=f"default/{name}:{port}", request="GET /")
        expect(said["opaque_port"] is opaque, f"explain: {said}")


@case(ways=("in4", "out4"))
def linkerd_opaque_ports_by_name(pod):
    """Names in config.linkerd.io/opaque-ports: those of a Service's ports and of their targetPorts; others are told of, and the rest applies."""
    for port in (8080, 8081, 8082):
        pod.app(port=port)
    named = service("data", pod.address, port=[{"name": "sql", "port": 8080}, {"name": "web", "port": 8081}, {"name": "cache", "port": 8082}],
                    selector={"app": "x"}, annotations={"config.linkerd.io/opaque-ports": "sql,queue, cache"})
    config = configured(pod, named)
    info = PodInfo(pod, labels={"app": "x"}, annotations={"config.linkerd.io/opaque-ports": "mysql"})
    pod.start("--config", config.path, "--pod-info", info.path)
    found = protocols(pod, (8080, 8081, 8082))
    expect(found == {8080: "opaque", 8081: "http/1.1", 8082: "opaque"}, f"{found}")
    for subject, word in (("Service default/data", '"queue" is the name of none of its ports'), ("the pod", '"mysql" is a name')):
        warned = [line["msg"] for line in pod.proxy.lines if line["level"] == "warn" and subject in line["msg"]]
        expect(len(warned) == 1 and word in warned[0], f"{warned}")


@case(ways=OUT)
def opaque_ports_of_a_service_profile(pod):
    """A ServiceProfile's opaquePorts, without routes and with: no request is read there; other ports are as before; explain says so."""
    for port in (8080, 8081, 8082):
        pod.app(port=port)
    every = {"name": "all", "condition": {"pathRegex": "/.*"}}
    config = configured(pod, service("data", pod.address, port=[{"name": f"p{port}", "port": port} for port in (8080, 8081)]),
                        service("web", pod.address, port=8082),
                        profile("data", opaquePorts=["8081"]), profile("web", every, opaquePorts={"8082": {}}))
    pod.start("--config", config.path)
    found = protocols(pod, (8080, 8081, 8082))
    expect(found == {8080: "http/1.1", 8081: "opaque", 8082: "opaque"}, f"{found}")
    for name, port, opaque in (("data", 8080, False), ("data", 8081, True), ("web", 8082, True)):
        said = explain(pod, "--config", config.path, to=f"default/{name}:{port}", request="GET /")
        expect(said["opaque_port"] is opaque, f"explain: {said}")


@case(ways=("in4", "out4"))
def linkerd_opaque_ports_of_the_pod(pod):
    """config.linkerd.io/opaque-ports on the pod: live, inbound only; and on its Namespace, where the pod says nothing."""
    for port in (8080, 8081):
        pod.app(port=port)
    config = configured(pod, {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "default", "annotations": {"config.linkerd.io/opaque-ports": "8080", "config.linkerd.io/skip-subnets": "10.0.0.0/8"}}})
    info = PodInfo(pod, annotations={"note": "none"})
    pod.start("--config", config.path, "--pod-info", info.path)
    found = protocols(pod, (8080, 8081))
    expect(found == {8080: "opaque" if pod.inbound else "http/1.1", 8081: "http/1.1"}, f"the Namespace's: {found}")
    change(pod, info.annotate, OPAQUE)
    for port, opaque in ((8080, False), (8081, pod.inbound)):
        peer = pod.dial(port)
        peer.ask()
        peer.fin()
        peer.ends("fin")
        until(lambda: any(line.get("server", "").endswith(f":{port}") and line["protocol"] == ("opaque" if opaque else "http/1.1")
                          for line in pod.proxy.lines[-3:]), f"port {port} on the pod's annotation")
    warned = [line["msg"] for line in pod.proxy.lines if line["level"] == "warn" and "Namespace default" in line["msg"]]
    expect(warned and all("--skip-subnets of lapse-init" in line for line in warned), f"{warned}")


@case(ways=OUT)
def families_on_one_route(pod):
    """Of three families on one route lapse.proxy comes first, then kubelb.k8c.io, then timeout.linkerd.io; 0s counts, too."""
    pod.app(silent)
    pod.app(silent, port=8081)
    pod.app(http(after(0.8)), port=8082)
    linkerd, kubelb, ours = "timeout.linkerd.io/request", "kubelb.k8c.io/timeout-request", "lapse.proxy/timeout-request"
    config = configured(pod, service("a", pod.address), route("a", annotations={linkerd: "300ms", ours: "700ms", kubelb: "400ms"}),
                        service("b", pod.address, port=8081), route("b", annotations={kubelb: "600ms", linkerd: "1d"}),
                        service("c", pod.address, port=8082), route("c", annotations={kubelb: "0s", linkerd: "300ms"}))
    pod.start("--config", config.path)
    a, b, c = (pod.dial(port) for port in (8080, 8081, 8082))
    with took(0.7):
        for peer in (a, b, c):
            peer.send(request())
        check_answer(b.response(), 504, "request_timeout")
        check_answer(a.response(), 504, "request_timeout")
    expect(c.response().status == 200, "0s of kubelb.k8c.io did not count")
    pod.record(service="default/a", value="700ms", set_by=f"annotation {ours} on HTTPRoute default/a")
    pod.record(service="default/b", value="600ms", set_by=f"annotation {kubelb} on HTTPRoute default/b")


# Before the first request

@case(ways=("out4", "in6"), each={"HTTPRoute": "HTTPRoute", "Ingress": "Ingress"})
def sole_route_before_the_first_request(pod, kind):
    """requestHeaders and idleConnection by the annotations of a Service's only route hold from the first request on."""
    app = pod.app()
    annotations = {"kubelb.k8c.io/timeout-request-headers": "700ms", "kubelb.k8c.io/timeout-idle-connection": "900ms"}
    if kind == "Ingress":
        behind = {"service": {"name": "web", "port": {"number": 8080}}}
        paths = [{"path": "/", "pathType": "Prefix", "backend": behind}]
        hung = document(kind, "web", {"rules": [{"host": "app", "http": {"paths": paths}}]}, annotations=annotations)
    else:
        hung = on_gateway("web", "web", annotations=annotations)
    info = PodInfo(pod, {"app": "web"})
    config = configured(pod, service("web", pod.address, selector={"app": "web"}), hung)
    pod.start("--config", config.path, "--pod-info", info.path)
    slow, idle = pod.dial(), pod.dial()
    with took(0.7):
        slow.send(b"GET / HTTP/1.1\r\nHost")
        idle.ask()
        check_answer(slow.response(), 408, "header_timeout")
    idle.ends("fin")
    for timer, reason, value, key in (("requestHeaders", "header_timeout", "700ms", "request-headers"),
                                      ("idleConnection", "idle_timeout", "900ms", "idle-connection")):
        pod.record(timer=timer, reason=reason, value=value, service="default/web",
                   set_by=f"annotation kubelb.k8c.io/timeout-{key} on {kind} default/web")
    expect(app.count == 1, "bytes of the unfinished head reached the app")


@case(ways=OUT)
def two_routes_before_the_first_request(pod):
    """With two routes on a Service neither's annotations hold before a request says which; from then on that one's do."""
    pod.app()
    config = configured(pod, document("Config", "c", {"timeouts": {"requestHeaders": "1s", "idleConnection": "9s"}}),
                        service("web", pod.address),
                        route("a", rule("/a"), parent="web", annotations={"lapse.proxy/timeout-request-headers": "300ms",
                                                                          "lapse.proxy/timeout-idle-connection": "500ms"}),
                        route("b", rule("/b"), parent="web", annotations={"lapse.proxy/timeout-request-headers": "400ms"}))
    pod.start("--config", config.path)
    slow, a, b = pod.dial(), pod.dial(), pod.dial()
    b.ask("GET", "/b/1")
    slow.send(b"GET /a/1 HTTP/1.1\r\nHo")
    with took(0.5):
        a.ask("GET", "/a/1")
        a.ends("fin")
    slow.stays(0.2)
    check_answer(slow.response(), 408, "header_timeout")
    with took(0.4):
        b.send(b"GET /a/1 HT")
        check_answer(b.response(), 408, "header_timeout")
    pod.record(timer="idleConnection", set_by="annotation lapse.proxy/timeout-idle-connection on HTTPRoute default/a",
               route="HTTPRoute default/a rule 0")
    pod.record(timer="requestHeaders", value="1s", set_by="Config default/c spec.timeouts.requestHeaders")
    pod.record(timer="requestHeaders", value="400ms",
               set_by="annotation lapse.proxy/timeout-request-headers on HTTPRoute default/b")
