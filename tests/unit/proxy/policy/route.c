#include "proxy/policy/route.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/proxy/guard.h"
#include "tests/unit/proxy/routes.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The request in a head that ends at the guard. */
static struct route_request request_of(const struct guard *guard, const char *head)
{
	size_t length = strlen(head);
	struct route_request request;

	if (routes_read(&request, guard_place(guard, head, length), length) != length)
		fail_msg("not accepted: %s", head);
	return request;
}

static void is(struct slice slice, const char *text, const char *what)
{
	if (slice.length != strlen(text) || (slice.length && memcmp(slice.bytes, text, slice.length) != 0))
		fail_msg("%s: \"%.*s\", expected \"%s\"", what, (int)slice.length, (const char *)slice.bytes, text);
}

static void reads_targets_and_hosts(void **state)
{
	static const struct {
		const char *line, *host, *path, *query, *expected_host;
		uint16_t port;
	} rows[] = {
		{"GET /", "example.com", "/", "", "example.com", 0},
		{"GET /a/b?c=d&e", "example.com:8080", "/a/b", "c=d&e", "example.com", 8080},
		{"GET /a%2Fb/../c//d", "Example.COM.", "/a%2Fb/../c//d", "", "Example.COM", 0},
		{"GET /?", "example.com.:80", "/", "", "example.com", 80}, {"GET /a?b?c", "a..", "/a", "b?c", "a.", 0},
		{"GET /a?b/c:d", "a:", "/a", "b/c:d", "a", 0}, {"GET /", "a:65535", "/", "", "a", 65535},
		{"GET /", "a:65536", "/", "", "a", 0}, {"GET /", "a:99999999999999999999", "/", "", "a", 0},
		{"GET /", "80", "/", "", "80", 0},
		{"GET /", "[::1]", "/", "", "[::1]", 0}, {"GET /", "[2001:db8::1]:443", "/", "", "[2001:db8::1]", 443},
		{"GET /", "10.0.0.1:1", "/", "", "10.0.0.1", 1}, {"GET /", "", "/", "", "", 0}, {"GET /", ".", "/", "", "", 0},
		{"GET /", ":80", "/", "", "", 80}, {"GET /", " \t a \t ", "/", "", "a", 0},
		{"GET http://a.example.com/x?y", NULL, "/x", "y", "a.example.com", 0},
		{"GET http://A.example.com/x", "a.Example.com", "/x", "", "A.example.com", 0},
		{"GET http://a.example.com.:81/x", "a.example.com.:81", "/x", "", "a.example.com", 81},
		{"GET http://a", NULL, "/", "", "a", 0}, {"GET http://a?q", "a", "/", "q", "a", 0},
		{"GET http://user:word@a:7/", NULL, "/", "", "a", 7}, {"GET HTTPS://a/http://b/", "a", "/http://b/", "", "a", 0},
		{"GET /http://a/", "b", "/http://a/", "", "b", 0}, {"OPTIONS *", "a", "", "", "a", 0},
		{"CONNECT a:443", "b:1", "", "", "b", 1}, {"OPTIONS http://a", "a", "/", "", "a", 0},
		{"GET /a#b?c", "a", "/a", "", "a", 0}, {"GET /a?b#c", "a", "/a", "b", "a", 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char head[512];

		snprintf(head, sizeof head, "%s HTTP/1.%s%s\r\nX-Host: other\r\n\r\n", rows[i].line, rows[i].host ? "1\r\nHost:" : "0",
		         rows[i].host ? rows[i].host : "");
		struct route_request request = request_of(*state, head);
		is(request.path, rows[i].path, rows[i].line);
		is(request.query, rows[i].query, rows[i].line);
		is(request.host, rows[i].expected_host, rows[i].line);
		if (request.host_port != rows[i].port)
			fail_msg("%s to %s: port %u, expected %u", rows[i].line, rows[i].host ? rows[i].host : "none", request.host_port, rows[i].port);
	}
	struct route_request none = request_of(*state, "GET / HTTP/1.0\r\n\r\n");
	is(none.host, "", "no Host");
	is(none.head.method, "GET", "method");
	assert_int_equal(none.head.size, 18);
}

static void reads_fields(void **state)
{
	static const struct {
		const char *name, *value;
	} rows[] = {{"Host", "a:1"}, {"x-empty", ""}, {"X-Colon", "a: b"}, {"x-blank", "a b"}};
	struct route_request request =
	    request_of(*state, "GET http://a:1/ HTTP/1.1\r\nHost: a:1\r\nx-empty:\r\nX-Colon:a: b\r\nx-blank: \t a b\t \r\n\r\n");
	struct slice name, value;
	size_t offset = 0;

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(route_next_field(&request, &offset, &name, &value));
		is(name, rows[i].name, "name");
		is(value, rows[i].value, rows[i].name);
	}
	assert_false(route_next_field(&request, &offset, &name, &value));
	assert_false(route_next_field(&request, &offset, &name, &value));
	offset = 0;
	request = (struct route_request){0};
	assert_false(route_next_field(&request, &offset, &name, &value));
}

