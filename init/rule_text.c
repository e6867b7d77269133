#include "init/rule_text.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

void rule_text_begin(struct rule_text *rule, struct text *to)
{
	*rule = (struct rule_text){.to = to, .family = -1, .protocol = -1, .of_family = -1, .of_protocol = -1};
	text_init(&rule->held, rule->held_bytes, sizeof rule->held_bytes);
}

/* --- values --- */

struct rule_text_name {
	uint32_t value;
	const char *name;
};

#define RULE_TEXT_COUNT(rows) (sizeof rows / sizeof *(rows))

static const struct rule_text_name rule_text_protocols[] = {
	{IPPROTO_TCP, "tcp"}, {IPPROTO_UDP, "udp"}, {IPPROTO_ICMP, "icmp"}, {IPPROTO_ICMPV6, "ipv6-icmp"}, {IPPROTO_SCTP, "sctp"},
};
static const struct rule_text_name rule_text_families[] = {{NFPROTO_IPV4, "ipv4"}, {NFPROTO_IPV6, "ipv6"}};
static const struct rule_text_name rule_text_address_types[] = {
	{RTN_UNICAST, "unicast"}, {RTN_LOCAL, "local"}, {RTN_BROADCAST, "broadcast"}, {RTN_ANYCAST, "anycast"}, {RTN_MULTICAST, "multicast"},
};
static const struct rule_text_name rule_text_flags[] = {
	{0x01, "fin"}, {0x02, "syn"}, {0x04, "rst"}, {0x08, "psh"}, {0x10, "ack"}, {0x20, "urg"}, {0x40, "ecn"}, {0x80, "cwr"},
};
static const struct rule_text_name rule_text_states[] = {
	{NF_CT_STATE_INVALID_BIT, "invalid"},         {NF_CT_STATE_BIT(IP_CT_ESTABLISHED), "established"},
	{NF_CT_STATE_BIT(IP_CT_RELATED), "related"},  {NF_CT_STATE_BIT(IP_CT_NEW), "new"},
	{NF_CT_STATE_UNTRACKED_BIT, "untracked"},
};

static void rule_text_name(const struct rule_text_name *rows, size_t count, uint32_t value, struct text *out)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].value == value) {
			text_string(out, rows[i].name);
			return;
		}
	text_printf(out, "%u", value);
}

/* The names of the bits, "0" for none. */
static void rule_text_bits(const struct rule_text_name *rows, size_t count, uint32_t value, char separator, struct text *out)
{
	size_t before = out->length;

	for (size_t i = 0; i < count; i++) {
		if (!(value & rows[i].value))
			continue;
		if (out->length > before)
			text_char(out, separator);
		text_string(out, rows[i].name);
		value &= ~rows[i].value;
	}
	if (out->length == before)
		text_printf(out, "%u", value);
	else if (value)
		text_printf(out, "%c0x%x", separator, value);
}

static uint32_t rule_text_number(const uint8_t *bytes, size_t length)
{
	uint32_t number = 0;
	uint16_t half;

	if (length == 1)
		return bytes[0];
	if (length == sizeof half) {
		memcpy(&half, bytes, sizeof half);
		return half;
	}
	memcpy(&number, bytes, length < sizeof number ? length : sizeof number);
	return number;
}

static void rule_text_hexadecimal(const uint8_t *bytes, size_t length, struct text *out)
{
	text_string(out, "0x");
	for (size_t i = 0; i < length; i++)
		text_printf(out, "%02x", bytes[i]);
}

/* Fewer bytes than an address has are a prefix. */
static void rule_text_address(int family, const uint8_t *bytes, size_t length, struct text *out)
{
	uint8_t whole[16] = {0};
	char shown[INET6_ADDRSTRLEN];

	memcpy(whole, bytes, length);
	text_string(out, inet_ntop(family, whole, shown, sizeof shown));
	if (length < (family == AF_INET ? 4 : 16))
		text_printf(out, "/%zu", length * 8);
}

