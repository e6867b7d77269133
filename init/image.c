#include "init/image.h"

#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init/batch.h"
#include "init/netlink.h"
#include "init/plan.h"
#include "init/rule_text.h"
#include "init/show.h"
#include "lib/text.h"

/* The keys of one set, as the kernel has them: range begins and range ends. */
struct image_key {
	uint8_t bytes[16];
	bool end;
};

struct image_keys {
	char *set; /* owned */
	enum plan_type type;
	struct image_key *list; /* owned */
	size_t count, room;
};

/* An image under construction: elements come in messages of their own. */
struct image_build {
	struct image image;
	struct image_keys *keys; /* owned, one per set */
	size_t key_count;
};

static int image_add(struct image *image, enum image_kind kind, const char *name, const char *content, const char *comment,
                     struct image_item **added)
{
	struct image_item *items = reallocarray(image->items, image->count + 1, sizeof *items), *item;

	if (!items)
		return -ENOMEM;
	image->items = items;
	item = &items[image->count++];
	*item = (struct image_item){.kind = kind, .name = strdup(name), .content = strdup(content), .comment = strdup(comment)};
	if (added)
		*added = item;
	return item->name && item->content && item->comment ? 0 : -ENOMEM;
}

static bool image_is_ours(const char *table)
{
	return table && !strcmp(table, PLAN_TABLE);
}

/* --- chains --- */

static int image_take_chain(struct image *image, const struct nftnl_chain *chain)
{
	TEXT_ON_STACK(head, 256);

	if (!image_is_ours(nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE)))
		return 0;
	if (nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM)) {
		uint32_t hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);

		text_printf(&head, "type %s hook %s priority %d; policy %s;", nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE),
		            hook == NF_INET_PRE_ROUTING  ? "prerouting"
		            : hook == NF_INET_LOCAL_OUT ? "output"
		                                        : "other",
		            nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO),
		            nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_ACCEPT ? "accept" : "drop");
	}
	return image_add(image, IMAGE_CHAIN, nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME), head.data, "", NULL);
}

/* --- rules --- */

struct image_rule {
	struct text content, text;
	struct rule_text words;
	uint64_t packets, bytes;
	char content_bytes[2048], text_bytes[2048];
};

/* An attribute of at most RULE_TEXT_DATA bytes; NULL when it is longer or not there. */
static const void *image_data(const struct nftnl_expr *expr, uint16_t attribute, size_t *length)
{
	uint32_t bytes = 0;
	const void *data = nftnl_expr_is_set(expr, attribute) ? nftnl_expr_get(expr, attribute, &bytes) : NULL;

	*length = bytes;
	return bytes <= RULE_TEXT_DATA ? data : NULL;
}

static bool image_say_bitwise(struct rule_text *words, const struct nftnl_expr *expr)
{
	size_t length, xor_length;
	const void *mask = image_data(expr, NFTNL_EXPR_BITWISE_MASK, &length), *xor = image_data(expr, NFTNL_EXPR_BITWISE_XOR, &xor_length);

	return mask && xor && length == xor_length && nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_OP) == NFT_BITWISE_BOOL &&
	       rule_text_mask(words, mask, xor, length);
}

static bool image_say_range(struct rule_text *words, const struct nftnl_expr *expr)
{
	size_t length, to_length;
	const void *from = image_data(expr, NFTNL_EXPR_RANGE_FROM_DATA, &length), *to = image_data(expr, NFTNL_EXPR_RANGE_TO_DATA, &to_length);

	return from && to && length == to_length && rule_text_range(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_RANGE_OP), from, to, length);
}

static bool image_say_immediate(struct rule_text *words, const struct nftnl_expr *expr, const char *raw)
{
	size_t length;
	const void *data = image_data(expr, NFTNL_EXPR_IMM_DATA, &length);

	if (nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT))
		return rule_text_verdict(words, (int32_t)nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT),
		                         nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_CHAIN) ? nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN) : NULL);
	return data && rule_text_immediate(words, data, length, raw);
}

