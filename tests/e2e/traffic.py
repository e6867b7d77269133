"""The traffic table of DESIGN.md §4, row by row, with stubs in the place of the proxy that say where a connection arrived."""
import socket
import struct
import time

from .harness import ALL_WAYS, PROXY_UID, as_user, case, check_answer, expect, took, until

BOTH = ("in4", "in6")  # cases that choose their own direction: once per family
DIRECT, REFUSED = "direct", "refused"
SOL_IPV6, ORIGINAL_DST = 41, 80


def original(sock):
    """The original destination of a redirected connection: (address, port)."""
    if ":" not in sock.getsockname()[0] or sock.getsockname()[0].startswith("::ffff:"):
        raw = sock.getsockopt(socket.IPPROTO_IP, ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack("!H", raw[2:4])[0]
    raw = sock.getsockopt(SOL_IPV6, ORIGINAL_DST, 28)
    return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]


def redirected(direction, host, family, port):
    return f"{direction} {host if isinstance(host, str) else host.address(family)} {port}"


def stub(direction):
    """Where the proxy would listen."""
    def serve(peer):
        try:
            address, port = original(peer.sock)
        except OSError as error:
            address, port = "errno", error.errno
        peer.send(f"{direction} {address} {port}\n".encode())
        echo(peer)
    return serve


def direct(peer):
    peer.send(b"direct\n")
    echo(peer)


def echo(peer):
    while data := peer.some():
        peer.send(data)


def lay_out(pod, ports=(8080,), init=()):
    """Apps on these ports inside the pod and on the server, stubs on the proxy's ports, rules."""
    pod.app(stub("inbound"), 4143, pod.inside)
    pod.app(stub("outbound"), 4140, pod.inside)
    for port in ports:
        pod.app(direct, port, pod.inside)
        pod.app(direct, port, pod.server)
    if init is not None:
        pod.init(*init)


def path(host, address, port, **options):
    """Where a connection from host to address:port arrives."""
    try:
        with host.connect(address, port, **{"timeout": 5, **options}) as peer:
            return peer.until(b"\n").decode().strip() or "closed"
    except ConnectionRefusedError:
        return REFUSED


def same(got, wanted):
    expect(got == wanted, f"the connection arrived at {got!r}, expected {wanted!r}")


@case(ways=BOTH)
def inbound_app_port(pod):
    """Row 1: a remote host's connection to an app port arrives at the inbound port with its original destination."""
    lay_out(pod)
    same(path(pod.client, pod.address, 8080), redirected("inbound", pod.inside, pod.family, 8080))


# Listeners as an application may have them: on the pod's address, on all of one family, on all of both, on loopback alone.
def on_address(pod):
    return pod.address


def on_all(pod):
    return "0.0.0.0" if pod.family == 4 else "::"


LISTENERS = {"bound": (on_address, False, True), "all of its family": (on_all, True, True), "dual stack": (lambda pod: "::", False, True),
             "the other family": (lambda pod: "::" if pod.family == 4 else "0.0.0.0", True, False),
             "loopback": (lambda pod: "127.0.0.1" if pod.family == 4 else "::1", False, False)}


def listen(pod, address, only, port):
    sock = pod.inside.socket(6 if ":" in address else 4, socket.SOCK_STREAM)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only))
    sock.bind((address, port))
    sock.listen()
    return sock


def dead_port_count(pod):
    """How many SYNs met no listener, as status says it."""
    for line in pod.init("status").stdout.splitlines():
        if "nobody listens there" in line:
            return int(line.split()[0])
    return None


@case(ways=BOTH, each=LISTENERS)
def inbound_where_somebody_listens(pod, listener):
    """Rows 1 and 1a: redirected where a socket listens for it, on its address or on all; else refused at once and counted."""
    address, only, reached = listener
    lay_out(pod, ports=())
    with listen(pod, address(pod), only, 8080):
        with took(0, late=0.9):
            same(path(pod.client, pod.address, 8080), redirected("inbound", pod.inside, pod.family, 8080) if reached else REFUSED)
    expect(dead_port_count(pod) == (0 if reached else 1), f"status counts {dead_port_count(pod)}")


@case(ways=BOTH)
def inbound_listener_that_comes_and_goes(pod):
    """Row 1a: nobody listens, then somebody does, then nobody again; nothing is installed anew between."""
    lay_out(pod, ports=())
    for turn in range(2):
        same(path(pod.client, pod.address, 8080), REFUSED)
        with listen(pod, on_all(pod), True, 8080):
            same(path(pod.client, pod.address, 8080), redirected("inbound", pod.inside, pod.family, 8080))
    same(path(pod.client, pod.address, 8080), REFUSED)
    expect(dead_port_count(pod) == 3, f"status counts {dead_port_count(pod)}")
    pod.init("check", "--without-proxy")


