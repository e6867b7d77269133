"""The timeouts of any TCP connection: tcpIdle, halfClose, connect, detect, serverIdle, maxConnection, unacknowledged."""
import re
import time

from .harness import (ALL_WAYS, BINARY, CLOSED, black_hole, case, check_answer, echo, expect, http, request, script, took,
                      until_reset)


# tcpIdle and halfClose

@case(ways=ALL_WAYS)
def tcp_idle(pod):
    """tcpIdle: restarted by any byte either way, then FIN to both sides, tcp_idle_timeout."""
    app = pod.app(echo)
    pod.start(tcp_idle="1s")
    peer = pod.dial()
    for _ in range(3):
        peer.send(BINARY)
        expect(peer.exactly(len(BINARY)) == BINARY, "no echo")
        peer.stays(0.6)
    app.peer().send(b"from the server")
    with took(1):
        peer.ends("fin", data=b"from the server")
    expect(app.ended() == "fin", "the server's side was not closed by FIN")
    pod.fired("tcpIdle", "tcp_idle_timeout", phase="opaque", by="proxy", protocol="opaque", msg=CLOSED)


@case(ways=("in4", "out6"))
def half_close_by_client(pod):
    """halfClose: the client has finished, the server sends nothing for 1 s: RST to both, the record names both sides."""
    app = pod.app(until_reset)
    pod.start(half_close="1s")
    peer = pod.dial()
    peer.send(BINARY)
    with took(1):
        peer.fin()
        peer.ends("rst")
    expect(app.ended() == "rst", "the server's side was not reset")
    record = pod.fired("halfClose", "half_close_timeout", by="proxy", phase="opaque", msg=CLOSED)
    expect(re.search("client.*server", record["detail"]), f"detail does not name both sides: {record['detail']}")
    expect(record["client_leg"].startswith("fin:client"), f"client_leg {record['client_leg']}")


@case(ways=("in4", "out6"))
def half_close_by_server(pod):
    """halfClose: the server has finished, the client sends nothing for 1 s: RST to both."""
    app = pod.app(script("some", "fin", "all"))
    pod.start(half_close="1s")
    peer = pod.dial()
    peer.send(BINARY)
    expect(peer.some() == b"", "no FIN from the server")
    with took(1):
        expect(peer.broken(), "the client's side was not reset")
    pod.record(reason="half_close_timeout", timer="halfClose", server_leg=re.compile("^fin:server"), msg=CLOSED)
    expect(app.ended() == "rst", "the server's side was not reset")


@case()
def half_close_restarts(pod):
    """halfClose is restarted by any byte from the other side, and governs instead of tcpIdle."""
    def later(peer):
        peer.all()
        for _ in range(4):
            time.sleep(0.6)
            peer.send(b"x")
    pod.app(later)
    pod.start(half_close="1s", tcp_idle="300ms")
    peer = pod.dial()
    peer.send(BINARY).fin()
    peer.ends("fin", data=b"xxxx")
    pod.ended("done", by="client")


# connect, detect, serverIdle

@case(ways=("out4", "out6"))
def connect_http(pod):
    """connect: 504 connect_timeout after 1 s."""
    pod.start(connect="1s")
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        with took(1):
            peer.send(request())
            response = peer.response()
        check_answer(response, 504, "connect_timeout")
    pod.fired("connect", "connect_timeout", phase="connect", by="proxy")


@case(ways=("out4", "out6"), each={"bytes": BINARY, "none": b""})
def connect_opaque(pod, first):
    """connect: an opaque client, or one that says nothing, gets RST after 1 s."""
    pod.start(connect="1s")
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        with took(1):
            peer.send(first)
            peer.ends("rst")
    pod.fired("connect", "connect_timeout", by="proxy", msg=CLOSED)


@case(each={"G": b"G", "POS": b"POS", "preface": b"PRI * HTTP/2.0\r\n", "TLS": b"\x16\x03\x01"})
def detect(pod, first):
    """detect: an undecided prefix goes on as opaque after 1 s, nothing is lost, the connection lives."""
    app = pod.app(echo)
    pod.start(detect="1s")
    peer = pod.dial()
    with took(1):
        peer.send(first)
        expect(peer.exactly(len(first)) == first, "the prefix did not arrive")
    peer.send(BINARY)
    expect(peer.exactly(len(BINARY)) == BINARY, "the connection does not go on")
    peer.fin()
    peer.ends("fin")
    pod.ended("done", protocol="opaque")
    expect(app.count == 1, "more than one connection to the app")


