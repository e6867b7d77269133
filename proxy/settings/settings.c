#include "proxy/settings/settings.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/json.h"
#include "lib/options.h"
#include "lib/text.h"
#include "proxy/admin/admin_host.h"
#include "proxy/settings/settings_check.h"
#include "proxy/settings/settings_value.h"

#define FIELD(member) offsetof(struct settings, member)

/* Which commands an option belongs to. */
enum {
	OF_RUN = 1 << COMMAND_RUN,
	OF_EXPLAIN = 1 << COMMAND_EXPLAIN,
	OF_CHECK = 1 << COMMAND_CHECK_CONFIG,
	OF_WHY = 1 << COMMAND_WHY,
	OF_READY = 1 << COMMAND_READY,
	OF_CONFIG = OF_RUN | OF_EXPLAIN | OF_CHECK, /* all that read the configuration */
};

static const struct option_row fixed_rows[] = {
    {.name = "inbound-port", .commands = OF_RUN, .argument = "PORT", .default_value = "4143", .parse = options_parse_port,
     .offset = FIELD(worker.inbound_port),
     .help = "Where lapse-init redirects connections that come into the namespace."},
    {.name = "outbound-port", .commands = OF_RUN, .argument = "PORT", .default_value = "4140", .parse = options_parse_port,
     .offset = FIELD(worker.outbound_port),
     .help = "Where lapse-init redirects connections that leave the namespace."},
    {.name = "admin", .commands = OF_RUN | OF_READY, .argument = "ADDRESS:PORT", .default_value = "127.0.0.1:4191",
     .parse = settings_value_parse_admin, .offset = FIELD(admin),
     .help = "Listener for /ready, /live, /metrics, /connections and what / lists besides; a kubelet and a scraper need it on "
             "0.0.0.0:4191, where it answers other hosts these three alone; off = none."},
    {.name = "admin-host", .commands = OF_RUN, .argument = "NAME", .parse = settings_value_parse_admin_host, .offset = FIELD(admin_hosts),
     .repeatable = true,
     .help = "Further names that the admin listener answers to, as that of a Service by which it is scraped; several between commas. "
             "It answers to addresses, localhost and the pod's own names, and to another Host with 421."},
    {.name = "uid", .commands = OF_RUN, .argument = "UID", .default_value = "2102", .parse = options_parse_number, .least = 1,
     .greatest = UINT_MAX - 1, .offset = FIELD(uid),
     .help = "User and group id to become when started as root. Must be lapse-init's --proxy-uid."},
    {.name = "workers", .commands = OF_RUN, .argument = "N", .default_value = "0", .parse = options_parse_number,
     .greatest = 256, .offset = FIELD(workers),
     .help = "Worker threads; 0 = as many as the CPUs this process may use."},
    {.name = "max-connections", .commands = OF_RUN, .argument = "N", .default_value = "0", .parse = options_parse_number,
     .greatest = INT_MAX, .offset = FIELD(max_connections),
     .help = "Connections carried at a time; 0 = as many as the limit of open files allows, two for each. A hundredth is kept for "
             "each direction; an idle one gives way before a new one is refused."},
    {.name = "opaque-ports", .commands = OF_RUN, .argument = "PORTS", .parse = options_parse_ports,
     .offset = FIELD(worker.opaque_ports), .repeatable = true,
     .help = "Destination ports carried as opaque TCP without a look at their first bytes, as 3306,8000-8099."},
    {.name = "detect-grace", .commands = OF_RUN, .argument = "DURATION", .default_value = "20ms",
     .parse = options_parse_duration, .greatest = INT_MAX, .offset = FIELD(worker.detect_grace),
     .help = "How long a silent client is waited for before its server is dialled, which may then speak first."},
    {.name = "keepalive-idle", .commands = OF_RUN, .argument = "DURATION", .default_value = "60s",
     .parse = options_parse_duration, .least = 1000, .greatest = 32767000, .offset = FIELD(worker.keepalive_idle),
     .help = "TCP keep-alive on both legs: silence before the first probe."},
    {.name = "keepalive-interval", .commands = OF_RUN, .argument = "DURATION", .default_value = "60s",
     .parse = options_parse_duration, .least = 1000, .greatest = 32767000, .offset = FIELD(worker.keepalive_interval),
     .help = "TCP keep-alive on both legs: time between probes."},
    {.name = "keepalive-probes", .commands = OF_RUN, .argument = "N", .default_value = "10", .parse = options_parse_number,
     .least = 1, .greatest = 127, .offset = FIELD(worker.keepalive_probes),
     .help = "TCP keep-alive on both legs: unanswered probes before the peer counts as vanished."},
    {.name = "pool-size", .commands = OF_RUN, .argument = "N", .default_value = "0", .parse = options_parse_number,
     .greatest = 65536, .offset = FIELD(upstream.pool_size),
     .help = "Idle server connections kept per destination and worker; 0 = none."},
    {.name = "no-learned-idle", .commands = OF_RUN, .parse = options_parse_flag, .offset = FIELD(upstream.no_learned_idle),
     .help = "Keep idle server connections for serverIdle and send anything on them, whatever the server announces in Keep-Alive or "
             "was seen to do."},
    {.name = "max-head-size", .commands = OF_RUN | OF_EXPLAIN, .argument = "SIZE", .default_value = "64KiB",
     .parse = options_parse_size, .least = 1024, .greatest = 16777216, .offset = FIELD(max_head_size),
     .help = "Longest HTTP/1 head, request line included."},
    {.name = "max-head-fields", .commands = OF_RUN | OF_EXPLAIN, .argument = "N", .default_value = "128",
     .parse = options_parse_number, .least = 1, .greatest = 65536, .offset = FIELD(max_head_fields),
     .help = "Most fields of an HTTP/1 head."},
    {.name = "max-target-size", .commands = OF_RUN | OF_EXPLAIN, .argument = "SIZE", .default_value = "16KiB",
     .parse = options_parse_size, .least = 64, .greatest = 16777216, .offset = FIELD(max_target_size),
     .help = "Longest request target."},
    {.name = "max-chunk-extensions", .commands = OF_RUN, .argument = "SIZE", .default_value = "1KiB",
     .parse = options_parse_size, .greatest = 16777216, .offset = FIELD(max_chunk_extensions),
     .help = "Most bytes of chunk extensions in one message."},
    {.name = "on-malformed-http", .commands = OF_RUN, .argument = "pass|refuse", .default_value = "pass", .parse = settings_value_parse_malformed,
     .offset = FIELD(refuse_malformed_http),
     .help = "What a strict parser refuses goes on as it came, and the connection is not read further; or it is answered with 400 or 502. "
             "Where routes choose, filter or retry it is always refused."},
    {.name = "grpc-deadline", .commands = OF_RUN | OF_EXPLAIN, .argument = "observe|enforce", .default_value = "observe", .parse = settings_value_parse_deadline,
     .offset = FIELD(exchange.grpc_deadline),
     .help = "A gRPC client's own deadline, grpc-timeout, is told of in records; or it is a timer of the proxy too (grpcDeadline), which ends the "
             "call at the server as well."},
    {.name = "no-reason-headers", .commands = OF_RUN, .parse = options_parse_flag, .offset = FIELD(exchange.no_reason_headers),
     .help = "Leaves what happened out of synthesised answers: lapse-reason, lapse-detail, Proxy-Status and the line of text."},
    {.name = "forwarded", .commands = OF_RUN, .parse = settings_value_parse_forwarded, .offset = FIELD(exchange.forwarded), .follows = "x-forwarded-for",
     .help = "Names the client's address in inbound requests, since the application sees the pod's own: in Forwarded (RFC 7239), or with "
             "--forwarded x-forwarded-for in X-Forwarded-For; appended to what came."},
    {.name = "log-format", .commands = OF_RUN, .argument = "text|json", .default_value = "text", .parse = log_parse_format,
     .offset = FIELD(worker.log_format),
     .help = "One line per record, with the same fields in both."},
    {.name = "log-level", .commands = OF_RUN, .argument = "LEVEL", .default_value = "info", .parse = log_parse_level,
     .offset = FIELD(worker.log_level),
     .help = "debug, info, warn, error or off."},
    {.name = "log-paths", .commands = OF_RUN, .parse = options_parse_flag, .offset = FIELD(exchange.log_paths),
     .help = "Adds the last method, path and status to HTTP records."},
    {.name = "access-log", .commands = OF_RUN, .parse = options_parse_flag, .offset = FIELD(exchange.access_log),
     .help = "A line for each HTTP request, with its path, as it ends. --log-rate does not hold these back."},
    {.name = "log-rate", .commands = OF_RUN, .argument = "N", .default_value = "50", .parse = options_parse_number,
     .greatest = 1000000, .offset = FIELD(worker.log_rate),
     .help = "Records a second for each reason and worker; the next one says how many were held back. 0 = no limit."},
    {.name = "config", .commands = OF_CONFIG, .argument = "PATH", .parse = options_parse_texts, .offset = FIELD(config),
     .repeatable = true,
     .help = "File or directory of Kubernetes documents, YAML or JSON: routes, Services, ServiceProfiles, KubeLB's kinds."},
    {.name = "pod-info", .commands = OF_CONFIG, .argument = "DIR", .parse = options_parse_text, .offset = FIELD(pod_info),
     .help = "Directory with this pod's annotations and labels, files of the downward API."},
    {.name = "namespace", .commands = OF_CONFIG, .argument = "NAME", .parse = settings_value_parse_namespace,
     .offset = FIELD(namespace),
     .help = "Namespace of this pod. Without it the service account's, else default."},
    {.name = "cluster-domain", .commands = OF_CONFIG, .argument = "DOMAIN", .default_value = "cluster.local",
     .parse = settings_value_parse_domain, .offset = FIELD(policy.cluster_domain),
     .help = "What the names of Services end in: NAME.NAMESPACE.svc.DOMAIN."},
    {.name = "dns-server", .commands = OF_RUN, .argument = "ADDRESS:PORT", .parse = settings_value_parse_dns,
     .offset = FIELD(dns_server),
     .help = "Who is asked for addresses of Services that no document gives. Without it those of /etc/resolv.conf."},
    {.name = "service-profile-default-timeout", .commands = OF_CONFIG, .argument = "DURATION", .default_value = "10s",
     .parse = settings_value_parse_profile_default, .offset = FIELD(policy),
     .help = "Timeout of ServiceProfile routes that set none; 0s turns it off."},
    {.name = "to", .commands = OF_EXPLAIN, .argument = "ADDRESS:PORT|NAMESPACE/NAME:PORT", .parse = options_parse_text,
     .offset = FIELD(to),
     .help = "Where the connection goes: an address as the application dials it, or a Service, also as NAME.NAMESPACE:PORT."},
    {.name = "protocol", .commands = OF_EXPLAIN, .argument = "http/1.1|http/2|grpc", .default_value = "http/1.1",
     .parse = settings_value_parse_protocol, .offset = FIELD(protocol),
     .help = "What carries the request. Of gRPC the path alone will do, /package.Service/Method."},
    {.name = "direction", .commands = OF_EXPLAIN, .argument = "inbound|outbound", .default_value = "outbound",
     .parse = settings_value_parse_direction, .offset = FIELD(direction),
     .help = "Whether the connection leaves this pod or comes to it."},
    {.name = "from-namespace", .commands = OF_EXPLAIN, .argument = "NAME", .parse = settings_value_parse_namespace,
     .offset = FIELD(from_namespace),
     .help = "Namespace of the client, whose own routes come first. Without it --namespace."},
    {.name = "header", .letter = 'H', .commands = OF_EXPLAIN, .argument = "'NAME: VALUE'", .parse = options_parse_texts,
     .offset = FIELD(headers), .repeatable = true,
     .help = "Header field of the request."},
    {.name = "since", .commands = OF_WHY, .argument = "DURATION|TIMESTAMP", .parse = settings_value_parse_since, .offset = FIELD(since),
     .help = "Only lines from then on: back from now (10m), or an instant (2026-01-02T03:04:05Z; without an offset UTC)."},
    {.name = "service", .commands = OF_WHY, .argument = "NAME", .parse = options_parse_text, .offset = FIELD(service),
     .help = "Only records of this Service (NAMESPACE/NAME or NAME), or of this server (ADDRESS or ADDRESS:PORT)."},
    {.name = "reason", .commands = OF_WHY, .argument = "REASON", .parse = settings_value_parse_reason, .offset = FIELD(reasons),
     .repeatable = true,
     .help = "Only records of this reason."},
    {.name = "file", .commands = OF_WHY, .argument = "FILE", .parse = options_parse_texts, .offset = FIELD(logs), .repeatable = true,
     .help = "Log to read; - is standard input, which is read where no file is given."},
    {.name = "json", .commands = OF_EXPLAIN | OF_CHECK | OF_WHY, .parse = options_parse_flag, .offset = FIELD(json),
     .help = "One JSON object instead of text."},
    {.name = "within", .commands = OF_READY, .argument = "DURATION", .default_value = "30s", .parse = options_parse_duration,
     .offset = FIELD(within),
     .help = "How long to wait for it."},
    {.name = "print-docs", .argument = "WHICH", .parse = settings_value_parse_docs, .offset = FIELD(docs),
     .help = "Prints a part of the documentation and exits: man, timeouts, costs, reasons, kinds, annotations, metrics, inject."},
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
    [COMMAND_RUN] = {"run", "Carries redirected connections until SIGTERM."},
    [COMMAND_EXPLAIN] = {"explain",
                         "Says what applies to a request to --to, or to a connection of opaque bytes: route, backends, header "
                         "fields, retries, and each timeout with where it is set.",
                         "[METHOD URL]", 2},
    [COMMAND_CHECK_CONFIG] = {"check-config", "Reads the configuration and says what is wrong with it; exit 65 if something is. A PATH is as "
                              "behind --config.",
                              "[PATH ...]", .words_option = "config"},
    [COMMAND_INJECT] = {"inject",
                        "Puts lapse-init and lapse-proxy into Kubernetes objects that have pods; inject --help has its own options.",
                        "[FILE|-]...", OPTION_WORDS_MOST},
    [COMMAND_WHY] = {"why",
                     "Reads the log of lapse-proxy, from FILE or standard input, whatever kubectl or a container runtime puts before its "
                     "lines, and says what ended, by whom and how often, and what to do about what cost most; exit 65 where there is no "
                     "record, 66 where a file cannot be read.",
                     "[FILE ...]", .words_option = "file"},
    [COMMAND_READY] = {"ready", "Waits until /ready of the lapse-proxy behind --admin says 200; exit 1 if it does not. As a container's postStart "
                       "hook it holds back the next container."},
    [COMMAND_VERSION] = {"version", "Prints the version."},
    {NULL},
};

