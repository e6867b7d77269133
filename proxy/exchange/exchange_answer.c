/* Exchanges that nobody but the proxy answers, and those that it cannot answer. */
#include "proxy/exchange/exchange.h"

#include <errno.h>
#include <stdarg.h>

#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/ending.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/access.h"
#include "proxy/exchange/answer.h"
#include "proxy/exchange/loss.h"
#include "proxy/exchange/retry.h"

static bool exchange_can_answer(const struct conn *conn)
{
	return !conn->client.write_failed && !(conn->exchange && conn->exchange->response_head);
}

/* Whether the rest of a request is to be thrown away behind an answer of ours, since the next one may follow it: not where the client
 * may mean not to send it (RFC 9110 section 10.1.1), nor where a server has had a part of it. */
static bool exchange_may_discard(const struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;

	return !exchange->instants[INSTANT_ATTEMPT] && (exchange->request_body_bytes || !exchange->request.expects_continue);
}

/* Whether the client's connection can go on after an answer of ours. */
static bool exchange_lives_on(const struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;

	return exchange && (exchange->request_body.complete || exchange_may_discard(conn)) && exchange->request.keep_alive &&
	       !conn->close_after && !conn->worker->leaving && !conn->client.fin_received;
}

/* It does: now, or behind the rest of its request. why: as exchange_end() has it. */
static void exchange_live_on(struct conn *conn, const struct ending *why)
{
	struct exchange *exchange = conn->exchange;

	if (exchange->request_body.complete) {
		exchange_rest(conn, why);
		return;
	}
	if (why)
		exchange_tell(conn, why);
	exchange->response = (struct message_head){.status = exchange->status, .keep_alive = true};
	exchange->response_head = exchange->response_body.complete = true;
	exchange->counted = true; /* no backend had a part in it */
	exchange_forget_request(conn);
	server_leg_drop(conn, false); /* it was at rest */
	conn_arm(conn, ALARM_DISCARD, conn_now(conn) + CONN_DISCARD_MS);
}

void exchange_discard_over(struct conn *conn)
{
	struct cause cause = cause_by(REASON_CONNECTION_CLOSE, BY_CLIENT);

	cause.answered = true;
	conn_close(conn, cause, "the client had not sent its whole request, which the proxy had answered with %u %s before",
	           conn->exchange->status, conn->exchange->discarded >= CONN_DISCARD_MOST ? "1 MiB" : "2 s");
}

static int exchange_send_answer(struct conn *conn, const struct answer *answer)
{
	int result = conn->proto->answer(conn, answer);

	if (result)
		return result;
	conn->last_status = (uint16_t)answer->status;
	if (conn->exchange) {
		conn->exchange->status = (uint16_t)answer->status;
		conn->exchange->through = true;
		conn->exchange->own_answer = true;
		conn->exchange->failure = answer->reason;
	} else {
		access_refused(conn, answer->reason, answer->status);
	}
	return 0;
}

/* Sends the answer. True when the client's connection lives on after it. */
static bool exchange_answer(struct conn *conn, struct cause cause, const char *detail)
{
	const struct exchange *exchange = conn->exchange;
	/* The server was not reached, or broke: on another connection the client may meet another one. */
	bool elsewhere = cause.status == 502 || cause.reason == REASON_NO_LOCAL_PORT || cause.reason == REASON_BACKEND_UNRESOLVED;
	bool live = exchange_lives_on(conn) && reason_row(cause.reason)->by != BY_CLIENT && !elsewhere;
	struct answer answer = {
	    .status = cause.status,
	    .reason = cause.reason,
	    .detail = detail,
	    .reason_headers = !conn->worker->proxy->exchange->no_reason_headers,
	    .body = exchange && exchange->request.accepts_text && !exchange->request.is_head,
	    .close = !live,
	};

	return !exchange_send_answer(conn, &answer) && live;
}

__attribute__((format(printf, 3, 0))) static void exchange_fail_list(struct conn *conn, struct cause cause, const char *format,
                                                                     va_list arguments)
{
	struct ending ending;
	va_list again;
	bool live;

	if (server_leg_looped(conn, cause.reason)) {
		TEXT_ON_STACK(words, 256);

		server_leg_looped_words(conn, &words);
		exchange_fail(conn, cause_of(REASON_REDIRECT_LOOP), "%s", words_bytes);
		return;
	}
	if (retry_after_failure(conn, cause.reason))
		return;
	if (conn->exchange)
		exchange_count_attempt(conn, cause.reason);
	if (!cause.status)
		cause.status = reason_row(cause.reason)->status;
	if (!cause.status || !exchange_can_answer(conn)) {
		conn_close_list(conn, cause, format, arguments);
		return;
	}
	va_copy(again, arguments);
	ending_fill(&ending, conn, cause);
	ending_explain(&ending, conn, format, again);
	va_end(again);
	live = exchange_answer(conn, cause, ending.detail ? ending.detail : reason_row(cause.reason)->sentence);
	if (!live) {
		cause.answered = true;
		conn_close_list(conn, cause, format, arguments);
	} else {
		server_leg_drop(conn, true);
		exchange_live_on(conn, &ending);
	}
	ending_free(&ending);
}

void exchange_end_unanswered(struct conn *conn, struct cause cause, bool reset, const char *format, ...)
{
	va_list arguments;

	if (retry_after_failure(conn, cause.reason))
		return;
	exchange_count_attempt(conn, cause.reason);
	cause.at_rest = !reset;
	cause.reset = reset;
	va_start(arguments, format);
	conn_close_list(conn, cause, format, arguments);
	va_end(arguments);
}

void exchange_fail(struct conn *conn, struct cause cause, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	exchange_fail_list(conn, cause, format, arguments);
	va_end(arguments);
}

static void exchange_close_redirected(struct conn *conn, const char *location)
{
	if (conn->worker->leaving && !conn->close_after)
		conn->close_after = REASON_DRAIN;
	if (conn->close_after || !conn->exchange->request.keep_alive)
		exchange_close_client(conn);
	else
		conn_close(conn, cause_by(REASON_CONNECTION_CLOSE, BY_CLIENT),
		           "the client had not sent its whole request when that was answered with a redirect to %.200s", location);
}

void exchange_redirect(struct conn *conn, int status, const char *location)
{
	struct answer answer = {.status = status, .location = location, .close = !exchange_lives_on(conn)};
	int result = exchange_send_answer(conn, &answer);

	if (result == -ENOMEM)
		exchange_no_memory(conn);
	else if (result)
		loss_of_client(conn);
	else if (answer.close)
		exchange_close_redirected(conn, location);
	else
		exchange_live_on(conn, NULL);
}

void exchange_no_memory(struct conn *conn)
{
	conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
}
