#include "proxy/connection/server_leg.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/local_ports.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/connection/cause.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"
#include "proxy/server/dials.h"
#include "proxy/server/upstream.h"

int server_leg_dial(struct conn *conn)
{
	struct worker *worker = conn->worker;
	int result;

	/* Another worker may have accepted our own dial before it was marked. */
	if (dials_catch(worker->pool.dials, &conn->client_addr, &conn->server_addr))
		return -ELOOP;
	result = upstream_dial(&conn->upstream, &worker->pool, conn_destination(conn), conn->direction, conn);
	if (!result)
		conn->instants[INSTANT_DIAL] = conn_now(conn);
	return result;
}

bool server_leg_take(struct conn *conn)
{
	struct upstream *upstream = upstream_take(&conn->worker->pool, conn_destination(conn), conn);

	if (upstream)
		conn->upstream = upstream;
	return upstream;
}

/* What the record of the connection keeps of a leg it lets go. */
static void server_leg_note(struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;

	conn_count_bytes(conn);
	conn->server_legs++;
	conn->server_reused = upstream->idle_since && upstream->uses ? upstream->uses - 1 : upstream->uses;
	memcpy(conn->server_events, upstream->leg.events, sizeof conn->server_events);
	conn->sent_server += upstream->leg.sent - upstream->sent_before;
	conn->received_server += upstream->leg.received - upstream->received_before;
}

void server_leg_drop(struct conn *conn, bool reset)
{
	if (!conn->upstream)
		return;
	/* Ended first, so that the note has the way it ended. */
	upstream_end(conn->upstream, reset);
	server_leg_note(conn);
	conn->upstream = NULL;
	conn->passed = 0;
	conn->instants[INSTANT_DIAL] = 0;
}

void server_leg_release(struct conn *conn)
{
	if (!conn->upstream)
		return;
	if (!upstream_release(conn->upstream)) {
		server_leg_drop(conn, false);
		return;
	}
	server_leg_note(conn);
	conn->upstream = NULL;
}

/* --- dials that failed --- */

/* TIME_WAIT is 60 s, a constant of Linux (TCP_TIMEWAIT_LEN). */
static void server_leg_describe_ports(size_t ports, struct text *out)
{
	text_printf(out,
	            "; each of the %zu local ports serves one connection to it, and is kept for 60 s after one that ended on our side "
	            "first: %zu new ones a second",
	            ports, ports / 60);
}

bool server_leg_queue_full(const struct conn *conn, struct sock_listening *queue)
{
	return conn->direction == DIRECTION_INBOUND && sock_listener(conn_destination(conn), queue) == 1 && queue->queued >= queue->limit;
}

void server_leg_describe_dial(const struct conn *conn, int error, struct text *out)
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
		server_leg_describe_ports(local_ports_count(conn->worker->proxy->local_ports), out);
	else if (!error && server_leg_queue_full(conn, &queue))
		text_printf(out, ": %u connections wait in its accept queue, where %u may; the application does not accept them", queue.queued,
		            queue.limit);
	else if (!error && conn->upstream && !sock_info(conn->upstream->leg.source.fd, &info))
		text_printf(out, "; its SYN was sent again %u time%s", info.tcpi_total_retrans, info.tcpi_total_retrans == 1 ? "" : "s");
}

struct cause server_leg_dial_cause(int error)
{
	return error ? cause_of(upstream_dial_reason(error)) : cause_timer(REASON_CONNECT_TIMEOUT, TIMEOUT_CONNECT);
}

bool server_leg_looped(const struct conn *conn, enum reason_id reason)
{
	enum reason_by by = reason_row(reason)->by;

	return (by == BY_SERVER || by == BY_NETWORK) && conn->upstream &&
	       dials_looped(conn->worker->proxy->guard.dials, conn->upstream->dial);
}

/* One alone may have met what conntrack keeps of a connection that was reset; more have not. */
void server_leg_looped_words(const struct conn *conn, struct text *out)
{
	bool all = atomic_load_explicit(&conn->worker->proxy->looped, memory_order_relaxed) || conn->loops > 1;
	char server[ADDR_TEXT_SIZE];

	text_printf(out, "the proxy's own connection to %s came back to it", addr_format(conn_destination(conn), server));
	if (all)
		text_printf(out, ": lapse-init redirects uid %u; this proxy is uid %u", geteuid(), geteuid());
}
