#include "proxy/settings/settings.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/options.h"
#include "lib/text.h"
#include "proxy/docs.h"

enum { ARGUMENTS = 8 };

/* Arguments and environment of a row; both end with NULL. */
static int parse(const char *const arguments[ARGUMENTS], const char *const environment[ARGUMENTS], struct settings *settings,
                 int *command, struct text *error)
{
	char *argv[ARGUMENTS + 2] = {(char *)"lapse-proxy"}, *variables[ARGUMENTS + 1] = {NULL};
	int argc = 1;

	for (; argc <= ARGUMENTS && arguments[argc - 1]; argc++)
		argv[argc] = (char *)arguments[argc - 1];
	for (int i = 0; i < ARGUMENTS && environment[i]; i++)
		variables[i] = (char *)environment[i];
	return settings_parse(argc, argv, variables, settings, command, error);
}

static const char *const none[ARGUMENTS] = {NULL};

static void defaults(void **state)
{
	struct settings settings;
	char admin[ADDR_TEXT_SIZE];
	int command = 99;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(parse(none, none, &settings, &command, &error), 0);
	assert_int_equal(command, COMMAND_RUN);
	assert_int_equal(settings.worker.inbound_port, 4143);
	assert_int_equal(settings.worker.outbound_port, 4140);
	assert_string_equal(addr_format(&settings.admin, admin), "127.0.0.1:4191");
	assert_int_equal(settings.uid, 2102);
	assert_int_equal(settings.workers, 0);
	assert_int_equal(settings.max_connections, 0);
	assert_int_equal(settings.worker.log_level, LOG_INFO);
	assert_int_equal(settings.worker.log_format, LOG_TEXT);
	assert_int_equal(settings.worker.log_rate, 50);
	assert_int_equal(settings.worker.detect_grace, 20);
	assert_int_equal(settings.worker.keepalive_idle, 60000);
	assert_int_equal(settings.worker.keepalive_interval, 60000);
	assert_int_equal(settings.worker.keepalive_probes, 10);
	assert_int_equal(settings.max_head_size, 65536);
	assert_int_equal(settings.max_head_fields, 128);
	assert_int_equal(settings.max_target_size, 16384);
	assert_int_equal(settings.max_chunk_extensions, 1024);
	assert_false(settings.exchange.log_paths || settings.exchange.no_reason_headers || settings.exchange.forwarded);
	assert_false(ports_contain(&settings.worker.opaque_ports, 3306));
	assert_int_equal(settings.docs, DOCS_NONE);
	assert_true(settings.config.count == 0 && settings.headers.count == 0 && settings.words.count == 0 && !settings.json);
	assert_true(!settings.pod_info && !settings.namespace && !settings.to && !settings.from_namespace);
	assert_string_equal(settings.policy.cluster_domain, "cluster.local");
	assert_int_equal(settings.dns_server.family, AF_UNSPEC);
	assert_int_equal(settings.direction, DIRECTION_OUTBOUND);
	assert_int_equal(settings.policy.service_profile_default_timeout, 10000);
	assert_string_equal(settings.policy.service_profile_default_source, "built-in ServiceProfile default");
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		assert_int_equal(settings.policy.timeouts.of[id].milliseconds, TIMEOUT_UNSET);
		assert_null(settings.policy.timeouts.of[id].source);
	}
	settings_free(&settings);
	settings_free(&settings);
}

