#include "init/foreign.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "init/netlink.h"

enum { FOREIGN_NFPROTO_UNSPEC = 0 };

/* kubelet makes its canaries wherever it runs; the others are kube-proxy's and network plugins'. */
static const char *const foreign_node_chains[][2] = {
	{"KUBE-KUBELET-CANARY", "kubelet"}, {"KUBE-PROXY-CANARY", "kube-proxy"}, {"KUBE-SERVICES", "kube-proxy"},
	{"KUBE-NODEPORTS", "kube-proxy"},   {"CILIUM_PRE_nat", "Cilium"},        {"cali-PREROUTING", "Calico"},
	{"FLANNEL-POSTRTG", "flannel"},     {"CNI-HOSTPORT-DNAT", "the network plugin"},
};

/* In a pod these would be the pod's own routers, of which nobody has heard. */
static const char *const foreign_node_interfaces[] = {"cni0",        "flannel.1",    "cilium_host", "kube-ipvs0", "kube-bridge",
                                                      "antrea-gw0", "vxlan.calico", "ovn-k8s-mp0", "nodelocaldns"};

static const char *const foreign_mesh_chains[][2] = {
	{"PROXY_INIT_REDIRECT", "Linkerd"}, {"PROXY_INIT_OUTPUT", "Linkerd"}, {"ISTIO_REDIRECT", "Istio"},
	{"ISTIO_INBOUND", "Istio"},         {"ISTIO_OUTPUT", "Istio"},        {"ISTIO_PRERT", "Istio"},
};

static const char *foreign_owner(const char *const rows[][2], size_t count, const char *chain)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(rows[i][0], chain))
			return rows[i][1];
	return NULL;
}

void foreign_take_chain(struct foreign *found, const char *table, const char *chain)
{
	const char *owner = foreign_owner(foreign_node_chains, sizeof foreign_node_chains / sizeof *foreign_node_chains, chain);

	if (!owner && !strcmp(table, "kube-proxy"))
		owner = "kube-proxy";
	if (owner && !found->node[0])
		snprintf(found->node, sizeof found->node, "%s's chain %.40s is here", owner, chain);
	owner = foreign_owner(foreign_mesh_chains, sizeof foreign_mesh_chains / sizeof *foreign_mesh_chains, chain);
	if (owner && !found->mesh[0])
		snprintf(found->mesh, sizeof found->mesh, "%s's chain %.40s", owner, chain);
	/* Without iptables Istio names tables: istio-proxy-nat with the chain istio-inbound, istio-ambient-nat, … */
	if (!strncmp(table, "istio-", 6) && !found->mesh[0])
		snprintf(found->mesh, sizeof found->mesh, "Istio's table %.40s", table);
}

void foreign_take_interface(struct foreign *found, const char *name)
{
	for (size_t i = 0; i < sizeof foreign_node_interfaces / sizeof *foreign_node_interfaces && !found->node[0]; i++)
		if (!strcmp(foreign_node_interfaces[i], name))
			snprintf(found->node, sizeof found->node, "a node's interface %s is here", name);
}

static int foreign_take(const struct nlmsghdr *message, void *context)
{
	const struct nlattr *table = netlink_find(message, NFTA_CHAIN_TABLE), *chain = netlink_find(message, NFTA_CHAIN_NAME);
	size_t length;

	if ((message->nlmsg_type & 0xff) == NFT_MSG_NEWCHAIN && table && chain)
		foreign_take_chain(context, netlink_bytes(table, &length), netlink_bytes(chain, &length));
	return 0;
}

void foreign_look(struct netlink *netlink, struct foreign *out)
{
	char buffer[64] __attribute__((aligned(8)));
	struct if_nameindex *interfaces = if_nameindex();
	struct netlink_error refusal;
	struct nlmsghdr *request;

	*out = (struct foreign){{0}, {0}};
	if (netlink) {
		request = netlink_begin(buffer, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_DUMP, 1, FOREIGN_NFPROTO_UNSPEC, 0);
		(void)netlink_exchange(netlink, request, request->nlmsg_len, foreign_take, out, &refusal); /* then nothing is known */
	}
	for (struct if_nameindex *at = interfaces; at && at->if_index; at++)
		foreign_take_interface(out, at->if_name);
	if (interfaces)
		if_freenameindex(interfaces);
}