static void hostnames_match(void **state)
{
	static const struct {
		const char *pattern, *host;
		bool matches;
	} rows[] = {
		{"test.example.com", "test.example.com", true}, {"test.example.com", "TEST.example.Com", true},
		{"test.example.com", "example.com", false}, {"example.com", "test.example.com", false},
		{"example.com", "xexample.com", false}, {"example.com", "example.com.", false}, {"example.com", "", false},
		{"*.example.com", "test.example.com", true}, {"*.example.com", "foo.test.example.com", true},
		{"*.example.com", "example.com", false}, {"*.example.com", ".example.com", false},
		{"*.example.com", "testexample.com", false}, {"*.example.com", "Test.EXAMPLE.com", true},
		{"*.example.com", "a.example.com.b", false}, {"*.com", "example.com", true}, {"*.com", "com", false},
		{"*.example.com", "", false}, {"10.0.0.1", "10.0.0.1", true},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice host = {guard_place(*state, rows[i].host, strlen(rows[i].host)), strlen(rows[i].host)};

		if (route_host_matches(rows[i].pattern, host) != rows[i].matches)
			fail_msg("%s, %s: expected %d", rows[i].pattern, rows[i].host, rows[i].matches);
	}
	assert_false(route_host_matches("example.com", (struct slice){0}));
}

/* --- paths: the tables of the API's text --- */

static void paths_match(void **state)
{
	static const struct {
		enum path_type type;
		const char *path, *target;
		bool matches;
	} rows[] = {
		{PATH_PREFIX, "", "/", true}, {PATH_PREFIX, "", "/any/path", true}, {PATH_PREFIX, "/foo", "/foo", true},
		{PATH_PREFIX, "/foo", "/foo/", true}, {PATH_PREFIX, "/foo", "/foo/bar", true},
		{PATH_PREFIX, "/foo", "/foobar", false},
		{PATH_PREFIX, "/foo", "/Foo", false}, {PATH_PREFIX, "/foo", "/fo", false}, {PATH_PREFIX, "/foo", "/", false},
		{PATH_PREFIX, "/foo", "/bar/foo", false}, {PATH_PREFIX, "/foo", "/foo?bar", true},
		{PATH_PREFIX, "/foo", "/foo//", true},
		{PATH_PREFIX, "/aaa/bb", "/aaa/bbb", false}, {PATH_PREFIX, "/aaa/bbb", "/aaa/bbb/", true},
		{PATH_PREFIX, "/aaa/bbb", "/aaa/bbb/ccc", true}, {PATH_PREFIX, "/aaa/bbb", "/aaa/bbbxyz", false},
		{PATH_PREFIX, "/foo", "/%66oo", false}, {PATH_PREFIX, "/foo", "//foo", false},
		{PATH_PREFIX, "/foo", "/./foo", false},
		{PATH_EXACT, "/foo", "/foo", true}, {PATH_EXACT, "/foo", "/foo/", false}, {PATH_EXACT, "/foo/", "/foo", false},
		{PATH_EXACT, "/foo/", "/foo/", true}, {PATH_EXACT, "/foo", "/foo?x", true}, {PATH_EXACT, "/foo", "/FOO", false},
		{PATH_EXACT, "/", "/", true}, {PATH_EXACT, "/", "/x", false}, {PATH_EXACT, "/foo", "/foob", false},
		{PATH_REGEX, "/v[0-9]+/.*", "/v1/x", true}, {PATH_REGEX, "/v[0-9]+", "/v1/x", false},
		{PATH_REGEX, "v1", "/v1", false},
		{PATH_REGEX, "/foo|/foo/bar", "/foo/bar", true}, {PATH_REGEX, "/foo", "/foo?bar", true},
		{PATH_REGEX, "/foo.bar", "/foo?bar", false}, {PATH_EXACT, "/", "http://x", true},
		{PATH_PREFIX, "/foo", "http://x/foo/b", true},
	};
	struct arena arena = {0};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_match match = {.path_type = rows[i].type, .path = rows[i].path};
		char head[128];

		if (match.path_type == PATH_REGEX)
			match.path_regex = routes_regex(&arena, match.path);
		snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", rows[i].target);
		struct route_request request = request_of(*state, head);
		if (route_matches(&match, false, &request) != rows[i].matches)
			fail_msg("\"%s\", %s: expected %d", rows[i].path, rows[i].target, rows[i].matches);
	}
	arena_free(&arena);

	/* What has no path is taken by the prefix of everything alone. */
	static const char *const pathless[] = {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"};
	for (size_t i = 0; i < COUNT(pathless); i++) {
		struct route_request request = request_of(*state, pathless[i]);
		assert_true(route_matches(&(struct route_match){.path_type = PATH_PREFIX, .path = ""}, false, &request));
		assert_false(route_matches(&(struct route_match){.path_type = PATH_EXACT, .path = "/"}, false, &request));
		assert_false(route_matches(&(struct route_match){.path_type = PATH_PREFIX, .path = "/x"}, false, &request));
	}
}

