#include "proxy/exchange/exchange.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/slab.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/ending.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/record.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/access.h"
#include "proxy/exchange/loss.h"
#include "proxy/exchange/retry.h"
#include "proxy/metrics/metrics.h"
#include "proxy/metrics/series.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

enum { PATH_MOST = 256 };

static void exchange_remember(struct conn *conn, const struct message_head *head)
{
	size_t path = head->target.length < PATH_MOST ? head->target.length : PATH_MOST;
	char *text;

	free(conn->last_request);
	conn->last_request = NULL;
	conn->last_status = 0;
	if (asprintf(&text, "%.*s %.*s", (int)head->method.length, (const char *)head->method.bytes, (int)path,
	             (const char *)head->target.bytes) >= 0)
		conn->last_request = text;
}

int exchange_begin(struct conn *conn, const struct message_head *head)
{
	struct exchange *exchange = slab_alloc(conn->worker->exchange_memory);

	if (!exchange)
		return -ENOMEM;
	exchange->request = *head;
	exchange->request.method = exchange->request.target = exchange->request.authority = (struct slice){0};
	exchange->worker = conn->worker;
	exchange->replayable = true;
	exchange->attempt = 1;
	exchange->started_us = loop_now_us(conn->worker->loop);
	metrics_add(conn->worker->metrics, METRIC_REQUESTS, conn->direction, HTTP_1, 0, 0, 1);
	conn->exchange = exchange;
	conn->only_probes = head->kube_probe && (conn->only_probes || !conn->requests);
	conn->requests++;
	conn->http_minor = head->minor;
	conn->instants[INSTANT_HEAD] = 0;
	exchange->instants[INSTANT_REQUEST] = conn_now(conn);
	conn_touch(conn);
	if (conn->worker->proxy->exchange->log_paths)
		exchange_remember(conn, head);
	conn_enter(conn, STAGE_EXCHANGE);
	PROBE_REQUEST_START(conn->id, conn->requests, head->method.bytes, head->method.length, head->target.bytes, head->target.length);
	return 0;
}

/* What the rule's profile calls a failure, else 5xx; and what was cut short. */
static enum metric_class exchange_class(const struct exchange *exchange, bool whole, unsigned status)
{
	bool failure = exchange->terms ? terms_is_failure(exchange->terms, status) : status >= 500;

	return whole && !failure ? CLASS_SUCCESS : CLASS_FAILURE;
}

/* Whether an attempt that ended so failed at the server. */
static bool exchange_server_failed(enum reason_id reason)
{
	return reason_row(reason)->by == BY_SERVER || reason == REASON_CONNECT_UNREACHABLE || reason == REASON_SERVER_VANISHED;
}

static unsigned exchange_series(const struct exchange *exchange)
{
	return exchange->terms ? exchange->terms->rule_series : SERIES_NONE;
}

void exchange_count_attempt(struct conn *conn, enum reason_id reason)
{
	struct exchange *exchange = conn->exchange;
	bool answered = exchange->response_head || exchange->response.status >= 200, failed = exchange_server_failed(reason);

	if (!exchange->counted && (answered || failed))
		metrics_add_named(conn->worker->metrics, NAMED_ROUTE_ACTUAL, exchange_series(exchange), conn->direction,
		                  exchange_class(exchange, !failed, exchange->response.status), 1);
	exchange->counted = true;
}

static void exchange_count(struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;
	struct metrics *metrics = conn->worker->metrics;
	int64_t duration_us = loop_now_us(conn->worker->loop) - exchange->started_us;
	unsigned status = exchange->status / 100 < STATUS_CLASSES ? exchange->status / 100 : STATUS_NONE;
	enum metric_class class = exchange_class(exchange, exchange->through, exchange->status);

	exchange_count_attempt(conn, exchange->ended);
	metrics_add(metrics, METRIC_RESPONSES, conn->direction, HTTP_1, status, class, 1);
	metrics_add_named(metrics, NAMED_ROUTE_EFFECTIVE, exchange_series(exchange), conn->direction, class, 1);
	metrics_observe(metrics, METRIC_REQUEST_SECONDS, conn->direction, HTTP_1, duration_us);
	PROBE_REQUEST_END(conn->id, conn->requests, exchange->status, exchange->attempt, duration_us);
	conn_count_bytes(conn);
	if (conn->worker->proxy->exchange->access_log)
		access_end(conn, class == CLASS_SUCCESS);
}

