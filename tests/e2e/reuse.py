"""Connections to servers: kept, pooled, given up in time; and the races of DESIGN.md §11."""
import re
import threading
import time

from .harness import case, check_answer, expect, http, ok, request, script, silent, table, took, until

ONE = ("--workers", "1")  # a pool is per worker


@case(ways=("in4", "out6"))
def sticky_leg(pod):
    """A client keeps its own connection to the server from request to request."""
    app = pod.app(http(lambda message: lambda peer: ok(str(peer.remote[1]).encode())))
    pod.start()
    peers = [pod.dial() for _ in range(4)]
    first = [peer.ask().body for peer in peers]
    for _ in range(3):
        expect([peer.ask().body for peer in peers] == first, "a client's connection to the server changed")
    expect(len(set(first)) == app.count == 4, f"{app.count} connections for 4 clients")


@case(ways=("in4", "out6"))
def pooled_leg(pod):
    """When a client has gone, the next one to the same place uses its connection; the record says so."""
    app = pod.app()
    pod.start(*ONE, "--pool-size", "32")
    for _ in range(5):
        with pod.dial() as peer:
            peer.ask()
        until(lambda: len(pod.proxy.records()) == pod.dials, "no record")
    expect(app.count == 1, f"{app.count} connections to the server")
    pod.record(server_leg=re.compile("reused:"))


@case(ways=("in4", "out6"))
def leg_of_a_closing_client(pod):
    """Clients that say Connection: close to a server that keeps connections: the server sees one, and no reset."""
    app = pod.app(http(lambda message: ok()))
    pod.start(*ONE, "--pool-size", "32")
    for _ in range(5):
        with pod.dial() as peer:
            peer.send(request("GET", "/", "Connection: close"))
            expect(peer.response().status == 200, "no answer")
        until(lambda: len(pod.proxy.records()) == pod.dials, "no record")
    expect(app.count == 1, f"{app.count} connections to the server")
    expect(not any("rst" in record.get("server_leg", "") for record in pod.proxy.records()), "a server connection was reset")


@case()
def pool_size(pod):
    """--pool-size 2: of five connections left by clients two are kept."""
    app = pod.app()
    pod.start(*ONE, "--pool-size", "2")
    peers = [pod.dial() for _ in range(5)]
    for peer in peers:
        peer.ask()
    for peer in peers:
        peer.close()
    until(lambda: sum(bool(getattr(peer, "over", "")) for peer in app.peers) == 3, "not three of five were closed")
    time.sleep(0.2)
    expect(sum(bool(getattr(peer, "over", "")) for peer in app.peers) == 3, "more than three of five were closed")


@case()
def unclean_leg_is_not_reused(pod):
    """A connection whose response was not read to its end is never given to another client."""
    def respond(message):
        if message.target == "/long":
            return script(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"A" * 50000, 0.3, b"A" * 50000)
        return ok(b"mine")
    app = pod.app(http(respond))
    pod.start(*ONE)
    peer = pod.dial()
    peer.send(request("GET", "/long"))
    peer.exactly(1000)
    peer.rst()
    pod.record(reason="client_aborted_response")
    for _ in range(3):
        expect(pod.dial().ask().body == b"mine", "another client's bytes")
    expect(app.ended() in ("rst", "fin"), "the unfinished connection stays open")


@case()
def bytes_nobody_asked_for(pod):
    """A server that sends bytes on an idle connection loses it: no client gets them as an answer."""
    app = pod.app(http(lambda message: script(ok(), 0.1, ok(b"unasked")) if message.target == "/x" else ok()))
    pod.start(*ONE)
    peer = pod.dial()
    peer.ask("GET", "/x")
    time.sleep(0.4)
    expect(peer.ask().body == b"ok\n", "the unasked bytes were taken for an answer")
    expect(app.count == 2, f"{app.count} connections to the server")


