"""The timers of a stream of HTTP/2, to 50 ms, in every state it can be in, beside a second stream that lives on; what each end gets."""
import re
import time

from .harness import (CLOSED, FAILED, Http2, case, check_own, check_trailers, configured, document, expect, frames, pair, parked, punctual,
                      route, rule, service, together)
from .harness import until
from .harness.documents import readings
from .harness.frames import CANCEL, CONTINUATION, DATA, END_STREAM, HEADERS, frame, headers, message

WAYS = ("in4", "out6")
TIMERS = {"request": "request_timeout", "backendRequest": "backend_request_timeout", "streamIdle": "stream_idle_timeout"}
FLAGS = {"request": "request", "backendRequest": "backend_request", "streamIdle": "stream_idle"}


# The states of a stream when its timer fires: how it gets there, and what the client gets then.

def waiting(client, server):
    """The request is complete, nothing has come back."""
    stream = client.request("/victim")
    server.headed(stream.id)
    return stream


def unfinished(client, server):
    """The request has a body that is still on its way."""
    stream = client.request("/victim", method="POST", end=False, body=b"begun")
    server.until(lambda: server.stream(stream.id).body, "no body")
    return stream


def interim(client, server):
    """Only 1xx have come."""
    stream = client.request("/victim")
    server.headed(stream.id)
    for status in (100, 103):
        server.respond(server.stream(stream.id), status, body=b"", end=False)
    client.until(lambda: len(stream.heads) == 2, "no 1xx")
    return stream


def responding(client, server):
    """The response's head and a part of its body have passed."""
    stream = waiting(client, server)
    server.respond(server.stream(stream.id), 200, ("content-length", "100"), body=b"part", end=False)
    client.until(lambda: stream.body == b"part", "no response")
    return stream


def responding_early(client, server):
    """The same before the request is finished."""
    stream = unfinished(client, server)
    server.respond(server.stream(stream.id), 200, body=b"part", end=False)
    client.until(lambda: stream.body == b"part", "no response")
    return stream


def grpc_waiting(client, server):
    stream = client.call("/lapse.Test/Victim")
    server.finished(stream.id)
    return stream


def grpc_unfinished(client, server):
    stream = client.call("/lapse.Test/Victim", end=False)
    server.until(lambda: server.stream(stream.id).body, "no message")
    return stream


def grpc_headed(client, server):
    stream = grpc_waiting(client, server)
    server.reply(server.stream(stream.id), end=False)
    client.headed(stream)
    return stream


def grpc_between(client, server, begin=grpc_waiting, behind=b""):
    stream = begin(client, server)
    whole = message(b"first") + message(b"x" * 3000)
    server.reply(server.stream(stream.id), end=False)
    server.data(server.stream(stream.id), whole + behind)
    client.until(lambda: len(stream.body) == len(whole + behind), "no messages")
    return stream


def grpc_between_early(client, server):
    return grpc_between(client, server, grpc_unfinished)


def grpc_inside(client, server):
    return grpc_between(client, server, behind=message(b"y" * 500)[:200])


def grpc_inside_prefix(client, server):
    return grpc_between(client, server, behind=b"\0\0\0")


def answered(**more):
    return lambda stream, reason, timer: check_own(stream, reason, **more)


def answered_unfinished(stream, reason, timer):
    check_own(stream, reason, 408 if timer == "streamIdle" else 504, unfinished=True)


def reset(stream, reason, timer):
    expect(stream.kinds()[-1] == "RST_STREAM CANCEL" and not stream.ended, f"the client got {stream}")
    expect(stream.kinds().count("RST_STREAM CANCEL") == 1 and len(stream.heads) == 1, f"the client got {stream}")


STATES = {
    "waiting": (waiting, answered(), "wait"), "unfinished": (unfinished, answered_unfinished, "request"), "1xx": (interim, answered(), "wait"),
    "responding": (responding, reset, "response"), "responding early": (responding_early, reset, "response"),
    "grpc waiting": (grpc_waiting, answered(grpc=4), "wait"), "grpc unfinished": (grpc_unfinished, answered(grpc=4, unfinished=True), "request"),
    "grpc headed": (grpc_headed, lambda stream, reason, _: check_trailers(stream, reason), "response"),
    "grpc between messages": (grpc_between, lambda stream, reason, _: check_trailers(stream, reason), "response"),
    "grpc between messages, unfinished": (grpc_between_early, lambda stream, reason, _: check_trailers(stream, reason, unfinished=True), "response"),
    "grpc inside a message": (grpc_inside, reset, "response"), "grpc inside a prefix": (grpc_inside_prefix, reset, "response"),
}


