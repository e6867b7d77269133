#include "proxy/policy/budget.h"

#include <stddef.h>
#include <stdlib.h>

enum { TOKEN = 1000 };

static int64_t budget_tenth(const struct budget *budget, int64_t now_ms)
{
	return now_ms / ((budget->terms.ttl_ms + BUDGET_SLOTS - 1) / BUDGET_SLOTS);
}

struct budget *budget_new(const struct retry_budget *terms, int64_t now_ms)
{
	struct budget *budget = malloc(sizeof *budget);

	if (!budget)
		return NULL;
	atomic_init(&budget->users, 1);
	budget->terms = *terms;
	for (int i = 0; i < BUDGET_SLOTS; i++) {
		atomic_init(&budget->slots[i], 0);
		atomic_init(&budget->slot_times[i], terms->usable ? budget_tenth(budget, now_ms) : 0);
	}
	return budget;
}

struct budget *budget_ref(struct budget *budget)
{
	atomic_fetch_add_explicit(&budget->users, 1, memory_order_relaxed);
	return budget;
}

void budget_unref(struct budget *budget)
{
	if (budget && atomic_fetch_sub_explicit(&budget->users, 1, memory_order_acq_rel) == 1)
		free(budget);
}

bool budget_is_on(const struct budget *budget, const struct retry_budget *terms)
{
	return budget->terms.ratio == terms->ratio && budget->terms.per_second == terms->per_second &&
	       budget->terms.ttl_ms == terms->ttl_ms && budget->terms.usable == terms->usable;
}

/* Adds to what this tenth has. A slot that still holds an older tenth is taken over first: by whoever wins, and what others add
 * meanwhile stays. A worker whose clock lags behind adds to the newer one. */
static void budget_pay(struct budget *budget, int64_t tenth, int64_t amount)
{
	size_t index = (uint64_t)tenth % BUDGET_SLOTS;
	int64_t time = atomic_load_explicit(&budget->slot_times[index], memory_order_relaxed);

	if (time < tenth) {
		int64_t old = atomic_load_explicit(&budget->slots[index], memory_order_relaxed);

		if (atomic_compare_exchange_strong_explicit(&budget->slot_times[index], &time, tenth, memory_order_relaxed,
		                                            memory_order_relaxed))
			amount -= old;
	}
	atomic_fetch_add_explicit(&budget->slots[index], amount, memory_order_relaxed);
}

/* What the last ten tenths, this one included, paid in and took out. */
static int64_t budget_sum(const struct budget *budget, int64_t tenth)
{
	int64_t sum = 0;

	for (int i = 0; i < BUDGET_SLOTS; i++)
		if (atomic_load_explicit(&budget->slot_times[i], memory_order_relaxed) > tenth - BUDGET_SLOTS)
			sum += atomic_load_explicit(&budget->slots[i], memory_order_relaxed);
	return sum;
}

void budget_deposit(struct budget *budget, int64_t now_ms)
{
	if (budget->terms.usable)
		budget_pay(budget, budget_tenth(budget, now_ms), (int64_t)(budget->terms.ratio * 2 * TOKEN + 1) / 2);
}

bool budget_withdraw(struct budget *budget, int64_t now_ms)
{
	const struct retry_budget *terms = &budget->terms;

	if (!terms->usable)
		return false;
	int64_t tenth = budget_tenth(budget, now_ms);
	int64_t reserve = (int64_t)terms->per_second * terms->ttl_ms * TOKEN / 1000;

	if (budget_sum(budget, tenth) + reserve < TOKEN)
		return false;
	budget_pay(budget, tenth, -TOKEN);
	return true;
}
