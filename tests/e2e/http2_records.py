"""What HTTP/2 leaves behind: a record a connection and one a failed stream, codes by their names, the access log, metrics, /connections."""
import json
import re
import time

from .harness import CLOSED, FAILED, REQUEST, Http2, case, check_own, expect, frames, http, pair, parked, serving, together, until
from .harness.frames import CANCEL, CODES, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, message, rst_stream

WAYS = ("in4", "out6")


def begun(pod, *arguments, **options):
    """Both ends behind a running proxy."""
    app = pod.app(parked)
    pod.start(*arguments, **options)
    return pair(pod, app)


def alive(client, server):
    """The connection has outlived it."""
    stream = client.request("/alive")
    server.respond(server.headed(stream.id))
    client.finished(stream)
    expect(stream.status == 200, f"{stream}")


def one(pod, **fields):
    """The only record of a failed stream so far."""
    record = pod.record(msg=FAILED, protocol="http/2", **fields)
    time.sleep(0.05)
    expect(len(pod.proxy.records(FAILED)) == 1, f"more than one: {pod.proxy.records(FAILED)}")
    return record


# RST_STREAM of either end

SERVER_RESETS = {"REFUSED_STREAM": "stream_refused", **{name: "stream_reset" for name in CODES if name not in ("REFUSED_STREAM", "NO_ERROR")},
                 "NO_ERROR": "stream_reset"}


@case(each={name: name for name in SERVER_RESETS})
def reset_by_the_server(pod, name):
    """A server's RST_STREAM while its client waits: code by name, by server, phase; the connection lives on and its record counts it."""
    client, server = begun(pod)
    stream = client.request()
    server.headed(stream.id)
    server.send(rst_stream(stream.id, CODES.index(name)))
    client.finished(stream)
    expect(stream.reset == name, f"{stream}")
    record = one(pod, reason=SERVER_RESETS[name], by="server", stream=1, rst=name, rst_by="server", phase="wait")
    expect("status" not in record and name in record["detail"], f"{record}")
    alive(client, server)
    client.peer.fin()
    server.peer.fin()
    pod.record(msg=CLOSED, requests=2, failed=1)
    expect(pod.proxy.counted("lapse_stream_resets_total", by="code", direction="inbound") == {name: 1}, "the counter")


@case(ways=WAYS, each={"head": (b"", None), "body": (b"some bytes", None), "unknown code": (b"x", 4711)})
def reset_in_a_response(pod, row):
    """RST_STREAM behind the head: phase response, the status that had passed, the bytes that did; a code nobody knows by its number."""
    body, code = row
    client, server = begun(pod)
    stream = client.request()
    server.respond(server.headed(stream.id), 203, body=body, end=False)
    server.send(rst_stream(stream.id, INTERNAL_ERROR if code is None else code))
    client.finished(stream)
    record = one(pod, reason="stream_reset", by="server", phase="response", status=203, rst_by="server", stream_sent_client=len(body))
    expect(str(code or "INTERNAL_ERROR") in str(record["rst"]), f"{record}")
    alive(client, server)


CANCELS = {"waiting": ("wait", "client_aborted_wait"), "uploading": ("request", ("client_aborted_wait", "client_closed_request")),
           "reading": ("response", "client_aborted_response")}


@case(ways=WAYS, each=CANCELS)
def cancelled_by_the_client(pod, row):
    """A client's RST_STREAM(CANCEL): it was the client, in which phase, and the server is told so."""
    phase, reason = row
    client, server = begun(pod)
    stream = client.request(method="POST", end=phase != "request", body=b"question")
    there = server.headed(stream.id)
    if phase == "response":
        server.respond(there, 200, body=b"part", end=False)
        client.until(lambda: stream.body, "no response")
    client.send(rst_stream(stream.id, CANCEL))
    server.until(lambda: there.reset, "the server is not told")
    expect(there.reset == "CANCEL", f"{there}")
    one(pod, reason=reason, by="client", phase=phase, rst="CANCEL", rst_by="client", stream=1, stream_sent_server=8)
    alive(client, server)


