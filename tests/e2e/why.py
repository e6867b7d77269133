"""What `lapse-proxy why` says of the log of real traffic, against that log, and against what was done."""
import collections
import gzip
import itertools
import json
import os
import pty
import re
import subprocess
import time

from .harness import CLOSED, FAILED, case, check_answer, configured, expect, http, ok, request, route, rule, service, silent, until

OUT = ("out4",)
WIDTH = 100


def why(pod, *arguments, log=None, exit_code=0, environment=None):
    """Runs it, on text or bytes as standard input; what it wrote: output, errors."""
    log = log.encode() if isinstance(log, str) else log
    done = subprocess.run([pod.context.proxy, "why", *arguments], input=log, stdin=None if log is not None else subprocess.DEVNULL,
                          capture_output=True, timeout=60, env=pod.context.environment(environment))
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    expect(done.returncode == exit_code, f"why {' '.join(arguments)}: exit {done.returncode}, expected {exit_code}: {said[-600:]}")
    expect(not re.search("Sanitizer|runtime error", said), said[-2000:])
    return done.stdout.decode(), done.stderr.decode()


def figures(pod, *arguments, log):
    """What it says as a value."""
    return json.loads(why(pod, "--json", *arguments, log=log)[0])


def race(peer):
    """An idle server connection that dies as a POST that may not be sent twice arrives on it."""
    peer.stays(0.4)
    peer.send(request("POST", "/race", body=b"x"))
    peer.ends("rst")


def respond(message):
    """Requests to /slow have no answer; the connection of a second request to /race is reset when it has been read."""
    if message.target == "/slow":
        return silent
    if message.target == "/race":
        return lambda peer: peer.rst()
    return ok()


def faults(pod, *arguments):
    """Three kinds of failure and some success, in a log as users have it: its text."""
    app = pod.app(http(respond))
    documents = configured(pod, service("web", pod.address), route("web", rule("/slow", {"request": "300ms"}), rule("/")))
    pod.uncounted()
    proxy = pod.start("--config", documents.path, "--timeout-idle-connection", "700ms", "--no-learned-idle", *arguments, json_log=False)
    for _ in range(4):
        with pod.near.connect(pod.address, 8080) as peer:
            peer.send(request("GET", "/slow"))
            check_answer(peer.response(), 504, "request_timeout")
    for _ in range(3):
        with pod.near.connect(pod.address, 8080) as peer:
            peer.ask()
            race(peer)
    for _ in range(2):
        with pod.near.connect(pod.address, 9) as peer:
            peer.send(request())
            check_answer(peer.response(), 502, "connect_refused")
    with pod.near.connect(pod.address, 8080) as peer:
        peer.ask()
        peer.ends("fin")
    with pod.near.connect(pod.address, 8080) as peer:
        peer.ask()
        peer.ask()
        peer.fin()
        peer.ends("fin")
    expect(app.count, "no connection came to the app")
    until(lambda: pod.proxy.counted("lapse_connections_active") == 0, "a connection stays open")
    pod.stop()
    return "\n".join(proxy.text) + "\n"


def records(log, *messages):
    """The records of a log in either format, read in a way of its own."""
    found = []
    for line in log.splitlines():
        if line.startswith("{"):
            fields = json.loads(line)
        else:
            fields = {key: json.loads(value) if value.startswith('"') else value
                      for key, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line)}
        if fields.get("msg") in (messages or (CLOSED, FAILED)):
            found.append(fields)
    return found


def check_figures(said, log):
    """Counts by reason and who, and timers, are those of the log."""
    for message, name in ((CLOSED, "connections"), (FAILED, "requests")):
        counted = collections.Counter(record["reason"] for record in records(log, message))
        have = {reason: row[name] for reason, row in said["reasons"].items() if row[name]}
        expect(have == counted, f"{name}: why says {have}, the log {dict(counted)}")
    by = collections.Counter((record["reason"], record["by"]) for record in records(log))
    have = {(reason, who): number for reason, row in said["reasons"].items() for who, number in row["by"].items()}
    expect(have == by, f"by: why says {have}, the log {dict(by)}")
    fired = collections.Counter((record["timer"], record["value"], record["set_by"]) for record in records(log) if "timer" in record)
    have = {(row["timer"], row["value"], row["set_by"]): row["times"] for row in said["timers"]}
    expect(have == fired, f"timers: why says {have}, the log {dict(fired)}")
    asked = sum(int(record["requests"]) for record in records(log, CLOSED) if "requests" in record)
    expect(said["requests"] == asked, f"why says {said['requests']} requests, the log {asked}")
    expect(said["lines"]["unreadable"] == 0, f"unreadable lines: {said['lines']}")


