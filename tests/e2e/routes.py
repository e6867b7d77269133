"""Routes: which rule takes a request, how long it may last, and which backend gets it."""
import re
import threading
import time

from .harness import Message, after, case, check_answer, expect, http, ok, request, script, silent, took
from .harness.documents import backend, configured, edit, example, pairs, prefix, profile, rewrite, route, rule, service

OUT = ("out4",)
BOTH = ("out4", "out6")
OTHERS = {4: "10.77.2.3", 6: "fd77:2::3"}  # a second address of the server host: that of the Services v1 and v2


def elsewhere(pod):
    """The second address of the server host, made."""
    other = OTHERS[pod.family]
    pod.server.ip(f"addr add {other}/{'24 dev eth0' if pod.family == 4 else '64 dev eth0 nodad'}")
    pod.inside.ip(f"neigh replace {other} lladdr 02:00:00:00:02:01 dev eth1 nud permanent")
    return other


def start(pod, *rules, options=(), **spec):
    """The proxy with these rules on the Service web; v1 and v2 are Services at another address, ports 8081 and 8082."""
    other = elsewhere(pod)
    pod.start("--config", configured(pod, service("web", pod.address), service("v1", other, port=8081),
                                     service("v2", other, port=8082), route("web", *rules, **spec)).path, *options)


def match(path=None, kind="PathPrefix", method=None, headers=None, query=None):
    """One of a rule's matches."""
    found = {"path": {"type": kind, "value": path}} if path else {}
    if method:
        found["method"] = method
    for field, pairs in (("headers", headers), ("queryParams", query)):
        if pairs:
            found[field] = [{"name": name, "value": value} for name, value in pairs.items()]
    return found


def named(name):
    """For http(): answers with this name and the address that was dialled."""
    def respond(message):
        return lambda peer: ok(f"{name} {peer.local[0]} {message.body.decode('latin-1')}".encode())
    return http(respond)


def mirror(message):
    """Answers with the request's head as it arrived, and its body."""
    return ok(message.raw_head + message.body)


def backends_named(pod):
    """The apps behind web, v1 and v2."""
    return [pod.app(named(name), port=port) for name, port in (("web", 8080), ("v1", 8081), ("v2", 8082))]


# What Linkerd documents

