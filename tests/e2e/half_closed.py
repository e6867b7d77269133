"""lapse-init half-closed: which half-closed flows conntrack knows, and what becomes of them."""
import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from .harness import BINARY, DEAD_PORTS_TOO, NO_CAPABILITY, ONLY_NET_ADMIN, case, expect, run, script, table, until
from .init import WITHOUT_NETFILTER, said

CLOSE_WAIT = "netfilter/nf_conntrack_tcp_timeout_close_wait"
AS_ROOT = ()
FIELDS = {"state", "meaning", "first_fin", "client", "client_seen_as", "original_destination", "redirected_to", "silent_for_s",
          "forgotten_in_s", "risk", "packets_from_client", "bytes_from_client", "packets_to_client", "bytes_to_client", "zone",
          "network_namespace", "pid", "process", "pod_uid", "cgroup"}


def written(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Flow:
    """A connection from the client to a port of the pod, redirected to 4143, where a plain listener is in the proxy's place."""

    def __init__(self, pod, listener, port, family=4):
        self.client = pod.client.connect(pod.inside.address(family), port)
        self.app = listener.accept()[0]
        for sock in (self.client.sock, self.app):  # a FIN that waits for its acknowledgement is sent again, and misleads conntrack
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        pod.peers += [self.client, self.app]
        self.name = written(*self.client.local)
        self.destination, self.redirected = (written(pod.inside.address(family), number) for number in (port, 4143))


def lay_out(pod):
    """Rules, and the listener they redirect to, in place of apps too."""
    pod.init(*DEAD_PORTS_TOO)
    listener = pod.inside.listener(4143)
    pod.peers.append(listener)
    return listener


def listed(pod, *arguments, **options):
    """What --json prints, by client."""
    lines = pod.init("half-closed", "--json", *arguments, **options).stdout.splitlines()
    flows = [json.loads(line) for line in lines]
    for flow in flows:
        expect(set(flow) == FIELDS, f"fields: {sorted(set(flow) ^ FIELDS)}")
    expect(len({(flow["network_namespace"], flow["client"]) for flow in flows}) == len(flows), "a flow is listed twice")
    return {flow["client"]: flow for flow in flows}


def state(pod, flow, wanted):
    """Waits until conntrack has the flow in this state."""
    def now():
        text = pod.inside.run(["conntrack", "-L", "-p", "tcp", "--sport", str(flow.client.local[1])], check=False).stdout
        text += pod.inside.run(["conntrack", "-L", "-f", "ipv6", "-p", "tcp", "--sport", str(flow.client.local[1])],
                               check=False).stdout
        return text
    until(lambda: wanted in now(), lambda: f"not {wanted}: {now()}")


class Watch:
    """A running `half-closed --watch`: what it prints, line by line."""

    def __init__(self, pod, *arguments, host=None, user=ONLY_NET_ADMIN, words=False):
        self.lines, self.news, self.words = [], threading.Condition(), words
        self.errors = f"{pod.scratch}/watch.stderr"
        command = [*user, pod.context.init, "half-closed", "--watch", *([] if words else ["--json"]), *arguments]
        with open(self.errors, "ab") as errors:
            self.process = (host or pod.inside).popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                                      env=pod.context.environment())
        pod.processes.append(self.process)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.decode().rstrip("\n") if self.words else json.loads(line))
                self.news.notify_all()

    def listening(self, pod):
        """Until it has its sockets: the kernel then lists it as a member of groups."""
        def member():
            with pod.inside.entered(), open("/proc/net/netlink") as file:
                return any(fields[1] == "12" and fields[3] != "00000000" for fields in map(str.split, file))
        until(member, "--watch does not listen")
        return self

    def event(self, event, client, within=6.0):
        """The first event of this kind of this client."""
        def found():
            return next((line for line in self.lines if line["event"] == event and line["client"] == client), None)
        return until(found, lambda: f"no {event} of {client}: {self.of(client)}; {self.said()}", within)

    def of(self, client):
        """What it said of this client, in short."""
        return [tuple(line[key] for key in ("event", "state", "detail", "watched_for_ms", "network_namespace"))
                for line in self.lines if line["client"] == client]

    def events(self, client):
        return [line[0] for line in self.of(client)]

    def held(self):
        """What its descriptors are of."""
        links = []
        for name in os.listdir(f"/proc/{self.process.pid}/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/{self.process.pid}/fd/{name}"))
        return links

    def said(self):
        with open(self.errors) as file:
            return file.read()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(10)
        expect(code == 0, f"--watch exited {code}: {self.said()}")


