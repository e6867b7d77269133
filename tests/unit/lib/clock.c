#include "lib/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void formats_known_instants(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{1767323045678, "2026-01-02T03:04:05.678Z"},
		{951782399999, "2000-02-28T23:59:59.999Z"},
		{951782400000, "2000-02-29T00:00:00.000Z"},
		{951868800000, "2000-03-01T00:00:00.000Z"},
		{4107542400000, "2100-03-01T00:00:00.000Z"},
		{253402300799999, "9999-12-31T23:59:59.999Z"},
		{INT64_MAX, "9999-12-31T23:59:59.999Z"},
		{-62167219200000, "0000-01-01T00:00:00.000Z"},
		{INT64_MIN, "0000-01-01T00:00:00.000Z"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[CLOCK_TEXT_SIZE];
		clock_format(rows[i].ms, out);
		assert_string_equal(out, rows[i].text);
	}
}

/* Around a midnight a week, for the years 53 to 9909. */
static void agrees_with_gmtime(void **state)
{
	for (int64_t day = -700000; day < 2900000; day += 7) {
		for (int64_t ms = day * 86400000 - 1; ms <= day * 86400000; ms++) {
			time_t seconds = (time_t)((ms - (ms % 1000 + 1000) % 1000) / 1000);
			char out[CLOCK_TEXT_SIZE], expected[80];
			struct tm tm;

			gmtime_r(&seconds, &tm);
			snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
				 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)((ms % 1000 + 1000) % 1000));
			int64_t back;
			clock_format(ms, out);
			assert_string_equal(out, expected);
			assert_int_equal(clock_parse(out, strlen(out), &back), 0);
			assert_true(back == ms);
		}
	}
}

static void parses(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* INT64_MIN: refused */
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-01-02T03:04:05.678Z", 1767323045678},
		{"2026-01-02T03:04:05.678912345Z", 1767323045678},
		{"2026-01-02t03:04:05.6z", 1767323045600},
		{"2026-01-02 04:04:05.678+01:00", 1767323045678},
		{"2026-01-01T21:34:05.678-05:30", 1767323045678},
		{"2026-01-02T03:04", 1767323040000},
		{"2026-01-02", 1767312000000},
		{"2000-02-29", 951782400000},
		{"2016-12-31T23:59:60Z", 1483228800000},
		{"0000-01-01", -62167219200000},
		{"", INT64_MIN}, {"2026", INT64_MIN}, {"2026-1-2", INT64_MIN}, {"2026-02-29", INT64_MIN}, {"1900-02-29", INT64_MIN},
		{"2026-04-31", INT64_MIN}, {"2026-13-01", INT64_MIN}, {"2026-00-01", INT64_MIN}, {"2026-01-00", INT64_MIN},
		{"2026-01-02T", INT64_MIN}, {"2026-01-02T24:00", INT64_MIN}, {"2026-01-02T03:60", INT64_MIN},
		{"2026-01-02T03:04:61Z", INT64_MIN}, {"2026-01-02T03:04:05.Z", INT64_MIN}, {"2026-01-02T03:04:05ZZ", INT64_MIN},
		{"2026-01-02T03:04:05+1", INT64_MIN}, {"2026-01-02T03:04:05+01:0", INT64_MIN}, {"2026-01-02Z", INT64_MIN},
		{"2026-01-02T03:04:05 Z", INT64_MIN}, {" 2026-01-02", INT64_MIN}, {"-026-01-02", INT64_MIN},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t ms = 77;
		int result = clock_parse(rows[i].text, strlen(rows[i].text), &ms);

		if (rows[i].ms == INT64_MIN ? result != -EINVAL || ms != 77 : result != 0 || ms != rows[i].ms)
			fail_msg("%s: %d, %lld", rows[i].text, result, (long long)ms);
	}
}

static void clocks_run(void **state)
{
	int64_t monotonic = clock_monotonic_ms(), realtime = clock_realtime_ms();
	struct timespec pause = {.tv_nsec = 20000000};

	nanosleep(&pause, NULL);
	assert_in_range(clock_monotonic_ms() - monotonic, 19, 5000);
	assert_in_range(clock_realtime_ms() - realtime, 1, 60000);
	assert_in_range(labs((long)(time(NULL) - clock_realtime_ms() / 1000)), 0, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_known_instants),
		cmocka_unit_test(agrees_with_gmtime),
		cmocka_unit_test(parses),
		cmocka_unit_test(clocks_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
