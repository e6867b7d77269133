#include "init/show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "init/options.h"
#include "lib/text.h"

#define ARGUMENTS 10

static char *show(const char *const arguments[ARGUMENTS], bool ipv6)
{
	char *argv[ARGUMENTS + 2] = {(char *)"lapse-init"}, *environment[] = {NULL}, *shown = NULL;
	struct plan_facts facts = {.ipv6 = ipv6, .socket_match = true};
	struct init_options options;
	struct plan plan;
	TEXT_ON_STACK(error, 512);
	int argc = 1, command;
	size_t size;
	FILE *to = open_memstream(&shown, &size);

	while (argc <= ARGUMENTS && arguments[argc - 1]) {
		argv[argc] = (char *)arguments[argc - 1];
		argc++;
	}
	assert_int_equal(options_read(argc, argv, environment, &options, &command, &error), 0);
	assert_int_equal(plan_make(&options, &facts, &plan, &error), 0);
	show_plan(&plan, to);
	fclose(to);
	plan_free(&plan);
	options_free(&options);
	return shown;
}

#define HEAD                                                  \
	"add table inet lapse\n"                              \
	"delete table inet lapse\n"                           \
	"table inet lapse {\n"                                \
	"\tcomment \"made by lapse-init; lapse-init remove takes it away\"\n"
#define SET(name, type, flags, comment, elements) \
	"\n\tset " name " {\n\t\ttype " type "\n" flags "\t\tcomment \"" comment "\"\n\t\telements = { " elements " }\n\t}\n"
#define INTERVAL "\t\tflags interval\n"
#define LINK_LOCAL \
	SET("link_local6", "ipv6_addr", INTERVAL, "IPv6 link-local: its sockets are bound to an interface", "fe80::/10")
#define OWN "inbound: the proxy's own, admin and skipped ports"
#define INVALID                      \
	"\n\tchain invalid {\n"      \
	FORWARDED                     \
	"\t\ttcp flags & (fin|rst) != 0 socket wildcard 0 counter accept comment \"end of a connection older than these rules\"\n"
#define GUARD                                                               \
	"\n\tchain guard {\n"                                               \
	"\t\ttype filter hook prerouting priority mangle; policy accept;\n" \
	"\t\tct state invalid meta l4proto tcp iifname != \"lo\" counter jump invalid "           \
	"comment \"TCP that conntrack cannot place\"\n\t}\n"
#define PREROUTING                                                       \
	"\n\tchain prerouting {\n"                                       \
	"\t\ttype nat hook prerouting priority dstnat; policy accept;\n" \
	"\t\tmeta l4proto != tcp counter accept comment \"not TCP\"\n"
#define SYN "\t\ttcp flags & (fin|syn|rst|ack) != syn counter accept comment \"no SYN: older than these rules\"\n"
#define OUTPUT                                                       \
	"\n\tchain output {\n"                                       \
	"\t\ttype nat hook output priority -100; policy accept;\n"   \
	"\t\tmeta l4proto != tcp counter accept comment \"not TCP\"\n"
#define FORWARDED "\t\tfib daddr type != local counter accept comment \"forwarded, not for us\"\n"
#define ADMIN "\t\ttcp dport @skip_inbound_ports counter accept comment \"proxy's own, admin or skipped port\"\n"
#define OWN_ADDRESS "\t\toifname \"lo\" counter accept comment \"to an own address\"\n"
#define LINK "\t\tip6 daddr @link_local6 counter accept comment \"IPv6 link-local, cannot be redirected\"\n"

static void the_default(void **state)
{
	static const char *const arguments[ARGUMENTS] = {NULL};
	char *shown = show(arguments, true);

	assert_string_equal(
		shown,
		HEAD LINK_LOCAL SET("skip_inbound_ports", "inet_service", INTERVAL, OWN, "4140, 4143, 4191")
		INVALID
		"\t\ttcp dport @skip_inbound_ports counter accept comment \"skipped inbound port\"\n"
		"\t\tmeta l4proto tcp counter drop comment \"else the kernel would reset a live connection\"\n\t}\n"
		GUARD PREROUTING SYN FORWARDED ADMIN
		"\t\tmeta l4proto tcp socket wildcard <= 1 counter redirect to :4143 comment \"inbound to the proxy\"\n"
		"\t\tmeta l4proto tcp counter accept comment \"nobody listens there: the kernel refuses\"\n\t}\n"
		OUTPUT SYN "\t\tmeta skuid 2102 counter accept comment \"from the proxy, by user\"\n" OWN_ADDRESS LINK
		"\t\tmeta l4proto tcp counter redirect to :4140 comment \"outbound to the proxy\"\n\t}\n}\n");
	free(shown);
}

