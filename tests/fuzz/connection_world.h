#ifndef LAPSE_TESTS_FUZZ_CONNECTION_WORLD_H
#define LAPSE_TESTS_FUZZ_CONNECTION_WORLD_H

/* The world of tests/fuzz/connection.c: the kernel as it may be, and the clients and servers that are ours. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/sock.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"
#include "proxy/server/upstream.h"
#include "proxy/settings/settings.h"

struct config;
struct loop;
struct policy;

/* What it does is none of the fuzzer's business, and would only take its time. */
#ifdef __clang__
#define UNWATCHED __attribute__((no_sanitize("coverage")))
#else
#define UNWATCHED
#endif

enum {
	CLIENTS = 4, DIALS = 64, POLICIES = 4,
	KEPT = 192 << 10,   /* bytes of one direction */
	STEPS_MOST = 300, ROUNDS_MOST = 4000, SPINS_MOST = 100, LAST_MOST = 400,
};

enum listening { SERVER_ONE, SERVER_TWO, SERVER_REFUSES, SERVER_HANGS, SERVERS };
enum dialling { DIAL_AS_IT_IS, DIAL_REFUSE, DIAL_HANG, DIAL_PORTS, DIAL_FILES, DIAL_ROUTES, DIALLINGS };
enum settings_bit { SHARING = 1, INBOUND = 2, REFUSING = 4, ACCESS_LOG = 8, OPAQUE_PORT = 16, SMALL = 32 };

struct bytes {
	size_t length;
	uint8_t of[KEPT];
};

/* One end that is ours. */
struct end {
	int fd; /* -1: none, or none any more */
	bool finished, cut; /* by us, before the last operation */
	bool heard_end, spilt; /* spilt: more came than is kept */
	struct bytes sent, got;
};

struct client {
	struct end end;
	uint64_t id;
	bool altered; /* something spoke or chose in its name: rules, an operator, the proxy's end */
	bool open;    /* it was opened */
	uint16_t port;
};

/* A connection of the proxy to a server, by its local port. */
struct dial {
	int proxy_fd, client; /* client: -1 until it is known; of the first one */
	bool shared;
	uint16_t port;
	struct end end;
};

static struct {
	struct settings settings[POLICIES];
	struct config *config[POLICIES];
	struct http1_settings http1;
	struct proxy proxy;
	struct loop *main_loop;
	int log_fd, listeners[SERVERS], filler[8], entrance;
	struct sockaddr_in addresses[SERVERS], entrance_address;
	bool trace;
	/* One input. */
	struct worker *worker; /* NULL: the calls of the process are its own */
	struct policy *policies[POLICIES];
	const uint8_t *at, *end;
	int64_t now_us;
	int timeout, steps, rounds, spins, last;
	unsigned flags, policy, filled;
	enum dialling dialling;
	bool forgotten; /* by conntrack */
	bool quiet;     /* nothing happened in the last round */
	struct client clients[CLIENTS];
	struct dial dials[DIALS];
	int dial_count;
} fuzz;

/* --- the kernel, as it may be --- */

int clock_gettime(clockid_t id, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, id, now);

	if (!result && id == CLOCK_MONOTONIC)
		*now = (struct timespec){100000 + fuzz.now_us / 1000000, fuzz.now_us % 1000000 * 1000};
	return result;
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	enum { ORIGINAL_DST = 80 };

	if (level == IPPROTO_IP && option == ORIGINAL_DST) {
		errno = fuzz.forgotten ? ENOENT : ENOPROTOOPT;
		return -1;
	}
	return (int)syscall(SYS_getsockopt, fd, level, option, value, length);
}

int socket(int domain, int type, int protocol)
{
	if (domain == AF_NETLINK) { /* sock_diag takes too long */
		errno = EPERM;
		return -1;
	}
	return (int)syscall(SYS_socket, domain, type, protocol);
}

