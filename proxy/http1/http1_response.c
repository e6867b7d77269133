/* The response side of HTTP/1: heads are parsed where they were read and go on as they came, bodies are only counted or, when
 * chunked, followed. */
#include "proxy/http1/http1_response.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/access.h"
#include "proxy/exchange/choice.h"
#include "proxy/exchange/exchange.h"
#include "proxy/exchange/loss.h"
#include "proxy/exchange/retry.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/rewrite.h"
#include "proxy/http1/unread.h"
#include "proxy/leg/input.h"
#include "proxy/leg/pump.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

enum { TAIL = 4096 }; /* of a body that goes through a pipe, for http1_response_tail() */

static void http1_response_tunnel(struct conn *conn, const struct input *input, size_t consumed)
{
	conn->exchange->through = true;
	conn->close_after = REASON_NONE; /* maxConnection, overdue, ends the tunnel by its own rule */
	exchange_end(conn, NULL);
	conn_enter(conn, STAGE_TUNNEL);
	proto_opaque_start(conn, input->bytes + consumed, input->length - consumed);
}

/* What bytes look like that begin no response; NULL: they may begin one. */
static const char *http1_response_looks_like(const uint8_t *bytes, size_t length)
{
	static const struct {
		const char *begins, *what;
	} known[] = {
	    {"SSH-", "an SSH greeting, not HTTP"},
	    {"220 ", "an SMTP or FTP greeting, not HTTP"},
	    {"220-", "an SMTP or FTP greeting, not HTTP"},
	    {"+OK", "a POP3 or Redis answer, not HTTP"},
	    {"-ERR", "a POP3 or Redis answer, not HTTP"},
	    {"* OK", "an IMAP greeting, not HTTP"},
	    {"<", "a document without a status line"},
	};
	static const char version[] = "HTTP/1.";
	enum { ALERT = 21, SETTINGS = 4, FRAME_HEADER = 9, TEXT_SEEN = 32 };

	if (!length || memcmp(bytes, version, length < sizeof version - 1 ? length : sizeof version - 1) == 0)
		return NULL;
	if (length > 2 && bytes[0] == ALERT && bytes[1] == 3)
		return "a TLS alert: the server speaks TLS, not plain HTTP";
	if (length >= FRAME_HEADER && !bytes[0] && !bytes[1] && bytes[3] == SETTINGS && !(bytes[5] | bytes[6] | bytes[7] | bytes[8]))
		return "HTTP/2 SETTINGS: the server speaks HTTP/2 without TLS (h2c) only";
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (length >= strlen(known[i].begins) && memcmp(bytes, known[i].begins, strlen(known[i].begins)) == 0)
			return known[i].what;
	for (size_t i = 0; i < length && i < TEXT_SEEN; i++)
		if (bytes[i] >= 0x7f || (bytes[i] < ' ' && !(bytes[i] >= '\t' && bytes[i] <= '\r')))
			return "bytes that are no status line";
	return "plain text without a status line";
}

/* What the parser does not take, from these bytes on: they go on unread, or the client is told. */
static void http1_response_refuse(struct conn *conn, const struct http1_error *error, const uint8_t *bytes, size_t length)
{
	unread_or_refuse(conn, HTTP1_RESPONSE, error, (struct slice){0}, (struct slice){bytes, length});
}

/* What a write to the client came to. False: the connection has ended. */
static bool http1_response_sent(struct conn *conn, int result)
{
	if (result == -ENOMEM)
		exchange_no_memory(conn);
	else if (result)
		loss_of_client(conn);
	return !result;
}

/* A head with the body bytes behind it. False: the connection or exchange has ended. */
static bool http1_response_forward_changed(struct conn *conn, const uint8_t *bytes, size_t head_length, size_t body,
                                           const struct rewrite *rewrite)
{
	struct buf changed = {0};
	int result = rewrite_head(rewrite, bytes, head_length, &changed);

	if (!result)
		result = buf_append(&changed, bytes + head_length, body);
	if (!result)
		result = leg_send(&conn->client, buf_bytes(&changed), buf_length(&changed), conn_now(conn));
	buf_release(&changed);
	return http1_response_sent(conn, result);
}

/* One complete head at bytes, which exchange->response is of. Returns how many bytes behind it may be sent on with it, as its body;
 * -1 when all is over. */
