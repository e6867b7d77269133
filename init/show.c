#include "init/show.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/text.h"

static bool show_match_is_ipv6(const struct plan_match *match)
{
	return plan_set_rows[match->set].type == PLAN_TYPE_IPV6;
}

static void show_match(const struct plan_match *match, struct text *text)
{
	const char *set = plan_set_rows[match->set].name;
	const char *not = match->negated ? "!= " : "";

	switch (match->kind) {
	case PLAN_MATCH_TCP:
		text_printf(text, "meta l4proto %stcp", not);
		break;
	case PLAN_MATCH_SYN:
		text_printf(text, "tcp flags & (fin|syn|rst|ack) %s syn", match->negated ? "!=" : "==");
		break;
	case PLAN_MATCH_IPV4:
		text_printf(text, "meta nfproto %sipv4", not);
		break;
	case PLAN_MATCH_IPV6:
		text_printf(text, "meta nfproto %sipv6", not);
		break;
	case PLAN_MATCH_ENDING:
		text_printf(text, "tcp flags & (fin|rst) %s 0", match->negated ? "==" : "!=");
		break;
	case PLAN_MATCH_OWN_SOCKET:
		text_printf(text, "socket wildcard %s0", not);
		break;
	case PLAN_MATCH_SOCKET:
		text_string(text, "socket wildcard <= 1");
		break;
	case PLAN_MATCH_INVALID:
		text_string(text, "ct state invalid");
		break;
	case PLAN_MATCH_IN_LO:
		text_printf(text, "iifname %s\"lo\"", not);
		break;
	case PLAN_MATCH_OUT_LO:
		text_printf(text, "oifname %s\"lo\"", not);
		break;
	case PLAN_MATCH_LOCAL:
		text_printf(text, "fib daddr type %slocal", not);
		break;
	case PLAN_MATCH_UID:
		text_printf(text, "meta skuid %s%u", not, match->value);
		break;
	case PLAN_MATCH_GID:
		text_printf(text, "meta skgid %s%u", not, match->value);
		break;
	case PLAN_MATCH_IN_INTERFACE:
		text_printf(text, "iifname %s@%s", not, set);
		break;
	case PLAN_MATCH_OUT_INTERFACE:
		text_printf(text, "oifname %s@%s", not, set);
		break;
	case PLAN_MATCH_SOURCE:
		text_printf(text, "%s saddr %s@%s", show_match_is_ipv6(match) ? "ip6" : "ip", not, set);
		break;
	case PLAN_MATCH_DESTINATION:
		text_printf(text, "%s daddr %s@%s", show_match_is_ipv6(match) ? "ip6" : "ip", not, set);
		break;
	case PLAN_MATCH_SOURCE_PORT:
		text_printf(text, "tcp sport %s@%s", not, set);
		break;
	case PLAN_MATCH_DESTINATION_PORT:
		text_printf(text, "tcp dport %s@%s", not, set);
		break;
	}
}

void show_rule(const struct plan_rule *rule, struct text *text)
{
	for (size_t i = 0; i < rule->match_count; i++) {
		show_match(&rule->matches[i], text);
		text_char(text, ' ');
	}
	text_string(text, "counter ");
	switch (rule->verdict) {
	case PLAN_ACCEPT:
		text_string(text, "accept");
		break;
	case PLAN_DROP:
		text_string(text, "drop");
		break;
	case PLAN_JUMP:
		text_printf(text, "jump %s", plan_chain_rows[rule->target].name);
		break;
	case PLAN_REDIRECT:
		text_printf(text, "redirect to :%u", rule->port);
		break;
	}
	text_printf(text, " comment \"%s\"", rule->comment);
}

static void show_chain(const struct plan_chain *chain, struct text *text)
{
	text_printf(text, "type %s hook %s priority %s; policy accept;", chain->type,
	            chain->hook == PLAN_HOOK_OUTPUT ? "output" : "prerouting", chain->priority_name);
}

