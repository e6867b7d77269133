/* THE MAP. A connection is accepted (listener.c), its original destination found (origin.c), its first bytes judged
 * (proto_detect.c), and carried by a protocol (proto_opaque.c, proto_http1.c) between its client leg and an upstream leg, until
 * something calls conn_close() (conn_close.c), which is the only way out.
 *
 *   ACCEPT ─► DETECT ─► IDLE ◄─► HEAD ─► EXCHANGE ─► IDLE …          HTTP/1
 *                │                          └─► TUNNEL               101, CONNECT
 *                ├─► CONNECT ─► OPAQUE                               everything else
 *                └─► … every stage ─► LINGER ─► CLOSED               conn_close()
 *
 * Events arrive in conn_events.c and are handed to the protocol; afterwards what epoll watches and when the timer is due is derived from
 * the stage. Nothing else sets either. */
#include "proxy/connection/conn.h"

#include <string.h>

#include "lib/loop.h"
#include "lib/sock.h"
#include "proxy/connection/place.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/worker.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

/* The sides that are read. ANSWERED: the client only when nothing waits to be written to it, so that one that sends request after request and
 * never reads does not make us keep all the answers. */
enum { CLIENT = CONN_CLIENT, SERVER = CONN_SERVER, ANSWERED = 4 };

#define T(name) TIMER_BIT(TIMEOUT_##name)
#define A(name) ALARM_BIT(ALARM_##name)
#define S(name) (1u << STAGE_##name)
#define ENDS (S(LINGER) | S(CLOSED))
#define ALWAYS (T(MAX_CONNECTION) | T(UNACKNOWLEDGED))

static const struct {
	uint32_t timers;
	uint8_t reads;
	uint32_t may_enter;
	uint32_t alarms;
} stages[] = {
    [STAGE_ACCEPT] = {0, 0, S(DETECT) | ENDS, 0},
    [STAGE_DETECT] = {ALWAYS | T(DETECT) | T(CONNECT) | T(TCP_IDLE), CLIENT | SERVER,
                      S(CONNECT) | S(OPAQUE) | S(STREAMS) | S(IDLE) | ENDS, A(GRACE) | A(DRAIN_GRACE)},
    [STAGE_CONNECT] = {ALWAYS | T(CONNECT), 0, S(OPAQUE) | S(STREAMS) | ENDS, A(STREAM)},
    [STAGE_OPAQUE] = {ALWAYS | T(TCP_IDLE) | T(HALF_CLOSE), CLIENT | SERVER, ENDS, A(HALF_CLOSED)},
    [STAGE_IDLE] = {ALWAYS | T(IDLE_CONNECTION), ANSWERED | SERVER, S(HEAD) | S(TUNNEL) | ENDS, A(TURN)},
    [STAGE_HEAD] = {ALWAYS | T(REQUEST_HEADERS) | T(STREAM_IDLE), ANSWERED | SERVER, S(EXCHANGE) | S(TUNNEL) | ENDS, A(GRACE)},
    [STAGE_EXCHANGE] = {ALWAYS | T(REQUEST) | T(BACKEND_REQUEST) | T(STREAM_IDLE) | T(CONNECT), CLIENT | SERVER,
                        S(IDLE) | S(TUNNEL) | ENDS, A(BACKOFF) | A(ATTEMPT) | A(DISCARD)},
    [STAGE_STREAMS] = {ALWAYS | T(IDLE_CONNECTION) | T(REQUEST_HEADERS) | T(HALF_CLOSE), CLIENT | SERVER, S(TUNNEL) | ENDS, A(STREAM)},
    [STAGE_TUNNEL] = {ALWAYS | T(STREAM_IDLE) | T(HALF_CLOSE) | T(CONNECT) | T(IDLE_CONNECTION) | T(REQUEST_HEADERS) | T(REQUEST) |
                          T(BACKEND_REQUEST), /* the last four while it is unread (http1/unread.h) */
                      CLIENT | SERVER, ENDS, A(HALF_CLOSED)},
    [STAGE_LINGER] = {0, CLIENT, S(CLOSED), A(LINGER)},
    [STAGE_CLOSED] = {0, 0, 0, 0},
};

_Static_assert(sizeof(struct conn) <= 504, "what an idle client costs");
_Static_assert(sizeof stages / sizeof stages[0] == STAGE_COUNT, "one row per stage");

#undef T
#undef A
#undef S

int64_t conn_now(const struct conn *conn)
{
	return loop_now(conn->worker->loop);
}

void conn_touch(struct conn *conn)
{
	conn->instants[INSTANT_LAST_BYTE] = conn->instants[INSTANT_LOOKED] = conn_now(conn);
}

void conn_enter(struct conn *conn, enum stage stage)
{
	conn->alarm = ALARM_NONE;
	conn->client_held = false;
	if (!(stages[conn->stage].may_enter & (1u << stage))) {
		conn->broken = true;
		return;
	}
	PROBE_STAGE(conn->id, words_phase(conn->stage), words_phase(stage));
	place_delist(conn);
	conn->stage = stage;
	place_enlist(conn);
}

void conn_arm(struct conn *conn, enum alarm alarm, int64_t at)
{
	if (!(stages[conn->stage].alarms & ALARM_BIT(alarm))) {
		conn->broken = true;
		return;
	}
	conn->alarm = alarm;
	conn->alarm_at = at;
}

void conn_hold_client(struct conn *conn, bool hold)
{
	conn->client_held = hold;
}

void conn_disarm(struct conn *conn)
{
	conn->alarm = ALARM_NONE;
}

unsigned conn_phase(const struct conn *conn)
{
	if (conn->stage == STAGE_EXCHANGE && conn->exchange)
		return conn->proto->phase(conn);
	if (conn->upstream && conn->upstream->leg.connecting && conn->stage != STAGE_IDLE && conn->stage != STAGE_HEAD)
		return STAGE_CONNECT;
	return conn->stage;
}

