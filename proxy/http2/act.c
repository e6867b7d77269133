#include "proxy/http2/act.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http2/account.h"
#include "proxy/http2/flow.h"
#include "proxy/http2/header.h"
#include "proxy/metrics/code.h"
#include "proxy/metrics/metrics.h"

enum {
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNAVAILABLE = 14,
	DETAIL_MOST = 1024,
};

/* --- header blocks --- */

/* A block of ours begins with what its receiver waits for; one of a way that is written anew with no table at all. */
static void act_begin_block(struct session *session, struct flow *flow, struct buf *block)
{
	bool failed = false;

	if (flow->anew) {
		if (!flow->emptied || flow->awaited.any)
			failed = header_put_size(block, 0);
		flow->emptied = true;
	} else if (flow->awaited.any) {
		failed = header_put_size(block, flow->awaited.least);
		if (flow->awaited.last != flow->awaited.least)
			failed |= header_put_size(block, flow->awaited.last);
	}
	flow->awaited.any = false;
	session->no_memory |= failed;
}

bool act_write_block(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way];
	struct block *block = &flow->block;
	uint8_t flags = block->type == FRAME_PUSH_PROMISE ? 0 : block->flags & (FLAG_END_STREAM | FLAG_PRIORITY);
	struct buf whole = {0};

	act_begin_block(session, flow, &whole);
	session->no_memory |= buf_append(&whole, buf_bytes(&block->anew), buf_length(&block->anew)) ||
	                      frame_put_block(&flow->own, block->type, block->stream, flags, block->lead,
	                                      (struct slice){buf_bytes(&whole), buf_length(&whole)});
	buf_release(&whole);
	return !session->no_memory;
}

/* A header's value holds no control bytes and nothing outside ASCII; gRPC's message is percent-encoded besides. */
static void act_put_text(struct session *session, struct buf *block, const char *name, const char *value, bool encoded)
{
	TEXT_ON_STACK(clean, DETAIL_MOST);

	for (; *value && !clean.truncated; value++) {
		if (encoded && (*value < 0x20 || *value >= 0x7f || *value == '%'))
			text_printf(&clean, "%%%02X", (unsigned char)*value);
		else
			text_char(&clean, *value >= 0x20 && *value < 0x7f ? *value : '?');
	}
	session->no_memory |= header_put_text(block, name, clean_bytes) != 0;
}

static unsigned act_grpc_status(enum reason_id reason, int status)
{
	switch (reason) {
	case REASON_CONN_LIMIT:
	case REASON_MEMORY_LIMIT:
	case REASON_FD_LIMIT:
		return GRPC_RESOURCE_EXHAUSTED;
	case REASON_SERVER_VANISHED:
		return GRPC_UNAVAILABLE;
	default:
		return status != 502 && status != 503 ? GRPC_DEADLINE_EXCEEDED : GRPC_UNAVAILABLE;
	}
}

/* Ends the stream at the client with one HEADERS: an answer, or, where its head has passed, gRPC's trailers. */
static void act_put_answer(struct session *session, struct stream *stream, bool head, int status)
{
	struct flow *flow = &session->flows[FLOW_DOWN];
	const struct conn *conn = session->conn;
	const char *reason = reason_row(stream->why)->name, *detail = stream->detail ? stream->detail : reason_row(stream->why)->sentence;
	bool words = !conn->worker->proxy->exchange->no_reason_headers;
	struct buf block = {0};
	char number[12];

	act_begin_block(session, flow, &block);
	if (head) {
		snprintf(number, sizeof number, "%d", stream->grpc ? 200 : status);
		act_put_text(session, &block, ":status", number, false);
		if (stream->grpc)
			act_put_text(session, &block, "content-type", "application/grpc", false);
	}
	if (stream->grpc) {
		snprintf(number, sizeof number, "%u", act_grpc_status(stream->why, status));
		act_put_text(session, &block, "grpc-status", number, false);
		if (words)
			act_put_text(session, &block, "grpc-message", detail, true);
	}
	if (words) {
		act_put_text(session, &block, "lapse-reason", reason, false);
		act_put_text(session, &block, "lapse-detail", detail, false);
	}
	session->no_memory |= frame_put_block(&flow->own, FRAME_HEADERS, stream->id, FLAG_END_STREAM, NULL,
	                                      (struct slice){buf_bytes(&block), buf_length(&block)}) != 0;
	stream->heads[FLOW_DOWN] += (uint32_t)(FRAME_HEAD + buf_length(&block));
	buf_release(&block);
}

/* --- cutting --- */

static void act_put_reset(struct session *session, enum flow_way way, uint32_t id, enum error_code code)
{
	struct conn *conn = session->conn;

	if (way == FLOW_UP && session->lost)
		return;
	session->resets += way == FLOW_UP;
	session->no_memory |= frame_put_reset(&session->flows[way].own, id, code) != 0;
	metrics_add(conn->worker->metrics, METRIC_STREAM_RESETS, conn->direction, BY_PROXY, code, 0, 1);
}

static void act_end_at_client(struct session *session, struct stream *stream, int status)
{
	bool head = !stream->status;

	if (stream->server_ended) { /* it has the whole response, and goes on with what nobody takes */
		if (!stream->client_ended)
			act_put_reset(session, FLOW_DOWN, stream->id, CODE_NO_ERROR);
		return;
	}
	if (!head && !(stream->grpc && stream_messages_whole(&stream->messages[FLOW_DOWN]))) {
		act_put_reset(session, FLOW_DOWN, stream->id, CODE_CANCEL);
		return;
	}
	act_put_answer(session, stream, head, status);
	if (!stream->client_ended)
		act_put_reset(session, FLOW_DOWN, stream->id, CODE_NO_ERROR);
}

