#include "proxy/server/upstream.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "lib/local_ports.h"
#include "lib/slab.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/connection/closing.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/terms.h"

enum {
	PEEK_AFTER_MS = 5, /* a leg that rested shorter was seen healthy in this or the last round of the loop */
};

#define upstream_of(pointer, member) ((struct upstream *)(void *)((char *)(pointer) - offsetof(struct upstream, member)))

static void upstream_swept(struct loop_deferred *deferred)
{
	struct upstream *upstream = upstream_of(deferred, deferred);

	slab_release(upstream->worker->upstream_memory, upstream);
}

static void upstream_unlink(struct upstream *upstream)
{
	if (!upstream->link)
		return;
	*upstream->link = upstream->next;
	if (upstream->next)
		upstream->next->link = upstream->link;
	upstream->link = NULL;
	upstream->worker->pool.count--;
	metrics_add(upstream->worker->metrics, METRIC_POOLED, 0, 0, 0, 0, -1);
}

/* How long it has been resting. */
static int64_t upstream_age(const struct upstream *upstream)
{
	return worker_now(upstream->worker) - upstream->idle_since;
}

static void upstream_end(struct upstream *upstream, bool reset)
{
	struct worker *worker = upstream->worker;

	if (upstream->spent && upstream_quiet(upstream)) /* the server would have let it live on */
		learned_survive(&worker->learned, &upstream->destination, upstream_age(upstream));
	upstream_unlink(upstream);
	wheel_cancel(loop_wheel(worker->loop), &upstream->timer);
	if (upstream->dial.mark)
		origin_dials_remove(worker->proxy->guard.dials, upstream->dial);
	pump_drop(worker, &upstream->leg);
	leg_close(&upstream->leg, worker->loop, reset);
	upstream->deferred.run = upstream_swept;
	loop_defer(worker->loop, &upstream->deferred);
}

static void upstream_ready(struct loop_source *source, uint32_t events)
{
	struct upstream *upstream = upstream_of(source, leg.source);

	/* Whatever an idle server leg does, it is of no more use: a FIN, a RST, or bytes nobody asked for. */
	if (upstream->conn) {
		conn_server_ready(upstream->conn, events);
		return;
	}
	upstream_observe_rest(upstream);
	upstream_end(upstream, false);
}

void upstream_observe(const struct upstream *upstream, int64_t idle_ms)
{
	struct worker *worker = upstream->worker;
	char server[ADDR_TEXT_SIZE];
	TEXT_ON_STACK(known, 128);

	if (!learned_observe(&worker->learned, &upstream->destination, idle_ms, worker_now(worker)))
		return;
	learned_describe(&worker->learned, &upstream->destination, &known);
	log_message(worker->log, LOG_INFO, "%s: %s; connections to it are used no longer than %lld ms after their last response",
	            addr_format(&upstream->destination, server), known_bytes,
	            (long long)learned_limit(&worker->learned, &upstream->destination));
}

