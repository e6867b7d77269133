"""Whole records: of each ending that was once told wrongly every field is compared, none may be missing and none too much, in both formats."""
import contextlib
import re
import socket
import threading
import time

from .progress import BLOB, small_buffers
from .harness import (ANY, BINARY, CLOSED, FAILED, Between, backend, black_hole, case, configured, echo, expect, expect_whole, http, ok, request, route,
                      rule, script, seconds, service, silent, socket_of, sockets, took, until)

FORMATS = {"json": "json", "text": "text"}
HEAD = len(request())


def in_both(**options):
    """A case for each format of the log."""
    return case(each=FORMATS, **options)


def whole(pod, msg=CLOSED, **expected):
    """The record of this reason, whole. What most of them have need not be named: None takes it out."""
    common = {"level": "warn", "msg": msg, "by": "proxy", "direction": "inbound" if pod.inbound else "outbound",
              "protocol": "http/1.1", "requests": 1, "server": f"{pod.address}:8080", "sent_client": Between(100, 2000),
              "client_leg": "fin:proxy", "open_s": seconds(1), "idle_s": seconds(1)}
    expected = {name: value for name, value in {**common, **expected}.items() if value is not None}
    record = pod.record(msg=msg, reason=expected["reason"], phase=expected["phase"], server=expected["server"])
    expect_whole(record, **expected)
    return record


def timer(name, value="1s", flag=None):
    return {"timer": name, "value": value, "set_by": f"flag --timeout-{flag or name}"}


def raise_(name, value="1s", flag=None):
    flag = f"timeout-{flag or name}"
    return re.escape(f"raise {name}={value} (--{flag} or annotation lapse.proxy/{flag})")


def text(words):
    return re.compile(words)


NO_HTTP = {"protocol": "opaque", "requests": None}
CLIENT = socket_of("client", undelivered=ANY)  # our answer may not be acknowledged yet


# The proxy's own dials come back to it.

@in_both(ways=("out4",))
def redirect_loop(pod, log):
    """The proxy runs as another uid than the rules expect: redirect_loop that names both uids, in the answer and in the record."""
    pod.app()
    pod.start(init=("--proxy-uid", "1000"), log_format=log)
    pod.uncounted()
    pod.line("come back to it: lapse-init redirects uid 2102; this proxy is uid 2102", level="warn")
    answer = pod.dial().ask("GET", "/", status=502)
    words = f"the proxy's own connection to {pod.address}:8080 came back to it: lapse-init redirects uid 2102; this proxy is uid 2102; "
    record = pod.record(reason="redirect_loop", detail=text("came back"))
    expect(answer.get("lapse-detail") == record["detail"], f"another lapse-detail: {answer.get('lapse-detail')}")
    server = {name: value for name, value in record.items() if re.fullmatch("server_(?!leg).*", name)}
    expect(server.keys() == {"server_syn_retransmits"} or server.keys() == socket_of("server").keys(), f"{server}")
    expect_whole(record, level="warn", msg=CLOSED, reason="redirect_loop", by="proxy", phase=("connect", "wait"), direction="outbound",
                 protocol="http/1.1", requests=1, server=f"{pod.address}:8080", open_s=seconds(0), idle_s=seconds(0), sent_client=Between(100, 800),
                 sent_server=Between(0, 4 * HEAD), client_leg=text("fin:proxy( fin:client)?"), server_leg=text("|kept|rst:server"),
                 server_legs=Between(2, 4), retries=Between(1, 3), **CLIENT, **server,
                 detail=text(re.escape(words) + "run lapse-proxy as lapse-init's --proxy-uid, and let nobody connect to the proxy's own ports; .*"))


# A server that dies at work.

CRASH = {"fin": ("server_closed_early", "closed the connection without a response"),
         "rst": ("server_reset", "reset the connection before its response")}


@case(each={f"{end} {method} {log}": (end, method, log) for end, method, log in
            (("fin", "POST", "json"), ("rst", "POST", "text"), ("fin", "GET", "text"), ("rst", "GET", "json"))})
