"""What must hold of every record and of every answer that the proxy makes itself."""
import re

from .case import expect

CLOSED, FAILED = "connection closed", "request failed"
REQUEST = "request"  # a line of the access log

# What DESIGN.md §8 promises of every record, whatever the case is about.
PHASES = {"accept", "detect", "connect", "idle", "head", "request", "wait", "backoff", "response", "opaque", "streams", "tunnel", "closing"}
PROTOCOLS = {None, "undetected", "http/1.1", "http/1.0", "http/2", "tls", "opaque"}
AT_ACCEPT = {"not_redirected", "redirect_loop", "no_original_dst", "conn_limit", "fd_limit", "memory_limit"}
REASONS = {}  # name -> by, from lib/reasons.def; filled by run.py
TIMED = {}    # timer -> reason, from lib/timeouts.def; filled by run.py


def check_record(record):
    def must(condition, why):
        expect(condition, f"{why} in the record {record}")
    reason = record.get("reason")
    must(reason in REASONS, "unknown reason")
    must(reason != "internal_error", "internal_error")
    must(record.get("by") == REASONS[reason].lower() or REASONS[reason] == "PEER" and record.get("by") in ("client", "server"),
         "wrong by")
    must(record.get("phase") in PHASES, "unknown phase")
    must(record.get("direction") in ("inbound", "outbound"), "no direction")
    must(record.get("protocol") in PROTOCOLS, "unknown protocol")
    must(record.get("detail"), "no detail")
    must(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.get("ts", "")), "no ts")
    must(re.fullmatch(r"\[?[0-9a-f.:]+\]?:\d+", record.get("client", "")), "no client address")
    if reason not in AT_ACCEPT:
        must(re.fullmatch(r"\[?[0-9a-f.:]+\]?:\d+", record.get("server", "")), "no server address")
    if record["msg"] == CLOSED:
        must(isinstance(record.get("open_s"), (int, float)) and record["open_s"] >= 0, "no open_s")
    timer = record.get("timer")
    if timer:
        must(timer in (*TIMED, "grpcDeadline") and record.get("value") and record.get("set_by"), "timer without value or set_by")
    elif reason in TIMED.values() and reason not in ("client_vanished", "drain_forced"):  # keep-alive and a second signal do it too
        must(False, "a timeout's reason without its timer")


def check_request(line):
    """What every line of the access log says, one way or the other."""
    def must(condition, why):
        expect(condition, f"{why} in the access log's {line}")
    answer, reason, status, refused = line.get("answer"), line.get("reason"), line.get("status"), "duration_s" not in line
    must(line.get("direction") in ("inbound", "outbound") and line.get("client") and line.get("server"), "no addresses")
    must(answer in ("server", "proxy", "cut", "none", "unread"), "unknown answer")
    must(line.get("classification") in ("success", "failure"), "no classification")
    must((status is None) == (answer in ("none", "unread")), "wrong status")
    must(reason is None or reason in REASONS, "unknown reason")
    must(bool(reason) == (answer in ("cut", "none") or answer == "proxy" and (status >= 400 or bool(line.get("grpc_status")))), "wrong reason")
    must(answer not in ("cut", "none") or line["classification"] == "failure", "a success without an answer")
    if refused:
        must(answer == "proxy" and status >= 400 and "method" not in line, "neither refused nor a request")
        return
    must(line.get("method") and line.get("path"), "no request line")
    must(line["duration_s"] >= 0 and line["duration_s"] >= line.get("first_byte_s", 0), "wrong times")
    must(line["request_bytes"] >= 16 and (line["response_bytes"] > 0 or answer in ("cut", "none", "unread")), "wrong bytes")
    must(("first_byte_s" in line) == (answer in ("server", "cut")), "wrong first byte")


# Answers the proxy makes itself.
TEXTS = {400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 414: "URI Too Long", 431: "Request Header Fields Too Large",
         500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


def check_answer(response, status, reason, closes=None, text=False):
    """An answer made by the proxy, complete: status line, every field, body."""
    expect(response.start in (f"HTTP/1.1 {status} {TEXTS[status]}", f"HTTP/1.0 {status} {TEXTS[status]}"),
           f"status line {response.start!r}, expected {status}; {response.get('lapse-reason')}")
    expect(response.get("lapse-reason") == reason, f"lapse-reason {response.get('lapse-reason')!r}, expected {reason}")
    expect(response.get("lapse-detail"), "no lapse-detail")
    extra = {name.lower() for name, _ in response.fields} - {
        "content-length", "content-type", "lapse-reason", "lapse-detail", "proxy-status", "connection", "date"}
    expect(not extra, f"unexpected fields {extra}")
    expect(re.fullmatch(r"lapse-proxy; error=[a-z_]+", response.get("proxy-status", "")), f"proxy-status {response.get('proxy-status')!r}")
    expect(status != 502 and reason not in ("no_local_port", "backend_unresolved") or response.get("connection") == "close",
           f"a {status} leaves the client where it is")
    expect(response.get("content-length") == str(len(response.body)), "wrong content-length")
    if text:
        expect(response.body.count(b"\n") == 1 and response.body.endswith(response.get("lapse-detail").encode() + b"\n"),
               f"expected one line of text that says why, got {response.body!r}")
    else:
        expect(response.body == b"", f"unexpected body {response.body!r}")
    if closes is not None:
        expect((response.get("connection", "").lower() == "close") == closes, f"connection: {response.get('connection')}")