@case()
def none(pod):
    """No flow, an open one, one that has ended: exit 0 and a line that says so; JSON has no line."""
    listener = lay_out(pod)
    done = pod.init("half-closed")
    expect(done.stdout == "no half-closed flows\n", f"said {done.stdout!r}")
    Flow(pod, listener, 8080)
    over = Flow(pod, listener, 8081)
    over.client.fin()
    over.app.close()
    state(pod, over, "TIME_WAIT")
    pod.init("half-closed")
    expect(pod.init("half-closed", "--json").stdout == "", "JSON of nothing")


@case()
def both_sides_both_families(pod):
    """The client finishes first, the app finishes first, over IPv4 and IPv6: exit 3, each with all that is known of it."""
    listener = lay_out(pod)
    flows = []
    for family in (4, 6):
        for first in ("client", "server"):
            flow = Flow(pod, listener, 8000 + family, family)
            flow.first = first
            flow.client.send(b"hello")
            flow.client.fin() if first == "client" else flow.app.shutdown(1)
            flows.append(flow)
            state(pod, flow, "CLOSE_WAIT")
    found = listed(pod, exit_code=3)
    expect(set(found) == {flow.name for flow in flows}, f"listed: {list(found)}")
    for flow in flows:
        one = found[flow.name]
        wanted = {"state": "CLOSE_WAIT", "first_fin": flow.first, "original_destination": flow.destination,
                  "redirected_to": flow.redirected, "client_seen_as": None, "packets_from_client": None, "pid": None,
                  "network_namespace": pod.inside.inode}
        expect({key: one[key] for key in wanted} == wanted, f"{one}, expected {wanted}")
        expect(50 <= one["forgotten_in_s"] <= 60 and 0 <= one["silent_for_s"] <= 9, f"times: {one}")
        expect(one["risk"] == f"forgotten in {one['forgotten_in_s']} s; a later FIN or RST is then lost", one["risk"])


@case()
def table_for_people(pod):
    """The table: aligned columns, the soonest forgotten first, a summary line."""
    listener = lay_out(pod)
    soon, late = Flow(pod, listener, 8080), Flow(pod, listener, 8081, 6)
    soon.client.fin()
    state(pod, soon, "CLOSE_WAIT")
    time.sleep(1.2)
    late.client.fin()
    state(pod, late, "CLOSE_WAIT")
    heading, *rows, summary = pod.init("half-closed", exit_code=3).stdout.splitlines()
    expect(len(rows) == 2 and soon.name in rows[0] and late.name in rows[1], f"rows: {rows}")
    for title, values in (("STATE", ("CLOSE_WAIT", "CLOSE_WAIT")), ("CLIENT", (soon.name, late.name)),
                          ("ORIGINAL", (soon.destination, late.destination)), ("REDIRECTED", (soon.redirected, late.redirected)),
                          ("RISK", ("forgotten in", "forgotten in"))):
        at = heading.index(title)
        expect(all(row[at:].startswith(value) for row, value in zip(rows, values)), f"{title} is not aligned: {heading} {rows}")
    expect(summary.startswith("2 half-closed flows: 2 CLOSE_WAIT; the first is forgotten in "), summary)


@case()
def three_states(pod):
    """FIN_WAIT, CLOSE_WAIT and LAST_ACK, each with its lifetime and its risk."""
    listener = lay_out(pod)
    finwait, closewait, lastack = (Flow(pod, listener, port) for port in (8080, 8081, 8082))
    closewait.client.fin()
    lastack.client.fin()
    state(pod, closewait, "CLOSE_WAIT")
    state(pod, lastack, "CLOSE_WAIT")
    deaf = table("deaf", ("filter", "prerouting", -500, "tcp dport 8082 drop"))
    port = finwait.client.local[1]
    mute = table("mute", ("filter", "output", -500, f"tcp dport {port} drop"),
                 ("filter", "prerouting", -500, f"tcp sport {port} limit rate over 1/day burst 1 packets drop"))
    with pod.inside.ruled(deaf), pod.inside.ruled(mute):
        lastack.app.close()  # its FIN is not acknowledged
        finwait.client.fin()  # nor this one, and it is not heard again: conntrack would take that for the other side's
        state(pod, lastack, "LAST_ACK")
        state(pod, finwait, "FIN_WAIT")
        found = listed(pod, exit_code=3)
        text = pod.init("half-closed", exit_code=3).stdout
    states = {flow.name: name for flow, name in ((finwait, "FIN_WAIT"), (closewait, "CLOSE_WAIT"), (lastack, "LAST_ACK"))}
    shown = {name: one["state"] for name, one in found.items()}
    expect(shown == states, f"{shown}, expected {states}")
    expect(all("a later FIN or RST is then lost" in one["risk"] for one in found.values()), "their risk")
    expect(0 < found[lastack.name]["forgotten_in_s"] <= 30, "LAST_ACK's lifetime")
    expect(60 < found[finwait.name]["forgotten_in_s"] <= 120, "FIN_WAIT's lifetime")
    expect("3 half-closed flows: 1 FIN_WAIT, 1 CLOSE_WAIT, 1 LAST_ACK" in text, text)


