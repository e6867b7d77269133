/* STAGE_LINGER: a connection that has ended, whose client still has bytes to take. It has no server leg any more, and what the client still
 * sends is thrown away until it has finished too. */
#include <stdbool.h>

#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/ending.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/worker.h"

static void proto_linger_client_readable(struct conn *conn)
{
	int got;

	for (int round = 0; round < 16; round++) {
		got = leg_read(&conn->client, conn->worker->scratch, WORKER_SCRATCH);
		if (got <= 0)
			break;
		conn->discarded += (uint32_t)got;
		if (conn->discarded >= CONN_DISCARD_MOST || conn_now(conn) >= conn->ending.at + CONN_DISCARD_MS) {
			conn_hold_client(conn, true); /* ALARM_LINGER ends it, as soon as it has its last bytes */
			break;
		}
		conn_arm(conn, ALARM_LINGER, conn_now(conn) + CONN_LINGER_MS);
		if (conn->ending.reason == REASON_IDLE_TIMEOUT && conn->protocol == PROTOCOL_HTTP1) {
			conn->ending.reason = REASON_IDLE_RACE;
			ending_reword(&conn->ending, conn, reason_row(REASON_IDLE_RACE)->sentence);
		}
	}
	/* It has finished, or is gone; what waits for it is still its own. */
	if (got < 0 && !(conn->client.fin_received && leg_pending(&conn->client)))
		conn_close_finish(conn, false);
}

static void proto_linger_client_writable(struct conn *conn)
{
	if (!leg_pending(&conn->client) && conn->client.fin_received)
		conn_close_finish(conn, false);
}

static void proto_linger_over(struct conn *conn)
{
	conn_close_finish(conn, false);
}

/* Its last bytes wait for it as long as any others would have. */
static void proto_linger_stalled(struct conn *conn, uint64_t undelivered, enum timeout_id timer)
{
	TEXT_ON_STACK(fact, 96);

	if (reason_row(conn->ending.reason)->by == BY_PEER) { /* else what ended it was worse than this */
		conn->ending.reason = REASON_CLIENT_STALLED;
		conn->ending.by = BY_CLIENT;
		conn->ending.timer = timer;
		conn->ending.idle_ms = conn_now(conn) - conn->instants[INSTANT_LAST_BYTE];
		text_printf(&fact, "the client took none of the last %llu bytes", (unsigned long long)undelivered);
		ending_reword(&conn->ending, conn, fact_bytes);
	}
	conn_close_finish(conn, true);
}

static void proto_linger_alarmed(struct conn *conn, enum alarm alarm)
{
	enum timeout_id timer = conn->protocol == PROTOCOL_HTTP1 || conn->protocol == PROTOCOL_HTTP2 ? TIMEOUT_STREAM_IDLE : TIMEOUT_TCP_IDLE;
	int64_t patience = conn_timeout(conn, timer)->milliseconds;
	uint64_t undelivered;

	progress_look(conn);
	undelivered = progress_undelivered(&conn->client);
	if (!undelivered)
		conn_close_finish(conn, false);
	else if (patience && conn_now(conn) - conn->instants[INSTANT_LAST_BYTE] >= patience)
		proto_linger_stalled(conn, undelivered, timer);
	else
		conn_arm(conn, ALARM_LINGER, conn_now(conn) + CONN_LINGER_MS);
}

static void proto_linger_drain(struct conn *conn)
{
	/* It is ending already. */
}

const struct proto proto_linger = {
    .name = "linger",
    .client_readable = proto_linger_client_readable,
    .client_writable = proto_linger_client_writable,
    .client_failed = proto_linger_over,
    .alarmed = proto_linger_alarmed,
    .drain = proto_linger_drain,
};
