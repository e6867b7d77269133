#include "init/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init/batch.h"
#include "init/plan.h"

/* nft's numbers for the data types of set keys, and for whose byte order they are in. */
enum { RULES_TYPE_IPV4 = 7, RULES_TYPE_IPV6 = 8, RULES_TYPE_PORT = 13, RULES_TYPE_INTERFACE = 41 };
enum { RULES_ORDER_HOST = 1, RULES_ORDER_NETWORK = 2 };

enum { RULES_TCP_FLAGS = 13 }; /* offset in the TCP header */
enum { RULES_FIN = 0x01, RULES_SYN = 0x02, RULES_RST = 0x04, RULES_ACK = 0x10 };

/* --- expressions, each spelt out as the kernel will show it, so that check can compare --- */

static struct nftnl_expr *rules_expr(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	if (expr)
		nftnl_rule_add_expr(rule, expr);
	return expr;
}

static int rules_meta(struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = rules_expr(rule, "meta");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
	return 0;
}

static int rules_compare_by(struct nftnl_rule *rule, enum nft_cmp_ops how, const void *value, uint32_t length)
{
	struct nftnl_expr *expr = rules_expr(rule, "cmp");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, how);
	return nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, value, length) ? -ENOMEM : 0;
}

static int rules_compare(struct nftnl_rule *rule, bool negated, const void *value, uint32_t length)
{
	return rules_compare_by(rule, negated ? NFT_CMP_NEQ : NFT_CMP_EQ, value, length);
}

static int rules_meta_u8(struct nftnl_rule *rule, uint32_t key, bool negated, uint8_t value)
{
	int error = rules_meta(rule, key);

	return error ? error : rules_compare(rule, negated, &value, sizeof value);
}

static int rules_meta_u32(struct nftnl_rule *rule, uint32_t key, bool negated, uint32_t value)
{
	int error = rules_meta(rule, key);

	return error ? error : rules_compare(rule, negated, &value, sizeof value);
}

static int rules_meta_lo(struct nftnl_rule *rule, uint32_t key, bool negated)
{
	char name[16] = "lo";
	int error = rules_meta(rule, key);

	return error ? error : rules_compare(rule, negated, name, sizeof name);
}

static int rules_payload(struct nftnl_rule *rule, uint32_t base, uint32_t offset, uint32_t length)
{
	struct nftnl_expr *expr = rules_expr(rule, "payload");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, length);
	return 0;
}

static int rules_mask(struct nftnl_rule *rule, const void *mask, uint32_t length)
{
	static const uint8_t zero[4];
	struct nftnl_expr *expr = rules_expr(rule, "bitwise");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, length);
	if (nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, mask, length) ||
	    nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, zero, length))
		return -ENOMEM;
	return 0;
}

static int rules_lookup(struct nftnl_rule *rule, const struct plan_match *match)
{
	struct nftnl_expr *expr = rules_expr(rule, "lookup");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SET_ID, match->set + 1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS, match->negated ? NFT_LOOKUP_F_INV : 0);
	return nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, plan_set_rows[match->set].name) ? -ENOMEM : 0;
}

static int rules_invalid(struct nftnl_rule *rule)
{
	const uint32_t invalid = NF_CT_STATE_INVALID_BIT, zero = 0;
	struct nftnl_expr *expr = rules_expr(rule, "ct");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_STATE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	return rules_mask(rule, &invalid, sizeof invalid) || rules_compare(rule, true, &zero, sizeof zero) ? -ENOMEM : 0;
}

static int rules_local(struct nftnl_rule *rule, bool negated)
{
	const uint32_t local = RTN_LOCAL;
	struct nftnl_expr *expr = rules_expr(rule, "fib");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
	return rules_compare(rule, negated, &local, sizeof local);
}

/* Whether the packet's socket is bound to all addresses; without a socket, or with one in TIME_WAIT, the rule ends here. */
static int rules_socket(struct nftnl_rule *rule, enum nft_cmp_ops how, uint8_t wildcard)
{
	struct nftnl_expr *expr = rules_expr(rule, "socket");

	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_SOCKET_KEY, NFT_SOCKET_WILDCARD);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_SOCKET_DREG, NFT_REG_1);
	return rules_compare_by(rule, how, &wildcard, sizeof wildcard);
}

