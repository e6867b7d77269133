"""Real programs on either side: curl, nginx, vmagent, Prometheus, PostgreSQL, Redis, OpenSSL."""
import glob
import os
import re
import shutil
import subprocess
import time

from .harness import CLOSED, DEAD_PORTS_TOO, Failure, case, expect, http, ok, took, until

METRICS = ok(b"# TYPE lapse_test gauge\nlapse_test 1\n", "Content-Type: text/plain; version=0.0.4")


def needs(*programs):
    for program in programs:
        expect(shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"), f"{program} is not installed; make deps installs it")


def curl(pod, *arguments, port=8080):
    """Runs curl where this way's clients are; its output."""
    address = f"[{pod.address}]" if pod.family == 6 else pod.address
    pod.uncounted()
    command = ["curl", "-sS", "--max-time", "10", *(text.replace("URL", f"http://{address}:{port}") for text in arguments)]
    done = pod.near.run(command, check=False)
    expect(done.returncode == 0, f"curl: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def nginx(pod, directives="", listen=""):
    """nginx as the app on port 8080, with a file of 3 MiB."""
    needs("nginx")
    root = f"{pod.scratch}/nginx"
    os.makedirs(f"{root}/html")
    with open(f"{root}/html/big", "wb") as file:
        file.write(os.urandom(3 << 20))
    with open(f"{root}/html/index.html", "w") as file:
        file.write("welcome\n")
    with open(f"{root}/nginx.conf", "w") as file:
        file.write(f"""daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;
            events {{ }}
            http {{ access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
              fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
              client_max_body_size 0; {directives}
              server {{ listen 8080 {listen}; listen [::]:8080 {listen}; root {root}/html; location /gone {{ return 410; }}
                location /put {{ dav_methods PUT; }} }} }}""".replace("dav_methods PUT;", "return 204;"))
    os.chmod(pod.scratch, 0o755)
    pod.spawn(pod.far, ["nginx", "-e", f"{root}/error.log", "-c", f"{root}/nginx.conf", "-p", root], name="nginx")
    wait_listening(pod.far, 8080)
    return root


def wait_listening(host, port):
    until(lambda: f":{port} " in host.run(["ss", "-tln"]).stdout, f"nothing listens on {port}", within=20)


@case(ways=("in4", "in6", "out4", "out6"))
def curl_and_nginx(pod):
    """curl and nginx: pages, a large file, errors, uploads with and without length, two requests on one connection."""
    root = nginx(pod)
    pod.start()
    expect(curl(pod, "URL/") == "welcome\n", "wrong page")
    curl(pod, "-o", f"{root}/got", "URL/big")
    with open(f"{root}/got", "rb") as got, open(f"{root}/html/big", "rb") as big:
        expect(got.read() == big.read(), "the file arrived changed")
    expect(curl(pod, "-o", "/dev/null", "-w", "%{http_code}", "URL/gone") == "410", "not 410")
    upload = ["-T", f"{root}/got"]
    for options in (upload, [*upload, "-H", "Transfer-Encoding: chunked"], ["--data-binary", f"@{root}/got"]):
        expect(curl(pod, "-o", "/dev/null", "-w", "%{http_code}", *options, "URL/put") == "204", f"{options[0]} failed")
    connects = curl(pod, "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", "URL/", "URL/")
    expect(connects == "1 0 ", f"not one connection: {connects}")
    curl(pod, "-I", "URL/big")
    curl(pod, "-0", "URL/")
    expect(curl(pod, "--http1.1", "-H", "Connection: close", "URL/") == "welcome\n", "wrong page")
    pod.record(reason="client_closed_idle", requests=2)


@case(ways=("in4", "out6"))
def curl_http2(pod):
    """curl --http2-prior-knowledge to nginx passes as http/2."""
    nginx(pod, listen="http2")
    pod.start()
    expect(curl(pod, "--http2-prior-knowledge", "-w", "%{http_version}", "URL/") == "welcome\n2", "not HTTP/2")
    pod.record(protocol="http/2", msg=CLOSED)


@case()
def curl_refused(pod):
    """curl to a port without an app, redirected all the same, shows the 502 and its cause in text."""
    pod.start(init=DEAD_PORTS_TOO)
    text = curl(pod, "-i", "URL/", port=9)
    expect(re.search(r"(?i)^HTTP/1.1 502 Bad Gateway\r?$", text, re.M) and "lapse-reason: connect_refused" in text, text)
    expect("refused" in text.strip().splitlines()[-1], f"the body does not say why: {text!r}")


@case()
def nginx_keepalive(pod):
    """nginx with keepalive_timeout 1s and a client that asks every second: no request fails."""
    nginx(pod, "keepalive_timeout 1s;")
    pod.start()
    peer = pod.dial()
    for pause in (1, 1, 0.99, 1.01, 1, 0.5):
        peer.ask()
        time.sleep(pause)
    peer.ask()
    peer.fin()
    pod.ended("client_closed_idle", requests=7)


def scraper(pod, name):
    """Starts vmagent or Prometheus, scraping this way's app every second."""
    needs(name)
    target = f"[{pod.address}]:8080" if pod.family == 6 else f"{pod.address}:8080"
    with open(f"{pod.scratch}/scrape.yml", "w") as file:
        file.write("global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
                   f"scrape_configs: [{{job_name: app, static_configs: [{{targets: ['{target}']}}]}}]\n")
    pod.uncounted()
    if name == "vmagent":
        command = ["vmagent", f"-promscrape.config={pod.scratch}/scrape.yml", "-remoteWrite.url=http://127.0.0.1:1/write",
                   f"-remoteWrite.tmpDataPath={pod.scratch}/vmagent", "-httpListenAddr=127.0.0.1:8429",
                   "-memory.allowedBytes=64MB", "-enableTCP6"]
    else:
        command = ["prometheus", f"--config.file={pod.scratch}/scrape.yml", f"--storage.tsdb.path={pod.scratch}/prometheus",
                   "--web.listen-address=127.0.0.1:9090", "--log.level=warn"]
    return pod.spawn(pod.near, command, name=name, env={"PATH": "/usr/bin:/bin", "GOMAXPROCS": "1", "GOGC": "50"})


def scraped_app(pod):
    times = []

    def respond(message):
        times.append(time.monotonic())
        return METRICS
    return pod.app(http(respond)), times


def both(*ways):
    return {"ways": ways, "each": {"vmagent": "vmagent", "prometheus": "prometheus"}}


@case(**both("in4", "out6"))
def scraped_on_one_connection(pod, name):
    """vmagent, Prometheus: scrapes every second go over one connection, on both sides of the proxy."""
    app, times = scraped_app(pod)
    pod.start()
    process = scraper(pod, name)
    until(lambda: len(times) >= 4, lambda: f"{len(times)} scrapes of 4", within=25)
    expect(not pod.proxy.records(CLOSED), f"closed meanwhile: {pod.proxy.records(CLOSED)[:1]}")
    expect(app.count == 1, f"{app.count} connections to the app")
    process.terminate()
    pod.record(reason=("client_closed_idle", "client_reset"), by="client", requests=lambda count: count >= 4)


@case(**both("in4"))
def scraped_and_cut(pod, name):
    """vmagent, Prometheus: a short idleConnection closes between scrapes and each record says so.

    Prometheus notices and loses no scrape; vmagent 1.79 loses every second one, as with any server that closes idle connections."""
    app, times = scraped_app(pod)
    pod.start(idle_connection="300ms")
    scraper(pod, name)
    until(lambda: len(times) >= 5, lambda: f"{len(times)} scrapes of 5", within=25)
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    expect(max(gaps) < (1.8 if name == "prometheus" else 2.8), f"a scrape was missed: {gaps}")
    record = pod.record(reason=("idle_timeout", "idle_race"), timer="idleConnection", value="300ms", requests=1)
    expect(0.2 <= record["idle_s"] <= 1.5, f"idle_s {record['idle_s']}")
    reasons = {record["reason"] for record in pod.proxy.records(CLOSED)}
    expect(reasons <= {"idle_timeout", "idle_race"}, f"reasons {reasons}")


@case(ways=("out4", "out6"), limit=90)
def postgresql(pod):
    """PostgreSQL through outbound without a port list: connecting, queries, a megabyte, an idle session; no stall."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    expect(found, "PostgreSQL is not installed; make deps installs it")
    binaries = os.path.dirname(found[-1])
    data = f"{pod.scratch}/pg"
    os.mkdir(data, 0o700)
    shutil.chown(data, "postgres", "postgres")
    as_postgres = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    pod.server.run(as_postgres + [f"{binaries}/initdb", "-D", data, "-A", "trust", "-N", "--no-locale"], timeout=60)
    with open(f"{data}/pg_hba.conf", "a") as file:
        file.write("host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n")
    settings = ("listen_addresses=*", "port=5432", "fsync=off", f"unix_socket_directories={data}", "shared_buffers=16MB")
    pod.spawn(pod.server, as_postgres + [f"{binaries}/postgres", "-D", data, *(f"--{each}" for each in settings)], name="postgres")
    wait_listening(pod.server, 5432)
    pod.start()
    pod.uncounted()

    def psql(query):
        done = pod.inside.run(["psql", "-h", pod.address, "-U", "postgres", "-AtX", "-c", query], check=False)
        expect(done.returncode == 0, f"psql: {done.stderr.strip()}")
        return done.stdout.strip()
    with took(0, late=3):
        expect(psql("select 6*7") == "42", "wrong answer")
    expect(len(psql("select repeat('x', 1000000)")) == 1000000, "wrong length")
    psql("select pg_sleep(1)")
    pod.record(protocol="opaque", direction="outbound", reason=("done", "client_reset"), server=re.compile(":5432$"))


@case(ways=("out4", "out6"))
def redis(pod):
    """Redis through outbound without a port list: commands, a pipeline of thousands, no stall."""
    needs("redis-server", "redis-cli")
    pod.spawn(pod.server, ["redis-server", "--port", "6379", "--bind", "*", "-::*", "--protected-mode", "no", "--save", "",
                           "--dir", pod.scratch, "--daemonize", "no"], name="redis")
    wait_listening(pod.server, 6379)
    pod.start()
    pod.uncounted()
    cli = ["redis-cli", "-h", pod.address]
    with took(0, late=2):
        expect(pod.inside.run([*cli, "set", "key", "value"]).stdout.strip() == "OK", "not OK")
    expect(pod.inside.run([*cli, "get", "key"]).stdout.strip() == "value", "wrong value")
    many = "".join(f"INCR counter\r\nSET key{number} {'v' * 100}\r\n" for number in range(5000))
    expect("replies: 10000" in pod.inside.run([*cli, "--pipe"], stdin=many).stdout, "the pipeline was not answered")
    expect(pod.inside.run([*cli, "get", "counter"]).stdout.strip() == "5000", "wrong count")
    pod.record(protocol="opaque", direction="outbound", reason="done", server=re.compile(":6379$"))


@case(ways=("in4", "out6"))
def openssl(pod):
    """openssl s_client to openssl s_server: SNI and ALPN are in the record."""
    key, certificate = f"{pod.scratch}/key", f"{pod.scratch}/certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                    "-subj", "/CN=app", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    pod.spawn(pod.far, ["openssl", "s_server", "-accept", "8443", "-key", key, "-cert", certificate, "-www", "-alpn", "http/1.1"],
              name="s_server")
    wait_listening(pod.far, 8443)
    pod.start()
    pod.uncounted()
    address = f"[{pod.address}]" if pod.family == 6 else pod.address
    done = pod.near.run(["openssl", "s_client", "-connect", f"{address}:8443", "-servername", "shop.example", "-alpn", "http/1.1",
                         "-ign_eof"], stdin="GET / HTTP/1.0\r\n\r\n", check=False)
    if "s_server -accept" not in done.stdout:
        raise Failure(f"no page: {done.stdout[-300:]} {done.stderr[-300:]}")
    pod.record(protocol="tls", sni="shop.example", alpn=re.compile("http/1.1"), msg=CLOSED)
