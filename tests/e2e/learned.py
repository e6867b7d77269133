"""What is learned of servers that close idle connections (DESIGN.md §11): no request is sent on a connection that is about to end."""
import contextlib
import json
import re
import socket
import threading
import time

from .harness import case, expect, http, ok, request, table, until

ONE = ("--workers", "1", "--pool-size", "32")  # each learns for itself, from connections that rest with nobody
LEARNED = "closes idle connections after about "


def closes_after(idle, blind=0.0):
    """A server that closes a connection idle for so long, deciding that `blind` before: what comes meanwhile is answered by a RST.

    idle: seconds, or a function that gives them anew each time."""
    def serve(peer):
        while True:
            seconds = idle() if callable(idle) else idle
            if not peer.wait(seconds - blind):
                time.sleep(blind)
                return
            if not peer.request():
                return
            peer.send(ok())
    return serve


def rounds(pod, clients, count, period, method="POST", port=8080, spread=0.0):
    """So many clients, each asking `count` times with `period` between; what went wrong, in words."""
    failures, lock = [], threading.Lock()

    def client(number):
        time.sleep(period * number / clients)
        try:
            with pod.near.connect(pod.address, port) as peer:
                for turn in range(count):
                    if turn:
                        time.sleep(period + spread * ((number * 7 + turn * 3) % 11 - 5) / 5)
                    peer.send(request(method, "/", body=b"x" if method == "POST" else b""))
                    response = peer.response()
                    if response.status != 200:
                        with lock:
                            failures.append(response.get("lapse-reason"))
        except Exception as error:
            with lock:
                failures.append(repr(error))
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    pod.dials += clients
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def learned(pod):
    """What the proxy says that it has learned, as (address, seconds)."""
    found = [re.match(r"(\S+): this server " + LEARNED + r"([\d.]+) s", line.get("msg", "")) for line in pod.proxy.lines]
    return [(match[1], float(match[2])) for match in found if match]


def until_learned(pod, seconds, times=1, within=10):
    """Waits for that many such lines, of which the last says about so many seconds."""
    until(lambda: len(learned(pod)) >= times, lambda: f"it said {learned(pod)}", within)
    expect(abs(learned(pod)[-1][1] - seconds) <= 0.25, f"learned {learned(pod)}, wanted {seconds} s")


def shown(pod):
    """What /config tells of the servers' idle timeouts, by destination."""
    said = json.loads(pod.proxy.admin("/config")[1])["learned_server_idle"]
    expect(said["destinations"] == len(said["servers"]), f"{said}")
    return {server["destination"]: server for server in said["servers"]}, said["enabled"]


def teach(pod, app, seconds, closes=2, port=8080):
    """GETs whose connection the server closes, until it has done so that many times more."""
    for _ in range(closes):
        before = app.count
        with pod.dial(port) as peer:
            until(lambda: peer.ask() and app.count > before, "no fresh connection", within=5, every=seconds + 0.3)


@case(each={"learning": True, "without": False}, weight=4, limit=90)
def period_of_the_idle_timeout(pod, learns):
    """A server that closes after 1.2 s, 50 clients that POST every 1.2 s, 500 rounds: none fails; without learning some do."""
    app = pod.app(closes_after(1.2, blind=0.03))
    pod.start(*ONE, *([] if learns else ["--no-learned-idle"]))
    failures = rounds(pod, 50, 10, 1.2, spread=0.03)
    if not learns:
        expect(failures and all("reset" in why or "without a response" in why or "Broken pipe" in why for why in failures),
               f"failures: {failures}")
        raced = [record["reason"] for record in pod.proxy.records() if record["reason"].startswith("keepalive_race")]
        expect(0.8 * len(failures) <= len(raced) <= len(failures), f"{len(failures)} failures, {len(raced)} records of a race")
        expect(not learned(pod) and shown(pod) == ({}, False), "something was learned")
        return
    expect(not failures, f"{len(failures)} of 500 requests failed: {failures[:3]}")
    expect(app.count >= 450, f"{app.count} connections")
    until_learned(pod, 1.2)
    expect(len(learned(pod)) == 1, f"said more than once: {learned(pod)}")
    servers, enabled = shown(pod)
    server = servers[f"{pod.address}:8080"]
    expect(enabled and server["closes_seen"] >= 2 and abs(server["closes_after_ms"] - 1200) < 250, f"{server}")


