#ifndef LAPSE_PROXY_WHY_WHY_SPAN_H
#define LAPSE_PROXY_WHY_WHY_SPAN_H

#include <stdint.h>

struct text;

/* When something happened, in bounded memory: how often in each of some equal times, which grow as they must. Pure. All zero = never. */

enum { WHY_SPAN_BUCKETS = 128 }; /* at least half of them are in use once it has grown: enough for 64 columns */

struct why_span {
	int64_t first, last; /* ms since 1970 */
	int64_t base, width; /* ms; of the first bucket, and of each */
	uint64_t buckets[WHY_SPAN_BUCKETS];
};

/* In any order; times that clock_parse() can give. */
void why_span_add(struct why_span *span, int64_t at_ms, uint64_t times);

/* "..  :+#": one character for each of `columns` equal times from `from` to `to`, blank where nothing happened. */
void why_span_draw(const struct why_span *span, int64_t from, int64_t to, int columns, struct text *out);

#endif