static void flags(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"run", "--log-paths", "--no-reason-headers", "--forwarded", "--workers=3",
	                                                 "--admin", "off", "--log-format=json"};
	static const char *const environment[ARGUMENTS] = {"LAPSE_WORKERS=7", "LAPSE_UID=77", "LAPSE_LOG_LEVEL=debug",
	                                                   "LAPSE_INBOUND_PORT=", "LAPSE_MAX_HEAD_SIZE=2KiB", "WORKERS=1"};
	struct settings settings;
	int command;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(parse(arguments, environment, &settings, &command, &error), 0);
	assert_int_equal(command, COMMAND_RUN);
	assert_true(settings.exchange.log_paths && settings.exchange.no_reason_headers && settings.exchange.forwarded);
	assert_int_equal(settings.workers, 3);
	assert_int_equal(settings.uid, 77);
	assert_int_equal(settings.admin.family, AF_UNSPEC);
	assert_int_equal(settings.worker.log_format, LOG_JSON);
	assert_int_equal(settings.worker.log_level, LOG_DEBUG);
	assert_int_equal(settings.worker.inbound_port, 4143); /* an empty variable says nothing */
	assert_int_equal(settings.max_head_size, 2048);
	settings_free(&settings);
}

/* One option by two names: equal values are no conflict, however they are written. */
static void one_value_by_two_names(void **state)
{
	static const struct {
		const char *first, *second;
		bool fits;
	} rows[] = {{"60m", "1h", true}, {"1h", "1h", true}, {"0", "0s", true}, {"60m", "61m", false}, {"1h", "x", false}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *const arguments[ARGUMENTS] = {"--timeout-drain", rows[i].first, "--drain-timeout", rows[i].second};
		struct settings settings;
		int command;
		TEXT_ON_STACK(error, 512);

		if (parse(arguments, none, &settings, &command, &error) != (rows[i].fits ? 0 : -EINVAL))
			fail_msg("%s and %s: %s", rows[i].first, rows[i].second, error_bytes);
		settings_free(&settings);
	}
}

static void opaque_ports_add_up(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"--opaque-ports", "3306,8000-8099", "--opaque-ports=5432"};
	static const char *const environment[ARGUMENTS] = {"LAPSE_OPAQUE_PORTS=25"};
	struct settings settings;
	int command;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(parse(arguments, environment, &settings, &command, &error), 0);
	assert_true(ports_contain(&settings.worker.opaque_ports, 3306));
	assert_true(ports_contain(&settings.worker.opaque_ports, 8099));
	assert_true(ports_contain(&settings.worker.opaque_ports, 5432));
	assert_false(ports_contain(&settings.worker.opaque_ports, 25)); /* the command line replaces the environment */
	assert_false(ports_contain(&settings.worker.opaque_ports, 8100));
	settings_free(&settings);
}

static void commands(void **state)
{
	static const struct {
		const char *argument;
		int command;
	} rows[] = {
	    {"run", COMMAND_RUN}, {"version", COMMAND_VERSION}, {"--help", OPTIONS_HELP}, {"-h", OPTIONS_HELP},
	    {"--version", OPTIONS_VERSION}, {"explain", COMMAND_EXPLAIN}, {"check-config", COMMAND_CHECK_CONFIG},
	    {"why", COMMAND_WHY}, {"ready", COMMAND_READY},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *const arguments[ARGUMENTS] = {rows[i].argument};
		struct settings settings;
		int command = 99;
		TEXT_ON_STACK(error, 512);

		assert_int_equal(parse(arguments, none, &settings, &command, &error), 0);
		assert_int_equal(command, rows[i].command);
		settings_free(&settings);
	}
}