@case(ways=BOTH)
def inbound_dead_port_redirected(pod):
    """Row 1a: --redirect-dead-ports redirects all the same; check knows which of the two was installed."""
    lay_out(pod, init=("--redirect-dead-ports",))
    same(path(pod.client, pod.address, 9), redirected("inbound", pod.inside, pod.family, 9))
    expect(dead_port_count(pod) is None, "there is a rule for dead ports")
    pod.init("check", "--without-proxy", "--redirect-dead-ports")
    expect("nobody listens there" in pod.init("check", "--without-proxy", exit_code=95).stdout, "check does not show the missing rule")


@case()
def inbound_dead_port_through_the_proxy(pod):
    """Row 1a with the real proxy: a probe that only connects fails while the app is away, and no record is made; 502 if one asks."""
    pod.start()
    same(path(pod.client, pod.address, 8080), REFUSED)
    app = pod.app()
    pod.dial().ask()
    app.stop()
    same(path(pod.client, pod.address, 8080), REFUSED)
    pod.init("--redirect-dead-ports")
    check_answer(pod.dial().ask(status=502), 502, "connect_refused")


@case(ways=BOTH)
def inbound_skipped_and_admin_ports(pod):
    """Row 2: skipped ports, a skipped range and the admin port stay untouched."""
    lay_out(pod, ports=(79, 80, 81, 5999, 6000, 7070, 8000, 8001, 4191), init=("--skip-inbound-ports", "80,6000-8000"))
    for port in (80, 6000, 7070, 8000, 4191):
        same(path(pod.client, pod.address, port), DIRECT)
    for port in (79, 81, 5999, 8001):
        same(path(pod.client, pod.address, port), redirected("inbound", pod.inside, pod.family, port))


@case(ways=BOTH)
def inbound_listed_ports_only(pod):
    """Row 1 with --inbound-ports: listed ports are redirected, others reach the pod as they are."""
    lay_out(pod, ports=(8080, 9000, 9090, 9091), init=("--inbound-ports", "8080,9000-9090"))
    for port in (8080, 9000, 9090):
        same(path(pod.client, pod.address, port), redirected("inbound", pod.inside, pod.family, port))
    same(path(pod.client, pod.address, 9091), DIRECT)
    same(path(pod.client, pod.address, 9092), REFUSED)


@case(ways=BOTH)
def inbound_proxy_ports_directly(pod):
    """Row 3: a direct connection to the proxy's own ports arrives there and shows the port itself as its destination."""
    lay_out(pod)
    for direction, port in (("inbound", 4143), ("outbound", 4140)):
        same(path(pod.client, pod.address, port), redirected(direction, pod.inside, pod.family, port))


@case(ways=BOTH)
def outbound_other_hosts(pod):
    """Row 4: the app's connections to other hosts arrive at the outbound port, link-local metadata addresses too."""
    lay_out(pod)
    server = pod.server
    same(path(pod.inside, server.address(pod.family), 8080), redirected("outbound", server, pod.family, 8080))
    same(path(pod.inside, server.address(pod.family), 1), redirected("outbound", server, pod.family, 1))
    metadata = "169.254.169.254" if pod.family == 4 else "fd00:ec2::254"
    same(path(pod.inside, metadata, 80), redirected("outbound", metadata, pod.family, 80))


@case(ways=BOTH)
def outbound_to_itself(pod):
    """Row 5: the app's connections to its own address, 127.0.0.0/8 and ::1 are direct."""
    lay_out(pod)
    loopback = ("127.0.0.1", "127.1.2.3") if pod.family == 4 else ("::1",)
    for address in (pod.address, *loopback):
        same(path(pod.inside, address, 8080), DIRECT)
        same(path(pod.inside, address, 9), REFUSED)


@case(ways=BOTH)
def outbound_proxy_user(pod):
    """Row 6: the proxy's user is not redirected, anywhere; others are."""
    lay_out(pod)
    server = pod.server.address(pod.family)
    with as_user(PROXY_UID, 0):
        same(path(pod.inside, server, 8080), DIRECT)
        same(path(pod.inside, server, 9), REFUSED)
    with as_user(PROXY_UID + 1, PROXY_UID):
        same(path(pod.inside, server, 8080), redirected("outbound", pod.server, pod.family, 8080))


