"""What follows when a stream was cut: its late frames, windows exact to the byte, tables that have parted, for 10,000 further requests."""
import hashlib
import random
import re
import time

import hpack

from .harness import FAILED, Http2, black_hole, case, check_own, configured, expect, frames, pair, parked, punctual, route, rule, service, serving, together, until
from .harness.frames import (CONTINUATION, END_HEADERS, HEADERS, PUSH_PROMISE, TABLE_SIZE, WINDOW_DEFAULT, WINDOW_UPDATE, dynamic, frame,
                             headers, representations, window_update)
from .http2_programs import WAITS, grpc_call, grpc_server, nghttpd, said, url
from .http2_timers import cancelled

SOON = {"request": "500ms"}
SECRET = hpack.NeverIndexedHeaderTuple("authorization", "Bearer of a secret")


def cut(client, server, path="/victim", end=True, **options):
    """A stream that `request` has ended; (the client's view, the server's)."""
    stream = client.request(path, method="POST", end=end, body=b"" if end else b"begun", **options)
    there = server.headed(stream.id)
    if not end:
        server.until(lambda: there.body, "no body")
    client.finished(stream)
    check_own(stream if end else reset_behind(client, stream), "request_timeout", unfinished=not end)
    cancelled(server, stream.id)
    return stream, there


def reset_behind(client, stream):
    client.until(lambda: stream.reset, f"no RST_STREAM behind the answer of {stream}", within=2)
    return stream


def whole(client, server, within=3):
    """Both connection windows are as they were at first, to the byte."""
    together(lambda: client.window == server.window == WINDOW_DEFAULT, client, server, within=within,
             why=f"the windows are {client.window} at the client and {server.window} at the server, not {WINDOW_DEFAULT}")


def exchange(client, server, *fields, answer=(), **options):
    """One request and its answer beside what was cut, looked at in both directions; (client's stream, server's stream)."""
    stream = client.request("/further", *fields, **options)
    there = server.finished(stream.id)
    expect(there.head[4:] == [(name, value) for name, value in map(tuple, fields)], f"the request arrived as {there.head}, sent {fields}")
    server.respond(there, 200, *answer, body=b"fine")
    client.finished(stream)
    expect((stream.status, stream.body) == (200, b"fine") and stream.head[1:] == [tuple(pair) for pair in answer], f"the answer arrived as {stream}")
    return stream, there


# Late frames

LATE = {"data": [(500, None)], "padded": [(500, 255), (0, 0), (1, 10)], "empty": [(0, None), (0, None)], "only padding": [(0, 255)] * 3,
        "much": [(16384, None)] * 3}


@case(ways=("in4", "out6"), each=LATE)
def late_data_of_the_server(pod, sizes):
    """DATA that the server still sends on a cut stream reaches nobody and is credited to it, its padding included, in no update of 0."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    stream, there = cut(client, server)
    seen = len(client.frames)
    for number, (size, padding) in enumerate(sizes):
        server.data(there, b"l" * size, padding=padding, end=number == len(sizes) - 1)
    whole(client, server)
    expect(not [each for each in client.frames[seen:] if each.stream == stream.id], f"the client got {client.frames[seen:]}")
    expect(all(each.increment for each in client.frames + server.frames if each.kind == WINDOW_UPDATE), "a WINDOW_UPDATE of 0")
    expect(not [each for each in server.frames if each.kind == WINDOW_UPDATE and each.stream == stream.id], f"{there}: a closed stream was credited")
    exchange(client, server)


@case(each=LATE)
def late_data_of_the_client(pod, sizes):
    """The same of an upload that had not ended: the client's late DATA is dropped and credited."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    stream, there = cut(client, server, end=False)
    seen = len(there.frames)
    for number, (size, padding) in enumerate(sizes):
        client.data(stream, b"l" * size, padding=padding, end=number == len(sizes) - 1)
    whole(client, server)
    exchange(client, server)
    expect(len(there.frames) == seen, f"the server got {there.frames[seen:]}")


