"""Advice: what a record, an answer's body and its lapse-detail say to do is one sentence, is right, and helps when it is followed."""
import os
import re
import time

from .harness import (AS_PROXY, BINARY, REASONS, PodInfo, black_hole, case, check_answer, configured, document, expect, ok, readings,
                      read_text, request, route, rule, script, service, silent, took, until, until_reset)

OUT = ("out4",)
CONNTRACK = "netfilter/nf_conntrack_tcp_timeout_"
TEXT = "Accept: text/plain"
REQUEST = "no response came in time; if that may take longer, raise request="


def says(record, detail):
    """The whole detail: text, or a pattern."""
    expect(re.fullmatch(detail, record["detail"]) if isinstance(detail, re.Pattern) else record["detail"] == detail,
           f"detail:   {record['detail']}\nexpected: {detail}")


def answered(pod, peer, status, reason, detail, **fields):
    """The answer of the proxy: record, body and lapse-detail say the same."""
    response = peer.response()
    check_answer(response, status, reason, text=True)
    record = pod.record(reason=reason, **fields)
    says(record, detail)
    expect(response.get("lapse-detail") == record["detail"], f"lapse-detail: {response.get('lapse-detail')}")
    expect(response.body.decode().endswith(f": {reason}: {record['detail']}\n"), f"body: {response.body}")


# Where a timer is to be changed: each level names itself, and only itself.

IDLE = "no request came after the answer to 1 request; to keep it longer raise idleConnection=600ms "
LEVELS = {"Config": "(Config default/c spec.timeouts.idleConnection)",
          "environment": "(LAPSE_TIMEOUT_IDLE_CONNECTION or annotation lapse.proxy/timeout-idle-connection)",
          "flag": "(--timeout-idle-connection or annotation lapse.proxy/timeout-idle-connection)",
          "pod": "(annotation lapse.proxy/timeout-idle-connection on the pod)",
          "route": "(annotation kubelb.k8c.io/timeout-idle-connection on HTTPRoute default/web)"}


@case(ways=OUT, each={level: level for level in LEVELS})
def idle_timeout(pod, level):
    """idle_timeout: what to raise is what is in force, whatever the levels below it say."""
    pod.app()
    order = list(LEVELS)
    set_here = order[:order.index(level) + 1]
    value = {each: "600ms" if each == level else "300ms" for each in order}
    documents = [document("Config", "c", {"timeouts": {"idleConnection": value["Config"]}})]
    if "route" in set_here:
        documents += [service("web", pod.address),
                      route("web", rule("/"), annotations={"kubelb.k8c.io/timeout-idle-connection": value["route"]})]
    arguments = ["--config", configured(pod, *documents).path]
    environment = {"LAPSE_TIMEOUT_IDLE_CONNECTION": value["environment"]} if "environment" in set_here else {}
    if "flag" in set_here:
        arguments += ["--timeout-idle-connection", value["flag"]]
    if "pod" in set_here:
        arguments += ["--pod-info", PodInfo(pod, annotations={"lapse.proxy/timeout-idle-connection": value["pod"]}).path]
    pod.start(*arguments, environment=environment)
    peer = pod.dial()
    with took(0.6):
        peer.ask()
        peer.ends("fin")
    says(pod.ended("idle_timeout"), IDLE + LEVELS[level])


@case()
def idle_race(pod):
    """idle_race: the time at which the request came is the time to raise idleConnection above."""
    pod.app()
    pod.start(idle_connection="600ms")
    peer = pod.dial()
    peer.ask()
    expect(peer.end()[0] == "fin", "no FIN")
    peer.send(request())
    record = pod.ended("idle_race")
    says(record, re.compile(
        r"a request arrived while the connection was being closed as idle; let the client give up idle connections sooner, or raise "
        r"idleConnection=600ms \(--timeout-idle-connection or annotation lapse\.proxy/timeout-idle-connection\) above (.*)"))
    needed = record["detail"].rsplit(" ", 1)[1]
    seen = re.fullmatch(r"(?:(\d+)s)?(?:(\d+)ms)?", needed)
    expect(seen, f"above {needed!r}")
    seen = int(seen[1] or 0) + int(seen[2] or 0) / 1000
    expect(0.6 <= seen <= 0.6 + 1.2, f"above {seen} s")


