#include "proxy/http1/partial.h"

#include <errno.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/unread.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

/* Not where the head is to be changed, nor where a leg is chosen for what the whole request is, nor where its owner has it waited for. */
static bool partial_may(const struct conn *conn)
{
	const struct proxy *proxy = conn->worker->proxy;

	return unread_may(conn) && !conn->terms->timeouts.of[TIMEOUT_REQUEST_HEADERS].milliseconds && !proxy->upstream->pool_size &&
	       !(proxy->exchange->forwarded && conn->direction == DIRECTION_INBOUND);
}

void partial_held(struct conn *conn)
{
	int64_t grace = conn->worker->proxy->settings->detect_grace;

	if (conn->passed)
		partial_pass(conn);
	else if (conn->alarm != ALARM_GRACE)
		conn_arm(conn, ALARM_GRACE, conn_now(conn) + (grace ? grace : 1));
}

static bool partial_acquire(struct conn *conn)
{
	if (conn->passed)
		return true;
	if (conn->upstream && (!upstream_usable(conn->upstream) || !addr_equal(&conn->upstream->destination, conn_destination(conn)))) {
		upstream_observe_rest(conn->upstream);
		server_leg_drop(conn, false);
	}
	if (!conn->upstream && server_leg_dial(conn))
		return false; /* the whole head will meet the same, and be told */
	upstream_use(conn->upstream);
	return true;
}

void partial_pass(struct conn *conn)
{
	struct buf *held = &conn->client.in;
	size_t length = buf_length(held);

	if (length <= conn->passed || !partial_may(conn) || !partial_acquire(conn))
		return;
	if (leg_send(&conn->upstream->leg, buf_bytes(held) + conn->passed, length - conn->passed, conn_now(conn)) == -ENOMEM)
		exchange_no_memory(conn);
	else
		conn->passed = (uint32_t)length;
}

/* Its server did not wait for the rest: from here on it is between the two. */
static void partial_give_up(struct conn *conn, struct slice from_server)
{
	static const struct http1_error error = {.reason = REASON_REQUEST_INVALID, .what = "its head was not complete when the server acted"};

	unread_start(conn, HTTP1_REQUEST, &error, (struct slice){0}, from_server);
}

void partial_server_failed(struct conn *conn)
{
	struct upstream *upstream = conn->upstream;

	if (upstream->uses || upstream->leg.connecting) { /* stale: the head did not reach it in time */
		server_leg_drop(conn, false);
	} else {
		partial_give_up(conn, (struct slice){0});
		if (!upstream->leg.fin_received)
			conn->proto->server_failed(conn);
	}
}

void partial_server_readable(struct conn *conn)
{
	int got = leg_read(&conn->upstream->leg, conn->worker->scratch, WORKER_SCRATCH);

	if (got > 0)
		partial_give_up(conn, (struct slice){conn->worker->scratch, (size_t)got});
	else if (got < 0)
		partial_server_failed(conn);
}

void partial_complete(struct conn *conn)
{
	if (conn->passed && !partial_may(conn))
		server_leg_drop(conn, false);
}
