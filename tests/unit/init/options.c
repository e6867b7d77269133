#include "init/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/text.h"

#define ARGUMENTS 32

static int read_options(const char *const arguments[ARGUMENTS], const char *variable, struct init_options *options, int *command,
                        struct text *error)
{
	char *argv[ARGUMENTS + 2] = {(char *)"lapse-init"}, *environment[] = {(char *)variable, NULL};
	int argc = 1;

	while (argc <= ARGUMENTS && arguments[argc - 1]) {
		argv[argc] = (char *)arguments[argc - 1];
		argc++;
	}
	return options_read(argc, argv, environment, options, command, error);
}

static void defaults(void **state)
{
	static const char *const none[ARGUMENTS] = {NULL};
	struct init_options options;
	TEXT_ON_STACK(error, 512);
	int command;

	assert_int_equal(read_options(none, NULL, &options, &command, &error), 0);
	assert_int_equal(command, INIT_INSTALL);
	assert_int_equal(options.inbound_port, 4143);
	assert_int_equal(options.outbound_port, 4140);
	assert_int_equal(options.admin_port, 4191);
	assert_true(options.proxy_uid.set);
	assert_int_equal(options.proxy_uid.id, 2102);
	assert_false(options.proxy_gid.set);
	assert_int_equal(options.inbound_ports.count, 0);
	assert_int_equal(options.families, IP_FAMILIES_AUTO);
	assert_int_equal(options.log_level, LOG_INFO);
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++)
		assert_int_equal(options.conntrack_seconds[i], 0);
	options_free(&options);
}