/* Addresses of 10.9.0.0/24 lead to servers of ours. */
int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	static const enum listening of_host[] = {SERVER_REFUSES, SERVER_ONE, SERVER_TWO, SERVER_ONE, SERVER_REFUSES, SERVER_HANGS};
	static const int errors[DIALLINGS] = {[DIAL_PORTS] = EADDRNOTAVAIL, [DIAL_FILES] = EMFILE, [DIAL_ROUTES] = ENETUNREACH};
	struct sockaddr_in to = *(const struct sockaddr_in *)(const void *)address, local;
	socklen_t size = sizeof local;
	enum listening server;
	int result, error;

	if (!fuzz.worker || address->sa_family != AF_INET || ntohl(to.sin_addr.s_addr) >> 8 != 0x0a0900)
		return (int)syscall(SYS_connect, fd, address, length);
	if (errors[fuzz.dialling] || fuzz.dial_count == DIALS) {
		errno = fuzz.dial_count == DIALS ? EADDRNOTAVAIL : errors[fuzz.dialling];
		return -1;
	}
	server = of_host[(ntohl(to.sin_addr.s_addr) & 255) % 6];
	if (fuzz.dialling == DIAL_REFUSE)
		server = SERVER_REFUSES;
	else if (fuzz.dialling == DIAL_HANG)
		server = SERVER_HANGS;
	result = (int)syscall(SYS_connect, fd, &fuzz.addresses[server], sizeof fuzz.addresses[server]);
	error = errno;
	HOLDS(!getsockname(fd, (struct sockaddr *)&local, &size));
	fuzz.dials[fuzz.dial_count].proxy_fd = fd;
	fuzz.dials[fuzz.dial_count].client = -1;
	fuzz.dials[fuzz.dial_count].shared = false;
	fuzz.dials[fuzz.dial_count].port = local.sin_port;
	fuzz.dials[fuzz.dial_count++].end = (struct end){.fd = -1};
	errno = error;
	return result;
}

UNWATCHED static int descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* --- the ends that are ours --- */

static void end_open(struct end *end, int fd)
{
	end->fd = fd;
	end->finished = end->cut = end->heard_end = end->spilt = false;
	end->sent.length = end->got.length = 0;
}

static void end_send(struct end *end, const void *bytes, size_t length)
{
	ssize_t put;

	if (length > KEPT - end->sent.length)
		length = KEPT - end->sent.length;
	if (end->fd < 0 || end->finished || !length)
		return;
	put = send(end->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put <= 0)
		return;
	memcpy(end->sent.of + end->sent.length, bytes, (size_t)put);
	end->sent.length += (size_t)put;
}

static void end_read(struct end *end, size_t most)
{
	static uint8_t rest[KEPT];

	while (end->fd >= 0 && most && !end->heard_end) {
		size_t room = KEPT - end->got.length;
		ssize_t got = recv(end->fd, room ? end->got.of + end->got.length : rest, room && room < most ? room : most < KEPT ? most : KEPT,
		                   MSG_DONTWAIT);

		if (got > 0) {
			end->spilt |= !room;
			end->got.length += room ? (size_t)got : 0;
			most -= (size_t)got;
		} else {
			end->heard_end = !got || errno != EAGAIN;
			return;
		}
	}
}

static void end_finish(struct end *end)
{
	if (end->fd >= 0 && !end->finished)
		shutdown(end->fd, SHUT_WR);
	end->finished = true;
}

static void end_close(struct end *end)
{
	if (end->fd < 0)
		return;
	sock_set_reset_on_close(end->fd);
	close(end->fd);
	end->fd = -1;
	end->cut |= !fuzz.last;
}

static void servers_accept(void)
{
	for (int server = SERVER_ONE; server <= SERVER_TWO; server++) {
		struct sockaddr_in peer;
		socklen_t size = sizeof peer;
		int fd, i;

		while ((fd = accept4(fuzz.listeners[server], (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
			for (i = fuzz.dial_count - 1; i >= 0 && (fuzz.dials[i].port != peer.sin_port || fuzz.dials[i].end.fd >= 0); i--)
				;
			HOLDS(i >= 0);
			end_open(&fuzz.dials[i].end, fd);
		}
	}
}

/* Whose connections to servers are whose. */
static void watch_legs(void)
{
	for (const struct conn *conn = fuzz.worker->conns; conn; conn = conn->next) {
		int dial = fuzz.dial_count - 1, client = 0;

		while (client < CLIENTS - 1 && fuzz.clients[client].id != conn->id)
			client++;
		fuzz.clients[client].altered |= conn->close_after || fuzz.policy >= 2;
		if (!conn->upstream)
			continue;
		while (dial >= 0 && fuzz.dials[dial].proxy_fd != conn->upstream->leg.source.fd)
			dial--;
		HOLDS(dial >= 0);
		if (fuzz.dials[dial].client < 0)
			fuzz.dials[dial].client = client;
		fuzz.dials[dial].shared |= fuzz.dials[dial].client != client;
		HOLDS(!fuzz.dials[dial].shared || fuzz.flags & SHARING);
	}
}

/* The last server that this client reached. */
static struct end *server_of(int client)
{
	servers_accept();
	for (int i = fuzz.dial_count - 1; i >= 0; i--)
		if (fuzz.dials[i].client == client && fuzz.dials[i].end.fd >= 0)
			return &fuzz.dials[i].end;
	return NULL;
}

#endif
