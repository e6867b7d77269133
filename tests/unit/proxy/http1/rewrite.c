#include "proxy/http1/rewrite.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "proxy/config/catalog.h"
#include "tests/unit/proxy/guard.h"

#define GET "GET / HTTP/1.1\r\nHost: x\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define END "\r\n"

#define COUNT(type, ...) (sizeof((const type[]){__VA_ARGS__}) / sizeof(type))
#define FIELDS(...) (const struct header_field[]){__VA_ARGS__}
#define NAMES(...) (const char *const[]){__VA_ARGS__}
#define SET(...) .set = FIELDS(__VA_ARGS__), .set_count = COUNT(struct header_field, __VA_ARGS__)
#define ADD(...) .add = FIELDS(__VA_ARGS__), .add_count = COUNT(struct header_field, __VA_ARGS__)
#define REMOVE(...) .remove = NAMES(__VA_ARGS__), .remove_count = COUNT(char *, __VA_ARGS__)
#define RULE(...) .edits[0] = &(const struct header_edits){__VA_ARGS__}
#define BACKEND(...) .edits[1] = &(const struct header_edits){__VA_ARGS__}

static const struct row {
	struct rewrite rewrite;
	const char *client; /* for Forwarded */
	const char *head, *expected;
} rows[] = {
    {{0}, NULL, GET END, GET END},
    {{0}, NULL, GET "Connection: keep-alive\r\n" END, GET "Connection: keep-alive\r\n" END},
    {{.close = true}, NULL, OK "A: b\r\n" END, OK "A: b\r\nConnection: close\r\n" END},
    {{.close = true}, NULL, OK END, OK "Connection: close\r\n" END},
    {{.close = true}, NULL, OK "CONNECTION: keep-alive\r\nconnection:x\r\nA: b\r\nConnection:\r\n" END,
     OK "A: b\r\nConnection: close\r\n" END},
    {{.close = true}, NULL, OK "X-Connection: y\r\nConnections: z\r\n" END,
     OK "X-Connection: y\r\nConnections: z\r\nConnection: close\r\n" END},
    {{0}, "10.1.2.3:4567", GET END, GET "Forwarded: for=10.1.2.3\r\n" END},
    {{0}, "[2001:db8::1]:4567", GET END, GET "Forwarded: for=\"[2001:db8::1]\"\r\n" END},
    {{.close = true}, "10.1.2.3:1", GET "Forwarded: for=1.2.3.4\r\n" END,
     GET "Forwarded: for=1.2.3.4, for=10.1.2.3\r\nConnection: close\r\n" END},
    {{0}, "[2001:db8::1]:1", GET "forwarded: for=a;proto=https\r\nA: b\r\nFORWARDED: for=\"_b,\" \r\nC: d\r\n" END,
     GET "forwarded: for=a;proto=https\r\nA: b\r\nFORWARDED: for=\"_b,\" , for=\"[2001:db8::1]\"\r\nC: d\r\n" END},
    {{RULE(REMOVE("forwarded"))}, "10.1.2.3:1", GET "Forwarded: for=a\r\n" END, GET "Forwarded: for=10.1.2.3\r\n" END},
    {{0}, "10.1.2.3:1", GET "X-Forwarded-For: 1.2.3.4\r\n" END, GET "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=10.1.2.3\r\n" END},
    {{.x_forwarded_for = true}, "10.1.2.3:4567", GET END, GET "X-Forwarded-For: 10.1.2.3\r\n" END},
    {{.x_forwarded_for = true}, "[2001:db8::1]:4567", GET "x-forwarded-for: 1.2.3.4\r\nForwarded: for=a\r\n" END,
     GET "x-forwarded-for: 1.2.3.4, 2001:db8::1\r\nForwarded: for=a\r\n" END},

    /* target */
    {{.target = "/xyz?q"}, NULL, GET END, "GET /xyz?q HTTP/1.1\r\nHost: x\r\n" END},
    {{.target = "/"}, NULL, "POST /a/b?c=d HTTP/1.0\r\n" END, "POST / HTTP/1.0\r\n" END},
    {{.target = "/xyz", .host = "y"}, NULL, END END GET END, "GET /xyz HTTP/1.1\r\nHost: y\r\n" END},
    {{.target = ""}, NULL, GET END, GET END},
    {{.target = "xyz"}, NULL, GET END, "GET /xyz HTTP/1.1\r\nHost: x\r\n" END},
    {{.target = "?q"}, NULL, GET END, "GET /?q HTTP/1.1\r\nHost: x\r\n" END},
    {{.target = "/a%20b c\td\r\ne\x01\x7f\xff#f"}, NULL, GET END,
     "GET /a%20b%20c%09d%0D%0Ae%01%7F%FF%23f HTTP/1.1\r\nHost: x\r\n" END},
    {{.target = "/xyz"}, NULL, "GET http://a:8080/b?c HTTP/1.1\r\nHost: a\r\n" END,
    "GET http://a:8080/xyz HTTP/1.1\r\nHost: a\r\n" END},
    {{.target = "/xyz"}, NULL, "GET http://a HTTP/1.1\r\nHost: a\r\n" END, "GET http://a/xyz HTTP/1.1\r\nHost: a\r\n" END},
    {{.target = "/xyz"}, NULL, "GET http://a?b/c HTTP/1.1\r\nHost: a\r\n" END, "GET http://a/xyz HTTP/1.1\r\nHost: a\r\n" END},
    {{.target = "/xyz"}, NULL, "GET /?u=http://a/b HTTP/1.1\r\nHost: a\r\n" END, "GET /xyz HTTP/1.1\r\nHost: a\r\n" END},
    {{.target = "/xyz"}, NULL, "OPTIONS * HTTP/1.1\r\nHost: a\r\n" END, "OPTIONS * HTTP/1.1\r\nHost: a\r\n" END},
    {{.target = "/xyz"}, NULL, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n" END, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n" END},
    {{.target = "/xyz"}, NULL, "HTTP/1.1 200 a http://b/c d\r\n" END, "HTTP/1.1 200 a http://b/c d\r\n" END},
    {{.target = "/xyz"}, NULL, "HTTP/1.1 200\r\n" END, "HTTP/1.1 200\r\n" END},

    /* host */
    {{.host = "b:81"}, NULL, "GET / HTTP/1.1\r\nA: b\r\nHOST:x\r\nC: d\r\n" END,
     "GET / HTTP/1.1\r\nA: b\r\nHost: b:81\r\nC: d\r\n" END},
    {{.host = "b"}, NULL, "GET / HTTP/1.0\r\nA: b\r\n" END, "GET / HTTP/1.0\r\nA: b\r\nHost: b\r\n" END},
    {{.target_host = "a"}, NULL, "GET http://u@a/{b HTTP/1.1\r\nHost: x\r\n" END, "GET http://u@a/{b HTTP/1.1\r\nHost: a\r\n" END},
    {{.target_host = "a", .host = "b"}, NULL, "GET http://a/ HTTP/1.1\r\nHost: x\r\n" END, "GET http://b/ HTTP/1.1\r\nHost: b\r\n" END},
    {{.target_host = "a", RULE(SET({"Host", "c"}))}, NULL, "GET http://a/ HTTP/1.1\r\nHost: x\r\n" END,
     "GET http://c/ HTTP/1.1\r\nHost: c\r\n" END},
    {{.host = "b"}, NULL, GET "X-Host: x\r\nhost: y\r\n" END, "GET / HTTP/1.1\r\nHost: b\r\nX-Host: x\r\n" END},
    {{.host = ""}, NULL, GET END, GET END},
    {{.host = "[::1]:80"}, NULL, "GET http://u@a:1/b HTTP/1.1\r\nHost: a\r\n" END,
     "GET http://[::1]:80/b HTTP/1.1\r\nHost: [::1]:80\r\n" END},
    {{.host = "b"}, NULL, "GET HTTPS://a?c HTTP/1.1\r\nHost: a\r\n" END, "GET HTTPS://b?c HTTP/1.1\r\nHost: b\r\n" END},
    {{.host = "b", .target = "/y"}, NULL, "GET http://a/x HTTP/1.1\r\nHost: a\r\n" END,
    "GET http://b/y HTTP/1.1\r\nHost: b\r\n" END},
    {{.host = "b"}, NULL, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n" END, "CONNECT a:443 HTTP/1.1\r\nHost: b\r\n" END},
    {{.host = "a/b?c#d@e\\f|g\r\nX: y"}, NULL, "GET http://a/x HTTP/1.1\r\nHost: a\r\n" END,
     "GET http://a%2Fb%3Fc%23d%40e%5Cf%7Cg%0D%0AX:%20y/x HTTP/1.1\r\nHost: a%2Fb%3Fc%23d%40e%5Cf%7Cg%0D%0AX:%20y\r\n" END},

    /* edits */
    {{RULE(SET({"a", "1"}))}, NULL, GET END, GET "a: 1\r\n" END},
    {{RULE(SET({"X-A", "1"}))}, NULL, GET "x-a: 2\r\nb: 3\r\nX-A:4\r\n" END, GET "b: 3\r\nX-A: 1\r\n" END},
    {{RULE(SET({"x-a", ""}))}, NULL, GET "x-ab: 2\r\nx-: 3\r\nx-a:\r\n" END, GET "x-ab: 2\r\nx-: 3\r\nx-a: \r\n" END},
    {{RULE(ADD({"x-a", "1"}, {"X-A", "2"}))}, NULL, GET "x-a: 0\r\n" END, GET "x-a: 0\r\nx-a: 1\r\nX-A: 2\r\n" END},
    {{RULE(REMOVE("X-A", "x-none"))}, NULL, GET "x-a: 1\r\nb: c\r\nx-A: 2\r\n" END, GET "b: c\r\n" END},
    {{RULE(SET({"a", "1"}), ADD({"b", "2"}), REMOVE("c")), .close = true}, NULL, OK "A: 0\r\nB: 0\r\nC: 0\r\nConnection: x\r\n" END,
     OK "B: 0\r\na: 1\r\nb: 2\r\nConnection: close\r\n" END},
    {{RULE(REMOVE("200 ok", "http/1.1 200 ok"))}, NULL, OK END, OK END},
    /* the backend's come after the rule's */
    {{RULE(SET({"a", "1"})), BACKEND(SET({"A", "2"}))}, NULL, GET "a: 0\r\n" END, GET "A: 2\r\n" END},
    {{RULE(ADD({"a", "1"})), BACKEND(SET({"A", "2"}))}, NULL, GET "a: 0\r\n" END, GET "A: 2\r\n" END},
    {{RULE(SET({"a", "1"})), BACKEND(ADD({"A", "2"}))}, NULL, GET "a: 0\r\n" END, GET "a: 1\r\nA: 2\r\n" END},
    {{RULE(SET({"a", "1"})), BACKEND(REMOVE("A"))}, NULL, GET "a: 0\r\n" END, GET END},
    {{RULE(ADD({"a", "1"})), BACKEND(REMOVE("A"))}, NULL, GET "a: 0\r\n" END, GET END},
    {{RULE(REMOVE("a")), BACKEND(ADD({"A", "2"}))}, NULL, GET "a: 0\r\n" END, GET "A: 2\r\n" END},
    {{RULE(REMOVE("a")), BACKEND(REMOVE("b"))}, NULL, GET "a: 0\r\nb: 0\r\nc: 0\r\n" END, GET "c: 0\r\n" END},
    {{BACKEND(SET({"a", "1"}))}, NULL, GET "a: 0\r\n" END, GET "a: 1\r\n" END},
    /* what frames the message, and this one connection */
    {{RULE(SET({"Content-Length", "0"}, {"transfer-encoding", "chunked"}, {"CONNECTION", "close"}, {"upgrade", "h2c"}),
           ADD({"content-length", "1"}, {"Transfer-Encoding", "x"}, {"connection", "x"}, {"Upgrade", "x"}))},
     NULL, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" END, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" END},
    {{RULE(REMOVE("Content-Length", "transfer-encoding", "connection", "upgrade", "host"))}, NULL,
     GET "Transfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: x\r\n" END,
     GET "Transfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: x\r\n" END},
    /* Host: set only, once */
    {{RULE(SET({"hOST", "b"}))}, NULL, GET "A: b\r\n" END, "GET / HTTP/1.1\r\nHost: b\r\nA: b\r\n" END},
    {{RULE(SET({"host", "b"}))}, NULL, "GET http://a/ HTTP/1.1\r\nHost: a\r\n" END, "GET http://b/ HTTP/1.1\r\nHost: b\r\n" END},
    {{RULE(SET({"host", "b"})), BACKEND(SET({"Host", "c"}))}, NULL, GET END, "GET / HTTP/1.1\r\nHost: c\r\n" END},
    {{RULE(SET({"host", "b"})), .host = "c"}, NULL, GET END, "GET / HTTP/1.1\r\nHost: c\r\n" END},
    {{RULE(SET({"host", "b"})), BACKEND(REMOVE("Host"))}, NULL, GET END, "GET / HTTP/1.1\r\nHost: b\r\n" END},
    {{RULE(ADD({"host", "b"}))}, NULL, GET END, GET END},
    {{RULE(ADD({"host", "b"}))}, NULL, "GET / HTTP/1.0\r\n" END, "GET / HTTP/1.0\r\n" END},
    {{RULE(SET({"host", ""}))}, NULL, GET END, GET END},
    /* what no manifest is let to say */
    {{RULE(SET({"a", "1\r\nb: 2\n\rc\x01\x7f\td\xff"}))}, NULL, GET END, GET "a: 1  b: 2  c  \td\xff\r\n" END},
    {{RULE(SET({"a b", "1"}, {"", "1"}, {"a\r\nb", "1"}, {"a:", "1"}, {"\xff", "1"}), ADD({"a b", "1"}, {"", "1"}), REMOVE("a b",
    ""))},
     NULL, GET "a: b\r\n" END, GET "a: b\r\n" END},
};

static int apply(const struct row *row, const struct guard *guard, struct buf *out)
{
	size_t length = strlen(row->head);
	struct rewrite rewrite = row->rewrite;
	struct addr client;

	if (row->client) {
		assert_int_equal(addr_parse(row->client, &client), 0);
		rewrite.forwarded = &client;
	}
	return rewrite_head(&rewrite, guard_place(guard, row->head, length), length, out);
}

static void heads(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t expected = strlen(rows[i].expected);
		struct buf out = {0};

		assert_int_equal(buf_append(&out, "before", 6), 0);
		assert_int_equal(apply(&rows[i], *state, &out), 0);
		if (buf_length(&out) != 6 + expected || memcmp(buf_bytes(&out), "before", 6) != 0 ||
		    memcmp(buf_bytes(&out) + 6, rows[i].expected, expected) != 0)
			fail_msg("row %zu: %.*s", i, (int)buf_length(&out), buf_bytes(&out));
		buf_release(&out);
	}
}

