#include "lib/timeouts.h"

#include <ctype.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/json.h"

static const struct {
	const char *name, *sentence, *cost;
	int64_t default_ms;
	enum reason_id reason;
} rows[] = {
#define TIMEOUT(id, name, default_ms, reason, sentence, cost) [TIMEOUT_##id] = {#name, sentence, cost, default_ms, REASON_##reason},
#include "lib/timeouts.def"
#undef TIMEOUT
};

_Static_assert(sizeof rows / sizeof rows[0] == TIMEOUT_COUNT, "one row per timeout");

void timeouts_init_unset(struct timeouts *timeouts)
{
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		timeouts->of[id] = (struct timeout_value){.milliseconds = TIMEOUT_UNSET};
}

void timeouts_init_defaults(struct timeouts *timeouts)
{
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		timeouts->of[id] = (struct timeout_value){.milliseconds = rows[id].default_ms, .source = "built-in"};
}

void timeouts_merge(struct timeouts *base, const struct timeouts *over)
{
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		if (over->of[id].milliseconds != TIMEOUT_UNSET)
			base->of[id] = over->of[id];
}

const char *timeouts_counted_from(const struct timeout_value *value)
{
	return value->after_request ? "the end of the request" : NULL;
}

void timeouts_print_json_value(struct json *json, enum timeout_id id, const struct timeout_value *value, bool with_cost)
{
	char duration[DURATION_TEXT_SIZE];

	json_open(json, timeouts_name(id), '{');
	json_string(json, "value", duration_format(value->milliseconds, duration));
	json_number(json, "ms", value->milliseconds);
	json_string(json, "source", value->source);
	if (timeouts_counted_from(value))
		json_string(json, "counted_from", timeouts_counted_from(value));
	if (with_cost && value->milliseconds == rows[id].default_ms)
		json_string(json, "cost", rows[id].cost);
	json_close(json, '}');
}

void timeouts_print_json(struct json *json, const struct timeouts *timeouts, bool with_cost)
{
	json_open(json, "timeouts", '{');
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		timeouts_print_json_value(json, (enum timeout_id)id, &timeouts->of[id], with_cost);
	json_close(json, '}');
}

const char *timeouts_name(enum timeout_id id)
{
	return rows[id].name;
}

const char *timeouts_sentence(enum timeout_id id)
{
	return rows[id].sentence;
}

const char *timeouts_cost(enum timeout_id id)
{
	return rows[id].cost;
}

int64_t timeouts_default(enum timeout_id id)
{
	return rows[id].default_ms;
}

enum reason_id timeouts_reason(enum timeout_id id)
{
	return rows[id].reason;
}

bool timeouts_of_proxy(enum timeout_id id)
{
	return id == TIMEOUT_DRAIN || id == TIMEOUT_DRAIN_LEAST;
}

enum timeout_id timeouts_find(const char *name)
{
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		if (strcmp(rows[id].name, name) == 0)
			return id;
	return TIMEOUT_NONE;
}

void timeouts_flag_name(enum timeout_id id, char out[static TIMEOUTS_FLAG_SIZE])
{
	static const char prefix[] = "timeout-";
	size_t length = sizeof prefix - 1;

	memcpy(out, prefix, length);
	for (const char *c = rows[id].name; *c && length < TIMEOUTS_FLAG_SIZE - 2; c++) {
		if (isupper((unsigned char)*c))
			out[length++] = '-';
		out[length++] = (char)tolower((unsigned char)*c);
	}
	out[length] = '\0';
}
