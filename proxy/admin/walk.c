#include "proxy/admin/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/wheel.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_events.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/worker.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

enum {
	TURN_US = 300,   /* of a worker's round */
	TURN_MOST = 512, /* connections in it */
	ROWS_FIRST = 16,
};

struct walks {
	struct proxy *proxy;
	struct walk *active, *waiting, **last;
};

/* --- rows --- */

void walk_filter_init(struct walk_filter *filter)
{
	*filter = (struct walk_filter){.direction = WALK_ANY, .protocol = WALK_ANY, .phase = WALK_ANY, .timer = WALK_ANY};
}

static bool walk_filter_is(int wanted, int value)
{
	return wanted == WALK_ANY || wanted == value;
}

static bool walk_filter_reaches(const struct prefix *wanted, const struct addr *addr)
{
	return wanted->addr.family == AF_UNSPEC ||
	       (addr_prefix_contains(wanted, addr) && (!wanted->addr.port || wanted->addr.port == addr->port));
}

bool walk_filter_passes(const struct walk_filter *filter, const struct walk_row *row, int stage, const char *service)
{
	return (!filter->id || filter->id == row->id) && (!filter->half_closed || row->half_closed) &&
	       walk_filter_is(filter->direction, (int)row->direction) && walk_filter_is(filter->protocol, (int)row->protocol) &&
	       (walk_filter_is(filter->phase, (int)row->phase) || filter->phase == stage) &&
	       walk_filter_is(filter->timer, (int)row->timer) && walk_filter_reaches(&filter->client, &row->client) &&
	       walk_filter_reaches(&filter->server, &row->server) &&
	       (!filter->service[0] || (service && strcmp(filter->service, service) == 0));
}

bool walk_row_before(const struct walk_row *a, const struct walk_row *b)
{
	return a->key != b->key ? a->key < b->key : a->id < b->id;
}

static void walk_swap(struct walk_row *a, struct walk_row *b)
{
	struct walk_row held = *a;

	*a = *b;
	*b = held;
}

/* The heap holds again above `at`, whose row is new. */
static void walk_part_rise(struct walk_part *part, size_t at)
{
	for (size_t parent; at && walk_row_before(&part->rows[parent = (at - 1) / 2], &part->rows[at]); at = parent)
		walk_swap(&part->rows[parent], &part->rows[at]);
}

/* The heap holds again below `at`, whose row may have got better. */
static void walk_part_sink(struct walk_part *part, size_t at)
{
	for (size_t worst = at;; at = worst) {
		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < part->count; child++)
			if (walk_row_before(&part->rows[worst], &part->rows[child]))
				worst = child;
		if (worst == at)
			return;
		walk_swap(&part->rows[worst], &part->rows[at]);
	}
}

static bool walk_part_grow(struct walk_part *part, size_t limit)
{
	size_t capacity = part->capacity ? part->capacity * 2 : ROWS_FIRST;
	struct walk_row *rows;

	if (part->count < part->capacity)
		return true;
	capacity = capacity < limit ? capacity : limit;
	rows = reallocarray(part->rows, capacity, sizeof *rows);
	if (!rows)
		return false;
	part->rows = rows;
	part->capacity = capacity;
	return true;
}

static bool walk_row_copy_texts(struct walk_row *row)
{
	const char **texts[] = {&row->service, &row->source, &row->unread, &row->streams};
	size_t size = 0;
	char *at;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		size += *texts[i] ? strlen(*texts[i]) + 1 : 0;
	row->texts = at = size ? malloc(size) : NULL;
	for (size_t i = 0; at && i < sizeof texts / sizeof *texts; i++)
		if (*texts[i]) {
			char *copy = at;

			at = stpcpy(copy, *texts[i]) + 1;
			*texts[i] = copy;
		}
	return !size || row->texts;
}

void walk_part_keep(struct walk_part *part, size_t limit, struct walk_row *row)
{
	bool full = part->count == limit;

	if (!limit || (full && !walk_row_before(row, &part->rows[0])))
		return;
	if ((!full && !walk_part_grow(part, limit)) || !walk_row_copy_texts(row)) {
		part->no_memory = true;
		return;
	}
	if (!full) {
		part->rows[part->count] = *row;
		walk_part_rise(part, part->count++);
		return;
	}
	free(part->rows[0].texts);
	part->rows[0] = *row;
	walk_part_sink(part, 0);
}

