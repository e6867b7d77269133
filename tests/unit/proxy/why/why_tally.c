#include "proxy/why/why_tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static struct world {
	struct why_tally tally;
	struct why_record record;
} *world;

static int makes(void **state)
{
	world = calloc(1, sizeof *world);
	return !world || why_tally_new(&world->tally);
}

static int frees(void **state)
{
	why_tally_free(&world->tally);
	free(world);
	return 0;
}

static const struct why_filter all = {0};

/* One line into the tally. */
static void take(const struct why_filter *filter, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void take(const struct why_filter *filter, const char *format, ...)
{
	char text[1024];
	struct why_line line = {.record.bytes = text};
	va_list arguments;

	va_start(arguments, format);
	line.record.length = (size_t)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	why_record_read(&line, &world->record);
	assert_true(world->record.kind >= WHY_UNKNOWN);
	why_tally_add(&world->tally, filter, &world->record);
}

#define STAMP "ts=2026-11-21T06:%02d:50.000Z level=info msg=\"%s\""
#define OF " reason=%s by=%s phase=%s direction=outbound client=10.0.0.%d:4000 server=10.1.0.%d:80 "
#define END "requests=1 detail=x"

static void take_simple(const char *msg, const char *reason, const char *by, const char *phase)
{
	take(&all, STAMP OF END, 1, msg, reason, by, phase, 1, 1);
}

static void weighs_ends(void **state)
{
	static const struct {
		const char *msg, *reason, *by, *phase;
		enum why_outcome outcome;
	} rows[] = {
	    {"connection closed", "done", "client", "opaque", WHY_MEANT},
	    {"connection closed", "drain", "proxy", "idle", WHY_MEANT},
	    {"connection closed", "admin_closed", "proxy", "idle", WHY_MEANT},
	    {"connection closed", "idle_timeout", "proxy", "idle", WHY_MEANT},
	    {"connection closed", "max_connection", "proxy", "opaque", WHY_MEANT},
	    {"connection closed", "tcp_idle_timeout", "proxy", "opaque", WHY_SILENT},
	    {"connection closed", "client_reset", "client", "idle", WHY_SILENT},
	    {"connection closed", "client_reset", "client", "opaque", WHY_SILENT},
	    {"connection closed", "client_reset", "client", "head", WHY_GAVE_UP},
	    {"connection closed", "client_aborted_wait", "client", "wait", WHY_GAVE_UP},
	    {"connection closed", "client_vanished", "network", "idle", WHY_SILENT},
	    {"connection closed", "client_vanished", "network", "response", WHY_BROKE},
	    {"connection closed", "idle_race", "proxy", "idle", WHY_BROKE},
	    {"connection closed", "connect_refused", "server", "connect", WHY_BROKE},
	    {"request failed", "keepalive_race", "server", "wait", WHY_BROKE},
	    {"connection closed", "drain_forced", "proxy", "wait", WHY_BROKE},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		take_simple(rows[i].msg, rows[i].reason, rows[i].by, rows[i].phase);
		if (why_tally_outcome(&world->record) != rows[i].outcome)
			fail_msg("%s in %s: %d", rows[i].reason, rows[i].phase, (int)why_tally_outcome(&world->record));
	}
	assert_int_equal(why_tally_connections(&world->tally), 15);
	assert_int_equal(why_tally_requests(&world->tally), 15);
	assert_int_equal(world->tally.outcomes[WHY_BROKE], 5);
	assert_int_equal(why_tally_total_cost(&world->tally), 5 * 10 + 2 * 5 + 4);
}

/* What was held back counts with the record that says so, and what only has a reason with the largest cause of it. */
static void counts_what_was_held_back(void **state)
{
	void *causes[4];
	struct why_tally *tally = &world->tally;

	take(&all, STAMP OF "suppressed=9 " END, 1, "connection closed", "connect_refused", "server", "connect", 1, 1);
	take(&all, STAMP OF END, 2, "connection closed", "connect_refused", "server", "connect", 1, 2);
	take(&all, STAMP " reason=connect_refused suppressed=5", 3, "records held back");
	why_tally_finish(tally);
	assert_int_equal(tally->reasons[REASON_CONNECT_REFUSED].connections, 16);
	assert_int_equal(tally->reasons[REASON_CONNECT_REFUSED].held_back, 14);
	assert_int_equal(why_table_list(why_tally_causes(tally), causes, 4), 2);
	assert_int_equal(((struct why_cause *)causes[0])->weighed.count, 15);
	assert_string_equal(((struct why_cause *)causes[0])->to, "10.1.0.1:80");
	assert_int_equal(why_tally_total_cost(tally), 160);
}

/* With a filter on Services nobody knows whose it was. */
static void leaves_out(void **state)
{
	const char *const reasons[] = {"done", "connect_refused"};
	const struct why_filter service = {.service = "10.1.0.1"}, reason = {.reasons = reasons, .reason_count = 2},
	                        since = {.since_ms = 1795241450000};
	struct why_tally *tally = &world->tally;

	take(&service, STAMP OF "suppressed=9 " END, 1, "connection closed", "connect_refused", "server", "connect", 1, 1);
	take(&service, STAMP OF END, 1, "connection closed", "connect_refused", "server", "connect", 1, 2);
	take(&service, STAMP " reason=connect_refused suppressed=5", 3, "records held back");
	assert_true(tally->records == 1 && tally->filtered == 1 && tally->held_back == 14);
	take(&reason, STAMP OF END, 1, "connection closed", "connect_refused", "server", "connect", 1, 1);
	take(&reason, STAMP OF END, 1, "connection closed", "server_reset", "server", "opaque", 1, 1);
	assert_true(tally->records == 2 && tally->filtered == 2);
	take(&since, STAMP OF END, 9, "connection closed", "done", "client", "opaque", 1, 1);
	take(&since, STAMP OF END, 10, "connection closed", "done", "client", "opaque", 1, 1);
	assert_true(tally->records == 3 && tally->filtered == 3);
	assert_true(tally->last_ms - tally->first_ms == 9 * 60000);
}

static void counts_timers_and_races(void **state)
{
	struct why_tally *tally = &world->tally;
	void *rows[4];
	const struct why_fired *fired;
	const struct why_race *race;

	for (int i = 0; i < 3; i++)
		take(&all, STAMP OF "timer=connect value=%ds set_by=\"flag --timeout-connect\" " END, i, "connection closed", "connect_timeout",
		     "proxy", "connect", 1, i, i / 2 + 5);
	assert_int_equal(why_table_list(&tally->timers, rows, 4), 2);
	fired = rows[0];
	assert_true(fired->weighed.count == 2 && strcmp(fired->timer.value, "5s") == 0 &&
	            strcmp(fired->timer.set_by, "flag --timeout-connect") == 0 && fired->to.used == 2);
	for (int i = 0; i < 3; i++)
		take(&all, STAMP OF "requests=2 detail=\"the server closed this connection, idle for 6%d.0 s before, as the request arrived\"", i,
		     "request failed", "keepalive_race", "server", "wait", 1, 1, i == 1 ? 9 : 0);
	assert_int_equal(why_table_list(&tally->races, rows, 4), 1);
	race = rows[0];
	assert_true(race->weighed.count == 3 && race->least_ms == 60000 && race->most_ms == 69000 && race->rests.used == 2);
	assert_int_equal(why_table_list(&tally->causes, rows, 4), 4);
	assert_int_equal(((struct why_cause *)rows[0])->rest_ms, 69000); /* the sample is the one with the longest rest */
	assert_non_null(strstr(((struct why_cause *)rows[0])->sample, "69.0 s"));
}

/* Of the access log: statuses, durations within an eighth; and causes where there are no records. */
static void counts_requests(void **state)
{
	struct why_tally *tally = &world->tally;
	void *rows[2];
	const struct why_requests *requests;

	for (int i = 1; i <= 1000; i++)
		take(&all,
		     "ts=2026-11-21T06:11:50.071Z level=info msg=request direction=inbound client=10.0.0.1:1 server=10.0.0.%d:80 status=%d answer=%s "
		     "classification=%s %sduration_s=%d.%06d path=/",
		     i % 7, i <= 10 ? 504 : i <= 20 ? 500 : 200, i <= 10 ? "proxy" : "server", i <= 20 ? "failure" : "success",
		     i <= 10 ? "reason=request_timeout " : "", i / 1000, i % 1000 * 1000);
	assert_int_equal(why_table_list(&tally->requests, rows, 2), 1);
	requests = rows[0];
	assert_string_equal(requests->to, ":80");
	assert_true(requests->statuses[2] == 980 && requests->statuses[5] == 20 && requests->failed == 20 && tally->own_errors == 10);
	assert_in_range(why_tally_quantile(requests, 500), 500000, 562500);
	assert_in_range(why_tally_quantile(requests, 990), 990000, 1000000);
	assert_true(requests->slowest_us == 1000000 && why_tally_quantile(requests, 1000) == 1000000);
	assert_int_equal(why_tally_requests(tally), 1000);
	assert_int_equal(why_tally_outcomes(tally)[WHY_BROKE], 10);
	assert_int_equal(why_table_list(why_tally_causes(tally), rows, 2), 1);
	take_simple("connection closed", "done", "client", "opaque"); /* records there are: theirs are the causes */
	assert_int_equal(why_table_list(why_tally_causes(tally), rows, 2), 0);
}

/* To a Service, and to this pod, which is one of its own. */
static void counts_directions_apart(void **state)
{
	static const char *const directions[] = {"inbound", "outbound", "outbound"};
	void *rows[3];

	for (int i = 0; i < 3; i++)
		take(&all,
		     "ts=2026-11-21T06:11:50.071Z level=info msg=request direction=%s client=10.0.0.1:1 server=10.0.0.2:80 "
		     "service=default/web status=200 answer=server classification=success duration_s=0.1 path=/",
		     directions[i]);
	assert_int_equal(why_table_list(&world->tally.requests, rows, 3), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(weighs_ends, makes, frees),
	    cmocka_unit_test_setup_teardown(counts_what_was_held_back, makes, frees),
	    cmocka_unit_test_setup_teardown(leaves_out, makes, frees),
	    cmocka_unit_test_setup_teardown(counts_timers_and_races, makes, frees),
	    cmocka_unit_test_setup_teardown(counts_requests, makes, frees),
	    cmocka_unit_test_setup_teardown(counts_directions_apart, makes, frees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