@case()
def followed(pod):
    """The annotation that a record names is set: the flag is overridden, and the next connection lives longer."""
    pod.app()
    info = PodInfo(pod)
    pod.start("--pod-info", info.path, idle_connection="500ms")
    peer = pod.dial()
    peer.ask()
    peer.ends("fin")
    key = re.search(r"annotation ([^ )]+)", pod.record(reason="idle_timeout")["detail"])[1]
    before = readings(pod)
    info.annotate({key: "30s"})
    until(lambda: readings(pod) > before, "the annotation was not read")
    time.sleep(0.2)
    fresh = pod.dial()
    fresh.ask()
    fresh.stays(1.2)


# Answers.

@case(ways=OUT, each={"flag": None, "route": "HTTPRoute default/web spec.rules[0].timeouts.request"})
def request_timeout(pod, source):
    """request_timeout: the flag or annotation, or the rule that set it."""
    pod.app(silent)
    if source:
        documents = configured(pod, service("web", pod.address), route("web", rule("/", {"request": "500ms"})))
        pod.start("--config", documents.path, request="10s")
    else:
        pod.start(request="500ms")
    peer = pod.dial()
    peer.send(request("GET", "/", TEXT))
    answered(pod, peer, 504, "request_timeout",
             f"{REQUEST}500ms ({source or '--timeout-request or annotation lapse.proxy/timeout-request'})", timer="request")


@case()
def stream_idle_timeout(pod):
    """stream_idle_timeout: a server that stays silent."""
    pod.app(silent)
    pod.start(stream_idle="500ms")
    peer = pod.dial()
    peer.send(request("GET", "/", TEXT))
    answered(pod, peer, 504, "stream_idle_timeout", "the server sent no response; if such silence is right, raise streamIdle=500ms "
             "(--timeout-stream-idle or annotation lapse.proxy/timeout-stream-idle)", timer="streamIdle")


@case(ways=OUT)
def connect_refused(pod):
    """connect_refused: see that a server listens there."""
    pod.server
    pod.start()
    peer = pod.dial(9)
    peer.send(request("GET", "/", TEXT))
    answered(pod, peer, 502, "connect_refused", f"connecting to {pod.address}:9 failed: Connection refused; see that a server listens "
             "on that address and port, not only on 127.0.0.1")


CONNECT = r"10\.77\.2\.1:9 did not accept the connection in time; its SYN was sent again \d+ times?; see that the server is up and no " \
          r"packet filter drops its SYN; for a slow one raise connect="


@case(ways=OUT, each={"flag": "700ms", "built-in": "5s"})
def connect_timeout(pod, value):
    """connect_timeout: the server first, and the timer, which is set by the flag or built in."""
    built_in = value == "5s"
    pod.start(**({} if built_in else {"connect": value}))
    with pod.server.ruled(black_hole()):
        peer = pod.dial(9)
        peer.send(request("GET", "/", TEXT))
        expect(pod.address == "10.77.2.1", f"the server is {pod.address}")
        answered(pod, peer, 504, "connect_timeout", re.compile(
            CONNECT + rf"{value} \({'built-in; ' if built_in else ''}--timeout-connect or annotation lapse\.proxy/timeout-connect\)"))


RACE = r"the server closed this connection, idle for 0\.[5-9] s before, as the request arrived, and the request cannot be sent twice " \
       r"\(it may have been acted on and its method is not idempotent\); the client's connection ends as it would have; if the server closes idle connections, raise its keep-alive " \
       r"timeout above [5-9]\d0ms or set serverIdle="


@case(each={"built-in": r"1m \(built-in; --timeout-server-idle or annotation lapse\.proxy/timeout-server-idle\)",
            "pod": r"20s \(annotation lapse\.proxy/timeout-server-idle on the pod\)"})
