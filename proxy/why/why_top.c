#include "proxy/why/why_top.h"

#include <stdlib.h>
#include <string.h>

void why_top_add(struct why_top *top, struct why_slice name, uint64_t times)
{
	size_t length = name.length < WHY_NAME_SIZE ? name.length : WHY_NAME_SIZE - 1;
	struct why_place *least = &top->places[0];

	top->total += times;
	for (size_t i = 0; i < top->used; i++) {
		struct why_place *place = &top->places[i];

		if (strncmp(place->name, name.bytes, length) == 0 && !place->name[length]) {
			place->count += times;
			return;
		}
		if (place->count < least->count)
			least = place;
	}
	if (top->used < WHY_TOP_PLACES) {
		least = &top->places[top->used++];
		*least = (struct why_place){0};
	}
	least->error = least->count;
	least->count += times;
	memcpy(least->name, name.bytes, length);
	least->name[length] = '\0';
}

static int why_top_more(const void *a, const void *b)
{
	const struct why_place *left = *(const struct why_place *const *)a, *right = *(const struct why_place *const *)b;
	uint64_t one = left->count - left->error, other = right->count - right->error;

	return one == other ? strcmp(left->name, right->name) : one < other ? 1 : -1;
}

size_t why_top_list(const struct why_top *top, const struct why_place *out[static WHY_TOP_PLACES])
{
	size_t count = 0;

	for (size_t i = 0; i < top->used; i++)
		if (top->places[i].count > top->places[i].error)
			out[count++] = &top->places[i];
	qsort(out, count, sizeof *out, why_top_more);
	return count;
}