@case()
def late_frames_of_other_kinds(pod):
    """RST_STREAM and WINDOW_UPDATE of either end on a cut stream reach nobody; PRIORITY may; PING and SETTINGS go on as they are."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    stream, there = cut(client, server, end=False)
    marks = len(stream.frames), len(there.frames)
    for end in (client, server):
        end.send(window_update(stream.id, 100) + frames.rst_stream(stream.id, frames.NO_ERROR) + frames.ping(b"goes on!"))
    together(lambda: all(any(each.payload == b"goes on!" for each in end.frames) for end in (client, server)), client, server)
    expect((len(stream.frames), len(there.frames)) == marks, f"{stream} {there}")
    exchange(client, server)


@case(ways=("in4", "out6"))
def late_block_of_the_server(pod):
    """A header block that comes late is decoded and dropped; what follows is written anew, without the dynamic table, field by field."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    exchange(client, server, answer=(("x-first", "in the table"),))
    stream, there = cut(client, server)
    seen = len(client.frames)
    server.respond(there, 200, ("x-late", "goes into the server's table"), body=b"late", end=False)
    server.trailers(there, ("x-trailer", "too"))
    fields = (("x-late", "goes into the server's table"), ("x-first", "in the table"), ("x-trailer", "too"), ("x-new", "field"),
              ("set-cookie", "a=b"), ("set-cookie", "c=d"), ("x-empty", ""))
    first, _ = exchange(client, server, answer=fields)
    blocks = [each.block for each in client.frames[seen:] if each.block]
    expect(len(blocks) == 1 and representations(blocks[0])[0] == ("update", 0), f"the first block written anew: {representations(blocks[0])}")
    second, _ = exchange(client, server, answer=(*fields[:3], SECRET))
    block = next(each.block for each in second.frames if each.block)
    expect(not dynamic(block) and not dynamic(blocks[0]), f"the dynamic table is used: {representations(block)}")
    expect(representations(block)[-1][0] == "never", f"a field never to be indexed became {representations(block)[-1]}")
    expect(not [each for each in client.frames[seen:] if each.stream == stream.id], "the late block reached the client")
    whole(client, server)
    expect(first.status == second.status == 200, "wrong answers")


@case(ways=("in4", "out6"))
def late_block_of_the_client(pod):
    """Trailers that the client sends late; then its requests are written anew: fields in order, flags, priority, and no frame too large."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    long = [(f"x-long-{number}", f"{number}" * 3000) for number in range(3)]
    exchange(client, server, *long[:1])
    stream, _ = cut(client, server, end=False)
    client.trailers(stream, *long[1:2], ("x-late", "trailer"))
    _, there = exchange(client, server, *long[:2], ("x-late", "trailer"), SECRET, ("cookie", "a=b"), ("cookie", "c"), priority=(0, 200))
    head = there.frames[0]
    expect(head.flags & frames.PRIORITIZED and head.flags & frames.END_STREAM and head.payload[:5] == b"\0\0\0\0\xc8", f"priority or END_STREAM lost: {head}")
    kinds = representations(head.block)
    expect(kinds[0] == ("update", 0) and not dynamic(head.block) and ("never" in {kind for kind, _ in kinds}), f"written anew as {kinds}")
    # The same field eight times: eight bytes when indexed, 24,000 written out.
    _, there = exchange(client, server, *(long[:1] * 8))
    sizes = [len(each.payload) for each in there.frames if each.kind in (HEADERS, CONTINUATION)]
    expect(len(sizes) > 1 and max(sizes) <= 16384, f"header frames of {sizes} bytes, where 16,384 is the most")
    _, there = exchange(client, server, body=b"some body")
    expect(not there.frames[0].flags & frames.END_STREAM, "END_STREAM where there was none")
    whole(client, server)


@case()
def too_long_to_be_written_anew(pod):
    """A block that would be longer than 1 MiB written out, where 1,200 bytes of references make it: the record says so, and not that memory is short."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    stream, _ = cut(client, server, end=False)
    client.trailers(stream, ("x-late", "trailer"))
    client.request("/", *([("x-long", "l" * 3000)] * 400))
    client.until(lambda: client.over, "the connection goes on")
    expect([each.code for each in client.goaways()] == ["INTERNAL_ERROR"], f"the client got {client.frames[-3:]}")
    pod.record(msg="connection closed", reason="h2_protocol_error", by="client",
               detail=re.compile("client frame [0-9]+: HEADERS of a block over 1 MiB, too long to be written anew"))


