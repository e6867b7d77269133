#ifndef LAPSE_PROXY_CONNECTION_PROTO_H
#define LAPSE_PROXY_CONNECTION_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "lib/timeouts.h"
#include "proxy/connection/deadline.h"

struct conn;
struct input;

/* What a protocol does with a connection's events. Handlers mark; conn.c derives interest and deadlines afterwards. */
struct proto {
	const char *name;
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
};

/* Carries bytes both ways from now on: the stage is STAGE_CONNECT (a dial is under way), STAGE_OPAQUE or STAGE_TUNNEL. What the
 * client leg holds goes to the server, server_bytes, read already, to the client. */
void proto_opaque_start(struct conn *conn, const uint8_t *server_bytes, size_t length);

/* The protocol was just found to be HTTP/1, by what came in `input`, which stays the caller's. */
void proto_http1_first(struct conn *conn, struct input *input);

/* The same, of a first line that a lenient server would take for a request, where that may not be: it is refused. */
void proto_http1_refuse_first(struct conn *conn, struct input *input);

extern const struct proto proto_detect;
extern const struct proto proto_opaque;
extern const struct proto proto_http1;

#endif
