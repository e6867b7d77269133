#include "init/half_closed_flows.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "init/netlink.h"
#include "lib/text.h"

enum {
	FLOWS_QUEUE = 8 << 20, /* bytes: some ten thousand changes */
	FLOWS_FIRST_FIN = 0x04, /* IP_CT_TCP_FLAG_CLOSE_INIT and the one below: <linux/netfilter/nf_conntrack_tcp.h> */
	FLOWS_UNACKNOWLEDGED = 0x10,
};

static_assert(TCP_CONNTRACK_SYN_SENT == CONNTRACK_SYN_SENT + 1 && TCP_CONNTRACK_CLOSE == CONNTRACK_CLOSE + 1,
              "conntrack_state is in the order of the kernel's states");

static struct addr half_closed_flows_address(const struct nf_conntrack *ct, bool ipv6, enum nf_conntrack_attr v4,
                                             enum nf_conntrack_attr v6, enum nf_conntrack_attr port)
{
	struct addr addr = {.family = ipv6 ? AF_INET6 : AF_INET, .port = ntohs(nfct_get_attr_u16(ct, port))};
	const void *bytes = nfct_get_attr(ct, ipv6 ? v6 : v4);

	if (bytes)
		memcpy(addr.bytes, bytes, ipv6 ? 16 : 4);
	return addr;
}

static uint8_t half_closed_flows_first(const struct nf_conntrack *ct)
{
	if (nfct_get_attr_u8(ct, ATTR_TCP_FLAGS_ORIG) & FLOWS_FIRST_FIN)
		return HALF_CLOSED_CLIENT;
	return nfct_get_attr_u8(ct, ATTR_TCP_FLAGS_REPL) & FLOWS_FIRST_FIN ? HALF_CLOSED_SERVER : HALF_CLOSED_UNKNOWN;
}

static uint8_t half_closed_flows_state(const struct nf_conntrack *ct)
{
	uint8_t state = nfct_attr_is_set(ct, ATTR_TCP_STATE) ? nfct_get_attr_u8(ct, ATTR_TCP_STATE) : TCP_CONNTRACK_NONE;

	return state == TCP_CONNTRACK_NONE || state >= TCP_CONNTRACK_MAX ? CONNTRACK_STATE_COUNT : (uint8_t)(state - 1);
}

/* An attribute that is not there reads as 0. */
static struct half_closed_flow half_closed_flows_read(const struct nf_conntrack *ct)
{
	bool ipv6 = nfct_get_attr_u8(ct, ATTR_ORIG_L3PROTO) == AF_INET6;
	uint8_t flags = nfct_get_attr_u8(ct, ATTR_TCP_FLAGS_ORIG) | nfct_get_attr_u8(ct, ATTR_TCP_FLAGS_REPL);

	return (struct half_closed_flow){
		.client = half_closed_flows_address(ct, ipv6, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, ATTR_ORIG_PORT_SRC),
		.destination = half_closed_flows_address(ct, ipv6, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST),
		.answerer = half_closed_flows_address(ct, ipv6, ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, ATTR_REPL_PORT_SRC),
		.answered = half_closed_flows_address(ct, ipv6, ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST, ATTR_REPL_PORT_DST),
		.from_client = {nfct_get_attr_u64(ct, ATTR_ORIG_COUNTER_PACKETS), nfct_get_attr_u64(ct, ATTR_ORIG_COUNTER_BYTES)},
		.to_client = {nfct_get_attr_u64(ct, ATTR_REPL_COUNTER_PACKETS), nfct_get_attr_u64(ct, ATTR_REPL_COUNTER_BYTES)},
		.counted = nfct_attr_is_set(ct, ATTR_ORIG_COUNTER_PACKETS) > 0,
		.id = nfct_get_attr_u32(ct, ATTR_ID),
		.remaining = nfct_get_attr_u32(ct, ATTR_TIMEOUT),
		.zone = nfct_get_attr_u16(ct, ATTR_ZONE),
		.state = half_closed_flows_state(ct),
		.first = half_closed_flows_first(ct),
		.unacknowledged = (flags & FLOWS_UNACKNOWLEDGED) != 0,
	};
}

/* netlink_each: a message of the dump or of the queue. What cannot be read is no flow of ours. */
static int half_closed_flows_take(const struct nlmsghdr *message, void *context)
{
	const struct half_closed_flows *flows = context;
	struct nf_conntrack *ct = nfct_new();

	if (!ct)
		return -ENOMEM;
	if (!nfct_nlmsg_parse(message, ct) && nfct_get_attr_u8(ct, ATTR_L4PROTO) == IPPROTO_TCP) {
		struct half_closed_flow flow = half_closed_flows_read(ct);

		flow.place = flows->place;
		flow.silent = half_closed_silence(&flow, flows->seconds);
		flows->each(&flow, (message->nlmsg_type & 0xff) == IPCTNL_MSG_CT_DELETE, flows->context);
	}
	nfct_destroy(ct);
	return 0;
}

int half_closed_flows_dump(struct netlink *netlink, const struct half_closed_flows *flows)
{
	char buffer[64] __attribute__((aligned(8)));
	struct nlmsghdr *message = netlink_begin(buffer, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP, 1, AF_UNSPEC, 0);
	struct netlink_error refusal;

	return netlink_exchange(netlink, message, message->nlmsg_len, half_closed_flows_take, (void *)flows, &refusal);
}

/* The filter spares us the flows of DNS and the like; without it there is only more to throw away. */
static void half_closed_flows_only_tcp(struct netlink *netlink)
{
	struct nfct_filter *filter = nfct_filter_create();

	if (!filter)
		return;
	nfct_filter_add_attr_u32(filter, NFCT_FILTER_L4PROTO, IPPROTO_TCP);
	nfct_filter_attach(netlink_descriptor(netlink), filter);
	nfct_filter_destroy(filter);
}

int half_closed_flows_listen(struct netlink *netlink)
{
	static const unsigned groups[] = {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY};
	int status = 0;

	half_closed_flows_only_tcp(netlink);
	for (size_t i = 0; i < sizeof groups / sizeof *groups && !status; i++)
		status = netlink_join(netlink, groups[i], FLOWS_QUEUE);
	return status;
}

int half_closed_flows_events(struct netlink *netlink, const struct half_closed_flows *flows)
{
	return netlink_drain(netlink, half_closed_flows_take, (void *)flows);
}

void half_closed_flows_explain(int status, struct text *error)
{
	text_printf(error, "cannot read conntrack's flows: %s", strerror(-status));
	switch (-status) {
	case EPERM:
	case EACCES:
		text_string(error, "; run it with CAP_NET_ADMIN in this network namespace (capabilities: add: [NET_ADMIN])");
		break;
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
		text_string(error, "; the kernel has no netfilter over netlink: it needs CONFIG_NETFILTER_NETLINK");
		break;
	case EINVAL:
	case EOPNOTSUPP:
		text_string(error, "; the kernel has no conntrack over netlink: it needs CONFIG_NF_CONNTRACK and CONFIG_NF_CT_NETLINK "
		                   "(the module nf_conntrack_netlink)");
		break;
	case EMFILE:
	case ENFILE:
		text_string(error, "; raise the limit of open files");
		break;
	default:
		break;
	}
}
