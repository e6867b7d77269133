"""lapse-proxy inject as it is used: files and pipes in, objects out, read by another YAML parser."""
import copy
import glob
import json
import os
import subprocess
import time

import yaml

from .harness import AS_PROXY, case, expect

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Everything that a reader of YAML could take for something else.
ODD = r"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: odd   # a comment
  annotations: {"a": "b", 'c': 'd', e: }
data:
  number-like: "80"
  float-like: '1e3'
  bool-like: "yes"
  word: 'no'
  octal-like: "0o17"
  old-octal: '017'
  null-like: "null"
  tilde: '~'
  nothing: ''
  date-like: "2001-01-01"
  time-like: '12:30:45'
  hex-like: "0x1F"
  merge-like: "<<"
  number: 80
  float: 1.5e3
  yes: yes
  zero: 010
  none: ~
  absent:
  date: 2001-01-01
  literal: |
    one

      two: three
    # four
  kept: |+
    five

  stripped: |-
    six
  folded: >
    seven
    eight

    nine
  indented: |2
      ten
  quoted: "tab\there \u263a \x07 line\nnext"
  single: 'it''s'
  spaced: '  x  '
  long: aaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccccc ddddddddddddddd
  tagged: !!str 8
  list: [a, "b", 'c', 4, [], {}]
  anchored: &x {k: [1, 2]}
  aliased: *x
  merged: {<<: *x, l: m}
? |
  a key
: of two lines
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: web, args: ["--port", "8080"]}
"""


def inject(pod, *words, given=None, status=0):
    done = subprocess.run([pod.context.proxy, "inject", *words], input=given, capture_output=True, text=True, timeout=60)
    expect(done.returncode == status, f"exit {done.returncode}, expected {status}: {done.stderr[:500]}")
    return done


def read(text):
    return [each for each in yaml.safe_load_all(text) if each is not None]


def written_as(text):
    """The events of another parser: what is plain, what has which tag, anchor and value, in order."""
    return [(type(each).__name__, getattr(each, "value", None), getattr(each, "tag", None), getattr(each, "anchor", None))
            for each in yaml.parse(text)
            if not isinstance(each, (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent))]


def without_lapse(document):
    """The template without what an injection adds, and the two containers."""
    document = copy.deepcopy(document)
    spec = document["spec"]["template"]["spec"]
    ours = [each for each in spec.get("initContainers", []) if each["name"].startswith("lapse-")]
    for name in ("initContainers", "volumes"):
        spec[name] = [each for each in spec.get(name, []) if not each["name"].startswith("lapse-")]
        if not spec[name]:
            del spec[name]
    return document, ours


@case()
def other_objects_come_through(pod):
    """What has no pods comes out with every value of the type it had."""
    out = inject(pod, given=ODD + "---" + DEPLOYMENT).stdout
    expect(read(out)[0] == read(ODD)[0], "values differ")
    before, after = written_as(ODD), written_as(out)[:len(written_as(ODD))]
    expect(len(before) == len(after), "another number of values")
    for one, other in zip(before, after):
        # Nothing at all may be written as null, and a folded text otherwise.
        expect(one[:2] == other[:2] or {one[1], other[1]} == {"", "null"}, f"{one} became {other}")


@case()
def examples_come_through(pod):
    """The documents of docs/examples mean the same after it."""
    paths = sorted(glob.glob(f"{ROOT}/docs/examples/*.yaml"))
    out = inject(pod, *paths).stdout
    documents = [document for path in paths for document in read(open(path, encoding="utf-8").read())]
    expect(len(documents) > 8 and read(out) == documents, "documents differ")


@case()
def deployment_is_injected(pod):
    """The Deployment gets the two containers first and nothing else changes; again and --remove."""
    flags = ("--close-wait-timeout", "1h", "--timeout-idle-connection=90s", "-")
    out = inject(pod, *flags, given=DEPLOYMENT).stdout
    plain, (init, proxy) = without_lapse(read(out)[0])
    expect(plain == read(DEPLOYMENT)[0], "something else changed")
    expect("--close-wait-timeout=1h" in init["args"] and "--timeout-idle-connection=90s" in proxy["args"], "flags are not there")
    expect(proxy["restartPolicy"] == "Always" and proxy["securityContext"]["runAsUser"] == 2102, f"{proxy}")
    expect(init["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}, f"{init}")
    expect(inject(pod, *flags, given=out).stdout == out, "a second time changes it")
    expect(read(inject(pod, "--remove", given=out).stdout) == read(DEPLOYMENT), "--remove leaves something")


@case()
def json_goes_in(pod):
    """kubectl's JSON goes in as well as YAML, a List with several objects too."""
    objects = read(DEPLOYMENT) * 3
    out = inject(pod, given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})).stdout
    items = read(out)[0]["items"]
    expect([without_lapse(each)[0] for each in items] == objects, "something else changed")
    expect(all(len(without_lapse(each)[1]) == 2 for each in items), "not every item is injected")


@case()
def arguments_are_taken(pod):
    """lapse-init and lapse-proxy take the arguments they are given."""
    flags = ("--close-wait-timeout=1h", "--skip-inbound-ports= 25, 30-40", "--skip-subnets=10.0.0.0/8", "--keep-invalid", "--workers=1",
             "--conntrack-timeout=established=1h", "--conntrack-timeout=fin_wait=2m", "--ip-families=ipv4", "--log-format=json",
             "--skip-interfaces=eth7", "--inbound-ports=80", "--timeout-request=9s")
    _, (init, proxy) = without_lapse(read(inject(pod, *flags, given=DEPLOYMENT).stdout)[0])
    done = subprocess.run([pod.context.init, *init["args"], "--dry-run"], capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0 and "30-40" in done.stdout, f"lapse-init: exit {done.returncode}: {done.stderr[:300]}")
    arguments = [each for each in proxy["args"] if not each.startswith(("--admin", "--pod-info"))]
    running = pod.inside.popen([*AS_PROXY, pod.context.proxy, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    for line in running.stdout:
        said += line
        if "runs as uid" in line:
            break
    running.terminate()
    running.communicate(timeout=30)
    expect("inbound port 4143" in said and "1 worker" in said, f"lapse-proxy: {said}")


@case()
def refusals_name_the_object(pod):
    """One refused object of several: nothing is written, the object and its line are named, exit 65."""
    host = DEPLOYMENT.replace("containers:", "hostNetwork: true\n      containers:").replace("name: web, namespace", "name: net, namespace")
    done = inject(pod, given=DEPLOYMENT + "---" + host, status=65)
    expect(done.stdout == "", "something is written")
    expect("standard input:12: Deployment shop/net: it has hostNetwork" in done.stderr, done.stderr)


@case()
def large_lists_are_quick(pod):
    """Five thousand Deployments in a List take seconds."""
    objects = json.dumps({"kind": "List", "items": read(DEPLOYMENT) * 5000})
    began = time.monotonic()
    out = inject(pod, given=objects).stdout
    took = time.monotonic() - began
    expect(out.count("lapse-init") >= 5000 * 2, "not every item is injected")
    expect(took < 20, f"it took {took:.1f} s")


@case()
def output_that_cannot_be_written(pod):
    """A full disk is said, with an exit status."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([pod.context.proxy, "inject"], input=DEPLOYMENT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    expect(done.returncode == 1 and "No space left" in done.stderr, f"exit {done.returncode}: {done.stderr}")
