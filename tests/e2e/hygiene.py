"""TCP hygiene: keep-alive on both legs, half-closed connections that conntrack must not forget, and what is said when it does."""
import re
import time

from .harness import (ALL_WAYS, BINARY, CLOSED, after, case, check_answer, echo, expect, http, ok, request, script, silent, took,
                      until)

CLOSE_WAIT = "netfilter/nf_conntrack_tcp_timeout_close_wait"
BOTH = ("in4", "out6")


def forget(pod, peer):
    """Makes conntrack forget the client's flow, as an expired timeout would."""
    pod.inside.run(["conntrack", "-D", "-f", "ipv6" if pod.family == 6 else "ipv4", "-p", "tcp", "--sport", str(peer.local[1])])


@case(ways=ALL_WAYS)
def keepalive_on_both_legs(pod):
    """Both legs have TCP keep-alive, with the times of the flags."""
    pod.app(echo)
    pod.start("--keepalive-idle", "45s")
    peer = pod.dial()
    peer.send(BINARY)
    peer.exactly(len(BINARY))
    time.sleep(0.3)

    def legs():
        sockets = pod.inside.run(["ss", "-tnop", "state", "established"]).stdout
        timers = [line for line in sockets.splitlines() if f"pid={pod.proxy.pid}," in line]
        return [line for line in timers if re.search(r"timer:\(keepalive,(4[0-5]|3\d)", line)]
    until(lambda: len(legs()) == 2, lambda: f"keep-alive on {len(legs())} of 2 legs")


def answer_late(pod, seconds=6):
    """An opaque server that reads to the end and answers a good while later."""
    return pod.app(script("all", seconds, b"late answer"))


@case(ways=ALL_WAYS)
def late_answer_after_half_close(pod):
    """close_wait 3 s, the client finished, the server answers after 6 s: keep-alive kept the flow, the answer arrives."""
    answer_late(pod)
    pod.inside.sysctl(CLOSE_WAIT, 3)
    pod.start()
    peer = pod.dial()
    peer.send(BINARY).fin()
    peer.ends("fin", data=b"late answer")
    pod.ended("done", by="client")


@case(ways=BOTH)
def late_http_answer_after_half_close(pod):
    """close_wait 3 s, an HTTP client that finished after its request, a response after 6 s: it arrives."""
    pod.app(http(lambda message: after(6, ok(b"late"))))
    pod.inside.sysctl(CLOSE_WAIT, 3)
    pod.start()
    peer = pod.dial()
    peer.send(request()).fin()
    expect(peer.response().body == b"late", "wrong answer")
    peer.ends("fin")


@case(ways=ALL_WAYS)
def late_data_after_server_finished(pod):
    """close_wait 3 s, the server finished, the client sends after 6 s and finishes: all of it arrives."""
    got = []
    app = pod.app(script(b"hello", "fin", lambda peer: got.append(peer.all())))
    pod.inside.sysctl(CLOSE_WAIT, 3)
    pod.start()
    peer = pod.dial()
    expect(peer.all() == b"hello", "no greeting")
    time.sleep(6)
    peer.send(b"late data").fin()
    expect(app.ended() == "fin" and got == [b"late data"], f"the server got {got}, {app.ended()}")
    pod.ended("done", by="server")


@case(ways=BOTH)
def late_close_after_server_finished(pod):
    """close_wait 3 s, the server finished, the client only closes, after 6 s: the proxy hears of it at once."""
    pod.app(script(b"hello", "fin", "all"))
    pod.inside.sysctl(CLOSE_WAIT, 3)
    pod.start()
    peer = pod.dial()
    expect(peer.all() == b"hello", "no greeting")
    time.sleep(6)
    peer.close()
    pod.ended("done", within=2, by="server")


@case()
def close_wait_timeout_instead(pod):
    """close_wait 3 s raised by lapse-init --close-wait-timeout: the late answer arrives too."""
    answer_late(pod, 5)
    pod.inside.sysctl(CLOSE_WAIT, 3)
    pod.start(init=("--close-wait-timeout", "1h"))
    peer = pod.dial()
    peer.send(BINARY).fin()
    peer.ends("fin", data=b"late answer")


@case(ways=("in4", "in6"))
def forgotten_after_half_close(pod):
    """close_wait lowered to 1 s behind the proxy's back: the late answer cannot pass; redirect_state_lost names the remedy."""
    answer_late(pod, 3)
    pod.start()
    pod.inside.sysctl(CLOSE_WAIT, 1)
    peer = pod.dial()
    peer.send(BINARY).fin()
    record = pod.ended("redirect_state_lost", by="kernel")
    expect(peer.end(0.5)[1] == b"", "the answer arrived after all")
    expect("--close-wait-timeout" in record["detail"], f"no remedy in: {record['detail']}")
    expect(pod.proxy.counted("lapse_redirect_state_lost_total", direction="inbound") == 1, "not counted once")


