#include "proxy/connection/detect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/proxy/guard.h"

#define BYTES(text) text, sizeof text - 1
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static enum protocol detect(const struct guard *guard, const void *bytes, size_t length)
{
	return detect_protocol(guard_place(guard, bytes, length), length);
}

/* decided: how many bytes settle it; with fewer the verdict is "more". */
static const struct {
	const char *bytes;
	size_t length;
	enum protocol protocol;
	size_t decided;
} inputs[] = {
    {BYTES("GET / HTTP/1.1\r\n"), PROTOCOL_HTTP1, 16},
    {BYTES("GET / HTTP/1.1\n"), PROTOCOL_HTTP1, 15},
    {BYTES("HEAD /x HTTP/1.0\r\nHost: a\r\n"), PROTOCOL_HTTP1, 18},
    {BYTES("CONNECT a:1 HTTP/1.1\r\n"), PROTOCOL_HTTP1, 22},
    {BYTES("OPTIONS * HTTP/1.7\r\n"), PROTOCOL_HTTP1, 20},
    {BYTES("get / HTTP/1.1\r\n"), PROTOCOL_HTTP1, 16}, /* any token is a method */
    {BYTES("x-\x27!#$%&*+.^_`|~9 / HTTP/1.1\r\n"), PROTOCOL_HTTP1, 30},
    {BYTES("GET /\xc3\xa9\xff{} HTTP/1.1\r\n"), PROTOCOL_HTTP1, 21},
    {BYTES("\r\n\r\nGET / HTTP/1.1\r\n"), PROTOCOL_HTTP1, 20},
    {BYTES("\n\r\n\n\n\n\n\n\nGET / HTTP/1.1\r\n"), PROTOCOL_HTTP1, 25}, /* eight empty lines */
    {BYTES("\n\r\n\n\n\n\n\n\n\nGET / HTTP/1.1\r\n"), PROTOCOL_OPAQUE, 10},
    {BYTES("\r\r\nGET / HTTP/1.1\r\n"), PROTOCOL_OPAQUE, 2},
    {BYTES("GET \x01\xff"), PROTOCOL_OPAQUE, 5},
    {BYTES("GET /\r\n"), PROTOCOL_OPAQUE, 6}, /* HTTP/0.9 */
    {BYTES("GET /  HTTP/1.1\r\n"), PROTOCOL_OPAQUE, 7},
    {BYTES("GET  / HTTP/1.1\r\n"), PROTOCOL_OPAQUE, 5},
    {BYTES("GET / HTTP/1.1 \r\n"), PROTOCOL_OPAQUE, 15},
    {BYTES("GET / HTTP/1.1\rX"), PROTOCOL_OPAQUE, 16},
    {BYTES("GET / HTTP/1.10\r\n"), PROTOCOL_OPAQUE, 15},
    {BYTES("GET / HTTP/1.\r\n"), PROTOCOL_OPAQUE, 14},
    {BYTES("GET / HTTP/2.0\r\n"), PROTOCOL_OPAQUE, 12},
    {BYTES("GET / http/1.1\r\n"), PROTOCOL_OPAQUE, 7},
    {BYTES("OPTIONS rtsp://a/ RTSP/1.0\r\n"), PROTOCOL_OPAQUE, 19},
    {BYTES("REGISTER sip:a SIP/2.0\r\n"), PROTOCOL_OPAQUE, 16},
    {BYTES("SET a b\r\n"), PROTOCOL_OPAQUE, 7}, /* Redis, inline */
    {BYTES("CONNECT /_goRPC_ HTTP/1.0\n\n"), PROTOCOL_HTTP1, 26},
    {BYTES(PREFACE), PROTOCOL_HTTP2, 24},
    {BYTES(PREFACE "\0\0\0\4\0\0\0\0\0"), PROTOCOL_HTTP2, 24},
    {BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), PROTOCOL_TLS, 6},
    {BYTES("\x16\x03\x00\x00\x04\x01"), PROTOCOL_TLS, 6},
    {BYTES("\x16\x03\x03\x40\x00\x01"), PROTOCOL_TLS, 6},
    {BYTES("\x16\x03\x04\x02\x00\x01"), PROTOCOL_TLS, 6},
    {BYTES("GET\r\n"), PROTOCOL_OPAQUE, 4},
    {BYTES("GE\0"), PROTOCOL_OPAQUE, 3},
    {BYTES("GET\t/ HTTP/1.1\r\n"), PROTOCOL_OPAQUE, 4},
    {BYTES(" GET / HTTP/1.1\r\n"), PROTOCOL_OPAQUE, 1},
    {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r "), PROTOCOL_OPAQUE, 24},
    {BYTES("PRI * HTTP/1.1\r\n"), PROTOCOL_OPAQUE, 12},
    {BYTES("PRI /"), PROTOCOL_OPAQUE, 5},
    {BYTES("PING\r\n"), PROTOCOL_OPAQUE, 5},
    {BYTES("*1\r\n$4\r\nPING\r\n"), PROTOCOL_OPAQUE, 3}, /* Redis */
    {BYTES("SSH-2.0-OpenSSH_9.2\r\n"), PROTOCOL_OPAQUE, 20},
    {BYTES("\0\0\0\x08\x04\xd2\x16\x2f"), PROTOCOL_OPAQUE, 1}, /* PostgreSQL's SSLRequest */
    {BYTES("EHLO x\r\n"), PROTOCOL_OPAQUE, 7},
    {BYTES("\x15\x03\x01\x00\x02\x02"), PROTOCOL_OPAQUE, 1}, /* an alert */
    {BYTES("\x16\x02\x01\x02\x00\x01"), PROTOCOL_OPAQUE, 2},
    {BYTES("\x16\x03\x05\x02\x00\x01"), PROTOCOL_OPAQUE, 3},
    {BYTES("\x16\x03\x01\x00\x03\x01"), PROTOCOL_OPAQUE, 5}, /* no room for a handshake header */
    {BYTES("\x16\x03\x01\x40\x01\x01"), PROTOCOL_OPAQUE, 5}, /* over 2^14 */
    {BYTES("\x16\x03\x01\x02\x00\x02"), PROTOCOL_OPAQUE, 6}, /* a ServerHello */
    {BYTES("\x80\x2e\x01\x03\x01"), PROTOCOL_OPAQUE, 1},     /* SSLv2 */
};