/* What the expression says in nft's words; false when it is none of those that are known. */
static bool image_say(struct rule_text *words, const char *name, const struct nftnl_expr *expr, const char *raw)
{
	const void *data;
	size_t length;

	if (!strcmp(name, "meta") && nftnl_expr_is_set(expr, NFTNL_EXPR_META_DREG))
		return rule_text_meta(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY), nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG));
	if (!strcmp(name, "ct") && nftnl_expr_is_set(expr, NFTNL_EXPR_CT_DREG) && !nftnl_expr_is_set(expr, NFTNL_EXPR_CT_DIR))
		return rule_text_ct(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_KEY), nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_DREG));
	if (!strcmp(name, "payload") && nftnl_expr_is_set(expr, NFTNL_EXPR_PAYLOAD_DREG))
		return rule_text_payload(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_BASE),
		                         nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET), nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_LEN),
		                         nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_DREG));
	if (!strcmp(name, "fib"))
		return rule_text_fib(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_FIB_RESULT), nftnl_expr_get_u32(expr, NFTNL_EXPR_FIB_FLAGS));
	if (!strcmp(name, "socket"))
		return rule_text_socket(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_SOCKET_KEY));
	if (!strcmp(name, "bitwise"))
		return image_say_bitwise(words, expr);
	if (!strcmp(name, "range"))
		return image_say_range(words, expr);
	if (!strcmp(name, "cmp")) {
		data = image_data(expr, NFTNL_EXPR_CMP_DATA, &length);
		return data && rule_text_compare(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP), data, length);
	}
	if (!strcmp(name, "lookup") && !nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG))
		return rule_text_lookup(words, nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET),
		                        nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV);
	if (!strcmp(name, "immediate"))
		return image_say_immediate(words, expr, raw);
	if (!strcmp(name, "redir"))
		return rule_text_redirect(words, nftnl_expr_get_u32(expr, NFTNL_EXPR_REDIR_FLAGS));
	return false;
}

static int image_take_expr(struct nftnl_expr *expr, void *context)
{
	struct image_rule *rule = context;
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	TEXT_ON_STACK(raw, 300);
	char text[256];

	if (!strcmp(name, "counter")) {
		rule->packets = nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_PACKETS);
		rule->bytes = nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_BYTES);
		text_string(&rule->content, "[ counter ] ");
		rule_text_counter(&rule->words);
		return 0;
	}
	if (nftnl_expr_snprintf(text, sizeof text, expr, NFTNL_OUTPUT_DEFAULT, 0) < 0)
		text[0] = '\0';
	text_printf(&raw, "[ %s %s]", name, text);
	text_printf(&rule->content, "%s ", raw.data);
	if (!image_say(&rule->words, name, expr, raw.data))
		rule_text_other(&rule->words, raw.data);
	return 0;
}

static int image_take_userdata(const struct nftnl_udata *attribute, void *context)
{
	struct text *comment = context;
	uint8_t length = nftnl_udata_len(attribute);

	if (nftnl_udata_type(attribute) == NFTNL_UDATA_RULE_COMMENT && length > 0)
		text_append(comment, nftnl_udata_get(attribute), length - 1u);
	return 0;
}

static int image_take_rule(struct image *image, struct nftnl_rule *rule)
{
	struct image_rule found = {0};
	struct image_item *item;
	TEXT_ON_STACK(comment, NFT_USERDATA_MAXLEN);
	const void *userdata;
	uint32_t length;
	int error;

	if (!image_is_ours(nftnl_rule_get_str(rule, NFTNL_RULE_TABLE)))
		return 0;
	text_init(&found.content, found.content_bytes, sizeof found.content_bytes);
	text_init(&found.text, found.text_bytes, sizeof found.text_bytes);
	rule_text_begin(&found.words, &found.text);
	nftnl_expr_foreach(rule, image_take_expr, &found);
	rule_text_end(&found.words);
	userdata = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &length);
	if (userdata)
		nftnl_udata_parse(userdata, length, image_take_userdata, &comment);
	error = image_add(image, IMAGE_RULE, nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN), found.content.data, comment.data, &item);
	if (error)
		return error;
	item->packets = found.packets;
	item->bytes = found.bytes;
	item->text = strdup(found.text.data);
	return item->text ? 0 : -ENOMEM;
}

