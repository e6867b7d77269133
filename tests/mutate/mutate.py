#!/usr/bin/python3
"""make mutate: do the tests notice when a line is wrong? Lines of proxy/ and init/ are changed one at a time, and the tests that can notice
are run, nearest first, until one does.

    tests/mutate/mutate.py [--minutes N] [--mutants N] [--seed N] [--workers N] [--files PATTERN] [--only-first] [--resume] [--again] [--results FILE]

Flags, objects and libraries come from make. A mutant that does not compile, or compiles to the same object, is none. What an e2e case
noticed counts when the case fails once more with the mutant and passes without it, both at the same time. Survivors that
tests/mutants.txt explains are counted as survivors, but not complained about. A run adds to those before with --resume, and with --again
it asks first whether the tests of today notice what they left."""
import argparse
import concurrent.futures
import contextlib
import glob
import itertools
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.dont_write_bytecode = True
import mutants  # noqa: E402
import run  # noqa: E402

OUT, LIST, FIRST = "build/mutate", "tests/mutants.txt", "tests/mutate/first.txt"
NOTICED_LEAST = 0.85
UNIT_SECONDS, CASE_SECONDS, E2E_SECONDS, CASES_AT_ONCE = 30, 30, 120, 8
SLOW_UNITS = ("config/watch", "dns/resolve")  # they wait; run for their own file only

# Groups of e2e cases that belong to a file, nearest first: the longest prefix of the path counts.
GROUPS = {
    "proxy/connection/": "records reasons opaque timeouts timeouts_tcp progress hygiene limits drain harmless_ends harmless_stale",
    "proxy/connection/admission": "limits hygiene reasons",
    "proxy/connection/conn.c": "records reasons admin opaque timeouts progress hygiene limits drain",
    "proxy/connection/conn_events": "progress records reasons timeouts timeouts_tcp opaque limits drain hygiene admin",
    "proxy/connection/progress": "progress unacknowledged timeouts_tcp records",
    "proxy/connection/place": "limits hygiene reasons",
    "proxy/connection/listener": "limits reasons hygiene drain",
    "proxy/connection/origin": "reasons access hygiene",
    "proxy/connection/self_dial": "reasons",
    "proxy/connection/worker": "drain limits admin reasons",
    "proxy/connection/detect": "harmless opaque timeouts names",
    "proxy/connection/proto_detect": "harmless opaque timeouts timeouts_tcp reasons names",
    "proxy/connection/tls_hello": "names opaque",
    "proxy/connection/steer": "routes targets admin harmless_ends harmless_stale",
    "proxy/connection/conn_close": "records hygiene reasons advice timeouts progress metrics harmless_ends harmless_stale",
    "proxy/connection/ending": "records timeouts reasons advice metrics",
    "proxy/connection/cause": "records reasons",
    "proxy/connection/proto_linger": "hygiene progress timeouts limits harmless_ends harmless_stale",
    "proxy/connection/record": "records reasons advice timeouts log_sinks levels",
    "proxy/connection/advice": "records advice timeouts reasons",
    "proxy/exchange/": "records http1 reasons timeouts retries reuse harmless harmless_ends harmless_stale hygiene routes",
    "proxy/exchange/access": "access",
    "proxy/exchange/retry": "records retries timeouts",
    "proxy/exchange/loss": "records retries reuse reasons learned harmless_ends harmless_stale",
    "proxy/http1/": "http1 access timeouts hygiene reasons hostile traffic harmless",
    "proxy/http1/rewrite": "filters forwarded hygiene http1",
    "proxy/http1/reply": "reasons http1 filters",
    "proxy/http2/": "http2_acting http2_timers http2_ends http2_records http2_transparent http2_hostile",
    "proxy/leg/": "records opaque http1 progress hygiene reasons limits timeouts",
    "proxy/leg/pump": "opaque progress traffic http1 hygiene",
    "proxy/server/": "reuse learned retries reasons hygiene",
    "proxy/server/learned": "learned",
    "proxy/policy/": "routes targets timeouts filters reload",
    "proxy/config/": "reload annotations badinput routes explain",
    "proxy/config/annotations": "annotations badinput",
    "proxy/dns/": "targets routes reload",
    "proxy/metrics/": "metrics series prometheus",
    "proxy/admin/": "admin metrics ready levels",
    "proxy/admin/admin_config": "learned admin",
    "proxy/why": "why",
    "proxy/inject": "inject",
    "proxy/explain": "explain routes",
    "proxy/settings/": "badinput levels timeouts",
    "proxy/docs": "badinput explain",
    "proxy/main": "explain badinput drain reload ready levels",
    "proxy/explain/check_config": "badinput explain",
    "proxy/ready": "ready probes",
    "init/": "init init_hostile",
    "init/half_closed": "half_closed",
    "init/main": "init half_closed init_hostile",
    "init/cttimeout": "init half_closed",
    "init/tw_reuse": "init hygiene limits",
    "init/image": "init init_hostile",
}


