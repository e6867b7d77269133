"""What `explain` and `check-config` say, against what the proxy does with the same documents."""
import glob
import json
import os
import re

from .harness import after, case, check_own, expect, http, ok, pair, parked, punctual, took, until
from .harness.documents import Directory, backend, configured, document, explain, readings, route, rule, service
from .harness.pod import PORT


def tool(pod, *arguments, exit_code=0):
    """Runs the proxy's binary (explain, check-config) and expects its exit code; what it wrote: output, errors."""
    done = pod.inside.run([pod.context.proxy, *arguments], check=False, env=pod.context.environment())
    expect(done.returncode == exit_code,
           f"lapse-proxy {' '.join(arguments)[:200]}: exit {done.returncode}, expected {exit_code}: {(done.stdout + done.stderr)[-600:]}")
    expect(not re.search("Sanitizer|runtime error", done.stderr), done.stderr[-2000:])
    return done.stdout, done.stderr


@case()
def printed_pages(pod):
    """What each program prints of itself (--print-docs) stands in the documentation, word for word."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    printed = 0
    for source in glob.glob(f"{root}/docs/*.in") + glob.glob(f"{root}/docs/man/*.in"):
        with open(source, encoding="utf-8") as file, open(source.removesuffix(".in"), encoding="utf-8") as page:
            wanted = re.findall(r"^@(init|proxy) (\w+)@$", file.read(), re.M)
            text = page.read()
        for program, which in wanted:
            done = pod.inside.run([getattr(pod.context, program), "--print-docs", which], env=pod.context.environment())
            expect(len(done.stdout) > 200 and done.stdout in text, f"lapse-{program} --print-docs {which} is not in {source}")
            printed += 1
    expect(printed >= 9, f"{printed} pages")


@case()
def measured_pages(pod):
    """What a bench has measured goes to its place in docs/performance.md: HTTP/2 to its own, all else to the other, and what was not measured stays."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(f"{root}/docs/performance.md", encoding="utf-8") as file:
        page = file.read()

    def written(*names):
        made = {"machine": {"cpu": "a CPU", "cpus": 2, "kernel": "6", "date": "today"}, "versions": {"nghttpx": "1.52"}, "rounds": 2, "seconds": 9.0,
                "disturbed_runs": 0, "runs": 4, "cases": [
                    {"name": name, "title": f"title of {name}", "rows": [["cpu", "CPU µs/request", 2]], "against": ["relay"], "limits": False,
                     "samples": {"relay": {"cpu": [4.0]}, "Lapse": {"cpu": [2.0]}}} for name in names],
                "bars": [{"case": name, "bar": "a bar", "measured": 0.5, "of": "relay", "met": True} for name in names]}
        path = os.path.join(pod.scratch, "performance.md")
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
        with open(os.path.join(pod.scratch, "bench.json"), "w", encoding="utf-8") as file:
            json.dump(made, file)
        pod.inside.run(["/usr/bin/python3", f"{root}/tests/bench/report.py", os.path.join(pod.scratch, "bench.json"), path])
        with open(path, encoding="utf-8") as file:
            return file.read()

    def place(text, mark):
        return text.split(f"<!-- measured{mark} -->")[1].split(f"<!-- end{mark} -->")[0]
    for names, here, there in ((("streams_1", "streams_100"), " HTTP/2", ""), (("keepalive",), "", " HTTP/2")):
        made = written(*names)
        expect(place(made, there) == place(page, there), f"{names}: the other place changed")
        for name in names:
            expect(f"### {name}: title of {name}" in place(made, here) and f"| {name}: a bar" in place(made, here), f"{name} is not there: {place(made, here)}")
        expect("| Lapse / relay |" in place(made, here) and "0.50" in place(made, here), place(made, here))
        expect(made.replace(place(made, here), "") == page.replace(place(page, here), ""), f"{names}: something else changed")
    both = written("keepalive", "streams_1")
    expect("### keepalive" in place(both, "") and "streams_1" not in place(both, "") and "### streams_1" in place(both, " HTTP/2"), "both at once")