static void methods_match(void **state)
{
	static const struct {
		const char *wanted, *method;
		bool matches;
	} rows[] = {{NULL, "GET", true}, {"GET", "GET", true}, {"GET", "HEAD", false}, {"PATCH", "PATCH", true},
	{"get", "GET", false},
	            {"GE", "GET", false}, {"OPTIONS", "OPTIONS", true}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_match match = {.path_type = PATH_PREFIX, .path = "", .method = rows[i].wanted};
		char head[128];

		snprintf(head, sizeof head, "%s / HTTP/1.1\r\nHost: x\r\n\r\n", rows[i].method);
		struct route_request request = request_of(*state, head);
		assert_int_equal(route_matches(&match, false, &request), rows[i].matches);
	}
}

/* --- headers and queries --- */

struct value_row {
	struct value_match wanted[2];
	const char *given;
	bool matches;
};

static void check_values(struct guard *guard, const struct value_row *rows, size_t count, bool queries)
{
	struct arena arena = {0};

	for (size_t i = 0; i < count; i++) {
		struct value_match wanted[2] = {rows[i].wanted[0], rows[i].wanted[1]};
		size_t wanted_count = wanted[1].name ? 2 : 1;
		struct route_match match = {.path_type = PATH_PREFIX, .path = ""};
		char head[512];

		for (size_t j = 0; j < wanted_count; j++)
			if (wanted[j].type == VALUE_REGEX)
				wanted[j].regex = routes_regex(&arena, wanted[j].value);
		*(queries ? &match.queries : &match.headers) = wanted;
		*(queries ? &match.query_count : &match.header_count) = wanted_count;
		snprintf(head, sizeof head, "GET /%s HTTP/1.1\r\nHost: x.y:80\r\n%s\r\n", queries ? rows[i].given : "",
		         queries ? "" : rows[i].given);
		struct route_request request = request_of(guard, head);
		if (route_matches(&match, false, &request) != rows[i].matches)
			fail_msg("%s %s in \"%s\": expected %d", wanted[0].name, wanted[0].value, rows[i].given, rows[i].matches);
	}
	arena_free(&arena);
}

