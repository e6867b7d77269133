"""The admin listener's walks where there are many connections, and at the proxy's end."""
import json
import re
import socket
import struct
import threading
import time

from .admin import ADMIN, connections, post
from .harness import CLOSED, case, expect, request, took, until
from .scale import ManyApp, ask_all


@case(weight=4, limit=120)
def five_thousand(pod):
    """5,000 connections: sorted and limited right, while others come and go; nobody waits for a walk; a scrape is quick."""
    app, other = (ManyApp(pod.inside.listener(port)) for port in (8080, 8081))
    pod.start("--max-connections", "7000")
    peers, over, failures, slowest = [], threading.Event(), [], [0]
    try:
        for _ in range(25):
            wave = [pod.dial(8080 if peers else 8081) for _ in range(200)]
            ask_all(wave)
            peers += wave

        def come_and_go():
            while not over.is_set():
                try:
                    start = time.monotonic()
                    with pod.client.connect(pod.inside.v4, 8080) as peer:
                        peer.send(request())
                        peer.some()
                    slowest[0] = max(slowest[0], time.monotonic() - start)
                    pod.dials += 1
                except Exception as error:
                    failures.append(repr(error))
        thread = threading.Thread(target=come_and_go)
        thread.start()
        for limit in (1, 100, 1000, 10000):
            for sort, key in (("deadline", "deadline_ms"), ("age", "age_ms")):
                found = connections(pod, limit=limit, sort=sort, stage="idle")
                rows = found["connections"]
                expect(5000 <= found["matched"] <= 5003 and len(rows) == min(limit, found["matched"]), f"{found['matched']}, {len(rows)}")
                values = [row[key] * (-1 if sort == "age" else 1) for row in rows]
                # Ages and what is left are as of each one's visit: milliseconds apart.
                expect(all(later >= earlier - 50 for earlier, later in zip(values, values[1:])), f"not in order of {sort}")
                expect(len({row["id"] for row in rows}) == len(rows), "one twice")
                if sort == "age":
                    expect(max(row["id"] for row in rows[:100]) < 300, "not the oldest")
        for _ in range(20):  # clients that leave before their answer
            with pod.inside.connect(*ADMIN) as peer:
                peer.send(request("GET", "/connections?limit=10000", host="localhost"))
                peer.rst()
        expect(pod.proxy.admin("/connections?limit=10000")[0] == 200, "the page")
        with took(0, late=1):
            expect(pod.proxy.admin("/metrics")[0] == 200, "/metrics")
        over.set()
        thread.join()
        expect(json.loads(post(pod, f"/connections/close?client=10.77.1.1:{peers[0].local[1]}")) == {"closed": 1}, "one of them")
        expect(json.loads(post(pod, "/connections/close?server=10.77.1.2:8081"))["closed"] == 199, "the others of one server")
        expect(not failures or set(failures) <= {"ConnectionResetError(104, 'Connection reset by peer')"}, f"{failures[:3]}")
        expect(slowest[0] < 1, f"a client waited for {slowest[0]:.2f} s")
        for start in range(0, len(peers), 500):  # in waves: the log is bounded, and read by Python
            for peer in peers[start:start + 500]:
                peer.close()
            until(lambda: connections(pod, limit=1)["open"] <= len(peers) - start - len(peers[start:start + 500]), "they stay", 10)
        pod.all_recorded(within=15)
        expect(sum(record["reason"] == "admin_closed" for record in pod.proxy.records(CLOSED)) == 200, "not as admin_closed")
    finally:
        over.set()
        for each in (app, other):
            each.stop = True
            each.join()


@case()
def walks_meet_the_end(pod):
    """Walks under way when the proxy drains and ends: every client gets its answer or an end, the proxy exits 0."""
    app = ManyApp(pod.inside.listener(8080))
    pod.start()
    ask_all([pod.dial() for _ in range(100)])  # as many as the log takes at once
    askers = []
    for _ in range(40):
        peer = pod.inside.connect(*ADMIN)
        peer.send(request("GET", "/connections?limit=10000&format=json"))
        askers.append(peer)
    proxy = pod.proxy
    pod.stop()
    for peer in askers:
        peer.end()
        peer.close()
    expect({record["reason"] for record in proxy.records(CLOSED)} == {"drain"}, "other reasons")
    app.stop = True
    app.join()


@case(limit=60)
def gone_clients_take_no_room(pod):
    """Clients that go away with most of their answer unread, 8 MiB of it and more: who reads slowly is still waited for."""
    app = ManyApp(pod.inside.listener(8080))
    pod.start()
    ask_all([pod.dial() for _ in range(1000)])

    def slow():
        client = pod.inside.socket(4)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(ADMIN)
        client.sendall(request("GET", "/connections?format=html&limit=10000", host="localhost"))
        return client, client.recv(2048)
    waited_for, got = slow()
    length = int(re.search(rb"content-length: (\d+)", got)[1])
    for _ in range((8 << 20) // length + 2):
        gone, _ = slow()
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
    expect(pod.proxy.admin("/connections?format=html&limit=10000")[0] == 200, "no answer")
    while data := waited_for.recv(65536):
        got += data
    expect(len(got.partition(b"\r\n\r\n")[2]) == length, f"{len(got)} of {length} bytes")
    waited_for.close()
    app.stop = True