def keepalive_race(pod, setting):
    """keepalive_race: the idle time seen is what both settings are measured by, and serverIdle is named where it is set."""
    pod.app(script("request", ok(), "request"))
    arguments = ["--workers", "1", "--no-learned-idle"]
    if setting.startswith("20s"):
        info = PodInfo(pod, annotations={"lapse.proxy/timeout-server-idle": "20s"})
        arguments += ["--pod-info", info.path, "--timeout-server-idle", "40s"]
    pod.start(*arguments)
    peer = pod.dial()
    peer.ask()
    peer.stays(0.5)
    peer.send(request("POST", "/", TEXT, body=b"once only"))
    peer.ends("fin")
    says(pod.record(reason="keepalive_race"), re.compile(RACE + setting + " well below that"))


@case(ways=OUT)
def retried(pod):
    """After the attempts of a route the remedy is said once, behind their number."""
    pod.app(script("request", "fin"))
    documents = configured(pod, service("web", pod.address),
                           route("web", rule("/", retry={"attempts": 2, "backoff": "10ms", "codes": [503]})))
    pod.start("--config", documents.path)
    peer = pod.dial()
    peer.send(request("GET", "/", TEXT))
    answered(pod, peer, 502, "server_closed_early", re.compile(
        rf"{re.escape(pod.address)}:8080 closed the connection without a response, 0\.\d s after the request began to reach it; attempt 3 of 3; "
        "the server's log should say why: a crash, a restart, a limit of its own"))


@case(ways=OUT)
def long_fact(pod):
    """A fact that is too long for a detail is cut, its remedy is not."""
    pod.app()
    documents = configured(pod, service("web", pod.address), route("web", rule("/only")))
    pod.start("--config", documents.path)
    peer = pod.dial()
    peer.send(request("GET", "/" + "p" * 300, TEXT, host="h" * 240 + ".example"))
    answered(pod, peer, 404, "no_route", re.compile(
        r"no rule of the routes of Service default/web takes GET /p{199} with Host h+\.\.\.; add a rule for it; lapse-proxy explain "
        r"shows what applies"))
    expect(len(pod.record(reason="no_route")["detail"]) == 511, "not all room was used")


@case()
def conn_limit(pod):
    """conn_limit: the answer made without a connection of its own says what the record says."""
    pod.app(silent)
    pod.start("--max-connections", "1", "--workers", "1")
    pod.dial().send(request("GET", "/"))
    until(lambda: pod.apps[0].count, "the first does not get through")
    peer = pod.dial()
    try:
        peer.send(request())
        response = peer.response()
    except ConnectionError:  # reset before its request was here
        response = None
    record = pod.record(reason="conn_limit")
    says(record, "1 connections are open, 1 being the most, 1 of one direction, and no idle one could give way; raise --max-connections, or the limit of open files it comes from")
    expect(not response or response.get("lapse-detail") == record["detail"], "another lapse-detail")


# Half-closed, and forgotten by conntrack.

@case()
def half_close_timeout(pod):
    """half_close_timeout: names the side that had not finished, and what to raise."""
    pod.app(until_reset)
    pod.start(half_close="500ms")
    peer = pod.dial()
    peer.send(BINARY).fin()
    peer.ends("rst")
    says(pod.ended("half_close_timeout"), "the client had finished and the server sent nothing more; if the other side may be silent "
         "longer, raise halfClose=500ms (--timeout-half-close or annotation lapse.proxy/timeout-half-close)")


FORGOTTEN = "conntrack has forgotten this connection, so its packets no longer reach the proxy; "
STATUS = "lapse-init status shows how long conntrack keeps what and whether it is full"


@case(each={"built-in": "1h", "flag": "90s"})
def redirect_state_lost(pod, half_close):
    """redirect_state_lost after too long a silence: the lapse-init command, with the value that halfClose needs; it helps."""
    pod.app(script("all", 3, b"late answer"))
    pod.start(**({} if half_close == "1h" else {"half_close": half_close}))
    pod.inside.sysctl(CONNTRACK + "close_wait", 1)
    peer = pod.dial()
    peer.send(BINARY).fin()
    record = pod.ended("redirect_state_lost")
    value = {"1h": "1h", "90s": "1m30s"}[half_close]
    says(record, f"{FORGOTTEN}make conntrack keep it: lapse-init --close-wait-timeout {value}; {STATUS}")
    peer.close()
    pod.init(*re.search("lapse-init (--[^;]*)", record["detail"])[1].split())
    fresh = pod.dial()
    fresh.send(BINARY).fin()
    fresh.ends("fin", data=b"late answer")


