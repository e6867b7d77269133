#include "proxy/connection/admission.h"

#include <stdatomic.h>

#include "lib/duration.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/conn_events.h"
#include "proxy/connection/place.h"
#include "proxy/connection/worker.h"

static bool admission_end_idlest(struct worker *worker, enum direction direction)
{
	struct conn *conn = place_idlest(worker, direction);
	struct cause cause = cause_of(REASON_CONN_LIMIT);
	char idle[DURATION_TEXT_SIZE];

	if (!conn)
		return false;
	cause.at_rest = true;
	duration_format(conn_now(conn) - place_idle_since(conn), idle);
	conn_close(conn, cause, "%llu connections were open, as many as may be, and this one, idle for %s, gave way to a new one",
	           (unsigned long long)place_count(worker->proxy) - 1, idle);
	conn_settle(conn);
	return true;
}

/* Has another worker end one of its own, soon: only its thread may. */
static bool admission_ask_others(const struct worker *worker, enum direction direction)
{
	const struct proxy *proxy = worker->proxy;
	bool over = place_is_over(proxy, direction);

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

	if (!place_take(conn) && !admission_end_idlest(worker, conn->direction) && !admission_ask_others(worker, conn->direction))
		place_release(conn);
	return conn->admitted;
}