@case(ways=OUT, each={"text": "text", "json": "json"})
def three_faults(pod, form):
    """Three kinds of failure: counted as the log has them, the dearest first, each with who, remedy and a record; 100 columns."""
    log = faults(pod, "--log-format", form)
    said = figures(pod, log=log)
    check_figures(said, log)
    causes = {cause["reason"]: cause for cause in said["causes"]}
    expect(list(causes) == ["request_timeout", "keepalive_race", "connect_refused"], f"causes: {list(causes)}")
    expect(not said["nothing_to_mend"] and said["outcomes"]["failed"] == 9, f"outcomes: {said['outcomes']}")
    slow, raced, refused = causes.values()
    expect(slow["to"] == "default/web" and slow["times"] == 4 and
           slow["set_by"] == "HTTPRoute default/web spec.rules[0].timeouts.request", f"the slow one: {slow}")
    expect(slow["remedy"] == "if that may take longer, raise request=300ms "
           "(HTTPRoute default/web spec.rules[0].timeouts.request)", f"its remedy: {slow['remedy']}")
    expect("serverIdle=1m" in raced["remedy"] and raced["times"] == 3, f"the race: {raced}")
    expect(refused["to"] == f"{pod.address}:9" and refused["from"]["most"][0]["name"] == client(log), f"the refused one: {refused}")
    for cause in said["causes"]:
        expect(cause["record"] in log.splitlines(), f"the log has no such line: {cause['record']}")
        expect(records(cause["record"])[0]["detail"] == f"{cause['seen']}; {cause['remedy']}", f"detail and remedy: {cause}")
    races = said["keepalive_races"]
    expect(len(races) == 1 and races[0]["times"] == 3 and races[0]["server"] == f"{pod.address}:8080" and
           400 <= races[0]["least_idle_ms"] <= races[0]["most_idle_ms"] < 3000, f"races: {races}")
    check_page(pod, log, "9 failures", "request_timeout: 4 requests", f"{client(log)} -> default/web",
               "raise request=300ms", "keepalive_race: 3 connections", "connect_refused: 2 connections", "idleConnection=700ms",
               "flag --timeout-idle-connection")


def check_page(pod, log, *parts):
    """The page holds these, fits its columns, and neither a pipe nor NO_COLOR gets an escape sequence; a terminal does."""
    page, errors = why(pod, log=log)
    expect(not errors, errors)
    flat = re.sub(r"\s+", " ", page)
    for part in parts:
        expect(part in flat, f"no {part!r} in\n{page}")
    too_wide = [line for line in page.splitlines() if len(line) > WIDTH]
    expect(not too_wide, f"wider than {WIDTH}: {too_wide}")
    expect("\033" not in page, "colour in a pipe")
    for environment, coloured in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        expect(("\033[" in on_terminal(pod, log, environment)) == coloured, f"{environment}: coloured should be {coloured}")


def on_terminal(pod, log, environment):
    """What a terminal gets."""
    path = f"{pod.scratch}/terminal.log"
    with open(path, "w") as file:
        file.write(log)
    ours, theirs = pty.openpty()
    process = subprocess.Popen([pod.context.proxy, "why", path], stdin=theirs, stdout=theirs, stderr=theirs,
                               env=pod.context.environment(environment))
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 65536):
            said += data
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    expect(process.wait(10) == 0, f"exit {process.returncode}: {said[-300:]}")
    return said.decode()


def client(log):
    """The one address that all connections came from."""
    hosts = {record["client"].rsplit(":", 1)[0] for record in records(log)}
    expect(len(hosts) == 1, f"clients: {hosts}")
    return hosts.pop()


STAMP = "2026-11-21T06:11:50.071234567Z"


def in_parts(line):
    """As CRI-O writes a line that came in two reads, with a line of the other stream in between."""
    half = len(line) // 2
    return (f"{STAMP} stdout P {line[:half]}\n{STAMP} stderr F something else\n{STAMP} stdout F {line[half:]}")


CARRIERS = {
    "kubectl": lambda line: f"[pod/shop-7d9f8-x2x4z/lapse-proxy] {line}",
    "kubectl timestamps": lambda line: f"[pod/shop-7d9f8-x2x4z/lapse-proxy] {STAMP} {line}",
    "CRI": lambda line: f"{STAMP} stdout F {line}",
    "CRI in parts": in_parts,
    "Docker": lambda line: json.dumps({"log": line + "\n", "stream": "stdout", "time": STAMP}),
    "compose": lambda line: f"shop-1  | {line}",
    "journald": lambda line: f"Nov 21 06:11:50 node-1 lapse-proxy[1234]: {line}",
    "journald json": lambda line: json.dumps({"_HOSTNAME": "node-1", "PRIORITY": "6", "MESSAGE": line, "_PID": "12"}),
    "Windows": lambda line: line + "\r",
    "stern": lambda line: f"shop-7d9f8-x2x4z lapse-proxy {line}",
}


