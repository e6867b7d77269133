"""Each close reason that no timer causes: FIN and RST from either side in every phase, and what goes wrong with dialling."""
import glob
import os
import re
import signal
import threading
import time

from .harness import (ALL_WAYS, BINARY, BODIES, CLOSED, DEAD_PORTS_TOO, FAILED, REASONS, after, black_hole, case, check_answer, echo,
                      expect, http, ok, request, script, silent, table, until, upgraded)

PARTIAL_HEAD = b"GET / HTTP/1.1\r\nHost: a"
PARTIAL_BODY = request("POST", "/", "Content-Length: 10") + b"abc"
UPGRADE = request("GET", "/", "Connection: upgrade", "Upgrade: raw")


# The client ends, phase by phase.

@case(ways=ALL_WAYS)
def client_fin_unused(pod):
    """Client FIN before any byte (a probe): client_closed_unused, at debug."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.fin()
    peer.ends("fin")
    record = pod.ended("client_closed_unused", by="client")
    expect(record["level"] == "debug", f"logged at {record['level']}")


@case()
def client_rst_unused(pod):
    """Client RST before any byte: client_reset."""
    pod.app()
    pod.start()
    pod.dial().rst()
    pod.ended(("client_reset", "client_closed_unused"), by="client", phase=("accept", "detect", "connect"))


@case(each={"head": PARTIAL_HEAD, "body": PARTIAL_BODY}, ways=("in4", "out6"))
def client_fin_in_request(pod, part):
    """Client FIN inside a request head or body: client_closed_request, 400 while it can still be read."""
    app = pod.app()
    pod.start()
    peer = pod.dial()
    peer.send(part).fin()
    response = peer.response()
    check_answer(response, 400, "client_closed_request", closes=True)
    peer.ends("fin")
    pod.ended("client_closed_request", by="client", phase="head" if part is PARTIAL_HEAD else "request")
    expect(all(app.ended(number) in ("fin", "rst") or "inside" in app.ended(number) for number in range(app.count)), "leg open")


@case(each={"head": PARTIAL_HEAD, "body": PARTIAL_BODY})
def client_rst_in_request(pod, part):
    """Client RST inside a request head or body: client_reset, the phase says where."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.send(part)
    peer.stays(0.1)
    peer.rst()
    pod.ended("client_reset", by="client", phase="head" if part is PARTIAL_HEAD else "request")


@case(ways=("in4", "out6"))
def client_fin_while_waiting(pod):
    """Client FIN after a complete request is normal: the answer comes, then FIN."""
    pod.app(http(lambda message: after(0.3, ok(b"late"))))
    pod.start()
    peer = pod.dial()
    peer.send(request()).fin()
    expect(peer.response().body == b"late", "wrong answer")
    peer.ends("fin")
    pod.ended(("done", "client_closed_idle"), by="client", requests=1)


@case()
def client_rst_while_waiting(pod):
    """Client RST while waiting for its response: client_aborted_wait; the server leg is closed too."""
    app = pod.app(silent)
    pod.start()
    peer = pod.dial()
    peer.send(request())
    peer.stays(0.1)
    peer.rst()
    pod.ended("client_aborted_wait", by="client", phase="wait")
    expect(app.ended() in ("fin", "rst"), "the server leg stays open")


@case(ways=("out4",))
def client_rst_while_connecting(pod):
    """Client RST while the server is being dialled: the dial is given up."""
    pod.start()
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        peer.send(request())
        peer.stays(0.2)
        peer.rst()
        pod.ended(("client_aborted_wait", "client_reset"), by="client", phase="connect")


def streaming(message):
    """A response without end."""
    def serve(peer):
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b"x" * 1000)
            time.sleep(0.01)
    return serve


@case()
def client_rst_in_response(pod):
    """Client RST during the response: client_aborted_response; the server leg is closed too."""
    app = pod.app(http(streaming))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    peer.exactly(3000)
    peer.rst()
    pod.ended("client_aborted_response", by="client", phase="response")
    expect(app.ended() == "rst", "the server may go on sending")


