#!/usr/bin/python3
"""The chart without a cluster: tests/chart/run.py OUTDIR HELM. Lint, what values.schema.json refuses, golden renderings, and that the
templates for other charts make the pod that lapse-proxy inject makes. What kube-apiserver makes of the policy is compared with both in
tests/kubernetes/cases/chart.py. WRITE_GOLDEN=1 writes the renderings anew."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CHART = f"{ROOT}/charts/lapse"
# As in a cluster that has them all.
APIS = ["--kube-version", "1.36.3", "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"]

# Values that are refused, and what of it is named.
REFUSED = {
    "a misspelt value": ("closeWaitTimout: 1h", "closeWaitTimout"),
    "a misspelt timeout": ("timeouts: {idelConnection: 1h}", "idelConnection"),
    "a day": ("timeouts: {request: 1d}", "timeouts.request|/timeouts/request"),
    "a bare number": ("timeouts: {request: 30}", "timeouts.request|/timeouts/request"),
    "a negative duration": ("timeouts: {connect: -1s}", "timeouts.connect|/timeouts/connect"),
    "no time to remember": ("closeWaitTimeout: 0s", "closeWaitTimeout"),
    "a port too high": ("skipInboundPorts: [70000]", "skipInboundPorts"),
    "a word as port": ("opaquePorts: [mysql]", "opaquePorts"),
    "a kind there is not": ("kind: sidecar", "kind"),
    "root": ("proxyUid: 0", "proxyUid"),
    "a level there is not": ("log: {level: trace}", "level"),
    "a file that is no document": ("documents: {inline: {routes.txt: a}}", "routes.txt|inline"),
    "a flag of neither program": ("flags: {max-conections: 5}", "flags.max-conections"),
    "a flag with a wrong value": ("flags: {detect-grace: fast}", "flags.detect-grace"),
}

# Values under lapse: of an application's chart, and the flags of lapse-proxy inject that mean the same.
SAME = {
    "nothing": ({}, []),
    "ordinary": ({"kind": "ordinary"}, ["--ordinary"]),
    "much": ({"closeWaitTimeout": "1h", "conntrackTimeouts": {"established": "24h", "fin_wait": "2m"}, "skipInboundPorts": [25, "8000-8099"],
              "skipSubnets": ["10.0.0.0/8"], "opaquePorts": [5432], "log": {"level": "warn", "format": "json", "access": True},
              "admin": {"port": 4291}, "proxyUid": 3000, "image": {"repository": "r/lapse", "tag": "1", "pullPolicy": "Never"},
              "documents": {"configMap": "routes"}, "flags": {"max-connections": 20000, "keep-invalid": True}},
             ["--close-wait-timeout=1h", "--conntrack-timeout=established=24h", "--conntrack-timeout=fin_wait=2m",
              "--skip-inbound-ports=25,8000-8099", "--skip-subnets=10.0.0.0/8", "--opaque-ports=5432", "--log-level=warn",
              "--log-format=json", "--access-log", "--admin-port=4291", "--proxy-uid=3000", "--image=r/lapse:1",
              "--image-pull-policy=Never", "--config-map=routes", "--max-connections=20000", "--keep-invalid"]),
    "annotations": ({"closeWaitTimeout": "1h", "podAnnotations": {
        "lapse.proxy/close-wait-timeout": "30m", "config.linkerd.io/skip-outbound-ports": "3306", "lapse.proxy/opaque-ports": "mysql",
        "config.linkerd.io/proxy-outbound-connect-timeout": "900ms", "lapse.proxy/timeout-request": "3s"}}, ["--close-wait-timeout=1h"]),
}

passed, failed = [], []


def check(name, why=None):
    (failed if why else passed).append(name)
    print(f"not ok chart {name}: {why}" if why else f"ok chart {name}", flush=True)


class Run:
    def __init__(self, out, helm):
        self.proxy, self.helm = os.path.join(out, "lapse-proxy"), helm
        self.scratch = tempfile.mkdtemp(prefix="lapse-chart-")
        self.environment = {**os.environ, "HELM_CACHE_HOME": self.scratch, "HELM_CONFIG_HOME": self.scratch,
                            "HELM_DATA_HOME": self.scratch, "KUBECONFIG": "/dev/null"}

    def call(self, *arguments):
        return subprocess.run([self.helm, *arguments], capture_output=True, text=True, env=self.environment, timeout=120)

    def template(self, chart, values, name="lapse"):
        path = f"{self.scratch}/values.yaml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(values if isinstance(values, str) else json.dumps(values))
        return self.call("template", name, chart, "--namespace", "lapse", "-f", path, *APIS)

    def app(self):
        """The application's chart with lapse beside it, as `helm dependency build` would make it."""
        path = f"{self.scratch}/app"
        if not os.path.exists(path):
            shutil.copytree(f"{HERE}/app", path)
            shutil.copytree(CHART, f"{path}/charts/lapse")
        return path


def documents(text):
    return [each for each in yaml.safe_load_all(text) if each]


