#ifndef LAPSE_PROXY_CONNECTION_CONN_CLOSE_H
#define LAPSE_PROXY_CONNECTION_CONN_CLOSE_H

#include <stdarg.h>
#include <stdbool.h>

#include "lib/timeouts.h"
#include "proxy/connection/cause.h"

struct conn;

/* The one close door. The first call wins. Ends the exchange and the server leg, and the client's socket as the reason's row says:
 * RST at once, or FIN behind what is still to be flushed, with a short lingering read so that our last bytes are not lost to a RST.
 * The record goes out when the client's socket is closed. format: what was seen, without full stop; NULL: the row's sentence. The remedy is added. */
void conn_close(struct conn *conn, struct cause cause, const char *format, ...) __attribute__((format(printf, 3, 4)));
void conn_close_list(struct conn *conn, struct cause cause, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* It has ended and lingers: no longer. */
void conn_close_force(struct conn *conn);

/* The dial to the server failed with -errno, or, error 0, `connect` fired: an opaque connection ends. */
void conn_close_dial_failed(struct conn *conn, int error);

/* What a dead client leg means while nothing is under way on it. */
void conn_close_client_failed(struct conn *conn);

/* An idle timer is over. Where bytes for one side have not moved at all the connection ends as stalled, with a RST, or, where that server can still be answered for, with a 504; says what was not delivered.
 * False: nothing waits for anybody, the timer's own reason applies. */
bool conn_close_stalled(struct conn *conn, enum timeout_id timer);

/* How long a closed connection is read on, so that our last bytes are not destroyed by the RST that answers unread ones (RFC 9112 §9.6):
 * so long in silence. */
enum { CONN_LINGER_MS = 1000 };

/* Of one that lingers: the client's socket closes, with RST when `reset`, and the record goes out; the connection is no more. */
void conn_close_finish(struct conn *conn, bool reset);

#endif
