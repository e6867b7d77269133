#include "proxy/connection/closing.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/conntrack.h"
#include "lib/loop.h"
#include "lib/slab.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/connection/admission.h"
#include "proxy/connection/advice.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/record.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

/* How long a closed HTTP connection is read on, so that our last bytes are not destroyed by the RST that answers unread ones
 * (RFC 9112 §9.6). */
enum {
	LINGER_MS = 1000,  /* of silence */
	LINGER_MOST_MS = 2000,   /* of a client that goes on sending */
};

struct cause cause_of(enum reason_id reason)
{
	return (struct cause){.reason = reason, .by = reason_row(reason)->by, .timer = TIMEOUT_NONE};
}

struct cause cause_by(enum reason_id reason, enum reason_by by)
{
	return (struct cause){.reason = reason, .by = by, .timer = TIMEOUT_NONE};
}

struct cause cause_timer(enum reason_id reason, enum timeout_id timer)
{
	return (struct cause){.reason = reason, .by = reason_row(reason)->by, .timer = timer};
}

const struct timeout_value *conn_timeout(const struct conn *conn, enum timeout_id timer)
{
	/* Draining goes by what is in force now, whatever the connection began with. */
	return &(timeouts_of_proxy(timer) ? policy_timeouts(conn->worker->terms.policy) : &conn->terms->timeouts)->of[timer];
}

static void ending_look_at(struct ending_leg *out, const struct leg *leg)
{
	struct tcp_info info;

	if (!leg_open(leg) || sock_info(leg->source.fd, &info))
		return;
	*out = (struct ending_leg){
	    .known = true,
	    .connecting = leg->connecting,
	    .rtt_us = info.tcpi_rtt,
	    .retransmits = info.tcpi_total_retrans,
	    .unacked = info.tcpi_unacked,
	    .probes = info.tcpi_probes,
	    .notsent = info.tcpi_notsent_bytes,
	    .last_data_recv_ms = info.tcpi_last_data_recv,
	    .last_ack_recv_ms = info.tcpi_last_ack_recv,
	    .undelivered = leg->connecting ? 0 : progress_undelivered(leg),
	};
}

static struct ending_legs *ending_look(const struct conn *conn)
{
	struct ending_legs *legs = calloc(1, sizeof *legs);

	if (!legs)
		return NULL;
	ending_look_at(&legs->client, &conn->client);
	if (conn->upstream)
		ending_look_at(&legs->server, &conn->upstream->leg);
	return legs;
}

/* The flow was forgotten: how long its silence may last by our own timers, if it is by time that conntrack forgot it. */
static void ending_add_conntrack(const struct conn *conn, struct advice *advice)
{
	int64_t silent = conn_now(conn) - conn->instants[INSTANT_LAST_BYTE], wanted;
	bool half_closed = conn->client.fin_received != conn->client.fin_sent;
	enum timeout_id timer = TIMEOUT_IDLE_CONNECTION;
	uint32_t kept;

	advice->state = half_closed ? CONNTRACK_CLOSE_WAIT : CONNTRACK_ESTABLISHED;
	if (!conntrack_timeout_read(advice->state, &kept) && (int64_t)kept * 1000 > silent)
		return;
	if (conn->stage == STAGE_EXCHANGE)
		timer = TIMEOUT_STREAM_IDLE;
	else if (conn->stage == STAGE_OPAQUE || conn->stage == STAGE_TUNNEL)
		timer = half_closed ? TIMEOUT_HALF_CLOSE : conn->stage == STAGE_OPAQUE ? TIMEOUT_TCP_IDLE : TIMEOUT_STREAM_IDLE;
	wanted = advice_conntrack_ms(conn_timeout(conn, timer)->milliseconds);
	advice->keep_ms = wanted > silent ? wanted : silent + 1;
}

