/* THE MAP. A connection is accepted (listener.c), its original destination found (origin.c), its first bytes judged
 * (proto_detect.c), and carried by a protocol (proto_opaque.c, proto_http1.c) between its client leg and an upstream leg, until
 * something calls conn_close() (closing.c), which is the only way out.
 *
 *   ACCEPT ─► DETECT ─► IDLE ◄─► HEAD ─► EXCHANGE ─► IDLE …          HTTP/1
 *                │                          └─► TUNNEL               101, CONNECT
 *                ├─► CONNECT ─► OPAQUE                               everything else
 *                └─► … every stage ─► LINGER ─► CLOSED               conn_close()
 *
 * Events arrive here, are handed to the protocol, and afterwards conn_settle() derives from the stage what epoll watches and when
 * the timer is due. Nothing else sets either. */
#include "proxy/connection/conn.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/loop.h"
#include "lib/slab.h"
#include "lib/sock.h"
#include "proxy/connection/admission.h"
#include "proxy/connection/closing.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/record.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"
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
	uint8_t alarms;
} stages[] = {
    [STAGE_ACCEPT] = {0, 0, S(DETECT) | ENDS, 0},
    [STAGE_DETECT] = {ALWAYS | T(DETECT) | T(CONNECT) | T(TCP_IDLE), CLIENT | SERVER,
                      S(CONNECT) | S(OPAQUE) | S(IDLE) | ENDS, A(GRACE) | A(DRAIN_GRACE)},
    [STAGE_CONNECT] = {ALWAYS | T(CONNECT), 0, S(OPAQUE) | ENDS, 0},
    [STAGE_OPAQUE] = {ALWAYS | T(TCP_IDLE) | T(HALF_CLOSE), CLIENT | SERVER, ENDS, A(HALF_CLOSED)},
    [STAGE_IDLE] = {ALWAYS | T(IDLE_CONNECTION), ANSWERED | SERVER, S(HEAD) | S(TUNNEL) | ENDS, A(TURN)},
    [STAGE_HEAD] = {ALWAYS | T(REQUEST_HEADERS) | T(STREAM_IDLE), ANSWERED | SERVER, S(EXCHANGE) | S(TUNNEL) | ENDS, A(GRACE)},
    [STAGE_EXCHANGE] = {ALWAYS | T(REQUEST) | T(BACKEND_REQUEST) | T(STREAM_IDLE) | T(CONNECT), CLIENT | SERVER,
                        S(IDLE) | S(TUNNEL) | ENDS, A(BACKOFF) | A(ATTEMPT)},
    [STAGE_TUNNEL] = {ALWAYS | T(STREAM_IDLE) | T(HALF_CLOSE) | T(CONNECT) | T(IDLE_CONNECTION) | T(REQUEST_HEADERS) | T(REQUEST) |
                          T(BACKEND_REQUEST), /* the last four while it is unread (http1/unread.h) */
                      CLIENT | SERVER, ENDS, A(HALF_CLOSED)},
    [STAGE_LINGER] = {0, CLIENT, S(CLOSED), A(LINGER)},
    [STAGE_CLOSED] = {0, 0, 0, 0},
};

_Static_assert(sizeof stages / sizeof stages[0] == STAGE_COUNT, "one row per stage");

#undef T
#undef A
#undef S

#define conn_of(pointer, member) ((struct conn *)(void *)((char *)(pointer) - offsetof(struct conn, member)))

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
	admission_delist(conn);
	conn->stage = stage;
	admission_enlist(conn);
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
	if ((conn->stage != STAGE_OPAQUE && conn->stage != STAGE_TUNNEL) || !conn->upstream)
		return false;
	return conn->client.fin_received != conn->upstream->leg.fin_received;
}

/* conn_reads(), of which some need but one side. */
static inline bool conn_reads_client(const struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;
	uint8_t reads = stages[conn->stage].reads;

	return (reads & CLIENT || (reads & ANSWERED && !leg_pending(&conn->client))) && !conn->client_held && !conn->client.fin_received &&
	       !(upstream && leg_pending(&upstream->leg));
}

static inline bool conn_reads_server(const struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;

	return stages[conn->stage].reads & SERVER && upstream && !upstream->leg.fin_received && !leg_pending(&conn->client);
}

unsigned conn_reads(const struct conn *conn)
{
	return (conn_reads_client(conn) ? CONN_CLIENT : 0) | (conn_reads_server(conn) ? CONN_SERVER : 0);
}

/* What one leg is watched for. Pure. */
static uint32_t conn_interest(bool read, const struct leg *leg)
{
	uint32_t events = 0;

	if (leg->connecting)
		return EPOLLOUT;
	if (read)
		events |= EPOLLIN;
	if (leg_pending(leg))
		events |= EPOLLOUT;
	if (!leg->fin_received && !leg->end_waiting)
		events |= EPOLLRDHUP;
	return events;
}

/* EPOLLIN and EPOLLRDHUP stay armed while they do no harm, since HTTP turns reading off and on with every request: they are taken
 * out when an event that nobody wants has come. With nothing wanted EPOLLET keeps errors coming, each once. */
