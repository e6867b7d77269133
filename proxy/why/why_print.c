#include "proxy/why/why_print.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "proxy/why/why_remedy.h"
#include "proxy/why/why_sections.h"
#include "proxy/why/why_tally.h"

enum {
	SPAN_COLUMNS = 60,
	COLUMN = 10, /* where the text of a cause begins */
	LINE_SIZE = 2048,
};

/* --- the top --- */

static void why_print_header(const struct why_report *report)
{
	const struct why_tally *tally = report->tally;
	char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];
	TEXT_ON_STACK(line, LINE_SIZE);

	why_page_count(why_tally_connections(tally), "connection", "connections", &line);
	text_string(&line, ", ");
	why_page_count(why_tally_requests(tally), "request", "requests", &line);
	if (tally->pods.count > 1) {
		text_string(&line, tally->pods.others.keys ? ", more than " : ", ");
		why_page_count(tally->pods.count, "pod", "pods", &line);
	}
	clock_format(tally->first_ms, first);
	clock_format(tally->last_ms, last);
	text_printf(&line, "; %.10s %.8s to ", first, first + 11);
	if (strncmp(first, last, 10) != 0)
		text_printf(&line, "%.10s ", last);
	text_printf(&line, "%.8s UTC (", last + 11);
	why_page_duration((tally->last_ms - tally->first_ms) / 1000 * 1000, &line);
	text_char(&line, ')');
	why_page_row(&report->page, 0, "", 0, WHY_PLAIN, line.data);
}

static void why_print_verdict(const struct why_report *report)
{
	const struct why_tally *tally = report->tally;
	const uint64_t *outcomes = why_tally_outcomes(tally);
	TEXT_ON_STACK(line, LINE_SIZE);

	fputc('\n', report->page.out);
	if (!report->cost) {
		text_string(&line, "Nothing to mend: ");
		if (report->filter->reason_count)
			text_string(&line, "what ended for that reason ended as it was meant to.");
		else if (tally->records)
			text_string(&line, "every connection ended as its client, its server or an idle timer meant it to.");
		else
			text_string(&line, "every request had its answer.");
		why_page_row(&report->page, 0, "", 0, WHY_BOLD, line.data);
		return;
	}
	why_page_count(outcomes[WHY_BROKE], "failure", "failures", &line);
	if (outcomes[WHY_GAVE_UP]) {
		text_string(&line, ", ");
		why_page_count(outcomes[WHY_GAVE_UP], "client that gave up", "clients that gave up", &line);
	}
	if (outcomes[WHY_SILENT]) {
		text_string(&line, ", ");
		why_page_count(outcomes[WHY_SILENT], "connection cut while silent", "connections cut while silent", &line);
	}
	text_string(&line, report->count > 1 ? ". What cost most:" : ". The one cause:");
	why_page_row(&report->page, 0, "", 0, outcomes[WHY_BROKE] ? WHY_ALARM : WHY_BOLD, line.data);
}

/* --- causes --- */

static void why_print_title(const struct why_report *report, size_t number)
{
	const struct why_cause *cause = report->first[number];
	char label[16];
	TEXT_ON_STACK(line, LINE_SIZE);

	text_printf(&line, "%s: ", reason_row(cause->reason)->name);
	if (cause->connections) {
		why_page_count(cause->connections, "connection", "connections", &line);
		text_string(&line, cause->requests ? ", " : "");
	}
	if (cause->requests)
		why_page_count(cause->requests, "request", "requests", &line);
	if (report->count > 1) {
		text_string(&line, ", ");
		why_page_share(cause->weighed.weight, report->cost, &line);
		text_string(&line, " of the cost");
	}
	snprintf(label, sizeof label, "%zu", number + 1);
	fputc('\n', report->page.out);
	why_page_row(&report->page, 0, label, 3, WHY_BOLD, line.data);
}

static void why_print_who(const struct why_report *report, const struct why_cause *cause)
{
	const struct why_place *places[WHY_TOP_PLACES];
	bool plain;
	TEXT_ON_STACK(line, LINE_SIZE);

	why_page_top(&cause->from, 3, &line);
	text_string(&line, " -> ");
	why_page_place(cause->to, &line);
	plain = why_top_list(&cause->at, places) == 1 && strcmp(places[0]->name, cause->to) == 0;
	if (!plain) {
		text_string(&line, cause->outbound ? " (" : " of ");
		why_page_top(&cause->at, 3, &line);
		text_string(&line, cause->outbound ? ")" : "");
	}
	text_string(&line, cause->outbound ? ", outbound" : ", inbound");
	why_page_row(&report->page, 3, "who", COLUMN, WHY_PLAIN, line.data);
}