/* The sentence of an ending: what was seen, which attempt it was, and the remedy. */
static char *ending_describe(const struct conn *conn, const struct ending *ending, const char *fact)
{
	struct advice advice = {.timer = TIMEOUT_NONE};
	struct sock_listening queue;
	TEXT_ON_STACK(attempt, 96);
	TEXT_ON_STACK(detail, ADVICE_DETAIL_SIZE);

	if (conn->proto->describe && reason_row(ending->reason)->by != BY_CLIENT)
		conn->proto->describe(conn, &attempt);
	switch (ending->reason) {
	case REASON_REDIRECT_STATE_LOST: /* the timer that noticed is not to blame */
		ending_add_conntrack(conn, &advice);
		break;
	case REASON_KEEPALIVE_RACE:
	case REASON_KEEPALIVE_RACE_UNSENT:
		advice.server_idle = conn_timeout(conn, TIMEOUT_SERVER_IDLE);
		advice.idle_ms = conn->upstream ? conn->upstream->idle_before : 0;
		break;
	case REASON_CONNECT_TIMEOUT:
		advice.queue_full = server_leg_queue_full(conn, &queue);
		break;
	case REASON_IDLE_RACE:
		advice.idle_ms = conn_now(conn) - conn->instants[INSTANT_IDLE];
		break;
	default:
		break;
	}
	if (ending->timer != TIMEOUT_NONE && ending->reason != REASON_REDIRECT_STATE_LOST) {
		advice.timer = ending->timer;
		advice.value = conn_timeout(conn, ending->timer);
	}
	advice_detail(ending->reason, &advice, fact, attempt_bytes, &detail);
	return strdup(detail_bytes);
}

void ending_fill(struct ending *ending, const struct conn *conn, struct cause cause)
{
	int64_t now = conn_now(conn);

	*ending = (struct ending){.reason = cause.reason, .by = cause.by, .timer = cause.timer, .at = now,
	                          .idle_ms = now - conn->instants[INSTANT_LAST_BYTE], .phase = conn_phase(conn)};
}

void ending_explain(struct ending *ending, const struct conn *conn, const char *format, va_list arguments)
{
	const struct reason *row = reason_row(ending->reason);
	char fact[2 * ADVICE_DETAIL_SIZE];

	if (format)
		vsnprintf(fact, sizeof fact, format, arguments);
	ending->detail = ending_describe(conn, ending, format ? fact : row->sentence);
	if (row->ending != ENDING_FIN || ending->timer != TIMEOUT_NONE)
		ending->legs = ending_look(conn);
}

void ending_count(const struct conn *conn, const struct ending *ending)
{
	if (ending->timer != TIMEOUT_NONE)
		metrics_add(conn->worker->metrics, METRIC_TIMEOUTS, ending->timer,
		            metrics_level(conn_timeout(conn, ending->timer)->source), 0, 0, 1);
}

void ending_free(struct ending *ending)
{
	free(ending->detail);
	free(ending->legs);
	*ending = (struct ending){0};
}

static void closing_swept(struct loop_deferred *deferred)
{
	struct conn *conn = (struct conn *)(void *)((char *)deferred - offsetof(struct conn, deferred));

	terms_release(&conn->worker->terms, conn->terms);
	ending_free(&conn->ending);
	free(conn->seen);
	free(conn->unread);
	slab_release(conn->worker->conn_memory, conn);
}

static const struct proto proto_closing; /* STAGE_LINGER, below: no server leg any more */

static void closing_count(struct conn *conn)
{
	struct metrics *metrics = conn->worker->metrics;
	const struct ending *ending = &conn->ending;
	int64_t open_ms = ending->at - conn->instants[INSTANT_ACCEPTED];

	conn_count_bytes(conn);
	ending_count(conn, ending);
	metrics_add(metrics, METRIC_CONNECTIONS_CLOSED, conn->direction, ending->reason, ending->by, ending->phase, 1);
	metrics_add(metrics, METRIC_CONNECTIONS_ACTIVE, conn->direction, 0, 0, 0, -1);
	metrics_observe(metrics, METRIC_CONNECTION_SECONDS, conn->direction, conn->protocol, open_ms * 1000);
	PROBE_CLOSE(conn->id, reason_row(ending->reason)->name, reason_by_name(ending->by), words_phase(ending->phase), open_ms);
	metrics_add_named(metrics, NAMED_SERVICE_CLOSED, conn->terms->service_series, conn->direction, ending->reason, 1);
	if (conn->unread)
		metrics_add(metrics, METRIC_UNREAD_ACTIVE, conn->direction, 0, 0, 0, -1);
	if (conn->half_closed)
		metrics_add(metrics, METRIC_CONNECTIONS_HALF_CLOSED, conn->direction, 0, 0, 0, -1);
	if (ending->reason == REASON_REDIRECT_STATE_LOST)
		metrics_add(metrics, METRIC_REDIRECT_STATE_LOST, conn->direction, 0, 0, 0, 1);
}

