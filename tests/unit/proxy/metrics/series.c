#include "proxy/metrics/series.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void numbers_stay(void **state)
{
	struct series *series = series_new();
	char name[] = "HTTPRoute a/b rule 0";
	unsigned first = series_number(series, SERIES_ROUTE, name);

	assert_int_equal(first, SERIES_FIRST);
	name[0] = 'X'; /* it was copied */
	assert_int_equal(series_number(series, SERIES_ROUTE, name), first + 1);
	assert_int_equal(series_number(series, SERIES_ROUTE, "HTTPRoute a/b rule 0"), first);
	assert_int_equal(series_number(series, SERIES_SERVICE, "HTTPRoute a/b rule 0"), SERIES_FIRST); /* kinds are apart */
	assert_int_equal(series_end(series, SERIES_ROUTE), SERIES_FIRST + 2);
	assert_string_equal(series_label(series, SERIES_ROUTE, first), "HTTPRoute a/b rule 0");
	assert_int_equal(series_number(series, SERIES_ROUTE, NULL), SERIES_NONE);
	assert_int_equal(series_number(NULL, SERIES_ROUTE, "a"), SERIES_NONE);
	assert_string_equal(series_label(series, SERIES_ROUTE, SERIES_NONE), "none");
	assert_string_equal(series_label(series, SERIES_ROUTE, SERIES_OTHER), "other");
	series_free(series);
}

static void labels_are_escaped(void **state)
{
	struct series *series = series_new();

	assert_string_equal(series_label(series, SERIES_ROUTE, series_number(series, SERIES_ROUTE, "a\"b\\c\nd\t\xc3\xa4")),
	                    "a\\\"b\\\\c\\nd\t\xc3\xa4");
	series_free(series);
}

static void names_are_capped(void **state)
{
	struct series *series = series_new();
	char name[32], longest[SERIES_NAME_MOST + 2];

	memset(longest, '"', sizeof longest);
	longest[SERIES_NAME_MOST + 1] = '\0';
	assert_int_equal(series_number(series, SERIES_ROUTE, longest), SERIES_OTHER);
	longest[SERIES_NAME_MOST] = '\0';
	assert_int_equal(series_number(series, SERIES_ROUTE, longest), SERIES_FIRST);
	assert_int_equal(strlen(series_label(series, SERIES_ROUTE, SERIES_FIRST)), 2 * SERIES_NAME_MOST);
	for (unsigned i = 1; i < SERIES_MOST; i++) {
		snprintf(name, sizeof name, "route %u", i);
		assert_int_equal(series_number(series, SERIES_ROUTE, name), SERIES_FIRST + i);
	}
	assert_int_equal(series_number(series, SERIES_ROUTE, "one more"), SERIES_OTHER);
	assert_int_equal(series_number(series, SERIES_ROUTE, "route 7"), SERIES_FIRST + 7);
	assert_int_equal(series_end(series, SERIES_ROUTE), SERIES_END);
	assert_int_equal(series_number(series, SERIES_SERVICE, "a/b"), SERIES_FIRST);
	series_free(series);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_stay),
	    cmocka_unit_test(labels_are_escaped),
	    cmocka_unit_test(names_are_capped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
