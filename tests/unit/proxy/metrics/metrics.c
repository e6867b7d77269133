#include "proxy/metrics/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "proxy/metrics/series.h"

static const char *const names[] = {
#define METRIC(id, name, type, a, b, c, d, help) #name,
#define NAMED(id, name, kind, dimension, help) #name,
#include "lib/metrics.def"
};

/* Everything printed, as text. */
static char *print_names(struct metrics *const *all, size_t count, const struct series *series, bool open_metrics)
{
	struct buf out = {0};
	char *text;

	assert_int_equal(metrics_print(all, count, series, open_metrics, &out), 0);
	text = strndup((const char *)buf_bytes(&out), buf_length(&out));
	assert_non_null(text);
	buf_release(&out);
	return text;
}

static char *print(struct metrics *const *all, size_t count, bool open_metrics)
{
	struct series *series = series_new();
	char *text = print_names(all, count, series, open_metrics);

	series_free(series);
	return text;
}

static void must_have(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	if (!at || (at > text && at[-1] != '\n'))
		fail_msg("no line %s in\n%s", line, text);
}

/* base names, units and suffixes as Prometheus wants them */
static void names_are_proper(void **state)
{
	for (int id = 0; id < METRIC_COUNT + NAMED_COUNT; id++) {
		size_t length = strlen(names[id]);

		assert_memory_equal(names[id], "lapse_", 6);
		for (int other = 0; other < id; other++)
			assert_string_not_equal(names[id], names[other]);
		for (size_t i = 0; i < length; i++)
			assert_true(names[id][i] == '_' || (names[id][i] >= 'a' && names[id][i] <= 'z'));
	}
}

/* No two series share a cell: each gets a value of its own, and all are still there afterwards. */
static void series_are_apart(void **state)
{
	struct metrics *metrics = metrics_new();
	int64_t value = 1;

	assert_non_null(metrics);
	for (unsigned direction = 0; direction < 2; direction++)
		for (unsigned reason = 0; reason < REASON_COUNT; reason++)
			for (unsigned by = 0; by <= BY_PEER; by++)
				for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
					metrics_add(metrics, METRIC_CONNECTIONS_CLOSED, direction, reason, by, phase, value++);
	metrics_add(metrics, METRIC_CONNECTIONS_ACTIVE, 1, 0, 0, 0, 7);
	metrics_observe(metrics, METRIC_CONNECTION_SECONDS, 1, PROTOCOL_OPAQUE, 5);
	value = 1;
	for (unsigned direction = 0; direction < 2; direction++)
		for (unsigned reason = 0; reason < REASON_COUNT; reason++)
			for (unsigned by = 0; by <= BY_PEER; by++)
				for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
					assert_int_equal(metrics_sum(&metrics, 1, METRIC_CONNECTIONS_CLOSED, direction, reason, by, phase), value++);
	assert_int_equal(metrics_sum(&metrics, 1, METRIC_CONNECTIONS_ACTIVE, 1, 0, 0, 0), 7);
	assert_int_equal(metrics_sum(&metrics, 1, METRIC_CONNECTIONS_ACTIVE, 0, 0, 0, 0), 0);
	assert_int_equal(metrics_sum(&metrics, 1, METRIC_CONNECTIONS_OPENED, 1, 0, 0, 0), 0);
	metrics_free(metrics);
}

static void workers_are_summed(void **state)
{
	struct metrics *all[2] = {metrics_new(), metrics_new()};
	char *text;

	metrics_add(all[0], METRIC_CONNECTIONS_ACTIVE, DIRECTION_INBOUND, 0, 0, 0, 5);
	metrics_add(all[1], METRIC_CONNECTIONS_ACTIVE, DIRECTION_INBOUND, 0, 0, 0, -2);
	metrics_add(all[1], METRIC_CONNECTIONS_CLOSED, DIRECTION_OUTBOUND, REASON_DONE, BY_CLIENT, STAGE_OPAQUE, 3);
	text = print(all, 2, false);
	must_have(text, "lapse_connections_active{direction=\"inbound\"} 3\n");
	must_have(text, "lapse_connections_active{direction=\"outbound\"} 0\n");
	must_have(text, "lapse_connections_closed_total{direction=\"outbound\",reason=\"done\",by=\"client\",phase=\"opaque\"} 3\n");
	must_have(text, "# TYPE lapse_connections_closed_total counter\n");
	assert_null(strstr(text, "reason=\"idle_timeout\"")); /* never counted */
	free(text);
	text = print(all, 2, true);
	must_have(text, "# TYPE lapse_connections_closed counter\n");
	free(text);
	metrics_free(all[0]);
	metrics_free(all[1]);
}

