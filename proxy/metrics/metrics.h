#ifndef LAPSE_PROXY_METRICS_METRICS_H
#define LAPSE_PROXY_METRICS_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/reason.h"
#include "lib/timeouts.h"
#include "proxy/metrics/words.h"

struct buf;
struct series;

/* Counters of one worker: written by it alone, read by anyone. Base units; label values from bounded sets, never an address. */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_SECONDS };

enum metric {
#define METRIC(id, name, type, a, b, c, d, help) METRIC_##id,
#include "lib/metrics.def"
	METRIC_COUNT,
};

/* Families of which every route or Service has series. */
enum metric_named {
#define NAMED(id, name, kind, dimension, help) NAMED_##id,
#include "lib/metrics.def"
	NAMED_COUNT,
};

/* Values of the dimensions that have no enumeration elsewhere. */
enum metric_status { STATUS_NONE, STATUS_1XX, STATUS_2XX, STATUS_3XX, STATUS_4XX, STATUS_5XX, STATUS_CLASSES };
enum metric_class { CLASS_SUCCESS, CLASS_FAILURE, CLASSES };
enum metric_leg { LEG_CLIENT, LEG_SERVER, LEGS };
enum metric_way { WAY_SENT, WAY_RECEIVED, WAYS };
enum metric_source { RETRY_RULE, RETRY_RACE, RETRY_LOOP, RETRY_SOURCES };
enum metric_outcome { RACE_RETRIED, RACE_FAILED, RACE_OUTCOMES };
enum metric_http { HTTP_1, HTTP_2, HTTP_VERSIONS };
enum { GRPC_STATUSES = 17 }; /* 0 to 16 */
enum unread_kind { UNREAD_SYNTAX, UNREAD_FRAMING, UNREAD_LIMIT, UNREAD_KINDS };
enum metric_dial { DIAL_ESTABLISHED, DIAL_REFUSED, DIAL_RESET, DIAL_UNREACHABLE, DIAL_TIMEOUT, DIAL_NO_PORT, DIAL_OTHER, DIAL_RESULTS };
enum metric_level {
	LEVEL_BUILT_IN, LEVEL_CONFIG, LEVEL_ENVIRONMENT, LEVEL_FLAG, LEVEL_TENANT, LEVEL_POD, LEVEL_ROUTE, LEVELS
};

/* Bounds of the histograms, in microseconds; the last bucket is the rest. */
enum { METRIC_BUCKETS = 22 };

struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/* Adds to the series with these values of the row's dimensions, 0 where it has none. */
void metrics_add(struct metrics *metrics, enum metric metric, unsigned a, unsigned b, unsigned c, unsigned d, int64_t value);

/* One observation of a histogram. */
void metrics_observe(struct metrics *metrics, enum metric metric, unsigned a, unsigned b, int64_t microseconds);

/* Adds to a route's or Service's series, by its number in the struct series; memory for it is taken when it first counts, and when there
 * is none it counts as SERIES_OTHER. */
void metrics_add_named(struct metrics *metrics, enum metric_named family, unsigned number, unsigned direction, unsigned value_of_dimension,
                       int64_t value);

/* The level of a timeout's source. */
enum metric_level metrics_level(const char *source);

enum metric_dial metrics_dial(enum reason_id reason);

/* The sum over all workers of one series. */
uint64_t metrics_sum(struct metrics *const *all, size_t count, enum metric metric, unsigned a, unsigned b, unsigned c, unsigned d);

/* Appends every family as Prometheus text, or OpenMetrics without its "# EOF". names: whose numbers were counted. 0 or -ENOMEM. */
int metrics_print(struct metrics *const *all, size_t count, const struct series *names, bool open_metrics, struct buf *out);

/* One line of text, of at most 1 KiB; the HELP and TYPE lines of a family. For families that are no row: they are of the process. */
int metrics_line(struct buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int metrics_head(struct buf *out, const char *name, const char *type, const char *help, bool open_metrics);

/* For docs/metrics.md: the rows of the table of families, to which others may be added, and the table of their labels. */
void metrics_print_docs(FILE *to);
void metrics_print_labels(FILE *to);

#endif
