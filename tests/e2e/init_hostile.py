"""Faults that a hostile review of lapse-init proved: false peace and false alarms of check, connections that its rules broke."""
import os
import threading
import time

from .harness import ONLY_NET_ADMIN, case, expect, took, until
from .harness.net import link
from .harness.peer import Peer
from .init import AS_ROOT, CLOSE_WAIT, ruleset, said

PATIENCE = 3.0  # of one end for the other: enough for a retransmission or two


def pair(near, far, address, port=8080):
    """Both ends of a connection that nobody redirects."""
    with far.listener(port) as listener:
        listener.settimeout(PATIENCE)
        here = near.connect(address, port, timeout=PATIENCE)
        there = Peer(listener.accept()[0])
    for end in (here, there):
        end.sock.settimeout(PATIENCE)
    return here, there


def passes(sender, receiver, data=b"data"):
    sender.send(data)
    got = receiver.exactly(len(data))
    expect(got == data, f"{got!r} arrived of {data!r}")


# Options.

@case()
def defaults_undo_nothing(pod):
    """An option that only repeats the default takes nothing back of what another option or the environment asked."""
    asked = "close_wait timeout 3600s"
    for arguments, environment in (
            (("--close-wait-timeout", "1h", "--timeout-close-wait-secs", "0"), {}),
            (("--timeout-close-wait-secs", "0", "--close-wait-timeout", "1h"), {}),
            (("--timeout-close-wait-secs", "0"), {"LAPSE_CLOSE_WAIT_TIMEOUT": "1h"}),
            ((), {"LAPSE_CLOSE_WAIT_TIMEOUT": "1h", "LAPSE_TIMEOUT_CLOSE_WAIT_SECS": "0"})):
        expect(asked in pod.init("--dry-run", *arguments, environment=environment).stdout, f"undone by {arguments} {environment}")
    for arguments, environment in (
            (("--ip-families", "ipv4", "--ipv6"), {}), (("--ipv6=true", "--ip-families", "ipv4"), {}),
            (("--ip-families", "ipv4"), {"LAPSE_IPV6": "true"}), ((), {"LAPSE_IPV6": "true", "LAPSE_IP_FAMILIES": "ipv4"})):
        expect("IPv6 is left alone" in pod.init("--dry-run", *arguments, environment=environment).stdout,
               f"undone by {arguments} {environment}")


@case()
def netns_is_a_fifo(pod):
    """--netns with a FIFO is refused in a sentence; it does not hang."""
    fifo = f"{pod.scratch}/fifo"
    os.mkfifo(fifo)
    with took(0, late=2.5):
        text = said(pod.init("--netns", fifo, exit_code=1, user=["timeout", "4"]))
    expect("no network namespace" in text, f"not said why: {text}")


@case()
def output_is_lost(pod):
    """A full disk behind standard output is told, exit 1, whatever the subcommand."""
    pod.init()
    into_full = [*ONLY_NET_ADMIN, "sh", "-c", 'exec "$@" >/dev/full', "sh"]
    for command in (("check", "--without-proxy"), ("status",), ("--dry-run",), ("--help",)):
        text = said(pod.init(*command, exit_code=1, user=into_full))
        expect("cannot write" in text, f"{command}: not said why: {text}")


@case()
def no_standard_descriptors(pod):
    """Started with standard input, output and error closed: no socket takes their place, so the kernel is not sent text."""
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        pod.init("status", user=[*ONLY_NET_ADMIN, "sh", "-c", f'exec "$@" {closed}', "sh"])
    watch = pod.spawn(pod.inside, ["sh", "-c", f"exec {pod.context.init} half-closed --watch <&- >&- 2>&-"])

    def links():
        return [os.readlink(f"/proc/{watch.pid}/fd/{number}") for number in range(4)]
    until(lambda: len(os.listdir(f"/proc/{watch.pid}/fd")) > 3, "it does not begin to watch")
    expect(links()[:3] == ["/dev/null"] * 3, f"standard descriptors: {links()}")


# check: no false alarm.