enum { INPUTS = sizeof inputs / sizeof inputs[0] };

static void decides_at_the_byte_that_settles_it(void **state)
{
	for (int i = 0; i < INPUTS; i++)
		for (size_t length = 0; length <= inputs[i].length; length++) {
			enum protocol expected = length < inputs[i].decided ? PROTOCOL_UNDETECTED : inputs[i].protocol;
			enum protocol found = detect(*state, inputs[i].bytes, length);

			if (found != expected)
				fail_msg("input %d (%s), %zu bytes: %s, not %s", i, inputs[i].bytes, length, words_protocol(found),
				         words_protocol(expected));
		}
}

/* A line that has not ended within 16 KiB is none, however it goes on. */
static void a_line_is_16_KiB_at_most(void **state)
{
	static const char end[] = " HTTP/1.1\r\n";
	uint8_t *bytes = malloc(20000);

	assert_non_null(bytes);
	memset(bytes, 'x', 20000);
	memcpy(bytes, "GET /", 5);
	assert_int_equal(detect_protocol(bytes, 16383), PROTOCOL_UNDETECTED);
	assert_int_equal(detect_protocol(bytes, 16384), PROTOCOL_OPAQUE);
	memcpy(bytes + 16384 - (sizeof end - 1), end, sizeof end - 1);
	assert_int_equal(detect_protocol(bytes, 16384), PROTOCOL_HTTP1);
	assert_int_equal(detect_protocol(bytes, 20000), PROTOCOL_HTTP1);
	memset(bytes + 5, 'x', 19995);
	memcpy(bytes + 16385 - (sizeof end - 1), end, sizeof end - 1);
	assert_int_equal(detect_protocol(bytes, 20000), PROTOCOL_OPAQUE);
	free(bytes);
}