static void settings_rows(struct proxy_rows *table)
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
		    .aliases = {id == TIMEOUT_DRAIN ? "drain-timeout" : id == TIMEOUT_DRAIN_LEAST ? "drain-least" : NULL},
		    .argument = "DURATION",
		    .help = table->help[id],
		    .parse = settings_value_parse_timeout,
		    .commands = OF_CONFIG,
		    .offset = FIELD(policy.timeouts) + offsetof(struct timeouts, of) + (size_t)id * sizeof(struct timeout_value),
		};
	}
	table->options = (struct options){
	    .program = "lapse-proxy",
	    .summary = "Carries redirected TCP connections, ends them by timeouts that have names, and says why each one ended.",
	    .commands = commands,
	    .rows = table->rows,
	    .others = options_names_init,
	    .row_count = FIXED_ROWS + TIMEOUT_COUNT,
	    .words_offset = FIELD(words),
	};
}

int settings_parse(int argc, char **argv, char **environment, struct settings *settings, int *command, struct text *error)
{
	struct proxy_rows table;
	int result;

	settings_rows(&table);
	*settings = (struct settings){0};
	timeouts_init_unset(&settings->policy.timeouts);
	result = options_parse(&table.options, argc, argv, environment, settings, command, error);
	return result ? result : settings_check(settings, *command == COMMAND_RUN, error);
}

