"""What a connection belongs to: the Service by selector and targetPort or by clusterIP and port, and its routes."""
import re
import time

from .annotations import change
from .harness import (BINARY, CLOSED, FAILED, PodInfo, backend, case, check_answer, configured, document, echo, expect, explain,
                      http, ok, request, route, rule, service, silent, took)
from .opaque import client_hello

CONFIG = document("Config", "base", {"timeouts": {"idleConnection": "900ms", "tcpIdle": "900ms"}}, "kubelb")
IDLE = "lapse.proxy/timeout-idle-connection"


def idles(pod, port, value, source, service=None, **options):
    """A connection to the port rests until it is closed; its record says by which value, whose, and on what Service."""
    peer = pod.dial(port, **options)
    peer.ask()
    with took({"500ms": 0.5, "900ms": 0.9}[value]):
        peer.ends("fin")
    peer.close()
    record = pod.record(client=re.compile(f":{peer.local[1]}$"), reason="idle_timeout", value=value, set_by=source)
    expect(record.get("service") == service, f"service={record.get('service')}, expected {service}")
    return record


@case(ways=("in4", "in6"))
def inbound_by_selector(pod):
    """Inbound the Service whose selector takes all our labels' and whose targetPort is the port applies; no other, nor its port."""
    for port in (80, 8080, 8081, 8082):
        pod.app(port=port)
    mine = f"annotation {IDLE} on Service default/web"
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    config = configured(pod, CONFIG, service("web", port=ports, selector={"app": "web", "tier": "a"}, annotations={IDLE: "500ms"}),
                        service("other", port=8081, selector={"app": "web", "tier": "b"}, annotations={IDLE: "100ms"}),
                        service("nobody", port=8082, annotations={IDLE: "100ms"}))
    info = PodInfo(pod, {"app": "web", "tier": "a", "more": "x"})
    pod.start("--config", config.path, "--pod-info", info.path)
    record = idles(pod, 8080, "500ms", mine, "default/web")
    said = explain(pod, "--config", config.path, "--pod-info", info.path, "--direction", "inbound", to=record["server"])
    expect(said["service"] == "default/web" and said["timeouts"]["idleConnection"]["source"] == mine, f"explain: {said}")
    base = "Config kubelb/base spec.timeouts.idleConnection"
    peers = [pod.dial(port) for port in (80, 8081, 8082)]
    with took(0.9):
        for peer in peers:
            peer.ask()
        for peer in peers:
            peer.ends("fin")
            peer.close()
    pod.all_recorded()
    for record in pod.proxy.records(CLOSED)[1:]:
        expect((record["set_by"], record.get("service")) == (base, None), f"wrong level or Service: {record}")


@case(ways=("in4", "in6"))
def inbound_own_routes_first(pod):
    """Inbound a Service's own routes count, whatever its Gateway's route and its Ingress match; where it has none, these do."""
    pod.app(http(lambda message: silent))
    pod.app(http(lambda message: silent), port=8081)
    documents = []
    for name, port in (("own", 8080), ("none", 8081)):
        paths = [{"path": "/slow/long", "pathType": "Exact", "backend": {"service": {"name": name, "port": {"number": port}}}}]
        documents += [service(name, port=port, selector={"app": "web"}),
                      route(f"{name}-gate", rule("/slow", {"request": "600ms"}, [backend(name, port)]), parent={"name": "gateway"}),
                      document("Ingress", name, {"rules": [{"http": {"paths": paths}}]}, annotations={
                          "kubelb.k8c.io/timeout-request": "900ms"})]
    config = configured(pod, *documents, route("own", rule("/", {"request": "400ms"}, [backend("elsewhere")])))
    info = PodInfo(pod, {"app": "web"})
    pod.start("--config", config.path, "--pod-info", info.path)
    for port, target, seconds, which in ((8080, "/slow", 0.4, "HTTPRoute default/own"), (8080, "/slow/long", 0.4, "HTTPRoute default/own"),
                                         (8081, "/slow", 0.6, "HTTPRoute default/none-gate"),
                                         (8081, "/slow/long", 0.9, "Ingress default/none")):
        with pod.dial(port) as peer:
            with took(seconds):
                peer.ask("GET", target, status=504)
            record = pod.record(msg=FAILED, route=f"{which} rule 0", timer="request")
            said = explain(pod, "--config", config.path, "--pod-info", info.path, "--direction", "inbound", to=record["server"],
                           request=f"GET {target}")
            expect(f"{said['route']['kind']} default/{said['route']['name']}" == which and not said["backends"], f"explain: {said}")


