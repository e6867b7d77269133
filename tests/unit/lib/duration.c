#include "lib/duration.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NONE INT64_C(-424242) /* what an untouched output holds */

struct row {
	const char *text;
	int result;
	int64_t ms;
};

static void check(enum duration_grammar grammar, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int64_t ms = NONE;
		int result = duration_parse(grammar, rows[i].text, &ms);
		int64_t expected = rows[i].result == 0 ? rows[i].ms : NONE;
		if (result != rows[i].result || ms != expected)
			fail_msg("\"%s\": result %d, %lld ms; expected %d, %lld", rows[i].text, result, (long long)ms,
				 rows[i].result, (long long)expected);
	}
}

static void go_accepts(void **state)
{
	static const struct row rows[] = {
		{"0", 0, 0}, {"+0", 0, 0}, {"-0", 0, 0}, {"0s", 0, 0}, {"-0s", 0, 0}, {"0h0m0s", 0, 0},
		{"1ms", 0, 1}, {"5s", 0, 5000}, {"1h", 0, 3600000}, {"1m", 0, 60000}, {"1h30m", 0, 5400000},
		{"30m1h", 0, 5400000}, {"1h1h", 0, 7200000}, {"1m1ms", 0, 60001}, {"1ms1m", 0, 60001},
		{"1.5h", 0, 5400000}, {".5s", 0, 500}, {"5.s", 0, 5000}, {"0.1s", 0, 100}, {"1.25ms", 0, 2}, {"0.3h", 0, 1080000},
		{"-1s", 0, -1000}, {"+1s", 0, 1000}, {"-1.5h", 0, -5400000}, {"010s", 0, 10000},
		/* between two milliseconds: away from zero */
		{"1ns", 0, 1}, {"-1ns", 0, -1}, {"1us", 0, 1}, {"999999ns", 0, 1}, {"1000000ns", 0, 1}, {"1000001ns", 0, 2},
		{"1\xc2\xb5s", 0, 1}, {"2000\xce\xbcs", 0, 2}, {"1ms1ns", 0, 2}, {"500us500us", 0, 1}, {"-1001us", 0, -2},
		/* what is below Go's nanosecond is nothing */
		{"0.1ns", 0, 0}, {"1.9ns", 0, 1},
		{"1s1s1s1s1s1s1s", 0, 7000},
		{"0.100000000000000000000000000000000000009s", 0, 100},
		{"9223372036854775807ns", 0, 9223372036855}, {"-9223372036854775808ns", 0, -9223372036855},
		{"2562047h", 0, INT64_C(2562047) * 3600000}, {"000000000000000000000000000000001s", 0, 1000},
	};

	check(DURATION_GO, rows, sizeof rows / sizeof *rows);
}

static void go_refuses(void **state)
{
	static const struct row rows[] = {
		{"", -EINVAL, 0}, {"5", -EINVAL, 0}, {"00", -EINVAL, 0}, {"+", -EINVAL, 0}, {"-", -EINVAL, 0}, {"s", -EINVAL, 0},
		{".", -EINVAL, 0}, {".s", -EINVAL, 0}, {"-.s", -EINVAL, 0}, {"1d", -EINVAL, 0}, {"10w", -EINVAL, 0},
		{"1H", -EINVAL, 0},
		{"1S", -EINVAL, 0}, {" 1s", -EINVAL, 0}, {"1s ", -EINVAL, 0}, {"1 s", -EINVAL, 0}, {"1s\n", -EINVAL, 0},
		{"1s1", -EINVAL, 0}, {"1m1", -EINVAL, 0}, {"--1s", -EINVAL, 0}, {"+-1s", -EINVAL, 0}, {"1s-1s", -EINVAL, 0},
		{"1.2.3s", -EINVAL, 0}, {"1e3s", -EINVAL, 0}, {"0x1s", -EINVAL, 0}, {"1sec", -EINVAL, 0}, {"1\xc2s", -EINVAL, 0},
		{"1\xc2\xb5", -EINVAL, 0}, {"infinity", -EINVAL, 0}, {"1min", -EINVAL, 0}, {"\xd9\xa1s", -EINVAL, 0},
		{"999999999h", -ERANGE, 0}, {"3000000h", -ERANGE, 0}, {"-3000000h", -ERANGE, 0}, {"2562048h", -ERANGE, 0},
		{"9223372036854775808ns", -ERANGE, 0}, {"-9223372036854775809ns", -ERANGE, 0},
		{"9223372036854775807ns1ns", -ERANGE, 0}, {"2562047h2562047h", -ERANGE, 0},
		{"99999999999999999999999999999999999999999999s", -ERANGE, 0},
		{"18446744073709551616s", -ERANGE, 0}, {"18446744073709551617ns", -ERANGE, 0},
		/* a word with letters in it is a mistake of another kind */
		{"999999999h5", -EINVAL, 0}, {"99999999999999999999999", -EINVAL, 0},
	};

	check(DURATION_GO, rows, sizeof rows / sizeof *rows);
}