def neighbour_begins(client, server):
    """A second stream, open when the first one is cut."""
    stream = client.request("/neighbour", method="POST", end=False, body=b"first ")
    server.headed(stream.id)
    return stream


def neighbour_ends(client, server, stream):
    """The second stream and a third one end as they should; the windows are whole, and no frame was about anything else."""
    client.data(stream, b"second", end=True)
    there = server.finished(stream.id)
    expect(there.body == b"first second" and there.reset is None, f"the server got {there}")
    server.respond(there, 200, ("x-some", "field"), body=b"answer")
    third = client.request("/third")
    server.respond(server.headed(third.id), 404, body=b"")
    for each, status, body in ((stream, 200, b"answer"), (third, 404, b"")):
        client.finished(each)
        expect((each.status, each.body, each.reset) == (status, body, None), f"the client got {each}")
    together(lambda: client.window == server.window == frames.WINDOW_DEFAULT, client, server, why="a window is not whole", within=3)
    expect(not client.goaways() and not server.goaways(), f"{client.goaways()} {server.goaways()}")


def cancelled(server, number):
    """The server gets RST_STREAM(CANCEL) of that stream, behind its HEADERS, once."""
    stream = server.finished(number) if not server.stream(number).ended else server.stream(number)
    server.until(lambda: stream.reset, f"the server's stream {number} is not reset", within=2)
    expect(stream.reset == "CANCEL" and stream.kinds()[0].startswith("HEADERS") and len(re.findall("RST", str(stream.kinds()))) == 1, f"{stream}")


@case(ways=("in4",), each={f"{timer} {state}": (timer, state) for timer in TIMERS for state in STATES})
def expires(pod, row):
    """request, backendRequest, streamIdle of 1 s in each state of a stream: on time, told as §17 says, and a second stream lives on."""
    timer, state = row
    begin, check, phase = STATES[state]
    app = pod.app(parked)
    pod.start(**{FLAGS[timer]: "1s"})
    client, server = pair(pod, app)
    # streamIdle counts from the last frame, which is the one that ends the state's beginning and is seen here a little late.
    if timer == "streamIdle":
        stream = begin(client, server)
    with punctual(1, early=0.25 if timer == "streamIdle" else 0.05):
        if timer != "streamIdle":
            stream = begin(client, server)
        time.sleep(0.4)
        neighbour = neighbour_begins(client, server)
        client.finished(stream)
    check(stream if stream.reset or not needs_reset(state) else with_reset(client, stream), TIMERS[timer], timer)
    cancelled(server, stream.id)
    neighbour_ends(client, server, neighbour)
    pod.fired(timer, TIMERS[timer], by="proxy", msg=FAILED, phase=phase, stream=stream.id, protocol="http/2")
    expect(len(pod.proxy.records()) == 1, f"more than one record: {pod.proxy.records()}")


def needs_reset(state):
    return "unfinished" in state


def with_reset(client, stream):
    """The same stream once the RST_STREAM behind its answer is there."""
    client.until(lambda: stream.reset, f"no RST_STREAM behind the answer of {stream}", within=1)
    return stream


@case(ways=WAYS)
def expires_both_ways(pod):
    """The same inbound over IPv4 and outbound over IPv6: request of 600 ms, plain and gRPC at once."""
    app = pod.app(parked)
    pod.start(request="600ms")
    client, server = pair(pod, app)
    with punctual(0.6):
        plain, call = client.request("/a"), client.call("/b/c")
        client.finished(plain)
        client.finished(call)
    check_own(plain, "request_timeout")
    check_own(call, "request_timeout", grpc=4)
    for stream in (plain, call):
        cancelled(server, stream.id)
        pod.fired("request", "request_timeout", "600ms", stream=stream.id, msg=FAILED)


