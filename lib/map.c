#include "lib/map.h"

#include <stdint.h>
#include <string.h>

enum { MAP_LEAST = 16 };

/* FNV-1a; keys come from configuration, whose author may be trusted not to flood his own table. */
static size_t map_hash(const char *key)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * UINT64_C(1099511628211);
	return (size_t)(hash ^ hash >> 32);
}

/* The key's entry, or the free one where it belongs. */
static struct map_entry *map_probe(const struct map *map, const char *key)
{
	size_t mask = map->capacity - 1, at = map_hash(key) & mask;

	while (map->entries[at].key && strcmp(map->entries[at].key, key) != 0)
		at = (at + 1) & mask;
	return &map->entries[at];
}

/* Keeps a third of the entries free. */
static int map_grow(struct map *map, struct arena *arena)
{
	struct map grown = {.capacity = map->capacity ? map->capacity * 2 : MAP_LEAST, .count = map->count};

	grown.entries = arena_array(arena, grown.capacity, sizeof *grown.entries);
	if (!grown.entries)
		return -1;
	for (size_t i = 0; i < map->capacity; i++)
		if (map->entries[i].key)
			*map_probe(&grown, map->entries[i].key) = map->entries[i];
	*map = grown;
	return 0;
}

void **map_at(struct map *map, struct arena *arena, const char *key)
{
	struct map_entry *entry;

	if (map->count >= map->capacity * 2 / 3 && map_grow(map, arena))
		return NULL;
	entry = map_probe(map, key);
	if (!entry->key) {
		entry->key = key;
		map->count++;
	}
	return &entry->value;
}

void *map_get(const struct map *map, const char *key)
{
	return map->capacity ? map_probe(map, key)->value : NULL;
}
