"""NTLM and Negotiate sign a user in to a connection, not to a request: where server connections are shared, such a one is its client's alone."""
import time

from .harness import case, expect, http, ok, until

SHARED = ("--workers", "1", "--pool-size", "8")
# Where the scheme is named, by whom, and how.
NAMED = {
    "challenge": ((), ("WWW-Authenticate: NTLM",)),
    "challenge of several": ((), ("WWW-Authenticate: Basic realm=\"a, Negotiate b\", Negotiate",)),
    "challenge below another": ((), ("WWW-Authenticate: Basic realm=a", "www-authenticate: negotiate oRQw")),
    "proxy's challenge": ((), ("Proxy-Authenticate: Negotiate",)),
    "credentials": (("Authorization: NTLM TlRMTVNTUAAB",), ()),
    "credentials in small letters": (("authorization: negotiate YIIB",), ()),
    "proxy's credentials": (("Proxy-Authorization: NTLM TlRMTVNTUAAB",), ()),
}
NOT_NAMED = {
    "basic": (("Authorization: Basic YTpi",), ("WWW-Authenticate: Basic realm=a, Digest realm=b, nonce=c",)),
    "bearer": (("Authorization: Bearer bnRsbQ.bmVnb3RpYXRl",), ()),
    "elsewhere": (("X-Scheme: NTLM",), ("Warning: 199 - \"Negotiate\"",)),
}


def serving(answered):
    """Says which connection a request came over; with these fields to /sign-in."""
    return http(lambda message: lambda peer: ok(str(peer.remote[1]).encode(), *(answered if message.target == "/sign-in" else ())))


def signed_in(pod, asked):
    """A client that has signed in, and over which of the server's connections."""
    peer = pod.dial()
    return peer, peer.ask("GET", "/sign-in", *asked).body


@case(ways=("in4", "out4", "out6"), each=NAMED)
def not_for_another(pod, row):
    """The connection that a user signed in on serves nobody else, neither while its client rests nor when that has gone; it ends with it."""
    asked, answered = row
    app = pod.app(serving(answered))
    pod.start(*SHARED, server_idle="5s")
    peer, own = signed_in(pod, asked)
    expect(pod.dial().ask().body != own, "another client's request goes over it while its own rests")
    expect(peer.ask().body == own, "its own client's next request goes elsewhere")
    peer.close()
    until(lambda: any(str(each.remote[1]).encode() == own and getattr(each, "over", "") for each in app.peers), "it outlives its client")
    for _ in range(3):
        expect(pod.dial().ask().body != own, "another client got it")


@case(each=NOT_NAMED)
def shared_all_the_same(pod, row):
    """Schemes that sign in a request alone, and the words elsewhere, are no reason: the next client gets the connection."""
    asked, answered = row
    app = pod.app(serving(answered))
    pod.start(*SHARED)
    peer, own = signed_in(pod, asked)
    peer.close()
    until(lambda: len(pod.proxy.records()) == pod.dials, "no record")
    expect(pod.dial().ask().body == own and app.count == 1, f"{app.count} connections to the server")


@case(ways=("in4", "out4"))
def server_idle_never_runs(pod):
    """serverIdle, 300 ms, ends a connection that rests for its client, but not one that somebody signed in on."""
    app = pod.app(serving(("WWW-Authenticate: NTLM",)))
    pod.start(*SHARED, server_idle="300ms")
    peer, own = signed_in(pod, ())
    other = pod.dial()
    resting = other.ask().body
    until(lambda: any(str(each.remote[1]).encode() == resting and getattr(each, "over", "") for each in app.peers), "serverIdle does not run at all")
    time.sleep(0.7)
    expect(peer.ask().body == own, "the connection was closed, and with it the sign-in")


@case(ways=("in4", "out4"))
def gone_with_its_server(pod):
    """A server that ends such a connection ends its client's too: what was signed in is gone."""
    def respond(message):
        def serve(peer):
            if message.target == "/sign-in":
                peer.send(ok(b"in", "WWW-Authenticate: Negotiate"))
                time.sleep(0.3)
                peer.fin()
            return ok() if message.target != "/sign-in" else b""
        return serve
    pod.app(http(respond))
    pod.start(*SHARED)
    peer = pod.dial()
    expect(peer.ask("GET", "/sign-in").body == b"in", "no answer")
    peer.ends("fin", within=2)
    pod.record(reason="server_closed_idle", by="server")
