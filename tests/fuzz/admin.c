/* The admin listener, over real sockets of the loopback device and with a clock that the input moves: whole requests and raw bytes, in
 * pieces, one behind the other, FIN and RST at any point, answers written in pieces, walks that take their time. Each answer is one
 * whole answer, a request that is not for us gets nothing, a POST needs a POST, and no descriptor and no memory is left.
 * The input is a row of operations, a byte each, with their arguments behind them. */
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/walk.h"
#include "proxy/connection/listener.h"
#include "proxy/connection/worker.h"
#include "proxy/connection/worker_thread.h"
#include "proxy/http1/proto_http1.h"
#include "proxy/http2/proto_http2.h"
#include "proxy/policy/reload.h"
#include "proxy/settings/settings.h"

enum { SLOTS = 8, STEPS_MOST = 400, LAST_ROUNDS = 40, KEPT = 256 << 10 };

/* One client of the listener. */
struct slot {
	int fd; /* -1: none */
	bool raw, evil, post, head;
	bool late; /* the clock has jumped while it was open: it may have been let go */
	size_t requests;
	size_t length; /* of got */
	char *got;
};

static struct {
	struct settings settings;
	struct proxy proxy;
	struct worker *worker;
	struct reload *reload;
	struct loop *loop;
	struct log *log;
	struct addr address;
	int64_t ahead_ms; /* of the real clock */
	size_t write_most; /* of the listener's next write; 0 = all, 1 = it would block */
	/* One input. */
	struct admin *admin;
	const uint8_t *at, *end;
	struct slot slots[SLOTS];
	int steps, last;
	unsigned drains;
	bool posted;
} fuzz;

/* --- the kernel, as it may be --- */

int clock_gettime(clockid_t id, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, id, now);

	if (!result && id == CLOCK_MONOTONIC) {
		now->tv_sec += fuzz.ahead_ms / 1000;
		now->tv_nsec += fuzz.ahead_ms % 1000 * 1000000;
		now->tv_sec += now->tv_nsec / 1000000000;
		now->tv_nsec %= 1000000000;
	}
	return result;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct iovec some;
	struct msghdr part = {.msg_iov = &some, .msg_iovlen = 1};
	size_t most = fuzz.write_most;

	fuzz.write_most = most == 1 ? 0 : most;
	if (most == 1) {
		errno = EAGAIN;
		return -1;
	}
	if (!most)
		return syscall(SYS_sendmsg, fd, message, flags);
	some = message->msg_iov[!message->msg_iov[0].iov_len && message->msg_iovlen > 1];
	some.iov_len = some.iov_len < most ? some.iov_len : most;
	return syscall(SYS_sendmsg, fd, &part, flags);
}

/* --- the input --- */

static uint8_t next_byte(void)
{
	return fuzz.at < fuzz.end ? *fuzz.at++ : 0;
}

static const char *one_of(const char *const *words, size_t count)
{
	return words[next_byte() % count];
}

#define ONE_OF(words) one_of(words, sizeof words / sizeof words[0])

/* --- what answers must be --- */

static void answer_is_whole(const struct slot *slot, bool reset)
{
	const char *body = memmem(slot->got, slot->length, "\r\n\r\n", 4), *field;
	size_t length, promised;

	if (!slot->length)
		return;
	HOLDS(slot->length < 9 || memcmp(slot->got, "HTTP/1.1 ", 9) == 0);
	if (slot->length >= 12)
		HOLDS(slot->got[9] >= '2' && slot->got[9] <= '5' && slot->got[10] >= '0' && slot->got[10] <= '9');
	if (!slot->raw && slot->evil && slot->length >= 12)
		HOLDS(slot->got[9] == '4' || memcmp(slot->got + 9, "503", 3) == 0);
	HOLDS(!reset || slot->late);
	if (!body) {
		HOLDS(slot->late);
		return;
	}
	body += 4;
	length = slot->length - (size_t)(body - slot->got);
	field = memmem(slot->got, (size_t)(body - slot->got), "\r\ncontent-length: ", 18);
	HOLDS(field);
	promised = strtoul(field + 18, NULL, 10);
	HOLDS(length <= promised);
	HOLDS(length == promised || slot->late || (slot->head && !length) || slot->length == KEPT);
}

static void take(struct slot *slot, size_t most)
{
	ssize_t got;

	if (slot->fd < 0)
		return;
	if (most > KEPT - slot->length)
		most = KEPT - slot->length;
	got = most ? recv(slot->fd, slot->got + slot->length, most, MSG_DONTWAIT) : 0;
	if (got > 0) {
		slot->length += (size_t)got;
	} else if (!got || (errno != EAGAIN && errno != EINTR)) {
		answer_is_whole(slot, got < 0);
		close(slot->fd);
		slot->fd = -1;
	}
}

