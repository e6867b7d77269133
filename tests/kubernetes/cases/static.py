"""A kubelet alone: pods from files, no API server. What needs no more than that."""
import glob
import json
import os

from harness import case, expect, pod, records, until


@case(mode="static")
def sidecar(cluster):
    """lapse-init, the native sidecar, then the application; an annotation's timeout fires and the record names it."""
    made = pod("web", "native", annotations={"lapse.proxy/timeout-request": "1s"})
    with open(f"{cluster.state}/pods/.web", "w") as file:
        json.dump(made, file)
    os.rename(f"{cluster.state}/pods/.web", f"{cluster.state}/pods/web.json")

    def address():
        found = [name for name in os.listdir(f"{cluster.state}/ipam/node") if name[0].isdigit()] if os.path.isdir(f"{cluster.state}/ipam/node") else []
        return next((name for name in found if cluster.curl(f"http://{name}:8080/", within=1)[0] == 200), None)
    at = until(address, "the pod does not answer", 60, 0.2)
    expect(cluster.curl(f"http://{at}:8080/?sleep=3s")[0] == 504, "the annotation's timeout did not fire")

    def named():
        text = "".join(line.split(" ", 3)[3] for path in glob.glob(f"{cluster.state}/log/pods/*/lapse-proxy/0.log") for line in open(path))
        return any("annotation lapse.proxy/timeout-request" in record.get("set_by", "") for record in records(text, "request failed"))
    until(named, "no record names the annotation", 60, 0.2)
    said = "".join(open(path).read() for path in glob.glob(f"{cluster.state}/log/pods/*/lapse-init/0.log"))
    expect("state=close_wait" in said and "new_s=3600" in said, f"lapse-init said {said}")
    os.unlink(f"{cluster.state}/pods/web.json")
