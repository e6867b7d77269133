#include "init/plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "init/options.h"
#include "lib/text.h"

#define ARGUMENTS 12

/* --- a plan from a command line, and a small nf_tables to run it --- */

static int plan_of(const char *const arguments[ARGUMENTS], const struct plan_facts *facts, struct plan *plan, struct text *error)
{
	char *argv[ARGUMENTS + 2] = {(char *)"lapse-init"}, *environment[] = {NULL};
	struct init_options options;
	int argc = 1, command, status;

	while (argc <= ARGUMENTS && arguments[argc - 1]) {
		argv[argc] = (char *)arguments[argc - 1];
		argc++;
	}
	assert_int_equal(options_read(argc, argv, environment, &options, &command, error), 0);
	status = plan_make(&options, facts, plan, error);
	options_free(&options);
	return status;
}

static const struct plan_facts modern = {.ipv6 = true, .socket_match = true};

enum where { IN, OUT };

struct packet {
	enum where where;
	const char *source, *destination, *interface;
	uint16_t source_port, destination_port;
	uint32_t uid, gid;
	bool not_tcp, not_syn, forwarded, invalid, ending, own_socket, dead;
};

static bool in_set(const struct plan *plan, enum plan_set_id id, const void *key)
{
	const struct plan_set *set = &plan->sets[id];
	size_t length = plan_key_length(plan_set_rows[id].type);

	for (size_t i = 0; i < set->count; i++)
		if (memcmp(key, set->ranges[i].first, length) >= 0 && memcmp(key, set->ranges[i].last, length) <= 0)
			return true;
	return false;
}

static bool address_in_set(const struct plan *plan, enum plan_set_id id, const char *address)
{
	int family = plan_set_rows[id].type == PLAN_TYPE_IPV4 ? AF_INET : AF_INET6;
	uint8_t bytes[16];

	return inet_pton(family, address, bytes) == 1 && in_set(plan, id, bytes);
}

static bool matches_plainly(const struct plan *plan, const struct plan_match *match, const struct packet *packet)
{
	bool ipv6 = strchr(packet->destination, ':');
	uint16_t source = htons(packet->source_port), destination = htons(packet->destination_port);
	char interface[16] = "";

	strncpy(interface, packet->interface, sizeof interface - 1);
	switch (match->kind) {
	case PLAN_MATCH_TCP:
		return !packet->not_tcp;
	case PLAN_MATCH_SYN:
		return !packet->not_syn;
	case PLAN_MATCH_IPV4:
		return !ipv6;
	case PLAN_MATCH_IPV6:
		return ipv6;
	case PLAN_MATCH_ENDING:
		return packet->ending;
	case PLAN_MATCH_OWN_SOCKET:
		return packet->own_socket;
	case PLAN_MATCH_SOCKET:
		return !packet->dead;
	case PLAN_MATCH_INVALID:
		return packet->invalid;
	case PLAN_MATCH_IN_LO:
	case PLAN_MATCH_OUT_LO:
		return !strcmp(packet->interface, "lo");
	case PLAN_MATCH_LOCAL:
		return !packet->forwarded;
	case PLAN_MATCH_UID:
		return packet->uid == match->value;
	case PLAN_MATCH_GID:
		return packet->gid == match->value;
	case PLAN_MATCH_IN_INTERFACE:
	case PLAN_MATCH_OUT_INTERFACE:
		return in_set(plan, match->set, interface);
	case PLAN_MATCH_SOURCE:
		return address_in_set(plan, match->set, packet->source);
	case PLAN_MATCH_DESTINATION:
		return address_in_set(plan, match->set, packet->destination);
	case PLAN_MATCH_SOURCE_PORT:
		return !packet->not_tcp && in_set(plan, match->set, &source);
	case PLAN_MATCH_DESTINATION_PORT:
		return !packet->not_tcp && in_set(plan, match->set, &destination);
	}
	return false;
}

static bool rule_matches(const struct plan *plan, const struct plan_rule *rule, const struct packet *packet)
{
	for (size_t i = 0; i < rule->match_count; i++)
		if (matches_plainly(plan, &rule->matches[i], packet) == rule->matches[i].negated)
			return false;
	return true;
}

enum { UNTOUCHED = 0, DROPPED = -1 };