static void histograms(void **state)
{
	struct metrics *metrics = metrics_new();
	char *text;

	metrics_observe(metrics, METRIC_REQUEST_SECONDS, DIRECTION_INBOUND, 0, 0);
	metrics_observe(metrics, METRIC_REQUEST_SECONDS, DIRECTION_INBOUND, 0, 100);
	metrics_observe(metrics, METRIC_REQUEST_SECONDS, DIRECTION_INBOUND, 0, 101);
	metrics_observe(metrics, METRIC_REQUEST_SECONDS, DIRECTION_INBOUND, 0, 3600000000);
	metrics_observe(metrics, METRIC_REQUEST_SECONDS, DIRECTION_INBOUND, 0, 3600000001);
	text = print(&metrics, 1, false);
	must_have(text, "lapse_request_seconds_bucket{direction=\"inbound\",protocol=\"http/1.1\",le=\"0.0001\"} 2\n");
	must_have(text, "lapse_request_seconds_bucket{direction=\"inbound\",protocol=\"http/1.1\",le=\"0.00025\"} 3\n");
	must_have(text, "lapse_request_seconds_bucket{direction=\"inbound\",protocol=\"http/1.1\",le=\"3600\"} 4\n");
	must_have(text, "lapse_request_seconds_bucket{direction=\"inbound\",protocol=\"http/1.1\",le=\"+Inf\"} 5\n");
	must_have(text, "lapse_request_seconds_count{direction=\"inbound\",protocol=\"http/1.1\"} 5\n");
	must_have(text, "lapse_request_seconds_sum{direction=\"inbound\",protocol=\"http/1.1\"} 7200.000202\n");
	free(text);
	metrics_free(metrics);
}

/* Routes and Services: summed over workers, both classes once one has counted, reasons only when they have, nothing for what has not. */
static void names_are_counted(void **state)
{
	struct metrics *all[2] = {metrics_new(), metrics_new()};
	struct series *series = series_new();
	unsigned route = series_number(series, SERIES_ROUTE, "ServiceProfile web route \"a\\b\"");
	unsigned service = series_number(series, SERIES_SERVICE, "default/web");
	char *text;

	series_number(series, SERIES_ROUTE, "HTTPRoute default/silent rule 0");
	metrics_add_named(all[0], NAMED_ROUTE_EFFECTIVE, route, DIRECTION_OUTBOUND, CLASS_FAILURE, 2);
	metrics_add_named(all[1], NAMED_ROUTE_EFFECTIVE, route, DIRECTION_OUTBOUND, CLASS_FAILURE, 3);
	metrics_add_named(all[0], NAMED_ROUTE_ACTUAL, SERIES_NONE, DIRECTION_INBOUND, CLASS_SUCCESS, 1);
	metrics_add_named(all[0], NAMED_ROUTE_ACTUAL, SERIES_OTHER, DIRECTION_INBOUND, CLASS_SUCCESS, 4);
	metrics_add_named(all[1], NAMED_SERVICE_CLOSED, service, DIRECTION_INBOUND, REASON_DONE, 1);
	metrics_add_named(all[1], NAMED_SERVICE_CLOSED, service, DIRECTION_OUTBOUND, REASON_COUNT - 1, 6);
	metrics_add_named(all[1], NAMED_SERVICE_FAILED, SERIES_NONE, DIRECTION_INBOUND, REASON_DONE, 1);
	text = print_names(all, 2, series, false);
	must_have(text, "# TYPE lapse_route_effective_total counter\n");
	must_have(text, "lapse_route_effective_total{direction=\"outbound\",route=\"ServiceProfile web route \\\"a\\\\b\\\"\","
	                "classification=\"failure\"} 5\n");
	must_have(text, "lapse_route_effective_total{direction=\"outbound\",route=\"ServiceProfile web route \\\"a\\\\b\\\"\","
	                "classification=\"success\"} 0\n");
	must_have(text, "lapse_route_actual_total{direction=\"inbound\",route=\"none\",classification=\"success\"} 1\n");
	must_have(text, "lapse_route_actual_total{direction=\"inbound\",route=\"other\",classification=\"success\"} 4\n");
	must_have(text, "lapse_service_closed_total{direction=\"inbound\",service=\"default/web\",reason=\"done\"} 1\n");
	assert_null(strstr(text, "silent"));
	assert_null(strstr(text, "direction=\"inbound\",route=\"ServiceProfile"));
	assert_null(strstr(text, "lapse_service_failed_total{"));
	free(text);
	text = print_names(all, 2, series, true);
	must_have(text, "# TYPE lapse_service_closed counter\n");
	free(text);
	series_free(series);
	metrics_free(all[0]);
	metrics_free(all[1]);
}

static void levels(void **state)
{
	static const struct {
		const char *source;
		enum metric_level level;
	} rows[] = {
	    {"built-in", LEVEL_BUILT_IN},
	    {"built-in ServiceProfile default", LEVEL_BUILT_IN},
	    {"Config kubelb/default spec.timeouts.request", LEVEL_CONFIG},
	    {"environment variable LAPSE_TIMEOUT_REQUEST", LEVEL_ENVIRONMENT},
	    {"flag --timeout-request", LEVEL_FLAG},
	    {"Tenant a spec.timeouts.request", LEVEL_TENANT},
	    {"annotation lapse.proxy/timeout-request on Config kubelb/default", LEVEL_CONFIG},
	    {"annotation lapse.proxy/timeout-request on Tenant a", LEVEL_TENANT},
	    {"annotation lapse.proxy/timeout-request on the pod", LEVEL_POD},
	    {"annotation lapse.proxy/timeout-request on Service default/web", LEVEL_ROUTE},
	    {"HTTPRoute default/web spec.rules[0].timeouts.request", LEVEL_ROUTE},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (metrics_level(rows[i].source) != rows[i].level)
			fail_msg("%s: %d", rows[i].source, metrics_level(rows[i].source));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_proper), cmocka_unit_test(series_are_apart), cmocka_unit_test(workers_are_summed),
	    cmocka_unit_test(histograms),       cmocka_unit_test(levels),           cmocka_unit_test(names_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
