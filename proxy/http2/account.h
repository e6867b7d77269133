#ifndef LAPSE_PROXY_HTTP2_ACCOUNT_H
#define LAPSE_PROXY_HTTP2_ACCOUNT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/connection/cause.h"
#include "proxy/http2/session.h"

struct log_line;

/* The lives of streams: how they begin, go on and end, and what is counted and told of that. */

/* The header block of this way is complete (session->flows[way].block): a request, a response, trailers. False: no memory. */
bool account_block(struct session *session, enum flow_way way);

/* The same of a PUSH_PROMISE. */
bool account_promised(struct session *session);

/* END_STREAM has passed, or came on a cut stream. The stream may be no more. */
void account_ended(struct session *session, enum flow_way way, struct stream *stream);

/* A RST_STREAM of this way's sender. */
void account_reset(struct session *session, enum flow_way way, uint32_t id, uint32_t code);

/* A GOAWAY of this way's sender. */
void account_goaway(const struct session *session, enum flow_way way);

/* The client was told that streams above `last` are not worked on: they end. */
void account_unprocessed(struct session *session, uint32_t last);

/* It ends badly: its record is written, and the sentence of it returned, which is the caller's (NULL: no memory). What becomes of the stream
 * is the caller's business. */
char *account_failed(struct session *session, struct stream *stream, struct cause cause, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));

/* It is cut: it counts no more among those that are open. */
void account_cut(struct session *session, struct stream *stream);

/* It is over and forgotten. */
void account_forget(struct session *session, struct stream *stream);

/* Nothing more is known of the streams that are open: what follows is not read. */
void account_leave(struct session *session);

/* Every stream ends with the connection. */
void account_all(struct session *session);

/* The fields of a record: the stream's that failed, or the connection's. */
void account_record(const struct conn *conn, struct log_line *line);

#endif
