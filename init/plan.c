#include "init/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "init/options.h"
#include "lib/text.h"

const struct plan_set_row plan_set_rows[PLAN_SET_COUNT] = {
	[PLAN_SKIP_INTERFACES] = {"skip_interfaces", "interfaces left alone, both directions", PLAN_TYPE_INTERFACE},
	[PLAN_SKIP_SUBNETS4] = {"skip_subnets4", "IPv4 peers left alone, both directions", PLAN_TYPE_IPV4},
	[PLAN_SKIP_SUBNETS6] = {"skip_subnets6", "IPv6 peers left alone, both directions", PLAN_TYPE_IPV6},
	[PLAN_LINK_LOCAL6] = {"link_local6", "IPv6 link-local: its sockets are bound to an interface", PLAN_TYPE_IPV6},
	[PLAN_SKIP_INBOUND] = {"skip_inbound_ports", "inbound: the proxy's own, admin and skipped ports", PLAN_TYPE_PORT},
	[PLAN_SKIP_OUTBOUND] = {"skip_outbound_ports", "outbound: skipped ports", PLAN_TYPE_PORT},
	[PLAN_INBOUND] = {"inbound_ports", "inbound: the only ports redirected", PLAN_TYPE_PORT},
};

/* fe80::/10. A socket bound to an interface cannot be redirected to ::1, which is on another. */
static const struct plan_range plan_link_local = {
	.first = {0xfe, 0x80},
	.last = {0xfe, 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
};

/* The guard runs after conntrack (-200) and before any nat. */
const struct plan_chain plan_chain_rows[PLAN_CHAIN_COUNT] = {
	[PLAN_GUARD] = {"guard", "filter", PLAN_HOOK_PREROUTING, -150, "mangle"},
	[PLAN_INVALID] = {"invalid"},
	[PLAN_PREROUTING] = {"prerouting", "nat", PLAN_HOOK_PREROUTING, -100, "dstnat"},
	[PLAN_OUTPUT] = {"output", "nat", PLAN_HOOK_OUTPUT, -100, "-100"},
};

size_t plan_key_length(enum plan_type type)
{
	switch (type) {
	case PLAN_TYPE_PORT:
		return 2;
	case PLAN_TYPE_IPV4:
		return 4;
	case PLAN_TYPE_IPV6:
	case PLAN_TYPE_INTERFACE:
		break;
	}
	return 16;
}

/* --- sets --- */

static int plan_set_add(struct plan_set *set, const struct plan_range *range)
{
	struct plan_range *ranges = reallocarray(set->ranges, set->count + 1, sizeof *ranges);

	if (!ranges)
		return -ENOMEM;
	set->ranges = ranges;
	ranges[set->count++] = *range;
	return 0;
}

static int plan_set_add_ports(struct plan_set *set, uint16_t first, uint16_t last)
{
	struct plan_range range = {.first = {first >> 8, first & 0xff}, .last = {last >> 8, last & 0xff}};

	return plan_set_add(set, &range);
}

static int plan_set_add_port_list(struct plan_set *set, const struct ports *ports)
{
	int error = 0;

	for (size_t i = 0; i < ports->count && !error; i++)
		error = plan_set_add_ports(set, ports->ranges[i].first, ports->ranges[i].last);
	return error;
}

static int plan_set_add_prefix(struct plan_set *set, const struct prefix *prefix, size_t length)
{
	struct plan_range range = {0};

	for (size_t i = 0; i < length; i++) {
		size_t bits = prefix->length > i * 8 ? prefix->length - i * 8 : 0;
		uint8_t mask = bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);

		range.first[i] = prefix->addr.bytes[i] & mask;
		range.last[i] = range.first[i] | (uint8_t)~mask;
	}
	return plan_set_add(set, &range);
}

static int plan_set_add_interface(struct plan_set *set, const struct interface_name *name)
{
	struct plan_range range = {0};

	memcpy(range.first, name->text, sizeof range.first);
	memcpy(range.last, name->text, sizeof range.last);
	return plan_set_add(set, &range);
}

static int plan_compare_ranges(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct plan_range));
}

/* True when `next` begins inside `range` or right behind it. */
static bool plan_range_reaches(const struct plan_range *range, const struct plan_range *next, size_t length)
{
	uint8_t after[16];
	size_t i = length;

	memcpy(after, range->last, sizeof after);
	while (i > 0 && ++after[i - 1] == 0)
		i--;
	return i == 0 || memcmp(next->first, after, length) <= 0;
}

