#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/text.h"
#include "proxy/why/why_print.h"
#include "proxy/why/why_remedy.h"
#include "proxy/why/why_tally.h"

enum { JSON_ROWS = 512, JSON_TEXT_SIZE = 8192 };

static const char *const outcome_names[] = {
    [WHY_MEANT] = "meant", [WHY_SILENT] = "silent", [WHY_GAVE_UP] = "gave_up", [WHY_BROKE] = "failed"};

static void why_print_json_time(struct json *json, const char *key, int64_t at_ms)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(at_ms, text);
	json_string(json, key, text);
}

/* Slices are no texts: cut at a NUL, should one hold one. */
static void why_print_json_slice(struct json *json, const char *key, struct why_slice slice)
{
	TEXT_ON_STACK(text, JSON_TEXT_SIZE);

	text_append(&text, slice.bytes, slice.length);
	if (slice.bytes)
		json_string(json, key, text_bytes);
	else
		json_null(json, key);
}

static void why_print_json_top(struct json *json, const char *key, const struct why_top *top)
{
	const struct why_place *places[WHY_TOP_PLACES];
	size_t count = why_top_list(top, places);
	uint64_t left = top->total;

	json_open(json, key, '{');
	json_open(json, "most", '[');
	for (size_t i = 0; i < count; i++) {
		json_open(json, NULL, '{');
		json_string(json, "name", places[i]->name);
		json_number(json, "count", (int64_t)(places[i]->count - places[i]->error));
		json_close(json, '}');
		left -= places[i]->count - places[i]->error;
	}
	json_close(json, ']');
	json_number(json, "others", (int64_t)left);
	json_close(json, '}');
}

static void why_print_json_timer(struct json *json, const struct why_timer *timer)
{
	if (!*timer->timer)
		return;
	json_string(json, "timer", timer->timer);
	json_string(json, "value", timer->value);
	json_string(json, "set_by", timer->set_by);
}

static void why_print_json_phases(struct json *json, const uint64_t phases[static PHASE_COUNT + 1])
{
	json_open(json, "phases", '{');
	for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
		if (phases[phase])
			json_number(json, words_phase(phase), (int64_t)phases[phase]);
	if (phases[PHASE_COUNT])
		json_number(json, "other", (int64_t)phases[PHASE_COUNT]);
	json_close(json, '}');
}

static void why_print_json_cause(struct json *json, const struct why_cause *cause, struct why_record *record)
{
	struct why_line line = {.record = {cause->sample, cause->sample_length}};
	struct why_slice fact;
	TEXT_ON_STACK(remedy, JSON_TEXT_SIZE);

	json_open(json, NULL, '{');
	json_string(json, "reason", reason_row(cause->reason)->name);
	json_string(json, "direction", cause->outbound ? "outbound" : "inbound");
	json_string(json, "to", cause->to);
	json_number(json, "times", (int64_t)cause->weighed.count);
	json_number(json, "connections", (int64_t)cause->connections);
	json_number(json, "requests", (int64_t)cause->requests);
	json_number(json, "cost_tenths", (int64_t)cause->weighed.weight);
	why_print_json_timer(json, &cause->timer);
	why_print_json_phases(json, cause->phases);
	why_print_json_top(json, "from", &cause->from);
	why_print_json_top(json, "at", &cause->at);
	why_print_json_time(json, "first", cause->span.first);
	why_print_json_time(json, "last", cause->span.last);
	if (cause->sample) {
		why_record_read(&line, record);
		why_remedy_part(cause->reason, record->values[WHY_DETAIL], &fact, &remedy);
		why_print_json_slice(json, "seen", fact);
		json_string(json, "remedy", remedy_bytes);
		if (*cause->pod)
			json_string(json, "pod", cause->pod);
		json_string(json, "record", cause->sample);
	}
	json_close(json, '}');
}

static void why_print_json_others(struct json *json, const char *key, const struct why_table *table)
{
	if (!table->others.keys)
		return;
	json_open(json, key, '{');
	json_number(json, "merged", (int64_t)table->others.keys);
	json_number(json, "times", (int64_t)table->others.count);
	json_close(json, '}');
}

static void why_print_json_causes(struct json *json, const struct why_table *causes, void **rows, struct why_record *record)
{
	size_t count = why_table_list(causes, rows, JSON_ROWS);

	json_open(json, "causes", '[');
	for (size_t i = 0; i < count; i++)
		why_print_json_cause(json, rows[i], record);
	json_close(json, ']');
	why_print_json_others(json, "causes_merged", causes);
}

static void why_print_json_reasons(struct json *json, const struct why_tally *tally)
{
	json_open(json, "reasons", '{');
	for (int id = 0; id < REASON_COUNT; id++) {
		const struct why_reason_count *count = &tally->reasons[id];

		if (!count->connections && !count->requests && !count->access)
			continue;
		json_open(json, reason_row(id)->name, '{');
		json_number(json, "connections", (int64_t)count->connections);
		json_number(json, "requests", (int64_t)count->requests);
		json_number(json, "access_log", (int64_t)count->access);
		json_number(json, "held_back", (int64_t)count->held_back);
		json_string(json, "outcome", outcome_names[count->outcome]);
		json_open(json, "by", '{');
		for (enum reason_by by = 0; by < BY_PEER; by++)
			if (count->by[by])
				json_number(json, reason_by_name(by), (int64_t)count->by[by]);
		json_close(json, '}');
		why_print_json_phases(json, count->phases);
		json_close(json, '}');
	}
	json_close(json, '}');
}

