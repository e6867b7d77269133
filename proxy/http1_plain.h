#ifndef LAPSE_PROXY_HTTP1_PLAIN_H
#define LAPSE_PROXY_HTTP1_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/http1.h"

/* What most requests are, read in one walk: GET or HEAD of a path in HTTP/1.1, one Host, and no field that tells of a body, of the
 * connection's end or of another protocol. The head's length; 0: it is anything else, doubtful, or not here as a whole, and for
 * http1_scan_head() and llhttp, which read alike what is read here: tests/fuzz/http1.c holds it to that. Pure. */
size_t http1_plain_request(const uint8_t *bytes, size_t length, const struct http1_limits *limits, struct http1_head *out);

#endif
