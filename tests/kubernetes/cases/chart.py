"""The chart on a real kube-apiserver: valid to the letter, and what its policy makes of pods."""
import contextlib
import copy
import json
import os
import re
import subprocess
import time

from harness import BUILT, ROOT, Failure, case, expect, until

CHART = f"{ROOT}/charts/lapse"
# Kinds whose definitions belong to others.
FOREIGN = ("PodMonitor", "PrometheusRule", "SecurityContextConstraints")

BARE = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"automountServiceAccountToken": False, "containers": [{"name": "web", "image": "web:1"}]}}

# Values of the chart, and the flags of lapse-proxy inject that mean the same.
MUCH = ({"closeWaitTimeout": "1h", "conntrackTimeouts": {"established": "24h", "fin_wait": "2m"}, "skipInboundPorts": [25, "8000-8099"],
         "skipSubnets": ["10.0.0.0/8"], "opaquePorts": [5432], "log": {"level": "warn", "format": "json", "access": True},
         "admin": {"port": 4291}, "proxyUid": 3000, "documents": {"configMap": "routes"},
         "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
         "timeouts": {"request": "30s", "idleConnection": "2h", "tcpIdle": "0s"}, "flags": {"max-connections": 20000, "keep-invalid": True}},
        ["--close-wait-timeout=1h", "--conntrack-timeout=established=24h", "--conntrack-timeout=fin_wait=2m",
         "--skip-inbound-ports=25,8000-8099", "--skip-subnets=10.0.0.0/8", "--opaque-ports=5432", "--log-level=warn", "--log-format=json",
         "--access-log", "--admin-port=4291", "--proxy-uid=3000", "--config-map=routes", "--cpu-request=20m", "--memory-request=32Mi",
         "--cpu-limit=1", "--memory-limit=512Mi", "--timeout-request=30s", "--timeout-idle-connection=2h", "--timeout-tcp-idle=0s",
         "--max-connections=20000", "--keep-invalid"])
SAME = {"native": ({}, []), "ordinary": ({"kind": "ordinary"}, ["--ordinary"]), "much": MUCH,
        "much, ordinary": ({**MUCH[0], "kind": "ordinary"}, [*MUCH[1], "--ordinary"])}


def changed(**spec):
    made = copy.deepcopy(BARE)
    made["spec"].update(spec)
    return made


def annotated(annotations, **spec):
    made = changed(**spec)
    made["metadata"]["annotations"] = annotations
    return made


PODS = {
    "bare": BARE,
    "with init containers, volumes and a token": changed(
        automountServiceAccountToken=True, initContainers=[{"name": "first", "image": "first:1"}],
        volumes=[{"name": "data", "emptyDir": {}}], terminationGracePeriodSeconds=40),
    "with no grace": changed(terminationGracePeriodSeconds=1),
    "with annotations": annotated({
        "lapse.proxy/close-wait-timeout": "30m", "lapse.proxy/inject": "enabled", "lapse.proxy/timeout-request": "3s",
        "config.linkerd.io/skip-outbound-ports": "3306,4444", "config.linkerd.io/opaque-ports": "25", "lapse.proxy/opaque-ports": "mysql",
        "config.linkerd.io/proxy-outbound-connect-timeout": "900ms", "lapse.proxy/log-level": "debug", "lapse.proxy/no-such": "1"}),
    "that names its container": annotated({"kubectl.kubernetes.io/default-container": "web"}),
}

# Pods that stay as they are, and the warning.
LEFT = {
    "host network": (changed(hostNetwork=True), "not injected: it has hostNetwork"),
    "windows": (changed(os={"name": "windows"}), "not injected: it is for Windows"),
    "mesh": (changed(initContainers=[{"name": "linkerd-init", "image": "l:1"}]), "not injected: it has the sidecar of a mesh"),
    "port": (changed(containers=[{"name": "web", "image": "web:1", "ports": [{"containerPort": 4143}]}]), "not injected: one of its containers"),
    "user": (changed(securityContext={"runAsUser": 2102}), "not injected: it runs as uid 2102"),
    "opted out": (annotated({"lapse.proxy/inject": "disabled"}), None),
}