@case()
def quick_streams_live(pod):
    """Streams that are quick enough are touched by no timer, one after the other and many at once."""
    app = pod.app(parked)
    pod.start(request="1s", backend_request="900ms", stream_idle="800ms", request_headers="700ms")
    client, server = pair(pod, app)
    for _ in range(4):
        streams = [client.request(f"/{number}") for number in range(20)]
        server.headed(streams[-1].id)
        time.sleep(0.3)
        for stream in streams:
            server.respond(server.stream(stream.id))
        for stream in streams:
            client.finished(stream)
            expect((stream.status, stream.body) == (200, b"ok\n"), f"{stream}")
    client.drain()
    expect(not pod.proxy.records(), f"{pod.proxy.records()}")


@case()
def request_counts_from_the_whole_head(pod):
    """request starts with END_HEADERS, not with the first byte of HEADERS, and is not restarted by DATA either way."""
    app = pod.app(parked)
    pod.start(request="1s")
    client, server = pair(pod, app)
    fields = ((":method", "POST"), (":scheme", "http"), (":authority", "app"), (":path", "/late"))
    block = client.block_of(fields)
    whole = headers(1, block, sizes=(3,))
    client.next = 3
    client.send(whole[:14])
    time.sleep(0.6)
    with punctual(1):
        client.send(whole[14:])
        stream, there = client.stream(1), server.headed(1)
        server.respond(there, 200, body=b"some", end=False)
        for _ in range(4):
            time.sleep(0.2)
            client.data(stream, b"more")
            server.data(there, b"more")
        client.finished(stream)
    expect(stream.reset == "CANCEL", f"{stream}")


@case()
def idle_restarts(pod):
    """streamIdle restarts with DATA and HEADERS of that stream, either way; not with PING, WINDOW_UPDATE, PRIORITY or its neighbour's DATA."""
    app = pod.app(parked)
    pod.start(stream_idle="700ms")
    client, server = pair(pod, app)
    stream = client.request("/", method="POST", end=False)
    there = server.headed(stream.id)
    steps = (lambda: client.data(stream, b"x"), lambda: server.respond(there, 103, body=b"", end=False), lambda: client.data(stream, b""),
             lambda: server.respond(there, 200, body=b"", end=False), lambda: server.data(there, b"y"))
    for step in steps:
        time.sleep(0.4)
        step()
        together(lambda: True, client, server)
    client.drain(0.05)
    server.drain(0.05)
    with punctual(0.7, within=0.2):  # measured a little late: what came last was taken in first
        neighbour = client.request("/neighbour", method="POST", end=False)
        for _ in range(3):
            time.sleep(0.15)
            client.send(frames.ping() + frames.window_update(stream.id, 5) + frames.priority(stream.id))
            server.send(frames.window_update(stream.id, 5))
            client.data(neighbour, b"z")
        client.finished(stream)
    expect(stream.reset == "CANCEL" and not neighbour.over, f"{stream} {neighbour}")


