#ifndef LAPSE_PROXY_EXCHANGE_ACCESS_H
#define LAPSE_PROXY_EXCHANGE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reason.h"
#include "lib/slice.h"

struct conn;
struct request_head;

/* One HTTP request for the access log (--access-log), while it is under way: what its head said, and counts as of its beginning. */
struct access {
	int64_t first_byte_us;   /* loop_now_us() when the head of its response came, 0 = not yet */
	uint64_t request_bytes;  /* head and body, as the client sent them */
	uint64_t sent_before;    /* to the client */
	uint32_t retries_before; /* on the connection */
	size_t method, host, target; /* lengths */
	char bytes[];            /* method, host, target */
};

/* The exchange has begun; target: as it came. Without memory the line will lack what its head said. */
void access_begin(struct conn *conn, const struct request_head *head, struct slice target);

/* NULL, for these: the access log is off. */
static inline void access_count_body(struct access *access, size_t bytes)
{
	if (access)
		access->request_bytes += bytes;
}

static inline void access_first_byte(struct access *access, int64_t now_us)
{
	if (access)
		access->first_byte_us = now_us;
}

/* The exchange ends: its line goes out, at info. Every request in lapse_requests_total has one. */
void access_end(struct conn *conn, bool succeeded);

/* An answer to what never became a request: a head that was refused, or unfinished in time. What there is of it is in the client
 * leg's buffer. */
void access_refused(struct conn *conn, enum reason_id reason, int status);

#endif
