#include "proxy/leg/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/loop.h"
#include "proxy/leg/leg.h"

enum {
	PIPE_BYTES = 256 * 1024,
	/* Taken into a pipe at once. Room that is made for a sender on this machine is filled in our time: two of loopback's 64 KiB
	 * packets at a time cost least, more make its work ours, and parts of a packet cost most. From the network more is better.
	 * docs/performance.md has the figures. */
	TAKE_LOCAL = 128 * 1024,
	TAKE_REMOTE = PIPE_BYTES,
	IDLE_PIPES = 16,
	PIPES_MOST = 128, /* two workers' stay within fs.pipe-user-pages-soft, and few of the open files */
	ROUNDS = 16, /* in one turn of a connection that alone has something to do */
};

struct pump_pipe {
	struct pump_pipe *next;
	int read_fd, write_fd;
	size_t bytes;
};

static struct pump_pipe *pump_pipe_get(struct pump *pump)
{
	struct pump_pipe *pipe = pump->pipes;
	int fds[2];

	if (pipe) {
		pump->pipes = pipe->next;
		pump->pipes_idle--;
		return pipe;
	}
	if (pump->pipes_open == PIPES_MOST)
		return NULL;
	pipe = calloc(1, sizeof *pipe);
	if (!pipe || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(pipe);
		return NULL;
	}
	(void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES); /* over a limit of the user it stays at its default */
	pipe->read_fd = fds[0];
	pipe->write_fd = fds[1];
	pump->pipes_open++;
	return pipe;
}

static void pump_pipe_close(struct pump *pump, struct pump_pipe *pipe)
{
	pump->pipes_open--;
	close(pipe->read_fd);
	close(pipe->write_fd);
	free(pipe);
}

/* An emptied pipe goes back to the pump; one with bytes in it cannot be used again. */
static void pump_pipe_put(struct pump *pump, struct pump_pipe *pipe)
{
	if (pipe->bytes || pump->pipes_idle >= IDLE_PIPES) {
		pump_pipe_close(pump, pipe);
		return;
	}
	pipe->next = pump->pipes;
	pump->pipes = pipe;
	pump->pipes_idle++;
}

size_t pump_waiting(const struct leg *leg)
{
	return leg->pipe ? leg->pipe->bytes : 0;
}

void pump_drop(struct pump *pump, struct leg *leg)
{
	if (leg->pipe)
		pump_pipe_put(pump, leg->pipe);
	leg->pipe = NULL;
}

void pump_free_pipes(struct pump *pump)
{
	while (pump->pipes) {
		struct pump_pipe *pipe = pump->pipes;

		pump->pipes = pipe->next;
		pump_pipe_close(pump, pipe);
	}
	pump->pipes_idle = 0;
}

/* Empties the leg's pipe into its socket as far as that goes. */
static int pump_flush_pipe(struct pump *pump, struct leg *leg)
{
	while (leg->pipe) {
		ssize_t put;

		if (!leg->pipe->bytes) {
			pump_drop(pump, leg);
			break;
		}
		put = splice(leg->pipe->read_fd, NULL, leg->source.fd, NULL, leg->pipe->bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			break;
		if (put <= 0) {
			int error = put ? -errno : -EPIPE;

			pump_drop(pump, leg);
			return leg_fail(leg, error);
		}
		leg->pipe->bytes -= (size_t)put;
		leg_count_sent(leg, (size_t)put, loop_now(pump->loop));
	}
	return 0;
}

int pump_flush(struct pump *pump, struct leg *leg)
{
	int result = leg_flush(leg, loop_now(pump->loop));

	if (result || buf_length(&leg->out) || !leg->pipe)
		return result;
	result = pump_flush_pipe(pump, leg);
	if (!result && leg->fin_wanted)
		leg_finish(leg);
	return result;
}

/* splice(2) stops before an urgent byte (RFC 9293, 3.8.5) and says that there is nothing, or the end; it waits for those who read.
 * errno stays. */
static bool pump_is_urgent(const struct leg *from)
{
	int waiting = 0, before = errno, result = ioctl(from->source.fd, FIONREAD, &waiting);

	errno = before;
	return !result && waiting;
}

/* One turn through a pipe. */
static enum pump_end pump_splice(struct pump *pump, struct leg *from, struct leg *to, uint64_t limit, uint64_t *moved)
{
	size_t take = from->local ? TAKE_LOCAL : TAKE_REMOTE, most = limit < take ? (size_t)limit : take;
	ssize_t got;

	do
		got = splice(from->source.fd, NULL, to->pipe->write_fd, NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	while (got < 0 && errno == EINTR);
	if ((!got || (got < 0 && errno == EAGAIN)) && pump_is_urgent(from)) {
		pump_drop(pump, to);
		from->bulk = false;
		return PUMP_YIELD;
	}
	if (got < 0 && errno == EAGAIN) {
		pump_drop(pump, to);
		return PUMP_DRAINED;
	}
	if (got <= 0) {
		int error = -errno;

		pump_drop(pump, to);
		if (got < 0) {
			leg_fail(from, error);
			return PUMP_FROM_FAILED;
		}
		/* The socket says FIN once more to leg_read(), which knows what it means there. */
		return leg_read(from, pump->scratch, 1) == -EPIPE ? PUMP_FIN : PUMP_FROM_FAILED;
	}
	from->received += (uint64_t)got;
	to->pipe->bytes += (size_t)got;
	*moved += (uint64_t)got;
	from->bulk = got >= PUMP_BULK_LEAST;
	if (pump_flush_pipe(pump, to))
		return PUMP_TO_FAILED;
	return to->pipe ? PUMP_BLOCKED : PUMP_YIELD;
}

enum pump_end pump_move(struct pump *pump, struct leg *from, struct leg *to, uint64_t limit, uint64_t *moved)
{
	int rounds = loop_crowded(pump->loop) ? 1 : ROUNDS;

	*moved = 0;
	if (leg_pending(to))
		return PUMP_BLOCKED; /* else bytes would overtake those that wait */
	while (rounds--) {
		size_t most = limit - *moved < PUMP_SCRATCH ? (size_t)(limit - *moved) : PUMP_SCRATCH;
		int got, result;

		if (!most)
			return PUMP_LIMIT;
		if (from->bulk && most >= PUMP_BULK_LEAST && !to->connecting && (to->pipe = pump_pipe_get(pump))) {
			enum pump_end end = pump_splice(pump, from, to, limit - *moved, moved);

			if (end != PUMP_YIELD)
				return end;
			continue;
		}
		got = leg_read(from, pump->scratch, most);
		if (!got)
			return PUMP_DRAINED;
		if (got < 0)
			return got == -EPIPE && from->fin_received ? PUMP_FIN : PUMP_FROM_FAILED;
		*moved += (uint64_t)got;
		from->bulk = got >= PUMP_BULK;
		result = leg_send(to, pump->scratch, (size_t)got, loop_now(pump->loop));
		if (result)
			return result == -ENOMEM ? PUMP_NO_MEMORY : PUMP_TO_FAILED;
		if (leg_pending(to))
			return PUMP_BLOCKED;
		if ((size_t)got < most)
			return PUMP_DRAINED;
	}
	return *moved == limit ? PUMP_LIMIT : PUMP_YIELD;
}