@case()
def server_idle(pod):
    """serverIdle: the unused leg is closed quietly after 1 s, the client's connection lives and dials anew."""
    app = pod.app()
    pod.start(server_idle="1s")
    peer = pod.dial()
    peer.ask()
    with took(1):
        expect(app.ended() == "fin", "the leg was not closed")
    peer.stays(0.3)
    peer.ask()
    expect(app.count == 2, f"{app.count} connections to the app")
    expect(not pod.proxy.records(), "a record was written for a leg that closed quietly")


@case()
def max_connection_opaque(pod):
    """maxConnection: an opaque connection gets FIN on both sides however busy it is."""
    app = pod.app(echo)
    pod.start(max_connection="1s")
    peer = pod.dial()
    with took(1):
        for _ in range(100):
            if peer.trickle(b"\x00", 0) and not (peer.some() if peer.wait(2) else b""):
                break
            time.sleep(0.05)
    pod.fired("maxConnection", "max_connection", phase="opaque", msg=CLOSED)
    expect(app.ended() == "fin", "the server's side was not closed by FIN")


# unacknowledged

def streams(peer):
    """Sends for as long as anybody takes it."""
    while True:
        peer.send(b"x" * 65536)


@case(ways=("in4", "in6"))
def unacknowledged_client(pod):
    """unacknowledged: a client cut off during a response is found after 1 s, client_vanished; retransmits are noted."""
    pod.app(http(lambda message: script(b"HTTP/1.1 200 OK\r\n\r\n", streams)))
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    peer.send(request())
    peer.exactly(100000)
    with pod.client.cut(), took(1):
        record = pod.fired("unacknowledged", "client_vanished", by="network", phase="response", msg=CLOSED)
    expect("retransmit" in str(record), f"no retransmits in {record}")


@case(ways=("out4", "out6"))
def unacknowledged_server_waiting(pod):
    """unacknowledged: a server cut off before it acknowledges the request is found after 1 s: 504 server_vanished."""
    pod.app()
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    peer.ask()
    with pod.server.cut():
        with took(1):
            peer.send(request())
            response = peer.response()
        check_answer(response, 504, "server_vanished")
        pod.fired("unacknowledged", "server_vanished", by="network", phase=("wait", "request"))


@case(ways=("out4",))
def unacknowledged_server_opaque(pod):
    """unacknowledged: an opaque server that is cut off: RST to the client, server_vanished."""
    pod.app(echo)
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    peer.send(BINARY)
    peer.exactly(len(BINARY))
    with pod.server.cut():
        with took(1):
            peer.send(BINARY)
            peer.ends("rst")
        pod.fired("unacknowledged", "server_vanished", by="network", phase="opaque", msg=CLOSED)


@case(each={"http": True, "opaque": False})
def unacknowledged_slow_reader(pod, is_http):
    """unacknowledged: a client that stops reading for 4 s but is alive lives on and gets every byte."""
    size = 6 << 20
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() if is_http else b""
    pod.app(script("some", head, *[b"y" * 65536] * (size >> 16)))
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    peer.send(request() if is_http else BINARY)
    time.sleep(4)
    expect(not pod.proxy.records(), f"closed meanwhile: {pod.proxy.records()[:1]}")
    if is_http:
        expect(len(peer.response().body) == size, "bytes are missing")
    else:
        peer.fin()
        expect(len(peer.all()) == size, "bytes are missing")


@case(ways=("in4", "out4"))
def keepalive_finds_the_dead(pod):
    """TCP keep-alive finds a peer that vanished from an idle connection, and the record says it is the network."""
    pod.app(echo)
    pod.start("--keepalive-idle", "1s", "--keepalive-interval", "1s", "--keepalive-probes", "2")
    peer = pod.dial()
    peer.send(BINARY)
    peer.exactly(len(BINARY))
    with (pod.client if pod.inbound else pod.server).cut():
        with took(3, late=4):
            pod.record(reason="client_vanished" if pod.inbound else "server_vanished", by="network", phase="opaque", msg=CLOSED)