/* What a lenient server would answer, though it is no request line. */
static void begins_like_a_request(void **state)
{
	static const char *const lines[] = {"GET / HTTP/1.1\r\n", "GET /admin\r\n", "GET  /", "\n\n\n\n\n\n\n\n\n\nGET /", "x y"};
	static const char *const others[] = {"", "GET", "GET\t/", " GET /", "\x16\x03\x01", "\r\n\r\n", "a:b c"};

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		assert_true(detect_begins_request((const uint8_t *)lines[i], strlen(lines[i])));
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_false(detect_begins_request((const uint8_t *)others[i], strlen(others[i])));
}

/* Every single-byte change of every input: the verdict of a prefix is that of all longer ones. */
static void a_verdict_stands(void **state)
{
	for (int i = 0; i < INPUTS; i++)
		for (size_t at = 0; at < inputs[i].length; at++)
			for (int byte = 0; byte < 256; byte++) {
				uint8_t bytes[64];
				enum protocol before = PROTOCOL_UNDETECTED;

				memcpy(bytes, inputs[i].bytes, inputs[i].length);
				bytes[at] = (uint8_t)byte;
				for (size_t length = 1; length <= inputs[i].length; length++) {
					enum protocol now = detect(*state, bytes, length);

					if (before != PROTOCOL_UNDETECTED && now != before)
						fail_msg("input %d, byte %zu = %d: %s at %zu bytes, then %s", i, at, byte,
						         words_protocol(before), length - 1, words_protocol(now));
					before = now;
				}
			}
}

/* "Opaque, decided at the first byte that fits none": whatever is undecided can still become something else, so no client
 * waits for a decision that is certain. Walks all undecided prefixes, TLS record lengths by sample. */
static bool leads_somewhere(const struct guard *guard, uint8_t *bytes, size_t length)
{
	bool found = false;

	for (int byte = 0; byte < 256; byte++) {
		enum protocol verdict;

		if (length == 4 && bytes[0] == 0x16 && byte > 5 && byte < 255)
			continue;
		bytes[length] = (uint8_t)byte;
		verdict = detect(guard, bytes, length + 1);
		if (verdict == PROTOCOL_UNDETECTED)
			verdict = leads_somewhere(guard, bytes, length + 1) ? PROTOCOL_HTTP1 : PROTOCOL_OPAQUE;
		found |= verdict != PROTOCOL_OPAQUE;
	}
	if (!found)
		print_error("nothing but opaque can come of %zu bytes: %02x %02x %02x %02x…\n", length, bytes[0], bytes[1],
		            bytes[2], bytes[3]);
	return found;
}

static void waits_only_for_what_can_come(void **state)
{
	static const uint8_t starts[][4] = {{0x16, 3, 1, 0}, {0x16, 3, 4, 0x40}, {0x16, 3, 3, 0x3f}};
	static const size_t lengths[] = {4, 4, 4};
	uint8_t bytes[64] = {0};

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		memcpy(bytes, starts[i], 4);
		assert_true(leads_somewhere(*state, bytes, lengths[i]));
	}
	for (int byte = 0; byte < 256; byte++) {
		const uint8_t record[] = {0x16, 3, 1, (uint8_t)byte};

		if (detect(*state, record, 4) != (byte > 0x40 ? PROTOCOL_OPAQUE : PROTOCOL_UNDETECTED))
			fail_msg("a record length of 0x%02x__", byte);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decides_at_the_byte_that_settles_it),
	    cmocka_unit_test(a_line_is_16_KiB_at_most),
	    cmocka_unit_test(begins_like_a_request),
	    cmocka_unit_test(a_verdict_stands),
	    cmocka_unit_test(waits_only_for_what_can_come),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
