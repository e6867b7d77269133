/* HTTP/1.0 and 1.1. The client leg delivers requests one at a time into an exchange, the server leg its response; heads are parsed
 * where they were read and sent on as they came, in one write with the body bytes that follow them. */
#include "proxy/http1/proto_http1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/detect.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/access.h"
#include "proxy/exchange/choice.h"
#include "proxy/exchange/exchange.h"
#include "proxy/exchange/loss.h"
#include "proxy/exchange/retry.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/http1_request.h"
#include "proxy/http1/http1_response.h"
#include "proxy/http1/partial.h"
#include "proxy/http1/reply.h"
#include "proxy/http1/rewrite.h"
#include "proxy/http1/turn_away.h"
#include "proxy/http1/unread.h"
#include "proxy/leg/input.h"
#include "proxy/leg/pump.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/route.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

enum { PIPELINE_TURN = 64 }; /* requests that fail one after the other before others get their turn */

/* --- requests --- */

/* Sends the head, with the empty lines that were skipped before it, as it came or with what we must change, and the body bytes behind it. */
static void proto_http1_forward_request(struct conn *conn, const struct rewrite *rewrite, const uint8_t *bytes, size_t skipped,
                                        size_t head_length, size_t length)
{
	struct buf changed = {0};

	if (!rewrite_needed(rewrite) || conn->passed) {
		exchange_send(conn, bytes - skipped, skipped + length);
		return;
	}
	if (rewrite_head(rewrite, bytes, head_length, &changed) || buf_append(&changed, bytes + head_length, length - head_length))
		exchange_no_memory(conn);
	else
		exchange_send(conn, buf_bytes(&changed), buf_length(&changed));
	buf_release(&changed);
}

static const struct slice nothing;
static void proto_http1_client_ended(struct conn *conn, int error);

/* The access log shows the line that a refused head begins with. */
static void proto_http1_refuse_head(struct conn *conn, struct input *input, size_t skipped, const struct http1_error *error)
{
	if (!unread_may(conn) && conn->worker->proxy->exchange->access_log && input_hold(input, &conn->client, skipped))
		exchange_no_memory(conn);
	else
		unread_or_refuse(conn, HTTP1_REQUEST, error, (struct slice){input->bytes, input->length}, nothing);
}

/* Bytes behind a complete request, if there are any, wait for its answer as long as they can be the next request. If they cannot, their server waits for
 * them; they are nobody's request where that is to be decided by reading. */
static void proto_http1_judge_behind(struct conn *conn)
{
	static const struct http1_error no_request = {.reason = REASON_REQUEST_INVALID, .what = "what follows it begins no request"};
	static const struct http1_error no_next = {.reason = REASON_REQUEST_INVALID, .what = "more follows it, and its response runs until close"};
	struct exchange *exchange = conn->exchange;
	enum fit fit;
	bool runs_on;

	if (!buf_length(&conn->client.in) || !exchange || !exchange->request_body.complete)
		return;
	fit = detect_request_line(buf_bytes(&conn->client.in), buf_length(&conn->client.in));
	runs_on = exchange->response_head && exchange->response_body.framing == MESSAGE_UNTIL_CLOSE;
	conn_hold_client(conn, fit != FIT_MORE);
	if (exchange->waiting || (fit != FIT_NO && !runs_on) || !unread_may(conn))
		return;
	unread_start(conn, HTTP1_REQUEST, runs_on ? &no_next : &no_request, nothing, nothing);
}

/* The client has finished behind a complete request and half a further one: that will never be whole. */
static void proto_http1_pass_rest(struct conn *conn)
{
	static const struct http1_error half = {.reason = REASON_REQUEST_INVALID, .what = "what follows it is no whole request"};
	struct buf *rest = &conn->client.in;

	if (detect_skip_empty_lines(buf_bytes(rest), buf_length(rest)) != buf_length(rest)) {
		unread_start(conn, HTTP1_REQUEST, &half, nothing, nothing);
		return;
	}
	exchange_send(conn, buf_bytes(rest), buf_length(rest));
	buf_release(rest);
	exchange_client_finished(conn);
}