/* Options belong to their commands, and to no others. */
static void options_of_commands(void **state)
{
	static const struct {
		const char *arguments[ARGUMENTS];
		bool fits;
	} rows[] = {
	    {{"ready", "--within", "1s"}, true}, {{"ready", "--admin", "127.0.0.1:1"}, true}, {{"ready", "--config", "/"}, false},
	    {{"explain", "--within", "1s"}, false}, {{"why", "--within", "1s"}, false}, {{"--within", "1s"}, false},
	    {{"why", "--admin", "127.0.0.1:1"}, false}, {{"why", "--json"}, true}, {{"ready", "--json"}, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct settings settings;
		int command;
		TEXT_ON_STACK(error, 512);

		if (parse(rows[i].arguments, none, &settings, &command, &error) != (rows[i].fits ? 0 : -EINVAL))
			fail_msg("%s %s: %s", rows[i].arguments[0], rows[i].arguments[1], error_bytes);
		settings_free(&settings);
	}
}

/* --- configuration --- */

static void configuration(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"--config=a.yaml", "--config", "dir", "--cluster-domain=k8s.example-1.org",
	                                                 "--dns-server=[fd00::a]:53", "--namespace", "team-1", "--pod-info=/pod"};
	static const char *const environment[ARGUMENTS] = {"LAPSE_CONFIG=e.yaml", "LAPSE_POD_INFO=/other", "LAPSE_JSON=nonsense",
	                                                   "LAPSE_DIRECTION=nonsense"}; /* not of this command: not read */
	struct settings settings;
	char server[ADDR_TEXT_SIZE];
	int command;
	TEXT_ON_STACK(error, 512);

	if (parse(arguments, environment, &settings, &command, &error))
		fail_msg("%s", error_bytes);
	assert_int_equal(settings.config.count, 2);
	assert_string_equal(settings.config.items[0], "a.yaml");
	assert_string_equal(settings.config.items[1], "dir");
	assert_string_equal(settings.policy.cluster_domain, "k8s.example-1.org");
	assert_string_equal(addr_format(&settings.dns_server, server), "[fd00::a]:53");
	assert_string_equal(settings.namespace, "team-1");
	assert_string_equal(settings.pod_info, "/pod");
	assert_false(settings.json);
	settings_free(&settings);
	assert_null(settings.config.items);
}

static void why(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"why", "--since=2026-01-02T03:04:05.678Z", "--service", "default/web",
	                                                 "--reason=done", "one.log", "--reason=drain", "-"};
	static const char *const back[ARGUMENTS] = {"why", "--since", "1h"};
	int64_t now = clock_realtime_ms();
	struct settings settings;
	int command;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(parse(arguments, none, &settings, &command, &error), 0);
	assert_int_equal(command, COMMAND_WHY);
	assert_true(settings.since == 1767323045678);
	assert_string_equal(settings.service, "default/web");
	assert_true(settings.reasons.count == 2 && settings.logs.count == 2 && !settings.json);
	assert_string_equal(settings.reasons.items[1], "drain");
	assert_string_equal(settings.logs.items[0], "one.log");
	assert_string_equal(settings.logs.items[1], "-");
	settings_free(&settings);
	assert_int_equal(parse(back, none, &settings, &command, &error), 0);
	assert_in_range(settings.since - (now - 3600000), 0, 60000);
	assert_true(settings.reasons.count == 0 && settings.logs.count == 0 && !settings.service);
	settings_free(&settings);
}

static void explain(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"-HA: b", "explain", "--json", "--to=default/web:80", "GET",
	                                                 "--direction=inbound", "http://web/", "--from-namespace=b"};
	static const char *const environment[ARGUMENTS] = {"LAPSE_CONFIG=e.yaml", "LAPSE_WORKERS=nonsense",
	                                                   "LAPSE_SERVICE_PROFILE_DEFAULT_TIMEOUT=0s", "LAPSE_TIMEOUT_REQUEST=3s"};
	struct settings settings;
	int command;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(parse(arguments, environment, &settings, &command, &error), 0);
	assert_int_equal(command, COMMAND_EXPLAIN);
	assert_int_equal(settings.config.count, 1);
	assert_int_equal(settings.headers.count, 1);
	assert_string_equal(settings.headers.items[0], "A: b");
	assert_int_equal(settings.words.count, 2);
	assert_string_equal(settings.words.items[1], "http://web/");
	assert_string_equal(settings.to, "default/web:80");
	assert_string_equal(settings.from_namespace, "b");
	assert_int_equal(settings.direction, DIRECTION_INBOUND);
	assert_true(settings.json);
	assert_int_equal(settings.policy.service_profile_default_timeout, 0);
	assert_string_equal(settings.policy.service_profile_default_source,
	                    "environment variable LAPSE_SERVICE_PROFILE_DEFAULT_TIMEOUT");
	assert_string_equal(settings.policy.timeouts.of[TIMEOUT_REQUEST].source, "environment variable LAPSE_TIMEOUT_REQUEST");
	settings_free(&settings);
}

