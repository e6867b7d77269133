"""What the e2e cases use: `from .harness import case, ok, took, …`. One idea a file:

net.py     network namespaces, veth pairs, nft, processes inside
distance.py  a way between two hosts that takes its time
peer.py    one end of a TCP connection, with an HTTP/1 reader
frames.py  HTTP/2 as bytes: frames and header blocks, made and read
http2.py   one end of an HTTP/2 connection, client or server
app.py     listeners and what they do with a connection
record.py  what must hold of every record and of the proxy's own answers
whole.py   every field of a record compared, in either format
pod.py     the Pod a case gets: lapse-init, lapse-proxy, its records, what must be clean afterwards
case.py    the decorator that makes a function a case
documents.py  Kubernetes documents: made, written as a cluster writes them; what `explain` says of them
"""
from . import frames
from .app import BINARY, BODIES, after, echo, http, ok, script, silent, stalls_after, until_reset, upgraded
from .case import ALL_WAYS, Failure, case, expect, punctual, took, until
from .documents import (Directory, PodInfo, backend, configured, document, example, explain, on_gateway, readings, route, rule,
                        service, text_of)
from .http2 import GRPC, Http2, check_fields, check_own, check_trailers, pair, parked, serving, together
from .net import as_user, black_hole, run, table
from .peer import Message, Peer, request
from .pod import AS_PROXY, DEAD_PORTS_TOO, NO_CAPABILITY, ONLY_NET_ADMIN, PROXY_UID, Pod
from .record import CLOSED, FAILED, REASONS, REQUEST, check_answer
from .whole import ANY, Between, expect_whole, read_text, seconds, socket_of, sockets
