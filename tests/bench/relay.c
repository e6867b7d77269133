/* relay PORT UID [splice]: the floor for any proxy in user space. Learns the original destination, connects to it, copies bytes
 * both ways with recv and send, or moves them with splice, and does nothing else: no timeouts, no records, no look at what it
 * carries. Once one side has finished the connection ends. */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/netfilter_ipv4.h>
#include <signal.h>

enum { BATCH = 256, READ_MOST = 65536 };

/* One socket of a pair. */
struct side {
	struct side *other;
	int fd; /* -1: closed earlier in this batch */
	bool connecting;
	uint32_t watched;
	char *waiting; /* what `fd` did not take yet, or NULL */
	size_t start, end;
	int pipe[2]; /* splice: how bytes get to `fd` */
	size_t piped;
	struct side *next_dead;
};

struct relay {
	int epoll_fd, listener;
	bool splices;
	struct side *dead; /* one side of each pair, freed after the batch */
	char scratch[READ_MOST];
};

static bool waits(const struct side *side)
{
	return side->waiting || side->piped;
}

/* Makes epoll agree with the pair's state. While something waits to be written, no more of it is read. */
static void settle(struct relay *relay, struct side *side)
{
	struct side *both[2] = {side, side->other};

	for (int i = 0; i < 2; i++) {
		struct side *one = both[i];
		uint32_t events = EPOLLERR; /* always watched for, so never nothing */

		if (one->connecting || waits(one))
			events |= EPOLLOUT;
		if (!one->connecting && !one->other->connecting && !waits(one->other))
			events |= EPOLLIN;
		if (events != one->watched)
			watch(relay->epoll_fd, one->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, one->fd, events, one);
		one->watched = events;
	}
}

static void close_side(const struct relay *relay, struct side *side)
{
	close(side->fd);
	side->fd = -1;
	if (relay->splices) {
		close(side->pipe[0]);
		close(side->pipe[1]);
	}
}

static void end_pair(struct relay *relay, struct side *side)
{
	if (side->fd < 0)
		return;
	close_side(relay, side);
	close_side(relay, side->other);
	side->next_dead = relay->dead;
	relay->dead = side;
}

static void sweep(struct relay *relay)
{
	while (relay->dead) {
		struct side *side = relay->dead;

		relay->dead = side->next_dead;
		free(side->waiting);
		free(side->other->waiting);
		free(side->other);
		free(side);
	}
}

/* A dialled socket for an accepted one, or -1. */
static int dial_original(int client)
{
	struct sockaddr_in to;
	socklen_t length = sizeof to;
	int fd;

	if (getsockopt(client, SOL_IP, SO_ORIGINAL_DST, &to, &length))
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	no_delay(fd);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static void accept_all(struct relay *relay)
{
	int client;

	while ((client = accept4(relay->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		int server = dial_original(client);
		struct side *sides[2];

		if (server < 0) {
			close(client);
			continue;
		}
		no_delay(client);
		sides[0] = calloc(1, sizeof *sides[0]);
		sides[1] = calloc(1, sizeof *sides[1]);
		NEED(sides[0] && sides[1]);
		*sides[0] = (struct side){.other = sides[1], .fd = client};
		*sides[1] = (struct side){.other = sides[0], .fd = server, .connecting = true};
		for (int i = 0; relay->splices && i < 2; i++)
			NEED(pipe2(sides[i]->pipe, O_NONBLOCK | O_CLOEXEC) == 0);
		settle(relay, sides[0]);
	}
}

/* Out of the pipe to the side. False: the pair is over. */
static bool drain_pipe(struct relay *relay, struct side *to)
{
	ssize_t put = splice(to->pipe[0], NULL, to->fd, NULL, to->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (put < 0 && errno != EAGAIN) {
		end_pair(relay, to);
		return false;
	}
	to->piped -= put < 0 ? 0 : (size_t)put;
	return true;
}

static void splice_readable(struct relay *relay, struct side *side)
{
	struct side *to = side->other;
	ssize_t got = splice(side->fd, NULL, to->pipe[1], NULL, READ_MOST, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (got <= 0) {
		if (!got || errno != EAGAIN)
			end_pair(relay, side);
		return;
	}
	to->piped = (size_t)got;
	if (drain_pipe(relay, to) && to->piped)
		settle(relay, to);
}

static void side_writable(struct relay *relay, struct side *side)
{
	ssize_t put;

	if (side->connecting) {
		side->connecting = false;
		settle(relay, side);
		return;
	}
	if (relay->splices) {
		if (drain_pipe(relay, side) && !side->piped)
			settle(relay, side);
		return;
	}
	put = send(side->fd, side->waiting + side->start, side->end - side->start, MSG_NOSIGNAL);
	if (put < 0 && errno != EAGAIN) {
		end_pair(relay, side);
		return;
	}
	side->start += put < 0 ? 0 : (size_t)put;
	if (side->start < side->end)
		return;
	free(side->waiting);
	side->waiting = NULL;
	settle(relay, side);
}

static void side_readable(struct relay *relay, struct side *side)
{
	struct side *to = side->other;
	ssize_t got = recv(side->fd, relay->scratch, READ_MOST, 0), put;

	if (got <= 0) {
		if (!got || errno != EAGAIN)
			end_pair(relay, side);
		return;
	}
	put = send(to->fd, relay->scratch, (size_t)got, MSG_NOSIGNAL);
	if (put == got)
		return;
	if (put < 0 && errno != EAGAIN) {
		end_pair(relay, side);
		return;
	}
	to->start = 0;
	to->end = (size_t)got - (put < 0 ? 0 : (size_t)put);
	to->waiting = malloc(to->end);
	NEED(to->waiting);
	memcpy(to->waiting, relay->scratch + got - to->end, to->end);
	settle(relay, to);
}

int main(int argc, char **argv)
{
	struct relay *relay = calloc(1, sizeof *relay);
	struct epoll_event events[BATCH];

	NEED(argc >= 3 && relay);
	relay->splices = argc > 3 && !strcmp(argv[3], "splice");
	raise_file_limit();
	signal(SIGPIPE, SIG_IGN); /* splice has no MSG_NOSIGNAL */
	relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	relay->listener = listen_at(atoi(argv[1]));
	NEED(relay->epoll_fd >= 0);
	watch(relay->epoll_fd, EPOLL_CTL_ADD, relay->listener, EPOLLIN, NULL);
	gid_t id = (gid_t)atoi(argv[2]);
	NEED(setgroups(0, NULL) == 0 && setresgid(id, id, id) == 0 && setresuid(id, id, id) == 0);
	for (;;) {
		int count = epoll_wait(relay->epoll_fd, events, BATCH, -1);

		for (int i = 0; i < count; i++) {
			struct side *side = events[i].data.ptr;

			if (!side)
				accept_all(relay);
			else if (side->fd >= 0 && events[i].events & (EPOLLERR | EPOLLHUP))
				end_pair(relay, side);
			else {
				if (side->fd >= 0 && events[i].events & EPOLLOUT)
					side_writable(relay, side);
				if (side->fd >= 0 && events[i].events & EPOLLIN)
					(relay->splices ? splice_readable : side_readable)(relay, side);
			}
		}
		sweep(relay);
	}
}