void settings_look_at_environment(char **environment, struct text *unknown, struct text *services)
{
	struct proxy_rows table;

	settings_rows(&table);
	options_environment_look(&table.options, environment, unknown, services);
}

struct config_paths settings_paths(const struct settings *settings)
{
	return (struct config_paths){
	    .files = settings->config.items,
	    .count = settings->config.count,
	    .pod_info = settings->pod_info,
	    .namespace = settings->namespace,
	};
}

struct http1_limits settings_limits(const struct settings *settings)
{
	return (struct http1_limits){
	    .head_bytes = (size_t)settings->max_head_size,
	    .fields = (size_t)settings->max_head_fields,
	    .target_bytes = (size_t)settings->max_target_size,
	    .chunk_extension_bytes = (size_t)settings->max_chunk_extensions,
	};
}

void settings_free(struct settings *settings)
{
	ports_free(&settings->worker.opaque_ports);
	options_texts_free(&settings->admin_hosts);
	options_texts_free(&settings->config);
	options_texts_free(&settings->headers);
	options_texts_free(&settings->logs);
	options_texts_free(&settings->reasons);
	free((char *)settings->policy.service_profile_default_source);
	settings->policy.service_profile_default_source = NULL;
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		free((char *)settings->policy.timeouts.of[id].source);
	timeouts_init_unset(&settings->policy.timeouts);
}

