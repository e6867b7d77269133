"""Where the log goes: files, full disks, pipes without a reader, nothing at all. Traffic never waits for it, and what is lost is counted.
That a reader who is merely slow costs lines and nothing else is in limits.py."""
import os
import re

from .harness import PROXY_UID, case, expect, run, until


def started(pod, path, *arguments):
    """The proxy with its text log, at info, in that file."""
    pod.uncounted()
    proxy = pod.start("--workers", "1", "--log-rate", "0", *arguments, json_log=False,
                      prefix=["sh", "-c", 'exec "$@" >>"$0"', path])
    return proxy


def file_for_log(pod):
    path = f"{pod.scratch}/log"
    with open(path, "w"):
        os.chown(path, PROXY_UID, PROXY_UID)
    return path


def visits(pod, count=20):
    """That many connections with a request each, all of them closed again."""
    closed = pod.proxy.counted("lapse_connections_closed_total")
    for _ in range(count):
        with pod.near.connect(pod.address, 8080) as peer:
            peer.ask()
    until(lambda: pod.proxy.counted("lapse_connections_closed_total") == closed + count, "not all are closed")


def dropped(pod):
    return pod.proxy.counted("lapse_log_lines_dropped_total")


def content(path):
    with open(path) as file:
        return file.read()


def closed_in(text):
    return len(re.findall(r'^ts=\S+ level=info msg="connection closed" .* detail=".*"$', text, re.M))


@case()
def full_file(pod):
    """A file that may not grow: each line that does not fit is counted, the torn one ends, and lines come again with the room."""
    path = file_for_log(pod)
    pod.app()
    started(pod, path)
    visits(pod)
    until(lambda: closed_in(content(path)) == 20, "not every record is in the file")
    before = content(path)
    expect(dropped(pod) == 0, f"{dropped(pod)} dropped")
    pod.limit("fsize", len(before) + 100)
    visits(pod)
    until(lambda: dropped(pod) == 20, lambda: f"{dropped(pod)} dropped, expected 20")
    expect(len(content(path)) == len(before) + 100, "the file grew over its limit")
    pod.limit("fsize", "unlimited")
    visits(pod)
    until(lambda: "20 log lines were dropped" in content(path), "no line says how many were dropped")
    after = content(path)
    expect(after.startswith(before) and after[len(before) + 100] == "\n", "the torn line does not end")
    expect(closed_in(after) == 40 and dropped(pod) == 20, f"{closed_in(after)} records, {dropped(pod)} dropped")
    expect(sum(not line.startswith("ts=20") for line in after.splitlines()) == 0, "a line lacks its beginning")


@case()
def full_disk(pod):
    """ENOSPC for every write: traffic goes on, exactly the lines that were to be written are counted."""
    pod.app()
    started(pod, "/dev/full")
    before = dropped(pod)
    for rounds in range(1, 4):
        visits(pod)
        until(lambda: dropped(pod) - before == rounds * 20, lambda: f"{dropped(pod) - before} dropped, expected {rounds * 20}")


@case()
def reader_gone(pod):
    """The pipe's reader goes: no SIGPIPE, no line in between is shown, all are counted; a new reader is told how many."""
    path = f"{pod.scratch}/pipe"
    os.mkfifo(path)
    os.chown(path, PROXY_UID, PROXY_UID)
    pod.app()

    def reader():
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fd, text = reader(), ""
    try:
        started(pod, path)
        visits(pod, 1)
        until(lambda: b"connection closed" in os.read(fd, 65536), "no record in the pipe")
    finally:
        os.close(fd)
    visits(pod)
    until(lambda: dropped(pod) == 20, lambda: f"{dropped(pod)} dropped, expected 20")
    fd = reader()
    try:
        visits(pod, 3)

        def told():
            nonlocal text
            try:
                text += os.read(fd, 65536).decode()
            except BlockingIOError:
                pass
            return "20 log lines were dropped" in text
        until(told, lambda: f"the new reader got {text!r}")
        expect(closed_in(text) == 3 and dropped(pod) == 20, f"{closed_in(text)} records, {dropped(pod)} dropped")
    finally:
        os.close(fd)


@case()
def no_standard_output(pod):
    """Started with standard output and input closed: no socket takes their place, so no connection is sent the log."""
    pod.app()
    pod.uncounted()
    pod.start(prefix=["sh", "-c", 'exec "$@" >&- <&-', "sh"], json_log=False)
    visits(pod)
    for number in (0, 1):
        expect(os.readlink(f"/proc/{pod.proxy.pid}/fd/{number}") == "/dev/null", f"descriptor {number} is something else")
    expect(run(["cat", pod.proxy.errors_path]).stdout == "", "something was written to standard error")