/* A strip from the log's begin to its end. */
static void why_print_strip(const struct why_report *report, const struct why_span *span)
{
	TEXT_ON_STACK(line, 256);

	why_page_time(&report->page, report->page.first_ms, false, &line);
	text_string(&line, " |");
	why_span_draw(span, report->page.first_ms, report->page.last_ms, SPAN_COLUMNS, &line);
	text_string(&line, "| ");
	why_page_time(&report->page, report->page.last_ms, false, &line);
	fprintf(report->page.out, "%*s%s\n", COLUMN, "", line.data);
}

static void why_print_when(const struct why_report *report, const struct why_cause *cause)
{
	const struct why_span *span = &cause->span;
	int64_t lasted = span->last - span->first, since = report->page.last_ms - span->last;
	int64_t whole = report->page.last_ms - report->page.first_ms;
	uint64_t times = cause->weighed.count;
	TEXT_ON_STACK(line, LINE_SIZE);

	text_string(&line, times == 1 ? "once, at " : lasted < 1000 ? "all within a second, at " : "since ");
	why_page_time(&report->page, span->first, true, &line);
	if (times > 1 && lasted >= 1000) {
		text_string(&line, ", last at ");
		why_page_time(&report->page, span->last, true, &line);
		text_string(&line, ", every ");
		why_page_duration(lasted / (int64_t)(times - 1), &line);
		text_string(&line, " on average");
	}
	if (since >= 60000 && since > whole / 10) {
		text_string(&line, "; none in the ");
		why_page_duration(since / 1000 * 1000, &line);
		text_string(&line, " after that");
	}
	why_page_row(&report->page, 3, "when", COLUMN, WHY_PLAIN, line.data);
	if (times > 2 && whole >= 60000)
		why_print_strip(report, span);
}

static void why_print_cause(const struct why_report *report, size_t number)
{
	const struct why_cause *cause = report->first[number];
	struct why_line line = {.record = {cause->sample, cause->sample_length}};
	struct why_slice fact;
	TEXT_ON_STACK(remedy, LINE_SIZE);
	TEXT_ON_STACK(seen, LINE_SIZE);

	why_print_title(report, number);
	why_page_row(&report->page, 3, "", 3, WHY_PLAIN, reason_row(cause->reason)->sentence);
	why_print_who(report, cause);
	why_print_when(report, cause);
	if (!cause->sample)
		return;
	why_record_read(&line, report->record);
	why_remedy_part(cause->reason, report->record->values[WHY_DETAIL], &fact, &remedy);
	why_page_clean(fact, &seen);
	if (seen.length && strcmp(seen_bytes, reason_row(cause->reason)->sentence) != 0)
		why_page_row(&report->page, 3, "seen", COLUMN, WHY_PLAIN, seen_bytes);
	if (remedy.length)
		why_page_row(&report->page, 3, "do", COLUMN, WHY_BOLD, remedy_bytes);
}

static void why_print_further(const struct why_report *report)
{
	uint64_t weight = 0;
	size_t shown = 0;
	TEXT_ON_STACK(names, LINE_SIZE);
	TEXT_ON_STACK(line, LINE_SIZE);

	for (size_t i = 0; i < WHY_CAUSES_SHOWN && i < report->count; i++)
		weight += report->first[i]->weighed.weight;
	if (report->causes->count <= WHY_CAUSES_SHOWN)
		return;
	for (size_t i = WHY_CAUSES_SHOWN; i < report->count && shown < WHY_CAUSES_NAMED; i++, shown++) {
		const struct why_cause *cause = report->first[i];

		text_printf(&names, "%s%s ", shown ? ", " : "", reason_row(cause->reason)->name);
		why_page_number(cause->weighed.count, &names);
		text_string(&names, " at ");
		why_page_place(cause->to, &names);
	}
	why_page_count(report->causes->count - WHY_CAUSES_SHOWN, "further cause", "further causes", &line);
	text_string(&line, ", ");
	why_page_share(report->cost - weight, report->cost, &line);
	text_printf(&line, " of the cost: %s%s", names_bytes, report->causes->count - WHY_CAUSES_SHOWN > shown ? ", ..." : "");
	fputc('\n', report->page.out);
	why_page_row(&report->page, 0, "+", 3, WHY_PLAIN, line.data);
}

/* --- the bottom --- */