static void commands_are_in_the_order_of_the_enum(void **state)
{
	static const char *const names[] = {
		[INIT_INSTALL] = "install", [INIT_REMOVE] = "remove", [INIT_CHECK] = "check", [INIT_STATUS] = "status",
		[INIT_HALF_CLOSED] = "half-closed"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		assert_string_equal(options_table.commands[i].name, names[i]);
	assert_null(options_table.commands[sizeof names / sizeof *names].name);
}

static void linkerds_arguments_run_unchanged(void **state)
{
	static const char *const theirs[ARGUMENTS] = {
		"--ipv6=false", "--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140", "--proxy-uid", "2102",
		"--inbound-ports-to-ignore", "4190,4191,4567,4568", "--outbound-ports-to-ignore", "4567,4568",
		"--subnets-to-ignore", "10.0.0.0/8", "--firewall-bin-path", "iptables-nft", "--firewall-save-bin-path",
		"iptables-nft-save", "--iptables-mode", "nft", "--log-format", "plain", "--log-level", "warning",
		"--timeout-close-wait-secs", "3600", "--simulate", "--netns", "", "-g", "2103"};
	static const char *const brief[ARGUMENTS] = {"-p", "1", "-o", "2", "-u", "3", "-g", "4", "-r", "80,90", "-w", "--ipv6"};
	struct init_options options;
	TEXT_ON_STACK(error, 512);
	int command;

	assert_int_equal(read_options(theirs, NULL, &options, &command, &error), 0);
	assert_int_equal(options.families, IP_FAMILIES_IPV4);
	assert_true(ports_contain(&options.skip_inbound_ports, 4567));
	assert_true(ports_contain(&options.skip_outbound_ports, 4568));
	assert_int_equal(options.skip_subnets.count, 1);
	assert_int_equal(options.conntrack_seconds[CONNTRACK_CLOSE_WAIT], 3600);
	assert_true(options.dry_run);
	assert_int_equal(options.log_format, LOG_TEXT);
	assert_int_equal(options.log_level, LOG_WARN);
	assert_string_equal(options.ignored.iptables_mode, "nft");
	assert_int_equal(options.proxy_gid.id, 2103);
	options_free(&options);

	assert_int_equal(read_options(brief, NULL, &options, &command, &error), 0);
	assert_int_equal(options.inbound_port, 1);
	assert_int_equal(options.outbound_port, 2);
	assert_int_equal(options.proxy_uid.id, 3);
	assert_int_equal(options.proxy_gid.id, 4);
	assert_int_equal(options.inbound_ports.count, 2);
	assert_true(options.ignored.use_wait_flag);
	assert_int_equal(options.families, IP_FAMILIES_AUTO);
	options_free(&options);
}

static void values_are_read(void **state)
{
	static const char *const arguments[ARGUMENTS] = {
		"check", "--skip-subnets", "10.1.2.3/8, fd00::1", "--skip-subnets=192.0.2.0/24", "--skip-interfaces= eth0 ,net1",
		"--close-wait-timeout=1h", "--conntrack-timeout=established=24h", "--conntrack-timeout", "syn_sent2=1500ms",
		"--proxy-uid=root", "--proxy-gid=0", "--ip-families=both", "--keep-invalid", "--allow-host-network",
		"--netns=/run/netns/x", "--log-format=json"};
	struct init_options options;
	TEXT_ON_STACK(error, 512);
	int command;

	assert_int_equal(read_options(arguments, "LAPSE_SKIP_SUBNETS=0.0.0.0/0", &options, &command, &error), 0);
	assert_int_equal(command, INIT_CHECK);
	assert_int_equal(options.skip_subnets.count, 3);
	assert_int_equal(options.skip_subnets.list[0].length, 8);
	assert_int_equal(options.skip_subnets.list[1].addr.family, AF_INET6);
	assert_int_equal(options.skip_interfaces.count, 2);
	assert_string_equal(options.skip_interfaces.list[0].text, "eth0");
	assert_string_equal(options.skip_interfaces.list[1].text, "net1");
	assert_int_equal(options.conntrack_seconds[CONNTRACK_CLOSE_WAIT], 3600);
	assert_int_equal(options.conntrack_seconds[CONNTRACK_ESTABLISHED], 86400);
	assert_int_equal(options.conntrack_seconds[CONNTRACK_SYN_SENT2], 2);
	assert_true(options.proxy_uid.set && options.proxy_uid.id == 0);
	assert_true(options.proxy_gid.set && options.proxy_gid.id == 0);
	assert_int_equal(options.families, IP_FAMILIES_BOTH);
	assert_true(options.keep_invalid && options.allow_host_network);
	assert_string_equal(options.netns, "/run/netns/x");
	assert_int_equal(options.log_format, LOG_JSON);
	options_free(&options);
}

static void the_environment_counts_less_than_the_command_line(void **state)
{
	static const char *const none[ARGUMENTS] = {NULL}, *const flag[ARGUMENTS] = {"--proxy-uid=7"};
	struct init_options options;
	TEXT_ON_STACK(error, 512);
	int command;

	assert_int_equal(read_options(none, "LAPSE_PROXY_UID=99", &options, &command, &error), 0);
	assert_int_equal(options.proxy_uid.id, 99);
	options_free(&options);
	assert_int_equal(read_options(flag, "LAPSE_PROXY_UID=99", &options, &command, &error), 0);
	assert_int_equal(options.proxy_uid.id, 7);
	options_free(&options);
}

static void half_closed_has_options_of_its_own(void **state)
{
	static const char *const all[ARGUMENTS] = {"half-closed", "--json", "--watch", "--all-namespaces", "--min-age", "1m30s"};
	static const char *const none[ARGUMENTS] = {"half-closed"};
	static const char *const foreign[ARGUMENTS] = {"status", "--watch"};
	static const char *const both[ARGUMENTS] = {"half-closed", "--all-namespaces", "--netns", "/run/netns/x"};
	static const char *const negative[ARGUMENTS] = {"half-closed", "--min-age=-1s"};
	struct init_options options;
	TEXT_ON_STACK(error, 512);
	int command;

	assert_int_equal(read_options(all, NULL, &options, &command, &error), 0);
	assert_int_equal(command, INIT_HALF_CLOSED);
	assert_true(options.json && options.watch && options.all_namespaces);
	assert_int_equal(options.min_age_ms, 90000);
	options_free(&options);
	assert_int_equal(read_options(none, NULL, &options, &command, &error), 0);
	assert_false(options.json || options.watch || options.all_namespaces);
	assert_int_equal(options.min_age_ms, 0);
	options_free(&options);
	assert_int_equal(read_options(foreign, NULL, &options, &command, &error), -EINVAL);
	assert_non_null(strstr(error.data, "only with half-closed"));
	options_free(&options);
	assert_int_equal(read_options(both, NULL, &options, &command, &error), -EINVAL);
	assert_non_null(strstr(error.data, "give one of them"));
	options_free(&options);
	assert_int_equal(read_options(negative, NULL, &options, &command, &error), -EINVAL);
	options_free(&options);
}

static void bad_values_are_named(void **state)
{
	static const struct {
		const char *option, *value, *accepted;
	} rows[] = {
		{"--inbound-port", "0", "port"},
		{"--inbound-port", "65536", "port"},
		{"--incoming-proxy-port", "x", "port"},
		{"--skip-inbound-ports", "80-79", "ranges"},
		{"--inbound-ports-to-ignore", "80,x", "ranges"},
		{"--skip-subnets", "10.0.0.0/33", "10.0.0.0/8,fd00::/8"},
		{"--skip-subnets", "10.0.0.0/8,fd00::/129", "fd00::/129"},
		{"--skip-subnets", "localhost", "10.0.0.0/8"},
		{"--skip-interfaces", "eth*", "interface names"},
		{"--skip-interfaces", "sixteen-letters-", "interface names"},
		{"--skip-interfaces", "..", "interface names"},
		{"--skip-interfaces", "a b", "interface names"},
		{"--proxy-uid", "no-such-user", "existing user"},
		{"--proxy-uid", "4294967295", "4294967294"},
		{"--proxy-uid", "-1", "from 0"},
		{"--proxy-uid", "1x", "from 0"},
		{"--proxy-uid", "99999999999999999999", "from 0"},
		{"--proxy-gid", "no-such-group", "existing group"},
		{"--ip-families", "v4", "auto, ipv4, ipv6 or both"},
		{"--close-wait-timeout", "5", "596h31m23s"},
		{"--close-wait-timeout", "-1s", "596h31m23s"},
		{"--close-wait-timeout", "1d", "596h31m23s"},
		{"--close-wait-timeout", "0s", "from 1s"},
		{"--close-wait-timeout", "999999999h", "596h31m23s"},
		{"--timeout-close-wait-secs", "-1", "0 leaves"},
		{"--timeout-close-wait-secs", "1h", "from 0 to 2147483"},
		{"--conntrack-timeout", "close_wait", "STATE=DURATION"},
		{"--conntrack-timeout", "closewait=1s", "close_wait"},
		{"--conntrack-timeout", "close_wait=1", "1s to"},
		{"--conntrack-timeout", "=1s", "established"},
		{"--log-format", "xml", "text or json"},
		{"--log-level", "loud", "debug, info"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *const arguments[ARGUMENTS] = {rows[i].option, rows[i].value};
		struct init_options options;
		TEXT_ON_STACK(error, 1024);
		int command;

		assert_int_equal(read_options(arguments, NULL, &options, &command, &error), -EINVAL);
		if (!strstr(error.data, rows[i].option) || !strstr(error.data, rows[i].value) ||
		    !strstr(error.data, rows[i].accepted))
			fail_msg("%s %s: %s", rows[i].option, rows[i].value, error.data);
		options_free(&options);
	}
}

static void the_other_program_knows_all_names(void **state)
{
	size_t count = 0;

	for (; options_names_init[count]; count++)
		;
	assert_int_equal(count, options_table.row_count);
	for (size_t i = 0; i < options_table.row_count; i++) {
		size_t at = 0;

		while (options_names_init[at] && strcmp(options_names_init[at], options_table.rows[i].name))
			at++;
		if (!options_names_init[at])
			fail_msg("%s is not in options_names_init", options_table.rows[i].name);
	}
}

/* Several options may set one value: to the same, or one overrides an earlier origin. */
static void contradictions_are_refused(void **state)
{
	static const struct {
		const char *arguments[2], *environment[2], *refused; /* NULL: it is not */
		uint32_t close_wait;
		enum ip_families families;
	} rows[] = {
		{{"--close-wait-timeout=1h", "--timeout-close-wait-secs=3600"}, {NULL}, NULL, 3600},
		{{"--close-wait-timeout=1h", "--timeout-close-wait-secs=0"}, {NULL}, NULL, 3600},
		{{"--close-wait-timeout=1h", "--close-wait-timeout=2h"}, {NULL}, NULL, 7200},
		{{"--close-wait-timeout=1h", "--timeout-close-wait-secs=60"}, {NULL}, "--close-wait-timeout made it 3600s already"},
		{{"--timeout-close-wait-secs=60", "--close-wait-timeout=1h"}, {NULL}, "--timeout-close-wait-secs made it 60s already"},
		{{"--conntrack-timeout=close_wait=5s", "--close-wait-timeout=1h"}, {NULL}, "--conntrack-timeout made it 5s already"},
		{{NULL}, {"LAPSE_CLOSE_WAIT_TIMEOUT=1h", "LAPSE_TIMEOUT_CLOSE_WAIT_SECS=60"}, "--close-wait-timeout made it 3600s already"},
		{{"--close-wait-timeout=1h"}, {"LAPSE_TIMEOUT_CLOSE_WAIT_SECS=60"}, NULL, 3600},
		{{"--inbound-port=1", "--incoming-proxy-port=2"}, {NULL}, "--inbound-port and --incoming-proxy-port are one option"},
		{{"--ipv6=false", "--ip-families=both"}, {NULL}, "--ipv6 false and --ip-families both contradict"},
		{{"--ip-families=ipv6", "--ipv6=false"}, {NULL}, "--ipv6 false and --ip-families ipv6 contradict"},
		{{NULL}, {"LAPSE_IPV6=false", "LAPSE_IP_FAMILIES=both"}, "contradict"},
		{{"--ip-families=both"}, {"LAPSE_IPV6=false"}, NULL, 0, IP_FAMILIES_BOTH},
		{{"--ipv6=false"}, {"LAPSE_IP_FAMILIES=both"}, NULL, 0, IP_FAMILIES_IPV4},
		{{"--ipv6=false", "--ip-families=auto"}, {NULL}, NULL, 0, IP_FAMILIES_IPV4},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct init_options options;
		TEXT_ON_STACK(error, 1024);
		char *argv[] = {(char *)"lapse-init", (char *)rows[i].arguments[0], (char *)rows[i].arguments[1], NULL};
		char *environment[] = {(char *)rows[i].environment[0], (char *)rows[i].environment[1], NULL};
		int command, argc = argv[1] ? argv[2] ? 3 : 2 : 1;
		int status = options_read(argc, argv, environment, &options, &command, &error);

		assert_int_equal(status, rows[i].refused ? -EINVAL : 0);
		if (rows[i].refused && !strstr(error.data, rows[i].refused))
			fail_msg("%zu: %s", i, error.data);
		if (!status) {
			assert_int_equal(options.conntrack_seconds[CONNTRACK_CLOSE_WAIT], rows[i].close_wait);
			assert_int_equal(options.families, rows[i].families);
		}
		options_free(&options);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(commands_are_in_the_order_of_the_enum),
		cmocka_unit_test(linkerds_arguments_run_unchanged),
		cmocka_unit_test(values_are_read),
		cmocka_unit_test(the_environment_counts_less_than_the_command_line),
		cmocka_unit_test(half_closed_has_options_of_its_own),
		cmocka_unit_test(bad_values_are_named),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(the_other_program_knows_all_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
