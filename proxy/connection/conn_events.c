/* What happens to a connection: its sockets, its timer, an end that others decided. The protocol handles it, and conn_settle() derives what
 * is watched from then on. */
#include "proxy/connection/conn_events.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/loop.h"
#include "lib/slab.h"
#include "lib/sock.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/progress.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

#define conn_of(pointer, member) ((struct conn *)(void *)((char *)(pointer) - offsetof(struct conn, member)))

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
		else if (conn->stage == STAGE_STREAMS)
			conn->proto->expired(conn, deadline.timer);
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

/* Not to be read now: what came, a FIN or an error included, waits until what came before it can be passed on. Behind its FIN there is
 * nothing to pass on: a reset is one at once. */
static void conn_server_unwanted(struct conn *conn, struct leg *leg, uint32_t events)
{
	int error = leg->fin_received && (events & EPOLLERR) ? sock_error(leg->source.fd) : 0;

	if (error) {
		leg_fail(leg, error);
		conn->proto->server_failed(conn);
		return;
	}
	leg->unwanted = true;
	leg->end_waiting |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
}

static void conn_server_ready(struct conn *conn, uint32_t events)
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
			conn_server_unwanted(conn, leg, events);
	}
	conn_settle(conn);
}

static void conn_server_rested(struct conn *conn)
{
	server_leg_drop(conn, false);
	conn_settle(conn);
}

static const struct timeout_value *conn_server_idle(const struct upstream_pool *pool, const struct conn *conn)
{
	const struct worker *worker = (const struct worker *)(const void *)((const char *)pool - offsetof(struct worker, pool));

	return &(conn ? &conn->terms->timeouts : policy_timeouts(worker->terms.policy))->of[TIMEOUT_SERVER_IDLE];
}

const struct upstream_user conn_upstream_user = {
    .ready = conn_server_ready,
    .rested = conn_server_rested,
    .server_idle = conn_server_idle,
};

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

bool conn_close_admin(struct conn *conn)
{
	static const char detail[] = "an operator closed it through the admin listener";
	struct cause cause = cause_of(REASON_ADMIN_CLOSED);

	if (conn->ending.reason != REASON_NONE)
		return false;
	if (conn->stage == STAGE_EXCHANGE || conn->stage == STAGE_HEAD || conn->stage == STAGE_STREAMS) {
		conn->close_after = REASON_ADMIN_CLOSED; /* and it does not live on behind the answer */
		conn->proto->fail(conn, cause, "%s", detail);
	} else {
		cause.at_rest = conn->stage == STAGE_IDLE;
		conn_close(conn, cause, "%s", detail);
	}
	conn_settle(conn);
	return true;
}
