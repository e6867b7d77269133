"""The dashboard and the alerts of charts/lapse: what they are made of, and that a real Prometheus finds what they ask for."""
import contextlib
import itertools
import json
import os
import re
import time
import urllib.parse

from .harness import Failure, BINARY, REASONS, case, echo, expect, ok, request, run, until, until_reset
from .harness.documents import configured, route, rule, service
from .harness.record import TIMED
from .hygiene import forget
from .peers import needs

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
DASHBOARD = f"{ROOT}/charts/lapse/dashboards/lapse.json"
RULES = f"{ROOT}/charts/lapse/alerts/lapse.yaml"
RULE_TESTS = f"{ROOT}/tests/alerts/lapse.yaml"
PAGE = f"{ROOT}/docs/dashboard.md"
CHOSEN = ('job=~"$job"', 'namespace=~"$namespace"', 'pod=~"$pod"', 'instance=~"$instance"')
SELECTOR = re.compile(r"\b((?:lapse|process)_\w+|up)\b(\{[^}]*\})?")


def dashboard():
    with open(DASHBOARD) as file:
        return json.load(file)


def queries():
    """(panel's title, PromQL) of everything that the dashboard asks for."""
    return [(panel["title"], target["expr"]) for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def check_names(what, text):
    """The reasons and timers that a query names are rows."""
    for label, names in (("reason", REASONS), ("timer", TIMED)):
        for listed in re.findall(rf'\b{label}[=!]~?"([^"$]+)"', text):
            expect(set(listed.split("|")) <= set(names), f"{what}: no such {label}: {set(listed.split('|')) - set(names)}")


@case()
def dashboard_structure(pod):
    """Panels have their own ids and titles, do not overlap, explain themselves, and ask only for the proxies that are chosen."""
    panels = dashboard()["panels"]
    for key in ("id", "title"):
        values = [panel[key] for panel in panels]
        expect(len(set(values)) == len(values), f"{key} twice: {[each for each in values if values.count(each) > 1]}")
    taken = {}
    for panel in panels:
        place, title = panel["gridPos"], panel["title"]
        expect(place["x"] >= 0 and place["w"] > 0 and place["x"] + place["w"] <= 24, f"{title} is outside of the grid")
        for cell in itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])):
            expect(cell not in taken, f"{title} lies over {taken.get(cell)}")
            taken[cell] = title
        if panel["type"] == "row":
            continue
        expect(panel["targets"] and len({each["refId"] for each in panel["targets"]}) == len(panel["targets"]), f"{title}: refIds")
        expect(re.search(r"\.$", panel["description"]), f"{title} does not say what it means")
    for title, expr in queries():
        check_names(title, expr)
        for name, labels in SELECTOR.findall(expr):
            chosen = CHOSEN + (('direction=~"$direction"',) if "$direction" in expr else ())
            expect(all(each in labels for each in chosen), f"{title}: {name} of proxies that were not chosen")


@case()
def alert_rules(pod):
    """promtool finds no fault with the alerts; their unit tests pass, and each alert has one where it fires and one where not."""
    needs("promtool")
    run(["promtool", "check", "rules", RULES])
    run(["promtool", "test", "rules", RULE_TESTS], timeout=60)
    with open(RULES) as file:
        rules = file.read()
    with open(RULE_TESTS) as file:
        tests = re.findall(r'ALERTS\{alertname="(\w+)", alertstate="firing"\}\n +eval_time: \w+\n +exp_samples:( \[\])?', file.read())
    check_names("alerts", rules)
    for alert in re.findall(r"alert: (\w+)", rules):
        expect({"", " []"} <= {nothing for name, nothing in tests if name == alert}, f"{alert} is not tested both ways")


@case()
def alerts_page(pod):
    """docs/dashboard.md lists the alerts that there are, each with its severity."""
    with open(RULES) as file:
        there = re.findall(r"alert: (\w+)$.*?severity: (\w+)$", file.read(), re.M | re.S)
    with open(PAGE) as file:
        listed = re.findall(r"^\| `(Lapse\w+)` \| (\w+) \|", file.read(), re.M)
    expect(listed == there, f"the page has {listed}, the rules {there}")


# A Prometheus that scrapes the proxy twice: as docs/dashboard.md says for Kubernetes, with what its API would say of the pod in place of
# asking for that (Debian's Prometheus cannot), and plainly.
KUBERNETES = {"namespace": "shop", "pod": "web-0"}
FOUND = {"__meta_kubernetes_pod_container_name": "lapse-proxy", "__meta_kubernetes_pod_phase": "Running",
         "__meta_kubernetes_pod_ip": "127.0.0.1", "__meta_kubernetes_namespace": "shop",
         "__meta_kubernetes_pod_name": "web-0"}
