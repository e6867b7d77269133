#include "proxy/http2/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/slice.h"

/* A frame of this type, length and stream, whose flags are 0: is it read on? (RFC 9113 §6) */
static const struct {
	uint8_t type;
	uint32_t length, stream;
	uint8_t flags;
	bool good;
} judged[] = {
    {FRAME_DATA, 0, 1, 0, true},           {FRAME_DATA, 5, 0, 0, false},          {FRAME_DATA, 0, 1, FLAG_PADDED, false},
    {FRAME_HEADERS, 0, 1, 0, true},        {FRAME_HEADERS, 4, 1, FLAG_PRIORITY, false}, {FRAME_HEADERS, 5, 1, FLAG_PRIORITY, true},
    {FRAME_HEADERS, 5, 1, FLAG_PRIORITY | FLAG_PADDED, false}, {FRAME_HEADERS, 6, 1, FLAG_PRIORITY | FLAG_PADDED, true},
    {FRAME_HEADERS, 1, 0, 0, false},       {FRAME_PRIORITY, 4, 1, 0, true},       {FRAME_RST_STREAM, 4, 1, 0, true},
    {FRAME_RST_STREAM, 5, 1, 0, false},    {FRAME_RST_STREAM, 4, 0, 0, false},    {FRAME_SETTINGS, 12, 0, 0, true},
    {FRAME_SETTINGS, 7, 0, 0, false},      {FRAME_SETTINGS, 6, 1, 0, false},      {FRAME_SETTINGS, 0, 0, FLAG_ACK, true},
    {FRAME_SETTINGS, 6, 0, FLAG_ACK, false}, {FRAME_PUSH_PROMISE, 4, 1, 0, true}, {FRAME_PUSH_PROMISE, 4, 1, FLAG_PADDED, false},
    {FRAME_PING, 8, 0, 0, true},           {FRAME_PING, 7, 0, 0, false},          {FRAME_PING, 8, 1, 0, false},
    {FRAME_GOAWAY, 8, 0, 0, true},         {FRAME_GOAWAY, 7, 0, 0, false},        {FRAME_GOAWAY, 900, 0, 0, true},
    {FRAME_WINDOW_UPDATE, 4, 0, 0, true},  {FRAME_WINDOW_UPDATE, 4, 9, 0, true},  {FRAME_WINDOW_UPDATE, 3, 0, 0, false},
    {FRAME_CONTINUATION, 0, 1, 0, true},   {FRAME_CONTINUATION, 0, 0, 0, false},  {0xee, 99, 0, 0xff, true},
};

static void test_fault(void **state)
{
	for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++) {
		struct frame frame = {.length = judged[i].length, .stream = judged[i].stream, .type = judged[i].type, .flags = judged[i].flags};

		if ((frame_fault(&frame) == NULL) != judged[i].good)
			fail_msg("row %zu, a %s of %u bytes: %s", i, frame_name(frame.type), frame.length, frame_fault(&frame));
	}
}

static void test_padding(void **state)
{
	struct frame frame = {.length = 10, .stream = 1, .type = FRAME_DATA, .flags = FLAG_PADDED};
	uint8_t fixed[6] = {9};

	assert_int_equal(frame_padding(&frame, fixed), 9);
	fixed[0] = 10; /* and its own byte */
	assert_int_equal(frame_padding(&frame, fixed), -1);
	frame.type = FRAME_HEADERS;
	frame.flags |= FLAG_PRIORITY;
	fixed[0] = 4;
	assert_int_equal(frame_padding(&frame, fixed), 4);
	fixed[0] = 5;
	assert_int_equal(frame_padding(&frame, fixed), -1);
	frame.flags = 0;
	assert_int_equal(frame_padding(&frame, fixed), 0);
	frame.flags = FLAG_PADDED; /* which is no flag of others (RFC 9113 §6) */
	for (frame.type = 0; frame.type < 20; frame.type++)
		if (frame.type != FRAME_DATA && frame.type != FRAME_HEADERS && frame.type != FRAME_PUSH_PROMISE)
			assert_int_equal(frame_padding(&frame, fixed), 0);
}

static void test_read_what_is_written(void **state)
{
	struct buf out = {0};
	struct frame frame;

	assert_int_equal(frame_put_reset(&out, 7, 8), 0);
	frame_read(buf_bytes(&out), &frame);
	assert_int_equal(frame.type, FRAME_RST_STREAM);
	assert_int_equal(frame.stream, 7);
	assert_int_equal(frame.length, 4);
	assert_memory_equal(buf_bytes(&out) + FRAME_HEAD, "\0\0\0\x8", 4);
	buf_release(&out);
	assert_int_equal(frame_put_goaway(&out, 0x7fffffff, 11, "calm"), 0);
	assert_int_equal(buf_length(&out), FRAME_HEAD + 12);
	assert_memory_equal(buf_bytes(&out) + FRAME_HEAD, "\x7f\xff\xff\xff\0\0\0\xb" "calm", 12);
	buf_release(&out);
	/* The reserved bit of a stream is nobody's. */
	frame_read((const uint8_t *)"\0\0\0\0\0\xff\xff\xff\xff", &frame);
	assert_int_equal(frame.stream, 0x7fffffff);
}

/* A block of every length around the bounds: what comes back is the block, in frames that every receiver takes. */
static void test_block(void **state)
{
	static const size_t lengths[] = {0, 1, FRAME_PAYLOAD - 5, FRAME_PAYLOAD - 4, FRAME_PAYLOAD, FRAME_PAYLOAD + 1, 3 * FRAME_PAYLOAD + 7};
	static uint8_t bytes[4 * FRAME_PAYLOAD];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct buf out = {0};
		struct frame frame;
		size_t at = 0, got = 0;
		bool first = true, end = false;

		assert_int_equal(frame_put_block(&out, FRAME_HEADERS, 3, FLAG_END_STREAM | FLAG_PRIORITY, (const uint8_t *)"prior", (struct slice){bytes, lengths[i]}), 0);
		while (at < buf_length(&out)) {
			size_t led = first ? 5 : 0;

			assert_false(end);
			frame_read(buf_bytes(&out) + at, &frame);
			assert_int_equal(frame.type, first ? FRAME_HEADERS : FRAME_CONTINUATION);
			assert_int_equal(frame.stream, 3);
			assert_true(frame.length <= FRAME_PAYLOAD);
			if (first)
				assert_true(frame.flags & FLAG_END_STREAM && frame.flags & FLAG_PRIORITY);
			end = frame.flags & FLAG_END_HEADERS;
			assert_memory_equal(buf_bytes(&out) + at + FRAME_HEAD, "prior", led);
			assert_memory_equal(buf_bytes(&out) + at + FRAME_HEAD + led, bytes + got, frame.length - led);
			got += frame.length - led;
			at += FRAME_HEAD + frame.length;
			first = false;
		}
		assert_true(end);
		assert_int_equal(got, lengths[i]);
		buf_release(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fault),
	    cmocka_unit_test(test_padding),
	    cmocka_unit_test(test_read_what_is_written),
	    cmocka_unit_test(test_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