def died_at_work(pod, what):
    """A server that ends 1 s into a request on a reused leg: no race, but an early end with its seconds; nothing is sent twice or learned."""
    end, method, log = what
    app = pod.app(script("request", ok(), "request", 1, end))
    pod.start(log_format=log)
    peer = pod.dial()
    peer.ask()
    peer.send(request(method, "/", body=b"x" * 10 if method == "POST" else b""))
    expect(peer.response().status == 502, "no 502")
    reason, words = CRASH[end]
    whole(pod, reason=reason, by="server", phase="wait", requests=2, sent_server=2 * HEAD if method == "GET" else Between(HEAD + 50, 2 * HEAD + 60),
          server_leg=f"reused:1 {end}:server" + (" rst:proxy" if end == "fin" else ""), **CLIENT, **socket_of("server", undelivered=0),
          detail=text(rf"{re.escape(pod.address)}:8080 {words}, 1\.\d s after the request began to reach it; "
                      "the server's log should say why: a crash, a restart, a limit of its own"))
    expect(app.count == 1, "it was sent once more")
    expect(not [line for line in pod.proxy.lines if "idle timeout" in line.get("msg", "")], "something was learned")


@in_both()
def accept_queue_full(pod, log):
    """An application in this pod that does not accept: its queue is named, with how many wait and how many may."""
    listener = pod.inside.listener(pod_port := 8080, backlog=1)
    pod.start(connect="1s", log_format=log)
    waiting = [pod.inside.connect("127.0.0.1", pod_port) for _ in range(2)]
    peer = pod.dial()
    peer.send(request())
    expect(peer.response().status == 504, "no 504")
    peer.fin()
    whole(pod, FAILED, reason="connect_timeout", phase="connect", **timer("connect"), sent_server=0, sent_client=ANY, client_leg=None,
          **CLIENT, server_syn_retransmits=Between(0, 3), server_leg="given-up:proxy",
          detail=text(rf"{re.escape(pod.address)}:8080 did not accept the connection in time: 2 connections wait in its accept queue, where "
                      rf"1 may; the application does not accept them; for a slow one {raise_('connect')}"))
    for each in (*waiting, listener):
        each.close()


# Timers: from when, and for whom the time went.

@in_both()
def request_headers(pod, log):
    """requestHeaders counts from the first byte of the head, not from the end of its method: 1 s is 1.0 s."""
    pod.app()
    pod.start(request_headers="1s", log_format=log)
    peer = pod.dial()
    peer.send(b"G")
    with took(1.0, late=0.5):
        peer.stays(0.7)
        peer.send(b"ET / HTTP/1.1\r\n")
        expect(peer.response().status == 408, "no 408")
    whole(pod, reason="header_timeout", phase="head", requests=0, **timer("requestHeaders", flag="request-headers"), idle_s=seconds(0.3, late=0.5),
          sent_server=0, server_leg="fin:proxy", **CLIENT, **socket_of("server", undelivered=0),  # dialled ahead
          detail=text(f"the request head was not complete in time; for slower clients {raise_('requestHeaders', flag='request-headers')}"))


REQUEST_OVER = "; if that may take longer, " + raise_("request")


@in_both(ways=("out4",))
def request_while_dialling(pod, log):
    """request fires while a black hole is dialled: the server had not accepted yet."""
    pod.start(request="1s", log_format=log)
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        peer.send(request())
        expect(peer.response().status == 504, "no 504")
    whole(pod, FAILED, reason="request_timeout", phase="connect", server=f"{pod.address}:9", **timer("request"), sent_server=0, sent_client=ANY,
          client_leg=None, server_leg="given-up:proxy", **CLIENT, server_syn_retransmits=Between(0, 2),
          detail=text("the server had not accepted the connection yet; see that it is up, or set connect well below this" + REQUEST_OVER))


@in_both()
def request_while_uploading(pod, log):
    """request fires while the client's body is unfinished: it is the client that is slow."""
    pod.app(silent)
    pod.start(request="1s", log_format=log)
    peer = pod.dial()
    peer.send(request("POST", "/", "Content-Length: 100"))
    peer.stays(0.6)
    peer.send(b"x" * 50)
    expect(peer.response().status == 504, "no 504")
    whole(pod, reason="request_timeout", phase="request", **timer("request"), idle_s=seconds(0.4, late=0.8), sent_server=Between(90, 140),
          server_leg="rst:proxy", **CLIENT, **socket_of("server", undelivered=0),
          detail=text("the client had not sent its whole request body; it is the client or its network that is slow" + REQUEST_OVER))


