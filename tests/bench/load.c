/* load ADDRESS PORT [--connections N] [--fresh] [--seconds S] [--warm-up S] [--watch PID]…: a closed loop. Each of N kept
 * connections has one request under way at a time; with --fresh, each request has a connection of its own. After the warm-up it
 * measures for S seconds and prints one line of JSON: requests, latencies, and the CPU time that it and the watched processes used.
 *
 * load … --stream up|down: one connection of bytes that are no protocol, as fast as they go, measured likewise.
 *
 * load ADDRESS PORT --connections N --hold: opens N connections and prints {"held": N}; for every byte of its standard input it
 * makes one request on each and prints the line again; ends with its standard input.
 *
 * A request whose answer is wrong or a connection that ends is an error: the run ends, for a figure would mean nothing. */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <getopt.h>
#include <strings.h>

enum {
	BATCH = 256,
	READ_MOST = 65536,
	WATCHED_MOST = 8,
	/* Latencies: this many classes for every doubling, so within 1.6 %. */
	CLASSES = 64,
	DOUBLINGS = 40,
};

static const char request[] = "GET / HTTP/1.1\r\nHost: app\r\nUser-Agent: lapse-bench\r\nAccept: */*\r\n\r\n";

struct connection {
	int fd;
	int64_t asked; /* when the request under way was sent */
	size_t missing; /* of the answer, once its head is read */
	size_t held;    /* bytes of an incomplete head */
	char head[2048];
};

struct load {
	struct sockaddr_in to;
	int connections;
	double seconds, warm_up;
	bool hold, fresh;
	const char *stream; /* up, down or NULL */
	pid_t watched[WATCHED_MOST];
	int watched_count;

	int epoll_fd;
	bool measuring;
	uint64_t requests, bytes, slow; /* slow: took longer than 1 ms */
	int64_t latency_sum, latency_most;
	uint64_t histogram[DOUBLINGS * CLASSES];
	/* The answer seen last: the next is most likely the same. */
	size_t head_length, answer_length;
	char scratch[READ_MOST];
};

/* --- latencies --- */

static size_t class_of(int64_t ns)
{
	uint64_t value = ns < CLASSES ? CLASSES : (uint64_t)ns;
	unsigned doubling = 63u - (unsigned)__builtin_clzll(value) - 6u; /* 2^6 = CLASSES */
	size_t class = doubling * CLASSES + (value >> doubling) - CLASSES;

	return class < DOUBLINGS * CLASSES ? class : DOUBLINGS * CLASSES - 1;
}

/* The middle of a class, in microseconds. */
static double class_us(size_t class)
{
	return ((double)(class % CLASSES) + CLASSES + 0.5) * (double)(UINT64_C(1) << class / CLASSES) / 1000;
}

static double percentile_us(const struct load *load, double share)
{
	uint64_t seen = 0, wanted = (uint64_t)((double)load->requests * share);

	for (size_t class = 0; class < DOUBLINGS * CLASSES; class ++) {
		seen += load->histogram[class];
		if (seen > wanted)
			return class_us(class);
	}
	return 0;
}

static void count_answer(struct load *load, int64_t latency)
{
	if (!load->measuring)
		return;
	load->requests++;
	load->slow += latency > 1000000;
	load->latency_sum += latency;
	if (latency > load->latency_most)
		load->latency_most = latency;
	load->histogram[class_of(latency)]++;
}

/* --- one request after the other --- */