static ssize_t http1_response_head(struct conn *conn, const uint8_t *bytes, size_t head_length, size_t length)
{
	struct exchange *exchange = conn->exchange;
	struct http1_error error;
	size_t body = 0;

	if (exchange->response.status / 100 == 1 && exchange->response.status != 101)
		return 0;
	if (exchange->response.status == 101 && !exchange->request.upgrade) {
		error = (struct http1_error){REASON_SERVER_INVALID, 502, "101 to a request without Upgrade", 0};
		http1_response_refuse(conn, &error, bytes, length);
		return -1;
	}
	if (http1_body_start(&exchange->response_body, &exchange->response)) {
		exchange_no_memory(conn);
		return -1;
	}
	if (http1_body_feed(&exchange->response_body, HTTP1_RESPONSE, bytes + head_length, length - head_length,
	                    unread_limits(conn), &body, &error)) {
		http1_response_refuse(conn, &error, bytes, length);
		return -1;
	}
	return (ssize_t)body;
}

static bool http1_response_is_tunnel(const struct exchange *exchange)
{
	return exchange->response.status == 101 || (exchange->request.is_connect && exchange->response.status / 100 == 2);
}

/* A head and the body bytes behind it go to the client, the head rewritten where this must be the last response. False: the connection
 * has ended. */
static bool http1_response_pass(struct conn *conn, const uint8_t *bytes, size_t head_length, size_t body, bool final)
{
	const struct exchange *exchange = conn->exchange;
	struct rewrite rewrite = {0};

	if (final && !http1_response_is_tunnel(exchange)) {
		if (conn->worker->leaving && !conn->close_after)
			conn->close_after = REASON_DRAIN;
		rewrite.close = conn->close_after && exchange->response.keep_alive;
	}
	if (final)
		choice_rewrite_response(conn, &rewrite);
	if (rewrite_needed(&rewrite))
		return http1_response_forward_changed(conn, bytes, head_length, body, &rewrite);
	return http1_response_sent(conn, leg_send(&conn->client, bytes, head_length + body, conn_now(conn)));
}

/* Whether what the server does to its idle leg goes on to the client. Where it will be dialled anew, and answers, that is none of the
 * client's business; elsewhere a client trusts what it sees of its server. */
static bool http1_response_concerns_client(const struct conn *conn)
{
	if (!conn->requests)
		return false; /* dialled ahead */
	if (conn->upstream->private)
		return true;
	if (conn->direction == DIRECTION_INBOUND)
		return upstream_listener_gone(conn->upstream);
	return !conn->terms->service;
}

/* Bytes behind the response. Another one was not asked for, and concerns the client or no one; other bytes are no HTTP: the server goes on
 * in its own way, or counts otherwise than we do. True: they are the client's, and the exchange is over. */
static bool http1_response_goes_on(struct conn *conn, const uint8_t *bytes, size_t length)
{
	static const struct http1_error behind = {.reason = REASON_SERVER_INVALID, .what = "more follows it, which nobody asked for"};
	struct exchange *exchange = conn->exchange;

	exchange->server_dirty |= length > 0;
	if (!length || !unread_may(conn) || !(http1_response_looks_like(bytes, length) || http1_response_concerns_client(conn)))
		return false;
	conn->last_status = exchange->response.status;
	unread_start(conn, HTTP1_RESPONSE, &behind, (struct slice){0}, (struct slice){bytes, length});
	return true;
}

/* Whether the response ends here and its connection can carry another request. */
static bool http1_response_is_whole(const struct exchange *exchange, bool nothing_behind)
{
	return nothing_behind && exchange->response_body.complete && exchange->response.keep_alive &&
	       exchange->response_body.framing != MESSAGE_UNTIL_CLOSE && !exchange->server_dirty && !exchange->server_full;
}

/* This is the response that the client gets: the request is not needed any more. */
static void http1_response_decided(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;

	exchange->response_head = true;
	exchange->status = exchange->response.status;
	access_first_byte(exchange->access, loop_now_us(conn->worker->loop));
	exchange_forget_request(conn);
	if (exchange->terms && exchange->terms->until_head)
		exchange->instants[INSTANT_REQUEST] = 0;
	conn->upstream->private |= exchange->request.connection_auth || exchange->response.connection_auth;
}