@case()
def tunnels(pod):
    """A stream of extended CONNECT is a tunnel: streamIdle runs, request does not; a CONNECT likewise."""
    app = pod.app(parked)
    pod.start(request="300ms", backend_request="300ms", stream_idle="1s")
    client, server = pair(pod, app, server=((frames.CONNECT_PROTOCOL, 1),))
    block = client.block_of(((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"), (":authority", "app")))
    client.next = 3
    client.send(headers(1, block))
    stream, there = client.stream(1), server.headed(1)
    server.respond(there, 200, body=b"", end=False)
    client.headed(stream)
    for _ in range(3):
        time.sleep(0.3)
        client.data(stream, b"ping")
        server.until(lambda: there.body.endswith(b"ping"), "no ping")
        there.body = b""
        server.data(there, b"pong")
        client.until(lambda: stream.body.endswith(b"pong"), "no pong")
        stream.body = b""
    with punctual(1, within=0.1):
        client.finished(stream)
    expect(stream.reset == "CANCEL", f"{stream}")
    pod.record(timer="streamIdle", value="1s", msg=FAILED, stream=1, reason=("tunnel_idle_timeout", "stream_idle_timeout"))


# requestHeaders

@case(each={"half a frame header": 5, "frame header": 9, "half a block": 20})
def request_headers_half_frame(pod, size):
    """requestHeaders: a HEADERS frame that does not end in 1 s ends the connection; PINGs in the other direction do not help."""
    app = pod.app(parked)
    pod.start(request_headers="1s")
    client, server = pair(pod, app)
    fine = client.request("/fine")
    server.respond(server.headed(fine.id))
    client.finished(fine)
    block = frames.literals((":method", "GET"), (":path", "/"), ("x-long", "x" * 100))
    client.polite = False  # it has begun a frame
    with punctual(1):
        client.send(headers(3, block, end=True)[:size])
        server.send(frames.ping())
        client.until(lambda: client.over, "the connection is open")
    pod.fired("requestHeaders", "header_timeout", by="proxy", msg=CLOSED, protocol="http/2")


@case()
def request_headers_continuation(pod):
    """requestHeaders is not restarted by CONTINUATION frames, empty or not: 1 s from the first byte of HEADERS."""
    app = pod.app(parked)
    pod.start(request_headers="1s", stream_idle="1h")
    client, _ = pair(pod, app)
    with punctual(1):
        client.send(frame(HEADERS, END_STREAM, 1, b"\x82\x86\x84"))
        for number in range(4):
            time.sleep(0.2)
            client.send(frame(CONTINUATION, 0, 1, frames.literals((f"x-{number}", "a")) if number % 2 else b""))
        client.until(lambda: client.over, "the connection is open")
    pod.fired("requestHeaders", "header_timeout", msg=CLOSED)


@case()
def request_headers_in_time(pod):
    """Heads that end in time are touched neither by the ones before nor by pauses between them; trailers are no head."""
    app = pod.app(parked)
    pod.start(request_headers="600ms")
    client, server = pair(pod, app)
    for number in (1, 3, 5):
        whole = headers(number, client.block_of(((":method", "POST"), (":scheme", "http"), (":path", "/"), ("x-some", "a" * 50))), sizes=(9, 3))
        for piece in (whole[:4], whole[4:20], whole[20:]):
            client.send(piece)
            time.sleep(0.2)
        server.headed(number)
        time.sleep(0.5)
        server.respond(server.stream(number))
        client.finished(number)
    client.quiet(0.7)


# A frame or a block that is under way

@case(each={"data": "data", "block": "block"})
def waits_for_the_frame(pod, what):
    """What is to be written waits for the end of the frame, and of the header block, that is passing; then it comes at once."""
    app = pod.app(parked)
    pod.start(request="600ms")
    client, server = pair(pod, app)
    stream = client.request("/victim")
    there = server.headed(stream.id)
    if what == "data":
        server.respond(there, 200, body=b"", end=False)
        raw, at = frames.data(stream.id, b"d" * 1000), 300
    else:
        raw, at = headers(stream.id, server.block_of(((":status", "200"), ("x-some", "field"))), sizes=(1,)), 12
    server.send(raw[:at])
    time.sleep(1)
    expect(not stream.reset, f"cut inside a frame: {stream}")
    with punctual(0, within=0.1):
        server.send(raw[at:])
        client.finished(stream)
    if what == "data":
        server.window -= 1000
        expect(stream.body == b"d" * 1000, f"the frame that had begun is not whole: {len(stream.body)} bytes")
    expect(stream.reset == "CANCEL" and stream.status == 200, f"{stream}")
    again = client.request("/again")
    server.respond(server.headed(again.id))
    client.finished(again)
    expect(again.status == 200, f"{again}")


@case()
def stalled_frame_ends_the_connection(pod):
    """A frame that has not moved for its stream's streamIdle ends the connection, for nothing can be written behind it."""
    app = pod.app(parked)
    pod.start(stream_idle="800ms")
    client, server = pair(pod, app)
    stream = client.request("/victim")
    server.respond(server.headed(stream.id), 200, body=b"", end=False)
    client.headed(stream)
    with punctual(0.8, within=0.1):
        server.send(frames.data(stream.id, b"d" * 1000)[:500])
        client.until(lambda: client.over, "the connection is open", within=4)
    pod.record(reason="stream_idle_timeout", timer="streamIdle", value="800ms", msg=CLOSED)


# Whose timers: chosen per stream

@case(ways=("out4",))
def per_route(pod):
    """HTTPRoute: each stream of one connection has the timeouts of its own rule."""
    app = pod.app(parked)
    rules = (rule("/quick", {"request": "400ms"}), rule("/slow", {"request": "2s", "backendRequest": "900ms"}), rule("/"))
    pod.start("--config", configured(pod, service("web", pod.address), route("web", *rules)).path)
    client, server = pair(pod, app)
    begun = time.monotonic()
    slow, free, quick = client.request("/slow/x"), client.request("/free"), client.request("/quick/y")
    for stream, due, reason in ((quick, 0.4, "request_timeout"), (slow, 0.9, "backend_request_timeout")):
        with punctual(due - (time.monotonic() - begun)):
            client.finished(stream)
        check_own(stream, reason)
        cancelled(server, stream.id)
    client.quiet(0.3)
    server.respond(server.headed(free.id))
    client.finished(free)
    expect(free.status == 200, f"{free}")
    for stream, number, timer in ((quick, 0, "request"), (slow, 1, "backendRequest")):
        pod.record(stream=stream.id, timer=timer, msg=FAILED, service="default/web", route=f"HTTPRoute default/web rule {number}",
                   set_by=re.compile(f"HTTPRoute default/web .*timeouts.{timer}"))


ANNOTATED = {
    "GRPCRoute": (lambda pod: (service("web", pod.address), route(
        "web", {"matches": [{"method": {"service": "lapse.Test", "method": "Victim"}}]}, kind="GRPCRoute",
        annotations={"lapse.proxy/timeout-request": "500ms"})), r"annotation lapse.proxy/timeout-request on GRPCRoute default/web"),
    "GRPCRoute of Linkerd": (lambda pod: (service("web", pod.address), route(
        "web", {"matches": [{"method": {"service": "lapse.Test", "method": "Victim"}}]}, kind="GRPCRoute",
        annotations={"timeout.linkerd.io/request": "500ms"})), r"annotation timeout.linkerd.io/request on GRPCRoute default/web"),
    "ServiceProfile": (lambda pod: (service("web", pod.address), document(
        "ServiceProfile", "web.default.svc.cluster.local", {"routes": [
            {"name": "victim", "condition": {"method": "POST", "pathRegex": "/lapse.Test/Victim"}, "timeout": "500ms"}]})), "ServiceProfile default/web"),
}


@case(ways=("out4",), each=ANNOTATED)
def per_method(pod, row):
    """GRPCRoute's annotations and ServiceProfile choose by gRPC method: one method is cut, another one is not."""
    documents, source = row
    app = pod.app(parked)
    pod.start("--config", configured(pod, *documents(pod)).path)
    client, server = pair(pod, app)
    with punctual(0.5):
        victim = client.call("/lapse.Test/Victim")
        client.finished(victim)
    check_own(victim, "request_timeout", grpc=4)
    cancelled(server, victim.id)
    pod.record(stream=victim.id, timer="request", value="500ms", set_by=re.compile(source), msg=FAILED)


@case(ways=("out4",))
def read_again_between_streams(pod):
    """Documents are read again while a connection lives: each stream has the timers of the newest reading, and nothing is left of the others."""
    app, documents = pod.app(parked), configured(pod, service("web", pod.address), route("web", rule("/", {"request": "300ms"})))
    pod.start("--config", documents.path)
    client, server = pair(pod, app)
    for number, seconds in enumerate((0.3, 0.5, 0.4, 0.6)):
        if number:
            documents.replace("all.yaml", service("web", pod.address), route("web", rule("/", {"request": f"{seconds * 1000:.0f}ms"})))
            until(lambda expected=number + 1: readings(pod) == expected, "not read again")
        time.sleep(0.1) # the workers have taken it up, and the one before is gone
        with punctual(seconds):
            client.finished(stream := client.request("/"))
        check_own(stream, "request_timeout")


@case(ways=("out4",))
def told_once_a_route(pod):
    """What a rule does beside its timeouts is told once a route: at load of a GRPCRoute, else with the first request, whatever is read again."""
    edit = {"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}]}
    parent = {"group": "", "kind": "Service", "name": "call"}
    objects = (service("web", pod.address), service("call", "10.0.0.9"), route("web", rule("/", **edit)), route("call", edit, kind="GRPCRoute", parent=parent))
    documents = configured(pod, *objects)
    app = pod.app(parked)
    pod.start("--config", documents.path)

    def said():
        return [line["msg"] for line in pod.proxy.lines if line["level"] == "warn" and "HTTP/2 requests get only" in line["msg"]]
    expect(len(said()) == 1 and "GRPCRoute default/call: HTTP/2" in said()[0] and re.search(r"all\.yaml:\d+: ", said()[0]), f"at load: {said()}")
    client, server = pair(pod, app)
    for number in range(3):
        stream = client.request("/")
        server.respond(server.headed(stream.id))
        client.finished(stream)
        documents.replace("all.yaml", *objects)
        until(lambda expected=number + 2: readings(pod) == expected, "not read again")
    expect(len(said()) == 2 and said()[1].startswith("HTTPRoute default/web: HTTP/2") and said()[1].endswith("a request of HTTP/2 has come"),
           f"after requests: {said()}")


@case(ways=("out4",))
def per_level(pod):
    """Ingress and KubeLB's levels: a Config's streamIdle holds for a stream whose Ingress says nothing, and not where it does."""
    app = pod.app(parked)
    ingress = document("Ingress", "web", {"rules": [{"host": "long.example", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 8080}}}}]}}]},
        annotations={"kubelb.k8c.io/timeout-stream-idle": "1500ms"})
    config = document("Config", "short", {"timeouts": {"streamIdle": "500ms"}}, "kubelb")
    pod.start("--config", configured(pod, config, service("web", pod.address), ingress).path)
    client, server = pair(pod, app)
    for host, due, source in (("other.example", 0.5, "Config kubelb/short spec.timeouts.streamIdle"),
                              ("long.example", 1.5, "annotation kubelb.k8c.io/timeout-stream-idle on Ingress default/web")):
        with punctual(due):
            number = client.next
            client.next += 2
            client.send(headers(number, client.block_of(((":method", "GET"), (":scheme", "http"), (":authority", host), (":path", "/"))), True))
            client.finished(number)
        check_own(client.stream(number), "stream_idle_timeout")
        pod.record(stream=number, timer="streamIdle", set_by=source, msg=FAILED)
    server.drain(0.05)


