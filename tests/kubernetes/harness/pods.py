"""Pods with and without Lapse."""
import copy

APP, LAPSE = "localhost/testapp:1", "localhost/lapse:1"
ADMIN, PROXY = 4191, 2102
# With Lapse: a native sidecar, or an ordinary container behind lapse-init as the last init container.
KINDS = ("native", "ordinary")

RESTRICTED = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
              "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}


def pod(name, lapse=None, args=("serve", ":8080"), annotations=None, labels=None, grace=30, init_args=(), proxy_args=(), spec=None, **app):
    """A pod of the test application; lapse: one of KINDS; app: more fields of its container; spec: more fields of the pod's."""
    container = {"name": "app", "image": APP, "args": list(args) if args else None, "ports": [{"containerPort": 8080}],
                 "readinessProbe": {"httpGet": {"path": "/probe", "port": 8080}, "periodSeconds": 1}, **app}
    made = {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name, **(labels or {})}, "annotations": annotations or {}},
            "spec": {"terminationGracePeriodSeconds": grace, "containers": [container], **(spec or {})}}
    return with_lapse(made, lapse, init_args, proxy_args) if lapse else made


def with_lapse(made, kind="native", init_args=(), proxy_args=()):
    """The same pod with the two containers in it."""
    made = copy.deepcopy(made)
    spec = made["spec"]
    init = {"name": "lapse-init", "image": LAPSE, "command": ["/usr/bin/lapse-init"], "args": ["--close-wait-timeout=1h", *init_args],
            "securityContext": {**RESTRICTED, "runAsUser": 65534, "runAsGroup": 65534,
                                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}}
    drain = max(1, spec.get("terminationGracePeriodSeconds", 30) - 2)
    proxy = {"name": "lapse-proxy", "image": LAPSE, "command": ["/usr/bin/lapse-proxy"],
             "args": [f"--admin=0.0.0.0:{ADMIN}", "--pod-info=/etc/podinfo", "--log-format=json", f"--drain-timeout={drain}s", *proxy_args],
             "ports": [{"name": "lapse-admin", "containerPort": ADMIN}],
             "securityContext": {**RESTRICTED, "runAsUser": PROXY, "runAsGroup": PROXY},
             "volumeMounts": [{"name": "lapse-podinfo", "mountPath": "/etc/podinfo", "readOnly": True}]}
    # The kubelet starts the next container when this has returned; it looks at a startup probe once a second.
    proxy["lifecycle"] = {"postStart": {"exec": {"command": ["/usr/bin/lapse-proxy", "ready"]}}}
    fields = [{"path": path, "fieldRef": {"fieldPath": f"metadata.{path}"}} for path in ("annotations", "labels")]
    spec.setdefault("volumes", []).append({"name": "lapse-podinfo", "downwardAPI": {"items": fields}})
    others = spec.get("initContainers", [])
    if kind == "native":  # ends after the application: there is nobody to wait for
        proxy["args"].append("--drain-least=0s")
        spec["initContainers"] = [init, {**proxy, "restartPolicy": "Always"}, *others]
    else:
        spec["initContainers"] = [*others, init]
        spec["containers"] = [proxy, *spec["containers"]]
    return made


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