static void gep_accepts(void **state)
{
	static const struct row rows[] = {
		{"0s", 0, 0}, {"0h", 0, 0}, {"0m", 0, 0}, {"0ms", 0, 0}, {"0h0m0s", 0, 0}, {"00000s", 0, 0}, {"1ms", 0, 1},
		{"1h", 0, 3600000}, {"10s30m1h", 0, 5410000}, {"1h2h20m10m", 0, 12600000}, {"150m", 0, 9000000},
		{"00010s", 0, 10000},
		{"1m1ms", 0, 60001}, {"1ms1m", 0, 60001}, {"99999h", 0, INT64_C(359996400000)},
		{"99999h99999h99999h99999h", 0, INT64_C(1439985600000)}, {"99999ms", 0, 99999},
	};

	check(DURATION_GEP2257, rows, sizeof rows / sizeof *rows);
	check(DURATION_GO, rows, sizeof rows / sizeof *rows);
}

static void gep_refuses(void **state)
{
	static const struct row rows[] = {
		{"", -EINVAL, 0}, {"0", -EINVAL, 0}, {"1", -EINVAL, 0}, {"5", -EINVAL, 0}, {"1m1", -EINVAL, 0}, {"1d", -EINVAL, 0},
		{"1.5h", -EINVAL, 0}, {"-15m", -EINVAL, 0}, {"+5s", -EINVAL, 0}, {"-1s", -EINVAL, 0}, {"100us", -EINVAL, 0},
		{"500ns", -EINVAL, 0}, {"1\xc2\xb5s", -EINVAL, 0}, {"999999h", -EINVAL, 0}, {"000001h", -EINVAL, 0},
		{"999999999h", -EINVAL, 0}, {"1s1s1s1s1s", -EINVAL, 0}, {"1H", -EINVAL, 0}, {"1s\n", -EINVAL, 0},
		{" 1s", -EINVAL, 0},
		{"1s ", -EINVAL, 0}, {"h", -EINVAL, 0}, {"1hh", -EINVAL, 0}, {".5s", -EINVAL, 0},
		{"99999999999999999999999s", -EINVAL, 0},
	};

	check(DURATION_GEP2257, rows, sizeof rows / sizeof *rows);
}

static void formats(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{0, "0s"}, {1, "1ms"}, {999, "999ms"}, {1000, "1s"}, {1500, "1s500ms"}, {60000, "1m"}, {9000000, "2h30m"},
		{3600000, "1h"}, {3600001, "1h1ms"}, {90061001, "25h1m1s1ms"}, {-1500, "-1s500ms"}, {86400000, "24h"},
		{INT64_MAX, "2562047788015h12m55s807ms"}, {INT64_MIN, "-2562047788015h12m55s808ms"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[DURATION_TEXT_SIZE];
		assert_string_equal(duration_format(rows[i].ms, out), rows[i].text);
	}
}

static void format_and_parse_agree(void **state)
{
	for (int64_t ms = 1; ms < INT64_C(359996400000); ms = ms * 7 / 5 + 1) {
		char out[DURATION_TEXT_SIZE];
		int64_t back = NONE;

		assert_int_equal(duration_parse(DURATION_GEP2257, duration_format(ms, out), &back), 0);
		assert_true(back == ms);
		int result = duration_parse(DURATION_GO, duration_format(-ms, out), &back);
		assert_int_equal(result, ms < INT64_C(9223372036854) ? 0 : -ERANGE);
		assert_true(back == (result == 0 ? -ms : ms));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(go_accepts),  cmocka_unit_test(go_refuses), cmocka_unit_test(gep_accepts),
		cmocka_unit_test(gep_refuses), cmocka_unit_test(formats),    cmocka_unit_test(format_and_parse_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