@case(each={"blocks in pieces": (3, 5, 0, 9), "one piece": ()})
def late_block_in_pieces(pod, sizes):
    """A late block in CONTINUATION frames, and blocks in pieces behind it, stay blocks to their receivers."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    _, there = cut(client, server)
    server.send(headers(there.id, server.block_of(((":status", "200"), ("x-late", "in pieces"))), True, sizes=sizes, padding=7))
    stream = client.request("/further")
    for status in ("103", "200"):
        server.send(headers(stream.id, server.block_of(((":status", status), ("x-late", "in pieces"))), status == "200", sizes=sizes, padding=20))
    server.headed(stream.id)
    client.finished(stream)
    expect(stream.heads == [[(":status", "103"), ("x-late", "in pieces")], [(":status", "200"), ("x-late", "in pieces")]], f"{stream}")


@case()
def larger_frames_of_the_receiver(pod):
    """A receiver that takes frames of 64 KiB may get a block written anew in one; the other direction keeps its own limit."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app, server=((frames.FRAME_SIZE, 65536),))
    long = ("x-long", "l" * 3000)
    exchange(client, server, long, answer=(long,))
    stream, there = cut(client, server, end=False)
    client.trailers(stream, ("x-late", "1"))
    server.trailers(there, ("x-late", "1"))
    back, forth = exchange(client, server, *([long] * 8), answer=[long] * 8)
    sizes = {name: [len(each.payload) for each in found.frames if each.kind in (HEADERS, CONTINUATION)] for name, found in (("back", back), ("forth", forth))}
    expect(max(sizes["forth"]) <= 65536 and max(sizes["back"]) <= 16384 and len(sizes["back"]) > 1, f"header frames of {sizes}")


# Table size updates that are awaited

TABLES = {"lowered": ((0,), [("update", 0)]), "lowered a little": ((1000,), [("update", None)]), "lowered, then raised": ((0, 4096), [("update", 0), ("update", None)])}


@case(each=TABLES)
def table_size_update(pod, row):
    """A block of ours begins with the table size update that its receiver still awaits: the smallest, then the last value."""
    values, expected = row
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    before = sum(each.ack for each in client.frames if each.kind == frames.SETTINGS)
    client.send(b"".join(frames.settings((TABLE_SIZE, value)) for value in values))
    together(lambda: sum(each.ack for each in client.frames if each.kind == frames.SETTINGS) == before + len(values), client, server)
    client.decoder.max_allowed_table_size = values[-1]
    stream = client.request("/victim")
    server.headed(stream.id)
    client.finished(stream)
    check_own(stream, "request_timeout")
    kinds = representations(next(each.block for each in stream.frames if each.block))
    expect(kinds[0] == expected[0] or expected[0][1] is None and kinds[0] == ("update", values[0]), f"the answer's block is {kinds}, expected {expected}")
    expect(len(expected) == 1 or kinds[1][0] == "update" and kinds[1][1] <= values[1], f"the answer's block is {kinds}, expected {expected}")
    # Its encoder has not said so yet, and will, when the server's next block comes.
    server.encoder.header_table_size = values[-1]
    exchange(client, server, answer=(("x-some", "field"),))
    exchange(client, server, answer=(("x-some", "field"),))


