/* The causes; what an end does to sockets is seen from outside (tests/e2e). */
#include "proxy/connection/cause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void causes_carry_their_row(void **state)
{
	for (int id = REASON_NONE; id < REASON_COUNT; id++) {
		struct cause cause = cause_of((enum reason_id)id);

		assert_int_equal(cause.reason, id);
		assert_int_equal(cause.by, reason_row((enum reason_id)id)->by);
		assert_int_equal(cause.timer, TIMEOUT_NONE);
		assert_int_equal(cause.status, 0);
		assert_false(cause.answered);
	}
}

static void the_side_that_acted_is_kept(void **state)
{
	for (int id = REASON_NONE; id < REASON_COUNT; id++)
		for (int by = BY_CLIENT; by < BY_PEER; by++) {
			struct cause cause = cause_by((enum reason_id)id, (enum reason_by)by);

			assert_int_equal(cause.reason, id);
			assert_int_equal(cause.by, by);
			assert_int_equal(cause.timer, TIMEOUT_NONE);
			assert_int_equal(cause.status, 0);
			assert_false(cause.answered);
		}
}

static void the_timer_is_kept(void **state)
{
	for (int timer = 0; timer < TIMEOUT_COUNT; timer++) {
		enum reason_id reason = timeouts_reason((enum timeout_id)timer);
		struct cause cause = cause_timer(reason, (enum timeout_id)timer);

		assert_int_equal(cause.reason, reason);
		assert_int_equal(cause.by, reason_row(reason)->by);
		assert_int_equal(cause.timer, timer);
		assert_int_equal(cause.status, 0);
		assert_false(cause.answered);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(causes_carry_their_row),
	    cmocka_unit_test(the_side_that_acted_is_kept),
	    cmocka_unit_test(the_timer_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
