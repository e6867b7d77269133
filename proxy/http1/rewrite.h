#ifndef LAPSE_PROXY_HTTP1_REWRITE_H
#define LAPSE_PROXY_HTTP1_REWRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/exchange/choice.h"

struct buf;

bool rewrite_needed(const struct rewrite *rewrite);

/* A changed copy of a complete, accepted head, appended to `out`, without the empty lines that may come before it (RFC 9112 §2.2). Field names compare without case. `set` replaces every line of its
 * name by one, `add` appends one more line, `remove` takes every line out; the later edits apply to what the earlier ones made.
 * What frames the message (Content-Length, Transfer-Encoding), Connection and Upgrade are not touched by edits; Host can be set (unless
 * `host` is given), not added or removed, and stays one line. Nothing in a value ends a line: in target and host what may not stand in
 * a URI is percent-encoded, in field values control bytes become blanks, a field whose name is no token is left out.
 * 0 or -ENOMEM, then nothing is appended. */
int rewrite_head(const struct rewrite *rewrite, const uint8_t *head, size_t length, struct buf *out);

#endif