@case()
def shown_in_config(pod):
    """/config shows what is known of each server, by whom of the workers, after how many closes, and until when it is reused."""
    announcing = pod.app(http(lambda message: ok(b"ok\n", "Keep-Alive: timeout=5")), port=8081)
    app = pod.app(closes_after(0.8))
    pod.start("--workers", "2", "--pool-size", "32")
    workers = ()
    for _ in range(20):  # the kernel deals the connections out
        teach(pod, app, 0.8, closes=1)
        workers = {each["worker"]: each for each in shown(pod)[0].get(f"{pod.address}:8080", {"workers": ()})["workers"]}
        if len(workers) == 2 and all(each["closes_after_ms"] for each in workers.values()):
            break
    expect(sorted(workers) == [0, 1], f"the workers that know are {sorted(workers)}")
    with pod.dial(8081) as peer:
        peer.ask()
        server = shown(pod)[0][f"{pod.address}:8081"]
    expect(announcing.count == 1 and server["announced_ms"] == 5000 and server["reused_until_ms"] == 4000, f"{server}")
    expect(server["known"] == "this server announces to close idle connections after 5 s" and server["closes_seen"] == 0, f"{server}")
    expect(server["closes_after_ms"] is None and len(server["workers"]) == 1, f"{server}")
    servers = shown(pod)[0]
    expect(set(servers) == {f"{pod.address}:8080", f"{pod.address}:8081"}, f"{servers}")
    server = servers[f"{pod.address}:8080"]
    expect(server["known"] == "this server closes idle connections after about 0.8 s", server["known"])
    closes = [each["closes_seen"] for each in server["workers"]]
    expect(server["closes_seen"] == sum(closes) and min(closes) >= 2, f"{server}")
    expect(server["closes_after_ms"] == min(each["closes_after_ms"] for each in server["workers"]), f"{server}")
    expect(server["reused_until_ms"] < server["closes_after_ms"] and server["announced_ms"] is None, f"{server}")


@case(weight=2)
def reuse_far_from_the_end(pod):
    """What was learned costs no reuse to those who ask more often."""
    app = pod.app(closes_after(1.2))
    pod.start(*ONE)
    teach(pod, app, 1.2)
    until_learned(pod, 1.2)
    before = app.count
    expect(not rounds(pod, 4, 10, 0.3), "a request failed")
    expect(app.count - before <= 4, f"{app.count - before} connections for 4 clients")


@case(weight=2)
def price_of_caution(pod):
    """A patient server, legs shared: clients that POST every 0.3 s dial anew until a GET's has been seen to live that long, then
    never; without sharing each keeps its own."""
    app = pod.app()
    pod.start(*ONE)
    expect(not rounds(pod, 8, 4, 0.3), "a request failed")
    expect(8 <= app.count <= 8 * 4, f"{app.count} connections for 8 clients")
    expect(not rounds(pod, 1, 2, 1.5, method="GET"), "a request failed")
    before = app.count
    expect(not rounds(pod, 8, 8, 0.3), "a request failed")
    expect(app.count - before <= 8, f"{app.count - before} connections for 8 clients when it was known")
    pod.stop()
    pod.dials, before = 0, app.count
    pod.start("--workers", "1")
    expect(not rounds(pod, 8, 4, 0.3), "a request failed")
    expect(app.count - before == 8, f"{app.count - before} connections for 8 clients that share nothing")


@case()
def first_post_is_not_risked(pod):
    """Legs are shared, nothing is known, a connection has rested: a POST goes on a fresh one, a GET does not need it."""
    app = pod.app()
    pod.start(*ONE)
    peer = pod.dial()
    peer.ask()
    time.sleep(0.5)
    peer.ask()
    expect(app.count == 1, f"{app.count} connections for two GETs")
    time.sleep(0.5)
    peer.ask("POST", body=b"x")
    expect(app.count == 2, f"{app.count} connections when a POST had come")
    peer.ask("POST", body=b"x")
    expect(app.count == 2, "a POST at once went on yet another connection")
    time.sleep(1.2)
    peer.ask()  # it has rested 1.2 s
    time.sleep(0.5)
    peer.ask("POST", body=b"x")
    expect(app.count == 2, f"{app.count} connections when it was known to live")


@case(weight=2)
def shorter_setting(pod):
    """The server comes back with a shorter idle timeout: learned anew, and no POST fails meanwhile."""
    app = pod.app(closes_after(2.0, blind=0.02))
    pod.start(*ONE)
    teach(pod, app, 2.0)
    until_learned(pod, 2.0)
    with pod.dial() as peer:
        peer.ask()
        time.sleep(0.3)
        app.stop(peers=False)
        for each in app.peers:
            with contextlib.suppress(OSError):
                each.sock.shutdown(socket.SHUT_RDWR)
    pod.app(closes_after(0.8, blind=0.02))
    expect(not rounds(pod, 12, 8, 0.8, spread=0.02), "a POST failed")
    until_learned(pod, 0.8, times=2)


@case(weight=2, limit=90)
def longer_setting(pod):
    """The server's idle timeout becomes longer: one connection that rests on shows it, and connections are used longer again."""
    setting = [1.0]
    app = pod.app(closes_after(lambda: setting[0]))
    pod.start(*ONE)
    teach(pod, app, 1.0)
    until_learned(pod, 1.0)
    setting[0] = 30.0
    with pod.dial() as peer:
        peer.ask()
        time.sleep(2.0)  # given up after 0.5 s, watched for 1.25 s
        peer.ask()
        before = app.count
        time.sleep(1.5)
        peer.ask()
        expect(app.count == before, "a connection is still given up by what was learned of the old setting")


