"""make bench: Lapse beside its peers on one topology, in one run. `bench.py OUTDIR`, where the built programs are; prints tables,
writes OUTDIR/bench.json. ROUNDS=1 CASES=keepalive,start in the environment for a quick look.

The client and the pod are network namespaces; a peer gets what lapse-init redirects, as uid 2102; load and app run on one CPU, the
proxy with one worker on the other. Every round measures every peer, one after the other."""
import json
import os
import platform
import signal
import sys
import time

import cases
import peers
import report
import traffic
from world import World

ROUNDS = 4
BUDGET = 560  # seconds: a round that would not end before is not begun, and nothing is begun after

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def stop(number, _):
    """Ends by way of the clean-up, which nothing may interrupt."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def options():
    names = os.environ.get("CASES", "").replace(",", " ").split() or list(cases.CASES)
    unknown = [name for name in names if name not in cases.CASES]
    rounds = os.environ.get("ROUNDS") or str(ROUNDS)
    if len(sys.argv) != 2:
        sys.exit("usage: bench.py OUTDIR")
    if unknown or not rounds.isdigit() or not int(rounds):
        sys.exit(f"bench: ROUNDS is a number from 1 on, CASES some of: {' '.join(cases.CASES)}")
    if os.geteuid() != 0:
        sys.exit("bench: needs root, for network namespaces")
    return sys.argv[1], [cases.CASES[name] for name in names], int(rounds)


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.machine(), "cpus": len(os.sched_getaffinity(0)),
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d %H:%M:%S %z"), "loadavg": os.getloadavg()[0]}


def say(text):
    """Progress, for a person who waits."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure(world, chosen, rounds):
    """{case name: samples}, and how many rounds there was time for. What is measured once comes first."""
    samples, start, longest = {case.name: {} for case in chosen}, time.monotonic(), 0

    def left():
        return BUDGET - (time.monotonic() - start)

    def step(what, some):
        for case in some:
            if left() > 0:
                say(f"{what}: {case.name}")
                report.add(samples[case.name], case.measure(world))

    step("once", [case for case in chosen if case.once])
    for number in range(rounds):
        if left() < longest:
            return samples, number
        before = left()
        step(f"round {number + 1} of {rounds}", [case for case in chosen if not case.once])
        longest = max(longest, before - left())
    return samples, rounds


def document(chosen, samples):
    """All there is to say, as values."""
    return {
        "cases": [{"name": case.name, "title": case.title, "rows": case.rows, "against": case.against,
                   "limits": case.function is traffic.traffic, "samples": samples[case.name]} for case in chosen if samples[case.name]],
        "left_out": [case.name for case in chosen if not samples[case.name]],
        "bars": [said for bar in cases.BARS if bar.case in chosen and (said := bar.judge(samples[bar.case.name]))],
    }


def main():
    out, chosen, rounds = options()
    for number in SIGNALS:
        signal.signal(number, stop)
    about = {"machine": machine(), "versions": peers.versions()}
    start = time.monotonic()
    try:
        with World(out) as world:
            samples, done = measure(world, chosen, rounds)
            about |= {"runs": world.runs, "disturbed_runs": world.disturbed}
    except RuntimeError as broken:
        say("")
        sys.exit(f"bench: {broken}")
    say("")
    about |= {"rounds": done, "seconds": round(time.monotonic() - start, 1)} | document(chosen, samples)
    print(report.render(about))
    if done < rounds or about["left_out"]:
        print(f"no time for more than {done} of {rounds} rounds" + "".join(f", for {name}" for name in about["left_out"]))
    path = os.path.join(out, "bench.json")
    with open(path, "w") as file:
        json.dump(about, file, indent=1, ensure_ascii=False)
        file.write("\n")
    print(f"all figures: {path}")


if __name__ == "__main__":
    main()