@case()
def inbound_labels_change(pod):
    """A label that changes in --pod-info: from the next request on, and for new connections, the other Service applies."""
    pod.app()
    services = [service(name, port=port, selector={"app": name}, annotations={IDLE: value})
                for name, port, value in (("one", 8080, "9s"), ("two", 8080, "500ms"))]
    config = configured(pod, CONFIG, *services)
    info = PodInfo(pod, {"app": "one"})
    pod.start("--config", config.path, "--pod-info", info.path)
    old = pod.dial()
    old.ask()
    change(pod, info.label, {"app": "two"})
    idles(pod, 8080, "500ms", f"annotation {IDLE} on Service default/two", "default/two")
    old.stays(0.2)
    old.ask()
    with took(0.5):
        old.ends("fin")
    pod.record(requests=2, service="default/two", value="500ms")


@case(ways=("out4", "out6"))
def outbound_by_address_and_port(pod):
    """Outbound the Service of that clusterIP and port applies, in both families; another port there has the base values."""
    for port in (8080, 8081, 8082):
        pod.app(port=port)
    ports = [{"name": "a", "port": 8080}, {"name": "b", "port": 8081, "targetPort": 9999}]
    written = pod.server.v6.upper().replace("::", ":0:0000:0:0:0:")  # the same address in other letters
    config = configured(pod, CONFIG, service("web", pod.server.v4, written, port=ports, annotations={IDLE: "500ms"}),
                        route("web", rule("/slow", {"request": "400ms"}), rule("/"),
                              parent={"group": "", "kind": "Service", "name": "web", "port": 8081}))
    pod.start("--config", config.path)
    mine = f"annotation {IDLE} on Service default/web"
    record = idles(pod, 8080, "500ms", mine, "default/web")
    expect("route" not in record, f"a route on another port of the Service: {record}")
    record = idles(pod, 8081, "500ms", mine, "default/web")
    expect(record["route"] == "HTTPRoute default/web rule 1", f"route={record['route']}")
    record = idles(pod, 8082, "900ms", "Config kubelb/base spec.timeouts.idleConnection")
    expect("route" not in record, f"a route where there is no Service: {record}")
    for port, name, source in ((8081, "default/web", mine), (8082, None, "Config kubelb/base spec.timeouts.idleConnection")):
        to = f"[{pod.address}]:{port}" if pod.family == 6 else f"{pod.address}:{port}"
        said = explain(pod, "--config", config.path, to=to, request="GET /")
        expect((said["service"], said["timeouts"]["idleConnection"]["source"]) == (name, source), f"explain: {said}")


@case(ways=("out4",))
def inbound_and_outbound_apart(pod):
    """A Service that selects us counts for what comes in, its clusterIP for what goes out: neither for the other direction."""
    pod.app()
    pod.app(host=pod.inside)
    config = configured(pod, CONFIG, service("web", pod.server.v4, selector={"app": "web"}, annotations={IDLE: "500ms"}),
                        service("api", pod.inside.v4, selector={"app": "api"}, annotations={IDLE: "100ms"}))
    info = PodInfo(pod, {"app": "web"})
    pod.start("--config", config.path, "--pod-info", info.path)
    mine = f"annotation {IDLE} on Service default/web"
    for direction, options in (("outbound", {}), ("inbound", {"host": pod.client, "address": pod.inside.v4})):
        record = idles(pod, 8080, "500ms", mine, "default/web", **options)
        expect(record["direction"] == direction, f"direction={record['direction']}")