static void headers_match(void **state)
{
	static const struct value_row rows[] = {
		{{{"version", VALUE_EXACT, "one"}}, "version: one\r\n", true},
		{{{"version", VALUE_EXACT, "one"}}, "VERSION:one \r\n", true},
		{{{"version", VALUE_EXACT, "one"}}, "version: One\r\n", false},
		{{{"version", VALUE_EXACT, "one"}}, "version: on\r\n", false},
		{{{"version", VALUE_EXACT, "one"}}, "version: ones\r\n", false}, {{{"version", VALUE_EXACT, "one"}}, "", false},
		{{{"version", VALUE_EXACT, "one"}}, "versions: one\r\n", false},
		{{{"version", VALUE_EXACT, "one"}}, "versio: one\r\n", false},
		/* of repeated lines any may be it, but none is taken apart or joined */
		{{{"version", VALUE_EXACT, "two"}}, "version: one\r\nversion: two\r\n", true},
		{{{"version", VALUE_EXACT, "three"}}, "version: one\r\nversion: two\r\n", false},
		{{{"version", VALUE_EXACT, "one"}}, "version: one, two\r\n", false},
		{{{"version", VALUE_EXACT, "one, two"}}, "version: one\r\nversion: two\r\n", false},
		{{{"version", VALUE_EXACT, "one"}, {"color", VALUE_EXACT, "blue"}}, "color: blue\r\nversion: one\r\n", true},
		{{{"version", VALUE_EXACT, "one"}, {"color", VALUE_EXACT, "blue"}}, "color: red\r\nversion: one\r\n", false},
		{{{"version", VALUE_REGEX, "v[0-9]+"}}, "version: v42\r\n", true},
		{{{"version", VALUE_REGEX, "v[0-9]+"}}, "version: v42x\r\n", false},
		{{{"version", VALUE_REGEX, "v1|v1x"}}, "version: v0\r\nversion: v1x\r\n", true},
		{{{"version", VALUE_REGEX, ".*"}}, "", false},
		{{{"version", VALUE_REGEX, ""}}, "version:\r\n", true}, {{{"host", VALUE_EXACT, "x.y:80"}}, "", true},
		{{{"host", VALUE_EXACT, "x.y"}}, "", false},
	};

	check_values(*state, rows, COUNT(rows), false);
}

static void queries_match(void **state)
{
	static const struct value_row rows[] = {
		{{{"animal", VALUE_EXACT, "whale"}}, "?animal=whale", true},
		{{{"animal", VALUE_EXACT, "whale"}}, "?animal=Whale", false},
		{{{"animal", VALUE_EXACT, "whale"}}, "?Animal=whale", false},
		{{{"animal", VALUE_EXACT, "whale"}}, "?a=b&animal=whale&c", true},
		{{{"animal", VALUE_EXACT, "whale"}}, "?animal=whales", false},
		{{{"animal", VALUE_EXACT, "whale"}}, "?animal=whal", false},
		{{{"animal", VALUE_EXACT, "whale"}}, "?animals=whale", false}, {{{"animal", VALUE_EXACT, "whale"}}, "", false},
		{{{"animal", VALUE_EXACT, "whale"}}, "?", false}, {{{"animal", VALUE_EXACT, "whale"}}, "?&&=&animal=whale", true},
		/* the first of a name counts */
		{{{"animal", VALUE_EXACT, "whale"}}, "?animal=whale&animal=dolphin", true},
		{{{"animal", VALUE_EXACT, "whale"}}, "?animal=dolphin&animal=whale", false},
		{{{"animal", VALUE_REGEX, "whale"}}, "?%61nimal=dolphin&animal=whale", false},
		{{{"a", VALUE_EXACT, ""}}, "?a", true}, {{{"a", VALUE_EXACT, ""}}, "?a=", true},
		{{{"a", VALUE_EXACT, ""}}, "?b", false},
		{{{"a", VALUE_EXACT, "x"}}, "?a", false}, {{{"a", VALUE_EXACT, "b=c"}}, "?a=b=c", true},
		{{{"a", VALUE_EXACT, "b;c"}}, "?a=b;c", true},
		/* form-decoding */
		{{{"a", VALUE_EXACT, "b c"}}, "?a=b+c", true}, {{{"a", VALUE_EXACT, "b c"}}, "?a=b%20c", true},
		{{{"a", VALUE_EXACT, "b+c"}}, "?a=b%2Bc", true},
		{{{"a", VALUE_EXACT, "b+c"}}, "?a=b+c", false}, {{{"a", VALUE_EXACT, "/x/"}}, "?a=%2fx%2F", true},
		{{{"a b", VALUE_EXACT, "c"}}, "?a+b=c", true}, {{{"a&b", VALUE_EXACT, "="}}, "?a%26b=%3D", true},
		{{{"a", VALUE_EXACT, "100%"}}, "?a=100%", true}, {{{"a", VALUE_EXACT, "%zz%4"}}, "?a=%zz%4", true},
		{{{"a", VALUE_EXACT, "%1"}}, "?a=%251", true},
		{{{"a", VALUE_EXACT, "\xc3\xa9"}}, "?a=%C3%a9", true}, {{{"a", VALUE_EXACT, "b"}}, "?a=b%00", false},
		{{{"a", VALUE_EXACT, ""}}, "?a=%00", false},
		{{{"a", VALUE_REGEX, "b c|b"}}, "?a=b+c", true}, {{{"a", VALUE_REGEX, "b c"}}, "?a=b+c+d", false},
		{{{"a", VALUE_REGEX, ""}}, "?a", true},
		{{{"a", VALUE_REGEX, "b."}}, "?a=b%00", true}, {{{"a", VALUE_REGEX, "b|c"}}, "?a=d&a=b", false},
		{{{"a", VALUE_EXACT, "1"}, {"b", VALUE_EXACT, "2"}}, "?b=2&a=1", true},
		{{{"a", VALUE_EXACT, "1"}, {"b", VALUE_EXACT, "2"}}, "?b=3&a=1", false},
	};

	check_values(*state, rows, COUNT(rows), true);
}