static int conn_watch(struct conn *conn, struct leg *leg, uint32_t wanted)
{
	const uint32_t lazy = EPOLLIN | EPOLLRDHUP;

	if (!leg->unwanted) /* and a new client's EPOLLIN comes with the rest */
		wanted |= leg->source.armed || leg->connecting ? leg->source.armed & lazy : EPOLLIN;
	leg->unwanted = false;
	return loop_watch(conn->worker->loop, &leg->source, wanted ? wanted : (uint32_t)EPOLLET);
}

/* Of these timers, and of `alarm`. */
static struct deadline conn_deadline_of(const struct conn *conn, const int64_t instants[static INSTANT_COUNT], uint32_t timers,
                                        enum alarm alarm)
{
	timers &= stages[conn->stage].timers & conn->terms->timers;
	if (conn->close_after)
		timers &= ~TIMER_BIT(TIMEOUT_MAX_CONNECTION);
	return deadline_next(timers, instants, alarm, conn->alarm_at, conn_is_half_closed(conn), &conn->terms->timeouts);
}

static struct deadline conn_deadline(const struct conn *conn)
{
	return conn_deadline_of(conn, conn->instants, UINT32_MAX, conn->alarm);
}

struct deadline conn_next_timer(const struct conn *conn)
{
	struct deadline deadline;
	int64_t instants[INSTANT_COUNT];

	memcpy(instants, conn->instants, sizeof instants);
	instants[INSTANT_LOOKED] = 0;
	deadline = conn_deadline_of(conn, instants, UINT32_MAX, ALARM_NONE);

	if (deadline.timer == TIMEOUT_UNACKNOWLEDGED && sock_send_queue(conn->client.source.fd) <= 0 &&
	    (!conn->upstream || sock_send_queue(conn->upstream->leg.source.fd) <= 0))
		deadline = conn_deadline_of(conn, instants, ~TIMER_BIT(TIMEOUT_UNACKNOWLEDGED), ALARM_NONE);
	return deadline;
}

static void conn_note_unacknowledged(struct conn *conn)
{
	int64_t client = conn->client.unacked_since, server = conn->upstream ? conn->upstream->leg.unacked_since : 0;

	conn->instants[INSTANT_UNACKED] = server && (!client || server < client) ? server : client;
}

void conn_settle(struct conn *conn)
{
	struct upstream *upstream = conn->upstream;
	struct deadline deadline;
	int result;

	if (conn->broken && conn->ending.reason == REASON_NONE) {
		conn_close(conn, cause_of(REASON_INTERNAL_ERROR), "a step out of stage %s that the proxy does not know", words_phase(conn->stage));
		return;
	}
	if (conn->stage == STAGE_CLOSED)
		return;
	result = conn_watch(conn, &conn->client, conn_interest(conn_reads_client(conn), &conn->client));
	if (upstream && !result)
		result = conn_watch(conn, &upstream->leg, conn_interest(conn_reads_server(conn), &upstream->leg));
	if (result) {
		conn_close(conn, cause_of(result == -ENOMEM || result == -ENOSPC ? REASON_MEMORY_LIMIT : REASON_INTERNAL_ERROR),
		           "the kernel does not watch this connection's sockets: epoll_ctl: %s", strerror(-result));
		return;
	}
	conn_note_unacknowledged(conn);
	deadline = conn_deadline(conn);
	/* A timer that fires early finds nothing due and is armed again: re-arming for every byte would cost more. */
	if (deadline.at != INT64_MAX && (!wheel_armed(&conn->timer) || deadline.at < conn->timer.due))
		wheel_arm(loop_wheel(conn->worker->loop), &conn->timer, deadline.at);
}

static void conn_expired(struct conn *conn, struct deadline deadline)
{
	switch (deadline.timer) {
	case TIMEOUT_UNACKNOWLEDGED:
		progress_check_unacknowledged(conn);
		break;
	case TIMEOUT_MAX_CONNECTION:
		if (conn->stage == STAGE_EXCHANGE || conn->stage == STAGE_HEAD)
			conn->close_after = REASON_MAX_CONNECTION;
		else
			conn_close(conn, cause_timer(REASON_MAX_CONNECTION, TIMEOUT_MAX_CONNECTION), NULL);
		break;
	case TIMEOUT_NONE:
		conn_disarm(conn);
		conn->proto->alarmed(conn, deadline.alarm);
		break;
	case TIMEOUT_CONNECT:
		metrics_add(conn->worker->metrics, METRIC_CONNECTS, conn->direction, DIAL_TIMEOUT, 0, 0, 1);
		conn->proto->expired(conn, deadline.timer);
		break;
	default:
		conn->proto->expired(conn, deadline.timer);
		break;
	}
}