/* More from the client while its request is complete: the next one, or its end. */
static void proto_http1_behind(struct conn *conn)
{
	struct input input;
	int got = input_read(&input, &conn->client, conn->worker->scratch, WORKER_SCRATCH);

	if (got > 0 && input_hold(&input, &conn->client, 0))
		exchange_no_memory(conn);
	else if (got > 0)
		proto_http1_judge_behind(conn);
	else if (got < 0)
		proto_http1_client_ended(conn, got);
	input_free(&input);
}

static void proto_http1_log_begin(struct conn *conn, const uint8_t *bytes, size_t head_length, const struct message_head *head)
{
	struct request_head request;

	http1_request_head(&request, bytes, head_length, head->method, head->target);
	access_begin(conn, &request, head->target);
}

/* What the policy says of it. False: the proxy has answered. */
static bool proto_http1_choose(struct conn *conn, const uint8_t *bytes, size_t head_length, const struct message_head *head,
                               struct rewrite *rewrite)
{
	struct request_head request;

	if (!choice_begin(conn, rewrite))
		return false;
	if (!policy_target_has_routes(conn->target))
		return true;
	http1_request_head(&request, bytes, head_length, head->method, head->target);
	return choice_request(conn, &request, rewrite);
}

/* A complete head: begins the exchange, takes what is here of its body, holds what lies behind. */
static void proto_http1_begin(struct conn *conn, struct input *input, const uint8_t *bytes, size_t length, size_t head_length,
                              const struct message_head *head)
{
	struct http1_error error;
	struct exchange *exchange;
	struct rewrite rewrite = {0};
	char *host = NULL;
	size_t body = 0, skipped = (size_t)(bytes - input->bytes);

	partial_complete(conn);
	if (exchange_begin(conn, head) || http1_body_start(&conn->exchange->request_body, head)) {
		exchange_no_memory(conn);
		return;
	}
	exchange = conn->exchange;
	if (conn->worker->proxy->exchange->access_log)
		proto_http1_log_begin(conn, bytes, head_length, head);
	if (http1_body_feed(&exchange->request_body, HTTP1_REQUEST, bytes + head_length, length - head_length, unread_limits(conn),
	                    &body, &error)) {
		unread_or_refuse(conn, HTTP1_REQUEST, &error, (struct slice){input->bytes, input->length}, nothing);
		return;
	}
	access_count_body(exchange->access, body);
	exchange->request_body_bytes = body > 0;
	if (!input->taken.data && input_hold(input, &conn->client, skipped + head_length + body)) {
		exchange_no_memory(conn);
		return;
	}
	if (proto_http1_choose(conn, bytes, head_length, head, &rewrite))
		exchange_acquire(conn);
	if (conn->exchange && head->authority.length)
		rewrite.target_host = host = strndup((const char *)head->authority.bytes, head->authority.length);
	if (conn->exchange)
		proto_http1_forward_request(conn, &rewrite, bytes, skipped, head_length, head_length + body);
	free(host);
	/* Taken bytes could not be held before: the head just sent is among them. */
	if (input->taken.data && input_hold(input, &conn->client, skipped + head_length + body)) {
		exchange_no_memory(conn);
		return;
	}
	proto_http1_judge_behind(conn);
}

static void proto_http1_begin_head(struct conn *conn)
{
	if (conn->stage == STAGE_IDLE) {
		conn->instants[INSTANT_IDLE] = 0;
		conn->instants[INSTANT_HEAD] = conn_now(conn);
		conn_enter(conn, STAGE_HEAD);
	}
	conn_touch(conn);
}

/* Whether half a head may become a whole one: its server waits for what no further byte makes a request. */
static bool proto_http1_may_become_request(const uint8_t *bytes, size_t length)
{
	enum { MOST = 8192 }; /* what is longer meets --max-target-size */

	return detect_request_line(bytes, length < MOST ? length : MOST) != FIT_NO;
}

/* Empty lines behind a request that has been answered: its server gets them, as without us, and what it may say to them is the client's.
 * Without a server, and where heads are changed or looked at, they go on with the request that they come before. False: no memory. */
static bool proto_http1_empty_lines(struct conn *conn, struct input *input)
{
	struct upstream *upstream = conn->upstream;

	if (!upstream || !upstream->uses || conn->stage != STAGE_IDLE || !unread_may(conn) || conn->worker->proxy->upstream->pool_size ||
	    upstream->leg.connecting || !upstream_usable(upstream))
		return !input_hold(input, &conn->client, 0);
	upstream->private = true;
	return leg_send(&upstream->leg, input->bytes, input->length, conn_now(conn)) != -ENOMEM;
}

