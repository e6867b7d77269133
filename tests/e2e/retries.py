"""Retries: the Gateway API's, Linkerd's annotations, ServiceProfiles' with their budget; within what time, and when not."""
import os
import re
import signal
import threading
import time

from .harness import CLOSED, after, case, check_answer, expect, http, ok, request, script, silent, took, until
from .harness.documents import PodInfo, configured, example, profile, route, rule, service
from .peers import curl, nginx

OUT = ("out4",)
BOTH = ("out4", "out6")
BUSY = ok(b"busy\n", status="503 Service Unavailable")


def in_turn(*answers):
    """For http(): the n-th request, on whatever connection, gets the n-th answer, further ones the last. And what was seen."""
    seen = []

    def respond(message):
        seen.append(message)
        answer = answers[min(len(seen), len(answers)) - 1]
        return answer(message) if answer and callable(answer) else answer
    return http(respond), seen


def start(pod, *options, timeouts=None, annotations=None, **retry):
    """The proxy with a route on the Service web whose only rule retries so."""
    fields = {"retry": retry} if retry else {}
    documents = service("web", pod.address), route("web", rule(timeouts=timeouts, **fields), annotations=annotations)
    pod.start("--workers", "1", "--config", configured(pod, *documents).path, *options)


@case(ways=BOTH)
def until_it_works(pod):
    """503, 503, 200 with attempts 3 and a backoff of 300 ms: the client sees the 200 alone, after two waits; one connection."""
    serve, seen = in_turn(BUSY, BUSY, ok(b"at last"))
    app = pod.app(serve)
    start(pod, codes=[503], attempts=3, backoff="300ms")
    peer = pod.dial()
    with took(0.6):
        expect(peer.ask().body == b"at last", "wrong answer")
    expect(len(seen) == 3 and app.count == 1, f"{len(seen)} requests, {app.count} connections")
    peer.ask()
    expect(len(seen) == 4, "a 200 was retried")
    peer.fin()
    pod.ended("client_closed_idle", retries=2, requests=2, service="default/web", route="HTTPRoute default/web rule 0")


@case(ways=OUT)
def documented_example(pod):
    """docs/examples/gateway-retry.yaml: what breaks, 500 and 502 are tried again, 100 ms apart; the fourth answer counts."""
    serve, seen = in_turn(None, ok(status="500 Oh"), ok(status="502 No"), ok(b"four", status="504 Late"))
    pod.app(serve, port=80)
    text = example("gateway-retry", {"10.96.20.7": pod.address})
    pod.start("--config", configured(pod, text).path)
    peer = pod.dial(80)
    with took(0.3):
        expect(peer.ask(status=504).body == b"four", "not the last answer")
    expect(len(seen) == 4, f"{len(seen)} attempts")


@case(ways=OUT)
def exhausted(pod):
    """When the attempts are used up the last answer goes to the client as it is; the connection lives on."""
    serve, seen = in_turn(BUSY, BUSY, ok(b"third", "X-Own: yes", status="503 Third Time"), ok(b"next"))
    pod.app(serve)
    start(pod, codes=[503], attempts=2)
    peer = pod.dial()
    response = peer.ask(status=503)
    expect(response.start == "HTTP/1.1 503 Third Time" and response.body == b"third" and response.get("X-Own") == "yes"
           and not response.get("lapse-reason"), f"{response.start} {response.fields} {response.body}")
    expect(peer.ask().body == b"next" and len(seen) == 4, f"{len(seen)} requests")


@case(ways=OUT)
def other_codes(pod):
    """A code that is not listed is passed on at once."""
    serve, seen = in_turn(ok(status="500 Oh"))
    pod.app(serve)
    start(pod, codes=[503], attempts=3)
    pod.dial().ask(status=500)
    expect(len(seen) == 1, f"{len(seen)} attempts")


