/* Of proxy/http1.c: bodies as they come, and the limits at their exact boundary. */
#include "proxy/http1/http1.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/proxy/guard.h"

#define BYTES(text) text, sizeof text - 1

static const struct http1_limits wide = {65536, 128, 16384, 1024};
static const struct http1_limits narrow = {64, 3, 32, 16};

struct fed {
	int result;
	size_t consumed;
	bool complete;
	struct http1_error error;
};

/* The bytes in pieces of `first`, then of `step`, until the body ends or is refused. */
static struct fed feed(const struct guard *guard, enum http1_kind kind, const struct message_head *head, const void *bytes,
                       size_t length, size_t first, size_t step, const struct http1_limits *limits)
{
	struct message_body body;
	struct fed fed = {0};
	size_t at = 0, piece = first ? first : step;

	assert_int_equal(http1_body_start(&body, head), 0);
	assert_int_equal(body.complete, head->framing == MESSAGE_NO_BODY || (head->framing == MESSAGE_LENGTH && !head->content_length));
	while (at < length && !body.complete && !fed.result) {
		size_t consumed = SIZE_MAX;

		piece = length - at < piece ? length - at : piece;
		fed.result = http1_body_feed(&body, kind, guard_place(guard, (const char *)bytes + at, piece), piece, limits,
		                             &consumed, &fed.error);
		if (!fed.result) {
			assert_true(consumed <= piece);
			assert_true(consumed == piece || body.complete);
			fed.consumed += consumed;
		}
		at += piece;
		piece = step;
	}
	fed.complete = body.complete;
	message_body_free(&body);
	assert_true(body.complete && !body.chunked && !body.remaining && body.framing == MESSAGE_NO_BODY);
	return fed;
}

static const struct message_head chunked = {.framing = MESSAGE_CHUNKED};

