#include "proxy/connection/admission.h"

#include <stdatomic.h>
#include <stddef.h>

#include "lib/duration.h"
#include "proxy/connection/closing.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"

enum { SILENT_MS = 1000 }; /* after its accept: a client's first bytes are on their way */

/* Of one direction, in a value of proxy->admitted. */
static uint64_t admission_of(uint64_t admitted, enum direction direction)
{
	return (uint32_t)(admitted >> (direction == DIRECTION_INBOUND ? 0 : 32));
}

static uint64_t admission_one(enum direction direction)
{
	return UINT64_C(1) << (direction == DIRECTION_INBOUND ? 0 : 32);
}

static uint64_t admission_sum(uint64_t admitted)
{
	return admission_of(admitted, DIRECTION_INBOUND) + admission_of(admitted, DIRECTION_OUTBOUND);
}

static uint64_t admission_load(const struct proxy *proxy)
{
	return atomic_load_explicit(&proxy->admitted, memory_order_relaxed);
}

uint64_t admission_count(const struct proxy *proxy)
{
	return admission_sum(admission_load(proxy));
}

uint64_t admission_most(const struct proxy *proxy)
{
	uint64_t kept = proxy->max_connections / 100;

	return proxy->max_connections - (kept ? kept : proxy->max_connections > 1);
}

static struct admission_line *admission_line_of(const struct conn *conn)
{
	return &conn->worker->idle[conn->direction][conn->stage == STAGE_DETECT];
}

/* Other threads only read it. */
static void admission_count_idle(const struct conn *conn, int change)
{
	if (conn->stage == STAGE_IDLE)
		atomic_fetch_add_explicit(&conn->worker->idle_count[conn->direction], change, memory_order_relaxed);
}

void admission_enlist(struct conn *conn)
{
	if (!conn->admitted || (conn->stage != STAGE_IDLE && conn->stage != STAGE_DETECT))
		return;
	conn->in_line = true;
	TAILQ_INSERT_TAIL(admission_line_of(conn), conn, line);
	admission_count_idle(conn, 1);
}

void admission_delist(struct conn *conn)
{
	if (!conn->in_line)
		return;
	conn->in_line = false;
	TAILQ_REMOVE(admission_line_of(conn), conn, line);
	admission_count_idle(conn, -1);
}

static int64_t admission_idle_since(const struct conn *conn)
{
	return conn->instants[conn->stage == STAGE_IDLE ? INSTANT_IDLE : INSTANT_ACCEPTED];
}

/* The first of a direction's two lines that may give way. NULL: none may. */
static struct conn *admission_first(struct worker *worker, enum direction direction)
{
	struct conn *idle = TAILQ_FIRST(&worker->idle[direction][0]), *silent;

	while ((silent = TAILQ_FIRST(&worker->idle[direction][1])) && silent->client.received)
		admission_delist(silent); /* its first bytes are being judged: it is at work */
	if (silent && admission_idle_since(silent) + SILENT_MS > worker_now(worker))
		silent = NULL;
	return !idle || (silent && admission_idle_since(silent) < admission_idle_since(idle)) ? silent : idle;
}

/* A direction that has all it may have, with the new one more than that, gets no room from the other one. */
static bool admission_is_over(const struct proxy *proxy, uint64_t admitted, enum direction direction)
{
	return admission_of(admitted, direction) > admission_most(proxy);
}

static struct conn *admission_idlest(struct worker *worker, enum direction direction)
{
	struct conn *own = admission_first(worker, direction), *other = NULL;

	if (!admission_is_over(worker->proxy, admission_load(worker->proxy), direction))
		other = admission_first(worker, direction == DIRECTION_INBOUND ? DIRECTION_OUTBOUND : DIRECTION_INBOUND);
	return !own || (other && admission_idle_since(other) < admission_idle_since(own)) ? other : own;
}

static bool admission_end_idlest(struct worker *worker, enum direction direction)
{
	struct conn *conn = admission_idlest(worker, direction);
	struct cause cause = cause_of(REASON_CONN_LIMIT);
	char idle[DURATION_TEXT_SIZE];

	if (!conn)
		return false;
	cause.at_rest = true;
	duration_format(conn_now(conn) - admission_idle_since(conn), idle);
	conn_close(conn, cause, "%llu connections were open, as many as may be, and this one, idle for %s, gave way to a new one",
	           (unsigned long long)admission_count(worker->proxy) - 1, idle);
	conn_settle(conn);
	return true;
}

/* Has another worker end one of its own, soon: only its thread may. */
static bool admission_ask_others(const struct worker *worker, enum direction direction)
{
	const struct proxy *proxy = worker->proxy;
	bool over = admission_is_over(proxy, admission_load(proxy), direction);

	for (int i = 0; i < proxy->worker_count; i++) {
		struct worker *other = proxy->workers[i];

		for (int side = 0; side < 2 && other != worker; side++) {
			int idle = atomic_load_explicit(&other->idle_count[side], memory_order_relaxed);

			if ((over && side != (int)direction) || idle <= atomic_load_explicit(&other->room_wanted[side], memory_order_relaxed))
				continue;
			atomic_fetch_add_explicit(&other->room_wanted[side], 1, memory_order_relaxed);
			worker_wake(other);
			return true;
		}
	}
	return false;
}

void admission_make_room(struct worker *worker)
{
	for (int side = 0; side < 2; side++) {
		enum direction direction = (enum direction)side;
		int wanted = 0;

		if (atomic_load_explicit(&worker->room_wanted[side], memory_order_relaxed))
			wanted = atomic_exchange_explicit(&worker->room_wanted[side], 0, memory_order_relaxed);
		/* What was idle when we were asked may be at work by now: then it is another worker's turn. */
		while (wanted-- > 0 && (admission_end_idlest(worker, direction) || admission_ask_others(worker, direction)))
			continue;
	}
}

bool admission_take(struct conn *conn)
{
	struct worker *worker = conn->worker;
	struct proxy *proxy = worker->proxy;
	uint64_t one = admission_one(conn->direction);
	/* Counted before it is judged: of several workers that look at once, one finds the last place. */
	uint64_t admitted = atomic_fetch_add_explicit(&proxy->admitted, one, memory_order_relaxed) + one;

	conn->admitted = true;
	if ((admission_is_over(proxy, admitted, conn->direction) || admission_sum(admitted) > proxy->max_connections) &&
	    !admission_end_idlest(worker, conn->direction) && !admission_ask_others(worker, conn->direction))
		admission_release(conn);
	return conn->admitted;
}

void admission_release(struct conn *conn)
{
	if (conn->admitted)
		atomic_fetch_sub_explicit(&conn->worker->proxy->admitted, admission_one(conn->direction), memory_order_relaxed);
	conn->admitted = false;
	admission_delist(conn);
}
