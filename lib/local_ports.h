#ifndef LAPSE_LIB_LOCAL_PORTS_H
#define LAPSE_LIB_LOCAL_PORTS_H

#include <stddef.h>
#include <stdint.h>

struct addr;

/* Dialling one address so often that local ports get few. A port serves one connection to it, and is kept for 60 s after the end of
 * one that we closed first (TIME_WAIT). The kernel takes ports of net.ipv4.ip_local_port_range alone, about 470 a second, and when half
 * of these are used its search for another takes a millisecond. So an address that is dialled often gets ports by number, in a
 * circle: the kernel's, where Linux can be asked for one (IP_LOCAL_PORT_RANGE, 6.3), and all others that are neither privileged
 * nor reserved (ip_unprivileged_port_start, ip_local_reserved_ports) nor listened on. For all threads, without locks. */
struct local_ports;

/* 0 or -ENOMEM. What /proc does not say is taken for the kernel's default. */
int local_ports_new(struct local_ports **out);
void local_ports_free(struct local_ports *ports);

/* How many ports there are to dial from, the kernel's and the others. */
size_t local_ports_count(const struct local_ports *ports);

/* As sock_connect(); now: monotonic ms. -EADDRNOTAVAIL: no port is free. */
int local_ports_connect(struct local_ports *ports, const struct addr *addr, int64_t now);

#endif