@case(ways=OUT)
def carriers(pod):
    """The same log says the same through every prefix and wrapping, mixed too, and among lines of other programs."""
    log = faults(pod)
    as_json = "".join(json.dumps({**fields}) + "\n" for fields in records(log, CLOSED, FAILED))
    plain = figures(pod, log=log)
    for name, carry in CARRIERS.items():
        for form, text in (("text", log), ("json", as_json)):
            said = figures(pod, log="".join(carry(line) + "\n" for line in text.splitlines()))
            for part in ("reasons", "timers", "keepalive_races", "outcomes", "connections", "requests"):
                expect(said[part] == plain[part], f"{name}, {form}: {part} are {said[part]}, plain {plain[part]}")
            expect(said["lines"]["unreadable"] == 0, f"{name}, {form}: {said['lines']}")
            named = [place["name"] for cause in said["causes"] for place in cause["from"]["most"]]
            pods = {"kubectl": "shop-7d9f8-x2x4z", "kubectl timestamps": "shop-7d9f8-x2x4z", "compose": "shop-1"}
            expect(set(named) == {pods.get(name, client(log))}, f"{name}, {form}: clients {named}")
    mixed = [line + "\n" for line in log.splitlines()]
    for number, carry in enumerate(CARRIERS.values()):
        mixed[number::len(CARRIERS)] = [carry(line.rstrip("\n")) + "\n" for line in mixed[number::len(CARRIERS)]]
        mixed.insert(number * 3, "GET / HTTP/1.1\n")
        mixed.insert(number * 2, '{"level":"info","ts":1700000000.5,"msg":"request","reason":"none of ours"}\n')
    expect(figures(pod, log="".join(mixed))["reasons"] == plain["reasons"], "mixed prefixes: other figures")


@case(ways=OUT)
def chosen(pod):
    """--since, --service and --reason choose; several files are one log; what is left out is said."""
    log = faults(pod)
    said = figures(pod, "--reason", "request_timeout", "--reason", "connect_refused", log=log)
    expect(set(said["reasons"]) == {"request_timeout", "connect_refused"} and said["lines"]["left_out"], f"by reason: {said}")
    for name in ("default/web", "web"):
        said = figures(pod, "--service", name, log=log)
        expect({cause["reason"] for cause in said["causes"]} == {"request_timeout", "keepalive_race"}, f"of {name}: {said['reasons']}")
    for name in (f"{pod.address}:9", f"{pod.address}"):
        expect("connect_refused" in figures(pod, "--service", name, log=log)["reasons"], f"of {name}")
    refused = [line["ts"] for line in records(log) if line["reason"] == "connect_refused"]
    said = figures(pod, "--since", refused[0], log=log)
    expect(said["first"] == refused[0] and "request_timeout" not in said["reasons"], f"since {refused[0]}: {said}")
    expect(figures(pod, "--since", "1h", log=log)["reasons"] == figures(pod, log=log)["reasons"], "since an hour is all of it")
    time.sleep(0.01)
    _, errors = why(pod, "--since", "1ms", log=log, exit_code=65)
    expect("left out" in errors and "--since" in errors, errors)
    paths = [f"{pod.scratch}/one", f"{pod.scratch}/two"]
    lines = log.splitlines(keepends=True)
    for path, part in zip(paths, (lines[:10], lines[10:])):
        with open(path, "w") as file:
            file.write("".join(part))
    expect(json.loads(why(pod, "--json", *paths)[0]) == figures(pod, log=log), "two files say something else")
    expect(json.loads(why(pod, "--json", paths[0], "-", log="".join(lines[10:]))[0]) == figures(pod, log=log), "file and - do")


