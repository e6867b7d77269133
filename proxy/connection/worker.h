#ifndef LAPSE_PROXY_CONNECTION_WORKER_H
#define LAPSE_PROXY_CONNECTION_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/ports.h"
#include "lib/reason.h"
#include "lib/wheel.h"
#include "proxy/connection/origin.h"
#include "proxy/leg/pump.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

struct conn;
struct exchange_settings;
struct http1_settings;
struct metrics;
struct policy;
struct proto;
struct slab;
struct upstream_settings;
struct walk_part;
struct worker;

/* What the owner set for listeners, connections and the log. */
struct worker_settings {
	uint16_t inbound_port, outbound_port;
	struct ports opaque_ports;
	int64_t detect_grace; /* ms */
	int64_t keepalive_idle, keepalive_interval, keepalive_probes; /* ms, ms, count */
	enum log_level log_level;
	enum log_format log_format;
	int64_t log_rate; /* close records a second and reason, 0 = no limit */
};

/* What all workers share: constant while they run, but for the counters. */
struct proxy {
	const struct worker_settings *settings;
	const struct upstream_settings *upstream; /* carried for the wings above, each for its own */
	const struct exchange_settings *exchange;
	const struct http1_settings *http1;
	const struct proto *http1_proto, *http2_proto; /* carry what is found to be that */
	void (*walk)(struct worker *worker);   /* goes on with worker->walk or what next_walk brings (admin/walk.h) */
	struct policy *policy;           /* main's; a worker has its own hold of one */
	struct origin_guard guard;
	atomic_bool looped;              /* at start a dial of ours was redirected back to us: lapse-init redirects our uid */
	struct local_ports *local_ports;
	uint64_t max_connections;
	int half_closed_keepalive_s;     /* keep-alive period of a half-closed leg, a third of conntrack's close_wait */
	_Atomic uint64_t connections;    /* open now, all workers */
	_Atomic uint64_t admitted;       /* of these, neither refused nor lingering: what max_connections limits; admission.c's, both directions */
	_Atomic uint64_t conn_ids;       /* the last one given to a connection */
	_Atomic int drain;               /* enum drain; written by main, read by the workers after a wake-up */
	struct worker *const *workers;   /* for the admin listener: their counters */
	int worker_count;
	struct loop *main_loop;          /* woken by a draining worker that has no connection left */
};

/* How far the end has come. Each includes those before it. */
enum drain {
	DRAIN_NONE,
	DRAIN_ANNOUNCED, /* `drain` runs; everything is served as before until drainLeast is over */
	DRAIN_STARTED,   /* what need not stay leaves */
	DRAIN_FORCED,
	DRAIN_STOP,
};

/* Reads of one round go here first; what cannot go on at once moves to the leg's own buffer. */
enum {
	WORKER_SCRATCH = PUMP_SCRATCH, /* a body of 64 KiB and its head are one read and one write */
	WORKER_SPARES = 64,
};

/* The one idle longest is first. */
TAILQ_HEAD(place_line, conn);

/* One listening socket of a worker. */
struct listener {
	struct loop_source source;
	struct worker *worker;
	enum direction direction;
	struct wheel_timer resume; /* accepting is paused: no descriptor was left */
};

struct worker {
	struct proxy *proxy; /* borrowed */
	pthread_t thread;
	bool started;
	struct loop *loop; /* owned */
	struct metrics *metrics; /* owned; anyone may read them */
	struct log *log;   /* owned */
	struct listener inbound, outbound;
	int64_t pause_told;      /* when a line said that accepting pauses; 0: none has */
	struct terms_book terms;              /* the policy of new connections and requests, and what they go by */
	_Atomic(struct policy *) next_policy; /* a reference, taken up at the end of the round; NULL */
	uint64_t random;
	struct slab *conn_memory, *exchange_memory, *stream_memory; /* owned */
	struct buf spares[WORKER_SPARES]; /* owned, empty: memory for the next requests */
	size_t spare_count;
	struct conn *conns;
	size_t conn_count;
	_Atomic(struct walk_part *) next_walk; /* main's, taken up at the end of the round; NULL */
	struct walk_part *walk;  /* under way, NULL */
	struct conn *walk_next;  /* the next one it visits; moved on when that one ends */
	struct upstream_pool pool; /* whose `learned` anyone may learned_list() */
	struct pump pump;
	struct log_limit record_limits[REASON_COUNT];
	uint64_t log_dropped; /* of log_dropped(), what a line has told */
	struct wheel_timer drain_timer, log_timer;
	struct place_line idle[2][2]; /* place.c's, by direction: what may give way, HTTP between requests and what has said nothing */
	_Atomic int idle_count[2];        /* how many are between requests; written by the worker */
	_Atomic int room_wanted[2];       /* how many of these others want ended, at the end of the round */
	bool leaving; /* DRAIN_STARTED or beyond */
	int drain; /* how far proxy->drain has been obeyed */
	uint8_t scratch[WORKER_SCRATCH];
};

/* Of no use to anyone who must not guess it. */
uint64_t worker_random(struct worker *worker);

/* Makes the worker look at proxy->drain. Any thread. */
void worker_wake(struct worker *worker);

int64_t worker_now(const struct worker *worker);

#endif