/* A queue as large as one may be, with `room` bytes left: nothing of it is touched but that room. */
static void nothing_is_appended_without_memory(void **state)
{
	enum { HELD = 1 << 30, PAGE = 65536 };
	const struct row row = {{.target = "/a b", .host = "b", RULE(SET({"a", "1"}), ADD({"b",
	"2"})), .close = true}, "10.0.0.1:1",
	                        GET "C: d\r\n" END, NULL};
	const size_t whole = strlen("GET /a%20b HTTP/1.1\r\nHost: b\r\nC: d\r\na: 1\r\nb: 2\r\nForwarded: for=10.0.0.1\r\n"
	                            "Connection: close\r\n\r\n");
	uint8_t *data = mmap(NULL, HELD + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(data != MAP_FAILED);
	assert_int_equal(mprotect(data + HELD, PAGE, PROT_READ | PROT_WRITE), 0);
	for (size_t room = 0; room <= whole; room++) {
		struct buf out = {.data = data, .end = HELD, .capacity = (uint32_t)(HELD + room)};

		assert_int_equal(apply(&row, *state, &out), room < whole ? -ENOMEM : 0);
		assert_int_equal(buf_length(&out), HELD + (room < whole ? 0 : whole));
	}
	munmap(data, HELD + PAGE);
}

/* The longest address there is; its scope is ours alone. */
static void forwards_the_longest_address(void **state)
{
	static const char head[] = "GET / HTTP/1.0\r\n\r\n";
	struct addr client = {.family = AF_INET6, .port = 65535, .scope = UINT32_MAX};
	const struct rewrite rewrite = {.forwarded = &client};
	char host[ADDR_TEXT_SIZE];
	struct buf out = {0};

	memset(client.bytes, 0xfe, sizeof client.bytes);
	addr_format_host(&(struct addr){.family = AF_INET6, .bytes = {0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe,
	                                0xfe, 0xfe, 0xfe}}, host);
	assert_int_equal(rewrite_head(&rewrite, (const uint8_t *)head, sizeof head - 1, &out), 0);
	assert_memory_equal(buf_bytes(&out) + buf_length(&out) - 6, "]\"\r\n\r\n", 6);
	assert_non_null(memmem(buf_bytes(&out), buf_length(&out), host, strlen(host)));
	buf_release(&out);
}

static void needed(void **state)
{
	const struct addr client = {0};
	const struct header_edits edits = {0};
	const struct rewrite none = {0}, some[] = {{.close = true}, {.forwarded = &client}, {.target = "/"}, {.host = "x"},
	                                           {.target_host = "x"}, {.edits[0] = &edits}, {.edits[1] = &edits}};

	assert_false(rewrite_needed(&none));
	for (size_t i = 0; i < sizeof some / sizeof *some; i++)
		assert_true(rewrite_needed(&some[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(heads),
	    cmocka_unit_test(nothing_is_appended_without_memory),
	    cmocka_unit_test(forwards_the_longest_address),
	    cmocka_unit_test(needed),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
