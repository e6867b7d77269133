#include "proxy/why/why_record.h"

#include <string.h>

#include "lib/clock.h"
#include "proxy/metrics/words.h"

static const struct {
	const char *name;
	size_t length;
} names[WHY_VALUE_COUNT] = {
#define WHY_VALUE(id, name) [WHY_##id] = {name, sizeof name - 1},
    WHY_VALUES(WHY_VALUE)
#undef WHY_VALUE
};

/* The fields come in about this order: looked for from where the last one was found. */
static unsigned why_record_find(struct why_slice key, unsigned from)
{
	for (unsigned i = 0; i < WHY_VALUE_COUNT; i++) {
		unsigned id = from + i < WHY_VALUE_COUNT ? from + i : from + i - WHY_VALUE_COUNT;

		if (names[id].length == key.length && memcmp(names[id].name, key.bytes, key.length) == 0)
			return id;
	}
	return WHY_VALUE_COUNT;
}

static enum why_kind why_record_kind(struct why_slice msg)
{
	static const struct {
		const char *msg;
		enum why_kind kind;
	} kinds[] = {
	    {"connection closed", WHY_CLOSED},
	    {"request failed", WHY_FAILED},
	    {"request", WHY_REQUEST},
	    {"records held back", WHY_HELD_BACK},
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (why_slice_is(msg, kinds[i].msg))
			return kinds[i].kind;
	return WHY_OTHER;
}

/* Fills values. 0, or -EBADMSG as far as it came. others: fields that no record has. */
static int why_record_fields(struct why_record *record, size_t *others)
{
	struct why_fields fields;
	struct why_field field;
	char *scratch = record->scratch;
	unsigned next = 0;
	int result;

	why_fields_begin(&fields, record->line.bytes, record->line.length);
	while ((result = why_fields_next(&fields, &field)) == 1) {
		unsigned id = why_record_find(field.key, next);

		*others += id == WHY_VALUE_COUNT;
		if (id == WHY_VALUE_COUNT || field.nested)
			continue;
		if (field.escaped) {
			size_t length = why_fields_unescape(field.value, scratch);

			field.value = (struct why_slice){scratch, length};
			scratch += length;
		}
		record->values[id] = field.value;
		next = id + 1;
		if (id == WHY_MSG && why_record_kind(field.value) == WHY_OTHER && !why_slice_is(record->values[WHY_LEVEL], "warn") &&
		    !why_slice_is(record->values[WHY_LEVEL], "error"))
			return 0; /* most of other people's lines */
	}
	return result;
}

/* Digits, at most 10^18; 0 for what is none. */
static uint64_t why_record_number(struct why_slice slice)
{
	uint64_t number = 0;

	for (size_t i = 0; i < slice.length && slice.bytes[i] >= '0' && slice.bytes[i] <= '9'; i++)
		if (number < UINT64_C(100000000000000000))
			number = number * 10 + (uint64_t)(slice.bytes[i] - '0');
	return number;
}

/* "0.001234", in microseconds; -1 where there is none. */
static int64_t why_record_seconds(struct why_slice slice)
{
	const char *point = slice.length ? memchr(slice.bytes, '.', slice.length) : NULL;
	int64_t microseconds = 0, worth = 100000;

	if (!slice.length || *slice.bytes < '0' || *slice.bytes > '9')
		return -1;
	for (const char *at = point ? point + 1 : NULL; at && at < slice.bytes + slice.length && *at >= '0' && *at <= '9'; at++) {
		microseconds += (*at - '0') * worth;
		worth /= 10;
	}
	return (int64_t)(why_record_number(slice) % 1000000000000) * 1000000 + microseconds;
}

static unsigned why_record_phase(struct why_slice name)
{
	for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
		if (why_slice_is(name, words_phase(phase)))
			return phase;
	return PHASE_COUNT;
}

static bool why_record_by(struct why_slice name, enum reason_by *by)
{
	for (enum reason_by each = BY_CLIENT; each < BY_PEER; each++)
		if (why_slice_is(name, reason_by_name(each))) {
			*by = each;
			return true;
		}
	return false;
}

static enum reason_id why_record_reason(struct why_slice name)
{
	char text[64];

