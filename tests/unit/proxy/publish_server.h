#ifndef LAPSE_TESTS_UNIT_PROXY_PUBLISH_SERVER_H
#define LAPSE_TESTS_UNIT_PROXY_PUBLISH_SERVER_H

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/publish/cluster.h"

/* An API server on 127.0.0.1 that does what a script says, in a thread of its own: the n-th request gets the n-th step. */
enum server_after { AFTER_KEEP, AFTER_CLOSE, AFTER_RESET, AFTER_HOLD /* says no more, and keeps the connection */ };

struct server_step {
	const char *expect;  /* in the request, line and fields */
	const char *answer;  /* as it goes out; NULL = nothing */
	enum server_after after;
	const char *reject;  /* not in the request */
	const char *later;   /* goes out 20 ms after the answer */
	size_t filler;       /* so many bytes 'x' between answer and later */
};

struct server {
	const struct server_step *steps;
	int listener, held[64];
	size_t held_count;
	uint16_t port;
	atomic_size_t taken;
	atomic_int connections;
	char wrong[4096]; /* the first request that was not as expected */
	pthread_t thread;
	char path[64];
	struct cluster *cluster;
};

/* The clock of this process may be ahead, so that a test need not wait. */
static _Atomic int64_t clock_ahead_ms;

int clock_gettime(clockid_t id, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, id, now);
	int64_t ahead = clock_ahead_ms;

	now->tv_sec += (time_t)(ahead / 1000);
	now->tv_nsec += (long)(ahead % 1000) * 1000000;
	now->tv_sec += now->tv_nsec / 1000000000;
	now->tv_nsec %= 1000000000;
	return (int)result;
}

static inline bool server_read(int fd, char *request, size_t size)
{
	size_t length = 0;
	char *end;

	for (;;) {
		ssize_t count = length < size - 1 ? read(fd, request + length, size - 1 - length) : -1;
		if (count <= 0)
			return false;
		length += (size_t)count;
		request[length] = '\0';
		end = strstr(request, "\r\n\r\n");
		if (end) {
			const char *field = strstr(request, "Content-Length: ");
			size_t body = field ? strtoul(field + 16, NULL, 10) : 0;
			if (length >= (size_t)(end + 4 - request) + body)
				return true;
		}
	}
}

static inline void server_send(int fd, const char *bytes)
{
	for (size_t at = 0, length = strlen(bytes); at < length;) {
		ssize_t count = send(fd, bytes + at, length - at, MSG_NOSIGNAL);
		if (count <= 0)
			return;
		at += (size_t)count;
	}
}

static inline void server_fill(int fd, size_t length)
{
	char block[4096];

	memset(block, 'x', sizeof block);
	while (length) {
		ssize_t count = send(fd, block, length < sizeof block ? length : sizeof block, MSG_NOSIGNAL);
		if (count <= 0)
			return;
		length -= (size_t)count;
	}
}

/* Requests of one connection. */
static inline void server_serve(struct server *server, int fd)
{
	static char request[65536];

	while (server_read(fd, request, sizeof request)) {
		size_t at = server->taken;
		const struct server_step *step = &server->steps[at];

		if (!step->expect) {
			if (!server->wrong[0])
				snprintf(server->wrong, sizeof server->wrong, "one request too many: %.3000s", request);
			break;
		}
		if (!server->wrong[0] && (!strstr(request, step->expect) || (step->reject && strstr(request, step->reject))))
			snprintf(server->wrong, sizeof server->wrong, "request %zu, wanted %s (not %s): %.3000s", at, step->expect,
			         step->reject ? step->reject : "-", request);
		if (step->answer)
			server_send(fd, step->answer);
		server_fill(fd, step->filler);
		if (step->later) {
			usleep(20000);
			server_send(fd, step->later);
		}
		server->taken++;
		if (step->after == AFTER_KEEP)
			continue;
		if (step->after == AFTER_HOLD) {
			server->held[server->held_count++] = fd;
			return;
		}
		if (step->after == AFTER_RESET)
			sock_set_reset_on_close(fd);
		break;
	}
	close(fd);
}

static inline void *server_run(void *argument)
{
	struct server *server = argument;
	int fd;

	while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
		server->connections++;
		server_serve(server, fd);
	}
	return NULL;
}

static inline struct server *server_new(const struct server_step *steps)
{
	struct server *server = calloc(1, sizeof *server);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	TEXT_ON_STACK(error, 512);

	signal(SIGPIPE, SIG_IGN);
	assert(server);
	server->steps = steps;
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(!setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)));
	assert(server->listener >= 0 && !bind(server->listener, (void *)&address, sizeof address) && !listen(server->listener, 16));
	assert(!getsockname(server->listener, (void *)&address, &length));
	server->port = ntohs(address.sin_port);
	strcpy(server->path, "/tmp/lapse-unit-XXXXXX");
	int fd = mkstemp(server->path);
	assert(fd >= 0);
	dprintf(fd, "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],\n"
	        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%u'}}], users: [{name: u, user: {token: first}}]}\n", server->port);
	close(fd);
	assert(cluster_kubeconfig(&server->cluster, server->path, NULL, &error) == 0);
	assert(!pthread_create(&server->thread, NULL, server_run, server));
	return server;
}

static inline void server_free(struct server *server)
{
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listener);
	for (size_t i = 0; i < server->held_count; i++)
		close(server->held[i]);
	cluster_free(server->cluster);
	unlink(server->path);
	free(server);
}

/* --- running the loop --- */

struct runner {
	struct loop *loop;
	struct log *log;
	struct wheel_timer tick;
	bool (*done)(void *owner);
	void *owner;
	int64_t hurry_ms;
	int ticks;
	bool met;
};

static inline void runner_tick(struct wheel_timer *timer)
{
	enum { TICK_MS = 2, TICKS_MOST = 5000 };
	struct runner *runner = (struct runner *)(void *)((char *)timer - offsetof(struct runner, tick));

	runner->met = runner->done(runner->owner);
	if (runner->met || ++runner->ticks > TICKS_MOST) {
		loop_stop(runner->loop);
		return;
	}
	clock_ahead_ms += runner->hurry_ms;
	wheel_arm(loop_wheel(runner->loop), timer, loop_now(runner->loop) + TICK_MS);
}

/* Until done() is true, or ten seconds have passed; hurry_ms: with each tick of 2 ms the clock jumps so far. */
static inline bool runner_run(struct runner *runner, bool (*done)(void *owner), void *owner, int64_t hurry_ms)
{
	runner->done = done;
	runner->owner = owner;
	runner->hurry_ms = hurry_ms;
	runner->ticks = 0;
	runner->met = false;
	runner->tick.fire = runner_tick;
	wheel_arm(loop_wheel(runner->loop), &runner->tick, loop_now(runner->loop));
	loop_run(runner->loop);
	return runner->met;
}

static inline void runner_new(struct runner *runner)
{
	*runner = (struct runner){0};
	assert(!loop_new(&runner->loop, NULL, NULL) && !log_new(&runner->log, STDERR_FILENO, LOG_TEXT, LOG_OFF, 0));
}

static inline bool runner_never(void *owner)
{
	return (*(int *)owner)-- <= 0;
}

/* Some turns, so that what was deferred is freed. */
static inline void runner_free(struct runner *runner)
{
	int turns = 2;

	runner_run(runner, runner_never, &turns, 0);
	log_free(runner->log);
	loop_free(runner->loop);
}

#endif
