#ifndef LAPSE_PROXY_SERVER_DIALS_H
#define LAPSE_PROXY_SERVER_DIALS_H

#include <stdbool.h>
#include <stdint.h>

struct addr;

/* Our own dials, from which address to which destination, by local port: so that one which the rules bring back to us is known, a
 * redirect loop. Shared by all workers; every access is one relaxed atomic. */
struct dials;
struct dials *dials_new(void);
void dials_free(struct dials *dials);

/* One dial of ours. Two to different servers may share a port; then the later one alone is known. All zero = none. */
struct dials_entry {
	uint32_t mark;
	uint16_t port;
};

struct dials_entry dials_add(struct dials *dials, const struct addr *local, const struct addr *destination);
void dials_remove(struct dials *dials, struct dials_entry dial);

/* Whether this connection, accepted from `client` for `destination`, is one of our own dials; the dial is then known to have looped
 * and the connection is to be reset. */
bool dials_catch(struct dials *dials, const struct addr *client, const struct addr *destination);

/* Whether that dial came back to us. Nobody else has seen a byte of it. */
bool dials_looped(const struct dials *dials, struct dials_entry dial);

#endif