@case()
def table_size_update_of_the_server_passes(pod):
    """Where the server's own block has carried the update, an answer of ours carries none."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app, (TABLE_SIZE, 100))
    exchange(client, server, answer=(("x-some", "field"),))
    stream, _ = cut(client, server)
    kinds = representations(next(each.block for each in stream.frames if each.block))
    expect(kinds[0][0] != "update", f"{kinds}")
    exchange(client, server, answer=(("x-some", "field"),))


# PUSH_PROMISE

@case()
def promise_on_a_cut_stream(pod):
    """PUSH_PROMISE on a cut stream is dropped, the promised stream reset and cut: the client hears nothing of it; its DATA is credited."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    stream, _ = cut(client, server)
    seen = len(client.frames)
    block = server.block_of(((":method", "GET"), (":scheme", "http"), (":authority", "app"), (":path", "/pushed"), ("x-pushed", "1")))
    server.send(frame(PUSH_PROMISE, END_HEADERS, stream.id, b"\0\0\0\2" + block))
    server.until(lambda: server.stream(2).reset, "the promised stream is not reset", within=3)
    server.respond(server.stream(2), 200, ("x-pushed", "1"), body=b"pushed")
    exchange(client, server, answer=(("x-pushed", "1"),))
    expect(not [each for each in client.frames[seen:] if each.kind == PUSH_PROMISE or each.stream in (2, stream.id)], f"{client.frames[seen:]}")
    whole(client, server)


# Before the server has spoken

@case(ways=("in4", "out4"))
def answers_before_the_server(pod):
    """A stream's timer before the server's SETTINGS: SETTINGS of ours, an answer for every stream that waits, GOAWAY, FIN; the leg ends."""
    app = pod.app(parked)
    pod.start(**SOON)
    client = Http2(pod.dial(), True).start()
    with punctual(0.5):
        streams = [client.call("/a/b")]
        time.sleep(0.2)
        streams += [client.call("/c/d"), client.request("/e")]
        app.peer()
        got = client.ends("fin", within=5)
    expect(got[0].kind == frames.SETTINGS and not got[0].ack, f"the first frame is {got[0]}")
    check_own(streams[0], "request_timeout", grpc=4)
    pod.record(stream=1, reason="request_timeout", timer="request", value="500ms", msg=FAILED)
    # The others were not due: their server is lost to them.
    for stream in streams[1:]:
        expect(stream.kinds() == ["HEADERS END_STREAM"] and stream.get("lapse-reason") and stream.get("lapse-detail"), f"{stream}")
        expect(stream.get("grpc-status") == "14" if stream.id == 3 else stream.status in (502, 503, 504), f"{stream}")
    expect(got[-1].code == "NO_ERROR" and got[-1].last == streams[-1].id and len(client.goaways()) == 1, f"{got}")
    expect(app.peer().end(3)[0] in ("fin", "rst"), "the server's leg stays open")


@case(ways=("out4", "out6"))
def answers_while_the_dial_hangs(pod):
    """The same while nobody has even accepted the connection, long before `connect`: every stream that waits is answered, the dial is given up.
    What a client sends behind its first bytes is held until the dial's outcome, so these streams come with the preface."""
    pod.start(connect="10s", **SOON)
    with pod.server.ruled(black_hole()):
        client, burst = Http2(pod.dial(9), True), []
        client.peer.send, send = burst.append, client.peer.send
        streams = [client.start().call("/a/b"), client.call("/c/d"), client.request("/e"), client.request("/f", method="POST", end=False, body=b"half")]
        client.peer.send = send
        with punctual(0.5):
            send(b"".join(burst))
            until(lambda: "SYN-SENT" in dialled(pod), "no dial is under way")
            got = client.ends("fin", within=5)
        expect(got[0].kind == frames.SETTINGS and not got[0].ack and [each.ack for each in got if each.kind == frames.SETTINGS] in ([False], [False, True]),
               f"the client got {got}")
        for stream, grpc in zip(streams, (True, True, False, False)):
            answer = stream.get("grpc-status") if grpc else str(stream.status)
            expect(stream.kinds()[0] == "HEADERS END_STREAM" and stream.get("lapse-detail") and stream.get("lapse-reason") == "request_timeout", f"{stream}")
            expect(answer in (("4", "14") if grpc else ("504", "503")), f"{stream}")
        expect(streams[3].kinds()[1:] == ["RST_STREAM NO_ERROR"], f"{streams[3]}")
        expect(sum(stream.get("grpc-status") == "4" or stream.status == 504 for stream in streams) == 1, f"one was due: {streams}")
        expect(got[-1].code == "NO_ERROR" and got[-1].last == streams[-1].id and len(client.goaways()) == 1, f"{got}")
        pod.record(reason="request_timeout", timer="request", value="500ms", msg=FAILED, detail=re.compile("the server had not accepted the connection"))
        pod.record(reason="request_timeout", timer="request", requests=4, failed=4, sent_server=0, msg="connection closed")
        until(lambda: not dialled(pod), lambda: f"the dial goes on: {dialled(pod)}")


