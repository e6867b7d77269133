#include "proxy/admin/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/connection/conn.h"

static struct walk_row row_of(uint64_t id, int64_t key)
{
	return (struct walk_row){.id = id, .key = key, .timer = TIMEOUT_NONE};
}

static int compare_keys(const void *a, const void *b)
{
	const struct walk_row *left = a, *right = b;

	return walk_row_before(left, right) ? -1 : walk_row_before(right, left);
}

/* Whatever the order they come in and the limit: what is kept are the first ones, each once, with their own texts. */
static void the_first_ones_are_kept(void **state)
{
	enum { ROWS = 500 };
	static const size_t limits[] = {1, 2, 3, 16, 17, 100, 499, 500, 10000};
	unsigned random = 12345;

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct walk_part part = {0};
		struct walk_row all[ROWS];
		size_t expected = limits[i] < ROWS ? limits[i] : ROWS;

		for (size_t at = 0; at < ROWS; at++) {
			struct walk_row row;
			char service[32];

			random = random * 1103515245 + 12345;
			all[at] = row_of(at + 1, i % 3 == 0 ? (int64_t)(random >> 20) : i % 3 == 1 ? (int64_t)at : -(int64_t)at);
			row = all[at];
			snprintf(service, sizeof service, "default/s%zu", at + 1);
			row.service = service;
			row.source = "built-in";
			row.unread = at % 2 ? "request 1: a NUL byte" : NULL;
			walk_part_keep(&part, limits[i], &row);
			memset(service, 'x', sizeof service - 1); /* it is a copy that is kept */
		}
		assert_false(part.no_memory);
		assert_int_equal(part.count, expected);
		qsort(all, ROWS, sizeof *all, compare_keys);
		qsort(part.rows, part.count, sizeof *part.rows, compare_keys);
		for (size_t at = 0; at < expected; at++) {
			char service[32];

			snprintf(service, sizeof service, "default/s%zu", (size_t)all[at].id);
			assert_int_equal(part.rows[at].id, all[at].id);
			assert_string_equal(part.rows[at].service, service);
			assert_string_equal(part.rows[at].source, "built-in");
			if (all[at].id % 2)
				assert_null(part.rows[at].unread);
			else
				assert_string_equal(part.rows[at].unread, "request 1: a NUL byte");
		}
		walk_part_free(&part);
		assert_null(part.rows);
	}
}

static void nothing_is_kept_without_a_limit(void **state)
{
	struct walk_part part = {0};
	struct walk_row row = row_of(1, 1);

	row.service = "default/web";
	walk_part_keep(&part, 0, &row);
	assert_int_equal(part.count, 0);
	assert_null(part.rows);
	row.service = NULL;
	walk_part_keep(&part, 1, &row);
	assert_int_equal(part.count, 1);
	assert_null(part.rows[0].texts);
	assert_null(part.rows[0].service);
	walk_part_free(&part);
}

static void read_address(const char *text, struct prefix *out)
{
	struct addr addr;

	if (!addr_prefix_parse(text, out))
		return;
	assert_int_equal(addr_parse(text, &addr), 0);
	*out = (struct prefix){addr, addr.family == AF_INET ? 32 : 128};
}

static void filters_choose(void **state)
{
	struct walk_row row = {
	    .id = 7, .timer = TIMEOUT_REQUEST, .phase = PHASE_WAIT, .direction = DIRECTION_OUTBOUND, .protocol = PROTOCOL_HTTP1};
	static const struct {
		const char *client;
		bool passes;
	} clients[] = {
	    {"10.1.0.7", true},   {"10.1.0.7:40112", true}, {"10.1.0.7:40113", false}, {"10.1.0.0/16", true},
	    {"10.2.0.0/16", false}, {"10.1.0.8", false},    {"::1", false},            {"0.0.0.0/0", true},
	};
	struct walk_filter filter;

	assert_int_equal(addr_parse("10.1.0.7:40112", &row.client), 0);
	assert_int_equal(addr_parse("[fd00::9]:8080", &row.server), 0);
	walk_filter_init(&filter);
	assert_true(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, NULL));
	for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
		read_address(clients[i].client, &filter.client);
		assert_int_equal(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, NULL), clients[i].passes);
	}
	walk_filter_init(&filter);
	read_address("[fd00::9]:8080", &filter.server);
	assert_true(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, NULL));

#define ALONE(member, right, wrong) \
	walk_filter_init(&filter); \
	filter.member = right; \
	assert_true(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, "default/web")); \
	filter.member = wrong; \
	assert_false(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, "default/web"))

	ALONE(id, 7, 8);
	ALONE(direction, DIRECTION_OUTBOUND, DIRECTION_INBOUND);
	ALONE(protocol, PROTOCOL_HTTP1, PROTOCOL_OPAQUE);
	ALONE(phase, PHASE_WAIT, PHASE_RESPONSE);
	ALONE(phase, STAGE_EXCHANGE, STAGE_IDLE); /* the stage stands for all its phases */
	ALONE(timer, TIMEOUT_REQUEST, TIMEOUT_NONE);
	ALONE(half_closed, false, true);
#undef ALONE
	walk_filter_init(&filter);
	strcpy(filter.service, "default/web");
	assert_true(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, "default/web"));
	assert_false(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, "default/web2"));
	assert_false(walk_filter_passes(&filter, &row, STAGE_EXCHANGE, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_ones_are_kept),
	    cmocka_unit_test(nothing_is_kept_without_a_limit),
	    cmocka_unit_test(filters_choose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