@case(each={"nearly all": "1-65500", "all but one": "1-8079,8081-65535", "all": "1-65535"})
def check_with_ports_skipped(pod, ports):
    """check finds a port for its probe where nearly all are skipped, and sends none where all are."""
    options = ("--skip-outbound-ports", ports)
    pod.init(*options)
    text = said(pod.init("check", "--without-proxy", *options))
    expect(("not sent" in text) == (ports == "1-65535"), f"the probe: {text}")


def own_address(pod):
    """The addresses that the probe goes to are the pod's own."""
    pod.inside.ip("addr add 192.0.2.1/24 dev eth0", "addr add 2001:db8::1/64 dev eth0 nodad")


def own_neighbour(pod):
    """There is no default route, and what would be a neighbour is an own address."""
    pod.inside.ip("route del default", "route del ::/0", "addr flush dev eth0", *(
        line for last in (5, 7) for line in (f"addr add 10.77.1.{last}/24 dev eth0", f"addr add fd77:1::{last}/64 dev eth0 nodad")))


def dead_route(kind):
    def route(pod):
        pod.inside.ip("route del default", "route del ::/0", f"route add {kind} default", f"route add {kind} ::/0")
    return route


@case(each={"own address": own_address, "own neighbour": own_neighbour,
            **{kind: dead_route(kind) for kind in ("blackhole", "unreachable", "prohibit")}})
def check_where_the_probe_cannot_go(pod, spoil):
    """check gives no false alarm where its probe's target is an own address or its route leads nowhere."""
    pod.init()
    spoil(pod)
    pod.init("check", "--without-proxy")


@case(weight=2)
def check_beside_installs(pod):
    """check beside an install that runs again and again reads either the table of before or of after: no false alarm."""
    options = ("--skip-inbound-ports", ",".join(str(port) for port in range(2, 9000, 3)))
    pod.init(*options)
    done, failures = threading.Event(), []

    def install():
        while not done.is_set():
            try:
                pod.init(*options)
            except Exception as error:
                failures.append(str(error))
                return
    installer = threading.Thread(target=install)
    installer.start()
    try:
        end, checks = time.monotonic() + 3, 0
        while time.monotonic() < end or checks < 5:
            pod.init("check", "--without-proxy", *options)
            checks += 1
    finally:
        done.set()
        installer.join()
    expect(not failures, f"install failed: {failures[:1]}")


# check: no false peace.

@case()
def check_compares_conntrack(pod):
    """check with conntrack timeouts that are not in force: 95, both values named; 0 when they are."""
    pod.init()
    text = said(pod.init("check", "--without-proxy", "--close-wait-timeout", "2h", exit_code=95))
    expect("conntrack close_wait 7200s" in text and "conntrack close_wait 60s" in text, f"values not named: {text}")
    pod.init("--close-wait-timeout", "2h")
    pod.init("check", "--without-proxy", "--close-wait-timeout", "2h")
    pod.init("check", "--without-proxy")
    pod.inside.sysctl(CLOSE_WAIT, 61)
    pod.init("check", "--without-proxy", "--close-wait-timeout", "2h", exit_code=95)


@case()
def check_sees_dormant_table(pod):
    """check: 95 and the word dormant when the table is switched off, also where no probe is sent; install switches it on."""
    for options in ((), ("--proxy-uid", "65534")):  # check runs as that user
        pod.init(*options)
        pod.init("check", "--without-proxy", *options)
        pod.inside.nft("add table inet lapse { flags dormant; }\n")
        expect("dormant" in said(pod.init("check", "--without-proxy", *options, exit_code=95)), "dormant is not named")
    pod.init()
    expect("dormant" not in pod.inside.run(["nft", "list", "table", "inet", "lapse"]).stdout, "the table is still switched off")
    pod.init("check", "--without-proxy")


# Connections that must survive.

ENDINGS = ("client data", "server data", "client FIN", "server FIN", "client RST", "server RST")


