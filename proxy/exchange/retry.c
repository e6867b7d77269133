#include "proxy/exchange/retry.h"

#include "lib/log.h"
#include "lib/text.h"
#include "proxy/config/catalog.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/budget.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

/* NULL: none. */
static const struct retry *retry_of(const struct exchange *exchange)
{
	return exchange && exchange->terms ? exchange->terms->retry : NULL;
}

static bool retry_wants_status(const struct terms *terms, unsigned status)
{
	unsigned bit = status - RETRY_STATUS_FIRST;

	if (terms->retry->by_class)
		return terms_is_failure(terms, status);
	return status >= RETRY_STATUS_FIRST && bit < RETRY_STATUS_COUNT && (terms->retry->codes[bit / 32] >> bit % 32 & 1);
}

/* Ends of an attempt that say nothing about the request itself. */
static bool retry_wants_failure(const struct terms *terms, enum reason_id reason)
{
	switch (reason) {
	case REASON_CONNECT_TIMEOUT:
	case REASON_CONNECT_REFUSED:
	case REASON_CONNECT_RESET:
	case REASON_CONNECT_UNREACHABLE:
	case REASON_BACKEND_REQUEST_TIMEOUT:
	case REASON_SERVER_CLOSED_EARLY:
	case REASON_SERVER_RESET:
	case REASON_SERVER_VANISHED:
	case REASON_KEEPALIVE_RACE:
	case REASON_KEEPALIVE_RACE_UNSENT:
		return terms->retry->on_failure ||
		       (!terms->retry->by_class && retry_wants_status(terms, (unsigned)reason_row(reason)->status));
	default:
		return false;
	}
}

/* Whether the request can be sent again: all that came of it is kept, and what is yet to come is known to fit. */
static bool retry_can_repeat(const struct exchange *exchange)
{
	const struct message_body *body = &exchange->request_body;
	size_t kept = buf_length(&exchange->replay);

	if (!exchange->replayable)
		return false;
	return body->complete || (kept && body->framing == MESSAGE_LENGTH && body->remaining <= EXCHANGE_REPLAY_MOST - kept);
}

/* Whether one more attempt is possible and allowed; takes it from the budget. */
static bool retry_take(struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;
	const struct terms *terms = exchange->terms;

	if (!retry_can_repeat(exchange) || exchange->response_head || conn->client.write_failed)
		return false;
	if (exchange->attempt > terms->retry->attempts)
		return false;
	return !terms->budget || budget_withdraw(terms->budget, conn_now(conn));
}

/* The least wait, doubled with every attempt up to the longest, and up to twice that at random so that clients do not retry in step. */
static int64_t retry_wait(struct conn *conn)
{
	const struct retry *retry = retry_of(conn->exchange);
	int64_t wait = retry->backoff_ms;

	if (retry->backoff_most_ms <= retry->backoff_ms)
		return wait;
	for (uint32_t i = 1; i < conn->exchange->attempt && wait < retry->backoff_most_ms; i++)
		wait *= 2;
	wait += worker_random(conn->worker) % (uint64_t)(wait + 1);
	return wait < retry->backoff_most_ms ? wait : retry->backoff_most_ms;
}

/* status: what the attempt that failed was answered with, 0: it had no answer. */
static void retry_schedule(struct conn *conn, unsigned status)
{
	struct exchange *exchange = conn->exchange;

	exchange->attempt_status = (uint16_t)status;
	conn_arm(conn, ALARM_BACKOFF, conn_now(conn) + retry_wait(conn));
	exchange->instants[INSTANT_ATTEMPT] = exchange->instants[INSTANT_REQUEST_END] = 0;
	exchange->attempt++;
	exchange->waiting = true;
}

void retry_attempt(struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;
	const struct retry *retry = retry_of(exchange);

	if (retry && retry->attempt_ms && exchange->attempt <= retry->attempts)
		conn_arm(conn, ALARM_ATTEMPT, conn_now(conn) + retry->attempt_ms);
}

bool retry_after_response(struct conn *conn, bool complete)
{
	struct exchange *exchange = conn->exchange;
	const struct terms *terms = exchange->terms;
	unsigned status = exchange->response.status;

	if (retry_of(exchange) && retry_wants_status(terms, status) && retry_take(conn)) {
		exchange_count_attempt(conn, REASON_NONE);
		log_message(conn->worker->log, LOG_DEBUG, "attempt %u was answered with %u; trying again", exchange->attempt, status);
		if (complete && exchange->request_body.complete && !leg_pending(&conn->upstream->leg)) {
			conn->upstream->uses++;
			upstream_rest(conn->upstream, exchange->response.keep_alive_timeout_s);
		} else {
			server_leg_drop(conn, false);
		}
		retry_schedule(conn, status);
		return true;
	}
	if (terms && terms->budget && exchange->attempt == 1)
		budget_deposit(terms->budget, conn_now(conn));
	conn_disarm(conn);
	return false;
}

bool retry_after_failure(struct conn *conn, enum reason_id reason)
{
	struct exchange *exchange = conn->exchange;

	if (!retry_of(exchange) || !retry_wants_failure(exchange->terms, reason) || !retry_take(conn))
		return false;
	log_message(conn->worker->log, LOG_DEBUG, "attempt %u ended with %s; trying again", exchange->attempt,
	            reason_row(reason)->name);
	exchange_count_attempt(conn, reason);
	server_leg_drop(conn, true);
	retry_schedule(conn, 0);
	return true;
}

void retry_backoff_over(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;

	exchange->waiting = false;
	if (exchange->replayable) {
		conn->retries++;
		metrics_add(conn->worker->metrics, METRIC_RETRIES, conn->direction, RETRY_RULE, 0, 0, 1);
		exchange_retry(conn);
	} else { /* what came of its body meanwhile could not be kept */
		exchange_fail(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
	}
}

void retry_attempt_late(struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;

	if (!exchange->response_head && retry_take(conn)) {
		log_message(conn->worker->log, LOG_DEBUG, "attempt %u had no response head in time; trying again", exchange->attempt);
		server_leg_drop(conn, true);
		retry_schedule(conn, 0);
	}
}

void retry_describe(const struct conn *conn, struct text *text)
{
	const struct exchange *exchange = conn->exchange;
	const struct retry *retry = retry_of(exchange);

	if (!retry || !retry->attempts)
		return;
	if (retry->attempts == UINT32_MAX)
		text_printf(text, "; attempt %u", exchange->attempt);
	else
		text_printf(text, "; attempt %u of %u", exchange->attempt, retry->attempts + 1);
	if (exchange->waiting)
		text_string(text, " awaited");
	if (exchange->attempt_status)
		text_printf(text, "%s the one before was answered with %u", exchange->waiting ? ";" : ",", exchange->attempt_status);
}
