#ifndef LAPSE_PROXY_LEG_LEG_H
#define LAPSE_PROXY_LEG_LEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/loop.h"

struct pump_pipe;
struct text;

/* What can be noticed on a socket, in the words of the record. */
enum leg_event {
	LEG_NOTHING,
	LEG_FIN_PEER,
	LEG_FIN_PROXY,
	LEG_RST_PEER,
	LEG_RST_PROXY,
	LEG_GIVEN_UP,  /* by the proxy, while it was being dialled */
	LEG_TIMED_OUT, /* ETIMEDOUT: keep-alive or retransmission gave up */
	LEG_FAILED,    /* another error */
	LEG_EVENT_COUNT,
};

enum { LEG_EVENTS = 4 };

/* One socket of a connection: what waits to be written to it, what was read ahead from it, and what happened on it. */
struct leg {
	struct loop_source source;
	struct buf out;   /* accepted for the peer, not written yet; owned */
	struct buf in;    /* read from the peer, not consumed yet; owned */
	struct pump_pipe *pipe; /* owned, NULL: bytes on their way to this peer inside a pipe; only pump.c looks in */
	uint64_t sent, received;
	int64_t unacked_since; /* see INSTANT_UNACKED */
	uint64_t delivered;    /* of sent: acknowledged, when progress.c last looked */
	int16_t error;              /* -errno that ended it, 0 = none */
	uint8_t events[LEG_EVENTS]; /* the first ones, in order; enum leg_event */
	bool local : 1;        /* its peer is the application beside us, not somebody on the network */
	bool bulk : 1;         /* bytes came from it by the buffer: what follows goes through a pipe (pump.h) */
	bool connecting : 1;
	bool unwanted : 1;     /* epoll told of something that is not to be read now */
	bool end_waiting : 1;  /* epoll said that a FIN or RST came; it lies behind what has not been read yet */
	bool fin_received : 1; /* read() returned 0 */
	bool fin_sent : 1;     /* shutdown(SHUT_WR) was called */
	bool fin_wanted : 1;   /* shutdown as soon as `out` is empty */
	bool vanished : 1;     /* `unacknowledged` found it */
	bool write_failed : 1; /* nothing can be sent any more; the peer's last words may still be read */
};

void leg_init(struct leg *leg, int fd, bool local, void (*ready)(struct loop_source *, uint32_t));

static inline bool leg_open(const struct leg *leg)
{
	return leg->source.fd >= 0;
}

/* Whether something waits to be written. */
static inline bool leg_pending(const struct leg *leg)
{
	return leg->pipe || buf_length(&leg->out);
}

/* Notes what happened, once each, the first LEG_EVENTS only. */
void leg_note(struct leg *leg, enum leg_event event);

/* Reads at most `size` bytes into `bytes`. > 0: that many; 0: nothing now; -EPIPE: FIN (fin_received is set);
 * another -errno: the leg is dead (error is set). */
int leg_read(struct leg *leg, uint8_t *bytes, size_t size);

/* Sends what the socket takes and keeps the rest in `out`. 0; -errno: writing is over (write_failed is set), the bytes are dropped;
 * -ENOMEM: no room for the rest. */
int leg_send(struct leg *leg, const void *bytes, size_t length, int64_t now);

/* Sends what `out` holds, then the FIN that is wanted. 0 also when some is left; -errno as leg_send(). Called by pump_flush(),
 * which knows of the pipe too. */
int leg_flush(struct leg *leg, int64_t now);

/* FIN now, or as soon as `out` is empty and the socket is connected. */
void leg_finish(struct leg *leg);

/* Bytes were written to the socket past leg_send() (splice). */
void leg_count_sent(struct leg *leg, size_t bytes, int64_t now);

/* The leg's socket gave this error; returns it. */
int leg_fail(struct leg *leg, int error);

/* Closes the socket, with RST when `reset`; keeps the counters and events. The pipe must be gone (pump_drop()). */
void leg_close(struct leg *leg, struct loop *loop, bool reset);

/* "fin:client fin:proxy": the events with the peer's name. */
void leg_describe(const uint8_t events[static LEG_EVENTS], const char *peer, struct text *out);

#endif