@case(ways=BOTH)
def outbound_proxy_group(pod):
    """Row 6: with --proxy-gid the group is not redirected."""
    lay_out(pod, init=("--proxy-gid", "2102"))
    with as_user(1000, 2102):
        same(path(pod.inside, pod.server.address(pod.family), 8080), DIRECT)
    with as_user(1000, 1000):
        same(path(pod.inside, pod.server.address(pod.family), 8080), redirected("outbound", pod.server, pod.family, 8080))


@case(ways=BOTH)
def outbound_other_proxy_user(pod):
    """Row 6: --proxy-uid names another user; uid 0 is honoured or refused, not ignored."""
    lay_out(pod, init=("--proxy-uid", "1337"))
    server = pod.server.address(pod.family)
    with as_user(1337):
        same(path(pod.inside, server, 8080), DIRECT)
    with as_user(PROXY_UID):
        same(path(pod.inside, server, 8080), redirected("outbound", pod.server, pod.family, 8080))
    done = pod.inside.run([pod.context.init, "--proxy-uid", "0"], check=False)
    expect(done.returncode in (0, 64), f"--proxy-uid 0: exit {done.returncode}")
    if done.returncode == 0:
        with as_user(0):
            same(path(pod.inside, server, 8080), DIRECT)


@case(ways=BOTH)
def skipped_outbound_ports(pod):
    """Row 7: skipped destination ports and ranges are untouched."""
    lay_out(pod, ports=(25, 3306, 8080), init=("--skip-outbound-ports", "25,3300-3310"))
    server = pod.server.address(pod.family)
    for port in (25, 3306):
        same(path(pod.inside, server, port), DIRECT)
    for port in (24, 26, 3299, 3311, 8080):
        same(path(pod.inside, server, port), redirected("outbound", pod.server, pod.family, port))


@case(ways=BOTH)
def skipped_subnets(pod):
    """Row 7: a skipped subnet is untouched in both directions, other addresses are not."""
    subnet = {4: "10.77.2.0/24", 6: "fd77:2::/64"}[pod.family]
    lay_out(pod, init=("--skip-subnets", subnet))
    server = pod.server.address(pod.family)
    same(path(pod.inside, server, 8080), DIRECT)
    same(path(pod.server, {4: "10.77.2.2", 6: "fd77:2::2"}[pod.family], 8080), DIRECT)
    same(path(pod.client, pod.address, 8080), redirected("inbound", pod.inside, pod.family, 8080))
    same(path(pod.inside, pod.client.address(pod.family), 80), redirected("outbound", pod.client, pod.family, 80))


@case(ways=BOTH)
def skipped_interfaces(pod):
    """Row 7: a skipped interface is untouched in both directions, others are not."""
    lay_out(pod, init=("--skip-interfaces", "eth1"))
    same(path(pod.inside, pod.server.address(pod.family), 8080), DIRECT)
    same(path(pod.server, {4: "10.77.2.2", 6: "fd77:2::2"}[pod.family], 8080), DIRECT)
    same(path(pod.client, pod.address, 8080), redirected("inbound", pod.inside, pod.family, 8080))
    same(path(pod.inside, pod.client.address(pod.family), 80), redirected("outbound", pod.client, pod.family, 80))


def ping(sender, receiver, family):
    """One ICMP echo there and back."""
    kind, reply, protocol = (8, 0, socket.IPPROTO_ICMP) if family == 4 else (128, 129, socket.IPPROTO_ICMPV6)
    with sender.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(3)
        packet = struct.pack("!BBHHH", kind, 0, 0, 77, 1)
        raw.sendto(packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:], (receiver.address(family), 0))
        for _ in range(20):
            answer = raw.recv(1000)
            if answer[20 if family == 4 else 0] == reply:
                return
    raise AssertionError("no ICMP echo reply")


@case(ways=BOTH)
def udp_and_icmp(pod):
    """Row 8: UDP and ICMP go where they are sent, in and out."""
    lay_out(pod)
    for sender, receiver in ((pod.client, pod.inside), (pod.inside, pod.server)):
        with receiver.socket(pod.family, socket.SOCK_DGRAM) as there, sender.socket(pod.family, socket.SOCK_DGRAM) as here:
            there.bind(("0.0.0.0" if pod.family == 4 else "::", 8080))
            there.settimeout(3)
            here.settimeout(3)
            here.sendto(b"question", (receiver.address(pod.family), 8080))
            data, source = there.recvfrom(100)
            there.sendto(b"answer", source)
            expect(data == b"question" and here.recv(100) == b"answer", "UDP did not arrive")
        ping(sender, receiver, pod.family)


