#ifndef LAPSE_PROXY_HTTP2_PROTO_HTTP2_H
#define LAPSE_PROXY_HTTP2_PROTO_HTTP2_H

struct proto;

/* HTTP/2 by prior knowledge (RFC 9113 §3.3), observed. */
extern const struct proto proto_http2;

#endif
