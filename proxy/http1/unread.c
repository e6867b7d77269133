#include "proxy/http1/unread.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

/* A request under way keeps the terms it began with: what of them needs its answer to be read. */
static bool unread_would_skip(const struct exchange *exchange)
{
	const struct terms *terms = exchange ? exchange->terms : NULL;

	return terms && (terms->retry || terms->edits[0] || terms->edits[1]);
}

bool unread_may(const struct conn *conn)
{
	const struct policy *policy = conn->worker->terms.policy;

	return !conn->worker->proxy->http1->refuse_malformed && !unread_would_skip(conn->exchange) &&
	       !policy_target_decides(policy_target(policy, conn->direction, &conn->server_addr));
}

const struct http1_limits *unread_limits(const struct conn *conn)
{
	return &conn->worker->proxy->http1->limits;
}

/* What the parser said, for the metrics: one of few words. */
static enum unread_kind unread_kind(const struct http1_error *error)
{
	switch (error->reason) {
	case REASON_HEAD_TOO_LARGE:
		return UNREAD_LIMIT;
	case REASON_REQUEST_AMBIGUOUS:
		return UNREAD_FRAMING;
	default:
		return UNREAD_SYNTAX;
	}
}

/* "more header fields than --max-head-fields 128" */
static void unread_say(const struct http1_error *error, struct text *out)
{
	text_string(out, error->what);
	if (error->limit)
		text_printf(out, " %llu", (unsigned long long)error->limit);
}

/* The request under way keeps its timers. False: no memory. */
static bool unread_note(struct conn *conn, enum http1_kind kind, const struct http1_error *error)
{
	unsigned number = conn->requests + (kind == HTTP1_REQUEST && !conn->exchange);
	TEXT_ON_STACK(what, 240);

	text_printf(&what, "%s %u: ", kind == HTTP1_REQUEST ? "request" : "response", number);
	unread_say(error, &what);
	if (error->offset)
		text_printf(&what, " (byte %zu)", error->offset);
	conn->unread = calloc(1, sizeof *conn->unread + what.length + 1);
	if (!conn->unread)
		return false;
	memcpy(conn->unread->words, what_bytes, what.length);
	if (conn->exchange)
		memcpy(conn->unread->instants, conn->exchange->instants, sizeof conn->unread->instants);
	metrics_add(conn->worker->metrics, METRIC_UNREAD, conn->direction, kind == HTTP1_REQUEST ? LEG_CLIENT : LEG_SERVER, unread_kind(error),
	            0, 1);
	metrics_add(conn->worker->metrics, METRIC_UNREAD_ACTIVE, conn->direction, 0, 0, 0, 1);
	return true;
}

/* The leg that the message at hand is of, or would have gone on; else a fresh one. 0 or -errno. */
static int unread_acquire(struct conn *conn, enum http1_kind kind)
{
	if (conn->upstream && !conn->exchange && kind == HTTP1_REQUEST && !conn->passed && !upstream_usable(conn->upstream))
		server_leg_drop(conn, false);
	return conn->upstream ? 0 : server_leg_dial(conn);
}

void unread_start(struct conn *conn, enum http1_kind kind, const struct http1_error *error, struct slice from_client,
                  struct slice from_server)
{
	int result = unread_acquire(conn, kind);
	size_t passed = conn->passed < from_client.length ? conn->passed : from_client.length;

	if (result) {
		conn_close_dial_failed(conn, result);
		return;
	}
	if (!unread_note(conn, kind, error)) {
		exchange_no_memory(conn);
		return;
	}
	if (conn->exchange)
		conn->exchange->through = true;
	exchange_end(conn, NULL);
	conn->upstream->private = true;
	conn_enter(conn, STAGE_TUNNEL);
	conn->instants[INSTANT_IDLE] = conn_now(conn);
	conn->passed -= (uint32_t)passed;
	if (from_client.length > passed &&
	    leg_send(&conn->upstream->leg, from_client.bytes + passed, from_client.length - passed, conn_now(conn))) {
		proto_opaque.server_failed(conn);
		return;
	}
	proto_opaque_start(conn, from_server.bytes, from_server.length);
}

/* A message that is refused where reading decides something. */
static void unread_refuse(struct conn *conn, const struct http1_error *error)
{
	struct cause cause = cause_of(error->reason);
	TEXT_ON_STACK(what, 200);

	cause.status = error->status;
	unread_say(error, &what);
	if (error->offset) /* else it is not one byte that is wrong */
		text_printf(&what, " (byte %zu of it)", error->offset);
	if (error->reason == REASON_SERVER_INVALID)
		exchange_fail(conn, cause, "the server's response is not valid HTTP: %s", what_bytes);
	else
		exchange_fail(conn, cause, "the request was refused: %s", what_bytes);
}

void unread_or_refuse(struct conn *conn, enum http1_kind kind, const struct http1_error *error, struct slice from_client,
                      struct slice from_server)
{
	if (unread_may(conn))
		unread_start(conn, kind, error, from_client, from_server);
	else
		unread_refuse(conn, error);
}