@case(ways=("in4", "in6"))
def forgotten_while_nobody_says_anything(pod):
    """A half-closed connection that is silent: that conntrack forgot it is found by looking, before any packet could tell."""
    def serve(peer):
        peer.all()
        time.sleep(8)
    pod.app(serve)
    pod.inside.sysctl(CLOSE_WAIT, 3)
    pod.start()
    peer = pod.dial()
    peer.send(BINARY).fin()
    time.sleep(0.3)
    with pod.client.cut():
        forget(pod, peer)
        pod.record(within=4, reason="redirect_state_lost", by="kernel", phase="opaque")


@case(ways=("in4", "in6", "out4"))
def forgotten_while_waiting(pod):
    """The flow deleted from conntrack while an HTTP client waits: redirect_state_lost, not a client that vanished."""
    pod.app(http(lambda message: after(1)))
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    peer.send(request())
    peer.stays(0.3)
    forget(pod, peer)
    pod.ended("redirect_state_lost", by="kernel")


@case()
def forgotten_while_opaque(pod):
    """The flow deleted from conntrack while an opaque server goes on sending: redirect_state_lost."""
    def serve(peer):
        peer.exactly(len(BINARY))
        for _ in range(50):
            peer.send(b"tick")
            time.sleep(0.1)
    pod.app(serve)
    pod.start(unacknowledged="1s")
    peer = pod.dial()
    peer.send(BINARY)
    peer.exactly(4)
    forget(pod, peer)
    pod.ended("redirect_state_lost", by="kernel", phase="opaque")


@case(ways=("in4", "in6"))
def same_port_again(pod):
    """A client whose flow was forgotten comes again from the same port: served at once, the old connection gets its record."""
    pod.app()
    pod.start()
    old = pod.dial(source_port=50001)
    old.ask()
    forget(pod, old)
    old.rst()  # unheard: without the flow it does not reach the proxy
    with took(0, late=4):
        pod.dial(source_port=50001).ask()
    pod.record(reason=("client_reset", "redirect_state_lost"), msg=CLOSED)


@case()
def warns_of_short_conntrack(pod):
    """At start: a warning when conntrack forgets earlier than a timeout allows, naming lapse-init's flag."""
    pod.inside.sysctl("netfilter/nf_conntrack_tcp_timeout_established", 30)
    pod.start(tcp_idle="1h")
    pod.line("--conntrack-timeout", level="warn")


@case()
def no_needless_warning(pod):
    """At start: no warning when conntrack remembers longer than every timeout."""
    pod.start(half_close="30s", init=("--close-wait-timeout", "2h", "--conntrack-timeout", "fin_wait=2h"))
    warnings = [line for line in pod.proxy.lines if line.get("level") == "warn"]
    expect(not warnings, f"{warnings[:1]}")


@case(ways=("out4",))
def vanished_server_while_connecting_again(pod):
    """A server that answers no SYN after it was reachable: connect_timeout, with the SYNs that went unanswered."""
    app = pod.app()
    pod.start(connect="1500ms", server_idle="100ms")
    peer = pod.dial()
    peer.ask()
    until(lambda: app.ended(), "the leg was not given up")
    with pod.server.cut():
        peer.send(request())
        check_answer(peer.response(), 504, "connect_timeout")
        record = pod.record(reason="connect_timeout", phase="connect")
    expect("SYN" in record["detail"] or "syn" in str(record), f"SYN retransmits are not noted: {record}")


@case()
def many_half_closed(pod):
    """Sixty half-closed connections at once wait for 2 s and all get their answers."""
    answer_late(pod, 2)
    pod.start()
    peers = [pod.dial() for _ in range(60)]
    for peer in peers:
        peer.send(BINARY).fin()
    for peer in peers:
        peer.ends("fin", data=b"late answer")
    pod.all_recorded()
    expect({record["reason"] for record in pod.proxy.records(CLOSED)} == {"done"}, "not all are done")


@case()
def idle_connections_cost_nothing(pod):
    """Twenty idle connections of every kind use no CPU while nothing happens."""
    pod.app(http(lambda message: ok()))
    pod.app(silent, port=8081)
    pod.start()
    for _ in range(10):
        pod.dial().ask()
        pod.dial(8081).send(BINARY)
    time.sleep(0.3)
    before = pod.proxy.cpu_seconds()
    time.sleep(1.5)
    used = pod.proxy.cpu_seconds() - before
    expect(used <= 0.03, f"{used:.2f} s of CPU in 1.5 s")