class Tools:
    """How make compiles and links."""

    def __init__(self):
        def made(name):
            if (value := os.environ.get("MUTATE_" + name)) is None:
                raise SystemExit("mutate.py is run by `make mutate`, which says how to compile")
            return shlex.split(value)
        self.compiler, self.linker, self.libraries = made("COMPILE"), made("LINK"), made("LIBS")
        lib = made("LIB_O")
        self.rooms = {"init": made("INIT_O") + lib, "proxy": made("PROXY_O") + lib}
        self.linked = {}  # by each unit test, without what it cannot reach

    def compile(self, source, into):
        return run_quietly([*self.compiler, "-w", "-c", "-o", into, source], 120)

    def link(self, into, objects, *more):
        if not run_quietly([*self.linker, *more, "-o", into, *objects, *self.libraries], 120):
            raise RuntimeError(f"{into} cannot be linked")

    def library(self, room, into, objects):
        """A room without its main(), which all its unit tests share: one link a mutant."""
        name = f"lib{room}_room.so"
        self.link(f"{into}/{name}", without_main(objects), "-shared", "-Wl,-Bsymbolic",
                  f"-Wl,-soname,{name}")

    def prepare(self):
        """The unmutated room, and unit tests that take it from where LD_LIBRARY_PATH says."""
        shutil.rmtree(f"{OUT}/mutate", ignore_errors=True)
        os.makedirs(f"{OUT}/mutate/base")
        for room, objects in self.rooms.items():
            self.library(room, f"{OUT}/mutate/base", objects)
        for source in units():
            into = unit_program(source)
            os.makedirs(os.path.dirname(into), exist_ok=True)
            test, room = f"{OUT}/obj/{source[:-2]}.o", room_of(source)
            self.link(into, [test, *without_main(self.rooms[room]), "-lcmocka"], "-pie", "-Wl,--gc-sections")
            self.linked[source] = symbols(into)
            self.link(into, [test, f"{OUT}/mutate/base/lib{room}_room.so", "-lcmocka"])

    def reaches(self, source, path):
        """Whether a unit test links something of a file."""
        return bool(self.linked[source] & symbols(f"{OUT}/obj/{path[:-2]}.o"))


def without_main(objects):
    return [each for each in objects if not each.endswith("/main.o")]


def symbols(binary):
    lines = subprocess.run(["nm", "--defined-only", binary], capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for *_, kind, name in map(str.split, lines) if kind in "TtDdRrBb" and not name.startswith(("_", "."))}


def run_quietly(command, seconds, **more):
    """Whether it ended well, and in time."""
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True, **more) as child:
        try:
            return child.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def sources(under):
    """Those of both programs; lapse-publish, a wing of its own and yet to come, is neither."""
    return sorted(path for room in ("init", "proxy") for path in glob.glob(f"{under}{room}/**/*.c", recursive=True, root_dir=ROOT)
                  if not path.startswith(f"{under}proxy/publish/"))


def units():
    return sources("tests/unit/")


def unit_program(source):
    return f"{OUT}/mutate/{source[:-2]}"


def room_of(path):
    return path.removeprefix("tests/unit/").split("/")[0]


