#ifndef LAPSE_PROXY_CONNECTION_CLOSING_H
#define LAPSE_PROXY_CONNECTION_CLOSING_H

#include <stdarg.h>
#include <stdbool.h>

#include "lib/reason.h"
#include "lib/timeouts.h"

struct conn;
struct ending;
struct leg;
struct text;

/* Why something ends, before it is written into a record. */
struct cause {
	enum reason_id reason;
	enum reason_by by;     /* BY_PEER never */
	enum timeout_id timer; /* TIMEOUT_NONE unless a timer fired */
	int status;            /* of the answer, where it is not the reason's own; 0 = the reason's */
	bool at_rest;          /* nothing is under way: end with FIN, whatever the reason's row says */
	bool reset;            /* end with RST, likewise: as the other side did */
	bool answered;         /* a synthesised answer is on its way to the client: end with FIN behind it */
};

/* The reason with its row's `by`; with the side that acted; with the timer that fired. */
struct cause cause_of(enum reason_id reason);
struct cause cause_by(enum reason_id reason, enum reason_by by);
struct cause cause_timer(enum reason_id reason, enum timeout_id timer);

/* The one close door. The first call wins. Ends the exchange and the server leg, and the client's socket as the reason's row says:
 * RST at once, or FIN behind what is still to be flushed, with a short lingering read so that our last bytes are not lost to a RST.
 * The record goes out when the client's socket is closed. format: what was seen, without full stop; NULL: the row's sentence. The remedy is added. */
void conn_close(struct conn *conn, struct cause cause, const char *format, ...) __attribute__((format(printf, 3, 4)));
void conn_close_list(struct conn *conn, struct cause cause, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* Whether what looks like the server's doing is ours: the dial came back to this proxy. Then it ends as REASON_REDIRECT_LOOP
 * with these words. */
bool closing_looped(const struct conn *conn, enum reason_id reason);
void closing_looped_words(const struct conn *conn, struct text *out);

/* An operator ends it: FIN between requests, 503 where an answer is possible, else RST. False: it was ending already. */
bool conn_close_admin(struct conn *conn);

/* So much of what a client goes on sending is read and thrown away; nobody wants it. */
enum { CLOSING_DISCARD_MOST = 1024 * 1024 };

/* It has ended and lingers: no longer. */
void closing_force(struct conn *conn);

/* What the timer is set to for this connection, and where. */
const struct timeout_value *conn_timeout(const struct conn *conn, enum timeout_id timer);

/* Fills *ending for a cause as of now, without words. */
void ending_fill(struct ending *ending, const struct conn *conn, struct cause cause);

/* Its words: the detail, to which the remedy is added, and the kernel's view. */
void ending_explain(struct ending *ending, const struct conn *conn, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* The timer that fired, if one did, into the metrics: once for each record. */
void ending_count(const struct conn *conn, const struct ending *ending);
void ending_free(struct ending *ending);

/* The dial to the server failed with -errno, or, error 0, `connect` fired: an opaque connection ends. */
void conn_close_dial_failed(struct conn *conn, int error);

/* What a dead client leg means while nothing is under way on it. */
void conn_close_client_failed(struct conn *conn);

#endif
