#include "lib/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/wheel.h"

enum { BATCH = 256 };

struct loop {
	int epoll_fd;
	bool stopping;
	int64_t now, now_us;
	int ready; /* sources, this round */
	struct wheel *wheel;
	void (*idle)(void *owner);
	void *owner;
	struct loop_deferred *deferred;
	struct loop_source wake;
};

static void loop_woken(struct loop_source *source, uint32_t events)
{
	uint64_t count;

	if (read(source->fd, &count, sizeof count) < 0)
		return; /* somebody else's wake-up was read with ours */
}

static void loop_read_clock(struct loop *loop)
{
	loop->now_us = clock_monotonic_us();
	loop->now = loop->now_us / 1000;
}

int loop_new(struct loop **out, void (*idle)(void *owner), void *owner)
{
	struct loop *loop = calloc(1, sizeof *loop);
	int result = -ENOMEM;

	if (!loop)
		return result;
	loop_read_clock(loop);
	loop->idle = idle;
	loop->owner = owner;
	loop->epoll_fd = -1;
	loop->wake = (struct loop_source){.fd = -1, .ready = loop_woken};
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0 || (loop->wake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
		result = -errno;
		goto fail;
	}
	loop->wheel = wheel_new(loop->now);
	if (!loop->wheel)
		goto fail;
	result = loop_watch(loop, &loop->wake, EPOLLIN);
	if (result)
		goto fail;
	*out = loop;
	return 0;
fail:
	loop_free(loop);
	return result;
}

static void loop_sweep(struct loop *loop)
{
	while (loop->deferred) {
		struct loop_deferred *deferred = loop->deferred;

		loop->deferred = deferred->next;
		deferred->run(deferred);
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	loop_sweep(loop);
	if (loop->wake.fd >= 0)
		close(loop->wake.fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	wheel_free(loop->wheel);
	free(loop);
}

struct wheel *loop_wheel(struct loop *loop)
{
	return loop->wheel;
}

int64_t loop_now(const struct loop *loop)
{
	return loop->now;
}

int64_t loop_now_us(const struct loop *loop)
{
	return loop->now_us;
}

bool loop_crowded(const struct loop *loop)
{
	return loop->ready > 1;
}

int loop_watch(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event;
	int operation = !source->armed ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;

	if (source->armed == events)
		return 0;
	event = (struct epoll_event){.events = events, .data.ptr = source};
	if (epoll_ctl(loop->epoll_fd, operation, source->fd, &event) < 0)
		return -errno;
	source->armed = events;
	return 0;
}

void loop_close(struct loop *loop, struct loop_source *source)
{
	if (source->fd < 0)
		return;
	/* Closing takes the descriptor out of epoll: it is never duplicated. */
	close(source->fd);
	source->fd = -1;
	source->armed = 0;
}

void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
	deferred->next = loop->deferred;
	loop->deferred = deferred;
}

static int loop_timeout(const struct loop *loop)
{
	int64_t wait = wheel_wait(loop->wheel, loop->now);

	return wait < 0 ? -1 : wait > INT_MAX ? INT_MAX : (int)wait;
}

void loop_run(struct loop *loop)
{
	struct epoll_event events[BATCH];

	while (!loop->stopping) {
		struct wheel_timer *timer;

		if (loop->idle)
			loop->idle(loop->owner);
		loop_sweep(loop);
		if (loop->stopping)
			break;
		loop->ready = epoll_wait(loop->epoll_fd, events, BATCH, loop_timeout(loop));
		if (loop->ready < 0)
			continue; /* EINTR, by a SIGCONT too: what is ready comes before what is due */
		loop_read_clock(loop);
		for (int i = 0; i < loop->ready; i++) {
			struct loop_source *source = events[i].data.ptr;

			/* Closed earlier in this batch, or taken out: nobody waits for this event any more. */
			if (source->fd >= 0 && source->armed)
				source->ready(source, events[i].events);
		}
		while ((timer = wheel_expire(loop->wheel, loop->now)))
			timer->fire(timer);
		loop_sweep(loop);
	}
	loop->stopping = false;
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;

	if (write(loop->wake.fd, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake */
}
