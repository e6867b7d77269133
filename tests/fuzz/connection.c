/* Whole connections over real sockets of the loopback device, with a clock that the input moves: clients and servers that send, read,
 * finish and reset in any order, dials that fail or hang, policies that change, operators that close, the proxy's own end. One worker,
 * driven from within its wait for events. The input is a row of operations, a byte each, with their arguments behind them.
 *
 * Whatever comes: nothing is left behind, no round of the loop is in vain, each connection ends with one reason, which is no fault of the
 * proxy's own; and where no rule applies the bytes each side gets are those the other sent, from the first on, all of them after `done`. */
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/local_ports.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/config/config.h"
#include "proxy/connection/admission.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_events.h"
#include "proxy/connection/place.h"
#include "proxy/connection/proto_detect.h"
#include "proxy/connection/worker.h"
#include "proxy/connection/worker_thread.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/proto_http1.h"
#include "proxy/http2/proto_http2.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/settings/settings.h"
#include "tests/fuzz/connection_words.h"
#include "tests/fuzz/connection_world.h"

/* --- operations --- */

static uint8_t next_byte(void)
{
	return fuzz.at < fuzz.end ? *fuzz.at++ : 0;
}

static void open_client(int number)
{
	struct client *client = &fuzz.clients[number];
	uint8_t host = next_byte();
	struct origin origin = {.direction = fuzz.flags & INBOUND ? DIRECTION_INBOUND : DIRECTION_OUTBOUND,
	                        .destination = {.bytes = {10, 9, 0, (uint8_t)(1 + host % 5)}, .port = 8080, .family = AF_INET}};
	struct sockaddr_in own;
	socklen_t size = sizeof own;
	struct conn *conn;
	int fd, accepted;

	if (client->open || fuzz.worker->drain >= DRAIN_FORCED)
		return;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	HOLDS(fd >= 0);
	sock_set_nodelay(fd);
	if (host & 128)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
	HOLDS(!connect(fd, (struct sockaddr *)&fuzz.entrance_address, sizeof fuzz.entrance_address));
	HOLDS(!getsockname(fd, (struct sockaddr *)&own, &size) && !addr_from_sockaddr((struct sockaddr *)&own, &origin.client));
	accepted = accept4(fuzz.entrance, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	HOLDS(accepted >= 0);
	end_open(&client->end, fd);
	client->open = true;
	client->port = origin.client.port;
	client->altered = fuzz.flags & SHARING || fuzz.policy >= 2 || fuzz.worker->drain ||
	                  fuzz.worker->terms.policy == fuzz.policies[2] || fuzz.worker->terms.policy == fuzz.policies[3];
	/* As listener.c does it. */
	fuzz.proxy.connections++;
	conn = conn_new(fuzz.worker, accepted, &origin);
	HOLDS(conn);
	client->id = conn->id;
	HOLDS(admission_take(conn));
	proto_detect_start(conn);
}

static void put_raw(struct end *end)
{
	size_t length = next_byte();

	if (length > (size_t)(fuzz.end - fuzz.at))
		length = (size_t)(fuzz.end - fuzz.at);
	if (end)
		end_send(end, fuzz.at, length);
	fuzz.at += length;
}

/* '@' in them becomes the client's letter. Several times at once: pipelined. */
static void put_words(struct end *end, int client, const struct words *words, size_t count)
{
	static const uint8_t bounds[] = {2, 8, 9, 63, 64, 65, 66, 100}; /* of empty lines, of a turn, and beyond */
	static char bytes[64 << 10];
	const struct words *chosen = &words[next_byte() % count];
	const char *word = chosen->bytes;
	uint8_t many = next_byte();
	size_t length = chosen->length, times = many & 128 ? bounds[many % 8] : 1 + many % 100, all = 0;

	for (; times && all + length <= sizeof bytes; times--, all += length)
		for (size_t i = 0; i < length; i++)
			bytes[all + i] = (char)(word[i] == '@' ? 'a' + client : word[i]);
	if (end)
		end_send(end, bytes, all);
}

/* Many bytes, no two stretches of which are alike. */
static void put_much(struct end *end)
{
	static uint8_t bytes[1 << 20];
	size_t length = (size_t)next_byte() * 256;

	if (!bytes[0])
		for (size_t i = 0; i + 8 < sizeof bytes; i += 8)
			snprintf((char *)bytes + i, 9, "%07zx\n", i);
	if (end)
		end_send(end, bytes + fuzz.filled % (sizeof bytes / 2), length);
	fuzz.filled += (unsigned)length;
}

static void later(void)
{
	uint8_t much = next_byte();
	int64_t most = much < 64 ? much : much < 128 ? (much - 63) * INT64_C(1000) : fuzz.timeout < 0 ? 0 : fuzz.timeout;

	fuzz.now_us += most * 1000;
}

static void change_policy(unsigned number)
{
	fuzz.policy = number;
	if (!fuzz.policies[number])
		fuzz.policies[number] = policy_new(&fuzz.settings[number].policy, fuzz.config[number], NULL, NULL, NULL, NULL);
	HOLDS(fuzz.policies[number]);
	if (fuzz.worker)
		worker_set_policy(fuzz.worker, fuzz.policies[number]);
}

/* An operator, or the proxy's own end. */
static void end_by_proxy(int number)
{
	uint8_t how = next_byte() % 8;
	struct conn *conn = fuzz.worker->conns;

	if (how >= 4 && how - 3 > fuzz.proxy.drain && how - 3 <= DRAIN_FORCED) {
		fuzz.proxy.drain = how - 3;
		for (int i = 0; i < CLIENTS; i++)
			fuzz.clients[i].altered = true;
		return;
	}
	while (conn && conn->id != fuzz.clients[number].id)
		conn = conn->next;
	fuzz.clients[number].altered = true;
	if (conn && how < 4)
		(void)conn_close_admin(conn);
}

/* Whether the loop is to go on with what this brought about before the next one. */
static bool step(void)
{
	uint8_t operation = next_byte();
	int number = operation >> 4 & (CLIENTS - 1);
	struct end *client = fuzz.clients[number].open ? &fuzz.clients[number].end : NULL, *server = NULL;
	uint8_t kind = operation & 15;

	if (fuzz.trace)
		fprintf(stderr, "%lld us: %c %u%s\n", (long long)fuzz.now_us, 'a' + number, kind, operation & 64 ? " and" : "");
	if ((kind >= 6 && kind <= 10) || kind == 15)
		server = server_of(number);
	if (kind == 0)
		open_client(number);
	else if (kind == 1)
		put_raw(client);
	else if (kind == 2)
		put_words(client, number, connection_requests, CONNECTION_REQUESTS);
	else if (kind == 3 && client)
		end_finish(client);
	else if (kind == 4 && client)
		end_close(client);
	else if (kind == 5 && client)
		end_read(client, (size_t)next_byte() << 8);
	else if (kind == 6)
		put_raw(server);
	else if (kind == 7)
		put_words(server, number, connection_responses, CONNECTION_RESPONSES);
	else if (kind == 8 && server)
		end_finish(server);
	else if (kind == 9 && server)
		end_close(server);
	else if (kind == 10 && server)
		end_read(server, (size_t)next_byte() << 8);
	else if (kind == 11)
		later();
	else if (kind == 12)
		change_policy(next_byte() % POLICIES);
	else if (kind == 13)
		end_by_proxy(number);
	else if (kind == 14) {
		fuzz.dialling = next_byte() % DIALLINGS;
		fuzz.forgotten = fuzz.dialling == DIAL_ROUTES;
	} else if (kind == 15)
		put_much(operation & 128 ? client : server);
	return !(operation & 64);
}

/* Behind the last operation: everybody takes what there is, finishes, goes; then time passes until the last one has ended. */
static void wind_up(void)
{
	enum { READING = 12, FINISHING = 24 };

	fuzz.last++;
	HOLDS(fuzz.last < LAST_MOST);
	servers_accept();
	for (int i = 0; i < CLIENTS && fuzz.last <= FINISHING; i++)
		if (fuzz.clients[i].open)
			end_read(&fuzz.clients[i].end, SIZE_MAX);
	for (int i = 0; i < fuzz.dial_count && fuzz.last <= FINISHING; i++)
		end_read(&fuzz.dials[i].end, SIZE_MAX);
	for (int i = 0; i < CLIENTS && fuzz.last == READING; i++)
		if (fuzz.clients[i].open)
			end_finish(&fuzz.clients[i].end);
	for (int i = 0; i < fuzz.dial_count && fuzz.last >= READING; i++)
		if (fuzz.last <= FINISHING)
			end_finish(&fuzz.dials[i].end);
		else
			end_close(&fuzz.dials[i].end);
	if (fuzz.last <= FINISHING)
		return;
	for (int i = 0; i < CLIENTS; i++)
		if (fuzz.clients[i].open)
			end_close(&fuzz.clients[i].end);
	if (!fuzz.worker->conn_count) {
		loop_stop(fuzz.worker->loop);
	} else if (fuzz.last > FINISHING + 4) {
		HOLDS(fuzz.timeout >= 0); /* else nothing would ever end it */
		fuzz.now_us += fuzz.timeout * INT64_C(1000);
	}
}

/* The loop waits: the world moves on, as soon as there is nothing left to do about what was before. */
int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
	int ready;

	if (!fuzz.worker)
		return (int)syscall(SYS_epoll_pwait, fd, events, most, timeout, NULL, 0);
	fuzz.timeout = timeout;
	watch_legs();
	if (fuzz.quiet && timeout) {
		fuzz.rounds = fuzz.spins = 0;
		if (fuzz.at == fuzz.end || fuzz.steps > STEPS_MOST)
			wind_up();
		else
			while (fuzz.steps++ < STEPS_MOST && fuzz.at < fuzz.end && !step())
				;
	}
	ready = (int)syscall(SYS_epoll_pwait, fd, events, most, 0, NULL, 0);
	HOLDS(ready >= 0);
	fuzz.quiet = !ready;
	HOLDS(fuzz.rounds++ < ROUNDS_MOST);
	HOLDS(ready || timeout || fuzz.spins++ < SPINS_MOST);
	return ready;
}

