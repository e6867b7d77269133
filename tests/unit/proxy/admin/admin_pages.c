#include "proxy/admin/admin_pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static struct slice slice(const char *text)
{
	return (struct slice){(const uint8_t *)text, strlen(text)};
}

static void parameters_are_found_and_decoded(void **state)
{
	static const struct {
		const char *query, *body, *name, *value; /* value NULL: it is not there */
	} rows[] = {
	    {"a=1&b=2", "", "a", "1"},          {"a=1&b=2", "", "b", "2"},       {"a=1&b=2", "", "c", NULL},
	    {"", "a=1\r\n", "a", "1"},          {"a=1", "a=2", "a", "1"},        {"&&a=&b", "", "a", ""},
	    {"b&a", "", "a", ""},               {"ab=1", "", "a", NULL},         {"a=x%2Fy+z", "", "a", "x/y z"},
	    {"a=%5B::1%5d:80", "", "a", "[::1]:80"}, {"a=%", "", "a", "%"},      {"a=%4", "", "a", "%4"},
	    {"a=%zz", "", "a", "%zz"},          {"a=b=c", "", "a", "b=c"},       {"=1", "", "a", NULL},
	    {"a=%41", "", "a", "A"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct admin_call call = {.query = slice(rows[i].query), .body = slice(rows[i].body)};
		TEXT_ON_STACK(value, 32);

		assert_int_equal(admin_pages_parameter(&call, rows[i].name, &value), rows[i].value != NULL);
		assert_string_equal(value_bytes, rows[i].value ? rows[i].value : "");
	}
}

static void what_does_not_fit_says_so(void **state)
{
	struct admin_call call = {.query = slice("a=0123456789")};
	TEXT_ON_STACK(value, 8);

	assert_true(admin_pages_parameter(&call, "a", &value));
	assert_true(value.truncated);
}

static void fields_are_found(void **state)
{
	struct admin_call call = {.fields = slice("GET / HTTP/1.1\r\nHost: accept\r\nAccept: text/html, application/json\r\nX-Accept: b\r\n\r\n")};

	assert_true(admin_pages_field_has(&call, "accept", "application/json"));
	assert_false(admin_pages_field_has(&call, "accept", "openmetrics"));
	assert_false(admin_pages_field_has(&call, "origin", ""));
	assert_true(admin_pages_field_has(&call, "host", ""));
}

static void bodies_come_whole_or_not_at_all(void **state)
{
	struct admin_answer answer = {0};
	FILE *out = admin_pages_open(&answer);

	assert_non_null(out);
	fputs("twelve bytes", out);
	admin_pages_close(&answer, out, 200, "text/html");
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer.length, 12);
	assert_memory_equal(answer.body, "twelve bytes", 12);
	admin_pages_close(&answer, NULL, 200, "text/html");
	assert_int_equal(answer.status, 503);
	assert_int_equal(answer.length, 0);
	assert_null(answer.body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parameters_are_found_and_decoded),
	    cmocka_unit_test(what_does_not_fit_says_so),
	    cmocka_unit_test(fields_are_found),
	    cmocka_unit_test(bodies_come_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
