#include "proxy/why/why_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct value {
	struct why_weighed weighed;
	char *owned;
};

static void release(void *value)
{
	free(((struct value *)value)->owned);
}

static struct value *count(struct why_table *table, const char *key, size_t length, uint64_t weight)
{
	struct value *value = why_table_at(table, key, length);

	assert_non_null(value);
	if (!value->owned)
		value->owned = strndup(key, length);
	value->weighed.weight += weight;
	value->weighed.count++;
	return value;
}

static void counts_by_key(void **state)
{
	struct why_table table;
	void *values[4];

	assert_int_equal(why_table_new(&table, 16, sizeof(struct value), release), 0);
	count(&table, "a\0b", 3, 1);
	count(&table, "a\0c", 3, 5);
	count(&table, "a\0b", 3, 1);
	count(&table, "", 0, 3);
	assert_int_equal(table.count, 3);
	assert_int_equal(why_table_list(&table, values, 4), 3);
	assert_int_equal(((struct value *)values[0])->weighed.weight, 5);
	assert_int_equal(((struct value *)values[1])->weighed.weight, 3);
	assert_int_equal(((struct value *)values[2])->weighed.count, 2);
	assert_int_equal(why_table_list(&table, values, 1), 1);
	why_table_free(&table);
}

/* Of many keys the heavy ones stay, and what the others had is known: nothing is lost from the sums. */
static void stays_bounded(void **state)
{
	enum { MOST = 64, KEYS = 20000 };
	struct why_table table;
	void *values[MOST];
	uint64_t weight = 0, times = 0;
	size_t listed;

	assert_int_equal(why_table_new(&table, MOST, sizeof(struct value), release), 0);
	for (int i = 0; i < KEYS; i++) {
		char key[32];

		count(&table, key, (size_t)snprintf(key, sizeof key, "light %d", i), 1);
		if (i % 10 == 0)
			count(&table, key, (size_t)snprintf(key, sizeof key, "heavy %d", i / 10 % 8), 7);
		assert_true(table.count <= MOST);
	}
	listed = why_table_list(&table, values, MOST);
	for (size_t i = 0; i < listed; i++) {
		const struct value *value = values[i];

		weight += value->weighed.weight;
		times += value->weighed.count;
		if (i < 8) {
			assert_memory_equal(value->owned, "heavy", 5);
			assert_int_equal(value->weighed.count, KEYS / 10 / 8);
		}
	}
	assert_int_equal(weight + table.others.weight, KEYS + KEYS / 10 * 7);
	assert_int_equal(times + table.others.count, KEYS + KEYS / 10);
	assert_int_equal(table.others.keys, KEYS + 8 - listed);
	why_table_free(&table);
}

/* Keys that agree as far as they are kept are one. */
static void cuts_keys(void **state)
{
	static char key[WHY_KEY_MOST + 10];
	struct why_table table;

	assert_int_equal(why_table_new(&table, 16, sizeof(struct value), release), 0);
	memset(key, 'k', sizeof key);
	count(&table, key, WHY_KEY_MOST, 1);
	assert_int_equal(count(&table, key, sizeof key, 1)->weighed.count, 2);
	assert_int_equal(count(&table, key, WHY_KEY_MOST - 1, 1)->weighed.count, 1);
	why_table_free(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_by_key),
	    cmocka_unit_test(stays_bounded),
	    cmocka_unit_test(cuts_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
