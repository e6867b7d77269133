#include "proxy/connection/deadline.h"

/* Which moment starts which timer; serverIdle and drain are not a connection's. */
static const uint8_t since_of[TIMEOUT_COUNT] = {
    [TIMEOUT_REQUEST] = INSTANT_REQUEST,
    [TIMEOUT_BACKEND_REQUEST] = INSTANT_ATTEMPT,
    [TIMEOUT_STREAM_IDLE] = INSTANT_LAST_BYTE,
    [TIMEOUT_REQUEST_HEADERS] = INSTANT_HEAD,
    [TIMEOUT_IDLE_CONNECTION] = INSTANT_IDLE,
    [TIMEOUT_TCP_IDLE] = INSTANT_LAST_BYTE,
    [TIMEOUT_HALF_CLOSE] = INSTANT_LAST_BYTE,
    [TIMEOUT_CONNECT] = INSTANT_DIAL,
    [TIMEOUT_DETECT] = INSTANT_FIRST_BYTE,
    [TIMEOUT_UNACKNOWLEDGED] = INSTANT_UNACKED,
    [TIMEOUT_MAX_CONNECTION] = INSTANT_ACCEPTED,
};

enum {
	LOOKS = 32,      /* in the time of a timer: how exactly it is known when a peer stopped taking bytes */
	LOOK_LEAST = 10, /* ms */
};

#define WAITING                                                                                                                        \
	(TIMER_BIT(TIMEOUT_STREAM_IDLE) | TIMER_BIT(TIMEOUT_TCP_IDLE) | TIMER_BIT(TIMEOUT_HALF_CLOSE) | TIMER_BIT(TIMEOUT_IDLE_CONNECTION) |   \
	 TIMER_BIT(TIMEOUT_UNACKNOWLEDGED))

/* In each of the two that follow: a connection's is derived after every event, a request's only where its timers are set. */
__attribute__((always_inline)) static inline struct deadline deadline_find(uint32_t timers, const int64_t *instants, enum alarm alarm,
                                                                           int64_t alarm_at, bool half_closed,
                                                                           const struct timeouts *timeouts)
{
	const uint32_t idle = TIMER_BIT(TIMEOUT_TCP_IDLE) | TIMER_BIT(TIMEOUT_STREAM_IDLE) | TIMER_BIT(TIMEOUT_IDLE_CONNECTION);
	const uint32_t known = (TIMER_BIT(TIMEOUT_COUNT) - 1) & ~(TIMER_BIT(TIMEOUT_SERVER_IDLE) | TIMER_BIT(TIMEOUT_DRAIN) | TIMER_BIT(TIMEOUT_DRAIN_LEAST));
	struct deadline next = {.at = alarm ? alarm_at : INT64_MAX, .timer = TIMEOUT_NONE, .alarm = alarm};

	int64_t waiting = INT64_MAX; /* the shortest of these */

	timers &= known & (half_closed ? ~idle : ~TIMER_BIT(TIMEOUT_HALF_CLOSE));
	for (; timers; timers &= timers - 1) { /* the bits that are set, the lowest first */
		enum timeout_id timer = (enum timeout_id)__builtin_ctz(timers);
		enum instant since = timeouts->of[timer].after_request ? INSTANT_REQUEST_END : (enum instant)since_of[timer];
		int64_t limit = timeouts->of[timer].milliseconds;

		if (!instants[since] || !limit)
			continue;
		if (instants[since] + limit < next.at)
			next = (struct deadline){instants[since] + limit, timer, ALARM_NONE, since};
		if (limit < waiting && (WAITING & TIMER_BIT(timer)))
			waiting = limit;
	}
	if (instants[INSTANT_LOOKED] && waiting != INT64_MAX) {
		int64_t at = instants[INSTANT_LOOKED] + (waiting / LOOKS > LOOK_LEAST ? waiting / LOOKS : LOOK_LEAST);

		if (at < next.at)
			next = (struct deadline){.at = at, .timer = TIMEOUT_NONE, .alarm = ALARM_LOOK};
	}
	return next;
}

struct deadline deadline_next(uint32_t timers, const int64_t instants[static INSTANT_OF_CONN], enum alarm alarm, int64_t alarm_at,
                              bool half_closed, const struct timeouts *timeouts)
{
	return deadline_find(timers, instants, alarm, alarm_at, half_closed, timeouts);
}

struct deadline deadline_of_request(uint32_t timers, const int64_t instants[static INSTANT_COUNT], const struct timeouts *timeouts)
{
	return deadline_find(timers & DEADLINE_OF_REQUEST, instants, ALARM_NONE, 0, false, timeouts);
}

struct deadline deadline_sooner(struct deadline request, struct deadline other)
{
	return request.at < other.at || (request.at == other.at && other.timer != TIMEOUT_NONE) ? request : other;
}
