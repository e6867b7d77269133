"""The timeouts of HTTP: when each fires, what it says, what the client gets, what restarts it; and where values come from."""
import re
import time

from .harness import (ALL_WAYS, BINARY, BODIES, CLOSED, after, black_hole, case, check_answer, echo, expect, http, ok, request,
                      silent, stalls_after, took, upgraded)

OUT = ("out4",)


# idleConnection

@case(ways=ALL_WAYS)
def idle_connection(pod):
    """idleConnection: FIN after 1 s without a request, idle_timeout; the record says timer, value, source, idle time."""
    pod.app()
    pod.start(idle_connection="1s")
    peer = pod.dial()
    peer.ask()
    with took(1):
        peer.ends("fin")
    record = pod.ended("idle_timeout", by="proxy", phase="idle", timer="idleConnection", value="1s",
                       set_by=re.compile("--timeout-idle-connection"), protocol="http/1.1", requests=1,
                       direction="inbound" if pod.inbound else "outbound")
    expect(0.9 <= record["idle_s"] <= 3 and record["open_s"] >= 0.9, f"idle_s {record['idle_s']}, open_s {record['open_s']}")
    expect("idleConnection" in record["detail"] and "1s" in record["detail"], f"detail: {record['detail']}")
    fired = pod.proxy.counted("lapse_timeouts_total", by="timer")
    expect(fired == {"idleConnection": 1}, f"counted: {fired}")


@case()
def idle_connection_restarts(pod):
    """idleConnection counts from the last response: three requests 0.6 s apart, a fourth answer after 1.5 s, then 1 s."""
    pod.app(http(lambda message: after(1.5) if message.target == "/slow" else ok()))
    pod.start(idle_connection="1s")
    peer = pod.dial()
    for _ in range(3):
        peer.ask()
        peer.stays(0.6)
    peer.ask("GET", "/slow")
    with took(1):
        peer.ends("fin")
    pod.ended("idle_timeout", requests=4)


@case()
def idle_race(pod):
    """A request sent just as the idle connection is being closed is recorded as idle_race."""
    pod.app()
    pod.start(idle_connection="1s")
    peer = pod.dial()
    peer.ask()
    ended, _ = peer.end()
    peer.send(request())
    expect(ended == "fin", f"got {ended}")
    pod.ended("idle_race", by="proxy", timer="idleConnection")


# request and backendRequest

TIMED = {"request": ("request", "request_timeout"), "backendRequest": ("backendRequest", "backend_request_timeout")}


def start_timed(pod, timer):
    pod.start(**{"request": "1s"} if timer == "request" else {"backend_request": "1s"})


@case(each=TIMED)
def no_response(pod, timed):
    """request, backendRequest: 504 that names the reason when no response head came in 1 s."""
    timer, reason = timed
    pod.app(silent)
    start_timed(pod, timer)
    peer = pod.dial()
    with took(1):
        peer.send(request())
        response = peer.response()
    check_answer(response, 504, reason)
    pod.fired(timer, reason, phase="wait", by="proxy")
    expect(pod.apps[0].ended() in ("fin", "rst"), "the server leg stays open")


@case(ways=("out6",))
def no_response_text(pod):
    """A client that accepts text gets one line of text with the reason."""
    pod.app(silent)
    pod.start(request="500ms")
    peer = pod.dial()
    peer.send(request("GET", "/", "Accept: text/plain"))
    check_answer(peer.response(), 504, "request_timeout", text=True)
    pod.fired("request", "request_timeout", value="500ms")


@case(each={f"{timer} {body}": (*TIMED[timer], body) for timer in TIMED for body in BODIES})
def unfinished_response(pod, what):
    """request, backendRequest: a response still under way after 1 s is cut by RST, never ended cleanly."""
    timer, reason, body = what
    pod.app(stalls_after(BODIES[body], b"part"))
    start_timed(pod, timer)
    peer = pod.dial()
    with took(1):
        peer.send(request())
        peer.ends("rst", data=BODIES[body] + b"part")
    pod.fired(timer, reason, phase="response", msg=CLOSED)


@case(ways=OUT)
def request_includes_connecting(pod):
    """request runs while connecting: 504 request_timeout before connect's own time is over."""
    pod.start(request="1s", connect="10s")
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        with took(1):
            peer.send(request())
            response = peer.response()
        check_answer(response, 504, "request_timeout")
    pod.fired("request", "request_timeout", phase="connect")


