"""HTTP/2: h2spec at nghttpd, and calls of grpc-go; both are built of Go modules that modules/go.sum pins."""
import os
import re
import shutil
import subprocess
import time
import xml.etree.ElementTree

from go import Go
from suite import Suite, run_test

MODULE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "modules")
PORT = 18080
GROUPS = {"Generic": "generic", "Hypertext": "http2", "HPACK:": "hpack"}


def go(build, *arguments):
    """Runs go in the module; what it says."""
    environment = {**os.environ, "GOCACHE": os.environ.get("GOCACHE") or os.path.join(build, "go-cache"), "GOFLAGS": "-mod=readonly -modcacherw",
                   "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    return subprocess.run(["nice", "-n", "10", os.environ.get("GO") or "go", *arguments], text=True, capture_output=True, check=True, cwd=MODULE,
                          env=environment).stdout.strip()


class H2spec(Suite):
    """A test is named as h2spec takes it: http2/6.5/2. What it says of a test that fails is not looked at, only that the same ones do."""

    def prepare(self, build):
        self.program, self.directory = os.path.join(build, "http2", "h2spec"), os.path.join(build, "http2", "www")
        if not shutil.which("nghttpd"):
            raise RuntimeError("nghttpd is not installed; tests/setup.sh insert installs it")
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(self.directory, "index.html"), "w", encoding="utf-8") as file:
            file.write("welcome\n")
        go(build, "build", "-o", self.program, "github.com/summerwind/h2spec/cmd/h2spec")
        self.source = go(build, "list", "-m", "github.com/summerwind/h2spec")
        listed = subprocess.run([self.program, "--dryrun", "--strict"], text=True, capture_output=True, check=True).stdout
        self.tests = list(self.listed(listed))

    @staticmethod
    def listed(text):
        group = section = None
        for line in text.splitlines():
            word = line.split(" ", 1)[0]
            if word in GROUPS:
                group = GROUPS[word]
            elif found := re.match(r" +([\d.]+)\. ", line):
                section = found[1]
            elif found := re.match(r" +(\d+): ", line):
                yield f"{group}/{section}/{found[1]}"

    def run(self, world, tests, alone=False):
        found = {}
        with subprocess.Popen([*world.enter, "nghttpd", "--no-tls", "-d", self.directory, str(PORT)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                time.sleep(0.5)
                for chosen in ([test] for test in tests) if alone else [tests]:
                    found.update(self.judged(world, chosen, alone))
            finally:
                server.terminate()
        return found

    def judged(self, world, tests, alone):
        report = os.path.join(os.path.dirname(self.program), "report.xml")
        if os.path.exists(report):
            os.unlink(report)
        _, said = run_test([*world.enter, self.program, "-h", "127.0.0.1", "-p", str(PORT), "-o", "5" if alone else "2", "--strict", "-j", report,
                            *(tests if alone else ())], self.directory, 300)
        states, numbers = {}, {}
        for case in xml.etree.ElementTree.parse(report).iter("testcase") if os.path.exists(report) else ():
            package = case.get("package")
            numbers[package] = numbers.get(package, 0) + 1
            name = tests[0] if alone else f"{package}/{numbers[package]}"
            states[name] = "skip" if case.find("skipped") is not None else "pass" if case.find("failure") is None and case.find("error") is None else "fail"
        return {test: (states.get(test, "fail"), said) for test in tests}


class GrpcGo(Go):
    """calls/calls_test.go over grpc-go."""

    def prepare(self, build):
        self.binary, self.directory = os.path.join(build, "http2", "calls.test"), os.path.join(MODULE, "calls")
        go(build, "test", "-c", "-o", self.binary, "./calls")
        self.source = go(build, "list", "-m", "google.golang.org/grpc")
        listed = subprocess.run([self.binary, "-test.list", "^Test"], text=True, capture_output=True, check=True).stdout
        self.tests = [line for line in listed.split() if line.startswith("Test")]
