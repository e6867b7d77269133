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

/* Our own dials, from which address to which destination, by local port: so that one which the rules bring back to us is known, a
 * redirect loop. Shared by all workers; every access is one relaxed atomic. */
struct origin_dials;
struct origin_dials *origin_dials_new(void);
void origin_dials_free(struct origin_dials *dials);

/* One dial of ours. Two to different servers may share a port; then the later one alone is known. All zero = none. */
struct origin_dial {
	uint32_t mark;
	uint16_t port;
};

struct origin_dial origin_dials_add(struct origin_dials *dials, const struct addr *local, const struct addr *destination);
void origin_dials_remove(struct origin_dials *dials, struct origin_dial dial);

/* Whether this connection, accepted from `client` for `destination`, is one of our own dials; the dial is then known to have looped
 * and the connection is to be reset. */
bool origin_dials_catch(struct origin_dials *dials, const struct addr *client, const struct addr *destination);

/* Whether that dial came back to us. Nobody else has seen a byte of it. */
bool origin_dials_looped(const struct origin_dials *dials, struct origin_dial dial);

/* What the loop guard knows of this proxy. */
struct origin_guard {
	uint16_t inbound_port, outbound_port;
	struct origin_dials *dials; /* borrowed */
};

/* Reads SO_ORIGINAL_DST or IP6T_SO_ORIGINAL_DST of an accepted socket; origin->client is set by the caller.
 * REASON_NONE, or why the connection cannot be carried: REASON_NO_ORIGINAL_DST, REASON_NOT_REDIRECTED, REASON_REDIRECT_LOOP. */
enum reason_id origin_find(int fd, const struct origin_guard *guard, struct origin *origin);

/* Whether conntrack has forgotten the flow of a socket whose original destination was once known: it knows none any more, or,
 * having met a packet of ours since (nf_conntrack_tcp_loose), another one. */
bool origin_lost(int fd, const struct addr *destination);

#endif
