"""A kubelet's HTTP probes (User-Agent kube-probe/VERSION): one connection each, every few seconds, for as long as a pod lives."""
import time

from .harness import case, expect, http, ok, until

AGENT = "User-Agent: kube-probe/1.36"


def probe(pod, *fields, status=200):
    with pod.dial() as peer:
        peer.ask("GET", "/healthz", AGENT, *fields, status=status)
        if "Connection: close" in fields:
            peer.all()


def levels(pod, level):
    return [record["level"] for record in pod.proxy.records("connection closed") if record["level"] == level]


@case(ways=("in4", "out4"))
def clean_end(pod):
    """A probe's clean end is a debug record inbound and counted as any; outbound it is somebody else's request."""
    pod.app()
    pod.start("--log-level", "debug")
    probe(pod, "Connection: close")
    probe(pod)
    pod.all_recorded()
    wanted = "debug" if pod.way.startswith("in") else "info"
    expect(len(levels(pod, wanted)) == 2, f"{pod.proxy.records('connection closed')}")
    closed = sum(value for (name, _), value in pod.proxy.metrics().items() if name == "lapse_connections_closed_total")
    expect(closed == 2, f"{closed} counted")


@case()
def others(pod):
    """What is no probe alone is an info record; so is a probe that failed: the application said so, or said nothing in time."""
    answers = {"/stalls": lambda peer: time.sleep(1.5), "/unwell": ok(status="503 Service Unavailable"), "/moved": ok(status="302 Found")}
    pod.app(handler=http(lambda message: answers.get(message.target, ok())))
    pod.start("--log-level", "debug", request="1s")
    with pod.dial() as peer:  # a probe's request, then another's
        peer.ask("GET", "/healthz", AGENT)
        peer.ask("GET", "/")
    with pod.dial() as peer:  # the other way round
        peer.ask("GET", "/")
        peer.ask("GET", "/healthz", AGENT)
    with pod.dial() as peer:  # only the beginning of the agent's name is looked at
        peer.ask("GET", "/healthz", "User-Agent: not-kube-probe/1")
    with pod.dial() as peer:
        peer.ask("GET", "/unwell", AGENT, status=503)
        peer.ask("GET", "/healthz", AGENT)
    with pod.dial() as peer:
        peer.ask("GET", "/moved", AGENT, status=302)
    pod.all_recorded()
    expect(len(levels(pod, "debug")) == 1 and len(levels(pod, "info")) == 4, f"{pod.proxy.records('connection closed')}")
    with pod.dial() as peer:
        peer.ask("GET", "/stalls", AGENT, status=504)
    until(lambda: pod.proxy.records("request failed"), "a probe that failed is no record")
    expect(pod.proxy.records("request failed")[0]["level"] != "debug", "a probe that failed is a debug record")
