"""Do no harm: what the parser does not take, and what is no HTTP, arrives as it was sent, both ways, and ends as the peers ended it."""
import re
import time

from .harness import ALL_WAYS, CLOSED, case, check_answer, configured, expect, http, ok, request, route, rule, script, service, took

REFUSE = ("--on-malformed-http", "refuse")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
SOON = 1.0  # a busy machine's round trip


def expecting(sent, answer, end="fin"):
    """An app that wants exactly these bytes, answers them so and ends."""
    def serve(peer):
        peer.got = b""
        while len(peer.got) < len(sent):
            peer.got += peer.some() or b"<FIN>"
        peer.at = time.monotonic()
        peer.send(answer)
        if end == "fin":
            peer.fin()
            peer.got += peer.all()
        elif end == "rst":
            time.sleep(0.2)
            peer.rst()
        else:
            peer.got += peer.all()
    return serve


def passes(pod, app, sent, answer, end="fin", late=SOON):
    """Sends and expects these very bytes on both sides, soon, and the server's end; the client."""
    peer = pod.dial()
    started = time.monotonic()
    peer.send(sent)
    got = peer.exactly(len(answer))
    expect(got == answer, f"the client got {got[:120]!r}")
    expect(time.monotonic() - started < late, f"the answer took {time.monotonic() - started:.2f} s")
    if end:
        peer.ends(end)
    expect(app.peer().got == sent, f"the server got {app.peer().got[:120]!r}, {len(app.peer().got)} bytes of {len(sent)}")
    peer.close()
    return peer


def unread(pod, side, kind, pattern, **fields):
    """The record of a connection that went on unread, and its counters."""
    record = pod.ended(fields.pop("reason", "done"), level="warn", unread=re.compile(pattern), phase="tunnel", **fields)
    direction = "inbound" if pod.inbound else "outbound"
    count = pod.proxy.counted("lapse_unread_total", direction=direction, leg=side, kind=kind)
    expect(count == pod.proxy.counted("lapse_unread_total") == 1, f"lapse_unread_total {count} for {side} {kind}")
    expect(pod.proxy.counted("lapse_unread_connections") == 0, "still counted as open")
    return record


# 1. Detection reads a whole request line.

NO_HTTP = {
    "rtsp": b"OPTIONS rtsp://a/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", "sip": b"INVITE sip:b@a SIP/2.0\r\nVia: x\r\n\r\n",
    "icap": b"OPTIONS icap://a/echo ICAP/1.0\r\nHost: a\r\n\r\n", "redis": b"GET foo\r\n", "ping": b"PING\r\n",
    "nntp": b"POST\r\n", "smtp": b"HELO a b\r\n", "http 0.9": b"GET /x\r\n", "two blanks": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "version": b"GET / HTTP/2.0\r\n\r\n", "nine empty lines": b"\r\n" * 9 + GET + b"\r\n",
    "long line": b"GET /" + b"a" * 20000, "bare CR": b"\rGET / HTTP/1.1\r\n\r\n", "blank first": b" GET / HTTP/1.1\r\n\r\n",
}


@case(ways=("in4", "out6"), each=NO_HTTP)
def no_request_line(pod, sent):
    """A first line that is no request line is opaque at once: every byte as it came, and no HTTP in the record."""
    app = pod.app(expecting(sent, b"+answer\r\n"))
    pod.start()
    passes(pod, app, sent, b"+answer\r\n")
    record = pod.ended("done", protocol="opaque", by="server")
    expect("unread" not in record, "unread, though it was no HTTP")


@case(ways=ALL_WAYS, each={"first": 0, "later": 1})
def unknown_methods(pod, before):
    """Any token is a method, on the first request and on later ones; the connection stays HTTP, and one."""
    app = pod.app(http(lambda message: ok(message.method.encode() + b" " + message.body)))
    pod.start()
    peer = pod.dial()
    for _ in range(before):
        peer.ask()
    for method in ("BREW", "get", "LIST", "X!#$%&'*+-.^_`|~9", "PROPFIND"):
        expect(peer.ask(method, "/pot", body=b"tea").body == method.encode() + b" tea", f"{method} was answered otherwise")
    peer.fin()
    record = pod.ended("client_closed_idle", protocol="http/1.1", requests=5 + before)
    expect(app.count == 1 and "unread" not in record, f"{app.count} connections, {record.get('unread')}")


