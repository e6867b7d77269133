#include "init/cttimeout.h"

#include <assert.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_cttimeout.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "init/netlink.h"

static_assert(CTA_TIMEOUT_TCP_SYN_SENT == CONNTRACK_SYN_SENT + 1 && CTA_TIMEOUT_TCP_MAX == CONNTRACK_STATE_COUNT,
              "conntrack_state is in the order of ctattr_timeout_tcp");

enum { CTTIMEOUT_MESSAGE_SIZE = 512 }; /* the largest is about 150 bytes */

/* The two tables of defaults, one per IP version, are one in the kernel; asking for IPv4 means both. */
static struct nlmsghdr *cttimeout_begin(char *buffer, uint16_t type)
{
	struct nlmsghdr *message;

	message = netlink_begin(buffer, NFNL_SUBSYS_CTNETLINK_TIMEOUT << 8 | type, NLM_F_ACK, 1, AF_UNSPEC, 0);
	netlink_put_u16(message, CTA_TIMEOUT_L3PROTO, AF_INET);
	netlink_put_u8(message, CTA_TIMEOUT_L4PROTO, IPPROTO_TCP);
	return message;
}

static int cttimeout_take(const struct nlmsghdr *message, void *context)
{
	const struct nlattr *data = netlink_find(message, CTA_TIMEOUT_DATA), *value;
	uint32_t *seconds = context;

	for (int state = 0; data && state < CONNTRACK_STATE_COUNT; state++) {
		value = netlink_find_nested(data, (uint16_t)(state + 1));
		if (value && netlink_get_u32(value, &seconds[state]))
			return -EINVAL;
	}
	return data ? 0 : -EINVAL;
}

int cttimeout_get(struct netlink *netlink, uint32_t seconds[static CONNTRACK_STATE_COUNT])
{
	char buffer[CTTIMEOUT_MESSAGE_SIZE] __attribute__((aligned(8)));
	struct nlmsghdr *message = cttimeout_begin(buffer, IPCTNL_MSG_TIMEOUT_DEFAULT_GET);
	uint32_t found[CONNTRACK_STATE_COUNT] = {0};
	struct netlink_error refusal;
	int error = netlink_exchange(netlink, message, message->nlmsg_len, cttimeout_take, found, &refusal);

	if (!error)
		memcpy(seconds, found, sizeof found);
	return error;
}

int cttimeout_set(struct netlink *netlink, const uint32_t seconds[static CONNTRACK_STATE_COUNT])
{
	char buffer[CTTIMEOUT_MESSAGE_SIZE] __attribute__((aligned(8)));
	struct nlmsghdr *message = cttimeout_begin(buffer, IPCTNL_MSG_TIMEOUT_DEFAULT_SET);
	struct nlattr *data = netlink_nest_begin(message, CTA_TIMEOUT_DATA);
	struct netlink_error refusal;

	for (int state = 0; state < CONNTRACK_STATE_COUNT; state++)
		if (seconds[state])
			netlink_put_u32(message, (uint16_t)(state + 1), seconds[state]);
	netlink_nest_end(message, data);
	return netlink_exchange(netlink, message, message->nlmsg_len, NULL, NULL, &refusal);
}
