#include "proxy/why/why_tally.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/text.h"

enum { CAUSES = 512, TIMERS = 256, RACES = 256, REQUESTS = 256, MESSAGES = 128, PODS = 4096 };

/* --- what an end is worth --- */

unsigned why_tally_cost(enum why_outcome outcome)
{
	static const unsigned costs[] = {[WHY_MEANT] = 0, [WHY_SILENT] = 1, [WHY_GAVE_UP] = 5, [WHY_BROKE] = 10};

	return costs[outcome];
}

static bool why_tally_under_way(const struct why_record *record)
{
	unsigned phase = record->phase;

	return record->kind != WHY_CLOSED || phase == STAGE_HEAD || phase == STAGE_CONNECT || phase == PHASE_REQUEST || phase == PHASE_WAIT ||
	       phase == PHASE_BACKOFF || phase == PHASE_RESPONSE;
}

enum why_outcome why_tally_outcome(const struct why_record *record)
{
	const struct reason *row = reason_row(record->reason);

	if (!*row->remedy)
		return WHY_MEANT;
	switch (record->reason) {
	case REASON_IDLE_TIMEOUT:
	case REASON_MAX_CONNECTION:
		return WHY_MEANT;
	case REASON_TCP_IDLE_TIMEOUT:
	case REASON_TUNNEL_IDLE_TIMEOUT:
		return WHY_SILENT;
	case REASON_CLIENT_CLOSED_REQUEST:
	case REASON_CLIENT_ABORTED_WAIT:
	case REASON_CLIENT_ABORTED_RESPONSE:
		return WHY_GAVE_UP;
	case REASON_CLIENT_RESET:
		return why_tally_under_way(record) ? WHY_GAVE_UP : WHY_SILENT;
	case REASON_CLIENT_VANISHED:
	case REASON_SERVER_VANISHED:
		return record->kind == WHY_CLOSED && record->phase == STAGE_IDLE ? WHY_SILENT : WHY_BROKE;
	default:
		return WHY_BROKE;
	}
}

/* --- the tables --- */

static void why_tally_release_cause(void *value)
{
	free(((struct why_cause *)value)->sample);
}

int why_tally_new(struct why_tally *tally)
{
	*tally = (struct why_tally){0};
	if (why_table_new(&tally->causes, CAUSES, sizeof(struct why_cause), why_tally_release_cause) ||
	    why_table_new(&tally->access_causes, CAUSES, sizeof(struct why_cause), why_tally_release_cause) ||
	    why_table_new(&tally->timers, TIMERS, sizeof(struct why_fired), NULL) ||
	    why_table_new(&tally->races, RACES, sizeof(struct why_race), NULL) ||
	    why_table_new(&tally->requests, REQUESTS, sizeof(struct why_requests), NULL) ||
	    why_table_new(&tally->messages, MESSAGES, sizeof(struct why_message), NULL) ||
	    why_table_new(&tally->pods, PODS, sizeof(struct why_weighed), NULL))
		return -ENOMEM;
	return 0;
}

void why_tally_free(struct why_tally *tally)
{
	why_table_free(&tally->causes);
	why_table_free(&tally->access_causes);
	why_table_free(&tally->timers);
	why_table_free(&tally->races);
	why_table_free(&tally->requests);
	why_table_free(&tally->messages);
	why_table_free(&tally->pods);
}

static void why_tally_copy(struct why_slice slice, char *out, size_t size)
{
	size_t length = slice.length < size ? slice.length : size - 1;

	if (length)
		memcpy(out, slice.bytes, length);
	out[length] = '\0';
}

/* Where the connection goes: the Service; else the server, of an inbound one only the port, which all pods of a Service share. */
static struct why_slice why_tally_to(const struct why_record *record)
{
	struct why_slice server = why_record_server(record);
	const char *colon;

	if (record->values[WHY_SERVICE].length)
		return record->values[WHY_SERVICE];
	if (record->outbound || !(colon = server.length ? memrchr(server.bytes, ':', server.length) : NULL))
		return server.length ? server : (struct why_slice){"?", 1};
	return (struct why_slice){colon, server.length - (size_t)(colon - server.bytes)};
}

static void why_tally_key(struct text *key, struct why_slice slice)
{
	text_append(key, slice.bytes, slice.length);
	text_append(key, "", 1); /* a NUL between two parts */
}

static void why_tally_timer_key(const struct why_record *record, struct text *key)
{
	why_tally_key(key, record->values[WHY_TIMER]);
	why_tally_key(key, record->values[WHY_VALUE]);
	why_tally_key(key, record->values[WHY_SET_BY]);
}

