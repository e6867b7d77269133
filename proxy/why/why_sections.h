#ifndef LAPSE_PROXY_WHY_WHY_SECTIONS_H
#define LAPSE_PROXY_WHY_WHY_SECTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/why/why_page.h"

struct why_cause;
struct why_filter;
struct why_record;
struct why_table;
struct why_tally;

enum {
	WHY_CAUSES_SHOWN = 3,
	WHY_CAUSES_NAMED = 6, /* of those behind them, which get a few words */
};

/* A page while it is printed. */
struct why_report {
	struct why_page page;
	const struct why_tally *tally;
	const struct why_filter *filter;
	const struct why_table *causes;
	uint64_t cost; /* of all causes, in tenths */
	struct why_cause *first[WHY_CAUSES_SHOWN + WHY_CAUSES_NAMED];
	size_t count;
	struct why_record *record; /* a sample, read again */
};

/* The tables of the page, each with its heading, nothing where it would be empty. */
void why_sections_ended(const struct why_report *report);
void why_sections_timers(const struct why_report *report);
void why_sections_races(const struct why_report *report);
void why_sections_requests(const struct why_report *report);
void why_sections_messages(const struct why_report *report);

/* What a table does not show: rows behind the first ones, and what was merged when it was full. */
void why_sections_more(const struct why_report *report, const struct why_table *table, size_t shown, const char *what);

#endif
