#include "proxy/http2/account.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/ending.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/record.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http2/act.h"
#include "proxy/http2/head.h"
#include "proxy/metrics/code.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/route.h"
#include "proxy/policy/terms.h"

/* --- beginnings --- */

/* What applies to the request: its rule's timeouts. What a rule would choose, filter or retry is for HTTP/1. */
static struct terms *account_terms(struct session *session)
{
	struct conn *conn = session->conn;
	struct route_request request;
	struct request_head head;
	struct policy_choice choice;
	const char *note;

	if (!steer_renew(conn))
		return NULL;
	head_request(session, &head);
	if (head.path.length && policy_target_has_routes(conn->target)) {
		route_request_read(&request, &head);
		policy_route(conn->target, &request, &choice);
		note = policy_note_http1_only(conn->target, &choice);
		if (note)
			log_message(conn->worker->log, LOG_WARN, "%s; a request of HTTP/2 has come", note);
	} else {
		policy_target_choice(conn->target, &choice);
	}
	return terms_use(&conn->worker->terms, conn->target, &choice);
}

static char *account_name(const struct session *session)
{
	enum { PATH_MOST = 256 };
	const struct exchange_settings *settings = session->conn->worker->proxy->exchange;
	struct request_head head;
	char *text;

	if (!settings->log_paths && !settings->access_log)
		return NULL;
	head_request(session, &head);
	if (asprintf(&text, "%.*s %.*s %.*s", (int)head.method.length, (const char *)head.method.bytes,
	             (int)(head.authority.length < PATH_MOST ? head.authority.length : PATH_MOST), (const char *)head.authority.bytes,
	             (int)(head.path.length < PATH_MOST ? head.path.length : PATH_MOST), (const char *)head.path.bytes) < 0)
		return NULL;
	return text;
}

/* No timer of the stream is due before the moment at which somebody looks. */
static void account_watch(struct session *session, const struct stream *stream)
{
	unsigned timer;
	int64_t at = stream_deadline(stream, &timer);

	if (at < session->alarm_at)
		session->alarm_at = at;
}

static struct stream *account_open(struct session *session, uint32_t id)
{
	struct conn *conn = session->conn;
	struct terms *terms = account_terms(session);
	struct stream *stream = terms ? stream_new(&session->streams, conn->worker->stream_memory, id) : NULL;

	if (!stream) {
		terms_release(&conn->worker->terms, terms);
		return NULL;
	}
	stream->terms = terms;
	stream->begun_us = loop_now_us(conn->worker->loop);
	stream->last = session_now(session);
	conn->instants[INSTANT_IDLE] = 0;
	metrics_add(conn->worker->metrics, METRIC_STREAMS_OPEN, conn->direction, 0, 0, 0, 1);
	return stream;
}

static bool account_request(struct session *session, const struct block *block)
{
	struct conn *conn = session->conn;
	struct stream *stream = account_open(session, block->stream);

	if (!stream)
		return false;
	session->last_client = block->stream;
	session->opened++;
	conn->requests++;
	conn->only_probes = block->probe && (conn->only_probes || session->opened == 1);
	stream->connect = block->connect;
	stream->heads[FLOW_UP] = block->size;
	stream->grpc = block->grpc;
	stream->grpc_timeout = block->grpc_timeout;
	stream->enforced = block->grpc && block->grpc_timeout && conn->worker->proxy->exchange->grpc_deadline;
	stream->request = account_name(session);
	metrics_add(conn->worker->metrics, METRIC_REQUESTS, conn->direction, HTTP_2, 0, 0, 1);
	PROBE_REQUEST_START(conn->id, conn->requests, "", 0, "", 0);
	account_watch(session, stream);
	if (block->flags & FLAG_END_STREAM)
		account_ended(session, FLOW_UP, stream);
	return true;
}

static void account_request_ends(struct session *session, struct stream *stream)
{
	if (stream->request_end)
		return;
	stream->request_end = session_now(session);
	account_watch(session, stream);
}

/* A response's head, one before it (1xx), or trailers. */
static void account_response(struct session *session, struct stream *stream, const struct block *block)
{
	if (!stream->status && block->status >= 200) {
		stream->status = block->status;
		stream->first_us = (uint32_t)(loop_now_us(session->conn->worker->loop) - stream->begun_us);
		stream->first_us += !stream->first_us;
		stream_enter(stream, STREAM_RESPONSE);
		account_request_ends(session, stream);
	}
	if (stream->status && block->grpc_status >= 0)
		stream->grpc_status = block->grpc_status;
}