/* Of the flags in `mask`, exactly `flags` are set. */
static int rules_flags(struct nftnl_rule *rule, bool negated, uint8_t mask, uint8_t flags)
{
	int error = rules_meta_u8(rule, NFT_META_L4PROTO, false, IPPROTO_TCP);

	if (!error)
		error = rules_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, RULES_TCP_FLAGS, 1);
	if (!error)
		error = rules_mask(rule, &mask, sizeof mask);
	return error ? error : rules_compare(rule, negated, &flags, sizeof flags);
}

static int rules_address(struct nftnl_rule *rule, const struct plan_match *match)
{
	bool ipv4 = plan_set_rows[match->set].type == PLAN_TYPE_IPV4, source = match->kind == PLAN_MATCH_SOURCE;
	uint32_t length = ipv4 ? 4 : 16;
	uint32_t offset = (ipv4 ? 12 : 8) + (source ? 0 : length);
	int error = rules_meta_u8(rule, NFT_META_NFPROTO, false, ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6);

	if (!error)
		error = rules_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, offset, length);
	return error ? error : rules_lookup(rule, match);
}

static int rules_port(struct nftnl_rule *rule, const struct plan_match *match)
{
	int error = rules_meta_u8(rule, NFT_META_L4PROTO, false, IPPROTO_TCP);

	if (!error)
		error = rules_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, match->kind == PLAN_MATCH_SOURCE_PORT ? 0 : 2, 2);
	return error ? error : rules_lookup(rule, match);
}

static int rules_interface(struct nftnl_rule *rule, const struct plan_match *match)
{
	int error = rules_meta(rule, match->kind == PLAN_MATCH_IN_INTERFACE ? NFT_META_IIFNAME : NFT_META_OIFNAME);

	return error ? error : rules_lookup(rule, match);
}

static int rules_match(struct nftnl_rule *rule, const struct plan_match *match)
{
	switch (match->kind) {
	case PLAN_MATCH_TCP:
		return rules_meta_u8(rule, NFT_META_L4PROTO, match->negated, IPPROTO_TCP);
	case PLAN_MATCH_SYN:
		return rules_flags(rule, match->negated, RULES_FIN | RULES_SYN | RULES_RST | RULES_ACK, RULES_SYN);
	case PLAN_MATCH_IPV4:
		return rules_meta_u8(rule, NFT_META_NFPROTO, match->negated, NFPROTO_IPV4);
	case PLAN_MATCH_IPV6:
		return rules_meta_u8(rule, NFT_META_NFPROTO, match->negated, NFPROTO_IPV6);
	case PLAN_MATCH_ENDING:
		return rules_flags(rule, !match->negated, RULES_FIN | RULES_RST, 0);
	case PLAN_MATCH_OWN_SOCKET:
		return rules_socket(rule, match->negated ? NFT_CMP_NEQ : NFT_CMP_EQ, 0);
	case PLAN_MATCH_SOCKET: /* bound to all or not: a comparison in place of the set { 0, 1 } */
		return rules_socket(rule, NFT_CMP_LTE, 1);
	case PLAN_MATCH_INVALID:
		return rules_invalid(rule);
	case PLAN_MATCH_IN_LO:
		return rules_meta_lo(rule, NFT_META_IIFNAME, match->negated);
	case PLAN_MATCH_OUT_LO:
		return rules_meta_lo(rule, NFT_META_OIFNAME, match->negated);
	case PLAN_MATCH_LOCAL:
		return rules_local(rule, match->negated);
	case PLAN_MATCH_UID:
		return rules_meta_u32(rule, NFT_META_SKUID, match->negated, match->value);
	case PLAN_MATCH_GID:
		return rules_meta_u32(rule, NFT_META_SKGID, match->negated, match->value);
	case PLAN_MATCH_IN_INTERFACE:
	case PLAN_MATCH_OUT_INTERFACE:
		return rules_interface(rule, match);
	case PLAN_MATCH_SOURCE:
	case PLAN_MATCH_DESTINATION:
		return rules_address(rule, match);
	case PLAN_MATCH_SOURCE_PORT:
	case PLAN_MATCH_DESTINATION_PORT:
		return rules_port(rule, match);
	}
	return -EINVAL;
}

