"""`unacknowledged` counts from the oldest byte that is outstanding now, on both legs, next door and 50 ms away."""
import contextlib
import socket
import threading
import time

from .harness import case, expect, took
from .harness.distance import Distance
from .progress import small_buffers

LEGS = {"next door": 0, "50 ms away": 0.025}
BOTH = ("in4", "out4")
TCP_QUICKACK = 12  # <netinet/tcp.h>
BLOB = bytes(range(256)) * 6144  # 1.5 MiB: more than all buffers on the way


class Flow:
    """An opaque connection through the proxy whose one leg is examined: inbound the client's, outbound the server's. `sender` is
    at the other leg, `receiver` at the end of this one, whose host is `host`."""

    def __init__(self, pod, host, address):
        served, self.done = [], threading.Event()
        accepted = threading.Event()

        def serve(peer):
            served.append(peer)
            accepted.set()
            self.done.wait(50)
        self.host = host
        if pod.inbound:
            pod.app(serve)
            client = pod.dial(host=host, address=address)
        else:
            pod.app(serve, host=host)
            client = pod.dial(address=address)
        client.send(b"\0begun\n")
        expect(accepted.wait(5), "the server is not reached")
        expect(served[0].until(b"\n") == b"\0begun\n", "other bytes")
        self.sender, self.receiver = (served[0], client) if pod.inbound else (client, served[0])

    def passes(self, data, at_once=False):
        """To the receiver, whose kernel acknowledges it at once, within a millisecond, or is in no hurry."""
        self.receiver.sock.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, at_once)
        self.sender.send(data)
        expect(self.receiver.exactly(len(data)) == data, "other bytes")


@contextlib.contextmanager
def flow(pod, away):
    """A Flow whose leg is that long; unacknowledged=2s."""
    with contextlib.ExitStack() as stack:
        if away:
            host = pod.another_host("d")
            distance = stack.enter_context(Distance(host, pod.inside, 3, away))
            address = distance.right if pod.inbound else distance.left
        else:
            host = pod.client if pod.inbound else pod.server
            address = pod.inside.v4 if pod.inbound else host.v4
        small_buffers(pod)
        pod.start(unacknowledged="2s")
        made = Flow(pod, host, address)
        stack.callback(made.done.set)
        yield made


def vanishes(pod, examined):
    """Now it is gone, and found two seconds after the first byte that it did not acknowledge."""
    side = "client" if pod.inbound else "server"
    with examined.host.cut():
        examined.sender.send(b"gone")
        with took(2.0, late=1.5):
            record = pod.record(reason=f"{side}_vanished", timer="unacknowledged", value="2s")
    expect(0 < record[f"{side}_undelivered"] <= 4, f"{record}")


def none_vanished(pod):
    wrong = [record for record in pod.proxy.records() if "vanished" in record["reason"]]
    expect(not wrong, f"taken for gone: {wrong[:1]}")


@case(ways=BOTH, each=LEGS)
def delayed_acknowledgements(pod, away):
    """A small write every 0.35 s, each acknowledged late, for twice the limit: none is taken for another's. Then one that is never
    acknowledged is found after 2 s."""
    with flow(pod, away) as examined:
        for number in range(12):
            examined.passes(b"%04d" % number)
            time.sleep(0.35)
        none_vanished(pod)
        vanishes(pod, examined)


def loses_one_for_a_while(examined):
    """1.2 s after what was acknowledged, a write that is lost for 0.85 s: the kernel sends it again before 2 s from the first are over,
    and in time after it was sent."""
    time.sleep(1.2)
    with examined.host.cut():
        examined.sender.send(b"later")
        time.sleep(0.85)
    expect(examined.receiver.exactly(5) == b"later", "other bytes")


@case(ways=BOTH, each=LEGS)
def counts_from_the_oldest_outstanding_now(pod, away):
    """Twice: a write that is acknowledged, then one that is not for a while: 2 s after the first, nobody is gone."""
    with flow(pod, away) as examined:
        for _ in range(2):
            examined.passes(b"first", at_once=True)
            loses_one_for_a_while(examined)
        none_vanished(pod)
        vanishes(pod, examined)


@case(ways=BOTH, each=LEGS)
def a_window_that_closes_and_opens(pod, away):
    """A receiver that reads nothing for 1.5 times the limit, and reads on: not gone, and every byte arrives. What was written before the
    window opened says nothing of what is written afterwards."""
    with flow(pod, away) as examined:
        thread = threading.Thread(target=examined.sender.send, args=(BLOB,))
        thread.start()
        time.sleep(3.0)
        none_vanished(pod)
        expect(examined.receiver.exactly(len(BLOB)) == BLOB, "bytes are missing")
        thread.join(5)
        loses_one_for_a_while(examined)
        none_vanished(pod)
        vanishes(pod, examined)
