#include "proxy/config/diagnostics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"

#define ELLIPSIS "\xe2\x80\xa6"

static int setup(void **state)
{
	static struct arena arena;

	*state = &arena;
	return 0;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static void sentences_stand_in_order_and_once(void **state)
{
	struct diagnostics found = {.arena = *state};

	diagnostics_add(&found, true, "%s:%d: %s", "a.yaml", 3, "first");
	diagnostics_add(&found, false, "second");
	diagnostics_add(&found, true, "a.yaml:3: first");
	diagnostics_add(&found, false, "second");
	diagnostics_add(&found, true, "second"); /* as an error it says more */
	diagnostics_add(&found, false, "third");

	static const struct {
		const char *text;
		bool error;
	} expected[] = {{"a.yaml:3: first", true}, {"second", false}, {"second", true}, {"third", false}};
	const struct diagnostic *at = found.first;
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++, at = at->next) {
		assert_non_null(at);
		assert_string_equal(at->text, expected[i].text);
		assert_int_equal(at->error, expected[i].error);
	}
	assert_null(at);
	assert_ptr_equal(found.last->text, found.first->next->next->next->text);
	assert_int_equal(found.errors, 2);
	assert_int_equal(found.warnings, 2);
	assert_int_equal(found.kept, 4);
}

static void what_would_move_a_terminal_is_replaced(void **state)
{
	static const struct {
		const char *given, *kept;
	} rows[] = {
	    {"", ""},
	    {"plain", "plain"},
	    {"a\nb\tc\rd", "a?b?c?d"},
	    {"\x1b[31m\x7f", "?[31m?"},
	    {"\xc2\x9b" "2J", "??2J"},                           /* C1 */
	    {"\xc2\xa0gr\xc3\xbc\xc3\x9f " ELLIPSIS, "\xc2\xa0gr\xc3\xbc\xc3\x9f " ELLIPSIS},
	    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
	    {"\xff\x80x\xc3", "??x?"},                           /* no UTF-8 */
	    {"\xc0\x8a", "??"},                                  /* overlong LF */
	    {"\xed\xa0\x80", "???"},                             /* a surrogate */
	    {"\xe2\x80", "??"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct diagnostics found = {.arena = *state};

		diagnostics_add(&found, false, "%s", rows[i].given);
		assert_non_null(found.first);
		assert_string_equal(found.first->text, rows[i].kept);
	}
}

/* At every offset that a character of two or three bytes can have at the end of the room. */
static void a_long_sentence_ends_in_an_ellipsis(void **state)
{
	for (int shift = 0; shift < 4; shift++) {
		struct diagnostics found = {.arena = *state};
		char given[2000] = "...";

		for (size_t at = (size_t)shift; at + 3 < sizeof given; at += 3)
			memcpy(given + at, "\xe2\x82\xac", 4);
		diagnostics_add(&found, true, "%s", given);
		const char *text = found.first->text;
		size_t length = strlen(text);
		assert_true(length < DIAGNOSTIC_SIZE && length > DIAGNOSTIC_SIZE - 8);
		assert_string_equal(text + length - 3, ELLIPSIS);
		assert_memory_equal(text, given, length - 3);
		assert_int_equal((length - 3 - (size_t)shift) % 3, 0);
		assert_null(strchr(text, '?'));
	}
	struct diagnostics found = {.arena = *state};
	diagnostics_add(&found, true, "%0*d", DIAGNOSTIC_SIZE - 1, 0);
	assert_int_equal(strlen(found.first->text), DIAGNOSTIC_SIZE - 1);
	assert_null(strstr(found.first->text, ELLIPSIS));
}

static void a_bounded_number_is_kept_and_all_are_counted(void **state)
{
	struct diagnostics found = {.arena = *state};
	size_t length = 0;

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < DIAGNOSTICS_MOST; i++)
			diagnostics_add(&found, i % 2 == 0, "sentence %d", i);
	assert_int_equal(found.kept, DIAGNOSTICS_MOST);
	assert_int_equal(found.errors + found.warnings, DIAGNOSTICS_MOST);
	diagnostics_add(&found, true, "one more");
	diagnostics_add(&found, false, "and one");
	diagnostics_add(&found, true, "sentence 0");
	assert_int_equal(found.kept, DIAGNOSTICS_MOST);
	assert_int_equal(found.errors, DIAGNOSTICS_MOST / 2 + 1);
	assert_int_equal(found.warnings, DIAGNOSTICS_MOST / 2 + 1);
	for (const struct diagnostic *at = found.first; at != NULL; at = at->next)
		length++;
	assert_int_equal(length, DIAGNOSTICS_MOST);
}

static void cuts_between_characters(void **state)
{
	static const struct {
		const char *text;
		size_t most, cut;
	} rows[] = {
	    {"abc", 3, 3},       {"abc", 9, 3},       {"abc", 2, 2},           {"abc", 0, 0},           {"", 0, 0},
	    {"a\xc3\xbc", 2, 1}, {"a\xc3\xbc", 3, 3}, {"\xe2\x82\xac!", 1, 0}, {"\xe2\x82\xac!", 3, 3}, {"\xf0\x9f\x98\x80!", 3, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(diagnostics_cut(rows[i].text, strlen(rows[i].text), rows[i].most), rows[i].cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(sentences_stand_in_order_and_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_would_move_a_terminal_is_replaced, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_long_sentence_ends_in_an_ellipsis, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_bounded_number_is_kept_and_all_are_counted, setup, teardown),
	    cmocka_unit_test(cuts_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
