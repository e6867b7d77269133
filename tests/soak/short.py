"""`make soak CASES=short`: short connections to one port, for SECONDS, and what local ports carry."""
import json
import os

from e2e.harness import case, expect

SECONDS = float(os.environ.get("SECONDS_EACH", "90"))
TOOL = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build/tests/bench/short")
RANGE = "32768\t60999"  # the kernel's own


@case(weight=99, limit=SECONDS + 150,
      each={f"{kind} {rate}": (kind, rate) for rate in (1000, 2000) for kind in ("opaque", "http")})
def connections_a_second(pod, what):
    """1,000 connections a second that the client closes, to one port: without a sysctl; 2,000 with tcp_tw_reuse: none lacks a local port."""
    kind, rate = what
    pod.uncounted()
    pod.client.sysctl("ipv4/tcp_tw_reuse", "1")  # it has ports enough
    pod.client.sysctl("ipv4/ip_local_port_range", "1024 65535")
    expect(pod.inside.sysctl("ipv4/ip_local_port_range") == RANGE, "this namespace's ports are not the default ones")
    pod.spawn(pod.inside, [TOOL, "serve", "8080"], name="server")
    reuse = ("--keep-tcp-tw-reuse",) if rate == 1000 else ()
    pod.start("--log-level", "warn", init=reuse)
    if rate > 1000:
        pod.inside.sysctl("ipv4/tcp_tw_reuse", "1")  # as lapse-init where /proc/sys may be written
    done = pod.client.run([TOOL, pod.inside.v4, "8080", str(rate), f"{SECONDS:g}", kind], timeout=SECONDS + 60)
    figures = json.loads(done.stdout)
    figures["no_local_port"] = pod.proxy.counted("lapse_upstream_connects_total", result="no_local_port")
    figures["time_wait"] = len(pod.inside.run(["ss", "-Htan", "state", "time-wait"]).stdout.splitlines())
    figures["max_tw_buckets"] = int(pod.inside.sysctl("ipv4/tcp_max_tw_buckets"))
    figures["proxy_cpu_s"] = round(pod.proxy.cpu_seconds(), 1)
    figures["load"] = os.getloadavg()[0]
    print(json.dumps(figures), flush=True)
    with open(os.environ.get("FIGURES", os.devnull), "a") as out:
        print(json.dumps(figures), file=out)
    expect(not figures["client_without_port"] and figures["started"] > 0.97 * figures["wanted"], f"the load generator is the limit: {figures}")
    expect(not figures["no_local_port"] and not figures["wrong"] and not figures["refused"] and not figures["unfinished"], f"{figures}")
