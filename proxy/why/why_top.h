#ifndef LAPSE_PROXY_WHY_WHY_TOP_H
#define LAPSE_PROXY_WHY_WHY_TOP_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/why/why_fields.h"

/* The most frequent of many names in a few places (Space-Saving: Metwally, Agrawal, El Abbadi 2005). Pure. All zero = empty. */

enum { WHY_TOP_PLACES = 8, WHY_NAME_SIZE = 72 };

struct why_top {
	struct why_place {
		char name[WHY_NAME_SIZE]; /* longer ones are cut */
		uint64_t count;
		uint64_t error; /* it may be too high by this */
	} places[WHY_TOP_PLACES];
	size_t used;
	uint64_t total;
};

void why_top_add(struct why_top *top, struct why_slice name, uint64_t times);

/* Those of which something is certain, most frequent first; how many. The certain number is count - error. */
size_t why_top_list(const struct why_top *top, const struct why_place *out[static WHY_TOP_PLACES]);

#endif
