#ifndef LAPSE_PROXY_CONNECTION_CAUSE_H
#define LAPSE_PROXY_CONNECTION_CAUSE_H

#include <stdbool.h>

#include "lib/reason.h"
#include "lib/timeouts.h"

/* Why something ends, before it is written into a record. */
struct cause {
	enum reason_id reason;
	enum reason_by by;     /* BY_PEER never */
	enum timeout_id timer; /* TIMEOUT_NONE unless a timer fired */
	int status;            /* of the answer, where it is not the reason's own; 0 = the reason's */
	bool at_rest;          /* nothing is under way: end with FIN, whatever the reason's row says */
	bool reset;            /* end with RST, likewise: as the other side did */
	bool answered;         /* a synthesised answer is on its way to the client: end with FIN behind it */
};

/* The reason with its row's `by`; with the side that acted; with the timer that fired. */
struct cause cause_of(enum reason_id reason);
struct cause cause_by(enum reason_id reason, enum reason_by by);
struct cause cause_timer(enum reason_id reason, enum timeout_id timer);

#endif
