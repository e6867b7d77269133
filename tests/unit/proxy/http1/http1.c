#include "proxy/http1/http1.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/proxy/guard.h"

#define BYTES(text) text, sizeof text - 1
#define HOST "Host: x\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define OK "HTTP/1.1 200 OK\r\n"
#define END "\r\n"

static const struct http1_limits limits = {65536, 128, 16384, 1024};

struct verdict {
	int result;
	size_t length; /* of the head */
	struct message_head head;
	struct http1_error error;
};

/* The head as it comes in two reads, the first of `first` bytes. */
static struct verdict judge(const struct guard *guard, enum http1_kind kind, const void *bytes, size_t length, size_t first,
                            const struct message_head *request, const struct http1_limits *limit)
{
	struct verdict verdict = {.result = -EAGAIN};
	struct input_scan scan = {0};

	if (first < length)
		verdict.result = http1_scan_head(&scan, kind, guard_place(guard, bytes, first), first, limit, &verdict.length,
		                                 &verdict.error);
	if (verdict.result == -EAGAIN)
		verdict.result = http1_scan_head(&scan, kind, guard_place(guard, bytes, length), length, limit, &verdict.length,
		                                 &verdict.error);
	if (!verdict.result)
		verdict.result = http1_parse_head(kind, guard_place(guard, bytes, verdict.length), verdict.length, request, limit,
		                                  &verdict.head, &verdict.error);
	return verdict;
}

static struct verdict judge_whole(const struct guard *guard, enum http1_kind kind, const void *bytes, size_t length)
{
	static const struct message_head get = {0};

	return judge(guard, kind, bytes, length, length, kind == HTTP1_RESPONSE ? &get : NULL, &limits);
}

/* --- what is refused: DESIGN §9, and what two parsers could read differently --- */

#define BAD REASON_REQUEST_INVALID
#define AMBIGUOUS REASON_REQUEST_AMBIGUOUS

