#include "proxy/connection/conn_close.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "lib/loop.h"
#include "lib/slab.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/ending.h"
#include "proxy/connection/place.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/record.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

static void conn_close_swept(struct loop_deferred *deferred)
{
	struct conn *conn = (struct conn *)(void *)((char *)deferred - offsetof(struct conn, deferred));

	terms_release(&conn->worker->terms, conn->terms);
	ending_free(&conn->ending);
	free(conn->seen);
	free(conn->unread);
	slab_release(conn->worker->conn_memory, conn);
}

static void conn_close_count(struct conn *conn)
{
	struct metrics *metrics = conn->worker->metrics;
	const struct ending *ending = &conn->ending;
	int64_t open_ms = ending->at - conn->instants[INSTANT_ACCEPTED];

	conn_count_bytes(conn);
	ending_count(conn, ending);
	metrics_add(metrics, METRIC_CONNECTIONS_CLOSED, conn->direction, ending->reason, ending->by, ending->phase, 1);
	metrics_add(metrics, METRIC_CONNECTIONS_ACTIVE, conn->direction, 0, 0, 0, -1);
	metrics_observe(metrics, METRIC_CONNECTION_SECONDS, conn->direction, conn->protocol, open_ms * 1000);
	PROBE_CLOSE(conn->id, reason_row(ending->reason)->name, reason_by_name(ending->by), words_phase(ending->phase), open_ms);
	metrics_add_named(metrics, NAMED_SERVICE_CLOSED, conn->terms->service_series, conn->direction, ending->reason, 1);
	if (conn->unread)
		metrics_add(metrics, METRIC_UNREAD_ACTIVE, conn->direction, 0, 0, 0, -1);
	if (conn->half_closed)
		metrics_add(metrics, METRIC_CONNECTIONS_HALF_CLOSED, conn->direction, 0, 0, 0, -1);
	if (ending->reason == REASON_REDIRECT_STATE_LOST)
		metrics_add(metrics, METRIC_REDIRECT_STATE_LOST, conn->direction, 0, 0, 0, 1);
}

void conn_close_finish(struct conn *conn, bool reset)
{
	struct worker *worker = conn->worker;

	place_release(conn); /* it takes no place from others any more, though its last bytes may still be on their way */
	wheel_cancel(loop_wheel(worker->loop), &conn->timer);
	pump_drop(&worker->pump, &conn->client);
	leg_close(&conn->client, worker->loop, reset);
	conn_enter(conn, STAGE_CLOSED);
	record_connection(conn);
	conn_close_count(conn);
	if (worker->walk_next == conn)
		worker->walk_next = conn->next;
	*conn->link = conn->next;
	if (conn->next)
		conn->next->link = conn->link;
	worker->conn_count--;
	atomic_fetch_sub_explicit(&worker->proxy->connections, 1, memory_order_relaxed);
	conn->deferred.run = conn_close_swept;
	loop_defer(worker->loop, &conn->deferred);
}

/* A timer, a silent peer, or a RST (to a packet that went out under the proxy's own address) may only be the symptom: conntrack
 * has forgotten the flow. */
static struct cause conn_close_examine(const struct conn *conn, struct cause cause)
{
	switch (cause.reason) {
	case REASON_TCP_IDLE_TIMEOUT:
	case REASON_HALF_CLOSE_TIMEOUT:
	case REASON_TUNNEL_IDLE_TIMEOUT:
	case REASON_IDLE_TIMEOUT:
	case REASON_STREAM_IDLE_TIMEOUT:
	case REASON_CLIENT_VANISHED:
	case REASON_CLIENT_STALLED:
	case REASON_CLIENT_RESET:
	case REASON_CLIENT_ABORTED_WAIT:
	case REASON_CLIENT_ABORTED_RESPONSE:
		if (origin_lost(conn->client.source.fd, &conn->server_addr))
			cause = cause_timer(REASON_REDIRECT_STATE_LOST, cause.timer);
		break;
	default:
		break;
	}
	return cause;
}

/* A leg that rests is clean and may serve others; one in the middle of something is not to look as if that had been finished, but if that
 * is how its client left it. */
static void conn_close_release_server(struct conn *conn, enum reason_ending end, bool exchange_under_way)
{
	struct upstream *upstream = conn->upstream;

	if (upstream && upstream->idle_since && end != ENDING_RST)
		server_leg_release(conn);
	else if (upstream)
		server_leg_drop(conn, end != ENDING_FIN || exchange_under_way || leg_pending(&upstream->leg));
}

