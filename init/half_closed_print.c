#include "init/half_closed_print.h"

#include <inttypes.h>
#include <string.h>

#include "init/half_closed_known.h"
#include "init/half_closed_places.h"
#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/json.h"
#include "lib/text.h"

enum { PRINT_CELL_SIZE = 256 };

/* --- totals --- */

void half_closed_print_count(struct half_closed_totals *totals, const struct half_closed_flow *flow)
{
	if (!half_closed_print_sum(totals) || flow->remaining < totals->soonest)
		totals->soonest = flow->remaining;
	totals->states[flow->state]++;
}

size_t half_closed_print_sum(const struct half_closed_totals *totals)
{
	size_t sum = 0;

	for (size_t i = 0; i < CONNTRACK_STATE_COUNT; i++)
		sum += totals->states[i];
	return sum;
}

static void half_closed_print_places(const struct half_closed_totals *totals, struct text *out)
{
	if (totals->places)
		text_printf(out, " in %zu network namespace%s", totals->places, totals->places == 1 ? "" : "s");
}

void half_closed_print_summary(const struct half_closed_totals *totals, FILE *to)
{
	size_t sum = half_closed_print_sum(totals);
	const char *separator = ": ";
	char duration[DURATION_TEXT_SIZE];
	TEXT_ON_STACK(line, 512);

	if (sum)
		text_printf(&line, "%zu", sum);
	else
		text_string(&line, "no");
	text_printf(&line, " half-closed flow%s", sum == 1 ? "" : "s");
	if (totals->min_age_ms > 0)
		text_printf(&line, " silent for %s or longer", duration_format(totals->min_age_ms, duration));
	half_closed_print_places(totals, &line);
	for (size_t i = 0; i < HALF_CLOSED_STATES; i++) {
		enum conntrack_state state = half_closed_states[i];

		if (!totals->states[state])
			continue;
		text_printf(&line, "%s%zu %s", separator, totals->states[state], half_closed_state_name(state));
		separator = ", ";
	}
	if (totals->younger)
		text_printf(&line, "; %zu more not silent for so long", totals->younger);
	if (totals->unlisted)
		text_printf(&line, "; %zu of them not listed (--json lists all)", totals->unlisted);
	if (sum) {
		text_string(&line, "; the first is forgotten in ");
		half_closed_duration(totals->soonest, &line);
	}
	fprintf(to, "%s\n", line.data);
}

/* --- the table --- */

static void half_closed_print_place(const struct half_closed_flow *flow, struct text *out)
{
	if (!flow->place)
		return;
	half_closed_places_name(flow->place, out);
	if (flow->place->pod[0])
		text_printf(out, " pod %s", flow->place->pod);
}

static void half_closed_print_state(const struct half_closed_flow *flow, struct text *out)
{
	text_string(out, half_closed_state_name(flow->state));
}

static const char *half_closed_print_side(const struct half_closed_flow *flow)
{
	static const char *const names[] = {[HALF_CLOSED_CLIENT] = "client", [HALF_CLOSED_SERVER] = "server"};

	return names[flow->first];
}

static void half_closed_print_first(const struct half_closed_flow *flow, struct text *out)
{
	text_string(out, flow->first ? half_closed_print_side(flow) : "?");
}

static void half_closed_print_client(const struct half_closed_flow *flow, struct text *out)
{
	char addr[ADDR_TEXT_SIZE];

	text_string(out, addr_format(&flow->client, addr));
	if (half_closed_is_masqueraded(flow))
		text_printf(out, " as %s", addr_format(&flow->answered, addr));
}

static void half_closed_print_destination(const struct half_closed_flow *flow, struct text *out)
{
	char addr[ADDR_TEXT_SIZE];

	text_string(out, addr_format(&flow->destination, addr));
}

static void half_closed_print_redirected(const struct half_closed_flow *flow, struct text *out)
{
	char addr[ADDR_TEXT_SIZE];

	text_string(out, half_closed_is_redirected(flow) ? addr_format(&flow->answerer, addr) : "-");
}

static void half_closed_print_silent(const struct half_closed_flow *flow, struct text *out)
{
	if (flow->silent < 0)
		text_char(out, '?');
	else
		half_closed_duration(flow->silent, out);
}

static void half_closed_print_packets(const struct half_closed_flow *flow, struct text *out)
{
	if (flow->counted)
		text_printf(out, "%" PRIu64 "/%" PRIu64, flow->from_client.packets, flow->to_client.packets);
}