/* --- timeouts --- */

/* Each has its flag and its variable; the flag wins; what is set says where, as it was given. */
static void each_timeout_has_flag_and_variable(void **state)
{
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		for (int given = 1; given < 4; given++) {
			char name[TIMEOUTS_FLAG_SIZE], variable[OPTIONS_ENVIRONMENT_SIZE], flag[80], assignment[96], source[128];
			const char *arguments[ARGUMENTS] = {given & 1 ? flag : NULL, "1m30s"};
			const char *environment[ARGUMENTS] = {given & 2 ? assignment : NULL};
			struct settings settings;
			int command;
			TEXT_ON_STACK(error, 512);

			timeouts_flag_name((enum timeout_id)id, name);
			options_environment_name(name, variable);
			snprintf(flag, sizeof flag, "--%s", name);
			snprintf(assignment, sizeof assignment, "%s=0s", variable);
			assert_int_equal(parse(arguments, environment, &settings, &command, &error), 0);
			snprintf(source, sizeof source, given & 1 ? "flag %s" : "environment variable %s",
			         given & 1 ? flag : variable);
			for (int other = 0; other < TIMEOUT_COUNT; other++) {
				const struct timeout_value *value = &settings.policy.timeouts.of[other];

				if (other != id) {
					assert_int_equal(value->milliseconds, TIMEOUT_UNSET);
					continue;
				}
				assert_int_equal(value->milliseconds, given & 1 ? 90000 : 0);
				assert_string_equal(value->source, source);
			}
			settings_free(&settings);
			assert_null(settings.policy.timeouts.of[id].source);
		}
}

static void timeout_values(void **state)
{
	static const struct {
		const char *argument, *source;
		int64_t milliseconds;
		enum timeout_id id;
	} rows[] = {
	    {"--timeout-connect=0", "flag --timeout-connect", 0, TIMEOUT_CONNECT},
	    {"--timeout-connect=0s", "flag --timeout-connect", 0, TIMEOUT_CONNECT},
	    {"--timeout-connect=-0s", "flag --timeout-connect", 0, TIMEOUT_CONNECT},
	    {"--timeout-connect=1ns", "flag --timeout-connect", 1, TIMEOUT_CONNECT}, /* never rounded to off */
	    {"--timeout-connect=1500us", "flag --timeout-connect", 2, TIMEOUT_CONNECT},
	    {"--timeout-connect=1.5h", "flag --timeout-connect", 5400000, TIMEOUT_CONNECT},
	    {"--timeout-idle-connection=2562047h", "flag --timeout-idle-connection", INT64_C(2562047) * 3600000,
	     TIMEOUT_IDLE_CONNECTION},
	    {"--drain-timeout=0s", "flag --drain-timeout", 0, TIMEOUT_DRAIN},
	    {"--drain-timeout=45s", "flag --drain-timeout", 45000, TIMEOUT_DRAIN},
	    {"--timeout-drain=45s", "flag --timeout-drain", 45000, TIMEOUT_DRAIN},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *const arguments[ARGUMENTS] = {rows[i].argument};
		struct settings settings;
		int command;
		TEXT_ON_STACK(error, 512);

		if (parse(arguments, none, &settings, &command, &error))
			fail_msg("%s: %s", rows[i].argument, error_bytes);
		assert_int_equal(settings.policy.timeouts.of[rows[i].id].milliseconds, rows[i].milliseconds);
		assert_string_equal(settings.policy.timeouts.of[rows[i].id].source, rows[i].source);
		settings_free(&settings);
	}
}

