#ifndef LAPSE_LIB_LOOP_H
#define LAPSE_LIB_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct wheel;

/* A file descriptor in the loop (level-triggered), embedded in its owner. `ready` gets the epoll events. */
struct loop_source {
	void (*ready)(struct loop_source *source, uint32_t events);
	int fd;         /* -1 = none */
	uint32_t armed; /* the epoll mask the kernel has; 0 = not registered */
};

/* Something to free after the batch of events at hand, when no event can point to it any more. */
struct loop_deferred {
	struct loop_deferred *next;
	void (*run)(struct loop_deferred *deferred);
};

/* 0 or -errno. The loop owns its wheel and calls timer->fire() for those that are due, disarmed by then.
 * idle(owner), which may be NULL, runs before every wait: to flush what has gathered. */
int loop_new(struct loop **out, void (*idle)(void *owner), void *owner);
void loop_free(struct loop *loop);

struct wheel *loop_wheel(struct loop *loop);

/* Monotonic milliseconds, read once per round. */
int64_t loop_now(const struct loop *loop);
int64_t loop_now_us(const struct loop *loop); /* the same moment in microseconds */

/* Whether more than one source was ready this round. */
bool loop_crowded(const struct loop *loop);

/* Makes the kernel's mask equal to `events` (EPOLLIN | …); 0 takes the source out. Costs nothing when it is so already.
 * 0 or -errno. */
int loop_watch(struct loop *loop, struct loop_source *source, uint32_t events);

/* Takes the source out, closes its descriptor and sets it to -1. Events already fetched for it are dropped. */
void loop_close(struct loop *loop, struct loop_source *source);

void loop_defer(struct loop *loop, struct loop_deferred *deferred);

/* Runs until loop_stop(), after which it may run again. loop_wake() may be called from any thread: it ends the wait, then `idle` runs. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
void loop_wake(struct loop *loop);

#endif