@case(ways=OUT)
def held_back(pod):
    """What --log-rate holds back is counted: why says what the counters say."""
    pod.uncounted()
    proxy = pod.start("--log-rate", "3", json_log=False)
    for _ in range(30):
        with pod.near.connect(pod.address, 9) as peer:
            peer.send(request())
            check_answer(peer.response(), 502, "connect_refused")
    until(lambda: pod.proxy.counted("lapse_connections_active") == 0, "a connection stays open")
    counted = [pod.proxy.counted(f"lapse_{name}_total", by="reason") for name in ("connections_closed", "requests_failed")]
    pod.stop()
    log = "\n".join(proxy.text)
    said = figures(pod, log=log)
    expect(len(records(log)) < 30 and said["reasons"]["connect_refused"]["held_back"] > 0, "nothing was held back")
    sums = [sum(row[name] for row in said["reasons"].values()) for name in ("connections", "requests")]
    expect(sum(sums) == sum(sum(each.values()) for each in counted), f"why says {said['reasons']}, the counters {counted}")
    expect(said["causes"][0]["times"] == 30, f"the cause: {said['causes'][0]}")


@case(ways=OUT)
def nothing_to_mend(pod):
    """All is well: it says so, and nothing else that would worry anybody; exit 0."""
    pod.app()
    pod.uncounted()
    proxy = pod.start(json_log=False)
    for _ in range(3):
        with pod.near.connect(pod.address, 8080) as peer:
            peer.ask()
            peer.fin()
            peer.ends("fin")
    until(lambda: pod.proxy.counted("lapse_connections_active") == 0, "a connection stays open")
    pod.stop()
    log = "\n".join(proxy.text)
    page, errors = why(pod, log=log)
    expect("3 connections" in page and "Nothing to mend: every connection ended" in page and "cost" not in page and not errors, page)
    said = figures(pod, log=log)
    expect(said["nothing_to_mend"] and said["causes"] == [] and said["outcomes"]["meant"] == 3, f"{said}")


@case(ways=OUT)
def access_log_alone(pod):
    """From access log lines alone, as grep would leave them: who answered what, how fast, and the causes all the same."""
    log = faults(pod, "--access-log")
    lines = [line for line in log.splitlines() if 'msg=request ' in line]
    said = figures(pod, log="\n".join(lines))
    expect(said["connections"] == 0 and said["requests"] == len(lines), f"requests: {said['requests']}, lines {len(lines)}")
    expect([cause["reason"] for cause in said["causes"]] == ["request_timeout", "keepalive_race", "connect_refused"],
           f"causes: {said['causes']}")
    slow = next(row for row in said["access_log"] if row["to"] == "default/web")
    expect(slow["statuses"]["5xx"] == 4 and slow["statuses"]["none"] == 3 and slow["slowest_us"] >= 250000 and slow["failed"] == 7, f"requests: {slow}")
    page, _ = why(pod, log="\n".join(lines))
    expect("Requests of the access log" in page and "9 failures" in page, page)
    both = figures(pod, log=log)
    expect(both["requests"] == len(lines) and both["outcomes"]["failed"] == 9, f"with its records: {both['outcomes']}")


@case()
def whole_page(pod):
    """Of a log with everything in it (kubectl's, docker's, CRI's and compose's lines, text and JSON, held back and damaged) the page and
    --json are word for word tests/e2e/pages/why.txt and .json. Who changes them on purpose writes them anew: `why why.log > why.txt`."""
    pages = os.path.join(os.path.dirname(__file__), "pages")
    for name, arguments in (("why.txt", ()), ("why.json", ("--json",))):
        with open(os.path.join(pages, name), encoding="utf-8") as file:
            wanted = file.read()
        said, _ = why(pod, *arguments, os.path.join(pages, "why.log"))
        lines = [(was, now) for was, now in itertools.zip_longest(wanted.splitlines(), said.splitlines()) if was != now]
        expect(not lines, f"{name}: {lines[:1]}")


RECORD = ('ts=2026-11-21T06:11:50.071Z level=info msg="connection closed" reason=server_reset by=server phase=opaque direction=inbound '
          'protocol=opaque client=10.0.0.1:1234 server=10.0.0.2:80 open_s=0.0 idle_s=0.0 sent_client=0 sent_server=0 '
          'detail="10.0.0.2:80 reset the connection after 0 bytes; the server\'s log should say why: a crash, a restart, a limit of its own"')