static int rules_redirect(struct nftnl_rule *rule, uint16_t port)
{
	struct nftnl_expr *load = rules_expr(rule, "immediate"), *redirect = rules_expr(rule, "redir");

	if (!load || !redirect)
		return -ENOMEM;
	port = htons(port);
	nftnl_expr_set_u32(load, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set_u32(redirect, NFTNL_EXPR_REDIR_REG_PROTO_MIN, NFT_REG_1);
	nftnl_expr_set_u32(redirect, NFTNL_EXPR_REDIR_REG_PROTO_MAX, NFT_REG_1);
	nftnl_expr_set_u32(redirect, NFTNL_EXPR_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
	return nftnl_expr_set(load, NFTNL_EXPR_IMM_DATA, &port, sizeof port) ? -ENOMEM : 0;
}

static int rules_verdict(struct nftnl_rule *rule, const struct plan_rule *plan)
{
	static const int codes[] = {[PLAN_ACCEPT] = NF_ACCEPT, [PLAN_DROP] = NF_DROP, [PLAN_JUMP] = NFT_JUMP};
	struct nftnl_expr *expr;

	if (plan->verdict == PLAN_REDIRECT)
		return rules_redirect(rule, plan->port);
	expr = rules_expr(rule, "immediate");
	if (!expr)
		return -ENOMEM;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)codes[plan->verdict]);
	if (plan->verdict == PLAN_JUMP)
		return nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, plan_chain_rows[plan->target].name) ? -ENOMEM : 0;
	return 0;
}

/* --- objects --- */

static struct nftnl_udata_buf *rules_userdata(uint8_t comment_type, const char *comment)
{
	struct nftnl_udata_buf *buf = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);

	if (buf)
		nftnl_udata_put_strz(buf, comment_type, comment);
	return buf;
}

static struct nftnl_rule *rules_make_rule(const struct plan_rule *plan)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nftnl_udata_buf *userdata = rules_userdata(NFTNL_UDATA_RULE_COMMENT, plan->comment);
	struct nftnl_expr *counter;
	int error = rule && userdata ? 0 : -ENOMEM;

	for (size_t i = 0; i < plan->match_count && !error; i++)
		error = rules_match(rule, &plan->matches[i]);
	if (error)
		goto fail;
	counter = rules_expr(rule, "counter");
	if (!counter || rules_verdict(rule, plan))
		goto fail;
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_PACKETS, 0);
	nftnl_expr_set_u64(counter, NFTNL_EXPR_CTR_BYTES, 0);
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, PLAN_TABLE);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, plan_chain_rows[plan->chain].name);
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
	nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(userdata), nftnl_udata_buf_len(userdata));
	nftnl_udata_buf_free(userdata);
	return rule;
fail:
	if (userdata)
		nftnl_udata_buf_free(userdata);
	if (rule)
		nftnl_rule_free(rule);
	return NULL;
}

static struct nftnl_chain *rules_make_chain(const struct plan_chain *row)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (!chain)
		return NULL;
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, PLAN_TABLE);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, row->name);
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_FAMILY, NFPROTO_INET);
	if (!row->type)
		return chain;
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, row->type);
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, row->hook == PLAN_HOOK_OUTPUT ? NF_INET_LOCAL_OUT : NF_INET_PRE_ROUTING);
	nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, row->priority);
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	return chain;
}

static uint32_t rules_key_type(enum plan_type type)
{
	static const uint32_t types[] = {[PLAN_TYPE_INTERFACE] = RULES_TYPE_INTERFACE,
	                                 [PLAN_TYPE_IPV4] = RULES_TYPE_IPV4,
	                                 [PLAN_TYPE_IPV6] = RULES_TYPE_IPV6,
	                                 [PLAN_TYPE_PORT] = RULES_TYPE_PORT};

	return types[type];
}

