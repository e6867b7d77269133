#ifndef LAPSE_PROXY_CONNECTION_STEER_H
#define LAPSE_PROXY_CONNECTION_STEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/http1/http1.h"

struct conn;
struct rewrite;

/* What the policy says, applied to connections and requests. */

/* A new connection: its target, its terms, and where a TCPRoute sends it, or conn->refusal. False: there is no memory for that. */
bool steer_accept(struct conn *conn);

/* It turned out to be opaque: a TLSRoute's rule by its server name. False: the rule refuses it; it has been closed. A leg dialled
 * elsewhere meanwhile is let go. */
bool steer_opaque(struct conn *conn);

/* A request begins, by the newest policy: from here on conn->terms are those of its rule (and stay until the next one begins), and
 * *rewrite, which is all zero before, says how its head is to be changed on its way, until the end of the round. False: the proxy has
 * answered it. */
bool steer_request(struct conn *conn, const uint8_t *bytes, size_t head_length, const struct http1_head *head, struct rewrite *rewrite);

/* How the head of its response is to be changed. */
void steer_rewrite_response(const struct conn *conn, struct rewrite *rewrite);

#endif