@case(ways=BOTH)
def documented_timeouts(pod):
    """docs/examples/linkerd-httproute-timeouts.yaml: backendRequest 300 ms gives 504, the connection lives on; or a cut."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    answers = {"/api/slow": after(0.8), "/api/stream": script(head + b"abc", silent),
               "/slow": after(0.8, ok(b"no rush"))}

    def respond(message):
        return answers.get(message.target, ok(message.target.encode()))
    pod.app(http(respond), port=80)
    pod.start("--config", configured(pod, example("linkerd-httproute-timeouts", {"10.96.20.5": pod.address})).path)
    peer = pod.dial(80)
    with took(0.3):
        peer.send(request("GET", "/api/slow", "Accept: text/*"))
        response = peer.response()
    check_answer(response, 504, "backend_request_timeout", closes=False, text=True)
    pod.record(reason="backend_request_timeout", timer="backendRequest", value="300ms", service="default/web",
               set_by=re.compile(r"HTTPRoute default/web .*timeouts.backendRequest"), msg="request failed",
               route="HTTPRoute default/web rule 0")
    expect(peer.ask("GET", "/api/next").body == b"/api/next", "the connection does not go on")
    expect(peer.ask("GET", "/slow").body == b"no rush", "the rule of /api holds elsewhere")
    with took(0.3):
        peer.send(request("GET", "/api/stream"))
        peer.ends("rst", data=head + b"abc")
    pod.ended("backend_request_timeout", timer="backendRequest", requests=4)


@case(ways=OUT)
def documented_request_timeout(pod):
    """docs/examples/linkerd-httproute-timeouts.yaml: request 600 ms ends an upload that dawdles."""
    pod.app(port=80)
    text = example("linkerd-httproute-timeouts", {"10.96.20.5": pod.address, "backendRequest: 300ms": "backendRequest: 0s"})
    pod.start("--config", configured(pod, text).path)
    peer = pod.dial(80)
    with took(0.6):
        peer.send(request("POST", "/api", "Content-Length: 100"))
        peer.trickle(b"x" * 99, 0.1)
        response = peer.response()
    check_answer(response, 504, "request_timeout", closes=True)
    pod.record(reason="request_timeout", timer="request", value="600ms", phase="request",
               set_by=re.compile("HTTPRoute default/web .*timeouts.request"))


@case(ways=BOTH)
def documented_profile(pod):
    """docs/examples/linkerd-serviceprofile.yaml: HEAD of a book gives 504 after 300 ms; what no route takes may last."""
    pod.app(http(after(0.6)), port=7002)
    pod.start("--config", configured(pod, example("linkerd-serviceprofile", {"10.96.20.6": pod.address})).path)
    peer = pod.dial(7002)
    with took(0.3):
        peer.send(request("HEAD", "/books/1.json?full"))
        response = peer.response("HEAD")
    check_answer(response, 504, "request_timeout", closes=False)
    pod.record(reason="request_timeout", timer="request", value="300ms", set_by=re.compile("ServiceProfile default/books"),
               route=re.compile("ServiceProfile default/books"), service="default/books")
    for method, target in (("GET", "/books/1.json"), ("HEAD", "/books/1.jsonx"), ("HEAD", "/books/a/1.json"), ("POST", "/books")):
        peer.ask(method, target)


@case(ways=OUT)
def profile_default_timeout(pod):
    """A profile's route without timeout has --service-profile-default-timeout, up to the response head: a body is not cut."""
    def respond(message):
        parts = (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"a", 0.4, b"b", 0.4, b"c", 0.4, b"d")
        return script(*(() if message.target == "/long" else (1,)), *parts)
    pod.app(http(respond))
    routes = {"name": "all", "condition": {"method": "GET"}}, {"name": "off", "condition": {"method": "PUT"}, "timeout": "0s"}
    pod.start("--service-profile-default-timeout", "800ms",
              "--config", configured(pod, service("web", pod.address), profile("web", *routes)).path)
    peer = pod.dial()
    with took(1.2):
        expect(peer.ask("GET", "/long").body == b"abcd", "the body was cut")
    expect(peer.ask("PUT", "/slow").body == b"abcd", "0s is a limit")
    with took(0.8):
        peer.send(request("GET", "/slow"))
        response = peer.response()
    check_answer(response, 504, "request_timeout")
    pod.record(reason="request_timeout", timer="request", value="800ms", set_by=re.compile("--service-profile-default-timeout"))


# Matching

@case(ways=BOTH)
def no_route(pod):
    """What no rule takes gets 404 no_route, recorded; bodies are skipped, the connection and what is pipelined go on."""
    app = pod.app(http(lambda message: ok(message.target.encode())))
    start(pod, rule("/api"))
    peer = pod.dial()
    peer.send(request("GET", "/", "Accept: text/plain") + request("POST", "/other", body=b"x" * 5000) + request("GET", "/api/1")
              + request("HEAD", "/apis"))
    check_answer(peer.response(), 404, "no_route", closes=False, text=True)
    check_answer(peer.response(), 404, "no_route", closes=False)
    expect(peer.response().body == b"/api/1", "the request behind was lost")
    check_answer(peer.response("HEAD"), 404, "no_route", closes=False)
    record = pod.record(reason="no_route", by="proxy", service="default/web", msg="request failed", requests=1, phase="wait")
    expect("GET /" in record["detail"] and "default/web" in record["detail"], record["detail"])
    expect(app.count == 1 and peer.ask("GET", "/api/2").body == b"/api/2", f"{app.count} connections to the server")
    peer.send(request("POST", "/upload", "Content-Length: 10") + b"abc")
    check_answer(peer.response(), 404, "no_route", closes=False)
    peer.send(b"defghij" + request("GET", "/api/3"))
    expect(peer.response().body == b"/api/3", "the request behind was lost")
    peer.send(request("POST", "/upload", "Content-Length: 10", "Expect: 100-continue"))
    check_answer(peer.response(), 404, "no_route", closes=True)
    peer.ends("fin")
    pod.ended("no_route", requests=8, phase="request")