@case(ways=("out4", "in4"))
def records_name_service_and_route(pod):
    """Records of requests that failed and of connections carry service= and route=: the rule of that request, the last one's."""
    pod.app(http(lambda message: silent if message.target == "/slow/1" else ok()))
    info = PodInfo(pod, {"app": "web"})
    config = configured(pod, service("web", pod.address, namespace="shop", selector={"app": "web"}),
                        route("pages", rule("/"), rule("/slow", {"request": "500ms"}), parent="web", namespace="shop"))
    pod.start("--config", config.path, "--pod-info", info.path)
    peer, unused = pod.dial(), pod.dial()
    peer.ask()
    with took(0.5):
        peer.send(request("GET", "/slow/1"))
        check_answer(peer.response(), 504, "request_timeout")
    pod.record(msg=FAILED, service="shop/web", route="HTTPRoute shop/pages rule 1", timer="request", value="500ms",
               set_by="HTTPRoute shop/pages spec.rules[1].timeouts.request")
    peer.ask()
    peer.fin()
    pod.record(msg=CLOSED, requests=3, service="shop/web", route="HTTPRoute shop/pages rule 0", reason="client_closed_idle")
    unused.close()
    record = pod.record(msg=CLOSED, reason="client_closed_unused", service="shop/web")
    expect("route" not in record, f"a route without a request: {record}")


@case(ways=("out4", "in6"))
def opaque_on_a_service_with_httproute(pod):
    """Bytes that are no HTTP pass a Service whose HTTPRoute matches next to nothing; its annotation's tcp-idle ends them."""
    pod.app(echo)
    info = PodInfo(pod, {"app": "web"})
    config = configured(pod, CONFIG, service("web", pod.address, selector={"app": "web"}),
                        route("web", rule("/only/this"), annotations={"lapse.proxy/timeout-tcp-idle": "700ms"}))
    pod.start("--config", config.path, "--pod-info", info.path)
    peer = pod.dial()
    for _ in range(2):
        peer.send(BINARY)
        expect(peer.exactly(len(BINARY)) == BINARY, "no echo")
        peer.stays(0.4)
    with took(0.3):
        peer.ends("fin")
    record = pod.ended("tcp_idle_timeout", protocol="opaque", value="700ms", service="default/web",
                       set_by="annotation lapse.proxy/timeout-tcp-idle on HTTPRoute default/web")
    said = explain(pod, "--config", config.path, "--pod-info", info.path, "--direction", record["direction"], to=record["server"])
    expect(said["status"] is None and said["timeouts"]["tcpIdle"]["source"] == record["set_by"], f"explain: {said}")


@case(ways=("out4", "out6"))
def tlsroute_by_server_name(pod):
    """TLSRoutes choose by SNI, the exact name before the wildcard, each with its own tcp-idle; other names have the base value."""
    pod.app(echo, port=8443)
    key = "kubelb.k8c.io/timeout-tcp-idle"
    hung = {"backendRefs": [backend("tls", 8443)]}
    config = configured(pod, CONFIG, service("tls", pod.address, port=8443),
                        *(route(name, hung, kind="TLSRoute", parent="tls", hostnames=[host], annotations={key: value})
                          for name, host, value in (("wild", "*.example.org", "1200ms"), ("shop", "shop.example.org", "600ms"))))
    pod.start("--config", config.path)
    names = (("shop.example.org", "600ms", 0.6, "shop"), ("elsewhere.example", "900ms", 0.9, None),
             ("a.b.example.org", "1s200ms", 1.2, "wild"))
    peers, start = [], time.monotonic()
    for name, *_ in names:
        peer = pod.dial(8443)
        hello = client_hello(name)
        peer.send(hello)
        expect(peer.exactly(len(hello)) == hello, "the ClientHello changed on the way")
        peers.append(peer)
    for peer, (name, value, seconds, hung) in zip(peers, names):
        peer.ends("fin")
        elapsed = time.monotonic() - start
        expect(seconds - 0.05 <= elapsed <= seconds + 2.5, f"{name} ended after {elapsed:.2f} s, expected {seconds} s")
        source = f"annotation {key} on TLSRoute default/{hung}" if hung else "Config kubelb/base spec.timeouts.tcpIdle"
        record = pod.record(sni=name, value=value, reason="tcp_idle_timeout", protocol="tls", service="default/tls", set_by=source)
        expect(record.get("route") == (f"TLSRoute default/{hung} rule 0" if hung else None), f"route={record.get('route')}")


