"""/metrics: well-formed for those who scrape it, and equal to what the records say."""
import contextlib
import os
import re
import signal
import threading
import time

from .admin import DEFS, by_target
from .harness import (BINARY, CLOSED, DEAD_PORTS_TOO, FAILED, PROXY_UID, after, backend, black_hole, case, check_answer, configured,
                      expect, http, ok, request, route, run, service, silent, table, until)


def metrics_text(pod, accept=None):
    response = pod.proxy.ask_admin("/metrics", "GET", *([f"Accept: {accept}"] if accept else []))
    expect(response.status == 200, response.start)
    return response.get("content-type"), response.body.decode()


def promtool(text):
    """Expects that promtool has nothing to say of it."""
    done = run(["promtool", "check", "metrics"], stdin=text, check=False)
    expect(done.returncode == 0 and not done.stdout + done.stderr, f"promtool: {done.returncode} {done.stdout}{done.stderr}")


def families(text):
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


@case()
def metrics_at_rest(pod):
    """promtool finds nothing wrong; every family of lib/metrics.def, of the process and of Envoy's names is there."""
    pod.start()
    kind, text = metrics_text(pod)
    expect(kind == "text/plain; version=0.0.4; charset=utf-8", kind)
    promtool(text)
    with open(f"{DEFS}/metrics.def") as file:
        wanted = set(re.findall(r"^METRIC\(\w+, (\w+),", file.read(), re.M))
    wanted |= {f"process_{name}" for name in ("cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds",
                                              "start_time_seconds")}
    wanted |= {"lapse_config_reloads_total", "lapse_config_last_reload_timestamp_seconds", "lapse_config_last_reload_successful",
               "lapse_config_warnings", "lapse_connections_limit", "lapse_log_lines_dropped_total", "lapse_build_info", *ENVOY}
    expect(not wanted - set(families(text)), f"missing: {wanted - set(families(text))}")
    metrics = pod.proxy.metrics()
    version = pod.proxy.admin("/version")[1].decode().split()[1]
    expect(metrics["lapse_build_info", frozenset({("version", version)})] == 1, "lapse_build_info")

    def near(name, value, within):
        have = pod.proxy.counted(name, metrics=metrics)
        expect(abs(have - value) <= within, f"{name} is {have}, expected about {value}")
    near("process_open_fds", pod.proxy.descriptors(), 3)
    near("process_start_time_seconds", time.time(), 60)
    near("lapse_config_last_reload_timestamp_seconds", time.time(), 60)
    near("process_cpu_seconds_total", pod.proxy.cpu_seconds(), 0.2)
    with open(f"/proc/{pod.proxy.pid}/limits") as file:
        near("process_max_fds", int(re.search(r"Max open files +(\d+)", file.read())[1]), 0)
    with open(f"/proc/{pod.proxy.pid}/statm") as file:
        pages = [int(word) * os.sysconf("SC_PAGESIZE") for word in file.read().split()[:2]]
    near("process_virtual_memory_bytes", pages[0], 1 << 24)
    near("process_resident_memory_bytes", pages[1], 1 << 22)


LABEL = r'\w+="([^"\\]|\\["\\n])*"'


def check_open_metrics(text):
    """The rules of OpenMetrics 1.0 that matter to a parser: one block a family, suffixes by type, the end mark."""
    expect(text.endswith("\n# EOF\n") and text.count("# EOF") == 1, "no # EOF at the end")
    suffixes = {"counter": ("_total",), "gauge": ("",), "unknown": ("",), "histogram": ("_bucket", "_sum", "_count")}
    family, kind, seen = None, None, set()
    for line in text.splitlines()[:-1]:
        if line.startswith("# HELP "):
            family = line.split()[2]
            expect(family not in seen and not family.endswith("_total"), f"family {family}")
            seen.add(family)
        elif line.startswith("# TYPE "):
            expect(line.split()[2] == family, line)
            kind = line.split()[3]
        else:
            name = re.match(rf'(\w+)(\{{({LABEL}(,{LABEL})*)?\}})? [0-9.]+$', line)
            expect(name and name[1] in [family + suffix for suffix in suffixes[kind]], f"in family {family}, a {kind}: {line}")