@case(ways=BOTH, each={"length": False, "chunked": True})
def body_is_replayed(pod, chunked):
    """A POST with a body of 60 KiB reaches the server byte for byte in every attempt."""
    body = os.urandom(60 << 10)
    if chunked:
        sent = (b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                + b"".join(b"%x;n\r\n%s\r\n" % (len(part), part) for part in (body[:1], body[1:5000], body[5000:]))
                + b"0\r\nX-Sum: 1\r\n\r\n")
    else:
        sent = request("POST", "/", body=body)
    seen = []

    def serve(peer):
        while got := peer.exactly(len(sent)):
            seen.append(got)
            peer.send(BUSY if len(seen) < 3 else ok(b"taken"))
    pod.app(serve)
    start(pod, codes=[503], attempts=3)
    peer = pod.dial()
    peer.send(sent[:20000])
    time.sleep(0.1)
    peer.send(sent[20000:])
    expect(peer.response().body == b"taken", "wrong answer")
    expect(len(seen) == 3 and all(got == sent for got in seen), f"{[got == sent for got in seen]}")


@case(ways=OUT)
def large_body_is_not(pod):
    """A body over 64 KiB cannot be sent twice: the first answer is the client's."""
    serve, seen = in_turn(BUSY)
    pod.app(serve)
    start(pod, codes=[503], attempts=3)
    pod.dial().ask("POST", body=b"x" * 100000, status=503)
    expect(len(seen) == 1, f"{len(seen)} attempts")


