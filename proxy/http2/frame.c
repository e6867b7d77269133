#include "proxy/http2/frame.h"

#include <errno.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/slice.h"

/* What a frame of each type must be: its length, or the least, and whether it is of a stream or of the connection. */
static const struct {
	const char *name;
	uint32_t least, most;
	enum { STREAM_ZERO, STREAM_SOME, STREAM_ANY } stream;
} types[] = {
    [FRAME_DATA] = {"DATA", 0, UINT32_MAX, STREAM_SOME},
    [FRAME_HEADERS] = {"HEADERS", 0, UINT32_MAX, STREAM_SOME},
    [FRAME_PRIORITY] = {"PRIORITY", 0, UINT32_MAX, STREAM_ANY},
    [FRAME_RST_STREAM] = {"RST_STREAM", 4, 4, STREAM_SOME},
    [FRAME_SETTINGS] = {"SETTINGS", 0, UINT32_MAX, STREAM_ZERO},
    [FRAME_PUSH_PROMISE] = {"PUSH_PROMISE", 4, UINT32_MAX, STREAM_SOME},
    [FRAME_PING] = {"PING", 8, 8, STREAM_ZERO},
    [FRAME_GOAWAY] = {"GOAWAY", 8, UINT32_MAX, STREAM_ZERO},
    [FRAME_WINDOW_UPDATE] = {"WINDOW_UPDATE", 4, 4, STREAM_ANY},
    [FRAME_CONTINUATION] = {"CONTINUATION", 0, UINT32_MAX, STREAM_SOME},
};

_Static_assert(sizeof types / sizeof types[0] == FRAME_TYPES, "one row per type");

uint32_t frame_number(const uint8_t bytes[static 4])
{
	return ((uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3]) & FRAME_LAST_ID;
}

static void frame_put_number(uint8_t bytes[static 4], uint32_t number)
{
	bytes[0] = (uint8_t)(number >> 24);
	bytes[1] = (uint8_t)(number >> 16);
	bytes[2] = (uint8_t)(number >> 8);
	bytes[3] = (uint8_t)number;
}

void frame_read(const uint8_t head[static FRAME_HEAD], struct frame *frame)
{
	*frame = (struct frame){
	    .length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2],
	    .type = head[3],
	    .flags = head[4],
	    .stream = frame_number(head + 5),
	};
}

/* The pad length, and what lies between that and the fragment of a header block. */
static size_t frame_lead(const struct frame *frame)
{
	size_t lead = frame->flags & FLAG_PADDED ? 1 : 0;

	if (frame->type == FRAME_HEADERS && frame->flags & FLAG_PRIORITY)
		lead += 5;
	else if (frame->type == FRAME_PUSH_PROMISE)
		lead += 4;
	return lead;
}

size_t frame_fixed(const struct frame *frame)
{
	switch (frame->type) {
	case FRAME_DATA:
	case FRAME_HEADERS:
	case FRAME_PUSH_PROMISE:
		return frame_lead(frame);
	case FRAME_RST_STREAM:
	case FRAME_PING:
	case FRAME_GOAWAY:
	case FRAME_WINDOW_UPDATE:
		return types[frame->type].least;
	default:
		return 0;
	}
}

const char *frame_fault(const struct frame *frame)
{
	if (frame->type >= FRAME_TYPES)
		return NULL;
	if (frame->length < types[frame->type].least || frame->length > types[frame->type].most || frame->length < frame_fixed(frame))
		return "of a wrong length";
	if (frame->type == FRAME_SETTINGS && (frame->length % 6 || (frame->flags & FLAG_ACK && frame->length)))
		return "of a wrong length";
	if (types[frame->type].stream == STREAM_SOME && !frame->stream)
		return "on stream 0";
	if (types[frame->type].stream == STREAM_ZERO && frame->stream)
		return "on a stream";
	return NULL;
}

int64_t frame_padding(const struct frame *frame, const uint8_t *fixed)
{
	bool padded = frame->type == FRAME_DATA || frame->type == FRAME_HEADERS || frame->type == FRAME_PUSH_PROMISE;

	if (!padded || !(frame->flags & FLAG_PADDED))
		return 0;
	return frame_lead(frame) + fixed[0] > frame->length ? -1 : fixed[0];
}

const char *frame_name(unsigned type)
{
	return type < FRAME_TYPES ? types[type].name : "extension";
}

int frame_put(struct buf *out, const struct frame *frame, const void *payload)
{
	uint8_t *room = buf_reserve(out, FRAME_HEAD + frame->length);

	if (!room)
		return -ENOMEM;
	room[0] = (uint8_t)(frame->length >> 16);
	room[1] = (uint8_t)(frame->length >> 8);
	room[2] = (uint8_t)frame->length;
	room[3] = frame->type;
	room[4] = frame->flags;
	frame_put_number(room + 5, frame->stream);
	if (frame->length)
		memcpy(room + FRAME_HEAD, payload, frame->length);
	buf_commit(out, FRAME_HEAD + frame->length);
	return 0;
}

int frame_put_reset(struct buf *out, uint32_t stream, uint32_t code)
{
	uint8_t payload[4];

	frame_put_number(payload, code);
	return frame_put(out, &(struct frame){.length = sizeof payload, .stream = stream, .type = FRAME_RST_STREAM}, payload);
}

int frame_put_window(struct buf *out, uint32_t stream, uint32_t credit)
{
	uint8_t payload[4];

	frame_put_number(payload, credit);
	return frame_put(out, &(struct frame){.length = sizeof payload, .stream = stream, .type = FRAME_WINDOW_UPDATE}, payload);
}

int frame_put_goaway(struct buf *out, uint32_t last, uint32_t code, const char *debug)
{
	enum { DEBUG_MOST = 512 };
	uint8_t payload[8 + DEBUG_MOST];
	size_t length = strnlen(debug, DEBUG_MOST);

	frame_put_number(payload, last);
	frame_put_number(payload + 4, code);
	memcpy(payload + 8, debug, length);
	return frame_put(out, &(struct frame){.length = (uint32_t)(8 + length), .type = FRAME_GOAWAY}, payload);
}

int frame_put_ping(struct buf *out, const uint8_t data[static 8])
{
	return frame_put(out, &(struct frame){.length = 8, .type = FRAME_PING}, data);
}

int frame_put_block(struct buf *out, enum frame_type type, uint32_t stream, uint8_t flags, const uint8_t *lead, struct slice block)
{
	size_t before = buf_length(out), led = type == FRAME_PUSH_PROMISE ? 4 : flags & FLAG_PRIORITY ? 5 : 0;
	size_t part = block.length < FRAME_PAYLOAD - led ? block.length : FRAME_PAYLOAD - led;
	uint8_t first[FRAME_PAYLOAD];
	struct frame frame = {.length = (uint32_t)(led + part), .stream = stream, .type = type, .flags = flags};
	int result;

	if (led)
		memcpy(first, lead, led);
	if (part)
		memcpy(first + led, block.bytes, part);
	if (part == block.length)
		frame.flags |= FLAG_END_HEADERS;
	result = frame_put(out, &frame, first);
	for (size_t at = part; !result && at < block.length; at += part) {
		part = block.length - at < FRAME_PAYLOAD ? block.length - at : FRAME_PAYLOAD;
		frame = (struct frame){.length = (uint32_t)part, .stream = stream, .type = FRAME_CONTINUATION,
		                       .flags = at + part == block.length ? FLAG_END_HEADERS : 0};
		result = frame_put(out, &frame, block.bytes + at);
	}
	if (result)
		out->end = out->start + (uint32_t)before; /* half a block is none */
	return result;
}