@case()
def success_is_no_failure(pod):
    """Answers of any status, trailers, RST_STREAM(NO_ERROR) behind a whole answer: no record of a failed stream."""
    client, server = begun(pod)
    for status in (200, 204, 304, 404, 500, 503):
        stream = client.request()
        server.respond(server.headed(stream.id), status, body=b"")
        client.finished(stream)
    call = client.call(end=False)
    server.reply(server.headed(call.id), b"early", status=5)
    server.send(rst_stream(call.id, NO_ERROR))
    client.until(lambda: call.reset, "no RST_STREAM")
    alive(client, server)
    client.peer.fin()
    server.until(lambda: server.over, "the server is not told")
    server.peer.fin()
    record = pod.record(msg=CLOSED, reason="client_closed_idle", by="client", requests=8, protocol="http/2")
    expect(not pod.proxy.records(FAILED) and not {"failed", "streams_open", "own_resets", "goaway_by"} & set(record), f"{pod.proxy.records()}")
    expect(pod.proxy.counted("lapse_requests_total", direction="inbound") == 8, "lapse_requests_total")


@case(each={"well": (0, "debug"), "unwell": (14, "info")})
def grpc_probes(pod, row):
    """A kubelet's gRPC probe that succeeds is a debug record, as its HTTP probes are; one that fails is a record like any."""
    client, server = begun(pod, "--log-level", "debug")
    call = client.call("/grpc.health.v1.Health/Check", ("user-agent", "kube-probe/1.36 grpc-go/1.72.2"))
    server.reply(server.headed(call.id), b"\x08\x01", status=row[0])
    client.finished(call)
    client.peer.fin()
    server.until(lambda: server.over, "the server is not told")
    server.peer.fin()
    record = pod.record(msg=CLOSED, reason="client_closed_idle", requests=1)
    expect(record["level"] == row[1], f"{record}")


# A server that dies

DEATHS = {"waiting": ("wait", None), "head": ("response", 200), "body": ("response", 200)}


@case(ways=WAYS, each={f"{how} {state}": (how, state) for how in ("fin", "rst") for state in DEATHS})
def server_dies(pod, row):
    """A server that ends its connection in the middle: a record for every stream that was open, and the connection's, by server; an answer
    for those that had no response head."""
    how, state = row
    phase, status = DEATHS[state]
    client, server = begun(pod)
    streams = [client.request(f"/{number}") for number in range(3)]
    for stream in streams:
        there = server.headed(stream.id)
        if status:
            server.respond(there, status, body=b"" if state == "head" else b"half of it", end=False)
    client.until(lambda: not status or all(stream.heads and (state == "head" or stream.body) for stream in streams), "no responses")
    getattr(server.peer, how)()
    client.until(lambda: client.over or all(stream.over for stream in streams), "the client is not told")
    client.peer.close()
    reason = {"fin": "server_closed_early", "rst": "server_reset"}[how]
    record = pod.record(msg=CLOSED, by="server", reason=reason, requests=3, failed=3)
    expect(record["streams_open"] == 3, f"{record}")
    for stream in streams:
        found = pod.record(msg=FAILED, stream=stream.id, by="server", phase=phase)
        expect(found.get("status") == (status or 502), f"{found}")
        if not status:
            check_own(stream, reason, status=502)
        expect(status is None or found["stream_sent_client"] == (10 if state == "body" else 0), f"{found}")


@case(ways=WAYS)
def server_finishes_with_a_response_under_way(pod):
    """A FIN of the server answers who waits, at once, and goes on; the timer of a response under way is told of and counted as ever."""
    app = pod.app(parked)
    pod.start(request="1s")
    client, server = pair(pod, app)
    waiting, reading = client.call(), client.request("/long")
    server.headed(waiting.id)
    server.respond(server.headed(reading.id), 200, body=b"half of it", end=False)
    client.until(lambda: reading.body, "no response")
    server.peer.fin()
    client.finished(waiting, within=0.5)
    check_own(waiting, "server_closed_early", grpc=14)
    client.ends("fin")
    pod.record(msg=FAILED, stream=reading.id, reason="request_timeout", timer="request", phase="response")
    expect(pod.proxy.counted("lapse_timeouts_total", timer="request") == 1, "not counted once")
    client.peer.fin()
    pod.record(msg=CLOSED, reason="server_closed_early", requests=2, failed=2, streams_open=1, own_resets=None)