LATER_BODY = {"length": (request("POST", "/", "Content-Length: 10") + b"hello", b"world"),
              "chunked": (request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n"),
              "large": (request("POST", "/", "Content-Length: 70000") + b"hello", b"w" * 69995)}


def refuses_early(seen, times):
    """An app that says 503 as soon as it has a head, so many times, and keeps the connection."""
    def serve(peer):
        while head := peer.head():
            seen.append(head)
            if len(seen) > times:
                peer.send(ok(peer.exactly(int(head.get("Content-Length")))))
            else:
                peer.send(BUSY)
                peer.exactly(int(head.get("Content-Length", 0)))
                if "chunked" in head.get("Transfer-Encoding", ""):
                    peer.until(b"0\r\n\r\n")
    return serve


@case(ways=OUT)
def body_comes_later(pod):
    """A body that comes after a first answer of 503 reaches the next attempt whole, whenever it comes."""
    seen = []
    pod.app(refuses_early(seen, 1))
    start(pod, codes=[503], attempts=2, backoff="200ms")
    first, rest = LATER_BODY["length"]
    for pause in (0.1, 0.3):  # into the backoff, into the second attempt
        seen.clear()
        peer = pod.dial()
        peer.send(first)
        time.sleep(pause)
        peer.send(rest)
        response = peer.response()
        expect(response.body == b"helloworld" and len(seen) == 2, f"{response.start} {response.body} after {len(seen)} attempts")
        peer.ask("POST", body=b"next")


@case(ways=OUT, each={"chunked": "chunked", "large": "large"})
def body_of_unknown_size(pod, kind):
    """An answer of 503 before the request is complete goes to the client when what is still to come might not be kept."""
    seen = []
    pod.app(refuses_early(seen, 1))
    start(pod, codes=[503], attempts=2)
    first, rest = LATER_BODY[kind]
    peer = pod.dial()
    peer.send(first)
    expect(peer.response().body == b"busy\n" and len(seen) == 1, f"{len(seen)} attempts")
    peer.send(rest)
    expect(peer.ask("POST", body=b"next").body == b"next", "the connection does not go on")


@case(ways=BOTH)
def refused_until_it_is_up(pod):
    """A refused connection is tried again until the server is up, without a code being listed, though the body comes in two."""
    pod.server  # so that there is somebody to refuse
    start(pod, attempts=20, backoff="150ms")
    peer = pod.dial()
    peer.send(request("POST", "/", "Content-Length: 8") + b"pat")
    time.sleep(0.5)
    app = pod.app()
    peer.send(b"ience")
    with took(0, late=1.5):
        expect(peer.response().body == b"patience" and app.count == 1, "not served")


@case(ways=OUT)
def broken_connections(pod):
    """A connection that ends or breaks without a response is tried again, on a fresh connection, also for a POST."""
    def serve(peer):
        number = len(seen)
        seen.append(peer.request() if number else None)
        if number == 2:
            peer.send(ok(b"fine"))
        elif number == 1:
            peer.rst()
    seen = []
    app = pod.app(serve)
    start(pod, attempts=2)
    expect(pod.dial().ask("POST", body=b"once more").body == b"fine" and app.count == 3, f"{app.count} connections")


@case(ways=OUT)
def broken_once_too_often(pod):
    """When the last attempt breaks too, the client gets its 502, which counts the attempts."""
    app = pod.app(script("request"))
    start(pod, attempts=2)
    peer = pod.dial()
    peer.send(request())
    response = peer.response()
    check_answer(response, 502, "server_closed_early")
    expect("attempt 3 of 3" in response.get("lapse-detail") and app.count == 3, f"{response.get('lapse-detail')}, {app.count}")
    pod.record(reason="server_closed_early", detail=re.compile("attempt 3 of 3"), retries=2)


@case(ways=OUT)
def invalid_response_is_final(pod):
    """A response that is not valid HTTP, or breaks off behind its head, is not tried again."""
    app = pod.app(http(lambda message: b"HTTP/1.1 2x0 What\r\n\r\n" if message.target == "/invalid" else
                       script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken", lambda peer: peer.close())))
    start(pod, codes=[500, 502, 503, 504], attempts=3)
    peer = pod.dial()
    peer.send(request("GET", "/invalid"))
    check_answer(peer.response(), 502, "server_invalid")
    peer = pod.dial()
    peer.send(request("GET", "/broken"))
    expect(peer.end()[0] == "rst" and app.count == 2, f"{app.count} attempts")


# Time

@case(ways=BOTH)
def attempts_within_request(pod):
    """backendRequest restarts with every attempt and request does not: 504 of request after 0.8 s, in attempt 3 of 10."""
    app = pod.app(silent)
    start(pod, timeouts={"request": "800ms", "backendRequest": "300ms"}, attempts=9)
    peer = pod.dial()
    with took(0.8):
        peer.send(request())
        response = peer.response()
    check_answer(response, 504, "request_timeout", closes=None)
    expect("attempt 3 of 10" in response.get("lapse-detail"), response.get("lapse-detail"))
    pod.record(reason="request_timeout", timer="request", value="800ms",
               set_by=re.compile(r"HTTPRoute default/web .*timeouts\.request"), detail=re.compile("attempt 3 of 10"))
    expect(app.count == 3, f"{app.count} attempts")


@case(ways=OUT)
def last_attempt_times_out(pod):
    """With attempts 2 the third backendRequest ends it: 504 backend_request_timeout after three times 300 ms; life goes on."""
    slow = after(0.7)
    serve, seen = in_turn(slow, slow, slow, ok(b"next"))
    pod.app(serve)
    start(pod, timeouts={"backendRequest": "300ms"}, attempts=2)
    peer = pod.dial()
    with took(0.9):
        peer.send(request())
        response = peer.response()
    check_answer(response, 504, "backend_request_timeout", closes=False)
    expect("attempt 3 of 3" in response.get("lapse-detail") and len(seen) == 3, f"{response.get('lapse-detail')}, {len(seen)}")
    expect(peer.ask().body == b"next", "the connection does not go on")


@case(ways=OUT)
def timeout_then_answer(pod):
    """An attempt that took longer than backendRequest is given up; the client gets the next one's answer."""
    serve, seen = in_turn(after(1, ok(b"too late")), ok(b"in time"))
    app = pod.app(serve)
    start(pod, timeouts={"request": "5s", "backendRequest": "300ms"}, attempts=2)
    peer = pod.dial()
    with took(0.3):
        expect(peer.ask().body == b"in time", "wrong answer")
    peer.stays(0.9)
    expect(app.ended(0) in ("rst", "fin") and app.count == 2, "the attempt given up stays open")


@case(ways=OUT)
def request_ends_the_wait(pod):
    """request expires during a backoff: 504 at once, and the server sees no further attempt."""
    serve, seen = in_turn(BUSY)
    pod.app(serve)
    start(pod, timeouts={"request": "500ms"}, codes=[503], attempts=3, backoff="1s")
    peer = pod.dial()
    with took(0.5, late=0.45):
        peer.send(request())
        response = peer.response()
    check_answer(response, 504, "request_timeout", closes=False)
    peer.stays(0.8)
    expect(len(seen) == 1, f"{len(seen)} attempts")
    pod.record(reason="request_timeout", timer="request", value="500ms")


# Meanwhile

@case(ways=OUT)
def client_goes_during_wait(pod):
    """A client that resets while the next attempt is waited for is gone: recorded at once, the server is not asked again."""
    serve, seen = in_turn(BUSY)
    pod.app(serve)
    start(pod, codes=[503], attempts=3, backoff="700ms")
    peer = pod.dial()
    peer.send(request())
    until(lambda: seen, "no attempt")
    peer.stays(0.1)
    peer.rst()
    with took(0, late=0.5):
        pod.ended("client_aborted_wait", by="client")
    time.sleep(0.7)
    expect(len(seen) == 1, "asked for a client that is gone")


@case(ways=OUT)
def client_closes_inside_its_body(pod):
    """A client that closes inside its body during a backoff gets 400; the server is not asked again."""
    seen = []
    pod.app(refuses_early(seen, 9))
    start(pod, codes=[503], attempts=3, backoff="500ms")
    peer = pod.dial()
    peer.send(LATER_BODY["length"][0])
    peer.stays(0.2)
    peer.fin()
    check_answer(peer.response(), 400, "client_closed_request", closes=True)
    peer.ends("fin")
    pod.ended("client_closed_request", by="client")
    expect(len(seen) == 1, f"{len(seen)} attempts")


@case(ways=OUT)
def half_closed_client(pod):
    """A client that finished behind its request gets the answer of the attempt that worked."""
    serve, seen = in_turn(BUSY, BUSY, ok(b"late"))
    pod.app(serve)
    start(pod, codes=[503], attempts=3, backoff="200ms")
    peer = pod.dial()
    peer.send(request()).fin()
    expect(peer.response().body == b"late", "wrong answer")
    peer.ends("fin")


@case(ways=OUT, each={"closes": True, "answers unasked": False})
def server_during_wait(pod, closes):
    """What the server does with its kept connection during a backoff costs no attempt and reaches no client."""
    seen = []

    def serve(peer):
        while message := peer.request():
            seen.append(message)
            peer.send(BUSY if len(seen) < 3 else ok(b"fine"))
            if len(seen) < 3:
                time.sleep(0.1)
                if closes:
                    return
                peer.send(ok(b"unasked"))
    app = pod.app(serve)
    start(pod, codes=[503], attempts=2, backoff="300ms")
    peer = pod.dial()
    with took(0.6):
        expect(peer.ask().body == b"fine", "wrong answer")
    expect(len(seen) == 3 and app.count == 3, f"{len(seen)} attempts, {app.count} connections")


@case(ways=OUT)
def pipelined_behind(pod):
    """Requests behind a retried one wait for it and are answered in order, each with attempts of its own."""
    turns = {}

    def respond(message):
        turns[message.target] = turns.get(message.target, 0) + 1
        return BUSY if turns[message.target] <= 2 and message.target != "/2" else ok(message.target.encode() + message.body)
    pod.app(http(respond))
    start(pod, codes=[503], attempts=2, backoff="100ms")
    peer = pod.dial()
    peer.send(request("POST", "/1", body=b"a") + request("GET", "/2") + request("POST", "/3", body=b"c"))
    with took(0.4):
        bodies = [peer.response().body for _ in range(3)]
    expect(bodies == [b"/1a", b"/2", b"/3c"] and turns == {"/1": 3, "/2": 1, "/3": 3}, f"{bodies} {turns}")


@case(ways=OUT, each={"length": ok(b"x" * 300000, status="503 Busy"),
                      "chunked": b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 b"4000\r\n" + b"x" * 0x4000 + b"\r\n0\r\n\r\n",
                      "until close": b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n" + b"x" * 1000})
def failing_answer_has_a_body(pod, busy):
    """Not a byte of a failing answer's body gets between the client and the good one, on one connection or another."""
    serve, seen = in_turn(busy, busy, ok(b"clean"))
    pod.app(serve)
    start(pod, codes=[503], attempts=2)
    peer = pod.dial()
    for _ in range(3):
        response = peer.ask()
        expect(response.body == b"clean" and response.status == 200, f"{response.body[:20]}")
        peer.stays(0.05)
    expect(len(seen) == 5, f"{len(seen)} requests")


@case(ways=OUT)
def interim_before_failure(pod):
    """1xx that came before a failing answer have gone on; the final answer is the good attempt's."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    serve, seen = in_turn(hints + BUSY, hints + ok(b"fine"))
    pod.app(serve)
    start(pod, codes=[503], attempts=2)
    peer = pod.dial()
    for count in (2, 1):
        response = peer.ask()
        expect(response.body == b"fine" and [each.status for each in response.interim] == [103] * count,
               f"{response.start} {len(response.interim)}")


@case(ways=OUT)
def head_request(pod):
    """A HEAD whose failing answers announce a length is retried on the same connection: no body is waited for."""
    serve, seen = in_turn(b"HTTP/1.1 503 Busy\r\nContent-Length: 500\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    app = pod.app(serve)
    start(pod, codes=[503], attempts=2)
    pod.dial().ask("HEAD")
    expect(len(seen) == 2 and app.count == 1, f"{len(seen)} attempts, {app.count} connections")


@case(ways=OUT)
def during_drain(pod):
    """SIGTERM during a backoff: the attempts go on, the answer says Connection: close, exit 0."""
    serve, seen = in_turn(BUSY, BUSY, ok(b"served"))
    pod.app(serve)
    start(pod, codes=[503], attempts=3, backoff="300ms")
    peer = pod.dial()
    peer.send(request())
    until(lambda: seen, "no attempt")
    pod.proxy.signal(signal.SIGTERM)
    response = peer.response()
    expect(response.body == b"served", f"{response.start} {response.body}")
    expect(response.get("Connection", "").lower() == "close", f"{response.fields}")
    peer.ends("fin")
    proxy = pod.stop(signals=())
    expect(proxy.records(CLOSED)[0]["reason"] == "drain", f"{proxy.records(CLOSED)[0]['reason']}")


@case(ways=OUT)
def many_at_once(pod):
    """Thirty clients whose requests fail twice each get their own answers."""
    turns, lock = {}, threading.Lock()

    def respond(message):
        with lock:
            turns[message.target] = turns.get(message.target, 0) + 1
            return BUSY if turns[message.target] <= 2 else ok(message.target.encode() + message.body)
    pod.app(http(respond))
    start(pod, codes=[503], attempts=2, backoff="50ms")
    peers = [pod.dial() for _ in range(30)]
    for turn in range(3):
        for number, peer in enumerate(peers):
            peer.send(request("POST" if number % 2 else "GET", f"/{number}/{turn}", body=b"%d" % number if number % 2 else b""))
        for number, peer in enumerate(peers):
            response = peer.response()
            wanted = f"/{number}/{turn}".encode() + (b"%d" % number if number % 2 else b"")
            expect(response.status == 200 and response.body == wanted, f"{response.start} {response.body}, not {wanted}")
    expect(set(turns.values()) == {3}, f"attempts {set(turns.values())}")


# Linkerd

@case(ways=OUT, each={"route": True, "service": False})
def linkerd_annotations(pod, on_route):
    """retry.linkerd.io/http, limit and timeout, on a route or a Service: an attempt cut after 300 ms, no limit on the last."""
    annotations = {"retry.linkerd.io/http": "5xx,429", "retry.linkerd.io/limit": "2", "retry.linkerd.io/timeout": "300ms"}
    serve, seen = in_turn(after(2), ok(b"", status="429 Slow"), after(0.8, ok(b"third")), ok(status="404 No"))
    pod.app(serve)
    web = service("web", pod.address, annotations=None if on_route else annotations)
    documents = (web, route("web", rule("/"), annotations=annotations)) if on_route else (web,)
    pod.start("--config", configured(pod, *documents).path)
    peer = pod.dial()
    with took(0.3 + 0.8 + 0.05):  # and two waits of 25 ms at least
        expect(peer.ask().body == b"third", "wrong answer")
    expect(len(seen) == 3, f"{len(seen)} attempts")
    peer.ask(status=404)
    expect(len(seen) == 4, "a code that is not named was retried")


@case(ways=OUT)
def linkerd_limit(pod):
    """Without a limit one retry is made, and what failed without an answer counts as the 502 it would become."""
    serve, seen = in_turn(None, BUSY, ok())
    pod.app(serve)
    start(pod, annotations={"retry.linkerd.io/http": "gateway-error"})
    pod.dial().ask(status=503)
    expect(len(seen) == 2, f"{len(seen)} attempts")


def failing(pod, requests, **budget):
    """Sends requests that all fail to a retryable route with this budget; the client."""
    web = service("web", pod.address)
    route_of = {"name": "all", "condition": {"pathRegex": "/.*"}, "isRetryable": True}
    pod.start("--workers", "1", "--config", configured(pod, web, profile("web", route_of, retryBudget=budget)).path)
    peer = pod.dial()
    for _ in range(requests):
        peer.ask(status=503)
    return peer


@case(ways=OUT)
def budget_ratio(pod):
    """ServiceProfile isRetryable: of forty requests that all fail, a half more are tried at most, and some are."""
    serve, seen = in_turn(BUSY)
    pod.app(serve)
    failing(pod, 40, retryRatio=0.5, minRetriesPerSecond=1, ttl="2s")
    expect(44 <= len(seen) <= 40 * 1.5 + 2 + 3, f"{len(seen)} attempts at 40 requests")


@case(ways=OUT)
def budget_minimum(pod):
    """minRetriesPerSecond 5 for a ttl of 1 s: five retries and no more, until the second is over."""
    serve, seen = in_turn(BUSY)
    pod.app(serve)
    peer = failing(pod, 10, retryRatio=0, minRetriesPerSecond=5, ttl="1s")
    expect(len(seen) == 15, f"{len(seen)} attempts at 10 requests")
    time.sleep(1.3)
    peer.ask(status=503)
    expect(len(seen) == 21, f"{len(seen) - 15} attempts when the budget was full again")


@case(ways=OUT)
def documented_profile(pod):
    """docs/examples/linkerd-serviceprofile.yaml: a HEAD that fails is tried again, a PUT is not; classes of 429 and 5xx."""
    serve, seen = in_turn(BUSY, BUSY, ok(), ok(status="429 Slow"))
    pod.app(serve, port=7002)
    pod.start("--config", configured(pod, example("linkerd-serviceprofile", {"10.96.20.6": pod.address})).path)
    peer = pod.dial(7002)
    peer.ask("HEAD", "/books/1.json")
    expect(len(seen) == 3, f"{len(seen)} attempts")
    peer.ask("PUT", "/books/1.json", status=429)
    expect(len(seen) == 4, "a PUT was retried")


@case(ways=OUT)
def profile_classes(pod):
    """A response class says what is a failure: 404 is tried again, 500 is a success; what breaks is not tried again."""
    serve, seen = in_turn(ok(status="404 No"), ok(), ok(status="500 Fine"), None)
    pod.app(serve)
    classes = [{"condition": {"status": {"min": low, "max": low + 99}}, "isFailure": low == 400} for low in (400, 500)]
    route_of = {"name": "all", "condition": {"method": "GET"}, "isRetryable": True, "responseClasses": classes}
    pod.start("--config", configured(pod, service("web", pod.address), profile("web", route_of)).path)
    peer = pod.dial()
    peer.ask()
    peer.ask(status=500)
    expect(len(seen) == 3, f"{len(seen)} attempts")
    with pod.dial() as fresh:
        fresh.send(request())
        check_answer(fresh.response(), 502, "server_closed_early")
    expect(len(seen) == 4, "a broken connection was retried")


# Not here

@case(ways=("in4", "in6"))
def inbound(pod):
    """Inbound nothing is retried: the client's side does that. The Service and its route apply all the same."""
    serve, seen = in_turn(BUSY)
    pod.app(serve)
    labels = PodInfo(pod, {"app": "web"})
    start_inbound = configured(pod, service("web", "10.96.0.9", selector={"app": "web"}),
                               route("web", rule(retry={"codes": [503], "attempts": 3}, timeouts={"request": "5s"})))
    pod.start("--config", start_inbound.path, "--pod-info", labels.path)
    peer = pod.dial()
    peer.ask(status=503)
    peer.fin()
    expect(len(seen) == 1, f"{len(seen)} attempts")
    pod.ended("client_closed_idle", service="default/web", route=re.compile("HTTPRoute default/web"), retries=None)


@case(ways=BOTH)
def curl_and_nginx(pod):
    """nginx refuses what comes faster than twice a second with 503; curl, through retries 200 ms apart, sees pages only."""
    nginx(pod, "limit_req_zone $server_port zone=slow:1m rate=2r/s; limit_req zone=slow;")
    start(pod, codes=[503], attempts=5, backoff="200ms")
    got = curl(pod, *["-o", "/dev/null"] * 3, "-w", "%{http_code} %{num_connects},", *["URL/"] * 3)
    expect(got == "200 1,200 0,200 0,", f"curl saw {got}")
    pod.record(reason="client_closed_idle", requests=3, retries=lambda count: count >= 2)
