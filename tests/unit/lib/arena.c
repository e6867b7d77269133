#include "lib/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool is_zero(const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* Small, large and empty pieces in turn: each is zeroed, aligned, and none overlaps another. */
static void pieces_are_zeroed_aligned_and_apart(void **state)
{
	static const size_t sizes[] = {1, 0, 24, 4096, 7, 70000, 3, 1023, 1025, 2000000, 16, 300};
	enum { ROUNDS = 40, SIZES = sizeof sizes / sizeof *sizes };
	unsigned char *pieces[ROUNDS * SIZES];
	struct arena arena = {0};

	for (size_t i = 0; i < ROUNDS * SIZES; i++) {
		size_t size = sizes[i % SIZES] / (i < SIZES ? 1 : 10);

		pieces[i] = arena_alloc(&arena, size);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
		if (!is_zero(pieces[i], size))
			fail_msg("piece %zu of %zu bytes is not zeroed", i, size);
		memset(pieces[i], (int)(i % 251) + 1, size);
	}
	for (size_t i = 0; i < ROUNDS * SIZES; i++) {
		size_t size = sizes[i % SIZES] / (i < SIZES ? 1 : 10);

		for (size_t at = 0; at < size; at++)
			if (pieces[i][at] != i % 251 + 1)
				fail_msg("piece %zu was written over at %zu", i, at);
	}
	arena_free(&arena);
}

static void texts_are_copies_with_an_end(void **state)
{
	struct arena arena = {0};
	char source[] = "abcdef";
	char *text = arena_text(&arena, source, 3), *empty = arena_text(&arena, NULL, 0);
	char *behind = arena_text(&arena, "xyz", 3), *formatted = arena_printf(&arena, "%s-%d", text, 42);

	source[0] = '#';
	assert_string_equal(text, "abc");
	assert_string_equal(empty, "");
	assert_string_equal(behind, "xyz");
	assert_string_equal(formatted, "abc-42");
	assert_string_equal(arena_printf(&arena, "%s", ""), "");
	arena_free(&arena);
}

static void a_long_text_is_whole(void **state)
{
	struct arena arena = {0};
	char *text = arena_printf(&arena, "%0*d", 100000, 7);

	assert_int_equal(strlen(text), 100000);
	assert_int_equal(text[99999], '7');
	arena_free(&arena);
}

static void what_cannot_be_is_refused(void **state)
{
	struct arena arena = {0};

	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_null(arena_alloc(&arena, SIZE_MAX - 64));
	assert_null(arena_alloc(&arena, PTRDIFF_MAX));
	assert_null(arena_array(&arena, SIZE_MAX / 2 + 2, 2));
	assert_null(arena_array(&arena, 2, SIZE_MAX / 2 + 2));
	assert_null(arena_text(&arena, "", SIZE_MAX));
	assert_int_equal(arena.total, 0);
	assert_non_null(arena_array(&arena, 0, 8));
	assert_non_null(arena_array(&arena, 100, 8));
	arena_free(&arena);
}

static void freed_it_is_empty_and_usable(void **state)
{
	struct arena arena = {0};

	arena_free(&arena);
	assert_non_null(arena_alloc(&arena, 100000));
	assert_true(arena.total >= 100000);
	arena_free(&arena);
	assert_null(arena.blocks);
	assert_int_equal(arena.total, 0);
	assert_string_equal(arena_text(&arena, "again", 5), "again");
	arena_free(&arena);
}

/* Many small pieces take little more than their sum. */
static void little_is_wasted(void **state)
{
	struct arena arena = {0};

	for (int i = 0; i < 100000; i++)
		assert_non_null(arena_alloc(&arena, 48));
	assert_true(arena.total >= 4800000 && arena.total < 4800000 + 2200000);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pieces_are_zeroed_aligned_and_apart), cmocka_unit_test(texts_are_copies_with_an_end),
	    cmocka_unit_test(a_long_text_is_whole),                cmocka_unit_test(what_cannot_be_is_refused),
	    cmocka_unit_test(freed_it_is_empty_and_usable),        cmocka_unit_test(little_is_wasted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
