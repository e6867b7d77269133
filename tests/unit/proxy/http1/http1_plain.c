#include "proxy/http1/http1_plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/proxy/guard.h"

#define HOST "Host: x\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define OK "HTTP/1.1 200 OK\r\n"
#define LENGTH "Content-Length: 5\r\n"
#define END "\r\n"

static const struct http1_limits limits = {65536, 128, 16384, 1024};

/* With every byte in every place: what is still plain the scan and llhttp read alike. How much is. */
static size_t alike_with_other_bytes(const struct guard *guard, enum http1_kind kind, const char *text)
{
	static const struct message_head get = {0};
	size_t length = strlen(text), accepted = 0, plain_length, scanned;
	struct message_head plain, parsed;
	struct http1_error error;
	uint8_t bytes[256];

	assert_true(length <= sizeof bytes);
	for (size_t place = 0; place < length; place++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			struct input_scan scan = {0};
			const uint8_t *head;

			memcpy(bytes, text, length);
			bytes[place] = (uint8_t)byte;
			head = guard_place(guard, bytes, length);
			plain_length = http1_plain_head(kind, head, length, &get, &limits, &plain);
			if (!plain_length)
				continue;
			accepted++;
			assert_int_equal(http1_scan_head(&scan, kind, head, length, &limits, &scanned, &error), 0);
			assert_int_equal(plain_length, scanned);
			assert_int_equal(http1_parse_head(kind, head, scanned, &get, &limits, &parsed, &error), 0);
			assert_memory_equal(&plain.method, &parsed.method, sizeof plain.method);
			assert_memory_equal(&plain.target, &parsed.target, sizeof plain.target);
			assert_true(plain.content_length == parsed.content_length && plain.framing == parsed.framing);
			assert_int_equal(plain.status, parsed.status);
			assert_true(parsed.keep_alive && !parsed.upgrade && parsed.minor == 1);
			assert_int_equal(plain.keep_alive_timeout_s, parsed.keep_alive_timeout_s);
			assert_int_equal(plain.idempotent, parsed.idempotent);
			assert_int_equal(plain.is_head, parsed.is_head);
			assert_int_equal(plain.accepts_text, parsed.accepts_text);
			assert_int_equal(plain.kube_probe, parsed.kube_probe);
		}
	}
	return accepted;
}

/* Which heads need no llhttp. */
static void reads_plain_heads(void **state)
{
	static const struct {
		const char *bytes;
		size_t behind; /* bytes that are no more the head's */
		bool plain;
	} rows[] = {
	    {GET END, 0, true},
	    {"HEAD /a/b?c=%20&d=(1)!$'*+,;:@-._~?/ HTTP/1.1\r\n" HOST END, 0, true},
	    {GET "Accept: text/html\r\nUser-Agent: a \"b\" \x80\tc\r\nEmpty:\r\nX!#$%&'*+-.^_`|~9:y\r\n" END, 0, true},
	    {GET "user-agent: kube-probe/1.36\r\n" END, 0, true},
	    {GET "connection: Keep-Alive\r\nKeep-Alive: timeout=7\r\n" END, 0, true},
	    {GET END "GET /next", 9, true},
	    {OK LENGTH END, 0, true},
	    {OK LENGTH END "01\n34", 5, true},
	    {"HTTP/1.1 503 \r\ncontent-length:  0012\r\nConnection: keep-alive\r\nKeep-Alive: max=1, timeout=7\r\n" END, 0, true},
	    {OK "Transfer-Encoding: Chunked\r\n" END "5\r\n", 3, true},
	    {GET "Connection: close\r\n" END, 0, false},
	    {GET "Connection: keep-alive, x\r\n" END, 0, false},
	    {GET LENGTH END, 0, false},
	    {GET "TRANSFER-ENCODING: chunked\r\n" END, 0, false},
	    {GET "Upgrade: h2c\r\n" END, 0, false},
	    {GET "Proxy-Connection: close\r\n" END, 0, false},
	    {GET HOST END, 0, false},
	    {"GET / HTTP/1.1\r\nX: y\r\n" END, 0, false},
	    {"GET / HTTP/1.0\r\n" HOST END, 0, false},
	    {"GET  / HTTP/1.1\r\n" HOST END, 0, false},
	    {"GET /#a HTTP/1.1\r\n" HOST END, 0, false},
	    {"GET * HTTP/1.1\r\n" HOST END, 0, false},
	    {POST END, 0, false},
    {"FOO / HTTP/1.1\r\n" HOST END, 0, false},
    {"GET /\x80 HTTP/1.1\r\n" HOST END, 0, false},
    {"GET http://x/ HTTP/1.1\r\n" HOST END, 0, false},
    {"GET / HTTP/1.1\r\nHost: x/y\r\n" END, 0, false},
    {"GET / HTTP/1.1\r\nHost: u@x\r\n" END, 0, false},
    {"GET / HTTP/1.1\r\nHost: x:a\r\n" END, 0, false},
    {"\r\n" GET END, 0, false},
	    {GET " folded\r\n" END, 0, false},
	    {GET "X : y\r\n" END, 0, false},
	    {GET ": y\r\n" END, 0, false},
	    {GET "X\r\n" END, 0, false},
	    {GET "X: y\rz\r\n" END, 0, false},
	    {GET "X: y\x01\r\n" END, 0, false},
	    {GET "X: y\x7f\r\n" END, 0, false},
	    {GET "X: y\r\n", 0, false},
	    {GET "X: y", 0, false},
	    {OK END, 0, false},
	    {OK LENGTH LENGTH END, 0, false},
	    {OK LENGTH "Transfer-Encoding: chunked\r\n" END, 0, false},
	    {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END, 0, false},
	    {OK "Transfer-Encoding: gzip, chunked\r\n" END, 0, false},
	    {OK "Content-Length: 1234567890123456789\r\n" END, 0, false},
	    {OK "Content-Length: 5 \r\n" END, 0, false},
    {OK "Content-Length: 5\t\r\n" END, 0, false},
    {OK "Transfer-Encoding: chunked\t\r\n" END, 0, false},
	    {OK "Content-Length: +5\r\n" END, 0, false},
	    {OK "Content-Length:\r\n" END, 0, false},
	    {OK LENGTH "Connection: close\r\n" END, 0, false},
	    {"HTTP/1.0 200 OK\r\n" LENGTH END, 0, false},
	    {"HTTP/1.1 200\r\n" LENGTH END, 0, false},
	    {"HTTP/1.1 100 Continue\r\n" LENGTH END, 0, false},
	    {"HTTP/1.1 204 No Content\r\n" LENGTH END, 0, false},
	    {"HTTP/1.1 304 Not Modified\r\n" LENGTH END, 0, false},
	};
	static const struct message_head get = {0}, head_request = {.is_head = true};
	const struct guard *guard = *state;
	struct message_head head;
	size_t accepted = 0;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum http1_kind kind = rows[i].bytes[0] == 'H' && rows[i].bytes[1] == 'T' ? HTTP1_RESPONSE : HTTP1_REQUEST;
		size_t length = strlen(rows[i].bytes);
		const uint8_t *bytes = guard_place(guard, rows[i].bytes, length);

		assert_int_equal(http1_plain_head(kind, bytes, length, &get, &limits, &head), rows[i].plain ? length - rows[i].behind : 0);
		if (kind == HTTP1_RESPONSE)
			assert_int_equal(http1_plain_head(kind, bytes, length, &head_request, &limits, &head), 0);
		if (rows[i].plain)
			accepted += alike_with_other_bytes(guard, kind, rows[i].bytes);
	}
	assert_true(accepted > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_plain_heads),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