@case()
def request_includes_upload(pod):
    """request runs while the request's body arrives, however steadily."""
    pod.app()
    pod.start(request="1s")
    peer = pod.dial()
    with took(1):
        peer.send(request("POST", "/", "Content-Length: 100"))
        sent = peer.trickle(b"x" * 99, 0.1)
        response = peer.response()
    expect(sent < 40, "the upload was not stopped")
    check_answer(response, 504, "request_timeout", closes=True)
    pod.fired("request", "request_timeout", phase="request")


@case()
def quick_requests_live(pod):
    """Requests that are quick enough are not touched by request and backendRequest, one after the other."""
    pod.app(http(lambda message: after(0.4)))
    pod.start(request="1s", backend_request="900ms")
    peer = pod.dial()
    for _ in range(4):
        peer.ask()


# streamIdle

@case()
def stream_idle_request(pod):
    """streamIdle with an unfinished request: 408 stream_idle_timeout."""
    pod.app()
    pod.start(stream_idle="1s")
    peer = pod.dial()
    with took(1):
        peer.send(request("POST", "/", "Content-Length: 10") + b"abc")
        response = peer.response()
    check_answer(response, 408, "stream_idle_timeout", closes=True)
    pod.fired("streamIdle", "stream_idle_timeout", phase="request", msg=CLOSED)
    peer.ends("fin")


@case(ways=("in4", "out4"))
def stream_idle_wait(pod):
    """streamIdle with a complete request and no response head: 504 stream_idle_timeout."""
    pod.app(silent)
    pod.start(stream_idle="1s")
    peer = pod.dial()
    with took(1):
        peer.send(request())
        response = peer.response()
    check_answer(response, 504, "stream_idle_timeout")
    pod.fired("streamIdle", "stream_idle_timeout", phase="wait")


@case(each=BODIES)
def stream_idle_response(pod, head):
    """streamIdle inside a response: cut by RST."""
    pod.app(stalls_after(head, b"part"))
    pod.start(stream_idle="1s")
    peer = pod.dial()
    with took(1):
        peer.send(request())
        peer.ends("rst", data=head + b"part")
    pod.fired("streamIdle", "stream_idle_timeout", phase="response", msg=CLOSED)


@case()
def stream_idle_restarts(pod):
    """streamIdle restarts with any byte either way: a slow upload and a slow download of 2 s each pass."""
    def slowly(message):
        def serve(peer):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            for _ in range(4):
                time.sleep(0.5)
                peer.send(b"x")
            return b""
        return serve
    pod.app(http(slowly))
    pod.start(stream_idle="1s")
    peer = pod.dial()
    peer.send(request("POST", "/", "Content-Length: 4"))
    for _ in range(4):
        peer.stays(0.5)
        peer.send(b"y")
    expect(peer.response().body == b"xxxx", "wrong body")


@case(ways=("in4", "out6"))
def tunnel_idle(pod):
    """streamIdle in a tunnel: restarted by any byte, then FIN to both sides, tunnel_idle_timeout."""
    app = pod.app(http(upgraded))
    pod.start(stream_idle="1s", idle_connection="300ms")
    peer = pod.dial()
    peer.send(request("GET", "/", "Connection: upgrade", "Upgrade: raw"))
    expect(peer.response().status == 101, "no 101")
    for _ in range(3):
        peer.send(b"ping")
        expect(peer.exactly(4) == b"ping", "the tunnel does not echo")
        peer.stays(0.6)
    with took(0.4):
        peer.ends("fin")
    expect(app.ended() == "fin", "the server's side was not closed by FIN")
    pod.ended("tunnel_idle_timeout", timer="streamIdle", phase="tunnel", by="proxy")


# requestHeaders

@case(ways=("in4", "out6"))
def request_headers(pod):
    """requestHeaders: a head that does not end in 1 s gets 408 and FIN, header_timeout."""
    app = pod.app()
    pod.start(request_headers="1s")
    peer = pod.dial()
    with took(1):
        peer.send(b"GET / HTTP/1.1\r\nHost: a")
        response = peer.response()
    check_answer(response, 408, "header_timeout", closes=True)
    peer.ends("fin")
    pod.fired("requestHeaders", "header_timeout", phase="head", by="proxy", msg=CLOSED)
    expect(not any(each.received for each in app.peers), "bytes of the unfinished head reached the app")