static void conn_count_way(struct conn *conn, enum metric_leg leg, enum metric_way way, uint64_t now, uint64_t *counted)
{
	if (now == *counted)
		return;
	metrics_add(conn->worker->metrics, METRIC_BYTES, conn->direction, leg, way, 0, (int64_t)(now - *counted));
	*counted = now;
}

void conn_count_bytes(struct conn *conn)
{
	struct upstream *upstream = conn->upstream;

	conn_count_way(conn, LEG_CLIENT, WAY_SENT, conn->client.sent, &conn->sent_counted);
	conn_count_way(conn, LEG_CLIENT, WAY_RECEIVED, conn->client.received, &conn->received_counted);
	if (!upstream)
		return;
	conn_count_way(conn, LEG_SERVER, WAY_SENT, upstream->leg.sent, &upstream->sent_counted);
	conn_count_way(conn, LEG_SERVER, WAY_RECEIVED, upstream->leg.received, &upstream->received_counted);
}

static bool conn_is_half_closed(const struct conn *conn)
{
	if ((conn->stage != STAGE_OPAQUE && conn->stage != STAGE_STREAMS && conn->stage != STAGE_TUNNEL) || !conn->upstream)
		return false;
	return conn->client.fin_received != conn->upstream->leg.fin_received;
}

bool conn_reads_client(const struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;
	uint8_t reads = stages[conn->stage].reads;

	return (reads & CLIENT || (reads & ANSWERED && !leg_pending(&conn->client))) && !conn->client_held && !conn->client.fin_received &&
	       !(upstream && leg_pending(&upstream->leg));
}

bool conn_reads_server(const struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;

	return stages[conn->stage].reads & SERVER && upstream && !upstream->leg.fin_received && !leg_pending(&conn->client);
}

unsigned conn_reads(const struct conn *conn)
{
	return (conn_reads_client(conn) ? CONN_CLIENT : 0) | (conn_reads_server(conn) ? CONN_SERVER : 0);
}

/* A request's timers may be due before that: the exchange has its own, and what is not read any more those of its last one. Apart: they are
 * off by default, and this is derived after every event. */
__attribute__((noinline, cold)) static struct deadline conn_heed_request(const struct conn *conn, uint32_t timers, struct deadline next)
{
	if (conn->stage == STAGE_EXCHANGE)
		return deadline_sooner(conn->proto->deadline(conn, timers), next);
	if (conn->unread)
		return deadline_sooner(deadline_of_request(timers, conn->unread->instants, &conn->terms->timeouts), next);
	return next;
}

/* Of these timers, and of `alarm`. */
static struct deadline conn_deadline_of(const struct conn *conn, const int64_t instants[static INSTANT_OF_CONN], uint32_t timers,
                                        enum alarm alarm)
{
	struct deadline next;

	timers &= stages[conn->stage].timers & conn->terms->timers;
	if (conn->close_after)
		timers &= ~TIMER_BIT(TIMEOUT_MAX_CONNECTION);
	next = deadline_next(timers & ~DEADLINE_OF_REQUEST, instants, alarm, conn->alarm_at, conn_is_half_closed(conn),
	                     &conn->terms->timeouts);
	if (timers & DEADLINE_OF_REQUEST)
		next = conn_heed_request(conn, timers & DEADLINE_OF_REQUEST, next);
	return next;
}

struct deadline conn_deadline(const struct conn *conn)
{
	return conn_deadline_of(conn, conn->instants, UINT32_MAX, conn->alarm);
}

struct deadline conn_next_timer(const struct conn *conn)
{
	struct deadline deadline;
	int64_t instants[INSTANT_OF_CONN];

	memcpy(instants, conn->instants, sizeof instants);
	instants[INSTANT_LOOKED] = 0;
	deadline = conn_deadline_of(conn, instants, UINT32_MAX, ALARM_NONE);

	if (deadline.timer == TIMEOUT_UNACKNOWLEDGED && sock_send_queue(conn->client.source.fd) <= 0 &&
	    (!conn->upstream || sock_send_queue(conn->upstream->leg.source.fd) <= 0))
		deadline = conn_deadline_of(conn, instants, ~TIMER_BIT(TIMEOUT_UNACKNOWLEDGED), ALARM_NONE);
	return deadline;
}

void conn_half_closed(struct conn *conn)
{
	enum { PROBES_MOST = 127 }; /* MAX_TCP_KEEPCNT */
	const struct proxy *proxy = conn->worker->proxy;
	const struct worker_settings *settings = proxy->settings;
	int64_t patience = settings->keepalive_interval / 1000 * (int64_t)settings->keepalive_probes;
	int seconds = proxy->half_closed_keepalive_s, probes;

	if (settings->keepalive_idle / 1000 <= seconds && settings->keepalive_interval / 1000 <= seconds)
		return;
	/* Asked more often, it is given up no sooner. */
	probes = (int)(patience / seconds < PROBES_MOST ? patience / seconds : PROBES_MOST);
	if (probes < (int)settings->keepalive_probes)
		probes = (int)settings->keepalive_probes;
	sock_set_keepalive(conn->client.source.fd, seconds, seconds, probes);
	if (conn->upstream)
		sock_set_keepalive(conn->upstream->leg.source.fd, seconds, seconds, probes);
}

const struct timeout_value *conn_timeout(const struct conn *conn, enum timeout_id timer)
{
	/* Draining goes by what is in force now, whatever the connection began with. */
	return &(timeouts_of_proxy(timer) ? policy_timeouts(conn->worker->terms.policy) : &conn->terms->timeouts)->of[timer];
}
