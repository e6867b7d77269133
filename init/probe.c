#include "init/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init/options.h"
#include "init/plan.h"
#include "init/report.h"
#include "lib/addr.h"
#include "lib/ports.h"
#include "lib/sock.h"
#include "lib/text.h"

enum { PROBE_PATIENCE_MS = 2000 };

/* IP6T_SO_ORIGINAL_DST: its header does not go together with <net/if.h>. */
enum { PROBE_ORIGINAL6 = 80 };

enum probe_result { PROBE_ARRIVED, PROBE_TAKEN, PROBE_NO_ROUTE, PROBE_LOST };

/* A port that is not skipped, from the top, where nobody listens. 0 when all are. */
static uint16_t probe_port(const struct init_options *options)
{
	uint16_t port = UINT16_MAX;

	while (port && ports_contain(&options->skip_outbound_ports, port))
		port--;
	return port;
}

static bool probe_is_skipped(const struct init_options *options, const struct addr *target)
{
	for (size_t i = 0; i < options->skip_subnets.count; i++)
		if (addr_prefix_contains(&options->skip_subnets.list[i], target))
			return true;
	return false;
}

static bool probe_is_skipped_interface(const struct init_options *options, const char *name)
{
	for (size_t i = 0; i < options->skip_interfaces.count; i++)
		if (!strcmp(options->skip_interfaces.list[i].text, name))
			return true;
	return false;
}

static int probe_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A listener on loopback, where redirected connections arrive. -EADDRINUSE: somebody listens there. */
static int probe_listen(int family, uint16_t port)
{
	struct addr addr;
	struct sockaddr_storage storage;
	socklen_t length;
	int fd = probe_socket(family), on = 1, error;

	if (fd < 0)
		return -errno;
	addr_parse_host(family == AF_INET ? "127.0.0.1" : "::1", &addr);
	addr.port = port;
	length = addr_to_sockaddr(&addr, &storage);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&storage, length) || listen(fd, 8)) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static int probe_original(int fd, int family, struct addr *out)
{
	struct sockaddr_storage storage = {0};
	socklen_t length = sizeof storage;
	int error = family == AF_INET ? getsockopt(fd, IPPROTO_IP, SO_ORIGINAL_DST, &storage, &length)
	                              : getsockopt(fd, IPPROTO_IPV6, PROBE_ORIGINAL6, &storage, &length);

	return error ? -errno : addr_from_sockaddr((struct sockaddr *)&storage, out);
}

/* Takes connections off the listener until one was meant for the target; others may use the redirect at the same time. */
static bool probe_arrived(int listener, const struct addr *target)
{
	struct addr original;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		bool ours = !probe_original(fd, target->family, &original) && addr_equal(&original, target);

		close(fd);
		if (ours)
			return true;
	}
	return false;
}

static enum probe_result probe_await(int fd, int listener, const struct addr *target)
{
	struct pollfd wait[2] = {{.fd = fd, .events = POLLOUT}, {.fd = listener, .events = POLLIN}};
	int error = 0;
	socklen_t length = sizeof error;

	if (listener >= 0)
		return poll(&wait[1], 1, PROBE_PATIENCE_MS) > 0 && probe_arrived(listener, target) ? PROBE_ARRIVED : PROBE_LOST;
	if (poll(wait, 1, PROBE_PATIENCE_MS) <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) || error)
		return PROBE_LOST;
	return PROBE_TAKEN;
}

/* Own addresses are reached by lo, where nothing is redirected. */
static bool probe_is_own(const struct addr *target)
{
	struct ifaddrs *interfaces, *at;
	struct addr own;
	bool found = false;

	if (getifaddrs(&interfaces))
		return false;
	for (at = interfaces; at && !found; at = at->ifa_next)
		found = at->ifa_addr && !addr_from_sockaddr(at->ifa_addr, &own) && addr_same_host(&own, target);
	freeifaddrs(interfaces);
	return found;
}

static enum probe_result probe_send(const struct addr *target, int listener)
{
	struct sockaddr_storage storage;
	socklen_t length = addr_to_sockaddr(target, &storage);
	enum probe_result result = PROBE_NO_ROUTE;
	int fd = probe_is_own(target) ? -1 : probe_socket(target->family);

	if (fd < 0)
		return PROBE_NO_ROUTE;
	if (!connect(fd, (struct sockaddr *)&storage, length) || errno == EINPROGRESS)
		result = probe_await(fd, listener, target);
	else if (errno == ECONNREFUSED)
		result = PROBE_LOST; /* any other error at once: a route that leads nowhere */
	sock_set_reset_on_close(fd); /* a proxy that took it need not go on dialling */
	close(fd);
	return result;
}

/* Sends to an address of the documentation ranges; without a route there, to a neighbour's address on each interface. */
static enum probe_result probe_family(const struct init_options *options, int family, int listener, struct addr *target)
{
	enum probe_result result = PROBE_NO_ROUTE;
	struct ifaddrs *interfaces, *at;

