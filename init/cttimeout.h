#ifndef LAPSE_INIT_CTTIMEOUT_H
#define LAPSE_INIT_CTTIMEOUT_H

#include <stdint.h>

#include "lib/conntrack.h"

struct netlink;

/* The namespace's default TCP timeouts over nfnetlink_cttimeout, in seconds, 0 = absent or leave alone. Unlike the files under
 * /proc/sys this needs CAP_NET_ADMIN and nothing else. 0 or -errno: -EPERM no such capability, -EOPNOTSUPP or -EINVAL where
 * the kernel has no cttimeout (CONFIG_NF_CONNTRACK_TIMEOUT, CONFIG_NF_CT_NETLINK_TIMEOUT). */
int cttimeout_get(struct netlink *netlink, uint32_t seconds[static CONNTRACK_STATE_COUNT]);
int cttimeout_set(struct netlink *netlink, const uint32_t seconds[static CONNTRACK_STATE_COUNT]);

#endif
