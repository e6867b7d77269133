#!/usr/bin/python3
"""The runner of `make test`: unit test binaries, platform programs and e2e cases, several at a time.

    tests/run.py OUTDIR [PATTERN…] [-v] [-j N] [--list]

A PATTERN is part of what --list prints, e.g. "unit/lib", "e2e/timeouts", "idle_connection". Every job runs in a child of its own;
whatever it leaves behind is removed after it, and again when the runner ends, however that comes."""
import argparse
import contextlib
import glob
import importlib
import json
import os
import re
import resource
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
NAMESPACES = "/run/netns"
# So many cases that failed among others are run once more, alone, before they count: two cores are not always there when a timer is due.
# What a sanitizer reported is no matter of time.
AGAIN_MOST = 3
NO_MATTER_OF_TIME = re.compile(r"Sanitizer|runtime error:|Assertion|process died|lapse-\w+ (exited|ended)")


class Context:
    """What every e2e case needs to know."""

    def __init__(self, outdir, scratch):
        self.scratch = scratch
        self.sanitize = os.path.basename(outdir) in ("sanitize", "thread")
        self.release = os.path.basename(outdir) not in ("sanitize", "thread", "debug")
        self.init, self.proxy = (os.path.join(scratch, "bin", name) for name in ("lapse-init", "lapse-proxy"))
        self.missing = None
        # A copy: user 2102 may not be able to look into the tree.
        os.mkdir(os.path.join(scratch, "bin"), 0o755)
        for path in (self.init, self.proxy):
            try:
                shutil.copy(os.path.join(outdir, os.path.basename(path)), path)
                os.chmod(path, 0o755)
            except OSError as error:
                self.missing = f"{error.filename}: {error.strerror}; run make"
        if os.geteuid() != 0:
            self.missing = "needs root: it makes network namespaces"

    def environment(self, extra=None):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
                "ASAN_OPTIONS": "detect_leaks=1:exitcode=66", "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=67",
                "TSAN_OPTIONS": "exitcode=68", **(extra or {})}


class Job:
    """A child to run. `work` is called in the child and returns [{name, why (None: passed), log}]."""

    def __init__(self, group, name, title, work, weight=1, limit=60):
        self.group, self.name, self.title, self.work = group, name, title, work
        self.weight, self.limit = weight, limit
        self.pid = self.fd = self.prefix = self.started = None
        self.said = b""

    @property
    def label(self):
        return f"{self.group} {self.name}" if self.name else self.group


def result(name, why=None, log=""):
    return {"name": name, "why": why, "log": log}


# Unit tests and platform programs.