/* Bytes between requests or of an incomplete head. */
static void proto_http1_head(struct conn *conn, struct input *input)
{
	static const struct http1_error too_many = {REASON_REQUEST_INVALID, 400, "more than 8 empty lines before a request", 0};
	static const struct http1_error no_line = {REASON_REQUEST_INVALID, 400, "a request line other than METHOD TARGET HTTP/1.x", 0};
	struct http1_error error;
	struct message_head head;
	const uint8_t *bytes = input->bytes;
	size_t length = input->length, head_length, skipped;
	int result;

	skipped = detect_skip_empty_lines(bytes, length);
	if (skipped == SIZE_MAX) {
		proto_http1_begin_head(conn);
		proto_http1_refuse_head(conn, input, 0, &too_many);
		return;
	}
	if (skipped == length) {
		if (!proto_http1_empty_lines(conn, input))
			exchange_no_memory(conn);
		return;
	}
	bytes += skipped;
	length -= skipped;
	proto_http1_begin_head(conn);
	result = http1_read_head(&conn->scan, HTTP1_REQUEST, bytes, length, NULL, unread_limits(conn), &head_length, &head, &error);
	if (result == -EAGAIN && !proto_http1_may_become_request(bytes, length)) {
		proto_http1_refuse_head(conn, input, skipped, &no_line);
	} else if (result == -EAGAIN) {
		if (input_hold(input, &conn->client, 0))
			exchange_no_memory(conn);
		else
			partial_held(conn);
	} else if (result) {
		proto_http1_refuse_head(conn, input, skipped, &error);
	} else {
		proto_http1_begin(conn, input, bytes, length, head_length, &head);
	}
}

/* The client finished, or its socket failed. */
static void proto_http1_client_ended(struct conn *conn, int error)
{
	struct exchange *exchange = conn->exchange;

	if (error == -ENOMEM) {
		exchange_no_memory(conn);
	} else if (!conn->client.fin_received) {
		loss_of_client(conn);
	} else if (conn->stage == STAGE_IDLE) {
		conn_close(conn, cause_of(REASON_CLIENT_CLOSED_IDLE), "the client closed after %u request%s", conn->requests,
		           conn->requests == 1 ? "" : "s");
	} else if (conn->stage == STAGE_HEAD) {
		exchange_fail(conn, cause_of(REASON_CLIENT_CLOSED_REQUEST), "the client closed inside a request head");
	} else if (exchange && !exchange->request_body.complete) {
		loss_of_body(conn);
	} else if (exchange && buf_length(&conn->client.in) && !exchange->waiting && unread_may(conn)) {
		proto_http1_pass_rest(conn);
	} else if (exchange) { /* its request is complete: a half-closed client still gets its answer */
		exchange_client_finished(conn);
	}
}

static void proto_http1_request_body(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;
	struct http1_error error;
	struct input input;
	size_t consumed;
	int got = input_read(&input, &conn->client, conn->worker->scratch, WORKER_SCRATCH);

	if (got <= 0) {
		if (got < 0)
			proto_http1_client_ended(conn, got);
		return;
	}
	conn_touch(conn);
	if (http1_body_feed(&exchange->request_body, HTTP1_REQUEST, input.bytes, input.length, unread_limits(conn), &consumed,
	                    &error)) {
		unread_or_refuse(conn, HTTP1_REQUEST, &error, (struct slice){input.bytes, input.length}, nothing);
		input_free(&input);
		return;
	}
	access_count_body(exchange->access, consumed);
	exchange->request_body_bytes |= consumed > 0;
	if (input_hold(&input, &conn->client, consumed))
		exchange_no_memory(conn);
	else
		exchange_send(conn, input.bytes, consumed);
	input_free(&input);
	exchange_finish_if_complete(conn);
	proto_http1_judge_behind(conn);
}