bool account_block(struct session *session, enum flow_way way)
{
	const struct block *block = &session->flows[way].block;
	struct stream *stream = stream_find(&session->streams, block->stream);

	if (!stream && way == FLOW_UP && !block->dropped && block->stream & 1 && block->stream > session->last_client)
		return account_request(session, block);
	if (!stream)
		return true;
	stream->heads[way] += block->size;
	if (way == FLOW_DOWN && stream->stage != STREAM_CUT)
		account_response(session, stream, block);
	if (block->flags & FLAG_END_STREAM)
		account_ended(session, way, stream);
	act_late(session, way, block->stream);
	return true;
}

bool account_promised(struct session *session)
{
	const struct block *block = &session->flows[FLOW_DOWN].block;
	struct stream *stream;

	if (stream_find(&session->streams, block->promised))
		return true;
	stream = account_open(session, block->promised);
	if (!stream)
		return false;
	stream->pushed = stream->client_ended = true;
	stream_enter(stream, STREAM_RESPONSE);
	if (block->dropped)
		act_refuse_promised(session, stream);
	else
		account_watch(session, stream);
	return true;
}

/* --- ends --- */

/* gRPC's own word counts where there is one: OK alone is success. */
static enum metric_class account_class(const struct stream *stream, bool whole)
{
	if (!whole || terms_is_failure(stream->terms, stream->status))
		return CLASS_FAILURE;
	return stream->grpc && stream->grpc_status ? CLASS_FAILURE : CLASS_SUCCESS;
}

/* "POST host /path" as fields. */
static void account_log_head(struct log_line *line, const struct stream *stream, bool host)
{
	const char *space = stream->request ? strchr(stream->request, ' ') : NULL, *path = space ? strchr(space + 1, ' ') : NULL;

	if (!path)
		return;
	log_bytes(line, "method", stream->request, (size_t)(space - stream->request));
	if (host && path > space + 1)
		log_bytes(line, "host", space + 1, (size_t)(path - space - 1));
	log_string(line, "path", path + 1);
}

static void account_log(const struct session *session, const struct stream *stream, enum metric_class class, bool whole)
{
	const struct conn *conn = session->conn;
	struct log_line line;

	if (!conn->worker->proxy->exchange->access_log || !log_wants(conn->worker->log, LOG_INFO))
		return;
	log_begin(&line, conn->worker->log, LOG_INFO, "request");
	record_subject(&line, conn);
	if (stream->terms->rule)
		log_string(&line, "route", stream->terms->rule);
	log_number(&line, "stream", stream->id);
	if (stream->status || stream->own_status)
		log_number(&line, "status", stream->status ? stream->status : stream->own_status);
	if (stream->grpc_status >= 0)
		log_number(&line, "grpc_status", stream->grpc_status);
	log_string(&line, "answer", whole ? "server" : stream->own_status ? "proxy" : stream->status ? "cut" : "none");
	log_string(&line, "classification", class == CLASS_SUCCESS ? "success" : "failure");
	if (!whole)
		log_string(&line, "reason", reason_row(stream->why)->name);
	log_precise_seconds(&line, "duration_s", loop_now_us(conn->worker->loop) - stream->begun_us);
	log_number(&line, "request_bytes", (int64_t)(stream->heads[FLOW_UP] + stream->data[FLOW_UP]));
	log_number(&line, "response_bytes", (int64_t)(stream->heads[FLOW_DOWN] + stream->data[FLOW_DOWN]));
	if (stream->first_us)
		log_precise_seconds(&line, "first_byte_s", stream->first_us);
	account_log_head(&line, stream, true);
	log_end(&line);
}

