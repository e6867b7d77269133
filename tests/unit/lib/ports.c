#include "lib/ports.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static const char *show(const struct ports *ports, struct text *text)
{
	for (size_t i = 0; i < ports->count; i++) {
		text_printf(text, "%s%u", i > 0 ? "," : "", ports->ranges[i].first);
		if (ports->ranges[i].last != ports->ranges[i].first)
			text_printf(text, "-%u", ports->ranges[i].last);
	}
	return text->data;
}

static void reads_and_merges(void **state)
{
	static const struct {
		const char *first, *second, *result;
	} rows[] = {
		{"80", "", "80"}, {"80,443,8000-8999", "", "80,443,8000-8999"}, {"443,80", "", "80,443"}, {"80,80,80", "", "80"},
		{"80,81", "", "80-81"}, {"80-90,91-100", "", "80-100"}, {"80-90,92", "", "80-90,92"},
		{"80-100,85-90", "", "80-100"},
		{"80-90,85-100", "", "80-100"}, {"100-200,50-99", "", "50-200"}, {"1-65535", "80", "1-65535"},
		{"65535", "65534", "65534-65535"},
		{"65535,1", "", "1,65535"}, {"65535,65535", "", "65535"}, {" 80 ,\t443 ", "", "80,443"}, {"", "", ""},
		{"  ", "22", "22"},
		{"80", "80", "80"}, {"80,90", "81-89", "80-90"}, {"10,20,30", "15,25", "10,15,20,25,30"}, {"00080", "", "80"},
		{"5-5", "", "5"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ports ports = {0};
		TEXT_ON_STACK(text, 256);

		assert_int_equal(ports_parse(&ports, rows[i].first, NULL, NULL), 0);
		assert_int_equal(ports_parse(&ports, rows[i].second, NULL, NULL), 0);
		assert_string_equal(show(&ports, &text), rows[i].result);
		ports_free(&ports);
		assert_int_equal(ports.count, 0);
	}
}

static void refuses_and_points_at_it(void **state)
{
	static const struct {
		const char *text, *bad;
	} rows[] = {
		{"0", "0"}, {"65536", "65536"}, {"80-79", "80-79"}, {"0-10", "0-10"}, {"80,foo,90", "foo"}, {"80,,90", ""},
		{"80,", ""},
		{",80", ""}, {"80-", "80-"}, {"-80", "-80"}, {"80 90", "80 90"}, {"80 - 90", "80 - 90"}, {"1,+2", "+2"},
		{"80-90-100", "80-90-100"},
		{"1, 70000 ,2", "70000"}, {"99999999999999999999", "99999999999999999999"}, {"1-65536", "1-65536"},
		{"80\n", "80\n"}, {"0x50", "0x50"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ports ports = {0};
		TEXT_ON_STACK(text, 64);
		const char *bad = NULL;
		size_t length = 99;

		assert_int_equal(ports_parse(&ports, "22,90-100", NULL, NULL), 0);
		assert_int_equal(ports_parse(&ports, rows[i].text, &bad, &length), -EINVAL);
		if (length != strlen(rows[i].bad) || memcmp(bad, rows[i].bad, length) != 0 || bad < rows[i].text ||
		    bad + length > rows[i].text + strlen(rows[i].text))
			fail_msg("\"%s\": says \"%.*s\"", rows[i].text, (int)length, bad);
		assert_int_equal(ports_parse(&ports, rows[i].text, NULL, NULL), -EINVAL);
		assert_string_equal(show(&ports, &text), "22,90-100");
		ports_free(&ports);
	}
}

/* Random lists against a table of all ports. */
static void agrees_with_a_table(void **state)
{
	srand(7);
	for (int round = 0; round < 200; round++) {
		struct ports ports = {0};
		static bool table[65536];
		int span = round % 2 == 0 ? 60 : 65535;

		memset(table, 0, sizeof table);
		for (int i = 0; i < 12; i++) {
			int a = rand() % span + 1, b = rand() % span + 1, first = a < b ? a : b, last = a < b ? b : a;
			char text[32];

			if (last - first > span / 8)
				last = first;
			for (int port = first; port <= last; port++)
				table[port] = true;
			snprintf(text, sizeof text, "%d-%d", first, last);
			assert_int_equal(ports_parse(&ports, text, NULL, NULL), 0);
		}
		for (int port = 0; port <= 65535; port++) {
			if (ports_contain(&ports, (uint16_t)port) != table[port])
				fail_msg("port %d", port);
		}
		for (size_t i = 1; i < ports.count; i++)
			assert_true(ports.ranges[i].first > ports.ranges[i - 1].last + 1);
		ports_free(&ports);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_merges),
		cmocka_unit_test(refuses_and_points_at_it),
		cmocka_unit_test(agrees_with_a_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