/* body: how many of the bytes are the body's; the rest belongs to what comes next. */
static const struct {
	const char *bytes;
	size_t length, body;
} chunked_bodies[] = {
    {BYTES("0\r\n\r\n"), 5},
    {BYTES("0\r\n\r\nGET / HTTP/1.1\r\n"), 5},
    {BYTES("5\r\nhello\r\n0\r\n\r\n0\r\n\r\n"), 15},
    {BYTES("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), 18},
    {BYTES("00a\r\n0123456789\r\n000\r\n\r\nX"), 24},
    {BYTES("A\r\n0\r\n\r\n01234\r\n0\r\n\r\n"), 20}, /* the end of a body as its data */
    {BYTES("3;a=b\r\nabc\r\n0;c\r\n\r\nz"), 19},
    {BYTES("3;a=\"q;\\\"\"\r\nabc\r\n0\r\n\r\n"), 22},
    {BYTES("0\r\nTrailer: x\r\n\r\nz"), 17},
    {BYTES("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\nHTTP/1.1 200 OK\r\n"), 21},
    {BYTES("0\r\nX-Sum: 1\r\nConnection: close\r\n\r\n"), 34},
};

static void chunked_bodies_end(void **state)
{
	for (size_t i = 0; i < sizeof chunked_bodies / sizeof *chunked_bodies; i++)
		for (size_t first = 0; first <= chunked_bodies[i].length; first++)
			for (int bytewise = 0; bytewise < 2; bytewise++) {
				struct fed fed = feed(*state, bytewise ? HTTP1_RESPONSE : HTTP1_REQUEST, &chunked,
				                      chunked_bodies[i].bytes, chunked_bodies[i].length, first,
				                      bytewise ? 1 : SIZE_MAX, &wide);

				if (fed.result || !fed.complete || fed.consumed != chunked_bodies[i].body)
					fail_msg("body %zu split at %zu: %d %s, %zu bytes", i, first, fed.result,
					         fed.result ? fed.error.what : "", fed.consumed);
			}
}

static void chunked_bodies_do_not_end_early(void **state)
{
	for (size_t i = 0; i < sizeof chunked_bodies / sizeof *chunked_bodies; i++)
		for (size_t length = 0; length < chunked_bodies[i].body; length++) {
			struct fed fed = feed(*state, HTTP1_REQUEST, &chunked, chunked_bodies[i].bytes, length, 0, SIZE_MAX, &wide);

			if (fed.result || fed.complete || fed.consumed != length)
				fail_msg("body %zu, %zu bytes of it: %d", i, length, fed.result);
		}
}

static const struct {
	const char *bytes;
	size_t length;
} refused_bodies[] = {
    {BYTES("x\r\n")},
    {BYTES("\r\n")},
    {BYTES(" 5\r\nhello\r\n")},
    {BYTES("-1\r\n")},
    {BYTES("+1\r\n")},
    {BYTES("0x5\r\nhello\r\n")},
    {BYTES("5 \r\nhello\r\n0\r\n\r\n")},
    {BYTES("5\nhello\r\n0\r\n\r\n")},
    {BYTES("5\rhello\r\n0\r\n\r\n")},
    {BYTES("5\r\nhello0\r\n\r\n")},
    {BYTES("5\r\nhello\n0\r\n\r\n")},
    {BYTES("5\r\nhello\rx0\r\n\r\n")},
    {BYTES("5\r\nhello!\r\n0\r\n\r\n")},
    {BYTES("10000000000000000\r\n")},
    {BYTES("fffffffffffffffff\r\n")},
    {BYTES("8000000000000000a\r\n")},
    {BYTES("5;a\nhello\r\n0\r\n\r\n")},
    {BYTES("5;a\0b\r\nhello\r\n0\r\n\r\n")},
    {BYTES("5;a\rb\r\nhello\r\n0\r\n\r\n")},
    {BYTES("0\r\n\n")},
    {BYTES("0\r\nA: b\n\r\n")},
    {BYTES("0\r\nA: b\rc\r\n\r\n")},
    {BYTES("0\r\nA: b\0c\r\n\r\n")},
    {BYTES("0\r\nA : b\r\n\r\n")},
    {BYTES("0\r\nA\r\n\r\n")},
    {BYTES("0\r\nA: b\r\n c\r\n\r\n")},
    {BYTES("0\r\n A: b\r\n\r\n")},
    {BYTES("0\r\nContent-Length: 5\r\n\r\n")},
    {BYTES("0\r\nTransfer-Encoding: gzip\r\n\r\n")},
};

/* One fault, the same verdict at every split and byte by byte; and no byte of the piece that has it goes on. */
static void refuses_chunks(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof refused_bodies / sizeof *refused_bodies; i++)
		for (size_t first = 0; first <= refused_bodies[i].length; first++)
			for (int variant = 0; variant < 3; variant++) {
				enum http1_kind kind = variant == 2 ? HTTP1_RESPONSE : HTTP1_REQUEST;
				struct fed fed = feed(*state, kind, &chunked, refused_bodies[i].bytes, refused_bodies[i].length,
				                      first, variant ? 1 : SIZE_MAX, &wide);

				if (fed.result == -EBADMSG && !fed.complete && fed.error.what &&
				    fed.error.reason == (variant == 2 ? REASON_SERVER_INVALID : REASON_REQUEST_INVALID) &&
				    fed.error.status == (variant == 2 ? 502 : 400))
					continue;
				print_error("split at %zu%s: %d%s: %s\n", first, variant ? ", then byte by byte" : "", fed.result,
				            fed.complete ? ", complete" : "", refused_bodies[i].bytes);
				failures++;
				first = refused_bodies[i].length;
				break;
			}
	assert_int_equal(failures, 0);
}

static void largest_chunk_is_no_overflow(void **state)
{
	struct fed fed = feed(*state, HTTP1_REQUEST, &chunked, BYTES("7fffffffffffffff\r\nabc"), 0, SIZE_MAX, &wide);

	assert_int_equal(fed.result, 0);
	assert_int_equal(fed.consumed, 21);
	assert_false(fed.complete);
	fed = feed(*state, HTTP1_REQUEST, &chunked, BYTES("8000000000000000\r\nabc"), 0, SIZE_MAX, &wide);
	assert_int_equal(fed.result, -EBADMSG);
}

/* --- limits --- */

/* 0, or the status a body with `length` extension bytes in all, ';' included, over `chunks` chunks is refused with. */
static int extensions(const struct guard *guard, size_t each, size_t chunks, size_t step)
{
	char bytes[4096];
	size_t length = 0;
	struct fed fed;

	for (size_t i = 0; i < chunks; i++) {
		length += (size_t)sprintf(bytes + length, "1;");
		memset(bytes + length, 'e', each - 1);
		length += each - 1;
		length += (size_t)sprintf(bytes + length, "\r\nx\r\n");
	}
	length += (size_t)sprintf(bytes + length, "0\r\n\r\n");
	fed = feed(guard, HTTP1_REQUEST, &chunked, bytes, length, 0, step, &wide);
	assert_true(fed.result ? !fed.complete : fed.complete);
	return fed.result ? fed.error.status : 0;
}

static void chunk_extensions_are_limited(void **state)
{
	static const size_t steps[] = {SIZE_MAX, 1, 7};

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		assert_int_equal(extensions(*state, 1024, 1, steps[i]), 0);
		assert_int_equal(extensions(*state, 1026, 1, steps[i]), 400); /* whether or not the ';' counts */
		assert_int_equal(extensions(*state, 64, 16, steps[i]), 0);    /* per message, not per chunk */
		assert_int_equal(extensions(*state, 64, 17, steps[i]), 400);
	}
}

