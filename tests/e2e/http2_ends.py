"""How a connection of HTTP/2 ends: idleConnection, maxConnection and drain by GOAWAY, halfClose, unacknowledged; a GOAWAY of the server's before."""
import json
import signal
import time

from .harness import CLOSED, Http2, case, check_own, expect, frames, pair, parked, punctual
from .harness.frames import GOAWAY, LAST, PING, PREFACE, SETTINGS

WAYS = ("in4", "out6")


def goodbye(got, last):
    """Frames that are one GOAWAY(NO_ERROR) with this last id, and nothing of ours beside it."""
    said = [each for each in got if each.kind not in (frames.WINDOW_UPDATE, SETTINGS)]
    expect([(each.kind, each.code, each.last) for each in said if each.kind == GOAWAY] == [(GOAWAY, "NO_ERROR", last)] and len(said) == 1, f"got {got}")


def gone(server, within=3.0):
    """How the server's connection ended, after at most a GOAWAY."""
    deadline = time.monotonic() + within
    while not server.over and time.monotonic() < deadline:
        server.read(0.1)
    expect(server.over, f"the server's connection stays open: {server.frames[-3:]}")
    return server.over


# idleConnection

@case(ways=WAYS)
def idle_connection(pod):
    """idleConnection, 1 s from the end of the last stream: one GOAWAY(NO_ERROR) with the last id, then FIN; the server's side ends too."""
    app = pod.app(parked)
    pod.start(idle_connection="1s")
    client, server = pair(pod, app)
    for _ in range(2):
        stream = client.request()
        time.sleep(0.6)
        server.respond(server.headed(stream.id))
        client.finished(stream)
    with punctual(1, within=0.1):
        got = client.ends("fin")
    goodbye(got, 3)
    expect(gone(server) == "fin", "the server was reset")
    record = pod.ended("idle_timeout", by="proxy", timer="idleConnection", value="1s", requests=2, protocol="http/2", phase=("idle", "streams"))
    expect(0.9 <= record["idle_s"] <= 3, f"idle_s {record['idle_s']}")


@case()
def idle_from_the_beginning(pod):
    """A connection that never opens a stream is idle from its greeting: GOAWAY with last id 0."""
    app = pod.app(parked)
    pod.start(idle_connection="700ms")
    with punctual(0.7, within=0.2):
        client, server = pair(pod, app)
        got = client.ends("fin")
    goodbye(got, 0)
    gone(server)
    pod.ended("idle_timeout", requests=0)


@case()
def idle_is_not_postponed_by_pings(pod):
    """PING, SETTINGS and WINDOW_UPDATE of either end are no request: idleConnection counts on."""
    app = pod.app(parked)
    pod.start(idle_connection="1s")
    client, server = pair(pod, app)
    with punctual(1, within=0.2):
        for _ in range(3):
            time.sleep(0.25)
            client.send(frames.ping() + frames.window_update(0, 10))
            server.send(frames.ping())
        client.ends("fin")
    pod.ended("idle_timeout")


@case()
def not_idle_while_streams_are_open(pod):
    """A stream that is open is no idle time, however silent it is; one that is reset ends it."""
    app = pod.app(parked)
    pod.start(idle_connection="500ms")
    client, server = pair(pod, app)
    stream = client.call(end=False)
    server.headed(stream.id)
    client.quiet(1.2)
    with punctual(0.5, within=0.1):
        server.send(frames.rst_stream(stream.id, frames.REFUSED_STREAM))
        goodbye([each for each in client.ends("fin") if each.kind == GOAWAY], 1)
    expect(stream.reset == "REFUSED_STREAM", f"{stream}")


@case()
def request_behind_the_goodbye(pod):
    """A stream opened behind our GOAWAY is above its last id: it reaches nobody, and the client knows that it may be tried elsewhere."""
    app = pod.app(parked)
    pod.start(idle_connection="500ms")
    client, server = pair(pod, app)
    client.ends("fin")
    client.over = None
    try:
        client.request("/too/late")
        client.peer.fin()
    except ConnectionError:
        pass
    gone(server)
    expect(1 not in server.streams, f"the server got {server.streams}")
    pod.record(msg=CLOSED, reason=("idle_timeout", "idle_race"), timer="idleConnection")