/* Lingering takes no place but a descriptor: when too many do, the next one closes at once. */
static bool conn_close_is_crowded(const struct conn *conn)
{
	enum { LINGERING_FREE = 64 };
	struct proxy *proxy = conn->worker->proxy;
	uint64_t open = atomic_load_explicit(&proxy->connections, memory_order_relaxed);
	uint64_t admitted = place_count(proxy);

	return open > admitted + LINGERING_FREE + proxy->max_connections / 4;
}

/* What ends now, and whose record --log-level or --log-rate would hold back, needs no words. */
static bool conn_close_needs_words(const struct conn *conn)
{
	bool at_once = conn->client.write_failed || (conn->client.fin_received && !leg_pending(&conn->client));

	return !at_once || record_wanted(conn, conn->ending.reason);
}

void conn_close_list(struct conn *conn, struct cause cause, const char *format, va_list arguments)
{
	enum reason_ending end;
	bool exchange_under_way = conn->exchange && cause.reason != REASON_CLIENT_CLOSED_REQUEST;

	if (conn->ending.reason != REASON_NONE)
		return;
	if (server_leg_looped(conn, cause.reason)) {
		TEXT_ON_STACK(words, 256);

		server_leg_looped_words(conn, &words);
		conn_close(conn, cause_of(REASON_REDIRECT_LOOP), "%s", words_bytes);
		return;
	}
	if (conn->stage != STAGE_ACCEPT)
		cause = conn_close_examine(conn, cause);
	if (cause.reason == REASON_REDIRECT_STATE_LOST)
		format = "conntrack has forgotten this connection, so its packets no longer reach the proxy";
	ending_fill(&conn->ending, conn, cause);
	if (conn_close_needs_words(conn))
		ending_explain(&conn->ending, conn, format, arguments);
	end = cause.answered || cause.at_rest ? ENDING_FIN : cause.reset ? ENDING_RST : reason_row(cause.reason)->ending;
	if (conn->proto->ended)
		conn->proto->ended(conn);
	conn_close_release_server(conn, end, exchange_under_way);
	if (end != ENDING_FIN || conn->client.write_failed) {
		conn_close_finish(conn, end == ENDING_RST);
		return;
	}
	if (conn->client.fin_received && !leg_pending(&conn->client)) { /* close() sends the FIN */
		conn_close_finish(conn, false);
		return;
	}
	leg_finish(&conn->client);
	if (conn_close_is_crowded(conn)) {
		conn_close_finish(conn, leg_pending(&conn->client));
		return;
	}
	if (!leg_pending(&conn->client) && !conn->proto->lingers && !cause.answered) {
		conn_close_finish(conn, false);
		return;
	}
	buf_release(&conn->client.in);
	place_release(conn);
	conn_enter(conn, STAGE_LINGER);
	conn->proto = &proto_linger;
	conn->discarded = 0;
	conn_arm(conn, ALARM_LINGER, conn_now(conn) + CONN_LINGER_MS);
}

void conn_close(struct conn *conn, struct cause cause, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	conn_close_list(conn, cause, format, arguments);
	va_end(arguments);
}

void conn_close_dial_failed(struct conn *conn, int error)
{
	TEXT_ON_STACK(dial, 256);

	server_leg_describe_dial(conn, error, &dial);
	conn_close(conn, server_leg_dial_cause(error), "%s", dial_bytes);
}

void conn_close_client_failed(struct conn *conn)
{
	TEXT_ON_STACK(words, 192);
	const struct leg *client = &conn->client;

	if (client->error == -ETIMEDOUT) {
		struct cause cause = cause_timer(REASON_CLIENT_VANISHED, client->vanished ? TIMEOUT_UNACKNOWLEDGED : TIMEOUT_NONE);

		conn_close(conn, cause, "the client no longer acknowledges anything%s", progress_vanished_words(conn, client, &words));
	} else {
		conn_close(conn, cause_of(REASON_CLIENT_RESET), NULL);
	}
}

void conn_close_force(struct conn *conn)
{
	conn_close_finish(conn, progress_undelivered(&conn->client));
}

bool conn_close_stalled(struct conn *conn, enum timeout_id timer)
{
	static const char taken_none[] = "the %s took none of the %llu bytes that wait for it";
	uint64_t client = progress_undelivered(&conn->client);
	uint64_t server = conn->upstream && !conn->upstream->leg.connecting ? progress_undelivered(&conn->upstream->leg) : 0;

	if (client)
		conn_close(conn, cause_timer(REASON_CLIENT_STALLED, timer), taken_none, "client", (unsigned long long)client);
	else if (server && conn->exchange)
		conn->proto->fail(conn, cause_timer(REASON_SERVER_STALLED, timer), taken_none, "server", (unsigned long long)server);
	else if (server)
		conn_close(conn, cause_timer(REASON_SERVER_STALLED, timer), taken_none, "server", (unsigned long long)server);
	return client || server;
}
