#ifndef LAPSE_LIB_WHEEL_H
#define LAPSE_LIB_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

/* A hierarchical timer wheel with 1 ms ticks: arm and cancel are O(1), expiry touches only slots that hold timers.
 * Instants are clock_monotonic_ms() values. One thread, no locks. */
struct wheel;

/* Embedded in its owner, who keeps it in place while armed. All zero = not armed. */
struct wheel_timer {
	struct wheel_timer *next, **link;
	int64_t due;
	void (*fire)(struct wheel_timer *timer); /* the wheel carries it for whoever calls wheel_expire() (lib/loop.h) */
};

/* NULL when there is no memory. Freeing leaves armed timers alone: they must not be touched by the wheel again. */
struct wheel *wheel_new(int64_t now);
void wheel_free(struct wheel *wheel);

static inline bool wheel_armed(const struct wheel_timer *timer)
{
	return timer->link != 0;
}

/* Arms or moves the timer; an instant in the past fires at the next wheel_expire(). */
void wheel_arm(struct wheel *wheel, struct wheel_timer *timer, int64_t due);
void wheel_cancel(struct wheel *wheel, struct wheel_timer *timer);

/* Milliseconds from now until the wheel needs wheel_expire(): never later than the earliest timer, perhaps earlier.
 * -1 when nothing is armed. */
int64_t wheel_wait(const struct wheel *wheel, int64_t now);

/* Advances to now and returns one timer with due <= now, disarmed; NULL when no more are due. Call until NULL; timers may be
 * armed and cancelled between calls, also other due ones. */
struct wheel_timer *wheel_expire(struct wheel *wheel, int64_t now);

#endif
