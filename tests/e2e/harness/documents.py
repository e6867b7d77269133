"""Kubernetes documents for the proxy: made as values, written as files that it may read, in each way a cluster writes them."""
import contextlib
import json
import os
import shutil

from .case import expect

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../docs/examples")
VERSIONS = {"Service": "v1", "Ingress": "networking.k8s.io/v1", "ServiceProfile": "linkerd.io/v1alpha2",
            **dict.fromkeys(("HTTPRoute", "GRPCRoute"), "gateway.networking.k8s.io/v1"),
            **dict.fromkeys(("TCPRoute", "TLSRoute"), "gateway.networking.k8s.io/v1alpha2"),
            **dict.fromkeys(("Config", "Tenant", "Route", "LoadBalancer"), "kubelb.k8c.io/v1alpha1")}


def document(kind, name, spec=None, namespace="default", annotations=None):
    """An object of that kind; namespace None: cluster-wide."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}),
                **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": VERSIONS[kind], "kind": kind, "metadata": metadata, "spec": spec or {}}


def service(name, *addresses, port=8080, selector=None, namespace="default", annotations=None, **more):
    """A Service; port: a number, or the list of its ports as the document has them. No address: no clusterIP is given."""
    spec = {"ports": port if isinstance(port, list) else [{"port": port}]}
    if addresses:
        spec.update(clusterIP=addresses[0], clusterIPs=list(addresses))
    if selector:
        spec["selector"] = selector
    return document("Service", name, {**spec, **more}, namespace, annotations)


def backend(name, port=8080, **more):
    return {"name": name, "port": port, **more}


def route(name, *rules, kind="HTTPRoute", parent=None, namespace="default", annotations=None, hostnames=None):
    """A route whose parent is the Service of its name or of the name `parent`, or that parentRef."""
    parent = parent or name
    if isinstance(parent, str):
        parent = {"group": "", "kind": "Service", "name": parent}
    spec = {"parentRefs": [parent]}
    if hostnames:
        spec["hostnames"] = hostnames
    if rules:
        spec["rules"] = list(rules)
    return document(kind, name, spec, namespace, annotations)


def on_gateway(name, *backends, kind="HTTPRoute", **options):
    """A route of a Gateway with these backends, which may be mere names."""
    backends = [backend(each) if isinstance(each, str) else each for each in backends]
    return route(name, {"backendRefs": backends}, kind=kind, parent={"name": "gateway"}, **options)


def rule(path=None, timeouts=None, backends=None, **more):
    """A rule of an HTTPRoute: path is a PathPrefix."""
    made = {}
    if path:
        made["matches"] = [{"path": {"type": "PathPrefix", "value": path}}]
    if timeouts:
        made["timeouts"] = timeouts
    if backends:
        made["backendRefs"] = backends
    return {**made, **more}


def pairs(**named):
    """Header fields as filters have them; "_" stands for "-"."""
    return [{"name": name.replace("_", "-"), "value": value} for name, value in named.items()]


def edit(side, **actions):
    """A filter, RequestHeaderModifier or ResponseHeaderModifier: edit("Request", set=pairs(X_A="1"), remove=["X-B"])."""
    return {"type": f"{side}HeaderModifier", f"{side.lower()}HeaderModifier": actions}


def redirect(**fields):
    return {"type": "RequestRedirect", "requestRedirect": fields}


def rewrite(**fields):
    return {"type": "URLRewrite", "urlRewrite": fields}


def prefix(value):
    return {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}


def full(value):
    return {"type": "ReplaceFullPath", "replaceFullPath": value}


def profile(service_name, *routes, namespace="default", **more):
    """A ServiceProfile of a Service of the same namespace."""
    return document("ServiceProfile", f"{service_name}.{namespace}.svc.cluster.local", {"routes": list(routes), **more}, namespace)


def text_of(*documents):
    """One file of these: values as JSON, which is YAML; text as it is."""
    return "\n---\n".join(each if isinstance(each, str) else json.dumps(each, indent=1) for each in documents) + "\n"


def example(name, changes):
    """A document of docs/examples with these texts replaced, each of which must be there."""
    with open(f"{EXAMPLES}/{name}.yaml") as file:
        text = file.read()
    for old, new in changes.items():
        expect(old in text, f"docs/examples/{name}.yaml has no {old!r}")
        text = text.replace(old, new)
    return text


class Directory:
    """A directory of files that lapse-proxy's user may read."""

    def __init__(self, pod, name="config"):
        self.path = f"{pod.scratch}/{name}"
        os.mkdir(self.path)
        os.chmod(self.path, 0o755)

    def file(self, name):
        return f"{self.path}/{name}"

    def write(self, name, *documents):
        """In place: the file is truncated, then filled."""
        with open(self.file(name), "w") as file:
            file.write(text_of(*documents))

    def replace(self, name, *documents):
        """In one step, as an editor does that writes beside it and renames."""
        with open(self.file("." + name), "w") as file:
            file.write(text_of(*documents))
        os.rename(self.file("." + name), self.file(name))

    def remove(self, name):
        os.unlink(self.file(name))

    def swap(self, **files):
        """As the kubelet does with a ConfigMap: a new directory, ..data renamed to lead there, the old one removed.

        files: documents of NAME.yaml; those that were there before and are not named go."""
        self._swap({f"{name}.yaml": text_of(*documents) for name, documents in files.items()})

    def _swap(self, texts):
        data = self.file("..data")
        before = os.readlink(data) if os.path.islink(data) else None
        fresh = f"..{int(before[2:]) + 1 if before else 1}"
        os.mkdir(self.file(fresh), 0o755)
        for name, text in texts.items():
            with open(self.file(f"{fresh}/{name}"), "w") as file:
                file.write(text)
        os.symlink(fresh, data + "_tmp")
        os.rename(data + "_tmp", data)
        for name in texts:
            with contextlib.suppress(FileExistsError):
                os.symlink(f"..data/{name}", self.file(name))
        for name in os.listdir(self.path):
            if not name.startswith(".") and not os.path.exists(self.file(name)):
                os.unlink(self.file(name))
        if before:
            shutil.rmtree(self.file(before))


def configured(pod, *documents, name="config"):
    """A Directory with these documents in one file."""
    directory = Directory(pod, name)
    directory.write("all.yaml", *documents)
    return directory


class PodInfo(Directory):
    """The downward API's files, annotations and labels of the pod, changed as the kubelet changes them."""

    def __init__(self, pod, labels=None, annotations=None):
        super().__init__(pod, "pod-info")
        self.pairs = {"labels": labels or {}, "annotations": annotations or {}}
        self._changed()

    def label(self, labels):
        self.pairs["labels"] = labels
        self._changed()

    def annotate(self, annotations):
        self.pairs["annotations"] = annotations
        self._changed()

    def _changed(self):
        self._swap({name: "\n".join(f"{key}={json.dumps(value)}" for key, value in pairs.items())
                    for name, pairs in self.pairs.items()})


def readings(pod):
    """How often the running proxy has taken up its documents."""
    return sum(line.get("msg", "").startswith("configuration read in ") for line in pod.proxy.lines)


def explain(pod, *arguments, to, request=None, environment=None):
    """What `lapse-proxy explain --json` says, of the same binary, as a value; request: 'GET http://host/path'."""
    command = [pod.context.proxy, "explain", "--json", "--to", to, *arguments, *([request] if request else [])]
    return json.loads(pod.inside.run(command, env=pod.context.environment(environment)).stdout)
