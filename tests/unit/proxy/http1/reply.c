#include "proxy/http1/reply.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "lib/text.h"
#include "proxy/http1/http1.h"
#include "tests/unit/proxy/guard.h"

static const struct http1_limits limits = {65536, 128, 16384, 1024};

static void writes(void **state)
{
	static const struct {
		struct answer reply;
		const char *expected;
	} rows[] = {
	    {{504, NULL, REASON_REQUEST_TIMEOUT, "it took too long", true, true, true},
	     "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 55\r\ncontent-type: text/plain; charset=utf-8\r\n"
	     "lapse-reason: request_timeout\r\nlapse-detail: it took too long\r\nproxy-status: lapse-proxy; error=http_response_timeout\r\nconnection: close\r\n\r\n"
	     "504 Gateway Timeout: request_timeout: it took too long\n"},
	    {{502, NULL, REASON_CONNECT_REFUSED, "refused", true, false, false},
	     "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nlapse-reason: connect_refused\r\nlapse-detail: refused\r\n"
	     "proxy-status: lapse-proxy; error=connection_refused\r\n\r\n"},
	    {{431, NULL, REASON_HEAD_TOO_LARGE, "x", false, false, true},
	     "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
	    {{400, NULL, REASON_REQUEST_INVALID, "y", false, true, false},
	     "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"},
	    {{301, "http://a/b\r\nx: y", REASON_NONE, NULL, false, false, true},
	     "HTTP/1.1 301 Moved Permanently\r\ncontent-length: 0\r\nlocation: http://a/b??x: y\r\nconnection: close\r\n\r\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(out, REPLY_MOST);

		reply_write(&rows[i].reply, &out);
		assert_false(out.truncated);
		assert_string_equal(out_bytes, rows[i].expected);
	}
}

/* Each reason that has an answer names a type that is registered (RFC 9209, 2.3); what failed at the server is not called ours. */
static void error_types_are_registered(void **state)
{
	static const char *const registered[] = {
	    "connection_refused", "connection_terminated", "connection_timeout", "connection_limit_reached", "destination_not_found",
	    "destination_unavailable", "destination_ip_unroutable", "http_request_error", "http_request_denied", "http_response_incomplete",
	    "http_response_timeout", "http_protocol_error", "proxy_internal_error", "proxy_configuration_error", "proxy_loop_detected",
	};

	for (int id = REASON_NONE + 1; id < REASON_COUNT; id++) {
		const struct reason *row = reason_row(id);
		const struct answer reply = {.status = row->status, .reason = id, .detail = "x", .reason_headers = true};
		size_t found = 0;
		TEXT_ON_STACK(out, REPLY_MOST);

		if (!row->status)
			continue;
		reply_write(&reply, &out);
		for (size_t i = 0; i < sizeof registered / sizeof registered[0]; i++) {
			TEXT_ON_STACK(field, 128);

			text_printf(&field, "\r\nproxy-status: lapse-proxy; error=%s\r\n", registered[i]);
			found += strstr(out_bytes, field_bytes) != NULL;
			if (strncmp(registered[i], "proxy_internal", 14) == 0 && strstr(out_bytes, field_bytes))
				assert_int_not_equal(row->by, BY_SERVER);
		}
		assert_int_equal(found, 1);
	}
}

/* The answer has one reading, its own parser's, and its length is right. */
static void is_valid(const struct answer *reply)
{
	const struct message_head get = {0};
	struct input_scan scan = {0};
	struct http1_error error;
	struct message_head head;
	size_t length;
	TEXT_ON_STACK(out, REPLY_MOST);
	const uint8_t *bytes = (const uint8_t *)out_bytes;

	reply_write(reply, &out);
	assert_int_equal(http1_scan_head(&scan, HTTP1_RESPONSE, bytes, out.length, &limits, &length, &error), 0);
	assert_int_equal(http1_parse_head(HTTP1_RESPONSE, bytes, length, &get, &limits, &head, &error), 0);
	assert_int_equal(head.status, reply->status);
	assert_int_equal(head.framing, MESSAGE_LENGTH);
	assert_int_equal(head.content_length, out.length - length);
	assert_int_equal(head.content_length > 0, reply->body && reply->reason_headers);
	assert_int_equal(head.keep_alive, !reply->close);
	for (size_t at = 0; at < length; at++)
		assert_true(bytes[at] == '\r' || bytes[at] == '\n' || (bytes[at] >= 0x20 && bytes[at] < 0x7f));
	assert_int_equal(strstr(out_bytes, "lapse-") != NULL, reply->reason_headers);
	assert_int_equal(strstr(out_bytes, "proxy-status: ") != NULL, reply->reason_headers);
}

/* Whatever a detail quotes. */
static void is_one_valid_message(void **state)
{
	static const char *const details[] = {
	    "plain", "", "CR\r\nSet-Cookie: x=y\r\n\r\n<html>", "tab\tdel\x7f, bell\a", "a – dash and an \xe4", ": colon first",
	};
	static const int statuses[] = {301, 302, 303, 307, 308, 400, 404, 500, 408, 414, 431, 502, 503, 504};

	for (size_t status = 0; status < sizeof statuses / sizeof *statuses; status++)
		for (size_t i = 0; i < sizeof details / sizeof *details; i++)
			for (int bits = 0; bits < 8; bits++) {
				const struct answer reply = {
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

/* The longest detail there is (advice.h: 511 bytes) under the longest phrase and reason fits. */
static void the_longest_fits(void **state)
{
	char detail[512];
	TEXT_ON_STACK(out, REPLY_MOST);

	memset(detail, 'd', sizeof detail - 1);
	detail[sizeof detail - 1] = '\0';
	for (int id = REASON_NONE; id < REASON_COUNT; id++) {
		struct answer reply = {431, NULL, (enum reason_id)id, detail, true, true, true};

		text_init(&out, out_bytes, sizeof out_bytes);
		reply_write(&reply, &out);
		assert_false(out.truncated);
		assert_string_equal(out_bytes + out.length - 3, "dd\n");
	}
}

static void phrases(void **state)
{
	static const int statuses[] = {301, 302, 303, 307, 308, 400, 404, 500, 408, 414, 431, 502, 503, 504};

	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		assert_string_not_equal(reply_phrase(statuses[i]), reply_phrase(0));
	/* Every status a reason answers with has its phrase. */
	for (int id = REASON_NONE; id < REASON_COUNT; id++)
		if (reason_row((enum reason_id)id)->status)
			assert_string_not_equal(reply_phrase(reason_row((enum reason_id)id)->status), reply_phrase(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writes),
	    cmocka_unit_test(error_types_are_registered),
	    cmocka_unit_test(is_one_valid_message),
	    cmocka_unit_test(the_longest_fits),
	    cmocka_unit_test(phrases),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
