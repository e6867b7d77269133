"""nginx's own tests, files of Perl that speak TAP. No package holds them: NGINX_TESTS in the environment names a checkout."""
import os
import re
import shutil
import subprocess

from suite import Suite, run_test

PATIENCE = 60  # seconds for a file


class Nginx(Suite):
    def prepare(self, build):
        self.directory = os.environ.get("NGINX_TESTS")
        if not self.directory:
            raise RuntimeError("nginx's tests are in no package; NGINX_TESTS names a directory that holds them (its *.t and lib/Test/Nginx.pm)")
        self.source = subprocess.run(["nginx", "-v"], text=True, capture_output=True, check=True).stderr.strip()
        self.tests = sorted(name for name in os.listdir(self.directory) if name.endswith(".t"))
        if not self.tests:
            raise RuntimeError(f"NGINX_TESTS={self.directory}: no *.t there")

    def run(self, world, tests, alone=False):
        return {test: self.one(world, test) for test in tests}  # one at a time: they choose their ports themselves

    def one(self, world, test):
        environment = {**os.environ, "TEST_NGINX_BINARY": shutil.which("nginx"), "TEST_NGINX_GLOBALS": "user root;"}
        code, said = run_test([*world.enter, "perl", test], self.directory, PATIENCE, environment)
        if re.search(r"^1\.\.0 # SKIP", said, re.M):
            return "skip", said
        return ("pass" if code == 0 and not re.search(r"^not ok (?!.*# TODO)", said, re.M) else "fail"), said
