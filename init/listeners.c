#include "init/listeners.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init/options.h"
#include "init/plan.h"
#include "init/report.h"
#include "lib/text.h"

enum { LISTENERS_STATE = 0x0a }; /* TCP_LISTEN */

/* Addresses are words of 32 bits in network order, printed as numbers of this machine. */
static bool listeners_serve(const uint32_t address[4], bool ipv6, int family, bool loopback)
{
	static const uint32_t none[4];
	uint8_t bytes[16];
	bool mapped;

	if (!ipv6 && family == AF_INET6)
		return false;
	memcpy(bytes, address, sizeof bytes);
	if (!memcmp(address, none, ipv6 ? 16 : 4))
		return true;
	mapped = ipv6 && !memcmp(bytes, none, 10) && bytes[10] == 0xff;
	if (ipv6 && mapped != (family == AF_INET))
		return false;
	if (family == AF_INET6)
		return loopback == (!memcmp(bytes, none, 15) && bytes[15] == 1);
	return loopback == (bytes[ipv6 ? 12 : 0] == 127);
}

bool listeners_match(const char *line, bool ipv6, int family, uint16_t port, bool loopback, uint32_t *uid)
{
	uint32_t address[4] = {0}, owner;
	unsigned local, state;
	int taken = ipv6 ? sscanf(line, " %*d: %8" SCNx32 "%8" SCNx32 "%8" SCNx32 "%8" SCNx32 ":%x %*[0-9A-F:] %x %*s %*s %*s %" SCNu32,
	                          &address[0], &address[1], &address[2], &address[3], &local, &state, &owner)
	                 : 3 + sscanf(line, " %*d: %8" SCNx32 ":%x %*[0-9A-F:] %x %*s %*s %*s %" SCNu32, &address[0], &local, &state, &owner);

	if (taken != 7 || state != LISTENERS_STATE || local != port || !listeners_serve(address, ipv6, family, loopback))
		return false;
	*uid = owner;
	return true;
}

/* 0, -ENOENT when nobody listens there, or why that cannot be told. */
static int listeners_look(bool ipv6, int family, uint16_t port, bool loopback, uint32_t *uid)
{
	FILE *from = fopen(ipv6 ? "/proc/net/tcp6" : "/proc/net/tcp", "re");
	int status = -ENOENT;
	char line[512];

	if (!from)
		return ipv6 && errno == ENOENT ? -ENOENT : -errno;
	while (status && fgets(line, sizeof line, from))
		if (listeners_match(line, ipv6, family, port, loopback, uid))
			status = 0;
	fclose(from);
	return status;
}

static int listeners_find(int family, uint16_t port, bool loopback, uint32_t *uid)
{
	int status = family == AF_INET ? listeners_look(false, family, port, loopback, uid) : -ENOENT;

	return status == -ENOENT ? listeners_look(true, family, port, loopback, uid) : status;
}

/* 0, 1 with a sentence, or -errno. */
static int listeners_check_once(const struct init_options *options, const struct plan *plan, struct text *error)
{
	const struct {
		const char *name;
		uint16_t port;
		bool loopback; /* what this namespace sends is redirected to loopback, what it gets to the address it came for */
	} rows[] = {{"inbound", options->inbound_port, false}, {"outbound", options->outbound_port, true}};
	TEXT_ON_STACK(missing, 128);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int turn = 0; turn < 2; turn++) {
			uint32_t uid;
			int status;

			if (!(turn ? plan->ipv6 : plan->ipv4))
				continue;
			status = listeners_find(turn ? AF_INET6 : AF_INET, rows[i].port, rows[i].loopback, &uid);
			if (status == -ENOENT) {
				text_printf(&missing, "%s%u (%s, %s)", missing.length ? ", " : "", rows[i].port, rows[i].name,
				            turn ? "IPv6" : "IPv4");
			} else if (status) {
				return status;
			} else if (uid != options->proxy_uid.id && !options->proxy_gid.set) {
				text_printf(error,
				            "uid %" PRIu32 " listens on port %u (%s), but the rules leave uid %" PRIu32 " alone: the "
				            "proxy's own connections would be redirected back to it; run lapse-proxy as uid %" PRIu32
				            ", or lapse-init with --proxy-uid %" PRIu32,
				            uid, rows[i].port, rows[i].name, options->proxy_uid.id, options->proxy_uid.id, uid);
				return 1;
			}
		}
	if (!missing.length)
		return 0;
	text_printf(error,
	            "nobody listens on port %s, so what is redirected there is refused; start lapse-proxy with these ports, or check "
	            "with --without-proxy before it starts",
	            missing.data);
	return 1;
}

/* A proxy may be about to start or to end, and another check listens for its probe. */
int listeners_check(const struct init_options *options, const struct plan *plan, struct report *report, struct text *error)
{
	enum { TRIES = 40, RETRY_MS = 50 };
	TEXT_ON_STACK(note, 256);
	int status = 1;

	for (int turn = 0; turn < TRIES && status == 1; turn++) {
		if (turn)
			usleep(RETRY_MS * 1000);
		text_init(error, error->data, error->size);
		status = listeners_check_once(options, plan, error);
	}
	if (status >= 0)
		return status;
	text_printf(&note, "not looked for, /proc/net/tcp cannot be read: %s", strerror(-status));
	report_note(report, "listeners", note.data);
	return 0;
}