static void plan_set_normalise(struct plan_set *set, enum plan_type type)
{
	size_t length = plan_key_length(type), kept = 0;

	if (!set->count)
		return;
	qsort(set->ranges, set->count, sizeof *set->ranges, plan_compare_ranges);
	for (size_t i = 1; i < set->count; i++) {
		struct plan_range *range = &set->ranges[kept], *next = &set->ranges[i];
		bool merge = type == PLAN_TYPE_INTERFACE ? !memcmp(range->first, next->first, length)
		                                         : plan_range_reaches(range, next, length);

		if (!merge)
			set->ranges[++kept] = *next;
		else if (memcmp(next->last, range->last, length) > 0)
			memcpy(range->last, next->last, sizeof range->last);
	}
	set->count = kept + 1;
}

static int plan_fill_sets(const struct init_options *options, struct plan *plan)
{
	struct plan_set *sets = plan->sets;
	int error = 0;

	for (size_t i = 0; i < options->skip_interfaces.count && !error; i++)
		error = plan_set_add_interface(&sets[PLAN_SKIP_INTERFACES], &options->skip_interfaces.list[i]);
	for (size_t i = 0; i < options->skip_subnets.count && !error; i++) {
		const struct prefix *prefix = &options->skip_subnets.list[i];

		if (prefix->addr.family == AF_INET && plan->ipv4)
			error = plan_set_add_prefix(&sets[PLAN_SKIP_SUBNETS4], prefix, 4);
		else if (prefix->addr.family == AF_INET6 && plan->ipv6)
			error = plan_set_add_prefix(&sets[PLAN_SKIP_SUBNETS6], prefix, 16);
	}
	if (!error && plan->ipv6)
		error = plan_set_add(&sets[PLAN_LINK_LOCAL6], &plan_link_local);
	if (!error)
		error = plan_set_add_port_list(&sets[PLAN_SKIP_INBOUND], &options->skip_inbound_ports);
	if (!error)
		error = plan_set_add_ports(&sets[PLAN_SKIP_INBOUND], options->inbound_port, options->inbound_port);
	if (!error)
		error = plan_set_add_ports(&sets[PLAN_SKIP_INBOUND], options->outbound_port, options->outbound_port);
	if (!error)
		error = plan_set_add_ports(&sets[PLAN_SKIP_INBOUND], options->admin_port, options->admin_port);
	if (!error)
		error = plan_set_add_port_list(&sets[PLAN_SKIP_OUTBOUND], &options->skip_outbound_ports);
	if (!error)
		error = plan_set_add_port_list(&sets[PLAN_INBOUND], &options->inbound_ports);
	for (size_t i = 0; i < PLAN_SET_COUNT && !error; i++)
		plan_set_normalise(&sets[i], plan_set_rows[i].type);
	return error;
}

/* --- rules --- */

static struct plan_rule *plan_rule_new(struct plan *plan, enum plan_chain_id chain, enum plan_verdict verdict, const char *comment)
{
	struct plan_rule *rule = &plan->rules[plan->rule_count++];

	*rule = (struct plan_rule){.chain = chain, .verdict = verdict, .comment = comment};
	return rule;
}

static void plan_rule_match(struct plan_rule *rule, struct plan_match match)
{
	rule->matches[rule->match_count++] = match;
}

static void plan_accept(struct plan *plan, enum plan_chain_id chain, struct plan_match match, const char *comment)
{
	plan_rule_match(plan_rule_new(plan, chain, PLAN_ACCEPT, comment), match);
}

/* Accepts what `kind` finds in the set; no rule when the set is empty. */
static void plan_accept_set(struct plan *plan, enum plan_chain_id chain, enum plan_match_kind kind, enum plan_set_id set,
                            const char *comment)
{
	if (plan->sets[set].count)
		plan_accept(plan, chain, (struct plan_match){.kind = kind, .set = set}, comment);
}

/* A nat chain meets only packets without a nat decision, but that includes data of connections older than the table, and of
 * those conntrack forgot: redirecting these would break them, so only a SYN may go on. */
static void plan_only_new(struct plan *plan, enum plan_chain_id chain)
{
	plan_accept(plan, chain, (struct plan_match){.kind = PLAN_MATCH_TCP, .negated = true}, "not TCP");
	if (!plan->ipv6)
		plan_accept(plan, chain, (struct plan_match){.kind = PLAN_MATCH_IPV6}, "IPv6 is left alone");
	if (!plan->ipv4)
		plan_accept(plan, chain, (struct plan_match){.kind = PLAN_MATCH_IPV4}, "IPv4 is left alone");
	plan_accept(plan, chain, (struct plan_match){.kind = PLAN_MATCH_SYN, .negated = true}, "no SYN: older than these rules");
}

/* Of what has come so far, these destination ports; PLAN_SET_COUNT: all. */
static struct plan_rule *plan_rule_of_ports(struct plan *plan, enum plan_chain_id chain, enum plan_verdict verdict,
                                            enum plan_set_id ports, const char *comment)
{
	struct plan_rule *rule = plan_rule_new(plan, chain, verdict, comment);

