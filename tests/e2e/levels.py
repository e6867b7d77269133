"""The levels of configuration: KubeLB's worked examples, the whole ladder from flag to annotation, each value with its source."""
import signal
import time

from .harness import (BINARY, FAILED, PodInfo, after, black_hole, case, check_answer, configured, document, echo, example, expect,
                      explain, http, ok, request, route, rule, script, service, silent, took, until_reset)

OUT = ("out4",)


def limits(kind="Config", name="short", namespace="kubelb", **timeouts):
    """A Config, Tenant, Route or LoadBalancer with these timeouts."""
    return document(kind, name, {"timeouts": timeouts}, namespace)


def explained(pod, record, config, *arguments, asked=None):
    """explain says the same of the record's timer as the record does, and is handed on."""
    said = explain(pod, "--config", config.path, *arguments, "--direction", record["direction"], to=record["server"],
                   request=asked)
    timeout = said["timeouts"][record["timer"]]
    expect((timeout["value"], timeout["source"]) == (record["value"], record["set_by"]),
           f"explain says {timeout}, the record {record['timer']}={record['value']} set by {record['set_by']}")
    return said


def trickling(every):
    """An HTTP app that streams a chunk every so many seconds, for ever."""
    def serve(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.send(b"5\r\ntick\n\r\n")
            time.sleep(every)
    return serve


# The worked examples of KubeLB's page

@case(ways=OUT)
def streaming_ingress(pod):
    """An Ingress whose annotations say request 0s and a long stream-idle: its stream outlives the Config, another one is cut."""
    ticks = [b"5\r\ntick\n\r\n"] * 2
    pod.app(script("request", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ticks[0], 1, ticks[1], silent), port=80)
    pod.app(trickling(0.2), port=8081)
    pod.app(script("request", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", silent), port=8082)
    config = configured(pod, limits(request="900ms", streamIdle="600ms"),
                        example("kubelb-streaming-ingress", {"10.96.20.1\n": pod.address + "\n", "4h\n": "1500ms\n"}))
    pod.start("--config", config.path)
    events, steady, stalled = (pod.dial(port) for port in (80, 8081, 8082))
    start = time.monotonic()
    for peer in (events, steady, stalled):
        peer.send(request(host="events.example.com"))
    with took(0.6):
        expect(stalled.end()[0] == "rst", "the stalled stream of another Service was not cut")
    expect(steady.end()[0] == "rst", "the steady stream of another Service was not cut")
    expect(time.monotonic() - start >= 0.75, "the steady stream was cut too early")
    ended, data = events.end()
    elapsed = time.monotonic() - start
    expect(ended == "rst" and data.count(b"tick") == 2, f"the Ingress's stream: {ended} after {data[-60:]!r}")
    expect(2.4 <= elapsed <= 5, f"the Ingress's stream ended after {elapsed:.2f} s, expected 2.5 s")
    mine = pod.record(reason="stream_idle_timeout", timer="streamIdle", value="1s500ms", service="default/events",
                      route="Ingress default/events rule 0",
                      set_by="annotation kubelb.k8c.io/timeout-stream-idle on Ingress default/events")
    said = explained(pod, mine, config, asked="GET http://events.example.com/")
    expect(said["timeouts"]["request"]["ms"] == 0 and "timeout-request on Ingress default/events" in
           said["timeouts"]["request"]["source"], f"explain: {said['timeouts']['request']}")
    for reason, timer, value in (("stream_idle_timeout", "streamIdle", "600ms"), ("request_timeout", "request", "900ms")):
        record = pod.record(reason=reason, timer=timer, value=value, set_by=f"Config kubelb/short spec.timeouts.{timer}")
        expect("service" not in record and "route" not in record, f"a Service where there is none: {record}")
        explained(pod, record, config, asked="GET http://events.example.com/")


@case(ways=OUT)
def long_lived_tcproute(pod):
    """A TCPRoute whose annotations set tcp-idle and connect: both apply to its Service and to nothing else."""
    pod.app(echo, port=5432)
    pod.app(echo, port=8081)
    config = configured(pod, limits(tcpIdle="500ms", connect="3s"),
                        example("kubelb-long-lived-tcproute", {"10.96.20.2\n": pod.address + "\n", "12h\n": "1800ms\n",
                                                               "2s\n": "700ms\n"}))
    pod.start("--config", config.path)
    rested, other = pod.dial(5432), pod.dial(8081)
    for peer in (rested, other):
        peer.send(BINARY)
        expect(peer.exactly(len(BINARY)) == BINARY, "no echo")
    with took(0.5):
        other.ends("fin")
    rested.stays(0.4)
    rested.send(BINARY)
    rested.exactly(len(BINARY))
    with took(1.8):
        rested.ends("fin")
    source = "annotation kubelb.k8c.io/timeout-{} on TCPRoute default/postgres"
    record = pod.record(reason="tcp_idle_timeout", value="1s800ms", timer="tcpIdle", set_by=source.format("tcp-idle"),
                        service="default/postgres", route="TCPRoute default/postgres rule 0", protocol="opaque")
    explained(pod, record, config)
    explained(pod, pod.record(reason="tcp_idle_timeout", value="500ms", set_by="Config kubelb/short spec.timeouts.tcpIdle"), config)
    with pod.server.ruled(black_hole(5432)):
        late = pod.dial(5432)
        with took(0.7):
            late.ends("rst")
    explained(pod, pod.record(reason="connect_timeout", timer="connect", value="700ms", set_by=source.format("connect"),
                              service="default/postgres"), config)


@case(ways=OUT)
def slow_warming_httproute(pod):
    """An HTTPRoute whose annotations give connect and request more than the Config does: late connecting and answering pass."""
    pod.app(http(lambda message: silent if message.target == "/predict/never" else after(1)(message)), port=80)
    pod.app(silent, port=8081)
    config = configured(pod, limits(request="600ms", connect="300ms"),
                        example("kubelb-slow-warming-httproute", {"10.96.20.3\n": pod.address + "\n", "30s\n": "5s\n",
                                                                  "2m\n": "1800ms\n"}))
    pod.start("--config", config.path)
    with pod.server.ruled(black_hole(80)):
        warming = pod.dial(80)
        warming.stays(0.7)  # longer than the Config would wait
    warming.send(request("GET", "/predict/1", host="model.example.com"))
    with took(1):
        expect(warming.response().status == 200, "no answer")
    other = pod.dial(8081)
    with took(0.6):
        other.send(request("GET", "/predict/1", host="model.example.com"))
        check_answer(other.response(), 504, "request_timeout")
    explained(pod, pod.record(reason="request_timeout", value="600ms", set_by="Config kubelb/short spec.timeouts.request"), config,
              asked="GET http://model.example.com/predict/1")
    with took(1.8):
        warming.send(request("GET", "/predict/never", host="model.example.com"))
        check_answer(warming.response(), 504, "request_timeout")
    record = pod.record(reason="request_timeout", timer="request", value="1s800ms", service="default/model",
                        set_by="annotation kubelb.k8c.io/timeout-request on HTTPRoute default/model",
                        route="HTTPRoute default/model rule 0")
    said = explained(pod, record, config, asked="GET http://model.example.com/predict/never")
    expect(said["timeouts"]["connect"]["ms"] == 5000, f"explain: {said['timeouts']['connect']}")


@case(ways=("out4", "in6"))
def merge(pod):
    """Config, Tenant and Route: each field comes from the most special level that sets it; explain and the records say which."""
    pod.app(http(lambda message: silent if message.target == "/never" else after(0.7)(message)), port=80)
    config = configured(pod, example("kubelb-merge", {"10.96.20.4": pod.address, "30m": "800ms", "15s": "1s", "10m": "300ms",
                                                      "20m": "400ms"}))
    pod.start("--config", config.path)
    peer = pod.dial(80)
    peer.ask()  # silent for longer than the streamIdle of Tenant and Config
    with took(1):
        peer.send(request("GET", "/never"))
        check_answer(peer.response(), 504, "request_timeout")
    late = pod.record(reason="request_timeout", value="1s", set_by="Tenant tenant-a spec.timeouts.request")
    with took(0.8):
        peer.ends("fin")
    peer.close()
    idle = pod.record(reason="idle_timeout", value="800ms", set_by="Config kubelb/merge spec.timeouts.idleConnection")
    explained(pod, idle, config, asked="GET /")
    said = explained(pod, late, config, asked="GET /never")["timeouts"]
    expect((said["streamIdle"]["ms"], said["streamIdle"]["source"]) == (0, "Route tenant-a/web spec.timeouts.streamIdle"),
           f"explain: {said['streamIdle']}")
    expect((said["connect"]["value"], said["connect"]["source"]) == ("5s", "built-in"), f"explain: {said['connect']}")


@case(ways=OUT, each={"of another": "elsewhere", "of one": "tenant-b"})
def tenant_applies_to_its_namespace(pod, namespace):
    """A Tenant holds for the Services of its own namespace; our namespace's for what is in none that has one, or no Service."""
    for port in range(8080, 8084):
        pod.app(silent, port=port)
    config = configured(pod, limits(request="1500ms"), limits("Tenant", "tenant-a", None, request="500ms"),
                        limits("Tenant", "b", None, request="1s"), service("x", pod.address, namespace="tenant-a"),
                        service("y", pod.address, port=8081, namespace="tenant-b"), service("z", pod.address, port=8082))
    pod.start("--config", config.path, "--namespace", namespace)
    peers = [pod.dial(port) for port in range(8080, 8084)]
    with took(0.5):
        for peer in peers:
            peer.send(request())
        check_answer(peers[0].response(), 504, "request_timeout")
    for peer in peers[1:]:
        check_answer(peer.response(), 504, "request_timeout")
    rest = ("1s", "Tenant b") if namespace == "tenant-b" else ("1s500ms", "Config kubelb/short")
    for port, name, (value, source) in ((8080, "tenant-a/x", ("500ms", "Tenant tenant-a")),
                                        (8081, "tenant-b/y", ("1s", "Tenant b")), (8082, "default/z", rest), (8083, None, rest)):
        record = pod.record(server=f"{pod.address}:{port}", service=name, value=value, set_by=f"{source} spec.timeouts.request")
        explained(pod, record, config, "--namespace", namespace, asked="GET /")


@case(ways=OUT)
def annotated_config_and_tenant(pod):
    """lapse.proxy annotations of a Config and a Tenant stand over the spec of their object, on its level."""
    pod.app(silent)
    pod.app(silent, port=8081)
    key = "lapse.proxy/timeout-request"
    config = configured(pod, document("Config", "c", {"timeouts": {"request": "9s"}}, annotations={key: "900ms"}),
                        document("Tenant", "shop", {"timeouts": {"request": "9s"}}, None, {key: "400ms"}),
                        service("web", pod.address, namespace="shop"))
    pod.start("--config", config.path)
    for port, seconds, value, owner in ((8080, 0.4, "400ms", "Tenant shop"), (8081, 0.9, "900ms", "Config default/c")):
        with pod.dial(port) as peer, took(seconds):
            peer.ask("GET", "/", status=504)
        explained(pod, pod.record(msg=FAILED, value=value, set_by=f"annotation {key} on {owner}"), config, asked="GET /")


# Further names

@case()
def further_names_in_a_config(pod):
    """A Config's spec.timeouts knows our own names, too: halfClose, detect, serverIdle and maxConnection work as by flag."""
    app = pod.app()
    pod.app(until_reset, port=8081)
    pod.app(echo, port=8082)
    config = configured(pod, limits(halfClose="500ms", detect="600ms", serverIdle="700ms", maxConnection="1400ms"))
    pod.start("--config", config.path)
    half, undecided, idle = pod.dial(8081), pod.dial(8082), pod.dial()
    undecided.send(b"GE")
    idle.ask()
    with took(0.5):
        half.send(BINARY).fin()
        half.ends("rst")
    expect(undecided.exactly(2) == b"GE", "the undecided bytes did not go on")
    expect(app.ended() == "fin" and not idle.wait(0), "serverIdle did not end the server's side alone")
    for peer in (idle, undecided):
        peer.ends("fin")
        peer.close()
    for timer, reason, value in (("halfClose", "half_close_timeout", "500ms"), ("maxConnection", "max_connection", "1s400ms")):
        explained(pod, pod.record(timer=timer, reason=reason, value=value, set_by=f"Config kubelb/short spec.timeouts.{timer}"),
                  config)
    pod.record(reason="max_connection", protocol="opaque")


@case(ways=OUT)
def drain_is_our_own(pod):
    """How long we drain is for Config, Tenant and our pod to say; a Service's or route's `drain` changes neither it nor records."""
    pod.app(silent)
    info = PodInfo(pod, annotations={"lapse.proxy/timeout-drain": "700ms"})
    config = configured(pod, limits(drain="100ms"), service("web", pod.address, annotations={"lapse.proxy/timeout-drain": "9s"}),
                        route("web", annotations={"lapse.proxy/timeout-drain": "8s"}))
    pod.start("--config", config.path, "--pod-info", info.path)
    peer = pod.dial()
    peer.send(request())
    peer.stays(0.2)
    with took(0.7):
        pod.proxy.signal(signal.SIGTERM)
        peer.end()
    record = pod.stop(signals=()).records()[0]
    expect((record["reason"], record["value"], record["set_by"]) == (
        "drain_forced", "700ms", "annotation lapse.proxy/timeout-drain on the pod"), f"recorded {record}")
    explained(pod, record, config, "--pod-info", info.path, asked="GET /")


# The ladder

LADDER = ("Config", "environment", "flag", "Tenant", "pod", "Service", "LoadBalancer", "LoadBalancer's annotation", "rule",
          "route's annotation")
SOURCES = ("Config kubelb/short spec.timeouts.backendRequest", "environment variable LAPSE_TIMEOUT_BACKEND_REQUEST",
           "flag --timeout-backend-request", "Tenant default spec.timeouts.backendRequest",
           "annotation lapse.proxy/timeout-backend-request on the pod",
           "annotation lapse.proxy/timeout-backend-request on Service default/web",
           "LoadBalancer default/web spec.timeouts.backendRequest",
           "annotation lapse.proxy/timeout-backend-request on LoadBalancer default/web",
           "HTTPRoute default/web spec.rules[0].timeouts.backendRequest",
           "annotation lapse.proxy/timeout-backend-request on HTTPRoute default/web")


def fields(value):
    return {"request": value[0], "backendRequest": value[1]} if value else {}


def noted(value):
    return {"lapse.proxy/timeout-request": value[0], "lapse.proxy/timeout-backend-request": value[1]} if value else {}


@case(ways=OUT, each={name: number for number, name in enumerate(LADDER)})
def ladder(pod, top):
    """Each level wins over all below it, also with 0s, which turns off what they set; the record and explain name it."""
    pod.app(silent)
    given = [("300ms", "0s")] * top + [("0s", "700ms")] + [None] * (len(LADDER) - top - 1)
    at = dict(zip(LADDER, given))
    balancer = limits("LoadBalancer", "web", "default", **fields(at["LoadBalancer"]))
    balancer["metadata"]["annotations"] = noted(at["LoadBalancer's annotation"])
    info = PodInfo(pod, annotations=noted(at["pod"]))
    config = configured(pod, limits(**fields(at["Config"])), limits("Tenant", "default", None, **fields(at["Tenant"])),
                        service("web", pod.address, annotations=noted(at["Service"])), balancer,
                        route("web", rule(timeouts=fields(at["rule"])), annotations=noted(at["route's annotation"])))
    environment = at["environment"] and {"LAPSE_TIMEOUT_REQUEST": at["environment"][0],
                                         "LAPSE_TIMEOUT_BACKEND_REQUEST": at["environment"][1]}
    flags = at["flag"] and ["--timeout-request", at["flag"][0], "--timeout-backend-request", at["flag"][1]]
    pod.start("--config", config.path, "--pod-info", info.path, *(flags or ()), environment=environment)
    peer = pod.dial()
    with took(0.7):
        peer.send(request())
        check_answer(peer.response(), 504, "backend_request_timeout")
    record = pod.record(timer="backendRequest", value="700ms", set_by=SOURCES[top], service="default/web",
                        route="HTTPRoute default/web rule 0")
    said = explain(pod, "--config", config.path, "--pod-info", info.path, *(flags or ()), to=record["server"], request="GET /",
                   environment=environment)["timeouts"]
    expect((said["backendRequest"]["value"], said["backendRequest"]["source"]) == ("700ms", record["set_by"]),
           f"explain: {said['backendRequest']}")
    expect((said["request"]["ms"], said["request"]["source"]) == (0, SOURCES[top].replace("backendRequest", "request")
            .replace("backend-request", "request").replace("BACKEND_REQUEST", "REQUEST")), f"explain: {said['request']}")


@case()
def flag_over_config(pod):
    """Flag and environment win over a Config, field by field; what they leave open is the Config's."""
    pod.app(http(lambda message: silent if message.target == "/never" else ok()))
    config = configured(pod, limits(idleConnection="300ms", requestHeaders="300ms", request="600ms"))
    environment = {"LAPSE_TIMEOUT_REQUEST_HEADERS": "700ms"}
    pod.start("--config", config.path, idle_connection="900ms", environment=environment)
    idle, slow, late = pod.dial(), pod.dial(), pod.dial()
    idle.ask()
    with took(0.7):
        slow.send(b"GET / HTTP/1.1\r\n")
        late.send(request("GET", "/never"))
        check_answer(slow.response(), 408, "header_timeout")
    check_answer(late.response(), 504, "request_timeout")
    idle.ends("fin")
    for record in (pod.fired("idleConnection", "idle_timeout", "900ms"),
                   pod.record(timer="requestHeaders", value="700ms", set_by="environment variable LAPSE_TIMEOUT_REQUEST_HEADERS"),
                   pod.record(timer="request", value="600ms", set_by="Config kubelb/short spec.timeouts.request")):
        said = explain(pod, "--config", config.path, "--timeout-idle-connection", "900ms", "--direction", "inbound",
                       to=record["server"], request="GET /", environment=environment)["timeouts"][record["timer"]]
        expect((said["value"], said["source"]) == (record["value"], record["set_by"]), f"explain: {said}")
