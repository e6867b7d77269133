#ifndef LAPSE_PROXY_HTTP2_FLOW_H
#define LAPSE_PROXY_HTTP2_FLOW_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/http2/session.h"

/* One way's bytes: cut into frames, passed on whole bursts at a time, with frames of our own between them. What the frames mean is
 * observe.c's. */

enum flow_verdict {
	FLOW_ON,
	FLOW_MORE,   /* the rest of a frame has not come */
	FLOW_UNREAD, /* session->fault: nothing can be understood from here on. All of it has gone on as it came. */
	FLOW_PARTED, /* the same, but what follows cannot go on as it comes */
	FLOW_FAILED, /* its receiver's socket */
	FLOW_NO_MEMORY,
};

/* Bytes of the client while its preface is not whole: *taken of them have gone on. */
enum flow_verdict flow_preface(struct session *session, const uint8_t *bytes, size_t length, size_t *taken);

/* Bytes of one way; those of the last call that were held back come first in them. */
enum flow_verdict flow_feed(struct session *session, enum flow_way way, uint8_t *bytes, size_t length);

/* What is held back of a frame goes on: its sender has finished. */
enum flow_verdict flow_finish(struct session *session, enum flow_way way);

/* Whether nothing of a frame or block that goes on is under way. */
static inline bool flow_at_rest(const struct flow *flow)
{
	return !flow->passed && (!flow->inside || flow->dropping) && !(flow->block.open && !flow->block.dropped && !flow->anew);
}

/* Frames of our own, as soon as they may. */
enum flow_verdict flow_flush(struct session *session, enum flow_way way);

#endif
