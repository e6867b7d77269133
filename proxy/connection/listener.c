#include "proxy/connection/listener.h"

#include <errno.h>
#include <stddef.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/connection/admission.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/conn_events.h"
#include "proxy/connection/place.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/proto_detect.h"
#include "proxy/connection/record.h"
#include "proxy/connection/worker.h"

enum {
	BACKLOG = 4096,   /* net.core.somaxconn cuts it */
	ACCEPT_TURN = 64, /* connections taken before others get their turn */
	PAUSE_MS = 100,   /* without a descriptor, until the next try */
	PAUSE_LINE_MS = 10000, /* between two lines of one worker about it */
};

#define listener_of(pointer, member) ((struct listener *)(void *)((char *)(pointer) - offsetof(struct listener, member)))

static void listener_refuse(struct conn *conn, enum reason_id reason, const struct origin_guard *guard)
{
	char server[ADDR_TEXT_SIZE];

	addr_format(&conn->server_addr, server);
	switch (reason) {
	case REASON_NOT_REDIRECTED:
		conn_close(conn, cause_of(reason), "%s is the proxy's own port", server);
		break;
	case REASON_REDIRECT_LOOP:
		if (conn->server_addr.port == guard->inbound_port || conn->server_addr.port == guard->outbound_port)
			conn_close(conn, cause_of(reason), "the original destination %s is the proxy itself", server);
		else
			conn_close(conn, cause_of(reason), "the proxy's own connection to %s was redirected back to it", server);
		break;
	default:
		conn_close(conn, cause_of(reason), "the kernel has no original destination for this connection (SO_ORIGINAL_DST)");
		break;
	}
}

static void listener_accepted(struct listener *listener, int fd, const struct sockaddr *peer)
{
	struct worker *worker = listener->worker;
	struct proxy *proxy = worker->proxy;
	struct origin origin = {.direction = listener->direction};
	enum reason_id reason = REASON_NO_ORIGINAL_DST;
	struct conn *conn;

	atomic_fetch_add_explicit(&proxy->connections, 1, memory_order_relaxed);
	if (!addr_from_sockaddr(peer, &origin.client))
		reason = origin_find(fd, &proxy->guard, &origin);
	conn = conn_new(worker, fd, &origin);
	if (!conn) {
		atomic_fetch_sub_explicit(&proxy->connections, 1, memory_order_relaxed);
		sock_set_reset_on_close(fd);
		close(fd);
		record_unborn(worker, &origin);
	} else if (reason != REASON_NONE) {
		listener_refuse(conn, reason, &proxy->guard);
	} else if (!admission_take(conn)) {
		struct cause cause = cause_of(REASON_CONN_LIMIT);
		TEXT_ON_STACK(fact, 160);

		text_printf(&fact, "%llu connections are open, %llu being the most, %llu of one direction, and no idle one could give way",
		            (unsigned long long)place_count(proxy), (unsigned long long)proxy->max_connections,
		            (unsigned long long)place_most(proxy));
		cause.answered = proxy->http1_proto->turn_away(conn, REASON_CONN_LIMIT, fact_bytes);
		conn_close(conn, cause, "%s", fact_bytes);
		conn_settle(conn); /* it may linger behind its answer */
	} else {
		proto_detect_start(conn);
	}
}

static void listener_say_pause(struct worker *worker, int error)
{
	const struct reason *row = reason_row(error == EMFILE || error == ENFILE ? REASON_FD_LIMIT : REASON_MEMORY_LIMIT);
	int64_t now = worker_now(worker);

	if (worker->pause_told && now - worker->pause_told < PAUSE_LINE_MS)
		return;
	worker->pause_told = now;
	log_message(worker->log, LOG_WARN, "accepting pauses, reason=%s: %s; waiting connections stay in the kernel's queue; %s", row->name,
	            strerror(error), row->remedy);
}

static void listener_pause(struct listener *listener, int error)
{
	struct worker *worker = listener->worker;

	listener_say_pause(worker, error);
	(void)loop_watch(worker->loop, &listener->source, 0);
	wheel_arm(loop_wheel(worker->loop), &listener->resume, worker_now(worker) + PAUSE_MS);
}

static void listener_resume(struct wheel_timer *timer)
{
	struct listener *listener = listener_of(timer, resume);

	if (loop_watch(listener->worker->loop, &listener->source, EPOLLIN))
		wheel_arm(loop_wheel(listener->worker->loop), timer, worker_now(listener->worker) + PAUSE_MS);
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
	struct listener *listener = listener_of(source, source);

	for (int turn = 0; turn < ACCEPT_TURN; turn++) {
		struct sockaddr_storage peer;
		socklen_t length = sizeof peer;
		int fd = accept4(source->fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			listener_accepted(listener, fd, (struct sockaddr *)&peer);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			listener_pause(listener, errno);
			return;
		} else if (errno == EAGAIN) {
			return;
		} /* else that one connection died in the queue (accept(2)) */
	}
}

int listener_open(struct listener *listener, struct worker *worker, enum direction direction, uint16_t port)
{
	const struct worker_settings *settings = worker->proxy->settings;
	struct addr addr = {.family = AF_INET6, .port = port};
	int fd = sock_listen(&addr, BACKLOG, true);

	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
		addr.family = AF_INET; /* a namespace without IPv6 */
		fd = sock_listen(&addr, BACKLOG, true);
	}
	*listener = (struct listener){
	    .source = {.ready = listener_ready, .fd = fd < 0 ? -1 : fd},
	    .worker = worker,
	    .direction = direction,
	    .resume = {.fire = listener_resume},
	};
	if (fd < 0)
		return fd;
	/* Accepted sockets inherit these: five system calls a connection less. */
	sock_set_nodelay(fd);
	sock_set_keepalive(fd, (int)(settings->keepalive_idle / 1000), (int)(settings->keepalive_interval / 1000),
	                   (int)settings->keepalive_probes);
	return loop_watch(worker->loop, &listener->source, EPOLLIN);
}

void listener_close(struct listener *listener)
{
	if (listener->worker) {
		wheel_cancel(loop_wheel(listener->worker->loop), &listener->resume);
		loop_close(listener->worker->loop, &listener->source);
	}
}