STATIC = 'static_configs: [{targets: ["%s"], labels: %s}]'


def configuration():
    with open(PAGE) as file:
        text = re.search(r"```yaml\n(.*?)```", file.read(), re.S)[1]
    for old, new in {"kubernetes_sd_configs: [{role: pod}]": STATIC % ("192.0.2.1", json.dumps(FOUND)),
                     "[lapse.yaml]": f"[{RULES}]"}.items():
        expect(old in text, f"docs/dashboard.md has no {old}")
        text = text.replace(old, new)
    return ("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n" + text
            + "  - job_name: plain\n    " + STATIC % ("127.0.0.1:4191", "{}") + "\n")


WAYS = ({"job": "lapse", **KUBERNETES, "instance": "127.0.0.1:4191", "direction": "outbound"},
        {"job": "plain", "namespace": ".*", "pod": ".*", "instance": ".*", "direction": ".*"})
# Nothing of these is to be had from a proxy that is well: tests/alerts has them fire.
UNSEEN = ('lapse_connections_closed_total{reason="internal_error"}',
          'lapse_requests_failed_total{reason=~"conn_limit|fd_limit|memory_limit|no_local_port"}')
MAY_BE_NOUGHT = ("lapse_log_lines_dropped_total",)


class Prometheus:
    def __init__(self, pod):
        needs("prometheus")
        self.host = pod.inside
        with open(f"{pod.scratch}/prometheus.yml", "w") as file:
            file.write(configuration())
        pod.spawn(pod.inside, ["prometheus", f"--config.file={pod.scratch}/prometheus.yml", "--web.listen-address=127.0.0.1:9090",
                               f"--storage.tsdb.path={pod.scratch}/prometheus", "--log.level=warn"],
                  name="prometheus", env={"PATH": "/usr/bin:/bin", "GOMAXPROCS": "1"})
        until(lambda: len(self.values("up == 1")) == 2, "Prometheus does not scrape", within=20, every=0.1)

    def ask(self, path, **parameters):
        """The data of the API's answer; its error is a Failure."""
        try:
            with self.host.connect("127.0.0.1", 9090) as peer:
                peer.send(request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}", "Connection: close"))
                response = peer.response()
        except OSError:  # it does not listen yet
            return {"result": []}
        if response.status == 503:  # it is not ready yet
            return {"result": []}
        answer = json.loads(response.body)
        expect(answer["status"] == "success", f"{answer.get('error')} in {parameters}")
        return answer["data"]

    def values(self, expr):
        return [float(each["value"][1]) for each in self.ask("query", query=expr)["result"]]

    def caught_up(self, proxy):
        """Waits until both jobs have what the proxy has counted by now."""
        families = ("lapse_requests_total", "lapse_connections_closed_total", "lapse_config_reloads_total")
        metrics = proxy.metrics()
        wanted = [proxy.counted(family, metrics=metrics) for family in families]
        until(lambda: all(len(self.values(f"sum by (job) ({family}) >= {value}")) == 2 for family, value in zip(families, wanted)),
              "Prometheus has not what the proxy has counted", within=20, every=0.2)


def serve():
    """The server: /slow and /late take their time, /flaky fails every second time, /second ends reused connections without a word."""
    flaky = itertools.cycle([True, False])

    def handle(peer):
        answered = 0
        while message := peer.request():
            if message.target == "/second" and answered:
                return
            time.sleep({"/slow": 0.6, "/late": 2}.get(message.target, 0))
            bad = message.target == "/flaky" and next(flaky)
            peer.send(ok(status="503 Service Unavailable") if bad else ok())
            answered += 1
    return handle


def traffic(pod):
    """Some of everything that has a panel: answers, timeouts, retries, races, clients that go away, refusals."""
    for target, method in (("/flaky", "GET"), ("/slow", "GET"), ("/second", "GET"), ("/second", "POST")):
        with pod.dial() as peer:
            peer.ask()
            peer.send(request(method, target))
            with contextlib.suppress(Failure, OSError):  # a race ends unanswered
                peer.response()
    with pod.dial() as peer:
        peer.send(request("GET", "/slow")).stays(0.1)
        peer.rst()
    with pod.dial(8090) as peer:
        peer.send(request())
        peer.response()
    with pod.dial(8082) as peer:
        peer.send(BINARY)
        peer.exactly(len(BINARY))
    crowd = [pod.dial() for _ in range(30)]
    until(lambda: pod.proxy.counted("lapse_connections_closed_total", reason="conn_limit"), "nobody is refused")
    for peer in crowd:
        peer.close()
    until(lambda: pod.proxy.counted("lapse_connections_active") <= 1, "connections stay open")
    for _ in range(3):
        with pod.dial() as peer:
            peer.ask()
            peer.ask()