static void settings_write_addr(const void *field, struct text *out)
{
	char text[ADDR_TEXT_SIZE];

	text_string(out, ((const struct addr *)field)->family ? addr_format(field, text) : "off");
}

static void settings_write_ports(const struct ports *ports, struct text *out)
{
	for (size_t i = 0; i < ports->count; i++) {
		text_printf(out, "%s%u", i ? "," : "", ports->ranges[i].first);
		if (ports->ranges[i].last != ports->ranges[i].first)
			text_printf(out, "-%u", ports->ranges[i].last);
	}
}

/* The value as it could be written; what nobody gave is empty. */
static void settings_write(const struct settings *settings, const struct option_row *row, struct text *out)
{
	const void *field = (const char *)settings + row->offset;
	char duration[DURATION_TEXT_SIZE];

	if (row->parse == options_parse_port)
		text_printf(out, "%u", *(const uint16_t *)field);
	else if (row->parse == options_parse_number || row->parse == options_parse_size)
		text_printf(out, "%lld", (long long)*(const int64_t *)field);
	else if (row->parse == options_parse_duration)
		text_string(out, duration_format(*(const int64_t *)field, duration));
	else if (row->parse == settings_value_parse_profile_default)
		text_string(out, duration_format(settings->policy.service_profile_default_timeout, duration));
	else if (row->parse == settings_value_parse_forwarded)
		text_string(out, (const char *const[]){"false", "true", row->follows}[*(const enum forwarded *)field]);
	else if (row->parse == options_parse_flag)
		text_string(out, *(const bool *)field ? "true" : "false");
	else if (row->parse == options_parse_ports)
		settings_write_ports(field, out);
	else if (row->parse == settings_value_parse_admin || row->parse == settings_value_parse_dns)
		settings_write_addr(field, out);
	else if (row->parse == log_parse_level)
		text_string(out, log_level_name(*(const enum log_level *)field));
	else if (row->parse == log_parse_format)
		text_string(out, *(const enum log_format *)field == LOG_JSON ? "json" : "text");
	else if (row->parse == settings_value_parse_malformed)
		text_string(out, *(const bool *)field ? "refuse" : "pass");
	else if (row->parse == settings_value_parse_deadline)
		text_string(out, *(const bool *)field ? "enforce" : "observe");
	else if (row->parse == options_parse_texts || row->parse == settings_value_parse_admin_host)
		for (size_t i = 0; i < ((const struct option_texts *)field)->count; i++)
			text_printf(out, "%s%s", i ? " " : "", ((const struct option_texts *)field)->items[i]);
	else if (*(const char *const *)field)
		text_string(out, *(const char *const *)field);
}