/* The source is a copy: it does not go with what it was read from. */
static void sources_are_owned(void **state)
{
	char argument[] = "--timeout-connect=3s", variable[] = "LAPSE_TIMEOUT_REQUEST=4s";
	char *argv[] = {(char *)"lapse-proxy", argument, NULL}, *environment[] = {variable, NULL};
	struct settings settings;
	int command;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(settings_parse(2, argv, environment, &settings, &command, &error), 0);
	memset(argument, 'x', sizeof argument - 1);
	memset(variable, 'x', sizeof variable - 1);
	assert_string_equal(settings.policy.timeouts.of[TIMEOUT_CONNECT].source, "flag --timeout-connect");
	assert_string_equal(settings.policy.timeouts.of[TIMEOUT_REQUEST].source, "environment variable LAPSE_TIMEOUT_REQUEST");
	settings_free(&settings);
}

/* --- what is refused --- */

static const struct {
	const char *arguments[ARGUMENTS];
	const char *environment; /* one variable, NULL */
	const char *option, *value; /* the sentence names both */
} refused[] = {
    {{"--timeout-connect", "5"}, NULL, "--timeout-connect", "\"5\""},
    {{"--timeout-connect", "-1s"}, NULL, "--timeout-connect", "-1s"},
    {{"--timeout-connect", "1d"}, NULL, "--timeout-connect", "1d"},
    {{"--timeout-connect=999999999h"}, NULL, "--timeout-connect", "999999999h"},
    {{"--timeout-connect="}, NULL, "--timeout-connect", "\"\""},
    {{"--timeout-connect=1 s"}, NULL, "--timeout-connect", "1 s"},
    {{"--timeout-connect=s"}, NULL, "--timeout-connect", "\"s\""},
    {{"--timeout-connect=off"}, NULL, "--timeout-connect", "off"},
    {{"--timeout-connect"}, NULL, "--timeout-connect", "missing"},
    {{"--drain-timeout=x"}, NULL, "--drain-timeout", "x"},
    {{NULL}, "LAPSE_TIMEOUT_TCP_IDLE=10", "LAPSE_TIMEOUT_TCP_IDLE", "10"},
    {{"--timeout-tcp-idle=1s"}, "LAPSE_TIMEOUT_TCP_IDLE=10", "LAPSE_TIMEOUT_TCP_IDLE", "10"},
    {{"--timeout-conect=1s"}, NULL, "--timeout-conect", "--timeout-connect"},
    {{"--timeout=1s"}, NULL, "--timeout", "unknown"},
    {{"--inbound-port=0"}, NULL, "--inbound-port", "\"0\""},
    {{"--inbound-port=65536"}, NULL, "--inbound-port", "65536"},
    {{"--outbound-port", "http"}, NULL, "--outbound-port", "http"},
    {{"--admin", "4191"}, NULL, "--admin", "4191"},
    {{"--admin", "127.0.0.1"}, NULL, "--admin", "127.0.0.1"},
    {{"--admin", "127.0.0.1:0"}, NULL, "--admin", "127.0.0.1:0"},
    {{"--admin", "localhost:4191"}, NULL, "--admin", "localhost:4191"},
    {{"--uid", "0"}, NULL, "--uid", "\"0\""},
    {{"--uid", "4294967295"}, NULL, "--uid", "4294967295"},
    {{"--uid", "nobody"}, NULL, "--uid", "nobody"},
    {{"--workers", "257"}, NULL, "--workers", "257"},
    {{"--workers", "-1"}, NULL, "--workers", "-1"},
    {{"--opaque-ports", "80-79"}, NULL, "--opaque-ports", "80-79"},
    {{"--opaque-ports", "0"}, NULL, "--opaque-ports", "\"0\""},
    {{"--detect-grace", "-1ms"}, NULL, "--detect-grace", "-1ms"},
    {{"--detect-grace", "25h"}, "LAPSE_DETECT_GRACE=1000h", "LAPSE_DETECT_GRACE", "1000h"}, /* over INT_MAX ms */
    {{"--keepalive-idle", "0s"}, NULL, "--keepalive-idle", "0s"},
    {{"--keepalive-idle", "999ms"}, NULL, "--keepalive-idle", "999ms"},
    {{"--keepalive-idle", "32768s"}, NULL, "--keepalive-idle", "32768s"},
    {{"--keepalive-interval", "0s"}, NULL, "--keepalive-interval", "0s"},
    {{"--keepalive-interval", "10h"}, NULL, "--keepalive-interval", "10h"},
    {{"--keepalive-probes", "0"}, NULL, "--keepalive-probes", "\"0\""},
    {{"--keepalive-probes", "128"}, NULL, "--keepalive-probes", "128"},
    {{"--max-head-size", "1023"}, NULL, "--max-head-size", "1023"},
    {{"--max-head-size", "17MiB"}, NULL, "--max-head-size", "17MiB"},
    {{"--max-head-size", "64KB"}, NULL, "--max-head-size", "64KB"},
    {{"--max-head-fields", "0"}, NULL, "--max-head-fields", "\"0\""},
    {{"--max-target-size", "63"}, NULL, "--max-target-size", "63"},
    {{"--log-format", "xml"}, NULL, "--log-format", "xml"},
    {{"--log-level", "verbose"}, NULL, "--log-level", "verbose"},
    {{"--log-rate", "1000001"}, NULL, "--log-rate", "1000001"},
    {{"--print-docs", "none"}, NULL, "--print-docs", "none"},
    {{"--print-docs", "html"}, NULL, "--print-docs", "html"},
    {{"--print-docs="}, NULL, "--print-docs", "\"\""},
    {{"--forwarded=maybe"}, NULL, "--forwarded", "maybe"},
    {{"--log-paths", "true"}, NULL, "true", "command"},
    {{"serve"}, NULL, "serve", "command"},
    {{"run", "version"}, NULL, "version", "word"},
    {{"explain", "GET", "/", "x"}, NULL, "\"x\"", "word"},
    {{"--json"}, NULL, "--json", "only with explain, check-config"},
    {{"check-config", "-Ha: b"}, NULL, "-H", "only with explain"},
    {{"explain", "--workers=2"}, NULL, "--workers", "only with run"},
    {{"explain", "--dns-server=10.0.0.1:53"}, NULL, "--dns-server", "only with run"},
    {{"version", "--timeout-connect=1s"}, NULL, "--timeout-connect", "only with run, explain, check-config"},
    {{"--to=10.0.0.1:80"}, NULL, "--to", "only with explain"},
    {{"--namespace="}, NULL, "--namespace", "a namespace"},
    {{"--namespace=Default"}, NULL, "--namespace", "Default"},
    {{"--namespace=a.b"}, NULL, "--namespace", "a.b"},
    {{"--namespace=a/b"}, NULL, "--namespace", "a/b"},
    {{"--namespace=-a"}, NULL, "--namespace", "-a"},
    {{"--namespace=a-"}, NULL, "--namespace", "a-"},
    {{"--namespace=a234567890123456789012345678901234567890123456789012345678901234"}, NULL, "--namespace", "1 to 63"},
    {{"explain", "--from-namespace=a_b"}, NULL, "--from-namespace", "a_b"},
    {{"--cluster-domain="}, NULL, "--cluster-domain", "a domain"},
    {{"--cluster-domain=."}, NULL, "--cluster-domain", "\".\""},
    {{"--cluster-domain=cluster.local."}, NULL, "--cluster-domain", "cluster.local."},
    {{"--cluster-domain=a..b"}, NULL, "--cluster-domain", "a..b"},
    {{"--cluster-domain=a b"}, NULL, "--cluster-domain", "a b"},
    {{"--dns-server=10.0.0.1"}, NULL, "--dns-server", "10.0.0.1"},
    {{"--dns-server=10.0.0.1:0"}, NULL, "--dns-server", "10.0.0.1:0"},
    {{"--dns-server=dns:53"}, NULL, "--dns-server", "dns:53"},
    {{"--service-profile-default-timeout=-1s"}, NULL, "--service-profile-default-timeout", "-1s"},
    {{NULL}, "LAPSE_SERVICE_PROFILE_DEFAULT_TIMEOUT=10", "LAPSE_SERVICE_PROFILE_DEFAULT_TIMEOUT", "\"10\""},
    {{"explain", "--direction=both"}, NULL, "--direction", "inbound or outbound"},
    {{"explain", "--direction="}, NULL, "--direction", "\"\""},
    {{"why", "--since=yesterday"}, NULL, "--since", "yesterday"},
    {{"why", "--since=-1h"}, NULL, "--since", "a duration back from now"},
    {{"why", "--since=0s"}, NULL, "--since", "an instant"},
    {{"why", "--since=2026-02-30"}, NULL, "--since", "2026-02-30"},
    {{"why", "--reason=bad_luck"}, NULL, "--reason", "a close reason"},
    {{"why", "--reason=none"}, NULL, "--reason", "a close reason"},
    {{"explain", "--since=1h"}, NULL, "--since", "only with why"},
    {{"why", "--config=x"}, NULL, "--config", "only with run, explain, check-config"},
};

