"""Network namespaces: made per case, entered per thread, so that a socket inside one costs two system calls."""
import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import threading

from .peer import PATIENCE, Peer

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
_thread = threading.local()
_home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def table(name, *chains):
    """An nft table of base chains, each (type, hook, priority, rule…)."""
    lines = [f"table inet {name} {{"]
    for number, (kind, hook, priority, *rules) in enumerate(chains):
        lines += [f"chain c{number} {{", f"type {kind} hook {hook} priority {priority};", *rules, "}"]
    return "\n".join(lines + ["}", ""])


# The host neither hears nor says anything more.
DROP = table("cut", ("filter", "input", -500, "drop"), ("filter", "output", -500, "drop"))


def black_hole(port=9):
    """The host swallows every packet to this port."""
    return table("hole", ("filter", "input", 0, f"tcp dport {port} drop"))


def run(command, stdin=None, check=True, timeout=20, env=None):
    """Runs a command in the current namespace; its completed process, with text output."""
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=timeout, env=env)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def _setns(fd):
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def as_user(uid, gid=None):
    """Sockets made inside by this thread belong to uid (and gid), as nft's skuid and skgid see it."""
    libc.setfsgid(uid if gid is None else gid)
    libc.setfsuid(uid)
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)


class Host:
    """A network namespace with its addresses: what is a host to the others."""

    def __init__(self, name):
        self.name = name
        self.v4 = self.v6 = None
        self.path = f"/run/netns/{name}"
        run(["ip", "netns", "add", name])
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self.fd).st_ino
        self.ip("link set lo up")

    def address(self, family):
        return self.v4 if family == 4 else self.v6

    @contextlib.contextmanager
    def entered(self):
        outer = getattr(_thread, "netns", _home)
        _setns(self.fd)
        _thread.netns = self.fd
        try:
            yield
        finally:
            _setns(outer)
            _thread.netns = outer

    def ip(self, *lines):
        """Each line as one `ip` command."""
        run(["ip", "-n", self.name, "-batch", "-"], "\n".join(lines) + "\n")

    def run(self, command, **options):
        with self.entered():
            return run(command, **options)

    def popen(self, command, **options):
        with self.entered():
            return subprocess.Popen(command, **options)

    def socket(self, family, kind=socket.SOCK_STREAM, protocol=0):
        with self.entered():
            return socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind, protocol)

    def connect(self, address, port, source_port=None, source=None, timeout=PATIENCE):
        """A connection from this host; OSError when it cannot be made."""
        sock = self.socket(6 if ":" in address else 4)
        try:
            if source_port or source:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((source or ("::" if ":" in address else "0.0.0.0"), source_port or 0))
            sock.settimeout(timeout)
            sock.connect((address, port))
            return Peer(sock)
        except OSError as error:
            sock.close()
            if error.errno == errno.ENOTCONN:  # reset before we could look
                raise ConnectionResetError from error
            raise

    def listener(self, port, backlog=1024, address=None):
        """Listens on every address of both families, or on the one given."""
        with self.entered():
            family = socket.AF_INET if address and ":" not in address else socket.AF_INET6
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address else 0)
            sock.bind((address or "::", port))
            sock.listen(backlog)
            return sock

    def sysctl(self, key, value=None):
        """Reads, or writes and returns, net.KEY of this namespace."""
        with self.entered():
            path = "/proc/sys/net/" + key
            if value is not None:
                with open(path, "w") as file:
                    file.write(str(value))
            with open(path) as file:
                return file.read().strip()

    def nft(self, rules):
        return self.run(["nft", "-f", "-"], stdin=rules)

    @contextlib.contextmanager
    def ruled(self, rules):
        """The nft table in `rules` for as long as the block lasts."""
        self.nft(rules)
        try:
            yield
        finally:
            words = rules.split()
            self.run(["nft", "delete", "table", words[1], words[2]], check=False)

    def cut(self):
        """As a cable that is pulled: no packet in or out."""
        return self.ruled(DROP)

    def pids(self):
        """Processes whose network namespace this is."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{entry}/ns/net").st_ino == self.inode:
                        found.append(int(entry))
        return found

    def delete(self):
        os.close(self.fd)
        run(["ip", "netns", "delete", self.name])


def link(left, right, number, name_left="eth0", name_right="eth0"):
    """A veth pair between two hosts: 10.77.N.1 and .2, fd77:N::1 and ::2. Sets the addresses of hosts that have none.

    Neighbours are permanent: neither ARP nor neighbour discovery costs a test its first second."""
    macs = [f"02:00:00:00:{number:02x}:{last:02x}" for last in (1, 2)]
    run(["ip", "link", "add", name_left, "address", macs[0], "netns", left.name, "type", "veth",
         "peer", "name", name_right, "address", macs[1], "netns", right.name])
    for host, name, own, other in ((left, name_left, 1, 2), (right, name_right, 2, 1)):
        v4, v6 = f"10.77.{number}.{own}", f"fd77:{number}::{own}"
        host.ip(f"link set {name} addrgenmode none up", f"addr add {v4}/24 dev {name}", f"addr add {v6}/64 dev {name} nodad",
                *(f"neigh replace {address} lladdr {macs[other - 1]} dev {name} nud permanent"
                  for address in (f"10.77.{number}.{other}", f"fd77:{number}::{other}")))
        host.v4, host.v6 = host.v4 or v4, host.v6 or v6
