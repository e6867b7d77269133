#include "proxy/metrics/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "proxy/metrics/code.h"
#include "proxy/metrics/series.h"

enum { DIMENSIONS = 4 };

/* --- dimensions --- */

static const char *metrics_reason(unsigned value)
{
	return reason_row((enum reason_id)value)->name;
}

static const char *metrics_by(unsigned value)
{
	return reason_by_name((enum reason_by)value);
}

static const char *metrics_timer(unsigned value)
{
	return timeouts_name((enum timeout_id)value);
}

static const char *metrics_level_name(unsigned value)
{
	static const char *const names[] = {
	    [LEVEL_BUILT_IN] = "built-in", [LEVEL_CONFIG] = "config", [LEVEL_ENVIRONMENT] = "environment", [LEVEL_FLAG] = "flag",
	    [LEVEL_TENANT] = "tenant",     [LEVEL_POD] = "pod",       [LEVEL_ROUTE] = "route",
	};

	return names[value];
}

static const char *metrics_dial_name(unsigned value)
{
	static const char *const names[] = {
	    [DIAL_ESTABLISHED] = "established", [DIAL_REFUSED] = "refused", [DIAL_RESET] = "reset", [DIAL_UNREACHABLE] = "unreachable",
	    [DIAL_TIMEOUT] = "timeout",         [DIAL_NO_PORT] = "no_port", [DIAL_OTHER] = "other",
	};

	return names[value];
}

static const char *metrics_status(unsigned value)
{
	static const char *const names[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

	return names[value];
}

static const char *metrics_class(unsigned value)
{
	return value == CLASS_SUCCESS ? "success" : "failure";
}

static const char *metrics_leg(unsigned value)
{
	return value == LEG_CLIENT ? "client" : "server";
}

static const char *metrics_way(unsigned value)
{
	return value == WAY_SENT ? "sent" : "received";
}

static const char *metrics_source(unsigned value)
{
	static const char *const names[] = {[RETRY_RULE] = "rule", [RETRY_RACE] = "keepalive_race", [RETRY_LOOP] = "redirect_loop"};

	return names[value];
}

static const char *metrics_outcome(unsigned value)
{
	return value == RACE_RETRIED ? "retried" : "failed";
}

static const char *metrics_unread(unsigned value)
{
	static const char *const names[] = {[UNREAD_SYNTAX] = "syntax", [UNREAD_FRAMING] = "framing", [UNREAD_LIMIT] = "limit"};

	return names[value];
}

static const char *metrics_http(unsigned value)
{
	return words_protocol(value == HTTP_1 ? PROTOCOL_HTTP1 : PROTOCOL_HTTP2);
}

static const char *metrics_grpc(unsigned value)
{
	static const char *const names[GRPC_STATUSES] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};

	return names[value];
}

enum dimension {
	DIMENSION_NONE, DIMENSION_DIRECTION, DIMENSION_PROTOCOL, DIMENSION_REASON, DIMENSION_BY, DIMENSION_PHASE, DIMENSION_TIMER,
	DIMENSION_LEVEL, DIMENSION_DIAL, DIMENSION_STATUS, DIMENSION_CLASS, DIMENSION_LEG, DIMENSION_WAY, DIMENSION_SOURCE,
	DIMENSION_OUTCOME, DIMENSION_UNREAD, DIMENSION_HTTP, DIMENSION_CODE, DIMENSION_GRPC, DIMENSION_COUNT
};

/* The sizes as constants, for the offsets. */
enum {
	SIZE_NONE = 1, SIZE_DIRECTION = 2, SIZE_PROTOCOL = PROTOCOL_OPAQUE + 1, SIZE_REASON = REASON_COUNT, SIZE_BY = BY_PEER + 1,
	SIZE_PHASE = PHASE_COUNT, SIZE_TIMER = TIMEOUT_COUNT, SIZE_LEVEL = LEVELS, SIZE_DIAL = DIAL_RESULTS,
	SIZE_STATUS = STATUS_CLASSES, SIZE_CLASS = CLASSES, SIZE_LEG = LEGS, SIZE_WAY = WAYS, SIZE_SOURCE = RETRY_SOURCES,
	SIZE_OUTCOME = RACE_OUTCOMES, SIZE_UNREAD = UNREAD_KINDS, SIZE_HTTP = HTTP_VERSIONS, SIZE_CODE = CODE_COUNT, SIZE_GRPC = GRPC_STATUSES,
};