static void refuses(void **state)
{
	int failures = 0;

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		const char *const environment[ARGUMENTS] = {refused[i].environment};
		const char *first = refused[i].arguments[0] ? refused[i].arguments[0] : refused[i].environment;
		struct settings settings;
		int command;
		TEXT_ON_STACK(error, 512);

		if (!parse(refused[i].arguments, environment, &settings, &command, &error)) {
			print_error("row %zu, %s %s: accepted\n", i, first, refused[i].arguments[1] ? refused[i].arguments[1] : "");
			failures++;
		} else if (!strstr(error_bytes, refused[i].option) || !strstr(error_bytes, refused[i].value) || error.truncated) {
			print_error("row %zu, %s: %s\n", i, first, error_bytes);
			failures++;
		}
		settings_free(&settings);
	}
	assert_int_equal(failures, 0);
}

/* A refusal behind values that were read already leaves nothing that is not freed. */
static void a_late_refusal_leaks_nothing(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"--timeout-connect=1s", "--timeout-connect=2s", "--opaque-ports=1",
	                                                 "--config=a", "--config=b", "--service-profile-default-timeout=1s",
	                                                 "--workers=x"};
	static const char *const environment[ARGUMENTS] = {"LAPSE_TIMEOUT_CONNECT=3s", "LAPSE_OPAQUE_PORTS=7"};
	struct settings settings;
	int command;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(parse(arguments, environment, &settings, &command, &error), -EINVAL);
	settings_free(&settings);
}

