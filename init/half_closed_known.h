#ifndef LAPSE_INIT_HALF_CLOSED_KNOWN_H
#define LAPSE_INIT_HALF_CLOSED_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "init/half_closed.h"

/* The half-closed flows that --watch follows, and what becomes of them. Two sources tell it: the kernel's events, in order but not
 * complete (flows older than the listener have none where nf_conntrack_events is 2, the default), and scans, complete but seconds
 * apart. Nothing is told twice. Pure but for memory. */
struct half_closed_known;

enum half_closed_change {
	HALF_CLOSED_FOUND,     /* it was half-closed when its namespace was first looked at */
	HALF_CLOSED_BECAME,    /* it has become half-closed */
	HALF_CLOSED_CHANGED,   /* it is still, in another state */
	HALF_CLOSED_ENDED,     /* it came to an end that conntrack saw, or may have */
	HALF_CLOSED_FORGOTTEN, /* conntrack has dropped it while it was half-closed */
};

struct half_closed_news {
	enum half_closed_change change;
	const struct half_closed_flow *flow; /* as last known; borrowed during the call */
	int64_t lasted_ms;                   /* since it was first seen half-closed */
	const char *detail;                  /* how it ended or was forgotten, "" = nothing to add */
};

/* At most `most` flows are followed. Only those silent for min_age_ms are told of, and they from then on. 0 or -ENOMEM. */
int half_closed_known_new(struct half_closed_known **out, size_t most, int64_t min_age_ms,
                          void (*tell)(const struct half_closed_news *news, void *context), void *context);
void half_closed_known_free(struct half_closed_known *known);

size_t half_closed_known_count(const struct half_closed_known *known);
/* How many were not followed for want of room or memory, since last asked. */
size_t half_closed_known_take_missed(struct half_closed_known *known);

/* An event: a flow with its new state, or one that conntrack has dropped. `now`: monotonic ms, here and below. */
void half_closed_known_event(struct half_closed_known *known, const struct half_closed_flow *flow, bool destroyed, int64_t now);

/* A scan of one place: begin, every flow of the dump, then the events that wait, then end. `first`: of this place. */
void half_closed_known_scan_begin(struct half_closed_known *known, bool first);
void half_closed_known_scanned(struct half_closed_known *known, const struct half_closed_flow *flow, int64_t now);
void half_closed_known_scan_end(struct half_closed_known *known, const struct half_closed_place *place, int64_t now);

/* Its network namespace is no more: all its flows have ended. */
void half_closed_known_place_gone(struct half_closed_known *known, const struct half_closed_place *place, int64_t now);

#endif
