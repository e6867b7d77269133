#ifndef LAPSE_PROXY_WHY_WHY_TABLE_H
#define LAPSE_PROXY_WHY_WHY_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* Counts by key in bounded memory: when the table is full, the lighter half of its keys is merged into "others". What a key has is then
 * a lower bound: the others' weight is the most that it can lack. */

enum { WHY_KEY_MOST = 768 }; /* bytes; longer keys are cut */

/* Begins every value. */
struct why_weighed {
	uint64_t weight;
	uint64_t count;
};

struct why_table {
	struct why_entry {
		uint32_t hash;
		char *key;               /* owned, NULL = free */
		struct why_weighed *value; /* owned */
	} *entries;                      /* twice `most`, owned */
	size_t most, count, value_size;
	void (*release)(void *value); /* what a value owns; NULL = nothing */
	struct {
		uint64_t keys;   /* how often a key was merged; one that came back is counted again */
		uint64_t weight, count;
	} others;
};

/* most: a power of two. 0 or -ENOMEM. */
int why_table_new(struct why_table *table, size_t most, size_t value_size, void (*release)(void *value));
void why_table_free(struct why_table *table);

/* The value of that key (bytes, not text), zeroed when it is new; NULL when there is no memory. Good until the next call. */
void *why_table_at(struct why_table *table, const char *key, size_t length);

/* The values, heaviest first, at most `most` of them. Returns how many. */
size_t why_table_list(const struct why_table *table, void **out, size_t most);

#endif
