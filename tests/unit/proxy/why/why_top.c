#include "proxy/why/why_top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add(struct why_top *top, const char *name, uint64_t times)
{
	why_top_add(top, (struct why_slice){name, strlen(name)}, times);
}

static void counts_names(void **state)
{
	const struct why_place *places[WHY_TOP_PLACES];
	struct why_top top = {0};

	assert_int_equal(why_top_list(&top, places), 0);
	add(&top, "b", 1);
	add(&top, "a", 1);
	add(&top, "ab", 3);
	add(&top, "a", 1);
	assert_int_equal(why_top_list(&top, places), 3);
	assert_string_equal(places[0]->name, "ab");
	assert_string_equal(places[1]->name, "a");
	assert_string_equal(places[2]->name, "b");
	assert_int_equal(top.total, 6);
}

/* What is said of a name is never more than there was, and a frequent one is always there. */
static void is_never_too_high(void **state)
{
	const struct why_place *places[WHY_TOP_PLACES];
	struct why_top top = {0};
	uint64_t often = 0;
	bool there = false;

	for (int i = 0; i < 5000; i++) {
		char name[16];

		snprintf(name, sizeof name, "n%d", i);
		add(&top, name, 1);
		if (i % 3 == 0) {
			add(&top, "often", 1);
			often++;
		}
	}
	for (size_t i = 0, count = why_top_list(&top, places); i < count; i++) {
		uint64_t certain = places[i]->count - places[i]->error;

		there |= strcmp(places[i]->name, "often") == 0;
		assert_true(certain <= (strcmp(places[i]->name, "often") == 0 ? often : 1));
	}
	assert_true(there);
	assert_int_equal(top.total, 5000 + often);
}

static void cuts_names(void **state)
{
	const struct why_place *places[WHY_TOP_PLACES];
	struct why_top top = {0};
	char name[2 * WHY_NAME_SIZE];

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	add(&top, name, 1);
	add(&top, name, 1);
	assert_int_equal(why_top_list(&top, places), 1);
	assert_int_equal(strlen(places[0]->name), WHY_NAME_SIZE - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_names),
	    cmocka_unit_test(is_never_too_high),
	    cmocka_unit_test(cuts_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