@case(ways=BOTH)
def undecided(pod):
    """What a regular expression needs too much work for is neither taken nor left to a weaker rule: 500 route_undecided, soon, named and
    counted; all rules of a request share the limit; what is short enough is decided."""
    pod.app(http(lambda message: ok(message.target.encode())))
    patterns = [f"/.*[^/]*/edit{number}" for number in range(10)]
    start(pod, *({"matches": [match(pattern, "RegularExpression")]} for pattern in patterns), rule("/"))
    peer = pod.dial()
    expect(peer.ask("GET", "/" + "a" * 100 + "/edit9").body.endswith(b"edit9"), "a short path was not decided")
    expect(peer.ask("GET", "/" + "a" * 100).status == 200, "the rule behind did not take it")
    started = time.monotonic()
    peer.send(request("GET", "/" + "a" * 16000 + "9", "Accept: text/plain"))
    response = peer.response()
    took = time.monotonic() - started
    check_answer(response, 500, "route_undecided", closes=False, text=True)
    expect(took < 0.1, f"the answer took {took:.3f} s")
    detail = response.get("lapse-detail")
    expect(patterns[0] in detail and "default/web" in detail and "16002 bytes" in detail, detail)
    peer.send(request("GET", "/" + "a" * 900 + "9"))  # fewer steps for one of them than there may be, more for ten
    check_answer(peer.response(), 500, "route_undecided", closes=False)
    record = pod.record(reason="route_undecided", by="proxy", service="default/web", msg="request failed", phase="wait", level="warn")
    expect("simpler" in record["detail"], record["detail"])
    expect(peer.ask("GET", "/b").status == 200, "the connection does not go on")
    failed = pod.proxy.counted("lapse_requests_failed_total", reason="route_undecided")
    expect(failed == 2, f"counted {failed} times")


RULES = (
    ("exact", match("/a", "Exact")), ("prefix", match("/a")), ("longer", match("/a/b")),
    ("expression", match("/r[0-9]+|/s", "RegularExpression")),
    ("method", match("/a/b", method="PATCH")), ("header", match("/a/b", headers={"version": "four"})),
    ("two", match("/a/b", headers={"version": "four", "colour": "blue"})), ("query", match("/a/b", query={"debug": "1"})),
    ("slash", match("/t/")))
REQUESTS = (
    ("GET", "/a", (), "exact"), ("GET", "/a?debug=1", (), "exact"), ("GET", "/a/", (), "prefix"), ("GET", "/a/c", (), "prefix"),
    ("GET", "/ab", (), None), ("GET", "/A", (), None), ("GET", "/a/b", (), "longer"), ("GET", "/a/bc", (), "prefix"),
    ("GET", "/a%2Fb", (), None), ("GET", "/a/b/", (), "longer"), ("GET", "/r12", (), "expression"), ("GET", "/r12x", (), None),
    ("GET", "/s?x", (), "expression"), ("PATCH", "/a/b", ("version: four",), "method"),
    ("GET", "/a/b", ("Version: four",), "header"),
    ("GET", "/a/b", ("version: Four",), "longer"), ("GET", "/a/b", ("COLOUR:blue", "version:  four  "), "two"),
    ("GET", "/a/b", ("version: five", "version: four"), "header"), ("GET", "/a/b?x&debug=1", (), "query"),
    ("GET", "/a/b?Debug=1", (), "longer"), ("GET", "/a/b?debug=%31&debug=2", (), "query"), ("GET", "/t", (), "slash"),
    ("GET", "/t/x", (), "slash"), ("GET", "/tx", (), None), ("GET", "http://app/a?q", (), "exact"),
    ("GET", "http://app", (), None))


@case(ways=OUT)
def matching(pod):
    """A table of requests on one connection: each is taken by the rule that is the most special one, or by none."""
    pod.app(http(mirror))
    start(pod, *({"matches": [of], "filters": [edit("Request", set=pairs(X_Rule=name))]} for name, of in RULES))
    peer, wrong = pod.dial(), []
    for method, target, fields, wanted in REQUESTS:
        peer.send(request(method, target, *fields))
        response = peer.response()
        got = Message(response.body).get("X-Rule") if response.status == 200 else None
        if got != wanted or (got is None and response.get("lapse-reason") != "no_route"):
            wrong.append((method, target, *fields, response.status, got, wanted))
    expect(not wrong, f"taken by another rule: {wrong}")