static const struct {
	const char *label;
	unsigned size;
	bool sparse; /* values that never counted are not printed: there are many, and most cannot happen */
	const char *(*name)(unsigned value);
} dimensions[] = {
    [DIMENSION_NONE] = {NULL, SIZE_NONE, false, NULL},
    [DIMENSION_DIRECTION] = {"direction", SIZE_DIRECTION, false, words_direction},
    [DIMENSION_PROTOCOL] = {"protocol", SIZE_PROTOCOL, false, words_protocol},
    [DIMENSION_REASON] = {"reason", SIZE_REASON, true, metrics_reason},
    [DIMENSION_BY] = {"by", SIZE_BY, true, metrics_by},
    [DIMENSION_PHASE] = {"phase", SIZE_PHASE, true, words_phase},
    [DIMENSION_TIMER] = {"timer", SIZE_TIMER, true, metrics_timer},
    [DIMENSION_LEVEL] = {"level", SIZE_LEVEL, true, metrics_level_name},
    [DIMENSION_DIAL] = {"result", SIZE_DIAL, false, metrics_dial_name},
    [DIMENSION_STATUS] = {"status", SIZE_STATUS, false, metrics_status},
    [DIMENSION_CLASS] = {"classification", SIZE_CLASS, false, metrics_class},
    [DIMENSION_LEG] = {"leg", SIZE_LEG, false, metrics_leg},
    [DIMENSION_WAY] = {"way", SIZE_WAY, false, metrics_way},
    [DIMENSION_SOURCE] = {"cause", SIZE_SOURCE, false, metrics_source},
    [DIMENSION_OUTCOME] = {"outcome", SIZE_OUTCOME, false, metrics_outcome},
    [DIMENSION_UNREAD] = {"kind", SIZE_UNREAD, false, metrics_unread},
    [DIMENSION_HTTP] = {"protocol", SIZE_HTTP, false, metrics_http},
    [DIMENSION_CODE] = {"code", SIZE_CODE, true, code_name},
    [DIMENSION_GRPC] = {"grpc_status", SIZE_GRPC, true, metrics_grpc},
};

/* --- families --- */

/* What one series takes: a histogram its buckets, its sum and its count. */
enum { CELLS_COUNTER = 1, CELLS_GAUGE = 1, CELLS_SECONDS = METRIC_BUCKETS + 3, CELL_SUM = METRIC_BUCKETS + 1, CELL_COUNT };

/* Where a family's cells begin and, behind the last one, how many there are in all. */
enum {
#define METRIC(id, name, type, a, b, c, d, help) \
	AT_##id, LAST_##id = AT_##id + SIZE_##a * SIZE_##b * SIZE_##c * SIZE_##d * CELLS_##type - 1,
#include "lib/metrics.def"
	CELLS
};