def nearest_units(tools, path):
    """Unit tests that link the file, its own first, then those of its wing; the slow ones only for their own file."""
    near = "tests/unit/" + path[:-2]

    def distance(source):
        return 0 if source == near + ".c" else 1 if source.startswith(near) else 2 if os.path.dirname(source) == os.path.dirname(near) else 3
    each = [source for source in units() if room_of(source) == room_of(path) and tools.reaches(source, path)
            and (distance(source) < 2 or not any(slow + ".c" in source for slow in SLOW_UNITS))]
    return sorted(each, key=distance)


def groups_of(path):
    return GROUPS[max((prefix for prefix in GROUPS if path.startswith(prefix)), key=len)].split()


# One mutant.

class Noticed(Exception):
    pass


class Judge(run.Report):
    """Stops at the first case that fails, and when the time is over; `settled` are those that need not run again."""

    def __init__(self, jobs, until, settled):
        super().__init__(jobs, False)
        self.until, self.settled = until, settled

    def add(self, job, results):
        self.settled.add(job.label)
        if any(each["why"] is not None for each in results):
            raise Noticed(job.label)
        if time.monotonic() > self.until:
            raise TimeoutError


class Verdicts(run.Report):
    """Whether each job passed, by the directory of its programs."""

    def __init__(self, jobs):
        super().__init__(jobs, False)
        self.passed_in = {}

    def add(self, job, results):
        self.passed_in[job.outdir] = all(each["why"] is None for each in results)


def cases(outdir):
    """Jobs that run the programs in outdir, and where the copies of the programs are."""
    scratch = tempfile.mkdtemp(prefix=f"lapse-test-{os.getpid()}-")
    os.chmod(scratch, 0o755)
    jobs = list(run.case_jobs(run.Context(os.path.join(ROOT, outdir), scratch), CASES_AT_ONCE, "e2e"))
    for job in jobs:
        job.outdir, job.limit = outdir, min(job.limit, CASE_SECONDS)
    return jobs, scratch


class Mutation:
    """A mutant, built in a directory of this process."""

    def __init__(self, tools, mutant):
        self.tools, self.mutant = tools, mutant
        self.directory = f"{OUT}/mutate/{os.getpid()}"
        self.room = room_of(mutant.path)
        os.makedirs(self.directory, exist_ok=True)

    def build(self):
        """False: it is no mutant."""
        source, objects = os.path.join(self.directory, self.mutant.path), []
        os.makedirs(os.path.dirname(source), exist_ok=True)
        for text in (mutants.text_of(ROOT, self.mutant._replace(after=self.mutant.before)), mutants.text_of(ROOT, self.mutant)):
            with open(source, "w") as file:  # both by one name, as an object may hold it
                file.write(text)
            if not self.tools.compile(source, source + ".o"):
                return False
            with open(source + ".o", "rb") as file:
                objects.append(file.read())
        if objects[0] == objects[1]:
            return False
        own = f"{OUT}/obj/{self.mutant.path[:-2]}.o"
        linked = [source + ".o" if each == own else each for each in self.tools.rooms[self.room]]
        self.tools.library(self.room, self.directory, linked)
        for room in ("init", "proxy"):
            program = f"{self.directory}/lapse-{room}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(program)
            if room == self.room:
                self.tools.link(program, linked, "-pie", "-Wl,--gc-sections")
            else:
                os.symlink(os.path.join(ROOT, OUT, f"lapse-{room}"), program)
        return True

    def unit_passes(self, source, directory):
        return run_quietly([unit_program(source)], UNIT_SECONDS, env={**os.environ, "LD_LIBRARY_PATH": os.path.join(ROOT, directory)})

    def unit_notices(self, source):
        return not self.unit_passes(source, self.directory) and self.unit_passes(source, f"{OUT}/mutate/base") \
            and not self.unit_passes(source, self.directory)

    def noticed_by_unit(self):
        for source in nearest_units(self.tools, self.mutant.path):
            if self.unit_notices(source):
                return source.removeprefix("tests/")[:-2]
        return None

    def case_confirmed(self, label):
        """The case fails again with the mutant and passes without it, at the same time."""
        with contextlib.ExitStack() as stack:
            jobs = []
            for outdir in (self.directory, OUT):
                each, scratch = cases(outdir)
                stack.callback(shutil.rmtree, scratch, True)
                jobs += [job for job in each if job.label == label]
            verdicts = Verdicts(jobs)
            run.run_jobs(jobs, CASES_AT_ONCE, verdicts)
            return not verdicts.passed_in[self.directory] and verdicts.passed_in[OUT]

    def noticed_by_case(self):
        until, settled = time.monotonic() + E2E_SECONDS, set()
        while True:
            jobs, scratch = cases(self.directory)
            jobs = [job for group in groups_of(self.mutant.path) for job in jobs
                    if job.group == f"e2e/{group}" and job.label not in settled]
            try:
                run.run_jobs(jobs, CASES_AT_ONCE, Judge(jobs, until, settled))
                return None
            except Noticed as noticed:
                if self.case_confirmed(str(noticed)):
                    return str(noticed)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def judge_by_units(tools, mutant):
    """(mutant, "none", "noticed" or "left", what noticed it, seconds)"""
    begun = time.monotonic()
    mutation = Mutation(tools, mutant)
    if not mutation.build():
        return mutant, "none", None, 0
    by = mutation.noticed_by_unit()
    return mutant, "noticed" if by else "left", by, time.monotonic() - begun