/* The client's socket closes and the record goes out; the connection is no more. */
static void closing_finish(struct conn *conn, bool reset)
{
	struct worker *worker = conn->worker;

	admission_release(conn); /* it takes no place from others any more, though its last bytes may still be on their way */
	wheel_cancel(loop_wheel(worker->loop), &conn->timer);
	pump_drop(&worker->pump, &conn->client);
	leg_close(&conn->client, worker->loop, reset);
	conn_enter(conn, STAGE_CLOSED);
	record_connection(conn);
	closing_count(conn);
	if (worker->walk_next == conn)
		worker->walk_next = conn->next;
	*conn->link = conn->next;
	if (conn->next)
		conn->next->link = conn->link;
	worker->conn_count--;
	atomic_fetch_sub_explicit(&worker->proxy->connections, 1, memory_order_relaxed);
	conn->deferred.run = closing_swept;
	loop_defer(worker->loop, &conn->deferred);
}

/* A timer, a silent peer, or a RST (to a packet that went out under the proxy's own address) may only be the symptom: conntrack
 * has forgotten the flow. */
static struct cause closing_examine(const struct conn *conn, struct cause cause)
{
	switch (cause.reason) {
	case REASON_TCP_IDLE_TIMEOUT:
	case REASON_HALF_CLOSE_TIMEOUT:
	case REASON_TUNNEL_IDLE_TIMEOUT:
	case REASON_IDLE_TIMEOUT:
	case REASON_STREAM_IDLE_TIMEOUT:
	case REASON_CLIENT_VANISHED:
	case REASON_CLIENT_STALLED:
	case REASON_CLIENT_RESET:
	case REASON_CLIENT_ABORTED_WAIT:
	case REASON_CLIENT_ABORTED_RESPONSE:
		if (origin_lost(conn->client.source.fd, &conn->server_addr))
			cause = cause_timer(REASON_REDIRECT_STATE_LOST, cause.timer);
		break;
	default:
		break;
	}
	return cause;
}

bool closing_looped(const struct conn *conn, enum reason_id reason)
{
	enum reason_by by = reason_row(reason)->by;

	return (by == BY_SERVER || by == BY_NETWORK) && conn->upstream &&
	       dials_looped(conn->worker->proxy->guard.dials, conn->upstream->dial);
}

/* One alone may have met what conntrack keeps of a connection that was reset; more have not. */
void closing_looped_words(const struct conn *conn, struct text *out)
{
	bool all = atomic_load_explicit(&conn->worker->proxy->looped, memory_order_relaxed) || conn->loops > 1;
	char server[ADDR_TEXT_SIZE];

	text_printf(out, "the proxy's own connection to %s came back to it", addr_format(conn_destination(conn), server));
	if (all)
		text_printf(out, ": lapse-init redirects uid %u; this proxy is uid %u", geteuid(), geteuid());
}

/* A leg that rests is clean and may serve others; one in the middle of something is not to look as if that had been finished, but if that
 * is how its client left it. */
static void closing_release_server(struct conn *conn, enum reason_ending end, bool exchange_under_way)
{
	struct upstream *upstream = conn->upstream;

	if (upstream && upstream->idle_since && end != ENDING_RST)
		server_leg_release(conn);
	else if (upstream)
		server_leg_drop(conn, end != ENDING_FIN || exchange_under_way || leg_pending(&upstream->leg));
}

