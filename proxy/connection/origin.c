#include "proxy/connection/origin.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/sock.h"

/* linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h, whose headers clash with netinet/in.h. */
enum { ORIGINAL_DST = 80 };

struct origin_dials {
	_Atomic uint32_t marks[65536]; /* by local port: origin_mark(), origin_looped_mark(), 0 = no dial of ours */
};

struct origin_dials *origin_dials_new(void)
{
	return calloc(1, sizeof(struct origin_dials));
}

void origin_dials_free(struct origin_dials *dials)
{
	free(dials);
}

/* Both ends of a dial in one word; its last bit is cleared when the dial has looped, and it is never 0. */
static uint32_t origin_mark(const struct addr *from, const struct addr *to)
{
	return (addr_hash(from) * 31 + addr_hash(to)) | 3;
}

static uint32_t origin_looped_mark(uint32_t mark)
{
	return mark & ~1u;
}

struct origin_dial origin_dials_add(struct origin_dials *dials, const struct addr *local, const struct addr *destination)
{
	struct origin_dial dial = {origin_mark(local, destination), local->port};

	atomic_store_explicit(&dials->marks[dial.port], dial.mark, memory_order_relaxed);
	return dial;
}

void origin_dials_remove(struct origin_dials *dials, struct origin_dial dial)
{
	uint32_t held = atomic_load_explicit(&dials->marks[dial.port], memory_order_relaxed);

	if (held == dial.mark || held == origin_looped_mark(dial.mark))
		atomic_compare_exchange_strong_explicit(&dials->marks[dial.port], &held, 0, memory_order_relaxed, memory_order_relaxed);
}

bool origin_dials_catch(struct origin_dials *dials, const struct addr *client, const struct addr *destination)
{
	uint32_t mark = origin_mark(client, destination), held = mark;

	return atomic_compare_exchange_strong_explicit(&dials->marks[client->port], &held, origin_looped_mark(mark),
	                                               memory_order_relaxed, memory_order_relaxed) ||
	       held == origin_looped_mark(mark);
}

bool origin_dials_looped(const struct origin_dials *dials, struct origin_dial dial)
{
	return dial.mark && atomic_load_explicit(&dials->marks[dial.port], memory_order_relaxed) == origin_looped_mark(dial.mark);
}

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
	if (origin_dials_catch(guard->dials, &origin->client, &origin->destination))
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
