"""Opaque TCP: detection, server-first protocols, TLS and HTTP/2 recognised, half-close, bytes in bulk."""
import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

from .harness import ALL_WAYS, BINARY, CLOSED, DEAD_PORTS_TOO, case, echo, expect, http, ok, request, script, silent, took, until


@case(ways=ALL_WAYS)
def server_speaks_first(pod):
    """A server that speaks first is heard at once, without a port list: opaque, no stall."""
    def serve(peer):
        peer.send(b"220 ready\r\n")
        echo(peer)
    pod.app(serve)
    pod.start()
    with took(0, late=0.8):
        peer = pod.dial()
        expect(peer.until(b"\r\n") == b"220 ready\r\n", "wrong greeting")
    for word in (b"HELO me\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        peer.send(word)
        expect(peer.exactly(len(word)) == word, "no echo")
    peer.fin()
    peer.ends("fin")
    pod.ended("done", protocol="opaque", by="client")


@case(ways=("in4", "out6"))
def silence_then_http(pod):
    """A client that waits a while before its first request is HTTP all the same, on the connection dialled meanwhile."""
    app = pod.app()
    pod.start()
    peer = pod.dial()
    peer.stays(0.5)
    expect(app.count == 1, "the server was not dialled meanwhile")
    peer.ask()
    peer.ask()
    peer.fin()
    pod.ended("client_closed_idle", protocol="http/1.1", requests=2)
    expect(app.count == 1, "the connection dialled meanwhile was not used")


@case(each={"http": request(), "preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "opaque": b"\x00abc"})
def byte_by_byte(pod, first):
    """First bytes that come one by one are decided as they come, and all arrive."""
    protocol = {b"G": "http/1.1", b"P": "http/2"}.get(first[:1], "opaque")
    pod.app(http() if protocol == "http/1.1" else echo)
    pod.start()
    peer = pod.dial()
    for number in range(len(first)):
        peer.send(first[number:number + 1])
        time.sleep(0.01)
    if protocol == "http/1.1":
        expect(peer.response().status == 200, "no answer")
    else:
        expect(peer.exactly(len(first)) == first, "bytes lost")
    peer.fin()
    pod.record(protocol=protocol, msg=CLOSED)


@case(ways=ALL_WAYS)
def http2_preface(pod):
    """An HTTP/2 preface is recognised and carried as it is: protocol http/2."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    pod.app(echo)
    pod.start()
    peer = pod.dial()
    peer.send(preface)
    expect(peer.exactly(len(preface)) == preface, "changed on the way")
    peer.fin()
    peer.ends("fin")
    pod.ended("done", protocol="http/2")


def client_hello(name, *alpn):
    """The first flight of a real TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    with_name = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        with_name.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


@case(ways=ALL_WAYS)
def tls_hello(pod):
    """A TLS ClientHello is recognised and carried unchanged; SNI and ALPN are in the record."""
    hello = client_hello("shop.example.org", "h2", "http/1.1")
    pod.app(echo)
    pod.start()
    peer = pod.dial()
    peer.send(hello)
    expect(peer.exactly(len(hello)) == hello, "changed on the way")
    peer.fin()
    peer.ends("fin")
    record = pod.ended("done", protocol="tls", sni="shop.example.org")
    expect("h2" in record["alpn"] and "http/1.1" in record["alpn"], f"alpn {record['alpn']}")


@case()
def tls_hello_split_anywhere(pod):
    """A ClientHello split at any byte is recognised, with its SNI, and arrives unchanged."""
    hello = client_hello("shop.example.org")
    pod.app(echo)
    pod.start()
    places = [*range(1, 80), *range(80, len(hello), 9)]
    peers = [pod.dial() for _ in places]
    for at, peer in zip(places, peers):
        peer.send(hello[:at])
    time.sleep(0.05)
    for at, peer in zip(places, peers):
        peer.send(hello[at:])
    for peer in peers:
        expect(peer.exactly(len(hello)) == hello, "changed on the way")
        peer.close()
    for _ in places:
        pod.record(protocol="tls")
    time.sleep(0.3)
    wrong = [record for record in pod.proxy.records(CLOSED)
             if (record["protocol"], record.get("sni")) != ("tls", "shop.example.org")]
    expect(not wrong, f"{len(wrong)} of {len(places)} not recognised, e.g. {wrong[:1]}")


@case(ways=("in4", "out6"))
def tls_session(pod):
    """A whole TLS session between a real client and server passes through."""
    key, certificate = f"{pod.scratch}/key", f"{pod.scratch}/certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                    "-subj", "/CN=app", "-addext", "subjectAltName=DNS:app", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)

    def serve(peer):
        with server.wrap_socket(peer.sock, server_side=True) as session:
            while data := session.recv(65536):
                session.sendall(data)
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    with ssl.create_default_context(cafile=certificate).wrap_socket(peer.sock, server_hostname="app") as session:
        data, got = os.urandom(200000), b""
        for start in range(0, len(data), 10000):  # one thread: a session takes no two at a time
            session.sendall(data[start:start + 10000])
            while len(got) < min(start + 10000, len(data)):
                got += session.recv(65536)
    expect(got == data, "changed on the way")
    pod.record(protocol="tls", sni="app", msg=CLOSED)


@case()
def opaque_ports(pod):
    """--opaque-ports: HTTP on such a port is carried unread; other ports are not affected."""
    pod.app(http(), port=9000)
    pod.app(http())
    pod.start("--opaque-ports", "9000-9010,25")
    for port, protocol in ((9000, "opaque"), (8080, "http/1.1")):
        with pod.dial(port) as peer:
            peer.ask()
        pod.record(protocol=protocol, server=f"{pod.inside.v4}:{port}")


@case(ways=ALL_WAYS)
def half_close_long_answer(pod):
    """The client finishes, the server answers for a while longer: every byte arrives, then FIN."""
    answer = os.urandom(1 << 20)

    def serve(peer):
        question = peer.all()
        for at in range(0, len(answer), 1 << 18):
            time.sleep(0.1)
            peer.send(answer[at:at + (1 << 18)])
        expect(question == BINARY, "question changed")
    pod.app(serve)
    pod.start()
    peer = pod.dial()
    peer.send(BINARY).fin()
    peer.ends("fin", data=answer)
    pod.ended("done", by="client", sent_client=len(answer), sent_server=len(BINARY))


@case(ways=ALL_WAYS)
def half_close_by_server(pod):
    """The server finishes first, the client sends for a while longer: every byte arrives."""
    got = []

    def serve(peer):
        peer.send(b"go ahead")
        peer.fin()
        got.append(peer.all())
    app = pod.app(serve)
    pod.start()
    peer = pod.dial()
    expect(peer.all() == b"go ahead", "greeting lost")
    for _ in range(4):
        time.sleep(0.1)
        peer.send(b"x" * 100000)
    peer.fin()
    expect(app.ended() == "fin" and got == [b"x" * 400000], "bytes lost")
    pod.ended("done", by="server")


@case(ways=("in4", "out6"), weight=2)
def both_ways_at_once(pod):
    """32 MiB each way at the same time, with equal checksums and right counts in the record."""
    size = 32 << 20
    sums = {}

    def talk(name, peer):
        reader = threading.Thread(target=listen, args=(name, peer))
        reader.start()
        block = name.encode() * 8192
        for _ in range(size // len(block)):
            peer.send(block)
        peer.fin()
        reader.join()

    def listen(name, peer):
        total = hashlib.sha256()
        while data := peer.some(1 << 18):
            total.update(data)
        sums[name] = total.hexdigest()

    app = pod.app(lambda peer: talk("\1server", peer))
    pod.start()
    peer = pod.dial()
    talk("\0client", peer)
    app.ended(within=30)
    size = size // (7 * 8192) * (7 * 8192)
    for listener, speaker in (("\0client", b"\1server"), ("\1server", b"\0client")):
        expect(sums[listener] == hashlib.sha256(speaker * (size // 7)).hexdigest(), f"{listener!r} got other bytes")
    pod.ended("done", sent_client=size, sent_server=size)


@case()
def small_messages_are_not_held_back(pod):
    """Three hundred one-byte round trips take no delayed-ACK pauses."""
    pod.app(echo)
    pod.start()
    peer = pod.dial()
    with took(0, late=3):
        for _ in range(300):
            peer.send(b"\0")
            peer.exactly(1)


@case()
def probes_do_not_reach_a_dead_app(pod):
    """A TCP probe of a port without an app, redirected all the same, is reset: nobody may take the app for alive."""
    pod.start(init=DEAD_PORTS_TOO)
    peer = pod.dial(9)
    peer.ends("rst")
    pod.ended("connect_refused")


@case(ways=("in4",), each={"client first": True, "server first": False})
def end_before_a_word(pod, client_first):
    """A connection that ends without a byte after the server was dialled has its record and passes the FIN on."""
    app = pod.app(silent if client_first else script())
    pod.start()
    peer = pod.dial()
    if client_first:
        peer.stays(0.2)
        peer.fin()
    peer.ends("fin")
    peer.close()
    expect(app.ended() == "fin", "the server's side stays open")
    pod.ended(("client_closed_unused", "done", "server_closed_early"), detail=re.compile("."))


@case()
def http_after_opaque(pod):
    """Every connection is detected on its own: opaque, HTTP and TLS on one port."""
    def serve(peer):
        first = peer.some()
        peer.send(ok() if first.startswith(b"GET") else first)
    pod.app(serve)
    pod.start()
    for first, protocol in ((BINARY, "opaque"), (request(), "http/1.1"), (client_hello("a.example"), "tls")):
        with pod.dial() as peer:
            peer.send(first)
            peer.some()
        pod.record(protocol=protocol)


@case(ways=("in4",))
def busy_proxy_and_an_early_fin(pod):
    """A client that says its word and finishes while the proxy is busy: the kernel acknowledges both at once. A FIN that waits for that is
    sent again, and conntrack takes the second one for the other side's: the flow would be forgotten although it is half-closed."""
    pod.app(script("all", 2, b"late answer"))
    pod.start()
    pod.dial().close()
    os.kill(pod.proxy.pid, signal.SIGSTOP)
    try:
        peer = pod.dial()
        peer.send(BINARY).fin()
        time.sleep(0.3)
    finally:
        os.kill(pod.proxy.pid, signal.SIGCONT)
    time.sleep(0.3)
    flow = pod.inside.run(["conntrack", "-L", "-p", "tcp", "--sport", str(peer.local[1])]).stdout
    expect("CLOSE_WAIT" in flow, f"conntrack has the half-closed flow as: {flow.strip()}")
    expect(peer.all() == b"late answer", "no answer")


# Urgent data.

URGENT = [b"a" * 100, b"!", BINARY, b"?"] + [part for number in range(8) for part in (os.urandom(1 << 20), bytes([number]))]


def send_urgent(peer):
    """All of it, every second part's only byte as urgent data."""
    for number, part in enumerate(URGENT):
        peer.sock.sendall(part, socket.MSG_OOB if number % 2 else 0)
        time.sleep(0.02 if number < 4 else 0)


@case(ways=ALL_WAYS, each={"to the server": True, "to the client": False}, weight=2)
def urgent_bytes_keep_their_place(pod, to_server):
    """Bytes sent as urgent arrive in their place like any others, among few bytes and among many (splice)."""
    got, all_of_it = [], b"".join(URGENT)

    def app(peer):
        peer.exactly(len(BINARY))
        if to_server:
            got.append(peer.exactly(len(all_of_it)))
        else:
            send_urgent(peer)
        peer.fin()
    pod.app(app)
    pod.start()
    peer = pod.dial()
    peer.send(BINARY)
    if to_server:
        send_urgent(peer)
        peer.end()
    else:
        got.append(peer.exactly(len(all_of_it)))
    until(lambda: got, "it does not arrive")
    expect(got[0] == all_of_it, f"{len(got[0])} bytes, {sum(a != b for a, b in zip(got[0], all_of_it))} differ")
