"""What routes' filters do to real messages: header fields, redirects, rewritten paths and hosts."""
import contextlib
import os
import re
import signal
import time

from .harness import BINARY, CLOSED, Message, after, case, check_answer, echo, expect, http, ok, request, silent, took
from .harness.documents import backend, configured, edit, example, full, pairs, prefix, redirect, rewrite, rule
from .peers import curl, nginx
from .routes import BOTH, OUT, match, mirror, start


# Header fields

def authority(target):
    """What Host says of this target: an absolute one has its own (RFC 9112 §3.2.2)."""
    return target.split("/")[2] if "://" in target else "app"


@case(ways=BOTH)
def request_fields(pod):
    """RequestHeaderModifier: set replaces all lines, add appends, remove removes; first the rule's, then the backend's."""
    pod.app(http(mirror), port=8081)
    of_rule = edit("Request", set=pairs(X_Set="rule", X_Both="rule"), add=pairs(X_Add="rule"), remove=["x-gone"])
    of_backend = edit("Request", set=pairs(X_Both="backend"), add=pairs(X_Add="backend"), remove=["X-Late"])
    start(pod, rule(filters=[of_rule], backends=[backend("v1", 8081, filters=[of_backend])]))
    peer = pod.dial()
    sent = request("POST", "/p?q", "X-Gone: 1", "x-set: a", "X-Keep:  k ", "X-SET: b", "X-Add: own", "X-GONE:2", "X-Late: l",
                   body=b"content")
    for _ in range(2):
        peer.send(sent)
        head, _, body = peer.response().body.partition(b"\r\n\r\n")
        got = Message(head + b"\r\n\r\n")
        expect(body == b"content", f"body {body}")
        expect(got.start == "POST /p?q HTTP/1.1" and b"X-Keep:  k \r\n" in got.raw_head, f"{got.raw_head}")
        fields = {}
        for name, value in got.fields:
            fields.setdefault(name.lower(), []).append(value)
        expect(fields.pop("x-add") == ["own", "rule", "backend"], "X-Add is wrong")
        expect(fields == {"host": ["app"], "x-keep": ["k"], "x-set": ["rule"], "x-both": ["backend"], "content-length": ["7"]},
               f"arrived as {got.raw_head}")


@case(ways=OUT)
def response_fields(pod):
    """ResponseHeaderModifier on answers of every framing: the head is edited, the body is not, the connection goes on."""
    answers = {"/length": b"HTTP/1.1 200 OK\r\nServer: me\r\nContent-Length: 5\r\nX-Set: a\r\n\r\nhello",
               "/chunked": b"HTTP/1.1 200 OK\r\nserver: me\r\nTransfer-Encoding: chunked\r\n\r\n"
                           b"5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
               "/304": b"HTTP/1.1 304 Not Modified\r\nSERVER: me\r\nContent-Length: 50\r\n\r\n",
               "/404": b"HTTP/1.1 404 No\r\nServer: me\r\nServer: again\r\nContent-Length: 0\r\n\r\n",
               "/large": ok(b"L" * 300000, "Server: me"),
               "/close": b"HTTP/1.1 200 OK\r\nServer: me\r\nConnection: close\r\n\r\n" + b"z" * 100000}
    pod.app(http(lambda message: answers[message.target]))
    start(pod, {"filters": [edit("Response", set=pairs(X_Set="s"), add=pairs(X_Add="a"), remove=["Server"])]})
    peer = pod.dial()
    for method, target, status, body in (("GET", "/length", 200, b"hello"), ("GET", "/chunked", 200, b"hello"),
                                         ("GET", "/304", 304, b""), ("HEAD", "/length", 200, b""), ("GET", "/404", 404, b""),
                                         ("GET", "/large", 200, b"L" * 300000), ("GET", "/close", 200, b"z" * 100000)):
        if method == "HEAD":
            answers["/length"] = answers["/length"][:-5]
        response = peer.ask(method, target, status=status)
        expect(response.body == body, f"{target}: the body changed")
        expect(response.trailers == (["X-Sum: 5"] if target == "/chunked" else []), f"{target}: trailers {response.trailers}")
        expect(response.all("Server") == [] and response.all("X-Set") == ["s"] and response.all("X-Add") == ["a"],
               f"{target}: {response.fields}")
    peer.ends("fin")