@case(ways=("in4", "out6"), each={"half a line": b"GET /half", "half a preface": b"PRI * HTT", "half a hello": b"\x16\x03\x01"})
def detect_bounds(pod, sent):
    """Bytes that are not enough to decide go on as opaque when `detect` is over, and never before."""
    app = pod.app(expecting(sent, b"answer"))
    pod.start(detect="1s", request_headers="300ms")
    with took(1):
        passes(pod, app, sent, b"answer", late=4)
    pod.ended("done", protocol="opaque")


@case(ways=("in4", "in6"))
def request_headers_from_first_byte(pod):
    """requestHeaders counts from the first byte of the line, not from where it was decided."""
    pod.app()
    pod.start(request_headers="1s")
    peer = pod.dial()
    with took(1):
        peer.send(b"GET / HTTP/1.")
        time.sleep(0.6)
        peer.send(b"1\r\nHost: a\r\n")
        check_answer(peer.response(), 408, "header_timeout", closes=True)
    pod.fired("requestHeaders", "header_timeout")


@case(ways=("in4", "out6"), each={"0.9": b"GET /x\r\n", "word": b"QUIT\r\n", "blank": b" ", "binary": b"\0\1", "version": b"GET / HTTP/2.0\r\n",
                                  "two blanks": b"GET  / HTTP/1.1\r\n", "piece": b"GET / FTP"})
def no_request_line_later(pod, sent):
    """The same behind a request that was answered: what no further byte makes a request line goes on at once, and is waited for by its server."""
    first = GET + b"\r\n"
    app = pod.app(script(lambda peer: peer.exactly(len(first)), ok(), lambda peer: setattr(peer, "got", peer.exactly(len(sent))), b"+answer"))
    pod.start()
    peer = pod.dial()
    peer.send(first)
    peer.response()
    with took(0, late=SOON):
        peer.send(sent)
        peer.ends("fin", data=b"+answer")
    expect(app.peer().got == sent and app.count == 1, f"the server got {app.peer().got!r}")
    peer.close()
    unread(pod, "client", "syntax", "request 2: ")


# 2. Read strictly, pass on untouched.

REQUESTS = {
    "LF": (b"GET / HTTP/1.1\nHost: a\n\n", "syntax", "request 1: .*LF"), "folded": (GET + b"X: a\r\n b\r\n\r\n", "syntax", "folded"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", "syntax", "Host"), "two hosts": (GET + b"Host: b\r\n\r\n", "syntax", "Host"),
    "odd host": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "syntax", "Host"), "space": (GET + b"X : a\r\n\r\n", "syntax", "request 1: "),
    "NUL": (GET + b"X: \0\r\n\r\n", "syntax", "NUL"),
    "length and chunked": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing", "beside"),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "framing", "Content-Length"),
    "two codings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing", "Transfer-Encoding"),
    "chunked in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing", "HTTP/1.0"),
    **{coding: (POST + f"Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n".encode(), "framing", "other than chunked")
       for coding in ("gzip, chunked", ", chunked", "identity, chunked", "cow, chunked", "identity")},
    "length over": (POST + b"Content-Length: 9223372036854775808\r\n\r\nabc", "syntax", "2.63"),
    "chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", "syntax", "request 1: "),
    "chunk over": (POST + b"Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\nhello", "syntax", "2.63"),
    "fields": (request("GET", "/", *["A: b"] * 300), "limit", "max-head-fields 128"),
    "head": (request("GET", "/", "X: " + "x" * 200000), "limit", "max-head-size [0-9]+"),
    "extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 5000 + b"\r\nx\r\n0\r\n\r\n", None, "max-chunk-extensions"),
}


