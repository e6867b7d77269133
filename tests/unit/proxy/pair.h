#ifndef LAPSE_TESTS_UNIT_PROXY_PAIR_H
#define LAPSE_TESTS_UNIT_PROXY_PAIR_H

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/sock.h"

/* Two ends of one TCP connection over loopback, both non-blocking: fds[0] is ours, fds[1] the peer's.
 * buffer: SO_SNDBUF of ours and SO_RCVBUF of the peer's, 0 = the system's. */
static inline void pair_open(int fds[static 2], int buffer)
{
	struct addr addr = {.family = AF_INET, .bytes = {127, 0, 0, 1}};
	int listener = sock_listen(&addr, 1, false);

	assert(listener >= 0);
	assert(!buffer || !setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer));
	assert(!sock_local(listener, &addr));
	fds[0] = sock_connect(&addr);
	assert(fds[0] >= 0);
	assert(!buffer || !setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer));
	assert(poll(&(struct pollfd){listener, POLLIN, 0}, 1, 5000) == 1);
	fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert(fds[1] >= 0);
	assert(poll(&(struct pollfd){fds[0], POLLOUT, 0}, 1, 5000) == 1);
	close(listener);
}

/* The byte at offset n of every stream in these tests. */
static inline uint8_t pair_byte(uint64_t n)
{
	return (uint8_t)(n * 2654435761u >> 13);
}

static inline void pair_fill(uint8_t *bytes, size_t length, uint64_t offset)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = pair_byte(offset + i);
}

/* Waits until there is something to read, if only an end. */
static inline void pair_wait(int fd)
{
	assert(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 5000) == 1);
}

/* Reads what is there, from `offset` of the stream on; returns the new offset, or -1 - offset when a byte is not as it was sent.
 * *error: 0, -EAGAIN, -EPIPE for a FIN, or another -errno. */
static inline int64_t pair_drain(int fd, int64_t offset, int *error)
{
	uint8_t bytes[65536];

	for (;;) {
		ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);

		if (got <= 0) {
			*error = got ? -errno : -EPIPE;
			return offset;
		}
		for (ssize_t i = 0; i < got; i++)
			if (bytes[i] != pair_byte((uint64_t)(offset + i)))
				return -1 - offset;
		offset += got;
	}
}

/* Closes with RST. */
static inline void pair_reset(int fd)
{
	sock_set_reset_on_close(fd);
	close(fd);
}

#endif
