/* HTTP/1.0 and 1.1. The client leg delivers requests one at a time into an exchange, the server leg its response; heads are parsed
 * where they were read and sent on as they came, in one write with the body bytes that follow them. */
#include <errno.h>

#include "lib/log.h"
#include "proxy/connection/closing.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/input.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/pump.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/access.h"
#include "proxy/exchange/exchange.h"
#include "proxy/exchange/retry.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/http1_response.h"
#include "proxy/http1/rewrite.h"
#include "proxy/options.h"
#include "proxy/server/upstream.h"

enum { PIPELINE_TURN = 64 }; /* requests that fail one after the other before others get their turn */

/* --- requests --- */

/* Sends the head, as it came or with what we must change, and the body bytes behind it. */
static void proto_http1_forward_request(struct conn *conn, const struct rewrite *rewrite, const uint8_t *bytes, size_t head_length,
                                        size_t length)
{
	struct buf changed = {0};

	if (!rewrite_needed(rewrite)) {
		exchange_send(conn, bytes, length);
		return;
	}
	if (rewrite_head(rewrite, bytes, head_length, &changed) || buf_append(&changed, bytes + head_length, length - head_length))
		exchange_no_memory(conn);
	else
		exchange_send(conn, buf_bytes(&changed), buf_length(&changed));
	buf_release(&changed);
}

/* The access log shows the line that a refused head begins with. */
static void proto_http1_refuse_head(struct conn *conn, struct input *input, size_t skipped, const struct http1_error *error)
{
	if (conn->worker->proxy->settings->access_log && input_hold(input, &conn->client, skipped))
		exchange_no_memory(conn);
	else
		exchange_refuse(conn, error);
}

/* A complete head: begins the exchange, takes what is here of its body, holds what lies behind. */
static void proto_http1_begin(struct conn *conn, struct input *input, const uint8_t *bytes, size_t length, size_t head_length,
                              const struct http1_head *head)
{
	struct http1_error error;
	struct exchange *exchange;
	struct rewrite rewrite = {0};
	size_t body = 0, skipped = (size_t)(bytes - input->bytes);

	if (exchange_begin(conn, head)) {
		exchange_no_memory(conn);
		return;
	}
	exchange = conn->exchange;
	if (conn->worker->proxy->settings->access_log)
		access_begin(conn, bytes, head_length, head);
	if (http1_body_feed(&exchange->request_body, HTTP1_REQUEST, bytes + head_length, length - head_length, exchange_limits(conn),
	                    &body, &error)) {
		exchange_refuse(conn, &error);
		return;
	}
	access_count_body(exchange->access, body);
	conn->client_read_hold = exchange->request_body.complete;
	if (!input->taken.data && input_hold(input, &conn->client, skipped + head_length + body)) {
		exchange_no_memory(conn);
		return;
	}
	if (steer_request(conn, bytes, head_length, head, &rewrite))
		exchange_acquire(conn);
	if (conn->exchange)
		proto_http1_forward_request(conn, &rewrite, bytes, head_length, head_length + body);
	/* Taken bytes could not be held before: the head just sent is among them. */
	if (input->taken.data && input_hold(input, &conn->client, skipped + head_length + body))
		exchange_no_memory(conn);
}

/* Bytes between requests or of an incomplete head. */
static void proto_http1_head(struct conn *conn, struct input *input)
{
	struct http1_error error;
	struct http1_head head;
	const uint8_t *bytes = input->bytes;
	size_t length = input->length, head_length;
	int result;

	/* RFC 9112 §2.2: empty lines before a request line are skipped. */
	while (!conn->scan.line && length >= 2 && bytes[0] == '\r' && bytes[1] == '\n') {
		bytes += 2;
		length -= 2;
	}
	if (!length)
		return;
	if (conn->stage == STAGE_IDLE && length == 1 && bytes[0] == '\r') { /* half an empty line */
		if (input_hold(input, &conn->client, (size_t)(bytes - input->bytes)))
			exchange_no_memory(conn);
		return;
	}
	if (conn->stage == STAGE_IDLE) {
		conn->instants[INSTANT_IDLE] = 0;
		conn->instants[INSTANT_HEAD] = conn_now(conn);
		conn_enter(conn, STAGE_HEAD);
	}
	conn_touch(conn);
	result = http1_read_head(&conn->scan, HTTP1_REQUEST, bytes, length, NULL, exchange_limits(conn), &head_length, &head, &error);
	if (result == -EAGAIN) {
		if (input_hold(input, &conn->client, (size_t)(bytes - input->bytes)))
			exchange_no_memory(conn);
		return;
	}
	if (result)
		proto_http1_refuse_head(conn, input, (size_t)(bytes - input->bytes), &error);
	else
		proto_http1_begin(conn, input, bytes, length, head_length, &head);
}