static int trailers(const struct guard *guard, size_t fields, size_t value, size_t step)
{
	char bytes[1024];
	size_t length = (size_t)sprintf(bytes, "0\r\n");
	struct fed fed;

	for (size_t i = 0; i < fields; i++) {
		length += (size_t)sprintf(bytes + length, "t:");
		memset(bytes + length, 'v', value);
		length += value;
		length += (size_t)sprintf(bytes + length, "\r\n");
	}
	length += (size_t)sprintf(bytes + length, "\r\n");
	fed = feed(guard, HTTP1_RESPONSE, &chunked, bytes, length, 0, step, &narrow);
	return fed.result ? fed.error.status : 0;
}

static void trailers_are_limited(void **state)
{
	static const size_t steps[] = {SIZE_MAX, 1, 7};

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		assert_int_equal(trailers(*state, 3, 1, steps[i]), 0);
		assert_int_equal(trailers(*state, 1, 59, steps[i]), 0); /* 64 with its name and CRLF */
		assert_int_equal(trailers(*state, 1, 65, steps[i]), 502);
		assert_int_equal(trailers(*state, 3, 30, steps[i]), 502); /* in all, not each */
		assert_int_equal(trailers(*state, 5, 1, steps[i]), 502);
		assert_int_equal(trailers(*state, 4, 1, steps[i]), 502);
	}
}

struct scanned {
	int result;
	int status; /* 0 = passes */
};

/* The whole way of a request head that comes in pieces of `step`. */
static struct scanned scan(const struct guard *guard, const char *bytes, size_t length, size_t step,
                           const struct http1_limits *limits)
{
	struct input_scan state = {0};
	struct http1_error error;
	struct message_head head;
	size_t have = 0, head_length;
	int result = -EAGAIN;

	while (result == -EAGAIN && have < length) {
		have = length - have < step ? length : have + step;
		result = http1_scan_head(&state, HTTP1_REQUEST, guard_place(guard, bytes, have), have, limits, &head_length,
		                         &error);
	}
	if (!result)
		result = http1_parse_head(HTTP1_REQUEST, guard_place(guard, bytes, head_length), head_length, NULL, limits, &head,
		                          &error);
	return (struct scanned){result, result == -EBADMSG ? error.status : 0};
}

/* A head of exactly `total` bytes: a field is as long as it takes. */
static struct scanned head_of(const struct guard *guard, size_t total, size_t step, const struct http1_limits *limits)
{
	static const char start[] = "GET / HTTP/1.0\r\nX: ", end[] = "\r\n\r\n";
	char bytes[4096];

	memset(bytes, 'x', sizeof bytes);
	memcpy(bytes, start, sizeof start - 1);
	memcpy(bytes + total - (sizeof end - 1), end, sizeof end - 1);
	return scan(guard, bytes, total, step, limits);
}

static void head_size_is_limited(void **state)
{
	static const struct http1_limits limits = {1024, 128, 512, 0};
	static const size_t steps[] = {SIZE_MAX, 1, 100};
	int failures = 0;

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		for (size_t total = 1000; total <= 1100; total++) {
			struct scanned scanned = head_of(*state, total, steps[i], &limits);

			if (scanned.status != (total <= 1024 ? 0 : 431)) {
				print_error("a head of %zu bytes under a limit of 1024: %d\n", total, scanned.status);
				failures++;
			}
		}
	assert_int_equal(failures, 0);
}

/* A head that never ends is refused by the byte that makes it too long. */
static void an_endless_head_is_refused(void **state)
{
	static const struct http1_limits limits = {1024, 128, 512, 0};
	char bytes[1200] = "GET / HTTP/1.0\r\nX: ";

	memset(bytes + 19, 'x', sizeof bytes - 19);
	for (size_t length = 900; length < 1024; length++)
		assert_int_equal(scan(*state, bytes, length, 1, &limits).result, -EAGAIN);
	assert_int_equal(scan(*state, bytes, 1025, 1, &limits).status, 431);
	assert_int_equal(scan(*state, bytes, 1025, SIZE_MAX, &limits).status, 431);
}

