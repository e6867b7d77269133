#include "proxy/server/dials.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "lib/addr.h"

struct dials {
	_Atomic uint32_t marks[65536]; /* by local port: dials_mark(), dials_looped_mark(), 0 = no dial of ours */
};

struct dials *dials_new(void)
{
	return calloc(1, sizeof(struct dials));
}

void dials_free(struct dials *dials)
{
	free(dials);
}

/* Both ends of a dial in one word; its last bit is cleared when the dial has looped, and it is never 0. */
static uint32_t dials_mark(const struct addr *from, const struct addr *to)
{
	return (addr_hash(from) * 31 + addr_hash(to)) | 3;
}

static uint32_t dials_looped_mark(uint32_t mark)
{
	return mark & ~1u;
}

struct dials_entry dials_add(struct dials *dials, const struct addr *local, const struct addr *destination)
{
	struct dials_entry dial = {dials_mark(local, destination), local->port};

	atomic_store_explicit(&dials->marks[dial.port], dial.mark, memory_order_relaxed);
	return dial;
}

void dials_remove(struct dials *dials, struct dials_entry dial)
{
	uint32_t held = atomic_load_explicit(&dials->marks[dial.port], memory_order_relaxed);

	if (held == dial.mark || held == dials_looped_mark(dial.mark))
		atomic_compare_exchange_strong_explicit(&dials->marks[dial.port], &held, 0, memory_order_relaxed, memory_order_relaxed);
}

bool dials_catch(struct dials *dials, const struct addr *client, const struct addr *destination)
{
	uint32_t mark = dials_mark(client, destination), held = mark;

	return atomic_compare_exchange_strong_explicit(&dials->marks[client->port], &held, dials_looped_mark(mark),
	                                               memory_order_relaxed, memory_order_relaxed) ||
	       held == dials_looped_mark(mark);
}

bool dials_looped(const struct dials *dials, struct dials_entry dial)
{
	return dial.mark && atomic_load_explicit(&dials->marks[dial.port], memory_order_relaxed) == dials_looped_mark(dial.mark);
}
