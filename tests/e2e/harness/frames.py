"""HTTP/2 as bytes: frames made and read (RFC 9113 §4, §6), header blocks of literals and what a block is made of (RFC 7541 §6)."""
import struct

from hpack.hpack import decode_integer, encode_integer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KINDS = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION")
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED, PRIORITIZED = 4, 8, 32
CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
         "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED")
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 1, 2, 8, 7, 11
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, WINDOW, FRAME_SIZE, HEADER_LIST, CONNECT_PROTOCOL = 1, 2, 3, 4, 5, 6, 8
WINDOW_DEFAULT, FRAME_DEFAULT, LAST = 65535, 16384, (1 << 31) - 1


# Made.

def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame; length: what its header claims instead of what it carries."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def padded(payload, padding):
    """(payload, flag) with so many bytes of padding; None: without the field."""
    return (payload, 0) if padding is None else (bytes([padding]) + payload + bytes(padding), PADDED)


def data(stream, payload=b"", end=False, padding=None):
    payload, flag = padded(payload, padding)
    return frame(DATA, flag | (END_STREAM if end else 0), stream, payload)


def headers(stream, block, end=False, padding=None, priority=None, sizes=()):
    """A header block in one HEADERS, or cut behind so many bytes each into CONTINUATION frames; priority: (depends on, weight)."""
    ends, at = [], 0
    for size in sizes:
        at += size
        ends.append(at)
    pieces = [block[begin:stop] for begin, stop in zip([0, *ends], [*ends, len(block)])]
    first = (struct.pack(">IB", *priority) if priority else b"") + pieces[0]
    first, flag = padded(first, padding)
    flag |= (END_STREAM if end else 0) | (PRIORITIZED if priority else 0) | (0 if sizes else END_HEADERS)
    made = frame(HEADERS, flag, stream, first)
    for number, piece in enumerate(pieces[1:], 1):
        made += frame(CONTINUATION, END_HEADERS if number == len(sizes) else 0, stream, piece)
    return made


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", name, value) for name, value in pairs))


SETTINGS_ACK = frame(SETTINGS, ACK)


def ping(what=b"12345678", ack=False):
    return frame(PING, ACK if ack else 0, 0, what)


def priority(stream, depends=0, weight=15):
    return frame(PRIORITY, 0, stream, struct.pack(">IB", depends, weight))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def goaway(last=0, code=NO_ERROR, debug=b""):
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + debug)


def window_update(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def text(value, prefix=7):
    """A string literal as it is, without Huffman's code."""
    size = encode_integer(len(value), prefix)
    return bytes(size) + value


def literals(*fields, kind=0x00):
    """A block of literals with literal names: 0x00 without indexing, 0x10 never indexed, 0x40 with incremental indexing."""
    return b"".join(bytes([kind]) + text(_bytes(name)) + text(_bytes(value)) for name, value in fields)


def size_update(size):
    """A dynamic table size update."""
    made = encode_integer(size, 5)
    made[0] |= 0x20
    return bytes(made)


def message(payload=b"", compressed=0):
    """A gRPC message: its prefix of five bytes, then itself."""
    return struct.pack(">BI", compressed, len(payload)) + payload


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode()


# Read.

class Frame:
    """A frame that has come, when (monotonic), and the fields of the block that it ends, if it ends one."""

    def __init__(self, head, payload, at=0.0):
        self.kind, self.flags = head[3], head[4]
        self.stream = struct.unpack(">I", head[5:9])[0] & LAST
        self.payload, self.at, self.raw = payload, at, head + payload
        self.fields = self.block = None

    @property
    def name(self):
        return KINDS[self.kind] if self.kind < len(KINDS) else f"TYPE_{self.kind}"

    @property
    def end_stream(self):
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def ack(self):
        return self.kind in (SETTINGS, PING) and bool(self.flags & ACK)

    @property
    def code(self):
        """The error's name, of RST_STREAM and GOAWAY."""
        at = {RST_STREAM: 0, GOAWAY: 4}[self.kind]
        return code_name(struct.unpack(">I", self.payload[at:at + 4])[0])

    @property
    def last(self):
        return struct.unpack(">I", self.payload[:4])[0] & LAST

    @property
    def debug(self):
        return self.payload[8:]

    @property
    def increment(self):
        return struct.unpack(">I", self.payload)[0] & LAST

    @property
    def settings(self):
        return [struct.unpack(">HI", self.payload[at:at + 6]) for at in range(0, len(self.payload), 6)]

    @property
    def content(self):
        """The payload without padding and priority: of DATA the data, of HEADERS the fragment of its block."""
        content = self.payload
        if self.kind in (DATA, HEADERS, PUSH_PROMISE) and self.flags & PADDED:
            content = content[1:len(content) - content[0]]
        if self.kind == HEADERS and self.flags & PRIORITIZED:
            content = content[5:]
        return content[4:] if self.kind == PUSH_PROMISE else content

    @property
    def promised(self):
        return struct.unpack(">I", self.payload[1 if self.flags & PADDED else 0:][:4])[0] & LAST

    def __repr__(self):
        said = f"{self.name}[{self.stream}]"
        if self.kind in (RST_STREAM, GOAWAY):
            said += f" {self.code}" + (f" last {self.last} {self.debug!r}" if self.kind == GOAWAY else "")
        elif self.fields is not None:
            said += f" {self.fields}"
        elif self.kind == WINDOW_UPDATE:
            said += f" +{self.increment}"
        else:
            said += f" {len(self.payload)} B"
        return said + (" END_STREAM" if self.end_stream else "") + (" ACK" if self.ack else "")


def code_name(number):
    return CODES[number] if number < len(CODES) else str(number)


def frames_of(raw):
    """(the frames of these bytes, what is left over)."""
    found = []
    while len(raw) >= 9 and len(raw) >= (size := 9 + int.from_bytes(raw[:3], "big")):
        found.append(Frame(raw[:9], raw[9:size]))
        raw = raw[size:]
    return found, raw


def representations(block):
    """What a block is made of, in order: ("update", size), ("indexed", index), ("incremental" | "literal" | "never", index of the name)."""
    found, at = [], 0
    while at < len(block):
        first = block[at]
        kind, bits = (("indexed", 7) if first & 0x80 else ("incremental", 6) if first & 0x40 else ("update", 5) if first & 0x20
                      else ("never", 4) if first & 0x10 else ("literal", 4))
        number, used = decode_integer(block[at:], bits)
        at += used
        if kind in ("incremental", "literal", "never"):
            for _ in range(1 if number else 2):
                size, used = decode_integer(block[at:], 7)
                at += used + size
        found.append((kind, number))
    return found


def dynamic(block):
    """Whether a block adds to the dynamic table or refers to it; the static one has 61 entries."""
    return any(kind == "incremental" or kind != "update" and number > 61 for kind, number in representations(block))
