#ifndef LAPSE_INIT_FOREIGN_H
#define LAPSE_INIT_FOREIGN_H

#include <stddef.h>

struct netlink;

/* What others have in this network namespace. A sentence's part each, "" = nothing was found. */
struct foreign {
	char node[96]; /* of a Kubernetes node: "kubelet's chain KUBE-KUBELET-CANARY is here" */
	char mesh[96]; /* another sidecar's redirect: "Linkerd's chain PROXY_INIT_REDIRECT" */
};

/* Marks of a node, which a pod's own namespace never has: chains of kubelet and kube-proxy, interfaces of network plugins. Marks of
 * another mesh: its chains and tables. What iptables-legacy keeps is not seen. `netlink` may be NULL: interfaces alone. */
void foreign_look(struct netlink *netlink, struct foreign *out);

/* One chain, for foreign_look() and tests. */
void foreign_take_chain(struct foreign *found, const char *table, const char *chain);
void foreign_take_interface(struct foreign *found, const char *name);

#endif
