#include "init/batch.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "init/capability.h"
#include "init/netlink.h"
#include "lib/text.h"

struct batch_message {
	size_t at; /* in bytes */
	char label[120];
};

/* Sequence numbers are indices into messages; the first and the last message are the batch's own begin and end. */
struct batch {
	char *bytes; /* owned */
	size_t length, capacity;
	struct batch_message *messages; /* owned */
	size_t count;
	char lacks[32]; /* an expression */
};

static struct nlmsghdr *batch_add(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct batch_message *messages;
	struct batch_message *message;

	if (batch->capacity - batch->length < BATCH_MESSAGE_MAX) {
		size_t capacity = 2 * batch->capacity + 2 * BATCH_MESSAGE_MAX;
		char *bytes = realloc(batch->bytes, capacity);

		if (!bytes)
			return NULL;
		batch->bytes = bytes;
		batch->capacity = capacity;
	}
	messages = reallocarray(batch->messages, batch->count + 1, sizeof *messages);
	if (!messages)
		return NULL;
	batch->messages = messages;
	message = &messages[batch->count];
	message->at = batch->length;
	message->label[0] = '\0';
	return netlink_begin(batch->bytes + batch->length, type, flags, (uint32_t)batch->count++, family, resource);
}

int batch_new(struct batch **out)
{
	struct batch *batch = calloc(1, sizeof *batch);

	if (!batch || !batch_add(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)) {
		batch_free(batch);
		return -ENOMEM;
	}
	batch_end(batch);
	*out = batch;
	return 0;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	free(batch->bytes);
	free(batch->messages);
	free(batch);
}

struct nlmsghdr *batch_begin(struct batch *batch, uint16_t type, uint16_t flags, const char *label, ...)
{
	struct nlmsghdr *message = batch_add(batch, NFNL_SUBSYS_NFTABLES << 8 | type, flags | NLM_F_ACK, NFPROTO_INET, 0);
	va_list arguments;

	if (!message)
		return NULL;
	va_start(arguments, label);
	vsnprintf(batch->messages[batch->count - 1].label, sizeof batch->messages->label, label, arguments);
	va_end(arguments);
	return message;
}

void batch_end(struct batch *batch)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)(batch->bytes + batch->length);

	batch->length += NLMSG_ALIGN(message->nlmsg_len);
}

int batch_each(const struct batch *batch, int (*each)(const struct nlmsghdr *message, void *context), void *context)
{
	int status = 0;

	for (size_t i = 1; i < batch->count && !status; i++)
		status = each((const struct nlmsghdr *)(batch->bytes + batch->messages[i].at), context);
	return status;
}

/* The kernel points at the list element of the refused expression; its first attribute is the name. */
static void batch_find_expression(const struct batch *batch, const struct netlink_error *error, char *name, size_t size)
{
	const char *message = batch->bytes + batch->messages[error->sequence].at;
	const struct nlmsghdr *header = (const struct nlmsghdr *)message;
	const struct nlattr *element, *found;

	if (header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE) || error->offset % NLA_ALIGNTO ||
	    error->offset < sizeof *header || error->offset + sizeof *element > header->nlmsg_len)
		return;
	element = (const struct nlattr *)(message + error->offset);
	if ((element->nla_type & NLA_TYPE_MASK) != NFTA_LIST_ELEM || error->offset + element->nla_len > header->nlmsg_len)
		return;
	found = netlink_find_nested(element, NFTA_EXPR_NAME);
	if (found)
		snprintf(name, size, "%.*s", (int)(found->nla_len - NLA_HDRLEN), (const char *)found + NLA_HDRLEN);
}

/* A batch without its end is checked and then dropped. */
int batch_try(struct batch *batch, struct netlink *netlink, struct text *error)
{
	struct netlink_error refusal;
	const char *label = "change the table inet lapse";
	char expression[32] = "";
	int status;

	status = netlink_exchange(netlink, batch->bytes, batch->length, NULL, NULL, &refusal);
	if (!status)
		return 0;
	if (refusal.code && refusal.sequence < batch->count) {
		batch_find_expression(batch, &refusal, expression, sizeof expression);
		if (batch->messages[refusal.sequence].label[0])
			label = batch->messages[refusal.sequence].label;
	}
	if (status == -ENOENT || status == -EOPNOTSUPP)
		memcpy(batch->lacks, expression, sizeof batch->lacks);
	batch_explain(status, label, expression, refusal.message, error);
	return status;
}

int batch_commit(struct batch *batch, struct netlink *netlink, struct text *error)
{
	if (!batch_add(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)) {
		text_string(error, "out of memory");
		return -ENOMEM;
	}
	batch_end(batch);
	return batch_try(batch, netlink, error);
}

const char *batch_lacks(const struct batch *batch)
{
	return batch->lacks;
}

/* --- errors --- */

static const char *batch_expression_config(const char *expression)
{
	static const struct {
		const char *expression, *config;
	} rows[] = {
		{"ct", "CONFIG_NFT_CT"},
		{"fib", "CONFIG_NFT_FIB_INET"},
		{"redir", "CONFIG_NFT_REDIR"},
		{"counter", "CONFIG_NFT_COUNTER"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!strcmp(rows[i].expression, expression))
			return rows[i].config;
	return "CONFIG_NF_TABLES";
}

void batch_explain(int code, const char *label, const char *expression, const char *words, struct text *out)
{
	text_printf(out, "cannot %s: %s", label, strerror(-code));
	if (words[0])
		text_printf(out, " (%s)", words);
	switch (-code) {
	case EPERM:
	case EACCES:
		text_string(out, "; it needs CAP_NET_ADMIN in this network namespace");
		capability_explain(out);
		break;
	case ENOENT:
		if (expression[0])
			text_printf(out, "; the kernel has no nf_tables expression \"%s\": it needs %s", expression,
			            batch_expression_config(expression));
		else
			text_string(out, "; the kernel lacks a part of nf_tables: it needs CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, "
			                 "CONFIG_NFT_REDIR, CONFIG_NFT_CT and CONFIG_NFT_FIB_INET");
		break;
	case EAFNOSUPPORT:
		text_string(out, "; the kernel has no table family inet: it needs CONFIG_NF_TABLES_INET");
		break;
	case EOPNOTSUPP:
	case EPROTONOSUPPORT:
		text_string(out, "; the kernel has no nf_tables, or not this part of it: it needs CONFIG_NF_TABLES, "
		                 "CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT");
		break;
	case ENOMEM:
	case ENOBUFS:
	case EMSGSIZE:
		text_string(out, "; give this container more memory, or name fewer ports and subnets");
		break;
	default:
		break;
	}
}
