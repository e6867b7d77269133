#ifndef LAPSE_LIB_SOCK_H
#define LAPSE_LIB_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/tcp.h>

struct addr;

/* All sockets are non-blocking and close-on-exec. Functions return 0 or a descriptor, or -errno. */

/* A listening TCP socket; an IPv6 wildcard also takes IPv4. reuse_port: SO_REUSEPORT, one listener per worker. */
int sock_listen(const struct addr *addr, int backlog, bool reuse_port);

/* Starts connecting: the descriptor, whose end of connecting EPOLLOUT announces and sock_error() tells. */
int sock_connect(const struct addr *addr);

/* The same from a local port of the caller's choice, 0 = the kernel's. kernels: it is one the kernel might have chosen (by
 * sock_clamp_port(), so that others get no less of these). -EADDRINUSE: somebody listens on it, or has bound it for himself;
 * -EADDRNOTAVAIL: it has, or had until a minute ago, a connection to that address; -EACCES: it is privileged. */
int sock_connect_from(const struct addr *addr, uint16_t port, bool kernels);

/* The kernel will choose this port or none (IP_LOCAL_PORT_RANGE); 0 = any. -ENOPROTOOPT before Linux 6.3. */
int sock_clamp_port(int fd, uint16_t port);

/* The pending error of the socket as -errno, 0 = none; reading clears it. */
int sock_error(int fd);

int sock_local(int fd, struct addr *out);

void sock_set_nodelay(int fd);
/* SO_KEEPALIVE with its three values; seconds of at least 1. */
void sock_set_keepalive(int fd, int idle_s, int interval_s, int probes);
/* close() then sends RST instead of FIN. */
void sock_set_reset_on_close(int fd);

/* TCP_INFO (tcp(7)); fields an older kernel does not fill are 0. */
int sock_info(int fd, struct tcp_info *out);

/* The listening socket that takes connections to `addr` in this network namespace, asked of the kernel (sock_diag(7)). */
struct sock_listening {
	uint32_t queued, limit; /* connections that wait to be accepted, and how many may */
};

/* 1 and *out (NULL: not wanted); 0: nobody listens; -errno: the kernel does not say. */
int sock_listener(const struct addr *addr, struct sock_listening *out);

/* Bytes in the send queue, acknowledged or not sent yet (SIOCOUTQ). */
int sock_send_queue(int fd);

#endif