@case()
def bad_input(pod):
    """Whatever comes instead of a log: a sentence that says what is wrong, an exit code, and what can be read is read."""
    path, directory, packed = (f"{pod.scratch}/{name}" for name in ("log", "directory", "log.gz"))
    with open(path, "w") as file:
        file.write(RECORD + "\n")
    os.mkdir(directory)
    with gzip.open(packed, "w") as file:
        file.write(RECORD.encode())
    nobody = "no record of lapse-proxy in 3 lines; is this the container's log?"
    for arguments, log, code, said in (
            ((f"{path}.not",), None, 66, f"{path}.not: No such file or directory"),
            ((directory,), None, 66, f"{directory}: it is a directory"),
            ((packed,), None, 66, f"{packed}: it is compressed"),
            ((), gzip.compress(RECORD.encode()), 66, "standard input: it is compressed"),
            ((), b"", 65, "no record of lapse-proxy in 0 lines"),
            ((), b"one\ntwo\nthree\n", 65, nobody),
            ((), os.urandom(50000).replace(b"\n", b"") + b"\n\0\0\n\xff\xfe", 65, nobody),
            ((), RECORD[:300].encode(), 65, "1 is cut off or damaged"),
            ((), RECORD.replace("server_reset", "server_asleep").encode(), 65, "server_asleep"),
            (("--since", "yesterday"), b"", 64, "a duration back from now"),
            (("--reason", "bad_luck"), b"", 64, "a close reason"),
            (("--sincere", "1h"), b"", 64, "--since"),
    ):
        out, errors = why(pod, *arguments, log=log, exit_code=code)
        expect(said in errors and errors.startswith("lapse-proxy: ") and not out, f"{arguments}: {errors!r}, output {out!r}")
    page, errors = why(pod, f"{path}.not", path, exit_code=66)
    expect("server_reset: 1 connection" in page and "No such file" in errors, f"{errors}{page}")
    log = b"x" * (1 << 20) + b"\n" + RECORD.encode() + b"\n" + RECORD[:200].encode() + b"\n\0\0\0\n" + RECORD.encode() + b"y" * (1 << 20)
    said = figures(pod, log=log)
    expect(said["connections"] == 1 and said["lines"]["unreadable"] == 1 and said["lines"]["others"] == 3, f"{said['lines']}")
    page, _ = why(pod, log=log)
    expect("1 record is cut off or damaged" in page and "3 lines are no records" in page, page)
    evil = RECORD.replace("protocol=opaque", 'service="\\u001b[31mred\\n\\u009b"').replace("10.0.0.1:1234", '"\\u001b]0;x\\u0007"')
    page, _ = why(pod, log=evil)
    expect(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", page), f"control characters reach the terminal: {page!r}")


@case(weight=2, limit=120)
def many(pod):
    """80 MB of records of ever other clients, servers and settings: little memory, nothing lost from the totals."""
    path = f"{pod.scratch}/log"
    count = 0
    with open(path, "w") as file:
        for number in range(200000):
            line = RECORD.replace("10.0.0.2:80", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80").replace("inbound", "outbound")
            file.write(line.replace("10.0.0.1:1234", f"10.9.{number % 251}.{number % 241}:{number % 60000 + 1}") + "\n")
            count += 1
        for _ in range(20000):
            file.write(RECORD.replace("server_reset", "connect_refused") + "\n")
    begun = time.monotonic()
    process = subprocess.Popen([pod.context.proxy, "why", "--json", path], stdout=subprocess.PIPE, env=pod.context.environment())
    out = process.stdout.read(1)  # all is read; what it says is longer than a pipe takes, so it is still there
    seconds = time.monotonic() - begun
    with open(f"/proc/{process.pid}/status") as file:
        peak = int(re.search(r"VmHWM:\s+(\d+)", file.read())[1])
    out += process.communicate()[0]
    said = json.loads(out)
    size = os.path.getsize(path) / 1e6
    expect(process.returncode == 0, f"exit {process.returncode}")
    expect(said["reasons"]["server_reset"]["connections"] == count, f"{said['reasons']}")
    listed = sum(cause["times"] for cause in said["causes"])
    merged = said["causes_merged"]
    expect(listed + merged["times"] == count + 20000 and 0 < merged["merged"] <= merged["times"], f"{listed} listed, merged {merged}")
    expect(said["causes"][0]["reason"] == "connect_refused" and said["causes"][0]["times"] == 20000, f"{said['causes'][0]}")
    if pod.context.release:
        expect(peak < 12 << 10, f"{peak} KiB for {size:.0f} MB")
        expect(size / seconds > 10, f"{size / seconds:.0f} MB/s")  # hundreds on a machine that is not busy


@case()
def how_often(pod):
    """What came again and again: since when, until when, and how long it took from one to the next."""
    log = "".join(f'ts=2026-11-21T06:00:{second:02}.000Z level=warn msg="connection closed" reason=connect_refused by=server phase=connect '
                  "direction=outbound client=10.0.0.1:4000 server=10.1.0.1:80 requests=1 detail=x\n" for second in (0, 10, 40))
    page, _ = why(pod, log=log)
    expect(re.search(r"since 06:00:00, last at 06:00:40, every 20s on average", page), page)
