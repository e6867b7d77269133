#include "proxy/connection/self_dial.h"

#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/sock.h"

enum { SELF_DIAL_EVERY_MS = 25, SELF_DIAL_TURNS = 8, SELF_DIAL_PORT = 65535 };

static int self_dial_open(const char *host, struct addr *to)
{
	const int hops = 1;
	struct sockaddr_storage storage;
	socklen_t length;
	int fd;

	if (addr_parse_host(host, to))
		return -1;
	to->port = SELF_DIAL_PORT;
	length = addr_to_sockaddr(to, &storage);
	fd = socket(to->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (to->family == AF_INET)
		(void)setsockopt(fd, IPPROTO_IP, IP_TTL, &hops, sizeof hops);
	else
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof hops);
	(void)connect(fd, (struct sockaddr *)&storage, length); /* without a route it fails, and nothing comes back */
	return fd;
}

static void self_dial_turn(struct wheel_timer *timer)
{
	struct self_dial *self = (struct self_dial *)(void *)((char *)timer - offsetof(struct self_dial, timer));

	for (int i = 0; i < 2; i++) {
		if (self->fds[i] < 0 || !dials_looped(self->dials, self->dial[i]))
			continue;
		atomic_store_explicit(self->looped, true, memory_order_relaxed);
		log_message(self->log, LOG_WARN,
		            "the proxy's own connections come back to it: lapse-init redirects uid %u; this proxy is uid %u; run it as "
		            "lapse-init's --proxy-uid, or lapse-init with --proxy-uid %u",
		            geteuid(), geteuid(), geteuid());
		self_dial_stop(self);
		return;
	}
	if (++self->turns < SELF_DIAL_TURNS)
		wheel_arm(loop_wheel(self->loop), timer, loop_now(self->loop) + SELF_DIAL_EVERY_MS);
	else
		self_dial_stop(self);
}

void self_dial_start(struct self_dial *self, struct loop *loop, struct dials *dials, struct log *log, atomic_bool *looped)
{
	static const char *const hosts[2] = {"192.0.2.1", "2001:db8::1"};

	*self = (struct self_dial){.loop = loop, .dials = dials, .log = log, .looped = looped, .timer = {.fire = self_dial_turn}};
	for (int i = 0; i < 2; i++) {
		struct addr to, local;

		self->fds[i] = self_dial_open(hosts[i], &to);
		if (self->fds[i] >= 0 && !sock_local(self->fds[i], &local))
			self->dial[i] = dials_add(dials, &local, &to);
	}
	wheel_arm(loop_wheel(loop), &self->timer, loop_now(loop) + SELF_DIAL_EVERY_MS);
}

void self_dial_stop(struct self_dial *self)
{
	if (!self->loop)
		return;
	wheel_cancel(loop_wheel(self->loop), &self->timer);
	for (int i = 0; i < 2; i++) {
		if (self->fds[i] < 0)
			continue;
		dials_remove(self->dials, self->dial[i]);
		sock_set_reset_on_close(self->fds[i]);
		close(self->fds[i]);
	}
	self->loop = NULL;
}
