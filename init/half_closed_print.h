#ifndef LAPSE_INIT_HALF_CLOSED_PRINT_H
#define LAPSE_INIT_HALF_CLOSED_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "init/half_closed.h"

struct half_closed_news;

/* What the summary is made of. */
struct half_closed_totals {
	size_t states[CONNTRACK_STATE_COUNT]; /* half-closed and old enough */
	size_t younger;                       /* half-closed, not silent for long enough */
	size_t unlisted;                      /* for which the table had no room */
	size_t places;                        /* network namespaces looked at; 0 = only this process's own */
	int64_t min_age_ms;
	uint32_t soonest;                     /* the least remaining of those counted, s */
};

void half_closed_print_count(struct half_closed_totals *totals, const struct half_closed_flow *flow);
size_t half_closed_print_sum(const struct half_closed_totals *totals);

/* A heading and a line for each flow, in aligned columns; `places` adds one for the network namespace, which the flows then have.
 * Counters have columns when some flow is counted. Nothing at all without flows. */
void half_closed_print_table(const struct half_closed_flow *flows, size_t count, bool places, FILE *to);
/* "2 half-closed flows: 1 FIN_WAIT, 1 CLOSE_WAIT; the first is forgotten in 12 s" */
void half_closed_print_summary(const struct half_closed_totals *totals, FILE *to);

/* One JSON object and a newline: a flow, or a flow and what became of it at realtime_ms. */
void half_closed_print_json(const struct half_closed_flow *flow, FILE *to);
void half_closed_print_news_json(const struct half_closed_news *news, int64_t realtime_ms, FILE *to);
/* The same for people: one line. */
void half_closed_print_news(const struct half_closed_news *news, int64_t realtime_ms, bool places, FILE *to);

#endif