def dialled(pod):
    """The proxy's own connections to port 9."""
    listed = pod.inside.run(["ss", "-Htane", "dport = :9"]).stdout.splitlines()
    return "\n".join(line for line in listed if "uid:2102" in line)


# 10,000 further requests on that connection

def echoes(end, stream):
    """For serving(): answers with fields that come again, so that tables are used; /late is answered once it was reset."""
    path = stream.get(":path")
    if path == "/never":
        return
    if path == "/late":
        end.until(lambda: stream.reset, "the cut stream is not reset")
        end.respond(stream, 200, ("x-late", "of a cut stream"), body=b"late" * 1000, end=False)
        end.trailers(stream, ("x-sum", "late"))
        return
    number = path[1:]
    fields = [("x-number", str(int(number) % 50)), ("x-late", "of a cut stream"), ("server", "lapse test")]
    if int(number) % 7 == 0:
        fields.append(("x-once", hashlib.sha256(number.encode()).hexdigest()))
    end.respond(stream, 200, *fields, body=stream.body or b"ok\n")


@case(ways=("out4",), limit=240, weight=2)
def ten_thousand_further(pod):
    """After cuts with late frames of both ends, 10,000 requests with dynamic tables in use are right at both ends, windows to the byte."""
    app = pod.app(serving(echoes))
    rules = rule("/late", SOON), rule("/upload", SOON), rule("/")
    pod.start("--config", configured(pod, service("web", pod.address), route("web", *rules)).path)
    client = Http2(pod.dial(), True).start()
    further(client, 1, 50)
    late = client.request("/late")
    client.finished(late)
    check_own(late, "request_timeout")
    upload = client.request("/upload", method="POST", end=False, body=b"half")
    client.finished(upload)
    client.data(upload, b"other half", padding=100)
    client.trailers(upload, ("x-number", "1"), ("x-late", "trailer of the client"))
    chance = random.Random(1)
    done = 50
    while done < 10050:
        batch = chance.choice((1, 10, 50, 100))
        further(client, done + 1, batch)
        done += batch
    client.until(lambda: client.window == WINDOW_DEFAULT, lambda: f"the client's window is {client.window}")
    until(lambda: app.peer().end.window == WINDOW_DEFAULT, lambda: f"the server's window is {app.peer().end.window}")
    expect(not app.peer().over and not client.goaways(), f"{client.goaways()}, {app.peer().over}")


def further(client, first, count):
    streams = [client.request(f"/{number}", ("x-number", str(number % 50)), ("user-agent", "lapse test"), ("x-late", "trailer of the client"),
                              body=b"b" * (number % 30)) for number in range(first, first + count)]
    for number, stream in enumerate(streams, first):
        client.finished(stream)
        expect((stream.status, stream.get("x-number")) == (200, str(number % 50)) and len(stream.body) == (number % 30 or 3),
               f"request {number}: {stream}")
        expect((stream.get("x-once") or "") == ("" if number % 7 else hashlib.sha256(str(number).encode()).hexdigest()), f"request {number}: {stream}")
        expect(stream.get("x-late") == "of a cut stream", f"request {number}: {stream}")
        stream.frames.clear()