@case(ways=("out4",))
def tlsroute_sends_elsewhere(pod):
    """A TLSRoute with a backend elsewhere: the session of that name goes there, another name's stays; the greeting is not lost."""
    def named(name):
        return lambda peer: (peer.send(name) if peer.some() else None, silent(peer))
    pod.app(named(b"itself"), port=8443)
    pod.app(named(b"behind"), port=8444)
    config = configured(pod, service("tls", pod.address, port=8443), service("behind", pod.address, port=8444),
                        route("shop", {"backendRefs": [backend("behind", 8444)]}, kind="TLSRoute", parent="tls",
                              hostnames=["shop.example.org"]))
    pod.start("--config", config.path)
    for name, says, pause in (("shop.example.org", b"behind", 0), ("other.example.org", b"itself", 0),
                              ("shop.example.org", b"behind", 0.3)):  # 0.3 s: the Service itself has been dialled meanwhile
        with pod.dial(8443) as peer:
            time.sleep(pause)
            peer.send(client_hello(name))
            expect(peer.exactly(6) == says, f"{name} did not go to {says.decode()}")
    pod.all_recorded()
    backends = [record.get("backend") for record in pod.proxy.records(CLOSED)]
    expect(sorted(map(str, backends)) == sorted([f"{pod.address}:8444"] * 2 + ["None"]), f"backend= {backends}")


@case(ways=("out4",))
def tcproute_sends_elsewhere(pod):
    """A TCPRoute with a backend elsewhere: server-first and client-first connections and requests go there; weight 0 is refused."""
    def greeting(peer):
        peer.send(b"220 behind\r\n")
        echo(peer)
    pod.app(greeting, port=2525)
    pod.app(echo, port=5433)
    pod.app(http(lambda message: ok(b"behind")), port=8081)
    pod.app(http(lambda message: ok(b"itself")), port=8080)
    hung = [service("behind", pod.address, port=[{"name": f"p{port}", "port": port} for port in (2525, 5433, 8081)])]
    for name, port, to, weight in (("mail", 25, 2525, 1), ("data", 5432, 5433, 1), ("web", 8080, 8081, 1), ("shut", 26, 2525, 0)):
        hung += [service(name, pod.address, port=port),
                 route(name, {"backendRefs": [backend("behind", to, weight=weight)]}, kind="TCPRoute")]
    config = configured(pod, *hung)
    pod.start("--config", config.path)
    mail, data, web, shut = (pod.dial(port) for port in (25, 5432, 8080, 26))
    expect(mail.until(b"\r\n") == b"220 behind\r\n", "wrong greeting")
    data.send(BINARY)
    expect(data.exactly(len(BINARY)) == BINARY, "no echo")
    expect(web.ask().body == b"behind", "the request went elsewhere")
    shut.ends("rst")
    pod.record(reason="route_invalid", service="default/shut", route="TCPRoute default/shut rule 0")
    for peer in (mail, data, web):
        peer.fin()
        peer.ends("fin")
    for name, to in (("mail", 2525), ("data", 5433), ("web", 8081)):
        pod.record(msg=CLOSED, service=f"default/{name}", route=f"TCPRoute default/{name} rule 0", backend=f"{pod.address}:{to}")
