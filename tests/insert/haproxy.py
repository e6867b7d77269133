"""HAProxy's own tests: scripted clients and servers around a haproxy, so that there are two connections of theirs for each request.
Run by the varnishtest of Debian's varnish, which knows HAProxy too."""
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from suite import Suite, run_test

PATIENCE = 30  # seconds for a file; the longest takes 8


class HAProxy(Suite):
    def prepare(self, build):
        self.directory = os.path.join(build, "haproxy-source")
        subprocess.run([os.path.join(os.path.dirname(__file__), "fetch.sh"), "haproxy", self.directory], check=True)
        self.program = shutil.which("varnishtest")
        if not self.program:
            raise RuntimeError("varnishtest is missing (Debian's package varnish)")
        said = subprocess.run(["haproxy", "-v"], text=True, capture_output=True, check=True).stdout
        self.source = f"HAProxy {said.split()[2]}"
        found = [os.path.relpath(os.path.join(place, name), self.directory)
                 for place, _, names in os.walk(os.path.join(self.directory, "reg-tests")) for name in names if name.endswith(".vtc")]
        self.tests = sorted(found)

    def run(self, world, tests, alone=False):
        with ThreadPoolExecutor(3) as pool:
            return dict(zip(tests, pool.map(lambda test: self.one(world, test), tests)))

    def one(self, world, test):
        environment = {**os.environ, "HAPROXY_PROGRAM": shutil.which("haproxy")}
        command = [*world.enter, self.program, "-t", str(PATIENCE), test]
        code, said = run_test(command, self.directory, PATIENCE + 10, environment)
        if re.search(r" TEST \S+ skipped", said):
            return "skip", said
        return ("pass" if code == 0 and re.search(r" TEST \S+ passed", said) else "fail"), said
