#include "init/half_closed_known.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

/* What was told, a word each: "found", "became", "changed", "ended(reset)", "forgotten". */
struct told {
	struct text text;
	char bytes[4096];
	int64_t lasted_ms; /* of the last one */
};

static void note(const struct half_closed_news *news, void *context)
{
	static const char *const words[] = {"found", "became", "changed", "ended", "forgotten"};
	struct told *told = context;

	text_printf(&told->text, "%s%s", told->text.length ? " " : "", words[news->change]);
	if (news->detail[0])
		text_printf(&told->text, "(%s)", news->detail);
	told->lasted_ms = news->lasted_ms;
}

static struct half_closed_known *begin(struct told *told, size_t most, int64_t min_age_ms)
{
	struct half_closed_known *known;

	text_init(&told->text, told->bytes, sizeof told->bytes);
	assert_int_equal(half_closed_known_new(&known, most, min_age_ms, note, told), 0);
	return known;
}

static struct half_closed_flow flow_of(uint32_t id, unsigned state, uint32_t remaining)
{
	struct half_closed_flow flow = {.id = id, .state = (uint8_t)state, .remaining = remaining};

	assert_int_equal(addr_parse("10.0.0.1:5000", &flow.client), 0);
	assert_int_equal(addr_parse("10.0.0.2:80", &flow.destination), 0);
	return flow;
}

static void event(struct half_closed_known *known, unsigned state, uint32_t remaining, int64_t now)
{
	struct half_closed_flow flow = flow_of(1, state, remaining);

	half_closed_known_event(known, &flow, false, now);
}

static void destroyed(struct half_closed_known *known, int64_t now)
{
	struct half_closed_flow flow = flow_of(1, CONNTRACK_STATE_COUNT, 0);

	half_closed_known_event(known, &flow, true, now);
}

/* A scan that meets the flow in this state; CONNTRACK_STATE_COUNT = does not meet it. */
static void scan(struct half_closed_known *known, bool first, unsigned state, uint32_t remaining, int64_t silent, int64_t now)
{
	struct half_closed_flow flow = flow_of(1, state, remaining);

	flow.silent = silent;
	half_closed_known_scan_begin(known, first);
	if (state != CONNTRACK_STATE_COUNT)
		half_closed_known_scanned(known, &flow, now);
	half_closed_known_scan_end(known, NULL, now);
}

static void events_of_an_orderly_end(void **state)
{
	struct told told;
	struct half_closed_known *known = begin(&told, 10, 0);

	event(known, CONNTRACK_ESTABLISHED, 432000, 0);
	event(known, CONNTRACK_FIN_WAIT, 120, 1000);
	event(known, CONNTRACK_CLOSE_WAIT, 60, 1040);
	event(known, CONNTRACK_STATE_COUNT, 60, 1050); /* an event of something else than the state */
	event(known, CONNTRACK_LAST_ACK, 30, 3000);
	event(known, CONNTRACK_TIME_WAIT, 120, 3500);
	destroyed(known, 130000);
	assert_string_equal(told.bytes, "became changed changed ended(both sides have finished)");
	assert_int_equal(told.lasted_ms, 2500);
	assert_int_equal(half_closed_known_count(known), 0);
	half_closed_known_free(known);
}

static void events_of_other_ends(void **state)
{
	struct told told;
	struct half_closed_known *known = begin(&told, 10, 0);

	event(known, CONNTRACK_CLOSE_WAIT, 60, 0);
	event(known, CONNTRACK_CLOSE, 10, 100);
	event(known, CONNTRACK_CLOSE_WAIT, 60, 200);
	event(known, CONNTRACK_SYN_SENT, 120, 300);
	event(known, CONNTRACK_CLOSE_WAIT, 60, 400);
	destroyed(known, 60400);
	event(known, CONNTRACK_CLOSE_WAIT, 60, 61000);
	destroyed(known, 62000);
	assert_string_equal(told.bytes, "became ended(reset) became ended(the connection began anew) became forgotten "
	                                "became forgotten(before its time was up: deleted, or the table was full)");
	half_closed_known_free(known);
}

static void scans_alone(void **state)
{
	struct told told;
	struct half_closed_known *known = begin(&told, 10, 0);

	scan(known, true, CONNTRACK_CLOSE_WAIT, 30, 29, 0);
	scan(known, false, CONNTRACK_CLOSE_WAIT, 28, 31, 2000);
	scan(known, false, CONNTRACK_TIME_WAIT, 120, 0, 4000);
	scan(known, false, CONNTRACK_STATE_COUNT, 0, 0, 6000);
	assert_string_equal(told.bytes, "found ended(both sides have finished)");
	scan(known, false, CONNTRACK_CLOSE_WAIT, 2, 57, 8000);
	scan(known, false, CONNTRACK_STATE_COUNT, 0, 0, 10000);
	scan(known, false, CONNTRACK_CLOSE_WAIT, 50, 9, 12000);
	scan(known, false, CONNTRACK_STATE_COUNT, 0, 0, 14000);
	assert_string_equal(told.bytes, "found ended(both sides have finished) became forgotten became "
	                                "ended(between two scans, before its time was up: finished, or deleted)");
	half_closed_known_free(known);
}