static void rule_text_value(const struct rule_text *rule, const uint8_t *bytes, size_t length, struct text *out)
{
	uint32_t number = rule_text_number(bytes, length);

	switch (rule->kind) {
	case RULE_TEXT_PROTOCOL:
		rule_text_name(rule_text_protocols, RULE_TEXT_COUNT(rule_text_protocols), number, out);
		break;
	case RULE_TEXT_FAMILY:
		rule_text_name(rule_text_families, RULE_TEXT_COUNT(rule_text_families), number, out);
		break;
	case RULE_TEXT_ADDRESS_TYPE:
		rule_text_name(rule_text_address_types, RULE_TEXT_COUNT(rule_text_address_types), number, out);
		break;
	case RULE_TEXT_TCP_FLAGS:
		rule_text_bits(rule_text_flags, RULE_TEXT_COUNT(rule_text_flags), number, '|', out);
		break;
	case RULE_TEXT_CT_STATE:
		rule_text_bits(rule_text_states, RULE_TEXT_COUNT(rule_text_states), number, ',', out);
		break;
	case RULE_TEXT_NAME:
		text_printf(out, "\"%.*s%s\"", (int)length, (const char *)bytes, length < RULE_TEXT_DATA ? "*" : "");
		break;
	case RULE_TEXT_NUMBER:
		text_printf(out, "%u", number);
		break;
	case RULE_TEXT_MARK:
		text_printf(out, "0x%08x", number);
		break;
	case RULE_TEXT_PORT:
		text_printf(out, "%u", ntohs((uint16_t)number));
		break;
	case RULE_TEXT_IPV4:
	case RULE_TEXT_IPV6:
		rule_text_address(rule->kind == RULE_TEXT_IPV4 ? AF_INET : AF_INET6, bytes, length, out);
		break;
	case RULE_TEXT_UNKNOWN:
		rule_text_hexadecimal(bytes, length, out);
		break;
	}
}

/* --- what is loaded --- */

/* nft says no family and no protocol where the header that it looks into says it. */
static void rule_text_flush(struct rule_text *rule)
{
	TEXT_ON_STACK(shown, 32);

	if (rule->family >= 0) {
		rule_text_name(rule_text_families, RULE_TEXT_COUNT(rule_text_families), (uint32_t)rule->family, &shown);
		text_printf(rule->to, "meta nfproto %s ", shown.data);
	}
	text_init(&shown, shown.data, shown.size);
	if (rule->protocol >= 0) {
		rule_text_name(rule_text_protocols, RULE_TEXT_COUNT(rule_text_protocols), (uint32_t)rule->protocol, &shown);
		text_printf(rule->to, "meta l4proto %s ", shown.data);
	}
	rule->family = rule->protocol = -1;
}

static bool rule_text_load(struct rule_text *rule, uint32_t to_register, const char *what, enum rule_text_kind kind)
{
	bool first = to_register == NFT_REG_1 || to_register == NFT_REG32_00;
	TEXT_ON_STACK(left, sizeof rule->left);

	if (!first && !rule->left[0])
		return false;
	if (!first)
		text_printf(&left, "%s . ", rule->left);
	text_string(&left, what);
	memcpy(rule->left, left.data, left.length + 1);
	rule->kind = first ? kind : RULE_TEXT_UNKNOWN;
	rule->mask_length = 0;
	return true;
}

