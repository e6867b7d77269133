"""Instructions that a request costs, counted by valgrind, beside the figures that tests/instructions.txt has for this compiler and
C library: what makes the steady path longer is seen here, whatever else the machine does."""
import glob
import itertools
import os
import platform
import re
import time

import hpack

from .harness import BINARY, case, echo, expect, frames, http, request
from .harness.pod import PORT, PROXY_UID

FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "instructions.txt")
WITHIN, TRIES = 0.05, 3
SETTLED, COUNTED = 50, 500
# The C library's functions for every CPU rather than those for this one.
ANY_CPU = "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in ("AVX2", "AVX", "AVX_Fast_Unaligned_Load", "ERMS", "FSRM", "BMI2", "SSE4_2",
                                                                "SSE4_1", "SSSE3", "Fast_Unaligned_Copy", "AVX512F", "AVX512VL"))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
WIDE = 100


def always(question):
    """The same bytes in each round."""
    return lambda peer: lambda: question


def streams(count):
    """So many requests of HTTP/2 at once, in each round; all tables are settled after the first."""
    def begin(peer):
        encoder, numbers = hpack.Encoder(), itertools.count(1, 2)
        fields = ((":method", "GET"), (":scheme", "http"), (":authority", "app"), (":path", "/"), ("user-agent", "test"), ("accept", "*/*"))
        peer.send(frames.PREFACE + frames.settings() + frames.SETTINGS_ACK)
        return lambda: b"".join(frames.headers(next(numbers), encoder.encode(fields), True) for _ in range(count))
    return begin


def answering(count):
    """For app(): answers so many streams at once, when all of them have come."""
    def serve(peer):
        encoder, waiting = hpack.Encoder(), []
        peer.exactly(len(frames.PREFACE))
        peer.send(frames.settings() + frames.SETTINGS_ACK)
        while len(head := peer.exactly(9)) == 9:
            came = frames.Frame(head, peer.exactly(int.from_bytes(head[:3], "big")))
            if came.kind == frames.HEADERS:
                waiting.append(came.stream)
            if len(waiting) == count:
                peer.send(b"".join(frames.headers(each, encoder.encode(((":status", "200"), ("server", "app"))))
                                   + frames.data(each, b"end" if each == waiting[-1] else b"ok\n", True) for each in waiting))
                waiting = []
    return serve


# name: (port, what begins a connection and returns what makes the bytes of a round, the end of its answer, requests of a round, rounds)
SCRIPTS = {
    "keepalive": (PORT, always(request("GET", "/", "User-Agent: test", "Accept: */*")), b"\r\n\r\nok\n", 1, COUNTED),
    "chunked": (PORT + 1, always(request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"), b"\r\n0\r\n\r\n", 1, COUNTED),
    "opaque": (PORT + 2, always(BINARY * 8), BINARY * 8, 1, COUNTED),
    "stream": (PORT + 3, streams(1), b"end", 1, COUNTED),
    "wide": (PORT + 4, streams(WIDE), b"end", WIDE, COUNTED // 10),
}


def built_with(program):
    """What the figures depend on: CPU, compiler, C library."""
    with open(program, "rb") as file:
        found = re.search(rb"(GCC): \([^)]*\) ([\d.]+)|(clang) version ([\d.]+)", file.read())
    compiler = b"-".join(filter(None, found.groups())).decode().lower() if found else "unknown"
    return f"{platform.machine()} {compiler} {os.confstr('CS_GNU_LIBC_VERSION').replace(' ', '-')}"


def committed():
    """{what it was built with: {script: instructions}}"""
    with open(FIGURES) as file:
        rows = [line.split() for line in file if not line.startswith("#")]
    return {" ".join(row[:3]): {name: int(figure) for name, figure in zip(row[3::2], row[4::2])} for row in rows}


def write(key, figures):
    rows = committed() | {key: figures}
    with open(FIGURES) as file:
        head = [line for line in file if line.startswith("#")]
    with open(FIGURES, "w") as file:
        file.writelines(head + [" ".join([each, *(f"{name} {figure}" for name, figure in rows[each].items())]) + "\n" for each in sorted(rows)])


def instructions(pod, number, counts):
    """What the worker has executed in all after so many rounds of each script, on one connection each."""
    out = os.path.join(pod.scratch, f"counted{number}")
    os.mkdir(out)
    os.chown(out, PROXY_UID, PROXY_UID)
    valgrind = ["valgrind", "-q", "--vgdb=no", "--tool=callgrind", "--separate-threads=yes", "--toggle-collect=loop_run",
                f"--callgrind-out-file={out}/out"]
    pod.start("--workers", "1", prefix=valgrind, init=() if number == 0 else None, environment={"GLIBC_TUNABLES": ANY_CPU},
              json_log=False)
    for name, (port, begin, end, _, _) in SCRIPTS.items():
        peer = pod.dial(port)
        question = begin(peer)
        for _ in range(counts.get(name, SETTLED)):
            answer = peer.send(question()).until(end)
            expect(answer, f"{name}: no answer")
        peer.close()
    pod.stop(within=30)
    # Thread 1 answers probes and signals, as many as come.
    files = [path for path in glob.glob(f"{out}/out*") if not path.endswith("-01")]
    sums = [re.search(r"^(?:summary|totals): (\d+)", open(path).read(), re.M) for path in files]
    return sum(int(found[1]) for found in sums if found)


def measured(pod, number):
    """{script: instructions of a request}: what so many rounds more cost, so that start and end fall out."""
    base = instructions(pod, number, {})
    return {name: round((instructions(pod, number + 1 + row, {name: SETTLED + rounds}) - base) / (rounds * requests))
            for row, (name, (_, _, _, requests, rounds)) in enumerate(SCRIPTS.items())}


@case(limit=300, release_only=True)
def instructions_per_request(pod):
    """A request, a chunked one, an opaque round, a stream of HTTP/2 alone and one of 100 at once cost the instructions that tests/instructions.txt says, within 5 %."""
    pod.uncounted()
    pod.app(http())
    pod.app(http(lambda message: CHUNKED), PORT + 1)
    pod.app(echo, PORT + 2)
    pod.app(answering(1), PORT + 3)
    pod.app(answering(WIDE), PORT + 4)
    key, runs = built_with(pod.context.proxy), len(SCRIPTS) + 1
    wanted = committed().get(key)
    writing = os.environ.get("WRITE_INSTRUCTIONS")
    figures = None
    for attempt in range(TRIES):
        # What disturbs only adds: a timer that fires, a connection that rested and is looked at before it is used again.
        fresh = measured(pod, attempt * runs)
        figures = {name: min(fresh[name], figures[name]) for name in fresh} if figures else fresh
        if not writing and (not wanted or all(abs(figures[name] - wanted[name]) <= WITHIN * wanted[name] for name in wanted)):
            break
    said = ", ".join(f"{name} {figure:,}" for name, figure in figures.items())
    if writing:
        write(key, figures)
        print(f"instructions: {key}: {said}: written", flush=True)
    elif not wanted:
        print(f"instructions: none are committed for {key}, so nothing is compared; measured: {said}", flush=True)
    else:
        expect(all(abs(figures[name] - wanted[name]) <= WITHIN * wanted[name] for name in wanted),
               f"{said}, but tests/instructions.txt says {wanted} for {key}; if that is meant: make instructions")