@case(limit=120)
def further_with_nghttpd(pod):
    """nghttp2 as the one that decodes: requests written anew, through nghttpd, 2,000 of them, each answered."""
    nghttpd(pod, "-m", "1000")
    pod.start(*WAITS, **SOON)
    client = Http2(pod.dial(), True).start((frames.WINDOW, 0))
    held = client.request("/big", method="POST", end=False, body=b"x" * 10)
    client.until(lambda: held.reset, "a download without a window is not cut")
    client.trailers(held, ("x-late", "of the client"), ("x-other", "y"))
    for number in range(0, 2000, 50):
        streams = [client.request("/missing", ("x-late", "of the client"), ("x-number", str(each % 9))) for each in range(number, number + 50)]
        for stream in streams:
            client.headed(stream)
            expect(stream.status == 404, f"{stream}")
            client.send(window_update(stream.id, 1000))
        for stream in streams:
            client.finished(stream)
    expect(not client.goaways(), f"{client.goaways()}")


@case(limit=120)
def many_cuts(pod):
    """1,000 streams cut at once, each with late DATA: all credited, and the connection goes on."""
    app = pod.app(parked)
    pod.start(**SOON)
    client, server = pair(pod, app)
    streams = [client.request(f"/{number}") for number in range(1000)]
    server.headed(streams[-1].id)
    together(lambda: all(stream.over for stream in streams), client, server, within=20)
    together(lambda: all(server.stream(stream.id).reset == "CANCEL" for stream in streams), client, server)
    for stream in streams:
        check_own(stream, "request_timeout")
        server.data(server.stream(stream.id), b"12345", end=True)
        server.read(0)
    whole(client, server, within=10)
    exchange(client, server, answer=(("x-some", "field"),))
    # So many lines at once are more than standard output may take: what it does not is counted.
    until(lambda: len(pod.proxy.records(FAILED)) + pod.proxy.counted("lapse_log_lines_dropped_total") >= 1000,
          lambda: f"{len(pod.proxy.records(FAILED))} records of 1,000", 15)


# Real programs

@case(ways=("out4",), limit=120)
def grpcio_cut(pod):
    """grpcio at both ends, 100 calls cut by a rule's 500 ms beside 500 that are not and three of 1 MB: status 4 with the sentence, and the rest whole."""
    grpc_server(pod)
    pod.start(*WAITS, "--config", configured(pod, service("web", pod.address), route("web", rule("/lapse.Test/Slow", {"request": "500ms"}), rule("/"))).path)
    found, _ = grpc_call(pod, pod.near, "cut", within=90)
    expect(found["whole"] == 503 and found["late"] == 0, f"{found}")
    expect(found["codes"] == {"DEADLINE_EXCEEDED": 100}, f"{found}")
    expect("500ms" in found["details"], f"the sentence is {found['details']!r}")
    pod.record(reason="request_timeout", msg=FAILED, grpc_status=4, phase="wait", detail=found["details"])


@case(limit=60)
def nghttp_and_curl_are_told(pod):
    """nghttp and curl, answered by a timer: 504 with reason and sentence, END_STREAM, and no error of the protocol."""
    pod.app(serving(lambda end, stream: None))
    pod.start(*WAITS, **SOON)
    for command in (["nghttp", "-v", url(pod)], ["curl", "-sSi", "--http2-prior-knowledge", "--max-time", "10", url(pod)]):
        code, text = said(pod, pod.near, command)
        expect(code == 0, f"{command[0]}: exit {code}: {text[-300:]}")
        expect("504" in text and "lapse-reason: request_timeout" in text and "lapse-detail: " in text, f"{command[0]} got {text[-600:]}")