@case()
def min_age(pod):
    """--min-age lists those silent for so long and counts the others; exit 0 when only others are left."""
    listener = lay_out(pod)
    old = Flow(pod, listener, 8080)
    old.client.fin()
    state(pod, old, "CLOSE_WAIT")
    time.sleep(3.3)
    young = Flow(pod, listener, 8081)
    young.client.fin()
    state(pod, young, "CLOSE_WAIT")
    found = listed(pod, "--min-age", "2s", exit_code=3)
    expect(set(found) == {old.name} and found[old.name]["silent_for_s"] >= 2, f"{found}")
    summary = pod.init("half-closed", "--min-age", "2s", exit_code=3).stdout.splitlines()[-1]
    expect(summary.startswith("1 half-closed flow silent for 2s or longer: 1 CLOSE_WAIT; 1 more not silent for so long"), summary)
    text = pod.init("half-closed", "--min-age", "1h").stdout
    expect("no half-closed flows" in text and "2 more" in text, text)


@case()
def lifetimes_as_configured(pod):
    """The lifetime that --close-wait-timeout set is the one shown, and silence is reckoned from it."""
    listener = lay_out(pod)
    pod.init(*DEAD_PORTS_TOO, "--close-wait-timeout", "1h")
    flow = Flow(pod, listener, 8080)
    flow.client.fin()
    state(pod, flow, "CLOSE_WAIT")
    one = listed(pod, exit_code=3)[flow.name]
    expect(3590 <= one["forgotten_in_s"] <= 3600 and one["silent_for_s"] <= 9, f"{one}")
    expect(one["risk"].startswith(("forgotten in 59m", "forgotten in 1h")), one["risk"])
    pod.inside.sysctl(CLOSE_WAIT, 10)
    one = listed(pod, "--min-age", "1h", exit_code=3)[flow.name]
    expect(one["silent_for_s"] is None, f"a lifetime that was lowered later cannot tell how long it is silent: {one}")


@case()
def counters(pod):
    """With accounting on, packets and bytes of both directions."""
    listener = lay_out(pod)
    pod.inside.sysctl("netfilter/nf_conntrack_acct", 1)
    flow = Flow(pod, listener, 8080)
    flow.client.send(b"x" * 1000).fin()
    state(pod, flow, "CLOSE_WAIT")
    one = listed(pod, exit_code=3)[flow.name]
    expect(one["packets_from_client"] >= 4 and one["bytes_from_client"] > 1000 and one["packets_to_client"] >= 2, f"{one}")
    heading, row, _ = pod.init("half-closed", exit_code=3).stdout.splitlines()
    at = heading.index("PACKETS")
    expect(row[at:].startswith(f"{one['packets_from_client']}/"), row)


@case()
def through_the_proxy(pod):
    """A client that has finished and whose server is slow, through lapse-proxy: listed with its original destination."""
    pod.app(script("all", 3, b"late answer"))
    pod.start()
    peer = pod.dial()
    peer.send(BINARY).fin()
    name = written(*peer.local)
    found = until(lambda: name in (flows := listed_any(pod)) and flows, "not listed")
    expect(found[name]["redirected_to"] == written(pod.inside.v4, 4143), f"{found[name]}")
    peer.ends("fin", data=b"late answer")
    until(lambda: name not in listed_any(pod), "still listed when all is over")


def listed_any(pod):
    done = pod.inside.run([*ONLY_NET_ADMIN, pod.context.init, "half-closed", "--json"], check=False, env=pod.context.environment())
    return {flow["client"]: flow for flow in map(json.loads, done.stdout.splitlines())}