/* Into the metrics and the access log; once a stream. */
static void account_count(struct session *session, struct stream *stream, bool whole)
{
	struct conn *conn = session->conn;
	struct metrics *metrics = conn->worker->metrics;
	int64_t us = loop_now_us(conn->worker->loop) - stream->begun_us;
	enum metric_class class = account_class(stream, whole);
	unsigned got = stream->status ? stream->status : stream->own_status, status = got / 100 < STATUS_CLASSES ? got / 100 : STATUS_NONE;

	if (us / 1000 > session->longest_ms)
		session->longest_ms = us / 1000;
	metrics_add(metrics, METRIC_STREAMS_OPEN, conn->direction, 0, 0, 0, -1);
	conn->only_probes &= class == CLASS_SUCCESS;
	if (stream->pushed)
		return;
	metrics_add(metrics, METRIC_RESPONSES, conn->direction, HTTP_2, status, class, 1);
	metrics_add_named(metrics, NAMED_ROUTE_EFFECTIVE, stream->terms->rule_series, conn->direction, class, 1);
	if (stream->status)
		metrics_add_named(metrics, NAMED_ROUTE_ACTUAL, stream->terms->rule_series, conn->direction, class, 1);
	if (stream->grpc && stream->grpc_status >= 0)
		metrics_add(metrics, METRIC_GRPC_RESPONSES, conn->direction, (unsigned)stream->grpc_status, 0, 0, 1);
	metrics_observe(metrics, METRIC_REQUEST_SECONDS, conn->direction, HTTP_2, us);
	PROBE_REQUEST_END(conn->id, conn->requests, stream->status, 1, us);
	account_log(session, stream, class, whole);
}

void account_forget(struct session *session, struct stream *stream)
{
	struct conn *conn = session->conn;

	terms_release(&conn->worker->terms, stream->terms);
	stream_free(&session->streams, conn->worker->stream_memory, stream);
	if (!session_open(session) && !conn->instants[INSTANT_IDLE])
		conn->instants[INSTANT_IDLE] = session_now(session);
}

void account_cut(struct session *session, struct stream *stream)
{
	struct conn *conn = session->conn;

	account_count(session, stream, false);
	terms_release(&conn->worker->terms, stream->terms);
	stream->terms = NULL;
	stream_enter(stream, STREAM_CUT);
	stream->last = session_now(session);
	session->streams.cut++;
	session->parted = true;
	account_watch(session, stream);
	if (!session_open(session))
		conn->instants[INSTANT_IDLE] = session_now(session);
}

static void account_done(struct session *session, struct stream *stream)
{
	account_count(session, stream, true);
	account_forget(session, stream);
}

void account_ended(struct session *session, enum flow_way way, struct stream *stream)
{
	if (way == FLOW_UP)
		stream->client_ended = true;
	else
		stream->server_ended = true;
	if (stream->stage == STREAM_CUT) {
		if (stream->client_ended && stream->server_ended)
			account_forget(session, stream);
		return;
	}
	if (way == FLOW_UP) {
		account_request_ends(session, stream);
		if (stream->stage == STREAM_REQUEST)
			stream_enter(stream, STREAM_WAIT);
	} else if (stream->stage != STREAM_RESPONSE) {
		stream_enter(stream, STREAM_RESPONSE); /* an end without a head is for the client to judge */
	}
	if (stream->client_ended && stream->server_ended)
		account_done(session, stream);
	else if (way == FLOW_DOWN)
		stream_enter(stream, STREAM_ANSWERED);
}

/* --- failures --- */

/* What the record says of the stream's messages where one of them is not whole. */
static void account_describe_messages(const struct stream *stream, struct text *out)
{
	static const char *const senders[] = {[FLOW_UP] = "client", [FLOW_DOWN] = "server"};

	for (int way = FLOW_WAYS; stream->grpc && way-- > 0;) {
		const struct stream_messages *messages = &stream->messages[way];

		if (messages->left)
			text_printf(out, "; the %s was in message %u, %u of %u bytes", senders[way], messages->complete + 1,
			            messages->size - messages->left, messages->size);
	}
}

__attribute__((format(printf, 3, 4))) static void account_explain(struct ending *ending, const struct conn *conn, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	ending_explain(ending, conn, format, arguments);
	va_end(arguments);
}

