"""The probes (docs/tracing.md), watched by bpftrace: its examples as they are printed there."""
import os
import re
import signal

from .harness import case, expect, until

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "tracing.md")


def example(probe):
    """The first program on the page that watches this probe."""
    with open(PAGE, encoding="utf-8") as page:
        programs = re.findall(r"```bpftrace\n(.*?)```", page.read(), re.S)
    return next(text for text in programs if f"lapse:{probe} " in text)


class Watch:
    """bpftrace on the pod's proxy. Only the kernel knows when the probes are set: `stir` is called until something is seen."""

    def __init__(self, pod, program, stir):
        self.path = f"{pod.scratch}/bpftrace.out"
        with open(f"{pod.scratch}/watch.bt", "w", encoding="utf-8") as file:
            file.write(program)
        self.process = pod.spawn(pod.inside, ["bpftrace", "-p", str(pod.proxy.pid), f"{pod.scratch}/watch.bt"], name="bpftrace")

        def seen():
            expect(self.process.poll() is None, f"bpftrace ended: {self.text()}")
            stir()
            return "us, attempt" in self.text() or " carries " in self.text() or "\n@stirred" in self.text()
        until(seen, lambda: f"bpftrace has seen nothing: {self.text()}", within=30, every=0.3)

    def text(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        return self.text()


@case(limit=90)
def request_probes(pod):
    """request_start and request_end give method, target, status and time of every request."""
    pod.app()
    pod.start()

    def ask(path):
        with pod.dial() as peer:
            peer.ask(target=path)
    watch = Watch(pod, example("request_start"), lambda: ask("/stirred"))
    ask("/first?a=1")
    ask("/second")
    until(lambda: "/second" in watch.text(), lambda: watch.text())
    text = watch.end()
    expect(re.search(r"^/first\?a=1 200 after \d+ us, attempt 1$", text, re.M), text)
    expect(re.search(r"^/second 200 after \d+ us, attempt 1$", text, re.M), text)
    expect("@microseconds:" in text and "@target" not in text, text)


@case(limit=90)
def connection_probes(pod):
    """accept, detect and close tell what the record tells."""
    pod.app()
    pod.start()

    def ask():
        with pod.dial() as peer:
            peer.ask()
    watch = Watch(pod, example("detect"), ask)
    ask()
    pod.all_recorded()
    last = max(pod.proxy.records("connection closed"), key=lambda record: record["client"])
    until(lambda: watch.text().count(f" {last['reason']} by ") == watch.text().count(" carries "), lambda: watch.text())
    text = watch.end()
    number = re.findall(r"^(\d+) carries http/1.1$", text, re.M)[-1]
    expect(re.search(rf"^{number} accepted on socket \d+, inbound$", text, re.M), text)
    expect(re.search(rf"^{number} {last['reason']} by {last['by']} in {last['phase']} after \d+ ms$", text, re.M), text)
    expect(re.search(rf"^@reasons\[{last['reason']}\]: \d+$", text, re.M), text)


@case(limit=90)
def stage_probe(pod):
    """stage names both stages, for as long as connections live."""
    pod.app()
    pod.start()

    def ask():
        with pod.dial() as peer:
            peer.ask()
    watch = Watch(pod, example("stage") + 'usdt:*:lapse:close { printf("@stirred\\n"); }\n', ask)
    ask()
    pod.all_recorded()
    text = watch.end()
    expect("@since" not in text, f"connections that have ended are remembered: {text}")
    for stage in ("accept", "detect", "idle", "head", "exchange"):
        expect(f"@milliseconds[{stage}]" in text, f"no time in {stage}: {text}")