@case(ways=OUT)
def documented_filters(pod):
    """docs/examples/gateway-filters.yaml does what its comments say."""
    pod.app(http(lambda message: ok(message.raw_head, "Server: me", "Cache-Control: private")), port=80)
    pod.start("--config", configured(pod, example("gateway-filters", {"10.96.20.11": pod.address})).path)
    peer = pod.dial(80)
    moved = peer.ask("GET", "/old/page?x=1", status=301)
    expect(moved.get("Location") == "https://www.example.com/new/page?x=1", f"{moved.fields}")
    got = Message(peer.ask("GET", "/v1/items").body)
    expect(got.target == "/items" and got.all("Host") == ["items.internal"], f"{got.raw_head}")
    response = peer.ask("GET", "/", "X-Debug: 1")
    got = Message(response.body)
    expect(got.get("X-Environment") == "production" and got.get("X-Via") == "lapse" and not got.get("X-Debug"), f"{got.raw_head}")
    expect(response.all("Cache-Control") == ["no-store"] and not response.get("Server"), f"{response.fields}")


# Redirects

@case(ways=OUT)
def redirects(pod):
    """RequestRedirect: status and Location, with bodies, HEAD and what is pipelined behind; the server sees none of it."""
    app = pod.app(http(lambda message: ok(message.target.encode())))
    start(pod, rule("/host", filters=[redirect(hostname="other.example", statusCode=301)]),
          rule("/scheme", filters=[redirect(scheme="https")]), rule("/port", filters=[redirect(port=8443, statusCode=307)]),
          rule("/full", filters=[redirect(path=full("/new"), statusCode=303)]),
          rule("/prefix", filters=[redirect(path=prefix("/p/q/"), statusCode=308)]), rule("/"))
    table = (("GET", "/host/x?a=b", 301, "http://other.example:8080/host/x?a=b"),
             ("HEAD", "/host", 301, "http://other.example:8080/host"),
             ("POST", "/scheme", 302, "https://app/scheme"), ("PUT", "/port?q", 307, "http://app:8443/port?q"),
             ("POST", "/full/x", 303, "http://app:8080/new"), ("GET", "/prefix", 308, "http://app:8080/p/q"),
             ("GET", "/prefix/r/s?t=%20", 308, "http://app:8080/p/q/r/s?t=%20"),
             ("GET", "http://abs.example:99/scheme/x", 302, "https://abs.example/scheme/x"), ("GET", "/plain", 200, None))
    peer = pod.dial()
    bodies = {"POST": b"b" * 100, "PUT": b"b" * 100}  # all in one segment: a body that is not there yet is another case
    peer.send(b"".join(request(method, target, body=bodies.get(method, b""), host=authority(target)) for method, target, _, _ in table))
    for method, target, status, location in table:
        response = peer.response(method)
        expect((response.status, response.get("Location")) == (status, location), f"{target}: {response.start} {response.fields}")
        expect(not response.get("lapse-reason") and response.get("connection") != "close", f"{target}: {response.fields}")
    expect(app.count == 1, f"{app.count} connections to the server")
    peer.send(request("POST", "/host", "Content-Length: 10", "Expect: 100-continue"))  # it may mean not to send its body now
    response = peer.response()
    expect((response.status, response.get("connection")) == (301, "close"), f"{response.start} {response.fields}")
    peer.ends("fin")
    pod.ended("connection_close", by="client", requests=len(table) + 1, detail=re.compile("redirect to http://other.example"))


