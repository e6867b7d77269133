#include "lib/timeouts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void every_row_is_whole(void **state)
{
	assert_true(TIMEOUT_COUNT >= 6);
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		const char *name = timeouts_name(id), *sentence = timeouts_sentence(id);
		enum reason_id reason = timeouts_reason(id);

		assert_true(strlen(name) > 0 && strlen(sentence) > 10);
		assert_true(strlen(timeouts_cost(id)) > 10 && timeouts_cost(id)[strlen(timeouts_cost(id)) - 1] == '.');
		if (!timeouts_default(id)) /* said of what is off, and of what one gets by setting it */
			assert_ptr_equal(strstr(timeouts_cost(id), "Off, "), timeouts_cost(id));
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"), strlen(name));
		assert_true(name[0] >= 'a' && name[0] <= 'z');
		assert_true(timeouts_default(id) >= 0);
		assert_true(reason < REASON_COUNT);
		assert_non_null(reason_row(reason)->name);
		assert_int_equal(timeouts_find(name), id);
		for (int other = 0; other < id; other++)
			assert_string_not_equal(name, timeouts_name(other));
	}
}

/* What a timer of ours ends is never blamed on the application at either end. */
static void reasons_fit(void **state)
{
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		enum reason_by by = reason_row(timeouts_reason(id))->by;

		assert_int_not_equal(timeouts_reason(id), REASON_INTERNAL_ERROR);
		assert_true(by == BY_PROXY || by == BY_NETWORK);
		assert_int_not_equal(timeouts_reason(id), REASON_DONE);
	}
}

static void finds(void **state)
{
	static const char *const unknown[] = {"", "idle", "idleconnection", "IdleConnection", "idle-connection", "idleConnection "};

	assert_true(timeouts_find("idleConnection") < TIMEOUT_COUNT);
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		assert_int_equal(timeouts_find(unknown[i]), TIMEOUT_NONE);
}

static void defaults(void **state)
{
	static const struct {
		const char *name;
		int64_t ms;
	} rows[] = {
		{"request", 0}, {"streamIdle", 3600000}, {"idleConnection", 3600000}, {"tcpIdle", 3600000}, {"connect", 5000},
		{"detect", 10000}, {"backendRequest", 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum timeout_id id = timeouts_find(rows[i].name);
		if (id == TIMEOUT_NONE || timeouts_default(id) != rows[i].ms)
			fail_msg("%s", rows[i].name);
	}
}

static void flag_names(void **state)
{
	static const struct {
		const char *name, *flag;
	} rows[] = {
		{"idleConnection", "timeout-idle-connection"}, {"connect", "timeout-connect"}, {"request", "timeout-request"},
		{"requestHeaders", "timeout-request-headers"}, {"tcpIdle", "timeout-tcp-idle"},
		{"backendRequest", "timeout-backend-request"},
	};
	char out[TIMEOUTS_FLAG_SIZE], other[TIMEOUTS_FLAG_SIZE];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		timeouts_flag_name(timeouts_find(rows[i].name), out);
		assert_string_equal(out, rows[i].flag);
	}
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		timeouts_flag_name(id, out);
		assert_int_equal(strspn(out, "abcdefghijklmnopqrstuvwxyz-"), strlen(out));
		for (int before = 0; before < id; before++) {
			timeouts_flag_name(before, other);
			assert_string_not_equal(out, other);
		}
	}
}

static void init(void **state)
{
	struct timeouts timeouts;

	timeouts_init_unset(&timeouts);
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		assert_true(timeouts.of[id].milliseconds == TIMEOUT_UNSET);
	timeouts_init_defaults(&timeouts);
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		assert_true(timeouts.of[id].milliseconds == timeouts_default(id));
		assert_string_equal(timeouts.of[id].source, "built-in");
	}
}

/* Three levels for one field: what each sets, and what comes out. */
static void levels_merge(void **state)
{
	static const struct {
		int64_t config, annotation, expected;
		const char *source;
	} rows[] = {
		{TIMEOUT_UNSET, TIMEOUT_UNSET, 3600000, "built-in"}, /* unset falls through */
		{5000, TIMEOUT_UNSET, 5000, "config"},
		{TIMEOUT_UNSET, 7000, 7000, "annotation"},
		{5000, 7000, 7000, "annotation"},
		{0, TIMEOUT_UNSET, 0, "config"}, /* 0 stops the search */
		{5000, 0, 0, "annotation"},
		{0, 7000, 7000, "annotation"},
	};
	enum timeout_id id = timeouts_find("idleConnection");

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct timeouts base, config, annotation;

		timeouts_init_defaults(&base);
		timeouts_init_unset(&config);
		timeouts_init_unset(&annotation);
		config.of[id] = (struct timeout_value){rows[i].config, "config"};
		annotation.of[id] = (struct timeout_value){rows[i].annotation, "annotation"};
		timeouts_merge(&base, &config);
		timeouts_merge(&base, &annotation);
		assert_true(base.of[id].milliseconds == rows[i].expected);
		assert_string_equal(base.of[id].source, rows[i].source);
		for (int other = 0; other < TIMEOUT_COUNT; other++) {
			if (other != (int)id)
				assert_true(base.of[other].milliseconds == timeouts_default(other));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_whole),
		cmocka_unit_test(reasons_fit),
		cmocka_unit_test(finds),
		cmocka_unit_test(defaults),
		cmocka_unit_test(flag_names),
		cmocka_unit_test(init),
		cmocka_unit_test(levels_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
