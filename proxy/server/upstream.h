#ifndef LAPSE_PROXY_SERVER_UPSTREAM_H
#define LAPSE_PROXY_SERVER_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/loop.h"
#include "lib/reason.h"
#include "lib/wheel.h"
#include "proxy/leg/leg.h"
#include "proxy/metrics/words.h"
#include "proxy/server/dials.h"
#include "proxy/server/learned.h"

struct conn;
struct local_ports;
struct log;
struct metrics;
struct pump;
struct slab;
struct timeout_value;
struct upstream_pool;

/* What the owner set for server connections. */
struct upstream_settings {
	int64_t pool_size; /* idle ones kept per destination and worker */
	bool no_learned_idle;
};

/* A connection to a server: attached to one conn, which owns it, or idle in the worker's pool. */
struct upstream {
	struct loop_deferred deferred;
	struct upstream_pool *pool;    /* whether it is in there or attached */
	struct conn *conn;             /* whom it serves: NULL in the pool */
	struct upstream *next, **link; /* in the pool */
	struct wheel_timer timer;      /* serverIdle, from its first rest on */
	struct leg leg;
	struct addr destination;
	int64_t server_idle;  /* ms it may rest, 0 = for ever: rest_most, or less by what is learned of the server */
	int64_t rest_most;    /* ms, serverIdle of the last conn it served */
	int64_t dialled_us;   /* loop_now_us() then */
	int64_t idle_since;   /* 0 while an exchange or opaque connection uses it */
	int64_t idle_before;  /* ms it had rested before the use at hand */
	uint64_t sent_before, received_before; /* counts of its leg when the conn at hand got it */
	uint64_t sent_counted, received_counted; /* and those that are in the metrics */
	uint32_t uses;        /* exchanges finished on it */
	uint32_t mark;        /* of its destination: a hash, never 0 */
	bool private : 1;     /* its client's for good: something on it was bound to the connection, or it is not read as HTTP */
	bool spent : 1;       /* rests on, but so long that it is not to be used any more */
	bool listened : 1;    /* inbound: a listener for its destination was seen */
	struct dials_entry dial;
};

enum { UPSTREAM_BUCKETS = 64, UPSTREAM_SEEN = 16 };


/* What a leg tells the connection that it serves. */
struct upstream_user {
	/* Something happened on it. */
	void (*ready)(struct conn *conn, uint32_t events);
	/* It has rested for as long as it may: it is to be let go. */
	void (*rested)(struct conn *conn);
	/* serverIdle of the connection, or, NULL, of those in the pool. */
	const struct timeout_value *(*server_idle)(const struct upstream_pool *pool, const struct conn *conn);
};

/* One worker's connections to servers: what they all need, and the idle ones by destination, last used first. */
struct upstream_pool {
	const struct upstream_user *user;
	const struct upstream_settings *settings;
	struct loop *loop; /* this and what follows is borrowed */
	struct log *log;
	struct metrics *metrics;
	struct pump *pump;
	struct dials *dials;
	struct local_ports *local_ports;
	struct slab *memory; /* owned, of struct upstream */
	bool closed;         /* nothing comes in any more */
	struct upstream *buckets[UPSTREAM_BUCKETS];
	size_t count;
	struct upstream_seen {
		struct addr destination;
		bool listened;
	} seen[UPSTREAM_SEEN]; /* by hash: the last one asked for */
	struct learned learned; /* of the servers' idle timeouts */
};

/* Starts connecting to a server for `conn`, in its direction. 0 or the -errno of the dial. */
int upstream_dial(struct upstream **out, struct upstream_pool *pool, const struct addr *destination, enum direction direction, struct conn *conn);

/* What came of a dial, 0 or -errno, into the metrics. upstream_dial() does it for those that fail at once. */
void upstream_count_dial(const struct upstream *upstream, int error);

/* Of a dial that failed with -errno. */
enum reason_id upstream_dial_reason(int error);

/* One from the pool that is still usable, which serves `conn` from now on. NULL: there is none. */
struct upstream *upstream_take(struct upstream_pool *pool, const struct addr *destination, struct conn *conn);

/* Whether an attached, resting server leg can carry another request: no FIN, RST or stray byte waits in it. */
bool upstream_usable(struct upstream *upstream);

/* Whether nothing waits to be read from it, no FIN either. */
bool upstream_quiet(const struct upstream *upstream);

/* Where legs are shared: whether an attached, resting one is still far from the end that its server may put to it. Learning needs
 * closes to learn from, and a FIN that is on its way is seen by nobody; so a leg is not trusted before another to the same server has
 * been seen to live longer, by the margin of learned.h. */
bool upstream_proven(const struct upstream *upstream);

/* A use begins, or has ended cleanly: serverIdle runs from here, or the shorter time after which this server is known to close.
 * announced_s: its `Keep-Alive: timeout=N`, -1 = none. */
void upstream_use(struct upstream *upstream);
void upstream_rest(struct upstream *upstream, int32_t announced_s);

/* The server has ended the leg after this rest: something to learn. */
void upstream_observe(const struct upstream *upstream, int64_t idle_ms);

/* The same, of a resting leg that is not quiet any more, if that is what the server did. Before anything is read from it. */
void upstream_observe_rest(struct upstream *upstream);

/* A resting one serves nobody any more and goes into the pool. False: it cannot, and is as it was. */
bool upstream_release(struct upstream *upstream);

/* Inbound: whether the server has stopped listening since the leg was dialled. */
bool upstream_listener_gone(const struct upstream *upstream);

/* It ends now, with RST when `reset`, and serves nobody any more; it may be looked at until the end of the round. */
void upstream_end(struct upstream *upstream, bool reset);

/* Those to one server end; all idle ones do. */
void upstream_pool_close_to(struct upstream_pool *pool, const struct addr *destination);
void upstream_pool_close(struct upstream_pool *pool);

#endif
