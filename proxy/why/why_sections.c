#include "proxy/why/why_sections.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "proxy/why/why_tally.h"

enum {
	ROWS_SHOWN = 10,
	MESSAGES_SHOWN = 3,
	LINE_SIZE = 2048,
};

/* The two that are most frequent. */
static void why_sections_phases(const uint64_t phases[static PHASE_COUNT + 1], struct text *out)
{
	uint64_t left = 0;
	unsigned taken = 0;

	for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
		left += phases[phase];
	for (int shown = 0; left && shown < 2; shown++) {
		unsigned most = PHASE_COUNT;

		for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
			if (!(taken >> phase & 1) && (most == PHASE_COUNT || phases[phase] > phases[most]))
				most = phase;
		text_printf(out, "%s%s", shown ? ", " : "", words_phase(most));
		if (shown || phases[most] < left) {
			text_char(out, ' ');
			why_page_number(phases[most], out);
		}
		left -= phases[most];
		taken |= 1u << most;
	}
	text_string(out, left ? ", ..." : "");
}

static int why_sections_by_outcome(const void *a, const void *b)
{
	const struct why_reason_count *left = *(const struct why_reason_count *const *)a;
	const struct why_reason_count *right = *(const struct why_reason_count *const *)b;
	uint64_t one = left->connections + left->requests + left->access, other = right->connections + right->requests + right->access;

	if (left->outcome != right->outcome)
		return left->outcome < right->outcome ? 1 : -1;
	return (one < other) - (one > other);
}

static void why_sections_by(const struct why_reason_count *count, struct text *out)
{
	uint64_t all = 0;

	for (enum reason_by by = 0; by < BY_PEER; by++)
		all += count->by[by];
	for (enum reason_by by = 0; by < BY_PEER; by++) {
		if (!count->by[by])
			continue;
		text_printf(out, "%s%s", out->length ? ", " : "", reason_by_name(by));
		if (count->by[by] < all) {
			text_char(out, ' ');
			why_page_number(count->by[by], out);
		}
	}
}

static void why_sections_cell(uint64_t number, struct text *out)
{
	if (number)
		why_page_number(number, out);
	else
		text_char(out, '-');
}

static void why_sections_ended_row(const struct why_report *report, const struct why_reason_count *row)
{
	TEXT_ON_STACK(connections, 32);
	TEXT_ON_STACK(requests, 32);
	TEXT_ON_STACK(by, 256);
	TEXT_ON_STACK(phases, 256);
	TEXT_ON_STACK(label, 512);

	why_sections_cell(row->connections, &connections);
	why_sections_cell(row->requests, &requests);
	why_sections_by(row, &by);
	why_sections_phases(row->phases, &phases);
	text_printf(&label, "%11s  %9s  %-23s  %-22s ", connections_bytes, requests_bytes,
	            reason_row((enum reason_id)(row - report->tally->reasons))->name, by_bytes);
	why_page_row(&report->page, 4, label_bytes, 4 + (int)label.length, WHY_PLAIN, phases_bytes);
}

void why_sections_ended(const struct why_report *report)
{
	static const char *const groups[] = {
	    [WHY_BROKE] = "failed", [WHY_GAVE_UP] = "the client gave up", [WHY_SILENT] = "cut while silent", [WHY_MEANT] = "as meant"};
	const struct why_tally *tally = report->tally;
	const struct why_reason_count *rows[REASON_COUNT];
	size_t count = 0;

	for (int id = 0; id < REASON_COUNT; id++)
		if (tally->reasons[id].connections || tally->reasons[id].requests)
			rows[count++] = &tally->reasons[id];
	if (!count)
		return;
	qsort(rows, count, sizeof *rows, why_sections_by_outcome);
	why_page_heading(&report->page, "How connections ended, and requests that failed while their connection lived on");
	fprintf(report->page.out, "    %11s  %9s  %-23s  %-22s %s\n", "connections", "requests", "reason", "by", "phase");
	for (size_t i = 0; i < count; i++) {
		if (!i || rows[i]->outcome != rows[i - 1]->outcome)
			why_page_row(&report->page, 2, "", 2, WHY_BOLD, groups[rows[i]->outcome]);
		why_sections_ended_row(report, rows[i]);
	}
}

/* --- timers, races, requests --- */

void why_sections_more(const struct why_report *report, const struct why_table *table, size_t shown, const char *what)
{
	TEXT_ON_STACK(line, 256);

	if (table->count > shown) {
		text_string(&line, "and ");
		why_page_number(table->count - shown, &line);
		text_printf(&line, " more %s; --json has them", what);
		why_page_row(&report->page, 2, "", 2, WHY_FAINT, line.data);
	}
	if (!table->others.keys)
		return;
	line.length = 0;
	why_page_count(table->others.count, "time", "times", &line);
	text_printf(&line, " others of many %s: the table was full %llu times over, and figures above may lack as much", what,
	            (unsigned long long)table->others.keys / (table->most / 2) + 1);
	why_page_row(&report->page, 2, "", 2, WHY_FAINT, line.data);
}