	if (name.length >= sizeof text)
		return REASON_COUNT;
	memcpy(text, name.bytes, name.length);
	text[name.length] = '\0';
	return reason_find(text);
}

/* What only a record that is whole has, kind by kind: the detail is the last field of a close record. */
static bool why_record_is_whole(struct why_record *record)
{
	const struct why_slice *values = record->values;

	if (record->kind == WHY_HELD_BACK)
		return values[WHY_REASON].bytes && record->suppressed;
	record->outbound = why_slice_is(values[WHY_DIRECTION], "outbound");
	if (!values[WHY_CLIENT].length || (!record->outbound && !why_slice_is(values[WHY_DIRECTION], "inbound")))
		return false;
	if (record->kind == WHY_REQUEST)
		return values[WHY_ANSWER].bytes && values[WHY_CLASSIFICATION].bytes;
	record->phase = why_record_phase(values[WHY_PHASE]);
	return values[WHY_REASON].bytes && why_record_by(values[WHY_BY], &record->by) && values[WHY_PHASE].bytes &&
	       (values[WHY_DETAIL].bytes || values[WHY_TRUNCATED].bytes);
}

/* Other programs log a "request" too: they have another clock, or fields but neither direction nor reason. */
static bool why_record_is_ours(struct why_record *record, int result, size_t others)
{
	const struct why_slice *values = record->values;

	if (!values[WHY_TS].bytes || clock_parse(values[WHY_TS].bytes, values[WHY_TS].length, &record->at_ms))
		return false;
	if (result || values[WHY_REASON].bytes || values[WHY_DIRECTION].bytes)
		return true;
	for (int id = 0; id < WHY_VALUE_COUNT; id++)
		others += values[id].bytes && id != WHY_TS && id != WHY_LEVEL && id != WHY_MSG;
	return !others; /* cut off behind msg */
}

/* A warning or an error of the proxy has ts, level and msg and nothing else. */
static bool why_record_is_message(struct why_record *record)
{
	const struct why_slice *values = record->values;

	return values[WHY_MSG].length && (why_slice_is(values[WHY_LEVEL], "warn") || why_slice_is(values[WHY_LEVEL], "error")) &&
	       values[WHY_TS].bytes && !values[WHY_REASON].bytes &&
	       !clock_parse(values[WHY_TS].bytes, values[WHY_TS].length, &record->at_ms);
}

void why_record_read(const struct why_line *line, struct why_record *record)
{
	size_t others = 0;
	int result;

	record->line = line->record;
	record->pod = line->pod;
	memset(record->values, 0, sizeof record->values);
	record->reason = REASON_NONE;
	record->phase = PHASE_COUNT;
	record->kind = WHY_OTHER;
	result = why_record_fields(record, &others);
	const struct why_slice *values = record->values;

	record->kind = why_record_kind(values[WHY_MSG]);
	if (record->kind == WHY_OTHER) {
		if (result && !values[WHY_MSG].bytes && !others)
			record->kind = WHY_UNREADABLE; /* cut off before anything but what begins our lines */
		else if (!result && !others && why_record_is_message(record))
			record->kind = WHY_MESSAGE;
		return;
	}
	record->requests = why_record_number(values[WHY_REQUESTS]);
	record->suppressed = why_record_number(values[WHY_SUPPRESSED]);
	record->retries = why_record_number(values[WHY_RETRIES]);
	record->duration_us = why_record_seconds(values[WHY_DURATION]);
	if (!why_record_is_ours(record, result, others)) {
		record->kind = WHY_OTHER;
		return;
	}
	if (result || !why_record_is_whole(record)) {
		record->kind = WHY_UNREADABLE;
		return;
	}
	if (values[WHY_REASON].bytes) {
		record->reason = why_record_reason(values[WHY_REASON]);
		if (record->reason == REASON_COUNT || record->reason == REASON_NONE) {
			record->kind = WHY_UNKNOWN;
			record->reason = REASON_NONE;
		}
	}
}

struct why_slice why_record_server(const struct why_record *record)
{
	return record->values[record->values[WHY_BACKEND].length ? WHY_BACKEND : WHY_SERVER];
}

struct why_slice why_record_host(struct why_slice address)
{
	const char *colon = address.length ? memrchr(address.bytes, ':', address.length) : NULL;

	if (!colon)
		return address;
	address.length = (size_t)(colon - address.bytes);
	if (address.length >= 2 && *address.bytes == '[' && address.bytes[address.length - 1] == ']')
		return (struct why_slice){address.bytes + 1, address.length - 2};
	return address;
}

bool why_record_is_of(const struct why_record *record, const char *service)
{
	struct why_slice name = record->values[WHY_SERVICE];
	const char *slash = name.length ? memchr(name.bytes, '/', name.length) : NULL;
	const enum why_value addresses[] = {WHY_SERVER, WHY_BACKEND};

	if (why_slice_is(name, service) ||
	    (slash && why_slice_is((struct why_slice){slash + 1, name.length - (size_t)(slash + 1 - name.bytes)}, service)))
		return true;
	for (size_t i = 0; i < 2; i++)
		if (why_slice_is(record->values[addresses[i]], service) ||
		    why_slice_is(why_record_host(record->values[addresses[i]]), service))
			return true;
	return false;
}

int64_t why_record_race_idle(const struct why_record *record)
{
	static const char words[] = "idle for ";
	struct why_slice detail = record->values[WHY_DETAIL];
	const char *found;

	if (record->reason != REASON_KEEPALIVE_RACE && record->reason != REASON_KEEPALIVE_RACE_UNSENT)
		return -1;
	found = detail.length ? memmem(detail.bytes, detail.length, words, sizeof words - 1) : NULL;
	if (!found)
		return -1;
	found += sizeof words - 1;
	int64_t us = why_record_seconds((struct why_slice){found, (size_t)(detail.bytes + detail.length - found)});

	return us < 0 ? -1 : us / 1000;
}
