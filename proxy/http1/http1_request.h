#ifndef LAPSE_PROXY_HTTP1_HTTP1_REQUEST_H
#define LAPSE_PROXY_HTTP1_HTTP1_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/slice.h"

struct request_head;

/* A head that http1_parse_head() has accepted, whose method and target these are, as policy sees requests; it borrows all of them.
 * Authority: that of an absolute-form target without user information, else the first Host (RFC 9112 §3.2). Path: empty for CONNECT
 * and "*", "/" where an absolute-form target has none. */
void http1_request_head(struct request_head *out, const uint8_t *bytes, size_t head_length, struct slice method, struct slice target);

#endif
