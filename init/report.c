#include "init/report.h"

#include <string.h>

void report_begin(struct report *report, FILE *to, bool as_json)
{
	*report = (struct report){.to = to, .as_json = as_json, .json = {.to = to}};
	if (as_json)
		json_open(&report->json, NULL, '{');
}

static void report_close_list(struct report *report)
{
	if (report->list)
		json_close(&report->json, ']');
	report->list = NULL;
}

void report_list(struct report *report, const char *key)
{
	if (!report->as_json || (report->list && !strcmp(report->list, key)))
		return;
	report_close_list(report);
	json_open(&report->json, key, '[');
	report->list = key;
}

void report_note(struct report *report, const char *about, const char *sentence)
{
	if (!report->as_json) {
		fprintf(report->to, "%s: %s\n", about, sentence);
		return;
	}
	report_close_list(report);
	json_string(&report->json, about, sentence);
}

void report_end(struct report *report, bool well, const char *sentence)
{
	if (!report->as_json)
		return;
	report_close_list(report);
	json_bool(&report->json, "ok", well);
	json_string(&report->json, "reason", well ? NULL : sentence);
	json_close(&report->json, '}');
	fputc('\n', report->to);
}