bool act_is_passing(const struct flow *flow, uint32_t id)
{
	return !flow_at_rest(flow) && (flow->block.open ? flow->block.stream == id : flow->frame.stream == id);
}

void act_cut(struct session *session, struct stream *stream, struct cause cause, int status, const char *format, ...)
{
	va_list arguments;
	char *detail;

	if (stream->grpc && !stream->server_ended && (!stream->status || stream_messages_whole(&stream->messages[FLOW_DOWN])))
		stream->grpc_status = (int8_t)act_grpc_status(cause.reason, status);
	stream->own_status = (uint16_t)(stream->status ? 0 : stream->grpc ? 200 : status);
	va_start(arguments, format);
	detail = account_failed(session, stream, cause, format, arguments);
	va_end(arguments);
	free(stream->detail);
	stream->detail = detail;
	act_put_reset(session, FLOW_UP, stream->id, CODE_CANCEL);
	stream->late = act_is_passing(&session->flows[FLOW_DOWN], stream->id);
	if (!stream->late)
		act_end_at_client(session, stream, status);
	account_cut(session, stream);
}

bool act_lost(struct session *session, struct cause cause, const char *format, ...)
{
	const struct flow *down = &session->flows[FLOW_DOWN];
	struct stream_walk walk = {0};
	struct stream *stream;
	bool leaving = session->leaving;
	char what[256];
	va_list arguments;

	if (!down->greeted || down->goaway || !flow_at_rest(down))
		return false;
	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	session->leaving = true; /* of these: their end is the connection's, and counted with it */
	while ((stream = stream_next(&session->streams, &walk))) {
		if (stream->stage != STREAM_REQUEST && stream->stage != STREAM_WAIT)
			continue;
		session->lost++;
		act_cut(session, stream, cause, reason_row(cause.reason)->status, "%s", what);
	}
	session->leaving = leaving;
	return session->lost;
}

void act_late(struct session *session, enum flow_way way, uint32_t id)
{
	struct stream *stream = way == FLOW_DOWN ? stream_find(&session->streams, id) : NULL;

	if (!stream || !stream->late)
		return;
	stream->late = false;
	if (!stream->status)
		stream->status = session->flows[FLOW_DOWN].block.status; /* what has passed was its head, or 1xx */
	if (stream->status / 100 == 1)
		stream->status = 0;
	act_end_at_client(session, stream, 504);
}

void act_refuse_promised(struct session *session, struct stream *stream)
{
	act_put_reset(session, FLOW_UP, stream->id, CODE_CANCEL);
	account_cut(session, stream);
}

void act_credit(struct session *session)
{
	for (int way = 0; way < FLOW_WAYS; way++) {
		struct flow *flow = &session->flows[way];

		if (!flow->credit)
			continue;
		session->no_memory |= frame_put_window(&session->flows[!way].own, 0, flow->credit) != 0;
		flow->credit = 0;
	}
}

/* --- GOAWAY --- */

/* What we tell the client never rises, whoever told it before (RFC 9113 §6.8). */
static void act_put_goaway(struct session *session, uint32_t last, uint32_t code, const char *debug)
{
	struct conn *conn = session->conn;

	if (last > session->told_last)
		last = session->told_last;
	session->told_last = last;
	session->no_memory |= frame_put_goaway(&session->flows[FLOW_DOWN].own, last, code, debug) != 0;
	metrics_add(conn->worker->metrics, METRIC_GOAWAYS, conn->direction, BY_PROXY, code_of(code), 0, 1);
}

void act_greeted(struct session *session)
{
	if (session->going == GOING_WANTED)
		act_go(session);
}

void act_go(struct session *session)
{
	if (session->going >= GOING_ANNOUNCED)
		return;
	session->going = GOING_WANTED;
	if (!session->flows[FLOW_DOWN].greeted)
		return;
	session->going = GOING_ANNOUNCED;
	session->going_at = session_now(session);
	for (size_t i = 0; i < sizeof session->ping; i++)
		session->ping[i] = (uint8_t)worker_random(session->conn->worker);
	session->ping_out = true;
	act_put_goaway(session, FRAME_LAST_ID, CODE_NO_ERROR, "");
	session->no_memory |= frame_put_ping(&session->flows[FLOW_DOWN].own, session->ping) != 0;
}

void act_go_finally(struct session *session)
{
	if (session->going != GOING_ANNOUNCED)
		return;
	session->going = GOING_FINAL;
	session->final = session->last_client;
	act_put_goaway(session, session->final, CODE_NO_ERROR, "");
}

void act_goaway(struct session *session, uint32_t code, const char *debug, bool both)
{
	if (session->flows[FLOW_DOWN].greeted)
		act_put_goaway(session, session->last_client, code, debug);
	if (both && session->flows[FLOW_UP].greeted)
		session->no_memory |= frame_put_goaway(&session->flows[FLOW_UP].own, 0, code, debug) != 0;
}

void act_as_server(struct session *session, struct stream *due, struct cause cause, const char *format, ...)
{
	struct flow *down = &session->flows[FLOW_DOWN];
	struct stream_walk walk = {0};
	struct stream *stream;
	char what[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	down->greeted = session->leaving = true;
	session->no_memory |= frame_put(&down->own, &(struct frame){.type = FRAME_SETTINGS}, NULL) != 0;
	act_cut(session, due, cause, reason_row(cause.reason)->status, "%s", what);
	while ((stream = stream_next(&session->streams, &walk)))
		if (stream->stage != STREAM_CUT)
			act_cut(session, stream, cause, 503, "the connection ended with another stream, before the server had said anything");
	act_put_goaway(session, session->last_client, CODE_NO_ERROR, "");
}