@case()
def deleted_from_conntrack(pod):
    """redirect_state_lost though conntrack keeps such flows long enough: no command that would not help."""
    pod.app(silent)
    pod.start(unacknowledged="1s", stream_idle="1s")
    peer = pod.dial()
    peer.send(request())
    peer.stays(0.3)
    pod.inside.run(["conntrack", "-D", "-p", "tcp", "--sport", str(peer.local[1])])
    says(pod.record(reason="redirect_state_lost"), FORGOTTEN + STATUS)


# At start.

def warned(pod, state, level="warn"):
    return pod.line(f"in state {state} ", level=level)["msg"]


@case()
def conntrack_warnings(pod):
    """At start: for each state what the kernel keeps, every timeout that outlives it with its source, and the command; it helps."""
    for state, seconds in (("established", 30), ("close_wait", 20), ("fin_wait", 25)):
        pod.inside.sysctl(CONNTRACK + state, seconds)
    info = PodInfo(pod, annotations={"lapse.proxy/timeout-half-close": "2h"})
    pod.start("--pod-info", info.path, tcp_idle="90m", stream_idle="20s")
    lines = [warned(pod, state) for state in ("established", "close_wait", "fin_wait")]
    half_close = "halfClose=2h (annotation lapse.proxy/timeout-half-close on the pod)"
    expected = [
        "conntrack forgets a silent connection in state established after 30s, earlier than tcpIdle=1h30m (flag --timeout-tcp-idle), "
        "idleConnection=1h (built-in); lapse-init --conntrack-timeout established=1h30m makes it remember",
        f"conntrack forgets a silent connection in state close_wait after 20s, earlier than {half_close}; "
        "lapse-init --close-wait-timeout 2h makes it remember; without, TCP keep-alive holds it while both hosts answer",
        f"conntrack forgets a silent connection in state fin_wait after 25s, earlier than {half_close}; "
        "lapse-init --conntrack-timeout fin_wait=2h makes it remember"]
    expect(lines == expected, "\n".join(lines))
    pod.stop()
    options = [option for line in lines for option in re.search("lapse-init (--[^;]*) makes", line)[1].split()]
    pod.start("--pod-info", info.path, init=options, tcp_idle="90m", stream_idle="20s")
    time.sleep(0.2)
    expect(not [line for line in pod.proxy.lines if "conntrack forgets" in line["msg"]], "still warned")


@case()
def conntrack_of_the_kernel(pod):
    """At start with the kernel's own values: said once for each state of a half-closed connection, but not as a warning."""
    pod.start()
    expect("halfClose=1h (built-in); lapse-init --close-wait-timeout 1h makes" in warned(pod, "close_wait", "info"), "close_wait")
    expect("halfClose=1h (built-in); lapse-init --conntrack-timeout fin_wait=1h makes" in warned(pod, "fin_wait", "info"), "fin_wait")
    expect(not [line for line in pod.proxy.lines if line["level"] == "warn"], "a warning")


@case()
def conntrack_of_what_never_ends(pod):
    """At start: a timeout that is off may be silent for as long as conntrack can be wanted to remember."""
    pod.start(half_close="0s")
    expect("earlier than halfClose=0s (flag --timeout-half-close); lapse-init --close-wait-timeout 120h makes" in
           warned(pod, "close_wait"), warned(pod, "close_wait"))


@case(each={"port taken": ("127.0.0.1:4191", "another process has that port"), "not an address here": ("192.0.2.1:4191", "0.0.0.0"),
            "4143 taken": ("off", "another --inbound-port")})
def cannot_listen(pod, wrong):
    """At start where an address cannot be listened on: exit 1, which it is, and what to do."""
    admin, remedy = wrong
    held = [pod.inside.listener(port) for port in (4191, 4143)[admin == "off":]]
    done = pod.inside.run([*AS_PROXY, pod.context.proxy, "--admin", admin], check=False, env=pod.context.environment())
    said = done.stdout.splitlines()[-1]
    expect(done.returncode == 1 and "failed: " in said and remedy in said, f"exit {done.returncode}: {said}")
    expect((f"--admin {admin}" if admin != "off" else "4143 (inbound)") in said, said)
    for listener in held:
        listener.close()


