#include "proxy/http2/proto_http2.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "proxy/connection/cause.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/worker.h"
#include "proxy/http2/account.h"
#include "proxy/http2/act.h"
#include "proxy/http2/clock.h"
#include "proxy/http2/flow.h"
#include "proxy/leg/input.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/code.h"
#include "proxy/metrics/metrics.h"
#include "proxy/server/upstream.h"

enum { CUT_MOST = 1024 }; /* streams at a time that were cut and may still hear from their ends */

static void proto_http2_server_failed(struct conn *conn);
__attribute__((format(printf, 3, 4))) static void proto_http2_fail(struct conn *conn, struct cause cause, const char *format, ...);

/* --- the end of the connection --- */

static bool proto_http2_over(const struct conn *conn)
{
	return conn->ending.reason != REASON_NONE;
}

/* Frames of ours as far as they may go. False: the connection has ended. */
static bool proto_http2_flush(struct conn *conn)
{
	struct session *session = conn->session;
	enum flow_verdict verdict;

	act_credit(session);
	if (session->no_memory) {
		conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
		return false;
	}
	/* The server first: what a client is told of a stream's end comes after the server was. */
	for (int way = session->lost ? FLOW_DOWN : FLOW_UP; way < FLOW_WAYS; way++) {
		verdict = flow_flush(session, (enum flow_way)way);
		if (verdict == FLOW_NO_MEMORY)
			conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
		else if (verdict == FLOW_FAILED && way == FLOW_UP)
			proto_http2_server_failed(conn);
		else if (verdict == FLOW_FAILED)
			conn->proto->client_failed(conn);
		if (proto_http2_over(conn))
			return false;
	}
	return true;
}

/* GOAWAY, and then the end that the cause has. */
__attribute__((format(printf, 4, 5))) static void proto_http2_end(struct conn *conn, struct cause cause, enum error_code code,
                                                                  const char *format, ...)
{
	va_list arguments;

	act_goaway(conn->session, code, reason_row(cause.reason)->name, code != CODE_NO_ERROR);
	if (!proto_http2_flush(conn))
		return;
	cause.answered = conn->session->flows[FLOW_DOWN].greeted && flow_at_rest(&conn->session->flows[FLOW_DOWN]);
	va_start(arguments, format);
	conn_close_list(conn, cause, format, arguments);
	va_end(arguments);
}

/* No timer of a request applies any more. */
static void proto_http2_unread(struct conn *conn)
{
	const char *fault = conn->session->fault;

	conn->unread = calloc(1, sizeof *conn->unread + strlen(fault) + 1);
	if (!conn->unread) {
		conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
		return;
	}
	strcpy(conn->unread->words, fault);
	metrics_add(conn->worker->metrics, METRIC_UNREAD, conn->direction,
	            strncmp(fault, "server", 6) != 0 ? LEG_CLIENT : LEG_SERVER, UNREAD_SYNTAX, 0, 1);
	metrics_add(conn->worker->metrics, METRIC_UNREAD_ACTIVE, conn->direction, 0, 0, 0, 1);
	/* What is held of a frame goes on as well, either way. */
	for (int way = 0; way < FLOW_WAYS; way++)
		(void)flow_finish(conn->session, (enum flow_way)way);
	account_leave(conn->session);
	session_clear(conn->session);
	conn->upstream->private = true;
	conn->instants[INSTANT_HEAD] = 0;
	conn->instants[INSTANT_IDLE] = conn_now(conn);
	if (conn->stage == STAGE_STREAMS)
		conn_enter(conn, STAGE_TUNNEL);
	proto_opaque_start(conn, NULL, 0);
}

static void proto_http2_verdict(struct conn *conn, enum flow_way way, enum flow_verdict verdict)
{
	struct session *session = conn->session;

	switch (verdict) {
	case FLOW_UNREAD:
		proto_http2_unread(conn);
		break;
	case FLOW_PARTED:
		proto_http2_end(conn, cause_by(REASON_H2_PROTOCOL_ERROR, way == FLOW_UP ? BY_CLIENT : BY_SERVER), CODE_INTERNAL_ERROR,
		                "after streams had been ended by the proxy what came could neither be understood nor go on unread: %s", session->fault);
		break;
	case FLOW_FAILED:
		if (way == FLOW_UP)
			proto_http2_server_failed(conn);
		else
			conn->proto->client_failed(conn);
		break;
	case FLOW_NO_MEMORY:
		conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
		break;
	default:
		break;
	}
}

