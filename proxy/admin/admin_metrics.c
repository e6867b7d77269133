/* GET /metrics: what the workers have counted, and what is the process's own. */
#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/connection/worker.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/reload.h"

enum { WORKERS_MOST = 256 };

/* One scrape. */
struct scrape {
	const struct admin_context *context;
	const struct proxy *proxy;
	const struct reload_status *reload;
	struct metrics *workers[WORKERS_MOST];
	size_t count;
	bool open_metrics;
};

/* --- Envoy's names --- */

/* Names that people's dashboards have, from KubeLB's page and what that should have listed: each a timer that fired. Envoy's names
 * have no _total, so these have no type. */
static const struct {
	const char *name;
	enum timeout_id timer;
} envoy[] = {
    {"envoy_http_downstream_rq_idle_timeout", TIMEOUT_STREAM_IDLE},
    {"envoy_http_downstream_rq_max_duration_reached", TIMEOUT_REQUEST},
    {"envoy_http_downstream_rq_header_timeout", TIMEOUT_REQUEST_HEADERS},
    {"envoy_http_downstream_cx_idle_timeout", TIMEOUT_IDLE_CONNECTION},
    {"envoy_cluster_upstream_rq_timeout", TIMEOUT_REQUEST},
    {"envoy_cluster_upstream_cx_connect_timeout", TIMEOUT_CONNECT},
    {"envoy_tcp_idle_timeout", TIMEOUT_TCP_IDLE},
};

static int admin_metrics_envoy(const struct scrape *scrape, struct buf *out)
{
	int result = 0;

	for (size_t i = 0; i < sizeof envoy / sizeof envoy[0] && !result; i++) {
		uint64_t fired = 0;
		char help[128];

		for (unsigned level = 0; level < LEVELS; level++)
			fired += metrics_sum(scrape->workers, scrape->count, METRIC_TIMEOUTS, envoy[i].timer, level, 0, 0);
		snprintf(help, sizeof help, "Times that %s fired, under Envoy's name for it.", timeouts_name(envoy[i].timer));
		result = metrics_head(out, envoy[i].name, scrape->open_metrics ? "unknown" : "untyped", help, scrape->open_metrics);
		if (!result)
			result = metrics_line(out, "%s %" PRIu64 "\n", envoy[i].name, fired);
	}
	return result;
}

/* --- the process --- */

static double admin_metrics_cpu(const struct scrape *scrape)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		return 0;
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double admin_metrics_pages(size_t column)
{
	unsigned long long values[2] = {0};
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &values[0], &values[1]) != 2)
		values[column] = 0;
	fclose(file);
	return (double)values[column] * (double)sysconf(_SC_PAGESIZE);
}

static double admin_metrics_virtual(const struct scrape *scrape)
{
	return admin_metrics_pages(0);
}

static double admin_metrics_resident(const struct scrape *scrape)
{
	return admin_metrics_pages(1);
}

static double admin_metrics_open_fds(const struct scrape *scrape)
{
	static const char path[] = "/proc/self/fd";
	struct stat status;
	size_t count = 0;
	DIR *directory;

	/* Since Linux 6.2 its size is their number. */
	if (!stat(path, &status) && status.st_size)
		return (double)status.st_size;
	directory = opendir(path);
	if (!directory)
		return 0;
	for (const struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return (double)(count - 1); /* this directory's own */
}

static double admin_metrics_max_fds(const struct scrape *scrape)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : (double)limit.rlim_cur;
}

static double admin_metrics_started(const struct scrape *scrape)
{
	return (double)scrape->context->started_ms / 1000;
}

static double admin_metrics_reloaded(const struct scrape *scrape)
{
	return (double)scrape->reload->read_ms / 1000;
}

static double admin_metrics_up_to_date(const struct scrape *scrape)
{
	return !scrape->reload->refusal;
}

static double admin_metrics_draining(const struct scrape *scrape)
{
	return atomic_load_explicit(&scrape->proxy->drain, memory_order_relaxed) != DRAIN_NONE;
}

static double admin_metrics_limit(const struct scrape *scrape)
{
	return (double)scrape->proxy->max_connections;
}

static double admin_metrics_warnings(const struct scrape *scrape)
{
	return (double)scrape->reload->warnings;
}

static double admin_metrics_dropped(const struct scrape *scrape)
{
	uint64_t dropped = 0;

	for (int i = 0; i < scrape->proxy->worker_count; i++)
		dropped += scrape->proxy->workers[i] ? log_dropped(scrape->proxy->workers[i]->log) : 0;
	return (double)dropped;
}

static double admin_metrics_taken(const struct scrape *scrape)
{
	return (double)scrape->reload->taken;
}

static double admin_metrics_refused(const struct scrape *scrape)
{
	return (double)scrape->reload->refused;
}

static double admin_metrics_one(const struct scrape *scrape)
{
	return 1;
}