/* --- sets --- */

static enum plan_type image_type(uint32_t flags, uint32_t length)
{
	if (length == 16)
		return flags & NFT_SET_INTERVAL ? PLAN_TYPE_IPV6 : PLAN_TYPE_INTERFACE;
	return length == 2 ? PLAN_TYPE_PORT : PLAN_TYPE_IPV4;
}

static int image_take_set(struct image_build *build, const struct nftnl_set *set)
{
	const char *name = nftnl_set_get_str(set, NFTNL_SET_NAME);
	struct image_keys *keys;

	if (!image_is_ours(nftnl_set_get_str(set, NFTNL_SET_TABLE)))
		return 0;
	keys = reallocarray(build->keys, build->key_count + 1, sizeof *keys);
	if (!keys)
		return -ENOMEM;
	build->keys = keys;
	keys[build->key_count] = (struct image_keys){
		.set = strdup(name), .type = image_type(nftnl_set_get_u32(set, NFTNL_SET_FLAGS), nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN))};
	if (!keys[build->key_count++].set)
		return -ENOMEM;
	return image_add(&build->image, IMAGE_SET, name, "", "", NULL);
}

static int image_take_element(const struct nlattr *element, void *context)
{
	const struct nlattr *data = netlink_find_nested(element, NFTA_SET_ELEM_KEY), *flags;
	const struct nlattr *value = data ? netlink_find_nested(data, NFTA_DATA_VALUE) : NULL;
	struct image_keys *keys = context;
	struct image_key *list, *key;
	const void *bytes;
	uint32_t bits = 0;
	size_t length;

	if (!value) /* a catch-all, which is none of ours */
		return 0;
	if (keys->count == keys->room) {
		list = reallocarray(keys->list, keys->room ? keys->room * 2 : 16, sizeof *list);
		if (!list)
			return -ENOMEM;
		keys->list = list;
		keys->room = keys->room ? keys->room * 2 : 16;
	}
	key = &keys->list[keys->count++];
	*key = (struct image_key){0};
	bytes = netlink_bytes(value, &length);
	memcpy(key->bytes, bytes, length < sizeof key->bytes ? length : sizeof key->bytes);
	flags = netlink_find_nested(element, NFTA_SET_ELEM_FLAGS);
	key->end = flags && !netlink_get_u32(flags, &bits) && (bits & NFT_SET_ELEM_INTERVAL_END);
	return 0;
}