/* --- what must hold --- */

/* Where the proxy begins to speak itself. */
static size_t own_answer(const struct bytes *got)
{
	const uint8_t *at = memmem(got->of, got->length, "\r\nlapse-reason: ", 16);

	while (at && at > got->of && memcmp(at, "HTTP/1.1 ", 9) != 0)
		at--;
	return at ? (size_t)(at - got->of) : got->length;
}

UNWATCHED static size_t common(const uint8_t *a, size_t a_length, const struct bytes *b)
{
	size_t most = a_length < b->length ? a_length : b->length, i = 0;

	while (i < most && a[i] == b->of[i])
		i++;
	return i;
}

/* What the client got: of each of its servers the first bytes, up to any. */
UNWATCHED static void client_got_what_was_sent(int number, size_t length)
{
	static bool reached[KEPT + 1], next[KEPT + 1];
	const struct bytes *got = &fuzz.clients[number].end.got;

	memset(reached, 0, length + 1);
	reached[0] = true;
	for (int i = 0; i < fuzz.dial_count && !reached[length]; i++) {
		const struct dial *dial = &fuzz.dials[i];

		if (dial->client != number || !dial->end.sent.length)
			continue;
		memcpy(next, reached, length + 1);
		for (size_t from = 0; from < length; from++)
			if (reached[from])
				memset(next + from, true, common(got->of + from, length - from, &dial->end.sent) + 1);
		memcpy(reached, next, length + 1);
	}
	HOLDS(reached[length]);
}