@case(ways=OUT)
def hostnames(pod):
    """hostnames: the exact one before the wildcard before none; ports, case and one trailing dot do not count."""
    pod.app(http(mirror))
    routes = [route(name, {"filters": [edit("Request", set=pairs(X_Route=name))]}, parent="web", hostnames=hosts)
              for name, hosts in (("exact", ["a.example.com"]), ("wild", ["*.example.com"]), ("another", ["example.org"]))]
    pod.start("--config", configured(pod, service("web", pod.address), *routes).path)
    peer = pod.dial()
    for host, wanted in (("a.example.com", "exact"), ("A.Example.COM:8080", "exact"), ("a.example.com.", "exact"),
                         ("b.a.example.com", "wild"), ("example.com", None), ("example.org", "another"), ("xexample.org", None)):
        peer.send(request(host=host))
        response = peer.response()
        got = Message(response.body).get("X-Route") if response.status == 200 else None
        expect(got == wanted, f"Host {host}: {got}, not {wanted}")


@case(ways=OUT, each={namespace: namespace for namespace in ("shop", "default", "elsewhere")})
def consumer_and_producer(pod, namespace):
    """A route of the client's own namespace takes the place of the Service's; those of other namespaces mean nothing."""
    pod.app(http(mirror))
    parent = {"group": "", "kind": "Service", "name": "web", "namespace": "default"}
    routes = [route(name, rule(path, filters=[edit("Request", set=pairs(X_Route=name))]), parent=parent, namespace=of)
              for name, path, of in (("consumer", "/c", "shop"), ("producer", "/p", "default"), ("stranger", "/", "strange"))]
    pod.start("--namespace", namespace, "--config", configured(pod, service("web", pod.address), *routes).path)
    peer = pod.dial()
    for target, name in (("/c", "consumer"), ("/p", "producer"), ("/", None)):
        peer.send(request("GET", target))
        response = peer.response()
        if name == ("consumer" if namespace == "shop" else "producer"):
            expect(Message(response.body).all("X-Route") == [name], f"{target}: {response.start} {response.body}")
        else:
            check_answer(response, 404, "no_route")


# Backends

CANARY = rule(backends=[backend("v1", 8081, weight=90), backend("v2", 8082, weight=10)])