void walk_part_free(struct walk_part *part)
{
	for (size_t i = 0; i < part->count; i++)
		free(part->rows[i].texts);
	free(part->rows);
	*part = (struct walk_part){0};
}

/* --- a worker's side --- */

/* The next deadline; while draining, that of the drain too. */
static struct deadline walk_deadline(const struct conn *conn)
{
	const struct worker *worker = conn->worker;
	struct deadline deadline = conn_next_timer(conn);

	if (worker->drain && wheel_armed(&worker->drain_timer) && worker->drain_timer.due < deadline.at)
		deadline = (struct deadline){.at = worker->drain_timer.due, .timer = TIMEOUT_DRAIN};
	return deadline;
}

static void walk_describe(const struct conn *conn, enum walk_sort sort, struct walk_row *row)
{
	const struct upstream *upstream = conn->upstream;
	struct deadline deadline = walk_deadline(conn);
	const struct timeout_value *value = deadline.timer == TIMEOUT_NONE ? NULL : conn_timeout(conn, deadline.timer);
	int64_t now = conn_now(conn), left;

	if (conn->proto->next_timer)
		(void)conn->proto->next_timer(conn, &deadline, &value);
	left = deadline.at == INT64_MAX ? INT64_MAX : deadline.at - now;
	*row = (struct walk_row){
	    .id = conn->id,
	    .key = sort == WALK_BY_DEADLINE ? deadline.at : conn->instants[INSTANT_ACCEPTED],
	    .age = now - conn->instants[INSTANT_ACCEPTED],
	    .idle = now - conn->instants[INSTANT_LAST_BYTE],
	    .left = left < 0 ? 0 : left,
	    .value = value ? value->milliseconds : 0,
	    .timer = deadline.timer,
	    .phase = conn_phase(conn),
	    .direction = conn->direction,
	    .protocol = conn->protocol,
	    .half_closed = conn->half_closed,
	    .client_finished = conn->client.fin_received,
	    .client = conn->client_addr,
	    .server = conn->server_addr,
	    .sent_client = conn->client.sent,
	    .received_client = conn->client.received,
	    .sent_server = conn->sent_server + (upstream ? upstream->leg.sent - upstream->sent_before : 0),
	    .received_server = conn->received_server + (upstream ? upstream->leg.received - upstream->received_before : 0),
	    .requests = conn->requests,
	    .service = conn->terms->service,
	    .source = value ? value->source : NULL,
	    .unread = conn->unread ? conn->unread->words : NULL,
	};
}

enum { WALK_STREAMS_SIZE = 8192 };

static void walk_visit(struct walk_part *part, struct conn *conn)
{
	const struct walk *walk = part->walk;
	TEXT_ON_STACK(streams, WALK_STREAMS_SIZE);
	struct walk_row row;

	part->open++;
	walk_describe(conn, walk->sort, &row);
	if (!walk_filter_passes(&walk->filter, &row, (int)conn->stage, row.service))
		return;
	if (walk->action == WALK_CLOSE) {
		part->matched += conn_close_admin(conn);
		return;
	}
	part->matched++;
	if (conn->proto->streams)
		conn->proto->streams(conn, &streams);
	row.streams = streams.length ? streams_bytes : NULL;
	walk_part_keep(part, walk->limit, &row);
}

void walk_step(struct worker *worker)
{
	struct walk_part *part = worker->walk;
	int64_t start = clock_monotonic_us();
	struct walk *walk;

	if (!part) {
		part = worker->walk = atomic_exchange_explicit(&worker->next_walk, NULL, memory_order_acquire);
		worker->walk_next = worker->conns;
	}
	if (!part)
		return;
	walk = part->walk;
	for (int turn = 0; worker->walk_next && turn < TURN_MOST && clock_monotonic_us() - start < TURN_US; turn++) {
		struct conn *conn = worker->walk_next;

		worker->walk_next = conn->next; /* which conn_close.c moves on when that one ends */
		walk_visit(part, conn);
	}
	if (worker->walk_next && !atomic_load_explicit(&walk->abandoned, memory_order_relaxed)) {
		worker_wake(worker);
		return;
	}
	worker->walk = NULL;
	worker->walk_next = NULL;
	/* From here on the walk is main's. */
	if (atomic_fetch_sub_explicit(&walk->pending, 1, memory_order_acq_rel) == 1)
		loop_wake(worker->proxy->main_loop);
}