/* What each server got: a stretch of what the client sent, none before that of the server before; the only one's from the first byte. */
static void servers_got_what_was_sent(int number, bool answered)
{
	const struct bytes *sent = &fuzz.clients[number].end.sent;
	size_t from = 0;
	bool first = true;

	for (int i = 0; i < fuzz.dial_count; i++) {
		const struct bytes *got = &fuzz.dials[i].end.got;
		const uint8_t *found;

		if (fuzz.dials[i].client != number)
			continue;
		found = memmem(sent->of + from, sent->length - from, got->of, got->length);
		HOLDS(found);
		HOLDS(!first || answered || memcmp(sent->of, got->of, got->length) == 0);
		from = (size_t)(found - sent->of);
		first = false;
	}
}

static void all_has_arrived(int number)
{
	const struct client *client = &fuzz.clients[number];
	const struct end *server = NULL;
	int servers = 0;

	for (int i = 0; i < fuzz.dial_count; i++)
		if (fuzz.dials[i].client == number) {
			server = &fuzz.dials[i].end;
			servers++;
		}
	if (servers != 1 || server->spilt || client->end.spilt || client->end.cut || server->cut)
		return;
	HOLDS(server->got.length == client->end.sent.length);
	HOLDS(server->sent.length == client->end.got.length);
}

