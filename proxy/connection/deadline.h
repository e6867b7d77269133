#ifndef LAPSE_PROXY_CONNECTION_DEADLINE_H
#define LAPSE_PROXY_CONNECTION_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/timeouts.h"

/* The moments from which timers count. All are clock_monotonic_ms(); 0 = has not happened, its timers do not run. */
enum instant {
	INSTANT_ACCEPTED,
	INSTANT_FIRST_BYTE,     /* of an undecided prefix */
	INSTANT_LAST_BYTE,      /* either way, read, written or acknowledged */
	INSTANT_LOOKED,         /* for what the peers acknowledge; 0: nothing is outstanding */
	INSTANT_HEAD,           /* first byte of the request head under way */
	INSTANT_DIAL,           /* connect() */
	INSTANT_IDLE,           /* HTTP with no request active */
	INSTANT_UNACKED,        /* data to one side has been outstanding since then, as far as we know */
	INSTANT_OF_CONN,        /* so many are a connection's; those of a request follow, and it has them itself */
	INSTANT_REQUEST = INSTANT_OF_CONN, /* its head was complete */
	INSTANT_ATTEMPT,        /* this attempt at it began */
	INSTANT_REQUEST_END,    /* the last of the request went out in this attempt, or the response's head came before that */
	INSTANT_COUNT,
};

#define TIMER_BIT(id) (1u << (id))

/* The timers that count from a request's instants. */
#define DEADLINE_OF_REQUEST (TIMER_BIT(TIMEOUT_REQUEST) | TIMER_BIT(TIMEOUT_BACKEND_REQUEST))

/* Wake-ups that nobody sets: each is armed in stages of its own (the stage table of conn.c), one at a time, and is gone with its
 * stage. What fires is what was armed. */
enum alarm {
	ALARM_NONE,
	ALARM_GRACE,       /* a client is silent: perhaps its server speaks first; inside its head: perhaps its server has a timer for that */
	ALARM_DRAIN_GRACE, /* the same while the proxy shuts down: neither has */
	ALARM_TURN,        /* pipelined requests wait until others have had their turn */
	ALARM_BACKOFF,     /* the next attempt at a request may begin */
	ALARM_ATTEMPT,     /* an attempt has had no response head for as long as its route allows */
	ALARM_DISCARD,     /* the rest of a request that the proxy has answered itself has had its time */
	ALARM_HALF_CLOSED, /* conntrack's entry of a half-closed connection is to be looked at */
	ALARM_STREAM,      /* a timer of one of its streams, or what else HTTP/2 waits for */
	ALARM_LINGER,      /* a client that was sent its FIN has had its time */
	ALARM_LOOK,        /* never armed: follows from INSTANT_LOOKED */
	ALARM_COUNT,
};

#define ALARM_BIT(id) (1u << (id))

/* When something must be done about a connection, and what. Pure. */
struct deadline {
	int64_t at;            /* INT64_MAX = never; the earliest of these */
	enum timeout_id timer; /* TIMEOUT_NONE: `alarm` */
	enum alarm alarm;      /* ALARM_NONE: `timer` */
	enum instant since;    /* which moment the timer counted from */
};

/* The earliest end of the timers whose bit is set in `timers`, each from its moment, those of 0 ms left out; and of `alarm`, which
 * ALARM_NONE leaves out. Of `instants`, by enum instant, a request's are looked at for its timers alone. Half-closed: halfClose takes the place of tcpIdle and streamIdle, so that one timer and no other governs
 * a connection of which one side has finished. While one of the timers runs that wait for a peer, ALARM_LOOK comes a small part of
 * the shortest of them after INSTANT_LOOKED. */
struct deadline deadline_next(uint32_t timers, const int64_t instants[static INSTANT_OF_CONN], enum alarm alarm, int64_t alarm_at,
                              bool half_closed, const struct timeouts *timeouts);

/* The same of a request's timers alone. */
struct deadline deadline_of_request(uint32_t timers, const int64_t instants[static INSTANT_COUNT], const struct timeouts *timeouts);

/* The earlier one of both; of two at once the request's, unless the other is an alarm. */
struct deadline deadline_sooner(struct deadline request, struct deadline other);

#endif