void exchange_forget_request(struct conn *conn)
{
	enum { SPARE_BYTES = 1024 };
	struct exchange *exchange = conn->exchange;
	struct worker *worker = conn->worker;

	exchange->replayable = false;
	if (exchange->replay.data && exchange->replay.capacity <= SPARE_BYTES && worker->spare_count < WORKER_SPARES) {
		buf_clear(&exchange->replay);
		worker->spares[worker->spare_count++] = exchange->replay;
		exchange->replay = (struct buf){0};
	}
	buf_release(&exchange->replay);
}

static void exchange_swept(struct loop_deferred *deferred)
{
	struct exchange *exchange = (struct exchange *)(void *)((char *)deferred - offsetof(struct exchange, deferred));

	slab_release(exchange->worker->exchange_memory, exchange);
}

void exchange_tell(struct conn *conn, const struct ending *why)
{
	struct metrics *metrics = conn->worker->metrics;

	conn->exchange->ended = why->reason;
	record_exchange(conn, why);
	ending_count(conn, why);
	metrics_add(metrics, METRIC_REQUESTS_FAILED, conn->direction, why->reason, why->by, why->phase, 1);
	metrics_add_named(metrics, NAMED_SERVICE_FAILED, conn->terms->service_series, conn->direction, why->reason, 1);
}

void exchange_end(struct conn *conn, const struct ending *why)
{
	struct exchange *exchange = conn->exchange;

	if (!exchange)
		return;
	if (why && why != &conn->ending)
		exchange_tell(conn, why);
	else if (why)
		exchange->ended = why->reason;
	exchange_count(conn);
	message_body_free(&exchange->request_body);
	message_body_free(&exchange->response_body);
	exchange_forget_request(conn);
	free(exchange->target);
	exchange->deferred.run = exchange_swept;
	loop_defer(conn->worker->loop, &exchange->deferred);
	conn->exchange = NULL;
	conn_disarm(conn);
	conn->loops = 0;
}

void exchange_note_request_end(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;

	if (exchange->instants[INSTANT_REQUEST_END] || !exchange->instants[INSTANT_ATTEMPT])
		return;
	if (exchange->response_head || (exchange->request_body.complete && conn->upstream && !leg_pending(&conn->upstream->leg)))
		exchange->instants[INSTANT_REQUEST_END] = conn_now(conn);
}

static void exchange_start_attempt(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;

	if (!conn->passed)
		upstream_use(conn->upstream);
	exchange->server_dirty = exchange->server_full = false;
	exchange->reused = conn->upstream->uses > 0;
	if (exchange->reused)
		metrics_add(conn->worker->metrics, METRIC_REUSED, conn->direction, 0, 0, 0, 1);
	exchange->leg_sent = conn->upstream->leg.sent - conn->passed;
	exchange->leg_received = conn->upstream->leg.received;
	exchange->instants[INSTANT_ATTEMPT] = conn_now(conn);
	exchange->instants[INSTANT_REQUEST_END] = 0;
	retry_attempt(conn);
}

/* A new connection to the server, whatever there was before. False: the exchange has failed. */
static bool exchange_dial(struct conn *conn)
{
	int result = server_leg_dial(conn);

	if (!result) {
		exchange_start_attempt(conn);
		return true;
	}
	exchange_dial_failed(conn, result);
	return false;
}

