#include "proxy/http1/http1_field.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/proxy/guard.h"

/* Names of every length, in every case, with every byte changed once; where memory ends, nothing behind is read. */
static void names(void **state)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz";
	char word[sizeof alphabet], mixed[sizeof alphabet];

	for (size_t length = 0; length < sizeof alphabet; length++) {
		struct slice name = {(const uint8_t *)mixed, length};

		memcpy(word, alphabet, length);
		word[length] = '\0';
		for (size_t i = 0; i < length; i++)
			mixed[i] = (char)(i % 3 ? word[i] : word[i] - 'a' + 'A');
		name.bytes = guard_place(*state, mixed, length);
		assert_true(http1_is(name, word));
		for (size_t i = 0; i < length; i++) {
			char right = mixed[i];

			mixed[i] = '-';
			name.bytes = guard_place(*state, mixed, length);
			assert_false(http1_is(name, word));
			mixed[i] = right;
		}
		name.bytes = guard_place(*state, mixed, length);
		name.length = length ? length - 1 : 1;
		assert_false(http1_is(name, word));
	}
}

static void accepts_text(void **state)
{
	static const struct {
		const char *value;
		bool text;
	} rows[] = {
	    {"*/*", true},
	    {"application/json, */*;q=0.1", true},
	    {"TEXT/html", true},
	    {"image/png,text/plain", true},
	    {"image/*", false},
	    {"*/", false},
	    {"", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(http1_allows_text((struct slice){guard_place(*state, rows[i].value, strlen(rows[i].value)), strlen(rows[i].value)}),
		                 rows[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names),
	    cmocka_unit_test(accepts_text),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