def run_program(path, timeout, environment):
    try:
        done = subprocess.run([path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=timeout, env={**os.environ, **environment})
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return None, (late.stdout or b"").decode("utf-8", "replace")


def line_results(path, timeout, environment, line):
    """Runs a program whose lines `ok NAME` and `not ok NAME: why` are its tests; `line` finds them."""
    code, output = run_program(path, timeout, environment)
    lines = output.splitlines()
    results = []
    for number, text in enumerate(lines):
        if found := re.match(line, text):
            why = None
            if found["bad"]:
                after = [more[2:] for more in lines[number + 1:number + 4] if more.startswith("# ")]
                why = found.groupdict().get("why") or "; ".join(after) or "failed"
            results.append(result(found["name"].strip(), why, "" if why is None else tail_text(output)))
    failed = any(each["why"] for each in results)
    if code is None:
        results.append(result("", f"still running after {timeout} s", tail_text(output)))
    elif code < 0:
        results.append(result("", f"killed by {signal.Signals(-code).name}", tail_text(output)))
    elif code > 0 and not failed:
        results.append(result("", f"exit {code}", tail_text(output)))
    elif not results:
        results.append(result("", "ran no test", tail_text(output)))
    return results


def program_jobs(outdir):
    sanitizer = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    limit = 360 if "sanitize" in outdir else 120
    unit = os.path.join(outdir, "tests/unit")
    for path in sorted([*glob.glob(unit + "/*/*"), *glob.glob(unit + "/*/*/*")]):
        if is_program(path):
            room, name = os.path.split(os.path.relpath(path, unit))
            yield Job(f"unit/{room}", name, "", lambda path=path: line_results(
                path, limit, {**sanitizer, "CMOCKA_MESSAGE_OUTPUT": "TAP"}, r"(?P<bad>not )?ok \d+ - (?P<name>.*)"), limit=limit + 10)
    for path in sorted(glob.glob(os.path.join(outdir, "tests/platform/*"))):
        if is_program(path):
            yield Job("platform", os.path.basename(path), "", lambda path=path: line_results(
                path, limit, sanitizer, r"(?P<bad>not )?ok (?P<name>[^:]*)(: *(?P<why>.*))?$"), limit=limit + 10)


def is_program(path):
    status = os.stat(path)
    return stat.S_ISREG(status.st_mode) and status.st_mode & 0o111


# e2e cases.

def case_jobs(context, workers, folder):
    from e2e.harness import record
    from e2e.harness.case import registry
    read_rows(record)
    for path in sorted(glob.glob(os.path.join(HERE, folder, "*.py"))):
        importlib.import_module(f"{folder}." + os.path.basename(path)[:-3])
    for each in registry:
        if not each.function.__module__.startswith(folder + "."):
            continue
        if each.release_only and not context.release:
            continue
        job = Job(f"{folder}/{each.file}", each.name, each.title, None, min(each.weight, workers),
                  each.limit * (3 if context.sanitize else 1))
        job.work = lambda job=job, each=each: run_case(context, each, job)
        yield job


def read_rows(record):
    """The reasons and timers there are, from the rows the programs are made of."""
    with open(os.path.join(ROOT, "lib/reasons.def")) as file:
        rows = re.findall(r"^REASON\((\w+), (\w+), (\w+),", file.read(), re.M)
    names = {identifier: name for identifier, name, _ in rows}
    record.REASONS.update({name: by for _, name, by in rows if name != "none"})
    with open(os.path.join(ROOT, "lib/timeouts.def")) as file:
        record.TIMED.update({name: names.get(reason) for name, reason
                          in re.findall(r"^TIMEOUT\(\w+, (\w+), \d+, (\w+),", file.read(), re.M)})


def run_case(context, each, job):
    from e2e.harness import Failure, Pod
    if context.missing:
        return [result("", context.missing)]
    whys, pod = [], None
    try:
        pod = Pod(context, job.prefix, each.way)
        each.function(pod, *each.arguments)
    except Failure as failure:
        whys.append(f"{failure} ({where(failure)})")
    except Exception as error:
        whys.append(f"{type(error).__name__}: {error} ({where(error)})")
    if pod:
        whys += pod.finish()
    return [result("", " | also: ".join(whys) if whys else None, tail_files(job, context) if whys else "")]


def where(error):
    """The line of the case that was running."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/harness/" not in frame.filename]
    return f"{os.path.relpath(frames[-1].filename, ROOT)}:{frames[-1].lineno}" if frames else "harness"


def tail_text(text, lines=12):
    return "\n".join(text.rstrip().splitlines()[-lines:])


def tail_files(job, context):
    parts = []
    for path in sorted(glob.glob(os.path.join(context.scratch, job.prefix, "*"))):
        if os.path.isfile(path):
            with open(path, errors="replace") as file:
                text = tail_text(file.read())
            if text:
                parts.append(f"--- {os.path.basename(path)}\n{text}")
    return "\n".join(parts)


# Children.

def start(job, prefix):
    job.prefix = prefix
    job.fd, into = os.pipe()
    job.pid = os.fork()
    job.started = time.monotonic()
    if job.pid == 0:
        code = 1
        try:
            os.close(job.fd)
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with os.fdopen(into, "w") as out:
                json.dump(job.work(), out)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(into)


def finish(job):
    """The results of a child whose pipe has ended, or whose time has."""
    late = time.monotonic() - job.started > job.limit
    if late:
        with contextlib.suppress(ProcessLookupError):
            os.kill(job.pid, signal.SIGKILL)
    status = os.waitpid(job.pid, 0)[1]
    os.close(job.fd)
    job.pid = None
    sweep(job.prefix + "-")
    if late:
        return [result("", f"still running after {job.limit} s")]
    try:
        return json.loads(job.said)
    except ValueError:
        return [result("", f"the test's process died: {os.waitstatus_to_exitcode(status)}")]


def sweep(prefix):
    """Removes the namespaces whose name starts so, and kills what still runs in them."""
    names = [name for name in os.listdir(NAMESPACES) if name.startswith(prefix)] if os.path.isdir(NAMESPACES) else []
    for name in names:
        path = os.path.join(NAMESPACES, name)
        with contextlib.suppress(OSError):
            inode = os.stat(path).st_ino
            for entry in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{entry}/ns/net").st_ino == inode:
                        os.kill(int(entry), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sweep_dead_runs():
    """Namespaces and files of runners that were killed before they could clean up."""
    for path in glob.glob(os.path.join(tempfile.gettempdir(), "lapse-test-*-*")):
        if (found := re.search(r"lapse-test-(\d+)-", path)) and not os.path.exists(f"/proc/{found[1]}"):
            shutil.rmtree(path, ignore_errors=True)
    for name in os.listdir(NAMESPACES) if os.path.isdir(NAMESPACES) else ():
        if (found := re.match(r"lapse-(\d+)-", name)) and not os.path.exists(f"/proc/{found[1]}"):
            sweep(name)


class Report:
    def __init__(self, jobs, verbose):
        self.verbose, self.passed, self.failed, self.doubtful = verbose, 0, 0, []
        self.left, self.groups = {}, {}
        for job in jobs:
            self.left[job.group] = self.left.get(job.group, 0) + 1

    def add(self, job, results):
        seconds = time.monotonic() - job.started
        group = self.groups.setdefault(job.group, [0, 0, job.started])
        for each in results:
            bad = each["why"] is not None
            self.passed, self.failed = self.passed + (not bad), self.failed + bad
            group[bad] += 1
            label = " ".join(filter(None, (job.label, each["name"])))
            if bad:
                say(f"FAIL {label}: {each['why']}")
                for line in filter(None, [job.title, *each["log"].splitlines()]):
                    say("     | " + line[:600])
                if job.title and not NO_MATTER_OF_TIME.search(each["why"] + each["log"]):
                    self.doubtful.append(job)
            elif self.verbose:
                say(f"  ok {label}: {job.title} ({seconds:.1f} s)" if job.title else f"  ok {label} ({seconds:.1f} s)")
        self.left[job.group] -= 1
        if not self.left[job.group]:
            passed, failed, began = group
            say(f"{job.group:<16} {passed} passed" + (f", {failed} failed" if failed else "")
                + f" in {time.monotonic() - began:.1f} s")

    def again(self):
        """The cases that failed, alone; those that pass now are counted so, and named."""
        jobs, self.doubtful = self.doubtful, []
        if self.failed > AGAIN_MOST:
            return
        for number, job in enumerate(jobs):
            alone = Report([job], self.verbose)
            job.said = b""
            run_jobs([job], job.weight, alone, f"again{number}-")
            if not alone.failed:
                say(f"passed alone: {job.label}, which had failed among others")
                self.passed, self.failed = self.passed + 1, self.failed - 1


def say(text):
    print(text, flush=True)


def run_jobs(jobs, workers, report, prefix=""):
    """Heavy jobs first; as many at once as their weights allow."""
    waiting = sorted(jobs, key=lambda job: -job.weight)
    running, number = [], 0
    try:
        while waiting or running:
            free = workers - sum(job.weight for job in running)
            for job in [job for job in waiting]:
                if job.weight > free:
                    break
                waiting.remove(job)
                number += 1
                start(job, f"lapse-{os.getpid()}-{prefix}{number}")
                running.append(job)
                free -= job.weight
            ready = select.select([job.fd for job in running], [], [], 0.5)[0]
            for job in list(running):
                ended = False
                if job.fd in ready:
                    data = os.read(job.fd, 1 << 16)
                    job.said += data
                    ended = not data
                if ended or time.monotonic() - job.started > job.limit:
                    running.remove(job)
                    report.add(job, finish(job))
    finally:
        for job in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGKILL)
            os.waitpid(job.pid, 0)
        sweep(f"lapse-{os.getpid()}-")


def main():
    parser = argparse.ArgumentParser(prog="tests/run.py", description="Runs Lapse's tests.")
    parser.add_argument("outdir", help="where make put the programs: build, build/sanitize …")
    parser.add_argument("patterns", nargs="*", help="run only tests whose group and name contain one of these")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each test")
    parser.add_argument("-j", "--jobs", type=int, default=8, help="how many at once (they mostly wait); default 8")
    parser.add_argument("--cases", default="e2e", metavar="FOLDER", help="cases of another folder than e2e, and these alone")
    parser.add_argument("--list", action="store_true", help="print the tests and stop")
    arguments = parser.parse_intermixed_args()
    outdir = os.path.abspath(arguments.outdir)

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(130))
    scratch = tempfile.mkdtemp(prefix=f"lapse-test-{os.getpid()}-")
    os.chmod(scratch, 0o755)
    try:
        context = Context(outdir, scratch)
        jobs = [*(program_jobs(outdir) if arguments.cases == "e2e" else ()), *case_jobs(context, arguments.jobs, arguments.cases)]
        if arguments.patterns:
            jobs = [job for job in jobs if any(pattern in job.label for pattern in arguments.patterns)]
        if arguments.list:
            for job in jobs:
                say(f"{job.label}: {job.title}" if job.title else job.label)
            return 0
        if os.geteuid() == 0:
            sweep_dead_runs()
        report = Report(jobs, arguments.verbose)
        started = time.monotonic()
        try:
            run_jobs(jobs, arguments.jobs, report)
            if not arguments.patterns:
                report.again()
        except KeyboardInterrupt:
            say("interrupted")
            report.failed += 1
        say(f"{len(jobs)} jobs in {time.monotonic() - started:.1f} s")
        say(f"{report.passed} passed, {report.failed} failed")
        return 0 if report.failed == 0 and report.passed else 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
