#ifndef LAPSE_INIT_CONNTRACK_APPLY_H
#define LAPSE_INIT_CONNTRACK_APPLY_H

#include <stdint.h>

#include "lib/conntrack.h"

struct log;
struct netlink;
struct text;

/* Sets conntrack's default TCP timeouts (seconds, 0 = leave alone) by netlink, where that is absent through /proc/sys, reads
 * each back and logs old, new and the way. 0, or -errno with one sentence in `error`. `netlink` may be NULL: no nfnetlink. */
int conntrack_apply(struct netlink *netlink, const uint32_t seconds[static CONNTRACK_STATE_COUNT], struct log *log,
                    struct text *error);

/* What is in force, by the same two ways; 0 = unknown. Returns which way: "netlink", "sysctl", or NULL when there is no
 * conntrack. */
const char *conntrack_apply_read(struct netlink *netlink, uint32_t seconds[static CONNTRACK_STATE_COUNT]);

#endif