@in_both()
def request_while_100_is_awaited(pod, log):
    """request fires while the client waits for 100 Continue: the server has to answer Expect."""
    pod.app(silent)
    pod.start(request="1s", log_format=log)
    peer = pod.dial()
    peer.send(request("POST", "/", "Content-Length: 100", "Expect: 100-continue"))
    expect(peer.response().status == 504, "no 504")
    whole(pod, reason="request_timeout", phase="request", **timer("request"), sent_server=Between(60, 120), server_leg="rst:proxy", **CLIENT,
          **socket_of("server", undelivered=0),
          detail=text("the client waits for 100 Continue before it sends its body, and the server sent none; the server must answer Expect"
                      + REQUEST_OVER))


@in_both()
def request_while_not_read(pod, log):
    """request fires while the client does not read its response: it is the client, and how much it did not take."""
    small_buffers(pod)
    pod.app(http(lambda _: ok(BLOB)))
    pod.start(request="1s", log_format=log)
    peer = pod.dial()
    peer.send(request())
    whole(pod, reason="request_timeout", phase="response", **timer("request"), sent_server=HEAD, sent_client=Between(20000, len(BLOB)),
          client_leg="rst:proxy", server_leg="rst:proxy", idle_s=Between(0.2, 2), **sockets(client_undelivered=Between(10000, len(BLOB))),
          detail=text("the client did not take its response in time; see what keeps it from reading" + REQUEST_OVER))


@in_both()
def request_without_answer(pod, log):
    """request fires while the server has all of the request and says nothing."""
    pod.app(silent)
    pod.start(request="1s", log_format=log)
    peer = pod.dial()
    peer.send(request())
    expect(peer.response().status == 504, "no 504")
    whole(pod, FAILED, reason="request_timeout", phase="wait", **timer("request"), sent_server=HEAD, sent_client=ANY, client_leg=None,
          server_leg="rst:proxy", **CLIENT, **socket_of("server", undelivered=0), detail=text("no response came in time" + REQUEST_OVER))


KEEPALIVE = ("--keepalive-idle", "1s", "--keepalive-interval", "1s", "--keepalive-probes", "2")


@in_both(ways=("in4", "out4"))
def found_by_keepalive(pod, log):
    """TCP keep-alive finds a peer that is gone: the record names it, its values with their flags, and the probes unanswered."""
    pod.app(echo)
    pod.start(*KEEPALIVE, log_format=log)
    peer = pod.dial()
    peer.send(BINARY)
    peer.exactly(len(BINARY))
    gone, other = ("client", "server") if pod.inbound else ("server", "client")
    with (pod.client if pod.inbound else pod.server).cut():
        whole(pod, reason=f"{gone}_vanished", by="network", phase="opaque", **NO_HTTP, sent_client=len(BINARY), sent_server=len(BINARY),
              client_leg="timed-out:client" if pod.inbound else "rst:proxy", server_leg="rst:proxy" if pod.inbound else "timed-out:server",
              open_s=seconds(3, late=3), idle_s=seconds(3, late=3), **socket_of(other, undelivered=0), **socket_of(gone, undelivered=0),
              detail=text(f"(the client|{re.escape(pod.address)}:8080) no longer acknowledges anything, found by TCP keep-alive: 2 probes were "
                          r"not answered \(--keepalive-idle 1s, --keepalive-interval 1s, --keepalive-probes 2\); look for a host that is gone or "
                          "a packet filter on the way"))


# Retries.

BUSY = ok(b"busy\n", status="503 Service Unavailable")


@in_both(ways=("out4",))
def request_in_backoff(pod, log):
    """request fires while another attempt is waited for: none is counted that did not leave, and what the last one was answered with is told."""
    app = pod.app(http(lambda _: BUSY))
    documents = configured(pod, service("web", pod.address),
                           route("web", rule(timeouts={"request": "1s"}, retry={"attempts": 3, "backoff": "5s", "codes": [503]})))
    pod.start("--config", documents.path, log_format=log)
    peer = pod.dial()
    peer.send(request())
    expect(peer.response().status == 504, "no 504")
    where = "HTTPRoute default/web spec.rules[0].timeouts.request"
    whole(pod, FAILED, reason="request_timeout", phase="backoff", service="default/web", route="HTTPRoute default/web rule 0",
          timer="request", value="1s", set_by=where, sent_server=HEAD, sent_client=ANY, client_leg=None,
          server_leg="rst:proxy", **CLIENT, **socket_of("server", undelivered=0),
          detail=text("the wait before another attempt outlasted it; a shorter backoff leaves time for one; attempt 2 of 4 awaited; the one before was "
                      rf"answered with 503; if that may take longer, raise request=1s \({re.escape(where)}\)"))
    expect(len(app.peers) == 1, "more than one attempt")


