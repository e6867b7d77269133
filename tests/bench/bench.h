#ifndef LAPSE_TESTS_BENCH_H
#define LAPSE_TESTS_BENCH_H

/* What the benchmark's programs share. They trust what they are told: a mistake ends them with one line on stderr. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* First byte of a connection to `responder opaque`: neither begins any protocol. */
#define OPAQUE_UP "\1"   /* the client sends all the time */
#define OPAQUE_DOWN "\2" /* the app does */

#define HELPER static inline __attribute__((unused))

/* A condition without which a figure would mean nothing. */
#define NEED(condition)                                                                                                          \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));                     \
			exit(1);                                                                                                 \
		}                                                                                                                \
	} while (0)

HELPER int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	NEED(clock_gettime(clock, &now) == 0);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

HELPER int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* As many descriptors as the system lets this process have. */
HELPER void raise_file_limit(void)
{
	struct rlimit limit;

	NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max;
	NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

HELPER struct sockaddr_in ipv4(const char *address, int port)
{
	struct sockaddr_in out = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	NEED(inet_pton(AF_INET, address, &out.sin_addr) == 1);
	return out;
}

HELPER void no_delay(int fd)
{
	int one = 1;

	NEED(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
}

HELPER int listen_at(int port)
{
	struct sockaddr_in any = ipv4("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	NEED(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
	NEED(bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, 4096) == 0);
	return fd;
}

/* operation: EPOLL_CTL_ADD or EPOLL_CTL_MOD. */
HELPER void watch(int epoll_fd, int operation, int fd, uint32_t events, void *data)
{
	struct epoll_event event = {.events = events, .data.ptr = data};

	NEED(epoll_ctl(epoll_fd, operation, fd, &event) == 0);
}

#endif