/* The prefix length when the range is exactly one prefix, else -1. */
static int show_prefix_length(const struct plan_range *range, size_t length)
{
	int bits = 0;
	size_t i = 0;

	while (i < length && range->first[i] == range->last[i]) {
		i++;
		bits += 8;
	}
	if (i == length)
		return bits;

	uint8_t open = range->first[i] ^ range->last[i];

	if ((open & (open + 1)) || (range->first[i] & open))
		return -1;
	for (uint8_t bit = 0x80; bit && !(open & bit); bit >>= 1)
		bits++;
	for (i++; i < length; i++)
		if (range->first[i] != 0 || range->last[i] != 0xff)
			return -1;
	return bits;
}

static void show_address_range(int family, size_t length, const struct plan_range *range, struct text *text)
{
	char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN];
	int prefix = show_prefix_length(range, length);

	inet_ntop(family, range->first, first, sizeof first);
	inet_ntop(family, range->last, last, sizeof last);
	if (prefix == (int)length * 8)
		text_string(text, first);
	else if (prefix >= 0)
		text_printf(text, "%s/%d", first, prefix);
	else
		text_printf(text, "%s-%s", first, last);
}

void show_range(enum plan_type type, const struct plan_range *range, struct text *text)
{
	unsigned int first = (unsigned int)range->first[0] << 8 | range->first[1];
	unsigned int last = (unsigned int)range->last[0] << 8 | range->last[1];

	switch (type) {
	case PLAN_TYPE_PORT:
		text_printf(text, first == last ? "%u" : "%u-%u", first, last);
		break;
	case PLAN_TYPE_IPV4:
		show_address_range(AF_INET, 4, range, text);
		break;
	case PLAN_TYPE_IPV6:
		show_address_range(AF_INET6, 16, range, text);
		break;
	case PLAN_TYPE_INTERFACE:
		text_printf(text, "\"%.16s\"", (const char *)range->first);
		break;
	}
}

const char *show_type_name(enum plan_type type)
{
	switch (type) {
	case PLAN_TYPE_PORT:
		return "inet_service";
	case PLAN_TYPE_IPV4:
		return "ipv4_addr";
	case PLAN_TYPE_IPV6:
		return "ipv6_addr";
	case PLAN_TYPE_INTERFACE:
		break;
	}
	return "ifname";
}

static void show_set(const struct plan_set_row *row, const struct plan_set *set, FILE *to)
{
	fprintf(to, "\n\tset %s {\n\t\ttype %s\n", row->name, show_type_name(row->type));
	if (row->type != PLAN_TYPE_INTERFACE)
		fputs("\t\tflags interval\n", to);
	fprintf(to, "\t\tcomment \"%s\"\n\t\telements = { ", row->comment);
	for (size_t i = 0; i < set->count; i++) {
		TEXT_ON_STACK(range, SHOW_TEXT_SIZE);
		show_range(row->type, &set->ranges[i], &range);
		fprintf(to, "%s%s", i ? ", " : "", range.data);
	}
	fputs(" }\n\t}\n", to);
}

static void show_chain_whole(const struct plan *plan, enum plan_chain_id id, FILE *to)
{
	const struct plan_chain *chain = &plan_chain_rows[id];

	fprintf(to, "\n\tchain %s {\n", chain->name);
	if (chain->type) {
		TEXT_ON_STACK(head, SHOW_TEXT_SIZE);
		show_chain(chain, &head);
		fprintf(to, "\t\t%s\n", head.data);
	}
	for (size_t i = 0; i < plan->rule_count; i++) {
		TEXT_ON_STACK(rule, SHOW_TEXT_SIZE);
		if (plan->rules[i].chain != id)
			continue;
		show_rule(&plan->rules[i], &rule);
		fprintf(to, "\t\t%s\n", rule.data);
	}
	fputs("\t}\n", to);
}

void show_plan(const struct plan *plan, FILE *to)
{
	fputs("add table inet " PLAN_TABLE "\ndelete table inet " PLAN_TABLE "\ntable inet " PLAN_TABLE " {\n", to);
	fputs("\tcomment \"" PLAN_TABLE_COMMENT "\"\n", to);
	for (size_t i = 0; i < PLAN_SET_COUNT; i++)
		if (plan->sets[i].count)
			show_set(&plan_set_rows[i], &plan->sets[i], to);
	for (size_t i = 0; i < PLAN_CHAIN_COUNT; i++)
		if (plan->chains[i])
			show_chain_whole(plan, (enum plan_chain_id)i, to);
	fputs("}\n", to);
}
