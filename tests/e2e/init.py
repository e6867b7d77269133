"""lapse-init: its subcommands, what it needs and what it refuses."""
import json
import os
import re
import shutil
import threading
import time

from .harness import NO_CAPABILITY, ONLY_NET_ADMIN, PROXY_UID, as_user, case, expect, run, script, table
from .traffic import lay_out, path, redirected, same, stub

CLOSE_WAIT = "netfilter/nf_conntrack_tcp_timeout_close_wait"
AS_ROOT = ()


def ruleset(pod):
    """The installed table without handles and counter values; None when there is none."""
    done = pod.inside.run(["nft", "-j", "list", "table", "inet", "lapse"], check=False)
    return strip(json.loads(done.stdout)["nftables"][1:]) if done.returncode == 0 else None


def strip(value):
    if isinstance(value, dict):
        return {key: strip(inner) for key, inner in value.items() if key not in ("handle", "packets", "bytes")}
    return [strip(inner) for inner in value] if isinstance(value, list) else value


def rules(pod):
    return [entry["rule"] for entry in ruleset(pod) if "rule" in entry]


def nothing_installed(pod):
    tables = pod.inside.run(["nft", "list", "tables"]).stdout
    expect("lapse" not in tables, f"installed nevertheless: {tables}")


def said(done):
    return done.stdout + done.stderr


@case()
def install_twice(pod):
    """install twice gives the same table as once; further options replace it whole."""
    pod.init()
    once = ruleset(pod)
    expect(once, "nothing installed")
    pod.init("install")
    expect(ruleset(pod) == once, "the second install changed the table")
    pod.init("--skip-inbound-ports", "7,9")
    expect(ruleset(pod) != once, "options made no difference")
    pod.init()
    expect(ruleset(pod) == once, "options of an earlier install are left")


@case()
def remove_twice(pod):
    """remove takes the table away and nothing else; absent is success."""
    pod.inside.nft(table("other", ("filter", "input", 0)))
    pod.init()
    pod.init("remove")
    tables = pod.inside.run(["nft", "list", "tables"]).stdout.split("\n")
    expect(tables == ["table inet other", ""], f"tables after remove: {tables}")
    pod.init("remove")