@case(ways=("in4", "out6"), each=REQUESTS)
def unread_request(pod, row):
    """A request that the parser refuses goes on as it came, and so does its answer; the record says where and why, and warns."""
    sent, kind, pattern = row
    answer = OK + b"\r\nnot read either\n"
    app = pod.app(expecting(sent, answer))
    pod.start()
    passes(pod, app, sent, answer)
    record = unread(pod, "client", kind or "syntax", pattern) if kind else pod.ended("done", level="warn", unread=re.compile(pattern))
    expect(record["protocol"] == "http/1.1", f"protocol {record['protocol']}")


@case(each={name: row for name, row in REQUESTS.items()})
def refused_request(pod, row):
    """The same with --on-malformed-http refuse: 400, 414 or 431, and not a byte of the head reaches the server."""
    sent, _, pattern = row
    app = pod.app()
    pod.start(*REFUSE)
    peer = pod.dial()
    peer.send(sent)
    response = peer.response()
    expect(response.status in (400, 414, 431) and response.get("lapse-reason"), f"{response.start}")
    record = pod.record(msg=CLOSED, by="client")
    expect("unread" not in record and re.search(pattern.replace("request 1: ", ""), record["detail"]), record["detail"])
    whole = b"chunked\r\n\r\n" in sent and "other than" not in pattern and record["reason"] == "request_invalid"
    expect(whole or not any(peer.received for peer in app.peers), "part of it reached the server")


RESPONSES = {
    "LF": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "syntax", "response 1: .*LF"), "folded": (OK + b"X: a\r\n b\r\n\r\n", "syntax", "folded"),
    "no space": (b"HTTP/1.1200 OK\r\n\r\n", "syntax", "response 1: "), "empty line": (b"\r\n" + OK + b"Content-Length: 2\r\n\r\nok", "syntax", "empty line|plain text"),
    "length and chunked": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, "beside"),
    "chunked twice": (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, "Transfer-Encoding"),
    "gzip, chunked": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", None, "other than chunked"),
    "chunk padded": (OK + b"Transfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n", "syntax", "response 1: "),
    "101 unasked": (b"HTTP/1.1 101 Switching\r\n\r\nraw", "syntax", "101"), "no HTTP": (b"220 mail ESMTP\r\n", "syntax", "response 1: "),
    "tls alert": (b"\x15\x03\x01\x00\x02\x02\x46", "syntax", "TLS"), "settings": (b"\0\0\0\4\0\0\0\0\0", "syntax", "HTTP/2"),
    "html": (b"<html>hello</html>", "syntax", "response 1: "), "icy": (b"ICY 200 OK\r\n\r\nmusic", "syntax", "response 1: "),
    "fields": (OK + b"A: b\r\n" * 300 + b"\r\nbody", None, "max-head-fields 128"),
    "head": (OK + b"X: " + b"x" * 200000 + b"\r\n\r\nbody", None, "max-head-size [0-9]+"),
}


@case(ways=("in4", "out6"), each=RESPONSES)
def unread_response(pod, row):
    """A response that the parser refuses goes on as it came, its end too; the record says where and why, and warns."""
    answer, kind, pattern = row
    sent = GET + b"\r\n"
    app = pod.app(expecting(sent, answer))
    pod.start()
    passes(pod, app, sent, answer)
    if kind:
        unread(pod, "server", kind, pattern, by="server")
    else:
        pod.ended("done", level="warn", unread=re.compile(pattern), phase="tunnel")
    expect(pod.proxy.counted("lapse_unread_total", leg="server") == 1, "not counted")


BEHIND = {"length": OK + b"Content-Length: 2\r\n\r\n", "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
          "204": b"HTTP/1.1 204 No Content\r\n\r\n", "304": b"HTTP/1.1 304 Not Modified\r\n\r\n", "HEAD": OK + b"Content-Length: 2\r\n\r\n",
          "large": OK + b"Content-Length: 200000\r\n\r\n" + b"z" * 199998}