@case(each={"redirect": ("/r", 302, "GET"), "no route": ("/none", 404, "GET"), "chunked": ("/r", 302, "chunks")}, ways=OUT)
def answered_before_its_body(pod, row):
    """What the proxy answers itself while the body is still on its way: the rest is thrown away, and the next request is answered."""
    target, status, how = row
    seen = []
    pod.app(http(lambda message: seen.append(message.target) or ok(message.target.encode())))
    start(pod, rule("/r", filters=[redirect(hostname="other.example")]), rule("/plain"))
    peer = pod.dial()
    peer.send(request("GET", "/plain"))
    expect(peer.response().status == 200, "no answer")
    for _ in range(3):
        if how == "chunks":
            peer.send(request("POST", target, "Transfer-Encoding: chunked") + b"5\r\nab")
        else:
            peer.send(request("POST", target, "Content-Length: 200000") + b"abc")
        response = peer.response()
        expect(response.status == status and response.get("connection") != "close", f"{response.start} {response.fields}")
        time.sleep(0.1)
        peer.send((b"cde\r\n0\r\n\r\n" if how == "chunks" else b"x" * 199997) + request("GET", "/plain"))
        response = peer.response()
        expect((response.status, response.body) == (200, b"/plain"), f"{response.start} {response.body[:80]}")
    peer.fin()
    peer.ends("fin")
    pod.ended("client_closed_idle", requests=7)
    expect(seen == ["/plain"] * 4, f"the server saw {seen}")


@case(each={"slow": 0, "long": 1, "finished": 2, "reset": 3}, ways=OUT)
def answered_and_no_end_of_its_body(pod, how):
    """Behind such an answer 1 MiB and 2 s of the body are thrown away, and the connection ends; or as the client ends it."""
    pod.app()
    start(pod, rule("/r", filters=[redirect(hostname="other.example")]), rule("/"))
    peer = pod.dial()
    peer.send(request("POST", "/r", "Content-Length: 10000000") + b"abc")
    expect(peer.response().status == 302, "no redirect")
    if how == 0:
        with took(2.0, late=0.7):
            peer.ends("fin")
        pod.ended("connection_close", by="client", detail=re.compile("answered with 302 2 s before"))
    elif how == 1:
        with contextlib.suppress(OSError):
            peer.send(b"x" * 3000000)
        pod.record(reason="connection_close", by="client", detail=re.compile("answered with 302 1 MiB before"))
    elif how == 2:
        peer.fin()
        pod.record(reason="client_closed_request", by="client")
    else:
        peer.rst()
        pod.record(reason=("client_reset", "client_aborted_response", "client_aborted_wait"), by="client")


@case(ways=OUT)
def redirect_as_last_answer(pod):
    """A redirect ends the connection where an answer does: the client asked for it, maxConnection is over, the proxy drains."""
    pod.app(http(after(0.6)))
    start(pod, rule("/r", filters=[redirect(hostname="other.example")]), rule("/"), options=("--timeout-max-connection", "1s"))
    peer = pod.dial()
    peer.send(request("GET", "/r", "Connection: close"))
    expect(peer.response().get("connection") == "close", "not announced")
    peer.ends("fin")
    pod.ended("connection_close", by="client")
    peer = pod.dial()
    peer.ask()
    peer.send(request() + request("GET", "/r"))
    expect(peer.response().status == 200, "no answer")
    peer.ends("fin")
    pod.record(reason="max_connection")
    peer = pod.dial()
    peer.send(b"GET /r HTTP/1.1\r\n")
    time.sleep(0.1)
    pod.proxy.signal(signal.SIGTERM)
    time.sleep(0.1)
    peer.send(b"Host: app\r\n\r\n")
    response = peer.response()
    expect(response.status == 302 and response.get("connection") == "close", f"{response.start} {response.fields}")
    peer.ends("fin")
    expect(pod.stop(signals=()).records(CLOSED)[-1]["reason"] == "drain", "wrong reason")


@case(ways=OUT)
def redirect_too_long(pod):
    """A Location is whole or not sent: 16 KiB go through, what would have more gets 500 redirect_too_long, and the connection goes on."""
    pod.app(http(lambda message: ok(message.target.encode())))
    start(pod, rule("/r", filters=[redirect(hostname="other.example")]), rule("/"), options=("--max-target-size", "40000"))
    peer = pod.dial()
    authority = "http://other.example:8080"
    for length in (9000, 16384 - len(authority)):
        target = "/r/" + "a" * (length - len("/r/?token=1")) + "?token=1"
        peer.send(request("GET", target))
        response = peer.response()
        expect(response.status == 302 and response.get("Location") == authority + target, f"cut: {response.fields}")
    peer.send(request("GET", target + "2"))
    response = peer.response()
    check_answer(response, 500, "redirect_too_long", closes=False)
    expect("HTTPRoute default/web rule 0" in response.get("lapse-detail"), response.get("lapse-detail"))
    pod.record(reason="redirect_too_long", by="proxy", phase="connect", msg="request failed", route="HTTPRoute default/web rule 0")
    expect(peer.ask().body == b"/", "the connection does not go on")