@case()
def client_fin_in_response(pod):
    """Client FIN during the response: the rest still comes."""
    pod.app(http(lambda message: script(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfirst", 0.4, b"end")))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    until(lambda: peer.wait(0), "no response")
    peer.fin()
    expect(peer.response().body == b"firstend", "the response is not complete")
    peer.ends("fin")
    pod.ended(("done", "client_closed_idle"), by="client")


@case(ways=("in4", "out6"))
def client_fin_idle(pod):
    """Client FIN between requests: client_closed_idle, counted requests."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.ask()
    peer.ask()
    peer.fin()
    peer.ends("fin")
    pod.ended("client_closed_idle", by="client", phase="idle", requests=2, protocol="http/1.1",
              client_leg=re.compile("^fin:client"))


@case()
def client_rst_idle(pod):
    """Client RST between requests: client_reset in phase idle."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.ask()
    peer.rst()
    pod.ended("client_reset", by="client", phase="idle", client_leg=re.compile("^rst:client"))


@case(each={"fin": "fin", "rst": "rst"}, ways=("in4", "out6"))
def client_ends_opaque(pod, how):
    """Opaque client FIN reaches the server as FIN, RST as RST: done by client, client_reset."""
    app = pod.app(echo)
    pod.start()
    peer = pod.dial()
    peer.send(BINARY)
    peer.exactly(len(BINARY))
    getattr(peer, how)()
    expect(app.ended() == how, f"the server saw {app.ended()}")
    pod.ended("done" if how == "fin" else "client_reset", by="client", phase=("opaque", "closing"), protocol="opaque",
              sent_client=len(BINARY), sent_server=len(BINARY))


@case(each={"fin": "fin", "rst": "rst"})
def client_ends_tunnel(pod, how):
    """Client FIN in a tunnel reaches the server as FIN, RST as RST."""
    app = pod.app(http(upgraded))
    pod.start()
    peer = pod.dial()
    peer.send(UPGRADE)
    peer.response()
    getattr(peer, how)()
    expect(app.ended() == how, f"the server saw {app.ended()}")
    pod.ended("done" if how == "fin" else "client_reset", by="client", phase=("tunnel", "closing"))


# The server ends, phase by phase.

@case(ways=("in4", "out6"))
def server_rst_at_accept(pod):
    """Server RST as soon as it accepted: 502 and no guess about a request it never read."""
    pod.app(script("rst"))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    response = peer.response()
    reason = response.get("lapse-reason")
    expect(reason in ("server_reset", "connect_reset"), f"reason {reason}")
    check_answer(response, 502, reason)
    pod.record(reason=reason, by="server")


@case(ways=("in4", "out6"), each={"fin": ("fin", "server_closed_early"), "rst": ("rst", "server_reset")})
def server_ends_while_waiting(pod, how):
    """Server FIN before a response is server_closed_early, RST server_reset: 502."""
    ending, reason = how
    pod.app(script("head", ending))
    pod.start()
    peer = pod.dial()
    peer.send(request("POST", "/"))
    check_answer(peer.response(), 502, reason)
    pod.record(reason=reason, by="server", phase="wait", server_leg=re.compile(f"{ending}:server"))


@case(each={"fin": ("fin", "server_closed_early"), "rst": ("rst", "server_reset")})
def server_ends_in_request(pod, how):
    """Server FIN or RST while the request's body arrives: 502 although the request is not complete."""
    ending, reason = how
    pod.app(script("head", lambda peer: ending == "rst" or peer.exactly(3), ending))
    pod.start()
    peer = pod.dial()
    peer.send(PARTIAL_BODY)
    check_answer(peer.response(), 502, reason, closes=True)
    pod.record(reason=reason, by="server", phase=("request", "wait"))


@case(each={"fin": "fin", "rst": "rst"})
def server_ends_in_head(pod, how):
    """Server FIN or RST inside its response head: 502, nothing of the head reaches the client."""
    pod.app(script("head", b"HTTP/1.1 200 OK\r\nContent-Le", 0.1, how))
    pod.start()
    peer = pod.dial()
    peer.send(request("POST", "/"))
    response = peer.response()
    reason = response.get("lapse-reason")
    expect(reason in (("server_reset",) if how == "rst" else ("server_closed_early", "server_truncated")), f"reason {reason}")
    check_answer(response, 502, reason)
    pod.record(reason=reason, by="server")


@case(each={f"{how} {body}": (how, body) for how in ("fin", "rst") for body in ("length", "chunked")}, ways=("in4", "out6"))
def server_ends_in_response(pod, what):
    """Server FIN inside a body is server_truncated, RST server_reset: the client's copy is cut by RST, never ended cleanly."""
    how, body = what
    pod.app(script("head", BODIES[body] + b"part", 0.1, how))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    peer.ends("rst", data=BODIES[body] + b"part")
    pod.ended("server_truncated" if how == "fin" else "server_reset", by="server", phase="response",
              server_leg=re.compile(f"{how}:server"))


@case()
def server_fin_ends_body(pod):
    """A body that lasts until FIN is complete with it: FIN to the client, connection_close."""
    pod.app(script("head", b"HTTP/1.1 200 OK\r\n\r\nwhole"))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    expect(peer.response().body == b"whole", "wrong body")
    pod.ended(("connection_close", "done"), by="server")


@case()
def server_rst_ends_body(pod):
    """A body that lasts until FIN and ends by RST is cut by RST: nobody may take it for complete."""
    pod.app(script("head", b"HTTP/1.1 200 OK\r\n\r\npart", 0.1, "rst"))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    peer.ends("rst", data=b"HTTP/1.1 200 OK\r\n\r\npart")
    pod.ended("server_reset", by="server", phase="response")


@case(each={"fin": "fin", "rst": "rst"})
def server_ends_tunnel(pod, how):
    """Server FIN in a tunnel reaches the client as FIN, RST as RST."""
    def serve(peer):
        peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
        peer.exactly(1)
        getattr(peer, how)()
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(UPGRADE)
    peer.response()
    peer.send(b"x")
    peer.ends(how)
    peer.close()
    pod.ended("done" if how == "fin" else "server_reset", by="server", phase=("tunnel", "closing"))


@case(each={"garbage": b"hello, I am not HTTP\r\n\r\n",
            "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
            "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
            "huge": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\nContent-Length: 0\r\n\r\n"})
def server_invalid(pod, answer):
    """A response that is not valid HTTP: 502 server_invalid, none of it reaches the client."""
    pod.app(script("head", answer, silent))
    pod.start("--on-malformed-http", "refuse")
    peer = pod.dial()
    peer.send(request())
    check_answer(peer.response(), 502, "server_invalid")
    pod.record(reason="server_invalid", by="server")


@case()
def server_invalid_chunk(pod):
    """A response whose chunk is broken is cut: server_invalid."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pod.app(script("head", head + b"3\r\nabc\r\n", 0.1, b"zz\r\n", silent))
    pod.start("--on-malformed-http", "refuse")
    peer = pod.dial()
    peer.send(request())
    peer.ends("rst", data=head + b"3\r\nabc\r\n")
    pod.ended("server_invalid", by="server", phase="response")


# Dialling.

@case(ways=ALL_WAYS)
def refused_http(pod):
    """Connection refused: 502 connect_refused whose detail names the server."""
    pod.start(init=DEAD_PORTS_TOO)
    if not pod.inbound:
        pod.server  # it is there, but nobody listens
    peer = pod.dial(9)
    peer.send(request())
    response = peer.response()
    check_answer(response, 502, "connect_refused")
    expect(":9" in response.get("lapse-detail"), f"detail: {response.get('lapse-detail')}")
    pod.record(reason="connect_refused", by="server", phase="connect")


@case(ways=ALL_WAYS, each={"bytes": BINARY, "none": b""})
def refused_opaque(pod, first):
    """Connection refused: an opaque client, or one that says nothing, gets RST, not a polite FIN."""
    pod.start(init=DEAD_PORTS_TOO)
    peer = pod.dial(9)
    peer.send(first)
    peer.ends("rst")
    pod.ended("connect_refused", by="server")


@case(ways=("out4", "out6"))
def unreachable(pod):
    """An ICMP message that the server cannot be reached: 502 connect_unreachable."""
    pod.start()
    reject = "icmp type host-unreachable" if pod.family == 4 else "icmpv6 type addr-unreachable"
    with pod.server.ruled(table("no", ("filter", "input", 0, f"tcp dport 9 reject with {reject}"))):
        peer = pod.dial(9)
        peer.send(request())
        check_answer(peer.response(), 502, "connect_unreachable")
        opaque = pod.dial(9)
        opaque.send(BINARY)
        opaque.ends("rst")
    pod.record(reason="connect_unreachable", by="network", phase="connect")
    pod.record(reason="connect_unreachable", by="network", msg=CLOSED)


@case(ways=("out4",))
def reset_while_connecting(pod):
    """A server that resets before the proxy sees the connection established: 502 connect_reset."""
    accepted = pod.app(script("rst"), port=9)
    pod.start()
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        peer.send(request())
        peer.stays(0.3)
        pod.proxy.signal(signal.SIGSTOP)
    try:
        until(lambda: accepted.count, "the SYN was not sent again")
        time.sleep(0.1)
    finally:
        pod.proxy.signal(signal.SIGCONT)
    response = peer.response()
    check_answer(response, 502, response.get("lapse-reason"))
    expect(response.get("lapse-reason") == "connect_reset", f"reason {response.get('lapse-reason')}")
    pod.record(reason="connect_reset", by="server", phase="connect")


def few_local_ports(pod, kernels, reserved):
    """The kernel's range, and what of the rest nobody may have."""
    pod.inside.sysctl("ipv4/ip_local_port_range", kernels)
    pod.inside.sysctl("ipv4/ip_local_reserved_ports", reserved)


@case(ways=("in4", "in6"))
def local_ports_by_number(pod):
    """Where the kernel has no local port left, the others serve: all but reserved ones and those on which somebody listens."""
    release = threading.Event()
    app = pod.app(script("request", ok(), lambda _: release.wait(20), "rst"))
    few_local_ports(pod, "40000 40003", "1024-40000,40020-65535")
    pod.start()
    listening = pod.inside.listener(40010)  # an application's
    peers = [pod.dial() for _ in range(18)]
    for peer in peers:
        peer.ask()
    peer = pod.dial()
    peer.send(request())
    check_answer(peer.response(), 503, "no_local_port")
    ports = sorted(app.peer(number).remote[1] for number in range(18))
    expect(ports == [port for port in range(40001, 40020) if port != 40010], f"local ports {ports}")
    release.set()
    listening.close()


@case(each={"opaque": BINARY, "http": request()})
def short_connections(pod, first):
    """Twice as many connections as the kernel has local ports, one after the other, each ended by its client first: all are served."""
    pod.app(echo if first is BINARY else None)
    few_local_ports(pod, "40000 40099", "1024-39999,40250-65535")
    pod.start()
    for _ in range(220):
        peer = pod.dial()
        peer.send(first)
        peer.wait(3)
        peer.some()
        peer.fin().ends("fin")
    expect(not pod.proxy.counted("lapse_upstream_connects_total", result="no_local_port"), "a dial failed")


@case()
def no_local_port(pod):
    """No local port left to dial from: 503 no_local_port, RST for opaque; the next one succeeds when a port is free."""
    release = threading.Event()
    pod.app(script("request", ok(), lambda _: release.wait(20), "rst"))
    few_local_ports(pod, "40000 40001", "1024-39999,40002-65535")
    pod.start()
    held = [pod.dial() for _ in range(2)]
    for peer in held:
        peer.ask()
    peer = pod.dial()
    peer.send(request())
    check_answer(peer.response(), 503, "no_local_port")
    pod.record(reason="no_local_port", by="kernel", phase="connect", detail=re.compile("each of the 2 local ports .*tcp_tw_reuse=1"))
    opaque = pod.dial()
    opaque.send(BINARY)
    opaque.ends("rst")
    pod.record(reason="no_local_port", by="kernel", msg=CLOSED)
    release.set()
    time.sleep(0.2)
    pod.dial().ask()


# At accept.

@case(ways=("in4", "in6"))
def not_redirected(pod):
    """A direct connection to either of the proxy's ports: RST, not_redirected, no server."""
    pod.start()
    for port in (4143, 4140):
        pod.dial(port).ends("rst")
    for address in ("127.0.0.1", "::1"):
        pod.dial(4140, address, pod.inside).ends("rst")
    pod.all_recorded()
    for record in pod.proxy.records():
        expect((record["reason"], record["by"], record["phase"]) == ("not_redirected", "client", "accept"), f"{record}")


@case(ways=("in4", "in6"))
def redirect_loop(pod):
    """A redirect whose original destination is a port of the proxy itself: RST, redirect_loop, no connection to itself."""
    pod.inside.nft(table("loop", ("nat", "prerouting", -100, "tcp dport 4140 redirect to :4143")))
    pod.start(init=None)
    peer = pod.dial(4140)
    peer.ends("rst")
    pod.ended("redirect_loop", by="proxy", phase="accept")


# The proxy runs as uid 2102, and lapse-init was told another one.
OTHER_UID = ("--proxy-uid", "1000")
WHOSE = "came back to it: lapse-init redirects uid 2102; this proxy is uid 2102"


@case(ways=("out4", "out6"))
def redirect_loop_by_uid(pod):
    """The rules bring the proxy's own dials back: a warning at start; the app's request gets 502 redirect_loop and the two uids."""
    pod.app()
    pod.start(init=OTHER_UID)
    pod.uncounted()
    pod.line("come back to it: lapse-init redirects uid 2102; this proxy is uid 2102.*--proxy-uid 2102", level="warn")
    for method in ("GET", "POST"):
        response = pod.dial().ask(method, "/", body=b"x" * 100 if method == "POST" else b"", status=502)
        check_answer(response, 502, "redirect_loop")
        expect(WHOSE in response.get("lapse-detail"), f"detail: {response.get('lapse-detail')}")
        pod.record(reason="redirect_loop", by="proxy", phase=("connect", "wait", "request"), msg=CLOSED, detail=re.compile(WHOSE),
                   server=re.compile(":8080$"))


@case(ways=("out4", "out6"))
def redirect_loop_by_uid_opaque(pod):
    """The same of bytes that are no HTTP: RST, and a record that says so."""
    pod.app(echo)
    pod.start(init=OTHER_UID)
    pod.uncounted()
    pod.line("come back to it", level="warn")
    peer = pod.dial()
    peer.send(BINARY)
    peer.ends("rst")
    pod.record(reason="redirect_loop", by="proxy", phase=("connect", "opaque", "detect"), detail=re.compile(WHOSE))


@case(ways=("out4", "out6"))
def no_redirect_loop(pod):
    """Where the rules leave the proxy alone it does not warn, and its test at start leaves neither record nor descriptor."""
    pod.app()
    pod.start()
    pod.dial().ask()
    time.sleep(0.8)
    expect(not any("come back" in line.get("msg", "") for line in pod.proxy.lines), "a warning without a loop")
    expect(not pod.proxy.counted("lapse_connections_closed_total", reason="redirect_loop"), "a loop was counted")


@case(ways=("in4", "in6"))
def no_original_dst(pod):
    """A connection of which conntrack knows nothing: RST, no_original_dst."""
    pod.inside.nft(table("off", ("filter", "prerouting", -300, "tcp dport 4143 notrack"),
                         ("filter", "output", -300, "tcp sport 4143 notrack")))
    pod.start()
    peer = pod.dial(4143)
    peer.ends("rst")
    pod.ended("no_original_dst", by="kernel", phase="accept")


# Endings by agreement, and the client that never reads.

@case(ways=("in4", "out6"))
def connection_close_by_client(pod):
    """Connection: close in the request is honoured: FIN after the response, connection_close by client."""
    pod.app()
    pod.start()
    peer = pod.dial()
    peer.ask("GET", "/", "Connection: close")
    peer.ends("fin")
    pod.ended("connection_close", by="client", requests=1)


@case(ways=("in4", "out6"))
def connection_close_by_server(pod):
    """Connection: close in the response is honoured and passed on: connection_close by server."""
    pod.app(http(lambda message: ok(b"ok\n", "Connection: close")))
    pod.start()
    peer = pod.dial()
    expect(peer.ask().get("connection") == "close", "Connection: close did not reach the client")
    peer.ends("fin")
    pod.ended("connection_close", by="server")


@case()
def done_names_the_first(pod):
    """done: opaque, both sides finish after all bytes; `by` is the side that finished first, the legs tell the order."""
    pod.app(script(b"hello", "fin", "all"))
    pod.start()
    peer = pod.dial()
    peer.ends("fin", data=b"hello")
    peer.send(b"thanks").fin()
    record = pod.ended("done", by="server", sent_client=5, sent_server=6, protocol="opaque")
    expect(record["server_leg"].startswith("fin:server") and record["client_leg"].startswith(("fin:proxy", "fin:client")),
           f"legs {record['client_leg']!r} {record['server_leg']!r}")


@case(ways=("in4", "out6"))
def client_never_reads(pod):
    """A client that never reads while the send queue towards it is full: client_stalled after streamIdle, RST."""
    def flood(peer):
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)
    app = pod.app(http(lambda message: flood))
    pod.start(stream_idle="1s")
    peer = pod.dial()
    start = time.monotonic()
    peer.send(request())
    record = pod.ended("client_stalled", by="client", phase="response", timer="streamIdle", value="1s")
    expect(0.9 <= time.monotonic() - start <= 6, f"after {time.monotonic() - start:.1f} s")
    expect(record["sent_client"] > 50000, f"sent_client {record['sent_client']}")
    expect(app.ended() == "rst", "the server may go on sending")
    expect(peer.end()[0] == "rst", "no RST to the client")


@case()
def every_reason_is_tested(pod):
    """Every row of lib/reasons.def is named by some e2e case."""
    text = ""
    for path in glob.glob(os.path.join(os.path.dirname(__file__), "*.py")):
        with open(path) as file:
            text += file.read()
    missing = [name for name in REASONS if f'"{name}"' not in text and name != "internal_error"]
    expect(not missing, f"no case for {missing}")