/* Lingering takes no place but a descriptor: when too many do, the next one closes at once. */
static bool closing_is_crowded(const struct conn *conn)
{
	enum { LINGERING_FREE = 64 };
	struct proxy *proxy = conn->worker->proxy;
	uint64_t open = atomic_load_explicit(&proxy->connections, memory_order_relaxed);
	uint64_t admitted = admission_count(proxy);

	return open > admitted + LINGERING_FREE + proxy->max_connections / 4;
}

/* What ends now, and whose record --log-level or --log-rate would hold back, needs no words. */
static bool closing_needs_words(const struct conn *conn)
{
	bool at_once = conn->client.write_failed || (conn->client.fin_received && !leg_pending(&conn->client));

	return !at_once || record_wanted(conn, conn->ending.reason);
}

void conn_close_list(struct conn *conn, struct cause cause, const char *format, va_list arguments)
{
	enum reason_ending end;
	bool exchange_under_way = conn->exchange && cause.reason != REASON_CLIENT_CLOSED_REQUEST;

	if (conn->ending.reason != REASON_NONE)
		return;
	if (closing_looped(conn, cause.reason)) {
		TEXT_ON_STACK(words, 256);

		closing_looped_words(conn, &words);
		conn_close(conn, cause_of(REASON_REDIRECT_LOOP), "%s", words_bytes);
		return;
	}
	if (conn->stage != STAGE_ACCEPT)
		cause = closing_examine(conn, cause);
	if (cause.reason == REASON_REDIRECT_STATE_LOST)
		format = "conntrack has forgotten this connection, so its packets no longer reach the proxy";
	ending_fill(&conn->ending, conn, cause);
	if (closing_needs_words(conn))
		ending_explain(&conn->ending, conn, format, arguments);
	end = cause.answered || cause.at_rest ? ENDING_FIN : cause.reset ? ENDING_RST : reason_row(cause.reason)->ending;
	if (conn->proto->ended)
		conn->proto->ended(conn);
	closing_release_server(conn, end, exchange_under_way);
	if (end != ENDING_FIN || conn->client.write_failed) {
		closing_finish(conn, end == ENDING_RST);
		return;
	}
	if (conn->client.fin_received && !leg_pending(&conn->client)) { /* close() sends the FIN */
		closing_finish(conn, false);
		return;
	}
	leg_finish(&conn->client);
	if (closing_is_crowded(conn)) {
		closing_finish(conn, leg_pending(&conn->client));
		return;
	}
	if (!leg_pending(&conn->client) && !conn->proto->lingers && !cause.answered) {
		closing_finish(conn, false);
		return;
	}
	buf_release(&conn->client.in);
	admission_release(conn);
	conn_enter(conn, STAGE_LINGER);
	conn->proto = &proto_closing;
	conn->discarded = 0;
	conn_arm(conn, ALARM_LINGER, conn_now(conn) + LINGER_MS);
}

void conn_close(struct conn *conn, struct cause cause, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	conn_close_list(conn, cause, format, arguments);
	va_end(arguments);
}

bool conn_close_admin(struct conn *conn)
{
	static const char detail[] = "an operator closed it through the admin listener";
	struct cause cause = cause_of(REASON_ADMIN_CLOSED);

	if (conn->ending.reason != REASON_NONE)
		return false;
	if (conn->stage == STAGE_EXCHANGE || conn->stage == STAGE_HEAD) {
		conn->close_after = REASON_ADMIN_CLOSED; /* and it does not live on behind the answer */
		conn->proto->fail(conn, cause, "%s", detail);
	} else {
		cause.at_rest = conn->stage == STAGE_IDLE;
		conn_close(conn, cause, "%s", detail);
	}
	conn_settle(conn);
	return true;
}

void conn_close_dial_failed(struct conn *conn, int error)
{
	TEXT_ON_STACK(dial, 256);

	server_leg_describe_dial(conn, error, &dial);
	conn_close(conn, server_leg_dial_cause(error), "%s", dial_bytes);
}

