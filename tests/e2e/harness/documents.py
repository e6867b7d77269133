"""Kubernetes documents for the proxy: made as values, written as files that it may read, in each way a cluster writes them."""
import json
import os

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
    """A route whose parent is the Service of its name or of the name `parent`, or that parentRef; rules None: as the kind has it."""
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


def configured(pod, *documents, name="config"):
    """A Directory with these documents in one file."""
    directory = Directory(pod, name)
    directory.write("all.yaml", *documents)
    return directory


class PodInfo(Directory):
    """The downward API's files: annotations and labels of the pod."""

    def __init__(self, pod, labels=None, **annotations):
        super().__init__(pod, "pod-info")
        self.label(**(labels or {}))
        self.annotate(annotations)

    def label(self, **labels):
        self.replace("labels", self._lines(labels))

    def annotate(self, annotations):
        self.replace("annotations", self._lines(annotations))

    @staticmethod
    def _lines(pairs):
        return "\n".join(f"{key}={json.dumps(value)}" for key, value in pairs.items())


def explain(pod, *arguments, to, request=None, host=None):
    """What `lapse-proxy explain --json` says, of the same binary, as a value; request: 'GET http://host/path'."""
    command = [pod.context.proxy, "explain", "--json", "--to", to, *arguments, *([request] if request else [])]
    return json.loads((host or pod.inside).run(command, env=pod.context.environment()).stdout)
