#include "lib/duration.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_LIMIT (UINT64_C(1) << 63) /* Go's int64: -2^63 ns is the longest */

/* Longer names before their prefixes. */
static const struct duration_unit {
	const char *name;
	uint64_t ns;
	bool gep;
} duration_units[] = {
	{"ms", NS_PER_MS, true},
	{"h", 3600000 * NS_PER_MS, true},
	{"m", 60000 * NS_PER_MS, true},
	{"s", 1000 * NS_PER_MS, true},
	{"ns", 1, false},
	{"us", 1000, false},
	{"\xc2\xb5s", 1000, false}, /* U+00B5 micro sign */
	{"\xce\xbcs", 1000, false}, /* U+03BC Greek mu */
};

/* The unit at *cursor, which moves behind it; NULL when there is none. */
static const struct duration_unit *duration_parse_unit(const char **cursor)
{
	for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++) {
		size_t length = strlen(duration_units[i].name);
		if (strncmp(*cursor, duration_units[i].name, length) == 0) {
			*cursor += length;
			return &duration_units[i];
		}
	}
	return NULL;
}

static bool duration_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The digits at *cursor; their number is returned. Above NS_LIMIT sets *over, and the value means nothing. */
static size_t duration_parse_digits(const char **cursor, uint64_t *value, bool *over)
{
	const char *start = *cursor;

	for (*value = 0; duration_is_digit(**cursor); ++*cursor) {
		uint64_t digit = (uint64_t)(**cursor - '0');
		if (*value > (NS_LIMIT - digit) / 10) {
			*value = NS_LIMIT / 10;
			*over = true;
		} else {
			*value = *value * 10 + digit;
		}
	}
	return (size_t)(*cursor - start);
}

/* The digits behind a dot as fraction / scale; those too small to matter are skipped. */
static size_t duration_parse_fraction(const char **cursor, uint64_t *fraction, uint64_t *scale)
{
	const char *start = *cursor;

	for (*fraction = 0, *scale = 1; duration_is_digit(**cursor); ++*cursor) {
		if (*scale < UINT64_C(1000000000000000000)) {
			*fraction = *fraction * 10 + (uint64_t)(**cursor - '0');
			*scale *= 10;
		}
	}
	return (size_t)(*cursor - start);
}

/* One component of Go's grammar, added to *ns. */
static int duration_parse_component(const char **cursor, uint64_t *ns, bool *over)
{
	uint64_t whole, fraction = 0, scale = 1;
	size_t digits = duration_parse_digits(cursor, &whole, over);

	if (**cursor == '.') {
		++*cursor;
		digits += duration_parse_fraction(cursor, &fraction, &scale);
	}
	if (digits == 0)
		return -EINVAL;
	const struct duration_unit *unit = duration_parse_unit(cursor);
	if (unit == NULL)
		return -EINVAL;

	unsigned __int128 sum = (unsigned __int128)whole * unit->ns + (unsigned __int128)fraction * unit->ns / scale + *ns;
	if (sum > NS_LIMIT) {
		sum = NS_LIMIT;
		*over = true;
	}
	*ns = (uint64_t)sum;
	return 0;
}

static int duration_parse_go(const char *text, int64_t *milliseconds)
{
	bool negative = *text == '-', over = false;
	uint64_t ns = 0;

	if (*text == '-' || *text == '+')
		text++;
	if (strcmp(text, "0") == 0) {
		*milliseconds = 0;
		return 0;
	}
	do {
		if (duration_parse_component(&text, &ns, &over) != 0)
			return -EINVAL;
	} while (*text != '\0');
	if (over || (ns == NS_LIMIT && !negative))
		return -ERANGE;

	int64_t whole = (int64_t)((ns + NS_PER_MS - 1) / NS_PER_MS);
	*milliseconds = negative ? -whole : whole;
	return 0;
}

static int duration_parse_gep(const char *text, int64_t *milliseconds)
{
	uint64_t sum = 0, value;
	bool over = false;

	for (int component = 0; component == 0 || *text != '\0'; component++) {
		size_t digits = duration_parse_digits(&text, &value, &over);
		const struct duration_unit *unit = duration_parse_unit(&text);
		if (component == 4 || digits < 1 || digits > 5 || unit == NULL || !unit->gep)
			return -EINVAL;
		sum += value * (unit->ns / NS_PER_MS);
	}
	*milliseconds = (int64_t)sum;
	return 0;
}

int duration_parse(enum duration_grammar grammar, const char *text, int64_t *milliseconds)
{
	return grammar == DURATION_GO ? duration_parse_go(text, milliseconds) : duration_parse_gep(text, milliseconds);
}

const char *duration_format(int64_t milliseconds, char out[static DURATION_TEXT_SIZE])
{
	static const struct {
		uint64_t ms;
		const char *name;
	} units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
	uint64_t rest = milliseconds < 0 ? -(uint64_t)milliseconds : (uint64_t)milliseconds;
	size_t length = 0;

	if (rest == 0)
		return strcpy(out, "0s");
	if (milliseconds < 0)
		out[length++] = '-';
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (rest >= units[i].ms)
			length += (size_t)snprintf(out + length, DURATION_TEXT_SIZE - length, "%llu%s",
						   (unsigned long long)(rest / units[i].ms), units[i].name);
		rest %= units[i].ms;
	}
	return out;
}