def judge_by_cases(tools, mutant):
    """(mutant, "noticed", "unnoticed" or "late", what noticed it, seconds). Late: its time was over before its last case."""
    begun = time.monotonic()
    mutation = Mutation(tools, mutant)
    mutation.build()
    try:
        by = mutation.noticed_by_case()
    except TimeoutError:
        return mutant, "late", None, time.monotonic() - begun
    return mutant, "noticed" if by else "unnoticed", by, time.monotonic() - begun


def limit_this_process():
    """A mutant may loop, eat memory or fill the disk."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))


# All of them.

def chosen(arguments):
    """First the lines of the list, then lines at random: the same ones for the same seed and source."""
    for path, before, after in mutants.listed(ROOT, FIRST, 3):
        if mutant := mutants.find(ROOT, path, before, after):
            yield mutant
        else:
            print(f"{FIRST}: {path} has no such line any more: {before}", flush=True)
    if arguments.only_first:
        return
    lines = [line for path in sources("") if any(pattern in path for pattern in arguments.files or ("",)) for line in mutants.of_file(ROOT, path)]
    chance = random.Random(arguments.seed)
    chance.shuffle(lines)
    for line in lines:
        yield chance.choice(line)


def former(path):
    """{mutant: verdict} of the runs before, the last word on each."""
    found = {}
    with open(path) as file:
        for row in map(json.loads, file):
            found[mutants.Mutant(**{name: row[name] for name in mutants.Mutant._fields})] = row["verdict"], row["by"]
    return found


def moved(before):
    """The same, where the lines are now. One that is gone counts as it did, but for what nobody had noticed: it is none."""
    found = {}
    for mutant, (verdict, by) in before.items():
        now = mutants.find(ROOT, mutant.path, mutant.before, mutant.after, mutant.number, anywhere=True)
        if now or verdict == "noticed":
            found[now._replace(kind=mutant.kind) if now else mutant] = verdict, by
        elif verdict != "none":
            print(f"no such line any more: {mutant.path}  {mutant.before}", flush=True)
    return found


def work(arguments, tools, before):
    """Yields what became of each mutant: all of them by the unit tests, which are quick, then those left by the e2e cases, until the
    time is over; "left" comes again, but for those there was no time for."""
    until, left = time.monotonic() + arguments.minutes * 60, [mutant for mutant, (verdict, _) in before.items() if verdict in ("left", "late")]
    again = [mutant for mutant, (verdict, _) in before.items() if verdict == "unnoticed"] if arguments.again else []
    enough = sum(verdict != "none" for verdict, _ in before.values()) - len(again)
    waiting = itertools.chain(again, (mutant for mutant in chosen(arguments) if mutant not in before))
    with concurrent.futures.ProcessPoolExecutor(arguments.workers, initializer=limit_this_process) as pool:
        running = set()
        while True:
            while len(running) < arguments.workers and time.monotonic() < until:
                if enough + len(running) < arguments.mutants and (mutant := next(waiting, None)):
                    running.add(pool.submit(judge_by_units, tools, mutant))
                elif left:
                    running.add(pool.submit(judge_by_cases, tools, left.pop(0)))
                else:
                    break
            if not running:
                return
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for mutant, verdict, by, seconds in (each.result() for each in done):
                if verdict == "left":
                    left.append(mutant)
                enough += verdict in ("left", "noticed") and not (by or "").startswith("e2e/")
                yield mutant, verdict, by, seconds


def main():
    parser = argparse.ArgumentParser(prog="tests/mutate/mutate.py", description="Changes lines and looks whether a test notices.")
    parser.add_argument("--minutes", type=float, default=60, help="nothing is begun after this; default 60")
    parser.add_argument("--mutants", type=int, default=200, help="how many; default 200")
    parser.add_argument("--seed", type=int, default=1, help="another one, other mutants; default 1")
    parser.add_argument("--workers", type=int, default=2, help="mutants at once; default 2")
    parser.add_argument("--files", action="append", help="only files whose path contains this; may be repeated")
    parser.add_argument("--only-first", action="store_true", help=f"only those of {FIRST}")
    parser.add_argument("--resume", action="store_true", help="adds to the last run, until there are as many mutants as --mutants says; what that left for want of time too")
    parser.add_argument("--again", action="store_true", help="as --resume, and what no test noticed then is tried once more, wherever its line is now")
    parser.add_argument("--results", default=f"{OUT}/mutants.json", help="where each mutant goes, a line of JSON each")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    if os.geteuid() == 0 and "LAPSE_MUTATE_INSIDE" not in os.environ:
        # What a mutant of lapse-init does to "the host" is done to a namespace that goes with us.
        os.environ["LAPSE_MUTATE_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv])
    tools = Tools()
    tools.prepare()
    explained = {tuple(row[:3]): row[3] for row in mutants.listed(ROOT, LIST, 4)}
    before, begun = former(arguments.results) if arguments.resume or arguments.again else {}, time.monotonic()
    if arguments.again:
        before = moved(before)
    verdicts = {mutant: verdict for mutant, (verdict, _) in before.items() if verdict != "none"}
    with open(arguments.results, "a" if arguments.resume and not arguments.again else "w") as results:
        if arguments.again:
            for mutant, (verdict, by) in before.items():
                print(json.dumps({**mutant._asdict(), "verdict": verdict, "by": by, "seconds": 0}), file=results, flush=True)
        for mutant, verdict, by, seconds in work(arguments, tools, before):
            print(json.dumps({**mutant._asdict(), "verdict": verdict, "by": by, "seconds": round(seconds, 1)}), file=results, flush=True)
            if verdict == "none":
                verdicts.pop(mutant, None)
                continue
            verdicts[mutant] = verdict
            known = explained.get((mutant.path, mutant.before, mutant.after))
            print(f"{verdict:>9} {mutant.path}:{mutant.number}  {mutant.before}  ->  {mutant.after or '(nothing)'}  "
                  f"[{by or known or ('e2e cases come later' if verdict == 'left' else 'nobody knows why')}, {seconds:.0f} s]", flush=True)
    noticed, unnoticed, left, late = (sum(each == name for each in verdicts.values()) for name in ("noticed", "unnoticed", "left", "late"))
    unexplained = [mutant for mutant, verdict in verdicts.items()
                   if verdict == "unnoticed" and (mutant.path, mutant.before, mutant.after) not in explained]
    share = noticed / max(noticed + unnoticed, 1)
    print(f"{len(verdicts)} mutants in {(time.monotonic() - begun) / 60:.0f} minutes: {noticed} noticed, {unnoticed} not ({share:.1%}), of these "
          f"{len(unexplained)} without a sentence in {LIST}; {left} not tried by e2e cases and {late} not by all of theirs, for want of time; seed {arguments.seed}")
    return 0 if verdicts and share >= NOTICED_LEAST and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
