#include "proxy/docs.h"

#include "lib/duration.h"
#include "lib/reason.h"
#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/config/annotations.h"
#include "proxy/config/manifest.h"
#include "proxy/connection/advice.h"
#include "proxy/inject/inject.h"

static void docs_print_timeouts(FILE *to)
{
	fprintf(to, "| name | default | flag | ends with | runs |\n|---|---|---|---|---|\n");
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		char duration[DURATION_TEXT_SIZE], flag[TIMEOUTS_FLAG_SIZE];

		timeouts_flag_name(id, flag);
		fprintf(to, "| `%s` | %s | `--%s` | %s%s%s | %s |\n", timeouts_name(id),
		        timeouts_default(id) ? duration_format(timeouts_default(id), duration) : "off", flag,
		        timeouts_reason(id) ? "`" : "", timeouts_reason(id) ? reason_row(timeouts_reason(id))->name : "–",
		        timeouts_reason(id) ? "`" : "", timeouts_sentence(id));
	}
}

static void docs_print_costs(FILE *to)
{
	fprintf(to, "| name | default | what it can cost |\n|---|---|---|\n");
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		char duration[DURATION_TEXT_SIZE];

		fprintf(to, "| `%s` | %s | %s |\n", timeouts_name(id),
		        timeouts_default(id) ? duration_format(timeouts_default(id), duration) : "off", timeouts_cost(id));
	}
}

static void docs_print_reasons(FILE *to)
{
	static const char *const endings[] = {[ENDING_NONE] = "–", [ENDING_FIN] = "FIN", [ENDING_RST] = "RST"};

	fprintf(to, "| reason | by | answer | client gets | meaning | what to do |\n|---|---|---|---|---|---|\n");
	for (int id = REASON_NONE + 1; id < REASON_COUNT; id++) {
		const struct reason *row = reason_row(id);
		TEXT_ON_STACK(remedy, 512);

		advice_write(id, NULL, &remedy);
		fprintf(to, "| `%s` | %s | ", row->name, reason_by_name(row->by));
		if (row->status)
			fprintf(to, "%d", row->status);
		fprintf(to, " | %s | %s | %s |\n", endings[row->ending], row->sentence, remedy_bytes);
	}
}

void docs_print(enum proxy_docs docs, FILE *to)
{
	switch (docs) {
	case DOCS_MAN:
		settings_print_man(to);
		break;
	case DOCS_TIMEOUTS:
		docs_print_timeouts(to);
		break;
	case DOCS_COSTS:
		docs_print_costs(to);
		break;
	case DOCS_REASONS:
		docs_print_reasons(to);
		break;
	case DOCS_KINDS:
		manifest_print_kinds(to);
		break;
	case DOCS_ANNOTATIONS:
		annotations_print(to);
		break;
	case DOCS_METRICS:
		admin_metrics_print_docs(to);
		break;
	case DOCS_INJECT:
		inject_print_man(to);
		break;
	default:
		break;
	}
}
