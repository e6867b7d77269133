#include "proxy/options.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/options.h"
#include "lib/text.h"

#define FIELD(member) offsetof(struct settings, member)

static int proxy_options_parse_admin(const struct option_call *call, void *field, struct text *accepted)
{
	struct addr *addr = field;

	if (strcmp(call->value, "off") == 0) {
		*addr = (struct addr){0};
		return 0;
	}
	if (!addr_parse(call->value, addr) && addr->port)
		return 0;
	text_string(accepted, "an address with its port, as 127.0.0.1:4191 or [::1]:4191, or off");
	return -EINVAL;
}

static int proxy_options_parse_timeout(const struct option_call *call, void *field, struct text *accepted)
{
	struct timeout_value *value = field;
	int64_t milliseconds;
	char *source;

	if (duration_parse(DURATION_GO, call->value, &milliseconds) || milliseconds < 0) {
		text_string(accepted, "a duration from 0s (off) on, as 500ms, 30s, 1h30m");
		return -EINVAL;
	}
	if (asprintf(&source, "%s %s", call->origin == OPTION_ORIGIN_FLAG ? "flag" : "environment variable", call->given_as) < 0)
		return -ENOMEM;
	free((char *)value->source);
	*value = (struct timeout_value){milliseconds, source};
	return 0;
}

static const char *const docs_names[] = {"none", "man", "timeouts", "reasons"};

static int proxy_options_parse_docs(const struct option_call *call, void *field, struct text *accepted)
{
	if (call->origin == OPTION_ORIGIN_ENVIRONMENT)
		return 0; /* nobody means to keep a program from its work by a variable left over */
	for (size_t i = 1; i < sizeof docs_names / sizeof docs_names[0]; i++)
		if (strcmp(call->value, docs_names[i]) == 0) {
			*(enum proxy_docs *)field = (enum proxy_docs)i;
			return 0;
		}
	text_string(accepted, "man, timeouts or reasons");
	return -EINVAL;
}

static const struct option_row fixed_rows[] = {
    {.name = "inbound-port", .argument = "PORT", .default_value = "4143", .parse = options_parse_port, .offset = FIELD(inbound_port),
     .help = "Where lapse-init redirects connections that come into the namespace."},
    {.name = "outbound-port", .argument = "PORT", .default_value = "4140", .parse = options_parse_port,
     .offset = FIELD(outbound_port), .help = "Where lapse-init redirects connections that leave the namespace."},
    {.name = "admin", .argument = "ADDRESS:PORT", .default_value = "127.0.0.1:4191", .parse = proxy_options_parse_admin,
     .offset = FIELD(admin), .help = "Listener for /ready and /live, which a kubelet needs on 0.0.0.0:4191; off = none."},
    {.name = "uid", .argument = "UID", .default_value = "2102", .parse = options_parse_number, .least = 1, .greatest = UINT_MAX - 1,
     .offset = FIELD(uid), .help = "User and group id to become when started as root. Must be lapse-init's --proxy-uid."},
    {.name = "workers", .argument = "N", .default_value = "0", .parse = options_parse_number, .greatest = 256,
     .offset = FIELD(workers), .help = "Worker threads; 0 = as many as the CPUs this process may use."},
    {.name = "max-connections", .argument = "N", .default_value = "0", .parse = options_parse_number, .greatest = INT_MAX,
     .offset = FIELD(max_connections), .help = "Connections carried at a time; 0 = as the limit of open files allows."},
    {.name = "opaque-ports", .argument = "PORTS", .parse = options_parse_ports, .offset = FIELD(opaque_ports), .repeatable = true,
     .help = "Destination ports carried as opaque TCP without a look at their first bytes, as 3306,8000-8099."},
    {.name = "detect-grace", .argument = "DURATION", .default_value = "20ms", .parse = options_parse_duration,
     .greatest = INT_MAX, .offset = FIELD(detect_grace),
     .help = "How long a silent client is waited for before its server is dialled, which may then speak first."},
    {.name = "keepalive-idle", .argument = "DURATION", .default_value = "60s", .parse = options_parse_duration, .least = 1000,
     .greatest = 32767000, .offset = FIELD(keepalive_idle), .help = "TCP keep-alive on both legs: silence before the first probe."},
    {.name = "keepalive-interval", .argument = "DURATION", .default_value = "10s", .parse = options_parse_duration, .least = 1000,
     .greatest = 32767000, .offset = FIELD(keepalive_interval), .help = "TCP keep-alive on both legs: time between probes."},
    {.name = "keepalive-probes", .argument = "N", .default_value = "3", .parse = options_parse_number, .least = 1, .greatest = 127,
     .offset = FIELD(keepalive_probes), .help = "TCP keep-alive on both legs: unanswered probes before the peer counts as vanished."},
    {.name = "pool-size", .argument = "N", .default_value = "32", .parse = options_parse_number, .greatest = 65536,
     .offset = FIELD(pool_size), .help = "Idle server connections kept per destination and worker; 0 = none."},
    {.name = "max-head-size", .argument = "SIZE", .default_value = "64KiB", .parse = options_parse_size, .least = 1024,
     .greatest = 16777216, .offset = FIELD(max_head_size), .help = "Longest HTTP/1 head, request line included."},
    {.name = "max-head-fields", .argument = "N", .default_value = "128", .parse = options_parse_number, .least = 1, .greatest = 65536,
     .offset = FIELD(max_head_fields), .help = "Most fields of an HTTP/1 head."},
    {.name = "max-target-size", .argument = "SIZE", .default_value = "16KiB", .parse = options_parse_size, .least = 64,
     .greatest = 16777216, .offset = FIELD(max_target_size), .help = "Longest request target."},
    {.name = "max-chunk-extensions", .argument = "SIZE", .default_value = "1KiB", .parse = options_parse_size, .greatest = 16777216,
     .offset = FIELD(max_chunk_extensions), .help = "Most bytes of chunk extensions in one message."},
    {.name = "no-reason-headers", .parse = options_parse_flag, .offset = FIELD(no_reason_headers),
     .help = "Leaves lapse-reason and lapse-detail out of synthesised answers."},
    {.name = "forwarded", .parse = options_parse_flag, .offset = FIELD(forwarded),
     .help = "Adds a Forwarded field (RFC 7239) that names the client to inbound requests."},
    {.name = "log-format", .argument = "text|json", .default_value = "text", .parse = log_parse_format, .offset = FIELD(log_format),
     .help = "One line per record, with the same fields in both."},
    {.name = "log-level", .argument = "LEVEL", .default_value = "info", .parse = log_parse_level, .offset = FIELD(log_level),
     .help = "debug, info, warn, error or off."},
    {.name = "log-paths", .parse = options_parse_flag, .offset = FIELD(log_paths),
     .help = "Adds the last method, path and status to HTTP records."},
    {.name = "log-rate", .argument = "N", .default_value = "50", .parse = options_parse_number, .greatest = 1000000,
     .offset = FIELD(log_rate), .help = "Records a second for each reason and worker; the next one says how many were held back. 0 = no limit."},
    {.name = "print-docs", .argument = "WHICH", .parse = proxy_options_parse_docs, .offset = FIELD(docs),
     .help = "Prints a part of the documentation and exits: man, timeouts, reasons."},
};

