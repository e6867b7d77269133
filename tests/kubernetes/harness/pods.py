"""Pods with and without Lapse."""
import copy
import json
import subprocess

import yaml

from e2e.harness.case import Failure

from .cluster import BUILT

APP, LAPSE = "localhost/testapp:1", "localhost/lapse:1"
ADMIN, PROXY = 4191, 2102
# With Lapse: a native sidecar, or an ordinary container behind lapse-init as the last init container.
KINDS = ("native", "ordinary")


def pod(name, lapse=None, args=("serve", ":8080"), annotations=None, labels=None, grace=30, init_args=(), proxy_args=(), spec=None, **app):
    """A pod of the test application; lapse: one of KINDS; app: more fields of its container; spec: more fields of the pod's."""
    container = {"name": "app", "image": APP, "args": list(args) if args else None, "ports": [{"containerPort": 8080}],
                 "readinessProbe": {"httpGet": {"path": "/probe", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5}, **app}
    made = {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name, **(labels or {})}, "annotations": annotations or {}},
            "spec": {"terminationGracePeriodSeconds": grace, "containers": [container], **(spec or {})}}
    return with_lapse(made, lapse, init_args, proxy_args) if lapse else made


def with_lapse(made, kind="native", init_args=(), proxy_args=()):
    """The same pod with the two containers in it, as lapse-proxy inject puts them there; and further arguments of each."""
    command = [BUILT, "inject", f"--image={LAPSE}", "--close-wait-timeout=1h",
               *(["--ordinary"] if kind == "ordinary" else []), "-"]
    done = subprocess.run(command, input=json.dumps(made), capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failure(done.stderr)
    made = yaml.safe_load(done.stdout)
    init_of(made)["args"] += init_args
    proxy_of(made)["args"] += ["--log-format=json", *proxy_args]
    return made


def init_of(made):
    return next(each for each in made["spec"]["initContainers"] if each["name"] == "lapse-init")


def proxy_of(made):
    return next(each for each in made["spec"]["containers"] + made["spec"]["initContainers"] if each["name"] == "lapse-proxy")


def deployment(name, template, replicas=2):
    """A Deployment of such pods and the Service in front of it."""
    template = copy.deepcopy(template)
    template.pop("apiVersion"), template.pop("kind"), template["metadata"].pop("name")
    selector = {"app": name}
    template["metadata"]["labels"].update(selector)
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
           "spec": {"replicas": replicas, "selector": {"matchLabels": selector}, "template": template,
                    "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
           "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}
