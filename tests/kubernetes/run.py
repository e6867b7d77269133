#!/usr/bin/python3
"""The runner of `make test-kubernetes`: cases on a real kubelet and kube-apiserver.

    tests/kubernetes/run.py [PATTERN…] [-v] [-j N] [--list] [--keep | --on STATE]

A PATTERN is part of what --list prints, e.g. "static", "node/rolling". One cluster a size (api, static, node), several cases at a time
on it; all of it is gone afterwards. --keep leaves the cluster of the last size running and says where;
--on uses it for another run.
KUBE (build/kubernetes) holds programs and images."""
import argparse
import concurrent.futures
import glob
import importlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.dont_write_bytecode = True

from e2e.harness.case import Failure  # noqa: E402
from harness.case import LIMIT, MODES, registry  # noqa: E402
from harness.cluster import Cluster, Space  # noqa: E402


class Watchdog:
    """Names the cases that run and since when; ends the run when one is far over its limit."""

    def __init__(self, say):
        self.running, self.lock, self.say = {}, threading.Lock(), say

    def watch(self, on_hang):
        def look():
            while True:
                time.sleep(1)
                with self.lock:
                    hung = [name for name, since in self.running.items() if time.monotonic() - since > LIMIT]
                if hung:
                    on_hang(hung)
                    return
        threading.Thread(target=look, daemon=True).start()


def cases(patterns):
    for path in sorted(glob.glob(f"{HERE}/cases/[a-z]*.py")):
        importlib.import_module("cases." + os.path.basename(path)[:-3])
    found = [each for each in registry if not patterns or any(pattern in label(each) for pattern in patterns)]
    return sorted(found, key=lambda each: MODES.index(each.mode))


def label(each):
    return f"{each.mode}/{each.file} {each.name}"


# So many cases of one size that failed are run once more, alone, before they count: two cores are not always there.
AGAIN_MOST = 3


def run_case(cluster, each, watchdog, suffix=""):
    """Why it failed, or None, and how long it took."""
    began = time.monotonic()
    with watchdog.lock:
        watchdog.running[label(each)] = began
    space = None
    try:
        if each.mode == "static":
            each.function(cluster, *each.arguments)
        else:
            space = Space(cluster, re.sub("[^a-z0-9]+", "-", f"{each.file}-{each.name}".lower()).strip("-")[:54].strip("-") + suffix)
            each.function(space, *each.arguments)
        why = None
    except Failure as failure:
        why = str(failure)
    except Exception:  # pylint: disable=broad-except
        why = traceback.format_exc(limit=-4)
    finally:
        with watchdog.lock:
            watchdog.running.pop(label(each), None)
    took = time.monotonic() - began
    if why and space:
        why += evidence(space)
    if space:
        space.close()
    return why, took


def evidence(space):
    """What a reader of a failure asks next."""
    said = space.kubectl("get", "pods", "-o", "wide", check=False).stdout
    events = space.kubectl("get", "events", "--sort-by=.lastTimestamp", "-o", "custom-columns=OF:.involvedObject.name,MESSAGE:.message",
                           check=False).stdout
    told = [line for line in events.splitlines() if not line.endswith((" created", " started")) and "already present" not in line]
    return f"\n{said}{chr(10).join(told[-8:])}"


def run_mode(mode, chosen, options, watchdog):
    began = time.monotonic()
    cluster = Cluster(options.kube, mode, options.on)
    passed, failures = 0, []
    keep = options.keep

    def report(each, outcome):
        nonlocal passed
        why, took = outcome
        passed += not why
        failures.extend([each] if why else [])
        if why or options.verbose:
            print(f"  {'FAIL' if why else 'ok  '} {label(each)}: {each.title} ({took:.1f} s)", flush=True)
        if why:
            print("       " + why.replace("\n", "\n       "), flush=True)
    try:
        if not options.on:
            cluster.up()
        ready = time.monotonic() - began
        together = [each for each in chosen if not each.alone]
        pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
        running = {pool.submit(run_case, cluster, each, watchdog): each for each in together}
        for done in concurrent.futures.as_completed(running):
            report(running[done], done.result())
        for each in chosen:
            if each.alone:
                report(each, run_case(cluster, each, watchdog))
        for each in list(failures) if len(failures) <= AGAIN_MOST else ():
            if not run_case(cluster, each, watchdog, "-again")[0]:
                print(f"  passed alone: {label(each)}, which had failed", flush=True)
                failures.remove(each)
                passed += 1
        failed = len(failures)
        print(f"{mode:8} {passed} passed{f', {failed} failed' if failed else ''}; up in {ready:.1f} s, {time.monotonic() - began:.1f} s in all",
              flush=True)
    except Failure as failure:
        print(f"  FAIL {mode}: {failure}", flush=True)
        failed = len(chosen) - passed
    except SystemExit as end:  # told to end, or a case hangs: its thread cannot be waited for
        cluster.down()
        print(f"{passed} passed, {len(chosen) - passed} failed", flush=True)
        os._exit(end.code)
    finally:
        if keep and not options.on:
            print(f"kept: {cluster.state} (kc, in); end it with KUBE={options.kube} {HERE}/down.sh {cluster.state}")
        elif not options.on:
            cluster.down()
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-j", "--jobs", type=int, default=4)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--on", metavar="STATE")
    options = parser.parse_args()
    options.kube = os.path.realpath(os.environ.get("KUBE", f"{ROOT}/build/kubernetes"))
    chosen = cases(options.patterns)
    if options.list:
        print("\n".join(f"{label(each)}: {each.title}" for each in chosen))
        return 0
    if os.geteuid() != 0:
        print("needs root: it makes network namespaces and runs a container runtime", file=sys.stderr)
        return 1
    if not chosen:
        print("no case matches", file=sys.stderr)
        return 64
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    watchdog, passed, failed = Watchdog(print), 0, 0
    watchdog.watch(lambda hung: (print(f"  FAIL hung: {', '.join(hung)}", flush=True), os.kill(os.getpid(), signal.SIGTERM)))
    began = time.monotonic()
    for mode in MODES:
        those = [each for each in chosen if each.mode == mode]
        if those:
            good, bad = run_mode(mode, those, options, watchdog)
            passed, failed = passed + good, failed + bad
    print(f"kubernetes: {len(chosen)} cases in {time.monotonic() - began:.1f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
