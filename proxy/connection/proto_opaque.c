/* Bytes both ways: opaque TCP, and what follows a 101 or a CONNECT. A FIN goes on as a FIN, a RST as a RST. */
#include <errno.h>
#include <stdbool.h>

#include "lib/addr.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"
#include "proxy/server/upstream.h"

static void proto_opaque_done_if_complete(struct conn *conn)
{
	const struct leg *client = &conn->client, *server = &conn->upstream->leg;

	if (!client->fin_received || !server->fin_received || leg_pending(client) || leg_pending(server))
		return;
	if (!client->received && !server->received && conn->first_fin == BY_CLIENT)
		conn_close(conn, cause_of(REASON_CLIENT_CLOSED_UNUSED), NULL);
	else
		conn_close(conn, cause_by(REASON_DONE, conn->first_fin), "both sides ended, the %s first", reason_by_name(conn->first_fin));
}

/* A half-closed connection has its conntrack entry looked at now and then: once that is forgotten, no packet gets through. */
static void proto_opaque_watch_half_closed(struct conn *conn)
{
	if ((conn->stage == STAGE_OPAQUE || conn->stage == STAGE_TUNNEL) && conn->client.fin_received != conn->upstream->leg.fin_received)
		conn_arm(conn, ALARM_HALF_CLOSED, conn_now(conn) + conn->worker->proxy->half_closed_keepalive_s * INT64_C(1000));
}

static void proto_opaque_server_failed(struct conn *conn)
{
	struct leg *server = &conn->upstream->leg;
	char name[ADDR_TEXT_SIZE];
	uint64_t moved;
	TEXT_ON_STACK(words, 192);

	if (server->vanished || server->error == -ETIMEDOUT) {
		conn_close(conn, cause_timer(REASON_SERVER_VANISHED, server->vanished ? TIMEOUT_UNACKNOWLEDGED : TIMEOUT_NONE),
		           "%s no longer acknowledges anything%s", addr_format(conn_destination(conn), name),
		           progress_vanished_words(conn, server, &words));
		return;
	}
	/* What it said before it reset is the client's, all of it: there is no later turn. A dead socket's queue only gets shorter. */
	if (!server->fin_received && !leg_pending(&conn->client))
		while (pump_move(&conn->worker->pump, server, &conn->client, UINT64_MAX, &moved) == PUMP_YIELD)
			;
	conn_close(conn, cause_of(REASON_SERVER_RESET), "%s reset the connection after %llu bytes",
	           addr_format(conn_destination(conn), name), (unsigned long long)server->received);
}

static void proto_opaque_finished(struct conn *conn, struct leg *to, enum reason_by side)
{
	if (conn->first_fin == BY_PEER) {
		conn->first_fin = side;
		conn->half_closed = true;
		metrics_add(conn->worker->metrics, METRIC_CONNECTIONS_HALF_CLOSED, conn->direction, 0, 0, 0, 1);
		conn_half_closed(conn);
	}
	leg_finish(to);
	proto_opaque_done_if_complete(conn);
	if (conn->upstream)
		proto_opaque_watch_half_closed(conn);
}

/* What ran for a message that nobody reads any more runs until its server has said something. */
static void proto_opaque_moved(struct conn *conn, enum reason_by side)
{
	conn_touch(conn);
	if (!conn->unread)
		return;
	conn->instants[INSTANT_IDLE] = conn_now(conn);
	if (side == BY_SERVER)
		conn->instants[INSTANT_HEAD] = conn->unread->instants[INSTANT_REQUEST] = conn->unread->instants[INSTANT_ATTEMPT] =
			conn->unread->instants[INSTANT_REQUEST_END] = 0;
}

static void proto_opaque_move(struct conn *conn, struct leg *from, struct leg *to, enum reason_by side)
{
	uint64_t moved;
	enum pump_end end = pump_move(&conn->worker->pump, from, to, UINT64_MAX, &moved);

	if (moved) {
		proto_opaque_moved(conn, side);
		conn_count_bytes(conn);
	}
	switch (end) {
	case PUMP_FIN:
		proto_opaque_finished(conn, to, side);
		break;
	case PUMP_FROM_FAILED:
	case PUMP_TO_FAILED:
		if ((end == PUMP_FROM_FAILED) == (side == BY_CLIENT))
			conn_close_client_failed(conn);
		else
			proto_opaque_server_failed(conn);
		break;
	case PUMP_NO_MEMORY:
		conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
		break;
	default:
		break;
	}
}

static void proto_opaque_client_readable(struct conn *conn)
{
	proto_opaque_move(conn, &conn->client, &conn->upstream->leg, BY_CLIENT);
}

/* A client that has finished and been silent: is there still a way to it? What is sent without one goes out under our own address
 * and is answered with a RST. */
static bool proto_opaque_way_back_lost(const struct conn *conn)
{
	enum { SILENCE_MS = 1000 };

	return conn->client.fin_received && conn_now(conn) - conn->instants[INSTANT_LAST_BYTE] >= SILENCE_MS &&
	       origin_lost(conn->client.source.fd, &conn->server_addr);
}

