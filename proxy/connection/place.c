#include "proxy/connection/place.h"

#include <stdatomic.h>
#include <stddef.h>

#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"

enum { SILENT_MS = 1000 }; /* after its accept: a client's first bytes are on their way */

/* Of one direction, in a value of proxy->admitted. */
static uint64_t place_of(uint64_t admitted, enum direction direction)
{
	return (uint32_t)(admitted >> (direction == DIRECTION_INBOUND ? 0 : 32));
}

static uint64_t place_one(enum direction direction)
{
	return UINT64_C(1) << (direction == DIRECTION_INBOUND ? 0 : 32);
}

static uint64_t place_sum(uint64_t admitted)
{
	return place_of(admitted, DIRECTION_INBOUND) + place_of(admitted, DIRECTION_OUTBOUND);
}

static uint64_t place_load(const struct proxy *proxy)
{
	return atomic_load_explicit(&proxy->admitted, memory_order_relaxed);
}

uint64_t place_count(const struct proxy *proxy)
{
	return place_sum(place_load(proxy));
}

uint64_t place_most(const struct proxy *proxy)
{
	uint64_t kept = proxy->max_connections / 100;

	return proxy->max_connections - (kept ? kept : proxy->max_connections > 1);
}

static struct place_line *place_line_of(const struct conn *conn)
{
	return &conn->worker->idle[conn->direction][conn->stage == STAGE_DETECT];
}

/* Other threads only read it. */
static void place_count_idle(const struct conn *conn, int change)
{
	if (conn->stage == STAGE_IDLE)
		atomic_fetch_add_explicit(&conn->worker->idle_count[conn->direction], change, memory_order_relaxed);
}

void place_enlist(struct conn *conn)
{
	if (!conn->admitted || (conn->stage != STAGE_IDLE && conn->stage != STAGE_DETECT))
		return;
	conn->in_line = true;
	TAILQ_INSERT_TAIL(place_line_of(conn), conn, line);
	place_count_idle(conn, 1);
}

void place_delist(struct conn *conn)
{
	if (!conn->in_line)
		return;
	conn->in_line = false;
	TAILQ_REMOVE(place_line_of(conn), conn, line);
	place_count_idle(conn, -1);
}

int64_t place_idle_since(const struct conn *conn)
{
	return conn->instants[conn->stage == STAGE_IDLE ? INSTANT_IDLE : INSTANT_ACCEPTED];
}

/* The first of a direction's two lines that may give way. NULL: none may. */
static struct conn *place_first(struct worker *worker, enum direction direction)
{
	struct conn *idle = TAILQ_FIRST(&worker->idle[direction][0]), *silent;

	while ((silent = TAILQ_FIRST(&worker->idle[direction][1])) && silent->client.received)
		place_delist(silent); /* its first bytes are being judged: it is at work */
	if (silent && place_idle_since(silent) + SILENT_MS > worker_now(worker))
		silent = NULL;
	return !idle || (silent && place_idle_since(silent) < place_idle_since(idle)) ? silent : idle;
}

/* A direction that has all it may have, with the new one more than that, gets no room from the other one. */
static bool place_over(const struct proxy *proxy, uint64_t admitted, enum direction direction)
{
	return place_of(admitted, direction) > place_most(proxy);
}

bool place_is_over(const struct proxy *proxy, enum direction direction)
{
	return place_over(proxy, place_load(proxy), direction);
}

struct conn *place_idlest(struct worker *worker, enum direction direction)
{
	struct conn *own = place_first(worker, direction), *other = NULL;

	if (!place_is_over(worker->proxy, direction))
		other = place_first(worker, direction == DIRECTION_INBOUND ? DIRECTION_OUTBOUND : DIRECTION_INBOUND);
	return !own || (other && place_idle_since(other) < place_idle_since(own)) ? other : own;
}

bool place_take(struct conn *conn)
{
	struct proxy *proxy = conn->worker->proxy;
	uint64_t one = place_one(conn->direction);
	/* Counted before it is judged: of several workers that look at once, one finds the last place. */
	uint64_t admitted = atomic_fetch_add_explicit(&proxy->admitted, one, memory_order_relaxed) + one;

	conn->admitted = true;
	return !place_over(proxy, admitted, conn->direction) && place_sum(admitted) <= proxy->max_connections;
}

void place_release(struct conn *conn)
{
	if (conn->admitted)
		atomic_fetch_sub_explicit(&conn->worker->proxy->admitted, place_one(conn->direction), memory_order_relaxed);
	conn->admitted = false;
	place_delist(conn);
}