void why_sections_timers(const struct why_report *report)
{
	void *rows[ROWS_SHOWN];
	size_t count = why_table_list(&report->tally->timers, rows, ROWS_SHOWN);

	if (!count)
		return;
	why_page_heading(&report->page, "Timers that fired, and where they are set");
	fprintf(report->page.out, "  %9s  %-24s  %s\n", "times", "timer", "set by, and fired at");
	for (size_t i = 0; i < count; i++) {
		const struct why_fired *fired = rows[i];
		TEXT_ON_STACK(label, 256);
		TEXT_ON_STACK(times, 32);
		TEXT_ON_STACK(line, LINE_SIZE);

		why_page_number(fired->weighed.count, &times);
		text_printf(&label, "%9s  %s=%s", times_bytes, fired->timer.timer, fired->timer.value);
		text_printf(&line, "%s, at ", fired->timer.set_by);
		why_page_top(&fired->to, 3, &line);
		why_page_row(&report->page, 2, label_bytes, 39, WHY_PLAIN, line.data);
	}
	why_sections_more(report, &report->tally->timers, count, "timers");
}

static void why_sections_rest(int64_t ms, struct text *out)
{
	if (ms < 0)
		text_string(out, "?");
	else
		why_page_duration(ms, out);
}

void why_sections_races(const struct why_report *report)
{
	void *rows[ROWS_SHOWN];
	size_t count = why_table_list(&report->tally->races, rows, ROWS_SHOWN);

	if (!count)
		return;
	why_page_heading(&report->page, "Keep-alive races: a server closed its idle connection as a request came");
	fprintf(report->page.out, "  %9s  %-32s  %-20s  %s\n", "races", "server", "idle before", "most often");
	for (size_t i = 0; i < count; i++) {
		const struct why_race *race = rows[i];
		TEXT_ON_STACK(label, LINE_SIZE);
		TEXT_ON_STACK(times, 32);
		TEXT_ON_STACK(range, 64);
		TEXT_ON_STACK(line, LINE_SIZE);

		why_page_number(race->weighed.count, &times);
		why_sections_rest(race->least_ms, &range);
		if (race->most_ms != race->least_ms) {
			text_string(&range, " to ");
			why_sections_rest(race->most_ms, &range);
		}
		text_printf(&label, "%9s  %s%s%s", times_bytes, race->service, *race->service ? " " : "", race->server);
		if (label.length > 43) /* two lines */
			why_page_row(&report->page, 2, label_bytes, 2 + (int)label.length, WHY_PLAIN, "");
		why_page_top(&race->rests, 3, &line);
		fprintf(report->page.out, "  %-43s  %-20s  %s\n", label.length > 43 ? "" : label_bytes, range_bytes, line.data);
	}
	why_sections_more(report, &report->tally->races, count, "servers");
}

static void why_sections_duration_us(int64_t us, struct text *out)
{
	if (us < 1000)
		text_printf(out, "%lldus", (long long)us);
	else if (us < 100000)
		text_printf(out, "%.1fms", (double)us / 1000);
	else
		text_printf(out, "%.2fs", (double)us / 1000000);
}

void why_sections_requests(const struct why_report *report)
{
	void *rows[ROWS_SHOWN];
	size_t count = why_table_list(&report->tally->requests, rows, ROWS_SHOWN);

	if (!count)
		return;
	why_page_heading(&report->page, "Requests of the access log");
	fprintf(report->page.out, "  %9s %7s %8s %7s %7s %7s %7s %7s %8s %8s  %s\n", "requests", "failed", "2xx", "3xx", "4xx", "5xx", "none",
	        "median", "99 %", "slowest", "to");
	for (size_t i = 0; i < count; i++) {
		const struct why_requests *row = rows[i];
		const int64_t times[] = {why_tally_quantile(row, 500), why_tally_quantile(row, 990), row->slowest_us};

		fprintf(report->page.out, "  %9" PRIu64 " %7" PRIu64 " %8" PRIu64, row->weighed.count, row->failed, row->statuses[2] + row->statuses[1]);
		fprintf(report->page.out, " %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7" PRIu64, row->statuses[3], row->statuses[4], row->statuses[5],
		        row->statuses[WHY_STATUS_NONE]);
		for (size_t j = 0; j < sizeof times / sizeof *times; j++) {
			TEXT_ON_STACK(duration, 32);

			why_sections_duration_us(times[j], &duration);
			fprintf(report->page.out, " %*s", j ? 8 : 7, duration_bytes);
		}
		TEXT_ON_STACK(to, WHY_TO_SIZE + 8);
		why_page_place(row->to, &to);
		fprintf(report->page.out, "  %s\n", to_bytes);
	}
	why_sections_more(report, &report->tally->requests, count, "destinations");
}

void why_sections_messages(const struct why_report *report)
{
	void *rows[MESSAGES_SHOWN];
	size_t count = why_table_list(&report->tally->messages, rows, MESSAGES_SHOWN);

	if (!count)
		return;
	why_page_heading(&report->page, "What the proxy itself says");
	for (size_t i = 0; i < count; i++) {
		const struct why_message *message = rows[i];
		TEXT_ON_STACK(times, 64);

		why_page_count(message->weighed.count, message->error ? "error" : "warning", message->error ? "errors" : "warnings", &times);
		why_page_row(&report->page, 2, times_bytes, 2 + 14, WHY_PLAIN, message->text);
	}
	why_sections_more(report, &report->tally->messages, count, "messages");
}
