#ifndef LAPSE_PROXY_POLICY_BUDGET_H
#define LAPSE_PROXY_POLICY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/config/catalog.h"

/* A retry budget as Linkerd's (ratio, minRetriesPerSecond, ttl): requests that were not retries pay `ratio` of a token in, each of
 * which is good for ttl; per_second * ttl tokens are there at any time on top. A retry takes one token, and what it took is forgotten
 * after ttl too. Shared by workers: relaxed atomics; a race may let a retry more or less through.
 * Rounding: ratio counts in thousandths, halves up (below 0.0005 nothing is paid in). Time counts in tenths of the ttl, so a payment is
 * good for at least nine tenths of it and at most all of it. */
enum { BUDGET_SLOTS = 10 };

struct budget {
	_Atomic unsigned users;
	struct retry_budget terms;
	_Atomic int64_t slots[BUDGET_SLOTS];       /* thousandths of a token paid in during that tenth of the ttl */
	_Atomic int64_t slot_times[BUDGET_SLOTS];  /* which tenth of the clock that is */
};

/* One reference is the caller's. NULL when there is no memory. */
struct budget *budget_new(const struct retry_budget *terms, int64_t now_ms);
struct budget *budget_ref(struct budget *budget);
void budget_unref(struct budget *budget); /* any thread; NULL is fine */

/* Whether it is one on these terms. */
bool budget_is_on(const struct budget *budget, const struct retry_budget *terms);

/* A first attempt was answered. */
void budget_deposit(struct budget *budget, int64_t now_ms);

/* Takes a token; false when there is none. */
bool budget_withdraw(struct budget *budget, int64_t now_ms);

#endif
