#include "lib/conntrack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void names_go_both_ways(void **state)
{
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++)
		assert_int_equal(conntrack_state_find(conntrack_state_name((enum conntrack_state)i)), i);
	assert_string_equal(conntrack_state_name(CONNTRACK_CLOSE_WAIT), "close_wait");
	assert_string_equal(conntrack_state_name(CONNTRACK_UNACK), "unack");
	assert_int_equal(conntrack_state_find("CLOSE_WAIT"), CONNTRACK_STATE_COUNT);
	assert_int_equal(conntrack_state_find(""), CONNTRACK_STATE_COUNT);
}

static void what_has_no_file_is_absent(void **state)
{
	uint32_t seconds = 7;
	uint64_t value = 7;

	assert_int_equal(conntrack_timeout_read(CONNTRACK_SYN_SENT2, &seconds), -ENOENT);
	assert_int_equal(conntrack_timeout_write(CONNTRACK_SYN_SENT2, 5), -ENOENT);
	assert_int_equal(conntrack_setting_read("no_such_setting", &value), -ENOENT);
	assert_int_equal(seconds, 7);
	assert_int_equal(value, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_go_both_ways),
		cmocka_unit_test(what_has_no_file_is_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