@case(ways=OUT)
def redirect_of_hostile_text(pod):
    """What a client writes into target or Host never breaks the Location's line."""
    pod.app()
    start(pod, {"filters": [redirect(path=prefix("/p"))], "matches": [match("/")]})
    peer = pod.dial()
    for target, host in (("/a\x80\xff\"<>b", "app"), ("/" + "x" * 16000, "app"), ("//evil.example/", "app"), ("/?a\"b", "app")):
        peer.send(request("GET", target, host=host))
        response = peer.response()
        location = response.get("Location")
        if response.status != 302:  # refused by the parser
            check_answer(response, response.status, response.get("lapse-reason"))
            peer = pod.dial()
            continue
        expect(re.fullmatch(r"http://app:8080/p[!-~]*", location), f"{target[:20]}: {location[:80]}")
        expect(len(response.fields) == 2, f"{target[:20]}: {response.fields}")


# Rewriting

@case(ways=BOTH)
def rewrites(pod):
    """URLRewrite: paths, queries, Host and absolute targets as the backend sees them; bodies of both framings arrive whole."""
    pod.app(http(mirror))
    start(pod, rule("/v1", filters=[rewrite(path=prefix("/"))]), rule("/cut/", filters=[rewrite(path=prefix("/kept"))]),
          rule("/full", filters=[rewrite(path=full("/one"), hostname="inner.example")]),
          rule("/host", filters=[rewrite(hostname="inner.example")]), rule("/"))
    table = (("/v1", "/", "app"), ("/v1/", "/", "app"), ("/v1/a/b?c=d&e", "/a/b?c=d&e", "app"), ("/v1?q", "/?q", "app"),
             ("/v1//x", "//x", "app"), ("/cut", "/kept", "app"), ("/cut/a%20b", "/kept/a%20b", "app"),
             ("/full/x?y=1", "/one?y=1", "inner.example"),
             ("/host/p?q", "/host/p?q", "inner.example"), ("http://app/v1/z?q", "http://app/z?q", "app"),
             ("http://app:8080/host/z", "http://inner.example/host/z", "inner.example"), ("/plain?x", "/plain?x", "app"))
    peer, body = pod.dial(), os.urandom(100000)
    for target, wanted, host in table:
        got = Message(peer.send(request("GET", target, host=authority(target))).response().body)
        expect((got.target, got.all("Host")) == (wanted, [host]), f"{target}: {got.raw_head}")
        peer.send(request("PUT", target, body=body, host=authority(target)))
        head, _, rest = peer.response().body.partition(b"\r\n\r\n")
        expect(rest == body and Message(head).target == wanted, f"PUT {target} arrived changed")
        peer.send(request("PUT", target, "Transfer-Encoding: chunked", host=authority(target)) + b"186a0;x\r\n" + body + b"\r\n0\r\nX-T: 1\r\n\r\n")
        head, _, rest = peer.response().body.partition(b"\r\n\r\n")
        expect(rest == body and Message(head).get("Transfer-Encoding") == "chunked", f"chunked PUT {target} arrived changed")