static const struct {
	const char *name, *help;
	enum metric_type type;
	unsigned cells; /* of a series */
	unsigned at;
	enum dimension dimensions[DIMENSIONS];
	unsigned strides[DIMENSIONS]; /* cells from one value of a dimension to the next */
} families[] = {
#define METRIC(id, name, type, a, b, c, d, help) \
	[METRIC_##id] = {#name, help, METRIC_##type, CELLS_##type, AT_##id, {DIMENSION_##a, DIMENSION_##b, DIMENSION_##c, DIMENSION_##d}, \
	                 {SIZE_##b * SIZE_##c * SIZE_##d * CELLS_##type, SIZE_##c * SIZE_##d * CELLS_##type, SIZE_##d * CELLS_##type, \
	                  CELLS_##type}},
#include "lib/metrics.def"
};

static const struct {
	const char *name, *help;
	enum series_kind kind;
	enum dimension dimension;
} named[] = {
#define NAMED(id, name, kind, dimension, help) [NAMED_##id] = {#name, help, SERIES_##kind, DIMENSION_##dimension},
#include "lib/metrics.def"
};

static const char *const kind_labels[] = {[SERIES_ROUTE] = "route", [SERIES_SERVICE] = "service"};

static const int64_t bounds[METRIC_BUCKETS] = {
    100,     250,     500,     1000,     2500,     5000,     10000,     25000,     50000,      100000,     250000,
    500000,  1000000, 2500000, 5000000,  10000000, 30000000, 60000000,  300000000, 600000000,  1800000000, 3600000000,
};

struct metrics {
	_Atomic uint64_t cells[CELLS];
	_Atomic(_Atomic uint64_t *) named[NAMED_COUNT][SERIES_END]; /* owned; by direction, then by the family's dimension; NULL: all 0 */
};

static _Atomic uint64_t *metrics_new_named(enum metric_named family)
{
	return calloc((size_t)SIZE_DIRECTION * dimensions[named[family].dimension].size, sizeof(_Atomic uint64_t));
}

struct metrics *metrics_new(void)
{
	struct metrics *metrics = calloc(1, sizeof *metrics);
	bool all = metrics != NULL;

	for (int family = 0; metrics && family < NAMED_COUNT; family++) {
		_Atomic uint64_t *cells = metrics_new_named((enum metric_named)family);

		atomic_init(&metrics->named[family][SERIES_OTHER], cells);
		all &= cells != NULL;
	}
	if (all)
		return metrics;
	metrics_free(metrics);
	return NULL;
}

void metrics_free(struct metrics *metrics)
{
	for (int family = 0; metrics && family < NAMED_COUNT; family++)
		for (unsigned number = 0; number < SERIES_END; number++)
			free((void *)atomic_load_explicit(&metrics->named[family][number], memory_order_relaxed));
	free(metrics);
}

static size_t metrics_at(enum metric metric, unsigned a, unsigned b, unsigned c, unsigned d)
{
	const unsigned *strides = families[metric].strides;

	return (size_t)families[metric].at + a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
}

/* One writer: no read-modify-write is needed, only that readers never see half a value. */
static void metrics_bump(_Atomic uint64_t *cell, int64_t value)
{
	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + (uint64_t)value, memory_order_relaxed);
}

void metrics_add(struct metrics *metrics, enum metric metric, unsigned a, unsigned b, unsigned c, unsigned d, int64_t value)
{
	metrics_bump(&metrics->cells[metrics_at(metric, a, b, c, d)], value);
}

void metrics_observe(struct metrics *metrics, enum metric metric, unsigned a, unsigned b, int64_t microseconds)
{
	_Atomic uint64_t *cells = &metrics->cells[metrics_at(metric, a, b, 0, 0)];
	unsigned bucket = 0;

	while (bucket < METRIC_BUCKETS && microseconds > bounds[bucket])
		bucket++;
	metrics_bump(&cells[bucket], 1);
	metrics_bump(&cells[CELL_SUM], microseconds);
	metrics_bump(&cells[CELL_COUNT], 1);
}

/* A series' cells, made when it first counts; those of the others when there is no memory. */
static _Atomic uint64_t *metrics_named_cells(struct metrics *metrics, enum metric_named family, unsigned number)
{
	_Atomic uint64_t *cells = atomic_load_explicit(&metrics->named[family][number], memory_order_relaxed);

	if (cells)
		return cells;
	cells = metrics_new_named(family);
	if (!cells)
		return atomic_load_explicit(&metrics->named[family][SERIES_OTHER], memory_order_relaxed);
	atomic_store_explicit(&metrics->named[family][number], cells, memory_order_release);
	return cells;
}

void metrics_add_named(struct metrics *metrics, enum metric_named family, unsigned number, unsigned direction, unsigned value_of_dimension,
                       int64_t value)
{
	if (named[family].kind == SERIES_SERVICE && number == SERIES_NONE)
		return;
	metrics_bump(&metrics_named_cells(metrics, family, number)[direction * dimensions[named[family].dimension].size + value_of_dimension],
	             value);
}

enum metric_level metrics_level(const char *source)
{
	static const struct {
		const char *prefix;
		enum metric_level level;
	} prefixes[] = {
	    {"built-in", LEVEL_BUILT_IN}, {"Config ", LEVEL_CONFIG}, {"environment variable ", LEVEL_ENVIRONMENT},
	    {"flag ", LEVEL_FLAG},        {"Tenant ", LEVEL_TENANT},
	};

	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
		if (strncmp(source, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
			return prefixes[i].level;
	if (strstr(source, " on Config "))
		return LEVEL_CONFIG;
	if (strstr(source, " on Tenant "))
		return LEVEL_TENANT;
	return strstr(source, " on the pod") ? LEVEL_POD : LEVEL_ROUTE;
}

enum metric_dial metrics_dial(enum reason_id reason)
{
	switch (reason) {
	case REASON_NONE:
		return DIAL_ESTABLISHED;
	case REASON_CONNECT_REFUSED:
		return DIAL_REFUSED;
	case REASON_CONNECT_RESET:
		return DIAL_RESET;
	case REASON_CONNECT_UNREACHABLE:
		return DIAL_UNREACHABLE;
	case REASON_CONNECT_TIMEOUT:
		return DIAL_TIMEOUT;
	case REASON_NO_LOCAL_PORT:
		return DIAL_NO_PORT;
	default:
		return DIAL_OTHER;
	}
}

/* --- printing --- */

static uint64_t metrics_cell(struct metrics *const *all, size_t count, size_t at)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += atomic_load_explicit(&all[i]->cells[at], memory_order_relaxed);
	return sum;
}

uint64_t metrics_sum(struct metrics *const *all, size_t count, enum metric metric, unsigned a, unsigned b, unsigned c, unsigned d)
{
	size_t at = metrics_at(metric, a, b, c, d);

	return metrics_cell(all, count, families[metric].type == METRIC_SECONDS ? at + CELL_COUNT : at);
}

int metrics_line(struct buf *out, const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	return buf_append(out, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

int metrics_head(struct buf *out, const char *name, const char *type, const char *help, bool open_metrics)
{
	static const char total[] = "_total";
	size_t length = strlen(name);

	/* OpenMetrics names the family without the suffix of its only series. */
	if (open_metrics && length > sizeof total - 1 && strcmp(name + length - (sizeof total - 1), total) == 0)
		length -= sizeof total - 1;
	return metrics_line(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)length, name, help, (int)length, name, type);
}

/* 'direction="inbound",reason="done"' of the series with that number. True when every value is one that is always printed. */
static bool metrics_labels(enum metric metric, size_t series, char *out, size_t size)
{
	unsigned values[DIMENSIONS];
	bool always = true;
	size_t length = 0;

	for (size_t i = DIMENSIONS; i-- > 0;) {
		unsigned dimension_size = dimensions[families[metric].dimensions[i]].size;

		values[i] = (unsigned)(series % dimension_size);
		series /= dimension_size;
	}
	out[0] = '\0';
	for (size_t i = 0; i < DIMENSIONS; i++) {
		enum dimension dimension = families[metric].dimensions[i];

		if (!dimensions[dimension].label)
			continue;
		length += (size_t)snprintf(out + length, size - length, "%s%s=\"%s\"", length ? "," : "", dimensions[dimension].label,
		                           dimensions[dimension].name(values[i]));
		always &= !dimensions[dimension].sparse;
	}
	return always;
}

/* Microseconds as seconds, without a loss. */
static int metrics_seconds(struct buf *out, uint64_t microseconds)
{
	return metrics_line(out, "%" PRIu64 ".%06" PRIu64, microseconds / 1000000, microseconds % 1000000);
}

static int metrics_print_histogram(struct metrics *const *all, size_t count, const char *name, size_t at, const char *labels,
                                   struct buf *out)
{
	const char *comma = *labels ? "," : "";
	uint64_t below = 0;
	int result = 0;

	for (unsigned bucket = 0; bucket <= METRIC_BUCKETS && !result; bucket++) {
		below += metrics_cell(all, count, at + bucket);
		if (bucket < METRIC_BUCKETS)
			result = metrics_line(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma,
			                      (double)bounds[bucket] / 1e6, below);
		else
			result = metrics_line(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, below);
	}
	if (!result)
		result = metrics_line(out, "%s_sum{%s} ", name, labels);
	if (!result)
		result = metrics_seconds(out, metrics_cell(all, count, at + CELL_SUM));
	if (!result) /* the buckets' own sum: a scrape may come between two stores */
		result = metrics_line(out, "\n%s_count{%s} %" PRIu64 "\n", name, labels, below);
	return result;
}

static int metrics_print_family(struct metrics *const *all, size_t count, enum metric metric, bool open_metrics, struct buf *out)
{
	static const char *const types[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_SECONDS] = "histogram"};
	size_t series_count = 1;
	bool sparse = false;
	char labels[256];
	int result = metrics_head(out, families[metric].name, types[families[metric].type], families[metric].help, open_metrics);

	for (size_t i = 0; i < DIMENSIONS; i++) {
		series_count *= dimensions[families[metric].dimensions[i]].size;
		sparse |= dimensions[families[metric].dimensions[i]].sparse;
	}
	for (size_t series = 0; series < series_count && !result; series++) {
		size_t at = families[metric].at + series * families[metric].cells;
		bool histogram = families[metric].type == METRIC_SECONDS;
		uint64_t value = histogram ? 0 : metrics_cell(all, count, at);

		if (sparse && !value) /* most of a scrape's series: not even their labels are made */
			continue;
		metrics_labels(metric, series, labels, sizeof labels);
		if (histogram)
			result = metrics_print_histogram(all, count, families[metric].name, at, labels, out);
		else
			result = metrics_line(out, *labels ? "%s{%s} %" PRId64 "\n" : "%s%s %" PRId64 "\n", families[metric].name, labels,
			                      (int64_t)value);
	}
	return result;
}

static uint64_t metrics_named_cell(struct metrics *const *all, size_t count, enum metric_named family, unsigned number, unsigned at)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		const _Atomic uint64_t *cells = atomic_load_explicit(&all[i]->named[family][number], memory_order_acquire);

		sum += cells ? atomic_load_explicit(&cells[at], memory_order_relaxed) : 0;
	}
	return sum;
}