def helm(space, *arguments, check=True, **more):
    done = space.cluster.run([f"{space.cluster.kube}/bin/helm", "--kubeconfig", f"{space.cluster.state}/api/kubeconfig", "-n", space.name,
                              *arguments], check=check, timeout=120,
                             env={**os.environ, **{f"HELM_{each}_HOME": f"{space.cluster.state}/helm" for each in ("CACHE", "CONFIG", "DATA")}},
                             **more)
    return done.stdout


def values(space, given):
    path = f"{space.cluster.state}/values-{space.name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(given, file)
    return path


def create(space, *objects, check=True, dry=True):
    """What kube-apiserver would make of these, and what it says besides."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    return space.kubectl("create", "-o", "json", *(["--dry-run=server"] if dry else []), "--validate=strict", "-f", "-", input=text, check=check)


def made(space, given):
    """The pod as it would be stored, without what kube-apiserver makes up for each."""
    text = create(space, given).stdout
    stored = json.JSONDecoder().raw_decode(text[text.index("{"):])[0]
    stored = stored["items"][0] if stored["kind"] == "List" else stored
    for name in ("uid", "creationTimestamp", "namespace", "managedFields", "resourceVersion"):
        stored["metadata"].pop(name, None)
    stored.pop("status", None)
    # The token's volume has a name of its own each time; admission gives it to the containers that are there before ours.
    spec = stored["spec"]
    spec["volumes"] = [each for each in spec.get("volumes", []) if not each["name"].startswith("kube-api-access")]
    for container in spec["containers"] + spec.get("initContainers", []):
        container["volumeMounts"] = [each for each in container.get("volumeMounts", []) if not each["name"].startswith("kube-api-access")]
    return stored


def names(pod):
    return [each["name"] for each in pod["spec"].get("initContainers", [])], [each["name"] for each in pod["spec"]["containers"]]


@contextlib.contextmanager
def released(space):
    """Whatever becomes of the block: the release is gone afterwards, since its policies are the whole cluster's."""
    try:
        yield
    finally:
        helm(space, "uninstall", "lapse", "--ignore-not-found")


def installed(space, given, tag):
    """Installs or upgrades the chart, and waits until its policies are in force: a pod has that tag, another a warning."""
    helm(space, "upgrade", "--install", "lapse", CHART, "-f", values(space, {**given, "image": {"repository": "lapse", "tag": tag}}))
    space.cluster.kubectl("label", "--overwrite", "namespace", space.name, "lapse.proxy/inject=enabled")
    until(lambda: f'"lapse:{tag}"' in create(space, BARE, check=False).stdout, "the policy injects nothing", 20, 0.2)
    until(lambda: "not injected" in create(space, changed(hostNetwork=True), check=False).stdout, "the policy warns of nothing", 20, 0.2)


@case(mode="api", alone=True)
def three_ways(space):
    """The policy makes the pod that lapse-proxy inject makes, whatever the pod, the values and the kind of sidecar."""
    plain = f"{space.name}-plain"
    space.cluster.kubectl("create", "namespace", plain)
    space.cluster.kubectl("-n", plain, "create", "serviceaccount", "default")
    other = copy.copy(space)
    other.name = plain
    differ = []
    with released(space):
        for number, (label, (given, flags)) in enumerate(SAME.items()):
            installed(space, given, f"v{number}")
            for name, pod in PODS.items():
                done = subprocess.run([BUILT, "inject", f"--image=lapse:v{number}", *flags], input=json.dumps(pod),
                                      capture_output=True, text=True, timeout=60)
                expect(done.returncode == 0, done.stderr)
                text = other.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", input=done.stdout).stdout
                ours = made(other, json.loads(text))
                theirs = made(space, pod)
                if ours != theirs:
                    differ.append(f"{label}, {name}:\n{json.dumps(ours, sort_keys=True)}\n{json.dumps(theirs, sort_keys=True)}")
    space.cluster.kubectl("delete", "namespace", plain, "--wait=false")
    expect(not differ, "\n".join(differ)[:6000])


