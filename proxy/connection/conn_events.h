#ifndef LAPSE_PROXY_CONNECTION_CONN_EVENTS_H
#define LAPSE_PROXY_CONNECTION_CONN_EVENTS_H

#include <stdbool.h>

struct conn;
struct origin;
struct upstream_user;
struct worker;

/* A new connection in STAGE_ACCEPT over a socket that listener.c has accepted, in the worker's list. NULL when there is no memory; the socket is
 * then still the caller's. */
struct conn *conn_new(struct worker *worker, int fd, const struct origin *origin);

/* Makes epoll interest and the wheel agree with the state: called after every event. */
void conn_settle(struct conn *conn);

/* SIGTERM: what need not stay ends. */
void conn_drain(struct conn *conn);

/* An operator ends it: FIN between requests, 503 where an answer is possible, else RST. False: it was ending already. */
bool conn_close_admin(struct conn *conn);

/* What the legs to servers tell the connections that they serve. */
extern const struct upstream_user conn_upstream_user;

#endif
