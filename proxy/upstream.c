#include "proxy/upstream.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/closing.h"
#include "proxy/conn.h"
#include "proxy/options.h"
#include "proxy/pump.h"
#include "proxy/worker.h"

enum {
	PEEK_AFTER_MS = 5, /* a conn's own leg that rested shorter was seen healthy in this or the last round of the loop */
};

#define upstream_of(pointer, member) ((struct upstream *)(void *)((char *)(pointer) - offsetof(struct upstream, member)))

static void upstream_swept(struct loop_deferred *deferred)
{
	free(upstream_of(deferred, deferred));
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
}

static void upstream_end(struct upstream *upstream, bool reset)
{
	struct worker *worker = upstream->worker;

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
	if (upstream->conn)
		conn_server_ready(upstream->conn, events);
	else
		upstream_end(upstream, false);
}

static void upstream_idle_expired(struct wheel_timer *timer)
{
	struct upstream *upstream = upstream_of(timer, timer);
	struct conn *conn = upstream->conn;
	int64_t due = upstream->idle_since + upstream->server_idle;

	if (!upstream->idle_since)
		return; /* in use; the next rest arms it anew */
	if (worker_now(upstream->worker) < due) {
		wheel_arm(loop_wheel(upstream->worker->loop), timer, due);
		return;
	}
	log_message(upstream->worker->log, LOG_DEBUG, "an idle connection to the server ended after serverIdle");
	if (!conn) {
		upstream_end(upstream, false);
		return;
	}
	upstream_drop(conn, false);
	conn_settle(conn);
}

int upstream_dial(struct conn *conn)
{
	struct worker *worker = conn->worker;
	struct upstream *upstream = calloc(1, sizeof *upstream);
	const struct addr *destination = conn_destination(conn);
	struct addr local;
	int fd;

	if (!upstream)
		return -ENOMEM;
	/* Another worker may have accepted our own dial before it was marked. */
	if (origin_dials_catch(worker->proxy->guard.dials, &conn->client_addr, &conn->server_addr)) {
		free(upstream);
		return -ELOOP;
	}
	fd = sock_connect(destination);
	if ((fd == -EMFILE || fd == -EADDRNOTAVAIL) && worker->pool.count) {
		upstream_pool_close(worker); /* what only rests gives way */
		fd = sock_connect(destination);
	}
	if (fd < 0) {
		free(upstream);
		return fd;
	}
	leg_init(&upstream->leg, fd, upstream_ready);
	upstream->leg.connecting = true;
	upstream->worker = worker;
	upstream->conn = conn;
	upstream->destination = *destination;
	upstream->timer.fire = upstream_idle_expired;
	if (!sock_local(fd, &local))
		upstream->dial = origin_dials_add(worker->proxy->guard.dials, &local, destination);
	conn->upstream = upstream;
	conn->instants[INSTANT_DIAL] = conn_now(conn);
	return 0;
}

static struct upstream **upstream_bucket(struct worker *worker, const struct addr *destination)
{
	return &worker->pool.buckets[addr_hash(destination) % UPSTREAM_BUCKETS];
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
			upstream_end(upstream, false);
			continue;
		}
		upstream_unlink(upstream);
		upstream->conn = conn;
		upstream->sent_before = upstream->leg.sent;
		upstream->received_before = upstream->leg.received;
		conn->upstream = upstream;
		return true;
	}
	return false;
}

bool upstream_usable(struct upstream *upstream)
{
	bool fresh = upstream->conn && worker_now(upstream->worker) - upstream->idle_since < PEEK_AFTER_MS;

	if (upstream->leg.fin_received || upstream->leg.write_failed || buf_length(&upstream->leg.in))
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
	upstream->idle_before = upstream->idle_since ? worker_now(upstream->worker) - upstream->idle_since : 0;
	upstream->idle_since = 0;
}

