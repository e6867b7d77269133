#ifndef LAPSE_PROXY_HTTP2_OBSERVE_H
#define LAPSE_PROXY_HTTP2_OBSERVE_H

#include "proxy/http2/flow.h"

/* What the frames mean: streams begin, move and end, windows and tables change. flow->frame is the frame at hand. */

/* The frame's head and fixed part are here: says whether it goes on (flow->dropping), and may change the fixed part. */
enum flow_verdict observe_begin(struct session *session, enum flow_way way, uint8_t *fixed);

/* Bytes behind the fixed part, without padding. */
enum flow_verdict observe_payload(struct session *session, enum flow_way way, const uint8_t *bytes, size_t length);

/* It is whole. */
enum flow_verdict observe_end(struct session *session, enum flow_way way);

/* It cannot be understood, and nothing behind it. */
enum flow_verdict observe_fault(struct session *session, enum flow_way way, const char *what);

#endif