@in_both(ways=("out4",))
def backend_unresolved(pod, log):
    """A backend whose name nobody answers for: phase connect, since nothing was sent that could be waited for."""
    documents = configured(pod, service("web", pod.address), route("web", rule(backends=[backend("gone")])), service("gone"))
    pod.start("--config", documents.path, log_format=log)
    peer = pod.dial()
    peer.send(request())
    expect(peer.response().status == 503, "no 503")
    whole(pod, reason="backend_unresolved", phase="connect", service="default/web", route="HTTPRoute default/web rule 0",
          open_s=seconds(0), idle_s=seconds(0), sent_server=0, **CLIENT,
          detail=text(".*see that this Service exists, and that DNS or a document gives its address"))


# What came instead of a response.

TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
H2_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
FIELDS = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(150)) + b"Content-Length: 0\r\n\r\n"
INVALID = {"TLS alert": (TLS_ALERT, "a TLS alert: the server speaks TLS, not plain HTTP"),
           "SMTP": (b"220 mx.example ESMTP\r\n", "an SMTP or FTP greeting, not HTTP"),
           "h2c": (H2_SETTINGS, "HTTP/2 SETTINGS: the server speaks HTTP/2 without TLS (h2c) only"),
           "text": (b"it works, somehow\n", "plain text without a status line"),
           "bytes": (b"\x00\xffbytes", "bytes that are no status line"),
           "fields": (FIELDS, "more header fields than --max-head-fields 128")}


@case(each={f"{name} {log}": (name, log) for name in INVALID for log in FORMATS})
def no_response_but(pod, what):
    """With --on-malformed-http refuse: what came instead of a response is named, or the limit by its flag."""
    sent, words = INVALID[what[0]]
    pod.app(script("head", sent, silent))
    pod.start("--on-malformed-http", "refuse", log_format=what[1])
    peer = pod.dial()
    peer.send(request())
    expect(peer.response().status == 502, "no 502")
    whole(pod, reason="server_invalid", by="server", phase="wait", open_s=seconds(0), idle_s=seconds(0), sent_server=HEAD, server_leg="rst:proxy",
          **CLIENT, **socket_of("server", undelivered=0),
          detail=text(re.escape(f"the server's response is not valid HTTP: {words}") + r"( \(byte \d+ of it\))?; mend the server, or pass its bytes on "
                      "unread with --opaque-ports"))


@case(each={f"{name} {log}": (name, log) for name in INVALID for log in FORMATS})
def unread_for(pod, what):
    """As it is by default the bytes pass: the record says at which message HTTP ended, and by what."""
    sent, words = INVALID[what[0]]
    pod.app(script("head", sent, "all"))
    pod.start(log_format=what[1])
    peer = pod.dial()
    peer.send(request())
    expect(peer.exactly(len(sent)) == sent, "bytes are missing")
    peer.fin()
    peer.ends("fin")
    whole(pod, reason="done", by="client", phase=("tunnel", "closing"), open_s=seconds(0), idle_s=seconds(0), sent_server=HEAD, sent_client=len(sent),
          client_leg="fin:client fin:proxy", server_leg="fin:proxy fin:server", unread=text(f"response 1: {re.escape(words)}.*"),
          detail="both sides ended, the client first")


@case(each={f"{end} {log}": (end, log) for end in ("by itself", "after its client") for log in FORMATS})
def early_413(pod, what):
    """413 while curl uploads: that the server stopped first, before the request was complete, whoever closes then."""
    pod.app(script("head", ok(b"no", status="413 Content Too Large"), "all" if what[0] == "after its client" else 0))
    pod.start(log_format=what[1])
    peer = pod.dial()
    peer.send(request("POST", "/", "Content-Length: 1000000") + b"x" * 1000)
    expect(peer.response().status == 413, "the answer is lost")
    if what[0] == "after its client":
        peer.fin()
    peer.ends("fin")
    peer.close()
    itself = what[0] == "by itself"
    whole(pod, reason="connection_close", level="info", by="server", phase="response", open_s=seconds(0), idle_s=seconds(0), sent_client=ANY,
          sent_server=Between(1000, 1100), client_leg="fin:proxy fin:client" if itself else "fin:client fin:proxy",
          server_leg="fin:server fin:proxy" if itself else "fin:proxy",
          detail="the server answered with 413 before the request was complete, and " + ("closed" if itself else "the client sent no more of it"))
