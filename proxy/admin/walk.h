#ifndef LAPSE_PROXY_ADMIN_WALK_H
#define LAPSE_PROXY_ADMIN_WALK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/timeouts.h"
#include "proxy/metrics/words.h"

struct conn;
struct proxy;
struct walk_part;
struct worker;

/* A walk over all open connections, for the admin listener: main hands each worker its part; the worker visits some of its
 * connections in each round of its loop, never for longer than a fraction of a millisecond, and copies what is asked for; the last
 * one to finish wakes main, which puts the parts together. Nothing is locked: a part belongs to its worker until it is finished. */

enum walk_sort { WALK_BY_DEADLINE, WALK_BY_AGE }; /* the soonest first; the oldest first */
enum walk_action { WALK_LIST, WALK_CLOSE };       /* copy them; end them as admin_closed */

enum { WALK_ANY = -1, WALK_SERVICE_SIZE = 320 };

/* Which connections. All that is set must hold. */
struct walk_filter {
	uint64_t id;                 /* 0 = any */
	int direction, protocol;     /* WALK_ANY */
	int phase;                   /* conn_phase(), or the stage; WALK_ANY */
	int timer;                   /* the next deadline's, TIMEOUT_NONE = without one; WALK_ANY */
	struct prefix client, server; /* family AF_UNSPEC = any; a port of 0 = any */
	char service[WALK_SERVICE_SIZE]; /* "namespace/name"; empty = any */
	bool half_closed;            /* only those */
};
void walk_filter_init(struct walk_filter *filter); /* any */

/* One connection as it was when it was visited. */
struct walk_row {
	uint64_t id;
	int64_t key;              /* what is sorted by, least first */
	int64_t age, idle;        /* ms */
	int64_t left;             /* ms until the deadline; INT64_MAX = none */
	int64_t value;            /* of its timer, ms */
	enum timeout_id timer;    /* TIMEOUT_NONE without a deadline */
	unsigned phase;
	enum direction direction;
	enum protocol protocol;
	bool half_closed, client_finished; /* and by whom */
	struct addr client, server;
	uint64_t sent_client, received_client, sent_server, received_server;
	uint32_t requests;
	const char *service, *source; /* of the timer; NULL = none; within texts, like the next */
	const char *unread;       /* since when it has not been read as HTTP, and why; NULL = it is */
	const char *streams;      /* of HTTP/2: those under way, elements of a JSON list; NULL = none */
	char *texts;              /* owned */
};

/* A walk, embedded in what its maker knows besides. */
struct walk {
	/* Set by the maker. */
	struct walk_filter filter;
	enum walk_sort sort;
	enum walk_action action;
	size_t limit;                      /* most rows; of WALK_CLOSE none are kept */
	const void *client;                /* whose it is: see walk_forget() */
	void (*done)(struct walk *walk);   /* the rows are there; client NULL: nobody wants them any more. Followed by free_walk() */
	void (*free_walk)(struct walk *walk);
	/* The result. */
	struct walk_row **rows;            /* best first, within the parts */
	size_t row_count;
	uint64_t open, matched;            /* connections visited; those that passed the filter */
	bool no_memory;                    /* then rows are missing */
	/* Between main and the workers. */
	_Atomic int pending;               /* parts not finished */
	_Atomic bool abandoned;            /* it may end early */
	struct walk_part *parts;           /* owned */
	size_t part_count;
	struct walk *next;
};

/* One worker's part of a walk. */
struct walk_part {
	struct walk *walk;
	struct walk_row *rows; /* owned; a heap, the worst first */
	size_t count, capacity;
	uint64_t open, matched;
	bool no_memory;
};

/* Main's side: one walk at a time, the others wait. 0 or -ENOMEM. */
struct walks;
int walk_new(struct walks **out, struct proxy *proxy);
void walk_free(struct walks *walks); /* once no worker runs any more; calls no done(). NULL is fine */

/* Takes over the walk. 0, or -ENOMEM and it is still the caller's. */
int walk_start(struct walks *walks, struct walk *walk);

/* The client has gone: what is under way for it ends early, unless it closes connections. */
void walk_forget(struct walks *walks, const void *client);

/* Calls done() for what is finished, and begins the next. Before every wait of main's loop. */
void walk_collect(struct walks *walks);

/* A worker's side: goes on with its part, if there is one. At the end of every round. */
void walk_step(struct worker *worker);

/* Whether the row passes, apart from its texts; whether the row a comes before b. Pure. */
bool walk_filter_passes(const struct walk_filter *filter, const struct walk_row *row, int stage, const char *service);
bool walk_row_before(const struct walk_row *a, const struct walk_row *b);

/* Keeps the row if it belongs to the first `limit`; its texts, borrowed so far, are copied then. Pure but for memory. */
void walk_part_keep(struct walk_part *part, size_t limit, struct walk_row *row);
void walk_part_free(struct walk_part *part);

#endif
