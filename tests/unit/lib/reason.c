#include "lib/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_row_is_whole(void **state)
{
	for (int id = 0; id < REASON_COUNT; id++) {
		const struct reason *reason = reason_row(id);
		size_t length = strlen(reason->name), sentence = strlen(reason->sentence);

		assert_true(length > 0);
		/* a metric label and a log value as it is */
		assert_int_equal(strspn(reason->name, "abcdefghijklmnopqrstuvwxyz0123456789_"), length);
		assert_true(sentence > 10 && reason->sentence[sentence - 1] != '.');
		assert_true(strpbrk(reason->sentence, "\"\\\n") == NULL);
		assert_true(reason->by <= BY_PEER && reason->ending <= ENDING_RST);
		assert_int_equal(reason_find(reason->name), id);
		for (int other = 0; other < id; other++) {
			assert_string_not_equal(reason->name, reason_row(other)->name);
			assert_string_not_equal(reason->sentence, reason_row(other)->sentence);
		}
	}
}

/* 502 is the server's or the network's, 503 our limit, 504 time, other 4xx the client's. */
static void statuses_say_whose_fault(void **state)
{
	for (int id = 0; id < REASON_COUNT; id++) {
		const struct reason *reason = reason_row(id);

		switch (reason->status) {
		case 0:
			break;
		case 400:
		case 431:
			assert_int_equal(reason->by, BY_CLIENT);
			break;
		case 404:
			assert_int_equal(id, REASON_NO_ROUTE);
			break;
		case 500:
			assert_true(id == REASON_ROUTE_INVALID || id == REASON_ROUTE_UNDECIDED || id == REASON_REDIRECT_TOO_LONG);
			break;
		case 408:
			assert_int_equal(id, REASON_HEADER_TIMEOUT);
			break;
		case 502:
			assert_true(reason->by == BY_SERVER || reason->by == BY_NETWORK || id == REASON_INTERNAL_ERROR ||
			            id == REASON_REDIRECT_LOOP);
			break;
		case 503:
			assert_true(reason->by == BY_PROXY || reason->by == BY_KERNEL);
			break;
		case 504:
			assert_true((reason->by != BY_CLIENT && reason->by != BY_SERVER) || id == REASON_SERVER_STALLED);
			break;
		default:
			fail_msg("%s: %d", reason->name, reason->status);
		}
		/* a socket that is gone takes no answer */
		if (reason->ending == ENDING_NONE)
			assert_int_equal(reason->status, 0);
	}
}

static void decided_rows(void **state)
{
	static const struct {
		const char *name;
		enum reason_by by;
		enum reason_ending ending;
		int status;
	} rows[] = {
		{"idle_timeout", BY_PROXY, ENDING_FIN, 0},       {"header_timeout", BY_PROXY, ENDING_FIN, 408},
		{"half_close_timeout", BY_PROXY, ENDING_RST, 0}, {"connect_refused", BY_SERVER, ENDING_RST, 502},
		{"connect_timeout", BY_PROXY, ENDING_RST, 504},  {"not_redirected", BY_CLIENT, ENDING_RST, 0},
		{"drain_forced", BY_PROXY, ENDING_RST, 503},     {"keepalive_race", BY_SERVER, ENDING_RST, 502},
		{"max_connection", BY_PROXY, ENDING_FIN, 0},     {"request_ambiguous", BY_CLIENT, ENDING_FIN, 400},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum reason_id id = reason_find(rows[i].name);
		if (id == REASON_COUNT)
			fail_msg("%s", rows[i].name);
		assert_int_equal(reason_row(id)->by, rows[i].by);
		assert_int_equal(reason_row(id)->ending, rows[i].ending);
		assert_int_equal(reason_row(id)->status, rows[i].status);
	}
}

static void finds(void **state)
{
	assert_int_equal(reason_find("done"), REASON_DONE);
	assert_int_equal(reason_find("none"), REASON_NONE);
	assert_int_equal(REASON_NONE, 0);
	assert_int_equal(reason_find(""), REASON_COUNT);
	assert_int_equal(reason_find("DONE"), REASON_COUNT);
	assert_int_equal(reason_find("idle"), REASON_COUNT);
}

static void names_of_sides(void **state)
{
	static const char *const names[] = {"client", "server", "proxy", "network", "kernel", "peer"};

	for (int by = BY_CLIENT; by <= BY_PEER; by++)
		assert_string_equal(reason_by_name(by), names[by]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_whole), cmocka_unit_test(statuses_say_whose_fault), cmocka_unit_test(decided_rows),
		cmocka_unit_test(finds),              cmocka_unit_test(names_of_sides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
