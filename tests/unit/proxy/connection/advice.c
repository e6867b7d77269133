/* What a remedy says in each case: the flag only where it has effect, and never half of it. */
#include "proxy/connection/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

#define NAME63 "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-xyz"

static struct advice fired(enum timeout_id timer, const struct timeout_value *value)
{
	return (struct advice){.timer = timer, .value = value};
}

/* Every reason, with all that can be known of it. */
static struct advice full(enum timeout_id timer, const struct timeout_value *value)
{
	return (struct advice){timer, value, value, 12345, CONNTRACK_ESTABLISHED, INT64_C(3600000) * 119 + 1};
}

static void every_row_can_be_described(void **state)
{
	for (int id = REASON_NONE; id < REASON_COUNT; id++) {
		TEXT_ON_STACK(remedy, 1024);

		advice_write((enum reason_id)id, NULL, &remedy);
		assert_false(remedy.truncated);
		assert_null(strpbrk(remedy_bytes, "{}|\"\\\n"));
		assert_int_equal(remedy.length == 0, reason_row((enum reason_id)id)->remedy[0] == '\0');
		if (remedy.length)
			assert_true(remedy_bytes[remedy.length - 1] != '.' && remedy_bytes[remedy.length - 1] != ' ');
	}
}

static void only_what_needs_none_has_none(void **state)
{
	static const enum reason_id none[] = {
	    REASON_NONE, REASON_DONE, REASON_CLIENT_CLOSED_IDLE, REASON_CLIENT_CLOSED_UNUSED, REASON_CONNECTION_CLOSE,
	    REASON_DRAIN, REASON_ADMIN_CLOSED,
	};
	size_t at = 0;

	for (int id = REASON_NONE; id < REASON_COUNT; id++)
		if (!*reason_row((enum reason_id)id)->remedy) {
			assert_true(at < sizeof none / sizeof none[0]);
			assert_int_equal(id, none[at++]);
		}
	assert_int_equal(at, sizeof none / sizeof none[0]);
}

static void every_timer_is_named(void **state)
{
	for (int timer = 0; timer < TIMEOUT_COUNT; timer++) {
		enum reason_id reason = timeouts_reason((enum timeout_id)timer);
		const struct timeout_value value = {1500, "built-in"};
		const struct advice advice = fired((enum timeout_id)timer, &value);
		char flag[TIMEOUTS_FLAG_SIZE];
		TEXT_ON_STACK(expected, 256);
		TEXT_ON_STACK(remedy, 512);

		if (reason == REASON_NONE)
			continue;
		timeouts_flag_name((enum timeout_id)timer, flag);
		text_printf(&expected, "%s=1s500ms (built-in; --%s or annotation lapse.proxy/%s)", timeouts_name((enum timeout_id)timer),
		            flag, flag);
		advice_write(reason, &advice, &remedy);
		assert_non_null(strstr(remedy_bytes, expected_bytes));
	}
}