void settings_print_changed(const struct settings *settings, struct json *json)
{
	char *words[] = {(char *)"lapse-proxy", NULL}, *environment[] = {NULL};
	struct settings defaults;
	TEXT_ON_STACK(error, 256);
	int command;

	json_open(json, "settings", '{');
	if (!settings_parse(1, words, environment, &defaults, &command, &error))
		for (size_t i = 0; i < FIXED_ROWS; i++) {
			TEXT_ON_STACK(before, 4096);
			TEXT_ON_STACK(now, 4096);

			if (!(fixed_rows[i].commands & OF_RUN))
				continue;
			settings_write(&defaults, &fixed_rows[i], &before);
			settings_write(settings, &fixed_rows[i], &now);
			if (strcmp(before_bytes, now_bytes) != 0)
				json_string(json, fixed_rows[i].name, now_bytes);
		}
	settings_free(&defaults);
	json_close(json, '}');
}

void settings_print_help(FILE *to)
{
	struct proxy_rows table;

	settings_rows(&table);
	options_print_help(&table.options, to);
}

void settings_write_help(const char *name, struct text *out)
{
	struct proxy_rows table;

	settings_rows(&table);
	for (size_t i = 0; i < table.options.row_count; i++)
		if (strcmp(table.rows[i].name, name) == 0)
			text_string(out, table.rows[i].help);
}

void settings_print_man(FILE *to)
{
	struct proxy_rows table;

	settings_rows(&table);
	options_print_man(&table.options, to);
}