	addr_parse_host(family == AF_INET ? "192.0.2.1" : "2001:db8::1", target);
	target->port = probe_port(options);
	/* which interface this leaves by is not known, so a skipped one would look like a loss */
	if (target->port && !options->skip_interfaces.count && !probe_is_skipped(options, target))
		result = probe_send(target, listener);
	if (result != PROBE_NO_ROUTE || !target->port || getifaddrs(&interfaces))
		return result;
	for (at = interfaces; at && result == PROBE_NO_ROUTE; at = at->ifa_next) {
		if (!at->ifa_addr || at->ifa_addr->sa_family != family || (at->ifa_flags & IFF_LOOPBACK) ||
		    !(at->ifa_flags & IFF_UP) || probe_is_skipped_interface(options, at->ifa_name))
			continue;
		if (addr_from_sockaddr(at->ifa_addr, target) || target->scope)
			continue;
		target->bytes[family == AF_INET ? 3 : 15] ^= 2;
		target->port = probe_port(options);
		if (!probe_is_skipped(options, target))
			result = probe_send(target, listener);
	}
	freeifaddrs(interfaces);
	return result;
}

static void probe_print(enum probe_result result, const char *version, const char *target, uint16_t port, FILE *to)
{
	switch (result) {
	case PROBE_ARRIVED:
		fprintf(to, "%s probe: a connection to %s arrived at port %u with its destination known\n", version, target, port);
		break;
	case PROBE_TAKEN:
		fprintf(to, "%s probe: a connection to %s was accepted by the listener on port %u\n", version, target, port);
		break;
	case PROBE_NO_ROUTE:
		fprintf(to, "%s probe: not sent, there is no route to an address that is not skipped\n", version);
		break;
	case PROBE_LOST:
		break;
	}
}

/* 0 or 1, as probe_redirect(). */
static int probe_report(enum probe_result result, const char *version, const struct addr *target, uint16_t port, struct report *report,
                        struct text *error)
{
	static const char *const names[] = {
		[PROBE_ARRIVED] = "arrived", [PROBE_TAKEN] = "accepted", [PROBE_NO_ROUTE] = "no route", [PROBE_LOST] = "lost"};
	struct json *json = &report->json;
	char shown[ADDR_TEXT_SIZE];

	addr_format(target, shown);
	if (report->as_json) {
		json_open(json, NULL, '{');
		json_string(json, "version", version);
		json_string(json, "result", names[result]);
		json_string(json, "to", result == PROBE_NO_ROUTE ? NULL : shown);
		json_number(json, "port", port);
		json_close(json, '}');
	} else {
		probe_print(result, version, shown, port, report->to);
	}
	if (result != PROBE_LOST)
		return 0;
	text_printf(error,
	            "the %s probe to %s did not arrive at port %u within %d s although the rules are there; is the interface lo "
	            "up, and do other firewall rules come first?",
	            version, shown, port, PROBE_PATIENCE_MS / 1000);
	return 1;
}

/* Whoever holds the port may be about to listen or to let go: another check, a proxy that starts or ends. */
static enum probe_result probe_try(const struct init_options *options, int family, struct addr *target, int *listener)
{
	enum { TRIES = 40, RETRY_MS = 50 };
	enum probe_result result = PROBE_LOST;

	for (int turn = 0; turn < TRIES && result == PROBE_LOST; turn++) {
		if (turn)
			usleep(RETRY_MS * 1000);
		*listener = probe_listen(family, options->outbound_port);
		/* no ::1 where IPv6 is idle: then there is no route either, or the probe is lost, which says it */
		if (*listener < 0 && *listener != -EADDRINUSE && *listener != -EADDRNOTAVAIL)
			return PROBE_LOST;
		result = probe_family(options, family, *listener, target);
		if (*listener >= 0)
			close(*listener);
		if (*listener != -EADDRINUSE)
			break;
	}
	return result;
}

static int probe_version(const struct init_options *options, int family, struct report *report, struct text *error)
{
	const char *version = family == AF_INET ? "IPv4" : "IPv6";
	int listener = 0;
	struct addr target = {0};
	enum probe_result result = probe_try(options, family, &target, &listener);

	if (listener < 0 && listener != -EADDRINUSE && listener != -EADDRNOTAVAIL) {
		text_printf(error, "cannot listen on loopback port %u for the %s probe: %s",
		            options->outbound_port, version, strerror(-listener));
		return 1;
	}
	return probe_report(result, version, &target, options->outbound_port, report, error);
}

int probe_redirect(const struct init_options *options, const struct plan *plan, struct report *report, struct text *error)
{
	int status = 0;

	if (geteuid() == options->proxy_uid.id || (options->proxy_gid.set && getegid() == options->proxy_gid.id)) {
		report_note(report, "probe", "not sent, it would be taken for the proxy's own; run check as another user");
		return 0;
	}
	report_list(report, "probes");
	if (plan->ipv4)
		status = probe_version(options, AF_INET, report, error);
	if (!status && plan->ipv6)
		status = probe_version(options, AF_INET6, report, error);
	return status;
}