/* Without libnftnl, which cannot read the lists of elements that it writes. */
static int image_take_elements(struct image_build *build, const struct nlmsghdr *message)
{
	const struct nlattr *table = netlink_find(message, NFTA_SET_ELEM_LIST_TABLE);
	const struct nlattr *set = netlink_find(message, NFTA_SET_ELEM_LIST_SET);
	const struct nlattr *elements = netlink_find(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	size_t length;

	if (!table || !set || !elements || !image_is_ours(netlink_bytes(table, &length)))
		return 0;
	for (size_t i = 0; i < build->key_count; i++)
		if (!strcmp(build->keys[i].set, netlink_bytes(set, &length)))
			return netlink_each_nested(elements, image_take_element, &build->keys[i]);
	return 0;
}

/* By key; where one range ends and the next begins, the end comes first. */
static int image_compare_keys(const void *a, const void *b)
{
	const struct image_key *left = a, *right = b;
	int order = memcmp(left->bytes, right->bytes, sizeof left->bytes);

	return order ? order : (int)right->end - (int)left->end;
}

static void image_key_before(const struct image_key *key, size_t length, uint8_t *out)
{
	size_t i = length;

	memcpy(out, key->bytes, 16);
	while (i > 0 && out[i - 1]-- == 0)
		i--;
}

static void image_show_range(const struct image_keys *keys, size_t at, const char *separator, FILE *to)
{
	size_t length = plan_key_length(keys->type);
	struct plan_range range = {0};
	TEXT_ON_STACK(shown, SHOW_TEXT_SIZE);

	memcpy(range.first, keys->list[at].bytes, sizeof range.first);
	if (keys->type == PLAN_TYPE_INTERFACE)
		memcpy(range.last, range.first, sizeof range.last);
	else if (at + 1 < keys->count && keys->list[at + 1].end)
		image_key_before(&keys->list[at + 1], length, range.last);
	else
		memset(range.last, 0xff, length);
	show_range(keys->type, &range, &shown);
	fprintf(to, "%s %s", separator, shown.data);
}

static int image_finish_set(struct image_item *item, struct image_keys *keys)
{
	const char *separator = "";
	char *content = NULL;
	size_t size;
	FILE *to = open_memstream(&content, &size);

	if (!to)
		return -ENOMEM;
	if (keys->count)
		qsort(keys->list, keys->count, sizeof *keys->list, image_compare_keys);
	fprintf(to, "type %s; elements = {", show_type_name(keys->type));
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->list[i].end)
			continue;
		image_show_range(keys, i, separator, to);
		separator = ",";
	}
	fputs(" }", to);
	if (fclose(to)) {
		free(content);
		return -ENOMEM;
	}
	free(item->content);
	item->content = content;
	return 0;
}

/* --- messages --- */

/* A dormant table has all its rules and none of their effect. */
static int image_take_table(struct image *image, const struct nftnl_table *table)
{
	if (!image_is_ours(nftnl_table_get_str(table, NFTNL_TABLE_NAME)) ||
	    !(nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS) & NFT_TABLE_F_DORMANT))
		return 0;
	return image_add(image, IMAGE_CHAIN, "(all)", "flags dormant; the table is switched off", "", NULL);
}

static int image_take(const struct nlmsghdr *message, void *context)
{
	struct image_build *build = context;
	struct nftnl_chain *chain = NULL;
	struct nftnl_rule *rule = NULL;
	struct nftnl_set *set = NULL;
	struct nftnl_table *table = NULL;
	int error = 0;

	switch (NFNL_MSG_TYPE(message->nlmsg_type)) {
	case NFT_MSG_NEWTABLE:
		table = nftnl_table_alloc();
		error = table && nftnl_table_nlmsg_parse(message, table) == 0 ? image_take_table(&build->image, table) : -ENOMEM;
		break;
	case NFT_MSG_NEWCHAIN:
		chain = nftnl_chain_alloc();
		error = chain && nftnl_chain_nlmsg_parse(message, chain) == 0 ? image_take_chain(&build->image, chain) : -ENOMEM;
		break;
	case NFT_MSG_NEWRULE:
		rule = nftnl_rule_alloc();
		error = rule && nftnl_rule_nlmsg_parse(message, rule) == 0 ? image_take_rule(&build->image, rule) : -ENOMEM;
		break;
	case NFT_MSG_NEWSET:
		set = nftnl_set_alloc();
		error = set && nftnl_set_nlmsg_parse(message, set) == 0 ? image_take_set(build, set) : -ENOMEM;
		break;
	case NFT_MSG_NEWSETELEM:
		error = image_take_elements(build, message);
		break;
	default:
		break;
	}
	if (chain)
		nftnl_chain_free(chain);
	if (rule)
		nftnl_rule_free(rule);
	if (set)
		nftnl_set_free(set);
	if (table)
		nftnl_table_free(table);
	return error;
}