/* --- documentation --- */

static char *printed(enum proxy_docs docs)
{
	char *text = NULL;
	size_t length;
	FILE *to = open_memstream(&text, &length);

	assert_non_null(to);
	if (docs == DOCS_NONE)
		settings_print_help(to);
	else
		docs_print(docs, to);
	fclose(to);
	return text;
}

static void print_docs_values(void **state)
{
	static const struct {
		const char *argument, *begins;
		enum proxy_docs docs;
	} rows[] = {
	    {"--print-docs=man", ".SH COMMANDS\n", DOCS_MAN},
	    {"--print-docs=timeouts", "| name | default |", DOCS_TIMEOUTS},
	    {"--print-docs=reasons", "| reason | by |", DOCS_REASONS},
	    {"--print-docs=kinds", "| kind | apiVersion |", DOCS_KINDS},
	    {"--print-docs=annotations", "| annotation | sets |", DOCS_ANNOTATIONS},
	    {"--print-docs=metrics", "| metric | type |", DOCS_METRICS},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *const arguments[ARGUMENTS] = {rows[i].argument};
		struct settings settings;
		int command;
		char *text;
		TEXT_ON_STACK(error, 512);

		assert_int_equal(parse(arguments, none, &settings, &command, &error), 0);
		assert_int_equal(settings.docs, rows[i].docs);
		text = printed(settings.docs);
		assert_int_equal(strncmp(text, rows[i].begins, strlen(rows[i].begins)), 0);
		free(text);
		settings_free(&settings);
	}
}

