"""Annotations of a pod apply while it runs."""
import time

from harness import case, expect, pod, until

KEY = "lapse.proxy/timeout-request"


def annotate(space, value):
    space.kubectl("annotate", "pod", "web", f"{KEY}={value}", "--overwrite")


def status_of_3s(space, address):
    return space.cluster.curl(f"http://{address}:8080/?sleep=1500ms")[0]


@case()
def live(space):
    """A timeout in an annotation applies within two seconds, and the log says what changed."""
    address = space.start(pod("web", "native", annotations={KEY: "500ms"}))
    expect(status_of_3s(space, address) == 504, "request=500ms did not fire")
    record = space.records("web", "request failed")[-1]
    expect(record["timer"] == "request" and KEY in record["set_by"], f"{record}")
    said = len(space.logs("web").splitlines())
    began = time.monotonic()
    annotate(space, "7s")
    until(lambda: any("7s" in line for line in space.logs("web").splitlines()[said:]), "the log says nothing of 7s", 15, 0.1)
    took = time.monotonic() - began
    expect(status_of_3s(space, address) == 200, "the old value still applies")
    expect(took < 3, f"applied after {took:.1f} s")


@case()
def wrong(space):
    """A value that is none keeps the one in force before it, and the log names both annotation and value."""
    address = space.start(pod("web", "native", annotations={KEY: "500ms"}))
    annotate(space, "1d")
    until(lambda: '1d' in space.logs("web"), "the log says nothing of 1d", 15, 0.3)
    line = next(line for line in space.logs("web").splitlines() if "1d" in line)
    expect(KEY in line, line)
    expect(status_of_3s(space, address) == 504, "request=500ms is no more in force")


@case()
def unknown(space):
    """A timeout that there is not, in an annotation, is one warning, and the pod runs."""
    address = space.start(pod("web", "native", annotations={"lapse.proxy/timeout-requst": "1s"}))
    expect(space.cluster.curl(f"http://{address}:8080/")[0] == 200, "not served")
    lines = [line for line in space.logs("web").splitlines() if "timeout-requst" in line]
    expect(len(lines) == 1 and '"warn' in lines[0], f"{lines}")
