"""kube-apiserver alone: what it accepts."""
import json

from harness import KINDS, case, expect, pod


@case(mode="api", each={kind: kind for kind in KINDS})
def valid(space, kind):
    """The two containers are valid to the letter: no field is unknown, none is ignored."""
    text = json.dumps(pod("web", kind))
    done = space.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    expect("Warning" not in done.stdout, done.stdout)
