"""--forwarded: what an application is told of its client."""
from .harness import case, expect, http, ok, request


@case(ways=("in4", "in6"), each={"Forwarded": ("--forwarded",), "X-Forwarded-For": ("--forwarded", "x-forwarded-for")})
def forwarded_is_appended(pod, arguments):
    """The client's address behind what others have written, quoted as the field wants it; a request without gets a field of its own."""
    pod.app(http(lambda message: ok(message.raw_head)))
    pod.start(*arguments)
    name = "Forwarded" if len(arguments) == 1 else "X-Forwarded-For"
    address = pod.client.address(pod.family)
    own = address if len(arguments) > 1 else f"for={address}" if pod.family == 4 else f'for="[{address}]"'
    peer = pod.dial()
    for given in ((), ("192.0.2.7",), ("192.0.2.7", "198.51.100.1")):
        lines = [f"{name}: {'' if len(arguments) > 1 else 'for='}{each}" for each in given]
        sent = request("GET", "/", *lines, "X-A: 1")
        peer.send(sent)
        got = peer.response().body
        wanted = sent.replace(lines[-1].encode(), lines[-1].encode() + b", " + own.encode()) if given else \
            sent[:-2] + f"{name}: {own}\r\n\r\n".encode()
        expect(got == wanted, f"{got!r}, expected {wanted!r}")