/* The client finished, or its socket failed. */
static void proto_http1_client_ended(struct conn *conn, int error)
{
	struct exchange *exchange = conn->exchange;

	if (error == -ENOMEM) {
		exchange_no_memory(conn);
	} else if (!conn->client.fin_received) {
		conn_close_client_failed(conn);
	} else if (conn->stage == STAGE_IDLE) {
		conn_close(conn, cause_of(REASON_CLIENT_CLOSED_IDLE), "the client closed after %u request%s", conn->requests,
		           conn->requests == 1 ? "" : "s");
	} else if (conn->stage == STAGE_HEAD) {
		exchange_fail(conn, cause_of(REASON_CLIENT_CLOSED_REQUEST), "the client closed inside a request head");
	} else if (exchange && !exchange->request_body.complete) {
		exchange_fail(conn, cause_of(REASON_CLIENT_CLOSED_REQUEST), "the client closed inside a request body");
	}
	/* Otherwise its request is complete: a half-closed client still gets its answer. */
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
	if (http1_body_feed(&exchange->request_body, HTTP1_REQUEST, input.bytes, input.length, exchange_limits(conn), &consumed,
	                    &error)) {
		input_free(&input);
		exchange_refuse(conn, &error);
		return;
	}
	access_count_body(exchange->access, consumed);
	conn->client_read_hold = exchange->request_body.complete;
	if (input_hold(&input, &conn->client, consumed))
		exchange_no_memory(conn);
	else
		exchange_send(conn, input.bytes, consumed);
	input_free(&input);
	if (conn->exchange)
		exchange_finish_if_complete(conn);
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
			return; /* half an empty line */
	}
}

void proto_http1_first(struct conn *conn, struct input *input)
{
	proto_http1_head(conn, input);
	proto_http1_next(conn);
}

static void proto_http1_client_readable(struct conn *conn)
{
	struct input input;
	int got;

	if (conn->stage == STAGE_EXCHANGE) {
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

/* The server leg while no request is under way on it. */
static void proto_http1_idle_server(struct conn *conn)
{
	uint8_t byte;
	int got;

	upstream_observe_rest(conn->upstream);
	got = leg_read(&conn->upstream->leg, &byte, 1);
	if (!got)
		return;
	log_message(conn->worker->log, LOG_DEBUG, "%s on an idle connection to the server; the next request dials anew",
	            got > 0 ? "stray bytes" : conn->upstream->leg.fin_received ? "FIN" : "an error");
	upstream_drop(conn, false);
}

static void proto_http1_server_readable(struct conn *conn)
{
	if (proto_http1_expects_response(conn))
		http1_response_readable(conn);
	else
		proto_http1_idle_server(conn);
	proto_http1_next(conn);
}

static void proto_http1_client_writable(struct conn *conn)
{
	conn_touch(conn);
	if (conn->exchange)
		exchange_finish_if_complete(conn);
	proto_http1_next(conn);
}

static void proto_http1_server_writable(struct conn *conn)
{
	conn_touch(conn);
}

static void proto_http1_server_connected(struct conn *conn, int result)
{
	if (result && conn->exchange) {
		exchange_dial_failed(conn, result);
		proto_http1_next(conn);
	} else if (result) {
		upstream_drop(conn, false); /* dialled before the protocol was known; the next request dials again */
	} else if (pump_flush(conn->worker, &conn->upstream->leg)) {
		/* The reading side tells what happened. */
	} else if (!conn->exchange) {
		upstream_rest(conn->upstream, -1);
	}
}

static void proto_http1_server_failed(struct conn *conn)
{
	/* A write failed. What the server said before it went may be an early response: it is read to its end, and that end is judged. */
	if (!proto_http1_expects_response(conn))
		upstream_drop(conn, false);
	else if (conn->upstream->leg.vanished)
		exchange_server_lost(conn, -ETIMEDOUT);
	proto_http1_next(conn);
}

static void proto_http1_idle_expired(struct conn *conn)
{
	if (!progress_end_stalled(conn, TIMEOUT_IDLE_CONNECTION))
		conn_close(conn, cause_timer(REASON_IDLE_TIMEOUT, TIMEOUT_IDLE_CONNECTION), "no request came after %s%u request%s",
		           conn->requests ? "the answer to " : "", conn->requests, conn->requests == 1 ? "" : "s");
}

static void proto_http1_stream_idle(struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;
	struct cause cause = cause_timer(REASON_STREAM_IDLE_TIMEOUT, TIMEOUT_STREAM_IDLE);

	if (progress_end_stalled(conn, TIMEOUT_STREAM_IDLE))
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
	struct exchange *exchange = conn->exchange;

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
		exchange_fail(conn, cause_timer(timeouts_reason(timer), timer), "%s",
		              exchange && exchange->response_head ? "the response had begun but was not complete in time"
		                                                  : "no response came in time");
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

const struct proto proto_http1 = {
    .name = "http1",
    .client_readable = proto_http1_client_readable,
    .client_writable = proto_http1_client_writable,
    .server_connected = proto_http1_server_connected,
    .server_readable = proto_http1_server_readable,
    .server_writable = proto_http1_server_writable,
    .client_failed = conn_close_client_failed,
    .server_failed = proto_http1_server_failed,
    .expired = proto_http1_expired,
    .alarmed = proto_http1_alarmed,
    .drain = proto_http1_drain,
};