bool rule_text_meta(struct rule_text *rule, uint32_t key, uint32_t to_register)
{
	switch (key) {
	case NFT_META_L4PROTO:
		return rule_text_load(rule, to_register, "meta l4proto", RULE_TEXT_PROTOCOL);
	case NFT_META_NFPROTO:
		return rule_text_load(rule, to_register, "meta nfproto", RULE_TEXT_FAMILY);
	case NFT_META_IIFNAME:
		return rule_text_load(rule, to_register, "iifname", RULE_TEXT_NAME);
	case NFT_META_OIFNAME:
		return rule_text_load(rule, to_register, "oifname", RULE_TEXT_NAME);
	case NFT_META_SKUID:
		return rule_text_load(rule, to_register, "meta skuid", RULE_TEXT_NUMBER);
	case NFT_META_SKGID:
		return rule_text_load(rule, to_register, "meta skgid", RULE_TEXT_NUMBER);
	case NFT_META_MARK:
		return rule_text_load(rule, to_register, "meta mark", RULE_TEXT_MARK);
	default:
		return false;
	}
}

bool rule_text_ct(struct rule_text *rule, uint32_t key, uint32_t to_register)
{
	switch (key) {
	case NFT_CT_STATE:
		return rule_text_load(rule, to_register, "ct state", RULE_TEXT_CT_STATE);
	case NFT_CT_MARK:
		return rule_text_load(rule, to_register, "ct mark", RULE_TEXT_MARK);
	default:
		return false;
	}
}

bool rule_text_payload(struct rule_text *rule, uint32_t base, uint32_t offset, uint32_t length, uint32_t to_register)
{
	static const struct {
		uint32_t base;
		int of; /* family or protocol */
		uint32_t offset, least, most;
		const char *name;
		enum rule_text_kind kind;
	} rows[] = {
		{NFT_PAYLOAD_NETWORK_HEADER, NFPROTO_IPV4, 12, 1, 4, "ip saddr", RULE_TEXT_IPV4},
		{NFT_PAYLOAD_NETWORK_HEADER, NFPROTO_IPV4, 16, 1, 4, "ip daddr", RULE_TEXT_IPV4},
		{NFT_PAYLOAD_NETWORK_HEADER, NFPROTO_IPV6, 8, 1, 16, "ip6 saddr", RULE_TEXT_IPV6},
		{NFT_PAYLOAD_NETWORK_HEADER, NFPROTO_IPV6, 24, 1, 16, "ip6 daddr", RULE_TEXT_IPV6},
		{NFT_PAYLOAD_TRANSPORT_HEADER, IPPROTO_TCP, 0, 2, 2, "tcp sport", RULE_TEXT_PORT},
		{NFT_PAYLOAD_TRANSPORT_HEADER, IPPROTO_TCP, 2, 2, 2, "tcp dport", RULE_TEXT_PORT},
		{NFT_PAYLOAD_TRANSPORT_HEADER, IPPROTO_TCP, 13, 1, 1, "tcp flags", RULE_TEXT_TCP_FLAGS},
		{NFT_PAYLOAD_TRANSPORT_HEADER, IPPROTO_UDP, 0, 2, 2, "udp sport", RULE_TEXT_PORT},
		{NFT_PAYLOAD_TRANSPORT_HEADER, IPPROTO_UDP, 2, 2, 2, "udp dport", RULE_TEXT_PORT},
	};

	for (size_t i = 0; i < RULE_TEXT_COUNT(rows); i++) {
		bool network = rows[i].base == NFT_PAYLOAD_NETWORK_HEADER;

		if (rows[i].base != base || rows[i].of != (network ? rule->of_family : rule->of_protocol) || rows[i].offset != offset ||
		    length < rows[i].least || length > rows[i].most || !rule_text_load(rule, to_register, rows[i].name, rows[i].kind))
			continue;
		*(network ? &rule->family : &rule->protocol) = -1;
		return true;
	}
	return false;
}

bool rule_text_fib(struct rule_text *rule, uint32_t result, uint32_t flags)
{
	if (result != NFT_FIB_RESULT_ADDRTYPE || (flags != NFTA_FIB_F_DADDR && flags != NFTA_FIB_F_SADDR))
		return false;
	return rule_text_load(rule, NFT_REG_1, flags == NFTA_FIB_F_DADDR ? "fib daddr type" : "fib saddr type", RULE_TEXT_ADDRESS_TYPE);
}

