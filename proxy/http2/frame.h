#ifndef LAPSE_PROXY_HTTP2_FRAME_H
#define LAPSE_PROXY_HTTP2_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct slice;

/* HTTP/2's frames as bytes (RFC 9113 §4, §6). Pure. */

enum frame_type {
	FRAME_DATA,
	FRAME_HEADERS,
	FRAME_PRIORITY,
	FRAME_RST_STREAM,
	FRAME_SETTINGS,
	FRAME_PUSH_PROMISE,
	FRAME_PING,
	FRAME_GOAWAY,
	FRAME_WINDOW_UPDATE,
	FRAME_CONTINUATION,
	FRAME_TYPES, /* others are extensions, which nobody has to know (§4.1) */
};

enum frame_flag { FLAG_END_STREAM = 0x1, FLAG_ACK = 0x1, FLAG_END_HEADERS = 0x4, FLAG_PADDED = 0x8, FLAG_PRIORITY = 0x20 };

/* §6.5.2 */
enum frame_setting { SETTING_HEADER_TABLE_SIZE = 1, SETTING_INITIAL_WINDOW_SIZE = 4 };

enum {
	FRAME_PREFACE = 24,
	FRAME_HEAD = 9,
	FRAME_FIXED_MOST = 8,   /* of what frame_fixed() gives */
	FRAME_PAYLOAD = 16384,  /* what every receiver takes (SETTINGS_MAX_FRAME_SIZE is never less) */
	FRAME_WINDOW = 65535,   /* at first, of a stream and of a connection */
	FRAME_TABLE = 4096,     /* at first, HPACK's dynamic table */
	FRAME_LAST_ID = 0x7fffffff,
};

struct frame {
	uint32_t length; /* of the payload */
	uint32_t stream;
	uint8_t type, flags;
};

void frame_read(const uint8_t head[static FRAME_HEAD], struct frame *frame);

/* How many bytes at the payload's start say what becomes of the frame: the pad length, the priority, the promised stream, a whole RST_STREAM,
 * PING or WINDOW_UPDATE, GOAWAY without its debug data. */
size_t frame_fixed(const struct frame *frame);

/* Why the frame cannot be read any further, its size or stream being none of its type's; NULL. What is wrong otherwise is for its receiver
 * to say. */
const char *frame_fault(const struct frame *frame);

/* Of a HEADERS, PUSH_PROMISE or DATA frame whose fixed part is here: bytes of padding at its end. -1: more than there is room for. */
int64_t frame_padding(const struct frame *frame, const uint8_t *fixed);

uint32_t frame_number(const uint8_t bytes[static 4]); /* 31 bits of it */

/* "HEADERS"; an extension: "extension". */
const char *frame_name(unsigned type);

/* Appended to *out: 0 or -ENOMEM, then nothing is. */
int frame_put(struct buf *out, const struct frame *frame, const void *payload);
int frame_put_reset(struct buf *out, uint32_t stream, uint32_t code);
int frame_put_window(struct buf *out, uint32_t stream, uint32_t credit);
int frame_put_goaway(struct buf *out, uint32_t last, uint32_t code, const char *debug);
int frame_put_ping(struct buf *out, const uint8_t data[static 8]);

/* A header block as HEADERS and as many CONTINUATIONs as it takes. flags: FLAG_END_STREAM, FLAG_PRIORITY; lead: the 5 bytes of the priority
 * with that, else, for a PUSH_PROMISE, the 4 of the promised stream. */
int frame_put_block(struct buf *out, enum frame_type type, uint32_t stream, uint8_t flags, const uint8_t *lead, struct slice block);

#endif