static void conn_timer(struct wheel_timer *timer)
{
	struct conn *conn = conn_of(timer, timer);
	struct deadline deadline = conn_deadline(conn);

	if (deadline.at <= conn_now(conn)) {
		/* One more look at the kernel before anything ends: this process may be late, its peers are not. */
		progress_catch_up(conn);
		if (conn->stage == STAGE_CLOSED)
			return;
		if (conn->instants[INSTANT_LOOKED])
			progress_look(conn);
		conn_note_unacknowledged(conn);
		deadline = conn_deadline(conn);
		if (deadline.at <= conn_now(conn))
			conn_expired(conn, deadline);
	}
	conn_settle(conn);
}

static void conn_client_ready(struct loop_source *source, uint32_t events)
{
	struct conn *conn = conn_of(source, client.source);
	struct leg *leg = &conn->client;
	int error;
	bool wanted = conn_reads_client(conn);

	if ((events & EPOLLOUT) && leg_pending(leg)) {
		if (pump_flush(&conn->worker->pump, leg))
			conn->proto->client_failed(conn);
		else
			conn->proto->client_writable(conn);
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) && leg_open(leg)) {
		if (wanted) {
			conn->proto->client_readable(conn);
		} else if ((events & EPOLLERR) && (error = sock_error(leg->source.fd))) {
			leg_fail(leg, error);
			conn->proto->client_failed(conn);
		} else {
			leg->unwanted = true;
			if ((events & (EPOLLRDHUP | EPOLLHUP)) && !leg->end_waiting) {
				leg->end_waiting = true;
				conn_half_closed(conn); /* its request is complete; the answer may take longer than conntrack remembers */
			}
		}
	}
	conn_settle(conn);
}

static void conn_server_connected(struct conn *conn, uint32_t events)
{
	struct leg *leg = &conn->upstream->leg;
	int error = sock_error(leg->source.fd);
	const struct worker_settings *settings = conn->worker->proxy->settings;

	if (!error && !(events & EPOLLOUT))
		return;
	conn->instants[INSTANT_DIAL] = 0;
	if (error) {
		leg->error = error;
		leg_note(leg, error == -ECONNREFUSED || error == -ECONNRESET ? LEG_RST_PEER : LEG_FAILED);
		upstream_count_dial(conn->upstream, error);
	} else {
		upstream_count_dial(conn->upstream, 0);
		leg->connecting = false;
		sock_set_keepalive(leg->source.fd, (int)(settings->keepalive_idle / 1000), (int)(settings->keepalive_interval / 1000),
		                   (int)settings->keepalive_probes);
	}
	conn->proto->server_connected(conn, error);
}

/* Not to be read now: what came, a FIN or an error included, waits until what came before it can be passed on. */
static void conn_server_unwanted(struct leg *leg, uint32_t events)
{
	leg->unwanted = true;
	leg->end_waiting |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
}

void conn_server_ready(struct conn *conn, uint32_t events)
{
	struct upstream *upstream = conn->upstream;
	struct leg *leg = &upstream->leg;
	bool wanted;

	if (leg->connecting) {
		conn_server_connected(conn, events);
		conn_settle(conn);
		return;
	}
	wanted = conn_reads_server(conn);
	if ((events & EPOLLOUT) && leg_pending(leg)) {
		if (pump_flush(&conn->worker->pump, leg))
			conn->proto->server_failed(conn);
		else
			conn->proto->server_writable(conn);
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) && conn->upstream == upstream) {
		if (wanted)
			conn->proto->server_readable(conn);
		else
			conn_server_unwanted(leg, events);
	}
	conn_settle(conn);
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

void conn_drain(struct conn *conn)
{
	conn->proto->drain(conn);
	conn_settle(conn);
}

struct conn *conn_new(struct worker *worker, int fd, const struct origin *origin)
{
	struct conn *conn = slab_alloc(worker->conn_memory);

	if (!conn)
		return NULL;
	conn->worker = worker;
	conn->id = atomic_fetch_add_explicit(&worker->proxy->conn_ids, 1, memory_order_relaxed) + 1;
	conn->direction = origin->direction;
	conn->client_addr = origin->client;
	conn->server_addr = origin->destination;
	conn->first_fin = BY_PEER;
	if (!steer_accept(conn)) {
		slab_release(worker->conn_memory, conn);
		return NULL;
	}
	conn->proto = &proto_detect;
	conn->timer.fire = conn_timer;
	conn->instants[INSTANT_ACCEPTED] = conn->instants[INSTANT_LAST_BYTE] = conn_now(conn);
	leg_init(&conn->client, fd, origin->direction == DIRECTION_OUTBOUND, conn_client_ready);
	conn->next = worker->conns;
	conn->link = &worker->conns;
	if (conn->next)
		conn->next->link = &conn->next;
	worker->conns = conn;
	worker->conn_count++;
	metrics_add(worker->metrics, METRIC_CONNECTIONS_OPENED, conn->direction, 0, 0, 0, 1);
	metrics_add(worker->metrics, METRIC_CONNECTIONS_ACTIVE, conn->direction, 0, 0, 0, 1);
	PROBE_ACCEPT(conn->id, fd, origin->direction);
	return conn;
}