/* What one name has counted in one direction: nothing at all when that is nothing. */
static int metrics_print_name(struct metrics *const *all, size_t count, enum metric_named family, unsigned number, const char *label,
                              unsigned direction, struct buf *out)
{
	enum dimension dimension = named[family].dimension;
	unsigned size = dimensions[dimension].size;
	uint64_t values[SIZE_REASON], any = 0;
	int result = 0;

	for (unsigned value = 0; value < size; value++)
		any |= values[value] = metrics_named_cell(all, count, family, number, direction * size + value);
	for (unsigned value = 0; any && value < size && !result; value++) {
		if (dimensions[dimension].sparse && !values[value])
			continue;
		result = metrics_line(out, "%s{direction=\"%s\",%s=\"", named[family].name, words_direction(direction),
		                      kind_labels[named[family].kind]);
		if (!result) /* it may be longer than a line */
			result = buf_append(out, label, strlen(label));
		if (!result)
			result = metrics_line(out, "\",%s=\"%s\"} %" PRIu64 "\n", dimensions[dimension].label, dimensions[dimension].name(value),
			                      values[value]);
	}
	return result;
}

static bool metrics_has_counted(struct metrics *const *all, size_t count, enum metric_named family, unsigned number)
{
	for (size_t i = 0; i < count; i++)
		if (atomic_load_explicit(&all[i]->named[family][number], memory_order_relaxed))
			return true;
	return false;
}