# maxConnection and drain: GOAWAY twice

def leaving(client):
    """The first GOAWAY and the PING behind it, which the client does not answer yet; the PING."""
    client.until(lambda: any(each.kind == PING for each in client.frames), "no PING behind the first GOAWAY")
    said = [each for each in client.frames if each.kind in (GOAWAY, PING)]
    expect([(each.kind, each.code, each.last) for each in said[:-1]] == [(GOAWAY, "NO_ERROR", LAST)] and not said[-1].ack, f"got {said}")
    return said[-1]


def twice(client, server, ping, streams):
    """From the first GOAWAY to the end: a stream that was on its way is served, the last id told covers it, one above it reaches nobody."""
    stream = client.request("/on/its/way")
    there = server.headed(stream.id)
    client.send(frames.ping(ping.payload, ack=True))
    client.until(lambda: len(client.goaways()) == 2, "no second GOAWAY")
    expect((client.goaways()[1].code, client.goaways()[1].last) == ("NO_ERROR", stream.id), f"{client.goaways()}")
    client.request("/above")
    for each in (*streams, stream):
        server.respond(server.headed(each.id), 200, body=b"in time")
        client.finished(each)
        expect((each.status, each.body) == (200, b"in time"), f"{each}")
    client.ends("fin", within=3)
    expect(len(client.goaways()) == 2, f"{client.goaways()}")
    gone(server)
    expect(not [each for each in server.frames if each.kind == PING], "the PING's answer reached the server, who had not asked")
    expect(stream.id + 2 not in server.streams and there.reset is None, f"{server.streams}")


@case(ways=WAYS)
def max_connection(pod):
    """maxConnection: GOAWAY(2^31-1), a PING of ours, GOAWAY(last id) once it was answered; streams run to their end, then FIN."""
    app = pod.app(parked)
    pod.start(max_connection="1s")
    with punctual(1, within=0.1):
        client, server = greeted(pod, app)
        stream = client.request("/under/way")
        server.headed(stream.id)
        ping = leaving(client)
    twice(client, server, ping, [stream])
    pod.ended("max_connection", by="proxy", timer="maxConnection", value="1s", requests=lambda count: count in (2, 3))


def greeted(pod, app):
    """pair(), whose client answers no PING from then on."""
    client, server = pair(pod, app)
    client.polite = False
    return client, server


@case()
def max_connection_without_streams(pod):
    """maxConnection on a connection without streams: GOAWAY, then FIN, soon."""
    app = pod.app(parked)
    pod.start(max_connection="1s")
    with punctual(1, within=0.2):
        client, server = pair(pod, app)
        got = client.ends("fin")
    said = [(each.code, each.last) for each in got if each.kind == GOAWAY]
    expect(said in ([("NO_ERROR", LAST), ("NO_ERROR", 0)], [("NO_ERROR", 0)]), f"{got}")
    gone(server)
    pod.ended("max_connection", timer="maxConnection")


@case()
def max_connection_client_does_not_answer(pod):
    """A client that does not answer the PING is not waited for for ever: what is open ends well, and then the connection."""
    app = pod.app(parked)
    pod.start(max_connection="500ms")
    client, server = greeted(pod, app)
    stream = client.request()
    server.headed(stream.id)
    leaving(client)
    server.respond(server.stream(stream.id))
    client.finished(stream)
    client.ends("fin", within=12)
    pod.ended("max_connection")


