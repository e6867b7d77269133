"""What the suites have in common."""
import os
import signal
import subprocess


class Suite:
    """A suite that nobody here wrote.

    name: as in known.txt, before the test's own name. may_fail: how many of the tests that pass direct may fail inserted, a count or a
    share below 1. prepare(build) fetches and builds and sets `tests` and `source`; run(world, tests, alone) gives
    {test: (state, what it said)}, state being pass, fail or skip; alone: one process a test."""

    def __init__(self, name, may_fail):
        self.name, self.may_fail = name, may_fail
        self.tests, self.source = [], ""

    def least(self, direct):
        """How many must pass inserted of so many that pass direct."""
        return direct - int(self.may_fail if self.may_fail >= 1 else self.may_fail * direct)

    def prepare(self, build):
        raise NotImplementedError

    def run(self, world, tests, alone=False):
        raise NotImplementedError


def run_test(command, directory, patience, environment=None):
    """(exit code, all it said); after patience its whole process group is killed, code None."""
    with subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment, start_new_session=True) as process:
        try:
            said, _ = process.communicate(timeout=patience)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            code = None
    return code, said.decode("utf-8", "replace")
