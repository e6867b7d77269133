#include "proxy/connection/worker_thread.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/slab.h"
#include "proxy/connection/admission.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/conn_events.h"
#include "proxy/connection/listener.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/record.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/pump.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/server/upstream.h"

enum {
	LOG_RING = 256 * 1024,
	LOG_RETRY_MS = 20, /* the log's reader is slow: until the next try */
};

#define worker_of(pointer, member) ((struct worker *)(void *)((char *)(pointer) - offsetof(struct worker, member)))

static void worker_end_all(struct worker *worker, struct cause cause, const char *detail)
{
	struct conn *conn, *next;

	for (conn = worker->conns; conn; conn = next) {
		next = conn->next;
		if (conn->stage == STAGE_LINGER)
			conn_close_force(conn);
		else
			conn_close(conn, cause, "%s", detail);
	}
}

/* What comes after the end was forced is not ours any more; else a busy client would keep a draining proxy for ever. */
static void worker_stop_listening(struct worker *worker)
{
	listener_close(&worker->inbound);
	listener_close(&worker->outbound);
}

static void worker_drain_expired(struct wheel_timer *timer)
{
	struct worker *worker = worker_of(timer, drain_timer);

	worker_stop_listening(worker);
	worker_end_all(worker, cause_timer(REASON_DRAIN_FORCED, TIMEOUT_DRAIN), "the proxy is shutting down and did not wait longer");
}

/* Obeys proxy->drain, which main has moved on. */
static void worker_drain(struct worker *worker, int drain)
{
	int64_t limit = policy_timeouts(worker->terms.policy)->of[TIMEOUT_DRAIN].milliseconds;
	struct conn *conn, *next;

	if (!worker->drain && limit)
		wheel_arm(loop_wheel(worker->loop), &worker->drain_timer, worker_now(worker) + limit);
	worker->drain = drain;
	worker->leaving = worker->pool.closed = drain >= DRAIN_STARTED;
	if (!worker->leaving)
		return;
	if (drain >= DRAIN_FORCED) {
		worker_stop_listening(worker);
		worker_end_all(worker, cause_of(REASON_DRAIN_FORCED), "the proxy was told twice to shut down");
		if (drain == DRAIN_STOP)
			loop_stop(worker->loop);
		return;
	}
	upstream_pool_close(&worker->pool);
	for (conn = worker->conns; conn; conn = next) {
		next = conn->next;
		conn_drain(conn);
	}
}

static void worker_flush_log(struct worker *worker)
{
	bool more = log_flush(worker->log);
	uint64_t dropped = log_dropped(worker->log);

	if (!more && !log_failing(worker->log) && dropped > worker->log_dropped) {
		log_message(worker->log, LOG_WARN, "%llu log lines were dropped: standard output did not take them in time",
		            (unsigned long long)(dropped - worker->log_dropped));
		worker->log_dropped = dropped;
		more = log_flush(worker->log);
	}
	if (more && !wheel_armed(&worker->log_timer))
		wheel_arm(loop_wheel(worker->loop), &worker->log_timer, worker_now(worker) + LOG_RETRY_MS);
}

static void worker_log_retry(struct wheel_timer *timer)
{
	/* The flush comes before the next wait; the timer only ends the one before. */
}

/* Connections keep the terms they have for the exchange under way, and the opaque ones for good. */
static void worker_take_policy(struct worker *worker)
{
	struct policy *policy = atomic_exchange_explicit(&worker->next_policy, NULL, memory_order_acquire);

	if (policy && !terms_begin(&worker->terms, policy))
		loop_wake(worker->proxy->main_loop); /* which frees the one before */
	else if (policy)
		log_message(worker->log, LOG_ERROR, "there is no memory for a changed configuration; this worker keeps the one it has");
}

void worker_set_policy(struct worker *worker, struct policy *policy)
{
	policy_unref(atomic_exchange_explicit(&worker->next_policy, policy_ref(policy), memory_order_acq_rel));
	worker_wake(worker);
}

static void worker_free_spares(struct worker *worker)
{
	while (worker->spare_count)
		buf_release(&worker->spares[--worker->spare_count]);
}