/* As logfmt, which can be folded at its blanks; without what the page has said above, and the longest field. */
static void why_print_sample(const struct why_cause *cause, struct text *out)
{
	struct why_fields fields;
	struct why_field field;

	if (*cause->pod)
		text_printf(out, "[%s] ", cause->pod);
	why_fields_begin(&fields, cause->sample, cause->sample_length);
	while (why_fields_next(&fields, &field) == 1) {
		bool quoted = field.text && (!field.value.length || memchr(field.value.bytes, ' ', field.value.length) ||
		                             memchr(field.value.bytes, '=', field.value.length));

		if (why_slice_is(field.key, "level") || why_slice_is(field.key, "tcp") || why_slice_is(field.key, "detail"))
			continue;
		text_append(out, field.key.bytes, field.key.length);
		text_string(out, quoted ? "=\"" : "=");
		text_append(out, field.value.bytes, field.value.length);
		text_string(out, quoted ? "\" " : " ");
	}
}

static void why_print_samples(const struct why_report *report)
{
	if (!report->count)
		return;
	why_page_heading(&report->page, report->count > 1 ? "A record of each (--json has them whole)" : "A record of it (--json has it whole)");
	for (size_t i = 0; i < report->count && i < WHY_CAUSES_SHOWN; i++) {
		const struct why_cause *cause = report->first[i];
		char label[16];
		TEXT_ON_STACK(line, 8192);

		if (!cause->sample)
			continue;
		snprintf(label, sizeof label, "%zu", i + 1);
		why_print_sample(cause, &line);
		why_page_row(&report->page, 0, label, 3, WHY_FAINT, line.data);
	}
}

static void why_print_note(const struct why_report *report, uint64_t number, const char *one, const char *more)
{
	TEXT_ON_STACK(line, LINE_SIZE);

	if (!number)
		return;
	why_page_count(number, one, more, &line);
	why_page_row(&report->page, 0, "", 0, WHY_FAINT, line.data);
}

static void why_print_notes(const struct why_report *report)
{
	const struct why_tally *tally = report->tally;
	uint64_t held_back = 0;

	for (int id = 0; id < REASON_COUNT; id++)
		held_back += tally->reasons[id].held_back;
	fputc('\n', report->page.out);
	why_print_note(report, tally->own_errors, "answer was a server's own 5xx: its log says why.", "answers were a server's own 5xx: its log says why.");
	why_print_note(report, tally->retries, "request was sent again, of which its client saw nothing.",
	               "times a request was sent again, of which its client saw nothing.");
	why_print_note(report, held_back, "record was held back by --log-rate; it is counted with the next one of its reason.",
	               "records were held back by --log-rate; they are counted with the next ones of their reason.");
	why_print_note(report, tally->held_back, "record was held back by --log-rate and may be of any Service; it is not counted.",
	               "records were held back by --log-rate and may be of any Service; they are not counted.");
	why_print_note(report, tally->unreadable, "record is cut off or damaged and was not counted.",
	               "records are cut off or damaged and were not counted.");
	if (tally->unknown) {
		TEXT_ON_STACK(line, 512);

		why_page_count(tally->unknown, "record has", "records have", &line);
		text_printf(&line, " a reason that lapse-proxy %s does not know, as %s; use the lapse-proxy that wrote the log.", LAPSE_VERSION,
		            tally->unknown_reason);
		why_page_row(&report->page, 0, "", 0, WHY_FAINT, line.data);
	}
	why_print_note(report, tally->filtered, "line was left out as asked (--since, --service, --reason).",
	               "lines were left out as asked (--since, --service, --reason).");
	why_print_note(report, tally->others, "line is no record.", "lines are no records.");
	if (report->cost)
		why_page_row(&report->page, 0, "", 0, WHY_FAINT,
		             "Cost: an error instead of an answer, or a connection cut or never made, counts 1; a client that gave up 1/2; a reset "
		             "or an idle timeout with nothing under way 1/10; what ended as meant 0.");
}

void why_print_page(const struct why_tally *tally, const struct why_filter *filter, bool colour, FILE *out)
{
	struct why_report report = {.page = {out, colour, tally->first_ms, tally->last_ms}, .tally = tally, .filter = filter};

	report.record = malloc(sizeof *report.record);
	if (!report.record)
		return;
	report.causes = why_tally_causes(tally);
	report.cost = why_tally_total_cost(tally);
	report.count = why_table_list(report.causes, (void **)report.first, WHY_CAUSES_SHOWN + WHY_CAUSES_NAMED);
	why_print_header(&report);
	why_print_verdict(&report);
	for (size_t i = 0; i < WHY_CAUSES_SHOWN && i < report.count; i++)
		why_print_cause(&report, i);
	why_print_further(&report);
	why_sections_more(&report, report.causes, report.causes->count, "causes");
	why_sections_ended(&report);
	why_sections_timers(&report);
	why_sections_races(&report);
	why_sections_requests(&report);
	why_sections_messages(&report);
	why_print_samples(&report);
	why_print_notes(&report);
	free(report.record);
}
