/* What it means that a connection ended while a request was under way on it. */
#include "proxy/exchange/loss.h"

#include <errno.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/metrics/metrics.h"
#include "proxy/server/upstream.h"

/* Whether a byte of the response has come in this attempt. */
static bool loss_answered(const struct conn *conn)
{
	return conn->upstream && conn->upstream->leg.received > conn->exchange->leg_received;
}

/* Whether the request surely never reached the server's application. Either not a byte of it left, or the server's FIN came and
 * acknowledges none of it: it was sent before the request arrived. A RST proves nothing, acknowledged or not: the kernel delays
 * acknowledgements, so an application may have read the request, acted on it, and died. tcpi_bytes_acked counts the SYN too. */
static bool loss_never_arrived(const struct conn *conn, int error)
{
	const struct leg *leg = &conn->upstream->leg;
	struct tcp_info info;

	if (leg->sent == conn->exchange->leg_sent)
		return true;
	return !error && !sock_info(leg->source.fd, &info) && info.tcpi_bytes_acked <= conn->exchange->leg_sent + 1;
}

/* Whether the leg ended within about a round trip of the request: sent before that arrived, or before its process came to it. A server
 * that takes longer had begun to work on it. LATE_MS is for machines with more to do than they can: a process there, this one or the
 * server's, waits for some hundred milliseconds before it sees what its socket has. */
static bool loss_at_once(const struct conn *conn)
{
	enum { LATE_MS = 500 };
	struct tcp_info info;
	int64_t round_trip = sock_info(conn->upstream->leg.source.fd, &info) ? 0 : info.tcpi_rtt / 1000;

	return conn_now(conn) - conn->exchange->instants[INSTANT_ATTEMPT] <= 2 * round_trip + LATE_MS;
}

/* The reused leg died under the request: once more on a fresh one where that is safe. */
static void loss_race(struct conn *conn, int error)
{
	struct exchange *exchange = conn->exchange;
	bool unsent = loss_never_arrived(conn, error), again = exchange->replayable && (unsent || exchange->request.idempotent);
	int64_t idle_ms = conn->upstream->idle_before;
	TEXT_ON_STACK(known, 128);

	if (!error || error == -ECONNRESET || error == -EPIPE)
		upstream_observe(conn->upstream, idle_ms);
	metrics_add(conn->worker->metrics, METRIC_KEEPALIVE_RACES, conn->direction,
	            again ? RACE_RETRIED : RACE_FAILED, 0, 0, 1);
	if (again) {
		log_message(conn->worker->log, LOG_DEBUG, "the server closed a reused connection (idle %lld ms before); retrying",
		            (long long)idle_ms);
		exchange_again(conn, RETRY_RACE);
		return;
	}
	learned_describe(&conn->worker->pool.learned, &conn->upstream->destination, &known);
	if (exchange_had_answer(conn)) {
		exchange_end_unanswered(conn, cause_of(unsent ? REASON_KEEPALIVE_RACE_UNSENT : REASON_KEEPALIVE_RACE), error != 0,
		                        "the server %s this connection, idle for %lld.%lld s before, as the request arrived, and the request "
		                        "cannot be sent twice (%s); the client's connection ends as it would have%s%s",
		                        error ? "reset" : "closed", (long long)(idle_ms / 1000), (long long)(idle_ms % 1000 / 100),
		                        exchange->replayable ? "it may have been acted on and its method is not idempotent" : "its body is over 64 KiB",
		                        known.length ? "; " : "", known_bytes);
		return;
	}
	exchange_fail(conn, cause_of(unsent ? REASON_KEEPALIVE_RACE_UNSENT : REASON_KEEPALIVE_RACE),
	              "the server %s this connection, idle for %lld.%lld s before, as the request arrived, and the request cannot be sent "
	              "twice (%s)%s%s",
	              error ? "reset" : "closed", (long long)(idle_ms / 1000), (long long)(idle_ms % 1000 / 100),
	              exchange->replayable ? "it may have been acted on and its method is not idempotent" : "its body is over 64 KiB",
	              known.length ? "; " : "", known_bytes);
}

static void loss_before_response(struct conn *conn, int error)
{
	bool at_once = !loss_answered(conn) && (loss_at_once(conn) || loss_never_arrived(conn, error));
	char server[ADDR_TEXT_SIZE];
	TEXT_ON_STACK(words, 192);

	addr_format(conn_destination(conn), server);
	if (error == -ETIMEDOUT) {
		bool vanished = conn->upstream->leg.vanished;
		struct cause cause = cause_timer(REASON_SERVER_VANISHED, vanished ? TIMEOUT_UNACKNOWLEDGED : TIMEOUT_NONE);

		exchange_fail(conn, cause, "%s no longer acknowledges anything%s", server,
		              progress_vanished_words(conn, &conn->upstream->leg, &words));
	} else if (exchange_looped(conn)) {
		conn->loops++;
		exchange_again(conn, RETRY_LOOP);
	} else if (conn->client.fin_received) {
		exchange_end_unanswered(conn, cause_of(REASON_CLIENT_ABORTED_WAIT), error != 0,
		                        "the client finished while request %u waited for its response, and the server ended without one",
		                        conn->requests);
	} else if (conn->exchange->reused && at_once) {
		loss_race(conn, error);
	} else if (at_once && exchange_had_answer(conn)) { /* a fresh leg of a server that goes away: connected, never accepted */
		exchange_end_unanswered(conn, cause_of(error ? REASON_SERVER_RESET : REASON_SERVER_CLOSED_EARLY), error != 0,
		                        "%s %s the new connection as the request arrived, its earlier one had ended; the client's connection "
		                        "ends as it would have", server, error ? "reset" : "closed");
	} else {
		int64_t worked = conn_now(conn) - conn->exchange->instants[INSTANT_ATTEMPT];

		exchange_fail(conn, cause_of(error ? REASON_SERVER_RESET : REASON_SERVER_CLOSED_EARLY),
		              error ? "%s reset the connection before its response, %lld.%lld s after the request began to reach it"
		                    : "%s closed the connection without a response, %lld.%lld s after the request began to reach it",
		              server, (long long)(worked / 1000), (long long)(worked % 1000 / 100));
	}
}

