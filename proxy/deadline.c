#include "proxy/deadline.h"

/* Which moment starts which timer. A timer may count from several; the earliest end wins. */
static const struct {
	enum timeout_id timer;
	enum instant since;
} clocks[] = {
    {TIMEOUT_REQUEST, INSTANT_REQUEST},
    {TIMEOUT_BACKEND_REQUEST, INSTANT_ATTEMPT},
    {TIMEOUT_STREAM_IDLE, INSTANT_LAST_BYTE},
    {TIMEOUT_REQUEST_HEADERS, INSTANT_HEAD},
    {TIMEOUT_IDLE_CONNECTION, INSTANT_IDLE},
    {TIMEOUT_TCP_IDLE, INSTANT_LAST_BYTE},
    {TIMEOUT_HALF_CLOSE, INSTANT_LAST_BYTE},
    {TIMEOUT_CONNECT, INSTANT_DIAL},
    {TIMEOUT_DETECT, INSTANT_FIRST_BYTE},
    {TIMEOUT_UNACKNOWLEDGED, INSTANT_UNACKED_CLIENT},
    {TIMEOUT_UNACKNOWLEDGED, INSTANT_UNACKED_SERVER},
    {TIMEOUT_MAX_CONNECTION, INSTANT_ACCEPTED},
};

struct deadline deadline_next(uint32_t timers, const int64_t instants[static INSTANT_COUNT], int64_t wake_at, bool half_closed,
                              const struct timeouts *timeouts)
{
	struct deadline next = {.at = wake_at ? wake_at : INT64_MAX, .timer = TIMEOUT_NONE};
	const uint32_t idle = TIMER_BIT(TIMEOUT_TCP_IDLE) | TIMER_BIT(TIMEOUT_STREAM_IDLE);

	timers &= half_closed ? ~idle : ~TIMER_BIT(TIMEOUT_HALF_CLOSE);
	for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
		int64_t limit = timeouts->of[clocks[i].timer].milliseconds, since = instants[clocks[i].since];

		if (!(timers & TIMER_BIT(clocks[i].timer)) || !since || !limit)
			continue;
		if (since + limit < next.at)
			next = (struct deadline){since + limit, clocks[i].timer, clocks[i].since};
	}
	return next;
}
