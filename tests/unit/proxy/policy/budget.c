#include "proxy/policy/budget.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int withdraw_all(struct budget *budget, int64_t now_ms, int most)
{
	int taken = 0;

	while (taken < most && budget_withdraw(budget, now_ms))
		taken++;
	return taken;
}

/* What `deposits` first attempts at one instant make possible there. */
static void gives(void **state)
{
	static const struct {
		struct retry_budget terms;
		int deposits, tokens;
	} rows[] = {
	    {{0.2, 10, 10000, true}, 0, 100},  {{0.2, 10, 10000, true}, 5, 101},  {{0.2, 10, 10000, true}, 4, 100},
	    {{0.2, 0, 10000, true}, 0, 0},     {{0.2, 0, 10000, true}, 4, 0},     {{0.2, 0, 10000, true}, 5, 1},
	    {{0.2, 0, 10000, true}, 1000, 200}, {{1, 0, 1000, true}, 7, 7},        {{0, 0, 10000, true}, 1000, 0},
	    {{0, 1, 60000, true}, 9, 60},      {{1000, 0, 1000, true}, 2, 2000},   {{2.5, 0, 1000, true}, 3, 7},
	    {{0.2, 1, 1500, true}, 0, 1},      {{0.2, 1, 1500, true}, 3, 2},
	    /* thousandths, halves up */
	    {{0.0005, 0, 1000, true}, 1000, 1}, {{0.0004, 0, 1000, true}, 3000, 0}, {{0.29, 0, 1000, true}, 100, 29},
	    {{1.0 / 3, 0, 1000, true}, 1000, 333},
	    {{0.2, 10, 10000, false}, 100, 0}, {{0.2, 10, 0, false}, 100, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct budget *budget = budget_new(&rows[i].terms, 5000);
		for (int n = 0; n < rows[i].deposits; n++)
			budget_deposit(budget, 5000);
		int taken = withdraw_all(budget, 5000, 5000);
		if (taken != rows[i].tokens)
			fail_msg("row %zu: %d tokens instead of %d", i, taken, rows[i].tokens);
		budget_unref(budget);
	}
}

/* The time a payment and a withdrawal count for, from the start of a tenth of the ttl and from its end. */
static void forgets(void **state)
{
	static const struct retry_budget terms = {1, 0, 10000, true}, reserve = {0, 1, 10000, true}, odd = {1, 0, 1001, true};
	static const struct {
		const struct retry_budget *terms;
		int64_t paid_ms, asked_ms;
		bool there;
	} rows[] = {
	    {&terms, 50000, 50000, true},  {&terms, 50000, 50999, true},  {&terms, 50000, 59999, true},  {&terms, 50000, 60000,
	    false},
	    {&terms, 50999, 59999, true},  {&terms, 50999, 60000, false}, {&terms, 50000, 70000, false},
	    {&terms, 50000, INT64_MAX, false},
	    {&odd, 1010, 2019, true},      {&odd, 1010, 2020, false},
	    /* another worker's clock is a little behind, or far */
	    {&terms, 50000, 49999, true},  {&terms, 50000, 0, true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct budget *budget = budget_new(rows[i].terms, 0);
		budget_deposit(budget, rows[i].paid_ms);
		if (budget_withdraw(budget, rows[i].asked_ms) != rows[i].there)
			fail_msg("row %zu", i);
		if (budget_withdraw(budget, rows[i].asked_ms))
			fail_msg("row %zu: taken twice", i);
		budget_unref(budget);

		budget = budget_new(&reserve, 0);
		assert_int_equal(withdraw_all(budget, 50000, 1000), 10);
		assert_int_equal(withdraw_all(budget, 59999, 1000), 0);
		assert_int_equal(withdraw_all(budget, 60000, 1000), 10);
		budget_unref(budget);
	}
}

/* Taken from a slot that is used anew: the old tenth is gone, the others stay. */
static void slots_are_used_anew(void **state)
{
	static const struct retry_budget terms = {1, 0, 1000, true};
	struct budget *budget = budget_new(&terms, 0);

	for (int64_t now = 0; now < 5000; now += 100)
		budget_deposit(budget, now);
	assert_int_equal(withdraw_all(budget, 4900, 100), 10);
	budget_deposit(budget, 5000);
	/* the ten taken at 4900 weigh on what is left of the ten paid before */
	assert_int_equal(withdraw_all(budget, 5000, 100), 0);
	assert_int_equal(withdraw_all(budget, 5900, 100), 1);
	budget_unref(budget);
}

static void clock_jumps(void **state)
{
	static const struct retry_budget terms = {1, 1, 1000, true};
	static const int64_t jumps[] = {0, 100, 999, 1000, 123456789, INT64_MAX / 2, INT64_MAX, 0, INT64_MAX, 17};
	struct budget *budget = budget_new(&terms, 0);

	for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
		budget_deposit(budget, jumps[i]);
		int taken = withdraw_all(budget, jumps[i], 1000);
		/* One was paid in just now and one is always there; no jump makes more of it than all that was paid. */
		if (taken > 2 + (int)i)
			fail_msg("jump %zu: %d", i, taken);
	}
	assert_int_equal(withdraw_all(budget, INT64_MAX, 1000), 0);
	budget_unref(budget);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *pays_and_takes(void *argument)
{
	struct budget *budget = argument;
	intptr_t taken = 0;

	for (int64_t i = 0; i < ROUNDS; i++) {
		budget_deposit(budget, i / 100);
		taken += budget_withdraw(budget, i / 100);
	}
	return (void *)taken;
}

/* Within one ttl, so that nothing is forgotten: what races gain or lose is nothing to speak of. */
static void workers_share_it(void **state)
{
	static const struct retry_budget terms = {0.5, 0, 1000, true};
	struct budget *budget;
	pthread_t threads[THREADS];
	intptr_t taken = 0;

	budget = budget_new(&terms, 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, pays_and_takes, budget), 0);
	for (int i = 0; i < THREADS; i++) {
		void *result;
		assert_int_equal(pthread_join(threads[i], &result), 0);
		taken += (intptr_t)result;
	}
	assert_in_range(taken, THREADS * ROUNDS / 2 - 100, THREADS * ROUNDS / 2 + 100);
	budget_unref(budget);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(gives),
	    cmocka_unit_test(forgets),
	    cmocka_unit_test(slots_are_used_anew),
	    cmocka_unit_test(clock_jumps),
	    cmocka_unit_test(workers_share_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