/* UNTOUCHED, DROPPED, or the port redirected to. */
static int run_chain(const struct plan *plan, enum plan_chain_id chain, const struct packet *packet)
{
	for (size_t i = 0; i < plan->rule_count; i++) {
		const struct plan_rule *rule = &plan->rules[i];

		if (rule->chain != chain || !rule_matches(plan, rule, packet))
			continue;
		switch (rule->verdict) {
		case PLAN_ACCEPT:
			return UNTOUCHED;
		case PLAN_DROP:
			return DROPPED;
		case PLAN_REDIRECT:
			return rule->port;
		case PLAN_JUMP:
			return run_chain(plan, rule->target, packet);
		}
	}
	return UNTOUCHED;
}

/* nat never sees what conntrack calls invalid. */
static int run(const struct plan *plan, const struct packet *packet)
{
	if (packet->where == OUT)
		return packet->invalid ? UNTOUCHED : run_chain(plan, PLAN_OUTPUT, packet);
	if (run_chain(plan, PLAN_GUARD, packet) == DROPPED)
		return DROPPED;
	return packet->invalid ? UNTOUCHED : run_chain(plan, PLAN_PREROUTING, packet);
}

struct flow {
	struct packet packet;
	int verdict;
	const char *row;
};

static void expect_flows(const struct plan *plan, const struct flow *flows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int verdict = run(plan, &flows[i].packet);

		if (verdict != flows[i].verdict)
			fail_msg("%s: %d instead of %d", flows[i].row, verdict, flows[i].verdict);
	}
}

static void check_flows(const char *const arguments[ARGUMENTS], const struct plan_facts *facts, const struct flow *flows,
                        size_t count)
{
	struct plan plan;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(plan_of(arguments, facts, &plan, &error), 0);
	expect_flows(&plan, flows, count);
	plan_free(&plan);
}

#define CHECK_FLOWS(facts, flows, ...)                                                                       \
	do {                                                                                                 \
		static const char *const arguments_[ARGUMENTS] = {__VA_ARGS__};                              \
		check_flows(arguments_, facts, flows, sizeof(flows) / sizeof *(flows));                      \
	} while (0)

/* --- the traffic table --- */

static void traffic_by_default(void **state)
{
	static const struct flow flows[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8080}, 4143, "1: remote to an app"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 8080}, 4143, "1 and 11: the same over IPv6"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8080, .dead = true}, UNTOUCHED, "1a: nobody listens"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 8080, .dead = true}, UNTOUCHED, "1a and 11: the same over IPv6"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 4191}, UNTOUCHED, "2: admin port"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 4191}, UNTOUCHED, "2: admin port, IPv6"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 4143}, UNTOUCHED, "3: the proxy's inbound port"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 4140}, UNTOUCHED, "3: the proxy's outbound port"},
		{{OUT, "10.1.0.9", "93.184.216.34", "eth0", 40000, 443, 1000}, 4140, "4: app to another host"},
		{{OUT, "fd00::9", "2001:db8::1", "eth0", 40000, 443, 1000}, 4140, "4 and 11: the same over IPv6"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 4143, 1000}, 4140, "4: another pod's proxy port"},
		{{OUT, "10.1.0.9", "169.254.169.254", "eth0", 40000, 80, 1000}, 4140, "7: metadata address is not special"},
		{{OUT, "10.1.0.9", "10.1.0.9", "lo", 40000, 8080, 1000}, UNTOUCHED, "5: app to its own address"},
		{{OUT, "127.0.0.1", "127.0.0.5", "lo", 40000, 8080, 1000}, UNTOUCHED, "5: loopback"},
		{{OUT, "::1", "::1", "lo", 40000, 8080, 1000}, UNTOUCHED, "5: loopback, IPv6"},
		{{OUT, "10.1.0.9", "93.184.216.34", "eth0", 40000, 443, 2102}, UNTOUCHED, "6: the proxy itself"},
		{{OUT, "fd00::9", "2001:db8::1", "eth0", 40000, 443, 2102}, UNTOUCHED, "6: the proxy itself, IPv6"},
		{{OUT, "10.1.0.9", "93.184.216.34", "eth0", 40000, 443, 0}, 4140, "6: root is not the proxy"},
		{{OUT, "10.1.0.9", "93.184.216.34", "eth0", 40000, 443, 1000, 2102}, 4140, "6: no group unless asked for"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 53, .not_tcp = true}, UNTOUCHED, "8: UDP in"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 53, .not_tcp = true}, UNTOUCHED, "8: UDP out"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8080, .not_syn = true}, UNTOUCHED, "9: older, inbound"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, .not_syn = true}, UNTOUCHED, "9: older, outbound"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8080, .invalid = true, .not_syn = true}, DROPPED, "10: invalid"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 8080, .invalid = true, .not_syn = true}, DROPPED, "10: invalid, IPv6"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8080, .invalid = true, .not_syn = true, .ending = true}, DROPPED,
	         "10: the FIN of a redirected connection"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8080, .invalid = true, .not_syn = true, .ending = true,
	          .own_socket = true},
	         UNTOUCHED, "9: the FIN of an older connection"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8080, .invalid = true, .not_syn = true, .own_socket = true}, DROPPED,
	         "10: only its end is let through"},
		{{IN, "10.1.0.9", "10.1.0.9", "lo", 40000, 8080, .invalid = true, .not_syn = true}, UNTOUCHED, "10: not on lo"},
		{{IN, "10.1.0.9", "10.1.0.9", "eth0", 0, 0, .invalid = true, .not_tcp = true}, UNTOUCHED, "10: TCP only"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, .invalid = true, .not_syn = true}, UNTOUCHED, "10: inbound only"},
		{{IN, "10.1.0.7", "10.2.0.1", "eth0", 40000, 80, .forwarded = true}, UNTOUCHED, "forwarded by this namespace"},
		{{OUT, "fe80::9", "fe80::7", "eth0", 40000, 80, 1000}, UNTOUCHED, "IPv6 link-local outbound"},
		{{IN, "fe80::7", "fe80::9", "eth0", 40000, 80}, 4143, "IPv6 link-local inbound"},
	};

	CHECK_FLOWS(&modern, flows, NULL);
}