bool rule_text_socket(struct rule_text *rule, uint32_t key)
{
	return key == NFT_SOCKET_WILDCARD && rule_text_load(rule, NFT_REG_1, "socket wildcard", RULE_TEXT_NUMBER);
}

/* --- comparisons --- */

bool rule_text_mask(struct rule_text *rule, const void *mask, const void *xor, size_t length)
{
	static const uint8_t zero[RULE_TEXT_DATA];

	if (!rule->left[0] || rule->mask_length || memcmp(xor, zero, length))
		return false;
	memcpy(rule->mask, mask, length);
	rule->mask_length = length;
	return true;
}

/* The prefix length of a mask, -1 when it is none. */
static int rule_text_prefix(const uint8_t *mask, size_t length)
{
	size_t bits = 0;

	while (bits < length * 8 && mask[bits / 8] & 0x80 >> bits % 8)
		bits++;
	for (size_t i = bits; i < length * 8; i++)
		if (mask[i / 8] & 0x80 >> i % 8)
			return -1;
	return (int)bits;
}

/* "ip saddr 10.0.0.0/9", "ct state invalid,new", "tcp flags & (fin|syn) == syn" */
static void rule_text_compare_masked(struct rule_text *rule, uint32_t how, const uint8_t *value, size_t length)
{
	bool equal = how == NFT_CMP_EQ, address = rule->kind == RULE_TEXT_IPV4 || rule->kind == RULE_TEXT_IPV6;
	int prefix = address ? rule_text_prefix(rule->mask, length) : -1;
	TEXT_ON_STACK(shown, 256);

	if (rule->kind == RULE_TEXT_CT_STATE && !equal && rule_text_number(value, length) == 0) {
		rule_text_value(rule, rule->mask, length, &shown);
		text_printf(rule->to, "%s %s ", rule->left, shown.data);
	} else if (prefix >= 0) {
		uint8_t whole[RULE_TEXT_DATA] = {0};

		memcpy(whole, value, length);
		rule_text_address(rule->kind == RULE_TEXT_IPV4 ? AF_INET : AF_INET6, whole, rule->kind == RULE_TEXT_IPV4 ? 4 : 16, &shown);
		text_printf(rule->to, "%s %s%s/%d ", rule->left, equal ? "" : "!= ", shown.data, prefix);
	} else {
		text_string(&shown, rule->kind == RULE_TEXT_TCP_FLAGS ? "(" : "");
		rule_text_value(rule, rule->mask, length, &shown);
		text_printf(&shown, "%s %s ", rule->kind == RULE_TEXT_TCP_FLAGS ? ")" : "", equal ? "==" : "!=");
		rule_text_value(rule, value, length, &shown);
		text_printf(rule->to, "%s & %s ", rule->left, shown.data);
	}
}

bool rule_text_compare(struct rule_text *rule, uint32_t how, const void *value, size_t length)
{
	static const char *const operators[] = {
		[NFT_CMP_EQ] = "",    [NFT_CMP_NEQ] = "!= ", [NFT_CMP_LT] = "< ",
		[NFT_CMP_LTE] = "<= ", [NFT_CMP_GT] = "> ",   [NFT_CMP_GTE] = ">= ",
	};
	TEXT_ON_STACK(shown, 128);

	if (!rule->left[0] || how >= RULE_TEXT_COUNT(operators))
		return false;
	if (rule->mask_length) {
		if (rule->mask_length != length || (how != NFT_CMP_EQ && how != NFT_CMP_NEQ))
			return false;
		rule_text_flush(rule);
		rule_text_compare_masked(rule, how, value, length);
		rule->mask_length = 0;
		return true;
	}
	if (how == NFT_CMP_EQ && length == 1 && (rule->kind == RULE_TEXT_PROTOCOL || rule->kind == RULE_TEXT_FAMILY)) {
		bool family = rule->kind == RULE_TEXT_FAMILY;

		if ((family ? rule->family : rule->protocol) >= 0)
			rule_text_flush(rule);
		*(family ? &rule->family : &rule->protocol) = *(const uint8_t *)value;
		*(family ? &rule->of_family : &rule->of_protocol) = *(const uint8_t *)value;
		return true;
	}
	rule_text_flush(rule);
	rule_text_value(rule, value, length, &shown);
	text_printf(rule->to, "%s %s%s ", rule->left, operators[how], shown.data);
	return true;
}