static void grpc_matches(void **state)
{
	static const struct {
		const char *service, *method, *line;
		bool matches;
	} rows[] = {
		{NULL, NULL, "POST /pkg.Echo/Say", true}, {"pkg.Echo", NULL, "POST /pkg.Echo/Say", true},
		{NULL, "Say", "POST /pkg.Echo/Say", true},
		{"pkg.Echo", "Say", "POST /pkg.Echo/Say", true}, {"pkg.Echo", "Say", "POST /pkg.Echo/say", false},
		{"pkg.Echo", "Say", "POST /pkg.echo/Say", false}, {"pkg.Echo", "Shout", "POST /pkg.Echo/Say", false},
		{"Echo", "Say", "POST /pkg.Echo/Say", false}, {NULL, NULL, "GET /pkg.Echo/Say", false},
		{NULL, NULL, "POST /pkg.Echo", false},
		{NULL, NULL, "POST /pkg.Echo/", false}, {NULL, NULL, "POST //Say", false},
		{NULL, NULL, "POST /pkg.Echo/Say/", false},
		{NULL, NULL, "POST /a/b/c", false}, {NULL, NULL, "POST /", false}, {NULL, NULL, "POST /pkg.Echo/Say?x", true},
		{NULL, NULL, "POST http://x/pkg.Echo/Say", true}, {NULL, NULL, "OPTIONS *", false},
		{"~[a-z.]+Echo", NULL, "POST /pkg.Echo/Say", true}, {"~Echo", NULL, "POST /pkg.Echo/Say", false},
		{NULL, "~S.*", "POST /pkg.Echo/Say", true}, {NULL, "~S", "POST /pkg.Echo/Say", false},
	};
	static const struct value_match header = {"n", VALUE_EXACT, "v"};
	struct arena arena = {0};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct route_match match = {.grpc_service = rows[i].service, .grpc_method = rows[i].method};
		char head[128];

		if (match.grpc_service && *match.grpc_service == '~')
			match.grpc_service_regex = routes_regex(&arena, ++match.grpc_service);
		if (match.grpc_method && *match.grpc_method == '~')
			match.grpc_method_regex = routes_regex(&arena, ++match.grpc_method);
		snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: x\r\n\r\n", rows[i].line);
		struct route_request request = request_of(*state, head);
		if (route_matches(&match, true, &request) != rows[i].matches)
			fail_msg("%s/%s, %s: expected %d", rows[i].service, rows[i].method, rows[i].line, rows[i].matches);
		match.headers = &header;
		match.header_count = 1;
		assert_false(route_matches(&match, true, &request));
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_targets_and_hosts), cmocka_unit_test(reads_fields),  cmocka_unit_test(hostnames_match),
		cmocka_unit_test(paths_match),             cmocka_unit_test(methods_match), cmocka_unit_test(headers_match),
		cmocka_unit_test(queries_match),           cmocka_unit_test(grpc_matches),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
