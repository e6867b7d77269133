"""Success by route, as its clients saw it and as its backends answered; connections by Service; and how many series there can be."""
import contextlib
import time

from .harness import (BINARY, black_hole, case, check_answer, configured, echo, expect, http, ok, request, route, rule, script, service,
                      silent, stalls_after, until)
from .harness.documents import profile
from .metrics import check_open_metrics, metrics_text, promtool

OUT = ("out4",)
RULE = "HTTPRoute default/web rule 0"
BUSY = ok(status="503 Busy")


def start(pod, *rules, **options):
    """The proxy with a route on the Service web."""
    pod.start("--workers", "1", "--config", configured(pod, service("web", pod.address), route("web", *rules)).path, **options)


def volumes(pod, name=RULE, **labels):
    """What a route has counted: (effective successes, effective failures, actual successes, actual failures)."""
    metrics = pod.proxy.metrics()
    return tuple(int(pod.proxy.counted(f"lapse_route_{side}_total", metrics=metrics, route=name, classification=outcome, **labels))
                 for side in ("effective", "actual") for outcome in ("success", "failure"))


def expect_volumes(pod, *wanted, name=RULE):
    until(lambda: volumes(pod, name) == wanted, lambda: f"{name}: {volumes(pod, name)}, expected {wanted}")


def in_turn(*answers):
    """For http(): the n-th request, on whatever connection, gets the n-th answer, further ones the last."""
    left = list(answers)
    return lambda message: left.pop(0) if len(left) > 1 else left[0]


# The three sentences.

@case(ways=OUT)
def timeouts_are_no_actual_volume(pod):
    """A request that times out is an effective failure and in no actual volume: it was cancelled before a response."""
    pod.app(http(lambda message: silent if message.target == "/slow" else ok()))
    start(pod, rule(timeouts={"request": "200ms"}))
    peer = pod.dial()
    peer.ask()
    for _ in range(3):
        peer.send(request("GET", "/slow"))
        check_answer(peer.response(), 504, "request_timeout")
    expect_volumes(pod, 1, 3, 1, 0)