/* --- operations --- */

static void end(struct slot *slot)
{
	struct linger now = {.l_onoff = 1};

	if (slot->fd < 0)
		return;
	setsockopt(slot->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(slot->fd);
	slot->fd = -1;
}

static void begin(struct slot *slot)
{
	struct sockaddr_storage to;
	socklen_t length = addr_to_sockaddr(&fuzz.address, &to);

	end(slot);
	*slot = (struct slot){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .got = slot->got};
	HOLDS(slot->fd >= 0);
	if (next_byte() & 1)
		setsockopt(slot->fd, SOL_SOCKET, SO_RCVBUF, &(int){2048}, sizeof(int));
	if (connect(slot->fd, (struct sockaddr *)&to, length))
		end(slot);
}

static void put(struct slot *slot, const void *bytes, size_t length)
{
	if (slot->fd < 0)
		return;
	slot->post |= memmem(bytes, length, "P", 1) != NULL; /* it may come in pieces */
	slot->head |= memmem(bytes, length, "H", 1) != NULL;
	fuzz.posted |= slot->post;
	(void)send(slot->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void put_raw(struct slot *slot)
{
	size_t length = next_byte();

	if (length > (size_t)(fuzz.end - fuzz.at))
		length = (size_t)(fuzz.end - fuzz.at);
	slot->raw = true;
	put(slot, fuzz.at, length);
	fuzz.at += length;
}

static void put_request(struct slot *slot)
{
	static const char *const methods[] = {"GET", "GET", "POST", "HEAD", "DELETE"};
	static const char *const paths[] = {"/", "/live", "/ready", "/version", "/metrics", "/config", "/connections", "/connections.js",
	                                    "/half-closed", "/drain", "/shutdown", "/log-level", "/connections/close", "/nowhere",
	                                    "/connections.css"};
	static const char *const queries[] = {"", "?", "?limit=10&sort=age", "?format=html&refresh=0", "?id=1", "?level=debug", "?level=off",
	                                      "?service=a/b:80", "?service=%3Cb%3E/c", "?client=%5B::1%5D:80&stage=idle", "?a=1&a=2", "?sort",
	                                      "?direction=inbound"};
	static const char *const evil_hosts[] = {"evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1].evil.example", "",
	                                         "localhost.evil", "[", "]"};
	static const char *const hosts[] = {"localhost", "127.0.0.1:4191", "[::1]", "pod-0", "web.shop.svc"};
	static const char *const fields[] = {"", "Accept: text/html\r\n", "Accept: application/openmetrics-text\r\n", "Origin: null\r\n",
	                                     "Content-Length: 11\r\n", "Content-Length: 4097\r\n", "Transfer-Encoding: chunked\r\n",
	                                     "Connection: close\r\n"};
	const char *method = ONE_OF(methods), *path = ONE_OF(paths), *query = ONE_OF(queries), *host, *field;
	bool evil = next_byte() & 1;
	TEXT_ON_STACK(request, 1024);

	host = evil ? ONE_OF(evil_hosts) : ONE_OF(hosts);
	field = ONE_OF(fields);
	text_printf(&request, "%s %s%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, path, query, host, field);
	if (strstr(field, ": 11"))
		text_string(&request, "level=debug");
	slot->evil = slot->requests++ ? slot->evil : evil; /* only the first is answered */
	slot->post |= strcmp(method, "POST") == 0;
	put(slot, request_bytes, request.length);
}

static void later(int64_t milliseconds)
{
	fuzz.ahead_ms += milliseconds;
	for (int i = 0; i < SLOTS; i++)
		fuzz.slots[i].late = true;
}

static void step(void)
{
	uint8_t operation = next_byte();
	struct slot *slot = &fuzz.slots[operation >> 4 & (SLOTS - 1)];

	switch (operation & 15) {
	case 0:
		begin(slot);
		break;
	case 1:
		put_raw(slot);
		break;
	case 2:
	case 3:
		if (slot->fd < 0)
			begin(slot);
		put_request(slot);
		break;
	case 4:
		if (slot->fd >= 0)
			shutdown(slot->fd, SHUT_WR);
		break;
	case 5:
		end(slot);
		break;
	case 6:
		take(slot, (size_t)next_byte() + 1);
		break;
	case 7:
		take(slot, KEPT);
		break;
	case 8:
		later(next_byte() * 50);
		break;
	case 9:
		walk_step(fuzz.worker);
		break;
	case 10:
		fuzz.write_most = next_byte();
		break;
	default: /* a round */
		break;
	}
}

/* One operation a round; behind the last, the clients take what there is, then they go. */
static void idle(void *owner)
{
	if (fuzz.at < fuzz.end && fuzz.steps++ < STEPS_MOST) {
		step();
	} else if (fuzz.last++ < LAST_ROUNDS) {
		fuzz.write_most = 0;
		walk_step(fuzz.worker);
		for (int i = 0; i < SLOTS; i++)
			take(&fuzz.slots[i], KEPT);
		if (fuzz.last == LAST_ROUNDS / 2)
			for (int i = 0; i < SLOTS; i++)
				end(&fuzz.slots[i]);
		if (fuzz.last > LAST_ROUNDS / 2)
			later(3000);
	} else {
		loop_stop(fuzz.loop);
	}
	admin_idle(fuzz.admin);
	(void)log_flush(fuzz.log);
	(void)log_flush(fuzz.worker->log);
	loop_wake(fuzz.loop);
}

static void drain(void *owner, const char *who)
{
	HOLDS(fuzz.posted);
	fuzz.drains++;
	atomic_store(&fuzz.proxy.drain, DRAIN_STARTED);
}

static void publish(void *owner, struct policy *policy)
{
}

/* --- the process --- */

static void choose_port(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof any;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	HOLDS(fd >= 0 && !bind(fd, (struct sockaddr *)&any, sizeof any) && !getsockname(fd, (struct sockaddr *)&any, &length));
	HOLDS(!addr_from_sockaddr((struct sockaddr *)&any, &fuzz.address));
	close(fd);
}

static void print_settings(void *owner, struct json *json)
{
	settings_print_changed(&fuzz.settings, json);
}

static void prepare(void)
{
	static char program[] = "lapse-proxy", option[] = "--admin-host", names[] = "web.shop.svc,web.shop";
	static char *words[] = {program, option, names, NULL}, *environment[] = {NULL};
	struct reload_settings reload;
	TEXT_ON_STACK(error, 256);
	int command, log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	HOLDS(!settings_parse(3, words, environment, &fuzz.settings, &command, &error));
	fuzz.settings.worker.inbound_port = fuzz.settings.worker.outbound_port = 0;
	HOLDS(!log_new(&fuzz.log, log_fd, LOG_TEXT, LOG_INFO, 4096));
	HOLDS(!loop_new(&fuzz.loop, idle, NULL));
	reload = (struct reload_settings){.policy = &fuzz.settings.policy, .paths = settings_paths(&fuzz.settings)};
	fuzz.proxy = (struct proxy){.settings = &fuzz.settings.worker, .upstream = &fuzz.settings.upstream, .http1_proto = &proto_http1, .http2_proto = &proto_http2, .walk = walk_step,
	                            .guard.dials = dials_new(), .main_loop = fuzz.loop,
	                            .workers = &fuzz.worker, .worker_count = 1, .max_connections = 100};
	HOLDS(!reload_new(&fuzz.reload, &reload, fuzz.loop, fuzz.log, publish, NULL));
	fuzz.proxy.policy = reload_policy(fuzz.reload);
	HOLDS(!worker_new(&fuzz.worker, &fuzz.proxy, log_fd));
	listener_close(&fuzz.worker->inbound);
	listener_close(&fuzz.worker->outbound);
	for (int i = 0; i < SLOTS; i++)
		fuzz.slots[i] = (struct slot){.fd = -1, .got = malloc(KEPT)};
	choose_port();
}

/* Sockets that are open; the fuzzer has descriptors of its own, which are none. */
static int sockets(void)
{
	int count = 0;

	for (int fd = 0; fd < 128; fd++)
		count += !getsockopt(fd, SOL_SOCKET, SO_TYPE, &(int){0}, &(socklen_t){sizeof(int)});
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct admin_context context = {
	    .log = fuzz.log, .proxy = &fuzz.proxy, .reload = fuzz.reload, .drain = drain, .print_settings = print_settings, .loop = fuzz.loop,
	    .names = {"pod-0", "cluster.local", &fuzz.settings.admin_hosts},
	};
	uint8_t *copy;
	int before, result;

	if (!fuzz.loop) {
		prepare();
		return LLVMFuzzerTestOneInput(data, size);
	}
	copy = exact_copy(data, size);
	before = sockets();
	fuzz.at = copy;
	fuzz.end = copy + size;
	fuzz.steps = fuzz.last = 0;
	fuzz.drains = 0;
	fuzz.posted = false;
	atomic_store(&fuzz.proxy.drain, DRAIN_NONE);
	while ((result = admin_new(&fuzz.admin, &fuzz.address, &context)) == -EADDRINUSE)
		choose_port();
	HOLDS(!result);
	loop_run(fuzz.loop);
	HOLDS(sockets() == before + 1); /* the listener's: every client has gone */
	HOLDS(fuzz.drains <= 1);
	admin_free(fuzz.admin);
	HOLDS(sockets() == before);
	free(copy);
	return 0;
}
