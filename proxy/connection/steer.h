#ifndef LAPSE_PROXY_CONNECTION_STEER_H
#define LAPSE_PROXY_CONNECTION_STEER_H

#include <stdbool.h>

struct conn;
struct policy_choice;

/* What the policy says, applied to connections; to requests in exchange/choice.h. */

/* A new connection: its target, its terms, and where a TCPRoute sends it, or conn->refusal. False: there is no memory for that. */
bool steer_accept(struct conn *conn);

/* It turned out to be opaque: a TLSRoute's rule by its server name. False: the rule refuses it; it has been closed. A leg dialled
 * elsewhere meanwhile is let go. */
bool steer_opaque(struct conn *conn);

/* The target and terms of the newest policy hold, where it has changed. False: no memory, and those before hold. */
bool steer_renew(struct conn *conn);

/* What has been chosen is in force. False: there is no memory for it, and nothing has changed. */
bool steer_take(struct conn *conn, const struct policy_choice *choice);

#endif