/* Events that waited while a scan went on tell how it went; the scan adds nothing. */
static void scan_and_late_events(void **state)
{
	struct told told;
	struct half_closed_known *known = begin(&told, 10, 0);
	struct half_closed_flow over = flow_of(1, CONNTRACK_TIME_WAIT, 120);

	event(known, CONNTRACK_FIN_WAIT, 120, 0);
	half_closed_known_scan_begin(known, false);
	half_closed_known_scanned(known, &over, 1000);
	event(known, CONNTRACK_CLOSE_WAIT, 60, 1001);
	event(known, CONNTRACK_TIME_WAIT, 120, 1002);
	half_closed_known_scan_end(known, NULL, 1003);
	assert_string_equal(told.bytes, "became changed ended(both sides have finished)");
	half_closed_known_scan_begin(known, false);
	event(known, CONNTRACK_CLOSE_WAIT, 60, 2000); /* behind the dump */
	half_closed_known_scan_end(known, NULL, 2001);
	assert_int_equal(half_closed_known_count(known), 1);
	half_closed_known_free(known);
}

static void min_age_delays(void **state)
{
	struct told told;
	struct half_closed_known *known = begin(&told, 10, 5000);

	event(known, CONNTRACK_CLOSE_WAIT, 60, 0);
	event(known, CONNTRACK_TIME_WAIT, 120, 100); /* a short one is never mentioned */
	event(known, CONNTRACK_CLOSE_WAIT, 60, 200);
	scan(known, false, CONNTRACK_CLOSE_WAIT, 57, 2, 2200);
	assert_string_equal(told.bytes, "");
	scan(known, false, CONNTRACK_CLOSE_WAIT, 54, 5, 5200);
	scan(known, false, CONNTRACK_CLOSE_WAIT, 59, 0, 7000); /* a packet: still the same story */
	event(known, CONNTRACK_CLOSE, 10, 8000);
	assert_string_equal(told.bytes, "became ended(reset)");
	assert_int_equal(told.lasted_ms, 7800);
	half_closed_known_free(known);
}

static void bounded_and_many(void **state)
{
	struct told told;
	struct half_closed_known *known = begin(&told, 5000, INT64_MAX);

	for (uint32_t id = 0; id < 6000; id++) {
		struct half_closed_flow flow = flow_of(id, CONNTRACK_CLOSE_WAIT, 60);

		half_closed_known_event(known, &flow, false, 0);
	}
	assert_int_equal(half_closed_known_count(known), 5000);
	assert_int_equal(half_closed_known_take_missed(known), 1000);
	assert_int_equal(half_closed_known_take_missed(known), 0);
	for (uint32_t id = 0; id < 5000; id++) {
		struct half_closed_flow flow = flow_of(id, CONNTRACK_TIME_WAIT, 60);

		half_closed_known_event(known, &flow, false, 0);
	}
	assert_int_equal(half_closed_known_count(known), 0);
	half_closed_known_free(known);
}

static void places_apart(void **state)
{
	static const int here, there;
	struct told told;
	struct half_closed_known *known = begin(&told, 10, 0);
	struct half_closed_flow flows[] = {flow_of(1, CONNTRACK_CLOSE_WAIT, 60), flow_of(1, CONNTRACK_CLOSE_WAIT, 60)};

	flows[0].place = (const void *)&here;
	flows[1].place = (const void *)&there;
	half_closed_known_event(known, &flows[0], false, 0);
	half_closed_known_event(known, &flows[1], false, 0);
	assert_int_equal(half_closed_known_count(known), 2);
	half_closed_known_scan_begin(known, false);
	half_closed_known_scan_end(known, flows[0].place, 60000);
	assert_int_equal(half_closed_known_count(known), 1);
	half_closed_known_place_gone(known, flows[1].place, 1);
	assert_string_equal(told.bytes, "became became forgotten ended(its network namespace is gone)");
	half_closed_known_free(known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_of_an_orderly_end),
		cmocka_unit_test(events_of_other_ends),
		cmocka_unit_test(scans_alone),
		cmocka_unit_test(scan_and_late_events),
		cmocka_unit_test(min_age_delays),
		cmocka_unit_test(bounded_and_many),
		cmocka_unit_test(places_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
