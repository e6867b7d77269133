#include "lib/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void builds_and_terminates(void **state)
{
	TEXT_ON_STACK(text, 32);

	assert_string_equal(text.data, "");
	text_string(&text, "a");
	text_char(&text, 'b');
	text_append(&text, "cde", 2);
	text_append(&text, NULL, 0);
	text_printf(&text, "%d-%s", 5, "x");
	assert_string_equal(text.data, "abcd5-x");
	assert_int_equal(text.length, 7);
	assert_false(text.truncated);
}

/* The array is surrounded by guards, for every size and every way to write. */
static void cuts_what_does_not_fit(void **state)
{
	for (size_t size = 1; size <= 12; size++) {
		for (int way = 0; way < 3; way++) {
			char bytes[16];
			struct text text;

			memset(bytes, '#', sizeof bytes);
			text_init(&text, bytes, size);
			for (int i = 0; i < 2; i++) {
				if (way == 0)
					text_string(&text, "hello");
				else if (way == 1)
					text_printf(&text, "%s", "hello");
				else
					for (const char *c = "hello"; *c != '\0'; c++)
						text_char(&text, *c);
			}
			size_t expected = size - 1 < 10 ? size - 1 : 10;
			assert_int_equal(text.length, expected);
			assert_memory_equal(bytes, "hellohello", expected);
			assert_int_equal(bytes[expected], '\0');
			assert_int_equal(text.truncated, size - 1 < 10);
			for (size_t i = size; i < sizeof bytes; i++)
				assert_int_equal(bytes[i], '#');
		}
	}
}

static void filling_exactly_is_not_truncation(void **state)
{
	TEXT_ON_STACK(text, 6);

	text_printf(&text, "%s", "hello");
	assert_false(text.truncated);
	text_string(&text, "");
	text_printf(&text, "%s", "");
	assert_false(text.truncated);
	text_char(&text, '!');
	assert_true(text.truncated);
	assert_string_equal(text.data, "hello");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(builds_and_terminates),
		cmocka_unit_test(cuts_what_does_not_fit),
		cmocka_unit_test(filling_exactly_is_not_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