def filters(**made):
    """Filters from their fields: requestRedirect=…, urlRewrite=…, requestHeaderModifier=…, responseHeaderModifier=…"""
    return [{"type": name[0].upper() + name[1:] if name != "urlRewrite" else "URLRewrite", name: fields}
            for name, fields in made.items()]


def header(name, value):
    return {"headers": [{"name": name, "value": value}]}


def prefix(path):
    return {"path": {"type": "PathPrefix", "value": path}}


def all_kinds(pod):
    """A Service whose route does one of everything, at another Service's address where it has a backend."""
    return (service("web", pod.address), service("other", pod.address, port=PORT + 1), route(
        "web",
        rule("/redirect", filters=filters(requestRedirect={
            "scheme": "https", "hostname": "www.example.com", "statusCode": 301,
            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}})),
        rule("/moved", filters=filters(requestRedirect={"path": {"type": "ReplaceFullPath", "replaceFullPath": "/there"}})),
        rule("/invalid", backends=[{"kind": "Bucket", "name": "b", "port": 1}]),
        rule("/zero", backends=[backend("other", PORT + 1, weight=0)]),
        rule("/unusable", filters=[{"type": "ExtensionRef", "extensionRef": {"group": "x.io", "kind": "Mirror", "name": "m"}}]),
        rule("/rewritten", filters=filters(urlRewrite={
            "hostname": "inner.example", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/in"}})),
        rule("/full", filters=filters(urlRewrite={"path": {"type": "ReplaceFullPath", "replaceFullPath": "/whole"}})),
        rule("/edited", filters=filters(
            requestHeaderModifier={"set": [{"name": "X-Set", "value": "1"}], "add": [{"name": "X-Add", "value": "2"}],
                                   "remove": ["X-Gone"]},
            responseHeaderModifier={"set": [{"name": "X-Back", "value": "3"}], "remove": ["Server"]})),
        rule("/backend", backends=[backend("other", PORT + 1)]),
        rule("/slow", {"request": "600ms", "backendRequest": "300ms"}),
        rule("/slow/whole", {"request": "400ms"}),
        {"matches": [{**prefix("/"), "method": "DELETE"}], "timeouts": {"request": "500ms"}},
        {"matches": [{**prefix("/by-header"), **header("X-Version", "2")}], "timeouts": {"request": "350ms"}},
        {"matches": [{"path": {"type": "RegularExpression", "value": "/r/[0-9]+"}}]},
    ))


REQUESTS = {  # method, target, further fields
    "redirect": ("GET", "/redirect/a%20b?c=d"), "redirect itself": ("GET", "/redirect"), "no prefix": ("GET", "/redirects"),
    "moved": ("POST", "/moved/x?y=1"), "invalid": ("GET", "/invalid"), "zero": ("GET", "/zero"), "unusable": ("GET", "/unusable"),
    "rewritten": ("GET", "/rewritten/a/b?q"), "rewritten itself": ("GET", "/rewritten"), "full": ("GET", "/full/x?q=1"),
    "edited": ("GET", "/edited", "X-Gone: 1", "X-Add: 1", "X-Set: 0"), "backend": ("GET", "/backend"),
    "regex": ("GET", "/r/12"), "no regex": ("GET", "/r/12a"), "header": ("GET", "/by-header", "X-Version: 2"),
    "no header": ("GET", "/by-header", "X-Version: 3"), "method": ("DELETE", "/anything"),
    "slow": ("GET", "/slow"), "slower": ("GET", "/slow/whole/x"),
}


def told(message):
    """What the app saw of a request."""
    fields = {name: message.all(name) for name in ("X-Set", "X-Add", "X-Gone")}
    answer = ok(json.dumps([message.target, message.get("Host"), fields]).encode(), "Server: app")
    return after(1.2, answer)(message) if message.target.startswith("/slow") or message.method == "DELETE" else answer


@case(("out4", "out6"))
def explain_is_what_happens(pod):
    """Status, Location, rewritten path and host, edited fields, backend and timeouts are what explain says, for each request."""
    documents = configured(pod, *all_kinds(pod))
    app, other = pod.app(http(told)), pod.app(http(told), port=PORT + 1)
    pod.start("--config", documents.path)
    to = f"{pod.address}:{PORT}" if pod.family == 4 else f"[{pod.address}]:{PORT}"
    for name, (method, target, *fields) in REQUESTS.items():
        options = [text for field in fields for text in ("-H", field)]
        said = explain(pod, "--config", documents.path, *options, to=to, request=f"{method} http://app{target}")
        by_name = explain(pod, "--config", documents.path, *options, to=f"default/web:{PORT}",
                          request=f"{method} http://app{target}")
        expect({**by_name, "to": to} == said, f"{name}: asked by name explain says something else")
        check(pod, name, said, method, target, fields, (app, other))


def check(pod, name, said, method, target, fields, apps):
    """One request, against what explain said of it."""
    before = [app.count for app in apps]
    limit = min([said["timeouts"][timer]["ms"] for timer in ("request", "backendRequest") if said["timeouts"][timer]["ms"]] or [0])
    with pod.dial() as peer:
        if limit and not said["status"] and (target.startswith("/slow") or method == "DELETE"):
            with took(limit / 1000):
                answer = peer.ask(method, target, *fields, status=504)
            timer = "request" if said["timeouts"]["request"]["ms"] == limit else "backendRequest"
            pod.record(msg="request failed", timer=timer, set_by=said["timeouts"][timer]["source"])
            return
        peer.send(f"{method} {target} HTTP/1.1\r\nHost: app\r\n{''.join(field + chr(13) + chr(10) for field in fields)}\r\n".encode())
        answer = peer.response()
    expect(answer.status == (said["status"] or 200), f"{name}: status {answer.status}, explain says {said['status']}")
    if said["redirect"]:
        expect(answer.get("Location") == said["redirect"]["location"],
               f"{name}: Location {answer.get('Location')}, explain says {said['redirect']['location']}")
    if said["status"]:
        expect([app.count for app in apps] == before, f"{name}: explain says {said['status']}, but the request was sent on")
        return
    seen, host, edited = json.loads(answer.body)
    rewrite = said["rewrite"] or {}
    query = "?" + target.split("?")[1] if "?" in target else ""
    expect(seen == (rewrite["path"] + query if rewrite.get("path") else target), f"{name}: target {seen}, explain says {rewrite}")
    expect(host == (rewrite.get("host") or "app"), f"{name}: host {host}, explain says {rewrite}")
    expect(not edited["X-Gone"] or "X-Gone" not in said["request_headers"]["remove"], f"{name}: X-Gone is there")
    for field, value in said["request_headers"]["set"].items():
        expect(edited[field] == [value], f"{name}: {field} is {edited[field]}, explain says {value}")
    for field, value in said["request_headers"]["add"].items():
        expect(edited[field][-1].endswith(value), f"{name}: {field} is {edited[field]}, explain says it gets {value}")
    for field, value in said["response_headers"]["set"].items():
        expect(answer.all(field) == [value], f"{name}: {field} is {answer.all(field)}, explain says {value}")
    expect((answer.get("Server") is None) == ("Server" in said["response_headers"]["remove"]),
           f"{name}: Server is {answer.get('Server')}")
    expect(apps[1].count - before[1] == bool(said["backends"]),
           f"{name}: explain names {said['backends']}, that is not where it went")


@case()
def explain_for_people(pod):
    """Without --json it is a page that names route, rule, answer and each timeout with its source; wrong questions are refused."""
    documents = configured(pod, service("web", "10.96.0.1"), route("web", rule("/a", {"request": "1m30s"}), rule("/b", filters=filters(
        requestRedirect={"hostname": "x.example", "statusCode": 301}))))
    config = ("--config", documents.path)
    page, _ = tool(pod, "explain", *config, "--to", "10.96.0.1:8080", "GET http://web/a/b")
    for line in ("request +GET /a/b HTTP/1.1, host web", "Service +default/web, port 8080", "route +HTTPRoute default/web",
                 "request +1m30s +HTTPRoute default/web spec.rules\\[0\\].timeouts.request", "connect +5s +built-in"):
        expect(re.search(rf"^ *{line}$", page, re.M), f"no line like {line!r} in {page}")
    expect(max(map(len, page.splitlines())) < 130, "the page is too wide")
    page, _ = tool(pod, "explain", *config, "--to", "default/web:8080", "GET", "/b?x=1")
    expect("301" in page and "http://x.example:8080/b?x=1" in page, f"no redirect in {page}")
    page, _ = tool(pod, "explain", *config, "--to", "default/web:8080", "GET /c")
    expect("404 no_route" in page, f"no 404 in {page}")
    page, _ = tool(pod, "explain", *config, "--to", "192.0.2.1:80")
    expect(re.search("Service +none", page), f"a Service for an address of none: {page}")
    for wrong, said in (((), "--to is missing"), (("--to", "web"), "--to"), (("--to", "10.96.0.1"), "--to"),
                        (("--to", "default/web:80"), "a TCP port that the Service has: 8080"),
                        (("--to", "10.96.0.1:8080", "GET"), "METHOD URL"), (("--to", "10.96.0.1:8080", "GET https://web/"), "http://"),
                        (("--to", "10.96.0.1:8080", "GET /", "-H", "nonsense"), "--header")):
        out, errors = tool(pod, "explain", *config, *wrong, exit_code=64)
        expect(not out and errors.startswith("lapse-proxy: ") and said in errors and errors.count("\n") == 1, f"{wrong}: {errors!r}")
    documents.write("bad.yaml", "a: [")
    _, errors = tool(pod, "explain", *config, "--to", "10.96.0.1:8080", exit_code=65)
    expect(re.search(r"^error: .*bad\.yaml:\d+: ", errors, re.M), f"no file and line in {errors!r}")


@case()
def explain_of_what_no_document_names(pod):
    """A Service that no document names has its namespace's Tenant and KubeLB's object of its name; rules that advise have no backends."""
    gateway = route("web", rule("/", {"request": "3s"}, [backend("web")], filters=filters(urlRewrite={"hostname": "inner"})),
                    parent={"name": "gateway"}, namespace="shop")
    documents = configured(pod, document("Tenant", "shop", {"timeouts": {"request": "7s"}}, None), gateway,
                           document("LoadBalancer", "db", {"timeouts": {"tcpIdle": "5m"}}, "shop"))
    for name, service_name, timer, source in (("shop/none:80", "shop/none", "request", "Tenant shop spec.timeouts.request"),
                                              ("shop/db:5432", "shop/db", "tcpIdle", "LoadBalancer shop/db spec.timeouts.tcpIdle"),
                                              ("none/none:80", "none/none", "request", "built-in")):
        for direction in ("inbound", "outbound"):
            said = explain(pod, "--config", documents.path, "--direction", direction, to=name, request="GET /")
            expect((said["service"], said["route"], said["status"]) == (service_name, None, None), f"{name}: {said}")
            expect(said["timeouts"][timer]["source"] == source, f"{name}: {said['timeouts']}")
            expect(not said["service_documented"], f"{name}: documented")
    said = explain(pod, "--config", documents.path, to="shop/web:8080", request="GET /")
    expect(said["route"]["name"] == "web" and said["timeouts"]["request"]["ms"] == 3000, f"the Gateway's route: {said}")
    expect(not said["backends"] and not said["rewrite"], f"the Gateway's route only advises, but: {said}")


@case()
def explain_of_grpc(pod):
    """Linkerd's retries of a GRPCRoute are printed with their statuses, and that gRPC is not read is said."""
    annotations = {"retry.linkerd.io/grpc": "internal,unavailable", "retry.linkerd.io/limit": "2"}
    documents = configured(pod, service("board", "10.0.0.9", namespace="shop"),
                           route("board", kind="GRPCRoute", parent={"group": "", "kind": "Service", "name": "board"}, namespace="shop",
                                 annotations=annotations))
    said = explain(pod, "--config", documents.path, to="shop/board:8080", request="POST /demo.Board/Say")
    expect(said["retry"]["grpc"] == ["internal", "unavailable"] and said["retry"]["codes"] == [], f"{said['retry']}")
    expect(said["service_documented"], "not documented")
    page = tool(pod, "explain", "--config", documents.path, "--to", "shop/board:8080", "POST /demo.Board/Say")[0]
    expect(re.search(r"retry +on gRPC internal, unavailable \(not yet: HTTP/2 gets timeouts only\), up to 2 times", page), page)


@case(("out4",))
def explain_of_http2_is_what_happens(pod):
    """Of HTTP/2 explain says a stream's timeouts, and what is for HTTP/1 only: each of three requests on one connection gets just that."""
    parent = {"group": "", "kind": "Service", "name": "web"}
    documents = configured(
        pod, service("web", pod.address, port=PORT),
        route("web", {"matches": [{"method": {"service": "demo.Board", "method": "Say"}}], "filters": filters(
            requestHeaderModifier={"set": [{"name": "X-Set", "value": "1"}]})}, kind="GRPCRoute", parent=parent,
              annotations={"lapse.proxy/timeout-request": "600ms", "retry.linkerd.io/grpc": "internal"}))
    app = pod.app(parked)
    pod.start("--config", documents.path, "--grpc-deadline", "enforce", request="400ms")
    client, server = pair(pod, app)

    def asked(*options, request):
        said = explain(pod, "--config", documents.path, "--timeout-request", "400ms", *options, to=f"web.default:{PORT}", request=request)
        expect((said["status"], said["backends"], said["request_headers"]["set"], said["retry"]) == (None, [], {}, None), f"{said}")
        return said, said["timeouts"]["request"]["ms"]
    said, limit = asked("--protocol", "grpc", request="/demo.Board/Say")
    expect(said["http1_only"]["request_headers"]["set"] == {"X-Set": "1"} and said["http1_only"]["retry"]["grpc"] == ["internal"], f"{said}")
    expect(said["grpcDeadline"] == {"ms": 0, "enforced": False}, f"{said}")
    with punctual(limit / 1000):
        client.finished(call := client.call("/demo.Board/Say"))
    check_own(call, "request_timeout", grpc=4)
    expect("x-set" not in dict(server.finished(call.id).head), f"the server got {server.stream(call.id).head}")
    said, limit = asked("--protocol", "http/2", request="GET /other")
    expect(said["route"] is None and said["http1_only"]["status"] == 404 and limit == 400, f"{said}")
    with punctual(limit / 1000):
        client.finished(other := client.request("/other"))
    check_own(other, "request_timeout")
    said, _ = asked("--protocol", "grpc", "--grpc-deadline", "enforce", "-H", "grpc-timeout: 250m", request="/demo.Board/Say")
    expect(said["grpcDeadline"] == {"ms": 250, "enforced": True}, f"{said}")
    with punctual(said["grpcDeadline"]["ms"] / 1000):
        client.finished(call := client.call("/demo.Board/Say", ("grpc-timeout", "250m")))
    check_own(call, "grpc_deadline", grpc=4)


@case()
def explain_of_http2_for_people(pod):
    """The page names the stream's timers apart from its connection's, the call's own deadline, and what is HTTP/1's alone."""
    documents = configured(pod, service("web", "10.0.0.9", port=50051), route("web", rule("/a", {"request": "2s"}), rule(
        "/b", {"request": "3s"}, filters=filters(requestRedirect={"hostname": "x.example", "statusCode": 301}))))
    asked = ("explain", "--config", documents.path, "--to", "web.default:50051", "--protocol")
    page, _ = tool(pod, *asked, "grpc", "/a/Method", "-H", "grpc-timeout: 1S")
    for line in (r"request +POST /a/Method HTTP/2, gRPC, host web\.default\.svc\.cluster\.local",
                 r"out of time +the call alone ends, with grpc-status 4 and the sentence where no answer had begun",
                 r"grpcDeadline +1s +grpc-timeout of the call, told of in records only \(--grpc-deadline observe\)"):
        expect(re.search(f"^ *{line}$", page, re.M), f"no line like {line!r} in {page}")
    expect("HTTP/1 only" not in page, f"nothing of this rule is for HTTP/1 only, but: {page}")
    stream, connection = page.split("\nTimeouts of its stream\n")[1].split("\nTimeouts of the connection\n")
    expect(re.findall(r"^  (\w+)", stream, re.M) == ["request", "backendRequest", "streamIdle", "grpcDeadline"], page)
    expect({"idleConnection", "connect", "maxConnection", "drain"} <= set(names := re.findall(r"^  (\w+)", connection, re.M)), page)
    expect(not {"tcpIdle", "serverIdle"} & set(names), page)
    page, _ = tool(pod, *asked, "http/2", "GET /b?c")
    expect(re.search(r"\nHappens\n  backends +none: it goes .*\n  out of time .* 504 or 408 .*\n\nHTTP/1 only for now\n  answer +301, a redirect\n",
                     page) and "grpcDeadline" not in page, page)
    _, errors = tool(pod, *asked, "http2", "GET /", exit_code=64)
    expect('--protocol: "http2" is not accepted; give http/1.1, http/2 or grpc' in errors, errors)


# --- check-config ---

HEAD = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: shop}\nspec:\n"
PARENT = '  parentRefs: [{group: "", kind: Service, name: web}]\n'
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n"

# name: (bytes, exit code, what stands on standard error: a pattern of one whole line behind the file's name)
DOCUMENTS = {
    "good": (HEAD + PARENT, 0, None),
    "nothing": ("", 0, None),
    "comments": ("# only\n---\n---\n# this\n", 0, None),
    "JSON": (
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},\n"spec": {"ports": [{"port": 80}]}}', 0, None),
    "List": ('apiVersion: v1\nkind: List\nitems:\n'
             '- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 0}]}}\n', 65,
             r':4: Service default/web: spec\.ports\[0\]\.port: "0": must be a port from 1 to 65535.*'),
    "CRLF and BOM": ("\ufeff" + (HEAD + PARENT).replace("\n", "\r\n"), 0, None),
    "unknown kind": ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n", 0, r":1: kind Deployment \(apps/v1\) is not read"),
    "empty List": ("apiVersion: v1\nkind: List\nitems: null\n", 0, r":3: List: items: missing or null; taken as an empty list"),
    "two JSON objects": ('{"a": 1}\n{"b": 2}\n', 65, r":2: this does not belong to the document before it; put a line --- between .*"),
    "surrogates": ('{"apiVersion": "v1",\n"kind": "\\ud83d\\ude00"}', 65, r":2: an escaped half of a surrogate pair.*"),
    "named twice": (HEAD + PARENT + "  rules:\n  - name: a\n  - name: a\n", 65,
                    r':8: HTTPRoute shop/web: spec\.rules\[1\]\.name: "a": must not be the name of rule 0 too'),
    "unknown field": (HEAD + PARENT + "  rules:\n  - tiemouts: {request: 1s}\n", 0,
                      r":7: HTTPRoute shop/web: spec\.rules\[0\]\.tiemouts: unknown field, ignored; known are name, matches, filters, .*"),
    "duration": (HEAD + PARENT + "  rules:\n  - timeouts:\n      request: 1.5h\n", 65,
                 r':8: HTTPRoute shop/web: spec\.rules\[0\]\.timeouts\.request: "1\.5h": must be a duration .*500ms, 30s, 1h30m \(GEP-2257\)'),
    "negative": ("apiVersion: kubelb.k8c.io/v1alpha1\nkind: Config\nmetadata: {name: default, namespace: kubelb}\nspec:\n  timeouts:\n"
                 "    connect: -5s\n", 65,
                 r':6: Config kubelb/default: spec\.timeouts\.connect: "-5s": must be a Go duration from 0s on.*'),
    "port": (SERVICE + "  ports: [{port: eighty}]\n", 65,
             r':5: Service shop/web: spec\.ports\[0\]\.port: "eighty": must be a port from 1 to 65535.*'),
    "port as text": (SERVICE + '  ports: [{port: "80"}]\n', 65,
                     r':5: Service shop/web: spec\.ports\[0\]\.port: "80": must be .*without quotes'),
    "address": (SERVICE + "  clusterIP: 10.96.0\n  ports: [{port: 80}]\n", 65,
                r':5: Service shop/web: spec\.clusterIP: "?10\.96\.0"?: must be .*'),
    "list for mapping": (HEAD + "  - 1\n", 65, r":4: HTTPRoute shop/web: spec: a list: must be a mapping"),
    "scalar for list": (HEAD + PARENT + "  rules: none\n", 65, r':6: HTTPRoute shop/web: spec\.rules: "none": must be .*'),
    "regex": (HEAD + PARENT + "  rules:\n  - matches:\n    - path: {type: RegularExpression, value: '/a('}\n", 65,
              r':8: HTTPRoute shop/web: spec\.rules\[0\]\.matches\[0\]\.path\.value: "/a\(": .*'),
    "weight": (HEAD + PARENT + "  rules:\n  - backendRefs: [{name: a, port: 80, weight: -1}]\n", 65,
               r':7: HTTPRoute shop/web: spec\.rules\[0\]\.backendRefs\[0\]\.weight: "-1": must be .*'),
    "twice in a mapping": (SERVICE + "  ports: [{port: 80}]\n  ports: [{port: 81}]\n", 65, r':6: .*"ports" stands twice in one mapping.*'),
    "given twice": (HEAD + PARENT + "---\n" + HEAD + PARENT, 65, r":\d+: HTTPRoute shop/web: is given twice, first at .*doc\.yaml:\d+"),
    "no name": ("apiVersion: v1\nkind: Service\nmetadata: {}\n", 65, r":3: .*metadata\.name: .*"),
    "no kind": ("apiVersion: v1\nmetadata: {name: web}\n", 65, r":1: kind: missing.*"),
    "no object": ("just text\n", 65, r':1: "just text": must be a Kubernetes object.*'),
    "tab": ("a:\n\tb: 1\n", 65, r":2: found character that cannot start any token.*"),
    "cut off": (SERVICE + "  ports: [{port: 80}", 65, r":\d+: did not find expected.*"),
    "second document": (HEAD + PARENT + "---\n" + SERVICE + "  ports: [{port: 0}]\n", 65,
                        r":11: Service shop/web: spec\.ports\[0\]\.port: .*"),
    "NUL": (b"a: b\nc: \0\n", 65, r":2: a NUL byte; only UTF-8 text is accepted"),
    "not UTF-8": (b"a: \xff\xfe\xc3(\n", 65, r":1: .*"),
    "UTF-16": ("a: b\n".encode("utf-16"), 65, r":1: this is UTF-16 or UTF-32; only UTF-8 is accepted"),
    "UTF-16 without BOM": ("a: b\n".encode("utf-16-le"), 65, r":1: .*"),
    "binary": (bytes(range(256)) * 40, 65, r":1: .*"),
    "deep flow": ("[" * 100000, 65, r":1: nested deeper than 64 levels"),
    "deep block": ("".join(" " * level + "a:\n" for level in range(400)), 65, r":\d+: nested deeper than 64 levels"),
    "aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n", 65, r":2: aliases are not accepted \(\*a\)"),
    "tag": ("!!python/object:os.system {a: b}\n", 65, r":1: .*"),
    "huge scalar": (SERVICE + f"  clusterIP: {'x' * 3000000}\n  ports: [{{port: 80}}]\n", 65,
                    r':5: Service shop/web: spec\.clusterIP: "x{20,400}….*'),
    "control bytes in a name": ('apiVersion: v1\nkind: Service\nmetadata: {name: "\\e[31mweb\\n"}\n', 65, r":\d+: [^\x1b]*"),
    "many errors": ("---\n".join("apiVersion: v1\nkind: Service\nmetadata: {name: web-%d}\nspec: {ports: [{port: 0}]}\n" % number
                                 for number in range(3000)), 65, r":4: Service default/web-0: spec\.ports\[0\]\.port: .*"),
}


