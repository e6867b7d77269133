#ifndef LAPSE_PROXY_WHY_WHY_TALLY_H
#define LAPSE_PROXY_WHY_WHY_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reason.h"
#include "proxy/metrics/words.h"
#include "proxy/why/why_record.h"
#include "proxy/why/why_span.h"
#include "proxy/why/why_table.h"
#include "proxy/why/why_top.h"

/* What a log comes to: counts in bounded memory. Pure. */

/* How an end was for the client. */
enum why_outcome {
	WHY_MEANT,   /* as client, server or a timer for idle connections meant it */
	WHY_SILENT,  /* while nothing was under way, as far as we can tell: a silent opaque connection, a reset between requests */
	WHY_GAVE_UP, /* the client left with its request under way */
	WHY_BROKE,   /* an error instead of an answer, or a connection that was cut or never came to be */
	WHY_OUTCOME_COUNT,
};

/* What one end costs, in tenths of a broken one. */
unsigned why_tally_cost(enum why_outcome outcome);

enum why_outcome why_tally_outcome(const struct why_record *record);

enum { WHY_TO_SIZE = 160, WHY_SET_BY_SIZE = 256, WHY_MESSAGE_SIZE = 512 };

/* A timer and where it was set; timer "" = none. */
struct why_timer {
	char timer[32], value[40], set_by[WHY_SET_BY_SIZE];
};

/* Ends that have one reason, one setting and one destination. */
struct why_cause {
	struct why_weighed weighed; /* weight: the cost; count: how often */
	enum reason_id reason;
	bool outbound;
	char to[WHY_TO_SIZE];    /* the Service, or where none is known the server; inbound ":8080", a port of whichever pod */
	struct why_timer timer;
	uint64_t connections, requests; /* closed, failed while the connection lived on */
	uint64_t phases[PHASE_COUNT + 1];
	struct why_top from;     /* clients: pods where the carrier names them, else addresses */
	struct why_top at;       /* servers, likewise */
	struct why_span span;
	char *sample;            /* owned: a record, the last one; of keep-alive races the one after the longest rest */
	size_t sample_length;
	char pod[WHY_NAME_SIZE]; /* whose log the sample is from, "" = not known */
	int64_t rest_ms;         /* of the sample */
};

/* Ends by one timer as it was set. */
struct why_fired {
	struct why_weighed weighed; /* both: how often */
	struct why_timer timer;
	enum reason_id reason; /* of the last one */
	struct why_top to;
};

/* Keep-alive races with one server. */
struct why_race {
	struct why_weighed weighed; /* both: how often */
	char server[WHY_TO_SIZE], service[WHY_TO_SIZE];
	int64_t least_ms, most_ms;  /* rests, -1 = not known */
	struct why_top rests;       /* to the second, below 10 s to the tenth: "60s" */
};

enum { WHY_STATUS_NONE, WHY_STATUS_COUNT = 6, WHY_DURATIONS = 256 };

/* Requests to one destination, of the access log. */
struct why_requests {
	struct why_weighed weighed; /* both: how many */
	char to[WHY_TO_SIZE];
	bool outbound;
	uint64_t statuses[WHY_STATUS_COUNT]; /* none, 1xx, … 5xx */
	uint64_t failed;                     /* by classification */
	uint32_t durations[WHY_DURATIONS];   /* by size, eight buckets an octave of microseconds */
	int64_t slowest_us;
};

struct why_message {
	struct why_weighed weighed; /* count: how often; errors weigh more than warnings */
	char text[WHY_MESSAGE_SIZE];
	bool error;
	int64_t last_ms;
};

struct why_reason_count {
	uint64_t connections, requests; /* with what was held back */
	uint64_t access;                /* lines of the access log */
	uint64_t held_back;
	uint64_t unplaced;              /* held back, and only the reason is known */
	uint64_t by[BY_PEER];
	uint64_t phases[PHASE_COUNT + 1];
	enum why_outcome outcome;       /* the worst one seen */
};

struct why_tally {
	uint64_t lines, others, unreadable, unknown, filtered; /* unknown: reasons this version does not know */
	uint64_t held_back;        /* not in the figures: held back beside a record that a filter chose */
	uint64_t records, access;  /* close records and "request failed"; lines of the access log */
	uint64_t carried;          /* requests on connections that ended, as their records say */
	uint64_t retries;
	uint64_t own_errors;       /* 5xx that servers sent themselves */
	char unknown_reason[WHY_NAME_SIZE];
	int64_t first_ms, last_ms;
	struct why_reason_count reasons[REASON_COUNT];
	uint64_t outcomes[WHY_OUTCOME_COUNT]; /* of records, held-back ones too */
	uint64_t access_outcomes[WHY_OUTCOME_COUNT];
	uint64_t cost, access_cost; /* tenths */
	struct why_table causes, access_causes, timers, races, requests, messages, pods;
};

/* Which records count. */
struct why_filter {
	int64_t since_ms;     /* INT64_MIN = all */
	const char *service;  /* NULL = all */
	const char *const *reasons;
	size_t reason_count;  /* 0 = all */
};

/* 0 or -ENOMEM; to be freed either way. */
int why_tally_new(struct why_tally *tally);
void why_tally_free(struct why_tally *tally);

void why_tally_add(struct why_tally *tally, const struct why_filter *filter, const struct why_record *record);

/* Places what was held back and has only a reason. Once, before the figures are read. */
void why_tally_finish(struct why_tally *tally);

/* The figures that count: of the records, or where there are none of the access log. outcomes: WHY_OUTCOME_COUNT of them. */
const struct why_table *why_tally_causes(const struct why_tally *tally);
uint64_t why_tally_total_cost(const struct why_tally *tally);
const uint64_t *why_tally_outcomes(const struct why_tally *tally);

/* Connections that ended; requests, as the access log has them, or the records of the connections that ended. */
uint64_t why_tally_connections(const struct why_tally *tally);
uint64_t why_tally_requests(const struct why_tally *tally);

/* The duration that `part` of 1000 requests did not exceed, in microseconds; 0 = none. */
int64_t why_tally_quantile(const struct why_requests *requests, unsigned part);

#endif