/* A request that was pipelined behind the last one has waited in the leg's buffer. */
static void proto_http1_next(struct conn *conn)
{
	for (int turn = 0; conn->stage == STAGE_IDLE && buf_length(&conn->client.in) && !leg_pending(&conn->client); turn++) {
		size_t held = buf_length(&conn->client.in);
		struct input input;

		if (turn == PIPELINE_TURN) {
			conn_arm(conn, ALARM_TURN, conn_now(conn) + 1); /* the next round's: what is due now fires in this one */
			return;
		}
		input_take(&input, &conn->client);
		proto_http1_head(conn, &input);
		input_free(&input);
		if (buf_length(&conn->client.in) == held)
			break; /* half an empty line */
	}
	if (conn->exchange)
		exchange_note_request_end(conn);
	/* Its end was read while it waited for the answer. */
	if (conn->client.fin_received && (conn->stage == STAGE_HEAD || (conn->stage == STAGE_IDLE && !leg_pending(&conn->client))))
		proto_http1_client_ended(conn, 0);
}

static void proto_http1_refuse_first(struct conn *conn, struct input *input)
{
	struct http1_error error;
	struct message_head head;
	size_t head_length;

	proto_http1_begin_head(conn);
	/* Where the parser sees more than that the line is none, it says so. */
	if (http1_read_head(&conn->scan, HTTP1_REQUEST, input->bytes, input->length, NULL, unread_limits(conn), &head_length, &head, &error) !=
	    -EBADMSG)
		error = (struct http1_error){REASON_REQUEST_INVALID, 400, "a first line other than METHOD TARGET HTTP/1.x", 0};
	proto_http1_refuse_head(conn, input, 0, &error);
}

static void proto_http1_first(struct conn *conn, struct input *input)
{
	proto_http1_head(conn, input);
	proto_http1_next(conn);
}

static void proto_http1_client_readable(struct conn *conn)
{
	struct input input;
	int got;

	if (conn->exchange && conn->exchange->request_body.complete) {
		proto_http1_behind(conn);
	} else if (conn->exchange) {
		proto_http1_request_body(conn);
	} else {
		got = input_read(&input, &conn->client, conn->worker->scratch, WORKER_SCRATCH);
		if (got > 0)
			proto_http1_head(conn, &input);
		else if (got < 0)
			proto_http1_client_ended(conn, got);
		input_free(&input);
	}
	proto_http1_next(conn);
}

/* --- the rest of the protocol's events --- */

static bool proto_http1_expects_response(const struct conn *conn)
{
	return conn->exchange && !conn->exchange->waiting;
}

static void proto_http1_server_readable(struct conn *conn)
{
	if (proto_http1_expects_response(conn))
		http1_response_readable(conn);
	else if (conn->passed)
		partial_server_readable(conn);
	else
		http1_response_unasked(conn);
	if (conn->exchange && conn->exchange->response_head && conn->exchange->response_body.framing == MESSAGE_UNTIL_CLOSE)
		proto_http1_judge_behind(conn);
	proto_http1_next(conn);
}

static void proto_http1_client_writable(struct conn *conn)
{
	conn_touch(conn);
	exchange_finish_if_complete(conn);
	proto_http1_next(conn);
}

static void proto_http1_server_writable(struct conn *conn)
{
	conn_touch(conn);
	if (conn->exchange)
		exchange_note_request_end(conn);
}

static void proto_http1_server_connected(struct conn *conn, int result)
{
	if (result && conn->exchange) {
		exchange_dial_failed(conn, result);
		proto_http1_next(conn);
	} else if (result && conn->passed) {
		partial_server_failed(conn);
	} else if (result) {
		server_leg_drop(conn, false); /* dialled before the protocol was known; the next request dials again */
	} else if (pump_flush(&conn->worker->pump, &conn->upstream->leg)) {
		/* The reading side tells what happened. */
	} else if (!conn->exchange && !conn->passed) {
		upstream_rest(conn->upstream, -1);
	} else if (conn->exchange) {
		exchange_note_request_end(conn);
	}
}

static void proto_http1_server_failed(struct conn *conn)
{
	/* A write failed. What the server said before it went may be an early response: it is read to its end, and that end is judged. */
	if (conn->passed)
		partial_server_readable(conn);
	else if (!proto_http1_expects_response(conn))
		server_leg_drop(conn, false);
	else if (conn->upstream->leg.vanished)
		loss_of_server(conn, -ETIMEDOUT);
	else if (conn->upstream->leg.fin_received)
		exchange_send(conn, NULL, 0); /* it had said all: nobody takes the rest of the request */
	proto_http1_next(conn);
}