@case()
def request_headers_byte_by_byte(pod):
    """requestHeaders is not restarted: a client that sends a byte every 0.2 s gets its 408 after 1 s all the same."""
    pod.app()
    pod.start(request_headers="1s")
    peer = pod.dial()
    with took(1):
        sent = peer.trickle(request("GET", "/", "X-Long: " + "x" * 200), 0.2)
        response = peer.response()
    expect(sent < 20, f"{sent} bytes were read")
    check_answer(response, 408, "header_timeout", closes=True)
    pod.fired("requestHeaders", "header_timeout")


@case()
def request_headers_later_request(pod):
    """requestHeaders counts from the first byte of each head, not from the end of the last response."""
    pod.app()
    pod.start(request_headers="1s")
    peer = pod.dial()
    peer.ask()
    peer.stays(1.5)
    peer.ask()
    peer.stays(0.5)
    with took(1):
        peer.send(b"GET")
        response = peer.response()
    check_answer(response, 408, "header_timeout", closes=True)
    pod.fired("requestHeaders", "header_timeout", requests=2)


# maxConnection

@case()
def max_connection_http(pod):
    """maxConnection: the response under way is completed with Connection: close, then FIN."""
    pod.app(http(lambda message: after(1.5)))
    pod.start(max_connection="1s")
    peer = pod.dial()
    with took(1.5):
        response = peer.ask()
    expect(response.get("connection", "").lower() == "close", "the response does not announce the close")
    peer.ends("fin")
    pod.fired("maxConnection", "max_connection", by="proxy", requests=1, msg=CLOSED)


@case()
def max_connection_idle(pod):
    """maxConnection: an idle HTTP connection gets FIN when 1 s is over."""
    pod.app()
    pod.start(max_connection="1s")
    peer = pod.dial()
    with took(1):
        peer.ask()
        peer.ends("fin")
    pod.fired("maxConnection", "max_connection", phase="idle", msg=CLOSED)


# Where values come from

@case()
def from_environment(pod):
    """LAPSE_TIMEOUT_IDLE_CONNECTION sets the timer and is named as its source."""
    pod.app()
    pod.start(environment={"LAPSE_TIMEOUT_IDLE_CONNECTION": "700ms"})
    peer = pod.dial()
    peer.ask()
    with took(0.7):
        peer.ends("fin")
    pod.ended("idle_timeout", value="700ms", set_by=re.compile("LAPSE_TIMEOUT_IDLE_CONNECTION"))


@case()
def flag_before_environment(pod):
    """The flag wins over the environment."""
    pod.app()
    pod.start(idle_connection="700ms", environment={"LAPSE_TIMEOUT_IDLE_CONNECTION": "1h"})
    peer = pod.dial()
    peer.ask()
    with took(0.7):
        peer.ends("fin")
    pod.fired("idleConnection", "idle_timeout", value="700ms")


OFF = ("request", "backend_request", "stream_idle", "request_headers", "idle_connection", "tcp_idle", "half_close", "detect",
       "server_idle", "unacknowledged", "max_connection")


@case()
def zero_turns_off(pod):
    """0s disables every timeout and wins over what the environment sets."""
    pod.app(http(lambda message: after(0.8)))
    pod.app(echo, port=8081)
    pod.start(**{name: "0s" for name in OFF}, environment={f"LAPSE_TIMEOUT_{name.upper()}": "300ms" for name in OFF})
    peer, opaque, undecided = pod.dial(), pod.dial(8081), pod.dial()
    opaque.send(BINARY)
    opaque.exactly(len(BINARY))
    undecided.send(b"G")
    peer.ask()
    for part in (b"GET / HT", b"TP/1.1\r\nHost: x\r\n\r\n"):
        peer.stays(0.6)
        peer.send(part)
    peer.response()
    opaque.stays(0.1)
    opaque.fin()
    opaque.ends("fin")
    undecided.send(b"ET / HTTP/1.1\r\nHost: x\r\n\r\n")
    undecided.response()


@case(ways=OUT)
def zero_connect(pod):
    """connect=0s: no limit of ours on connecting."""
    pod.app(port=9)
    pod.start(connect="0s", environment={"LAPSE_TIMEOUT_CONNECT": "300ms"})
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        peer.send(request())
        peer.stays(0.8)
    peer.response()


@case()
def rounds_up(pod):
    """A value below a millisecond is one millisecond, not off; fractions and sums are read."""
    pod.app()
    pod.start(idle_connection="1ns", half_close="1.5s", tcp_idle="1h2m3s")
    peer = pod.dial()
    peer.ask()
    peer.ends("fin")
    pod.ended("idle_timeout", value="1ms")
