#include "proxy/why/why_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

/* What a row prints. */
static void prints(bool colour, const char *label, int column, enum why_style style, const char *text, const char *expected)
{
	char *out = NULL;
	size_t size;
	FILE *to = open_memstream(&out, &size);
	const struct why_page page = {.out = to, .colour = colour};

	assert_non_null(to);
	why_page_row(&page, 2, label, column, style, text);
	fclose(to);
	assert_string_equal(out, expected);
	free(out);
}

#define TEN "123456789 "
#define NINETY TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void folds_rows(void **state)
{
	prints(false, "who", 8, WHY_PLAIN, "a b", "  who   a b\n");
	prints(false, "", 2, WHY_PLAIN, "", "  \n");
	prints(true, "do", 8, WHY_BOLD, "it", "  do    \033[1mit\033[0m\n");
	prints(true, "do", 8, WHY_PLAIN, "it", "  do    it\n");
	prints(false, "do", 10, WHY_PLAIN, NINETY "next", "  do      " TEN TEN TEN TEN TEN TEN TEN TEN "123456789\n          next\n");
	prints(false, "do", 10, WHY_PLAIN, NINETY TEN, "  do      " TEN TEN TEN TEN TEN TEN TEN TEN "123456789\n          " "123456789\n");
}

static void cuts_long_words(void **state)
{
	char word[300], expected[400];

	memset(word, 'w', 250);
	word[250] = '\0';
	snprintf(expected, sizeof expected, "  do      %.90s\n          %.90s\n          %.70s\n", word, word, word);
	prints(false, "do", 10, WHY_PLAIN, word, expected);
}

/* A character of two bytes fills one column; what would move a terminal is spelled out. */
static void cleans(void **state)
{
	char text[300] = "", expected[400];

	for (int i = 0; i < 100; i++)
		strcat(text, "\u00e9");
	snprintf(expected, sizeof expected, "  do      %.180s\n          %.20s\n", text, text);
	prints(false, "do", 10, WHY_PLAIN, text, expected);
	prints(false, "do", 10, WHY_PLAIN, "a\033[31m\n\"\\\xc2\x9b\xff", "  do      a\\u001b[31m\\n\"\\\\u009b\\ufffd\n");
}

static void writes_figures(void **state)
{
	static const struct {
		uint64_t number;
		const char *text;
	} numbers[] = {{0, "0"}, {999, "999"}, {1000, "1,000"}, {1234567, "1,234,567"}, {UINT64_MAX, "18,446,744,073,709,551,615"}};
	static const struct {
		uint64_t part, all;
		const char *text;
	} shares[] = {{0, 0, "0 %"}, {1, 1000, "<1 %"}, {1, 2, "50 %"}, {999, 1000, "99 %"}, {7, 7, "100 %"}};
	static const struct {
		int64_t ms;
		const char *text;
	} durations[] = {{0, "0s"}, {35, "35ms"}, {1234, "1s200ms"}, {12345, "12s"}, {61500, "1m1s"}, {3725000, "1h2m"},
	                 {86400000, "1d"}, {93784000, "1d2h"}};

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		TEXT_ON_STACK(out, 64);
		why_page_number(numbers[i].number, &out);
		assert_string_equal(out_bytes, numbers[i].text);
	}
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
		TEXT_ON_STACK(out, 64);
		why_page_share(shares[i].part, shares[i].all, &out);
		assert_string_equal(out_bytes, shares[i].text);
	}
	for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
		TEXT_ON_STACK(out, 64);
		why_page_duration(durations[i].ms, &out);
		assert_string_equal(out_bytes, durations[i].text);
	}
}

static void writes_times(void **state)
{
	const struct why_page day = {.first_ms = 1795219200000, .last_ms = 1795219200000 + 86399999};
	const struct why_page days = {.first_ms = 1795219200000, .last_ms = 1795219200000 + 86400000};
	TEXT_ON_STACK(out, 64);

	why_page_time(&day, 1795241510071, true, &out);
	text_char(&out, '|');
	why_page_time(&day, 1795241510071, false, &out);
	text_char(&out, '|');
	why_page_time(&days, 1795241510071, true, &out);
	assert_string_equal(out_bytes, "06:11:50|06:11|11-21 06:11:50");
}

static void add(struct why_top *top, const char *name, uint64_t times)
{
	why_top_add(top, (struct why_slice){name, strlen(name)}, times);
}

static void writes_names(void **state)
{
	struct why_top top = {0}, many = {0};
	TEXT_ON_STACK(one, 256);
	TEXT_ON_STACK(three, 256);
	TEXT_ON_STACK(all, 256);

	add(&top, ":8080", 4000);
	why_page_top(&top, 2, &one);
	assert_string_equal(one_bytes, "port 8080");
	add(&top, "::1", 30);
	add(&top, "x", 5);
	why_page_top(&top, 2, &three);
	assert_string_equal(three_bytes, "port 8080 (4,000), ::1 (30) and others (5)");
	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof name, "n%d", i);
		add(&many, name, 1);
	}
	why_page_top(&many, 3, &all);
	assert_string_equal(all_bytes, "many");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(folds_rows),
	    cmocka_unit_test(cuts_long_words),
	    cmocka_unit_test(cleans),
	    cmocka_unit_test(writes_figures),
	    cmocka_unit_test(writes_times),
	    cmocka_unit_test(writes_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