@case(ways=ALL_WAYS)
def older_connections(pod):
    """Row 9: a connection older than the rules survives them, both ways; the next one is redirected."""
    lay_out(pod, init=None)
    with pod.near.connect(pod.address, 8080) as peer:
        same(peer.until(b"\n").decode().strip(), DIRECT)
        pod.init()
        for word in (b"one", b"two", b"three"):
            peer.send(word)
            expect(peer.exactly(len(word)) == word, "the old connection does not answer any more")
            time.sleep(0.05)
    direction = "inbound" if pod.inbound else "outbound"
    same(path(pod.near, pod.address, 8080), redirected(direction, pod.far, pod.family, 8080))


# A TCP segment far outside the window of a live connection: conntrack calls it invalid.

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def stray_segment(family, source, source_port, target, target_port, sequence):
    pack = socket.AF_INET if family == 4 else socket.AF_INET6
    header = struct.pack("!HHIIBBHHH", source_port, target_port, sequence, sequence, 5 << 4, 0x18, 512, 0, 0) + b"stray bytes!"
    pseudo = (socket.inet_pton(pack, source) + socket.inet_pton(pack, target)
              + (struct.pack("!BBH", 0, 6, len(header)) if family == 4 else struct.pack("!II", len(header), 6)))
    return header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]


def invalid_drops(pod):
    """What the drop rule has counted, None when there is no such rule."""
    listing = pod.inside.run(["nft", "list", "table", "inet", "lapse"]).stdout
    for line in listing.splitlines():
        if "counter" in line and " drop " in line:
            return int(line.split("packets ")[1].split()[0])
    return None


def send_strays(pod, peer):
    """Four of them, a quarter of the sequence space apart: some are outside every window."""
    with pod.client.socket(pod.family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        for quarter in range(4):
            segment = stray_segment(pod.family, *peer.local, pod.address, 8080, 0x0bad0000 + (quarter << 30))
            raw.sendto(segment, (pod.address, 0))


@case(ways=BOTH)
def invalid_segments(pod):
    """Row 10: a segment that conntrack calls invalid is dropped and counted; the live connection goes on."""
    lay_out(pod)
    with pod.client.connect(pod.address, 8080) as peer:
        peer.until(b"\n")
        send_strays(pod, peer)
        until(lambda: invalid_drops(pod), "no invalid segment was counted")
        peer.send(b"still here")
        expect(peer.exactly(10) == b"still here", "the connection does not answer any more")


@case()
def invalid_segments_kept(pod):
    """Row 10: --keep-invalid and nf_conntrack_tcp_be_liberal=1 leave out the rule that drops."""
    pod.init()
    expect(invalid_drops(pod) is not None, "no rule drops invalid segments")
    pod.init("--keep-invalid")
    expect(invalid_drops(pod) is None, "--keep-invalid still drops")
    pod.inside.sysctl("netfilter/nf_conntrack_tcp_be_liberal", 1)
    pod.init()
    expect(invalid_drops(pod) is None, "tcp_be_liberal=1 still drops")


@case(ways=BOTH, each={"auto": "auto", "ipv4": "ipv4", "ipv6": "ipv6", "both": "both"})
def families(pod, families):
    """Row 11: --ip-families chooses which families are redirected."""
    lay_out(pod, init=("--ip-families", families))
    on = families in ("auto", "both") or families == f"ipv{pod.family}"
    same(path(pod.client, pod.address, 8080), redirected("inbound", pod.inside, pod.family, 8080) if on else DIRECT)
    server = pod.server.address(pod.family)
    same(path(pod.inside, server, 8080), redirected("outbound", pod.server, pod.family, 8080) if on else DIRECT)


@case()
def namespace_without_ipv6(pod):
    """Row 11: where IPv6 is off, auto installs what works for IPv4 and says nothing wrong."""
    pod.inside.sysctl("ipv6/conf/all/disable_ipv6", 1)
    pod.app(stub("inbound"), 4143, pod.inside)
    pod.app(direct, 8080, pod.inside)
    pod.init()
    same(path(pod.client, pod.address, 8080), redirected("inbound", pod.inside, 4, 8080))


@case()
def through_the_proxy(pod):
    """The table's main rows with the real proxy: the app sees the pod's own address, the client sees the app's."""
    app = pod.app()
    pod.start()
    pod.dial().ask()
    expect(app.peer().remote[0].removeprefix("::ffff:") == pod.inside.v4, "the app was not reached through the proxy")
    outside = pod.app(host=pod.server, port=8081)
    with pod.dial(8081, pod.server.v4, pod.inside) as peer:
        peer.ask()
        expect(outside.peer().remote != ("::ffff:" + peer.local[0], peer.local[1]), "the server was reached directly")
    pod.record(direction="outbound", reason="client_closed_idle", server=f"{pod.server.v4}:8081")