/* Streams that the end of the connection ends. */
static uint32_t proto_http2_unfinished(const struct conn *conn)
{
	return session_open(conn->session) + conn->session->lost;
}

/* How many they are, in words. */
static const char *proto_http2_open_words(const struct conn *conn, struct text *out)
{
	uint32_t open = proto_http2_unfinished(conn);

	text_printf(out, "%u stream%s open", open, open == 1 ? "" : "s");
	return out->data;
}

/* Whose GOAWAY came before the end, if one did: then that is why. */
static bool proto_http2_ended_by_goaway(struct conn *conn)
{
	const struct flow *flows = conn->session->flows;
	enum flow_way way = flows[FLOW_DOWN].goaway ? FLOW_DOWN : FLOW_UP;
	enum reason_by by = way == FLOW_UP ? BY_CLIENT : BY_SERVER;
	const struct flow *flow = &flows[way];
	enum error_code code = code_of(flow->goaway_code);
	TEXT_ON_STACK(ours, 64);
	char number[CODE_TEXT_SIZE];

	if (!flow->goaway || (code == CODE_NO_ERROR && conn->first_fin != by && !session_open(conn->session)))
		return false;
	if (conn->session->resets && way == FLOW_DOWN)
		text_printf(&ours, "; that was after %u resets of ours", conn->session->resets);
	conn_close(conn, cause_by(code == CODE_NO_ERROR ? REASON_H2_GOAWAY : REASON_H2_PROTOCOL_ERROR, by),
	           "the %s ended the connection by GOAWAY with %s, which says that %s%s%s%s%s", reason_by_name(by), code_text(flow->goaway_code, number),
	           code_sentence(code), flow->goaway_debug[0] ? " (\"" : "", flow->goaway_debug, flow->goaway_debug[0] ? "\")" : "", ours_bytes);
	return true;
}

static void proto_http2_done_if_complete(struct conn *conn)
{
	const struct leg *client = &conn->client, *server = &conn->upstream->leg;
	TEXT_ON_STACK(open, 32);

	if (!client->fin_received || !server->fin_received || leg_pending(client) || leg_pending(server))
		return;
	if (proto_http2_ended_by_goaway(conn))
		return;
	proto_http2_open_words(conn, &open);
	if (conn->first_fin == BY_CLIENT && proto_http2_unfinished(conn))
		conn_close(conn, (struct cause){.reason = REASON_CLIENT_ABORTED_WAIT, .by = BY_CLIENT, .timer = TIMEOUT_NONE, .at_rest = true},
		           "the client closed with %s", open_bytes);
	else if (conn->first_fin == BY_CLIENT)
		conn_close(conn, cause_of(REASON_CLIENT_CLOSED_IDLE), "the client closed after %u request%s", conn->session->opened,
		           conn->session->opened == 1 ? "" : "s");
	else if (proto_http2_unfinished(conn))
		conn_close(conn, (struct cause){.reason = REASON_SERVER_CLOSED_EARLY, .by = BY_SERVER, .timer = TIMEOUT_NONE, .at_rest = true},
		           "the server closed with %s", open_bytes);
	else
		conn_close(conn, cause_of(REASON_SERVER_CLOSED_IDLE), NULL);
}

/* The last stream is over and the client knows that there will be no more. */
static void proto_http2_gone(struct conn *conn)
{
	struct session *session = conn->session;
	struct cause cause = cause_timer(conn->close_after, conn->close_after == REASON_MAX_CONNECTION ? TIMEOUT_MAX_CONNECTION : TIMEOUT_NONE);

	if (session->going != GOING_FINAL || session_open(session) || !flow_at_rest(&session->flows[FLOW_DOWN]))
		return;
	cause.at_rest = true;
	conn_close(conn, cause, conn->close_after == REASON_DRAIN ? "the proxy is shutting down; GOAWAY was sent and every stream is over" : NULL);
}

