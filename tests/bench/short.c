/* short ADDRESS PORT RATE SECONDS opaque|http: RATE connections a second, each with one question and its answer, closed by the client,
 * which is what leaves the port of a proxy's own connection in TIME_WAIT. Paced, not a closed loop: what is late is made up for. Prints
 * one line of JSON.
 *
 * short serve PORT: answers both kinds. */
#include "tests/bench/bench.h"

enum {
	OPEN_MOST = 4000, /* at a time */
	FILES = 65536,
	BATCH = 256,
};

static const char question[] = "GET / HTTP/1.1\r\nHost: app\r\n\r\n", opaque[] = "\1short\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static int64_t begun[FILES]; /* by descriptor; 0: not open */

static void serve(int port)
{
	struct sockaddr_in at = ipv4("0.0.0.0", port);
	struct epoll_event event = {.events = EPOLLIN}, events[BATCH];
	int one = 1, epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	NEED(!setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) && !bind(listener, (struct sockaddr *)&at, sizeof at));
	event.data.fd = listener;
	NEED(!listen(listener, 4096) && !epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event));
	for (;;) {
		int count = epoll_wait(epoll, events, BATCH, -1);

		for (int i = 0; i < count; i++) {
			char bytes[4096];
			int fd = events[i].data.fd;
			ssize_t got;

			if (fd == listener) {
				while ((event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					NEED(!epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event));
				continue;
			}
			got = recv(fd, bytes, sizeof bytes, 0);
			if (got <= 0)
				close(fd);
			else if (bytes[0] == opaque[0])
				(void)!send(fd, bytes, (size_t)got, MSG_NOSIGNAL);
			else
				(void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
		}
	}
}

struct figures {
	uint64_t started, answered, refused, wrong, no_port;
	int64_t most_open, open, slowest;
};

static void start(int epoll, const struct sockaddr_in *to, struct figures *figures)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};

	NEED(fd >= 0 && fd < FILES);
	if (connect(fd, (const struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS) {
		figures->no_port += errno == EADDRNOTAVAIL; /* of this client: a figure that means nothing */
		figures->refused += errno != EADDRNOTAVAIL;
		close(fd);
		return;
	}
	NEED(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	begun[fd] = now_ns();
	figures->started++;
	if (++figures->open > figures->most_open)
		figures->most_open = figures->open;
}

static void end(int fd, struct figures *figures)
{
	int64_t took = now_ns() - begun[fd];

	if (took > figures->slowest)
		figures->slowest = took;
	begun[fd] = 0;
	figures->open--;
	close(fd);
}

/* The answer of this size comes in one piece. */
static void event_of(int epoll, struct epoll_event *event, bool http, struct figures *figures)
{
	const char *said = http ? question : opaque, *wanted = http ? answer : opaque;
	size_t length = http ? sizeof question - 1 : sizeof opaque - 1, size = http ? sizeof answer - 1 : sizeof opaque - 1;
	char bytes[4096];
	ssize_t got;

	if (event->events & EPOLLOUT) {
		event->events = EPOLLIN;
		if (send(event->data.fd, said, length, MSG_NOSIGNAL) == (ssize_t)length) {
			NEED(!epoll_ctl(epoll, EPOLL_CTL_MOD, event->data.fd, event));
			return;
		}
		figures->refused++;
	} else {
		got = recv(event->data.fd, bytes, sizeof bytes, 0);
		if (got < 0 && errno == EAGAIN)
			return;
		if (got == (ssize_t)size && memcmp(bytes, wanted, size) == 0)
			figures->answered++;
		else if (got <= 0)
			figures->refused++;
		else
			figures->wrong++;
	}
	end(event->data.fd, figures);
}

int main(int count, char **words)
{
	struct epoll_event events[BATCH];
	struct figures figures = {0};
	int epoll = epoll_create1(0);

	raise_file_limit();
	if (count == 3 && strcmp(words[1], "serve") == 0)
		serve(atoi(words[2]));
	NEED(count == 6);
	const struct sockaddr_in to = ipv4(words[1], atoi(words[2]));
	const double rate = atof(words[3]), seconds = atof(words[4]);
	const int64_t from = now_ns(), until = from + (int64_t)(seconds * 1e9);
	int64_t now;

	while ((now = now_ns()) < until + 5000000000 && (now < until || figures.open)) {
		double due = rate * (double)((now < until ? now : until) - from) / 1e9;

		while ((double)(figures.started + figures.refused + figures.no_port) < due && figures.open < OPEN_MOST && now < until)
			start(epoll, &to, &figures);
		int ready = epoll_wait(epoll, events, BATCH, 1);

		for (int i = 0; i < ready; i++)
			event_of(epoll, &events[i], strcmp(words[5], "http") == 0, &figures);
	}
	printf("{\"kind\": \"%s\", \"seconds\": %.0f, \"wanted\": %.0f, \"started\": %llu, \"answered\": %llu, \"refused\": %llu, "
	       "\"wrong\": %llu, \"client_without_port\": %llu, \"unfinished\": %lld, \"most_open\": %lld, \"slowest_ms\": %.0f}\n",
	       words[5], seconds, rate * seconds, (unsigned long long)figures.started, (unsigned long long)figures.answered,
	       (unsigned long long)figures.refused, (unsigned long long)figures.wrong, (unsigned long long)figures.no_port,
	       (long long)figures.open, (long long)figures.most_open, (double)figures.slowest / 1e6);
	return 0;
}