static void half_closed_print_bytes(const struct half_closed_flow *flow, struct text *out)
{
	if (flow->counted)
		text_printf(out, "%" PRIu64 "/%" PRIu64, flow->from_client.bytes, flow->to_client.bytes);
}

enum print_when { PRINT_ALWAYS, PRINT_PLACES, PRINT_COUNTED };

static const struct half_closed_column {
	const char *title;
	void (*cell)(const struct half_closed_flow *flow, struct text *out);
	enum print_when when;
} half_closed_columns[] = {
	{"NAMESPACE OF", half_closed_print_place, PRINT_PLACES},
	{"STATE", half_closed_print_state, PRINT_ALWAYS},
	{"FIRST FIN", half_closed_print_first, PRINT_ALWAYS},
	{"CLIENT", half_closed_print_client, PRINT_ALWAYS},
	{"ORIGINAL DESTINATION", half_closed_print_destination, PRINT_ALWAYS},
	{"REDIRECTED TO", half_closed_print_redirected, PRINT_ALWAYS},
	{"SILENT FOR", half_closed_print_silent, PRINT_ALWAYS},
	{"PACKETS", half_closed_print_packets, PRINT_COUNTED},
	{"BYTES", half_closed_print_bytes, PRINT_COUNTED},
	{"RISK", half_closed_risk, PRINT_ALWAYS},
};

enum { PRINT_COLUMNS = sizeof half_closed_columns / sizeof *half_closed_columns };

/* Columns as wide as their widest cell, -1 = not shown; the last one may end where it likes. */
static void half_closed_print_row(const struct half_closed_flow *flow, const int widths[PRINT_COLUMNS], FILE *to)
{
	TEXT_ON_STACK(cell, PRINT_CELL_SIZE);

	for (int i = 0; i < PRINT_COLUMNS; i++) {
		if (widths[i] < 0)
			continue;
		text_init(&cell, cell.data, cell.size);
		if (flow)
			half_closed_columns[i].cell(flow, &cell);
		else
			text_string(&cell, half_closed_columns[i].title);
		if (i + 1 < PRINT_COLUMNS)
			fprintf(to, "%-*s  ", widths[i], cell.data);
		else
			fprintf(to, "%s\n", cell.data);
	}
}

void half_closed_print_table(const struct half_closed_flow *flows, size_t count, bool places, FILE *to)
{
	TEXT_ON_STACK(cell, PRINT_CELL_SIZE);
	int widths[PRINT_COLUMNS];
	bool counted = false;

	for (size_t i = 0; i < count && !counted; i++)
		counted = flows[i].counted;
	for (int i = 0; i < PRINT_COLUMNS; i++) {
		const struct half_closed_column *column = &half_closed_columns[i];
		bool shown = column->when == PRINT_ALWAYS || (column->when == PRINT_PLACES ? places : counted);

		widths[i] = shown ? (int)strlen(column->title) : -1;
		for (size_t j = 0; j < count && shown && i + 1 < PRINT_COLUMNS; j++) {
			text_init(&cell, cell.data, cell.size);
			column->cell(&flows[j], &cell);
			if ((int)cell.length > widths[i])
				widths[i] = (int)cell.length;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!i)
			half_closed_print_row(NULL, widths, to);
		half_closed_print_row(&flows[i], widths, to);
	}
}

/* --- JSON --- */

static void half_closed_print_addr(struct json *json, const char *key, const struct addr *addr)
{
	char text[ADDR_TEXT_SIZE];

	json_string(json, key, addr ? addr_format(addr, text) : NULL);
}

static void half_closed_print_number(struct json *json, const char *key, bool known, uint64_t value)
{
	if (known)
		json_number(json, key, (int64_t)value);
	else
		json_null(json, key);
}

