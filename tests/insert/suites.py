"""Which suites there are, and how many of the tests that pass direct may fail inserted: a count, or a share."""
from curl import Curl
from go import Go
from haproxy import HAProxy
from http2 import GrpcGo, H2spec
from nginx import Nginx
from python import Python

SUITES = {
    "go": [Go("net/http", 2), Go("net/http/httputil", 0), Go("net/rpc", 0), Go("net/smtp", 0), Go("net", 0.01)],
    "curl": [Curl("curl", 0.01)],
    "python": [Python("python", 0.01)],
    "haproxy": [HAProxy("haproxy", 0.03)],
    "h2spec": [H2spec("h2spec", 0)],
    "grpc": [GrpcGo("grpc-go", 0)],
    "nginx": [Nginx("nginx", 0.03)],
}
ON_DEMAND = ("nginx",)
