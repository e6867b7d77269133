#include "proxy/why/why_span.h"

#include "lib/text.h"

enum { SPAN_COLUMNS_MOST = 200 };

static int64_t why_span_floor(int64_t at, int64_t width)
{
	int64_t rest = width ? at % width : 0;

	return at - (rest < 0 ? rest + width : rest);
}

/* Buckets twice as wide until both ends fit, and what they held in its new place. */
static void why_span_widen(struct why_span *span)
{
	struct why_span wide = {.first = span->first, .last = span->last, .width = span->width ? span->width : 1000};

	do {
		wide.width *= 2;
		wide.base = why_span_floor(wide.first, wide.width);
	} while (wide.last >= wide.base + wide.width * WHY_SPAN_BUCKETS);
	for (int i = 0; i < WHY_SPAN_BUCKETS; i++)
		if (span->buckets[i])
			wide.buckets[(span->base + i * span->width - wide.base) / wide.width] += span->buckets[i];
	*span = wide;
}

void why_span_add(struct why_span *span, int64_t at_ms, uint64_t times)
{
	if (!span->width)
		*span = (struct why_span){at_ms, at_ms, why_span_floor(at_ms, 1000), 1000, {0}};
	if (at_ms < span->first)
		span->first = at_ms;
	if (at_ms > span->last)
		span->last = at_ms;
	if (at_ms < span->base || at_ms >= span->base + span->width * WHY_SPAN_BUCKETS)
		why_span_widen(span);
	span->buckets[(at_ms - span->base) / span->width] += times;
}

void why_span_draw(const struct why_span *span, int64_t from, int64_t to, int columns, struct text *out)
{
	static const char levels[] = ".:+#";
	uint64_t counts[SPAN_COLUMNS_MOST] = {0}, most = 1;

	if (columns > SPAN_COLUMNS_MOST)
		columns = SPAN_COLUMNS_MOST;
	for (int i = 0; i < WHY_SPAN_BUCKETS; i++) {
		int64_t middle = span->base + i * span->width + span->width / 2;
		int64_t at = middle < from ? from : middle > to ? to : middle;
		uint64_t *count = &counts[(at - from) * columns / (to - from + 1)];

		if (!span->buckets[i])
			continue;
		*count += span->buckets[i];
		if (*count > most)
			most = *count;
	}
	for (int i = 0; i < columns; i++) {
		if (!counts[i])
			text_char(out, ' ');
		else
			text_char(out, levels[(counts[i] - 1) / ((most + 3) / 4)]);
	}
}