/* What is overridden is not advised: a flag below an annotation, the timer's own flag where a ServiceProfile's default applies. */
static void names_what_has_effect(void **state)
{
	static const struct {
		const char *source, *named;
	} rows[] = {
	    {"built-in", "built-in; --timeout-request or annotation lapse.proxy/timeout-request"},
	    {"flag --timeout-request", "--timeout-request or annotation lapse.proxy/timeout-request"},
	    {"environment variable LAPSE_TIMEOUT_REQUEST", "LAPSE_TIMEOUT_REQUEST or annotation lapse.proxy/timeout-request"},
	    {"annotation lapse.proxy/timeout-request on the pod", "annotation lapse.proxy/timeout-request on the pod"},
	    {"annotation timeout.linkerd.io/request on Service default/web", "annotation timeout.linkerd.io/request on Service default/web"},
	    {"Config kubelb/short spec.timeouts.request", "Config kubelb/short spec.timeouts.request"},
	    {"HTTPRoute default/web spec.rules[0].timeouts.request", "HTTPRoute default/web spec.rules[0].timeouts.request"},
	    {"built-in ServiceProfile default", "built-in; the ServiceProfile or --service-profile-default-timeout"},
	    {"flag --service-profile-default-timeout", "the ServiceProfile or --service-profile-default-timeout"},
	    {"environment variable LAPSE_SERVICE_PROFILE_DEFAULT_TIMEOUT", "the ServiceProfile or LAPSE_SERVICE_PROFILE_DEFAULT_TIMEOUT"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct timeout_value value = {2000, rows[i].source};
		const struct advice advice = fired(TIMEOUT_REQUEST, &value);
		TEXT_ON_STACK(expected, 256);
		TEXT_ON_STACK(remedy, 512);

		text_printf(&expected, "if that may take longer, raise request=2s (%s)", rows[i].named);
		advice_write(REASON_REQUEST_TIMEOUT, &advice, &remedy);
		assert_string_equal(remedy_bytes, expected_bytes);
	}
}

/* A clause whose placeholder is not known is left out, and the others stay. */
static void unknown_clauses_are_left_out(void **state)
{
	static const struct timeout_value connect = {1000, "flag --timeout-connect"};
	const struct advice unknown = {.timer = TIMEOUT_NONE}, known = fired(TIMEOUT_CONNECT, &connect);
	TEXT_ON_STACK(short_one, 512);
	TEXT_ON_STACK(whole, 512);
	TEXT_ON_STACK(nothing, 512);

	advice_write(REASON_CONNECT_TIMEOUT, &unknown, &short_one);
	assert_string_equal(short_one_bytes, "see that the server is up and no packet filter drops its SYN");
	advice_write(REASON_CONNECT_TIMEOUT, &known, &whole);
	assert_string_equal(whole_bytes, "see that the server is up and no packet filter drops its SYN; for a slow one raise connect=1s "
	                                 "(--timeout-connect or annotation lapse.proxy/timeout-connect)");
	advice_write(REASON_DRAIN_FORCED, &unknown, &nothing); /* told twice: no timer to change */
	assert_string_equal(nothing_bytes, "");
}

static void idle_is_more_than_was_seen(void **state)
{
	static const struct timeout_value server_idle = {60000, "Config default/c spec.timeouts.serverIdle"};
	static const struct {
		int64_t idle_ms;
		const char *shown;
	} rows[] = {{1, "10ms"}, {499, "500ms"}, {500, "510ms"}, {999, "1s"}, {1000, "1s100ms"}, {59999, "1m"}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct advice advice = {.timer = TIMEOUT_NONE, .server_idle = &server_idle, .idle_ms = rows[i].idle_ms};
		TEXT_ON_STACK(expected, 256);
		TEXT_ON_STACK(remedy, 512);

		text_printf(&expected, "if the server closes idle connections, raise its keep-alive timeout above %s or set serverIdle=1m "
		            "(Config default/c spec.timeouts.serverIdle) well below that", rows[i].shown);
		advice_write(REASON_KEEPALIVE_RACE, &advice, &remedy);
		assert_string_equal(remedy_bytes, expected_bytes);
	}
}

static void conntrack_commands(void **state)
{
	static const struct {
		enum conntrack_state state;
		int64_t keep_ms;
		const char *command;
	} rows[] = {
	    {CONNTRACK_CLOSE_WAIT, 3600000, "lapse-init --close-wait-timeout 1h"},
	    {CONNTRACK_CLOSE_WAIT, 300, "lapse-init --close-wait-timeout 1s"},
	    {CONNTRACK_FIN_WAIT, 90001, "lapse-init --conntrack-timeout fin_wait=1m31s"},
	    {CONNTRACK_ESTABLISHED, 86400000, "lapse-init --conntrack-timeout established=24h"},
	    {CONNTRACK_ESTABLISHED, 0, "lapse-init --conntrack-timeout established=120h"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		TEXT_ON_STACK(command, 96);

		advice_conntrack(rows[i].state, rows[i].keep_ms, &command);
		assert_string_equal(command_bytes, rows[i].command);
	}
}

/* Time was not the cause: no command that would lower what is kept now. */
static void conntrack_only_where_it_helps(void **state)
{
	const struct advice unknown = {.timer = TIMEOUT_NONE};
	const struct advice known = {.timer = TIMEOUT_NONE, .state = CONNTRACK_CLOSE_WAIT, .keep_ms = 3600000};
	TEXT_ON_STACK(without, 512);
	TEXT_ON_STACK(with, 512);

	advice_write(REASON_REDIRECT_STATE_LOST, &unknown, &without);
	advice_write(REASON_REDIRECT_STATE_LOST, &known, &with);
	assert_null(strstr(without_bytes, "--"));
	assert_non_null(strstr(without_bytes, "lapse-init status"));
	assert_non_null(strstr(with_bytes, "lapse-init --close-wait-timeout 1h; "));
}

/* No detail cuts a remedy. With the longest names of one label and a fact of 100 bytes not even the fact is cut. */
static void remedies_are_whole(void **state)
{
	static const char *const sources[] = {
	    "built-in", "annotation lapse.proxy/timeout-idle-connection on LoadBalancer " NAME63 "/" NAME63 "." NAME63 "." NAME63 "." NAME63,
	    "flag --service-profile-default-timeout",
	    "environment variable LAPSE_SERVICE_PROFILE_DEFAULT_TIMEOUT",
	    "annotation lapse.proxy/timeout-idle-connection on LoadBalancer " NAME63 "/" NAME63,
	    "annotation timeout.linkerd.io/response on HTTPRoute " NAME63 "/" NAME63,
	    "HTTPRoute " NAME63 "/" NAME63 " spec.rules[15].timeouts.backendRequest",
	};
	char fact[1000];

	for (int id = REASON_NONE; id < REASON_COUNT; id++)
		for (int timer = 0; timer < TIMEOUT_COUNT; timer++)
			for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
				for (size_t length = 100; length < sizeof fact; length += 899) {
					const struct timeout_value value = {INT64_C(3600000) * 24 * 365 - 1, sources[i]};
					const struct advice advice = full((enum timeout_id)timer, &value);
					TEXT_ON_STACK(remedy, 1024);
					TEXT_ON_STACK(detail, ADVICE_DETAIL_SIZE);

					memset(fact, 'f', length);
					fact[length] = '\0';
					advice_write((enum reason_id)id, &advice, &remedy);
					advice_detail((enum reason_id)id, &advice, fact, "; attempt 4294967294 of 4294967295", &detail);
					assert_false(detail.truncated);
					assert_true(detail.length >= remedy.length);
					assert_string_equal(detail_bytes + detail.length - remedy.length, remedy_bytes);
					assert_non_null(strstr(detail_bytes, "; attempt 4294967294 of 4294967295"));
					assert_int_equal(strstr(detail_bytes, "...") != NULL, length > 900);
				}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_row_can_be_described),    cmocka_unit_test(only_what_needs_none_has_none),
	    cmocka_unit_test(every_timer_is_named),          cmocka_unit_test(names_what_has_effect),
	    cmocka_unit_test(unknown_clauses_are_left_out),  cmocka_unit_test(idle_is_more_than_was_seen),
	    cmocka_unit_test(conntrack_commands),            cmocka_unit_test(conntrack_only_where_it_helps),
	    cmocka_unit_test(remedies_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
