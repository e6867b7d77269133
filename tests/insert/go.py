"""Go's standard library: its own tests, one process a test, so that one which hangs or panics costs no other its result.

net/http runs some two hundred of its tests over HTTP/2 too (go 1.26): nearly all by TLS, which is opaque bytes here, as they are. Over
plain TCP it has one, TestTransportServerProtocols, from go 1.24 on (Protocols.SetUnencryptedHTTP2): TestServerUnencryptedHTTP2HeaderTimeout,
TestServerReadHeaderTimeoutIsCleared and TestTransportIdleConnRacesRequest speak it in memory, where nothing can be inserted. What else net/http's
HTTP/2 is put through in plain TCP are the suites h2spec and grpc."""
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from suite import Suite, run_test

PATIENCE = 60  # seconds a test may take, half of it when run again; the longest take 10 direct


class Go(Suite):
    def __init__(self, package, may_fail):
        super().__init__(f"go/{package}", may_fail)
        self.package = package

    def prepare(self, build):
        go = os.environ.get("GO") or "go"
        environment = {**os.environ, "GOCACHE": os.environ.get("GOCACHE") or os.path.join(build, "go-cache"), "GOFLAGS": "", "GOTOOLCHAIN": "local"}
        root = subprocess.run([go, "env", "GOROOT"], text=True, capture_output=True, check=True, env=environment).stdout.strip()
        version = subprocess.run([go, "env", "GOVERSION"], text=True, capture_output=True, check=True, env=environment).stdout.strip()
        self.directory = os.path.join(root, "src", self.package)
        self.binary = os.path.join(build, "go", f"{self.package.replace('/', '_')}-{version}.test")
        if not os.path.exists(self.binary):
            os.makedirs(os.path.dirname(self.binary), exist_ok=True)
            subprocess.run(["nice", "-n", "10", go, "test", "-c", "-o", self.binary, self.package], check=True, env=environment)
        listed = subprocess.run([self.binary, "-test.list", "^Test"], text=True, capture_output=True, check=True, cwd=self.directory)
        self.source = version
        self.tests = [line for line in listed.stdout.split() if line.startswith("Test")]

    def run(self, world, tests, alone=False):
        with ThreadPoolExecutor(4) as pool:
            return dict(zip(tests, pool.map(lambda test: self.one(world, test, PATIENCE // 2 if alone else PATIENCE), tests)))

    def one(self, world, test, patience):
        command = [*world.enter, self.binary, "-test.v", "-test.count=1", f"-test.run=^{test}$", f"-test.timeout={patience}s"]
        code, said = run_test(command, self.directory, patience + 10)
        if re.search(rf"^--- SKIP: {test} ", said, re.M):
            return "skip", said
        return ("pass" if code == 0 and re.search(rf"^--- PASS: {test} ", said, re.M) else "fail"), said
