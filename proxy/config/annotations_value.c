#include "proxy/config/annotations_value.h"

#include <string.h>
#include <strings.h>

#include "lib/duration.h"
#include "proxy/config/catalog.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* --- values --- */

struct span {
	const char *bytes;
	size_t length;
};

static struct span annotations_value_trim(const char *bytes, size_t length)
{
	while (length > 0 && strchr(" \t\r\n", *bytes)) {
		bytes++;
		length--;
	}
	while (length > 0 && strchr(" \t\r\n", bytes[length - 1]))
		length--;
	return (struct span){bytes, length};
}

static bool annotations_value_span_is(struct span span, const char *word)
{
	return strlen(word) == span.length && strncasecmp(word, span.bytes, span.length) == 0;
}

/* A decimal number without sign, at most `most`. */
static bool annotations_value_number(struct span span, uint64_t most, uint64_t *out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < span.length; i++) {
		if (span.bytes[i] < '0' || span.bytes[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(span.bytes[i] - '0');
		if (digit > most || value > (most - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return span.length > 0;
}

bool annotations_value_go(const char *value, int64_t *milliseconds)
{
	int64_t read;

	if (duration_parse(DURATION_GO, value, &read) != 0 || read < 0)
		return false;
	*milliseconds = read;
	return true;
}

/* Linkerd's own form, one number and one unit, knows days, zeros without a unit, a '+' and blanks around; all else of it is Go's. */
bool annotations_value_linkerd(const char *value, int64_t *milliseconds)
{
	enum { DAY_MS = 86400000 };
	char text[128];
	uint64_t number;
	struct span span = annotations_value_trim(value, strlen(value));
	if (span.length == 0 || span.length >= sizeof text)
		return false;
	memcpy(text, span.bytes, span.length);
	text[span.length] = '\0';

	struct span digits = {text + (*text == '+'), span.length - (*text == '+')};
	if (annotations_value_number(digits, 0, &number)) {
		*milliseconds = 0;
		return true;
	}
	if (text[span.length - 1] != 'd')
		return annotations_value_go(text, milliseconds);
	digits.length--;
	if (!annotations_value_number(digits, INT64_MAX / 1000000 / DAY_MS, &number))
		return false;
	*milliseconds = (int64_t)number * DAY_MS;
	return true;
}

/* --- retry.linkerd.io --- */

/* Every entry of a comma-separated list, trimmed, of which there is at least one. */
static bool annotations_value_list(const char *value, struct retry *retry, bool (*read)(struct span entry, struct retry *retry))
{
	for (;; value++) {
		size_t length = strcspn(value, ",");

		if (!read(annotations_value_trim(value, length), retry))
			return false;
		value += length;
		if (!*value)
			return true;
	}
}

static bool annotations_value_code(struct span entry, struct retry *retry)
{
	static const struct {
		const char *name;
		uint64_t first, last;
	} names[] = {{"5xx", 500, 599}, {"gateway-error", 502, 504}};
	uint64_t first = 0, last = 0, most = RETRY_STATUS_FIRST + RETRY_STATUS_COUNT - 1;

	for (size_t i = 0; i < LENGTH(names); i++) {
		if (annotations_value_span_is(entry, names[i].name)) {
			first = names[i].first;
			last = names[i].last;
		}
	}
	if (!first) {
		const char *dash = memchr(entry.bytes, '-', entry.length);
		struct span start = {entry.bytes, dash ? (size_t)(dash - entry.bytes) : entry.length}, stop = start;

		if (dash)
			stop = (struct span){dash + 1, entry.length - start.length - 1};
		if (!annotations_value_number(start, most, &first) || !annotations_value_number(stop, most, &last) ||
		    first < RETRY_STATUS_FIRST || last < first)
			return false;
	}
	for (uint64_t bit = first - RETRY_STATUS_FIRST; bit <= last - RETRY_STATUS_FIRST; bit++)
		retry->codes[bit / 32] |= UINT32_C(1) << bit % 32;
	return true;
}

bool annotations_value_http(const char *value, struct retry *retry)
{
	return annotations_value_list(value, retry, annotations_value_code);
}

static const struct {
	const char *name;
	unsigned number;
} grpc_statuses[] = {{"cancelled", 1}, {"deadline-exceeded", 4}, {"resource-exhausted", 8}, {"internal", 13}, {"unavailable", 14}};

const char *annotations_value_grpc_name(unsigned number)
{
	for (size_t i = 0; i < LENGTH(grpc_statuses); i++)
		if (grpc_statuses[i].number == number)
			return grpc_statuses[i].name;
	return NULL;
}

static bool annotations_value_grpc_status(struct span entry, struct retry *retry)
{
	for (size_t i = 0; i < LENGTH(grpc_statuses); i++) {
		if (annotations_value_span_is(entry, grpc_statuses[i].name)) {
			retry->grpc |= UINT64_C(1) << grpc_statuses[i].number;
			return true;
		}
	}
	return false;
}

bool annotations_value_grpc(const char *value, struct retry *retry)
{
	return annotations_value_list(value, retry, annotations_value_grpc_status);
}

bool annotations_value_limit(const char *value, struct retry *retry)
{
	uint64_t limit;

	if (!annotations_value_number(annotations_value_trim(value, strlen(value)), UINT16_MAX, &limit))
		return false;
	if (limit > 0)
		retry->attempts = (uint32_t)limit;
	return true;
}

bool annotations_value_attempt(const char *value, struct retry *retry)
{
	return annotations_value_linkerd(value, &retry->attempt_ms);
}
