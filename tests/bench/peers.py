"""What is compared: one row a peer. A peer is a function of the world that returns its command; its row gives the settings.

Every peer takes workers (how many), server_idle (when an idle server connection is closed) and timers (every timeout on), and
leaves out what it has no notion of."""
import json
import os
import re
import shutil
import subprocess

from world import APP, FILES, INBOUND, PROXY_UID

HAPROXY = """
global
    nbthread {workers}
    uid {uid}
    gid {uid}
    maxconn {most}
    maxpipes 64
defaults
    mode {mode}
    {options}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend inbound
    bind :{inbound} {proto}
    default_backend app
backend app
    server app {address}:{app} {proto} {server}
"""

NGINX = """
worker_processes {workers};
daemon off;
user www-data;
pid {scratch}/nginx.pid;
error_log stderr warn;
{module}
events {{
    worker_connections {files};
}}
{block}
"""

NGINX_HTTP = """
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_header_timeout 1h;
    proxy_max_temp_file_size 0;
    upstream app {{
        server {address}:{app};
        keepalive 128;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen {inbound};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

NGINX_STREAM = """
stream {{
    server {{
        listen {inbound};
        proxy_pass {address}:{app};
        proxy_timeout 1h;
    }}
}}
"""
# Of HTTP/2 nginx speaks to a server only as gRPC.
NGINX_H2 = NGINX_HTTP.replace("{inbound};", "{inbound} http2;\n        http2_max_concurrent_streams 1000;").replace("proxy_pass http", "grpc_pass grpc")
NGINX_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
LAPSE_TIMEOUTS = ("request", "backend-request", "stream-idle", "request-headers", "idle-connection", "tcp-idle", "half-close",
                  "connect", "detect", "server-idle", "unacknowledged", "max-connection")


def path_of(program):
    return shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin") or program


def written(world, name, text):
    path = os.path.join(world.scratch, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def no_proxy(world, **_):
    return None


def relay(world, how=(), **_):
    return [world.bench("relay"), str(INBOUND), str(PROXY_UID), *how]


def haproxy(world, mode="http", options="", workers=1, server_idle=None, timers=False, h2=False):
    """With its defaults: in HTTP keep-alive on both legs, http-reuse safe. All its timeouts are on."""
    text = HAPROXY.format(mode=mode, options=options, workers=workers, uid=PROXY_UID, most=FILES // 2 - 200, inbound=INBOUND,
                          address=world.pod.v4, app=APP, proto="proto h2" if h2 else "", server=f"pool-purge-delay {server_idle}" if server_idle else "")
    return [path_of("haproxy"), "-db", "-f", written(world, "haproxy.cfg", text)]


def nginx(world, block=NGINX_HTTP, module="", workers=1, **_):
    text = NGINX.format(workers=workers, scratch=world.scratch, files=FILES, module=module,
                        block=block.format(inbound=INBOUND, address=world.pod.v4, app=APP))
    return [path_of("nginx"), "-c", written(world, "nginx.conf", text)]


def lapse(world, workers=1, server_idle=None, timers=False, options=()):
    """Everything by default, records included, but for the one worker."""
    timeouts = dict.fromkeys(LAPSE_TIMEOUTS, "1h") if timers else {}
    if server_idle:
        timeouts["server-idle"] = server_idle
    return [world.tool("lapse-proxy"), "--workers", str(workers), *options,
            *(text for name, value in timeouts.items() for text in ("--timeout-" + name, value))]


def envoy(world, workers=1, **_):
    """HTTP/2 on both legs, no timeout, none of its circuit breakers in the way."""
    def typed(name, **fields):
        return {"@type": f"type.googleapis.com/envoy.{name}", **fields}

    def place(address, port):
        return {"socket_address": {"address": address, "port_value": port}}
    most = {"max_concurrent_streams": 1000}
    router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
    manager = typed("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="app", codec_type="HTTP2",
                    stream_idle_timeout="0s", http2_protocol_options=most, http_filters=[router],
                    route_config={"virtual_hosts": [{"name": "app", "domains": ["*"], "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}]}]})
    http2 = typed("extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": most})
    limits = {name: 1000000 for name in ("max_connections", "max_pending_requests", "max_requests")}
    config = {"static_resources": {
        "listeners": [{"address": place("0.0.0.0", INBOUND),
                       "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "app", "connect_timeout": "5s", "circuit_breakers": {"thresholds": [limits]},
                      "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
                      "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [
                          {"endpoint": {"address": place(world.pod.v4, APP)}}]}]}}]}}
    return [world.bench("envoy/envoy/_bin/envoy"), "-c", written(world, "envoy.json", json.dumps(config)), "--concurrency", str(workers),
            "--disable-hot-restart", "--log-level", "error"]


class Peer:
    """forks: it has a process for each worker and one above them. closes: server_idle means something to it."""

    def __init__(self, name, function, forks=False, closes=False, **settings):
        self.name, self.function, self.forks, self.closes, self.settings = name, function, forks, closes, settings

    def processes(self, workers):
        return workers + 1 if self.forks else 1

    def command(self, world, **more):
        return self.function(world, **self.settings, **more)


def nghttpx(world, workers=1, **_):
    return [path_of("nghttpx"), f"--frontend=*,{INBOUND};no-tls", f"--backend={world.pod.v4},{APP};;proto=h2", f"--workers={workers}", "--single-process",
            "--errorlog-file=/dev/stderr", "--accesslog-file=/dev/null", "--frontend-http2-max-concurrent-streams=1000"]


SPLICE = "option splice-request\n    option splice-response"
PEERS = {peer.name: peer for peer in (
    Peer("direct", no_proxy),
    Peer("relay", relay),
    Peer("relay splice", relay, how=("splice",)),
    Peer("HAProxy", haproxy, closes=True),
    Peer("HAProxy reuse", haproxy, closes=True, options="http-reuse always"),
    Peer("HAProxy tcp", haproxy, mode="tcp"),
    Peer("HAProxy splice", haproxy, mode="tcp", options=SPLICE),
    Peer("HAProxy h2", haproxy, h2=True),
    Peer("nghttpx", nghttpx),
    Peer("nginx h2", nginx, forks=True, block=NGINX_H2),
    Peer("Envoy", envoy),
    Peer("nginx", nginx, forks=True),
    Peer("nginx stream", nginx, forks=True, block=NGINX_STREAM, module=f"load_module {NGINX_STREAM_MODULE};"),
    Peer("Lapse shared", lapse, closes=True, options=("--pool-size", "128")),
    Peer("Lapse", lapse, closes=True),
)}


STREAMS = ["relay", "HAProxy h2", "nghttpx", "nginx h2", "Envoy", "Lapse"]
HTTP = [name for name in PEERS if name == "relay" or name == "Lapse" or name not in ("Lapse shared", *STREAMS)]
OPAQUE = [name for name in HTTP if name not in ("HAProxy", "HAProxy reuse", "nginx")]


def versions():
    said = {name: subprocess.run([path_of(name.lower()), "-v"], capture_output=True, text=True) for name in ("HAProxy", "nginx")}
    found = {name: re.search(r"[ /](\d+[.\d]*)", done.stdout + done.stderr) for name, done in said.items()}
    return {name: match[1] if match else "unknown" for name, match in found.items()}