static void traffic_that_is_skipped(void **state)
{
	static const struct flow flows[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 22}, UNTOUCHED, "2: skipped port"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 9005}, UNTOUCHED, "2: in a skipped range, IPv6"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 25}, 4143, "7: skipped outbound only"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 25, 1000}, UNTOUCHED, "7: skipped destination port"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 22, 1000}, 4140, "7: skipped inbound only"},
		{{OUT, "10.1.0.9", "192.168.3.4", "eth0", 40000, 80, 1000}, UNTOUCHED, "7: subnet outbound"},
		{{IN, "192.168.3.4", "10.1.0.9", "eth0", 40000, 80}, UNTOUCHED, "7: subnet inbound"},
		{{IN, "10.1.0.7", "192.168.3.4", "eth0", 40000, 80}, 4143, "7: inbound looks at the source"},
		{{OUT, "fd00::9", "fd12::1", "eth0", 40000, 80, 1000}, UNTOUCHED, "7: subnet outbound, IPv6"},
		{{IN, "fd12::1", "fd00::9", "eth0", 40000, 80}, UNTOUCHED, "7: subnet inbound, IPv6"},
		{{IN, "10.1.0.7", "10.1.0.9", "net1", 40000, 80}, UNTOUCHED, "7: interface inbound"},
		{{OUT, "10.1.0.9", "10.1.0.7", "net1", 40000, 80, 1000}, UNTOUCHED, "7: interface outbound"},
		{{OUT, "10.1.0.9", "10.1.0.7", "net10", 40000, 80, 1000}, 4140, "7: only that interface"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 1000, 77}, UNTOUCHED, "6: the proxy's group"},
		{{IN, "192.168.3.4", "10.1.0.9", "eth0", 40000, 80, .invalid = true}, UNTOUCHED, "7 and 10: subnet"},
		{{IN, "10.1.0.7", "10.1.0.9", "net1", 40000, 80, .invalid = true}, UNTOUCHED, "7 and 10: interface"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 22, .invalid = true}, UNTOUCHED, "7 and 10: inbound port"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 25, 40000, .invalid = true}, UNTOUCHED, "7 and 10: outbound port"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true}, DROPPED, "10: the rest"},
	};

	CHECK_FLOWS(&modern, flows, "--skip-inbound-ports=22,9000-9010", "--skip-outbound-ports=25",
	            "--skip-subnets=192.168.0.0/16,fd12::/16", "--skip-interfaces=net1", "--proxy-gid=77");
}

static void traffic_of_listed_ports(void **state)
{
	static const struct flow flows[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80}, 5001, "listed"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .dead = true}, UNTOUCHED, "listed, and nobody listens"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 81}, UNTOUCHED, "not listed"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 8085}, UNTOUCHED, "skipped"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 5003}, UNTOUCHED, "admin port"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 4191}, UNTOUCHED, "no longer the admin port, and not listed"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 81, 1000}, 5002, "outbound knows no list"},
	};

	CHECK_FLOWS(&modern, flows, "--inbound-ports=80,8080-8084,8086-8090", "--skip-inbound-ports=8085", "--inbound-port=5001",
	            "--outbound-port=5002", "--admin-port=5003");
}