@case()
def not_redirected(pod):
    """A flow that conntrack only follows is listed, and said to risk less."""
    pod.inside.nft(table("follow", ("filter", "input", 0, "ct state established accept")))
    listener = pod.inside.listener(4143)
    pod.peers.append(listener)
    flow = Flow(pod, listener, 4143)
    flow.client.fin()
    state(pod, flow, "CLOSE_WAIT")
    one = listed(pod, exit_code=3)[flow.name]
    expect(one["redirected_to"] is None and "not translated" in one["risk"], f"{one}")


@case()
def missing_rights(pod):
    """Without CAP_NET_ADMIN, without CAP_SYS_ADMIN for other namespaces, without netfilter: exit 1 and a sentence that says so."""
    for arguments in ((), ("--json",), ("--watch",)):
        text = said(pod.init("half-closed", *arguments, exit_code=1, user=NO_CAPABILITY))
        expect("CAP_NET_ADMIN" in text and len(text.splitlines()) == 1, f"{arguments}: {text}")
        text = said(pod.init("half-closed", "--all-namespaces", *arguments, exit_code=1))
        expect("CAP_SYS_ADMIN" in text and "--all-namespaces" in text and len(text.splitlines()) == 1, f"{arguments}: {text}")
    done = pod.inside.run([*WITHOUT_NETFILTER, pod.context.init, "half-closed"], check=False, env=pod.context.environment())
    expect(done.returncode == 1 and "CONFIG_NETFILTER_NETLINK" in said(done), f"exit {done.returncode}: {said(done)}")
    for arguments in (("--min-age", "soon"), ("--all-namespaces", "--netns", pod.inside.path)):
        pod.init("half-closed", *arguments, exit_code=64)
    expect("half-closed" in said(pod.init("status", "--watch", exit_code=64)), "the option's command is not named")


@case()
def other_namespace(pod):
    """--netns lists the flows of the named namespace."""
    listener = lay_out(pod)
    flow = Flow(pod, listener, 8080)
    flow.client.fin()
    state(pod, flow, "CLOSE_WAIT")
    found = listed(pod, "--netns", pod.inside.path, exit_code=3, host=pod.client, user=AS_ROOT)
    expect(set(found) == {flow.name}, f"{found}")


@case()
def full_output(pod):
    """A full disk is a failure, not a list that ends early."""
    listener = lay_out(pod)
    flow = Flow(pod, listener, 8080)
    flow.client.fin()
    state(pod, flow, "CLOSE_WAIT")
    done = pod.inside.run(["sh", "-c", f"exec {pod.context.init} half-closed --json > /dev/full"], check=False,
                          env=pod.context.environment())
    expect(done.returncode == 1 and "standard output" in done.stderr, f"exit {done.returncode}: {done.stderr}")


@case()
def watch_comes_and_goes(pod):
    """--watch, as uid 65534: a flow that becomes half-closed and ends, by events; SIGTERM ends it with 0."""
    listener = lay_out(pod)
    watch = Watch(pod).listening(pod)
    time.sleep(0.2)
    flow = Flow(pod, listener, 8080)
    flow.client.fin()
    one = watch.event("half-closed", flow.name, within=1.5)
    expect(set(one) == FIELDS | {"ts", "event", "detail", "watched_for_ms"}, f"fields: {sorted(one)}")
    expect(one["original_destination"] == flow.destination and one["redirected_to"] == flow.redirected, f"{one}")
    watch.event("changed", flow.name, within=1.5)
    time.sleep(0.3)
    flow.app.close()
    one = watch.event("ended", flow.name, within=1.5)
    expect(one["detail"] == "both sides have finished" and one["risk"] is None and one["forgotten_in_s"] is None, f"{one}")
    expect(250 <= one["watched_for_ms"] < 3000, f"{one}")
    reset = Flow(pod, listener, 8080)
    reset.client.fin()
    watch.event("half-closed", reset.name, within=1.5)
    time.sleep(0.1)
    reset.client.rst()
    expect(watch.event("ended", reset.name)["detail"] == "reset", "a reset is not said")
    for client in (flow.name, reset.name):
        events = watch.events(client)
        expect(events[0] == "half-closed" and events[-1] == "ended" and set(events[1:-1]) <= {"changed"}, f"{events}")
    watch.end()


@case()
def watch_forgotten(pod):
    """--watch: a flow that was half-closed before is found; when its time is up it is forgotten; SIGINT ends it with 0."""
    listener = lay_out(pod)
    pod.inside.sysctl(CLOSE_WAIT, 2)
    flow = Flow(pod, listener, 8080)
    flow.client.fin()
    state(pod, flow, "CLOSE_WAIT")
    watch = Watch(pod)
    watch.event("found", flow.name)
    one = watch.event("forgotten", flow.name, within=8)
    expect(one["state"] == "CLOSE_WAIT" and one["detail"] is None, f"{one}")
    expect(watch.events(flow.name) == ["found", "forgotten"], f"{watch.events(flow.name)}")
    watch.end(signal.SIGINT)