@case()
def open_metrics(pod):
    """OpenMetrics when Accept asks for it, as Prometheus does."""
    pod.app()
    pod.start()
    pod.dial().ask()
    kind, text = metrics_text(pod, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1")
    expect(kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", kind)
    check_open_metrics(text)
    expect("lapse_requests_total{" in text and "# TYPE lapse_requests counter" in text, "the requests are missing")


ENVOY = {  # name: the timer it counts
    "envoy_http_downstream_rq_idle_timeout": "streamIdle", "envoy_http_downstream_rq_max_duration_reached": "request",
    "envoy_cluster_upstream_rq_timeout": "request", "envoy_cluster_upstream_cx_connect_timeout": "connect",
    "envoy_tcp_idle_timeout": "tcpIdle", "envoy_http_downstream_cx_idle_timeout": "idleConnection",
    "envoy_http_downstream_rq_header_timeout": "requestHeaders"}


@case()
def metrics_of_mixed_traffic(pod):
    """After mixed traffic the counters are what the records say: by reason, by, phase, direction, timer; bytes; requests."""
    pod.app(http(by_target))
    pod.app(silent, port=8081)
    pod.start(init=DEAD_PORTS_TOO, request="700ms", connect="600ms", request_headers="500ms", tcp_idle="500ms",
              idle_connection="800ms", stream_idle="900ms")
    for _ in range(5):
        peer = pod.dial()
        peer.ask()
        peer.ask()
        peer.close()
    waiting = [pod.dial() for _ in range(7)]
    waiting[0].send(request("GET", "/slow"))
    waiting[1].send(b"GET / HTTP/1.1\r\nHo")
    waiting[2].send(request("GET", "/part"))
    waiting[3].ask()
    waiting[5].send(b"GET \x01 HTTP/1.1\r\n\r\n")
    waiting[6].send(request("GET", "/")).rst()
    opaque = pod.dial(8081)
    opaque.send(BINARY)
    with pod.inside.ruled(black_hole(8089)):
        lost = pod.dial(8089)
        lost.send(request())
        lost.wait(3)
        check_answer(lost.response(), 504, "connect_timeout")
    refused = pod.dial(8090)
    refused.send(request())
    check_answer(refused.response(), 502, "connect_refused")
    for peer in (*waiting[:4], opaque):
        peer.end()
    for peer in (*waiting[:6], opaque, lost, refused):
        peer.close()
    pod.all_recorded()
    text = metrics_text(pod)[1]
    promtool(text)
    check_open_metrics(metrics_text(pod, "application/openmetrics-text")[1])
    proxy, metrics = pod.proxy, pod.proxy.metrics()
    closed, failed = proxy.records(CLOSED), proxy.records(FAILED)
    for label in ("reason", "by", "phase", "direction"):
        have = proxy.counted("lapse_connections_closed_total", by=label, metrics=metrics)
        want = {value: sum(record[label] == value for record in closed) for value in {record[label] for record in closed}}
        expect(have == want, f"by {label}: {have}, the records say {want}")
    expect(proxy.counted("lapse_connections_opened_total", metrics=metrics) == pod.dials, "opened")
    expect(proxy.counted("lapse_connections_active", metrics=metrics) == 0, "active")
    expect(proxy.counted("lapse_connection_seconds_count", metrics=metrics) == pod.dials, "seconds")
    fired = proxy.counted("lapse_timeouts_total", by="timer", metrics=metrics)
    said = [record["timer"] for record in closed + failed if record.get("timer")]
    expect(fired == {timer: said.count(timer) for timer in said}, f"{fired}, the records say {said}")
    expect({"request", "connect", "requestHeaders", "tcpIdle", "idleConnection"} <= set(fired), f"not all fired: {fired}")
    expect(proxy.counted("lapse_timeouts_total", by="level", metrics=metrics) == {"flag": len(said)}, "level")
    for name, timer in ENVOY.items():
        expect(proxy.counted(name, metrics=metrics) == fired.get(timer, 0), f"{name} is not {timer}")
    sent = proxy.counted("lapse_bytes_total", metrics=metrics, leg="client", way="sent")
    expect(sent == sum(record["sent_client"] for record in closed), f"{sent} bytes sent to clients")
    sent = proxy.counted("lapse_bytes_total", metrics=metrics, leg="server", way="sent")
    expect(sent == sum(record["sent_server"] for record in closed), f"{sent} bytes sent to servers")
    begun, ended = (proxy.counted(f"lapse_{name}_total", metrics=metrics) for name in ("requests", "responses"))
    expect(begun == ended == proxy.counted("lapse_request_seconds_count", metrics=metrics), f"{begun} requests, {ended} ended")
    expect(proxy.counted("lapse_upstream_connects_total", metrics=metrics, result="refused") >= 1, "refused")
    expect(proxy.counted("lapse_upstream_connects_total", metrics=metrics, result="timeout") == 1, "timed out")


@case()
def metrics_of_reloads(pod):
    """Readings taken and refused are counted; warnings and the time of the reading in force are shown."""
    directory = configured(pod, service("web", pod.inside.v4))
    pod.start("--config", directory.path)
    first = pod.proxy.counted("lapse_config_last_reload_timestamp_seconds")
    directory.replace("all.yaml", service("web", pod.inside.v4, annotations={"lapse.proxy/timeout-request": "never"}))
    until(lambda: pod.proxy.counted("lapse_config_warnings") == 1, "no warning is counted")
    directory.replace("all.yaml", "kind: [")
    until(lambda: pod.proxy.counted("lapse_config_reloads_total", by="result") == {"taken": 1, "refused": 1},
          lambda: f"{pod.proxy.counted('lapse_config_reloads_total', by='result')}")
    expect(pod.proxy.counted("lapse_config_last_reload_successful") == 0, "the last reading counts as taken")
    directory.replace("all.yaml", service("web", pod.inside.v4))
    until(lambda: pod.proxy.counted("lapse_config_last_reload_successful") == 1, "the last reading counts as refused")
    expect(pod.proxy.counted("lapse_config_last_reload_timestamp_seconds") > first, "the time of the reading stays")


# Label values that no other case reaches.

@case(ways=("in4", "out4"))
def metrics_of_half_closed(pod):
    """The gauge of half-closed connections goes up and down in its direction."""
    holds = threading.Event()
    pod.app(lambda peer: (peer.all(), peer.send(b"late"), holds.wait(10)))
    pod.start()
    direction = "inbound" if pod.inbound else "outbound"

    def half_closed():
        return pod.proxy.counted("lapse_connections_half_closed", by="direction")
    waiting = pod.dial()
    waiting.send(BINARY)
    waiting.fin()
    expect(waiting.exactly(4) == b"late", "no late answer")
    until(lambda: half_closed() == {direction: 1}, lambda: f"{half_closed()}")
    holds.set()
    waiting.end()
    until(lambda: half_closed() == {}, lambda: f"{half_closed()}")


@case()
def metrics_of_a_drain(pod):
    """Idle connections that a drain ends are counted before the process is gone."""
    pod.app(http(lambda message: after(2) if message.target == "/slow" else ok()))
    pod.start()
    idle, slow = pod.dial(), pod.dial()
    idle.ask()
    slow.send(request("GET", "/slow"))
    time.sleep(0.2)
    pod.proxy.signal(signal.SIGTERM)
    idle.ends("fin")
    idle.close()
    until(lambda: pod.proxy.counted("lapse_connections_closed_total", by="reason") == {"drain": 1}, "not counted")
    expect(slow.response().get("connection") == "close", "the response does not close")
    slow.ends("fin")
    slow.close()
    pod.stop(signals=())


@case(ways=("out4",))
def metrics_of_built_in(pod):
    """A timer that nobody set: level built-in."""
    pod.start()
    with pod.server.ruled(black_hole(8080)):
        peer = pod.dial()
        peer.send(request())
        check_answer(peer.response(), 504, "connect_timeout")
    expect(pod.proxy.counted("lapse_timeouts_total", timer="connect", level="built-in") == 1, "not counted")


@case(ways=("out4",))
def metrics_of_a_loop(pod):
    """A dial that meets the redirect is made anew: one retry, its cause redirect_loop; the dial that came back is refused."""
    pod.app()
    pod.start()
    with pod.inside.ruled(table("loop", ("nat", "output", -101, f"meta skuid {PROXY_UID} tcp dport 8080 limit rate 1/hour burst 1 packets "
                                         "redirect to :4140"))):
        pod.dial().ask()
    pod.dials += 1  # its own
    until(lambda: pod.proxy.counted("lapse_connections_closed_total", reason="redirect_loop") == 1, "no loop")
    expect(pod.proxy.counted("lapse_retries_total", by="cause") == {"redirect_loop": 1}, "no retry")
    expect(pod.proxy.counted("lapse_route_actual_total", by="classification") == {"success": 1}, "it was an attempt")


@case(ways=("out4",))
def metrics_of_a_refused_connection(pod):
    """An opaque connection whose TCPRoute leads to a name without addresses: closed, by reason and Service."""
    documents = service("web", pod.address), route("web", {"backendRefs": [backend("late")]}, kind="TCPRoute")
    pod.start("--config", configured(pod, *documents).path, "--dns-server", "127.0.0.1:9")
    peer = pod.dial()
    with contextlib.suppress(ConnectionError):  # it may be over already
        peer.send(BINARY)
        peer.ends("rst")
    until(lambda: pod.proxy.counted("lapse_service_closed_total", service="default/web", reason="backend_unresolved") == 1, "not counted")