void conn_close_client_failed(struct conn *conn)
{
	TEXT_ON_STACK(words, 192);
	const struct leg *client = &conn->client;

	if (client->error == -ETIMEDOUT) {
		struct cause cause = cause_timer(REASON_CLIENT_VANISHED, client->vanished ? TIMEOUT_UNACKNOWLEDGED : TIMEOUT_NONE);

		conn_close(conn, cause, "the client no longer acknowledges anything%s", progress_vanished_words(conn, client, &words));
	} else {
		conn_close(conn, cause_of(REASON_CLIENT_RESET), NULL);
	}
}

/* STAGE_LINGER: what the client still sends is thrown away until it has finished too. */
static void closing_client_readable(struct conn *conn)
{
	int got;

	for (int round = 0; round < 16; round++) {
		got = leg_read(&conn->client, conn->worker->scratch, WORKER_SCRATCH);
		if (got <= 0)
			break;
		conn->discarded += (uint32_t)got;
		if (conn->discarded >= CLOSING_DISCARD_MOST || conn_now(conn) >= conn->ending.at + LINGER_MOST_MS) {
			conn_hold_client(conn, true); /* ALARM_LINGER ends it, as soon as it has its last bytes */
			break;
		}
		conn_arm(conn, ALARM_LINGER, conn_now(conn) + LINGER_MS);
		if (conn->ending.reason == REASON_IDLE_TIMEOUT) {
			conn->ending.reason = REASON_IDLE_RACE;
			free(conn->ending.detail);
			conn->ending.detail = ending_describe(conn, &conn->ending, reason_row(REASON_IDLE_RACE)->sentence);
		}
	}
	/* It has finished, or is gone; what waits for it is still its own. */
	if (got < 0 && !(conn->client.fin_received && leg_pending(&conn->client)))
		closing_finish(conn, false);
}

static void closing_client_writable(struct conn *conn)
{
	if (!leg_pending(&conn->client) && conn->client.fin_received)
		closing_finish(conn, false);
}

static void closing_over(struct conn *conn)
{
	closing_finish(conn, false);
}

void closing_force(struct conn *conn)
{
	closing_finish(conn, progress_undelivered(&conn->client));
}

/* Its last bytes wait for it as long as any others would have. */
static void closing_stalled(struct conn *conn, uint64_t undelivered, enum timeout_id timer)
{
	TEXT_ON_STACK(fact, 96);

	if (reason_row(conn->ending.reason)->by == BY_PEER) { /* else what ended it was worse than this */
		conn->ending.reason = REASON_CLIENT_STALLED;
		conn->ending.by = BY_CLIENT;
		conn->ending.timer = timer;
		conn->ending.idle_ms = conn_now(conn) - conn->instants[INSTANT_LAST_BYTE];
		free(conn->ending.detail);
		text_printf(&fact, "the client took none of the last %llu bytes", (unsigned long long)undelivered);
		conn->ending.detail = ending_describe(conn, &conn->ending, fact_bytes);
	}
	closing_finish(conn, true);
}

static void closing_alarmed(struct conn *conn, enum alarm alarm)
{
	enum timeout_id timer = conn->protocol == PROTOCOL_HTTP1 ? TIMEOUT_STREAM_IDLE : TIMEOUT_TCP_IDLE;
	int64_t patience = conn_timeout(conn, timer)->milliseconds;
	uint64_t undelivered;

	progress_look(conn);
	undelivered = progress_undelivered(&conn->client);
	if (!undelivered)
		closing_finish(conn, false);
	else if (patience && conn_now(conn) - conn->instants[INSTANT_LAST_BYTE] >= patience)
		closing_stalled(conn, undelivered, timer);
	else
		conn_arm(conn, ALARM_LINGER, conn_now(conn) + LINGER_MS);
}

static void closing_drain(struct conn *conn)
{
	/* It is ending already. */
}

static const struct proto proto_closing = {
    .name = "closing",
    .client_readable = closing_client_readable,
    .client_writable = closing_client_writable,
    .client_failed = closing_over,
    .alarmed = closing_alarmed,
    .drain = closing_drain,
};
