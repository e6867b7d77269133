#ifndef LAPSE_PROXY_EXCHANGE_RETRY_H
#define LAPSE_PROXY_EXCHANGE_RETRY_H

#include <stdbool.h>

#include "lib/reason.h"

struct conn;
struct text;

/* Further attempts at a request, where its rule wants them and it can be sent again as it was: at most 64 KiB, complete or of an
 * announced length, and no byte of a final response passed on. Attempts start from an alarm, never from within the failure of
 * the one before. */

/* An attempt begins: arms the limit for its response head. */
void retry_attempt(struct conn *conn);

/* The final response head of an attempt has come. True: it is let go and there will be another attempt. `complete`: the response
 * ends with what has been read, and the server keeps the connection. */
bool retry_after_response(struct conn *conn, bool complete);

/* The attempt failed in this way before a response. True: there will be another one. */
bool retry_after_failure(struct conn *conn, enum reason_id reason);

/* The wait before the next attempt is over; the attempt under way has had no response head for too long. */
void retry_backoff_over(struct conn *conn);
void retry_attempt_late(struct conn *conn);

/* "; attempt 2 of 3", nothing where the rule has no retries. */
void retry_describe(const struct conn *conn, struct text *text);

#endif
