"""make insert: suites that nobody here wrote, direct and with lapse-proxy in every connection of theirs. `insert.py OUTDIR`, where the
built programs are. In the environment: SUITE=go|curl|python|haproxy|h2spec|grpc|nginx (several with commas; all but nginx), DIRECTION=outbound|inbound,
TESTS=REGEX for some tests alone, MODE=opaque to insert with detection off: what differs then, no redirect can hide;
OPTIONS for lapse-proxy; DIRECT=last to take what passed direct from the last run that had no TESTS.

Exit 0 when every bar is met, every test that differs is explained in known.txt, and the proxy had the connections it should have."""
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import suites
from world import World

BUDGET = 25 * 60  # seconds; fetching and building come before


def options():
    names = os.environ.get("SUITE", "").replace(",", " ").split() or [name for name in suites.SUITES if name not in suites.ON_DEMAND]
    unknown = [name for name in names if name not in suites.SUITES]
    direction = os.environ.get("DIRECTION") or "outbound"
    if len(sys.argv) != 2:
        sys.exit("usage: insert.py OUTDIR")
    if unknown:
        sys.exit(f"insert: SUITE={','.join(unknown)}: accepted are {' '.join(suites.SUITES)}")
    if direction not in ("outbound", "inbound"):
        sys.exit(f"insert: DIRECTION={direction}: outbound or inbound")
    mode = os.environ.get("MODE") or "inserted"
    if mode not in ("inserted", "opaque"):
        sys.exit(f"insert: MODE={mode}: inserted or opaque")
    try:
        wanted = re.compile(os.environ.get("TESTS") or "")
    except re.error as error:
        sys.exit(f"insert: TESTS: {error}")
    if os.geteuid() != 0:
        sys.exit("insert: needs root, for network namespaces")
    return os.path.abspath(sys.argv[1]), [suite for name in names for suite in suites.SUITES[name]], mode, direction, wanted


def known():
    """[(pattern, sentence)] of known.txt."""
    with open(os.path.join(os.path.dirname(__file__), "known.txt"), encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [tuple(line.split(None, 1)) for line in lines if line and not line.startswith("#")]


def explained(sentences, name, test):
    return next((sentence for pattern, sentence in sentences if fnmatch.fnmatchcase(f"{name}/{test}", pattern)), None)


class Run:
    """One suite in one mode."""

    def __init__(self, out, suite, mode, direction, place):
        self.results, self.flaky, self.detail = {}, [], {}
        self.place, self.log = place, os.path.join(place, f"{mode}.proxy.log")
        self.out, self.suite, self.mode, self.direction = out, suite, mode, direction
        self.connections = self.closed = self.seconds = 0

    def measure(self, tests, deadline):
        start = time.monotonic()
        with World(self.out, self.mode, self.direction, self.log) as world:
            found = self.suite.run(world, tests)
            self.results = {test: state for test, (state, _) in found.items()}
            self.detail = {test: said for test, (_, said) in found.items()}
            self.again(world, deadline)
            self.connections = world.connections()
            world.stop()
            self.closed = world.closed()
        self.seconds = time.monotonic() - start

    def again(self, world, deadline):
        """What failed, once more together and then alone: a test that fails by the machine's load is none of ours."""
        self.note(self.suite.run(world, self.failed(), alone=True), "")
        if self.mode == "direct":
            return
        for test in self.failed():
            if time.monotonic() > deadline:
                return
            since = world.position()
            self.note(self.suite.run(world, [test], alone=True), lambda: "\n".join(world.records(since)))

    def note(self, found, records):
        for test, (state, said) in found.items():
            if state == "fail":
                self.detail[test] = said + (f"\n--- what the proxy said\n{records()}\n" if records else "")
                write(os.path.join(self.place, self.mode, f"{re.sub('[^A-Za-z0-9_.-]', '_', test)}.log"), self.detail[test])
            else:
                self.results[test] = state
                self.flaky.append(test)

    def failed(self):
        return [test for test, state in self.results.items() if state == "fail"]

    def passed(self):
        return {test for test, state in self.results.items() if state == "pass"}

    def counts(self):
        """Whether there were about as many records as connections."""
        return abs(self.connections - self.closed) <= max(5, self.connections / 50)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)


def measure(out, suite, mode, direction, wanted, deadline):
    place = os.path.join(out, "insert", "results", direction, suite.name)
    shutil.rmtree(os.path.join(place, mode), ignore_errors=True)
    os.makedirs(place, exist_ok=True)
    tests = [test for test in suite.tests if wanted.search(test)]
    direct = Run(out, suite, "direct", direction, place)
    last = os.path.join(out, "insert", "results", suite.name, "direct.json")
    if os.environ.get("DIRECT") == "last" and os.path.exists(last):
        with open(last, encoding="utf-8") as file:
            direct.results = json.load(file)
    else:
        direct.measure(tests, deadline)
        if len(tests) == len(suite.tests):
            write(last, json.dumps(direct.results, indent=1))
    base = [test for test in tests if test in direct.passed()]
    inserted = Run(out, suite, mode, direction, place)
    inserted.measure(base, deadline)
    return report(suite, direct, inserted, base)


def report(suite, direct, inserted, base):
    sentences, passed = known(), inserted.passed()
    differ = [test for test in base if test not in passed]
    print(f"{suite.name}: {len(base)} pass direct, {len(passed)} of these {inserted.mode}")
    print(f"  {suite.source}; direct {direct.seconds:.0f} s, {direct.connections} connections; {inserted.mode} {inserted.seconds:.0f} s, "
          f"{inserted.connections} connections, {inserted.closed} records")
    if inserted.flaky:
        print(f"  {len(inserted.flaky)} passed when run again")
    groups = {}
    for test in differ:
        groups.setdefault(explained(sentences, suite.name, test), []).append(test)
    for sentence in sorted(groups, key=lambda sentence: sentence or ""):
        print(f"  {len(groups[sentence])} differ: {sentence or 'NOT EXPLAINED'}\n    {' '.join(groups[sentence])}")
    good = None not in groups
    if not inserted.counts():
        print("  DOES NOT COUNT: there should be about as many records as connections")
        good = False
    if not os.environ.get("TESTS") and len(passed) < suite.least(len(base)):
        print(f"  BELOW THE BAR of {suite.least(len(base))}")
        good = False
    sys.stdout.flush()
    return good, {"suite": suite.name, "source": suite.source, "mode": inserted.mode, "direct": len(base), "inserted": len(passed), "differ": differ}


def stop(number, _):
    """Ends by way of the clean-up, for which nothing must be waited for."""
    if number == signal.SIGALRM:
        print(f"insert: not done after {BUDGET // 60} minutes; SUITE and TESTS choose less", flush=True)
    World.clear_all()
    sys.exit(1 if number == signal.SIGALRM else 128 + number)


def main():
    out, chosen, mode, direction, wanted = options()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, stop)
    good, ready, results = True, [], []
    for suite in chosen:
        try:
            suite.prepare(os.path.join(out, "insert"))
            ready.append(suite)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"{suite.name}: {error}", flush=True)
            good = False
    signal.alarm(BUDGET)
    deadline = time.monotonic() + BUDGET - 120  # for running again what failed
    for suite in ready:
        try:
            fine, result = measure(out, suite, mode, direction, wanted, deadline)
        except RuntimeError as error:
            print(f"{suite.name}: {error}", flush=True)
            fine, result = False, {"suite": suite.name, "error": str(error)}
        good &= fine
        results.append(result)
        write(os.path.join(out, "insert", "results.json"), json.dumps(results, indent=1))
    sys.exit(0 if good else 1)


main()