static int metrics_print_named(struct metrics *const *all, size_t count, const struct series *names, enum metric_named family,
                               bool open_metrics, struct buf *out)
{
	enum series_kind kind = named[family].kind;
	int result = metrics_head(out, named[family].name, "counter", named[family].help, open_metrics);

	for (unsigned number = 0; number < series_end(names, kind) && !result; number++)
		for (unsigned direction = 0; direction < SIZE_DIRECTION && !result; direction++)
			if (metrics_has_counted(all, count, family, number))
				result = metrics_print_name(all, count, family, number, series_label(names, kind, number), direction, out);
	return result;
}

int metrics_print(struct metrics *const *all, size_t count, const struct series *names, bool open_metrics, struct buf *out)
{
	int result = 0;

	for (int metric = 0; metric < METRIC_COUNT && !result; metric++)
		result = metrics_print_family(all, count, (enum metric)metric, open_metrics, out);
	for (int family = 0; family < NAMED_COUNT && !result; family++)
		result = metrics_print_named(all, count, names, (enum metric_named)family, open_metrics, out);
	return result;
}

void metrics_print_docs(FILE *to)
{
	static const char *const types[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_SECONDS] = "histogram"};

	fprintf(to, "| metric | type | labels | what it says |\n|---|---|---|---|\n");
	for (int metric = 0; metric < METRIC_COUNT; metric++) {
		fprintf(to, "| `%s` | %s |", families[metric].name, types[families[metric].type]);
		for (size_t i = 0; i < DIMENSIONS; i++)
			if (families[metric].dimensions[i] != DIMENSION_NONE)
				fprintf(to, " `%s`", dimensions[families[metric].dimensions[i]].label);
		fprintf(to, " | %s |\n", families[metric].help);
	}
	for (int family = 0; family < NAMED_COUNT; family++)
		fprintf(to, "| `%s` | counter | `direction` `%s` `%s` | %s |\n", named[family].name, kind_labels[named[family].kind],
		        dimensions[named[family].dimension].label, named[family].help);
}

void metrics_print_labels(FILE *to)
{
	fprintf(to, "| label | values |\n|---|---|\n");
	for (int dimension = DIMENSION_NONE + 1; dimension < DIMENSION_COUNT; dimension++) {
		fprintf(to, "| `%s` |", dimensions[dimension].label);
		if (dimension == DIMENSION_REASON)
			fprintf(to, " those of [reasons.md](reasons.md)");
		else if (dimension == DIMENSION_TIMER)
			fprintf(to, " those of [timeouts.md](timeouts.md)");
		else
			for (unsigned value = 0; value < dimensions[dimension].size; value++)
				fprintf(to, " `%s`", dimensions[dimension].name(value));
		fprintf(to, " |\n");
	}
}
