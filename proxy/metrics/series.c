#include "proxy/metrics/series.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/map.h"

struct series {
	struct arena arena;
	struct map numbers[SERIES_KINDS]; /* by name; the value is the number itself */
	unsigned ends[SERIES_KINDS];
	const char *labels[SERIES_KINDS][SERIES_END];
};

struct series *series_new(void)
{
	struct series *series = calloc(1, sizeof *series);

	for (int kind = 0; series && kind < SERIES_KINDS; kind++) {
		series->ends[kind] = SERIES_FIRST;
		series->labels[kind][SERIES_NONE] = "none";
		series->labels[kind][SERIES_OTHER] = "other";
	}
	return series;
}

void series_free(struct series *series)
{
	if (!series)
		return;
	arena_free(&series->arena);
	free(series);
}

/* With \, " and the line feed escaped, as the exposition formats want them. */
static const char *series_escape(struct arena *arena, const char *name, size_t length)
{
	char *label = arena_alloc(arena, 2 * length + 1);
	size_t at = 0;

	for (size_t i = 0; label && i < length; i++) {
		if (name[i] == '\\' || name[i] == '"' || name[i] == '\n')
			label[at++] = '\\';
		label[at++] = name[i];
		if (name[i] == '\n')
			label[at - 1] = 'n';
	}
	return label;
}

unsigned series_number(struct series *series, enum series_kind kind, const char *name)
{
	size_t length = name ? strlen(name) : 0;
	unsigned number;
	const char *key, *label;
	void **slot;

	if (!series || !name)
		return SERIES_NONE;
	number = (unsigned)(uintptr_t)map_get(&series->numbers[kind], name);
	if (number)
		return number;
	if (series->ends[kind] == SERIES_END || length > SERIES_NAME_MOST)
		return SERIES_OTHER;
	key = arena_text(&series->arena, name, length);
	label = series_escape(&series->arena, name, length);
	slot = key && label ? map_at(&series->numbers[kind], &series->arena, key) : NULL;
	if (!slot)
		return SERIES_OTHER;
	number = series->ends[kind]++;
	series->labels[kind][number] = label;
	*slot = (void *)(uintptr_t)number;
	return number;
}

unsigned series_end(const struct series *series, enum series_kind kind)
{
	return series->ends[kind];
}

const char *series_label(const struct series *series, enum series_kind kind, unsigned number)
{
	return series->labels[kind][number];
}