@case(ways=("in4", "out6"), each={f"{name} {when}": (name, when) for name in BEHIND for when in ("at once", "later")})
def bytes_behind_response(pod, what):
    """What follows a response and is none arrives too, and both ways flow from there: its server counts otherwise, or speaks otherwise."""
    name, when = what
    answer = BEHIND[name] + (b"ok" if name in ("length", "large") else b"")
    steps = (answer + b"more",) if when == "at once" else (answer, 0.2, b"more")
    pod.app(script("head", *steps, lambda peer: peer.exactly(5), b"+"))
    pod.start()
    peer = pod.dial()
    peer.send(request("HEAD" if name == "HEAD" else "GET"))
    got = peer.exactly(len(answer) + 4)
    expect(got == answer + b"more", f"{len(got)} bytes, {got[-40:]!r}")
    peer.send(b"raw\r\n")
    peer.ends("fin", data=b"+")
    peer.close()
    pod.ended("done", level="warn", unread=re.compile("response 1: "), requests=1)


@case(each={"at once": ok() + ok(b"unasked"), "later": (ok(), 0.2, ok(b"unasked"))})
def second_response(pod, steps):
    """A second response to one request is nobody's: the next request has its own."""
    app = pod.app(http(lambda _: script(*(steps if isinstance(steps, tuple) else (steps,))) if app.count == 1 else ok(b"mine")))
    pod.start()
    peer = pod.dial()
    peer.ask()
    time.sleep(0.5)
    expect(peer.ask().body == b"mine", "what nobody asked for was taken for an answer")


@case(ways=("out4",), each={"at once": (ok() + b"HTTP/1.1 408 Timeout\r\n\r\n",), "later": (ok(), 0.2, b"HTTP/1.1 408 Timeout\r\n\r\n")})
def second_response_elsewhere(pod, steps):
    """Outbound to an address that is no Service's the client sees that too: its server tells it that it has waited long enough."""
    pod.app(script("request", *steps))
    pod.start()
    peer = pod.dial()
    peer.ask()
    peer.ends("fin", data=b"HTTP/1.1 408 Timeout\r\n\r\n")


@case(each=RESPONSES)
def refused_response(pod, row):
    """The same with --on-malformed-http refuse: 502 server_invalid at once, that says what is wrong."""
    app = pod.app(expecting(GET + b"\r\n", row[0], end="open"))
    pod.start(*REFUSE)
    peer = pod.dial()
    with took(0, late=SOON + 1):
        peer.send(GET + b"\r\n")
        response = peer.response()
    if not (response.status == 200 and response.body is not None and b"chunk" in row[0]):  # a head that was right is through
        check_answer(response, 502, "server_invalid")
    pod.record(reason="server_invalid", by="server")
    expect(app.count == 1, "retried")


@case(ways=("in4", "out6"), each={"fin": "fin", "rst": "rst"})
def unread_ends(pod, how):
    """How the server ends an unread connection is how it ends for the client, and the leg is used for nobody else."""
    sent = b"GET / HTTP/1.1\nHost: a\n\n"
    app = pod.app(expecting(sent, OK + b"\n", end=how))
    pod.start("--pool-size", "8", "--workers", "1")
    passes(pod, app, sent, OK + b"\n", end=how)
    pod.record(msg=CLOSED, reason="done" if how == "fin" else "server_reset", level="warn")
    with pod.dial() as other:
        other.send(sent)
        expect(other.exactly(4) == b"HTTP", "no answer")
    expect(app.count == 2, f"{app.count} connections to the server")


@case(each={"request": "request", "idle": "idle_connection"})
def unread_timers(pod, timer):
    """`request` stays armed until the server's next byte, idleConnection bounds silence in what is unread."""
    sent = b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n" if timer == "idle_connection" else POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    pod.app(script(lambda peer: peer.exactly(len(sent)), lambda peer: peer.all()))
    pod.start(**{timer: "1s"})
    peer = pod.dial()
    with took(1):
        peer.send(sent)
        expect(peer.end(6)[0] != "open", "no timer ended it")
    record = pod.record(msg=CLOSED, value="1s", level="warn", unread=re.compile("request 1"))
    expect(record["timer"] == ("request" if timer == "request" else "idleConnection"), f"{record['timer']}")