static void traffic_of_one_family(void **state)
{
	static const struct plan_facts old = {.ipv6 = false};
	static const struct flow only4[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80}, 4143, "IPv4 in"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 1000}, 4140, "IPv4 out"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 80}, UNTOUCHED, "IPv6 in"},
		{{OUT, "fd00::9", "fd00::7", "eth0", 40000, 80, 1000}, UNTOUCHED, "IPv6 out"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 80, .invalid = true}, UNTOUCHED, "IPv6 invalid"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true}, DROPPED, "IPv4 invalid"},
	};
	static const struct flow both[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80}, 4143, "IPv4 in"},
		{{OUT, "fd00::9", "fd00::7", "eth0", 40000, 80, 1000}, 4140, "IPv6 out, though there is none yet"},
	};
	static const struct flow only6[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80}, UNTOUCHED, "IPv4 in"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 1000}, UNTOUCHED, "IPv4 out"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 80}, 4143, "IPv6 in"},
		{{OUT, "fd00::9", "fd00::7", "eth0", 40000, 80, 1000}, 4140, "IPv6 out"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true}, UNTOUCHED, "IPv4 invalid"},
		{{IN, "fd00::7", "fd00::9", "eth0", 40000, 80, .invalid = true}, DROPPED, "IPv6 invalid"},
	};

	CHECK_FLOWS(&modern, only4, "--ip-families=ipv4");
	CHECK_FLOWS(&old, only4, "--ip-families=auto");
	CHECK_FLOWS(&modern, only4, "--ipv6=false");
	CHECK_FLOWS(&modern, only6, "--ip-families=ipv6");
	CHECK_FLOWS(&old, both, "--ip-families", "both");
}

static void invalid_packets_may_be_kept(void **state)
{
	static const struct plan_facts liberal = {.ipv6 = true, .tcp_be_liberal = true};
	static const struct flow flows[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true}, UNTOUCHED, "invalid"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80}, 4143, "valid"},
	};

	CHECK_FLOWS(&modern, flows, "--keep-invalid");
	CHECK_FLOWS(&liberal, flows, NULL);
}

static void the_socket_expression_can_be_done_without(void **state)
{
	static const struct plan_facts small = {.ipv6 = true, .socket_match = false};
	static const struct flow flows[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true, .ending = true, .own_socket = true},
	         DROPPED,
	         "end"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80}, 4143, "inbound"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .dead = true}, 4143, "nobody listens, and nobody can tell"},
	};

	CHECK_FLOWS(&small, flows, NULL);
}

static void strict_conntrack_takes_up_no_old_connection(void **state)
{
	static const struct plan_facts strict = {.ipv6 = true, .socket_match = true, .tcp_strict = true};
	static const struct flow flows[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true, .own_socket = true}, UNTOUCHED, "old data"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true}, DROPPED, "of a redirected one"},
	};
	static const struct flow loose[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .invalid = true, .own_socket = true}, DROPPED, "data is taken up"},
	};

	CHECK_FLOWS(&strict, flows, NULL);
	CHECK_FLOWS(&modern, loose, NULL);
}

static void dead_ports_may_be_redirected(void **state)
{
	static const struct flow flows[] = {
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80, .dead = true}, 4143, "dead"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 80}, 4143, "alive"},
		{{IN, "10.1.0.7", "10.1.0.9", "eth0", 40000, 81, .dead = true}, UNTOUCHED, "not listed"},
	};

	CHECK_FLOWS(&modern, flows, "--redirect-dead-ports", "--inbound-ports=80");
}

static void the_root_user_is_honoured(void **state)
{
	static const struct flow flows[] = {
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 0}, UNTOUCHED, "root"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 2102}, 4140, "no longer the proxy"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 1000, 0}, 4140, "the group root is another matter"},
	};
	static const struct flow group[] = {
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 1000, 0}, UNTOUCHED, "the group root"},
		{{OUT, "10.1.0.9", "10.1.0.7", "eth0", 40000, 80, 0, 1000}, 4140, "root in another group"},
	};

	CHECK_FLOWS(&modern, flows, "--proxy-uid=0", "--proxy-gid=5");
	CHECK_FLOWS(&modern, group, "--proxy-gid=0");
}

/* --- what a plan is --- */

