"""Cases: functions with one argument, the Pod, whose docstring's first line is the name that gets printed."""
import contextlib
import threading
import time

# Each case with a direction can be run over both families: inbound (client -> app in the pod) and outbound (app -> elsewhere).
ALL_WAYS = ("in4", "in6", "out4", "out6")


class Failure(AssertionError):
    """An expectation that does not hold; the text is the reason that gets printed."""


class Case:
    def __init__(self, function, variant, way, arguments, weight, limit, release_only):
        self.function, self.way, self.arguments = function, way, arguments
        self.weight, self.limit, self.release_only = weight, limit, release_only
        self.file = function.__module__.rsplit(".", 1)[-1]
        self.name = function.__name__ + (f"[{variant}]" if variant else "")
        self.title = (function.__doc__ or function.__name__).strip().splitlines()[0]


registry = []


def case(ways=("in4",), each=None, weight=1, limit=60, release_only=False):
    """Makes a function a case, once per way and, with `each`, once per row of {label: argument, …}.

    weight: of the runner's slots (as many as workers); limit: seconds until it counts as hung; release_only: says nothing of
    other flavours and is no case there."""
    def register(function):
        rows = [("", ())] if each is None else [(label, (argument,)) for label, argument in each.items()]
        for way in ways:
            for label, arguments in rows:
                variant = " ".join(part for part in (way if len(ways) > 1 else "", label) if part)
                registry.append(Case(function, variant, way, arguments, weight, limit, release_only))
        return function
    return register


def expect(condition, why):
    """Fails with why, a text or a function that gives it."""
    if not condition:
        raise Failure(why() if callable(why) else why)


# A busy two-core machine may be late, never early; measuring begins a little after the event that starts a timer.
EARLY, LATE = 0.15, 2.5


@contextlib.contextmanager
def took(seconds, late=LATE):
    """What happens inside must take `seconds`: not less, and not more than a busy machine excuses."""
    start = time.monotonic()
    yield
    elapsed = time.monotonic() - start
    expect(seconds - EARLY <= elapsed <= seconds + late, f"took {elapsed:.2f} s, expected {seconds:g} s")


@contextlib.contextmanager
def punctual(seconds, within=0.05, early=None):
    """What happens inside must take `seconds`, 50 ms more or less; what this machine was late by meanwhile is allowed for, and only late.
    early: where measuring begins behind what starts the timer."""
    stop, late = threading.Event(), [0.0]

    def watch():
        while not stop.is_set():
            before = time.monotonic()
            time.sleep(0.005)
            late[0] = max(late[0], time.monotonic() - before - 0.005)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.monotonic()
    try:
        yield
        elapsed = time.monotonic() - start
    finally:
        stop.set()
        watcher.join()
    expect(seconds - (within if early is None else early) <= elapsed <= seconds + within + 2 * late[0],
           f"took {elapsed:.3f} s, expected {seconds:g} s within {within:g} s; the machine was {late[0]:.3f} s late")


def until(predicate, why, within=5.0, every=0.01):
    """Waits until predicate() gives something true and returns it; fails with why (text or function) after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failure(f"{why() if callable(why) else why} within {within:g} s")
        time.sleep(every)
