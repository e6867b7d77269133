#ifndef LAPSE_PROXY_HTTP1_PROTO_HTTP1_H
#define LAPSE_PROXY_HTTP1_PROTO_HTTP1_H

#include "proxy/connection/proto.h"

/* HTTP/1.0 and 1.1. */
extern const struct proto proto_http1;

#endif