# The guide.

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


def text_of_file(name):
    with open(os.path.join(ROOT, name)) as file:
        return file.read()


def remedies():
    """The clauses of each reason's remedy as patterns, from the rows."""
    rows = re.findall(r'^REASON\(\w+, (\w+), \w+, \w+, \d+, \w+, "[^"]*",((?:\s*"[^"]*")+)\)$', text_of_file("lib/reasons.def"), re.M)
    expect(len(rows) == len(REASONS) + 1, f"{len(rows)} rows of reasons.def were understood")
    return {name: [re.sub(r"\\\{\w+\\\}", ".+", re.escape(clause)) for clause in "".join(re.findall('"([^"]*)"', text)).split("|")]
            for name, text in rows}


def levels():
    return {name: level.lower() for name, level in re.findall(r"^REASON\(\w+, (\w+), \w+, \w+, \d+, (\w+),", text_of_file("lib/reasons.def"), re.M)}


def demo_of(name):
    """What a page shows in a frame, each line whole again."""
    return re.sub(r"\n  │ (?!ts=)", " ", text_of_file(name)).replace("  │ ", "").replace("\n  ✓", "\n\n")


@case()
def debugging_guide(pod):
    """docs/debugging.md and README: reasons, flags, commands and pages exist; records have the fields, levels and remedies of today."""
    guide = re.sub(r"\n  (?=\S)", " ", text_of_file("docs/debugging.md"))
    first_cells = " ".join(re.findall(r"^\| (`.*?) \|", guide, re.M))
    named = set(re.findall(r"reason(?:=|: )([a-z0-9_]+)", guide)) | set(re.findall(r"`([a-z0-9_]+)`", first_cells))
    expect(len(named) > 20 and named <= REASONS.keys(), f"no reasons: {named - REASONS.keys()}")

    help_of = {name: pod.inside.run([path, "--help"]).stdout for name, path in (("init", pod.context.init), ("proxy", pod.context.proxy))}
    flags = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", guide))
    unknown = {flag for flag in flags if not re.search(rf"{flag}[ ,\n]", help_of["init"] + help_of["proxy"])} - {"--prefix", "--previous", "--tail"}  # kubectl's
    expect(len(flags) > 10 and not unknown, f"no flags: {unknown}")
    commands = re.findall(r"(?:`|\$ )lapse-(init|proxy) ([^`\n]+)", guide)
    expect(len(commands) > 6, "too few commands were found")
    for program, line in commands:
        for word in re.findall(r"^[a-z-]+|--[a-z-]+", line):
            where = rf"\n  (?:.*, )?{word}[ ,\n]"
            expect(re.search(where, help_of[program]), f"lapse-{program} {line}: {word} is not in --help")

    pod.start()
    index = pod.proxy.admin("/")[1].decode()
    pages = set(re.findall(r"(?:127\.0\.0\.1:4191|`)(/[a-z-]+)", guide))
    expect(pages and all(f" {page} " in index for page in pages), f"pages {pages}, there are {index}")

    lines = re.findall(r"^ts=.* reason=\w+ .*$", guide, re.M) + re.findall(r"^ts=.* reason=\w+ .*$", demo_of("README.md"), re.M)
    known = set(re.findall(r"`([a-z0-9_]+)`", text_of_file("docs/reasons.md"))) | {"ts", "level", "msg"}
    known |= {name.replace("client_", "server_", 1) for name in known}
    expect(len(lines) >= 14, f"{len(lines)} records in the guide and README")
    for line in lines:
        fields = read_text(line)
        expect(fields.keys() <= known, f"the record has no {fields.keys() - known}: {line}")
        expect(fields["level"] == levels()[fields["reason"]], f"another level: {line}")
    records = re.findall(r"^ts=.* reason=(\w+) .* detail=\"(.*)\"$", guide, re.M)
    rows = remedies()
    expect(len(records) >= 12, f"{len(records)} records")
    for reason, detail in records:
        expect(any(re.search(f"; {clause}(;|$)", detail) for clause in rows[reason]), f"{reason}: another remedy in {detail!r}")