@case()
def confirmed_without_reuse(pod):
    """What was learned is confirmed by a connection that rests out of use: it stays learned, nothing is said twice."""
    app = pod.app(closes_after(0.8))
    pod.start(*ONE)
    teach(pod, app, 0.8)
    until_learned(pod, 0.8)
    with pod.dial() as peer:
        peer.ask()
        before = app.count
        for _ in range(8):
            time.sleep(0.6)
            peer.ask()
    expect(app.count == before + 8, f"{app.count - before} connections for 8 requests")
    expect(len(learned(pod)) == 1, f"said {learned(pod)}")


@case(ways=("in4", "out6"))
def announced_covers_posts(pod):
    """Keep-Alive: timeout=2: given up after 1 s, for a client that says nothing as for others; nothing is claimed to be seen."""
    app = pod.app(http(lambda message: ok(b"ok\n", "Keep-Alive: timeout=2")))
    pod.start(*ONE)
    peer = pod.dial()
    peer.ask()
    time.sleep(0.6)
    peer.ask()
    expect(app.count == 1, "a connection with time left was not reused")
    time.sleep(1.3)
    peer.ask("POST", body=b"x")
    expect(app.count == 2, "a connection close to its announced end was reused")
    expect(not learned(pod), f"said {learned(pod)}")


@case(weight=2)
def destinations_apart(pod):
    """Two ports of one host with idle timeouts of 0.8 s and 2 s, each learned for itself."""
    apps = {port: pod.app(closes_after(seconds), port=port) for port, seconds in ((8080, 0.8), (8081, 2.0))}
    pod.start(*ONE)
    for port, seconds in ((8080, 0.8), (8081, 2.0)):
        teach(pod, apps[port], seconds, port=port)
    until(lambda: len(learned(pod)) == 2, lambda: f"it said {learned(pod)}")
    for address, seconds in learned(pod):
        wanted = 0.8 if address.endswith(":8080") else 2.0
        expect(abs(seconds - wanted) <= 0.2, f"{address}: {seconds} s, wanted {wanted} s")
    with pod.dial(8081) as peer:
        peer.ask()
        before = apps[8081].count
        time.sleep(0.7)
        peer.ask()
        expect(apps[8081].count == before, "one server's habit was held against the other")


@case(limit=90)
def random_ages(pod):
    """A server that closes idle connections at random ages teaches nothing."""
    ages = [0.3, 1.6, 0.7, 2.4, 0.4, 1.2, 0.3, 2.0, 0.6]
    left = list(ages)

    def serve(peer):
        if peer.request():
            peer.send(ok())
            time.sleep(left.pop(0))
    app = pod.app(serve)
    pod.start(*ONE)
    for number in range(len(ages)):
        with pod.dial() as peer:
            peer.ask()
        app.ended(number)
        time.sleep(0.05)
    expect(not learned(pod), f"said {learned(pod)}")


@case()
def closes_right_after_use(pod):
    """Closing at once, without Connection: close, is no idle timeout."""
    def serve(peer):
        if peer.request():
            peer.send(ok())
            time.sleep(0.03)
    app = pod.app(serve)
    pod.start(*ONE)
    for _ in range(6):
        with pod.dial() as peer:
            peer.ask()
            time.sleep(0.15)
    expect(app.count == 6 and not learned(pod), f"{app.count} connections, said {learned(pod)}")


@case()
def closes_with_408(pod):
    """A server that explains its idle close with a 408: learned, and no client gets it for an answer."""
    def serve(peer):
        while peer.wait(0.8):
            if not peer.request():
                return
            peer.send(ok())
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    app = pod.app(serve)
    pod.start(*ONE)
    teach(pod, app, 0.8)
    until_learned(pod, 0.8)


@case(ways=("out4",))
def race_names_what_is_known(pod):
    """Races count as closes, and a record of one names what is known of the server."""
    app = pod.app(http(lambda message: ok(b"ok\n", "Keep-Alive: timeout=5")))
    pod.start(*ONE)
    peer = pod.dial()
    peer.ask()
    leg = app.peers[0].remote[1]
    # Its FIN is lost, again and again, until the request meets a RST.
    with pod.server.ruled(table("unheard", ("filter", "output", 0, f"tcp sport 8080 tcp dport {leg} tcp flags & fin == fin drop"))):
        app.stop()
        app.ended()
        peer.send(request("POST", "/", body=b"once only"))
        peer.ends("rst")
    record = pod.record(reason="keepalive_race")
    expect("this server announces to close idle connections after 5 s" in record["detail"], record["detail"])