/* --- main's side --- */

static void walk_end(struct walk *walk)
{
	for (size_t i = 0; i < walk->part_count; i++)
		walk_part_free(&walk->parts[i]);
	free(walk->parts);
	free(walk->rows);
	walk->free_walk(walk);
}

int walk_new(struct walks **out, struct proxy *proxy)
{
	struct walks *walks = calloc(1, sizeof *walks);

	if (!walks)
		return -ENOMEM;
	walks->proxy = proxy;
	walks->last = &walks->waiting;
	*out = walks;
	return 0;
}

static struct walk *walk_shift(struct walks *walks)
{
	struct walk *walk = walks->waiting;

	if (walk && !(walks->waiting = walk->next))
		walks->last = &walks->waiting;
	return walk;
}

void walk_free(struct walks *walks)
{
	struct walk *walk;

	if (!walks)
		return;
	if (walks->active)
		walk_end(walks->active);
	while ((walk = walk_shift(walks)))
		walk_end(walk);
	free(walks);
}

static void walk_begin(struct walks *walks)
{
	struct walk *walk = walks->active = walk_shift(walks);

	if (!walk)
		return;
	atomic_store_explicit(&walk->pending, (int)walk->part_count, memory_order_relaxed);
	for (size_t i = 0; i < walk->part_count; i++) {
		struct worker *worker = walks->proxy->workers[i];

		atomic_store_explicit(&worker->next_walk, &walk->parts[i], memory_order_release);
		worker_wake(worker);
	}
}

int walk_start(struct walks *walks, struct walk *walk)
{
	walk->part_count = (size_t)walks->proxy->worker_count;
	walk->parts = calloc(walk->part_count, sizeof *walk->parts);
	if (!walk->parts)
		return -ENOMEM;
	for (size_t i = 0; i < walk->part_count; i++)
		walk->parts[i].walk = walk;
	walk->next = NULL;
	*walks->last = walk;
	walks->last = &walk->next;
	if (!walks->active)
		walk_begin(walks);
	return 0;
}

void walk_forget(struct walks *walks, const void *client)
{
	struct walk *walk = walks->active;

	for (struct walk *each = walks->waiting; each; each = each->next)
		if (each->client == client) {
			each->client = NULL;
			atomic_store_explicit(&each->abandoned, each->action == WALK_LIST, memory_order_relaxed);
		}
	if (walk && walk->client == client) {
		walk->client = NULL;
		atomic_store_explicit(&walk->abandoned, walk->action == WALK_LIST, memory_order_relaxed);
	}
}

static int walk_compare(const void *a, const void *b)
{
	return walk_row_before(*(struct walk_row *const *)a, *(struct walk_row *const *)b) ? -1 : 1;
}

static void walk_merge(struct walk *walk)
{
	size_t count = 0;

	for (size_t i = 0; i < walk->part_count; i++) {
		count += walk->parts[i].count;
		walk->open += walk->parts[i].open;
		walk->matched += walk->parts[i].matched;
		walk->no_memory |= walk->parts[i].no_memory;
	}
	if (!count || !walk->client)
		return;
	walk->rows = malloc(count * sizeof *walk->rows);
	if (!walk->rows) {
		walk->no_memory = true;
		return;
	}
	for (size_t i = 0; i < walk->part_count; i++)
		for (size_t j = 0; j < walk->parts[i].count; j++)
			walk->rows[walk->row_count++] = &walk->parts[i].rows[j];
	qsort(walk->rows, walk->row_count, sizeof *walk->rows, walk_compare);
	if (walk->row_count > walk->limit)
		walk->row_count = walk->limit;
}

void walk_collect(struct walks *walks)
{
	struct walk *walk;

	while ((walk = walks->active) && !atomic_load_explicit(&walk->pending, memory_order_acquire)) {
		walk_begin(walks);
		walk_merge(walk);
		walk->done(walk);
		walk_end(walk);
	}
}