static struct nftnl_set *rules_make_set(enum plan_set_id id)
{
	const struct plan_set_row *row = &plan_set_rows[id];
	bool interval = row->type != PLAN_TYPE_INTERFACE;
	struct nftnl_udata_buf *userdata = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
	struct nftnl_set *set = nftnl_set_alloc();

	if (!userdata || !set)
		goto fail;
	nftnl_udata_put_u32(userdata, NFTNL_UDATA_SET_KEYBYTEORDER, interval ? RULES_ORDER_NETWORK : RULES_ORDER_HOST);
	nftnl_udata_put_strz(userdata, NFTNL_UDATA_SET_COMMENT, row->comment);
	nftnl_set_set_str(set, NFTNL_SET_TABLE, PLAN_TABLE);
	nftnl_set_set_str(set, NFTNL_SET_NAME, row->name);
	nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, rules_key_type(row->type));
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, (uint32_t)plan_key_length(row->type));
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, interval ? NFT_SET_INTERVAL : 0);
	nftnl_set_set_u32(set, NFTNL_SET_ID, id + 1);
	nftnl_set_set_data(set, NFTNL_SET_USERDATA, nftnl_udata_buf_data(userdata), nftnl_udata_buf_len(userdata));
	nftnl_udata_buf_free(userdata);
	return set;
fail:
	if (userdata)
		nftnl_udata_buf_free(userdata);
	if (set)
		nftnl_set_free(set);
	return NULL;
}

static int rules_add_element(struct nftnl_set *set, const uint8_t *key, size_t length, uint32_t flags, bool open_ended)
{
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();
	struct nftnl_udata_buf *userdata;

	if (!element)
		return -ENOMEM;
	nftnl_set_elem_add(set, element);
	if (nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key, (uint32_t)length))
		return -ENOMEM;
	if (flags)
		nftnl_set_elem_set_u32(element, NFTNL_SET_ELEM_FLAGS, flags);
	if (!open_ended)
		return 0;
	/* nft's own mark for a range without an end, so that it lists the set as it was meant. */
	userdata = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
	if (!userdata)
		return -ENOMEM;
	nftnl_udata_put_u32(userdata, NFTNL_UDATA_SET_ELEM_FLAGS, NFTNL_SET_ELEM_F_INTERVAL_OPEN);
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_USERDATA, nftnl_udata_buf_data(userdata), nftnl_udata_buf_len(userdata));
	nftnl_udata_buf_free(userdata);
	return 0;
}

/* The key behind `last`; false when there is none. */
static bool rules_next_key(const uint8_t *last, size_t length, uint8_t *next)
{
	size_t i = length;

	memcpy(next, last, length);
	while (i > 0 && ++next[i - 1] == 0)
		i--;
	return i > 0;
}

/* The kernel keeps an interval as its first key and an end mark behind its last. Like nft, open with an end mark at zero. */
static int rules_add_ranges(struct nftnl_set *set, enum plan_type type, const struct plan_set *plan)
{
	static const uint8_t zero[16];
	size_t length = plan_key_length(type);
	uint8_t end[16];
	int error = 0;

	if (type != PLAN_TYPE_INTERFACE && memcmp(plan->ranges[0].first, zero, length))
		error = rules_add_element(set, zero, length, NFT_SET_ELEM_INTERVAL_END, false);
	for (size_t i = 0; i < plan->count && !error; i++) {
		const struct plan_range *range = &plan->ranges[i];
		bool ends = rules_next_key(range->last, length, end);

		error = rules_add_element(set, range->first, length, 0, type != PLAN_TYPE_INTERFACE && !ends);
		if (!error && type != PLAN_TYPE_INTERFACE && ends)
			error = rules_add_element(set, end, length, NFT_SET_ELEM_INTERVAL_END, false);
	}
	return error;
}

/* --- messages --- */

