"""What the cases on a real Kubernetes use: from harness import case, expect, until, …

cluster.py  a cluster of up.sh, and the Space (a namespace) that a case gets
pods.py     pods with and without Lapse
case.py     the decorator that makes a function a case"""
from e2e.harness.case import Failure, expect

from .case import case
from .cluster import BUILT, ROOT, Cluster, Space, records, until
from .pods import ADMIN, KINDS, PROXY, deployment, init_of, pod, proxy_of, with_lapse