static void proto_opaque_server_readable(struct conn *conn)
{
	if (proto_opaque_way_back_lost(conn)) {
		conn_close(conn, cause_of(REASON_REDIRECT_STATE_LOST), NULL);
		return;
	}
	proto_opaque_move(conn, &conn->upstream->leg, &conn->client, BY_SERVER);
}

static void proto_opaque_writable(struct conn *conn)
{
	conn_touch(conn);
	proto_opaque_done_if_complete(conn);
}

static void proto_opaque_server_connected(struct conn *conn, int result)
{
	if (result) {
		conn_close_dial_failed(conn, result);
		return;
	}
	if (conn->stage == STAGE_CONNECT)
		conn_enter(conn, STAGE_OPAQUE);
	conn_touch(conn);
	if (pump_flush(&conn->worker->pump, &conn->upstream->leg))
		proto_opaque_server_failed(conn);
	else if (conn->client.fin_received)
		proto_opaque_finished(conn, &conn->upstream->leg, BY_CLIENT);
}

void proto_opaque_start(struct conn *conn, const uint8_t *server_bytes, size_t length)
{
	struct leg *server = &conn->upstream->leg;
	int result;

	conn->proto = &proto_opaque;
	upstream_use(conn->upstream);
	if (length && leg_send(&conn->client, server_bytes, length, conn_now(conn))) {
		conn_close_client_failed(conn);
		return;
	}
	if (buf_length(&server->in)) {
		result = leg_send(&conn->client, buf_bytes(&server->in), buf_length(&server->in), conn_now(conn));
		buf_release(&server->in);
		if (result) {
			conn_close_client_failed(conn);
			return;
		}
	}
	buf_consume(&conn->client.in, conn->passed);
	conn->passed = 0;
	if (buf_length(&conn->client.in)) {
		result = leg_send(server, buf_bytes(&conn->client.in), buf_length(&conn->client.in), conn_now(conn));
		buf_release(&conn->client.in);
		if (result) {
			proto_opaque_server_failed(conn);
			return;
		}
	}
	if (server->fin_received)
		proto_opaque_finished(conn, &conn->client, BY_SERVER);
	if (conn->upstream && conn->client.fin_received && !server->connecting)
		proto_opaque_finished(conn, server, BY_CLIENT);
}

static void proto_opaque_half_close_expired(struct conn *conn)
{
	bool client_finished = conn->client.fin_received;

	conn_close(conn, cause_timer(REASON_HALF_CLOSE_TIMEOUT, TIMEOUT_HALF_CLOSE),
	           "the %s had finished and the %s sent nothing more", client_finished ? "client" : "server",
	           client_finished ? "server" : "client");
}

static void proto_opaque_expired(struct conn *conn, enum timeout_id timer)
{
	if (timer != TIMEOUT_CONNECT && conn_close_stalled(conn, timer))
		return;
	switch (timer) {
	case TIMEOUT_TCP_IDLE:
		conn_close(conn, cause_timer(REASON_TCP_IDLE_TIMEOUT, timer), "no byte moved either way");
		break;
	case TIMEOUT_STREAM_IDLE:
		conn_close(conn, cause_timer(REASON_TUNNEL_IDLE_TIMEOUT, timer), "no byte moved either way in the tunnel");
		break;
	case TIMEOUT_HALF_CLOSE:
		proto_opaque_half_close_expired(conn);
		break;
	case TIMEOUT_IDLE_CONNECTION:
		conn_close(conn, cause_timer(REASON_TUNNEL_IDLE_TIMEOUT, timer), "no byte moved either way since HTTP could not be read further");
		break;
	case TIMEOUT_REQUEST_HEADERS:
	case TIMEOUT_REQUEST:
	case TIMEOUT_BACKEND_REQUEST:
		conn_close(conn, cause_timer(timeouts_reason(timer), timer), "the server said nothing to what could not be read as HTTP");
		break;
	case TIMEOUT_CONNECT:
		conn_close_dial_failed(conn, 0);
		break;
	default:
		break;
	}
}

static void proto_opaque_alarmed(struct conn *conn, enum alarm alarm)
{
	if (origin_lost(conn->client.source.fd, &conn->server_addr))
		conn_close(conn, cause_of(REASON_REDIRECT_STATE_LOST), NULL);
	else
		proto_opaque_watch_half_closed(conn);
}

static void proto_opaque_drain(struct conn *conn)
{
	/* Nothing tells an opaque peer to finish: it has until the drain timeout. */
}

const struct proto proto_opaque = {
    .name = "opaque",
    .client_readable = proto_opaque_client_readable,
    .client_writable = proto_opaque_writable,
    .server_connected = proto_opaque_server_connected,
    .server_readable = proto_opaque_server_readable,
    .server_writable = proto_opaque_writable,
    .client_failed = conn_close_client_failed,
    .server_failed = proto_opaque_server_failed,
    .expired = proto_opaque_expired,
    .alarmed = proto_opaque_alarmed,
    .drain = proto_opaque_drain,
};