@case()
def reinstall_without_gap(pod):
    """While install runs again and again, every new connection is redirected."""
    pod.app(stub("inbound"), 4143, pod.inside)
    pod.app(script(b"direct\n"), 8080, pod.inside)
    pod.init()
    done, arrived = threading.Event(), []

    def connect():
        while not done.is_set():
            arrived.append(path(pod.client, pod.inside.v4, 8080))

    clients = [threading.Thread(target=connect) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for _ in range(15):
            pod.init()
    finally:
        done.set()
        for client in clients:
            client.join()
    strays = [way for way in arrived if way != redirected("inbound", pod.inside, 4, 8080)]
    expect(len(arrived) > 30 and not strays, f"of {len(arrived)} connections arrived elsewhere: {strays[:3]}")


@case()
def readable_rules(pod):
    """Every rule has a counter and a comment; port and subnet lists are sets, so the number of rules does not grow."""
    lists = ("--skip-inbound-ports", "1", "--skip-outbound-ports", "1", "--skip-subnets", "192.0.2.0/24,2001:db8::/32")
    pod.init(*lists)
    few = rules(pod)
    for rule in few:
        expect(rule.get("comment"), f"rule without comment: {rule}")
        expect(any("counter" in expression for expression in rule["expr"]), f"rule without counter: {rule}")
    ports = ",".join(str(port) for port in range(1000, 3000, 2))
    subnets = ",".join(f"198.51.{number}.0/24" for number in range(0, 200, 2)) + ",2001:db8::/32,fe80::/10"
    pod.init("--skip-inbound-ports", ports, "--skip-outbound-ports", ports, "--skip-subnets", subnets)
    expect(len(rules(pod)) == len(few), f"{len(few)} rules grew to {len(rules(pod))}")


@case()
def dry_run(pod):
    """--dry-run applies nothing and prints what nft accepts and what install makes."""
    options = ("--skip-inbound-ports", "22,6000-8000", "--skip-outbound-ports", "25", "--skip-subnets", "10.1.0.0/16,fd00::/8",
               "--skip-interfaces", "eth1,wg0", "--proxy-gid", "2102")
    text = pod.init("--dry-run", *options, user=AS_ROOT).stdout
    nothing_installed(pod)
    pod.inside.run(["nft", "-c", "-f", "-"], stdin=text)
    pod.inside.nft(text)
    shown = ruleset(pod)
    pod.init(*options)
    expect(ruleset(pod) == shown, "what --dry-run prints is not what install makes")


@case()
def dry_run_unprivileged(pod):
    """--dry-run works without any capability."""
    expect("table inet lapse" in pod.init("--dry-run", user=NO_CAPABILITY).stdout, "no table printed")
    nothing_installed(pod)


@case(limit=90)
def check_intact(pod):
    """check: 0 when the table is as planned and the redirect works, before and beside a running proxy."""
    pod.init()
    pod.init("check", "--without-proxy")
    pod.start(init=None)
    pod.uncounted()
    pod.init("check")


@case(limit=90)
def check_damaged(pod):
    """check: 95 and the reason when the table is gone, a rule was deleted or added, or options differ."""
    expect("lapse" in said(pod.init("check", "--without-proxy", exit_code=95)), "no reason given")
    pod.init()
    listing = pod.inside.run(["nft", "-a", "list", "table", "inet", "lapse"]).stdout
    handles = re.findall(r"redirect to .*# handle (\d+)", listing)
    expect(handles, "no redirect rule found")
    chain = None
    for line in listing.splitlines():
        if found := re.match(r"\s*chain (\S+) {", line):
            chain = found[1]
        if f"# handle {handles[-1]}" in line:
            break
    pod.inside.run(["nft", "delete", "rule", "inet", "lapse", chain, "handle", handles[-1]])
    expect("redirect" in said(pod.init("check", "--without-proxy", exit_code=95)), "the missing rule is not named")
    pod.init()
    pod.init("check", "--without-proxy")
    pod.inside.run(["nft", "insert", "rule", "inet", "lapse", chain, "tcp", "dport", "99", "accept"])
    pod.init("check", "--without-proxy", exit_code=95)
    pod.init()
    pod.init("check", "--without-proxy", "--skip-inbound-ports", "22", exit_code=95)


HAND_MADE = ("ip daddr 192.0.2.0/24 udp dport 53 counter accept", "ip6 saddr fd00::/9 tcp sport 7 drop",
             'iifname "eth*" ct state established,new meta mark 0x00000007 return', "tcp dport 99-120 limit rate 5/second accept")


@case(limit=90)
def check_prints_rules_as_nft_does(pod):
    """check: rules that somebody added by hand, or an install with other options, read as nft has them."""
    pod.init("--skip-interfaces", "eth7", "--proxy-gid", "9")
    for rule in HAND_MADE:
        pod.inside.run(["nft", "add", "rule", "inet", "lapse", "prerouting", *rule.split()])
    lines = pod.init("check", "--without-proxy", exit_code=95).stdout.splitlines()
    for rule in HAND_MADE[:3]:
        expect(f"+ prerouting: {rule}" in lines, f"{rule!r} is not in {lines}")
    expect(any("limit rate 5/second" in line for line in lines), f"what is not known is not shown: {lines}")
    listing = re.sub(" packets 0 bytes 0", "", pod.inside.run(["nft", "list", "table", "inet", "lapse"]).stdout)
    for line in lines[1:-1]:
        rule = re.sub(r"^\+ \w+: ", "", line)
        expect(rule in listing or "[" in rule, f"nft does not list {rule!r}: {listing}")


@case(limit=90)
def as_json(pod):
    """status and check as JSON: numbers are numbers, booleans are booleans, and a failure says why."""
    answer = json.loads(pod.init("status", "--json").stdout)
    expect(answer["installed"] is False and "chains" not in answer, f"not installed: {answer}")
    answer = json.loads(pod.init("check", "--json", "--without-proxy", exit_code=95).stdout)
    expect(answer["ok"] is False and "not installed" in answer["reason"], f"check: {answer}")
    lay_out(pod)
    path(pod.client, pod.inside.v4, 8080)
    answer = json.loads(pod.init("status", "--json").stdout)
    chain = next(chain for chain in answer["chains"] if chain["name"] == "prerouting")
    rule = next(rule for rule in chain["rules"] if rule["comment"] == "inbound to the proxy")
    expect(answer["installed"] is True and rule["packets"] == 1 and rule["bytes"] >= 40, f"status: {answer}")
    expect("redirect to :4143" in rule["text"] and "4191" in next(s for s in answer["sets"] if s["name"] == "skip_inbound_ports")["elements"],
           f"status: {answer}")
    conntrack = answer["conntrack"]
    expect(conntrack["timeouts_s"]["close_wait"] == 60 and conntrack["entries_most"] == 262144 and conntrack["insert_failed"] == 0,
           f"status: {conntrack}")
    expect(answer["tcp_tw_reuse"] in (0, 1, 2), f"status: {answer}")
    answer = json.loads(pod.init("check", "--json", "--without-proxy").stdout)
    expect(answer["ok"] is True and answer["reason"] is None and answer["differences"] == [], f"check: {answer}")
    expect([(probe["version"], probe["result"], probe["port"]) for probe in answer["probes"]] ==
           [("IPv4", "accepted", 4140), ("IPv6", "accepted", 4140)], f"check: {answer}")
    answer = json.loads(pod.init("check", "--json", "--without-proxy", "--close-wait-timeout", "2h", exit_code=95).stdout)
    expect(answer["conntrack"] == [{"state": "close_wait", "wanted_s": 7200, "found_s": 60}], f"check: {answer}")
    denied = json.loads(pod.init("check", "--json", user=NO_CAPABILITY, exit_code=1).stdout)
    expect(denied["ok"] is False and denied["reason"], f"check without a capability: {denied}")


@case(limit=90)
def check_probe(pod):
    """check: 95 when the table is as planned but another table keeps connections from the redirect."""
    pod.init()
    pod.inside.nft(table("thief", ("nat", "output", -150, "tcp flags syn redirect to :9")))
    pod.init("check", "--without-proxy", exit_code=95)


@case(limit=90)
def check_looks_for_the_proxy(pod):
    """check: 95 when nobody listens where the rules lead to, either way, or somebody does whose connections would come back."""
    pod.init()
    text = said(pod.init("check", exit_code=95))
    expect("4143 (inbound, IPv4)" in text and "4140 (outbound, IPv6)" in text and "--without-proxy" in text, f"not said: {text}")
    with as_user(PROXY_UID):
        pod.app(stub("outbound"), 4140, pod.inside)
        text = said(pod.init("check", exit_code=95))
        expect("4143 (inbound, IPv4), 4143 (inbound, IPv6)" in text and "4140" not in text, f"not said: {text}")
        inbound = pod.app(stub("inbound"), 4143, pod.inside)
    pod.init("check")
    inbound.stop()
    with as_user(1000):
        pod.app(stub("inbound"), 4143, pod.inside)
    text = said(pod.init("check", exit_code=95))
    expect("uid 1000 listens on port 4143 (inbound)" in text and "--proxy-uid 1000" in text, f"not said: {text}")


@case()
def check_waits_for_the_proxy(pod):
    """Somebody else listens while check begins, and then the proxy does: no alarm."""
    pod.init()
    with as_user(PROXY_UID):
        pod.app(stub("outbound"), 4140, pod.inside)
    with as_user(1000):
        other = pod.app(stub("inbound"), 4143, pod.inside)
    check = pod.spawn(pod.inside, [pod.context.init, "check"])
    time.sleep(0.4)
    other.stop()
    with as_user(PROXY_UID):
        pod.app(stub("inbound"), 4143, pod.inside)
    expect(check.wait(10) == 0, "an alarm of what was over")


@case()
def status(pod):
    """status shows rules with counters, conntrack values and the use of the conntrack table."""
    lay_out(pod)
    path(pod.client, pod.inside.v4, 8080)
    text = said(pod.init("status"))
    for word in ("4143", "4140", "close_wait", "insert_failed", "drop", "262144"):
        expect(word in text, f"status does not show {word!r}: {text[:1500]}")


def read_only_sys(pod, *arguments, exit_code=0):
    """lapse-init as uid 65534 with CAP_NET_ADMIN, /proc/sys mounted read-only as in a container."""
    mounts = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\""
    return pod.init(*arguments, exit_code=exit_code, user=["unshare", "-m", "sh", "-c", mounts, "sh", *ONLY_NET_ADMIN])


@case()
def read_only_proc_sys(pod):
    """With CAP_NET_ADMIN only and /proc/sys read-only, close_wait is set by netlink; the log says old, new and the way."""
    expect(pod.inside.sysctl(CLOSE_WAIT) == "60", "unexpected default")
    text = said(read_only_sys(pod, "--close-wait-timeout", "1h"))
    expect(pod.inside.sysctl(CLOSE_WAIT) == "3600", f"close_wait is {pod.inside.sysctl(CLOSE_WAIT)}: {text}")
    expect("close_wait" in text and "netlink" in text and re.search(r"\b(60s?|1m)\b", text) and re.search(r"1h|3600", text),
           f"old, new or way not logged: {text}")
    expect(ruleset(pod), "no rules")


@case()
def tcp_tw_reuse(pod):
    """install sets net.ipv4.tcp_tw_reuse to 1 and says so, with CAP_NET_ADMIN alone; not where it may not, or is told not to."""
    def value():
        return pod.inside.sysctl("ipv4/tcp_tw_reuse")
    expect(value() == "2", "unexpected default")
    text = said(pod.init("--keep-tcp-tw-reuse"))
    expect(value() == "2" and "tcp_tw_reuse" not in text, f"not left alone: {text}")
    text = said(read_only_sys(pod))
    expect(value() == "2" and "tcp_tw_reuse could not be set to 1: Read-only file system" in text, f"not said: {text}")
    expect("tcp_tw_reuse 2  (" in said(pod.init("status")), "status does not show it")
    text = said(pod.init())
    expect(value() == "1" and re.search("tcp_tw_reuse set.* old=2 new=1", text), f"not set, or not said: {text}")
    expect("tcp_tw_reuse" not in said(pod.init()), "said again though nothing was done")
    expect("tcp_tw_reuse 1  (" in said(pod.init("status")), "status does not show it")


@case()
def conntrack_timeouts(pod):
    """--conntrack-timeout sets any TCP state's value, repeatedly; others keep theirs."""
    pod.init("--conntrack-timeout", "established=2h", "--conntrack-timeout", "fin_wait=90s", "--conntrack-timeout", "time_wait=5s")
    values = {state: pod.inside.sysctl(f"netfilter/nf_conntrack_tcp_timeout_{state}")
              for state in ("established", "fin_wait", "time_wait", "close_wait", "last_ack")}
    wanted = {"established": "7200", "fin_wait": "90", "time_wait": "5", "close_wait": "60", "last_ack": "30"}
    expect(values == wanted, f"{values}, expected {wanted}")


@case()
def no_capability(pod):
    """Without CAP_NET_ADMIN: exit 1, a sentence that names the capability, nothing applied."""
    for command in ("install", "remove"):
        expect("CAP_NET_ADMIN" in said(pod.init(command, exit_code=1, user=NO_CAPABILITY)), f"{command}: capability not named")
    nothing_installed(pod)


# Runs a command for which the kernel has no NETLINK_NETFILTER, as one built without nf_tables: by a seccomp filter on socket().
WITHOUT_NETFILTER = ["/usr/bin/python3", "-c", """
import ctypes, os, platform, struct, sys
socket = {"x86_64": 41}.get(platform.machine(), 198)
# Loads the call's number, then its first argument (AF_NETLINK is 16), then its third (NETLINK_NETFILTER is 12).
program = [(0x20, 0, 0, 0), (0x15, 0, 5, socket), (0x20, 0, 0, 16), (0x15, 0, 3, 16), (0x20, 0, 0, 32), (0x15, 0, 1, 12),
           (0x06, 0, 0, 0x00050000 | 93), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in program))
filter = struct.pack("HP", len(program), ctypes.addressof(code))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""]


@case()
def no_nf_tables(pod):
    """On a kernel without nf_tables: exit 1 with a sentence that names what is missing."""
    for command in ("install", "check", "remove"):
        done = pod.inside.run([*WITHOUT_NETFILTER, pod.context.init, command], check=False, env=pod.context.environment())
        expect(done.returncode in (1, 95) and re.search("nf_tables|NF_TABLES|nfnetlink|NETFILTER_NETLINK", said(done)),
               f"{command}: exit {done.returncode}: {said(done)}")


# As the host's network namespace, where alone bpf_jit_enable exists; but it is only the pod's.
AS_HOST = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /proc/sys && mkdir -p /proc/sys/net/core && "
           "echo 1 > /proc/sys/net/core/bpf_jit_enable && exec \"$@\"", "sh"]


@case()
def host_network(pod):
    """Row 12: in what looks like the host's network namespace install is refused, but for --allow-host-network."""
    text = said(pod.init(exit_code=1, user=AS_HOST))
    expect("host" in text and "--allow-host-network" in text, f"no way out named: {text}")
    nothing_installed(pod)
    pod.init("--allow-host-network", user=AS_HOST)
    expect(ruleset(pod), "--allow-host-network installed nothing")


@case(each={"kubelet": ("nft", table("mangle", ("filter", "input", 0)).replace("table inet", "table ip") + "add chain ip mangle KUBE-KUBELET-CANARY\n"),
            "network plugin": ("ip", "link add cni0 type bridge")})
def node_in_a_namespace(pod, mark):
    """Row 12: a node that lives in a network namespace of its own (kind, k3d) is known by its chains and interfaces, and refused."""
    how, what = mark
    (pod.inside.nft if how == "nft" else pod.inside.ip)(what)
    text = said(pod.init(exit_code=1))
    expect("a node" in text and ("KUBE-KUBELET-CANARY" in text or "cni0" in text) and "--allow-host-network" in text, text)
    nothing_installed(pod)
    pod.init("--allow-host-network")
    expect(ruleset(pod), "--allow-host-network installed nothing")


# As Linkerd's and Istio's init containers write them, by iptables and by nftables.
MESHES = {
    "Linkerd": ("PROXY_INIT_REDIRECT", """iptables-nft -t nat -N PROXY_INIT_REDIRECT
        iptables-nft -t nat -A PROXY_INIT_REDIRECT -p tcp --match multiport --dports 4190,4191 -j RETURN
        iptables-nft -t nat -A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-port 4143
        iptables-nft -t nat -A PREROUTING -j PROXY_INIT_REDIRECT
        iptables-nft -t nat -N PROXY_INIT_OUTPUT
        iptables-nft -t nat -A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN
        iptables-nft -t nat -A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-port 4140
        iptables-nft -t nat -A OUTPUT -j PROXY_INIT_OUTPUT"""),
    "Istio": ("ISTIO_INBOUND", """iptables-nft -t nat -N ISTIO_INBOUND
        iptables-nft -t nat -A ISTIO_INBOUND -p tcp -j REDIRECT --to-ports 15006
        iptables-nft -t nat -A PREROUTING -p tcp -j ISTIO_INBOUND"""),
    "Istio without iptables": ("istio-proxy-nat", """nft add table inet istio-proxy-nat
        nft add chain inet istio-proxy-nat istio-inbound
        nft add rule inet istio-proxy-nat istio-inbound meta l4proto tcp redirect to :15006
        nft add chain inet istio-proxy-nat prerouting { type nat hook prerouting priority dstnat; }
        nft add rule inet istio-proxy-nat prerouting meta l4proto tcp jump istio-inbound"""),
}


@case(each=MESHES)
def another_mesh(pod, mesh):
    """install and check say so when another sidecar's redirect is in the namespace, whichever came first, and leave it alone."""
    name, rules = mesh
    for first in ("the mesh", "lapse"):
        if first == "lapse":
            pod.init()
        for line in rules.splitlines():
            pod.inside.run(line.split())
        theirs = pod.inside.run(["nft", "-s", "list", "ruleset"]).stdout
        text = said(pod.init())
        expect(name in text and "not both" in text, f"{first} first: {text}")
        expect(name in said(pod.init("check", "--without-proxy")), f"{first} first: check does not say it")
        pod.init("remove")
        kept = pod.inside.run(["nft", "-s", "list", "ruleset"]).stdout
        expect(name in kept and all(line in theirs for line in kept.splitlines()), f"{first} first: remove left {kept}")
        pod.inside.nft("flush ruleset\n")
    expect(name not in said(pod.init()), "said though it is gone")


@case()
def file_capability(pod):
    """A file capability +p is enough for any user; without it the program still starts, and says what to type."""
    program = f"{pod.scratch}/lapse-init"
    shutil.copy(pod.context.init, program)
    os.chmod(program, 0o755)
    run(["setcap", "cap_net_admin+p", program])
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]
    done = pod.inside.run([*user, program], check=False, env=pod.context.environment())
    expect(done.returncode == 0 and ruleset(pod), f"exit {done.returncode}: {said(done)}")
    run(["setcap", "-r", program])
    for word in ("--version", "--help", "version", "help"):
        expect(pod.inside.run([*NO_CAPABILITY, program, word]).stdout, f"{word} says nothing")
    done = pod.inside.run([*NO_CAPABILITY, program], check=False, env=pod.context.environment())
    expect(done.returncode == 1 and "add: [NET_ADMIN]" in said(done), f"without it in the bounding set: {said(done)}")
    done = pod.inside.run([*user, program], check=False, env=pod.context.environment())
    expect(done.returncode == 1 and "kubernetes#56374" in said(done) and "runAsUser: 0" in said(done), f"not in effect: {said(done)}")


@case()
def foreign_environment(pod):
    """A Service called lapse-admin, and a misspelt variable: a warning each, and the rest works."""
    text = said(pod.init(environment={"LAPSE_ADMIN_PORT": "tcp://10.96.7.7:80", "LAPSE_ADMIN_SERVICE_HOST": "10.96.7.7",
                                      "LAPSE_PORT_INBOUND": "5143"}))
    expect("made by Kubernetes for a Service, and not read: " in text and "LAPSE_ADMIN_PORT" in text, text)
    expect("LAPSE_PORT_INBOUND (did you mean LAPSE_INBOUND_PORT?)" in text, text)
    expect("4191" in pod.inside.run(["nft", "list", "table", "inet", "lapse"]).stdout, "the default was not used")


@case()
def refused_options(pod):
    """What contradicts itself or means nothing is refused, and nothing is installed."""
    for arguments, words in (
            (("--inbound-port", "5143", "--incoming-proxy-port", "6143"), "one option"),
            (("--inbound-ports", "80", "--skip-inbound-ports", "80"), "port 80 is both"),
            (("--skip-interfaces", "eth+"), "a + stands for no others"),
            (("half-closed", "--dry-run"), "only with install"), (("check", "--dry-run"), "only with install")):
        text = said(pod.init(*arguments, exit_code=64))
        expect(words in text, f"{arguments}: {text}")
    nothing_installed(pod)


@case()
def real_host_network(pod):
    """Row 12: in the machine's own namespace, without any capability to be safe, install is refused for that reason."""
    done = run(NO_CAPABILITY + [pod.context.init], check=False)
    expect(done.returncode == 1, f"exit {done.returncode}")
    expect("--allow-host-network" in said(done), f"refused for another reason: {said(done)}")
    expect("lapse" not in run(["nft", "list", "tables"]).stdout, "the machine itself has a table lapse now")


@case()
def other_namespace(pod):
    """--netns installs into the named namespace and leaves its own alone."""
    pod.init("--netns", pod.inside.path, host=pod.client, user=AS_ROOT)
    expect(ruleset(pod), "nothing installed in the pod")
    expect("lapse" not in pod.client.run(["nft", "list", "tables"]).stdout, "installed in its own namespace")
    expect("/nowhere" in said(pod.init("--netns", "/nowhere", exit_code=1, host=pod.client, user=AS_ROOT)), "path not named")


@case()
def linkerd_arguments(pod):
    """The arguments of Linkerd's proxy-init run unchanged."""
    lay_out(pod, ports=(8080, 4190, 25), init=(
        "--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140", "--proxy-uid", "2102", "--inbound-ports-to-ignore",
        "4190,4191,4567,4568", "--outbound-ports-to-ignore", "25,4567", "--subnets-to-ignore", "192.0.2.0/24",
        "--timeout-close-wait-secs", "3600"))
    same(path(pod.client, pod.inside.v4, 8080), redirected("inbound", pod.inside, 4, 8080))
    same(path(pod.client, pod.inside.v4, 4190), "direct")
    same(path(pod.inside, pod.server.v4, 25), "direct")
    expect(pod.inside.sysctl(CLOSE_WAIT) == "3600", "close_wait not set")
    pod.init("remove")
    pod.init("--simulate", "--ports-to-redirect", "80")
    nothing_installed(pod)


@case()
def environment(pod):
    """Options from LAPSE_… count, the command line wins."""
    pod.init(environment={"LAPSE_INBOUND_PORT": "5143", "LAPSE_OUTBOUND_PORT": "5140", "LAPSE_CLOSE_WAIT_TIMEOUT": "2m"})
    text = pod.inside.run(["nft", "list", "table", "inet", "lapse"]).stdout
    expect(":5143" in text and ":5140" in text, "ports of the environment are not used")
    expect(pod.inside.sysctl(CLOSE_WAIT) == "120", "close_wait of the environment is not used")
    pod.init("--inbound-port", "6143", environment={"LAPSE_INBOUND_PORT": "5143"})
    expect(":6143" in pod.inside.run(["nft", "list", "table", "inet", "lapse"]).stdout, "the flag does not win")


@case()
def no_child_process(pod):
    """install needs neither a child process nor any binary in PATH."""
    user = [word.replace("65534", "64999") for word in ONLY_NET_ADMIN]  # a user of whom nothing else runs
    leaks = {"ASAN_OPTIONS": "detect_leaks=0"}  # looking for them needs a child
    pod.init("--close-wait-timeout", "1h", user=["prlimit", "--nproc=1:1", *user, "env", "PATH=/nowhere"], environment=leaks)
    expect(ruleset(pod), "nothing installed")


@case()
def json_log(pod):
    """--log-format json: every line it logs is one JSON object with ts, level and msg."""
    lines = said(pod.init("--log-format", "json", "--close-wait-timeout", "1h")).splitlines()
    expect(lines, "no line logged")
    for line in lines:
        expect({"ts", "level", "msg"} <= set(json.loads(line)), f"line without ts, level or msg: {line}")
