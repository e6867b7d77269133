#include "proxy/server/upstream.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lib/local_ports.h"
#include "lib/slab.h"
#include "lib/sock.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"

enum {
	PEEK_AFTER_MS = 5, /* a leg that rested shorter was seen healthy in this or the last round of the loop */
};

#define upstream_of(pointer, member) ((struct upstream *)(void *)((char *)(pointer) - offsetof(struct upstream, member)))

static void upstream_swept(struct loop_deferred *deferred)
{
	struct upstream *upstream = upstream_of(deferred, deferred);

	slab_release(upstream->pool->memory, upstream);
}

static void upstream_unlink(struct upstream *upstream)
{
	if (!upstream->link)
		return;
	*upstream->link = upstream->next;
	if (upstream->next)
		upstream->next->link = upstream->link;
	upstream->link = NULL;
	upstream->pool->count--;
	metrics_add(upstream->pool->metrics, METRIC_POOLED, 0, 0, 0, 0, -1);
}

/* How long it has been resting. */
static int64_t upstream_age(const struct upstream *upstream)
{
	return loop_now(upstream->pool->loop) - upstream->idle_since;
}

void upstream_end(struct upstream *upstream, bool reset)
{
	struct upstream_pool *pool = upstream->pool;

	if (upstream->spent && upstream_quiet(upstream)) /* the server would have let it live on */
		learned_survive(&pool->learned, &upstream->destination, upstream_age(upstream));
	upstream_unlink(upstream);
	wheel_cancel(loop_wheel(pool->loop), &upstream->timer);
	if (upstream->dial.mark)
		dials_remove(pool->dials, upstream->dial);
	pump_drop(pool->pump, &upstream->leg);
	leg_close(&upstream->leg, pool->loop, reset);
	upstream->deferred.run = upstream_swept;
	loop_defer(pool->loop, &upstream->deferred);
}

static void upstream_ready(struct loop_source *source, uint32_t events)
{
	struct upstream *upstream = upstream_of(source, leg.source);

	/* Whatever an idle server leg does, it is of no more use: a FIN, a RST, or bytes nobody asked for. */
	if (upstream->conn) {
		upstream->pool->user->ready(upstream->conn, events);
		return;
	}
	upstream_observe_rest(upstream);
	upstream_end(upstream, false);
}

