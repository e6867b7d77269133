#ifndef LAPSE_LIB_TIMEOUTS_H
#define LAPSE_LIB_TIMEOUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reason.h"

struct json;

/* One member per row of timeouts.def, e.g. TIMEOUT_IDLE_CONNECTION. TIMEOUT_NONE: no timer at all. */
enum timeout_id {
#define TIMEOUT(id, name, default_ms, reason, sentence, cost) TIMEOUT_##id,
#include "lib/timeouts.def"
#undef TIMEOUT
	TIMEOUT_COUNT,
	TIMEOUT_NONE = TIMEOUT_COUNT,
};

/* The value means "this level says nothing"; the next level below decides. */
#define TIMEOUT_UNSET INT64_C(-1)

/* The value of one timeout and where it was set. */
struct timeout_value {
	int64_t milliseconds; /* 0 = disabled, TIMEOUT_UNSET = not set at this level */
	const char *source;   /* "built-in", "flag --timeout-connect", …; borrowed, outlives the struct */
	bool after_request;   /* counts from the end of the request, or from the response's head where that comes first */
};

struct timeouts {
	struct timeout_value of[TIMEOUT_COUNT];
};

/* All rows unset, and all rows at their defaults with source "built-in". */
void timeouts_init_unset(struct timeouts *timeouts);
void timeouts_init_defaults(struct timeouts *timeouts);

/* Per field: what `over` sets replaces what `base` holds. 0 is a set value: it disables and stops the search. */
void timeouts_merge(struct timeouts *base, const struct timeouts *over);

/* "timeouts": each with value, ms and source, with_cost with what its default can cost. Every one is set. One of them alone. */
void timeouts_print_json(struct json *json, const struct timeouts *timeouts, bool with_cost);
void timeouts_print_json_value(struct json *json, enum timeout_id id, const struct timeout_value *value, bool with_cost);

/* Where it counts from, where that is not as its row says: "the end of the request"; else NULL. */
const char *timeouts_counted_from(const struct timeout_value *value);

/* The camelCase name of the row ("idleConnection"), its sentence, what its default can cost, its default, the reason it ends a
 * connection with. */
const char *timeouts_name(enum timeout_id id);
const char *timeouts_sentence(enum timeout_id id);
const char *timeouts_cost(enum timeout_id id);
int64_t timeouts_default(enum timeout_id id);
enum reason_id timeouts_reason(enum timeout_id id);

/* Whether it is of the proxy, not of what it carries: no single object can set it. */
bool timeouts_of_proxy(enum timeout_id id);

/* The row of a camelCase name, TIMEOUT_NONE when there is none. */
enum timeout_id timeouts_find(const char *name);

/* "idleConnection" -> "timeout-idle-connection": the flag without dashes, and the annotation key after its domain. */
#define TIMEOUTS_FLAG_SIZE 48
void timeouts_flag_name(enum timeout_id id, char out[static TIMEOUTS_FLAG_SIZE]);

#endif