/* `over`: it has no future, so none is promised. */
static void half_closed_print_fields(struct json *json, const struct half_closed_flow *flow, bool over)
{
	const struct half_closed_place *place = flow->place;
	TEXT_ON_STACK(risk, PRINT_CELL_SIZE);

	half_closed_risk(flow, &risk);
	json_string(json, "state", half_closed_state_name(flow->state));
	json_string(json, "meaning", half_closed_state_meaning(flow->state));
	json_string(json, "first_fin", half_closed_print_side(flow));
	half_closed_print_addr(json, "client", &flow->client);
	half_closed_print_addr(json, "client_seen_as", half_closed_is_masqueraded(flow) ? &flow->answered : NULL);
	half_closed_print_addr(json, "original_destination", &flow->destination);
	half_closed_print_addr(json, "redirected_to", half_closed_is_redirected(flow) ? &flow->answerer : NULL);
	half_closed_print_number(json, "silent_for_s", flow->silent >= 0 && !over, (uint64_t)flow->silent);
	half_closed_print_number(json, "forgotten_in_s", !over, flow->remaining);
	json_string(json, "risk", over ? NULL : risk.data);
	half_closed_print_number(json, "packets_from_client", flow->counted, flow->from_client.packets);
	half_closed_print_number(json, "bytes_from_client", flow->counted, flow->from_client.bytes);
	half_closed_print_number(json, "packets_to_client", flow->counted, flow->to_client.packets);
	half_closed_print_number(json, "bytes_to_client", flow->counted, flow->to_client.bytes);
	json_number(json, "zone", flow->zone);
	half_closed_print_number(json, "network_namespace", place && place->inode, place ? place->inode : 0);
	half_closed_print_number(json, "pid", place && place->pid, place ? (uint64_t)place->pid : 0);
	json_string(json, "process", place && place->pid ? place->process : NULL);
	json_string(json, "pod_uid", place && place->pod[0] ? place->pod : NULL);
	json_string(json, "cgroup", place && place->cgroup[0] ? place->cgroup : NULL);
}

void half_closed_print_json(const struct half_closed_flow *flow, FILE *to)
{
	struct json json = {.to = to};

	json_open(&json, NULL, '{');
	half_closed_print_fields(&json, flow, false);
	json_close(&json, '}');
	fputc('\n', to);
}

/* --- what became of a flow --- */

static const char *half_closed_print_change(const struct half_closed_news *news)
{
	static const char *const names[] = {
		[HALF_CLOSED_FOUND] = "found",   [HALF_CLOSED_BECAME] = "half-closed",    [HALF_CLOSED_CHANGED] = "changed",
		[HALF_CLOSED_ENDED] = "ended",   [HALF_CLOSED_FORGOTTEN] = "forgotten",
	};

	return names[news->change];
}

static bool half_closed_print_is_over(const struct half_closed_news *news)
{
	return news->change == HALF_CLOSED_ENDED || news->change == HALF_CLOSED_FORGOTTEN;
}

void half_closed_print_news_json(const struct half_closed_news *news, int64_t realtime_ms, FILE *to)
{
	struct json json = {.to = to};
	char when[CLOCK_TEXT_SIZE];

	clock_format(realtime_ms, when);
	json_open(&json, NULL, '{');
	json_string(&json, "ts", when);
	json_string(&json, "event", half_closed_print_change(news));
	json_string(&json, "detail", news->detail[0] ? news->detail : NULL);
	json_number(&json, "watched_for_ms", news->lasted_ms);
	half_closed_print_fields(&json, news->flow, half_closed_print_is_over(news));
	json_close(&json, '}');
	fputc('\n', to);
}

/* "; both sides have finished, 1.2 s after it was first seen" or the risk. */
static void half_closed_print_tail(const struct half_closed_news *news, struct text *out)
{
	if (!half_closed_print_is_over(news)) {
		half_closed_risk(news->flow, out);
		return;
	}
	if (news->detail[0])
		text_printf(out, "%s; ", news->detail);
	text_printf(out, "watched for %" PRId64 ".%" PRId64 " s", news->lasted_ms / 1000, news->lasted_ms % 1000 / 100);
	if (news->change == HALF_CLOSED_FORGOTTEN && (half_closed_is_redirected(news->flow) || half_closed_is_masqueraded(news->flow)))
		text_string(out, "; what comes later is lost");
}

void half_closed_print_news(const struct half_closed_news *news, int64_t realtime_ms, bool places, FILE *to)
{
	const struct half_closed_flow *flow = news->flow;
	TEXT_ON_STACK(line, 1024);
	char when[CLOCK_TEXT_SIZE], addr[ADDR_TEXT_SIZE];

	clock_format(realtime_ms, when);
	text_printf(&line, "%s %-11s %-10s ", when, half_closed_print_change(news), half_closed_state_name(flow->state));
	half_closed_print_client(flow, &line);
	text_printf(&line, " -> %s", addr_format(&flow->destination, addr));
	if (half_closed_is_redirected(flow))
		text_printf(&line, " redirected to %s", addr_format(&flow->answerer, addr));
	if (flow->first)
		text_printf(&line, ", first FIN from the %s", half_closed_print_side(flow));
	if (places && flow->place) {
		text_string(&line, ", ");
		half_closed_print_place(flow, &line);
	}
	text_string(&line, ": ");
	half_closed_print_tail(news, &line);
	fprintf(to, "%s\n", line.data);
}