@case()
def pooled_leg_closed_by_server(pod):
    """A pooled connection that the server closes is given up quietly; nothing is lost, nothing leaks."""
    app = pod.app(script("request", ok(), 0.3))
    pod.start(*ONE)
    for _ in range(3):
        with pod.dial() as peer:
            peer.ask()
        time.sleep(0.5)
    expect(app.count == 3, f"{app.count} connections to the server")
    until(lambda: pod.proxy.fds() <= pod.fds_at_start, "a closed connection is kept")


@case(weight=2)
def clients_as_slow_as_the_server_is_impatient(pod):
    """A server that closes idle connections after 0.5 s and clients that ask every 0.5 s: no request fails."""
    def serve(peer):
        while peer.wait(0.5) and peer.request():
            peer.send(ok())
    pod.app(serve)
    pod.start()
    failures = []

    def client(offset):
        time.sleep(offset)
        with pod.near.connect(pod.address, 8080) as peer:
            for _ in range(12):
                try:
                    peer.ask()
                except Exception as error:
                    failures.append(str(error))
                    return
                time.sleep(0.5 + offset / 50)

    clients = [threading.Thread(target=client, args=(number / 100,)) for number in range(12)]
    pod.dials += len(clients)
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    expect(not failures, f"{len(failures)} of 12 clients failed: {failures[:2]}")


@case()
def announced_idle(pod):
    """Keep-Alive: timeout=2 is heeded: the connection is not used when its end is near, nor after."""
    app = pod.app(http(lambda message: ok(b"ok\n", "Keep-Alive: timeout=2")))
    pod.start(*ONE)
    peer = pod.dial()
    peer.ask()
    time.sleep(0.5)
    peer.ask()
    expect(app.count == 1, "a connection with time left was not reused")
    time.sleep(1.85)
    peer.ask()
    expect(app.count == 2, "a connection close to its announced end was reused")


def reads_and_closes(peer):
    """Answers the first request, reads the second and closes without a word."""
    if peer.request():
        peer.send(ok())
        peer.request()


@case(ways=("in4", "out6"), each={"fin": False, "rst": True})
def race_acknowledged(pod, reset):
    """A reused connection that ends after it acknowledged a POST: the client's ends the same way, unanswered; the record
    has the idle time and the remedy."""
    def serve(peer):
        reads_and_closes(peer)
        if reset:
            time.sleep(0.1)  # until the acknowledgement is out
            peer.rst()
    app = pod.app(serve)
    pod.start(*ONE, "--no-learned-idle")  # which would send it on a fresh one
    peer = pod.dial()
    peer.ask()
    peer.stays(0.5)
    peer.send(request("POST", "/", body=b"once only"))
    peer.ends("rst" if reset else "fin")
    record = pod.record(reason="keepalive_race", by="server", server_leg=re.compile("reused:"))
    expect(re.search(r"0\.[4-9]\d*s|[4-9]\d\dms|0\.[4-9] s", record["detail"]), f"no idle time in: {record['detail']}")
    expect("idle" in record["detail"], f"no remedy in: {record['detail']}")
    expect(app.count == 1, "a POST that was acknowledged was sent again")


@case(ways=("in4", "out6"))
def race_idempotent(pod):
    """A reused connection that ends after it acknowledged a GET: tried again on a fresh one, the client notices nothing."""
    app = pod.app(reads_and_closes)
    pod.start(*ONE)
    peer = pod.dial()
    for _ in range(3):
        peer.ask()
    expect(app.count == 3, f"{app.count} connections to the server")
    expect(not pod.proxy.records(), "an exchange failed")


@case(ways=("in4", "out6"), each={"unread GET": (False, "GET"), "unread POST": (False, "POST"), "read GET": (True, "GET"), "read POST": (True, "POST")})
def race_on_a_busy_machine(pod, what):
    """A server that comes to the request only after 0.3 s, and ends: a GET is tried again; the client of a POST sees the same end."""
    read, method = what
    app = pod.app(script("request", ok(), "request", 0.3) if read else script("request", ok(), 0.8))
    pod.start(*ONE, "--no-learned-idle")
    peer = pod.dial()
    peer.ask()
    peer.stays(0.5)
    if method == "GET":
        peer.ask()
        expect(app.count == 2, f"{app.count} connections to the server")
        return
    peer.send(request("POST", "/", body=b"once only"))
    peer.ends("fin" if read else "rst")
    pod.record(reason="keepalive_race", by="server")
    expect(app.count == 1, "a POST was sent again")