static void everything(void **state)
{
	static const char *const arguments[ARGUMENTS] = {
		"--skip-subnets=10.0.0.0/8,10.1.2.3,11.0.0.0/9,192.0.2.1,192.0.2.3,192.0.2.4,fd00::/8,2001:db8::1",
		"--skip-interfaces=net1,eth1", "--skip-inbound-ports=22,4144-4190,65535", "--skip-outbound-ports=1-20",
		"--inbound-ports=80,8080", "--proxy-gid=7"};
	char *shown = show(arguments, true);

	assert_string_equal(
		shown,
		HEAD SET("skip_interfaces", "ifname", "", "interfaces left alone, both directions", "\"eth1\", \"net1\"")
		SET("skip_subnets4", "ipv4_addr", INTERVAL, "IPv4 peers left alone, both directions",
	            "10.0.0.0-11.127.255.255, 192.0.2.1, 192.0.2.3-192.0.2.4")
		SET("skip_subnets6", "ipv6_addr", INTERVAL, "IPv6 peers left alone, both directions", "2001:db8::1, fd00::/8")
		LINK_LOCAL SET("skip_inbound_ports", "inet_service", INTERVAL, OWN, "22, 4140, 4143-4191, 65535")
		SET("skip_outbound_ports", "inet_service", INTERVAL, "outbound: skipped ports", "1-20")
		SET("inbound_ports", "inet_service", INTERVAL, "inbound: the only ports redirected", "80, 8080")
		INVALID
		"\t\tiifname @skip_interfaces counter accept comment \"skipped interface\"\n"
		"\t\tip saddr @skip_subnets4 counter accept comment \"skipped subnet\"\n"
		"\t\tip6 saddr @skip_subnets6 counter accept comment \"skipped subnet\"\n"
		"\t\ttcp dport @skip_inbound_ports counter accept comment \"skipped inbound port\"\n"
		"\t\ttcp sport @skip_outbound_ports counter accept comment \"skipped outbound port\"\n"
		"\t\tmeta l4proto tcp counter drop comment \"else the kernel would reset a live connection\"\n\t}\n"
		GUARD PREROUTING SYN FORWARDED
		"\t\tiifname @skip_interfaces counter accept comment \"skipped interface\"\n"
		"\t\tip saddr @skip_subnets4 counter accept comment \"skipped subnet\"\n"
		"\t\tip6 saddr @skip_subnets6 counter accept comment \"skipped subnet\"\n" ADMIN
		"\t\ttcp dport @inbound_ports socket wildcard <= 1 counter redirect to :4143 comment \"inbound to the proxy\"\n"
		"\t\ttcp dport @inbound_ports counter accept comment \"nobody listens there: the kernel refuses\"\n\t}\n"
		OUTPUT SYN "\t\tmeta skuid 2102 counter accept comment \"from the proxy, by user\"\n"
		"\t\tmeta skgid 7 counter accept comment \"from the proxy, by group\"\n" OWN_ADDRESS
		"\t\toifname @skip_interfaces counter accept comment \"skipped interface\"\n"
		"\t\tip daddr @skip_subnets4 counter accept comment \"skipped subnet\"\n"
		"\t\tip6 daddr @skip_subnets6 counter accept comment \"skipped subnet\"\n" LINK
		"\t\ttcp dport @skip_outbound_ports counter accept comment \"skipped port\"\n"
		"\t\tmeta l4proto tcp counter redirect to :4140 comment \"outbound to the proxy\"\n\t}\n}\n");
	free(shown);
}

static void one_family(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"--keep-invalid", "--proxy-uid=0", "--inbound-port=15006",
	                                                 "--redirect-dead-ports"};
	char *shown = show(arguments, false);

	assert_string_equal(
		shown,
		HEAD SET("skip_inbound_ports", "inet_service", INTERVAL, OWN, "4140, 4191, 15006")
		PREROUTING "\t\tmeta nfproto ipv6 counter accept comment \"IPv6 is left alone\"\n" SYN FORWARDED ADMIN
		"\t\tmeta l4proto tcp counter redirect to :15006 comment \"inbound to the proxy\"\n\t}\n"
		OUTPUT "\t\tmeta nfproto ipv6 counter accept comment \"IPv6 is left alone\"\n" SYN
		"\t\tmeta skuid 0 counter accept comment \"from the proxy, by user\"\n" OWN_ADDRESS
		"\t\tmeta l4proto tcp counter redirect to :4140 comment \"outbound to the proxy\"\n\t}\n}\n");
	free(shown);
}

static void ranges(void **state)
{
	static const struct {
		enum plan_type type;
		struct plan_range range;
		const char *shown;
	} rows[] = {
		{PLAN_TYPE_IPV4, {{0}, {255, 255, 255, 255}}, "0.0.0.0/0"},
		{PLAN_TYPE_IPV4, {{128}, {255, 255, 255, 255}}, "128.0.0.0/1"},
		{PLAN_TYPE_IPV4, {{10, 0, 0, 4}, {10, 0, 0, 7}}, "10.0.0.4/30"},
		{PLAN_TYPE_IPV4, {{10, 0, 0, 4}, {10, 0, 0, 8}}, "10.0.0.4-10.0.0.8"},
		{PLAN_TYPE_IPV4, {{10, 0, 0, 5}, {10, 0, 0, 6}}, "10.0.0.5-10.0.0.6"},
		{PLAN_TYPE_IPV4, {{10, 0, 1, 0}, {10, 0, 2, 255}}, "10.0.1.0-10.0.2.255"},
		{PLAN_TYPE_IPV4, {{10, 0, 0, 0}, {10, 0, 1, 254}}, "10.0.0.0-10.0.1.254"},
		{PLAN_TYPE_IPV4, {{10, 0, 0, 1}, {10, 0, 1, 255}}, "10.0.0.1-10.0.1.255"},
		{PLAN_TYPE_IPV4, {{10, 0, 0, 1}, {10, 0, 0, 1}}, "10.0.0.1"},
		{PLAN_TYPE_PORT, {{0, 80}, {0, 80}}, "80"},
		{PLAN_TYPE_PORT, {{0, 80}, {255, 255}}, "80-65535"},
		{PLAN_TYPE_INTERFACE, {"fifteen-letters", "fifteen-letters"}, "\"fifteen-letters\""},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(text, SHOW_TEXT_SIZE);

		show_range(rows[i].type, &rows[i].range, &text);
		assert_string_equal(text.data, rows[i].shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_default),
		cmocka_unit_test(everything),
		cmocka_unit_test(one_family),
		cmocka_unit_test(ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
