"""Annotations of a pod apply while it runs."""
import json
import os
import time
from datetime import datetime

from harness import case, expect, pod, until

KEY = "lapse.proxy/timeout-request"


def annotate(space, value):
    space.kubectl("annotate", "pod", "web", f"{KEY}={value}", "--overwrite")


def status_of_3s(space, address):
    return space.cluster.curl(f"http://{address}:8080/?sleep=1500ms")[0]


@case()
def live(space):
    """A timeout in an annotation applies within a second of the kubelet's writing it down, and the log says what changed."""
    address = space.start(pod("web", "native", annotations={KEY: "500ms"}))
    expect(status_of_3s(space, address) == 504, "request=500ms did not fire")
    record = space.records("web", "request failed")[-1]
    expect(record["timer"] == "request" and KEY in record["set_by"], f"{record}")
    said = len(space.logs("web").splitlines())
    began = time.time()
    annotate(space, "7s")
    line = until(lambda: [line for line in space.logs("web").splitlines()[said:] if "7s" in line], "the log says nothing of 7s", 60, 0.1)[0]
    applied = datetime.fromisoformat(json.loads(line)["ts"].replace("Z", "+00:00")).timestamp()
    proxy = space.cluster.processes("lapse-proxy", address)[0]
    written = os.lstat(f"/proc/{proxy}/root/etc/podinfo/..data").st_mtime
    print(f"       annotation: written by the kubelet after {written - began:.2f} s, applied {applied - written:.2f} s later", flush=True)
    expect(status_of_3s(space, address) == 200, "the old value still applies")
    expect(-0.01 < applied - written < 1, f"applied {applied - written:.2f} s after it was written")


@case()
def wrong(space):
    """A value that is none keeps the one in force before it, and the log names both annotation and value."""
    address = space.start(pod("web", "native", annotations={KEY: "500ms"}))
    annotate(space, "1d")
    until(lambda: '1d' in space.logs("web"), "the log says nothing of 1d", 60, 0.3)
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