/* A FIN, a RST, or a 408 with which some servers explain their FIN (RFC 9110 §15.5.9). */
void upstream_observe_rest(struct upstream *upstream)
{
	static const char status[] = " 408 ";
	char bytes[13]; /* "HTTP/1.1 408 " */
	ssize_t got;

	if (!upstream->idle_since || !upstream->uses)
		return;
	got = recv(upstream->leg.source.fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
	if (got < 0 && errno == ECONNRESET)
		leg_fail(&upstream->leg, -ECONNRESET); /* the kernel tells it once */
	if (got < 0 ? upstream->leg.write_failed : !got || (got == sizeof bytes && memcmp(bytes + 8, status, sizeof status - 1) == 0))
		upstream_observe(upstream, upstream_age(upstream));
}

/* Where serverIdle was set: in the pool, what holds for no Service in particular. */
static const char *upstream_idle_source(const struct upstream *upstream)
{
	const struct timeouts *timeouts = upstream->conn ? &upstream->conn->terms->timeouts : policy_timeouts(upstream->worker->terms.policy);

	return timeouts->of[TIMEOUT_SERVER_IDLE].source;
}

/* What the record of the connection keeps of a leg it lets go. */
static void upstream_note(struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;

	conn_count_bytes(conn);
	conn->server_legs++;
	conn->server_reused = upstream->idle_since && upstream->uses ? upstream->uses - 1 : upstream->uses;
	memcpy(conn->server_events, upstream->leg.events, sizeof conn->server_events);
	conn->sent_server += upstream->leg.sent - upstream->sent_before;
	conn->received_server += upstream->leg.received - upstream->received_before;
}

static struct upstream **upstream_bucket(struct worker *worker, const struct addr *destination)
{
	return &worker->pool.buckets[addr_hash(destination) % UPSTREAM_BUCKETS];
}

/* Into the pool, whose events it gets from now on. False: it is where it was. */
static bool upstream_detach(struct upstream *upstream)
{
	struct worker *worker = upstream->worker;
	struct upstream **bucket = upstream_bucket(worker, &upstream->destination);

	if (loop_watch(worker->loop, &upstream->leg.source, EPOLLIN | EPOLLRDHUP))
		return false;
	upstream_note(upstream->conn);
	upstream->conn->upstream = NULL;
	upstream->conn = NULL;
	upstream->leg.unacked_since = 0;
	upstream->next = *bucket;
	if (upstream->next)
		upstream->next->link = &upstream->next;
	upstream->link = bucket;
	*bucket = upstream;
	worker->pool.count++;
	metrics_add(worker->metrics, METRIC_POOLED, 0, 0, 0, 0, 1);
	return true;
}

static void upstream_arm(struct upstream *upstream)
{
	int64_t due = upstream->idle_since + upstream->server_idle;

	if (upstream->server_idle && (!wheel_armed(&upstream->timer) || due < upstream->timer.due))
		wheel_arm(loop_wheel(upstream->worker->loop), &upstream->timer, due);
}

/* The leg in the pool to a server that is not to be used any more; there is one at most. */
static struct upstream *upstream_spent(struct worker *worker, const struct addr *destination)
{
	struct upstream *upstream = *upstream_bucket(worker, destination);

	while (upstream && !(upstream->spent && addr_equal(&upstream->destination, destination)))
		upstream = upstream->next;
	return upstream;
}

static void upstream_idle_expired(struct wheel_timer *timer)
{
	struct upstream *upstream = upstream_of(timer, timer);
	struct worker *worker = upstream->worker;
	struct conn *conn = upstream->conn;

	if (!upstream->idle_since || !upstream->server_idle)
		return; /* in use; the next rest arms it anew */
	if (upstream_age(upstream) < upstream->server_idle) {
		upstream_arm(upstream);
		return;
	}
	if (!upstream_quiet(upstream)) { /* the server acted first; this process is late */
		upstream_ready(&upstream->leg.source, EPOLLIN);
		return;
	}
	if (upstream->uses)
		learned_survive(&worker->learned, &upstream->destination, upstream_age(upstream));
	if (upstream->server_idle == upstream->rest_most) {
		log_message(worker->log, LOG_DEBUG, "an idle connection to the server ended after serverIdle");
		metrics_add(worker->metrics, METRIC_TIMEOUTS, TIMEOUT_SERVER_IDLE, metrics_level(upstream_idle_source(upstream)), 0, 0, 1);
	} else if (conn || !upstream_spent(worker, &upstream->destination)) {
		/* Not to be used any more, it rests on: what was learned is confirmed, or disproved. */
		upstream->server_idle = upstream->rest_most;
		upstream->spent = true;
		upstream_arm(upstream);
		return;
	}
	if (!conn) {
		upstream_end(upstream, false);
		return;
	}
	upstream_drop(conn, false);
	conn_settle(conn);
}

/* Whether the kernel knows a listener for the destination; asked once for each of the last few. */
static bool upstream_sees_listener(struct worker *worker, const struct addr *destination)
{
	struct upstream_seen *seen = &worker->pool.seen[addr_hash(destination) % UPSTREAM_SEEN];

	if (!seen->listened || !addr_equal(&seen->destination, destination))
		*seen = (struct upstream_seen){*destination, sock_listener(destination, NULL) == 1};
	return seen->listened;
}

bool upstream_listener_gone(const struct upstream *upstream)
{
	return upstream->listened && !sock_listener(&upstream->destination, NULL);
}

int upstream_dial(struct conn *conn)
{
	struct worker *worker = conn->worker;
	struct upstream *upstream = slab_alloc(worker->upstream_memory), *spent;
	const struct addr *destination = conn_destination(conn);
	struct addr local;
	int fd;

	if (!upstream)
		return -ENOMEM;
	/* Another worker may have accepted our own dial before it was marked. */
	if (origin_dials_catch(worker->proxy->guard.dials, &conn->client_addr, &conn->server_addr)) {
		slab_release(worker->upstream_memory, upstream);
		return -ELOOP;
	}
	/* A server that serves one connection at a time must not wait for the end of this one. */
	if (worker->pool.count && (spent = upstream_spent(worker, destination)))
		upstream_end(spent, false);
	fd = local_ports_connect(worker->proxy->local_ports, destination, worker_now(worker));
	if ((fd == -EMFILE || fd == -EADDRNOTAVAIL) && worker->pool.count) {
		upstream_pool_close(worker); /* what only rests gives way */
		fd = local_ports_connect(worker->proxy->local_ports, destination, worker_now(worker));
	}
	if (fd < 0) {
		slab_release(worker->upstream_memory, upstream);
		upstream_count_dial(conn, fd);
		return fd;
	}
	leg_init(&upstream->leg, fd, conn->direction == DIRECTION_INBOUND, upstream_ready);
	upstream->leg.connecting = true;
	upstream->worker = worker;
	upstream->conn = conn;
	upstream->destination = *destination;
	upstream->mark = addr_hash(destination) | 1;
	upstream->timer.fire = upstream_idle_expired;
	upstream->dialled_us = loop_now_us(worker->loop);
	if (conn->direction == DIRECTION_INBOUND)
		upstream->listened = upstream_sees_listener(worker, destination);
	if (!sock_local(fd, &local))
		upstream->dial = origin_dials_add(worker->proxy->guard.dials, &local, destination);
	conn->upstream = upstream;
	conn->instants[INSTANT_DIAL] = conn_now(conn);
	return 0;
}

void upstream_count_dial(const struct conn *conn, int error)
{
	struct metrics *metrics = conn->worker->metrics;
	enum reason_id reason = error ? upstream_dial_cause(error).reason : REASON_NONE;

	metrics_add(metrics, METRIC_CONNECTS, conn->direction, metrics_dial(reason), 0, 0, 1);
	if (!error)
		metrics_observe(metrics, METRIC_CONNECT_SECONDS, conn->direction, 0,
		                loop_now_us(conn->worker->loop) - conn->upstream->dialled_us);
}

bool upstream_take(struct conn *conn)
{
	const struct addr *destination = conn_destination(conn);
	struct upstream *upstream, *next;

	for (upstream = *upstream_bucket(conn->worker, destination); upstream; upstream = next) {
		next = upstream->next;
		if (!addr_equal(&upstream->destination, destination))
			continue;
		if (!upstream_usable(upstream)) {
			upstream_observe_rest(upstream);
			upstream_end(upstream, false);
			continue;
		}
		upstream_unlink(upstream);
		upstream->conn = conn;
		upstream->sent_before = upstream->sent_counted = upstream->leg.sent;
		upstream->received_before = upstream->received_counted = upstream->leg.received;
		conn->upstream = upstream;
		return true;
	}
	return false;
}

bool upstream_usable(struct upstream *upstream)
{
	bool fresh = worker_now(upstream->worker) - upstream->idle_since < PEEK_AFTER_MS;

	if (upstream->spent || upstream->leg.fin_received || upstream->leg.write_failed || buf_length(&upstream->leg.in))
		return false;
	if (upstream->idle_since && upstream->server_idle && upstream_age(upstream) >= upstream->server_idle)
		return false;
	return upstream->leg.connecting || fresh || upstream_quiet(upstream);
}

bool upstream_quiet(const struct upstream *upstream)
{
	char byte;

	return recv(upstream->leg.source.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void upstream_use(struct upstream *upstream)
{
	upstream->idle_before = upstream->idle_since ? upstream_age(upstream) : 0;
	upstream->idle_since = 0;
	if (upstream->uses && upstream->idle_before >= LEARNED_LEAST_MS)
		learned_survive(&upstream->worker->learned, &upstream->destination, upstream->idle_before);
}

bool upstream_proven(const struct upstream *upstream)
{
	struct worker *worker = upstream->worker;
	const struct addr *destination = &upstream->destination;
	const struct upstream *other;

	if (!upstream->uses || learned_trusts(&worker->learned, destination, upstream_age(upstream)))
		return true;
	for (other = *upstream_bucket(worker, destination); other; other = other->next)
		if (other->uses && addr_equal(&other->destination, destination))
			learned_survive(&worker->learned, destination, upstream_age(other));
	return learned_trusts(&worker->learned, destination, upstream_age(upstream));
}

void upstream_rest(struct upstream *upstream, int32_t announced_s)
{
	struct learned *learned = &upstream->worker->learned;
	int64_t limit;

	upstream->idle_since = worker_now(upstream->worker);
	upstream->rest_most = upstream->conn->terms->timeouts.of[TIMEOUT_SERVER_IDLE].milliseconds;
	if (announced_s >= 0)
		learned_announce(learned, &upstream->destination, announced_s * INT64_C(1000));
	limit = upstream->uses ? learned_limit(learned, &upstream->destination) : 0;
	upstream->server_idle = limit && (!upstream->rest_most || limit < upstream->rest_most) ? limit : upstream->rest_most;
	if (upstream->private)
		upstream->server_idle = 0;
	upstream_arm(upstream);
}

void upstream_release(struct conn *conn)
{
	struct upstream *upstream = conn->upstream, *other;
	struct worker *worker = conn->worker;
	int64_t held = 0;

	if (!upstream)
		return;
	if (worker->pool.count >= (size_t)worker->proxy->upstream->pool_size)
		for (other = *upstream_bucket(worker, &upstream->destination); other; other = other->next)
			held += addr_equal(&other->destination, &upstream->destination);
	if (upstream->private || held >= worker->proxy->upstream->pool_size || worker->leaving || !upstream_usable(upstream) || !upstream_detach(upstream))
		upstream_drop(conn, false);
}

void upstream_drop(struct conn *conn, bool reset)
{
	struct upstream *upstream = conn->upstream;

	if (!upstream)
		return;
	/* Closed first, so that the note has the way it ended. */
	upstream_end(upstream, reset);
	upstream_note(conn);
	conn->upstream = NULL;
	conn->passed = 0;
	conn->instants[INSTANT_DIAL] = 0;
}

void upstream_pool_close_to(struct worker *worker, const struct addr *destination)
{
	struct upstream *upstream, *next;

	for (upstream = *upstream_bucket(worker, destination); upstream; upstream = next) {
		next = upstream->next;
		if (addr_equal(&upstream->destination, destination))
			upstream_end(upstream, false);
	}
}

void upstream_pool_close(struct worker *worker)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		while (worker->pool.buckets[i])
			upstream_end(worker->pool.buckets[i], false);
}

/* TIME_WAIT is 60 s, a constant of Linux (TCP_TIMEWAIT_LEN). */
static void upstream_describe_ports(size_t ports, struct text *out)
{
	text_printf(out,
	            "; each of the %zu local ports serves one connection to it, and is kept for 60 s after one that ended on our side "
	            "first: %zu new ones a second",
	            ports, ports / 60);
}

bool upstream_queue_full(const struct conn *conn, struct sock_listening *queue)
{
	return conn->direction == DIRECTION_INBOUND && sock_listener(conn_destination(conn), queue) == 1 && queue->queued >= queue->limit;
}

void upstream_describe_dial(const struct conn *conn, int error, struct text *out)
{
	struct sock_listening queue;
	char server[ADDR_TEXT_SIZE];
	struct rlimit limit;
	struct tcp_info info;

	addr_format(conn_destination(conn), server);
	if (error == -ELOOP)
		text_printf(out, "the proxy's own connection to %s was redirected back to it", server);
	else if (error)
		text_printf(out, "connecting to %s failed: %s", server, strerror(-error));
	else
		text_printf(out, "%s did not accept the connection in time", server);
	if (error == -EMFILE && !getrlimit(RLIMIT_NOFILE, &limit))
		text_printf(out, "; the limit is %llu open files", (unsigned long long)limit.rlim_cur);
	else if (error == -EADDRNOTAVAIL)
		upstream_describe_ports(local_ports_count(conn->worker->proxy->local_ports), out);
	else if (!error && upstream_queue_full(conn, &queue))
		text_printf(out, ": %u connections wait in its accept queue, where %u may; the application does not accept them", queue.queued,
		            queue.limit);
	else if (!error && conn->upstream && !sock_info(conn->upstream->leg.source.fd, &info))
		text_printf(out, "; its SYN was sent again %u time%s", info.tcpi_total_retrans, info.tcpi_total_retrans == 1 ? "" : "s");
}

static enum reason_id upstream_dial_reason(int error)
{
	switch (error) {
	case -ECONNREFUSED:
		return REASON_CONNECT_REFUSED;
	case -ECONNRESET:
	case -ECONNABORTED:
	case -EPIPE:
		return REASON_CONNECT_RESET;
	case -ETIMEDOUT:
		return REASON_CONNECT_TIMEOUT;
	case -EADDRNOTAVAIL:
		return REASON_NO_LOCAL_PORT;
	case -ELOOP:
		return REASON_REDIRECT_LOOP;
	case -EMFILE:
	case -ENFILE:
		return REASON_FD_LIMIT;
	case -ENOMEM:
	case -ENOBUFS:
		return REASON_MEMORY_LIMIT;
	default:
		return REASON_CONNECT_UNREACHABLE;
	}
}

struct cause upstream_dial_cause(int error)
{
	return error ? cause_of(upstream_dial_reason(error)) : cause_timer(REASON_CONNECT_TIMEOUT, TIMEOUT_CONNECT);
}
