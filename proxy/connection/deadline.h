#ifndef LAPSE_PROXY_CONNECTION_DEADLINE_H
#define LAPSE_PROXY_CONNECTION_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/timeouts.h"

/* The moments from which timers count. All are clock_monotonic_ms(); 0 = has not happened, its timers do not run. */
enum instant {
	INSTANT_ACCEPTED,
	INSTANT_FIRST_BYTE,     /* of an undecided prefix */
	INSTANT_LAST_BYTE,      /* either way, read or written */
	INSTANT_HEAD,           /* first byte of the request head under way */
	INSTANT_REQUEST,        /* its head was complete */
	INSTANT_ATTEMPT,        /* this attempt at it began */
	INSTANT_DIAL,           /* connect() */
	INSTANT_IDLE,           /* HTTP with no request active */
	INSTANT_UNACKED,        /* data to one side has been outstanding since then, as far as we know */
	INSTANT_COUNT,
};

#define TIMER_BIT(id) (1u << (id))

/* When something must be done about a connection, and by which timer. Pure. */
struct deadline {
	int64_t at;            /* INT64_MAX = never */
	enum timeout_id timer; /* TIMEOUT_NONE: a wake-up of the connection's own */
	enum instant since;    /* which moment it counted from; meaningless for TIMEOUT_NONE */
};

/* The earliest end of the timers whose bit is set in `timers`, each from its moment, those of 0 ms left out; and of
 * wake_at, when that is not 0. Half-closed: halfClose takes the place of tcpIdle and streamIdle, so that one timer and no
 * other governs a connection of which one side has finished. */
struct deadline deadline_next(uint32_t timers, const int64_t instants[static INSTANT_COUNT], int64_t wake_at, bool half_closed,
                              const struct timeouts *timeouts);

#endif
