#ifndef LAPSE_PROXY_WHY_WHY_PAGE_H
#define LAPSE_PROXY_WHY_WHY_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/why/why_fields.h"
#include "proxy/why/why_top.h"

struct text;

/* Text for a terminal of 100 columns. */

enum { WHY_PAGE_WIDTH = 100 };

struct why_page {
	FILE *out;
	bool colour;
	int64_t first_ms, last_ms; /* of the log: says whether times need their date */
};

enum why_style { WHY_PLAIN, WHY_BOLD, WHY_FAINT, WHY_ALARM };

/* A line or more: `label` at column `indent`, the text beside it from column `column` on, folded at blanks. Control characters are
 * escaped. */
void why_page_row(const struct why_page *page, int indent, const char *label, int column, enum why_style style, const char *text);

/* A heading, an empty line before it. */
void why_page_heading(const struct why_page *page, const char *text);

/* The slice without its control characters. */
void why_page_clean(struct why_slice slice, struct text *out);

/* "1,234,567" */
void why_page_number(uint64_t number, struct text *out);
/* "1 time", "2 times" */
void why_page_count(uint64_t number, const char *one, const char *more, struct text *out);
/* "42 %", "<1 %" */
void why_page_share(uint64_t part, uint64_t all, struct text *out);
/* "350ms", "12s", "3h5m": no more than two units */
void why_page_duration(int64_t ms, struct text *out);
/* "06:11:46", where the log is of several days "11-21 06:11:46"; UTC. Without seconds: "06:11" */
void why_page_time(const struct why_page *page, int64_t at_ms, bool seconds, struct text *out);
/* A destination of why_tally.h: ":8080" is "port 8080" */
void why_page_place(const char *name, struct text *out);
/* "10.0.0.1 (12), 10.0.0.2 (3) and others (5)"; a single one without its number */
void why_page_top(const struct why_top *top, size_t most, struct text *out);

#endif