/* After every event. */
static void proto_http2_settle(struct conn *conn)
{
	struct session *session = conn->session;
	struct flow *up;

	if (proto_http2_over(conn) || conn->proto != &proto_http2 || !proto_http2_flush(conn))
		return;
	if (session->streams.cut > CUT_MOST && !session->lost) {
		proto_http2_end(conn, cause_of(REASON_H2_PROTOCOL_ERROR), CODE_ENHANCE_YOUR_CALM,
		                "timers ended more than %d streams within 10 s", (int)CUT_MOST);
		return;
	}
	up = &session->flows[FLOW_UP];
	if (!up->held_length && !up->block.open)
		conn->instants[INSTANT_HEAD] = 0;
	else if (!conn->instants[INSTANT_HEAD])
		conn->instants[INSTANT_HEAD] = conn_now(conn);
	proto_http2_gone(conn);
	if (!proto_http2_over(conn))
		clock_arm(session);
}

/* --- bytes --- */

/* The server has finished: it answers nobody any more. */
static bool proto_http2_answer_lost(struct conn *conn)
{
	char name[ADDR_TEXT_SIZE];

	return act_lost(conn->session, cause_of(REASON_SERVER_CLOSED_EARLY), "%s closed the connection before a response came",
	                addr_format(conn_destination(conn), name));
}

static void proto_http2_finished(struct conn *conn, enum flow_way way)
{
	struct leg *to = way == FLOW_UP ? &conn->upstream->leg : &conn->client;

	proto_http2_verdict(conn, way, flow_finish(conn->session, way));
	if (proto_http2_over(conn))
		return;
	if (way == FLOW_DOWN && conn->first_fin == BY_PEER && proto_http2_answer_lost(conn) && !proto_http2_flush(conn))
		return;
	if (conn->first_fin == BY_PEER) {
		conn->first_fin = way == FLOW_UP ? BY_CLIENT : BY_SERVER;
		conn->half_closed = true;
		metrics_add(conn->worker->metrics, METRIC_CONNECTIONS_HALF_CLOSED, conn->direction, 0, 0, 0, 1);
		conn_half_closed(conn);
	}
	leg_finish(to);
	proto_http2_done_if_complete(conn);
}

static void proto_http2_feed(struct conn *conn, enum flow_way way, uint8_t *bytes, size_t length)
{
	enum flow_verdict verdict = FLOW_ON;
	size_t taken = 0;

	if (way == FLOW_UP && conn->session->preface < FRAME_PREFACE)
		verdict = flow_preface(conn->session, bytes, length, &taken);
	if (verdict == FLOW_ON && length > taken)
		verdict = flow_feed(conn->session, way, bytes + taken, length - taken);
	proto_http2_verdict(conn, way, verdict);
}

/* Reads once, behind what is held of a frame, and feeds it: what leg_read() said. *room: bytes that would have been taken. */
static int proto_http2_take(struct conn *conn, enum flow_way way, int *room)
{
	struct flow *flow = &conn->session->flows[way];
	uint8_t *scratch = conn->worker->scratch;
	size_t held = flow->held_length;
	int got;

	*room = (int)(WORKER_SCRATCH - held);
	memcpy(scratch, flow->held, held);
	got = leg_read(way == FLOW_UP ? &conn->client : &conn->upstream->leg, scratch + held, (size_t)*room);
	if (got <= 0)
		return got;
	conn_touch(conn);
	proto_http2_feed(conn, way, scratch, held + (size_t)got);
	return got;
}

/* False: there is no more for now. */
static bool proto_http2_read(struct conn *conn, enum flow_way way)
{
	const struct leg *from = way == FLOW_UP ? &conn->client : &conn->upstream->leg, *to = way == FLOW_UP ? &conn->upstream->leg : &conn->client;
	int room, got = proto_http2_take(conn, way, &room);

	if (got < 0) {
		if (from->fin_received)
			proto_http2_finished(conn, way);
		else if (way == FLOW_UP)
			conn->proto->client_failed(conn);
		else
			proto_http2_server_failed(conn);
	}
	return got == room && !proto_http2_over(conn) && conn->proto == &proto_http2 && !leg_pending(to);
}

