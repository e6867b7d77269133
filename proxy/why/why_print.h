#ifndef LAPSE_PROXY_WHY_WHY_PRINT_H
#define LAPSE_PROXY_WHY_WHY_PRINT_H

#include <stdbool.h>
#include <stdio.h>

struct why_filter;
struct why_tally;

/* What `why` says: a page of 100 columns, or one JSON object. The tally is finished and holds at least one record. */
void why_print_page(const struct why_tally *tally, const struct why_filter *filter, bool colour, FILE *out);
void why_print_json(const struct why_tally *tally, FILE *out);

#endif