static void field_count_is_limited(void **state)
{
	for (size_t fields = 0; fields <= 6; fields++)
		for (size_t step = 1; step <= 2; step++) {
			char bytes[256];
			size_t length = (size_t)sprintf(bytes, "GET / HTTP/1.0\r\n");

			for (size_t i = 0; i < fields; i++)
				length += (size_t)sprintf(bytes + length, "a:b\r\n");
			length += (size_t)sprintf(bytes + length, "\r\n");
			if (scan(*state, bytes, length, step == 1 ? 1 : SIZE_MAX, &narrow).status != (fields <= 3 ? 0 : 431))
				fail_msg("%zu fields under a limit of 3", fields);
		}
}

static void target_is_limited(void **state)
{
	static const struct http1_limits limits = {1024, 16, 100, 0};
	static const size_t steps[] = {SIZE_MAX, 1};

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		for (size_t target = 1; target <= 600; target++) {
			char bytes[1024];
			size_t length = (size_t)sprintf(bytes, "PROPPATCH /");

			memset(bytes + length, 't', target - 1);
			length += target - 1;
			length += (size_t)sprintf(bytes + length, " HTTP/1.0\r\n\r\n");
			if (scan(*state, bytes, length, steps[i], &limits).status != (target <= 100 ? 0 : 414))
				fail_msg("a target of %zu bytes under a limit of 100", target);
		}
}

/* --- the other framings --- */

static void plain_bodies(void **state)
{
	static const struct {
		struct message_head head;
		size_t given, consumed;
		bool complete;
	} rows[] = {
	    {{.framing = MESSAGE_NO_BODY}, 10, 0, true},
	    {{.framing = MESSAGE_LENGTH, .content_length = 0}, 10, 0, true},
	    {{.framing = MESSAGE_LENGTH, .content_length = 1}, 10, 1, true},
	    {{.framing = MESSAGE_LENGTH, .content_length = 9}, 10, 9, true},
	    {{.framing = MESSAGE_LENGTH, .content_length = 10}, 10, 10, true},
	    {{.framing = MESSAGE_LENGTH, .content_length = 11}, 10, 10, false},
	    {{.framing = MESSAGE_LENGTH, .content_length = UINT64_MAX}, 10, 10, false},
	    {{.framing = MESSAGE_LENGTH, .content_length = (UINT64_C(1) << 32) + 1}, 10, 10, false},
	    {{.framing = MESSAGE_UNTIL_CLOSE}, 10, 10, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t step = 1; step <= 11; step++) {
			struct fed fed = feed(*state, HTTP1_RESPONSE, &rows[i].head, BYTES("0123456789"), 0, step, &wide);

			if (fed.result || fed.consumed != rows[i].consumed || fed.complete != rows[i].complete)
				fail_msg("row %zu by %zu: %zu bytes", i, step, fed.consumed);
		}
}

/* All zero is a body without bytes, whole; a complete one takes nothing more, and an empty read changes nothing. */
static void nothing_is_taken_after_the_end(void **state)
{
	struct message_body body = {.complete = true};
	struct http1_error error;
	size_t consumed = 99;

	assert_int_equal(http1_body_feed(&body, HTTP1_REQUEST, guard_place(*state, "abc", 3), 3, &wide, &consumed, &error), 0);
	assert_int_equal(consumed, 0);
	assert_int_equal(http1_body_start(&body, &chunked), 0);
	assert_int_equal(http1_body_feed(&body, HTTP1_REQUEST, guard_place(*state, "", 0), 0, &wide, &consumed, &error), 0);
	assert_false(body.complete);
	assert_int_equal(http1_body_feed(&body, HTTP1_REQUEST, guard_place(*state, "0\r\n\r\n", 5), 5, &wide, &consumed, &error),
	                 0);
	assert_true(body.complete);
	consumed = 99;
	assert_int_equal(http1_body_feed(&body, HTTP1_REQUEST, guard_place(*state, "abc", 3), 3, &wide, &consumed, &error), 0);
	assert_int_equal(consumed, 0);
	message_body_free(&body);
	message_body_free(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chunked_bodies_end),
	    cmocka_unit_test(chunked_bodies_do_not_end_early),
	    cmocka_unit_test(refuses_chunks),
	    cmocka_unit_test(largest_chunk_is_no_overflow),
	    cmocka_unit_test(chunk_extensions_are_limited),
	    cmocka_unit_test(trailers_are_limited),
	    cmocka_unit_test(head_size_is_limited),
	    cmocka_unit_test(an_endless_head_is_refused),
	    cmocka_unit_test(field_count_is_limited),
	    cmocka_unit_test(target_is_limited),
	    cmocka_unit_test(plain_bodies),
	    cmocka_unit_test(nothing_is_taken_after_the_end),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