static void proto_http2_readable(struct conn *conn, enum flow_way way)
{
	enum { ROUNDS = 16 };
	int rounds = loop_crowded(conn->worker->loop) ? 1 : ROUNDS;

	while (rounds-- && proto_http2_read(conn, way))
		;
	if (!proto_http2_over(conn))
		conn_count_bytes(conn);
	proto_http2_settle(conn);
}

static void proto_http2_client_readable(struct conn *conn)
{
	proto_http2_readable(conn, FLOW_UP);
}

static void proto_http2_server_readable(struct conn *conn)
{
	proto_http2_readable(conn, FLOW_DOWN);
}

static void proto_http2_writable(struct conn *conn)
{
	conn_touch(conn);
	proto_http2_done_if_complete(conn);
	proto_http2_settle(conn);
}

static void proto_http2_client_failed(struct conn *conn)
{
	TEXT_ON_STACK(open, 32);

	if (conn->client.error == -ETIMEDOUT || !session_open(conn->session))
		conn_close_client_failed(conn);
	else
		conn_close(conn, cause_of(REASON_CLIENT_ABORTED_WAIT), "the client reset the connection with %s", proto_http2_open_words(conn, &open));
}

static void proto_http2_server_failed(struct conn *conn)
{
	struct leg *server = &conn->upstream->leg;
	char name[ADDR_TEXT_SIZE];
	int room;
	TEXT_ON_STACK(words, 192);
	TEXT_ON_STACK(open, 32);

	addr_format(conn_destination(conn), name);
	if (server->vanished || server->error == -ETIMEDOUT) {
		proto_http2_fail(conn, cause_timer(REASON_SERVER_VANISHED, server->vanished ? TIMEOUT_UNACKNOWLEDGED : TIMEOUT_NONE),
		                 "%s no longer acknowledges anything%s", name, progress_vanished_words(conn, server, &words));
		return;
	}
	/* What it said before it reset is the client's, all of it. */
	while (!server->fin_received && !proto_http2_over(conn) && conn->proto == &proto_http2 && !leg_pending(&conn->client) &&
	       proto_http2_take(conn, FLOW_DOWN, &room) > 0)
		;
	if (!proto_http2_over(conn) && conn->proto != &proto_http2) { /* that could not be read */
		conn->proto->server_failed(conn);
		return;
	}
	if (proto_http2_over(conn) || proto_http2_ended_by_goaway(conn))
		return;
	proto_http2_open_words(conn, &open);
	if (act_lost(conn->session, cause_of(REASON_SERVER_RESET), "%s reset the connection before a response came", name))
		proto_http2_end(conn, cause_of(REASON_SERVER_RESET), CODE_NO_ERROR, "%s reset the connection after %llu bytes, with %s", name,
		                (unsigned long long)server->received, open_bytes);
	else
		conn_close(conn, cause_of(REASON_SERVER_RESET), "%s reset the connection after %llu bytes, with %s", name,
		           (unsigned long long)server->received, open_bytes);
}

/* --- other events --- */

static void proto_http2_server_connected(struct conn *conn, int result)
{
	if (result) {
		conn_close_dial_failed(conn, result);
		return;
	}
	conn_enter(conn, STAGE_STREAMS);
	conn_touch(conn);
	if (pump_flush(&conn->worker->pump, &conn->upstream->leg))
		proto_http2_server_failed(conn);
	else if (conn->client.fin_received)
		proto_http2_finished(conn, FLOW_UP);
	proto_http2_settle(conn);
}

/* Every stream is answered, and the connection ends. */
static void proto_http2_fail(struct conn *conn, struct cause cause, const char *format, ...)
{
	struct session *session = conn->session;
	struct stream_walk walk = {0};
	struct stream *stream;
	char what[256];
	va_list arguments;
	int status = reason_row(cause.reason)->status;

	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	session->leaving = true;
	while ((stream = stream_next(&session->streams, &walk)))
		if (stream->stage != STREAM_CUT && session->flows[FLOW_DOWN].greeted)
			act_cut(session, stream, cause, status ? status : 503, "%s", what);
	proto_http2_end(conn, cause, CODE_NO_ERROR, "%s", what);
}

/* The last bytes of the last response are still being taken: that counts as it does for one request after the other. */
static bool proto_http2_still_delivers(struct conn *conn)
{
	bool delivers = progress_undelivered(&conn->client) && conn->instants[INSTANT_LAST_BYTE] > conn->instants[INSTANT_IDLE];

	if (delivers)
		conn->instants[INSTANT_IDLE] = conn->instants[INSTANT_LAST_BYTE];
	return delivers;
}

