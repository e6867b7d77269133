#!/usr/bin/python3
"""A gRPC server and a client over grpcio, without generated code: messages are bytes.

    grpc_calls.py serve PORT [OPTION=NUMBER…]      until it is killed; prints "serving"
    grpc_calls.py call TARGET SCENARIO [OPTION=…]  prints what came, as JSON

OPTIONs are channel arguments of gRPC's, "." for "grpc."; those of the server also age=SECONDS, grace=SECONDS."""
import json
import sys
import threading
import time
from concurrent import futures

import grpc

BIG = bytes(range(256)) * 4096


def arguments(words):
    pairs = [word.split("=") for word in words]
    return [(name.replace(".", "grpc.", 1) if name.startswith(".") else name, int(value)) for name, value in pairs]


# The server: /lapse.Test/METHOD.

class Service(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[-1]
        kinds = {"Unary": grpc.unary_unary_rpc_method_handler, "Slow": grpc.unary_unary_rpc_method_handler,
                 "Fail": grpc.unary_unary_rpc_method_handler, "Down": grpc.unary_stream_rpc_method_handler,
                 "Forever": grpc.unary_stream_rpc_method_handler,
                 "Up": grpc.stream_unary_rpc_method_handler, "Both": grpc.stream_stream_rpc_method_handler}
        return kinds[name](getattr(self, name.lower())) if name in kinds else None

    def unary(self, request, context):
        context.set_trailing_metadata((("x-length", str(len(request))),))
        return request

    def slow(self, request, context):
        time.sleep(float(request))
        return b"late"

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 % sure\u2026")

    def down(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number * 100

    def forever(self, request, context):
        print("forever: begun", flush=True)
        gone = threading.Event()
        try:
            number = 0
            context.add_callback(gone.set)
            while context.is_active() and not gone.wait(float(request)):
                yield b"%d" % number
                number += 1
        finally:
            print("forever: ended", flush=True)

    def up(self, requests, context):
        return b"%d" % sum(map(len, requests))

    def both(self, requests, context):
        for each in requests:
            yield each[::-1]


def serve(port, options):
    given = dict(options)
    settings = [pair for pair in options if pair[0] not in ("age", "grace")]
    if "age" in given:
        settings += [("grpc.max_connection_age_ms", given["age"] * 1000), ("grpc.max_connection_age_grace_ms", given.get("grace", 5) * 1000)]
    server = grpc.server(futures.ThreadPoolExecutor(1100), (Service(),),
                         options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.max_concurrent_streams", 2000), *settings])
    server.add_insecure_port(f"[::]:{port}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


# The client's scenarios: what each gives is the same with a proxy in between as without.

def method(channel, kind, name):
    return getattr(channel, kind)(f"/lapse.Test/{name}")


def outcome(call):
    """What a call came to: its answer, or its status and the server's words."""
    try:
        answer = call()
        return {"answer": answer if isinstance(answer, (int, str, list)) else [len(answer), hash_of(answer)]}
    except grpc.RpcError as error:
        return {"status": error.code().name, "details": error.details()}


def hash_of(data):
    import hashlib
    return hashlib.sha256(data).hexdigest()[:16]


def unary(channel):
    call = method(channel, "unary_unary", "Unary")
    return [outcome(lambda: call(b"x" * size, timeout=20)) for size in (0, 1, 1000, 70000)]


def big(channel):
    call = method(channel, "unary_unary", "Unary")
    return [outcome(lambda: call(BIG, timeout=30)) for _ in range(4)]


def missing(channel):
    call, failing = method(channel, "unary_unary", "Nothing"), method(channel, "unary_unary", "Fail")
    return [outcome(lambda: call(b"", timeout=10)), outcome(lambda: failing(b"", timeout=10))]


def streams(channel):
    down, up, both = (method(channel, kind, name) for kind, name in (("unary_stream", "Down"), ("stream_unary", "Up"), ("stream_stream", "Both")))
    return [outcome(lambda: len(b"".join(down(b"2000", timeout=30)))),
            outcome(lambda: int(up((b"y" * number for number in range(500)), timeout=30))),
            outcome(lambda: [each.decode() for each in both((b"abc%d" % number for number in range(300)), timeout=30)])]


def deadline(channel):
    slow, forever = method(channel, "unary_unary", "Slow"), method(channel, "unary_stream", "Forever")
    return [outcome(lambda: slow(b"20", timeout=0.5)), outcome(lambda: [each.decode() for each in forever(b"0.2", timeout=0.7)]),
            outcome(lambda: slow(b"0.1", timeout=10).decode())]


def cancel(channel):
    forever = method(channel, "unary_stream", "Forever")(b"0.02")
    first = next(forever).decode()
    forever.cancel()
    after = outcome(lambda: [each.decode() for each in forever])
    return [first, after["status"], outcome(lambda: method(channel, "unary_unary", "Unary")(b"still", timeout=10))]


def many(channel):
    """1,000 calls at once, all of them open before the first is answered."""
    slow = method(channel, "unary_unary", "Slow")
    calls = [slow.future(b"2", timeout=40) for _ in range(1000)]
    codes = [call.code().name for call in calls]
    return {code: codes.count(code) for code in set(codes)}


def pinging(channel):
    """Pings more often than the server allows, with a call open: what the call ends with."""
    forever = method(channel, "unary_stream", "Forever")(b"60", timeout=15)
    return outcome(lambda: [each.decode() for each in forever])


def patient(channel):
    """Calls over longer than a connection lives: none is lost, and a stream runs to its end within the grace."""
    unary = method(channel, "unary_unary", "Unary")
    slow = method(channel, "unary_unary", "Slow").future(b"2", timeout=10)
    failed = 0
    begun = time.monotonic()
    while time.monotonic() - begun < 4:
        failed += unary.future(b"z", timeout=5, wait_for_ready=True).code() is not grpc.StatusCode.OK
        time.sleep(0.05)
    return [failed, slow.code().name]


def failover(channel):
    """Fifty calls, each on a channel of its own whose first address is dead: how many succeed."""
    return sum("answer" in each for each in (_once(channel.lapse_target) for _ in range(50)))


def _once(target):
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        return outcome(lambda: method(channel, "unary_unary", "Unary")(b"x", timeout=8))


def cut(channel):
    """Calls that are too slow for a rule in between, beside ones that are not."""
    slow, unary = method(channel, "unary_unary", "Slow"), method(channel, "unary_unary", "Unary")
    late = [slow.future(b"1.5", timeout=30) for _ in range(100)]
    whole = [unary.future(BIG, timeout=30) for _ in range(3)]
    for _ in range(25):
        whole += [unary.future(b"quick %d" % number, timeout=30, metadata=(("x-number", str(number)),)) for number in range(20)]
        time.sleep(0.05)
    codes = [call.code().name for call in late]
    return {"whole": sum(call.code() is grpc.StatusCode.OK for call in whole), "codes": {code: codes.count(code) for code in set(codes)},
            "late": codes.count("OK"), "details": late[0].details()}


SCENARIOS = {each.__name__: each for each in (unary, big, missing, streams, deadline, cancel, many, pinging, patient, failover, cut)}


def call(target, scenario, options):
    with grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", 64 << 20), *options]) as channel:
        channel.lapse_target = target
        print(json.dumps(SCENARIOS[scenario](channel)))


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "serve":
        serve(where, arguments(rest))
    else:
        call(where, rest[0], arguments(rest[1:]))