static void ask(struct connection *connection)
{
	connection->asked = now_ns();
	NEED(send(connection->fd, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1);
}

/* The length of the whole answer whose head is complete in bytes; 0: more is needed. */
static size_t answer_length(struct load *load, const char *bytes, size_t length)
{
	static const char name[] = "\ncontent-length:";
	const char *end, *at;

	if (load->head_length && length >= load->head_length && !memcmp(bytes + load->head_length - 4, "\r\n\r\n", 4) &&
	    length == load->answer_length)
		return load->answer_length;
	end = memmem(bytes, length, "\r\n\r\n", 4);
	if (!end)
		return 0;
	NEED(length >= 12 && !memcmp(bytes, "HTTP/1.1 200", 12));
	for (at = bytes; at < end; at++) {
		if (!strncasecmp(at, name, sizeof name - 1)) {
			load->head_length = (size_t)(end - bytes) + 4;
			load->answer_length = load->head_length + strtoul(at + sizeof name - 1, NULL, 10);
			return load->answer_length;
		}
	}
	NEED(!"an answer without Content-Length");
	return 0;
}

/* True when the answer is complete. */
static bool take(struct load *load, struct connection *connection)
{
	ssize_t got = recv(connection->fd, load->scratch, READ_MOST, 0);
	const char *bytes = load->scratch;
	size_t length = (size_t)got, whole;

	if (got < 0 && errno == EAGAIN)
		return false;
	NEED(got > 0);
	load->bytes += load->measuring ? length : 0;
	if (!connection->missing) {
		if (connection->held) {
			NEED(connection->held + length <= sizeof connection->head);
			memcpy(connection->head + connection->held, bytes, length);
			bytes = connection->head;
			length += connection->held;
		}
		whole = answer_length(load, bytes, length);
		if (!whole) {
			NEED(length <= sizeof connection->head);
			memmove(connection->head, bytes, length);
			connection->held = length;
			return false;
		}
		connection->held = 0;
		connection->missing = whole;
	}
	NEED(length <= connection->missing);
	connection->missing -= length;
	return !connection->missing;
}

static int dial(const struct load *load)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	NEED(fd >= 0 && connect(fd, (const struct sockaddr *)&load->to, sizeof load->to) == 0);
	no_delay(fd);
	return fd;
}