	if (ports != PLAN_SET_COUNT)
		plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_DESTINATION_PORT, .set = ports});
	else
		plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_TCP});
	return rule;
}

/* Conntrack does not know the connections that were there before it, and takes up an old one at its next data but not at its end:
 * that is invalid, and must reach its socket all the same. Where it is strict it takes up none. */
static void plan_older_connections(struct plan *plan, bool tcp_strict)
{
	struct plan_rule *rule = plan_rule_new(plan, PLAN_INVALID, PLAN_ACCEPT,
	                                       tcp_strict ? "of a connection older than these rules"
	                                                  : "end of a connection older than these rules");

	if (!tcp_strict)
		plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_ENDING});
	plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_OWN_SOCKET});
}

/* Every packet passes the guard, so it asks one question; what is left alone elsewhere is left alone in `invalid` too. */
static void plan_guard(struct plan *plan, const struct plan_facts *facts)
{
	struct plan_rule *rule;

	plan_accept(plan, PLAN_INVALID, (struct plan_match){.kind = PLAN_MATCH_LOCAL, .negated = true}, "forwarded, not for us");
	if (facts->socket_match)
		plan_older_connections(plan, facts->tcp_strict);
	plan_accept_set(plan, PLAN_INVALID, PLAN_MATCH_IN_INTERFACE, PLAN_SKIP_INTERFACES, "skipped interface");
	plan_accept_set(plan, PLAN_INVALID, PLAN_MATCH_SOURCE, PLAN_SKIP_SUBNETS4, "skipped subnet");
	plan_accept_set(plan, PLAN_INVALID, PLAN_MATCH_SOURCE, PLAN_SKIP_SUBNETS6, "skipped subnet");
	plan_accept_set(plan, PLAN_INVALID, PLAN_MATCH_DESTINATION_PORT, PLAN_SKIP_INBOUND, "skipped inbound port");
	plan_accept_set(plan, PLAN_INVALID, PLAN_MATCH_SOURCE_PORT, PLAN_SKIP_OUTBOUND, "skipped outbound port");
	rule = plan_rule_new(plan, PLAN_INVALID, PLAN_DROP, "else the kernel would reset a live connection");
	plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_TCP});

	rule = plan_rule_new(plan, PLAN_GUARD, PLAN_JUMP, "TCP that conntrack cannot place");
	rule->target = PLAN_INVALID;
	plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_INVALID});
	plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_TCP});
	plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_IN_LO, .negated = true});
	if (!plan->ipv6)
		plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_IPV4});
	if (!plan->ipv4)
		plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_IPV6});
}

/* What nobody listens for is not redirected, so that the kernel refuses it, as without us: who probes a port is told the truth. */
static void plan_inbound(const struct init_options *options, const struct plan_facts *facts, struct plan *plan)
{
	enum plan_set_id ports = plan->sets[PLAN_INBOUND].count ? PLAN_INBOUND : PLAN_SET_COUNT;
	bool refused = facts->socket_match && !options->redirect_dead_ports;
	struct plan_rule *rule;

	plan_only_new(plan, PLAN_PREROUTING);
	plan_accept(plan, PLAN_PREROUTING, (struct plan_match){.kind = PLAN_MATCH_LOCAL, .negated = true}, "forwarded, not for us");
	plan_accept_set(plan, PLAN_PREROUTING, PLAN_MATCH_IN_INTERFACE, PLAN_SKIP_INTERFACES, "skipped interface");
	plan_accept_set(plan, PLAN_PREROUTING, PLAN_MATCH_SOURCE, PLAN_SKIP_SUBNETS4, "skipped subnet");
	plan_accept_set(plan, PLAN_PREROUTING, PLAN_MATCH_SOURCE, PLAN_SKIP_SUBNETS6, "skipped subnet");
	plan_accept_set(plan, PLAN_PREROUTING, PLAN_MATCH_DESTINATION_PORT, PLAN_SKIP_INBOUND,
	                "proxy's own, admin or skipped port");
	rule = plan_rule_of_ports(plan, PLAN_PREROUTING, PLAN_REDIRECT, ports, "inbound to the proxy");
	rule->port = options->inbound_port;
	if (!refused)
		return;
	plan_rule_match(rule, (struct plan_match){.kind = PLAN_MATCH_SOCKET});
	plan_rule_of_ports(plan, PLAN_PREROUTING, PLAN_ACCEPT, ports, "nobody listens there: the kernel refuses");
}

