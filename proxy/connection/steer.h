#ifndef LAPSE_PROXY_CONNECTION_STEER_H
#define LAPSE_PROXY_CONNECTION_STEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/http1/http1.h"

struct conn;
struct rewrite;

/* What the policy says, applied to connections and requests. */

/* A new connection: its worker's current policy, its target and timeouts, and where a TCPRoute sends it, or conn->refusal. */
void steer_accept(struct conn *conn);

/* It turned out to be opaque: a TLSRoute's rule by its server name. False: the rule refuses it; it has been closed. A leg dialled
 * elsewhere meanwhile is let go. */
bool steer_opaque(struct conn *conn);

/* A request begins: from here on conn->timeouts are those of its rule (and stay until the next one begins), conn->exchange->choice
 * says the rest. False: the proxy has answered it. */
bool steer_request(struct conn *conn, const uint8_t *bytes, size_t head_length, const struct http1_head *head);

/* How the head of this request, or of its response, is to be changed on its way. */
void steer_rewrite_request(const struct conn *conn, struct rewrite *rewrite);
void steer_rewrite_response(const struct conn *conn, struct rewrite *rewrite);

#endif