@case(mode="api", alone=True)
def policy(space):
    """Who is injected and who is not, once and not twice, and what kubectl is told."""
    with released(space):
        installed(space, {}, "one")
        for name, (pod, said) in LEFT.items():
            done = create(space, pod)
            expect('"name": "lapse-' not in done.stdout, f"{name}: injected")
            expect(said is None or said in done.stdout, f"{name}: no warning with \"{said}\": {done.stdout[:300]}")
        done = create(space, annotated({"lapse.proxy/skip-inbund-ports": "25", "lapse.proxy/close-wait-timeout": "1d",
                                        "config.linkerd.io/proxy-cpu-limit": "1"}))
        expect("unknown annotation, left alone: lapse.proxy/skip-inbund-ports;" in done.stdout, done.stdout[:400])
        expect('not accepted, left out: lapse.proxy/close-wait-timeout: "1d"' in done.stdout, done.stdout[:400])
        expect("close-wait-timeout=1d" not in done.stdout and '"name": "lapse-proxy"' in done.stdout, "it is not injected, or with the wrong value")
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": BARE["metadata"], "spec": changed(hostNetwork=True)["spec"]}}}
        expect("not injected: it has hostNetwork" in create(space, deployment).stdout, "no warning for a Deployment")
        for spec in ({}, {"containers": []}, {"initContainers": [{"name": "a", "image": "a:1"}]}):
            text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "none"}, "spec": spec})
            said = space.kubectl("create", "--validate=false", "-f", "-", input=text, check=False).stdout
            expect("spec.containers: Required value" in said and "policy" not in said, f"a pod without containers: {said}")
        twice = made(space, made(space, BARE))
        expect(names(twice) == (["lapse-init", "lapse-proxy"], ["web"]), f"twice: {names(twice)}")
        # Without the label: only who asks for it.
        space.cluster.kubectl("label", "namespace", space.name, "lapse.proxy/inject-")
        until(lambda: not names(made(space, BARE))[0], "injected without the label", 20, 0.2)
        asks = names(made(space, annotated({"lapse.proxy/inject": "enabled"})))
        expect(asks[0] == ["lapse-init", "lapse-proxy"], "a pod that asks is not injected")
    left = space.cluster.kubectl("get", "mutatingadmissionpolicies,mutatingadmissionpolicybindings,validatingadmissionpolicies", "-o", "name").stdout
    expect("lapse" not in left, f"uninstall leaves {left}")


@case(mode="api", each={name: name for name in ("default", "native", "ordinary", "parts")})
def valid(space, name):
    """Every object of the chart is valid to the letter."""
    text = helm(space, "template", f"lapse-{name}", CHART, "-f", f"{CHART}/ci/{name}-values.yaml", "--no-hooks", "--kube-version", "1.36.3",
                "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
    kept = [each for each in re.split(r"^---$", text, flags=re.M) if not re.search(rf"^kind: ({'|'.join(FOREIGN)})$", each, re.M)]
    text = re.sub(r"^  namespace: .*$", f"  namespace: {space.name}", "---".join(kept), flags=re.M)
    done = space.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=text, check=False)
    expect(done.returncode == 0 and "Warning" not in done.stdout and "created" in done.stdout, done.stdout[-1500:])


@case(mode="api", each={level: level for level in ("baseline", "restricted")}, alone=True)
def forbidden(space, level):
    """Pod Security refuses lapse-init's capability, by name, and nothing of lapse-proxy."""
    safe = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 1000, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}}
    pod = changed(containers=[{"name": "web", "image": "web:1", "securityContext": safe}])
    with released(space):
        installed(space, {}, level)
        space.cluster.kubectl("label", "namespace", space.name, f"pod-security.kubernetes.io/enforce={level}")
        said = ""
        for _ in range(50):
            said = create(space, pod, check=False).stdout
            if "violates" in said:
                break
            time.sleep(0.2)
    if "violates" not in said:
        raise Failure(f"it is not refused: {said[:500]}")
    expect("lapse-init" in said and "NET_ADMIN" in said, said)
    expect("lapse-proxy" not in said, said)


@case(mode="api")
def refused(space):
    """A misspelt value stops helm install, by name, and nothing is made."""
    said = helm(space, "install", "lapse", CHART, "--set", "closeWaitTimout=1h", check=False)
    expect("closeWaitTimout" in said, said[-500:])
    expect(not helm(space, "list", "-q").strip(), "a release is there")
