#ifndef LAPSE_PROXY_POLICY_TERMS_H
#define LAPSE_PROXY_POLICY_TERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/timeouts.h"

struct budget;
struct header_edits;
struct policy;
struct policy_choice;
struct policy_target;
struct retry;

/* What a connection goes by until its next request, copied out of the policy, so that nothing open keeps a policy that a newer one has
 * replaced. Borrows nothing. Of one worker, which counts their users without atomics; terms that are equal are one, whichever policies
 * they were read from. */
struct terms {
	struct timeouts timeouts;
	uint32_t timers;         /* a bit, 1 << timeout_id, for each that is not 0s */
	const char *service;     /* "default/web", NULL */
	const char *rule;        /* "HTTPRoute default/web rule 0", NULL */
	unsigned service_series; /* their numbers in the metrics */
	unsigned rule_series;
	/* What a request under way still needs of its rule: */
	bool until_head;              /* `request` ends with the response head (ServiceProfile) */
	const struct retry *retry;    /* NULL = none; without `source` */
	struct budget *budget;        /* of its retries, a reference; NULL */
	const struct header_edits *edits[2]; /* of responses: the rule's and the backend's, in this order; NULL */
	const uint8_t *failures;      /* a bit for every status below TERMS_STATUSES: a ServiceProfile calls it a failure; NULL: 5xx are */
	/* The book's: */
	struct terms *next;
	const uint8_t *image; /* all of the above as bytes */
	size_t length;
	uint64_t hash;
	uint32_t users;
};

enum { TERMS_BUCKETS = 256, TERMS_STATUSES = 1000 };

/* One worker's terms, and its hold of the policy in force. */
struct terms_book {
	struct policy *policy;  /* a reference */
	uint32_t turn;          /* another number with every policy; never 0 */
	struct terms **of;      /* those of the policy in force by policy_choice.number, a use of each; NULL: not asked for yet */
	unsigned numbers;
	struct terms *buckets[TERMS_BUCKETS]; /* all there are */
	size_t count;
};

/* From here on the book is about this policy, a reference to which it takes over; all zero before the first. -ENOMEM: nothing has
 * changed, and the reference is dropped. */
int terms_begin(struct terms_book *book, struct policy *policy);
void terms_end(struct terms_book *book); /* whatever is still used goes with its last use */

/* The terms of a choice made of the policy in force, on one of its targets; one use is the caller's. NULL when there is no memory. */
struct terms *terms_use(struct terms_book *book, const struct policy_target *target, const struct policy_choice *choice);
void terms_release(struct terms_book *book, struct terms *terms); /* NULL is fine */

/* Whether a response of this status is a failure. */
static inline bool terms_is_failure(const struct terms *terms, unsigned status)
{
	return terms->failures && status < TERMS_STATUSES ? terms->failures[status / 8] >> status % 8 & 1 : status >= 500;
}

#endif