static void proto_http2_expired(struct conn *conn, enum timeout_id timer)
{
	bool client_finished = conn->client.fin_received;

	switch (timer) {
	case TIMEOUT_CONNECT:
		conn_close_dial_failed(conn, 0);
		break;
	case TIMEOUT_MAX_CONNECTION:
		conn->close_after = REASON_MAX_CONNECTION;
		act_go(conn->session);
		break;
	case TIMEOUT_IDLE_CONNECTION:
		if (proto_http2_still_delivers(conn))
			break;
		if (!conn_close_stalled(conn, timer))
			proto_http2_end(conn, cause_timer(REASON_IDLE_TIMEOUT, timer), CODE_NO_ERROR, "no stream was opened after %u request%s",
			                conn->session->opened, conn->session->opened == 1 ? "" : "s");
		break;
	case TIMEOUT_REQUEST_HEADERS:
		proto_http2_end(conn, cause_timer(REASON_HEADER_TIMEOUT, timer), CODE_NO_ERROR, "the header block of a request was not complete in time");
		break;
	case TIMEOUT_HALF_CLOSE:
		if (!conn_close_stalled(conn, timer))
			conn_close(conn, cause_timer(REASON_HALF_CLOSE_TIMEOUT, timer), "the %s had finished and the %s sent nothing more",
			           client_finished ? "client" : "server", client_finished ? "server" : "client");
		break;
	default:
		break;
	}
	proto_http2_settle(conn);
}

static void proto_http2_alarmed(struct conn *conn, enum alarm alarm)
{
	clock_alarm(conn->session);
	proto_http2_settle(conn);
}

static void proto_http2_drain(struct conn *conn)
{
	if (!conn->close_after)
		conn->close_after = REASON_DRAIN;
	act_go(conn->session);
	proto_http2_settle(conn);
}

static void proto_http2_ended(struct conn *conn)
{
	struct session *session = conn->session;

	session->open_at_end = proto_http2_unfinished(conn);
	account_all(session);
	session_clear(session);
}

/* The leg to the server is there or on its way. */
static bool proto_http2_begin(struct conn *conn)
{
	if (session_new(conn)) {
		conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
		return false;
	}
	upstream_use(conn->upstream);
	conn->instants[INSTANT_IDLE] = conn_now(conn);
	return true;
}

static void proto_http2_first(struct conn *conn, struct input *input)
{
	if (!proto_http2_begin(conn))
		return;
	proto_http2_feed(conn, FLOW_UP, (uint8_t *)input->bytes, input->length); /* what is changed in them is seen by nobody else */
	proto_http2_settle(conn);
}

static void proto_http2_first_of_server(struct conn *conn, uint8_t *bytes, size_t length)
{
	struct input input;

	if (!proto_http2_begin(conn))
		return;
	proto_http2_feed(conn, FLOW_DOWN, bytes, length);
	if (proto_http2_over(conn) || conn->proto != &proto_http2)
		return; /* unread, and what the client's leg held has gone on */
	input_take(&input, &conn->client);
	if (input.length)
		proto_http2_feed(conn, FLOW_UP, (uint8_t *)input.bytes, input.length);
	input_free(&input);
	proto_http2_settle(conn);
}

const struct proto proto_http2 = {
    .name = "http2",
    .lingers = true,
    .client_readable = proto_http2_client_readable,
    .client_writable = proto_http2_writable,
    .server_connected = proto_http2_server_connected,
    .server_readable = proto_http2_server_readable,
    .server_writable = proto_http2_writable,
    .client_failed = proto_http2_client_failed,
    .server_failed = proto_http2_server_failed,
    .expired = proto_http2_expired,
    .alarmed = proto_http2_alarmed,
    .drain = proto_http2_drain,
    .first = proto_http2_first,
    .first_of_server = proto_http2_first_of_server,
    .exchange_size = sizeof(struct stream),
    .fail = proto_http2_fail,
    .ended = proto_http2_ended,
    .streams = clock_streams,
    .next_timer = clock_next_timer,
    .record = account_record,
};
