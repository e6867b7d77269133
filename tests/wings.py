#!/usr/bin/python3
"""Whether the house is as docs/architecture.md draws it: which wing of proxy/ may include which, that no files stand in a circle, and
that a function is named after its file.

    tests/wings.py [ROOT]

A room is a .c file, its .h, or both. What a room includes is what its two files include."""
import collections
import glob
import os
import re
import sys

CIRCLE_MOST = 4   # rooms of one wing that may know each other
FILES_MOST = 14   # in proxy/ itself


def read_table(path):
    """The wings from the uppermost to the lowest, each with those it may include."""
    rows, lines = [], iter(open(path, encoding="utf-8").read().splitlines())
    for line in lines:
        if re.match(r"\| *wing *\|.*\| *may include *\|$", line):
            break
    else:
        raise SystemExit(f"{path}: no table with the columns wing and may include")
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows.append((cells[0].split()[0].strip('`/'), cells[-1]))
    order = [name for name, _ in rows]
    may = {}
    for at, (name, text) in enumerate(rows):
        below = order[at + 1:]
        allowed = set()
        for word in re.split(r", *", text.replace("`", "").replace("/", "")):
            first = word.removesuffix(" and below")
            if word in ("all below", "–"):
                allowed |= set(below) if word == "all below" else set()
            elif first not in below:
                raise SystemExit(f"{path}: {name} may include {first}, which is no wing below it")
            else:
                allowed |= set(order[order.index(first):]) if word != first else {first}
        may[name] = allowed
    return order, may


def wing_of(room):
    return room.split("/")[1] if room.count("/") > 1 else "proxy"


def read_rooms():
    """Every room of proxy/, with the rooms it includes."""
    rooms = collections.defaultdict(set)
    for path in sorted(glob.glob("proxy/**/*.[ch]", recursive=True)):
        room = path[:-2]
        rooms[room] |= {found for found in re.findall(r'^#include "(proxy/[^"]+)\.h"', open(path, encoding="utf-8").read(), re.M)
                        if found != room}
    return dict(rooms)


def circles(rooms):
    """The sets of rooms of which each leads to each other (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(room):
        index[room] = low[room] = len(index)
        stack.append(room)
        for other in sorted(rooms.get(room, ())):
            if other not in index:
                visit(other)
                low[room] = min(low[room], low[other])
            elif other in stack:
                low[room] = min(low[room], index[other])
        if low[room] == index[room]:
            circle = stack[stack.index(room):]
            del stack[len(stack) - len(circle):]
            if len(circle) > 1:
                found.append(frozenset(circle))

    sys.setrecursionlimit(10000)
    for room in sorted(rooms):
        if room not in index:
            visit(room)
    return found


def check_arrows(order, may, rooms):
    for room, includes in sorted(rooms.items()):
        for other in sorted(includes):
            above, below = wing_of(room), wing_of(other)
            if above != below and below not in may.get(above, ()):
                yield f"{room} includes {other}.h: {above} may not include {below} (docs/architecture.md)"


def check_circles(rooms):
    for circle in sorted(circles(rooms), key=sorted):
        if len(circle) > CIRCLE_MOST or len({wing_of(room) for room in circle}) > 1:
            yield f"a circle of {len(circle)}: {' '.join(sorted(circle))}"


def check_folders(order):
    folders = sorted(os.path.basename(path) for path in glob.glob("proxy/*") if os.path.isdir(path))
    for name in sorted(set(folders) - set(order)):
        yield f"proxy/{name}: a wing that the table of docs/architecture.md does not have"
    for name in sorted(set(order) - set(folders) - {"proxy"}):
        if glob.glob(f"proxy/{name}/*"):
            yield f"proxy/{name}: not a folder"
    files = glob.glob("proxy/*.*")
    if len(files) > FILES_MOST:
        yield f"proxy/ itself has {len(files)} files, {FILES_MOST} at most"
    for path in glob.glob("tests/unit/proxy/*/*.c"):
        if not os.path.exists(path.removeprefix("tests/unit/").removesuffix(".c") + ".h"):
            room = re.sub(r"_[^_/]*$", "", path.removeprefix("tests/unit/").removesuffix(".c"))
            if not os.path.exists(room + ".h"):
                yield f"{path}: tests no room of proxy/"


# A definition: it begins in the first column and its parameters are followed by a line that begins with a brace.
FUNCTION = re.compile(r"^(?!typedef|return|else|enum \w+ \{|struct \w+ \{)[a-z_][\w *]*?\**\b(\w+)\([^;{]*?\)\n\{", re.M)


def check_names():
    for path in sorted(glob.glob("lib/*.c") + glob.glob("init/*.c") + glob.glob("proxy/**/*.c", recursive=True)):
        folder, name = os.path.split(path[:-2])
        words = name.split("_")
        # A part of a room (http1_field.c of http1.c) may use the room's name.
        prefixes = [name] + [part for part in ("_".join(words[:count]) for count in range(1, len(words)))
                             if os.path.exists(os.path.join(folder, part + ".h"))]
        for function in FUNCTION.findall(open(path, encoding="utf-8").read()):
            if function != "main" and not any(function == prefix or function.startswith(prefix + "_") for prefix in prefixes):
                yield f"{path}: {function}() is not named after its file"


def main():
    os.chdir(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    order, may = read_table("docs/architecture.md")
    rooms = read_rooms()
    said = [*check_folders(order), *check_arrows(order, may, rooms), *check_circles(rooms), *check_names()]
    print("\n".join(said))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
