#ifndef LAPSE_TESTS_UNIT_PROXY_GUARD_H
#define LAPSE_TESTS_UNIT_PROXY_GUARD_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Memory that ends where reading is forbidden: one byte too far kills the test, under any build. */
struct guard {
	uint8_t *base, *end;
	size_t mapped;
};

static inline struct guard *guard_new(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), usable = (size + page - 1) / page * page;
	struct guard *guard = malloc(sizeof *guard);

	assert(guard);
	guard->mapped = usable + page;
	guard->base = mmap(NULL, guard->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(guard->base != MAP_FAILED);
	guard->end = guard->base + usable;
	assert(!mprotect(guard->end, page, PROT_NONE));
	return guard;
}

static inline void guard_free(struct guard *guard)
{
	munmap(guard->base, guard->mapped);
	free(guard);
}

/* The bytes, ending at the guard. They replace those placed before. */
static inline const uint8_t *guard_place(const struct guard *guard, const void *bytes, size_t length)
{
	assert(length <= (size_t)(guard->end - guard->base));
	if (length)
		memmove(guard->end - length, bytes, length);
	return guard->end - length;
}

/* Group set-up and tear-down: *state is a guard of 128 KiB. */
static inline int guard_setup(void **state)
{
	*state = guard_new(128 * 1024);
	return 0;
}

static inline int guard_teardown(void **state)
{
	guard_free(*state);
	return 0;
}

#endif