/* Turns collected elements into text and hands the image over, or frees all on error. */
static int image_finish(struct image_build *build, int error, struct image *out)
{
	size_t set = 0;

	for (size_t i = 0; i < build->image.count && !error; i++)
		if (build->image.items[i].kind == IMAGE_SET)
			error = image_finish_set(&build->image.items[i], &build->keys[set++]);
	for (size_t i = 0; i < build->key_count; i++) {
		free(build->keys[i].set);
		free(build->keys[i].list);
	}
	free(build->keys);
	if (error)
		image_free(&build->image);
	else
		*out = build->image;
	return error;
}

int image_expect(const struct batch *batch, struct image *out)
{
	struct image_build build = {0};

	return image_finish(&build, batch_each(batch, image_take, &build), out);
}

static int image_request(struct netlink *netlink, uint16_t type, bool dump, const char *set, struct image_build *build)
{
	char buffer[1024] __attribute__((aligned(8)));
	struct nlmsghdr *message = netlink_begin(buffer, NFNL_SUBSYS_NFTABLES << 8 | type, dump ? NLM_F_DUMP : NLM_F_ACK, 1,
	                                         NFPROTO_INET, 0);
	struct netlink_error refusal;

	/* the table's name is attribute 1 of every kind of request */
	netlink_put_string(message, NFTA_RULE_TABLE, PLAN_TABLE);
	if (set)
		netlink_put_string(message, NFTA_SET_ELEM_LIST_SET, set);
	return netlink_exchange(netlink, message, message->nlmsg_len, image_take, build, &refusal);
}

static int image_take_generation(const struct nlmsghdr *message, void *context)
{
	const struct nlattr *id = netlink_find(message, NFTA_GEN_ID);

	return id ? netlink_get_u32(id, context) : 0;
}

/* The number of the last transaction in this namespace. */
static int image_generation(struct netlink *netlink, uint32_t *id)
{
	char buffer[64] __attribute__((aligned(8)));
	struct nlmsghdr *message = netlink_begin(buffer, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_ACK, 1, NFPROTO_UNSPEC, 0);
	struct netlink_error refusal;

	return netlink_exchange(netlink, message, message->nlmsg_len, image_take_generation, id, &refusal);
}

static int image_read_once(struct netlink *netlink, struct image *out)
{
	struct image_build build = {0};
	int error = image_request(netlink, NFT_MSG_GETTABLE, false, NULL, &build);

	if (!error)
		error = image_request(netlink, NFT_MSG_GETSET, true, NULL, &build);
	for (size_t i = 0; i < build.key_count && !error; i++)
		error = image_request(netlink, NFT_MSG_GETSETELEM, true, build.keys[i].set, &build);
	if (!error)
		error = image_request(netlink, NFT_MSG_GETCHAIN, true, NULL, &build);
	if (!error)
		error = image_request(netlink, NFT_MSG_GETRULE, true, NULL, &build);
	return image_finish(&build, error, out);
}

/* It takes several requests, so again when a transaction came between or within them. */
int image_read(struct netlink *netlink, struct image *out)
{
	enum { TRIES = 100 };
	int error = -EINTR;

	for (int turn = 0; turn < TRIES && error == -EINTR; turn++) {
		struct image image = {0};
		uint32_t before = 0, after = 0;

		error = image_generation(netlink, &before);
		if (!error)
			error = image_read_once(netlink, &image);
		/* Also what failed may have failed since the table was being replaced. */
		if (!image_generation(netlink, &after) && before != after)
			error = -EINTR;
		if (error)
			image_free(&image);
		else
			*out = image;
	}
	return error;
}

void image_free(struct image *image)
{
	for (size_t i = 0; i < image->count; i++) {
		free(image->items[i].name);
		free(image->items[i].content);
		free(image->items[i].comment);
		free(image->items[i].text);
	}
	free(image->items);
	*image = (struct image){0};
}