static void proto_http1_idle_expired(struct conn *conn)
{
	if (!conn_close_stalled(conn, TIMEOUT_IDLE_CONNECTION))
		conn_close(conn, cause_timer(REASON_IDLE_TIMEOUT, TIMEOUT_IDLE_CONNECTION), "no request came after %s%u request%s",
		           conn->requests ? "the answer to " : "", conn->requests, conn->requests == 1 ? "" : "s");
}

static void proto_http1_stream_idle(struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;
	struct cause cause = cause_timer(REASON_STREAM_IDLE_TIMEOUT, TIMEOUT_STREAM_IDLE);

	if (conn_close_stalled(conn, TIMEOUT_STREAM_IDLE))
		return;
	if (!exchange || !exchange->request_body.complete)
		cause.status = 408;
	exchange_fail(conn, cause, "%s",
	              !exchange                            ? "no byte of the unfinished request head came"
	              : !exchange->request_body.complete   ? "no byte of the unfinished request body came"
	              : exchange->response_head            ? "the server sent nothing more of its response"
	                                                   : "the server sent no response");
}

static void proto_http1_expired(struct conn *conn, enum timeout_id timer)
{
	switch (timer) {
	case TIMEOUT_IDLE_CONNECTION:
		proto_http1_idle_expired(conn);
		return;
	case TIMEOUT_REQUEST_HEADERS:
		exchange_fail(conn, cause_timer(REASON_HEADER_TIMEOUT, timer), "the request head was not complete in time");
		return;
	case TIMEOUT_STREAM_IDLE:
		proto_http1_stream_idle(conn);
		break;
	case TIMEOUT_CONNECT:
		exchange_dial_failed(conn, 0);
		break;
	case TIMEOUT_REQUEST:
	case TIMEOUT_BACKEND_REQUEST:
		exchange_fail(conn, cause_timer(timeouts_reason(timer), timer), "%s", loss_of_time(conn));
		break;
	default:
		break;
	}
	proto_http1_next(conn);
}

static void proto_http1_alarmed(struct conn *conn, enum alarm alarm)
{
	if (alarm == ALARM_BACKOFF)
		retry_backoff_over(conn);
	else if (alarm == ALARM_ATTEMPT)
		retry_attempt_late(conn);
	else if (alarm == ALARM_DISCARD)
		exchange_discard_over(conn);
	else if (alarm == ALARM_GRACE)
		partial_pass(conn);
	proto_http1_next(conn);
}

static void proto_http1_drain(struct conn *conn)
{
	/* With a request under way the response will carry `Connection: close`. */
	if (conn->stage == STAGE_IDLE)
		conn_close(conn, cause_of(REASON_DRAIN), "the proxy is shutting down; the connection was idle");
	else if (conn->exchange && conn->exchange->response_head && !conn->close_after)
		conn->close_after = REASON_DRAIN;
}

static int proto_http1_answer(struct conn *conn, const struct answer *answer)
{
	TEXT_ON_STACK(text, REPLY_MOST);

	reply_write(answer, &text);
	return leg_send(&conn->client, text_bytes, text.length, conn_now(conn));
}

static void proto_http1_ended(struct conn *conn)
{
	exchange_end(conn, &conn->ending);
}

const struct proto proto_http1 = {
    .name = "http1",
    .lingers = true,
    .client_readable = proto_http1_client_readable,
    .client_writable = proto_http1_client_writable,
    .server_connected = proto_http1_server_connected,
    .server_readable = proto_http1_server_readable,
    .server_writable = proto_http1_server_writable,
    .client_failed = loss_of_client,
    .server_failed = proto_http1_server_failed,
    .expired = proto_http1_expired,
    .alarmed = proto_http1_alarmed,
    .drain = proto_http1_drain,
    .first = proto_http1_first,
    .refuse_first = proto_http1_refuse_first,
    .may_go_unread = unread_may,
    .turn_away = turn_away_client,
    .exchange_size = sizeof(struct exchange),
    .phase = exchange_phase,
    .deadline = exchange_deadline,
    .fail = exchange_fail,
    .answer = proto_http1_answer,
    .describe = retry_describe,
    .ended = proto_http1_ended,
};