def closes_unheard(pod, port=8080):
    """The server's FINs get lost, so that it is gone without the proxy's knowing."""
    return pod.server.ruled(table("unheard", ("filter", "output", 0, f"tcp sport {port} tcp flags & fin == fin drop")))


answers_once = script("request", ok())


@case(ways=("out4", "out6"), each={"GET": True, "POST": False})
def race_reset(pod, again):
    """A reused connection whose server is gone unheard and resets: a GET is tried again, a POST is not: a RST proves nothing."""
    app = pod.app(answers_once)
    pod.start(*ONE)
    peer = pod.dial()
    with closes_unheard(pod):
        peer.ask()
        app.ended()
        if again:
            peer.ask()
            expect(app.count == 2, f"{app.count} connections to the server")
            return
        peer.send(request("POST", "/", body=b"once only"))
        peer.ends("rst")
    pod.record(reason="keepalive_race", by="server")


def crossing(pod, peer, app, message):
    """Sends message on a leg whose server's FIN is on its way: it arrives before any acknowledgement of the message."""
    with closes_unheard(pod):
        peer.ask()
        app.ended()
        leg = app.peers[0].remote[1]
        pod.server.nft(table("deaf", ("filter", "input", -10, f"tcp sport {leg} drop")))
        peer.send(message)
        peer.stays(0.1)


@case(ways=("out4", "out6"))
def race_unsent(pod):
    """A server's FIN that crosses a POST and acknowledges none of it: tried again at once, the client notices nothing."""
    app = pod.app(answers_once)
    pod.start(*ONE)
    peer = pod.dial()
    crossing(pod, peer, app, request("POST", "/", body=b"once only"))
    with took(0, late=4):
        response = peer.response()
    expect(response.status == 200 and app.count == 2, f"{response.start} {response.get('lapse-reason')}, {app.count} connections")


@case(ways=("out4",))
def race_unsent_too_large(pod):
    """The same with a body that is larger than what is kept for another try: unanswered, keepalive_race_unsent."""
    app = pod.app(answers_once)
    pod.start(*ONE)
    peer = pod.dial()
    crossing(pod, peer, app, request("POST", "/", "Content-Length: 300000") + b"x" * 200000)
    with took(0, late=5):
        peer.ends("fin")
    pod.record(reason="keepalive_race_unsent", by="server")


@case(ways=("in4", "out6"))
def fresh_leg_is_not_retried(pod):
    """A fresh connection that ends without a response is the server's failure: 502 at once, one attempt."""
    app = pod.app(script("request"))
    pod.start()
    peer = pod.dial()
    peer.send(request())
    check_answer(peer.response(), 502, "server_closed_early")
    expect(app.count == 1, f"{app.count} attempts")
    pod.record(reason="server_closed_early")


@case()
def leg_of_another_port(pod):
    """Pools are kept apart by destination: two ports of one host never mix."""
    for port in (8080, 8081):
        pod.app(http(lambda message, port=port: ok(str(port).encode())), port=port)
    pod.start(*ONE)
    for _ in range(3):
        for port in (8080, 8081):
            with pod.dial(port) as peer:
                expect(peer.ask().body == str(port).encode(), "answered by another server")
            time.sleep(0.05)


@case(ways=("in4", "out6"))
def server_takes_no_more(pod):
    """A server that says `Connection: close` and stays open for a while gets no other request, from nobody."""
    app = pod.app(script("request", ok(b"last", "Connection: close"), silent))
    pod.start(*ONE, "--pool-size", "8")
    for served in (1, 2, 3):
        with pod.dial() as peer:
            peer.send(request())
            expect(peer.response().body == b"last" and app.count == served, f"{app.count} connections for {served} requests")