static void why_tally_timer(const struct why_record *record, struct why_timer *out)
{
	why_tally_copy(record->values[WHY_TIMER], out->timer, sizeof out->timer);
	why_tally_copy(record->values[WHY_VALUE], out->value, sizeof out->value);
	why_tally_copy(record->values[WHY_SET_BY], out->set_by, sizeof out->set_by);
}

/* --- causes --- */

/* The side that is the pod's own is called by the pod's name where that is known. */
static struct why_slice why_tally_peer(const struct why_record *record, bool client)
{
	struct why_slice own = client ? why_record_host(record->values[WHY_CLIENT])
	                       : record->outbound ? why_record_server(record)
	                                          : why_record_host(why_record_server(record));

	if (record->outbound == client && record->pod.length)
		return record->pod;
	return own.length ? own : (struct why_slice){"?", 1};
}

static void why_tally_sample(struct why_cause *cause, const struct why_record *record)
{
	int64_t rest = why_record_race_idle(record);
	char *sample;

	if (cause->sample && rest < cause->rest_ms)
		return;
	sample = realloc(cause->sample, record->line.length + 1);
	if (!sample)
		return;
	memcpy(sample, record->line.bytes, record->line.length);
	sample[record->line.length] = '\0';
	cause->sample = sample;
	cause->sample_length = record->line.length;
	cause->rest_ms = rest;
	why_tally_copy(record->pod, cause->pod, sizeof cause->pod);
}

static void why_tally_cause(struct why_table *table, const struct why_record *record, unsigned cost, uint64_t times)
{
	struct why_slice to = why_tally_to(record);
	struct why_cause *cause;
	TEXT_ON_STACK(key, WHY_KEY_MOST);

	text_printf(&key, "%d %d ", (int)record->reason, record->outbound);
	why_tally_key(&key, to);
	why_tally_timer_key(record, &key);
	cause = why_table_at(table, key.data, key.length);
	if (!cause) {
		table->others.keys++;
		table->others.count += times;
		table->others.weight += times * cost;
		return;
	}
	if (!cause->weighed.count) {
		cause->reason = record->reason;
		cause->outbound = record->outbound;
		cause->rest_ms = -1;
		why_tally_copy(to, cause->to, sizeof cause->to);
		why_tally_timer(record, &cause->timer);
	}
	cause->weighed.weight += times * cost;
	cause->weighed.count += times;
	*(record->kind == WHY_CLOSED ? &cause->connections : &cause->requests) += times;
	cause->phases[record->phase] += times;
	why_top_add(&cause->from, why_tally_peer(record, true), times);
	why_top_add(&cause->at, why_tally_peer(record, false), times);
	why_span_add(&cause->span, record->at_ms, times);
	why_tally_sample(cause, record);
}

/* --- timers, races, requests, messages --- */

static void why_tally_fired(struct why_tally *tally, const struct why_record *record, uint64_t times)
{
	struct why_fired *fired;
	TEXT_ON_STACK(key, WHY_KEY_MOST);

	if (!record->values[WHY_TIMER].length)
		return;
	why_tally_timer_key(record, &key);
	fired = why_table_at(&tally->timers, key.data, key.length);
	if (!fired)
		return;
	if (!fired->weighed.count)
		why_tally_timer(record, &fired->timer);
	fired->weighed.count += times;
	fired->weighed.weight += times;
	fired->reason = record->reason;
	why_top_add(&fired->to, why_tally_to(record), times);
}

static void why_tally_race(struct why_tally *tally, const struct why_record *record, uint64_t times)
{
	struct why_slice server = why_record_server(record);
	int64_t rest = why_record_race_idle(record), step = rest < 10000 ? 100 : 1000;
	char duration[DURATION_TEXT_SIZE];
	struct why_race *race;
	TEXT_ON_STACK(key, WHY_KEY_MOST);

	if (record->reason != REASON_KEEPALIVE_RACE && record->reason != REASON_KEEPALIVE_RACE_UNSENT)
		return;
	why_tally_key(&key, server);
	why_tally_key(&key, record->values[WHY_SERVICE]);
	race = why_table_at(&tally->races, key.data, key.length);
	if (!race)
		return;
	if (!race->weighed.count) {
		why_tally_copy(server, race->server, sizeof race->server);
		why_tally_copy(record->values[WHY_SERVICE], race->service, sizeof race->service);
		race->least_ms = race->most_ms = -1;
	}
	race->weighed.count += times;
	race->weighed.weight += times;
	if (rest < 0)
		return;
	if (race->least_ms < 0 || rest < race->least_ms)
		race->least_ms = rest;
	if (rest > race->most_ms)
		race->most_ms = rest;
	duration_format((rest + step / 2) / step * step, duration);
	why_top_add(&race->rests, (struct why_slice){duration, strlen(duration)}, times);
}

