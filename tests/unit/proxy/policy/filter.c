#include "proxy/policy/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static struct slice slice(const char *text)
{
	return (struct slice){(const uint8_t *)text, strlen(text)};
}

static void paths(void **state)
{
	static const struct {
		enum path_rewrite how;
		const char *prefix, *value, *path, *expected;
	} rows[] = {
	    /* the table of HTTPPathModifier; a prefix is read without its trailing '/' */
	    {PATH_REPLACE_PREFIX, "/foo", "/xyz", "/foo/bar", "/xyz/bar"},
	    {PATH_REPLACE_PREFIX, "/foo", "/xyz/", "/foo/bar", "/xyz/bar"},
	    {PATH_REPLACE_PREFIX, "/foo", "/xyz", "/foo", "/xyz"},
	    {PATH_REPLACE_PREFIX, "/foo", "/xyz/", "/foo", "/xyz"},
	    {PATH_REPLACE_PREFIX, "/foo", "/xyz", "/foo/", "/xyz/"},
	    {PATH_REPLACE_PREFIX, "/foo", "/xyz/", "/foo/", "/xyz/"},
	    {PATH_REPLACE_PREFIX, "/foo", "", "/foo/bar", "/bar"},
	    {PATH_REPLACE_PREFIX, "/foo", "", "/foo/", "/"},
	    {PATH_REPLACE_PREFIX, "/foo", "", "/foo", "/"},
	    {PATH_REPLACE_PREFIX, "/foo", "/", "/foo/bar", "/bar"},
	    {PATH_REPLACE_PREFIX, "/foo", "/", "/foo/", "/"},
	    {PATH_REPLACE_PREFIX, "/foo", "/", "/foo", "/"},
	    /* beside it */
	    {PATH_REPLACE_PREFIX, "", "/xyz", "/", "/xyz/"},
	    {PATH_REPLACE_PREFIX, "", "/xyz", "/a", "/xyz/a"},
	    {PATH_REPLACE_PREFIX, "", "/", "/a", "/a"},
	    {PATH_REPLACE_PREFIX, "/foo", "xyz//", "/foo/a", "/xyz/a"},
	    {PATH_REPLACE_PREFIX, "/foo", "/xyz", "/foo//a", "/xyz//a"},
	    {PATH_REPLACE_PREFIX, "/foo", "/x%20y", "/foo/%2F", "/x%20y/%2F"},
	    {PATH_REPLACE_PREFIX, "/foo", "/x?y#z", "/foo/a", "/x%3Fy%23z/a"},
	    {PATH_REPLACE_PREFIX, "/foo", "/x y\r\nA: b", "/foo/\x01\xff", "/x%20y%0D%0AA:%20b/%01%FF"},
	    {PATH_REPLACE_FULL, "/foo", "/xyz", "/foo/bar", "/xyz"},
	    {PATH_REPLACE_FULL, "/foo", "/xyz/", "/foo/bar", "/xyz/"},
	    {PATH_REPLACE_FULL, "/foo", "", "/foo/bar", "/"},
	    {PATH_REPLACE_FULL, "/foo", "xyz", "/foo/bar", "/xyz"},
	    {PATH_REPLACE_FULL, NULL, "/xyz\x7f", "/foo/bar", "/xyz%7F"},
	    {PATH_KEEP, "/foo", NULL, "/foo/bar", "/foo/bar"},
	    {PATH_KEEP, "/foo", NULL, "", ""},
	    /* no prefix, nothing to replace; refused when it is read */
	    {PATH_REPLACE_PREFIX, NULL, "/xyz", "/foo/bar", "/foo/bar"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct route_match match = {.path_type = rows[i].prefix ? PATH_PREFIX : PATH_EXACT,
		                                  .path = rows[i].prefix ? rows[i].prefix : "/foo/bar"};
		TEXT_ON_STACK(out, 128);

		filter_path(rows[i].how, rows[i].value, &match, slice(rows[i].path), &out);
		if (strcmp(out_bytes, rows[i].expected) != 0 || out.truncated)
			fail_msg("row %zu: %s instead of %s", i, out_bytes, rows[i].expected);
	}
}

static void locations(void **state)
{
	static const struct {
		struct redirect redirect;
		const char *host;
		uint16_t service_port;
		const char *path, *query, *expected;
	} rows[] = {
	    /* host and scheme */
	    {{.hostname = "b.example"}, "web", 80, "/foo", "", "http://b.example/foo"},
	    {{.hostname = "b.example"}, "web", 80, "/foo", "a=1&b", "http://b.example/foo?a=1&b"},
	    {{.scheme = "https"}, "web", 80, "/", "", "https://web/"},
	    {{.scheme = "http"}, "web", 8080, "/", "", "http://web/"},
	    {{0}, "[2001:db8::1]", 8080, "/", "", "http://[2001:db8::1]:8080/"},
	    /* port: the filter's, that of the filter's scheme, the Service's */
	    {{.port = 8443}, "web", 80, "/", "", "http://web:8443/"},
	    {{.port = 80}, "web", 8080, "/", "", "http://web/"},
	    {{.port = 443}, "web", 8080, "/", "", "http://web:443/"},
	    {{.scheme = "https", .port = 443}, "web", 8080, "/", "", "https://web/"},
	    {{.scheme = "https", .port = 80}, "web", 8080, "/", "", "https://web:80/"},
	    {{.scheme = "https", .port = 8443}, "web", 8080, "/", "", "https://web:8443/"},
	    {{.scheme = "https"}, "web", 8080, "/", "", "https://web/"},
	    {{.scheme = "ftp"}, "web", 8080, "/", "", "ftp://web:8080/"},
	    {{0}, "web", 8080, "/", "", "http://web:8080/"},
	    {{0}, "web", 80, "/", "", "http://web/"},
	    {{0}, "web", 443, "/", "", "http://web:443/"},
	    {{0}, "web", 0, "/", "", "http://web/"},
	    /* path and query */
	    {{.path = PATH_REPLACE_FULL, .path_value = "/xyz"}, "web", 80, "/foo/bar", "q", "http://web/xyz"},
	    {{.path = PATH_REPLACE_PREFIX, .path_value = "/xyz"}, "web", 80, "/foo/bar", "q", "http://web/xyz/bar?q"},
	    {{.path = PATH_REPLACE_PREFIX, .path_value = "/"}, "web", 80, "/foo", "q", "http://web/?q"},
	    {{0}, "web", 80, "", "", "http://web"},
	    /* what a client may send */
	    {{0}, "a/b?c#d@e\\f\r\n", 80, "/\r\nX: y", "\n#", "http://a%2Fb%3Fc%23d%40e%5Cf%0D%0A/%0D%0AX:%20y?%0A%23"},
	    {{0}, "", 80, "/foo", "q", "/./foo?q"},
	    {{.scheme = "https"}, "", 80, "//evil", "", "/.//evil"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct route_match match = {.path_type = PATH_PREFIX, .path = "/foo"};
		const struct route_request request = {
		    .host = slice(rows[i].host), .path = slice(rows[i].path), .query = slice(rows[i].query), .host_port = 99};
		TEXT_ON_STACK(out, 128);

		filter_location(&rows[i].redirect, &match, &request, rows[i].service_port, &out);
		if (strcmp(out_bytes, rows[i].expected) != 0 || out.truncated)
			fail_msg("row %zu: %s instead of %s", i, out_bytes, rows[i].expected);
	}
}

static void what_does_not_fit_is_cut(void **state)
{
	const struct route_match match = {.path_type = PATH_PREFIX, .path = ""};
	const struct redirect redirect = {.hostname = "b.example"};
	const struct route_request request = {.path = slice("/a b c d"), .query = slice("q")};

	for (size_t size = 1; size < sizeof "http://b.example/a%20b%20c%20d?q"; size++) {
		char bytes[64];
		struct text out;

		text_init(&out, bytes, size);
		filter_location(&redirect, &match, &request, 80, &out);
		assert_true(out.truncated);
		assert_true(out.length < size && bytes[out.length] == '\0');
		text_init(&out, bytes, size);
		filter_path(PATH_REPLACE_PREFIX, "/0123456789012345678901234567890", &match, request.path, &out);
		assert_true(out.truncated);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(paths),
	    cmocka_unit_test(locations),
	    cmocka_unit_test(what_does_not_fit_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
