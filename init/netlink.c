#include "init/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { NETLINK_DRAIN_ROUNDS = 65536 };

struct netlink {
	struct mnl_socket *socket;
};

int netlink_open(struct netlink **out)
{
	struct netlink *netlink = malloc(sizeof *netlink);
	int on = 1, error;

	if (!netlink)
		return -ENOMEM;
	netlink->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!netlink->socket) {
		error = -errno;
		free(netlink);
		return error;
	}
	if (mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		error = -errno;
		netlink_close(netlink);
		return error;
	}
	/* Both only enrich errors; old kernels lack them. */
	mnl_socket_setsockopt(netlink->socket, NETLINK_EXT_ACK, &on, sizeof on);
	mnl_socket_setsockopt(netlink->socket, NETLINK_CAP_ACK, &on, sizeof on);
	*out = netlink;
	return 0;
}

void netlink_close(struct netlink *netlink)
{
	if (!netlink)
		return;
	mnl_socket_close(netlink->socket);
	free(netlink);
}

/* The kernel takes a batch only whole, and the answers to it wait in our queue, so both buffers must be wide enough. */
static void netlink_widen(struct netlink *netlink, size_t length)
{
	int fd = mnl_socket_get_fd(netlink->socket), size = (int)(length + length / 2 + 65536);

	if (length < 65536)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void netlink_note_error(const struct nlmsghdr *message, struct netlink_error *error)
{
	const struct nlmsgerr *report = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	size_t skip = sizeof *report;

	if (error->code || mnl_nlmsg_get_payload_len(message) < sizeof *report || !report->error)
		return;
	error->code = report->error;
	error->sequence = report->msg.nlmsg_seq;
	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(message->nlmsg_flags & NLM_F_CAPPED))
		skip += MNL_ALIGN(report->msg.nlmsg_len) - sizeof report->msg;
	if (skip > mnl_nlmsg_get_payload_len(message))
		return;
	mnl_attr_for_each(attribute, message, skip) {
		if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_OFFS && mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
			error->offset = mnl_attr_get_u32(attribute);
		if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
			snprintf(error->message, sizeof error->message, "%s", mnl_attr_get_str(attribute));
	}
}

/* The end of a dump may carry an error; and a dump during which the rules changed is not whole (NLM_F_DUMP_INTR): -EINTR. */
static void netlink_note_dump(const struct nlmsghdr *message, struct netlink_error *error)
{
	int code = 0;

	if (message->nlmsg_type == NLMSG_DONE && mnl_nlmsg_get_payload_len(message) >= sizeof code)
		memcpy(&code, mnl_nlmsg_get_payload(message), sizeof code);
	if (!error->code && code < 0)
		error->code = code;
	if (!error->code && (message->nlmsg_flags & NLM_F_DUMP_INTR))
		error->code = -EINTR;
}

/* *status becomes the first failure of `each`, which is then asked no more: the queue is drained all the same. */
static void netlink_take(const char *bytes, size_t length, netlink_each *each, void *context, struct netlink_error *error,
                         int *status)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)bytes;
	int left = (int)length;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_type == NLMSG_ERROR)
			netlink_note_error(message, error);
		else
			netlink_note_dump(message, error);
		if (message->nlmsg_type >= NLMSG_MIN_TYPE && each && !*status)
			*status = each(message, context);
	}
}

/* netfilter answers while the message is being sent, so an empty queue means that nothing more will come. */
int netlink_exchange(struct netlink *netlink, const void *bytes, size_t length, netlink_each *each, void *context,
                     struct netlink_error *error)
{
	char answer[32768] __attribute__((aligned(8)));
	ssize_t got;
	int status = 0;

	*error = (struct netlink_error){0};
	netlink_widen(netlink, length);
	if (mnl_socket_sendto(netlink->socket, bytes, length) < 0)
		return -errno;
	for (;;) {
		got = recv(mnl_socket_get_fd(netlink->socket), answer, sizeof answer, MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return status ? status : error->code;
		if (got < 0)
			return error->code ? error->code : -errno;
		netlink_take(answer, (size_t)got, each, context, error, &status);
	}
}

int netlink_join(struct netlink *netlink, unsigned group, int bytes)
{
	int fd = mnl_socket_get_fd(netlink->socket);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	return mnl_socket_setsockopt(netlink->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0 ? -errno : 0;
}

int netlink_descriptor(const struct netlink *netlink)
{
	return mnl_socket_get_fd(netlink->socket);
}

int netlink_drain(struct netlink *netlink, netlink_each *each, void *context)
{
	char bytes[32768] __attribute__((aligned(8)));
	struct netlink_error error = {0};
	int status = 0;

	for (int round = 0; round < NETLINK_DRAIN_ROUNDS && !status; round++) {
		ssize_t got = recv(mnl_socket_get_fd(netlink->socket), bytes, sizeof bytes, MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN)
			break;
		if (got >= 0)
			netlink_take(bytes, (size_t)got, each, context, &error, &status);
		else if (errno != EINTR)
			status = -errno;
	}
	return status;
}

struct nlmsghdr *netlink_begin(void *at, uint16_t type, uint16_t flags, uint32_t sequence, uint8_t family, uint16_t resource)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(at);
	struct nfgenmsg *netfilter = mnl_nlmsg_put_extra_header(message, sizeof *netfilter);

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = sequence;
	netfilter->nfgen_family = family;
	netfilter->version = NFNETLINK_V0;
	netfilter->res_id = htons(resource);
	return message;
}

void netlink_put_u8(struct nlmsghdr *message, uint16_t type, uint8_t value)
{
	mnl_attr_put_u8(message, type, value);
}

void netlink_put_u16(struct nlmsghdr *message, uint16_t type, uint16_t value)
{
	mnl_attr_put_u16(message, type, htons(value));
}

void netlink_put_u32(struct nlmsghdr *message, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(message, type, htonl(value));
}

void netlink_put_string(struct nlmsghdr *message, uint16_t type, const char *value)
{
	mnl_attr_put_strz(message, type, value);
}

struct nlattr *netlink_nest_begin(struct nlmsghdr *message, uint16_t type)
{
	return mnl_attr_nest_start(message, type);
}

void netlink_nest_end(struct nlmsghdr *message, struct nlattr *nest)
{
	mnl_attr_nest_end(message, nest);
}

const struct nlattr *netlink_find(const struct nlmsghdr *message, uint16_t type)
{
	const struct nlattr *attribute;

	mnl_attr_for_each(attribute, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attribute) == type)
			return attribute;
	return NULL;
}

const struct nlattr *netlink_find_nested(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attribute;

	mnl_attr_for_each_nested(attribute, nest)
		if (mnl_attr_get_type(attribute) == type)
			return attribute;
	return NULL;
}

int netlink_each_nested(const struct nlattr *nest, int (*each)(const struct nlattr *attribute, void *context), void *context)
{
	const struct nlattr *attribute;
	int status = 0;

	mnl_attr_for_each_nested(attribute, nest) {
		status = each(attribute, context);
		if (status)
			break;
	}
	return status;
}

const void *netlink_bytes(const struct nlattr *attribute, size_t *length)
{
	*length = mnl_attr_get_payload_len(attribute);
	return mnl_attr_get_payload(attribute);
}

int netlink_get_u32(const struct nlattr *attribute, uint32_t *value)
{
	if (mnl_attr_validate(attribute, MNL_TYPE_U32) < 0)
		return -EINVAL;
	*value = ntohl(mnl_attr_get_u32(attribute));
	return 0;
}