/* Families of one thread or of the whole process; rows of the same name are series of one family. */
static const struct {
	const char *name, *type, *labels, *help;
	double (*value)(const struct scrape *scrape);
	int decimals;
} families[] = {
    {"lapse_config_reloads_total", "counter", "{result=\"taken\"}",
     "Readings of the configuration after the first: taken, or refused for its errors.", admin_metrics_taken, 0},
    {"lapse_config_reloads_total", "counter", "{result=\"refused\"}", NULL, admin_metrics_refused, 0},
    {"lapse_config_last_reload_timestamp_seconds", "gauge", "", "When the configuration in force was read.", admin_metrics_reloaded,
     3},
    {"lapse_config_last_reload_successful", "gauge", "", "1: the last reading of the configuration was taken; 0: it was refused.",
     admin_metrics_up_to_date, 0},
    {"lapse_config_warnings", "gauge", "", "Warnings about the configuration in force.", admin_metrics_warnings, 0},
    {"lapse_draining", "gauge", "", "1 once the proxy shuts down, else 0.", admin_metrics_draining, 0},
    {"lapse_connections_limit", "gauge", "", "Connections carried at a time, at most.", admin_metrics_limit, 0},
    {"lapse_log_lines_dropped_total", "counter", "", "Log lines lost because nobody read standard output fast enough.",
     admin_metrics_dropped, 0},
    {"lapse_build_info", "gauge", "{version=\"" LAPSE_VERSION "\"}", "The version that runs; always 1.", admin_metrics_one, 0},
    {"process_cpu_seconds_total", "counter", "", "Processor time used, in seconds.", admin_metrics_cpu, 6},
    {"process_resident_memory_bytes", "gauge", "", "Resident memory, in bytes.", admin_metrics_resident, 0},
    {"process_virtual_memory_bytes", "gauge", "", "Virtual memory, in bytes.", admin_metrics_virtual, 0},
    {"process_open_fds", "gauge", "", "File descriptors open.", admin_metrics_open_fds, 0},
    {"process_max_fds", "gauge", "", "File descriptors that may be open.", admin_metrics_max_fds, 0},
    {"process_start_time_seconds", "gauge", "", "When the process started, in seconds since 1970.", admin_metrics_started, 3},
};

static int admin_metrics_own(const struct scrape *scrape, struct buf *out)
{
	int result = 0;

	for (size_t i = 0; i < sizeof families / sizeof families[0] && !result; i++) {
		char value[64];

		if (families[i].help)
			result = metrics_head(out, families[i].name, families[i].type, families[i].help, scrape->open_metrics);
		snprintf(value, sizeof value, "%.*f", families[i].decimals, families[i].value(scrape));
		if (!result)
			result = metrics_line(out, "%s%s %s\n", families[i].name, families[i].labels, value);
	}
	return result;
}

/* "result" of '{result="taken"}'. */
static int admin_metrics_label_length(const char *labels)
{
	return (int)strcspn(labels + 1, "=");
}

void admin_metrics_print_docs(FILE *to)
{
	metrics_print_docs(to);
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		if (!families[i].help)
			continue;
		fprintf(to, "| `%s` | %s | ", families[i].name, families[i].type);
		if (*families[i].labels)
			fprintf(to, "`%.*s` ", admin_metrics_label_length(families[i].labels), families[i].labels + 1);
		fprintf(to, "| %s |\n", families[i].help);
	}
	fprintf(to, "\n## Labels\n\n");
	metrics_print_labels(to);
	fprintf(to, "\n## Envoy's names\n\n| metric | the timer whose firings it counts |\n|---|---|\n");
	for (size_t i = 0; i < sizeof envoy / sizeof envoy[0]; i++)
		fprintf(to, "| `%s` | `%s` |\n", envoy[i].name, timeouts_name(envoy[i].timer));
}

void admin_metrics_page(struct admin_call *call)
{
	const struct proxy *proxy = call->context->proxy;
	struct reload_status reload;
	struct scrape scrape = {.context = call->context, .proxy = proxy, .reload = &reload};
	struct buf out = {0};
	int result;

	reload_status(call->context->reload, &reload);
	scrape.open_metrics = admin_pages_field_has(call, "accept", "application/openmetrics-text");
	for (int i = 0; i < proxy->worker_count && scrape.count < WORKERS_MOST; i++)
		if (proxy->workers[i])
			scrape.workers[scrape.count++] = proxy->workers[i]->metrics;
	result = metrics_print(scrape.workers, scrape.count, reload_series(call->context->reload), scrape.open_metrics, &out);
	if (!result)
		result = admin_metrics_envoy(&scrape, &out);
	if (!result)
		result = admin_metrics_own(&scrape, &out);
	if (!result && scrape.open_metrics)
		result = metrics_line(&out, "# EOF\n");
	if (result) {
		buf_release(&out);
		admin_pages_say(call, 503, "there is no memory for this page");
		return;
	}
	*call->answer = (struct admin_answer){
	    .status = 200,
	    .type = scrape.open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
	                                : "text/plain; version=0.0.4; charset=utf-8",
	    .body = (char *)out.data, /* nothing was consumed: it begins where malloc() put it */
	    .length = buf_length(&out),
	};
}
