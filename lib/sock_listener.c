/* Who listens on a port, as ss(8) asks. */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/sock.h"

enum { STATE_LISTEN = 10 }; /* TCP_LISTEN; netinet/tcp.h and linux/tcp.h cannot both be included */

static int sock_listener_ask(int fd, uint8_t family)
{
	const struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} request = {
	    .header = {sizeof request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
	    .body = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1u << STATE_LISTEN},
	};

	return send(fd, &request, sizeof request, 0) == (ssize_t)sizeof request ? 0 : -errno;
}

static bool sock_listener_matches(const struct inet_diag_msg *socket, const struct addr *addr)
{
	static const uint8_t any[16];
	struct sockaddr_storage storage;
	const void *wanted = &((const struct sockaddr_in *)(const void *)&storage)->sin_addr;
	size_t size = socket->idiag_family == AF_INET ? 4 : 16;

	if (ntohs(socket->id.idiag_sport) != addr->port)
		return false;
	if (memcmp(socket->id.idiag_src, any, size) == 0)
		return true; /* an IPv6 wildcard takes IPv4 too, unless it was told not to: then another one is there for that */
	addr_to_sockaddr(addr, &storage);
	if (addr->family == AF_INET6)
		wanted = &((const struct sockaddr_in6 *)(const void *)&storage)->sin6_addr;
	return (addr->family == AF_INET) == (socket->idiag_family == AF_INET) && memcmp(socket->id.idiag_src, wanted, size) == 0;
}

/* One answer, of several parts. 1 found, 0 not, -errno. */
static int sock_listener_read(int fd, const struct addr *addr, struct sock_listening *out)
{
	_Alignas(struct nlmsghdr) char bytes[16384];
	int found = 0;

	for (;;) {
		ssize_t got = recv(fd, bytes, sizeof bytes, 0);

		if (got < 0)
			return -errno;
		for (struct nlmsghdr *header = (struct nlmsghdr *)(void *)bytes; NLMSG_OK(header, (size_t)got); header = NLMSG_NEXT(header, got)) {
			const struct inet_diag_msg *socket = NLMSG_DATA(header);

			if (header->nlmsg_type == NLMSG_DONE)
				return found;
			if (header->nlmsg_type == NLMSG_ERROR)
				return -EIO;
			if (!sock_listener_matches(socket, addr))
				continue;
			if (out && (!found || socket->idiag_rqueue > out->queued))
				*out = (struct sock_listening){socket->idiag_rqueue, socket->idiag_wqueue};
			found = 1;
		}
	}
}

int sock_listener(const struct addr *addr, struct sock_listening *out)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), result;

	if (fd < 0)
		return -errno;
	result = sock_listener_ask(fd, AF_INET6);
	if (!result)
		result = sock_listener_read(fd, addr, out);
	if (!result && addr->family == AF_INET) {
		result = sock_listener_ask(fd, AF_INET);
		if (!result)
			result = sock_listener_read(fd, addr, out);
	}
	close(fd);
	return result;
}
