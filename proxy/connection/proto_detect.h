#ifndef LAPSE_PROXY_CONNECTION_PROTO_DETECT_H
#define LAPSE_PROXY_CONNECTION_PROTO_DETECT_H

struct conn;

/* A connection was accepted and its origin is known: enters STAGE_DETECT, or opaque at once on an --opaque-ports port. What waits
 * in its socket already decides without a wait. */
void proto_detect_start(struct conn *conn);

#endif
