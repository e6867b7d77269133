#include "proxy/why/why_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a */
static uint32_t why_table_hash(const char *key, size_t length)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)key[i]) * 16777619u;
	return hash;
}

int why_table_new(struct why_table *table, size_t most, size_t value_size, void (*release)(void *value))
{
	*table = (struct why_table){.most = most, .value_size = value_size, .release = release};
	table->entries = calloc(2 * most, sizeof *table->entries);
	return table->entries ? 0 : -ENOMEM;
}

static void why_table_drop(struct why_table *table, struct why_entry *entry)
{
	if (table->release && entry->value)
		table->release(entry->value);
	free(entry->value);
	free(entry->key);
	*entry = (struct why_entry){0};
}

void why_table_free(struct why_table *table)
{
	for (size_t i = 0; table->entries && i < 2 * table->most; i++)
		why_table_drop(table, &table->entries[i]);
	free(table->entries);
	*table = (struct why_table){0};
}

/* The key's place, or the free one where it belongs. A key is its length and its bytes. */
static struct why_entry *why_table_place(struct why_table *table, uint32_t hash, const char *key, size_t length)
{
	size_t mask = 2 * table->most - 1;

	for (size_t at = hash & mask;; at = (at + 1) & mask) {
		struct why_entry *entry = &table->entries[at];
		uint16_t have;

		if (!entry->key)
			return entry;
		memcpy(&have, entry->key, sizeof have);
		if (entry->hash == hash && have == length && memcmp(entry->key + sizeof have, key, length) == 0)
			return entry;
	}
}

static int why_table_heavier(const void *a, const void *b)
{
	const struct why_weighed *left = *(void *const *)a, *right = *(void *const *)b;

	return (left->weight < right->weight) - (left->weight > right->weight);
}

static int why_table_heavier_entry(const void *a, const void *b)
{
	const struct why_entry *left = a, *right = b;

	return why_table_heavier(&left->value, &right->value);
}

/* Merges the lighter half into the others. */
static int why_table_prune(struct why_table *table)
{
	struct why_entry *kept = malloc(table->count * sizeof *kept);
	size_t count = 0, keep = table->most / 2;

	if (!kept)
		return -ENOMEM;
	for (size_t i = 0; i < 2 * table->most; i++)
		if (table->entries[i].key)
			kept[count++] = table->entries[i];
	qsort(kept, count, sizeof *kept, why_table_heavier_entry);
	memset(table->entries, 0, 2 * table->most * sizeof *table->entries);
	for (size_t i = 0; i < count; i++) {
		if (i < keep) {
			uint16_t length;

			memcpy(&length, kept[i].key, sizeof length);
			*why_table_place(table, kept[i].hash, kept[i].key + sizeof length, length) = kept[i];
			continue;
		}
		table->others.keys++;
		table->others.weight += kept[i].value->weight;
		table->others.count += kept[i].value->count;
		why_table_drop(table, &kept[i]);
	}
	table->count = keep;
	free(kept);
	return 0;
}

void *why_table_at(struct why_table *table, const char *key, size_t length)
{
	size_t cut = length < WHY_KEY_MOST ? length : WHY_KEY_MOST;
	uint32_t hash = why_table_hash(key, cut);
	struct why_entry *entry = why_table_place(table, hash, key, cut), fresh = {.hash = hash};
	uint16_t kept = (uint16_t)cut;

	if (entry->key)
		return entry->value;
	if (table->count == table->most && why_table_prune(table))
		return NULL;
	fresh.key = malloc(sizeof kept + cut);
	fresh.value = calloc(1, table->value_size);
	if (!fresh.key || !fresh.value) {
		free(fresh.key);
		free(fresh.value);
		return NULL;
	}
	memcpy(fresh.key, &kept, sizeof kept);
	memcpy(fresh.key + sizeof kept, key, cut);
	*why_table_place(table, hash, key, cut) = fresh;
	table->count++;
	return fresh.value;
}

size_t why_table_list(const struct why_table *table, void **out, size_t most)
{
	void **all = malloc((table->count + 1) * sizeof *all);
	size_t count = 0;

	if (!all)
		return 0;
	for (size_t i = 0; i < 2 * table->most; i++)
		if (table->entries[i].key)
			all[count++] = table->entries[i].value;
	qsort(all, count, sizeof *all, why_table_heavier);
	if (count > most)
		count = most;
	memcpy(out, all, count * sizeof *all);
	free(all);
	return count;
}