@case()
def watch_older_flows(pod):
    """--watch: flows older than it, of which the kernel has no events, are seen by the next scan, and so is what becomes of them."""
    listener = lay_out(pod)
    deleted, ended = Flow(pod, listener, 8080), Flow(pod, listener, 8081)
    watch = Watch(pod).listening(pod)
    time.sleep(0.5)  # its first scan
    deleted.client.fin()
    ended.client.fin()
    watch.event("half-closed", deleted.name)
    watch.event("half-closed", ended.name)
    pod.inside.run(["conntrack", "-D", "-p", "tcp", "--sport", str(deleted.client.local[1])])
    ended.app.close()
    expect(watch.event("ended", ended.name)["detail"] == "both sides have finished", "how it ended")
    until(lambda: {"ended", "forgotten"} & set(watch.events(deleted.name)), "the deleted one is not missed")
    expect("before its time was up" in watch.of(deleted.name)[-1][2], f"{watch.of(deleted.name)}")
    watch.end()


@case()
def watch_min_age(pod):
    """--watch --min-age: what is soon over is not mentioned; what stays is, once it has been silent for so long."""
    listener = lay_out(pod)
    watch = Watch(pod, "--min-age", "2s", words=True).listening(pod)
    short, long = Flow(pod, listener, 8080), Flow(pod, listener, 8081)
    short.client.fin()
    short.app.close()
    long.client.fin()
    until(lambda: watch.lines, "nothing said", within=9)
    expect(f"half-closed CLOSE_WAIT {long.name} -> {long.destination} redirected to {long.redirected}" in watch.lines[0],
           f"{watch.lines}")
    long.app.close()
    until(lambda: len(watch.lines) >= 2 and "both sides have finished" in watch.lines[-1], lambda: f"{watch.lines}")
    expect(not any(short.name in line for line in watch.lines), f"{watch.lines}")
    watch.end()


@case(limit=90)
def watch_overrun(pod):
    """--watch: events that were lost, since it could not keep up, are said, and a new scan finds what they would have told."""
    listener = lay_out(pod)
    watch = Watch(pod).listening(pod)
    time.sleep(0.2)
    watch.process.send_signal(signal.SIGSTOP)
    with pod.inside.listener(9000) as busy:
        for _ in range(5000):
            with pod.inside.socket(4) as sock:
                sock.connect(("127.0.0.1", 9000))
                busy.accept()[0].close()
    flow = Flow(pod, listener, 8080)
    flow.client.fin()
    state(pod, flow, "CLOSE_WAIT")
    watch.process.send_signal(signal.SIGCONT)
    watch.event("half-closed", flow.name, within=20)
    expect("lost" in watch.said() and "scanning anew" in watch.said(), f"said {watch.said()!r}")
    watch.end()


def sleeper(pod, host, name):
    """A process of this name in the host's namespace."""
    path = f"{pod.scratch}/bin/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path):
        shutil.copy("/bin/sleep", path)
    return pod.spawn(host, [path, "60"], name + "-said")


def in_two_namespaces(pod):
    """A half-closed flow that both its namespaces follow; each has a process of its own."""
    pod.client.nft(table("follow", ("filter", "output", 0, "ct state established accept")))
    flow = Flow(pod, lay_out(pod), 8080)
    processes = [sleeper(pod, pod.inside, "lapse-e2e-in"), sleeper(pod, pod.inside, "lapse-e2e-in"),
                 sleeper(pod, pod.client, "lapse-e2e-out")]
    flow.client.fin()
    state(pod, flow, "CLOSE_WAIT")
    return flow, processes