static const struct {
	const char *bytes;
	size_t length;
	enum reason_id reason;
} refused_requests[] = {
    {BYTES(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END), AMBIGUOUS},
    {BYTES(POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Content-Length: 5\r\nContent-Length: 6\r\n" END), AMBIGUOUS},
    {BYTES(POST "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked, gzip\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: gzip\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: identity\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: xchunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunkedx\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked;q=1\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: \"chunked\"\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked, chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding:\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: gzip, chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: , chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: chunked,\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: identity, chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: cow, chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n" END), AMBIGUOUS},
    {BYTES("FOO / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END), AMBIGUOUS},
    {BYTES("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n" END), AMBIGUOUS},
    {BYTES(POST "Content-Length: 5, 6\r\n" END), BAD},
    {BYTES(POST "Content-Length: -1\r\n" END), BAD},
    {BYTES(POST "Content-Length: +5\r\n" END), BAD},
    {BYTES(POST "Content-Length: 0x5\r\n" END), BAD},
    {BYTES(POST "Content-Length: 5 5\r\n" END), BAD},
    {BYTES(POST "Content-Length: 5a\r\n" END), BAD},
    {BYTES(POST "Content-Length:\r\n" END), BAD},
    {BYTES(POST "Content-Length: 18446744073709551616\r\n" END), BAD},
    {BYTES(POST "Content-Length: 99999999999999999999\r\n" END), BAD},
    {BYTES(POST "Content-Length: 18446744073709551615\r\n" END), BAD},
    {BYTES(POST "Content-Length: 9223372036854775808\r\n" END), BAD},
    {BYTES(POST "Content-Length: 5\t5\r\n" END), BAD},
    {BYTES(POST "Content-Length: \t\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x y\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x\ty\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x/y\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: u@x\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: http://x\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x:a\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x:80a\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x:-1\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x:1:2\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x?y\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nHost: x#y\r\n" END), BAD},
    {BYTES(GET "X: a\rb\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r" HOST END), BAD},
    {BYTES("GET /\r HTTP/1.1\r\n" HOST END), BAD},
    {BYTES(GET "X: a\r\r\n" END), BAD},
    {BYTES(GET "\r\r\n"), BAD},
    {BYTES(GET "X: a\nY: b\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\n" HOST END), BAD},
    {BYTES(GET "\n"), BAD},
    {BYTES(GET "X: a\0b\r\n" END), BAD},
    {BYTES("GET /\0 HTTP/1.1\r\n" HOST END), BAD},
    {BYTES(GET "X\0: a\r\n" END), BAD},
    {BYTES("\0" GET END), BAD},
    {BYTES(GET "X: a\r\n b\r\n" END), BAD},
    {BYTES(GET "X: a\r\n\tb\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\n " HOST END), BAD},
    {BYTES(GET " \r\n" END), BAD},
    {BYTES(GET "X : a\r\n" END), BAD},
    {BYTES(GET "X\t: a\r\n" END), BAD},
    {BYTES(POST "Content-Length : 5\r\n" END), BAD},
    {BYTES(POST "Transfer-Encoding : chunked\r\n" END), BAD},
    {BYTES(GET ": a\r\n" END), BAD},
    {BYTES(GET "X\r\n" END), BAD},
    {BYTES(GET "X y: a\r\n" END), BAD},
    {BYTES(GET "X(y): a\r\n" END), BAD},
    {BYTES(GET "X\x80: a\r\n" END), BAD},
    {BYTES(GET "X: a\x01" "b\r\n" END), BAD},
    {BYTES(GET "X: a\x7f" "b\r\n" END), BAD},
    {BYTES("GE T / HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("G(T / HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("G:T / HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("G\x80T / HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("DESCRIBE / RTSP/1.0\r\n" HOST END), BAD},
    {BYTES("PRI * HTTP/2.0\r\n" END), BAD},
    {BYTES("GET  / HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET /  HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET\t/ HTTP/1.1\r\n" HOST END), BAD},
    {BYTES(" GET / HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET / a HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET /\ta HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET /\x0c" "a HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET /\x7f HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET /\x01 HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET  HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET HTTP/1.1\r\n" HOST END), BAD},
    {BYTES("GET /\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/0.9\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/1.2\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/2.0\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/1\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/1.\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/11\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/1.10\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/01.1\r\n" HOST END), BAD},
    {BYTES("GET / http/1.1\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/1.1 \r\n" HOST END), BAD},
    {BYTES("GET / HTTPS/1.1\r\n" HOST END), BAD},
    {BYTES("OPTIONS * RTSP/1.0\r\n" HOST END), BAD},
    {BYTES("SOURCE / ICE/1.0\r\n" HOST END), BAD},
    {BYTES("GET / HTTP/1.1\r\n" END), BAD},
    {BYTES("GET / HTTP/1.1\r\nX: y\r\n" END), BAD},
    {BYTES("GET http://x/ HTTP/1.1\r\n" END), BAD},
    {BYTES(GET HOST END), BAD},
    {BYTES(GET "host: y\r\n" END), BAD},
    {BYTES("GET / HTTP/1.0\r\n" HOST HOST END), BAD},
    {BYTES("HTTP/1.1 200 OK\r\n" END), BAD},
    {BYTES("\r\n\r\n"), BAD},
};

static const struct {
	const char *bytes;
	size_t length;
} refused_responses[] = {
    {BYTES(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END)},
    {BYTES(OK "Content-Length: 5\r\nContent-Length: 6\r\n" END)},
    {BYTES(OK "Transfer-Encoding: chunked, gzip\r\n" END)},
    {BYTES(OK "Transfer-Encoding: gzip\r\n" END)},
    {BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n" END)},
    {BYTES(OK "Content-Length: 5, 6\r\n" END)},
    {BYTES(OK "Content-Length: x\r\n" END)},
    {BYTES(OK "Content-Length: 18446744073709551616\r\n" END)},
    {BYTES(OK "Content-Length: 18446744073709551615\r\n" END)},
    {BYTES(OK "Content-Length: 9223372036854775808\r\n" END)},
    {BYTES(OK "Transfer-Encoding: gzip, chunked\r\n" END)},
    {BYTES(OK "Transfer-Encoding: , chunked\r\n" END)},
    {BYTES(OK "Transfer-Encoding: identity, chunked\r\n" END)},
    {BYTES(OK "Transfer-Encoding: chunked, chunked\r\n" END)},
    {BYTES(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END)},
    {BYTES("\r\n" OK "Content-Length: 0\r\n" END)},
    {BYTES("\n" OK "Content-Length: 0\r\n" END)},
    {BYTES("HTTP/1.1 200 O\rK\r\n" END)},
    {BYTES("HTTP/1.1 200 OK\n" END)},
    {BYTES(OK "\n")},
    {BYTES("HTTP/1.1 200 O\0K\r\n" END)},
    {BYTES(OK "X: a\r\n b\r\n" END)},
    {BYTES(OK "X : a\r\n" END)},
    {BYTES(OK "X\r\n" END)},
    {BYTES("HTTP/2.0 200 OK\r\n" END)},
    {BYTES("HTTP/1.2 200 OK\r\n" END)},
    {BYTES("HTTP/1.1 20 OK\r\n" END)},
    {BYTES("HTTP/1.1 2000 OK\r\n" END)},
    {BYTES("HTTP/1.1 099 OK\r\n" END)},
    {BYTES("HTTP/1.1 2x0 OK\r\n" END)},
    {BYTES("HTTP/1.1 OK\r\n" END)},
    {BYTES("RTSP/1.0 200 OK\r\n" END)},
    {BYTES("ICE/1.0 200 OK\r\n" END)},
    {BYTES("ICY 200 OK\r\n" END)},
    {BYTES("<html>\r\n" END)},
    {BYTES(GET END)},
    {BYTES("\r\n\r\n")},
};

/* Also whether the verdict is the same however the bytes come: at every split, and one by one. */
static int refusal_differs(const struct guard *guard, enum http1_kind kind, const char *bytes, size_t length,
                           enum reason_id reason, int status)
{
	static const struct message_head get = {0};
	const struct message_head *request = kind == HTTP1_RESPONSE ? &get : NULL;
	struct verdict whole = judge_whole(guard, kind, bytes, length);

	if (whole.result != -EBADMSG || whole.error.reason != reason || whole.error.status != status || !whole.error.what ||
	    whole.error.offset > length) {
		print_error("%d %s %d %s: %.*s", whole.result, whole.result ? reason_row(whole.error.reason)->name : "passes",
		            whole.result ? whole.error.status : 0, whole.result ? whole.error.what : "", (int)length, bytes);
		return 1;
	}
	for (size_t first = 0; first <= length; first++) {
		struct verdict split = judge(guard, kind, bytes, length, first, request, &limits);

		if (split.result != -EBADMSG || split.error.reason != reason || split.error.status != status ||
		    strcmp(split.error.what, whole.error.what) != 0 || split.error.offset != whole.error.offset) {
			print_error("split at %zu: %d %s instead of %s: %.*s", first, split.result,
			            split.result ? split.error.what : "", whole.error.what, (int)length, bytes);
			return 1;
		}
	}
	return 0;
}

static void refuses_requests(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof refused_requests / sizeof *refused_requests; i++)
		failures += refusal_differs(*state, HTTP1_REQUEST, refused_requests[i].bytes, refused_requests[i].length,
		                            refused_requests[i].reason, 400);
	assert_int_equal(failures, 0);
}

static void refuses_responses(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof refused_responses / sizeof *refused_responses; i++)
		failures += refusal_differs(*state, HTTP1_RESPONSE, refused_responses[i].bytes, refused_responses[i].length,
		                            REASON_SERVER_INVALID, 502);
	assert_int_equal(failures, 0);
}

/* A refusal comes as soon as its byte does: no more is waited for. */
static void refuses_at_once(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} rows[] = {
	    {BYTES("GET / HTTP/1.1\n")}, {BYTES("G\0")}, {BYTES("GET / HTTP/1.1\r\n ")}, {BYTES("GET / HTTP/1.1\r\n\t")},
	    {BYTES("GET / HTTP/1.1\rH")}, {BYTES(GET "X: a\0")}, {BYTES(GET "\n")}, {BYTES("\n")},
	};
	size_t length;
	struct http1_error error;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t have = 1; have <= rows[i].length; have++) {
			struct input_scan scan = {0};
			int result = http1_scan_head(&scan, HTTP1_REQUEST, guard_place(*state, rows[i].bytes, have), have, &limits,
			                             &length, &error);

			if (result != (have < rows[i].length ? -EAGAIN : -EBADMSG))
				fail_msg("row %zu, %zu bytes: %d", i, have, result);
		}
}

/* --- what is accepted --- */

enum { KEEP = 1, IDEMPOTENT = 2, UPGRADE = 4, TEXT = 8, HEAD = 16, CONNECT = 32 };

static const struct {
	const char *bytes;
	size_t length;
	const char *method, *target;
	enum message_framing framing;
	uint64_t content_length;
	unsigned flags;
	int minor;
} requests[] = {
    {BYTES(GET END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("GET / HTTP/1.1\r\nHost:\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES(GET "Connection: close\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, IDEMPOTENT, 1},
    {BYTES(GET "Connection: foo, CLOSE , bar\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, IDEMPOTENT, 1},
    {BYTES(GET "Connection: x\r\nConnection: close\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, IDEMPOTENT, 1},
    {BYTES(GET "Connection: closed, unclose\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES(GET "X-Connection: close\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("GET / HTTP/1.0\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, IDEMPOTENT, 0},
    {BYTES("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 0},
    {BYTES("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, IDEMPOTENT, 0},
    {BYTES("GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, IDEMPOTENT, 0},
    {BYTES("GET http://x/a?b HTTP/1.1\r\n" HOST END), "GET", "http://x/a?b", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("OPTIONS * HTTP/1.1\r\n" HOST END), "OPTIONS", "*", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("CONNECT x:443 HTTP/1.1\r\n" HOST END), "CONNECT", "x:443", MESSAGE_NO_BODY, 0, KEEP | CONNECT, 1},
    {BYTES("HEAD /h HTTP/1.1\r\n" HOST END), "HEAD", "/h", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT | HEAD, 1},
    {BYTES("PUT / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END), "PUT", "/", MESSAGE_LENGTH, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("DELETE / HTTP/1.1\r\n" HOST END), "DELETE", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("TRACE / HTTP/1.1\r\n" HOST END), "TRACE", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("PATCH / HTTP/1.1\r\n" HOST END), "PATCH", "/", MESSAGE_NO_BODY, 0, KEEP, 1},
    {BYTES("M-SEARCH * HTTP/1.1\r\n" HOST END), "M-SEARCH", "*", MESSAGE_NO_BODY, 0, KEEP, 1},
    {BYTES(POST "Content-Length: 5\r\n" END), "POST", "/", MESSAGE_LENGTH, 5, KEEP, 1},
    {BYTES(POST "CONTENT-LENGTH:  05 \r\n" END), "POST", "/", MESSAGE_LENGTH, 5, KEEP, 1},
    {BYTES(POST "Content-Length: 9223372036854775807\r\n" END), "POST", "/", MESSAGE_LENGTH, INT64_MAX, KEEP, 1},
    {BYTES(POST "Content-Length:\t5\t\r\n" END), "POST", "/", MESSAGE_LENGTH, 5, KEEP, 1},
    {BYTES(POST "Content-Length: 5 \t \r\nX: \t\r\n" END), "POST", "/", MESSAGE_LENGTH, 5, KEEP, 1},
    {BYTES(POST "Transfer-Encoding: chunked\r\n" END), "POST", "/", MESSAGE_CHUNKED, 0, KEEP, 1},
    {BYTES(POST "transfer-encoding:  Chunked \r\n" END), "POST", "/", MESSAGE_CHUNKED, 0, KEEP, 1},
    {BYTES(POST "Transfer-Encoding: chunked\t\r\n" END), "POST", "/", MESSAGE_CHUNKED, 0, KEEP, 1},
    {BYTES("FOO / HTTP/1.1\r\n" HOST END), "FOO", "/", MESSAGE_NO_BODY, 0, KEEP, 1},
    {BYTES("get / HTTP/1.1\r\n" HOST END), "get", "/", MESSAGE_NO_BODY, 0, KEEP, 1},
    {BYTES("GETX / HTTP/1.1\r\n" HOST END), "GETX", "/", MESSAGE_NO_BODY, 0, KEEP, 1},
    {BYTES("DESCRIBE rtsp://x/ HTTP/1.1\r\n" HOST END), "DESCRIBE", "rtsp://x/", MESSAGE_NO_BODY, 0, KEEP, 1},
    {BYTES("!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n" END), "!#$%&'*+-.^_`|~9", "/", MESSAGE_LENGTH, 3, KEEP, 1},
    {BYTES("FOO / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END), "FOO", "/", MESSAGE_CHUNKED, 0, KEEP, 1},
    {BYTES("GET a HTTP/1.1\r\n" HOST END), "GET", "a", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("GET /\x80\xff\"<>\\^`{|}#[] HTTP/1.1\r\n" HOST END), "GET", "/\x80\xff\"<>\\^`{|}#[]", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("CONNECT /path HTTP/1.1\r\n" HOST END), "CONNECT", "/path", MESSAGE_NO_BODY, 0, KEEP | CONNECT, 1},
    {BYTES("CONNECT / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END), "CONNECT", "/", MESSAGE_LENGTH, 5, KEEP | CONNECT, 1},
    {BYTES("GET http://X/ HTTP/1.1\r\n" HOST END), "GET", "http://X/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("GET http://x?y HTTP/1.1\r\n" HOST END), "GET", "http://x?y", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("GET /?u=http://y/ HTTP/1.1\r\n" HOST END), "GET", "/?u=http://y/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("GET http://y/ HTTP/1.0\r\n" END), "GET", "http://y/", MESSAGE_NO_BODY, 0, IDEMPOTENT, 0},
    {BYTES("GET / HTTP/1.1\r\nHost: [::1]:80 \r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES("GET / HTTP/1.1\r\nHost: x_y.z:8080\t\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES(GET "Connection: Upgrade\r\nUpgrade: websocket\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0,
     KEEP | IDEMPOTENT | UPGRADE, 1},
    {BYTES(GET "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0,
     KEEP | IDEMPOTENT | UPGRADE, 1},
    {BYTES(GET "Upgrade: websocket\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES(GET "Connection: Upgrade\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES(POST "Connection: Upgrade\r\nUpgrade: h\r\nContent-Length: 3\r\n" END), "POST", "/", MESSAGE_LENGTH, 3, KEEP | UPGRADE,
     1},
    {BYTES(GET "Accept: text/html, */*\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT | TEXT, 1},
    {BYTES(GET "accept: */*\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT | TEXT, 1},
    {BYTES(GET "Accept: application/json\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES(GET "Accept:\r\nX:  \r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT, 1},
    {BYTES(GET "Accept: Text/Plain\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT | TEXT, 1},
    {BYTES(GET "Accept: text/plain\r\nAccept: image/png\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0, KEEP | IDEMPOTENT | TEXT, 1},
    {BYTES("GET / HTTP/1.1\r\nHost: x\r\nX: \x80\xff\t~!\r\nx-y_z!#$%&'*+-.^`|~: a : b\r\n" END), "GET", "/", MESSAGE_NO_BODY, 0,
     KEEP | IDEMPOTENT, 1},
};

static unsigned flags_of(const struct message_head *head)
{
	return (head->keep_alive ? KEEP : 0u) | (head->idempotent ? IDEMPOTENT : 0u) | (head->upgrade ? UPGRADE : 0u) |
	       (head->accepts_text ? TEXT : 0u) | (head->is_head ? HEAD : 0u) | (head->is_connect ? CONNECT : 0u);
}

static int slice_differs(struct slice slice, const char *expected)
{
	return slice.length != strlen(expected) || (slice.length && memcmp(slice.bytes, expected, slice.length) != 0);
}

static void accepts_requests(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
		for (size_t first = 0; first <= requests[i].length; first++) {
			struct verdict v = judge(*state, HTTP1_REQUEST, requests[i].bytes, requests[i].length, first, NULL,
			                         &limits);

			if (!v.result && v.length == requests[i].length && !slice_differs(v.head.method, requests[i].method) &&
			    !slice_differs(v.head.target, requests[i].target) && v.head.framing == requests[i].framing &&
			    (v.head.framing != MESSAGE_LENGTH || v.head.content_length == requests[i].content_length) &&
			    flags_of(&v.head) == requests[i].flags && v.head.minor == requests[i].minor)
				continue;
			print_error("split at %zu: %d %s, framing %d, length %llu, flags %u: %s", first, v.result,
			            v.result ? v.error.what : "", v.result ? -1 : (int)v.head.framing,
			            v.result ? 0 : (unsigned long long)v.head.content_length, v.result ? 0 : flags_of(&v.head),
			            requests[i].bytes);
			failures++;
			break;
		}
	assert_int_equal(failures, 0);
}

/* The authority that is to be sent as Host: the target's own, without userinfo, where Host says another (RFC 9112 §3.2.2). */
static void names_the_host_to_send(void **state)
{
	static const struct {
		const char *head, *authority;
	} rows[] = {
	    {"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", "y"},          {"GET http://y:8080/a HTTP/1.1\r\nHost: y\r\n\r\n", "y:8080"},
	    {"FOO HTTPS://y HTTP/1.1\r\nHost: x\r\n\r\n", "y"},          {"GET http://u:p@y?q HTTP/1.1\r\nHost: x\r\n\r\n", "y"},
	    {"GET http://x/ HTTP/1.1\r\nHost: X \r\n\r\n", ""},          {"GET http://u@x:80/ HTTP/1.1\r\nHost: x\r\n\r\n", ""},
	    {"GET /?u=http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", ""},       {"GET http://y/ HTTP/1.0\r\n\r\n", ""},
	    {"CONNECT y:443 HTTP/1.1\r\nHost: x\r\n\r\n", ""},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct verdict v = judge(*state, HTTP1_REQUEST, rows[i].head, strlen(rows[i].head), 0, NULL, &limits);

		assert_int_equal(v.result, 0);
		if (slice_differs(v.head.authority, rows[i].authority))
			fail_msg("%s", rows[i].head);
	}
}

/* What a response answers, as far as it matters for its body. */
enum { TO_GET, TO_HEAD, TO_CONNECT };

static const struct {
	const char *bytes;
	size_t length;
	int to, status;
	enum message_framing framing;
	uint64_t content_length;
	bool keep_alive;
	int32_t keep_alive_timeout_s;
} responses[] = {
    {BYTES(OK "Content-Length: 5\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 5, true, -1},
    {BYTES(OK "Content-Length: 0\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 0, true, -1},
    {BYTES(OK "Content-Length: 5\r\n" END), TO_HEAD, 200, MESSAGE_NO_BODY, 0, true, -1},
    {BYTES(OK "Content-Length: 5\r\n" END), TO_CONNECT, 200, MESSAGE_NO_BODY, 0, true, -1},
    {BYTES(OK "Transfer-Encoding: chunked\r\n" END), TO_GET, 200, MESSAGE_CHUNKED, 0, true, -1},
    {BYTES(OK "Transfer-Encoding:\tChunked \t\r\n" END), TO_GET, 200, MESSAGE_CHUNKED, 0, true, -1},
    {BYTES(OK "Content-Length: 5\t\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 5, true, -1},
    {BYTES(OK "Content-Length: 9223372036854775807\r\n" END), TO_GET, 200, MESSAGE_LENGTH, INT64_MAX, true, -1},
    {BYTES(OK "Transfer-Encoding: chunked\r\n" END), TO_HEAD, 200, MESSAGE_NO_BODY, 0, true, -1},
    {BYTES(OK END), TO_GET, 200, MESSAGE_UNTIL_CLOSE, 0, true, -1},
    {BYTES(OK "Connection: close\r\n" END), TO_GET, 200, MESSAGE_UNTIL_CLOSE, 0, false, -1},
    {BYTES("HTTP/1.0 200 OK\r\n" END), TO_GET, 200, MESSAGE_UNTIL_CLOSE, 0, false, -1},
    {BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, -1},
    {BYTES("HTTP/1.1 100 Continue\r\n" END), TO_GET, 100, MESSAGE_NO_BODY, 0, true, -1},
    {BYTES("HTTP/1.1 103 Early Hints\r\nLink: x\r\n" END), TO_GET, 103, MESSAGE_NO_BODY, 0, true, -1},
    {BYTES("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n" END), TO_GET, 101, MESSAGE_NO_BODY, 0, true,
     -1},
    {BYTES("HTTP/1.1 204 No Content\r\n" END), TO_GET, 204, MESSAGE_NO_BODY, 0, true, -1},
    {BYTES("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n" END), TO_GET, 304, MESSAGE_NO_BODY, 0, true, -1},
    {BYTES("HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n" END), TO_CONNECT, 404, MESSAGE_LENGTH, 7, true, -1},
    {BYTES("HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n" END), TO_GET, 205, MESSAGE_LENGTH, 0, true, -1},
    {BYTES("HTTP/1.1 999 X\r\nContent-Length: 0\r\n" END), TO_GET, 999, MESSAGE_LENGTH, 0, true, -1},
    {BYTES("HTTP/1.1 200 \r\nContent-Length: 0\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 0, true, -1},
    {BYTES("HTTP/1.1 200\r\nContent-Length: 0\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 0, true, -1},
    {BYTES(OK "Content-Length: 1\r\nKeep-Alive: timeout=5, max=100\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, 5},
    {BYTES(OK "Content-Length: 1\r\nkeep-alive: max=100,timeout=65\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, 65},
    {BYTES(OK "Content-Length: 1\r\nKeep-Alive: max=1\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, -1},
    {BYTES(OK "Content-Length: 1\r\nKeep-Alive:\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, -1},
    {BYTES(OK "Content-Length: 1\r\nKeep-Alive: timeout=\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, -1},
    {BYTES(OK "Content-Length: 1\r\nKeep-Alive: timeout=x\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, -1},
    {BYTES(OK "Content-Length: 1\r\nKeep-Alive: Timeout=7\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, 7},
    {BYTES(OK "Content-Length: 1\r\nKeep-Alive: xtimeout=7\r\n" END), TO_GET, 200, MESSAGE_LENGTH, 1, true, -1},
};

static void accepts_responses(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
		const struct message_head request = {.is_head = responses[i].to == TO_HEAD,
		                                   .is_connect = responses[i].to == TO_CONNECT};

		for (size_t first = 0; first <= responses[i].length; first++) {
			struct verdict v = judge(*state, HTTP1_RESPONSE, responses[i].bytes, responses[i].length, first, &request,
			                         &limits);

			if (!v.result && v.length == responses[i].length && v.head.status == responses[i].status &&
			    v.head.framing == responses[i].framing && v.head.keep_alive == responses[i].keep_alive &&
			    (v.head.framing != MESSAGE_LENGTH || v.head.content_length == responses[i].content_length) &&
			    v.head.keep_alive_timeout_s == responses[i].keep_alive_timeout_s)
				continue;
			print_error("split at %zu: %d %s, framing %d, timeout %d: %s", first, v.result,
			            v.result ? v.error.what : "", v.result ? -1 : (int)v.head.framing,
			            v.result ? 0 : v.head.keep_alive_timeout_s, responses[i].bytes);
			failures++;
			break;
		}
	}
	assert_int_equal(failures, 0);
}

/* However long the number: no overflow, and a value that stays large. */
static void keep_alive_timeout_is_bounded(void **state)
{
	static const char text[] = OK "Content-Length: 1\r\nKeep-Alive: timeout=99999999999999999999\r\n" END;
	struct verdict v = judge_whole(*state, HTTP1_RESPONSE, BYTES(text));

	assert_int_equal(v.result, 0);
	assert_true(v.head.keep_alive_timeout_s >= 99999999);
}

/* The head ends at its blank line; what follows is not looked at. */
static void a_head_ends_at_its_blank_line(void **state)
{
	static const char text[] = GET END "\0\n\r\r\r garbage \n";
	struct verdict v = judge_whole(*state, HTTP1_REQUEST, BYTES(text));

	assert_int_equal(v.result, 0);
	assert_int_equal(v.length, sizeof GET END - 1);
	for (size_t length = 0; length < sizeof GET END - 1; length++)
		if (judge_whole(*state, HTTP1_REQUEST, text, length).result != -EAGAIN)
			fail_msg("%zu bytes are a head", length);
}

static void lines_by_name(void **state)
{
	static const struct {
		const char *line, *name;
		bool is;
	} rows[] = {
	    {"Connection: close\r\n", "connection", true}, {"CONNECTION:\r\n", "connection", true},
	    {"connection:", "connection", true},
	    {"connection", "connection", false}, {"Connectio: x", "connection", false}, {"Connections: x", "connection", false},
	    {"Connection : x", "connection", false}, {"", "connection", false}, {"X-Connection: x", "connection", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t length = strlen(rows[i].line);

		if (http1_line_is(guard_place(*state, rows[i].line, length), length, rows[i].name) != rows[i].is)
			fail_msg("%s", rows[i].line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refuses_requests),
	    cmocka_unit_test(refuses_responses),
	    cmocka_unit_test(refuses_at_once),
	    cmocka_unit_test(accepts_requests),
	    cmocka_unit_test(names_the_host_to_send),
	    cmocka_unit_test(accepts_responses),
	    cmocka_unit_test(keep_alive_timeout_is_bounded),
	    cmocka_unit_test(a_head_ends_at_its_blank_line),
	    cmocka_unit_test(lines_by_name),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
