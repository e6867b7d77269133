"""The whole record: every field that must be there, as it must be, and no other."""
import json
import re

from .case import EARLY, Failure

ADDRESS = re.compile(r"\[?[0-9a-f.:]+\]?:\d+")
WORD = re.compile(r'([A-Za-z_]\w*)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)')


class Between:
    """A number of this range."""

    def __init__(self, least, most):
        self.least, self.most = least, most

    def __repr__(self):
        return f"{self.least} to {self.most}"


ANY = Between(0, 1 << 62)


def seconds(about, late=1.5):
    """So long, as records have it: in tenths, measured a little off what a case sees, and late on a busy machine."""
    return Between(max(0, about - EARLY), about + late)


def socket_of(side, **fields):
    """What the kernel knew of that side's socket at an abnormal end: numbers, of which some are told."""
    names = ("undelivered", "rtt_us", "retransmits", "unacked", "probes", "notsent", "last_data_recv_ms", "last_ack_recv_ms")
    return {f"{side}_{name}": fields.pop(name, ANY) for name in names} | {f"{side}_{name}": value for name, value in fields.items()}


def sockets(**fields):
    """Both sides, with nothing undelivered unless that is told: client_undelivered=Between(…)."""
    both = socket_of("client", undelivered=0) | socket_of("server", undelivered=0)
    assert fields.keys() <= both.keys(), fields
    return both | fields


def read_text(line):
    """A line of logfmt as the JSON format would have it; ValueError: it is none."""
    fields, at = {}, 0
    while at < len(line):
        found = WORD.match(line, at)
        if not found:
            raise ValueError(line)
        name, value = found.groups()
        if value.startswith('"'):
            fields[name] = json.loads(value)
        else:
            fields[name] = float(value) if re.fullmatch(r"\d+\.\d+", value) else int(value) if value.isdigit() else value
        at = found.end()
    return fields


def _holds(value, wanted):
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and bool(wanted.fullmatch(value))
    if isinstance(wanted, Between):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and wanted.least <= value <= wanted.most
    if isinstance(wanted, tuple):
        return value in wanted
    return type(value) is type(wanted) and value == wanted


def expect_whole(record, **expected):
    """Fails with every difference. Expected are values, patterns of the whole text, Between, or a tuple of what is allowed."""
    wanted = {"ts": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "client": ADDRESS, "server": ADDRESS, **expected}
    wrong = [f"{name} is missing" for name in wanted.keys() - record.keys()]
    wrong += [f"{name}={record[name]!r} is too much" for name in record.keys() - wanted.keys()]
    wrong += [f"{name} is {record[name]!r}, expected {value.pattern if isinstance(value, re.Pattern) else value!r}"
              for name, value in wanted.items() if name in record and not _holds(record[name], value)]
    if wrong:
        raise Failure("; ".join(sorted(wrong)) + f"\nin {record}")