bool rule_text_range(struct rule_text *rule, uint32_t how, const void *from, const void *to, size_t length)
{
	TEXT_ON_STACK(shown, 128);

	if (!rule->left[0] || rule->mask_length)
		return false;
	rule_text_flush(rule);
	rule_text_value(rule, from, length, &shown);
	text_char(&shown, '-');
	rule_text_value(rule, to, length, &shown);
	text_printf(rule->to, "%s %s%s ", rule->left, how == NFT_RANGE_NEQ ? "!= " : "", shown.data);
	return true;
}

bool rule_text_lookup(struct rule_text *rule, const char *set, bool inverted)
{
	if (!rule->left[0] || rule->mask_length)
		return false;
	rule_text_flush(rule);
	text_printf(rule->to, "%s %s@%s ", rule->left, inverted ? "!= " : "", set);
	return true;
}

/* --- statements --- */

void rule_text_counter(struct rule_text *rule)
{
	rule_text_flush(rule);
	text_string(rule->to, "counter ");
}

bool rule_text_immediate(struct rule_text *rule, const void *data, size_t length, const char *raw)
{
	memcpy(rule->data, data, length);
	rule->data_length = length;
	text_printf(&rule->held, "%s ", raw);
	return true;
}

bool rule_text_verdict(struct rule_text *rule, int32_t verdict, const char *chain)
{
	static const struct {
		int32_t verdict;
		const char *name;
	} rows[] = {{NF_ACCEPT, "accept"}, {NF_DROP, "drop"},         {NFT_JUMP, "jump"},
	            {NFT_GOTO, "goto"},    {NFT_RETURN, "return"}, {NFT_CONTINUE, "continue"}};

	for (size_t i = 0; i < RULE_TEXT_COUNT(rows); i++) {
		if (rows[i].verdict != verdict)
			continue;
		rule_text_flush(rule);
		text_printf(rule->to, "%s%s%s ", rows[i].name, chain ? " " : "", chain ? chain : "");
		return true;
	}
	return false;
}

bool rule_text_redirect(struct rule_text *rule, uint32_t flags)
{
	uint16_t port;

	if (rule->data_length ? flags != NF_NAT_RANGE_PROTO_SPECIFIED || rule->data_length < sizeof port : flags != 0)
		return false;
	rule_text_flush(rule);
	memcpy(&port, rule->data, sizeof port);
	if (rule->data_length)
		text_printf(rule->to, "redirect to :%u ", ntohs(port));
	else
		text_string(rule->to, "redirect ");
	rule->data_length = 0;
	text_init(&rule->held, rule->held_bytes, sizeof rule->held_bytes);
	return true;
}

void rule_text_other(struct rule_text *rule, const char *raw)
{
	rule_text_flush(rule);
	text_printf(rule->to, "%s%s ", rule->held.data, raw);
	text_init(&rule->held, rule->held_bytes, sizeof rule->held_bytes);
	rule->data_length = 0;
	rule->left[0] = '\0';
	rule->mask_length = 0;
}

void rule_text_end(struct rule_text *rule)
{
	if (rule->held.length)
		rule_text_other(rule, "");
	rule_text_flush(rule);
	while (rule->to->length && rule->to->data[rule->to->length - 1] == ' ')
		rule->to->data[--rule->to->length] = '\0';
}