char *account_failed(struct session *session, struct stream *stream, struct cause cause, const char *format, va_list arguments)
{
	struct conn *conn = session->conn;
	struct terms *terms = conn->terms;
	struct metrics *metrics = conn->worker->metrics;
	TEXT_ON_STACK(messages, 160);
	char what[512], *detail;
	struct ending ending;

	vsnprintf(what, sizeof what, format, arguments);
	account_describe_messages(stream, &messages);
	/* The record is the stream's: its rule, its timeouts, its silence. */
	conn->terms = stream->terms;
	session->telling = stream;
	ending_fill(&ending, conn, cause);
	ending.phase = (uint8_t)(conn->upstream && conn->upstream->leg.connecting ? STAGE_CONNECT : stream_phase(stream));
	ending.idle_ms = session_now(session) - stream->last;
	account_explain(&ending, conn, "%s%s", what, messages_bytes);
	record_exchange(conn, &ending);
	if (!session->leaving)
		ending_count(conn, &ending);
	metrics_add(metrics, METRIC_REQUESTS_FAILED, conn->direction, ending.reason, ending.by, ending.phase, 1);
	metrics_add_named(metrics, NAMED_SERVICE_FAILED, conn->terms->service_series, conn->direction, ending.reason, 1);
	session->telling = NULL;
	conn->terms = terms;
	session->failed++;
	stream->why = cause.reason;
	detail = ending.detail;
	ending.detail = NULL;
	ending_free(&ending);
	return detail;
}

/* One that a peer ended, or the connection's end. */
__attribute__((format(printf, 4, 5))) static void account_say(struct session *session, struct stream *stream, struct cause cause,
                                                              const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	free(account_failed(session, stream, cause, format, arguments));
	va_end(arguments);
	account_count(session, stream, false);
}

/* The client's RST_STREAM where its own deadline has passed: what came before its HEADERS was on the way is not known here. */
static bool account_deadline_passed(const struct session *session, const struct stream *stream)
{
	int64_t elapsed = session_now(session) - stream->begun_us / 1000, slack = 20 + stream->grpc_timeout / 16;

	return stream->grpc_timeout && elapsed >= stream->grpc_timeout - slack;
}

static void account_reset_by_client(struct session *session, struct stream *stream, enum error_code code)
{
	char deadline[DURATION_TEXT_SIZE], text[CODE_TEXT_SIZE];
	bool response = stream->stage == STREAM_RESPONSE;

	if (code == CODE_CANCEL && account_deadline_passed(session, stream)) {
		duration_format(stream->grpc_timeout, deadline);
		account_say(session, stream, cause_of(REASON_GRPC_DEADLINE), "the client's own deadline, grpc-timeout %s, passed on stream %u%s", deadline,
		            stream->id, response ? " during the response" : " before a response came");
		return;
	}
	account_say(session, stream, cause_of(response ? REASON_CLIENT_ABORTED_RESPONSE : REASON_CLIENT_ABORTED_WAIT),
	            "the client reset stream %u with %s, which says that %s; %s", stream->id, code_text(stream->reset_code, text), code_sentence(code),
	            response ? "the response was under way" : "no response had come");
}

static void account_reset_by_server(struct session *session, struct stream *stream, enum error_code code)
{
	char text[CODE_TEXT_SIZE];

	account_say(session, stream, cause_of(code == CODE_REFUSED_STREAM ? REASON_STREAM_REFUSED : REASON_STREAM_RESET),
	            "the server reset stream %u with %s, which says that %s; %s", stream->id, code_text(stream->reset_code, text), code_sentence(code),
	            stream->stage == STREAM_RESPONSE ? "its response was under way" : "it had sent no response");
}

void account_reset(struct session *session, enum flow_way way, uint32_t id, uint32_t code)
{
	struct conn *conn = session->conn;
	struct stream *stream = stream_find(&session->streams, id);
	enum error_code known = code_of(code);

	metrics_add(conn->worker->metrics, METRIC_STREAM_RESETS, conn->direction, way == FLOW_UP ? BY_CLIENT : BY_SERVER, known, 0, 1);
	if (!stream)
		return;
	if (stream->stage == STREAM_CUT) {
		account_ended(session, way, stream);
		return;
	}
	stream->reset = true;
	stream->reset_code = code;
	stream->reset_by = way;
	if (stream->server_ended || stream->pushed) /* the rest is not wanted (RFC 9113 §8.1) */
		account_count(session, stream, true);
	else if (way == FLOW_UP)
		account_reset_by_client(session, stream, known);
	else
		account_reset_by_server(session, stream, known);
	account_forget(session, stream);
}

void account_goaway(const struct session *session, enum flow_way way)
{
	const struct conn *conn = session->conn;

	metrics_add(conn->worker->metrics, METRIC_GOAWAYS, conn->direction, way == FLOW_UP ? BY_CLIENT : BY_SERVER,
	            code_of(session->flows[way].goaway_code), 0, 1);
}

