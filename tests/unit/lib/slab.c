#include "lib/slab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 200, COUNT = 2000 }; /* several blocks */

static bool is_filled(const unsigned char *bytes, unsigned char value)
{
	for (size_t i = 0; i < SIZE; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

static unsigned char *take(struct slab *slab, unsigned char value)
{
	unsigned char *object = slab_alloc(slab);

	assert_non_null(object);
	assert_int_equal((uintptr_t)object % 8, 0);
	assert_true(is_filled(object, 0));
	return memset(object, value, SIZE);
}

/* Every other object is released and taken again, thrice: zeroed, and the others are as they were. */
static void objects_are_zeroed_and_apart(void **state)
{
	unsigned char *objects[COUNT];
	struct slab *slab = slab_new(SIZE);

	for (size_t i = 0; i < COUNT; i++)
		objects[i] = take(slab, (unsigned char)(i % 251 + 1));
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = round % 2; i < COUNT; i += 2)
			slab_release(slab, objects[i]);
		for (size_t i = round % 2; i < COUNT; i += 2)
			objects[i] = take(slab, (unsigned char)(i % 251 + 1));
		for (size_t i = 0; i < COUNT; i++)
			if (!is_filled(objects[i], (unsigned char)(i % 251 + 1)))
				fail_msg("object %zu was written over in round %zu", i, round);
	}
	for (size_t i = 0; i < COUNT; i++)
		slab_release(slab, objects[i]);
	slab_release(slab, NULL);
	slab_free(slab);
}

#ifndef __SANITIZE_ADDRESS__

static bool is_mapped(void *object)
{
	uintptr_t page = (uintptr_t)object / (uintptr_t)getpagesize() * (uintptr_t)getpagesize();
	unsigned char resident;

	return !mincore((void *)page, 1, &resident) || errno != ENOMEM;
}

/* Those that were taken first lie in another block than the last ones: the block of neither stays when all are released but one. */
static void empty_blocks_go_back_to_the_kernel(void **state)
{
	void *objects[COUNT];
	struct slab *slab = slab_new(SIZE);
	size_t mapped = 0;

	for (size_t i = 0; i < COUNT; i++)
		objects[i] = take(slab, 1);
	for (size_t i = 1; i < COUNT; i++)
		slab_release(slab, objects[i]);
	assert_true(is_mapped(objects[0]));
	for (size_t i = 0; i < COUNT; i++)
		mapped += is_mapped(objects[i]);
	/* The block of the one that is left, and the spare. */
	assert_in_range(mapped, 2, 2 * (32768 / SIZE));
	slab_release(slab, objects[0]);
	slab_free(slab);
	assert_false(is_mapped(objects[0]));
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(objects_are_zeroed_and_apart),
#ifndef __SANITIZE_ADDRESS__
	    cmocka_unit_test(empty_blocks_go_back_to_the_kernel),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
