#ifndef LAPSE_PROXY_DNS_RESOLVE_H
#define LAPSE_PROXY_DNS_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/addr.h"

struct log;
struct loop;
struct resolver;

/* Names of Services to addresses, kept fresh: A and AAAA, asked again when their TTL (1 s – 1 h) has run out. The last good answer
 * stays while DNS fails. Never blocks. One thread. */

enum resolve_state {
	RESOLVE_PENDING, /* nothing is known yet */
	RESOLVE_FOUND,   /* there are addresses */
	RESOLVE_ABSENT,  /* the name does not exist (NXDOMAIN), or has no address */
	RESOLVE_FAILED,  /* DNS failed and there is no earlier answer */
};

/* changed(owner) is called from the loop, when the state or the set of addresses of a name is another than before; several changes
 * of one round may be one call. log is borrowed. 0 or -errno. /etc/resolv.conf is honoured (servers, timeouts, attempts) as
 * c-ares reads it, once. */
int resolve_new(struct resolver **out, struct loop *loop, struct log *log, void (*changed)(void *owner), void *owner);

/* Before loop_free(); the memory goes with the loop's next turn, changed() is called no more. NULL is fine. */
void resolve_free(struct resolver *resolver);

/* Asks this server (address and port) in the place of those of /etc/resolv.conf: --dns-server. Before resolve_want().
 * 0, -ENOMEM, -EINVAL for what c-ares cannot use, or -EBUSY when it is too late. */
int resolve_use_server(struct resolver *resolver, const struct addr *server);

/* The names to keep fresh from now on, fully qualified ("web.default.svc.cluster.local"); those not in the list are forgotten,
 * those known already keep their answers. Copied. 0 or -ENOMEM, then nothing has changed. */
int resolve_want(struct resolver *resolver, const char *const *names, size_t count);

/* The answer for a name: addresses (port 0, IPv4 first, each family sorted, the lowest 64 of each), borrowed until the next turn of
 * the loop. A name never wanted is RESOLVE_PENDING. */
enum resolve_state resolve_get(const struct resolver *resolver, const char *name, const struct addr **addresses, size_t *count);

#endif