void account_unprocessed(struct session *session, uint32_t last)
{
	struct stream_walk walk = {0};
	struct stream *stream;

	while ((stream = stream_next(&session->streams, &walk)))
		if (stream->id > last && stream->id & 1 && stream->stage != STREAM_CUT) {
			account_say(session, stream, cause_by(REASON_H2_GOAWAY, BY_SERVER),
			            "the server said by GOAWAY that it works on streams up to %u; stream %u may be sent again on another connection", last,
			            stream->id);
			account_forget(session, stream);
		}
}

void account_leave(struct session *session)
{
	struct stream_walk walk = {0};
	struct stream *stream;

	while ((stream = stream_next(&session->streams, &walk)))
		if (stream->stage != STREAM_CUT)
			account_count(session, stream, true);
}

void account_all(struct session *session)
{
	const struct ending *ending = &session->conn->ending;
	struct stream_walk walk = {0};
	struct stream *stream;

	session->leaving = true;
	while ((stream = stream_next(&session->streams, &walk))) {
		if (stream->stage == STREAM_CUT)
			continue;
		if (stream->stage == STREAM_ANSWERED || stream->pushed) {
			account_count(session, stream, true);
		} else {
			account_say(session, stream, (struct cause){.reason = ending->reason, .by = ending->by, .timer = ending->timer},
			            "the connection ended under the stream");
		}
	}
}

/* --- records --- */

static void account_record_stream(const struct stream *stream, struct log_line *line)
{
	char text[DURATION_TEXT_SIZE], number[CODE_TEXT_SIZE];

	log_number(line, "stream", stream->id);
	account_log_head(line, stream, false);
	if (stream->status || stream->own_status)
		log_number(line, "status", stream->status ? stream->status : stream->own_status);
	if (stream->grpc_status >= 0)
		log_number(line, "grpc_status", stream->grpc_status);
	if (stream->grpc_timeout)
		log_string(line, "grpc_timeout", duration_format(stream->grpc_timeout, text));
	if (stream->enforced && stream->deadline_over) {
		log_string(line, "timer", "grpcDeadline");
		log_string(line, "value", duration_format(stream->grpc_timeout, text));
		log_string(line, "set_by", "grpc-timeout of the client, --grpc-deadline enforce");
	}
	if (stream->reset) {
		log_string(line, "rst", code_text(stream->reset_code, number));
		log_string(line, "rst_by", stream->reset_by == FLOW_UP ? "client" : "server");
	}
	log_number(line, "stream_sent_client", (int64_t)stream->data[FLOW_DOWN]);
	log_number(line, "stream_sent_server", (int64_t)stream->data[FLOW_UP]);
	if (stream->grpc) {
		log_number(line, "messages_client", stream->messages[FLOW_DOWN].complete);
		log_number(line, "messages_server", stream->messages[FLOW_UP].complete);
	}
}

static int64_t account_blocked(const struct session *session, const struct flow *flow)
{
	return flow->blocked_ms + (flow->blocked_since ? session_now(session) - flow->blocked_since : 0);
}

void account_record(const struct conn *conn, struct log_line *line)
{
	const struct session *session = conn->session;
	const struct flow *flow;
	char code[CODE_TEXT_SIZE];

	if (session->telling) {
		account_record_stream(session->telling, line);
		return;
	}
	log_number(line, "requests", session->opened);
	if (session->open_at_end)
		log_number(line, "streams_open", session->open_at_end);
	if (session->failed)
		log_number(line, "failed", session->failed);
	if (session->resets)
		log_number(line, "own_resets", session->resets);
	log_seconds(line, "longest_s", session->longest_ms);
	if (account_blocked(session, &session->flows[FLOW_DOWN]))
		log_seconds(line, "blocked_client_s", account_blocked(session, &session->flows[FLOW_DOWN]));
	if (account_blocked(session, &session->flows[FLOW_UP]))
		log_seconds(line, "blocked_server_s", account_blocked(session, &session->flows[FLOW_UP]));
	flow = session->flows[FLOW_DOWN].goaway ? &session->flows[FLOW_DOWN] : &session->flows[FLOW_UP];
	if (!flow->goaway)
		return;
	log_string(line, "goaway_by", flow == &session->flows[FLOW_DOWN] ? "server" : "client");
	log_string(line, "goaway_code", code_text(flow->goaway_code, code));
	log_number(line, "goaway_last", flow->goaway_last);
	if (flow->goaway_debug[0])
		log_string(line, "goaway_debug", flow->goaway_debug);
}
