#ifndef LAPSE_INIT_HALF_CLOSED_FLOWS_H
#define LAPSE_INIT_HALF_CLOSED_FLOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "init/half_closed.h"

struct netlink;
struct text;

/* Conntrack's TCP flows of one network namespace, one after another: the door to libnetfilter_conntrack. */
struct half_closed_flows {
	/* Every TCP flow, whatever its state; `destroyed` = conntrack has just dropped it, and its state may not be told. */
	void (*each)(const struct half_closed_flow *flow, bool destroyed, void *context);
	void *context;
	const struct half_closed_place *place;        /* goes into the flows */
	const uint32_t *seconds;                      /* CONNTRACK_STATE_COUNT lifetimes, to tell `silent` */
};

/* All there are now. 0 or -errno. */
int half_closed_flows_dump(struct netlink *netlink, const struct half_closed_flows *flows);

/* Makes the socket hear of new, changed and dropped TCP flows. It must not be used for anything else then. 0 or -errno. */
int half_closed_flows_listen(struct netlink *netlink);
/* Takes the changes that wait. 0, or -errno: -ENOBUFS some were lost. */
int half_closed_flows_events(struct netlink *netlink, const struct half_closed_flows *flows);

/* One sentence: what was asked, what the kernel said, what to do. */
void half_closed_flows_explain(int status, struct text *error);

#endif
