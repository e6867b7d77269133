#include "proxy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/timeouts.h"
#include "proxy/options.h"
#include "proxy/origin.h"

static void unset_is_built_in(void **state)
{
	struct settings settings = {0};
	struct policy *policy;
	const struct timeouts *timeouts;

	timeouts_init_unset(&settings.timeouts);
	policy = policy_new(&settings);
	assert_non_null(policy);
	timeouts = policy_timeouts(policy, NULL);
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		assert_int_equal(timeouts->of[id].milliseconds, timeouts_default(id));
		assert_string_equal(timeouts->of[id].source, "built-in");
	}
	policy_free(policy);
}

/* Each timeout alone, also to 0: it replaces the built-in one and no other, and its source goes with it. */
static void what_is_set_wins(void **state)
{
	static const int64_t values[] = {0, 1, 123456789};

	for (int id = 0; id < TIMEOUT_COUNT; id++)
		for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
			struct settings settings = {0};
			struct policy *policy;
			const struct timeouts *timeouts;

			timeouts_init_unset(&settings.timeouts);
			settings.timeouts.of[id] = (struct timeout_value){values[i], "flag --x"};
			policy = policy_new(&settings);
			assert_non_null(policy);
			timeouts = policy_timeouts(policy, NULL);
			for (int other = 0; other < TIMEOUT_COUNT; other++) {
				assert_int_equal(timeouts->of[other].milliseconds,
				                 other == id ? values[i] : timeouts_default(other));
				assert_string_equal(timeouts->of[other].source, other == id ? "flag --x" : "built-in");
			}
			assert_int_equal(settings.timeouts.of[id].milliseconds, values[i]); /* the level itself is left alone */
			policy_free(policy);
		}
}

static void both_directions_have_the_same(void **state)
{
	const struct origin in = {.direction = DIRECTION_INBOUND}, out = {.direction = DIRECTION_OUTBOUND};
	struct settings settings = {0};
	struct policy *policy;

	timeouts_init_unset(&settings.timeouts);
	policy = policy_new(&settings);
	assert_non_null(policy);
	assert_memory_equal(policy_timeouts(policy, &in), policy_timeouts(policy, &out), sizeof(struct timeouts));
	policy_free(policy);
	policy_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unset_is_built_in),
	    cmocka_unit_test(what_is_set_wins),
	    cmocka_unit_test(both_directions_have_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