static void plan_outbound(const struct init_options *options, struct plan *plan)
{
	plan_only_new(plan, PLAN_OUTPUT);
	plan_accept(plan, PLAN_OUTPUT, (struct plan_match){.kind = PLAN_MATCH_UID, .value = options->proxy_uid.id},
	            "from the proxy, by user");
	if (options->proxy_gid.set)
		plan_accept(plan, PLAN_OUTPUT, (struct plan_match){.kind = PLAN_MATCH_GID, .value = options->proxy_gid.id},
		            "from the proxy, by group");
	plan_accept(plan, PLAN_OUTPUT, (struct plan_match){.kind = PLAN_MATCH_OUT_LO}, "to an own address");
	plan_accept_set(plan, PLAN_OUTPUT, PLAN_MATCH_OUT_INTERFACE, PLAN_SKIP_INTERFACES, "skipped interface");
	plan_accept_set(plan, PLAN_OUTPUT, PLAN_MATCH_DESTINATION, PLAN_SKIP_SUBNETS4, "skipped subnet");
	plan_accept_set(plan, PLAN_OUTPUT, PLAN_MATCH_DESTINATION, PLAN_SKIP_SUBNETS6, "skipped subnet");
	plan_accept_set(plan, PLAN_OUTPUT, PLAN_MATCH_DESTINATION, PLAN_LINK_LOCAL6, "IPv6 link-local, cannot be redirected");
	plan_accept_set(plan, PLAN_OUTPUT, PLAN_MATCH_DESTINATION_PORT, PLAN_SKIP_OUTBOUND, "skipped port");
	plan_rule_of_ports(plan, PLAN_OUTPUT, PLAN_REDIRECT, PLAN_SET_COUNT, "outbound to the proxy")->port = options->outbound_port;
}

/* --- contradictions --- */

static int plan_check_ports(const struct init_options *options, struct text *error)
{
	const struct {
		const char *name;
		uint16_t port;
	} own[] = {
		{"--inbound-port", options->inbound_port},
		{"--outbound-port", options->outbound_port},
		{"--admin-port", options->admin_port},
	};

	for (size_t i = 0; i < 3; i++)
		for (size_t j = i + 1; j < 3; j++)
			if (own[i].port == own[j].port) {
				text_printf(error, "%s and %s are both %u; give each its own port", own[i].name, own[j].name,
				            own[i].port);
				return -EINVAL;
			}
	return 0;
}

static int plan_check_lists(const struct init_options *options, struct text *error)
{
	for (size_t i = 0; i < options->inbound_ports.count; i++)
		for (uint32_t port = options->inbound_ports.ranges[i].first; port <= options->inbound_ports.ranges[i].last; port++)
			if (ports_contain(&options->skip_inbound_ports, (uint16_t)port)) {
				text_printf(error, "port %u is both in --inbound-ports and in --skip-inbound-ports; leave it out of one", port);
				return -EINVAL;
			}
	return 0;
}

static int plan_check_subnets(const struct init_options *options, struct text *error)
{
	for (size_t i = 0; i < options->skip_subnets.count; i++) {
		const struct prefix *prefix = &options->skip_subnets.list[i];
		bool ipv4 = prefix->addr.family == AF_INET;
		char shown[PREFIX_TEXT_SIZE];

		if (options->families == (ipv4 ? IP_FAMILIES_IPV6 : IP_FAMILIES_IPV4)) {
			text_printf(error, "--skip-subnets %s is an %s subnet but --ip-families is %s; leave it out or use both",
			            addr_prefix_format(prefix, shown), ipv4 ? "IPv4" : "IPv6", ipv4 ? "ipv6" : "ipv4");
			return -EINVAL;
		}
	}
	return 0;
}

int plan_make(const struct init_options *options, const struct plan_facts *facts, struct plan *out, struct text *error)
{
	bool guard = !options->keep_invalid && !facts->tcp_be_liberal;
	struct plan plan = {
		.chains = {[PLAN_GUARD] = guard, [PLAN_INVALID] = guard, [PLAN_PREROUTING] = true, [PLAN_OUTPUT] = true},
		.ipv4 = options->families != IP_FAMILIES_IPV6,
		.ipv6 = options->families == IP_FAMILIES_AUTO ? facts->ipv6 : options->families != IP_FAMILIES_IPV4,
	};
	int status = plan_check_ports(options, error);

	if (!status)
		status = plan_check_lists(options, error);
	if (!status)
		status = plan_check_subnets(options, error);
	if (!status)
		status = plan_fill_sets(options, &plan);
	if (status) {
		plan_free(&plan);
		return status;
	}
	if (guard)
		plan_guard(&plan, facts);
	plan_inbound(options, facts, &plan);
	plan_outbound(options, &plan);
	*out = plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	for (size_t i = 0; i < PLAN_SET_COUNT; i++) {
		free(plan->sets[i].ranges);
		plan->sets[i] = (struct plan_set){0};
	}
}
