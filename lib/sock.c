#include "lib/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"

#ifndef SIOCOUTQ
#include <linux/sockios.h>
#endif

static void sock_set(int fd, int level, int option, int value)
{
	/* None of the options set here can fail on a TCP socket that exists; a reset one no longer matters. */
	(void)setsockopt(fd, level, option, &value, sizeof value);
}

int sock_listen(const struct addr *addr, int backlog, bool reuse_port)
{
	struct sockaddr_storage storage;
	socklen_t length = addr_to_sockaddr(addr, &storage);
	int fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result;

	if (fd < 0)
		return -errno;
	sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	sock_set(fd, SOL_SOCKET, SO_OOBINLINE, 1); /* of what is accepted, too */
	if (reuse_port)
		sock_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (addr->family == AF_INET6)
		sock_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (bind(fd, (struct sockaddr *)&storage, length) < 0 || listen(fd, backlog) < 0) {
		result = -errno;
		close(fd);
		return result;
	}
	return fd;
}

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h, since Linux 6.3 */
#endif

int sock_clamp_port(int fd, uint16_t port)
{
	uint32_t range = (uint32_t)port << 16 | port; /* the upper and the lower end of it */

	return setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range) < 0 ? -errno : 0;
}

/* SO_REUSEADDR: whoever sets it too can still bind the port, and listen on it. */
static int sock_bind_port(int fd, int family, uint16_t port)
{
	const struct addr any = {.family = family, .port = port};
	struct sockaddr_storage storage;
	socklen_t length = addr_to_sockaddr(&any, &storage);

	sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return bind(fd, (struct sockaddr *)&storage, length);
}

int sock_connect(const struct addr *addr)
{
	return sock_connect_from(addr, 0, false);
}

int sock_connect_from(const struct addr *addr, uint16_t port, bool kernels)
{
	struct sockaddr_storage storage;
	socklen_t length = addr_to_sockaddr(addr, &storage);
	int fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result;

	if (fd < 0)
		return -errno;
	sock_set_nodelay(fd);
	sock_set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	if ((port && (kernels ? sock_clamp_port(fd, port) : sock_bind_port(fd, addr->family, port)) < 0) ||
	    (connect(fd, (struct sockaddr *)&storage, length) < 0 && errno != EINPROGRESS)) {
		result = -errno;
		close(fd);
		return result;
	}
	return fd;
}

int sock_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return -error;
}

int sock_local(int fd, struct addr *out)
{
	struct sockaddr_storage storage;
	socklen_t length = sizeof storage;

	if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0)
		return -errno;
	return addr_from_sockaddr((struct sockaddr *)&storage, out);
}

void sock_set_nodelay(int fd)
{
	sock_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void sock_set_keepalive(int fd, int idle_s, int interval_s, int probes)
{
	sock_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	sock_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
	sock_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
	sock_set(fd, IPPROTO_TCP, TCP_KEEPCNT, probes);
}

void sock_set_reset_on_close(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int sock_info(int fd, struct tcp_info *out)
{
	struct tcp_info info;
	socklen_t length = sizeof info;

	memset(&info, 0, sizeof info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return -errno;
	*out = info;
	return 0;
}

int sock_send_queue(int fd)
{
	int bytes = 0;

	if (ioctl(fd, SIOCOUTQ, &bytes) < 0)
		return -errno;
	return bytes;
}
