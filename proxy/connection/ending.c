#include "proxy/connection/ending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conntrack.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/connection/advice.h"
#include "proxy/connection/cause.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/worker.h"
#include "proxy/metrics/metrics.h"
#include "proxy/server/upstream.h"

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
static char *ending_words(const struct conn *conn, const struct ending *ending, const char *fact)
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

void ending_reword(struct ending *ending, const struct conn *conn, const char *fact)
{
	free(ending->detail);
	ending->detail = ending_words(conn, ending, fact);
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
	ending->detail = ending_words(conn, ending, format ? fact : row->sentence);
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
