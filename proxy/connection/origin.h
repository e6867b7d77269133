#ifndef LAPSE_PROXY_CONNECTION_ORIGIN_H
#define LAPSE_PROXY_CONNECTION_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/reason.h"
#include "proxy/metrics/words.h"

/* Where a redirected connection came from and where it wanted to go. */
struct origin {
	enum direction direction;
	struct addr client;
	struct addr destination;
};

/* What the loop guard knows of this proxy. */
struct origin_guard {
	uint16_t inbound_port, outbound_port;
	struct dials *dials; /* borrowed */
};

/* Reads SO_ORIGINAL_DST or IP6T_SO_ORIGINAL_DST of an accepted socket; origin->client is set by the caller.
 * REASON_NONE, or why the connection cannot be carried: REASON_NO_ORIGINAL_DST, REASON_NOT_REDIRECTED, REASON_REDIRECT_LOOP. */
enum reason_id origin_find(int fd, const struct origin_guard *guard, struct origin *origin);

/* Whether conntrack has forgotten the flow of a socket whose original destination was once known: it knows none any more, or,
 * having met a packet of ours since (nf_conntrack_tcp_loose), another one. */
bool origin_lost(int fd, const struct addr *destination);

#endif