/* One head at bytes, which begin it. 0; -EAGAIN: more is needed; -EBADMSG and *error: it is none, and what it looks like instead. */
static int http1_response_read(struct conn *conn, const uint8_t *bytes, size_t length, size_t *head_length, struct http1_error *error)
{
	struct exchange *exchange = conn->exchange;
	const char *looks = exchange->scan.line ? NULL : http1_response_looks_like(bytes, length);

	if (looks) {
		*error = (struct http1_error){REASON_SERVER_INVALID, 502, looks, 0};
		return -EBADMSG;
	}
	return http1_read_head(&exchange->scan, HTTP1_RESPONSE, bytes, length, &exchange->request, unread_limits(conn), head_length,
	                       &exchange->response, error);
}

/* Works through what the server sent, as far as whole heads and body bytes go. */
static void http1_response_take(struct conn *conn, struct input *input)
{
	struct exchange *exchange = conn->exchange;
	struct http1_error error;
	size_t done = 0;

	while (!exchange->response_head) {
		const uint8_t *bytes = input->bytes + done;
		size_t length = input->length - done, head_length;
		int result = http1_response_read(conn, bytes, length, &head_length, &error);
		bool final;
		ssize_t body;

		if (result == -EAGAIN) {
			if (input_hold(input, &conn->upstream->leg, done))
				exchange_no_memory(conn);
			return;
		}
		if (result) {
			http1_response_refuse(conn, &error, bytes, length);
			return;
		}
		body = http1_response_head(conn, bytes, head_length, length);
		if (body < 0)
			return;
		final = exchange->response.status / 100 != 1 || exchange->response.status == 101;
		if (final && retry_after_response(conn, http1_response_is_whole(exchange, done + head_length + (size_t)body == input->length)))
			return;
		if (final)
			http1_response_decided(conn);
		if (!http1_response_pass(conn, bytes, head_length, (size_t)body, final))
			return;
		done += head_length + (size_t)body;
		if (final && http1_response_is_tunnel(exchange)) {
			conn->last_status = exchange->response.status;
			http1_response_tunnel(conn, input, done);
			return;
		}
		if (!final && done == input->length)
			return;
	}
	conn->upstream->leg.bulk = exchange->response_body.remaining > PUMP_BULK;
	if (!http1_response_goes_on(conn, input->bytes + done, input->length - done))
		exchange_finish_if_complete(conn);
}

/* More of a chunked body. */
static void http1_response_chunks(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;
	struct http1_error error;
	struct input input;
	size_t consumed;
	int got = input_read(&input, &conn->upstream->leg, conn->worker->scratch, WORKER_SCRATCH);

	if (got <= 0) {
		if (got < 0)
			loss_of_server(conn, conn->upstream->leg.fin_received ? 0 : got);
		return;
	}
	conn_touch(conn);
	exchange->server_full = input.full;
	if (http1_body_feed(&exchange->response_body, HTTP1_RESPONSE, input.bytes, input.length, unread_limits(conn), &consumed,
	                    &error)) {
		http1_response_refuse(conn, &error, input.bytes, input.length);
	} else {
		if (http1_response_sent(conn, leg_send(&conn->client, input.bytes, consumed, conn_now(conn))) &&
		    !http1_response_goes_on(conn, input.bytes + consumed, input.length - consumed))
			exchange_finish_if_complete(conn);
	}
	input_free(&input);
}

/* The last stretch of a body of known length is read with room for more: what lies behind it, *behind bytes of the worker's scratch, would
 * otherwise be taken for the answer to the next request. */
static enum pump_end http1_response_tail(struct conn *conn, uint64_t remaining, uint64_t *moved, size_t *behind)
{
	struct leg *server = &conn->upstream->leg;
	int got = leg_read(server, conn->worker->scratch, WORKER_SCRATCH), result;

	*moved = 0;
	if (got <= 0)
		return !got ? PUMP_DRAINED : server->fin_received ? PUMP_FIN : PUMP_FROM_FAILED;
	*moved = (uint64_t)got < remaining ? (uint64_t)got : remaining;
	*behind = (size_t)got - (size_t)*moved;
	conn->exchange->server_full = got == WORKER_SCRATCH;
	result = leg_send(&conn->client, conn->worker->scratch, (size_t)*moved, conn_now(conn));
	return !result ? PUMP_DRAINED : result == -ENOMEM ? PUMP_NO_MEMORY : PUMP_TO_FAILED;
}

