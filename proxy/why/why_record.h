#ifndef LAPSE_PROXY_WHY_WHY_RECORD_H
#define LAPSE_PROXY_WHY_WHY_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/reason.h"
#include "proxy/why/why_fields.h"
#include "proxy/why/why_line.h"

/* One line of lapse-proxy's log, read. Pure. */

/* The fields that are looked at, by their names in the record (docs/reasons.md). */
#define WHY_VALUES(X) \
	X(TS, "ts") X(LEVEL, "level") X(MSG, "msg") X(REASON, "reason") X(BY, "by") X(PHASE, "phase") X(DIRECTION, "direction") \
	X(PROTOCOL, "protocol") X(CLIENT, "client") X(SERVER, "server") X(SERVICE, "service") X(ROUTE, "route") X(BACKEND, "backend") \
	X(STATUS, "status") X(ANSWER, "answer") X(CLASSIFICATION, "classification") X(REQUESTS, "requests") X(OPEN, "open_s") \
	X(IDLE, "idle_s") X(TIMER, "timer") X(VALUE, "value") X(SET_BY, "set_by") X(DURATION, "duration_s") X(RETRIES, "retries") \
	X(LAST_METHOD, "last_method") X(LAST_PATH, "last_path") X(SUPPRESSED, "suppressed") X(DETAIL, "detail") \
	X(METHOD, "method") X(PATH, "path") X(TRUNCATED, "truncated")

enum why_value {
#define WHY_VALUE(id, name) WHY_##id,
	WHY_VALUES(WHY_VALUE)
#undef WHY_VALUE
	WHY_VALUE_COUNT,
};

enum why_kind {
	WHY_OTHER,      /* a line of somebody else, or one that says nothing of connections */
	WHY_UNREADABLE, /* a record that is cut off or damaged */
	WHY_UNKNOWN,    /* a record whose reason this version does not know: reason is its value */
	WHY_MESSAGE,    /* a warning or an error of the proxy itself: msg */
	WHY_CLOSED,     /* "connection closed" */
	WHY_FAILED,     /* "request failed" */
	WHY_REQUEST,    /* of the access log */
	WHY_HELD_BACK,  /* "records held back": reason and suppressed, nothing else */
};

struct why_record {
	enum why_kind kind;
	struct why_slice line, pod;
	struct why_slice values[WHY_VALUE_COUNT]; /* unescaped; bytes NULL = absent */
	int64_t at_ms;                            /* since 1970, with every kind from WHY_UNKNOWN on */
	enum reason_id reason;                    /* REASON_NONE: a request that went well */
	enum reason_by by;                        /* of CLOSED and FAILED; never BY_PEER */
	unsigned phase;                           /* as words_phase() counts, PHASE_COUNT = another; of CLOSED and FAILED */
	bool outbound;
	uint64_t requests, suppressed, retries;
	int64_t duration_us;                      /* of REQUEST, -1 = none */
	char scratch[WHY_LINE_MOST];              /* what was unescaped */
};

/* Reads line->record, at most WHY_LINE_MOST bytes; the slices lead into it or into `record` itself. */
void why_record_read(const struct why_line *line, struct why_record *record);

/* Whether that word is the name of the Service ("default/web" or "web"), or the address of the server or its host. */
bool why_record_is_of(const struct why_record *record, const char *service);

/* Where the connection went: the backend, or else the original destination. */
struct why_slice why_record_server(const struct why_record *record);

/* "10.0.0.1:80" and "[::1]:80" without the port. */
struct why_slice why_record_host(struct why_slice address);

/* How long the leg had rested before a keep-alive race, in ms, as the detail says it; -1 where it does not. */
int64_t why_record_race_idle(const struct why_record *record);

#endif