static int rules_send_table(struct batch *batch, uint16_t type, uint16_t flags, const char *what)
{
	struct nlmsghdr *message = batch_begin(batch, type, flags, "%s the table inet " PLAN_TABLE, what);
	struct nftnl_table *table = nftnl_table_alloc();
	struct nftnl_udata_buf *userdata = rules_userdata(NFTNL_UDATA_TABLE_COMMENT, PLAN_TABLE_COMMENT);
	int error = -ENOMEM;

	if (!message || !table || !userdata)
		goto out;
	nftnl_table_set_str(table, NFTNL_TABLE_NAME, PLAN_TABLE);
	nftnl_table_set_u32(table, NFTNL_TABLE_FAMILY, NFPROTO_INET);
	if (type == NFT_MSG_NEWTABLE)
		nftnl_table_set_data(table, NFTNL_TABLE_USERDATA, nftnl_udata_buf_data(userdata), nftnl_udata_buf_len(userdata));
	nftnl_table_nlmsg_build_payload(message, table);
	batch_end(batch);
	error = 0;
out:
	if (userdata)
		nftnl_udata_buf_free(userdata);
	if (table)
		nftnl_table_free(table);
	return error;
}

static int rules_send_elements(struct batch *batch, struct nftnl_set *set, const char *name)
{
	struct nftnl_set_elems_iter *iter = nftnl_set_elems_iter_create(set);
	struct nlmsghdr *message;
	int more = iter ? 1 : -ENOMEM;

	while (more > 0) {
		message = batch_begin(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, "fill the set %s", name);
		if (!message) {
			more = -ENOMEM;
			break;
		}
		more = nftnl_set_elems_nlmsg_build_payload_iter(message, iter);
		batch_end(batch);
	}
	if (iter)
		nftnl_set_elems_iter_destroy(iter);
	return more;
}

static int rules_send_set(struct batch *batch, enum plan_set_id id, const struct plan_set *plan)
{
	const char *name = plan_set_rows[id].name;
	struct nlmsghdr *message = batch_begin(batch, NFT_MSG_NEWSET, NLM_F_CREATE, "add the set %s", name);
	struct nftnl_set *set = rules_make_set(id);
	int error = message && set ? 0 : -ENOMEM;

	if (!error) {
		nftnl_set_nlmsg_build_payload(message, set);
		batch_end(batch);
		error = rules_add_ranges(set, plan_set_rows[id].type, plan);
	}
	if (!error)
		error = rules_send_elements(batch, set, name);
	if (set)
		nftnl_set_free(set);
	return error;
}

static int rules_send_chain(struct batch *batch, const struct plan_chain *row)
{
	struct nlmsghdr *message = batch_begin(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE, "add the %s chain %s",
	                                       row->type ? row->type : "plain", row->name);
	struct nftnl_chain *chain = rules_make_chain(row);

	if (message && chain) {
		nftnl_chain_nlmsg_build_payload(message, chain);
		batch_end(batch);
	}
	if (chain)
		nftnl_chain_free(chain);
	return message && chain ? 0 : -ENOMEM;
}

static int rules_send_rule(struct batch *batch, const struct plan_rule *plan)
{
	struct nlmsghdr *message = batch_begin(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
	                                       "add the rule \"%s\" to the chain %s", plan->comment,
	                                       plan_chain_rows[plan->chain].name);
	struct nftnl_rule *rule = rules_make_rule(plan);

	if (message && rule) {
		nftnl_rule_nlmsg_build_payload(message, rule);
		batch_end(batch);
	}
	if (rule)
		nftnl_rule_free(rule);
	return message && rule ? 0 : -ENOMEM;
}

/* A table must exist to be deleted, so both begin by adding one. */
int rules_add_remove(struct batch *batch)
{
	int error = rules_send_table(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, "look for");

	return error ? error : rules_send_table(batch, NFT_MSG_DELTABLE, 0, "delete");
}

int rules_add_install(struct batch *batch, const struct plan *plan)
{
	int error = rules_add_remove(batch);

	if (!error)
		error = rules_send_table(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, "add");
	for (size_t i = 0; i < PLAN_SET_COUNT && !error; i++)
		if (plan->sets[i].count)
			error = rules_send_set(batch, (enum plan_set_id)i, &plan->sets[i]);
	for (size_t i = 0; i < PLAN_CHAIN_COUNT && !error; i++)
		if (plan->chains[i])
			error = rules_send_chain(batch, &plan_chain_rows[i]);
	for (size_t i = 0; i < plan->rule_count && !error; i++)
		error = rules_send_rule(batch, &plan->rules[i]);
	return error;
}
