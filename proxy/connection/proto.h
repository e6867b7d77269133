#ifndef LAPSE_PROXY_CONNECTION_PROTO_H
#define LAPSE_PROXY_CONNECTION_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reason.h"
#include "lib/timeouts.h"
#include "proxy/connection/deadline.h"

struct answer;
struct cause;
struct conn;
struct input;
struct log_line;
struct text;
struct timeout_value;

/* What a protocol does with a connection's events. Handlers mark; conn.c derives interest and deadlines afterwards. */
struct proto {
	const char *name;
	bool lingers; /* its client is sent nothing but a FIN, and may have sent what crosses that: it is read on for a while */
	/* The client leg: something to read (or its end), and after `out` was flushed. */
	void (*client_readable)(struct conn *conn);
	void (*client_writable)(struct conn *conn);
	/* The server leg. connected: 0, or the -errno of the dial. */
	void (*server_connected)(struct conn *conn, int result);
	void (*server_readable)(struct conn *conn);
	void (*server_writable)(struct conn *conn);
	/* A leg can no longer be written or has died; leg->error says how. */
	void (*client_failed)(struct conn *conn);
	void (*server_failed)(struct conn *conn);
	/* A timer of the stage fired. */
	void (*expired)(struct conn *conn, enum timeout_id timer);
	/* An alarm that was armed in this stage. */
	void (*alarmed)(struct conn *conn, enum alarm alarm);
	void (*drain)(struct conn *conn);

	/* Of a protocol that is found by its first bytes, NULL otherwise. It was, by what came in `input`, which stays the caller's. */
	void (*first)(struct conn *conn, struct input *input);
	/* The same, of a first line that a lenient server would take for a request, where that may not be: it is refused. */
	void (*refuse_first)(struct conn *conn, struct input *input);
	/* It was, by what its server said before its client did. What the client has sent is held in its leg. */
	void (*first_of_server)(struct conn *conn, uint8_t *bytes, size_t length);
	/* Whether bytes that cannot be read in it may go on as they came, because nothing is decided by reading them. */
	bool (*may_go_unread)(const struct conn *conn);
	/* The connection cannot be taken. A client that has sent a request in this protocol already is told why: true. */
	bool (*turn_away)(struct conn *conn, enum reason_id reason, const char *fact);

	/* Of a protocol with exchanges; NULL otherwise. */
	size_t exchange_size; /* of the worker's exchange_memory */
	/* The phase of the exchange under way: a stage, or an enum phase. */
	unsigned (*phase)(const struct conn *conn);
	/* The next of these of its timers. */
	struct deadline (*deadline)(const struct conn *conn, uint32_t timers);
	/* The exchange under way, or the beginning of one, cannot succeed: answered where that is possible, else the connection ends. */
	void (*fail)(struct conn *conn, struct cause cause, const char *format, ...) __attribute__((format(printf, 3, 4)));
	/* Sends the proxy's own answer to the request at hand (exchange/answer.h). 0, or as leg_send(). */
	int (*answer)(struct conn *conn, const struct answer *answer);
	/* What the record of an end says of the exchange under way: "; attempt 2 of 3". */
	void (*describe)(const struct conn *conn, struct text *out);
	/* The streams under way, as elements of a JSON list: so many as there is room for. */
	void (*streams)(const struct conn *conn, struct text *out);
	/* The earliest of their timers, before deadline->at: it, and its value. False: there is none. */
	bool (*next_timer)(const struct conn *conn, struct deadline *deadline, const struct timeout_value **value);
	/* More fields for the record being written, of a connection or a request. */
	void (*record)(const struct conn *conn, struct log_line *line);
	/* The connection ends: so does what is under way on it. */
	void (*ended)(struct conn *conn);
};

/* Carries bytes both ways from now on: the stage is STAGE_CONNECT (a dial is under way), STAGE_OPAQUE or STAGE_TUNNEL. What the
 * client leg holds goes to the server, server_bytes, read already, to the client. */
void proto_opaque_start(struct conn *conn, const uint8_t *server_bytes, size_t length);

extern const struct proto proto_detect;
extern const struct proto proto_opaque;
extern const struct proto proto_linger;

#endif