void loss_of_client(struct conn *conn)
{
	const struct leg *client = &conn->client;
	const struct exchange *exchange = conn->exchange;

	if (exchange && exchange->response_head && client->error != -ETIMEDOUT)
		conn_close(conn, cause_of(REASON_CLIENT_ABORTED_RESPONSE), "the client went away after %llu bytes of the response to request %u",
		           (unsigned long long)client->sent, conn->requests);
	else if (exchange && exchange->request_body.complete && client->error != -ETIMEDOUT)
		conn_close(conn, cause_of(REASON_CLIENT_ABORTED_WAIT), "the client went away while request %u waited for its response",
		           conn->requests);
	else
		conn_close_client_failed(conn);
}

/* The server has finished behind its response, and the request goes on: so does its FIN to the client, and the rest to the server, which
 * may read it. */
static void loss_of_answered(struct conn *conn)
{
	conn->exchange->response_body.complete = true;
	conn->exchange->response.keep_alive = false;
	leg_finish(&conn->client);
	conn_half_closed(conn);
	exchange_finish_if_complete(conn);
}

void loss_of_server(struct conn *conn, int error)
{
	struct exchange *exchange = conn->exchange;
	struct message_body *body = &exchange->response_body;
	struct cause answered = cause_by(REASON_CONNECTION_CLOSE, BY_SERVER);

	answered.answered = true;
	exchange->server_dirty = true;
	if (!exchange->response_head) {
		loss_before_response(conn, error);
	} else if (!error && body->framing == MESSAGE_UNTIL_CLOSE && exchange->request_body.complete) {
		body->complete = true;
		exchange_finish_if_complete(conn);
	} else if (body->complete && exchange->request_body.complete) {
		exchange_finish_if_complete(conn); /* all is here, the client is still taking it */
	} else if (!error && (body->complete || body->framing == MESSAGE_UNTIL_CLOSE)) {
		loss_of_answered(conn);
	} else if (body->complete) {
		conn_close(conn, answered, "the server answered with %u before the request was complete, and closed", exchange->response.status);
	} else if (!error && conn->client.fin_received) {
		exchange_end_unanswered(conn, cause_of(REASON_CLIENT_ABORTED_RESPONSE), false,
		                        "the client finished during the response to request %u, and the server ended it there", conn->requests);
	} else if (error == -ETIMEDOUT) {
		TEXT_ON_STACK(words, 192);

		conn_close(conn, cause_timer(REASON_SERVER_VANISHED,
		                             conn->upstream->leg.vanished ? TIMEOUT_UNACKNOWLEDGED : TIMEOUT_NONE),
		           "the server no longer acknowledges anything in the middle of its response%s",
		           progress_vanished_words(conn, &conn->upstream->leg, &words));
	} else if (error) {
		conn_close(conn, cause_of(REASON_SERVER_RESET), "the server reset the connection in the middle of its response");
	} else if (body->framing == MESSAGE_LENGTH) {
		conn_close(conn, cause_of(REASON_SERVER_TRUNCATED), "the server closed with %llu bytes of its response missing",
		           (unsigned long long)body->remaining);
	} else {
		conn_close(conn, cause_of(REASON_SERVER_TRUNCATED), "the server closed before the last chunk of its response");
	}
}

void loss_of_body(struct conn *conn)
{
	if (!conn->exchange->response_head || !conn->upstream) {
		exchange_fail(conn, cause_of(REASON_CLIENT_CLOSED_REQUEST), "the client closed inside a request body");
		return;
	}
	exchange_client_finished(conn);
	exchange_finish_if_complete(conn);
}

const char *loss_of_time(const struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;

	if (exchange->response_head && progress_undelivered(&conn->client))
		return "the client did not take its response in time; see what keeps it from reading";
	if (exchange->response_head && !exchange->response_body.complete)
		return "the response had begun but was not complete in time";
	if (exchange->waiting)
		return "the wait before another attempt outlasted it; a shorter backoff leaves time for one";
	if (conn->upstream && conn->upstream->leg.connecting)
		return "the server had not accepted the connection yet; see that it is up, or set connect well below this";
	if (!exchange->request_body.complete && exchange->request.expects_continue && !exchange->request_body_bytes)
		return "the client waits for 100 Continue before it sends its body, and the server sent none; the server must answer Expect";
	if (!exchange->request_body.complete)
		return "the client had not sent its whole request body; it is the client or its network that is slow";
	return "no response came in time";
}
