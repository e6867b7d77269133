"""What is compared: one row a peer. A new one is a function that returns its command, and a row."""
import os
import re
import subprocess

from world import APP, FILES, INBOUND, PROXY_UID

HAPROXY = """
global
    nbthread 1
    uid {uid}
    gid {uid}
    maxconn {most}
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend inbound
    bind :{inbound}
    default_backend app
backend app
    server app {address}:{app} {server}
"""


def no_proxy(world):
    return None


def relay(world):
    return [world.bench("relay"), str(INBOUND), str(PROXY_UID)]


def haproxy(world, server_idle=None):
    """HTTP mode with its defaults: keep-alive on both legs, http-reuse safe."""
    path = os.path.join(world.scratch, "haproxy.cfg")
    with open(path, "w") as file:
        file.write(HAPROXY.format(uid=PROXY_UID, most=FILES // 2 - 50, inbound=INBOUND, address=world.pod.v4, app=APP,
                                  server=f"pool-purge-delay {server_idle}" if server_idle else ""))
    return [HAPROXY_PATH, "-db", "-f", path]


def lapse(world, server_idle=None):
    """Everything by default, records included, but for the one worker."""
    return [world.tool("lapse-proxy"), "--workers", "1", *(["--timeout-server-idle", server_idle] if server_idle else [])]


HAPROXY_PATH = next((path for path in ("/usr/sbin/haproxy", "/usr/local/sbin/haproxy") if os.path.exists(path)), "haproxy")


class Peer:
    def __init__(self, name, command):
        self.name, self.command = name, command


PEERS = {peer.name: peer for peer in (
    Peer("direct", no_proxy),
    Peer("relay", relay),
    Peer("HAProxy", haproxy),
    Peer("Lapse", lapse),
)}


def versions():
    said = subprocess.run([HAPROXY_PATH, "-v"], capture_output=True, text=True).stdout
    match = re.search(r"version (\S+?)[-\s]", said)
    return {"HAProxy": match[1] if match else "unknown"}
