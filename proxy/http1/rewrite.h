#ifndef LAPSE_PROXY_HTTP1_REWRITE_H
#define LAPSE_PROXY_HTTP1_REWRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr;
struct buf;
struct header_edits;

enum { REWRITE_LEVELS = 2 };

/* How a head is to be changed on its way. All zero = not at all. */
struct rewrite {
	bool close;                          /* `Connection: close` instead of what it says */
	const struct addr *forwarded;        /* Forwarded (RFC 7239, 4) for this client, at the end of the last such field, else one of its own */
	bool x_forwarded_for;                /* X-Forwarded-For instead, an address without quotes and brackets */
	const char *target;                  /* the request's new path and query, NULL = as it is; not for "*" and CONNECT */
	const char *host;                    /* the new Host, NULL = as it is; also the authority of an absolute-form target */
	const struct header_edits *edits[REWRITE_LEVELS]; /* of the rule and of the backend, in this order; NULL = none */
};

bool rewrite_needed(const struct rewrite *rewrite);

/* A changed copy of a complete, accepted head, appended to `out`, without the empty lines that may come before it (RFC 9112 §2.2). Field names compare without case. `set` replaces every line of its
 * name by one, `add` appends one more line, `remove` takes every line out; the later edits apply to what the earlier ones made.
 * What frames the message (Content-Length, Transfer-Encoding), Connection and Upgrade are not touched by edits; Host can be set (unless
 * `host` is given), not added or removed, and stays one line. Nothing in a value ends a line: in target and host what may not stand in
 * a URI is percent-encoded, in field values control bytes become blanks, a field whose name is no token is left out.
 * 0 or -ENOMEM, then nothing is appended. */
int rewrite_head(const struct rewrite *rewrite, const uint8_t *head, size_t length, struct buf *out);

#endif