@case(ways=OUT)
def large_heads(pod):
    """Heads just below 64 KiB are edited whole, both ways, sent in pieces or at once."""
    fields = [f"X-{number}: {'v' * 640}" for number in range(99)]
    pod.app(http(lambda message: ok(b"%d" % len(message.raw_head), *fields)))
    start(pod, rule("/v1", filters=[rewrite(path=prefix("/version/one")),
                                    edit("Request", set=pairs(X_5="n", X_N="new"), remove=["X-6"]),
                                    edit("Response", set=pairs(X_5="n"), remove=["X-6", "Content-Encoding"])]))
    sent = request("GET", "/v1/x", *fields)
    expect(60000 < len(sent) < 65536, f"{len(sent)}")
    # "/version/one" for "/v1", one field cut to a letter, one gone, one new
    wanted = len(sent) + 9 - 639 - len(fields[6]) - 2 + len("X-N: new\r\n")
    peer = pod.dial()
    for pieces in (1, 2, 7):
        for at in range(pieces):
            peer.send(sent[len(sent) * at // pieces:len(sent) * (at + 1) // pieces])
            time.sleep(0.02 if pieces > 1 else 0)
        response = peer.response()
        expect(response.body == b"%d" % wanted, f"a head of {response.body} bytes arrived, not {wanted}")
        expect(len(response.fields) == 99, f"{len(response.fields)} fields")
        expect(response.get("X-5") == "n" and not response.get("X-6"), "the response's head is wrong")


@case(ways=OUT)
def expect_continue(pod):
    """Expect: 100-continue through a rewritten head to another backend: 100, then the body, then the answer."""
    def serve(peer):
        head = peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.send(ok(head.target.encode() + peer.exactly(int(head.get("Content-Length")))))
        silent(peer)
    pod.app(serve, port=8081)
    start(pod, rule("/up", filters=[rewrite(path=prefix("/down"))], backends=[backend("v1", 8081)]))
    peer = pod.dial()
    peer.send(request("POST", "/up/x", "Expect: 100-continue", "Content-Length: 4"))
    expect(peer.head().status == 100, "no 100")
    peer.send(b"body")
    expect(peer.response().body == b"/down/xbody", "wrong answer")


@case(ways=BOTH, each={"upgrade": "GET", "connect": "CONNECT"})
def tunnels(pod, method):
    """Upgrade and CONNECT on a routed Service: the tunnel leads to the backend, edited head first."""
    def serve(peer):
        head = peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n" if method == "GET"
                  else b"HTTP/1.1 200 Connected\r\n\r\n")
        peer.send((head.target + " " + head.get("X-Set", "") + "\n").encode())
        echo(peer)
    pod.app(serve, port=8082)
    start(pod, rule("/", filters=[edit("Request", set=pairs(X_Set="edited"))], backends=[backend("v2", 8082)]))
    peer = pod.dial()
    target = "/chat" if method == "GET" else "example.org:443"
    peer.send(request(method, target, *(["Connection: Upgrade", "Upgrade: raw"] if method == "GET" else [])))
    expect(peer.response(method).status == (101 if method == "GET" else 200), "no tunnel")
    expect(peer.until(b"\n") == f"{target} edited\n".encode(), "the head arrived otherwise")
    peer.send(BINARY)
    expect(peer.exactly(len(BINARY)) == BINARY, "the tunnel changes bytes")
    peer.fin()
    peer.ends("fin")
    pod.ended("done", phase=("tunnel", "closing"), backend=re.compile(":8082$"))


# Real programs

@case(ways=BOTH)
def curl_follows(pod):
    """curl -L follows a redirect on its one connection to nginx, which gets the rewritten path; a large file arrives whole."""
    root = nginx(pod)
    address = f"[{pod.address}]" if pod.family == 6 else pod.address
    start(pod, rule("/old", filters=[redirect(path=prefix("/new"), statusCode=301)]),
          rule("/new", filters=[rewrite(path=prefix("/"), hostname="inner.example"),
                                edit("Response", set=pairs(X_Edited="yes"), remove=["Server"])]))
    said = "%{url_effective} %{num_connects} %{num_redirects}"
    got = curl(pod, "-L", "-D", f"{root}/heads", "-o", f"{root}/got", "-w", said, "URL/old/big")
    expect(got == f"http://{address}:8080/new/big 1 1", f"curl: {got}")
    with open(f"{root}/got", "rb") as got, open(f"{root}/html/big", "rb") as big:
        expect(got.read() == big.read(), "the file arrived changed")
    with open(f"{root}/heads", newline="") as heads:
        final = heads.read().split("\r\n\r\n")[1]
    expect("X-Edited: yes" in final and "Server:" not in final and "200 OK" in final, final)
    expect(curl(pod, "-o", "/dev/null", "-w", "%{http_code}", "URL/elsewhere") == "404", "no 404")
    pod.record(reason="no_route", msg="request failed")
    pod.record(reason="client_closed_idle", requests=2, msg=CLOSED)
