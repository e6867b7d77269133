/* HTTP/2's pure parts: what is a frame at once is one in pieces, a header block too; what the literal writer writes the reader reads as it was. The
 * first byte chooses. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>

#include "lib/buf.h"
#include "proxy/http2/frame.h"
#include "proxy/http2/head.h"
#include "proxy/http2/header.h"
#include "proxy/http2/stream.h"

struct gathered {
	struct buf fields; /* as the writer puts them */
	size_t count;
};

static void gather(void *owner, const struct header_line *line)
{
	struct gathered *gathered = owner;

	gathered->count++;
	HOLDS(!header_put(&gathered->fields, line));
	(void)head_grpc_timeout(line->value);
}

static bool same(const struct buf *a, const struct buf *b)
{
	return buf_length(a) == buf_length(b) && !memcmp(buf_bytes(a), buf_bytes(b), buf_length(a));
}

static void block(const uint8_t *data, size_t size)
{
	struct header_reader *whole, *pieces, *again;
	struct gathered at_once = {0}, in_pieces = {0}, written = {0};
	int result, part = 0;

	HOLDS(!header_reader_new(&whole) && !header_reader_new(&pieces) && !header_reader_new(&again));
	result = header_read(whole, (struct slice){data, size}, true, gather, &at_once);
	for (size_t at = 0; at < size && !part; at++)
		part = header_read(pieces, (struct slice){data + at, 1}, false, gather, &in_pieces);
	if (!part)
		part = header_read(pieces, (struct slice){data, 0}, true, gather, &in_pieces);
	HOLDS(result == 0 || result == -EBADMSG);
	HOLDS(result == part);
	if (!result) {
		HOLDS(same(&at_once.fields, &in_pieces.fields) && header_table_size(whole) == header_table_size(pieces));
		HOLDS(!header_read(again, (struct slice){buf_bytes(&at_once.fields), buf_length(&at_once.fields)}, true, gather, &written));
		HOLDS(written.count == at_once.count && same(&written.fields, &at_once.fields));
	}
	buf_release(&at_once.fields);
	buf_release(&in_pieces.fields);
	buf_release(&written.fields);
	header_reader_free(whole);
	header_reader_free(pieces);
	header_reader_free(again);
}

static void frames(const uint8_t *data, size_t size)
{
	for (size_t at = 0; size - at >= FRAME_HEAD;) {
		struct buf out = {0};
		struct frame frame;
		size_t fixed;

		frame_read(data + at, &frame);
		HOLDS(frame_name(frame.type) && frame.stream <= FRAME_LAST_ID);
		fixed = frame_fixed(&frame);
		HOLDS(fixed <= FRAME_FIXED_MOST);
		if (frame_fault(&frame) || size - at < FRAME_HEAD + frame.length)
			return;
		HOLDS(fixed <= frame.length);
		if (frame.type == FRAME_DATA || frame.type == FRAME_HEADERS || frame.type == FRAME_PUSH_PROMISE)
			HOLDS(frame_padding(&frame, data + at + FRAME_HEAD) + (int64_t)fixed <= frame.length);
		HOLDS(!frame_put(&out, &frame, data + at + FRAME_HEAD));
		HOLDS(buf_length(&out) == FRAME_HEAD + frame.length && !memcmp(buf_bytes(&out), data + at, 5) &&
		      !memcmp(buf_bytes(&out) + FRAME_HEAD, data + at + FRAME_HEAD, frame.length));
		buf_release(&out);
		at += FRAME_HEAD + frame.length;
	}
}

static void messages(const uint8_t *data, size_t size)
{
	struct stream_messages whole = {0}, pieces = {0};

	stream_messages_feed(&whole, data, size);
	for (size_t at = 0; at < size; at++)
		stream_messages_feed(&pieces, data + at, 1);
	HOLDS(whole.complete == pieces.complete && whole.left == pieces.left && whole.have == pieces.have);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size < 2)
		return 0;
	copy = exact_copy(data + 1, size - 1);
	if (data[0] % 3 == 0)
		block(copy, size - 1);
	else if (data[0] % 3 == 1)
		frames(copy, size - 1);
	else
		messages(copy, size - 1);
	free(copy);
	return 0;
}
