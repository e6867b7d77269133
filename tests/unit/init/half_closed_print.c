#include "init/half_closed_print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "init/half_closed_known.h"
#include "init/half_closed_places.h"

static struct half_closed_flow flow_of(const char *client, const char *destination, const char *answerer)
{
	struct half_closed_flow flow = {.state = CONNTRACK_CLOSE_WAIT, .remaining = 12, .silent = 47, .first = HALF_CLOSED_CLIENT};

	assert_int_equal(addr_parse(client, &flow.client), 0);
	assert_int_equal(addr_parse(destination, &flow.destination), 0);
	assert_int_equal(addr_parse(answerer, &flow.answerer), 0);
	flow.answered = flow.client;
	return flow;
}

/* Compares what was written to `to`, and frees it. */
static void same(FILE *to, char **text, const char *expected)
{
	fclose(to);
	assert_string_equal(*text, expected);
	free(*text);
}

static void table_is_aligned(void **state)
{
	struct half_closed_flow flows[] = {flow_of("10.0.0.1:5000", "10.0.0.2:80", "10.0.0.2:4143"),
	                                   flow_of("[fd00::1]:5000", "[fd00::2]:8080", "[fd00::2]:8080")};
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	flows[1].state = CONNTRACK_FIN_WAIT;
	flows[1].first = HALF_CLOSED_UNKNOWN;
	flows[1].silent = -1;
	half_closed_print_table(flows, 2, false, to);
	same(to, &text,
	     "STATE       FIRST FIN  CLIENT          ORIGINAL DESTINATION  REDIRECTED TO  SILENT FOR  RISK\n"
	     "CLOSE_WAIT  client     10.0.0.1:5000   10.0.0.2:80           10.0.0.2:4143  47 s        "
	     "forgotten in 12 s; a later FIN or RST is then lost\n"
	     "FIN_WAIT    ?          [fd00::1]:5000  [fd00::2]:8080        -              ?           "
	     "forgotten in 12 s; not translated, so what comes later arrives unless a rule drops invalid packets\n");
}

static void table_with_places_and_counters(void **state)
{
	struct half_closed_place place = {.pid = 42, .process = "nginx", .pod = "0123456789abcdef0123456789abcdef"};
	struct half_closed_flow flow = flow_of("10.0.0.1:5000", "10.0.0.2:80", "10.0.0.2:4143");
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	flow.place = &place;
	flow.counted = true;
	flow.from_client = (struct half_closed_counter){3, 164};
	flow.to_client = (struct half_closed_counter){UINT64_MAX, 0};
	flow.answered.port = 9;
	half_closed_print_table(&flow, 1, true, to);
	same(to, &text,
	     "NAMESPACE OF                                    STATE       FIRST FIN  CLIENT                       "
	     "ORIGINAL DESTINATION  REDIRECTED TO  SILENT FOR  PACKETS                 BYTES  RISK\n"
	     "nginx[42] pod 0123456789abcdef0123456789abcdef  CLOSE_WAIT  client     10.0.0.1:5000 as 10.0.0.1:9  "
	     "10.0.0.2:80           10.0.0.2:4143  47 s        3/18446744073709551615  164/0  "
	     "forgotten in 12 s; a later FIN or RST is then lost\n");
}

static void empty_table_is_nothing(void **state)
{
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	half_closed_print_table(NULL, 0, true, to);
	same(to, &text, "");
}