static void names_in(const char *text, const char *before, const char *name, const char *behind)
{
	char pattern[160];

	snprintf(pattern, sizeof pattern, "%s%s%s", before, name, behind);
	if (!strstr(text, pattern))
		fail_msg("\"%s\" is not printed", pattern);
}

static void the_other_program_knows_all_names(void **state)
{
	char *help = printed(DOCS_NONE);
	size_t listed = TIMEOUT_COUNT + 2, options = 0; /* --help and --version are no variables */

	for (size_t i = 0; options_names_proxy[i]; i++, listed++)
		names_in(help, "--", options_names_proxy[i], "");
	for (const char *at = help; (at = strstr(at, "\n  -")); at++)
		options++;
	assert_int_equal(options, listed);
	free(help);
}

/* Every row of the tables is in every page made of them. */
static void pages_are_whole(void **state)
{
	char *help = printed(DOCS_NONE), *man = printed(DOCS_MAN), *timeouts = printed(DOCS_TIMEOUTS);
	char *reasons = printed(DOCS_REASONS);

	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		char flag[TIMEOUTS_FLAG_SIZE], variable[OPTIONS_ENVIRONMENT_SIZE];

		timeouts_flag_name((enum timeout_id)id, flag);
		options_environment_name(flag, variable);
		names_in(help, "--", flag, " DURATION");
		names_in(help, "", variable, "]");
		names_in(timeouts, "| `", timeouts_name((enum timeout_id)id), "` |");
		names_in(timeouts, "`--", flag, "`");
		names_in(timeouts, "| ", timeouts_sentence((enum timeout_id)id), " |\n");
	}
	for (int id = REASON_NONE + 1; id < REASON_COUNT; id++) {
		names_in(reasons, "| `", reason_row((enum reason_id)id)->name, "` |");
		names_in(reasons, "| ", reason_row((enum reason_id)id)->sentence, " | ");
	}
	names_in(reasons, "", "an operator closed the connection through the admin listener |  |\n", "");
	names_in(reasons, "", "no request came | to keep it longer raise `timer` |\n", "");
	assert_null(strstr(reasons, "| `none` |"));
	names_in(timeouts, "| `request` | off |", "", "");
	names_in(timeouts, "| `idleConnection` | 1h |", "", "");
	names_in(help, "--timeout-drain DURATION, --drain-timeout DURATION", "", "");
	names_in(man, "\\fB\\-\\-drain\\-timeout\\fR", "", "");
	free(help), free(man);
	free(timeouts), free(reasons);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults), cmocka_unit_test(flags), cmocka_unit_test(options_of_commands),
	    cmocka_unit_test(one_value_by_two_names), cmocka_unit_test(opaque_ports_add_up), cmocka_unit_test(commands),
	    cmocka_unit_test(configuration), cmocka_unit_test(why), cmocka_unit_test(explain),
	    cmocka_unit_test(each_timeout_has_flag_and_variable), cmocka_unit_test(timeout_values), cmocka_unit_test(sources_are_owned),
	    cmocka_unit_test(refuses), cmocka_unit_test(a_late_refusal_leaks_nothing), cmocka_unit_test(print_docs_values),
	    cmocka_unit_test(the_other_program_knows_all_names), cmocka_unit_test(pages_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
