#include "proxy/reply.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "lib/text.h"
#include "proxy/http1.h"
#include "tests/unit/proxy/guard.h"

static const struct http1_limits limits = {65536, 128, 16384, 1024};

static void writes(void **state)
{
	static const struct {
		struct reply reply;
		const char *expected;
	} rows[] = {
	    {{504, REASON_REQUEST_TIMEOUT, "it took too long", true, true, true},
	     "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 55\r\ncontent-type: text/plain; charset=utf-8\r\n"
	     "lapse-reason: request_timeout\r\nlapse-detail: it took too long\r\nconnection: close\r\n\r\n"
	     "504 Gateway Timeout: request_timeout: it took too long\n"},
	    {{502, REASON_CONNECT_REFUSED, "refused", true, false, false},
	     "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nlapse-reason: connect_refused\r\nlapse-detail: refused\r\n\r\n"},
	    {{431, REASON_HEAD_TOO_LARGE, "x", false, false, true},
	     "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
	    {{400, REASON_REQUEST_INVALID, "y", false, true, false},
	     "HTTP/1.1 400 Bad Request\r\ncontent-length: 36\r\ncontent-type: text/plain; charset=utf-8\r\n\r\n"
	     "400 Bad Request: request_invalid: y\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(out, REPLY_MOST);

		reply_write(&rows[i].reply, &out);
		assert_false(out.truncated);
		assert_string_equal(out_bytes, rows[i].expected);
	}
}

/* The answer has one reading, its own parser's, and its length is right. */
static void is_valid(const struct reply *reply)
{
	const struct http1_head get = {0};
	struct http1_scan scan = {0};
	struct http1_error error;
	struct http1_head head;
	size_t length;
	TEXT_ON_STACK(out, REPLY_MOST);
	const uint8_t *bytes = (const uint8_t *)out_bytes;

	reply_write(reply, &out);
	assert_int_equal(http1_scan_head(&scan, HTTP1_RESPONSE, bytes, out.length, &limits, &length, &error), 0);
	assert_int_equal(http1_parse_head(HTTP1_RESPONSE, bytes, length, &get, &limits, &head, &error), 0);
	assert_int_equal(head.status, reply->status);
	assert_int_equal(head.framing, HTTP1_LENGTH);
	assert_int_equal(head.content_length, out.length - length);
	assert_int_equal(head.content_length > 0, reply->body);
	assert_int_equal(head.keep_alive, !reply->close);
	for (size_t at = 0; at < length; at++)
		assert_true(bytes[at] == '\r' || bytes[at] == '\n' || (bytes[at] >= 0x20 && bytes[at] < 0x7f));
	assert_int_equal(strstr(out_bytes, "lapse-") != NULL, reply->reason_headers);
}

/* Whatever a detail quotes. */
static void is_one_valid_message(void **state)
{
	static const char *const details[] = {
	    "plain", "", "CR\r\nSet-Cookie: x=y\r\n\r\n<html>", "tab\tdel\x7f, bell\a", "a – dash and an \xe4", ": colon first",
	};
	static const int statuses[] = {400, 408, 414, 431, 502, 503, 504};

	for (size_t status = 0; status < sizeof statuses / sizeof *statuses; status++)
		for (size_t i = 0; i < sizeof details / sizeof *details; i++)
			for (int bits = 0; bits < 8; bits++) {
				const struct reply reply = {
				    .status = statuses[status],
				    .reason = REASON_INTERNAL_ERROR,
				    .detail = details[i],
				    .reason_headers = bits & 1,
				    .body = bits & 2,
				    .close = bits & 4,
				};

				is_valid(&reply);
			}
}

/* The longest detail there is (closing.c: 511 bytes) under the longest phrase and reason fits. */
static void the_longest_fits(void **state)
{
	char detail[512];
	TEXT_ON_STACK(out, REPLY_MOST);

	memset(detail, 'd', sizeof detail - 1);
	detail[sizeof detail - 1] = '\0';
	for (int id = REASON_NONE; id < REASON_COUNT; id++) {
		struct reply reply = {431, (enum reason_id)id, detail, true, true, true};

		text_init(&out, out_bytes, sizeof out_bytes);
		reply_write(&reply, &out);
		assert_false(out.truncated);
		assert_string_equal(out_bytes + out.length - 3, "dd\n");
	}
}

static void phrases(void **state)
{
	static const int statuses[] = {400, 408, 414, 431, 502, 503, 504};

	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		assert_string_not_equal(reply_phrase(statuses[i]), reply_phrase(0));
	/* Every status a reason answers with has its phrase. */
	for (int id = REASON_NONE; id < REASON_COUNT; id++)
		if (reason_row((enum reason_id)id)->status)
			assert_string_not_equal(reply_phrase(reason_row((enum reason_id)id)->status), reply_phrase(0));
}

static const struct {
	const char *head;
	bool close;
	const char *client; /* for Forwarded */
	const char *expected;
} rewrites[] = {
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, NULL, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
    {"GET / HTTP/1.1\r\nConnection: keep-alive\r\nHost: x\r\n\r\n", false, NULL,
     "GET / HTTP/1.1\r\nConnection: keep-alive\r\nHost: x\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", true, NULL, "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\n\r\n", true, NULL, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nCONNECTION: keep-alive\r\nconnection:x\r\nA: b\r\nConnection:\r\n\r\n", true, NULL,
     "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nX-Connection: y\r\nConnections: z\r\n\r\n", true, NULL,
     "HTTP/1.1 200 OK\r\nX-Connection: y\r\nConnections: z\r\nConnection: close\r\n\r\n"},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, "10.1.2.3:4567",
     "GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=10.1.2.3\r\n\r\n"},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, "[2001:db8::1]:4567",
     "GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=\"[2001:db8::1]\"\r\n\r\n"},
    {"GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=1.2.3.4\r\n\r\n", true, "10.1.2.3:1",
     "GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=1.2.3.4\r\nForwarded: for=10.1.2.3\r\nConnection: close\r\n\r\n"},
};