static void ranges_merge(void **state)
{
	static const char *const arguments[ARGUMENTS] = {
		"--skip-subnets=10.128.0.0/9,10.0.0.0/9,10.3.0.0/16,255.0.0.0/8", "--skip-inbound-ports=4141-4142,4144-4190",
		"--skip-interfaces=eth1,net0,eth1", "--skip-subnets=fd00:8000::/17,fd00::/17"};
	struct plan plan;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(plan_of(arguments, &modern, &plan, &error), 0);
	assert_int_equal(plan.sets[PLAN_SKIP_SUBNETS4].count, 2);
	assert_memory_equal(plan.sets[PLAN_SKIP_SUBNETS4].ranges[0].first, "\x0a\0\0\0", 4);
	assert_memory_equal(plan.sets[PLAN_SKIP_SUBNETS4].ranges[0].last, "\x0a\xff\xff\xff", 4);
	assert_memory_equal(plan.sets[PLAN_SKIP_SUBNETS4].ranges[1].last, "\xff\xff\xff\xff", 4);
	assert_int_equal(plan.sets[PLAN_SKIP_SUBNETS6].count, 1);
	assert_int_equal(plan.sets[PLAN_SKIP_INBOUND].count, 1);
	assert_memory_equal(plan.sets[PLAN_SKIP_INBOUND].ranges[0].first, "\x10\x2c", 2);
	assert_memory_equal(plan.sets[PLAN_SKIP_INBOUND].ranges[0].last, "\x10\x5f", 2);
	assert_int_equal(plan.sets[PLAN_SKIP_INTERFACES].count, 2);
	plan_free(&plan);
	assert_int_equal(plan.sets[PLAN_SKIP_SUBNETS4].count, 0);
}

static void the_largest_plan_fits(void **state)
{
	static const char *const arguments[ARGUMENTS] = {"--skip-subnets=10.0.0.0/8,fd00::/8", "--skip-inbound-ports=1",
	                                                 "--skip-outbound-ports=2",            "--inbound-ports=3",
	                                                 "--skip-interfaces=a",                "--proxy-gid=5"};
	struct plan plan;
	TEXT_ON_STACK(error, 512);
	enum plan_chain_id last = 0;

	assert_int_equal(plan_of(arguments, &modern, &plan, &error), 0);
	assert_true(plan.rule_count + 2 <= PLAN_RULES); /* one family alone adds a rule to each nat chain and takes sets away */
	for (size_t i = 0; i < plan.rule_count; i++) {
		assert_true(plan.rules[i].match_count >= 1 && plan.rules[i].match_count <= PLAN_RULE_MATCHES);
		assert_non_null(plan.rules[i].comment);
		assert_true(plan.rules[i].chain >= last);
		last = plan.rules[i].chain;
	}
	plan_free(&plan);
}

static void contradictions_are_refused(void **state)
{
	static const struct {
		const char *arguments[ARGUMENTS];
		const char *sentence;
	} rows[] = {
		{{"--inbound-port=4140"}, "--inbound-port and --outbound-port are both 4140; give each its own port"},
		{{"--admin-port=4143"}, "--inbound-port and --admin-port are both 4143; give each its own port"},
		{{"--outbound-port=4191"}, "--outbound-port and --admin-port are both 4191; give each its own port"},
		{{"--inbound-ports=80,8080-8090", "--skip-inbound-ports=8085,9000"},
	         "port 8085 is both in --inbound-ports and in --skip-inbound-ports; leave it out of one"},
		{{"--ip-families=ipv6", "--skip-subnets=fd00::/8,10.0.0.0/8"},
	         "--skip-subnets 10.0.0.0/8 is an IPv4 subnet but --ip-families is ipv6; leave it out or use both"},
		{{"--ipv6=false", "--skip-subnets=fd00::/8"},
	         "--skip-subnets fd00::/8 is an IPv6 subnet but --ip-families is ipv4; leave it out or use both"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct plan plan = {.rule_count = 99};
		TEXT_ON_STACK(error, 512);

		assert_int_equal(plan_of(rows[i].arguments, &modern, &plan, &error), -EINVAL);
		assert_string_equal(error.data, rows[i].sentence);
		assert_int_equal(plan.rule_count, 99);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(traffic_by_default),        cmocka_unit_test(traffic_that_is_skipped),
		cmocka_unit_test(traffic_of_listed_ports),   cmocka_unit_test(traffic_of_one_family),
		cmocka_unit_test(invalid_packets_may_be_kept), cmocka_unit_test(the_root_user_is_honoured),
		cmocka_unit_test(the_socket_expression_can_be_done_without),
		cmocka_unit_test(strict_conntrack_takes_up_no_old_connection),
		cmocka_unit_test(ranges_merge),              cmocka_unit_test(the_largest_plan_fits),
		cmocka_unit_test(dead_ports_may_be_redirected),
		cmocka_unit_test(contradictions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
