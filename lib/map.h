#ifndef LAPSE_LIB_MAP_H
#define LAPSE_LIB_MAP_H

#include <stddef.h>

#include "lib/arena.h"

/* Text to pointer, in an arena; keys are only added. All zero = empty. */
struct map_entry {
	const char *key; /* borrowed; NULL = free */
	void *value;
};

struct map {
	struct map_entry *entries;
	size_t capacity; /* a power of two, 0 at first */
	size_t count;
};

/* The place of the key's value, which is NULL when the key is new; good until the next call. NULL when there is no memory. */
void **map_at(struct map *map, struct arena *arena, const char *key);

/* The value, NULL when there is none. */
void *map_get(const struct map *map, const char *key);

#endif
