#include "lib/local_ports.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/ports.h"
#include "lib/sock.h"

enum {
	LOCAL_PORTS_ALL = 65536,
	LOCAL_PORTS_LEAST = 1024,
	LOCAL_PORTS_ADDRESSES = 256, /* by hash: two that share a place are only dialled by number a little sooner */
	LOCAL_PORTS_WINDOW_MS = 60000,
	LOCAL_PORTS_TRIES = 64, /* in a circle, so the next is the one used longest ago: when these are not free, few are */
};

/* Dials of one address in this window of time and the one before. */
struct local_ports_window {
	_Atomic int64_t number;
	_Atomic uint32_t now, before;
};

struct local_ports {
	struct local_ports_window windows[LOCAL_PORTS_ADDRESSES];
	_Atomic uint32_t next;
	uint32_t count;  /* ports to be had by number */
	uint32_t kernels; /* ports the kernel chooses from */
	bool clamps;     /* IP_LOCAL_PORT_RANGE */
	uint16_t first, last;
	uint16_t list[LOCAL_PORTS_ALL]; /* from the top down: applications listen below */
};

/* One line of /proc/sys/net/ipv4, without its end; "" when it cannot be read. */
static const char *local_ports_setting(const char *name, char *line, size_t size)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", name);
	file = fopen(path, "re");
	line[0] = '\0';
	if (file) {
		if (fscanf(file, "%65535[^\n]", line) != 1)
			line[0] = '\0';
		fclose(file);
	}
	return line;
}

static bool local_ports_can_clamp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool can = fd >= 0 && !sock_clamp_port(fd, 0);

	if (fd >= 0)
		close(fd);
	return can;
}

int local_ports_new(struct local_ports **out)
{
	enum { LINE = 65536 };
	struct local_ports *ports = calloc(1, sizeof *ports);
	char *line = malloc(LINE);
	struct ports reserved = {0};
	unsigned first = 32768, last = 60999, least = LOCAL_PORTS_LEAST;
	int result = ports && line ? 0 : -ENOMEM;

	if (!result) {
		(void)sscanf(local_ports_setting("ip_local_port_range", line, LINE), "%u %u", &first, &last);
		(void)sscanf(local_ports_setting("ip_unprivileged_port_start", line, LINE), "%u", &least);
		result = ports_parse(&reserved, local_ports_setting("ip_local_reserved_ports", line, LINE), NULL, NULL);
	}
	free(line);
	if (result == -ENOMEM) {
		free(ports);
		return result;
	}
	*ports = (struct local_ports){.clamps = local_ports_can_clamp(), .first = (uint16_t)first, .last = (uint16_t)last};
	for (unsigned port = LOCAL_PORTS_ALL - 1; port >= LOCAL_PORTS_LEAST; port--) {
		bool kernels = port >= first && port <= last;

		if (ports_contain(&reserved, (uint16_t)port))
			continue;
		ports->kernels += kernels;
		if (kernels ? ports->clamps : port >= least)
			ports->list[ports->count++] = (uint16_t)port;
	}
	ports_free(&reserved);
	*out = ports;
	return 0;
}

void local_ports_free(struct local_ports *ports)
{
	free(ports);
}

size_t local_ports_count(const struct local_ports *ports)
{
	return ports->clamps ? ports->count : ports->count + ports->kernels;
}

/* Whether so many dials of that address may still hold a port that the kernel's search would be long: a quarter of its range.
 * Threads that meet here at a window's end may count one dial twice or not at all. */
static bool local_ports_are_few(struct local_ports *ports, const struct addr *addr, int64_t now)
{
	struct local_ports_window *window = &ports->windows[addr_hash(addr) % LOCAL_PORTS_ADDRESSES];
	int64_t number = now / LOCAL_PORTS_WINDOW_MS, held = atomic_load_explicit(&window->number, memory_order_relaxed);

	if (held != number && atomic_compare_exchange_strong_explicit(&window->number, &held, number, memory_order_relaxed, memory_order_relaxed)) {
		uint32_t past = atomic_exchange_explicit(&window->now, 0, memory_order_relaxed);

		atomic_store_explicit(&window->before, held + 1 == number ? past : 0, memory_order_relaxed);
	}
	return atomic_fetch_add_explicit(&window->now, 1, memory_order_relaxed) +
	               atomic_load_explicit(&window->before, memory_order_relaxed) >= ports->kernels / 4;
}

static int local_ports_by_number(struct local_ports *ports, const struct addr *addr)
{
	int fd = -EADDRNOTAVAIL;

	for (int turn = 0; turn < LOCAL_PORTS_TRIES && ports->count && (fd == -EADDRNOTAVAIL || fd == -EADDRINUSE || fd == -EACCES); turn++) {
		uint16_t port = ports->list[atomic_fetch_add_explicit(&ports->next, 1, memory_order_relaxed) % ports->count];

		fd = sock_connect_from(addr, port, port >= ports->first && port <= ports->last);
	}
	return fd == -EADDRINUSE || fd == -EACCES ? -EADDRNOTAVAIL : fd;
}

int local_ports_connect(struct local_ports *ports, const struct addr *addr, int64_t now)
{
	bool few = local_ports_are_few(ports, addr, now);
	int fd = few ? local_ports_by_number(ports, addr) : sock_connect(addr);

	if (fd == -EADDRNOTAVAIL)
		fd = few ? sock_connect(addr) : local_ports_by_number(ports, addr);
	return fd;
}