@case(ways=WAYS)
def server_dies_inside_a_message(pod):
    """In the middle of a gRPC message: which message, how much of it."""
    client, server = begun(pod)
    call = client.call()
    there = server.headed(call.id)
    server.reply(there, *(b"m" * number for number in range(6)), end=False)
    server.data(there, message(b"x" * 4096)[:5 + 1203])
    client.until(lambda: len(call.body) == 6 * 5 + 15 + 5 + 1203, "not all came")
    server.peer.rst()
    client.until(lambda: client.over, "the client is not told")
    record = pod.record(msg=FAILED, stream=1, by="server", phase="response", status=200, messages_client=6, messages_server=1)
    expect(re.search(r"message 7, 1,?203 of 4,?096 bytes", record["detail"]), f"{record['detail']}")


@case()
def client_dies(pod):
    """A client that goes with streams open: by client, one record each, and the server is told."""
    client, server = begun(pod)
    for number in range(2):
        server.headed(client.request(f"/{number}").id)
    client.peer.rst()
    server.until(lambda: server.over, "the server is not told")
    pod.record(msg=CLOSED, by="client", requests=2, failed=2, streams_open=2)
    for number in (1, 3):
        pod.record(msg=FAILED, stream=number, by="client", phase="wait", reason=("client_aborted_wait", "client_reset"))


# GOAWAY

@case(ways=WAYS)
def calmed(pod):
    """GOAWAY(ENHANCE_YOUR_CALM, too_many_pings) of a server: code, last id and debug text, in both formats of the log and in a counter."""
    client, server = begun(pod)
    stream = client.request()
    server.headed(stream.id)
    for _ in range(5):
        client.send(frames.ping())
    server.send(frames.goaway(1, ENHANCE_YOUR_CALM, b"too_many_pings"))
    server.peer.fin()
    client.until(lambda: client.over, "the client is not told")
    client.peer.close()
    direction = "inbound" if pod.inbound else "outbound"
    record = pod.record(msg=CLOSED, reason="h2_protocol_error", by="server", goaway_by="server", goaway_code="ENHANCE_YOUR_CALM", goaway_last=1,
                        goaway_debug="too_many_pings")
    expect("too_many_pings" in record["detail"] and "ENHANCE_YOUR_CALM" in record["detail"], f"{record['detail']}")
    expect(pod.proxy.counted("lapse_goaways_total", by="code", direction=direction) == {"ENHANCE_YOUR_CALM": 1}, "lapse_goaways_total")
    expect(pod.proxy.counted("lapse_pings_total", by="leg", direction=direction).get("client") == 5, "lapse_pings_total")


@case(each={"json": "json", "text": "text"})
def debug_text_is_escaped(pod, log_format):
    """A debug text of any bytes, however long, is kept short and escaped; the line stays one line."""
    client, server = begun(pod, log_format=log_format)
    server.send(frames.goaway(0, INTERNAL_ERROR, b'say "hi"\n\x00\xff\x1b[31m' + b"z" * 16000))
    client.until(lambda: client.goaways(), "no GOAWAY")
    expect(len(client.goaways()[0].debug) > 16000, "it was cut on the way")
    for end in (server, client):
        end.peer.fin()
    record = pod.record(msg=CLOSED, goaway_code="INTERNAL_ERROR", goaway_by="server")
    expect("say" in record["goaway_debug"] and len(record["goaway_debug"]) <= 1024 and "\n" not in pod.proxy.text[-1], f"{record}")


@case()
def after_resets_of_ours(pod):
    """A server's GOAWAY with an error behind our own resets: how many there were."""
    client, server = begun(pod, request="300ms")
    streams = [client.request(f"/{number}") for number in range(12)]
    server.headed(streams[-1].id)
    together(lambda: all(stream.over for stream in streams), client, server)
    server.send(frames.goaway(23, ENHANCE_YOUR_CALM, b"rapid"))
    server.peer.fin()
    client.until(lambda: client.over, "the client is not told")
    client.peer.close()
    record = pod.record(msg=CLOSED, by="server", reason="h2_protocol_error", own_resets=12, failed=12)
    expect("12 resets of ours" in record["detail"], f"{record['detail']}")