@case()
def check_config(pod):
    """Each of a table of wrong documents has its exit code and a line that names file, line, object, field, value and what is accepted."""
    directory = Directory(pod)
    failed = []
    for name, (document, code, pattern) in DOCUMENTS.items():
        with open(directory.file("doc.yaml"), "wb") as file:
            file.write(document if isinstance(document, bytes) else document.encode())
        done = pod.inside.run([pod.context.proxy, "check-config", "--config", directory.path], check=False,
                              env=pod.context.environment())
        lines = done.stderr.splitlines()
        start = re.escape(f"{'error' if code else 'warning'}: {directory.path}/doc.yaml")
        if done.returncode != code:
            failed.append(f"{name}: exit {done.returncode}: {done.stderr[:300]}")
        elif pattern is None and lines:
            failed.append(f"{name}: {done.stderr[:300]!r}")
        elif pattern is not None and not any(re.fullmatch(start + pattern, line) for line in lines):
            failed.append(f"{name}: no line like {pattern!r}: {done.stderr[:400]!r}")
        elif any(len(line) > 1200 or not line.isprintable() for line in lines) or len(lines) > 501:
            failed.append(f"{name}: {len(lines)} lines, one of them not fit for a terminal")
        elif not re.search(r"(in|nothing in) 1 file; \d+ errors?, \d+ warnings?\n$", done.stdout):
            failed.append(f"{name}: closing line {done.stdout!r}")
    expect(not failed, f"{len(failed)} of {len(DOCUMENTS)}: " + " || ".join(failed))