@case(ways=BOTH, each={"one connection": 1, "many": 100})
def weights(pod, connections):
    """Of 500 requests nine tenths go to v1 and one to v2, within five points, on one connection and on a hundred."""
    apps = backends_named(pod)
    start(pod, CANARY, options=("--pool-size", "32"))
    counts = {b"v1": 0, b"v2": 0}
    for _ in range(connections):
        with pod.dial() as peer:
            for _ in range(500 // connections):
                name, address, _ = peer.ask().body.split(b" ")
                counts[name] += 1
                expect(address.decode().replace("::ffff:", "") == OTHERS[pod.family], f"{name} was dialled at {address}")
    expect(425 <= counts[b"v1"] <= 475, f"shares {counts}")
    expect(apps[0].count == 0, "the Service itself was asked")
    expect(apps[1].count + apps[2].count <= 64, f"{apps[1].count} and {apps[2].count} connections for 500 requests")


@case(ways=OUT)
def weight_zero_and_self(pod):
    """A backend of weight 0 gets nothing; the Service itself may be one of its backends."""
    backends_named(pod)
    start(pod, rule(backends=[backend("web", weight=1), backend("v1", 8081, weight=0), backend("v2", 8082)]))
    peer = pod.dial()
    names = [peer.ask().body.split(b" ")[0] for _ in range(40)]
    expect(set(names) == {b"web", b"v2"} and 16 <= names.count(b"web") <= 24, f"{names}")


@case(ways=OUT)
def legs_never_mix(pod):
    """Clients whose requests go here and there by path: every answer is the right backend's, whatever leg is kept or pooled."""
    apps = backends_named(pod)
    start(pod, rule("/a", backends=[backend("v1", 8081)]), rule("/b", backends=[backend("v2", 8082)]), rule("/"))
    wrong = []

    def client(number):
        for turn in range(4):
            with pod.near.connect(pod.address, 8080) as peer:
                for step in range(12):
                    path, name = (("/a", "v1"), ("/b", "v2"), ("/", "web"))[(number + turn + step * step) % 3]
                    body = b"%d" % step if step % 3 == 0 else b""
                    got = peer.ask("POST" if body else "GET", path, body=body).body.split(b" ")
                    if got[0] != name.encode() or got[2] != body:
                        wrong.append((path, got))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    pod.dials += 32
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    expect(not wrong, f"{len(wrong)} wrong answers: {wrong[:3]}")
    expect(all(app.count for app in apps), "not all backends were asked")


@case(ways=OUT)
def leg_changes_under_pipeline(pod):
    """Pipelined requests to different backends are answered in order, also behind one whose server then closes."""
    for name, port in (("v1", 8081), ("v2", 8082)):
        pod.app(http(lambda message, name=name: ok(name.encode() + message.target.encode(),
                                                   *(["Keep-Alive: timeout=1"] if name == "v2" else []))), port=port)
    start(pod, rule("/a", backends=[backend("v1", 8081)]), rule("/b", backends=[backend("v2", 8082)]))
    peer = pod.dial()
    targets = [f"/{'ab'[number * number % 3 % 2]}/{number}" for number in range(50)]
    peer.send(b"".join(request("GET", target) for target in targets))
    expect([peer.response().body.decode() for _ in targets]
           == [("v1" if target.startswith("/a") else "v2") + target for target in targets], "wrong answers")


@case(ways=OUT)
def unusable_backends(pod):
    """A share whose backend does not exist gets 500 route_invalid, the others are served; so do weight 0 and unknown filters."""
    backends_named(pod)
    extension = {"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Magic", "name": "m"}}
    start(pod, rule("/half", backends=[backend("v1", 8081), backend("v1", 9999)]),
          rule("/kind", backends=[backend("x", kind="Bucket", group="example.com")]),
          rule("/zero", backends=[backend("v1", 8081, weight=0), backend("v2", 8082, weight=0)]),
          rule("/extension", filters=[extension]),
          rule("/backend", backends=[backend("v2", 8082, filters=[extension])]),
          rule("/prefix", filters=[rewrite(path=prefix("foo"))]), rule("/"))
    peer = pod.dial()
    answers = []
    for _ in range(20):
        peer.send(request("GET", "/half"))
        answers.append(peer.response())
    bad = [each for each in answers if each.status == 500]
    expect(len(bad) == 10, f"{len(bad)} of 20 got 500")
    expect(all(each.body.startswith(b"v1 ") for each in answers if each.status == 200), "served by another backend")
    check_answer(bad[0], 500, "route_invalid", closes=False)
    whys = {"/kind": "Bucket", "/zero": "weight 0", "/extension": "ExtensionRef", "/backend": "default/web rule 4",
            "/prefix": 'replacePrefixMatch: "foo"'}
    for target, why in whys.items():
        peer.send(request("POST", target, body=b"b"))
        response = peer.response()
        check_answer(response, 500, "route_invalid", closes=False)
        expect(why in response.get("lapse-detail"), f"{target}: {response.get('lapse-detail')}")
    pod.record(reason="route_invalid", by="proxy", route=re.compile("HTTPRoute default/web rule 3"), msg="request failed")
    expect(peer.ask().body.startswith(b"web "), "the connection does not go on")


@case(ways=OUT)
def unresolved_backend(pod):
    """A backend whose name is not resolved yet: 503 backend_unresolved, and the other share is served."""
    backends_named(pod)
    start(pod, rule(backends=[backend("v1", 8081), backend("far-away", 80)]), options=("--dns-server", "127.0.0.1:9"))
    served = 0
    for _ in range(10):
        with pod.dial() as peer:
            peer.send(request())
            response = peer.response()
        served += response.status == 200
        if response.status != 200:
            check_answer(response, 503, "backend_unresolved", closes=True)
            expect("default/far-away" in response.get("lapse-detail"), response.get("lapse-detail"))
    expect(served == 5, f"{served} of 10 were served")
    pod.record(reason="backend_unresolved", by="proxy", service="default/web")


@case(ways=OUT)
def backend_refuses(pod):
    """A backend where nothing listens: 502 that names the backend's address, and the end of the connection."""
    pod.app(named("v1"), port=8081)
    start(pod, rule("/a", backends=[backend("v1", 8081)]), rule("/b", backends=[backend("v2", 8082)]))
    peer = pod.dial()
    expect(peer.ask("GET", "/a").body.startswith(b"v1 "), "wrong backend")
    peer.send(request("GET", "/b"))
    response = peer.response()
    check_answer(response, 502, "connect_refused", closes=True)
    expect(f"{OTHERS[4]}:8082" in response.get("lapse-detail"), response.get("lapse-detail"))
    pod.record(reason="connect_refused", backend=f"{OTHERS[4]}:8082", server=f"{pod.address}:8080")
    expect(pod.dial().ask("GET", "/a").body.startswith(b"v1 "), "wrong backend")