static void rewrites_heads(void **state)
{
	for (size_t i = 0; i < sizeof rewrites / sizeof *rewrites; i++) {
		size_t length = strlen(rewrites[i].head), expected = strlen(rewrites[i].expected);
		struct addr client;
		struct buf out = {0};

		if (rewrites[i].client)
			assert_int_equal(addr_parse(rewrites[i].client, &client), 0);
		assert_int_equal(buf_append(&out, "before", 6), 0);
		assert_int_equal(reply_rewrite_head(guard_place(*state, rewrites[i].head, length), length, rewrites[i].close,
		                                    rewrites[i].client ? &client : NULL, &out),
		                 0);
		if (buf_length(&out) != 6 + expected || memcmp(buf_bytes(&out), "before", 6) != 0 ||
		    memcmp(buf_bytes(&out) + 6, rewrites[i].expected, expected) != 0)
			fail_msg("row %zu: %.*s", i, (int)buf_length(&out), buf_bytes(&out));
		buf_release(&out);
	}
}

/* The longest address there is, with its scope. */
static void forwards_the_longest_address(void **state)
{
	static const char head[] = "GET / HTTP/1.0\r\n\r\n";
	struct addr client = {.family = AF_INET6, .port = 65535, .scope = UINT32_MAX};
	char host[ADDR_TEXT_SIZE];
	struct buf out = {0};

	memset(client.bytes, 0xfe, sizeof client.bytes);
	addr_format_host(&client, host);
	assert_int_equal(reply_rewrite_head((const uint8_t *)head, sizeof head - 1, false, &client, &out), 0);
	assert_memory_equal(buf_bytes(&out) + buf_length(&out) - 6, "]\"\r\n\r\n", 6);
	assert_non_null(memmem(buf_bytes(&out), buf_length(&out), host, strlen(host)));
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes),
	    cmocka_unit_test(is_one_valid_message),
	    cmocka_unit_test(the_longest_fits),
	    cmocka_unit_test(phrases),
	    cmocka_unit_test(rewrites_heads),
	    cmocka_unit_test(forwards_the_longest_address),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