static void exchange_send_kept(struct conn *conn)
{
	const struct buf *replay = &conn->exchange->replay;

	if (leg_send(&conn->upstream->leg, buf_bytes(replay), buf_length(replay), conn_now(conn)) == -ENOMEM)
		exchange_fail(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
	else if (conn->client.fin_received)
		exchange_client_finished(conn);
}

/* The same request on a fresh leg. */
void exchange_again(struct conn *conn, enum metric_source cause)
{
	server_leg_drop(conn, false);
	conn->retries++;
	metrics_add(conn->worker->metrics, METRIC_RETRIES, conn->direction, cause, 0, 0, 1);
	if (exchange_dial(conn))
		exchange_send_kept(conn);
}

void exchange_retry(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;

	exchange->counted = false;
	message_body_free(&exchange->response_body);
	exchange->response = (struct message_head){0};
	exchange->scan = (struct input_scan){0};
	exchange_acquire(conn);
	if (conn->exchange && conn->upstream)
		exchange_send_kept(conn);
}

/* Our dial took a port whose last connection was reset: conntrack still holds the redirect of that one, which caught the dial
 * (nf_conntrack_tcp_timeout_close, 10 s). Another port will do. */
bool exchange_looped(const struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;

	return exchange->replayable && conn->loops < CONN_LOOPS_MOST &&
	       dials_looped(conn->worker->proxy->guard.dials, conn->upstream->dial);
}

/* The client knows the server's answers: what becomes of a connection that has been idle is for it to expect. */
bool exchange_had_answer(const struct conn *conn)
{
	return conn->answered_by && conn->answered_by == (addr_hash(conn_destination(conn)) | 1);
}

void exchange_dial_failed(struct conn *conn, int error)
{
	TEXT_ON_STACK(dial, 256);

	if (conn->upstream && error && exchange_looped(conn)) {
		conn->loops++;
		exchange_again(conn, RETRY_LOOP);
		return;
	}
	server_leg_describe_dial(conn, error, &dial);
	if ((error == -ECONNREFUSED || error == -ECONNRESET) && exchange_had_answer(conn)) {
		exchange_end_unanswered(conn, server_leg_dial_cause(error), false, "%s; its earlier connection had ended", dial_bytes);
		return;
	}
	if (error == -ELOOP) { /* the client is this proxy: no answer, so that it knows */
		conn_close(conn, server_leg_dial_cause(error), "%s", dial_bytes);
		return;
	}
	exchange_fail(conn, server_leg_dial_cause(error), "%s", dial_bytes);
}

/* The leg leads elsewhere: another request's backend. */
static void exchange_let_go(struct conn *conn)
{
	if (conn->upstream->idle_since && !conn->upstream->leg.connecting)
		server_leg_release(conn);
	else
		server_leg_drop(conn, false);
}

void exchange_acquire(struct conn *conn)
{
	const struct message_head *request = &conn->exchange->request;
	bool shared = conn->worker->proxy->upstream->pool_size, twice = request->idempotent && request->content_length <= EXCHANGE_REPLAY_MOST;

	if (conn->upstream && !conn->passed && !upstream_usable(conn->upstream)) {
		upstream_observe_rest(conn->upstream);
		server_leg_drop(conn, false);
	}
	if (conn->upstream && !addr_equal(&conn->upstream->destination, conn_destination(conn)))
		exchange_let_go(conn);
	/* A shared leg may be about to end: only what can be sent twice is risked on it. */
	if (shared && conn->upstream && !conn->upstream->private && !twice && !upstream_proven(conn->upstream))
		server_leg_drop(conn, false);
	if (shared && !twice && !conn->upstream)
		upstream_pool_close_to(&conn->worker->pool, conn_destination(conn)); /* a server that serves one at a time must not wait for them */
	if (conn->upstream || (shared && twice && server_leg_take(conn)))
		exchange_start_attempt(conn);
	else
		exchange_dial(conn);
}

static void exchange_keep(struct worker *worker, struct exchange *exchange, const uint8_t *bytes, size_t length)
{
	if (!exchange->replayable)
		return;
	if (!exchange->replay.data && worker->spare_count)
		exchange->replay = worker->spares[--worker->spare_count];
	if (buf_length(&exchange->replay) + length > EXCHANGE_REPLAY_MOST || buf_append(&exchange->replay, bytes, length)) {
		exchange->replayable = false;
		buf_release(&exchange->replay);
	}
}

/* The server takes no more of the request. With its answer through, the client's connection ends, and lingers a moment for the client to
 * notice; before, so much of the rest is read and thrown away. */
static void exchange_discard(struct conn *conn, size_t length)
{
	struct exchange *exchange = conn->exchange;
	struct cause answered = cause_by(REASON_CONNECTION_CLOSE, BY_SERVER);

	exchange->discarded += (uint32_t)length;
	if (exchange->own_answer) {
		if (exchange->discarded >= CONN_DISCARD_MOST)
			exchange_discard_over(conn);
		return;
	}
	conn_hold_client(conn, exchange->discarded >= CONN_DISCARD_MOST);
	answered.answered = true;
	if (exchange->response_head && exchange->response_body.complete)
		conn_close(conn, answered, "the server answered with %u before the request was complete, and took no more of it",
		           exchange->response.status);
}

void exchange_send(struct conn *conn, const uint8_t *bytes, size_t length)
{
	struct exchange *exchange = conn->exchange;
	size_t passed = conn->passed;
	int result;

	if (!exchange)
		return;
	conn->passed = 0;
	if (exchange->own_answer) {
		exchange_discard(conn, length);
		return;
	}
	exchange_keep(conn->worker, exchange, bytes, length);
	if (exchange->waiting)
		return; /* the retry sends what was kept */
	if (!conn->upstream || conn->upstream->leg.write_failed) { /* the end of this leg is being read */
		exchange_discard(conn, length);
		return;
	}
	result = leg_send(&conn->upstream->leg, bytes + passed, length - passed, conn_now(conn));
	if (result == -ENOMEM)
		exchange_fail(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
}

void exchange_rest(struct conn *conn, const struct ending *why)
{
	exchange_end(conn, why);
	conn->instants[INSTANT_IDLE] = conn_now(conn);
	conn_enter(conn, STAGE_IDLE);
}

void exchange_client_finished(struct conn *conn)
{
	if (!conn->exchange || !conn->upstream || buf_length(&conn->client.in))
		return;
	leg_finish(&conn->upstream->leg);
	conn_half_closed(conn);
}

void exchange_close_client(struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;
	struct cause unfinished = cause_by(REASON_CONNECTION_CLOSE, BY_SERVER);

	unfinished.answered = true;
	if (!exchange->request_body.complete) {
		conn_close(conn, unfinished, "the server answered with %u before the request was complete, and %s", exchange->response.status,
		           conn->client.fin_wanted ? "closed" : "the client sent no more of it");
	} else if (conn->close_after) {
		enum timeout_id timer = conn->close_after == REASON_MAX_CONNECTION ? TIMEOUT_MAX_CONNECTION : TIMEOUT_NONE;

		conn_close(conn, cause_timer(conn->close_after, timer), NULL);
	} else if (!exchange->request.keep_alive) {
		conn_close(conn, cause_by(REASON_CONNECTION_CLOSE, BY_CLIENT), "the client asked to close after its response");
	} else {
		conn_close(conn, cause_by(REASON_CONNECTION_CLOSE, BY_SERVER),
		           exchange->response_body.framing == MESSAGE_UNTIL_CLOSE ? "the response ended with the server's connection"
		                                                                : "the server asked to close after its response");
	}
}

void exchange_finish_if_complete(struct conn *conn)
{
	struct exchange *exchange = conn->exchange;
	bool server_keeps, client_keeps;

	if (!exchange || !exchange->response_head || !exchange->response_body.complete)
		return;
	if ((!exchange->request_body.complete && !conn->client.fin_received) || leg_pending(&conn->client)) {
		exchange->server_full = true; /* until then the server may say more than it was asked */
		return;
	}
	server_keeps = exchange->response.keep_alive && exchange->response_body.framing != MESSAGE_UNTIL_CLOSE &&
	               !exchange->server_dirty && conn->upstream && !conn->upstream->leg.fin_received && !conn->client.fin_received &&
	               !leg_pending(&conn->upstream->leg) && (!exchange->server_full || upstream_quiet(conn->upstream));
	client_keeps = exchange->request.keep_alive && exchange->request_body.complete && exchange->response.keep_alive &&
	               exchange->response_body.framing != MESSAGE_UNTIL_CLOSE && !conn->close_after;
	conn->last_status = exchange->response.status;
	conn->only_probes = conn->only_probes && exchange->response.status < 400; /* what a kubelet calls success */
	exchange->through = true;
	if (conn->upstream)
		conn->answered_by = conn->upstream->mark;
	if (server_keeps) {
		conn->upstream->uses++;
		upstream_rest(conn->upstream, exchange->response.keep_alive_timeout_s);
	} else {
		server_leg_drop(conn, conn->upstream && !exchange->request_body.complete && leg_pending(&conn->upstream->leg));
	}
	if (!client_keeps) {
		exchange_close_client(conn);
		return;
	}
	exchange_rest(conn, NULL);
}

unsigned exchange_phase(const struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;
	bool refused = exchange->refusal; /* by its rule: nothing was dialled for it */

	if (!refused && conn->upstream && conn->upstream->leg.connecting)
		return STAGE_CONNECT;
	if (exchange->response_head)
		return PHASE_RESPONSE;
	if (exchange->waiting)
		return PHASE_BACKOFF;
	if ((!conn->upstream && !refused) || exchange->refusal == REASON_BACKEND_UNRESOLVED)
		return STAGE_CONNECT;
	return exchange->request_body.complete ? PHASE_WAIT : PHASE_REQUEST;
}

struct deadline exchange_deadline(const struct conn *conn, uint32_t timers)
{
	return deadline_of_request(timers, conn->exchange->instants, &conn->terms->timeouts);
}