# The client's own deadline

@case(each={"500m": 500, "1S": 1000, "400000u": 400, "600000000n": None, "99999999n": 100})
def grpc_deadline_enforced(pod, milliseconds):
    """--grpc-deadline enforce: grpc-timeout is a timer of ours, in any of its units, and arrives as it was sent."""
    text = {500: "500m", 1000: "1S", 400: "400000u", 100: "99999999n"}.get(milliseconds, "600000000n")
    app = pod.app(parked)
    pod.start("--grpc-deadline", "enforce")
    client, server = pair(pod, app)
    if milliseconds is None:  # nine digits are one too many: not a timeout
        stream = client.call("/lapse.Test/Slow", ("grpc-timeout", text))
        client.quiet(1)
        return
    with punctual(milliseconds / 1000):
        stream = client.call("/lapse.Test/Slow", ("grpc-timeout", text))
        client.finished(stream)
    check_own(stream, stream.get("lapse-reason"), grpc=4)
    expect(server.headed(stream.id).get("grpc-timeout") == text, "grpc-timeout was changed")
    cancelled(server, stream.id)
    pod.record(timer="grpcDeadline", stream=stream.id, msg=FAILED)


@case()
def grpc_deadline_seen(pod):
    """Without it nothing of ours happens at a client's deadline; when the client then cancels, the record says that it was its deadline."""
    app = pod.app(parked)
    pod.start()
    client, server = pair(pod, app)
    stream, other = client.call("/lapse.Test/Slow", ("grpc-timeout", "500m")), client.call("/lapse.Test/Slow", ("grpc-timeout", "1H"))
    client.quiet(0.55)
    for each in (stream, other):
        client.send(frames.rst_stream(each.id, CANCEL))
    cancelled(server, stream.id)
    cancelled(server, other.id)
    pod.record(stream=stream.id, reason="grpc_deadline", by="client", grpc_timeout="500ms", msg=FAILED, rst="CANCEL", rst_by="client")
    pod.record(stream=other.id, reason="client_aborted_wait", by="client", grpc_timeout="1h", msg=FAILED)


@case()
def head_beyond_data(pod):
    """Frames that are legal and rare leave the timers right: empty DATA, padding, trailers of the request, a HEAD."""
    app = pod.app(parked)
    pod.start(request="700ms")
    client, server = pair(pod, app)
    with punctual(0.7):
        stream = client.request("/", method="POST", end=False)
        client.data(stream, b"", padding=0)
        client.data(stream, b"x", padding=200)
        client.trailers(stream, ("x-sum", "1"))
        head = client.request("/", method="HEAD")
        client.finished(stream)
        client.finished(head)
    for each in (stream, head):
        check_own(each, "request_timeout")
    expect([each.kind for each in server.drain(0.1) if each.kind == DATA] and server.stream(1).body == b"x", "the body is another one")
