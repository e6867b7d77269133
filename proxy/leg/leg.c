#include "proxy/leg/leg.h"

#include <errno.h>
#include <sys/socket.h>

#include "lib/sock.h"
#include "lib/text.h"

void leg_init(struct leg *leg, int fd, bool local, void (*ready)(struct loop_source *, uint32_t))
{
	*leg = (struct leg){.source = {.fd = fd, .ready = ready}, .local = local};
}

void leg_note(struct leg *leg, enum leg_event event)
{
	for (int i = 0; i < LEG_EVENTS; i++) {
		if (leg->events[i] == event)
			return;
		if (!leg->events[i]) {
			leg->events[i] = event;
			return;
		}
	}
}

int leg_fail(struct leg *leg, int error)
{
	leg->error = (int16_t)error;
	leg->write_failed = true;
	buf_release(&leg->out);
	leg_note(leg, error == -ECONNRESET || error == -EPIPE ? LEG_RST_PEER : error == -ETIMEDOUT ? LEG_TIMED_OUT : LEG_FAILED);
	return error;
}

int leg_read(struct leg *leg, uint8_t *bytes, size_t size)
{
	ssize_t got;

	do
		got = recv(leg->source.fd, bytes, size, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		leg->received += (uint64_t)got;
		return (int)got;
	}
	if (!got) {
		/* After a failed write the kernel has told the error already; what follows the last words is no clean end. */
		if (leg->write_failed)
			return leg->error ? leg->error : -ECONNRESET;
		leg->fin_received = true;
		leg_note(leg, LEG_FIN_PEER);
		return -EPIPE;
	}
	if (errno == EAGAIN || errno == ENOTCONN)
		return 0;
	return leg_fail(leg, -errno);
}

void leg_count_sent(struct leg *leg, size_t bytes, int64_t now)
{
	leg->sent += bytes;
	if (!leg->unacked_since)
		leg->unacked_since = now;
}

/* How many bytes the socket took, or -errno. */
static int leg_write(struct leg *leg, const void *bytes, size_t length, int64_t now)
{
	ssize_t put;

	if (leg->write_failed)
		return leg->error ? leg->error : -EPIPE;
	if (leg->connecting)
		return 0;
	do
		put = send(leg->source.fd, bytes, length, MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	if (put >= 0) {
		leg_count_sent(leg, (size_t)put, now);
		return (int)put;
	}
	if (errno == EAGAIN)
		return 0;
	return leg_fail(leg, -errno);
}

int leg_send(struct leg *leg, const void *bytes, size_t length, int64_t now)
{
	int put = 0;

	if (!buf_length(&leg->out) && length) {
		put = leg_write(leg, bytes, length, now);
		if (put < 0)
			return put;
	}
	return buf_append(&leg->out, (const uint8_t *)bytes + put, length - (size_t)put);
}

int leg_flush(struct leg *leg, int64_t now)
{
	size_t waiting = buf_length(&leg->out);

	if (waiting) {
		int put = leg_write(leg, buf_bytes(&leg->out), waiting, now);

		if (put < 0)
			return put;
		buf_consume(&leg->out, (size_t)put);
	}
	if (leg->fin_wanted)
		leg_finish(leg);
	return 0;
}

void leg_finish(struct leg *leg)
{
	leg->fin_wanted = true;
	if (leg->fin_sent || leg->connecting || leg_pending(leg) || !leg_open(leg))
		return;
	leg->fin_sent = true;
	shutdown(leg->source.fd, SHUT_WR);
	leg_note(leg, LEG_FIN_PROXY);
}

void leg_close(struct leg *leg, struct loop *loop, bool reset)
{
	if (!leg_open(leg))
		return;
	if (leg->connecting && !leg->error) {
		leg_note(leg, LEG_GIVEN_UP); /* the peer gets to see no end */
	} else if (reset && !leg->error) {
		sock_set_reset_on_close(leg->source.fd);
		leg_note(leg, LEG_RST_PROXY);
	} else if (!leg->fin_sent && !leg->error) {
		leg_note(leg, LEG_FIN_PROXY);
	}
	loop_close(loop, &leg->source);
	buf_release(&leg->out);
	buf_release(&leg->in);
}

void leg_describe(const uint8_t events[static LEG_EVENTS], const char *peer, struct text *out)
{
	static const char *const words[LEG_EVENT_COUNT] = {
	    [LEG_FIN_PEER] = "fin", [LEG_FIN_PROXY] = "fin", [LEG_RST_PEER] = "rst",
	    [LEG_RST_PROXY] = "rst", [LEG_GIVEN_UP] = "given-up", [LEG_TIMED_OUT] = "timed-out", [LEG_FAILED] = "failed",
	};

	for (int i = 0; i < LEG_EVENTS && events[i]; i++) {
		bool ours = events[i] == LEG_FIN_PROXY || events[i] == LEG_RST_PROXY || events[i] == LEG_GIVEN_UP;

		text_printf(out, "%s%s:%s", out->length ? " " : "", words[events[i]], ours ? "proxy" : peer);
	}
}