def lint(run):
    # Helm before 3.14 lints for one version of its own.
    version = ["--kube-version", "1.36.3"] if "--kube-version" in run.call("lint", "--help").stdout else []
    for values in sorted(glob.glob(f"{CHART}/ci/*-values.yaml")):
        done = run.call("lint", "--strict", CHART, "-f", values, *version)
        check(f"lint {os.path.basename(values)}", (done.stdout + done.stderr)[-800:] if done.returncode else None)


def refusals(run):
    for name, (values, named) in REFUSED.items():
        done = run.template(CHART, values)
        why = "it is accepted" if not done.returncode else None if re.search(named, done.stderr) else f"{named} is not named: {done.stderr[:600]}"
        check(f"refused: {name}", why)


def rendering(text):
    """The documents in an order of ours, helm's comments apart. The dashboard has tests of its own, and is longer than all the rest."""
    text = re.sub(r"(  lapse\.json: \|\n)(    .*\n)+", r"\1    …\n", text)
    texts = [re.sub(r"^# Source: .*\n", "", each.strip("\n")).strip("\n") + "\n" for each in re.split(r"^---$", text, flags=re.M)]
    parsed = [(yaml.safe_load(each), each) for each in texts]
    return "---\n".join(each for _, each in sorted(
        ((one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]), each) for one, each in parsed if one))


def golden(run):
    for values in sorted(glob.glob(f"{CHART}/ci/*-values.yaml")):
        name = os.path.basename(values).replace("-values.yaml", "")
        with open(values, encoding="utf-8") as file:
            done = run.template(CHART, file.read())
        text = rendering(done.stdout)
        path = f"{HERE}/golden/{name}.yaml"
        if os.environ.get("WRITE_GOLDEN") and not done.returncode:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        why = done.stderr[-800:] if done.returncode else None
        if not why:
            with open(path, encoding="utf-8") as file:
                if file.read() != text:
                    with open(f"{run.scratch}/{name}.yaml", "w", encoding="utf-8") as fresh:
                        fresh.write(text)
                    why = subprocess.run(["diff", "-u", path, fresh.name], capture_output=True, text=True).stdout[:3000]
        check(f"golden {name}", why)


def same(run):
    """The pod of the application's chart is the one that inject makes of the application without Lapse."""
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 40, "initContainers": [{"name": "first", "image": "first:1"}],
                     "containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 8080}]}],
                     "volumes": [{"name": "data", "emptyDir": {}}]}}
    for name, (values, flags) in SAME.items():
        done = run.template(run.app(), {"lapse": {"terminationGracePeriodSeconds": 40, **values}}, "app")
        if done.returncode:
            check(f"same pod: {name}", done.stderr[-800:])
            continue
        pods = [each for each in documents(done.stdout) if each["kind"] == "Pod"]
        given = json.loads(json.dumps(bare))
        given["metadata"]["annotations"] = values.get("podAnnotations", {})
        ours = subprocess.run([run.proxy, "inject", *flags], input=json.dumps(given), capture_output=True, text=True, timeout=60)
        made = documents(ours.stdout)[0] if ours.returncode == 0 else {}
        # The template names what the pod's other containers cannot: that the cluster's injection stays away, and who is meant by kubectl.
        if pods[0]["metadata"]["annotations"].pop("lapse.proxy/inject", None) != "disabled":
            check(f"same pod: {name}", "the cluster's injection is not kept away")
            continue
        made.get("metadata", {}).get("annotations", {}).pop("kubectl.kubernetes.io/default-container", None)
        why = ours.stderr if ours.returncode else None
        if pods[0] != made and not why:
            why = f"they differ: {json.dumps(pods[0], sort_keys=True)}\n{json.dumps(made, sort_keys=True)}"
        check(f"same pod: {name}", why)


def dependency(run):
    """Timeouts of a dependency are a Config document that lapse-proxy takes, and no cluster-wide object comes with it."""
    done = run.template(run.app(), {"lapse": {"timeouts": {"request": "30s", "halfClose": "10m", "drain": "5s"}}}, "app")
    objects = documents(done.stdout)
    found = {each["kind"]: each for each in objects}
    check("dependency: objects", None if set(found) <= {"Pod", "ConfigMap", "Job"} else f"there are {sorted(found)}")
    path = f"{run.scratch}/config.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(found["ConfigMap"]["data"]["config.yaml"])
    checked = subprocess.run([run.proxy, "check-config", "--json", path], capture_output=True, text=True)
    check("dependency: document", None if json.loads(checked.stdout or "{}").get("objects") == {"Config": 1} and not checked.returncode
          else checked.stdout + checked.stderr)
    proxy = next(each for each in found["Pod"]["spec"]["initContainers"] if each["name"] == "lapse-proxy")
    mounted = [each["configMap"]["name"] for each in found["Pod"]["spec"]["volumes"] if "configMap" in each]
    check("dependency: mounted", None if mounted == [found["ConfigMap"]["metadata"]["name"]] and "--config=/etc/lapse" in proxy["args"]
          and not any("timeout" in each and "drain-least" not in each for each in proxy["args"]) else f"{mounted} {proxy['args']}")


def main():
    run = Run(*sys.argv[1:3])
    try:
        for part in (lint, refusals, golden, same, dependency):
            part(run)
    finally:
        shutil.rmtree(run.scratch)
    print(f"chart: {len(passed)} passed, {len(failed)} failed")
    sys.exit(bool(failed))


main()