@case()
def check_config_as_json(pod):
    """check-config --json is one object with what was read, errors and warnings; a path that is not there is an error."""
    documents = configured(pod, service("web", "10.96.0.1"), route("web", rule("/a", {"requst": "1s"})))
    out, _ = tool(pod, "check-config", "--json", "--config", documents.path)
    said = json.loads(out)
    expect(said["files"] == 1 and said["objects"] == {"Service": 1, "HTTPRoute": 1} and not said["errors"], f"said {said}")
    expect(len(said["warnings"]) == 1 and "timeouts.requst: unknown field" in said["warnings"][0], f"said {said}")
    out, errors = tool(pod, "check-config", "--config", "/nowhere", exit_code=65)
    expect(errors == "error: --config /nowhere: No such file or directory\n", errors)
    tool(pod, "check-config", "--no-such-option", exit_code=64)
    named, _ = tool(pod, "check-config", documents.file("all.yaml"))
    expect(named.startswith("1 HTTPRoute, 1 Service in 1 file; 0 errors"), f"a path without --config: {named!r}")
    out, errors = tool(pod, "check-config", exit_code=64)
    expect(not out and "check-config PATH" in errors, f"no path: {errors!r}")


@case(("out4",))
def checked_is_started(pod):
    """What check-config accepts with warnings the proxy takes up, and logs the same warnings once."""
    documents = configured(pod, service("web", pod.address), route("web", {**rule("/"), "tiemouts": {}}))
    _, errors = tool(pod, "check-config", "--config", documents.path)
    pod.app()
    pod.start("--config", documents.path)
    for number in range(2):
        documents.replace("all.yaml", service("web", pod.address), route("web", {**rule("/"), "tiemouts": {}}))
        until(lambda: readings(pod) == number + 2, "not read again")
    pod.dial().ask()
    warnings = [line["msg"] for line in pod.proxy.lines if line["level"] == "warn"]
    expect(warnings == [line.removeprefix("warning: ") for line in errors.splitlines()],
           f"{warnings} in the log, {errors!r} from check-config")