/* The one record of this client's end: its reason. */
UNWATCHED static const char *record_of(const char *log, uint16_t port)
{
	static char reason[64];
	char wanted[64];
	int records = 0;

	snprintf(wanted, sizeof wanted, " client=127.0.0.1:%u ", port);
	for (const char *line = log, *end; *line; line = end) {
		const char *at, *message;

		end = strchrnul(line, '\n');
		end += *end != 0;
		message = memmem(line, (size_t)(end - line), "msg=\"connection closed\" reason=", 30);
		if (!message || !memmem(line, (size_t)(end - line), wanted, strlen(wanted)))
			continue;
		at = message + 30;
		snprintf(reason, sizeof reason, "%.*s", (int)strcspn(at, " \n"), at);
		records++;
	}
	HOLDS(records == 1);
	return reason;
}

static void show(const char *whose, int number, const struct bytes *bytes)
{
	fprintf(stderr, "%s %d: ", whose, number);
	for (size_t i = 0; i < bytes->length && i < 600; i++)
		fprintf(stderr, bytes->of[i] < 0x20 || bytes->of[i] > 0x7e ? "\\x%02x" : "%c", bytes->of[i]);
	fprintf(stderr, "%s (%zu)\n", bytes->length > 600 ? "..." : "", bytes->length);
}

static void show_all(void)
{
	for (int i = 0; i < CLIENTS; i++)
		if (fuzz.clients[i].open) {
			show("client sent", i, &fuzz.clients[i].end.sent);
			show("client got", i, &fuzz.clients[i].end.got);
		}
	for (int i = 0; i < fuzz.dial_count; i++) {
		show("server sent to", fuzz.dials[i].client, &fuzz.dials[i].end.sent);
		show("server got of", fuzz.dials[i].client, &fuzz.dials[i].end.got);
	}
}

static char *read_log(void)
{
	off_t length = lseek(fuzz.log_fd, 0, SEEK_END);
	char *log = malloc((size_t)length + 1);

	HOLDS(log && pread(fuzz.log_fd, log, (size_t)length, 0) == length);
	log[length] = 0;
	if (fuzz.trace) {
		fputs(log, stderr);
		show_all();
	}
	return log;
}

static void check(void)
{
	struct metrics *metrics = fuzz.worker->metrics;
	char *log = read_log();

	HOLDS(!strstr(log, "reason=internal_error"));
	HOLDS(!strstr(log, "lines were dropped") && !strstr(log, "_s=-"));
	HOLDS(!fuzz.proxy.connections && !place_count(&fuzz.proxy));
	for (int direction = 0; direction < 2; direction++)
		HOLDS(!metrics_sum(&metrics, 1, METRIC_CONNECTIONS_ACTIVE, direction, 0, 0, 0) &&
		      !metrics_sum(&metrics, 1, METRIC_CONNECTIONS_HALF_CLOSED, direction, 0, 0, 0) &&
		      !metrics_sum(&metrics, 1, METRIC_UNREAD_ACTIVE, direction, 0, 0, 0));
	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &fuzz.clients[i];
		const char *reason;
		size_t until;

		if (!client->open)
			continue;
		reason = record_of(log, client->port);
		if (client->altered || memmem(client->end.sent.of, client->end.sent.length, "HTTP/1.0", 8))
			continue; /* 1.0 is told of no interim response (RFC 9110 §15.2) */
		until = own_answer(&client->end.got);
		client_got_what_was_sent(i, until);
		servers_got_what_was_sent(i, until < client->end.got.length);
		if (strcmp(reason, "done") == 0)
			all_has_arrived(i);
	}
	free(log);
}

