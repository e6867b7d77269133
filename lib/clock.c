#include "lib/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#define DAY_MS 86400000

static int64_t clock_read_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
	return clock_monotonic_us() / 1000;
}

int64_t clock_realtime_ms(void)
{
	return clock_read_us(CLOCK_REALTIME) / 1000;
}

/* Days of the year before each month, in a common and in a leap year. */
static const uint16_t before_month[2][13] = {
	{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365},
	{0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366},
};

/* Leap years among the years 0 … year-1 of the Gregorian calendar, for year >= 1. */
static int64_t clock_leap_years(int64_t year)
{
	return (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1;
}

/* Days from 0000-01-01 to the first of January of that year. */
static int64_t clock_days_before(int64_t year)
{
	return year == 0 ? 0 : year * 365 + clock_leap_years(year);
}

/* `digits` decimal digits of value at out, then the character behind them. Returns what follows. */
static char *clock_put(char *out, int64_t value, int digits, char behind)
{
	for (int i = digits - 1; i >= 0; i--) {
		out[i] = (char)('0' + value % 10);
		value /= 10;
	}
	out[digits] = behind;
	return out + digits + 1;
}

/* Not gmtime_r(): that takes a process-wide lock for every line of every worker. Years 0000 to 9999; others become these. */
void clock_format(int64_t realtime_ms, char out[static CLOCK_TEXT_SIZE])
{
	const int64_t least = -clock_days_before(1970) * DAY_MS, past = least + clock_days_before(10000) * DAY_MS;

	if (realtime_ms < least)
		realtime_ms = least;
	if (realtime_ms >= past)
		realtime_ms = past - 1;
	int64_t day = (realtime_ms - least) / DAY_MS, time = (realtime_ms - least) % DAY_MS;

	/* 400 years are 146097 days; the estimate is off by one year at most. */
	int64_t year = day * 400 / 146097;
	if (clock_days_before(year) > day)
		year--;
	else if (clock_days_before(year + 1) <= day)
		year++;
	int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0), month = 0;
	int64_t day_of_year = day - clock_days_before(year);
	while (before_month[leap][month + 1] <= day_of_year)
		month++;

	out = clock_put(out, year, 4, '-');
	out = clock_put(out, month + 1, 2, '-');
	out = clock_put(out, day_of_year - before_month[leap][month] + 1, 2, 'T');
	out = clock_put(out, time / 3600000, 2, ':');
	out = clock_put(out, time / 60000 % 60, 2, ':');
	out = clock_put(out, time / 1000 % 60, 2, '.');
	out = clock_put(out, time % 1000, 3, 'Z');
	*out = '\0';
}

/* `digits` decimal digits; false when there are fewer, or the value is not from least to greatest. */
static bool clock_take(const char **at, const char *end, int digits, int least, int greatest, int *value)
{
	int sum = 0;

	if (end - *at < digits)
		return false;
	for (int i = 0; i < digits; i++) {
		char digit = (*at)[i];
		if (digit < '0' || digit > '9')
			return false;
		sum = sum * 10 + (digit - '0');
	}
	*at += digits;
	*value = sum;
	return sum >= least && sum <= greatest;
}

static bool clock_take_char(const char **at, const char *end, const char *among)
{
	for (; *at < end && *among; among++)
		if (**at == *among) {
			++*at;
			return true;
		}
	return false;
}

static bool clock_take_date(const char **at, const char *end, int64_t *ms)
{
	int year, month, day;

	if (!clock_take(at, end, 4, 0, 9999, &year) || !clock_take_char(at, end, "-") || !clock_take(at, end, 2, 1, 12, &month) ||
	    !clock_take_char(at, end, "-") || !clock_take(at, end, 2, 1, 31, &day))
		return false;
	int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	*ms = (clock_days_before(year) - clock_days_before(1970) + before_month[leap][month - 1] + day - 1) * DAY_MS;
	return day <= before_month[leap][month] - before_month[leap][month - 1];
}

/* Digits behind the point, of which three count. */
static bool clock_take_fraction(const char **at, const char *end, int64_t *ms)
{
	const char *first = *at;

	for (int64_t worth = 100; *at < end && **at >= '0' && **at <= '9'; ++*at, worth /= 10)
		*ms += (**at - '0') * worth;
	return *at > first;
}

static bool clock_take_time(const char **at, const char *end, int64_t *ms)
{
	int hour, minute, second = 0;

	if (!clock_take(at, end, 2, 0, 23, &hour) || !clock_take_char(at, end, ":") || !clock_take(at, end, 2, 0, 59, &minute))
		return false;
	if (clock_take_char(at, end, ":")) {
		if (!clock_take(at, end, 2, 0, 60, &second)) /* 60: a leap second */
			return false;
		if (clock_take_char(at, end, ".") && !clock_take_fraction(at, end, ms))
			return false;
	}
	*ms += (hour * 3600 + minute * 60 + second) * INT64_C(1000);
	return true;
}

static bool clock_take_offset(const char **at, const char *end, int64_t *ms)
{
	int sign = *at < end && **at == '-' ? -1 : 1, hour, minute;

	if (*at == end || clock_take_char(at, end, "Zz"))
		return true;
	if (!clock_take_char(at, end, "+-") || !clock_take(at, end, 2, 0, 23, &hour) || !clock_take_char(at, end, ":") ||
	    !clock_take(at, end, 2, 0, 59, &minute))
		return false;
	*ms -= sign * (hour * 60 + minute) * INT64_C(60000);
	return true;
}

int clock_parse(const char *text, size_t length, int64_t *realtime_ms)
{
	const char *at = text, *end = text + length;
	int64_t ms;

	if (!clock_take_date(&at, end, &ms))
		return -EINVAL;
	if (at < end && (!clock_take_char(&at, end, "Tt ") || !clock_take_time(&at, end, &ms) || !clock_take_offset(&at, end, &ms)))
		return -EINVAL;
	if (at < end)
		return -EINVAL;
	*realtime_ms = ms;
	return 0;
}