void upstream_observe(const struct upstream *upstream, int64_t idle_ms)
{
	struct upstream_pool *pool = upstream->pool;
	char server[ADDR_TEXT_SIZE];
	TEXT_ON_STACK(known, 128);

	if (!learned_observe(&pool->learned, &upstream->destination, idle_ms, loop_now(pool->loop)))
		return;
	learned_describe(&pool->learned, &upstream->destination, &known);
	log_message(pool->log, LOG_INFO, "%s: %s; connections to it are used no longer than %lld ms after their last response",
	            addr_format(&upstream->destination, server), known_bytes,
	            (long long)learned_limit(&pool->learned, &upstream->destination));
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

static struct upstream **upstream_bucket(struct upstream_pool *pool, const struct addr *destination)
{
	return &pool->buckets[addr_hash(destination) % UPSTREAM_BUCKETS];
}

/* Into the pool, whose events it gets from now on. False: it is where it was. */
static bool upstream_detach(struct upstream *upstream)
{
	struct upstream_pool *pool = upstream->pool;
	struct upstream **bucket = upstream_bucket(pool, &upstream->destination);

	if (loop_watch(pool->loop, &upstream->leg.source, EPOLLIN | EPOLLRDHUP))
		return false;
	upstream->conn = NULL;
	upstream->leg.unacked_since = 0;
	upstream->next = *bucket;
	if (upstream->next)
		upstream->next->link = &upstream->next;
	upstream->link = bucket;
	*bucket = upstream;
	pool->count++;
	metrics_add(pool->metrics, METRIC_POOLED, 0, 0, 0, 0, 1);
	return true;
}

static void upstream_arm(struct upstream *upstream)
{
	int64_t due = upstream->idle_since + upstream->server_idle;

	if (upstream->server_idle && (!wheel_armed(&upstream->timer) || due < upstream->timer.due))
		wheel_arm(loop_wheel(upstream->pool->loop), &upstream->timer, due);
}

/* The leg in the pool to a server that is not to be used any more; there is one at most. */
static struct upstream *upstream_spent(struct upstream_pool *pool, const struct addr *destination)
{
	struct upstream *upstream = *upstream_bucket(pool, destination);

	while (upstream && !(upstream->spent && addr_equal(&upstream->destination, destination)))
		upstream = upstream->next;
	return upstream;
}

static void upstream_idle_expired(struct wheel_timer *timer)
{
	struct upstream *upstream = upstream_of(timer, timer);
	struct upstream_pool *pool = upstream->pool;
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
		learned_survive(&pool->learned, &upstream->destination, upstream_age(upstream));
	if (upstream->server_idle == upstream->rest_most) {
		log_message(pool->log, LOG_DEBUG, "an idle connection to the server ended after serverIdle");
		metrics_add(pool->metrics, METRIC_TIMEOUTS, TIMEOUT_SERVER_IDLE, metrics_level(pool->user->server_idle(pool, conn)->source), 0, 0, 1);
	} else if (conn || !upstream_spent(pool, &upstream->destination)) {
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
	pool->user->rested(conn);
}

/* Whether the kernel knows a listener for the destination; asked once for each of the last few. */
static bool upstream_sees_listener(struct upstream_pool *pool, const struct addr *destination)
{
	struct upstream_seen *seen = &pool->seen[addr_hash(destination) % UPSTREAM_SEEN];

	if (!seen->listened || !addr_equal(&seen->destination, destination))
		*seen = (struct upstream_seen){*destination, sock_listener(destination, NULL) == 1};
	return seen->listened;
}

bool upstream_listener_gone(const struct upstream *upstream)
{
	return upstream->listened && !sock_listener(&upstream->destination, NULL);
}

enum reason_id upstream_dial_reason(int error)
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

static void upstream_count(struct upstream_pool *pool, enum direction direction, int error)
{
	enum reason_id reason = error ? upstream_dial_reason(error) : REASON_NONE;

	metrics_add(pool->metrics, METRIC_CONNECTS, direction, metrics_dial(reason), 0, 0, 1);
}

void upstream_count_dial(const struct upstream *upstream, int error)
{
	struct upstream_pool *pool = upstream->pool;
	enum direction direction = upstream->leg.local ? DIRECTION_INBOUND : DIRECTION_OUTBOUND;

	upstream_count(pool, direction, error);
	if (!error)
		metrics_observe(pool->metrics, METRIC_CONNECT_SECONDS, direction, 0, loop_now_us(pool->loop) - upstream->dialled_us);
}

int upstream_dial(struct upstream **out, struct upstream_pool *pool, const struct addr *destination, enum direction direction, struct conn *conn)
{
	struct upstream *upstream = slab_alloc(pool->memory), *spent;
	struct addr local;
	int fd;

	if (!upstream)
		return -ENOMEM;
	/* A server that serves one connection at a time must not wait for the end of this one. */
	if (pool->count && (spent = upstream_spent(pool, destination)))
		upstream_end(spent, false);
	fd = local_ports_connect(pool->local_ports, destination, loop_now(pool->loop));
	if ((fd == -EMFILE || fd == -EADDRNOTAVAIL) && pool->count) {
		upstream_pool_close(pool); /* what only rests gives way */
		fd = local_ports_connect(pool->local_ports, destination, loop_now(pool->loop));
	}
	if (fd < 0) {
		slab_release(pool->memory, upstream);
		upstream_count(pool, direction, fd);
		return fd;
	}
	leg_init(&upstream->leg, fd, direction == DIRECTION_INBOUND, upstream_ready);
	upstream->leg.connecting = true;
	upstream->pool = pool;
	upstream->conn = conn;
	upstream->destination = *destination;
	upstream->mark = addr_hash(destination) | 1;
	upstream->timer.fire = upstream_idle_expired;
	upstream->dialled_us = loop_now_us(pool->loop);
	if (direction == DIRECTION_INBOUND)
		upstream->listened = upstream_sees_listener(pool, destination);
	if (!sock_local(fd, &local))
		upstream->dial = dials_add(pool->dials, &local, destination);
	*out = upstream;
	return 0;
}

struct upstream *upstream_take(struct upstream_pool *pool, const struct addr *destination, struct conn *conn)
{
	struct upstream *upstream, *next;

	for (upstream = *upstream_bucket(pool, destination); upstream; upstream = next) {
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
		return upstream;
	}
	return NULL;
}

bool upstream_usable(struct upstream *upstream)
{
	bool fresh = loop_now(upstream->pool->loop) - upstream->idle_since < PEEK_AFTER_MS;

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
		learned_survive(&upstream->pool->learned, &upstream->destination, upstream->idle_before);
}

bool upstream_proven(const struct upstream *upstream)
{
	struct upstream_pool *pool = upstream->pool;
	const struct addr *destination = &upstream->destination;
	const struct upstream *other;

	if (!upstream->uses || learned_trusts(&pool->learned, destination, upstream_age(upstream)))
		return true;
	for (other = *upstream_bucket(pool, destination); other; other = other->next)
		if (other->uses && addr_equal(&other->destination, destination))
			learned_survive(&pool->learned, destination, upstream_age(other));
	return learned_trusts(&pool->learned, destination, upstream_age(upstream));
}

void upstream_rest(struct upstream *upstream, int32_t announced_s)
{
	struct learned *learned = &upstream->pool->learned;
	int64_t limit;

	upstream->idle_since = loop_now(upstream->pool->loop);
	upstream->rest_most = upstream->pool->user->server_idle(upstream->pool, upstream->conn)->milliseconds;
	if (announced_s >= 0)
		learned_announce(learned, &upstream->destination, announced_s * INT64_C(1000));
	limit = upstream->uses ? learned_limit(learned, &upstream->destination) : 0;
	upstream->server_idle = limit && (!upstream->rest_most || limit < upstream->rest_most) ? limit : upstream->rest_most;
	if (upstream->private)
		upstream->server_idle = 0;
	upstream_arm(upstream);
}

bool upstream_release(struct upstream *upstream)
{
	struct upstream_pool *pool = upstream->pool;
	const struct upstream *other;
	int64_t held = 0;

	if (pool->count >= (size_t)pool->settings->pool_size)
		for (other = *upstream_bucket(pool, &upstream->destination); other; other = other->next)
			held += addr_equal(&other->destination, &upstream->destination);
	return !upstream->private && held < pool->settings->pool_size && !pool->closed && upstream_usable(upstream) && upstream_detach(upstream);
}

void upstream_pool_close_to(struct upstream_pool *pool, const struct addr *destination)
{
	struct upstream *upstream, *next;

	for (upstream = *upstream_bucket(pool, destination); upstream; upstream = next) {
		next = upstream->next;
		if (addr_equal(&upstream->destination, destination))
			upstream_end(upstream, false);
	}
}

void upstream_pool_close(struct upstream_pool *pool)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		while (pool->buckets[i])
			upstream_end(pool->buckets[i], false);
}
