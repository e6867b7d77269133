#!/usr/bin/python3
"""Finds and shows lapse's own log lines for the demo.

    record.py find FILE SHOWN KEY=VALUE...   waits for a line of FILE that has these fields and is not in SHOWN; prints it
    record.py show WIDTH [colour]            shows the log lines of stdin, wrapped to WIDTH, what explains highlighted
    record.py answer WIDTH [colour]          the same for what a command printed, such as an HTTP response
"""
import re
import signal
import sys
import time

GUTTER = "  │"
PATIENCE = 5  # seconds a record may take to come
FIELD = re.compile(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)')
BOLD, DIM, CYAN, GREEN, YELLOW = "1", "2", "36", "32", "1;33"
STYLES = {"reason": YELLOW, "by": YELLOW, "phase": YELLOW, "timer": CYAN, "value": CYAN, "set_by": CYAN, "detail": GREEN,
          "state": CYAN, "old_s": CYAN, "new_s": CYAN}


def fields(line):
    return {key: value[1:-1] if value.startswith('"') else value for key, value in FIELD.findall(line)}


def lines(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def find(path, shown, *wanted):
    wanted = dict(pair.split("=", 1) for pair in wanted)
    shown = set(lines(shown))
    deadline = time.monotonic() + PATIENCE
    while True:
        for line in lines(path):
            if line not in shown and wanted.items() <= fields(line).items():
                print(line, end="")
                return
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(0.05)


def wrap(words, width, gutter):
    """Prints (text, style) words in lines of at most width that begin with gutter; style "" is plain."""
    column, out = len(gutter), [gutter]
    for text, style in words:
        if column + 1 + len(text) > width and column > len(gutter):
            out += ["\n", gutter]
            column = len(gutter)
        out.append(f" \033[{style}m{text}\033[0m" if style else f" {text}")
        column += 1 + len(text)
    print("".join(out))


def style_of(key, value):
    """A record's message is a title; the message of another line is its text."""
    if key == "msg":
        return BOLD if len(value) < 24 else ""
    return YELLOW if value == "warn" else STYLES.get(key, DIM)


def show(width, colour=""):
    for line in sys.stdin:
        words = []
        for key, value in FIELD.findall(line):
            style = style_of(key, value) if colour else ""
            words += [(word, style) for word in f"{key}={value}".split(" ")]
        wrap(words or [(line.rstrip(), "")], int(width), GUTTER)


def answer(width, colour=""):
    for line in sys.stdin.read().rstrip().splitlines():
        name = line.split(":")[0].lower()
        style = {"lapse-reason": YELLOW, "lapse-detail": GREEN}.get(name, BOLD if line.startswith("HTTP/") else "")
        wrap([(word, style if colour else "") for word in line.split(" ")], int(width), GUTTER)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    commands = {"find": find, "show": show, "answer": answer}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__.strip())
    commands[sys.argv[1]](*sys.argv[2:])
