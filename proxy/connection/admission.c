#include "proxy/connection/admission.h"

#include <stdatomic.h>
#include <stddef.h>

#include "lib/duration.h"
#include "proxy/connection/closing.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"

uint64_t admission_count(const struct proxy *proxy)
{
	return atomic_load_explicit(&proxy->admitted[DIRECTION_INBOUND], memory_order_relaxed) +
	       atomic_load_explicit(&proxy->admitted[DIRECTION_OUTBOUND], memory_order_relaxed);
}

uint64_t admission_most(const struct proxy *proxy)
{
	uint64_t kept = proxy->max_connections / 100;

	return proxy->max_connections - (kept ? kept : proxy->max_connections > 1);
}

static bool admission_has_room(const struct proxy *proxy, enum direction direction)
{
	return atomic_load_explicit(&proxy->admitted[direction], memory_order_relaxed) < admission_most(proxy) &&
	       admission_count(proxy) < proxy->max_connections;
}

/* Since when the connection has been idle; 0: it is not. */
static int64_t admission_idle_since(const struct conn *conn)
{
	if (conn->stage == STAGE_IDLE)
		return conn->instants[INSTANT_IDLE];
	return conn->stage == STAGE_DETECT && !conn->client.received ? conn->instants[INSTANT_ACCEPTED] : 0;
}

/* The one idle longest, of a direction whose end makes room. NULL: there is none, or it was looked for in this millisecond already. */
static struct conn *admission_idlest(struct worker *worker, enum direction direction)
{
	const struct proxy *proxy = worker->proxy;
	bool own = atomic_load_explicit(&proxy->admitted[direction], memory_order_relaxed) >= admission_most(proxy);
	struct conn *found = NULL;

	if (worker->admission_looked == worker_now(worker))
		return NULL;
	worker->admission_looked = worker_now(worker);
	for (struct conn *conn = worker->conns; conn; conn = conn->next) {
		int64_t since = conn->admitted && (!own || conn->direction == direction) ? admission_idle_since(conn) : 0;

		if (since && (!found || since < admission_idle_since(found)))
			found = conn;
	}
	return found;
}

static void admission_end(struct conn *conn)
{
	struct cause cause = cause_of(REASON_CONN_LIMIT);
	char idle[DURATION_TEXT_SIZE];

	cause.at_rest = true;
	duration_format(conn_now(conn) - admission_idle_since(conn), idle);
	conn_close(conn, cause, "%llu connections were open, as many as may be, and this one, idle for %s, gave way to a new one",
	           (unsigned long long)admission_count(conn->worker->proxy), idle);
	conn_settle(conn);
}

bool admission_take(struct conn *conn)
{
	struct proxy *proxy = conn->worker->proxy;
	struct conn *idle;

	if (!admission_has_room(proxy, conn->direction) && (idle = admission_idlest(conn->worker, conn->direction)))
		admission_end(idle);
	if (!admission_has_room(proxy, conn->direction))
		return false;
	atomic_fetch_add_explicit(&proxy->admitted[conn->direction], 1, memory_order_relaxed);
	conn->admitted = true;
	return true;
}

void admission_release(struct conn *conn)
{
	if (conn->admitted)
		atomic_fetch_sub_explicit(&conn->worker->proxy->admitted[conn->direction], 1, memory_order_relaxed);
	conn->admitted = false;
}