void upstream_rest(struct upstream *upstream, int32_t announced_s)
{
	struct wheel *wheel = loop_wheel(upstream->worker->loop);

	upstream->idle_since = worker_now(upstream->worker);
	upstream->server_idle = upstream->conn->timeouts->of[TIMEOUT_SERVER_IDLE].milliseconds;
	if (announced_s >= 0) {
		int64_t announced = announced_s * INT64_C(1000), margin = announced / 10 > 1000 ? announced / 10 : 1000;

		announced = announced > margin ? announced - margin : 1;
		if (!upstream->server_idle || announced < upstream->server_idle)
			upstream->server_idle = announced;
	}
	if (upstream->server_idle &&
	    (!wheel_armed(&upstream->timer) || upstream->idle_since + upstream->server_idle < upstream->timer.due))
		wheel_arm(wheel, &upstream->timer, upstream->idle_since + upstream->server_idle);
}

/* What the record of the connection keeps of a leg it lets go. */
static void upstream_note(struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;
	uint32_t reused = upstream->idle_since && upstream->uses ? upstream->uses - 1 : upstream->uses;
	TEXT_ON_STACK(events, 96);
	TEXT_ON_STACK(text, 128);

	leg_describe(&upstream->leg, "server", &events);
	if (reused)
		text_printf(&text, "reused:%u%s", reused, events.length ? " " : "");
	text_string(&text, events.length || text.length ? events_bytes : "kept");
	conn->server_legs++;
	free(conn->server_leg);
	conn->server_leg = strdup(text_bytes);
	conn->sent_server += upstream->leg.sent - upstream->sent_before;
	conn->received_server += upstream->leg.received - upstream->received_before;
}

void upstream_release(struct conn *conn)
{
	struct upstream *upstream = conn->upstream, *other, **bucket;
	struct worker *worker = conn->worker;
	int64_t held = 0;

	if (!upstream)
		return;
	bucket = upstream_bucket(worker, &upstream->destination);
	for (other = *bucket; other; other = other->next)
		held += addr_equal(&other->destination, &upstream->destination);
	if (held >= worker->proxy->settings->pool_size || worker->drain || !upstream_usable(upstream) ||
	    loop_watch(worker->loop, &upstream->leg.source, EPOLLIN | EPOLLRDHUP)) {
		upstream_drop(conn, false);
		return;
	}
	upstream_note(conn);
	conn->upstream = NULL;
	upstream->conn = NULL;
	upstream->leg.unacked_since = 0;
	upstream->next = *bucket;
	if (upstream->next)
		upstream->next->link = &upstream->next;
	upstream->link = bucket;
	*bucket = upstream;
	worker->pool.count++;
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
	conn->instants[INSTANT_DIAL] = 0;
	conn->instants[INSTANT_UNACKED_SERVER] = 0;
}

void upstream_pool_close(struct worker *worker)
{
	for (int i = 0; i < UPSTREAM_BUCKETS; i++)
		while (worker->pool.buckets[i])
			upstream_end(worker->pool.buckets[i], false);
}

void upstream_describe_dial(const struct conn *conn, int error, struct text *out)
{
	char server[ADDR_TEXT_SIZE];
	struct rlimit limit;
	struct tcp_info info;

	addr_format(conn_destination(conn), server);
	if (error)
		text_printf(out, "connecting to %s failed: %s", server, strerror(-error));
	else
		text_printf(out, "%s did not accept the connection in time", server);
	if (error == -ECONNREFUSED)
		text_string(out, "; nothing listens on that port there");
	else if (error == -EMFILE && !getrlimit(RLIMIT_NOFILE, &limit))
		text_printf(out, "; the limit is %llu open files, ulimit -n raises it, --max-connections keeps below it",
		            (unsigned long long)limit.rlim_cur);
	else if (error == -EADDRNOTAVAIL)
		text_string(out, "; net.ipv4.ip_local_port_range has no free port towards it");
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