/* More of a body whose bytes need not be looked at. */
static enum pump_end http1_response_move(struct conn *conn, struct message_body *body, uint64_t *moved, size_t *behind)
{
	enum pump_end end;

	*behind = 0;
	if (body->framing != MESSAGE_LENGTH) {
		end = pump_move(&conn->worker->pump, &conn->upstream->leg, &conn->client, UINT64_MAX, moved);
	} else {
		if (body->remaining > (conn->upstream->leg.bulk ? PUMP_BULK_LEAST + TAIL : WORKER_SCRATCH))
			end = pump_move(&conn->worker->pump, &conn->upstream->leg, &conn->client, body->remaining - TAIL, moved);
		else
			end = http1_response_tail(conn, body->remaining, moved, behind);
		body->remaining -= *moved;
		body->complete = !body->remaining;
	}
	if (*moved)
		conn_touch(conn);
	return end;
}

static void http1_response_bytes(struct conn *conn)
{
	uint64_t moved;
	size_t behind;

	switch (http1_response_move(conn, &conn->exchange->response_body, &moved, &behind)) {
	case PUMP_FIN:
		loss_of_server(conn, 0);
		break;
	case PUMP_FROM_FAILED:
		loss_of_server(conn, conn->upstream->leg.error);
		break;
	case PUMP_TO_FAILED:
		loss_of_client(conn);
		break;
	case PUMP_NO_MEMORY:
		exchange_no_memory(conn);
		break;
	default:
		if (!http1_response_goes_on(conn, conn->worker->scratch + moved, behind))
			exchange_finish_if_complete(conn);
		break;
	}
}

void http1_response_readable(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;
	struct input input;
	int got;

	if (exchange->response_head && exchange->response_body.framing == MESSAGE_CHUNKED && !exchange->response_body.complete) {
		http1_response_chunks(conn);
		return;
	}
	if (exchange->response_head && !exchange->response_body.complete) {
		http1_response_bytes(conn);
		return;
	}
	/* The body behind this head may be long, as the last one was: what is not read with the head goes through a pipe. */
	got = input_read(&input, &conn->upstream->leg, conn->worker->scratch, conn->upstream->leg.bulk ? PUMP_BULK : WORKER_SCRATCH);
	if (got > 0) {
		conn_touch(conn);
		exchange->server_full = input.full;
	}
	if (got > 0 && exchange->response_head)
		(void)http1_response_goes_on(conn, input.bytes, input.length); /* the response is through, its request is not */
	else if (got > 0)
		http1_response_take(conn, &input);
	else if (got < 0)
		loss_of_server(conn, conn->upstream->leg.fin_received ? 0 : got);
	input_free(&input);
}

void http1_response_unasked(struct conn *conn)
{
	static const struct http1_error unasked = {.reason = REASON_SERVER_INVALID, .what = "bytes that nobody asked for behind it"};
	int got;

	upstream_observe_rest(conn->upstream);
	got = leg_read(&conn->upstream->leg, conn->worker->scratch, WORKER_SCRATCH);
	if (!got)
		return;
	if (got > 0 && conn->requests && unread_may(conn) &&
	    (http1_response_looks_like(conn->worker->scratch, (size_t)got) || http1_response_concerns_client(conn))) {
		unread_start(conn, HTTP1_RESPONSE, &unasked, (struct slice){0}, (struct slice){conn->worker->scratch, (size_t)got});
	} else if (got > 0 || !http1_response_concerns_client(conn)) {
		log_message(conn->worker->log, LOG_DEBUG, "%s on an idle connection to the server; the next request dials anew",
		            got > 0 ? "stray bytes" : conn->upstream->leg.fin_received ? "FIN" : "an error");
		server_leg_drop(conn, false);
	} else {
		struct cause cause = cause_of(REASON_SERVER_CLOSED_IDLE);

		cause.at_rest = conn->upstream->leg.fin_received;
		cause.reset = !cause.at_rest;
		conn_close(conn, cause, "the server %s its connection after %u request%s", cause.at_rest ? "closed" : "reset", conn->requests,
		           conn->requests == 1 ? "" : "s");
	}
}
