#ifndef LAPSE_LIB_PORTS_H
#define LAPSE_LIB_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct port_range {
	uint16_t first, last; /* inclusive, first <= last, never 0 */
};

/* Sorted by first; ranges never overlap or touch (that is what nft interval sets need). */
struct ports {
	struct port_range *ranges; /* owned */
	size_t count;
};

/* "80,443,8000-8999": adds to what ports already holds, merging overlaps; empty text adds nothing; blanks around commas are
 * allowed. 0, -ENOMEM or -EINVAL; untouched on failure. On -EINVAL *bad (when not NULL) points at the refused entry in text
 * and *bad_length is its length. */
int ports_parse(struct ports *ports, const char *text, const char **bad, size_t *bad_length);
/* Their copy in the arena, for ports_contain() alone; `ports` is freed. NULL: no memory. */
const struct ports *ports_keep(struct ports *ports, struct arena *arena);
bool ports_contain(const struct ports *ports, uint16_t port);
void ports_free(struct ports *ports);

#endif