@case(ways=WAYS, each={"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT})
def drain(pod, number):
    """Drain: the same goodbye; streams under way run to their end, then FIN and exit 0."""
    app = pod.app(parked)
    pod.start(drain="20s")
    client, server = greeted(pod, app)
    stream = client.call()
    server.headed(stream.id)
    pod.proxy.signal(number)
    ping = leaving(client)
    twice(client, server, ping, [stream])
    proxy = pod.stop(signals=())
    expect([record["reason"] for record in proxy.records(CLOSED)] == ["drain"], f"{proxy.records(CLOSED)}")


@case()
def drain_idle(pod):
    """Drain of connections without streams: GOAWAY and FIN at once."""
    app = pod.app(parked)
    pod.start()
    pairs = [pair(pod, app) for _ in range(3)]
    pod.proxy.signal(signal.SIGTERM)
    for client, _ in pairs:
        got = client.ends("fin", within=3)
        expect(any(each.kind == GOAWAY for each in got), f"{got}")
    proxy = pod.stop(signals=())
    expect([record["reason"] for record in proxy.records(CLOSED)] == ["drain"] * 3, f"{proxy.records(CLOSED)}")


@case()
def drain_forced(pod):
    """A stream that outlives drain=1s ends with its connection: RST, drain_forced, exit 0."""
    app = pod.app(parked)
    pod.start(drain="1s")
    client, server = pair(pod, app)
    server.headed(client.request().id)
    with punctual(1, within=0.3):
        pod.proxy.signal(signal.SIGTERM)
        client.ends("rst")
    proxy = pod.stop(signals=())
    reasons = [record["reason"] for record in proxy.records(CLOSED)]
    expect(reasons == ["drain_forced"], f"{reasons}")


# A GOAWAY of the server's first

@case(ways=WAYS)
def behind_the_servers_goaway(pod):
    """Streams above a server's last id have no timer any more; a GOAWAY of ours behind it never names a larger id."""
    app = pod.app(parked)
    pod.start(request="1s", max_connection="1800ms")
    client, server = greeted(pod, app)
    streams = [client.request(f"/{number}") for number in range(3)]
    server.headed(streams[-1].id)
    server.send(frames.goaway(LAST, debug=b"soon") + frames.goaway(1, debug=b"now"))
    with punctual(1, within=0.2):
        client.finished(streams[0])
    check_own(streams[0], "request_timeout")
    client.drain(0.4)
    expect(not streams[1].frames and not streams[2].frames, f"above the last id: {streams[1:]}")
    client.polite = True
    client.ends("fin", within=4)
    said = [(each.last, each.debug) for each in client.goaways()]
    expect(said[:2] == [(LAST, b"soon"), (1, b"now")], f"the server's own: {said}")
    expect(all(last <= 1 for last, _ in said[2:]) and said[2:], f"a GOAWAY of ours rises: {said}")


@case(ways=WAYS)
def age_of_the_servers(pod):
    """A server that leaves by its own age (GOAWAY, the rest of its streams, FIN) is not in our way: every byte and end as it was."""
    app = pod.app(parked)
    pod.start()
    client, server = pair(pod, app)
    stream = client.request()
    server.headed(stream.id)
    server.send(frames.goaway(LAST) + frames.ping(b"are you?"))
    client.until(lambda: any(each.kind == PING for each in client.frames), "no PING")
    server.until(lambda: any(each.kind == PING and each.ack and each.payload == b"are you?" for each in server.frames), "no answer to the server's PING")
    server.send(frames.goaway(stream.id, debug=b"max_age"))
    server.respond(server.stream(stream.id))
    server.peer.fin()
    client.ends("fin")
    expect(stream.body == b"ok\n" and [each.last for each in client.goaways()] == [LAST, stream.id], f"{client.frames}")
    client.peer.fin()
    pod.ended("h2_goaway", by="server", goaway_by="server", goaway_code="NO_ERROR", goaway_last=1, goaway_debug="max_age")


# halfClose, unacknowledged

@case()
def answered_behind_a_fin(pod):
    """A client that says FIN behind its request gets its answer all the same, and halfClose is not in the way of a slow one that moves."""
    app = pod.app(parked)
    pod.start(half_close="700ms")
    client, server = pair(pod, app)
    stream = client.request()
    server.headed(stream.id)
    client.peer.fin()
    server.respond(server.stream(stream.id), body=b"", end=False)
    for _ in range(4):
        time.sleep(0.4)
        server.send(frames.data(stream.id, b"x"))
    server.send(frames.data(stream.id, b"", True))
    server.peer.fin()
    client.credits = False
    client.ends("fin")
    expect(stream.body == b"xxxx" and stream.ended, f"{stream}")


@case(ways=WAYS)
def expires_behind_a_fin(pod):
    """A timer that ends a call behind its client's FIN: the answer comes, by the timer's name, though the server cannot be told any more."""
    app = pod.app(parked)
    pod.start(request="700ms")
    client, server = pair(pod, app)
    call = client.call()
    server.headed(call.id)
    with punctual(0.7, within=0.2):
        client.peer.fin()
        client.finished(call)
    check_own(call, "request_timeout", grpc=4)
    expect(gone(server) == "fin", "the server was reset")
    server.peer.fin()
    client.ends("fin")
    pod.record(msg=CLOSED, reason="client_closed_idle", by="client")


@case()
def half_close(pod):
    """halfClose: a FIN, and no byte from the other side for 1 s: RST both."""
    app = pod.app(parked)
    pod.start(half_close="1s")
    client, server = pair(pod, app)
    stream = client.request()
    server.headed(stream.id)
    with punctual(1):
        client.peer.fin()
        client.ends("rst")
    expect(gone(server) in ("rst", "fin"), "the server's side stays open")
    pod.record(msg=CLOSED, reason="half_close_timeout", timer="halfClose", value="1s", by="proxy")


@case()
def client_vanishes(pod):
    """unacknowledged: a client that acknowledges nothing for 1 s has vanished, on HTTP/2 as elsewhere."""
    app = pod.app(parked)
    pod.start(unacknowledged="1s")
    client, server = pair(pod, app)
    stream = client.request()
    server.headed(stream.id)
    time.sleep(0.3)
    with pod.client.cut():
        with punctual(1, within=0.3):
            server.respond(server.stream(stream.id))
            server.until(lambda: server.over, "the server's connection stays open", within=6)
        pod.record(msg=CLOSED, reason="client_vanished", timer="unacknowledged", value="1s", by="network")


# Which end speaks first

@case(ways=WAYS)
def settings_before_preface(pod):
    """A server of HTTP/2 speaks first too: its SETTINGS, here before a client that is late with its preface, decides nothing."""
    app = pod.app(lambda peer: peer.send(frames.settings()) and parked(peer))
    pod.start(request="500ms")
    peer = pod.dial()
    time.sleep(0.3)
    client = Http2(peer, True).start()
    far = app.peer()
    expect(far.exactly(len(PREFACE)) == PREFACE, "no preface")
    server = Http2(far, False)
    server.send(frames.SETTINGS_ACK)
    client.until(lambda: client.greeted, "no SETTINGS")
    with punctual(0.5, within=0.1):
        stream = client.request()
        client.until(lambda: stream.over, "request does not fire", within=2)
    check_own(stream, "request_timeout")
    for end in (client, server):
        end.peer.fin()
    pod.record(msg=CLOSED, protocol="http/2")


@case(each={"idle": 0, "two calls": 2})
def closed_by_an_operator(pod, calls):
    """POST /connections/close: every call gets its answer, then GOAWAY and FIN."""
    app = pod.app(parked)
    pod.start()
    client, server = pair(pod, app)
    streams = [client.call() for _ in range(calls)]
    if streams:
        server.headed(streams[-1].id)
    status, body = pod.proxy.admin("/connections/close?protocol=http%2F2", "POST")
    expect(status == 200 and json.loads(body) == {"closed": 1}, f"{status} {body}")
    for stream in streams:
        client.finished(stream)
        check_own(stream, "admin_closed", grpc=14)
    client.ends("fin")
    pod.record(reason="admin_closed", by="proxy", msg=CLOSED)
