"""A cluster that up.sh made, and the namespace of it that a case gets."""
import contextlib
import glob
import json
import os
import subprocess
import tempfile

from e2e.harness.case import Failure
from e2e.harness.case import until as e2e_until

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILT = os.path.join(ROOT, os.environ.get("LAPSE_BUILD", "build"), "lapse-proxy")


# A node on a machine that others keep busy starts a pod in a minute rather than in two seconds. What waits for a condition may wait so
# much longer than on a quiet machine; it costs nothing where the condition comes.
PATIENCE = 5


def until(predicate, why, within=5.0, every=0.05):
    """As e2e's, with PATIENCE."""
    return e2e_until(predicate, why, within * PATIENCE, every)


class Cluster:
    """One node in namespaces of its own (up.sh says which); `mode` is api, static or node."""

    def __init__(self, kube, mode, state=None):
        self.kube, self.mode = kube, mode
        self.state = state or tempfile.mkdtemp(prefix=f"lapse-{mode}-", dir="/tmp")
        os.chmod(self.state, 0o755)

    def _script(self, name, *arguments):
        return subprocess.run([f"{HERE}/{name}", self.state, *arguments], env={**os.environ, "KUBE": self.kube}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def up(self):
        done = self._script("up.sh", self.mode)
        if done.returncode:
            raise Failure(f"up.sh {self.mode}: {done.stdout[-2000:]}")

    def down(self):
        if os.path.exists(f"{self.state}/netns"):
            self._script("down.sh")
        subprocess.run(["rm", "-rf", self.state])

    def run(self, command, check=True, timeout=60 * PATIENCE, **more):
        """A command on the node: the CompletedProcess, with its text."""
        done = subprocess.run([f"{self.state}/in", *command], stdin=None if "input" in more else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout, **more)
        if check and done.returncode:
            raise Failure(f"{' '.join(command)}: exit {done.returncode}: {done.stdout[-1500:]}")
        return done

    def kubectl(self, *arguments, check=True, timeout=120 * PATIENCE, **more):
        done = subprocess.run([f"{self.state}/kc", *arguments], stdin=None if "input" in more else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout, **more)
        if check and done.returncode:
            raise Failure(f"kubectl {' '.join(arguments)}: exit {done.returncode}: {done.stdout[-1500:]}")
        return done

    def curl(self, url, *arguments, within=30):
        """(status, body) of a request from the node; status 0: there was no answer."""
        done = self.run(["curl", "-s", "-m", str(within), "-w", "\n%{http_code}", *arguments, url], check=False, timeout=within + 10 * PATIENCE)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def processes(self, name, within):
        """Processes of that name in the network namespace of the pod whose address is `within`."""
        found = []
        for path in glob.glob("/proc/[0-9]*"):
            with contextlib.suppress(OSError):
                with open(f"{path}/comm") as file:
                    if file.read().strip() != name[:15]:
                        continue
                with open(f"{path}/net/fib_trie") as file:
                    if f" {within}\n" in file.read():
                        found.append(int(path[6:]))
        return found


class Space:
    """A namespace of the cluster, made for one case and removed after it."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.followers = []
        cluster.kubectl("create", "namespace", name)
        if cluster.mode == "api":  # where no controller makes it
            self.kubectl("create", "serviceaccount", "default")
        until(lambda: self.kubectl("get", "serviceaccount", "default", check=False).returncode == 0, "no default service account", 20)

    def close(self):
        for process, file in self.followers:
            process.kill()
            process.wait()
            file.close()
        # Without grace: what the pods had to show they have shown.
        self.kubectl("delete", "pods,jobs,deployments", "--all", "--grace-period=0", "--force", "--wait=false", check=False)
        self.cluster.kubectl("delete", "namespace", self.name, "--wait=false", check=False)

    def kubectl(self, *arguments, **more):
        return self.cluster.kubectl("-n", self.name, *arguments, **more)

    def apply(self, *objects, check=True):
        """Creates these; the CompletedProcess."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("create", "-f", "-", input=text, check=check)

    def get(self, kind, name):
        return json.loads(self.kubectl("get", kind, name, "-o", "json").stdout)

    def field(self, kind, name, path):
        return self.kubectl("get", kind, name, "-o", f"jsonpath={{{path}}}").stdout

    def ready(self, *names, within=60):
        self.kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), f"--timeout={within * PATIENCE}s")

    def start(self, *pods, within=60):
        """Creates these pods and waits until they are ready; their addresses."""
        self.apply(*pods)
        names = [pod["metadata"]["name"] for pod in pods]
        try:
            self.ready(*names, within=within)
        except Failure as late:
            raise Failure(f"{late}; {self.kubectl('describe', 'pod', *names, check=False).stdout[-1500:]}") from None
        addresses = [self.address(name) for name in names]
        return addresses[0] if len(addresses) == 1 else addresses

    def address(self, name):
        return self.field("pod", name, ".status.podIP")

    def exec(self, name, *command, container="app", check=True, timeout=120 * PATIENCE):
        return self.kubectl("exec", name, "-c", container, "--", *command, check=check, timeout=timeout).stdout

    def spawn(self, *arguments):
        """kubectl going on beside the case: a function that waits for its end and gives what it said."""
        file = tempfile.TemporaryFile("w+")
        process = subprocess.Popen([f"{self.cluster.state}/kc", "-n", self.name, *arguments], stdin=subprocess.DEVNULL, stdout=file,
                                   stderr=subprocess.STDOUT)
        self.followers.append((process, file))

        def text(wait=True, timeout=120 * PATIENCE):
            if wait:
                process.wait(timeout)
            return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode("utf-8", "replace")
        return text

    def follow(self, name, container="lapse-proxy"):
        """The log of a container from now to its end, as spawn() gives it; somebody reads it when this returns."""
        said = self.spawn("logs", "-f", name, "-c", container)
        until(lambda: said(wait=False), f"no log of {container}", 60, 0.1)
        return said

    def logs(self, name, container="lapse-proxy", *arguments):
        return self.kubectl("logs", name, "-c", container, *arguments, check=False).stdout

    def rolled_out(self, what):
        self.kubectl("rollout", "status", what, f"--timeout={60 * PATIENCE}s")

    def completed(self, job):
        self.kubectl("wait", "--for=condition=Complete", f"job/{job}", f"--timeout={60 * PATIENCE}s")

    def records(self, name, message="connection closed"):
        return records(self.logs(name), message)

    def metric(self, address, name, **labels):
        """The sum of the series of that name which have these labels."""
        total = 0.0
        for line in self.cluster.curl(f"http://{address}:4191/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{wanted}"' in series for key, wanted in labels.items()):
                total += float(value)
        return total


def records(text, message="connection closed"):
    """The records of a log in JSON."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and record.get("msg") == message:
                found.append(record)
    return found