/* Dials, and asks for the first time. */
static void begin(const struct load *load, struct connection *connection)
{
	connection->asked = now_ns();
	connection->fd = dial(load);
	NEED(fcntl(connection->fd, F_SETFL, O_NONBLOCK) == 0);
	watch(load->epoll_fd, EPOLL_CTL_ADD, connection->fd, EPOLLIN, connection);
	NEED(send(connection->fd, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1);
}

static void run_until(struct load *load, int64_t end)
{
	struct epoll_event events[BATCH];

	while (now_ns() < end) {
		int count = epoll_wait(load->epoll_fd, events, BATCH, 100);

		for (int i = 0; i < count; i++) {
			struct connection *connection = events[i].data.ptr;

			if (!take(load, connection))
				continue;
			count_answer(load, now_ns() - connection->asked);
			if (load->fresh) {
				close(connection->fd);
				begin(load, connection);
			} else {
				ask(connection);
			}
		}
	}
}

/* --- the ways to run --- */

static int64_t process_cpu_ns(pid_t pid)
{
	clockid_t clock;

	errno = clock_getcpuclockid(pid, &clock);
	NEED(!errno);
	return clock_ns(clock);
}

struct span {
	int64_t start, own, watched[WATCHED_MOST];
};

static struct span measure(const struct load *load)
{
	struct span now = {.start = now_ns(), .own = clock_ns(CLOCK_PROCESS_CPUTIME_ID)};

	for (int i = 0; i < load->watched_count; i++)
		now.watched[i] = process_cpu_ns(load->watched[i]);
	return now;
}

static void print_since(const struct load *load, const struct span *start)
{
	struct span now = measure(load);

	NEED(load->bytes);
	printf("{\"seconds\": %.6f, \"bytes\": %llu, \"own_cpu_s\": %.6f, ", (double)(now.start - start->start) / 1e9,
	       (unsigned long long)load->bytes, (double)(now.own - start->own) / 1e9);
	if (load->requests) {
		printf("\"requests\": %llu, \"slow\": %llu, \"p50_us\": %.3f, \"p99_us\": %.3f, ", (unsigned long long)load->requests,
		       (unsigned long long)load->slow, percentile_us(load, 0.5), percentile_us(load, 0.99));
		printf("\"mean_us\": %.3f, \"most_us\": %.3f, ", (double)load->latency_sum / (double)load->requests / 1e3,
		       (double)load->latency_most / 1e3);
	}
	printf("\"watched_cpu_s\": [");
	for (int i = 0; i < load->watched_count; i++)
		printf("%s%.6f", i ? ", " : "", (double)(now.watched[i] - start->watched[i]) / 1e9);
	printf("]}\n");
}

static void closed_loop(struct load *load)
{
	struct span start;

	for (int i = 0; i < load->connections; i++) {
		struct connection *connection = calloc(1, sizeof *connection);

		NEED(connection);
		begin(load, connection);
	}
	run_until(load, now_ns() + (int64_t)(load->warm_up * 1e9));
	load->measuring = true;
	start = measure(load);
	run_until(load, start.start + (int64_t)(load->seconds * 1e9));
	NEED(load->requests);
	print_since(load, &start);
}

static void stream(struct load *load)
{
	int fd = dial(load);
	bool up = !strcmp(load->stream, "up");
	int64_t begin_at = now_ns() + (int64_t)(load->warm_up * 1e9), now;
	struct span start = {0};

	NEED(up || !strcmp(load->stream, "down"));
	NEED(send(fd, up ? OPAQUE_UP : OPAQUE_DOWN, 1, MSG_NOSIGNAL) == 1);
	do {
		ssize_t moved = up ? send(fd, load->scratch, READ_MOST, MSG_NOSIGNAL) : recv(fd, load->scratch, READ_MOST, 0);

		NEED(moved > 0);
		now = now_ns();
		load->bytes += load->measuring ? (uint64_t)moved : 0;
		if (!load->measuring && now >= begin_at) {
			load->measuring = true;
			start = measure(load);
		}
	} while (!load->measuring || now < start.start + (int64_t)(load->seconds * 1e9));
	print_since(load, &start);
}

static void hold(struct load *load)
{
	struct connection *connections = calloc((size_t)load->connections, sizeof *connections);
	char byte;

	NEED(connections);
	for (int i = 0; i < load->connections; i++)
		connections[i].fd = dial(load);
	do {
		printf("{\"held\": %d}\n", load->connections);
		fflush(stdout);
		if (read(0, &byte, 1) <= 0)
			return;
		for (int i = 0; i < load->connections; i++) {
			ask(&connections[i]);
			while (!take(load, &connections[i]))
				;
		}
	} while (true);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"connections", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 's'},
		{"warm-up", required_argument, NULL, 'w'},     {"watch", required_argument, NULL, 'p'},
		{"hold", no_argument, NULL, 'h'},              {"fresh", no_argument, NULL, 'f'},
		{"stream", required_argument, NULL, 'o'},      {0},
	};
	struct load *load = calloc(1, sizeof *load);
	int option;

	NEED(load);
	load->connections = 1;
	load->seconds = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			load->connections = atoi(optarg);
			break;
		case 's':
			load->seconds = strtod(optarg, NULL);
			break;
		case 'w':
			load->warm_up = strtod(optarg, NULL);
			break;
		case 'p':
			NEED(load->watched_count < WATCHED_MOST);
			load->watched[load->watched_count++] = atoi(optarg);
			break;
		case 'h':
			load->hold = true;
			break;
		case 'f':
			load->fresh = true;
			break;
		case 'o':
			load->stream = optarg;
			break;
		default:
			return 64;
		}
	}
	NEED(argc - optind == 2);
	raise_file_limit();
	load->to = ipv4(argv[optind], atoi(argv[optind + 1]));
	load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	NEED(load->epoll_fd >= 0);
	if (load->hold)
		hold(load);
	else if (load->stream)
		stream(load);
	else
		closed_loop(load);
	return 0;
}