/* Eight buckets an octave: no more than an eighth wrong. */
static size_t why_tally_bucket(int64_t us)
{
	uint64_t value = us < 8 ? 8 : (uint64_t)us;
	unsigned octave = 63 - (unsigned)__builtin_clzll(value);
	size_t bucket = (octave - 3) * 8 + (size_t)(value >> (octave - 3) & 7);

	return bucket < WHY_DURATIONS ? bucket : WHY_DURATIONS - 1;
}

int64_t why_tally_quantile(const struct why_requests *requests, unsigned part)
{
	uint64_t all = 0, passed = 0;

	for (size_t i = 0; i < WHY_DURATIONS; i++)
		all += requests->durations[i];
	if (!all)
		return 0;
	for (size_t i = 0; i < WHY_DURATIONS; i++) {
		passed += requests->durations[i];
		if (passed * 1000 >= all * part) {
			int64_t above = (int64_t)(8 + i % 8 + 1) << (i / 8);

			return above < requests->slowest_us ? above : requests->slowest_us;
		}
	}
	return requests->slowest_us;
}

static void why_tally_request(struct why_tally *tally, const struct why_record *record)
{
	struct why_slice to = why_tally_to(record), status = record->values[WHY_STATUS];
	struct why_requests *requests;
	TEXT_ON_STACK(key, WHY_KEY_MOST);

	tally->access++;
	tally->own_errors += status.length && *status.bytes == '5' && why_slice_is(record->values[WHY_ANSWER], "server");
	tally->retries += record->retries;
	text_printf(&key, "%d ", record->outbound);
	why_tally_key(&key, to);
	requests = why_table_at(&tally->requests, key.data, key.length);
	if (!requests)
		return;
	if (!requests->weighed.count) {
		why_tally_copy(to, requests->to, sizeof requests->to);
		requests->outbound = record->outbound;
	}
	requests->weighed.count++;
	requests->weighed.weight++;
	requests->failed += why_slice_is(record->values[WHY_CLASSIFICATION], "failure");
	requests->statuses[status.length == 3 && *status.bytes >= '1' && *status.bytes <= '5' ? *status.bytes - '0' : WHY_STATUS_NONE]++;
	if (record->duration_us < 0)
		return;
	requests->durations[why_tally_bucket(record->duration_us)]++;
	if (record->duration_us > requests->slowest_us)
		requests->slowest_us = record->duration_us;
}

static void why_tally_message(struct why_tally *tally, const struct why_record *record)
{
	struct why_slice text = record->values[WHY_MSG];
	struct why_message *message = why_table_at(&tally->messages, text.bytes, text.length);

	if (!message)
		return;
	if (!message->weighed.count) {
		why_tally_copy(text, message->text, sizeof message->text);
		message->error = why_slice_is(record->values[WHY_LEVEL], "error");
		message->last_ms = record->at_ms;
	}
	message->weighed.count++;
	message->weighed.weight += message->error ? 100 : 1;
	if (record->at_ms > message->last_ms)
		message->last_ms = record->at_ms;
}

/* --- all of it --- */

static void why_tally_access(struct why_tally *tally, const struct why_record *record)
{
	enum why_outcome outcome;
	unsigned cost;

	why_tally_request(tally, record);
	if (!record->reason)
		return;
	outcome = why_tally_outcome(record);
	cost = why_tally_cost(outcome);
	tally->reasons[record->reason].access++;
	tally->access_outcomes[outcome]++;
	tally->access_cost += cost;
	if (cost)
		why_tally_cause(&tally->access_causes, record, cost, 1);
}

/* A record, and those like it that were held back before it. */
static void why_tally_record(struct why_tally *tally, const struct why_filter *filter, const struct why_record *record)
{
	struct why_reason_count *reason = &tally->reasons[record->reason];
	enum why_outcome outcome = why_tally_outcome(record);
	unsigned cost = why_tally_cost(outcome);
	uint64_t times = 1;

	if (filter->service)
		tally->held_back += record->suppressed; /* who knows whose they are */
	else
		times += record->suppressed;
	tally->records++;
	tally->carried += record->kind == WHY_CLOSED ? record->requests : 0;
	reason->held_back += times - 1;
	*(record->kind == WHY_CLOSED ? &reason->connections : &reason->requests) += times;
	reason->by[record->by] += times;
	reason->phases[record->phase] += times;
	if (outcome > reason->outcome)
		reason->outcome = outcome;
	tally->outcomes[outcome] += times;
	tally->cost += times * cost;
	if (cost)
		why_tally_cause(&tally->causes, record, cost, times);
	why_tally_fired(tally, record, times);
	why_tally_race(tally, record, times);
	if (record->kind == WHY_CLOSED)
		tally->retries += record->retries;
}