static void why_print_json_timers(struct json *json, const struct why_table *timers, void **rows)
{
	size_t count = why_table_list(timers, rows, JSON_ROWS);

	json_open(json, "timers", '[');
	for (size_t i = 0; i < count; i++) {
		const struct why_fired *fired = rows[i];

		json_open(json, NULL, '{');
		json_number(json, "times", (int64_t)fired->weighed.count);
		why_print_json_timer(json, &fired->timer);
		json_string(json, "reason", reason_row(fired->reason)->name);
		why_print_json_top(json, "to", &fired->to);
		json_close(json, '}');
	}
	json_close(json, ']');
	why_print_json_others(json, "timers_merged", timers);
}

static void why_print_json_rest(struct json *json, const char *key, int64_t ms)
{
	if (ms < 0)
		json_null(json, key);
	else
		json_number(json, key, ms);
}

static void why_print_json_races(struct json *json, const struct why_table *races, void **rows)
{
	size_t count = why_table_list(races, rows, JSON_ROWS);

	json_open(json, "keepalive_races", '[');
	for (size_t i = 0; i < count; i++) {
		const struct why_race *race = rows[i];

		json_open(json, NULL, '{');
		json_number(json, "times", (int64_t)race->weighed.count);
		json_string(json, "server", race->server);
		json_string(json, "service", *race->service ? race->service : NULL);
		why_print_json_rest(json, "least_idle_ms", race->least_ms);
		why_print_json_rest(json, "most_idle_ms", race->most_ms);
		why_print_json_top(json, "idle", &race->rests);
		json_close(json, '}');
	}
	json_close(json, ']');
	why_print_json_others(json, "keepalive_races_merged", races);
}

static void why_print_json_requests(struct json *json, const struct why_table *requests, void **rows)
{
	static const char *const statuses[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
	size_t count = why_table_list(requests, rows, JSON_ROWS);

	json_open(json, "access_log", '[');
	for (size_t i = 0; i < count; i++) {
		const struct why_requests *row = rows[i];

		json_open(json, NULL, '{');
		json_string(json, "to", row->to);
		json_string(json, "direction", row->outbound ? "outbound" : "inbound");
		json_number(json, "requests", (int64_t)row->weighed.count);
		json_number(json, "failed", (int64_t)row->failed);
		json_open(json, "statuses", '{');
		for (int status = 0; status < WHY_STATUS_COUNT; status++)
			if (row->statuses[status])
				json_number(json, statuses[status], (int64_t)row->statuses[status]);
		json_close(json, '}');
		json_number(json, "median_us", why_tally_quantile(row, 500));
		json_number(json, "p99_us", why_tally_quantile(row, 990));
		json_number(json, "slowest_us", row->slowest_us);
		json_close(json, '}');
	}
	json_close(json, ']');
	why_print_json_others(json, "access_log_merged", requests);
}

static void why_print_json_messages(struct json *json, const struct why_table *messages, void **rows)
{
	size_t count = why_table_list(messages, rows, JSON_ROWS);

	json_open(json, "warnings", '[');
	for (size_t i = 0; i < count; i++) {
		const struct why_message *message = rows[i];

		json_open(json, NULL, '{');
		json_number(json, "times", (int64_t)message->weighed.count);
		json_string(json, "level", message->error ? "error" : "warn");
		json_string(json, "msg", message->text);
		why_print_json_time(json, "last", message->last_ms);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void why_print_json_totals(struct json *json, const struct why_tally *tally)
{
	const uint64_t *outcomes = why_tally_outcomes(tally);
	uint64_t cost = why_tally_total_cost(tally);

	why_print_json_time(json, "first", tally->first_ms);
	why_print_json_time(json, "last", tally->last_ms);
	json_bool(json, "nothing_to_mend", !cost);
	json_number(json, "connections", (int64_t)why_tally_connections(tally));
	json_number(json, "requests", (int64_t)why_tally_requests(tally));
	json_number(json, "pods", (int64_t)tally->pods.count);
	json_number(json, "retries", (int64_t)tally->retries);
	json_number(json, "server_errors", (int64_t)tally->own_errors);
	json_open(json, "outcomes", '{');
	for (int outcome = 0; outcome < WHY_OUTCOME_COUNT; outcome++)
		json_number(json, outcome_names[outcome], (int64_t)outcomes[outcome]);
	json_close(json, '}');
	json_number(json, "cost_tenths", (int64_t)cost);
	json_open(json, "lines", '{');
	json_number(json, "records", (int64_t)tally->records);
	json_number(json, "access_log", (int64_t)tally->access);
	json_number(json, "unreadable", (int64_t)tally->unreadable);
	json_number(json, "unknown_reason", (int64_t)tally->unknown);
	json_number(json, "left_out", (int64_t)tally->filtered);
	json_number(json, "others", (int64_t)tally->others);
	json_number(json, "held_back_uncounted", (int64_t)tally->held_back);
	json_close(json, '}');
}

void why_print_json(const struct why_tally *tally, FILE *out)
{
	struct why_record *record = malloc(sizeof *record);
	void **rows = malloc(JSON_ROWS * sizeof *rows);
	struct json json = {.to = out};

	if (record && rows) {
		json_open(&json, NULL, '{');
		why_print_json_totals(&json, tally);
		why_print_json_causes(&json, why_tally_causes(tally), rows, record);
		why_print_json_reasons(&json, tally);
		why_print_json_timers(&json, &tally->timers, rows);
		why_print_json_races(&json, &tally->races, rows);
		why_print_json_requests(&json, &tally->requests, rows);
		why_print_json_messages(&json, &tally->messages, rows);
		json_close(&json, '}');
		fputc('\n', out);
	}
	free(rows);
	free(record);
}
