"""A way between two hosts that takes its time: a TUN device in each, and a thread that holds every packet back."""
import collections
import fcntl
import os
import select
import struct
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
PACKET_MOST = 65536


def _tun(host, name, own, other):
    """A TUN device of this host, up, with the way to the other end."""
    with host.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    host.ip(f"link set {name} addrgenmode none up", f"addr add {own} peer {other} dev {name}")
    return fd


class Distance:
    """10.78.N.1 at the left host, .2 at the right one, `seconds` away from each other in each direction."""

    def __init__(self, left, right, number, seconds):
        self.left, self.right, self.seconds = f"10.78.{number}.1", f"10.78.{number}.2", seconds
        name = f"tun{number}"
        self.fds = [_tun(left, name, self.left, self.right), _tun(right, name, self.right, self.left)]
        self.ended = False
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    def _carry(self):
        under_way = collections.deque()  # (when it arrives, where, packet), in this order, for all travel equally long
        while not self.ended:
            wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else 0.2
            for fd in select.select(self.fds, [], [], wait)[0]:
                packet = os.read(fd, PACKET_MOST)
                under_way.append((time.monotonic() + self.seconds, self.fds[fd == self.fds[0]], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, fd, packet = under_way.popleft()
                os.write(fd, packet)
        for fd in self.fds:
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()
