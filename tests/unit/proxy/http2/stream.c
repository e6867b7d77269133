#include "proxy/http2/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/slab.h"
#include "proxy/metrics/words.h"
#include "proxy/policy/terms.h"

static void test_found_by_identifier(void **state)
{
	enum { COUNT = 5000 };
	struct slab *memory = slab_new(sizeof(struct stream));
	struct streams streams = {0};
	struct stream_walk walk = {0};
	struct stream *stream;
	unsigned seen = 0;

	assert_null(stream_find(&streams, 1));
	for (uint32_t i = 0; i < COUNT; i++)
		assert_non_null(stream_new(&streams, memory, 2 * i + 1));
	for (uint32_t i = 0; i < COUNT; i++)
		assert_int_equal(stream_find(&streams, 2 * i + 1)->id, 2 * i + 1);
	assert_null(stream_find(&streams, 2));
	assert_true(sizeof(struct stream) <= 200);
	/* Every one is met once, though the walker frees it. */
	while ((stream = stream_next(&streams, &walk))) {
		seen++;
		stream_free(&streams, memory, stream);
	}
	assert_int_equal(seen, COUNT);
	assert_int_equal(streams.count, 0);
	assert_null(streams.buckets);
	slab_free(memory);
}

/* The table of stages: from row to column. */
static void test_stages(void **state)
{
	static const bool may[STREAM_STAGES][STREAM_STAGES] = {
	    [STREAM_REQUEST] = {[STREAM_WAIT] = true, [STREAM_RESPONSE] = true, [STREAM_CUT] = true},
	    [STREAM_WAIT] = {[STREAM_RESPONSE] = true, [STREAM_CUT] = true},
	    [STREAM_RESPONSE] = {[STREAM_ANSWERED] = true, [STREAM_CUT] = true},
	    [STREAM_ANSWERED] = {[STREAM_CUT] = true},
	};

	for (int from = 0; from < STREAM_STAGES; from++)
		for (int to = 0; to < STREAM_STAGES; to++) {
			struct stream stream = {.stage = (enum stream_stage)from};

			assert_int_equal(stream_enter(&stream, (enum stream_stage)to), may[from][to]);
			assert_int_equal(stream.stage, may[from][to] ? to : from);
		}
}

static struct terms terms_of(int64_t request, int64_t backend_request, int64_t stream_idle)
{
	struct terms terms = {.timers = UINT32_MAX};

	terms.timeouts.of[TIMEOUT_REQUEST].milliseconds = request;
	terms.timeouts.of[TIMEOUT_BACKEND_REQUEST].milliseconds = backend_request;
	terms.timeouts.of[TIMEOUT_STREAM_IDLE].milliseconds = stream_idle;
	return terms;
}

static void test_deadlines(void **state)
{
	struct terms terms = terms_of(500, 300, 200);
	struct stream stream = {.terms = &terms, .begun_us = 1000000, .last = 1000};
	unsigned timer;

	assert_int_equal(stream_deadline(&stream, &timer), 1200);
	assert_int_equal(timer, TIMEOUT_STREAM_IDLE);
	stream.last = 1250;
	assert_int_equal(stream_deadline(&stream, &timer), 1300);
	assert_int_equal(timer, TIMEOUT_BACKEND_REQUEST);
	/* Counted from the end of the request, which has not come. */
	terms.timeouts.of[TIMEOUT_BACKEND_REQUEST].after_request = true;
	assert_int_equal(stream_deadline(&stream, &timer), 1450);
	stream.request_end = 1100;
	assert_int_equal(stream_deadline(&stream, &timer), 1400);
	assert_int_equal(timer, TIMEOUT_BACKEND_REQUEST);
	/* Off. */
	terms = terms_of(0, 0, 0);
	assert_true(stream_deadline(&stream, &timer) == INT64_MAX);
	/* The whole response has come: only silence counts. */
	terms = terms_of(10, 10, 200);
	stream.stage = STREAM_ANSWERED;
	assert_int_equal(stream_deadline(&stream, &timer), 1450);
	/* `request` ends with the head. */
	terms = terms_of(500, 0, 0);
	stream.stage = STREAM_RESPONSE;
	terms.until_head = true;
	assert_int_equal(stream_deadline(&stream, &timer), 1500);
	stream.status = 200;
	assert_true(stream_deadline(&stream, &timer) == INT64_MAX);
	/* A tunnel has silence only, once it was answered. */
	terms = terms_of(500, 400, 2000);
	stream.connect = true;
	assert_int_equal(stream_deadline(&stream, &timer), 3250);
	stream.status = 407;
	assert_int_equal(stream_deadline(&stream, &timer), 1400);
	/* A client's own deadline, enforced. */
	stream.enforced = true;
	stream.grpc_timeout = 100;
	assert_int_equal(stream_deadline(&stream, &timer), 1100);
	assert_int_equal(timer, STREAM_GRPC_DEADLINE);
	/* Cut: remembered for a while. */
	stream.stage = STREAM_CUT;
	stream.terms = NULL;
	assert_int_equal(stream_deadline(&stream, &timer), 1250 + STREAM_CUT_MS);
	assert_int_equal(timer, STREAM_FORGET);
}

/* Three messages, of 3, 0 and 300 bytes, cut at every place. */
static void test_messages(void **state)
{
	static uint8_t bytes[5 + 3 + 5 + 5 + 300];

	memcpy(bytes, "\0\0\0\0\x3" "abc" "\1\0\0\0\0" "\0\0\0\x1\x2c", 18);
	for (size_t cut = 0; cut <= sizeof bytes; cut++) {
		struct stream_messages messages = {0};

		stream_messages_feed(&messages, bytes, cut);
		assert_int_equal(stream_messages_whole(&messages), cut == 0 || cut == 8 || cut == 13 || cut == sizeof bytes);
		assert_int_equal(messages.complete, cut < 8 ? 0 : cut < 13 ? 1 : cut < sizeof bytes ? 2 : 3);
		if (cut > 18 && cut < sizeof bytes)
			assert_true(messages.size == 300 && messages.left == sizeof bytes - cut);
		stream_messages_feed(&messages, bytes + cut, sizeof bytes - cut);
		assert_true(messages.complete == 3 && stream_messages_whole(&messages));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_found_by_identifier),
	    cmocka_unit_test(test_stages),
	    cmocka_unit_test(test_deadlines),
	    cmocka_unit_test(test_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