@case(ways=("in4", "in6", "out4", "out6"))
def older_connections_strict_conntrack(pod):
    """Row 9 with nf_conntrack_tcp_loose=0: connections older than the rules go on, and hear FIN and RST of either side."""
    pod.inside.sysctl("netfilter/nf_conntrack_tcp_loose", 0)
    pairs = [pair(pod.near, pod.far, pod.address) for _ in ENDINGS]
    pod.peers += [end for both in pairs for end in both]
    pod.init()
    for what, (client, server) in zip(ENDINGS, pairs):
        first, other = (client, server) if what.startswith("client") else (server, client)
        if what.endswith("RST"):
            first.rst()
            how = other.end(PATIENCE)[0]
            expect(how == "rst", f"{what}: the other side saw {how}")
            continue
        if what.endswith("FIN"):
            first.fin()
            other.ends("fin", PATIENCE)
        else:
            passes(first, other)
        passes(other, first, b"late")
        other.close()
        first.ends("fin", PATIENCE)


def as_router(pod):
    """The pod forwards between client and server: addresses of the server from the client's side."""
    server = pod.server
    pod.inside.sysctl("ipv4/ip_forward", 1)
    pod.inside.sysctl("ipv6/conf/all/forwarding", 1)
    pod.client.ip(f"route add 10.77.2.0/24 via {pod.inside.v4}", f"route add fd77:2::/64 via {pod.inside.v6}")
    return server


@case(ways=("in4", "in6"), each={"FIN": "fin", "RST": "rst"})
def older_forwarded_connection_ends(pod, how):
    """A forwarded connection older than the rules ends: its FIN or RST reaches the far side."""
    server = as_router(pod)
    ends = [pair(pod.client, server, server.address(pod.family)) for _ in range(2)]
    pod.peers += [end for both in ends for end in both]
    pod.init()
    (client, there), (here, other) = ends[0], ends[1][::-1]
    for first, second in ((client, there), (here, other)):  # one from each side
        getattr(first, how)()
        second.ends(how, PATIENCE)


@case(ways=("in4", "in6"))
def forwarded_one_way_only(pod):
    """Forwarded connections of which only one direction passes the pod work with the rules as without."""
    server = as_router(pod)
    link(pod.client, server, 3, name_left="eth1", name_right="eth1")
    for host in (pod.client, server):
        for name in ("all", "eth0", "eth1"):
            host.sysctl(f"ipv4/conf/{name}/rp_filter", 0)
    server.ip(f"route add {pod.client.v4}/32 via 10.77.3.1", f"route add {pod.client.v6}/128 via fd77:3::1")
    for rules in (False, True):
        if rules:
            pod.init()
        client, there = pair(pod.client, server, server.address(pod.family))
        with client, there:
            passes(client, there)
            passes(there, client)
            client.fin()
            there.ends("fin", PATIENCE)


# Beside the proxy.

@case()
def proxy_starts_while_port_is_held(pod):
    """A proxy that starts while a check listens on its outbound port for a moment waits for it and comes up."""
    pod.app()
    held = pod.inside.listener(4140, address="127.0.0.1")
    threading.Timer(0.7, held.close).start()
    pod.start()
    pod.dial().ask()


@case()
def check_while_port_is_taken_up(pod):
    """check while another program has bound the outbound port but does not listen yet: it looks again, no false alarm."""
    pod.init()
    with pod.inside.socket(4) as bound, pod.inside.socket(6) as bound6:
        bound.bind(("127.0.0.1", 4140))
        bound6.bind(("::1", 4140))
        taken_up = threading.Timer(0.5, lambda: (bound.listen(), bound6.listen()))
        taken_up.start()
        try:
            pod.init("check", "--without-proxy")
        finally:
            taken_up.join()


@case(weight=2)
def proxy_starts_beside_checks(pod):
    """Proxies started beside checks come up, and no check gives a false alarm."""
    pod.app()
    pod.init()
    done, failures = threading.Event(), []

    def check():
        while not done.is_set():
            try:
                pod.init("check", "--without-proxy")
            except Exception as error:
                failures.append(str(error))
                return
    pod.uncounted()
    checker = threading.Thread(target=check)
    checker.start()
    try:
        for _ in range(4):
            pod.start(init=None)
            with pod.dial() as peer:
                peer.ask()
            pod.stop()
    finally:
        done.set()
        checker.join()
    expect(not failures, f"a check failed: {failures[:1]}")
