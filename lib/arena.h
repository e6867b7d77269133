#ifndef LAPSE_LIB_ARENA_H
#define LAPSE_LIB_ARENA_H

#include <stddef.h>

struct arena_block;

/* Memory that is given back all at once. All zero = empty. */
struct arena {
	struct arena_block *blocks; /* owned */
	size_t total;               /* bytes taken from the system */
};

/* Zeroed, aligned for any type; lives until arena_free(). NULL when there is no memory. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_array(struct arena *arena, size_t count, size_t size); /* NULL also when the product overflows */

/* A copy with a NUL behind it. NULL when there is no memory. */
char *arena_text(struct arena *arena, const char *bytes, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Leaves an empty arena. */
void arena_free(struct arena *arena);

#endif
