#ifndef LAPSE_PROXY_UPSTREAM_H
#define LAPSE_PROXY_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/loop.h"
#include "lib/reason.h"
#include "lib/wheel.h"
#include "proxy/leg.h"
#include "proxy/origin.h"

struct cause;
struct conn;
struct text;
struct worker;

/* A connection to a server: attached to one conn, which owns it, or idle in the worker's pool. */
struct upstream {
	struct loop_deferred deferred;
	struct worker *worker;
	struct conn *conn;             /* NULL in the pool */
	struct upstream *next, **link; /* in the pool */
	struct wheel_timer timer;      /* serverIdle, from its first rest on */
	struct leg leg;
	struct addr destination;
	int64_t server_idle;  /* ms, of the last conn it served */
	int64_t idle_since;   /* 0 while an exchange or opaque connection uses it */
	int64_t idle_before;  /* ms it had rested before the use at hand */
	uint64_t sent_before, received_before; /* counts of its leg when the conn at hand got it */
	uint32_t uses;        /* exchanges finished on it */
	struct origin_dial dial;
};

enum { UPSTREAM_BUCKETS = 64 };

/* Idle server connections of one worker, by destination, last used first. */
struct upstream_pool {
	struct upstream *buckets[UPSTREAM_BUCKETS];
	size_t count;
};

/* Starts connecting to conn->server_addr; conn->upstream is set and connecting. 0 or the -errno of the dial. */
int upstream_dial(struct conn *conn);

/* Attaches an idle one from the pool that is still usable. */
bool upstream_take(struct conn *conn);

/* Whether an attached, resting server leg can carry another request: no FIN, RST or stray byte waits in it. */
bool upstream_usable(struct upstream *upstream);

/* Whether nothing waits to be read from it, no FIN either. */
bool upstream_quiet(const struct upstream *upstream);

/* A use begins, or has ended cleanly: serverIdle runs from here. announced_s: the server's `Keep-Alive: timeout=N`, -1 = none; the
 * leg is given up 10 %, at least 1 s, before it. */
void upstream_use(struct upstream *upstream);
void upstream_rest(struct upstream *upstream, int32_t announced_s);

/* The conn lets go of its resting leg: into the pool, or closed when the pool is full. */
void upstream_release(struct conn *conn);

/* The conn's leg ends now, with RST when `reset`. */
void upstream_drop(struct conn *conn, bool reset);

/* All idle ones of the worker end. */
void upstream_pool_close(struct worker *worker);

/* A dial that failed with -errno: its cause, and the detail for the record; error 0: `connect` fired. */
struct cause upstream_dial_cause(int error);
void upstream_describe_dial(const struct conn *conn, int error, struct text *out);

#endif