@case(ways=WAYS)
def goaway_of_the_client(pod):
    """A client's GOAWAY is a client's: by client, its code."""
    client, server = begun(pod)
    alive(client, server)
    client.send(frames.goaway(0, frames.PROTOCOL_ERROR, b"no"))
    server.until(lambda: server.goaways(), "no GOAWAY")
    for end in (client, server):
        end.peer.fin()
    pod.record(msg=CLOSED, reason="h2_protocol_error", by="client", goaway_by="client", goaway_code="PROTOCOL_ERROR", goaway_debug="no")


# What a connection's record adds

@case()
def longest_and_blocked(pod):
    """How long the longest stream took, and how long DATA waited for the client's window."""
    client, server = begun(pod)
    client.credits = False
    stream = client.request()
    there = server.headed(stream.id)
    server.respond(there, 200, body=b"", end=False)
    while server.window:
        server.data(there, b"w" * min(server.window, 16384))
    time.sleep(1)
    client.send(frames.window_update(0, 10) + frames.window_update(1, 10))
    server.until(lambda: server.window == 10, "no credit")
    server.data(there, b"w" * 10, end=True)
    client.finished(stream)
    for end in (client, server):
        end.peer.fin()
    record = pod.record(msg=CLOSED)
    expect(0.9 <= record["longest_s"] <= 3, f"longest_s in {record}")
    expect(0.8 <= record.get("blocked_client_s", 0) <= 3 and "blocked_server_s" not in record, f"blocked in {record}")


@case(each={"plain": False, "paths": True})
def paths_on_demand(pod, wanted):
    """Method and path of a failed stream are in its record with --log-paths and else not; control bytes never are."""
    client, server = begun(pod, *(["--log-paths"] if wanted else []))
    stream = client.request("/secret?token=1\x7f")
    server.headed(stream.id)
    server.send(rst_stream(stream.id, INTERNAL_ERROR))
    client.finished(stream)
    record = one(pod, reason="stream_reset")
    expect(("path" in record) == wanted and ("method" in record) == wanted, f"{record}")
    expect(wanted or "secret" not in json.dumps(record), f"{record}")


# Access log, metrics, /connections

@case(ways=WAYS)
def access_log(pod):
    """--access-log: a line a stream, with its status, grpc-status, bytes and times; the counters are the same numbers."""
    client, server = begun(pod, "--access-log", request="1s")
    for path, status in (("/a?b=c", 200), ("/missing", 404)):
        stream = client.request(path)
        server.respond(server.headed(stream.id), status, body=b"answer")
        client.finished(stream)
    for status in (0, 5):
        call = client.call(f"/lapse.Test/Call{status}")
        server.reply(server.headed(call.id), b"message", status=status)
        client.finished(call)
    cut = client.call("/lapse.Test/Slow")
    server.headed(cut.id)
    client.finished(cut)
    check_own(cut, "request_timeout", grpc=4)
    until(lambda: len(pod.proxy.records(REQUEST)) >= 5, lambda: f"{pod.proxy.records(REQUEST)}")
    lines = {line["path"]: line for line in pod.proxy.records(REQUEST)}
    expect(len(lines) == 5 and {line["protocol"] for line in lines.values()} == {"http/2"}, f"{lines}")
    expect({path: line["status"] for path, line in lines.items()} == {
        "/a?b=c": 200, "/missing": 404, "/lapse.Test/Call0": 200, "/lapse.Test/Call5": 200, "/lapse.Test/Slow": 200}, f"{lines}")
    expect({path: line.get("grpc_status") for path, line in lines.items()} == {
        "/a?b=c": None, "/missing": None, "/lapse.Test/Call0": 0, "/lapse.Test/Call5": 5, "/lapse.Test/Slow": 4}, f"{lines}")
    slow = lines["/lapse.Test/Slow"]
    expect(slow["answer"] == "proxy" and slow.get("reason") == "request_timeout", f"{slow}")
    expect(lines["/a?b=c"]["method"] == "GET" and lines["/a?b=c"].get("host") == "app" and lines["/a?b=c"]["answer"] == "server", f"{lines}")


