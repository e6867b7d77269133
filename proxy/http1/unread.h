#ifndef LAPSE_PROXY_HTTP1_UNREAD_H
#define LAPSE_PROXY_HTTP1_UNREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/http1/http1.h"

struct conn;

/* What the parser refuses is not ours to correct: the bytes go on as they came, and the connection is a tunnel from there. Its server
 * leg is private, its timers are a tunnel's; requestHeaders, request and backendRequest stay armed until the server's next byte, and
 * idleConnection bounds silence where that is shorter. */

/* Whether that may be: not where reading decides something, since rules choose, filter or retry, nor with --on-malformed-http refuse.
 * By the newest policy. */
bool unread_may(const struct conn *conn);

/* Reading ends with the message at hand, a request or a response, for this reason. from_client, then what the client leg holds, goes to
 * the server, from_server to the client; both stay the caller's. Ends the exchange, dials where there is no server leg. */
void unread_start(struct conn *conn, enum http1_kind kind, const struct http1_error *error, struct slice from_client,
                  struct slice from_server);

/* The same where that may be; else the message is refused. */
void unread_or_refuse(struct conn *conn, enum http1_kind kind, const struct http1_error *error, struct slice from_client,
                      struct slice from_server);

/* What a message may have before its reading ends. */
const struct http1_limits *unread_limits(const struct conn *conn);

#endif