@case()
def unread_lists_timers(pod):
    """An owner sees which of the timers that were set one bad byte has switched off."""
    sent = b"GET / HTTP/1.1\nHost: a\n\n"
    app = pod.app(expecting(sent, OK + b"\n"))
    pod.start(request="30s", stream_idle="20s", request_headers="10s")
    passes(pod, app, sent, OK + b"\n")
    record = pod.ended("done", unread=re.compile("request 1"))
    expect("request" in record.get("timers_off", "") and "requestHeaders" in record["timers_off"], f"{record.get('timers_off')}")
    expect("streamIdle" not in record["timers_off"], "a timer of tunnels is called off")


@case(ways=("in4", "out6"), each={"pass": (), "refuse": REFUSE})
def host_of_the_target(pod, options):
    """A target with a host of its own goes by that (RFC 9112 §3.2.2): the server sees it as Host, and the target as it was sent."""
    heard = []
    pod.app(http(lambda message: heard.append((message.target, message.all("Host"))) or ok()))
    pod.start(*options)
    peer = pod.dial()
    for target, host in (("http://b/x", "a"), ("http://u:p@b:8080/", "b"), ("http://A:80/", "a")):
        peer.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        expect(peer.response().status == 200, f"{target} was not answered")
    expect(heard == [("http://b/x", ["b"]), ("http://u:p@b:8080/", ["b:8080"]), ("http://A:80/", ["a"])], f"{heard}")


# What rules decide is refused.

EVADING = {
    "no version": b"GET /admin\r\n", "two blanks": b"GET  /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    "nine empty lines": b"\r\n" * 9 + b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n", "long line": b"GET /admin?" + b"a" * 20000 + b" HTTP/1.1\r\n",
    "LF": b"GET /admin HTTP/1.1\nHost: a\n\n",
    "userinfo": b"GET /ok HTTP/1.1\r\nHost: u@a\r\n\r\n", "letters": b"GET /ok HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "coding": POST + b"Transfer-Encoding: cow, chunked\r\n\r\n0\r\n\r\n", "behind": b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\nGET /admin\r\n\r\n",
}


@case(ways=("out4", "out6"), each=EVADING)
def rules_are_not_evaded(pod, sent):
    """Where a route chooses, what another parser could read as a request it does not let through gets past it in no form."""
    heard = []
    app = pod.app(http(lambda message: heard.append(message.raw_head) or ok()))
    pod.start("--config", configured(pod, service("web", pod.address), route("web", rule("/ok"))).path)
    peer = pod.dial()
    peer.send(sent)
    if sent.startswith(b"GET /ok HTTP/1.1\r\nHost: a\r\n"):
        expect(peer.response().status == 200, "the good one was not answered")
    response = peer.response()
    expect(response.status in (400, 414, 431), f"{response.start}")
    peer.ends("fin")
    expect(all(head.startswith(b"GET /ok ") for head in heard) and len(heard) <= 1, f"the server got {heard}")
    pod.ended(re.compile("request_|head_too_large"), by="client")
    expect(app.count <= 1, "more than one connection to the server")


LEGAL = {
    "tab": POST + b"Content-Length: 3\t\r\nX: \t\r\n\r\nabc", "coding tab": POST + b"Transfer-Encoding: chunked\t \r\n\r\n0\r\n\r\n",
    "latin": b"GET /caf\xe9?\xff HTTP/1.1\r\nHost: a\r\n\r\n", "utf-8": "GET /李 HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "quotes": b"GET /\"<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n", "empty lines": b"\r\n\n\r\n" + GET + b"\r\n", "1.0": b"GET / HTTP/1.0\r\n\r\n",
    "absolute": b"GET http://a/x HTTP/1.1\r\nHost: A\r\n\r\n", "connect path": b"CONNECT /rpc HTTP/1.1\r\nHost: a\r\n\r\n",
    "eight empty lines": b"\r\n" * 8 + GET + b"\r\n",
}


@case(ways=("in4", "out6"), each=LEGAL)
def legal_things(pod, sent):
    """What is legal stays HTTP, with --on-malformed-http refuse too, and arrives as it was sent."""
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nok"
    app = pod.app(expecting(sent, answer))
    pod.start(*REFUSE)
    passes(pod, app, sent, answer, end=None)
    record = pod.record(msg=CLOSED, requests=1)
    expect(record["protocol"].startswith("http/1") and "unread" not in record, f"{record}")