static bool why_tally_passes(const struct why_filter *filter, const struct why_record *record)
{
	if (record->at_ms < filter->since_ms)
		return false;
	if (filter->service && record->kind != WHY_HELD_BACK && record->kind != WHY_MESSAGE && !why_record_is_of(record, filter->service))
		return false;
	for (size_t i = 0; i < filter->reason_count; i++)
		if (why_slice_is(record->values[WHY_REASON], filter->reasons[i]))
			return true;
	return !filter->reason_count || record->kind == WHY_MESSAGE;
}

static void why_tally_seen(struct why_tally *tally, const struct why_record *record)
{
	struct why_weighed *pod;

	if (!tally->records && !tally->access)
		tally->first_ms = tally->last_ms = record->at_ms;
	if (record->at_ms < tally->first_ms)
		tally->first_ms = record->at_ms;
	if (record->at_ms > tally->last_ms)
		tally->last_ms = record->at_ms;
	if (record->pod.length && (pod = why_table_at(&tally->pods, record->pod.bytes, record->pod.length))) {
		pod->count++;
		pod->weight++;
	}
}

void why_tally_add(struct why_tally *tally, const struct why_filter *filter, const struct why_record *record)
{
	if (record->kind == WHY_OTHER) {
		tally->others++;
		return;
	}
	if (record->kind == WHY_UNREADABLE) {
		tally->unreadable++;
		return;
	}
	if (!why_tally_passes(filter, record)) {
		tally->filtered++;
		return;
	}
	if (record->kind == WHY_CLOSED || record->kind == WHY_FAILED || record->kind == WHY_REQUEST)
		why_tally_seen(tally, record);
	switch (record->kind) {
	case WHY_UNKNOWN:
		tally->unknown++;
		why_tally_copy(record->values[WHY_REASON], tally->unknown_reason, sizeof tally->unknown_reason);
		break;
	case WHY_MESSAGE:
		why_tally_message(tally, record);
		break;
	case WHY_REQUEST:
		why_tally_access(tally, record);
		break;
	case WHY_HELD_BACK:
		*(filter->service ? &tally->held_back : &tally->reasons[record->reason].unplaced) += record->suppressed;
		break;
	default:
		why_tally_record(tally, filter, record);
	}
}

/* What is only known by its reason goes with the largest cause of that reason. */
static void why_tally_place(struct why_tally *tally, enum reason_id id, struct why_cause *cause)
{
	struct why_reason_count *reason = &tally->reasons[id];
	uint64_t times = reason->unplaced;
	unsigned cost = why_tally_cost(reason->outcome);

	*(reason->requests > reason->connections ? &reason->requests : &reason->connections) += times;
	reason->held_back += times;
	reason->unplaced = 0;
	tally->outcomes[reason->outcome] += times;
	tally->cost += times * cost;
	if (cause) {
		cause->weighed.count += times;
		cause->weighed.weight += times * cost;
		*(cause->requests > cause->connections ? &cause->requests : &cause->connections) += times;
	}
}

void why_tally_finish(struct why_tally *tally)
{
	void *causes[CAUSES];
	size_t count = why_table_list(&tally->causes, causes, CAUSES);

	for (int id = 0; id < REASON_COUNT; id++) {
		struct why_cause *largest = NULL;

		if (!tally->reasons[id].unplaced)
			continue;
		for (size_t i = 0; i < count && !largest; i++)
			if (((struct why_cause *)causes[i])->reason == (enum reason_id)id)
				largest = causes[i];
		why_tally_place(tally, id, largest);
	}
}

static bool why_tally_has_records(const struct why_tally *tally)
{
	return tally->records || !tally->access;
}

const struct why_table *why_tally_causes(const struct why_tally *tally)
{
	return why_tally_has_records(tally) ? &tally->causes : &tally->access_causes;
}

uint64_t why_tally_total_cost(const struct why_tally *tally)
{
	return why_tally_has_records(tally) ? tally->cost : tally->access_cost;
}

const uint64_t *why_tally_outcomes(const struct why_tally *tally)
{
	return why_tally_has_records(tally) ? tally->outcomes : tally->access_outcomes;
}

uint64_t why_tally_connections(const struct why_tally *tally)
{
	uint64_t sum = 0;

	for (int id = 0; id < REASON_COUNT; id++)
		sum += tally->reasons[id].connections;
	return sum;
}

uint64_t why_tally_requests(const struct why_tally *tally)
{
	return tally->access ? tally->access : tally->carried;
}