/* --- the process --- */

static int open_server(struct sockaddr_in *address, int backlog)
{
	socklen_t size = sizeof *address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	HOLDS(fd >= 0 && !bind(fd, (struct sockaddr *)address, size) && !getsockname(fd, (struct sockaddr *)address, &size));
	sock_set_nodelay(fd);
	if (backlog >= 0)
		HOLDS(!listen(fd, backlog));
	return fd;
}

/* A network of our own where that is allowed: thousands of connections a second leave nothing behind for others. */
static void leave_network(void)
{
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (unshare(CLONE_NEWNET))
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	HOLDS(!ioctl(fd, SIOCSIFFLAGS, &up));
	close(fd);
	fd = open("/proc/sys/net/ipv4/tcp_max_tw_buckets", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		HOLDS(write(fd, "0", 1) <= 1);
		close(fd);
	}
}

static struct config *read_documents(const char *documents)
{
	char path[64];
	const char *file = path;
	const struct config_paths paths = {.files = &file, .count = 1, .namespace = "default"};
	struct config *config;
	int fd = memfd_create("documents", MFD_CLOEXEC);

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	HOLDS(fd >= 0 && write(fd, documents, strlen(documents)) == (ssize_t)strlen(documents));
	HOLDS(!config_load(&config, &paths, NULL));
	for (const struct diagnostic *each = config->diagnostics.first; each; each = each->next)
		fprintf(stderr, "connection: %s\n", each->text);
	HOLDS(!config->diagnostics.errors);
	close(fd);
	return config;
}

static void prepare(void)
{
	static char program[] = "lapse-proxy";
	static char *words[] = {program, NULL}, *environment[] = {NULL};
	static const int short_ms[TIMEOUT_COUNT] = {
	    [TIMEOUT_REQUEST] = 70, [TIMEOUT_BACKEND_REQUEST] = 50, [TIMEOUT_STREAM_IDLE] = 20, [TIMEOUT_REQUEST_HEADERS] = 10,
	    [TIMEOUT_IDLE_CONNECTION] = 15, [TIMEOUT_TCP_IDLE] = 25, [TIMEOUT_HALF_CLOSE] = 12, [TIMEOUT_CONNECT] = 8, [TIMEOUT_DETECT] = 30,
	    [TIMEOUT_SERVER_IDLE] = 9, [TIMEOUT_UNACKNOWLEDGED] = 40, [TIMEOUT_DRAIN_LEAST] = 5, [TIMEOUT_DRAIN] = 60};
	TEXT_ON_STACK(error, 256);
	int command;

	leave_network();
	fuzz.trace = getenv("CONNECTION_TRACE") != NULL;
	for (int i = 0; i < POLICIES; i++) {
		HOLDS(!settings_parse(1, words, environment, &fuzz.settings[i], &command, &error));
		fuzz.settings[i].worker.inbound_port = fuzz.settings[i].worker.outbound_port = 0;
		fuzz.settings[i].worker.log_level = LOG_DEBUG;
		fuzz.settings[i].worker.log_rate = 0;
		for (int timer = 0; timer < TIMEOUT_COUNT && i == 1; timer++)
			if (short_ms[timer])
				fuzz.settings[i].policy.timeouts.of[timer] = (struct timeout_value){short_ms[timer], "flag"};
		if (connection_documents[i])
			fuzz.config[i] = read_documents(connection_documents[i]);
	}
	fuzz.log_fd = memfd_create("log", MFD_CLOEXEC);
	HOLDS(fuzz.log_fd >= 0 && !loop_new(&fuzz.main_loop, NULL, NULL));
	for (int i = 0; i < SERVERS; i++)
		fuzz.listeners[i] = open_server(&fuzz.addresses[i], i == SERVER_REFUSES ? -1 : i == SERVER_HANGS ? 0 : DIALS);
	fuzz.entrance = open_server(&fuzz.entrance_address, CLIENTS);
	/* One whose queue is full answers no SYN. */
	for (int i = 0; i < 8; i++) {
		fuzz.filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fuzz.filler[i], (struct sockaddr *)&fuzz.addresses[SERVER_HANGS], sizeof fuzz.addresses[SERVER_HANGS]);
	}
}

