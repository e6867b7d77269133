#ifndef LAPSE_PROXY_CONNECTION_SELF_DIAL_H
#define LAPSE_PROXY_CONNECTION_SELF_DIAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "lib/wheel.h"
#include "proxy/server/dials.h"

struct log;
struct loop;

/* At start: whether lapse-init's rules leave this proxy's own connections alone. One to an address of the documentation ranges in each
 * family (RFC 5737, RFC 3849), whose packets go no further than one hop, comes back to our listener where they do not. */
struct self_dial {
	struct loop *loop; /* borrowed, like the next two */
	struct dials *dials;
	struct log *log;
	atomic_bool *looped; /* true once it is known */
	struct wheel_timer timer;
	int fds[2]; /* -1 = none */
	struct dials_entry dial[2];
	int turns;
};

/* Once the listeners are open. A warning when one has come back within a fifth of a second; then it is over. */
void self_dial_start(struct self_dial *self, struct loop *loop, struct dials *dials, struct log *log, atomic_bool *looped);

/* No more, whatever is under way; also of one that never started. */
void self_dial_stop(struct self_dial *self);

#endif
