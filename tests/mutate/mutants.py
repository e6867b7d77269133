"""Mutants: one line of C changed in one way, as somebody might mistype it."""
import collections
import contextlib
import glob
import os
import re

Mutant = collections.namedtuple("Mutant", "path number before after kind")

# What is no code: comments, strings, characters, lines of the preprocessor with what continues them.
SILENT = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'|^[ \t]*\#(?:\\\n|[^\n])*""", re.S | re.M)

SWAPS = {"comparison": {"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"},
         "logical": {"&&": "||", "||": "&&"},
         "arithmetic": {"+": "-", "-": "+", "+=": "-=", "-=": "+="}}
OPERATOR = re.compile(r"(?<= )(==|!=|<=|>=|<|>|&&|\|\||\+=|-=|\+|-)(?=[ \n])")
STEP = re.compile(r"\+\+|--")
NUMBER = re.compile(r"(?<![\w.\[])\d+(?![\w.\]])")
TRUTH = re.compile(r"\b(?:true|false)\b")
CONDITION = re.compile(r"(\t+(?:\} else )?(?:if|while) \()(.*)(\)(?: \{)?)$")
ASSIGNMENT = re.compile(r"(\t+)(\*?[A-Za-z_][\w\[\].>-]* (?:[-+|&]|<<|>>)?= .*|[A-Za-z_][\w\[\].>-]*(?:\+\+|--));$")
CALL = re.compile(r"(\t+)((?:\(void\))?[a-z_]\w*\(.*\));$")


def masked(text):
    return SILENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def balanced(text):
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def changes(line, code):
    """(kind, the line changed) for each way; `code` is the line without what is no code."""
    def put(start, end, new):
        return line[:start] + new + line[end:]
    for found in OPERATOR.finditer(code):
        for kind, swaps in SWAPS.items():
            if found[0] in swaps:
                yield kind, put(found.start(), found.end(), swaps[found[0]])
    for found in STEP.finditer(code):
        yield "arithmetic", put(found.start(), found.end(), {"++": "--", "--": "++"}[found[0]])
    for found in NUMBER.finditer(code):
        if (size := int(found[0])) >= 64 and size & (size - 1) == 0:
            continue  # room, and a byte more of it is no fault
        yield "constant", put(found.start(), found.end(), str(int(found[0]) + 1))
    for found in TRUTH.finditer(code):
        yield "truth", put(found.start(), found.end(), "false" if found[0] == "true" else "true")
    if (found := CONDITION.match(code)) and balanced(found[2]):
        yield "condition", put(found.end(1), found.start(3), f"!({line[found.end(1):found.start(3)]})")
    for kind, pattern in (("assignment", ASSIGNMENT), ("call", CALL)):
        if (found := pattern.match(code)) and balanced(found[2]) and not found[2].startswith(("return", "break", "sizeof")):
            yield kind, put(found.end(1), found.end(2), "")


def of_file(root, path):
    """The mutants of a file, a list for each line that has any; only bodies of functions and of tables are code that runs."""
    with open(os.path.join(root, path)) as file:
        text = file.read()
    for number, (line, code) in enumerate(zip(text.split("\n"), masked(text).split("\n")), 1):
        if not code.startswith("\t"):
            continue
        each = [Mutant(path, number, line.strip(), after.strip(), kind) for kind, after in changes(line, code) if after != line]
        if each:
            yield each


def text_of(root, mutant):
    """The whole file with the mutant in it."""
    with open(os.path.join(root, mutant.path)) as file:
        lines = file.read().split("\n")
    line = lines[mutant.number - 1]
    lines[mutant.number - 1] = line[:len(line) - len(line.lstrip())] + mutant.after
    return "\n".join(lines)


def listed(root, name, columns):
    """Rows of a list, `path | line | changed line` and what more it has, each column stripped; empty lines and # are comments."""
    with open(os.path.join(root, name)) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                row = [column.strip() for column in line.rstrip("\n").split(" ¦ ")]
                if len(row) != columns:
                    raise SystemExit(f"{name}: {columns} columns divided by ' ¦ ' are expected in: {line.rstrip()}")
                yield row


def find(root, path, before, after, number=0, anywhere=False):
    """The mutant of a list's row, where the line is now, the nearest to a number; `anywhere`: in another file, where only one has it.
    None: the line or its file is gone."""
    def places(path):
        with contextlib.suppress(FileNotFoundError), open(os.path.join(root, path)) as file:
            return [Mutant(path, at, before, after, "listed") for at, line in enumerate(file, 1) if line.strip() == before]
        return []
    if not (found := places(path)) and anywhere:
        found = [each for room in ("init", "proxy") for other in sorted(glob.glob(f"{room}/**/*.c", recursive=True, root_dir=root))
                 for each in places(other)]
        found = found if len(found) == 1 else []
    return min(found, key=lambda each: abs(each.number - number), default=None)