@case(ways=OUT)
def late_response(pod):
    """A response that is still coming when the time is over is an actual success and an effective failure."""
    pod.app(stalls_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"))
    start(pod, rule(timeouts={"request": "200ms"}))
    peer = pod.dial()
    peer.send(request())
    peer.end()
    pod.ended("request_timeout")
    expect_volumes(pod, 0, 1, 1, 0)


@case(ways=OUT)
def effective_exceeds_actual(pod):
    """With timeouts the effective volume, with retries the effective success exceeds the actual one."""
    pod.app(http(in_turn(BUSY, BUSY, ok(), silent)))
    start(pod, rule(timeouts={"request": "500ms"}, retry={"codes": [503], "attempts": 2, "backoff": "10ms"}))
    peer = pod.dial()
    peer.ask()
    expect_volumes(pod, 1, 0, 1, 2)
    peer.send(request())
    check_answer(peer.response(), 504, "request_timeout")
    expect_volumes(pod, 1, 1, 1, 2)


# Which attempts count.

@case(ways=OUT)
def attempts_that_fail(pod):
    """An attempt that fails at the server is an actual failure each time, whether it was to be tried again or not."""
    pod.app(in_turn_peers(script("request"), script("request"), script("request", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", 0.1)))
    start(pod, rule(retry={"codes": [502], "attempts": 1, "backoff": "10ms"}))
    peer = pod.dial()
    peer.send(request())
    check_answer(peer.response(), 502, "server_closed_early")
    expect_volumes(pod, 0, 1, 0, 2)
    peer = pod.dial()
    peer.send(request())
    peer.end()
    pod.record(reason="server_truncated")
    expect_volumes(pod, 0, 2, 0, 3)


def in_turn_peers(*handlers):
    """An app whose n-th connection is served by the n-th handler."""
    left = list(handlers)
    return lambda peer: left.pop(0)(peer)


@case(ways=OUT)
def refused_and_unanswered(pod):
    """A refused dial is an actual failure, one that nobody answered in time is in neither volume; so is an answer of our own."""
    start(pod, rule("/web"), connect="300ms")
    peer = pod.dial()
    peer.send(request("GET", "/web"))
    check_answer(peer.response(), 502, "connect_refused")
    expect_volumes(pod, 0, 1, 0, 1)
    with pod.server.ruled(black_hole(8080)):
        peer = pod.dial()
        peer.send(request("GET", "/web"))
        check_answer(peer.response(), 504, "connect_timeout")
    expect_volumes(pod, 0, 2, 0, 1)
    peer.send(request("GET", "/elsewhere"))
    check_answer(peer.response(), 404, "no_route")
    expect_volumes(pod, 1, 0, 0, 0, name="none")  # 404 is no 5xx


@case(ways=OUT)
def client_that_leaves(pod):
    """A client that leaves before a response: an effective failure, in no actual volume; in the middle of one: an actual success."""
    pod.app(http(lambda message: script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", silent) if message.target == "/part" else silent))
    start(pod)
    for target, wanted in (("/", (0, 1, 0, 0)), ("/part", (0, 2, 1, 0))):
        peer = pod.dial()
        peer.send(request("GET", target))
        if target == "/part":
            peer.some()
        else:
            time.sleep(0.1)
        peer.rst()
        expect_volumes(pod, *wanted)


@case(ways=OUT)
def attempt_timeouts(pod):
    """An attempt that takes too long and is tried again counts in neither volume; the one that is answered does."""
    pod.app(http(in_turn(silent, ok())))
    documents = service("web", pod.address), route("web", rule(), annotations={
        "retry.linkerd.io/http": "5xx", "retry.linkerd.io/limit": "1", "retry.linkerd.io/timeout": "200ms"})
    pod.start("--config", configured(pod, *documents).path)
    pod.dial().ask()
    expect_volumes(pod, 1, 0, 1, 0)


@case(ways=OUT)
def reused_connection_that_dies(pod):
    """A reused connection that dies under the request costs no attempt: one answer, one actual success."""
    def serve(peer):
        peer.head()
        peer.send(ok())
        peer.head()
    pod.app(serve)
    start(pod)
    peer = pod.dial()
    peer.ask()
    peer.ask()
    until(lambda: pod.proxy.counted("lapse_keepalive_races_total", outcome="retried") == 1, "no race")
    expect_volumes(pod, 2, 0, 2, 0)


@case(ways=OUT)
def response_classes(pod):
    """What a ServiceProfile calls a failure is one on both sides; its route's name has quotes, which are escaped."""
    routes = [{"name": 'GET "/x" \\ all', "condition": {"pathRegex": "/.*"}, "responseClasses": [
        {"condition": {"status": {"min": 404, "max": 404}}, "isFailure": True},
        {"condition": {"status": {"min": 500, "max": 599}}, "isFailure": False}]}]
    pod.app(http(lambda message: ok(status=f"{message.target[1:]} Said")))
    pod.start("--config", configured(pod, service("web", pod.address), profile("web", *routes)).path)
    peer = pod.dial()
    for status in (200, 404, 500):
        peer.ask("GET", f"/{status}", status=status)
    name = 'ServiceProfile default/web.default.svc.cluster.local route "GET "/x" \\ all"'
    expect_volumes(pod, 2, 1, 2, 1, name=name)
    promtool(metrics_text(pod)[1])
    check_open_metrics(metrics_text(pod, "application/openmetrics-text")[1])


@case()
def inbound_and_no_rule(pod):
    """Requests that no rule takes count as route "none"; upgrades are successes; what is opaque counts in no route."""
    pod.app(http(lambda message: ok(status="501 No") if message.target == "/no" else ok()))
    pod.app(echo, port=8081)
    pod.start()
    peer = pod.dial()
    peer.ask()
    peer.ask("GET", "/no", status=501)
    opaque = pod.dial(8081)
    opaque.send(BINARY)
    opaque.fin()
    opaque.all()
    until(lambda: volumes(pod, "none", direction="inbound") == (1, 1, 1, 1), lambda: f"{volumes(pod, 'none')}")
    expect(volumes(pod, "none") == (1, 1, 1, 1), "outbound too")


# How many there can be.

def in_batches(peer, requests, size=100):
    """Sends them, pipelined; the statuses of the answers."""
    statuses = []
    for at in range(0, len(requests), size):
        batch = requests[at:at + size]
        peer.send(b"".join(batch))
        statuses += [peer.response().status for _ in batch]
    return statuses


def lines(pod):
    """The names and labels of all series."""
    return {line.rsplit(" ", 1)[0] for line in metrics_text(pod)[1].splitlines() if not line.startswith("#")}


METHODS = ("GET", "POST", "PUT", "DELETE", "PROPFIND", "MKCALENDAR")


@case(ways=OUT, limit=120)
def hostile_names(pod):
    """10,000 hosts and paths, and made-up methods, headers and server names: after the first hundred no series comes with the others."""
    pod.app()
    pod.app(echo, port=8081)
    documents = (service("web", pod.address), route("web", rule("/a"), rule("/b"), hostnames=["*.example"]))
    pod.start("--config", configured(pod, *documents).path)

    def wave(numbers):
        for start_at in range(numbers.start, numbers.stop, 500):
            several = range(start_at, min(start_at + 500, numbers.stop))
            with contextlib.closing(pod.dial()) as peer:
                statuses = in_batches(peer, [
                    request(METHODS[n % len(METHODS)], f"/{'abc'[n % 3]}/{n:x}%22{{route=}}?{n}", f"X-{n}: {n}",
                            host=f"h{n}.{('example', 'elsewhere')[n % 2]}") for n in several])
            expect(set(statuses) == {200, 404}, f"{set(statuses)}")
        for n in range(numbers.start, min(numbers.start + 50, numbers.stop)):
            for port, bytes_ in ((8080, request("GET", '/"\\\x7f', host='"\\')), (8080, request(f"MADE{n}", "/")),
                                 (8081, request(f"MADE{n}", "/")), (8081, BINARY + b"%d" % n)):
                with contextlib.closing(pod.dial(port)) as peer:
                    peer.send(bytes_)
                    peer.some()
    wave(range(100))
    first = lines(pod)
    wave(range(100, 10000))
    until(lambda: pod.proxy.counted("lapse_connections_active") == 0, "connections stay")
    expect(lines(pod) == first, f"{sorted(lines(pod) - first)[:20]}")
    expect(len(first) < 1000, f"{len(first)} series at all")
    promtool(metrics_text(pod)[1])


def many_routes(count):
    return [route(f"r{n}", rule(f"/r{n}"), parent="web") for n in range(count)]


@case(ways=OUT, limit=120)
def three_thousand_routes(pod):
    """Of 3,000 routes 1,024 have series of their own, the others count as "other"; over a reload each keeps its own."""
    pod.app()
    documents = configured(pod, service("web", pod.address), *many_routes(3000))
    pod.start("--config", documents.path)
    peer = pod.dial()
    for round_ in (1, 2):
        expect(set(in_batches(peer, [request("GET", f"/r{n}") for n in range(3000)])) == {200}, "not every route answers")
        until(lambda: pod.proxy.counted("lapse_route_effective_total") == 3000 * round_, "not all have ended")
        for family in ("lapse_route_effective_total", "lapse_route_actual_total"):
            counted = pod.proxy.counted(family, by="route")
            other = counted.pop("other")
            expect(len(counted) == 1024 and other == 1976 * round_ and set(counted.values()) == {round_},
                   f"{family}: {len(counted)} routes, {set(counted.values())} each, {other} others")
        if round_ == 1:
            named = set(counted)
            documents.replace("all.yaml", service("web", pod.address), *reversed(many_routes(3000)))
            until(lambda: pod.proxy.counted("lapse_config_reloads_total", result="taken") == 1, "not read again")
    expect(set(counted) == named, "other routes have series now")
    promtool(metrics_text(pod)[1])
