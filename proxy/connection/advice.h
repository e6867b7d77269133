#ifndef LAPSE_PROXY_CONNECTION_ADVICE_H
#define LAPSE_PROXY_CONNECTION_ADVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/conntrack.h"
#include "lib/reason.h"
#include "lib/timeouts.h"

struct text;

/* What the remedy of a reason (reasons.def) says in one case. Pure. */

/* Most bytes of a detail, its NUL included. */
enum { ADVICE_DETAIL_SIZE = 512 };

/* What is known of the case; all zero but `timer` TIMEOUT_NONE = nothing. */
struct advice {
	enum timeout_id timer;                   /* the one that fired, TIMEOUT_NONE */
	const struct timeout_value *value;       /* of that one */
	const struct timeout_value *server_idle; /* NULL = not known */
	int64_t idle_ms;                         /* the rest that was too long for one side, 0 = not known */
	bool queue_full;                         /* the server is there, and accepts nothing */
	enum conntrack_state state;              /* in which conntrack forgot the flow */
	int64_t keep_ms;                         /* how long it should have been kept there, 0 = time was not the cause */
};

/* The remedy, nothing where there is none: of its clauses those for which all is known. NULL: for any case, as documentation. */
void advice_write(enum reason_id reason, const struct advice *advice, struct text *out);

/* "FACT; REMEDY" in at most ADVICE_DETAIL_SIZE: a fact that is too long is cut and ends in "...", never what follows it. `between`,
 * further facts, begins with "; " or is empty. */
void advice_detail(enum reason_id reason, const struct advice *advice, const char *fact, const char *between, struct text *out);

/* "lapse-init --close-wait-timeout 1h": what makes conntrack keep a flow so long, in full seconds; 0 = as long as it can be wanted. */
void advice_conntrack(enum conntrack_state state, int64_t keep_ms, struct text *out);

/* How long that is at least, in ms: what advice_conntrack() says. */
int64_t advice_conntrack_ms(int64_t keep_ms);

#endif
