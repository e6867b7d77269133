#ifndef LAPSE_PROXY_HTTP2_HEAD_H
#define LAPSE_PROXY_HTTP2_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/slice.h"

/* Bytes of a request head that are kept, so that a rule is found for it. */
enum { HEAD_LIST_MOST = 65536 };

struct header_line;
struct request_head;
struct session;

/* The fields of a header block as they are decoded. */

/* A block of the client begins: whether its fields are to be kept depends on who asks for them (head_request()). */
void head_begin(struct session *session);

/* For header_read(): a field of a block to the server, or to the client; owner: the session. */
void head_up(void *owner, const struct header_line *field);
void head_down(void *owner, const struct header_line *field);

/* The request head that was kept; its parts are good until the next block. Empty where they were not, or were more than 64 KiB. */
void head_request(const struct session *session, struct request_head *out);

/* content-type: application/grpc, and what may follow it. */
bool head_is_grpc(struct slice value);

/* grpc-timeout: 1 to 8 digits and a unit, H M S m u n, as milliseconds, rounded up; 0: it is none. */
int64_t head_grpc_timeout(struct slice value);

#endif