@case(ways=WAYS)
def metrics(pod):
    """Requests, responses by class with the protocol's label, resets, GOAWAYs, PINGs, streams open, grpc-status: as it was."""
    client, server = begun(pod)
    direction = "inbound" if pod.inbound else "outbound"
    held = [client.request(f"/held{number}") for number in range(3)]
    server.headed(held[-1].id)
    until(lambda: pod.proxy.counted("lapse_streams_open", direction=direction) == 3, lambda: f"{pod.proxy.counted('lapse_streams_open')} streams open")
    for status in (200, 200, 404, 503):
        stream = client.request()
        server.respond(server.headed(stream.id), status, body=b"")
        client.finished(stream)
    for status in (0, 0, 7, 16, 17, 99):
        call = client.call()
        server.reply(server.headed(call.id), status=status)
        client.finished(call)
    client.send(rst_stream(held[0].id, CANCEL))
    server.send(rst_stream(held[1].id, REFUSED_STREAM) + frames.ping())
    client.finished(held[1])
    server.finished(held[0].id)
    server.respond(server.stream(held[2].id))
    client.finished(held[2])
    counted = pod.proxy.counted
    now = pod.proxy.metrics()
    expect(counted("lapse_streams_open", metrics=now) == 0, "streams open")
    expect(counted("lapse_requests_total", direction=direction, metrics=now) == 13, f"requests {counted('lapse_requests_total', metrics=now)}")
    statuses = counted("lapse_responses_total", by="status", direction=direction, metrics=now)
    expect((statuses.get("2xx"), statuses.get("4xx"), statuses.get("5xx")) == (9, 1, 1), f"{statuses}")
    expect(counted("lapse_stream_resets_total", by="code", metrics=now) == {"CANCEL": 1, "REFUSED_STREAM": 1}, "resets by code")
    expect(counted("lapse_stream_resets_total", by="by", metrics=now) == {"client": 1, "server": 1}, "resets by side")
    expect(counted("lapse_pings_total", by="leg", metrics=now) == {"server": 1}, "pings")
    grpc = counted("lapse_grpc_responses_total", by="grpc_status", metrics=now)
    expect({"0": 2, "7": 1, "16": 1}.items() <= grpc.items() and all(int(each) <= 16 for each in grpc if each.isdigit()), f"grpc-status {grpc}")
    by_protocol = counted("lapse_requests_total", by="protocol", metrics=now)
    expect(by_protocol.get("http/2") == 13, f"requests by protocol {by_protocol}")


@case()
def protocols_apart(pod):
    """HTTP/1 and HTTP/2 at once: each request under its own protocol."""
    pod.app(http(), port=8081)
    app = pod.app(serving(lambda end, stream: end.respond(stream)))
    pod.start()
    client = Http2(pod.dial(), True).start()
    peer = pod.dial(8081)
    for _ in range(3):
        stream = client.request()
        client.finished(stream)
    peer.ask()
    until(lambda: pod.proxy.counted("lapse_requests_total", by="protocol") == {"http/1.1": 1, "http/2": 3},
          lambda: f"{pod.proxy.counted('lapse_requests_total', by='protocol')}")
    expect(app.count == 1, "more than one connection")


@case()
def connections_show_streams(pod):
    """/connections: the connection's streams with id, state, age and next deadline; gone when they are over."""
    client, server = begun(pod, request="1h", stream_idle="30m")
    streams = [client.request("/open", method="POST", end=False), client.call()]
    server.headed(streams[-1].id)
    status, body = pod.proxy.admin("/connections", "GET", "Accept: application/json")
    said = json.loads(body)
    expect(status == 200, f"{status}")
    found = [each for each in said["connections"] if each.get("protocol") == "http/2"]
    expect(len(found) == 1 and found[0]["stage"] == "streams", f"{said}")
    shown = found[0].get("streams")
    shown = shown if isinstance(shown, list) else found[0].get("open_streams", [])
    expect([each.get("stream", each.get("id")) for each in shown] == [1, 3], f"no streams in {found[0]}")
    expect("streamIdle" in json.dumps(shown), f"no next deadline in {shown}")
    for stream in streams:
        server.send(rst_stream(stream.id))
        client.finished(stream)
    said = json.loads(pod.proxy.admin("/connections", "GET", "Accept: application/json")[1])
    expect(not said["connections"][0].get("streams"), f"{said}")