static void summaries(void **state)
{
	static const struct {
		struct half_closed_totals totals;
		const char *line;
	} rows[] = {
		{{.soonest = 0}, "no half-closed flows\n"},
		{{.places = 1}, "no half-closed flows in 1 network namespace\n"},
		{{.min_age_ms = 30000, .younger = 4}, "no half-closed flows silent for 30s or longer; 4 more not silent for so long\n"},
		{{.states = {[CONNTRACK_LAST_ACK] = 1}, .soonest = 7},
		 "1 half-closed flow: 1 LAST_ACK; the first is forgotten in 7 s\n"},
		{{.states = {[CONNTRACK_FIN_WAIT] = 1, [CONNTRACK_CLOSE_WAIT] = 2}, .soonest = 130, .places = 12, .unlisted = 1},
		 "3 half-closed flows in 12 network namespaces: 1 FIN_WAIT, 2 CLOSE_WAIT; 1 of them not listed (--json lists all); "
		 "the first is forgotten in 2m10s\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *text;
		size_t size;
		FILE *to = open_memstream(&text, &size);

		half_closed_print_summary(&rows[i].totals, to);
		same(to, &text, rows[i].line);
	}
}

static void the_soonest_is_kept(void **state)
{
	static const uint32_t remaining[] = {30, 12, 50};
	struct half_closed_totals totals = {0};

	for (size_t i = 0; i < 3; i++) {
		struct half_closed_flow flow = {.state = CONNTRACK_CLOSE_WAIT, .remaining = remaining[i]};

		half_closed_print_count(&totals, &flow);
	}
	assert_int_equal(totals.soonest, 12);
	assert_int_equal(half_closed_print_sum(&totals), 3);
}

static void json_of_a_flow(void **state)
{
	struct half_closed_place place = {.inode = 4026531840, .pid = 42, .process = "odd\"name", .cgroup = "/init.scope"};
	struct half_closed_flow flow = flow_of("10.0.0.1:5000", "10.0.0.2:80", "10.0.0.2:80");
	char *text;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	flow.place = &place;
	flow.silent = -1;
	flow.first = HALF_CLOSED_UNKNOWN;
	half_closed_print_json(&flow, to);
	same(to, &text,
	     "{\"state\":\"CLOSE_WAIT\",\"meaning\":\"one side has finished, the other may still speak\",\"first_fin\":null,"
	     "\"client\":\"10.0.0.1:5000\",\"client_seen_as\":null,\"original_destination\":\"10.0.0.2:80\",\"redirected_to\":null,"
	     "\"silent_for_s\":null,\"forgotten_in_s\":12,\"risk\":\"forgotten in 12 s; not translated, so what comes later arrives "
	     "unless a rule drops invalid packets\",\"packets_from_client\":null,\"bytes_from_client\":null,"
	     "\"packets_to_client\":null,\"bytes_to_client\":null,\"zone\":0,\"network_namespace\":4026531840,\"pid\":42,"
	     "\"process\":\"odd\\\"name\",\"pod_uid\":null,\"cgroup\":\"/init.scope\"}\n");
}

static void news_lines(void **state)
{
	struct half_closed_flow flow = flow_of("10.0.0.1:5000", "10.0.0.2:80", "10.0.0.2:4143");
	static const struct {
		enum half_closed_change change;
		const char *detail, *line;
	} rows[] = {
		{HALF_CLOSED_BECAME, "",
		 "1970-01-01T00:00:01.000Z half-closed CLOSE_WAIT 10.0.0.1:5000 -> 10.0.0.2:80 redirected to 10.0.0.2:4143, first FIN from "
		 "the client: forgotten in 12 s; a later FIN or RST is then lost\n"},
		{HALF_CLOSED_ENDED, "reset",
		 "1970-01-01T00:00:01.000Z ended       CLOSE_WAIT 10.0.0.1:5000 -> 10.0.0.2:80 redirected to 10.0.0.2:4143, first FIN from "
		 "the client: reset; watched for 2.3 s\n"},
		{HALF_CLOSED_FORGOTTEN, "",
		 "1970-01-01T00:00:01.000Z forgotten   CLOSE_WAIT 10.0.0.1:5000 -> 10.0.0.2:80 redirected to 10.0.0.2:4143, first FIN from "
		 "the client: watched for 2.3 s; what comes later is lost\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct half_closed_news news = {rows[i].change, &flow, 2345, rows[i].detail};
		char *text;
		size_t size;
		FILE *to = open_memstream(&text, &size);

		half_closed_print_news(&news, 1000, false, to);
		same(to, &text, rows[i].line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_aligned),
		cmocka_unit_test(table_with_places_and_counters),
		cmocka_unit_test(empty_table_is_nothing),
		cmocka_unit_test(summaries),
		cmocka_unit_test(the_soonest_is_kept),
		cmocka_unit_test(json_of_a_flow),
		cmocka_unit_test(news_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