static void worker_idle(void *owner)
{
	struct worker *worker = owner;
	int drain = atomic_load_explicit(&worker->proxy->drain, memory_order_relaxed);

	if (atomic_load_explicit(&worker->next_policy, memory_order_relaxed))
		worker_take_policy(worker);
	admission_make_room(worker);
	if (drain > worker->drain)
		worker_drain(worker, drain);
	if (worker->walk || atomic_load_explicit(&worker->next_walk, memory_order_relaxed))
		worker->proxy->walk(worker);
	if (!worker->conn_count) {
		pump_free_pipes(&worker->pump);
		worker_free_spares(worker);
	}
	if (worker->leaving && !worker->conn_count)
		loop_wake(worker->proxy->main_loop); /* it counts over all workers */
	worker_flush_log(worker);
}

/* What moves bytes and what has the legs to servers; their loop and log are there. */
static void worker_supply(struct worker *worker)
{
	const struct proxy *proxy = worker->proxy;
	struct upstream_pool *pool = &worker->pool;

	worker->pump.loop = pool->loop = worker->loop;
	worker->pump.scratch = worker->scratch;
	pool->user = &conn_upstream_user;
	pool->settings = proxy->upstream;
	pool->log = worker->log;
	pool->metrics = worker->metrics;
	pool->pump = &worker->pump;
	pool->dials = proxy->guard.dials;
	pool->local_ports = proxy->local_ports;
	pool->learned.off = proxy->upstream->no_learned_idle;
}

int worker_new(struct worker **out, struct proxy *proxy, int log_fd)
{
	const struct worker_settings *settings = proxy->settings;
	struct worker *worker = calloc(1, sizeof *worker);
	int result = -ENOMEM;

	if (!worker)
		return result;
	worker->proxy = proxy;
	for (int direction = 0; direction < 2; direction++) {
		TAILQ_INIT(&worker->idle[direction][0]);
		TAILQ_INIT(&worker->idle[direction][1]);
	}
	worker->random = (uint64_t)clock_realtime_ms() * 2 + 1 + (uint64_t)(uintptr_t)worker;
	worker->metrics = metrics_new();
	worker->drain_timer.fire = worker_drain_expired;
	worker->log_timer.fire = worker_log_retry;
	worker->conn_memory = slab_new(sizeof(struct conn));
	worker->pool.memory = slab_new(sizeof(struct upstream));
	worker->exchange_memory = slab_new(proxy->http1_proto->exchange_size);
	worker->stream_memory = slab_new(proxy->http2_proto->exchange_size);
	if (worker->metrics && worker->conn_memory && worker->pool.memory && worker->exchange_memory && worker->stream_memory)
		result = terms_begin(&worker->terms, policy_ref(proxy->policy));
	if (!result)
		result = loop_new(&worker->loop, worker_idle, worker);
	if (!result)
		result = log_new(&worker->log, log_fd, settings->log_format, settings->log_level, LOG_RING);
	if (!result)
		worker_supply(worker);
	if (!result)
		result = listener_open(&worker->inbound, worker, DIRECTION_INBOUND, settings->inbound_port);
	if (!result)
		result = listener_open(&worker->outbound, worker, DIRECTION_OUTBOUND, settings->outbound_port);
	if (result)
		worker_free(worker);
	else
		*out = worker;
	return result;
}

static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	loop_run(worker->loop);
	record_suppressed(worker);
	return NULL;
}

int worker_start(struct worker *worker)
{
	worker->started = !pthread_create(&worker->thread, NULL, worker_run, worker);
	return worker->started ? 0 : -EAGAIN;
}

void worker_join(struct worker *worker)
{
	if (worker->started)
		pthread_join(worker->thread, NULL);
	worker->started = false;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	if (worker->loop) {
		upstream_pool_close(&worker->pool);
		pump_free_pipes(&worker->pump);
		worker_free_spares(worker);
		listener_close(&worker->inbound);
		listener_close(&worker->outbound);
		loop_free(worker->loop);
	}
	policy_unref(atomic_exchange(&worker->next_policy, NULL));
	terms_end(&worker->terms);
	metrics_free(worker->metrics);
	slab_free(worker->conn_memory);
	slab_free(worker->pool.memory);
	slab_free(worker->exchange_memory);
	slab_free(worker->stream_memory);
	log_free(worker->log);
	free(worker);
}
