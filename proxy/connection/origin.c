#include "proxy/connection/origin.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/sock.h"
#include "proxy/server/dials.h"

/* linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h, whose headers clash with netinet/in.h. */
enum { ORIGINAL_DST = 80 };

static int origin_read(int fd, int family, struct addr *out)
{
	struct sockaddr_storage storage;
	socklen_t length = sizeof storage;

	if (getsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DST, &storage, &length) < 0)
		return -errno;
	return addr_from_sockaddr((struct sockaddr *)&storage, out);
}

static bool origin_is_local(const struct addr *addr)
{
	struct ifaddrs *list, *item;
	bool found = addr_is_loopback(addr);

	if (found || getifaddrs(&list) < 0)
		return found;
	for (item = list; item && !found; item = item->ifa_next) {
		struct addr own;

		found = item->ifa_addr && !addr_from_sockaddr(item->ifa_addr, &own) && addr_same_host(&own, addr);
	}
	freeifaddrs(list);
	return found;
}

static bool origin_is_loop(const struct origin_guard *guard, const struct origin *origin)
{
	if (dials_catch(guard->dials, &origin->client, &origin->destination))
		return true;
	if (origin->destination.port != guard->inbound_port && origin->destination.port != guard->outbound_port)
		return false;
	return origin_is_local(&origin->destination);
}

enum reason_id origin_find(int fd, const struct origin_guard *guard, struct origin *origin)
{
	struct addr local, destination;

	if (origin_read(fd, origin->client.family, &destination))
		return REASON_NO_ORIGINAL_DST;
	origin->destination = destination;
	/* Its own address is asked for only where it can be that. */
	if ((destination.port == guard->inbound_port || destination.port == guard->outbound_port) &&
	    !sock_local(fd, &local) && addr_equal(&destination, &local))
		return REASON_NOT_REDIRECTED;
	return origin_is_loop(guard, origin) ? REASON_REDIRECT_LOOP : REASON_NONE;
}

bool origin_lost(int fd, const struct addr *destination)
{
	struct addr now;
	int result = origin_read(fd, destination->family, &now);

	return result == -ENOENT || (!result && !addr_equal(&now, destination));
}