def lost(pod):
    """A connection that conntrack forgets."""
    with pod.dial() as peer:
        peer.send(request("GET", "/late")).stays(0.1)
        forget(pod, peer)
        until(lambda: pod.proxy.counted("lapse_redirect_state_lost_total"), "redirect_state_lost is not counted")


def configurations(pod, directory):
    """A reading that is taken, with a warning, and one that is refused."""
    directory.replace("more.yaml", service("more", "10.99.0.1", annotations={"lapse.proxy/timeout-request": "never"}))
    until(lambda: pod.proxy.counted("lapse_config_warnings"), "no warning is counted")
    directory.replace("more.yaml", "kind: [")
    until(lambda: not pod.proxy.counted("lapse_config_last_reload_successful"), "the reading is not refused")


def check_panels(prometheus):
    """Every query of the dashboard finds something, and more than noughts."""
    missing = []
    for chosen, (title, expr) in itertools.product(WAYS, queries()):
        for name, value in {**chosen, "__rate_interval": "20s", "__range": "30s"}.items():
            expr = expr.replace(f"${name}", value)
        expect("$" not in expr, f"{title}: a variable that is not known: {expr}")
        values = prometheus.values(expr)
        if not values or not any(value > 0 for value in values) and not any(name in expr for name in MAY_BE_NOUGHT):
            missing.append(f"{title} ({chosen['job']}): {values[:3]} from {expr}")
    expect(not missing, f"{len(missing)} queries without data: " + "; ".join(missing[:6]))


def check_variables(prometheus):
    """What can be chosen from is there, where there are such labels."""
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] != "query":
            continue
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
        for name, value in WAYS[0].items():
            selector = selector.replace(f"${name}", value)
        found = prometheus.ask(f"label/{label}/values", **{"match[]": selector})
        expect(WAYS[0][variable["name"]] in found, f"{variable['name']}: {found}")


def check_alerts(prometheus):
    """Every rule is evaluated, every selector of one finds series, and what has happened is said."""
    rules = [each for group in prometheus.ask("rules")["groups"] for each in group["rules"]]
    expect(len(rules) >= 10, f"{len(rules)} rules")
    for each in rules:
        expect(each["health"] == "ok", f"{each['name']}: {each.get('lastError')}")
        for name, labels in SELECTOR.findall(each["query"]):
            wanted = name if name + labels in UNSEEN else name + labels
            expect(prometheus.values(wanted), f"{each['name']}: no series {wanted}")

    def firing():
        return {(each["labels"]["alertname"], each["labels"]["job"]): each for each in prometheus.ask("alerts")["alerts"]}
    for job, whose in (("lapse", "127.0.0.1:4191 (shop/web-0)"), ("plain", "127.0.0.1:4191")):
        for alert in ("LapseRedirectStateLost", "LapseConfigurationRefused", "LapseConnectionsRefused"):
            found = until(lambda: firing().get((alert, job)), lambda: f"{alert} is not there for {job}: {list(firing())}", every=0.2)
            expect(f"{whose} " in found["annotations"]["summary"], found["annotations"]["summary"])


@case(ways=("out4",), weight=2)
def everything_asked_for(pod):
    """Prometheus scrapes a proxy under traffic: every panel, variable and alert finds its series, with a pod's labels and without."""
    pod.uncounted()  # records are held back
    pod.app(serve())
    pod.app(until_reset, port=8081)
    pod.app(echo, port=8082)
    directory = configured(pod, service("web", pod.address), route(
        "web", rule("/slow", timeouts={"request": "300ms"}), rule("/flaky", retry={"codes": [503], "attempts": 2}), rule("/")))
    pod.start("--config", directory.path, "--workers", "1", "--max-connections", "16", "--log-rate", "1", "--no-learned-idle", "--pool-size", "8",
              unacknowledged="1s")
    half = pod.dial(8081)
    half.send(BINARY).fin()
    prometheus = Prometheus(pod)
    traffic(pod)
    prometheus.caught_up(pod.proxy)
    lost(pod)
    configurations(pod, directory)
    traffic(pod)
    prometheus.caught_up(pod.proxy)
    check_panels(prometheus)
    check_variables(prometheus)
    check_alerts(prometheus)
    expect(prometheus.values("lapse_connections_limit") == [16, 16], "lapse_connections_limit")
