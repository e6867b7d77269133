/* What is kept of a request for its line; the lines themselves are seen from outside (tests/e2e/access.py). */
#include "proxy/exchange/access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/log.h"
#include "proxy/connection/conn.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/http1_request.h"
#include "proxy/policy/route.h"

static const struct http1_limits limits = {.head_bytes = 65536, .fields = 128, .target_bytes = 16384, .chunk_extension_bytes = 1024};

/* The access of a request with this head, as of a connection that has sent 7 bytes and retried twice. Its owner frees it. */
static struct access *begun(const char *text)
{
	struct exchange exchange = {0};
	struct conn conn = {.exchange = &exchange, .retries = 2, .client.sent = 7};
	struct http1_error error;
	struct message_head head;
	struct request_head request;
	char *bytes = malloc(strlen(text)); /* of the head's own size: what is read behind it is noticed */

	assert_non_null(bytes);
	memcpy(bytes, text, strlen(text));
	assert_int_equal(http1_parse_head(HTTP1_REQUEST, (uint8_t *)bytes, strlen(text), NULL, &limits, &head, &error), 0);
	http1_request_head(&request, (uint8_t *)bytes, strlen(text), head.method, head.target);
	access_begin(&conn, &request, head.target);
	free(bytes);
	assert_non_null(exchange.access);
	assert_int_equal(exchange.access->request_bytes, strlen(text));
	assert_int_equal(exchange.access->sent_before, 7);
	assert_int_equal(exchange.access->retries_before, 2);
	assert_int_equal(exchange.access->first_byte_us, 0);
	return exchange.access;
}

static void heads_are_kept(void **state)
{
	static const struct {
		const char *head, *method, *host, *target;
	} rows[] = {
	    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "a", "/"},
	    {"DELETE /a/b?c=d&e HTTP/1.1\r\nX: y\r\nhOST:  one.example:8080 \r\n\r\n", "DELETE", "one.example", "/a/b?c=d&e"},
	    {"GET http://one.example/x HTTP/1.0\r\n\r\n", "GET", "one.example", "http://one.example/x"},
    {"BREW http://One.example/\xc3\xa4 HTTP/1.1\r\nHost: one.example\t\r\n\r\n", "BREW", "One.example", "http://One.example/\xc3\xa4"},
	    {"CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\n\r\n", "CONNECT", "far", "far:443"},
	    {"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "OPTIONS", "", "*"},
	    {"GET / HTTP/1.0\r\n\r\n", "GET", "", "/"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct access *access = begun(rows[i].head);

		assert_int_equal(access->method, strlen(rows[i].method));
		assert_int_equal(access->host, strlen(rows[i].host));
		assert_int_equal(access->target, strlen(rows[i].target));
		assert_memory_equal(access->bytes, rows[i].method, access->method);
		assert_memory_equal(access->bytes + access->method, rows[i].host, access->host);
		assert_memory_equal(access->bytes + access->method + access->host, rows[i].target, access->target);
		free(access);
	}
}

static void long_ones_are_cut(void **state)
{
	static char head[32768], many[16000];
	struct access *access;

	memset(many, 'm', sizeof many - 1);
	snprintf(head, sizeof head, "GET /%s HTTP/1.1\r\nHost: %.300s\r\n\r\n", many, many);
	access = begun(head);
	assert_int_equal(access->host, 255);
	assert_int_equal(access->target, LOG_LINE_SIZE);
	assert_int_equal(access->bytes[access->method + 254], 'm');
	assert_int_equal(access->bytes[access->method + 255], '/');
	free(access);
}

static void counts_add_up(void **state)
{
	static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	struct access *access = begun(head);

	access_count_body(access, 10);
	access_count_body(access, UINT32_MAX);
	access_first_byte(access, 42);
	assert_int_equal(access->request_bytes, sizeof head - 1 + 10 + UINT32_MAX);
	assert_int_equal(access->first_byte_us, 42);
	free(access);
	access_count_body(NULL, 10); /* the access log is off */
	access_first_byte(NULL, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(heads_are_kept),
	    cmocka_unit_test(long_ones_are_cut),
	    cmocka_unit_test(counts_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
