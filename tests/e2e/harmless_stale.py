"""Do no harm: a stale connection ends as a stale connection, and a server that is not reached is left."""
import socket

from .harness.documents import configured, service
from .harness import (BINARY, DEAD_PORTS_TOO, case, check_answer, expect, http, ok, request, script, silent, took)


# 9. A stale connection ends as a stale connection.

@case(each={"fin": "fin", "rst": "rst"}, ways=("in4", "in6", "out4"))
def server_ends_idle(pod, how):
    """Server FIN or RST on an idle leg is not the client's business where it is still there: its next request succeeds on a fresh one."""
    got = []
    app = pod.app(script(lambda peer: got.append(peer.exactly(len(request("POST", "/")))), ok(), how))
    known = [] if pod.inbound else ["--config", configured(pod, service("web", pod.address)).path]
    pod.start(*known)
    peer = pod.dial()
    for _ in range(3):
        peer.ask("POST", "/")
        peer.stays(0.2)
    expect(app.count == 3, f"{app.count} connections to the app")
    expect(got == [request("POST", "/")] * 3, f"the app got {got}")
    peer.fin()
    pod.ended("client_closed_idle", requests=3)


@case(each={"fin": "fin", "rst": "rst"}, ways=("out4", "out6"))
def server_ends_idle_elsewhere(pod, how):
    """Outbound to an address that is no Service's the server's FIN or RST on its idle connection is the client's at once."""
    pod.app(script("request", ok(), 0.2, how))
    pod.start()
    peer = pod.dial()
    peer.ask()
    with took(0.2, late=0.5):
        peer.ends(how)
    pod.ended("server_closed_idle", by="server", phase="idle", requests=1)


@case(each={"fin": "fin", "rst": "rst"}, ways=("in4", "in6"))
def server_ends_for_good(pod, how):
    """Inbound, a server that no longer listens and closes its idle connections: their clients hear it, and go elsewhere."""
    app = pod.app(script("request", ok(), 0.4, how))
    pod.start()
    peer = pod.dial()
    peer.ask()
    app.listener.shutdown(socket.SHUT_RDWR)
    peer.ends(how)
    pod.ended("server_closed_idle", by="server", phase="idle", requests=1)


@case(each={"fin": "fin", "rst": "rst"}, ways=("in4", "out6"))
def server_ends_redial(pod, how):
    """A server that goes away ends a request's kept connection and the fresh one that follows: no 502 to a client that had an answer."""
    seen = []

    def serve(peer):
        seen.append(peer)
        peer.head()
        if len(seen) == 1:
            peer.send(ok())
            peer.head()
        getattr(peer, how)()
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.ask()
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    peer.ends(how)
    peer.close()
    expect(len(seen) == 2, f"{len(seen)} connections")
    pod.ended("server_closed_early" if how == "fin" else "server_reset", by="server", requests=2, retries=1)



@case(each={"fin": "fin", "rst": "rst"}, ways=("in4", "out6"))
def server_ends_opaque(pod, how):
    """Opaque server FIN reaches the client as FIN, RST as RST: done by server, server_reset."""
    pod.app(script("some", b"bye", 0.1, how))
    pod.start()
    peer = pod.dial()
    peer.send(BINARY)
    peer.ends(how, data=b"bye")
    peer.close()
    pod.ended("done" if how == "fin" else "server_reset", by="server", protocol="opaque")



@case()
def exchange_failed_connection_lives(pod):
    """After a 504 that leaves the request's framing intact, the connection lives on and carries the next request."""
    app_up = []
    app = pod.app(lambda peer: http()(peer) if app_up else silent(peer))
    pod.start(request="500ms")
    peer = pod.dial()
    peer.send(request())
    check_answer(peer.response(), 504, "request_timeout", closes=False)
    pod.record(reason="request_timeout", msg="request failed")
    app_up.append(True)
    peer.ask()
    peer.fin()
    record = pod.ended("client_closed_idle", requests=2)
    expect(app.count == 2 and record["by"] == "client", "wrong count")



@case(ways=("in4", "out6"))
def unreached_server_is_left(pod):
    """A 502 about reaching the server ends the client's connection, even with a second request behind: so it may meet another server."""
    pod.start(init=DEAD_PORTS_TOO)
    peer = pod.dial()
    peer.send(request() * 2)
    check_answer(peer.response(), 502, "connect_refused", closes=True)
    peer.ends("fin")
    pod.ended("connect_refused", requests=1)
