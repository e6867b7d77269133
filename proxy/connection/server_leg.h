#ifndef LAPSE_PROXY_CONNECTION_SERVER_LEG_H
#define LAPSE_PROXY_CONNECTION_SERVER_LEG_H

#include <stdbool.h>

#include "lib/reason.h"

struct cause;
struct conn;
struct sock_listening;
struct text;

/* The leg to its server that a connection has, conn->upstream: got, and let go. */

/* Starts connecting to conn_destination(); conn->upstream is set and connecting. 0 or the -errno of the dial. */
int server_leg_dial(struct conn *conn);

/* Attaches an idle one from the pool that is still usable. */
bool server_leg_take(struct conn *conn);

/* The connection lets go of its resting leg: into the pool, or closed when the pool is full. */
void server_leg_release(struct conn *conn);

/* The connection's leg ends now, with RST when `reset`. */
void server_leg_drop(struct conn *conn, bool reset);

/* Whether the application in this pod listens and its accept queue is full: then the kernel drops the last packet of a handshake. */
bool server_leg_queue_full(const struct conn *conn, struct sock_listening *queue);

/* A dial that failed with -errno: its cause, and the detail for the record; error 0: `connect` fired. */
struct cause server_leg_dial_cause(int error);
void server_leg_describe_dial(const struct conn *conn, int error, struct text *out);

/* Whether what looks like the server's doing is ours: the dial came back to this proxy. Then it ends as REASON_REDIRECT_LOOP
 * with these words. */
bool server_leg_looped(const struct conn *conn, enum reason_id reason);
void server_leg_looped_words(const struct conn *conn, struct text *out);

#endif