@case()
def all_namespaces(pod):
    """--all-namespaces finds this case's own two, each once, by the names of their processes, from a third."""
    flow, processes = in_two_namespaces(pod)
    pods = f"{pod.scratch}/cgroup"
    with open(pods, "w") as file:
        file.write("0::/kubepods.slice/kubepods-pod3f0c2a1e_77d0_4a51_9d0e_5b1f7c2d9e10.slice/cri-containerd-1.scope\n")
    mounts = "".join(f"mount --bind {pods} /proc/{process.pid}/cgroup && " for process in processes[:2])
    as_in_a_pod = ["unshare", "-m", "sh", "-c", mounts + "exec \"$@\"", "sh"]
    home = os.stat("/proc/self/ns/net").st_ino
    done = run([*as_in_a_pod, pod.context.init, "half-closed", "--all-namespaces", "--json"], check=False,
               env=pod.context.environment())
    expect(done.returncode == 3, f"exit {done.returncode}: {said(done)}")
    found = {one["network_namespace"]: one for one in map(json.loads, done.stdout.splitlines()) if one["client"] == flow.name
             and one["network_namespace"] in (pod.inside.inode, pod.client.inode)}
    expect(len(found) == 2 and home not in found, f"{done.stdout}")
    inside, outside = found[pod.inside.inode], found[pod.client.inode]
    expect(inside["process"] == "lapse-e2e-in" and inside["pid"] in [process.pid for process in processes[:2]], f"{inside}")
    expect(inside["pod_uid"] == "3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e10" and "kubepods" in inside["cgroup"], f"{inside}")
    expect(outside["process"] == "lapse-e2e-out" and outside["pod_uid"] is None and outside["redirected_to"] is None, f"{outside}")
    text = run([*as_in_a_pod, pod.context.init, "half-closed", "--all-namespaces"], check=False).stdout
    rows = [line for line in text.splitlines() if f" {flow.name} " in line and "lapse-e2e-in[" in line]
    expect(len(rows) == 1 and "pod 3f0c2a1e-77d0-4a51-9d0e-5b1f7c2d9e10 " in rows[0], text)
    expect("network namespaces: " in text.splitlines()[-1], text)


@case()
def watch_all_namespaces(pod):
    """--watch --all-namespaces: namespaces that come later are watched, those without a process are let go."""
    watch = Watch(pod, "--all-namespaces", host=pod.client, user=AS_ROOT)
    flow, processes = in_two_namespaces(pod)
    both = {pod.inside.inode, pod.client.inode}
    until(lambda: {line["network_namespace"] for line in watch.lines if line["client"] == flow.name} >= both,
          lambda: f"not both: {watch.of(flow.name)}", within=20)
    of_processes = [name for name in watch.held() if re.match("/proc/[0-9]", name)]
    expect(not of_processes, f"it still holds what it read: {of_processes}")
    for process in processes[:2]:
        process.kill()
        process.wait()

    def gone():
        return [line for line in watch.lines if line["detail"] == "its network namespace is gone" and line["client"] == flow.name
                and line["network_namespace"] == pod.inside.inode]
    until(gone, lambda: f"not let go: {watch.of(flow.name)}", within=20)
    expect(f"net:[{pod.inside.inode}]" not in watch.held(), f"it still holds the namespace: {watch.held()}")
    watch.end()


def on_terminal(host, command, environment):
    """What the command writes to standard error, a terminal."""
    master, slave = pty.openpty()
    try:
        process = host.popen(command, stdout=subprocess.DEVNULL, stderr=slave, env=environment)
    finally:
        os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while data := os.read(master, 4096):
            shown += data
    os.close(master)
    return process.wait(), shown.decode()


@case(weight=8, limit=120)
def many_flows(pod):
    """100,000 half-closed flows: all listed, in bounded memory, with progress on a terminal and none elsewhere."""
    pod.init()
    count, load = 100000, f"{pod.scratch}/load"
    with open(load, "w") as file:
        for number in range(count):
            client = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            file.write(f"-A -p tcp -s {client} -d 10.200.0.1 --sport 5000 --dport 80 -r 10.200.0.1 -q {client} "
                       f"--reply-port-src 4143 --reply-port-dst 5000 --state CLOSE_WAIT -t {600 + number % 50} -u ASSURED\n")
    pod.inside.run(["conntrack", "--load-file", load], timeout=60)
    os.unlink(load)
    limits = ["prlimit", *(["--data=100000000"] if not pod.context.sanitize else [])]
    for arguments, lines in (((), count + 2), (("--json",), count)):
        done = pod.init("half-closed", *arguments, exit_code=3, user=[*limits, *ONLY_NET_ADMIN])
        expect(done.stdout.count("\n") == lines and done.stderr == "", f"{done.stdout.count(chr(10))} lines: {done.stderr[:300]}")
    code, shown = on_terminal(pod.inside, [pod.context.init, "half-closed", "--json"], pod.context.environment())
    expect(code == 3 and "\rscanning".replace("\r", "\r\x1b[K") in shown and shown.endswith("\r\x1b[K"), f"{code}: {shown[-200:]!r}")
