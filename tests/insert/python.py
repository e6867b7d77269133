"""Python's standard library: its own tests of what speaks over sockets, one process a module, and what gave no result alone."""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from suite import Suite, run_test

PATIENCE = 180  # seconds for a module
ALONE = 40      # for a test
MODULES = ("test_httplib test_httpservers test_urllib2_localnet test_xmlrpc test_docxmlrpc test_wsgiref test_robotparser test_http_cookiejar "
           "test_ftplib test_smtplib test_poplib test_imaplib test_nntplib test_telnetlib test_socketserver test_socket test_ssl test_asyncore "
           "test_asynchat test_logging test_asyncio.test_events test_asyncio.test_streams test_asyncio.test_server "
           "test_asyncio.test_sock_lowlevel test_asyncio.test_ssl test_asyncio.test_sslproto test_asyncio.test_sendfile "
           "test_asyncio.test_buffered_proto").split()
OTHERS = re.compile(r"VSOCK|CAN|RDS|Bluetooth|UDPLITE|Alg")  # sockets that are not TCP
LIST = """
import sys, unittest
def walk(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite): walk(each)
        elif not isinstance(each, unittest.loader._FailedTest): print(each.id())
for name in sys.argv[1:]:
    try: walk(unittest.defaultTestLoader.loadTestsFromName("test." + name))
    except unittest.SkipTest: pass
"""
RUN = r"""
import sys, unittest
class Result(unittest.TextTestResult):
    def say(self, state, test): print(f"\ninsert: {state} {test.id()}", flush=True)
    def addSuccess(self, test): super().addSuccess(test); self.say("pass", test)
    def addExpectedFailure(self, test, error): super().addExpectedFailure(test, error); self.say("pass", test)
    def addSkip(self, test, reason): super().addSkip(test, reason); self.say("skip", test)
unittest.main(None, argv=["test", *sys.argv[1:]], testRunner=unittest.TextTestRunner(resultclass=Result, verbosity=2), buffer=False)
"""


class Python(Suite):
    def prepare(self, build):
        self.directory = os.path.join(build, "python")
        os.makedirs(self.directory, exist_ok=True)
        self.source = f"Python {sys.version.split()[0]}"
        listed = subprocess.run([sys.executable, "-c", LIST, *MODULES], text=True, capture_output=True, check=True, cwd=self.directory)
        self.tests = sorted(set(line for line in listed.stdout.split() if line.startswith("test.")))
        if not self.tests:
            raise RuntimeError(f"the tests of {self.source} are not installed (Debian's package libpython3.N-testsuite)")

    def run(self, world, tests, alone=False):
        groups = {}
        for test in tests:
            groups.setdefault(test if alone else module_of(test), []).append(test)
        found = {}
        with ThreadPoolExecutor(3) as pool:
            for group in pool.map(lambda name: self.one(world, name, groups[name], alone), groups):
                found.update(group)
        return found

    def one(self, world, name, tests, alone):
        command = [*world.enter, sys.executable, "-c", RUN, name]
        _, said = run_test(command, self.directory, ALONE if alone else PATIENCE)
        states = {test: state for state, test in re.findall(r"^insert: (pass|skip) (\S+)", said, re.M)}
        return {test: (states.get(test, "fail"), said if alone or test not in states else "") for test in tests}


def module_of(test):
    return ".".join(test.split(".")[:3 if ".test_asyncio." in test else 2])

