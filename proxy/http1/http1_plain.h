#ifndef LAPSE_PROXY_HTTP1_HTTP1_PLAIN_H
#define LAPSE_PROXY_HTTP1_HTTP1_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/http1/http1.h"

/* What most heads are, read in one walk. A plain request is GET or HEAD of a path in HTTP/1.1 with one Host and no field that tells
 * of a body; a plain response is HTTP/1.1 with one Content-Length, which is digits, or one Transfer-Encoding, which is chunked, that
 * is the body's; in neither is there a field that tells of the connection's end or another protocol. The head's length; 0: it is anything else, doubtful, or
 * not here as a whole, and for http1_scan_head() and llhttp, which read alike what is read here: tests/fuzz/http1.c holds it to that.
 * Pure. */
size_t http1_plain_head(enum http1_kind kind, const uint8_t *bytes, size_t length, const struct message_head *request,
                        const struct http1_limits *limits, struct message_head *out);

#endif