enum { FIXED_ROWS = sizeof fixed_rows / sizeof fixed_rows[0] };

/* The whole table: one row per timeout behind the fixed ones. */
struct proxy_rows {
	struct option_row rows[FIXED_ROWS + TIMEOUT_COUNT];
	char names[TIMEOUT_COUNT][TIMEOUTS_FLAG_SIZE];
	char help[TIMEOUT_COUNT][256];
	struct options options;
};

static const struct option_command commands[] = {
    {"run", "Carries redirected connections until SIGTERM."},
    {"version", "Prints the version."},
    {NULL, NULL},
};

static void proxy_options_rows(struct proxy_rows *table)
{
	memcpy(table->rows, fixed_rows, sizeof fixed_rows);
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		char duration[DURATION_TEXT_SIZE];

		timeouts_flag_name(id, table->names[id]);
		if (timeouts_default(id))
			snprintf(table->help[id], sizeof table->help[id], "%s %s unless set; 0s turns it off.", timeouts_sentence(id),
			         duration_format(timeouts_default(id), duration));
		else
			snprintf(table->help[id], sizeof table->help[id], "%s Off unless set.", timeouts_sentence(id));
		table->rows[FIXED_ROWS + id] = (struct option_row){
		    .name = table->names[id],
		    .aliases = {id == TIMEOUT_DRAIN ? "drain-timeout" : NULL},
		    .argument = "DURATION",
		    .help = table->help[id],
		    .parse = proxy_options_parse_timeout,
		    .offset = FIELD(timeouts) + offsetof(struct timeouts, of) + (size_t)id * sizeof(struct timeout_value),
		};
	}
	table->options = (struct options){
	    .program = "lapse-proxy",
	    .summary = "Carries redirected TCP connections, ends them by timeouts that have names, and says why each one ended.",
	    .commands = commands,
	    .rows = table->rows,
	    .row_count = FIXED_ROWS + TIMEOUT_COUNT,
	};
}

int proxy_options_parse(int argc, char **argv, char **environment, struct settings *settings, int *command, struct text *error)
{
	struct proxy_rows table;

	proxy_options_rows(&table);
	*settings = (struct settings){0};
	timeouts_init_unset(&settings->timeouts);
	return options_parse(&table.options, argc, argv, environment, settings, command, error);
}

void proxy_options_free(struct settings *settings)
{
	ports_free(&settings->opaque_ports);
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		free((char *)settings->timeouts.of[id].source);
	timeouts_init_unset(&settings->timeouts);
}

void proxy_options_print_help(FILE *to)
{
	struct proxy_rows table;

	proxy_options_rows(&table);
	options_print_help(&table.options, to);
}

static void proxy_options_print_timeouts(FILE *to)
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

static void proxy_options_print_reasons(FILE *to)
{
	static const char *const endings[] = {[ENDING_NONE] = "–", [ENDING_FIN] = "FIN", [ENDING_RST] = "RST"};

	fprintf(to, "| reason | by | answer | client gets | meaning |\n|---|---|---|---|---|\n");
	for (int id = REASON_NONE + 1; id < REASON_COUNT; id++) {
		const struct reason *row = reason_row(id);

		fprintf(to, "| `%s` | %s | ", row->name, reason_by_name(row->by));
		if (row->status)
			fprintf(to, "%d", row->status);
		fprintf(to, " | %s | %s |\n", endings[row->ending], row->sentence);
	}
}

void proxy_options_print_docs(enum proxy_docs docs, FILE *to)
{
	struct proxy_rows table;

	proxy_options_rows(&table);
	switch (docs) {
	case DOCS_MAN:
		options_print_man(&table.options, to);
		break;
	case DOCS_TIMEOUTS:
		proxy_options_print_timeouts(to);
		break;
	case DOCS_REASONS:
		proxy_options_print_reasons(to);
		break;
	default:
		break;
	}
}