static void begin(void)
{
	static struct port_range port = {8080, 8080};
	struct settings *settings = &fuzz.settings[0];
	struct worker *worker;

	fuzz.flags = next_byte();
	settings->upstream.pool_size = fuzz.flags & SHARING ? 2 : 0;
	settings->refuse_malformed_http = fuzz.flags & REFUSING;
	settings->exchange.access_log = fuzz.flags & ACCESS_LOG;
	settings->max_head_size = settings->max_target_size = fuzz.flags & SMALL ? 200 : 16384;
	settings->worker.opaque_ports = (struct ports){&port, fuzz.flags & OPAQUE_PORT ? 1 : 0};
	HOLDS(!ftruncate(fuzz.log_fd, 0) && !lseek(fuzz.log_fd, 0, SEEK_SET));
	fuzz.now_us = fuzz.timeout = fuzz.steps = fuzz.rounds = fuzz.spins = fuzz.last = fuzz.dial_count = 0;
	fuzz.filled = 0;
	fuzz.dialling = DIAL_AS_IT_IS;
	fuzz.forgotten = false;
	fuzz.quiet = true;
	change_policy(fuzz.flags >> 6);
	fuzz.http1 = (struct http1_settings){{(size_t)settings->max_head_size, 100, (size_t)settings->max_target_size, 4096},
	                                     settings->refuse_malformed_http};
	fuzz.proxy = (struct proxy){.settings = &settings->worker, .upstream = &settings->upstream, .exchange = &settings->exchange,
	                            .http1 = &fuzz.http1, .http1_proto = &proto_http1, .http2_proto = &proto_http2, .policy = fuzz.policies[fuzz.policy], .guard.dials = dials_new(),
	                            .max_connections = 1000, .half_closed_keepalive_s = 20, .workers = &fuzz.worker, .worker_count = 1,
	                            .main_loop = fuzz.main_loop};
	HOLDS(fuzz.proxy.guard.dials && !local_ports_new(&fuzz.proxy.local_ports) && !worker_new(&worker, &fuzz.proxy, fuzz.log_fd));
	worker->random = 1;
	fuzz.worker = worker;
	for (int i = 0; i < CLIENTS; i++) {
		fuzz.clients[i].open = false;
		fuzz.clients[i].id = 0;
		fuzz.clients[i].end.fd = -1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool prepared;
	struct worker *worker;
	uint8_t *copy;
	int before;

	if (!prepared)
		prepare();
	prepared = true;
	before = descriptors();
	copy = exact_copy(data, size);
	fuzz.at = copy;
	fuzz.end = copy + size;
	begin();
	loop_run(fuzz.worker->loop);
	(void)log_flush(fuzz.worker->log);
	check();
	worker = fuzz.worker;
	fuzz.worker = NULL;
	worker_free(worker);
	servers_accept();
	for (int i = 0; i < fuzz.dial_count; i++)
		end_close(&fuzz.dials[i].end);
	dials_free(fuzz.proxy.guard.dials);
	local_ports_free(fuzz.proxy.local_ports);
	for (int i = 0; i < POLICIES; i++) {
		policy_unref(fuzz.policies[i]);
		fuzz.policies[i] = NULL;
	}
	free(copy);
	HOLDS(descriptors() == before);
	return 0;
}
