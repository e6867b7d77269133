"""lapse-proxy ready: what a sidecar's postStart hook runs."""
import subprocess
import threading
import time

from .harness import after, case, expect, http, request, took, until


def ready(pod, *arguments):
    return pod.inside.run([pod.context.proxy, "ready", *arguments], check=False, env=pod.context.environment())


@case()
def ready_when_it_serves(pod):
    """ready waits for a proxy that is yet to start, and says nothing."""
    answer = []
    waits = threading.Thread(target=lambda: answer.append(ready(pod, "--within", "20s")))
    waits.start()
    time.sleep(0.3)
    expect(not answer, "it did not wait")
    pod.start()
    waits.join(10)
    expect(answer and answer[0].returncode == 0, f"{answer}")


@case()
def not_ready(pod):
    """Nobody there, or a proxy that drains: exit 1 after --within, with what was seen last."""
    with took(1):
        done = ready(pod, "--within", "1s")
    expect(done.returncode == 1 and "127.0.0.1:4191/ready did not answer within 1s: Connection refused" in str(done), f"{done}")
    done = pod.inside.run(["sh", "-c", f"ulimit -n 20; exec {pod.context.proxy} ready --within 1s"], check=False, env=pod.context.environment())
    expect("Connection refused" in str(done), f"each time it asks it keeps a descriptor: {done}")
    app = pod.app(handler=http(after(3)))
    pod.start()
    with pod.dial() as peer:
        peer.send(request())
        until(lambda: app.count, "the request does not get through")
        pod.proxy.admin("/drain", "POST")
        done = ready(pod, "--within", "100ms")
        expect(done.returncode == 1 and "127.0.0.1:4191/ready still says 503 after 100ms" in str(done), f"{done}")
        peer.response()
    pod.stop(signals=())
    done = ready(pod, "--admin", "off")
    expect(done.returncode == 1 and "--admin off" in str(done), f"{done}")
