#ifndef LAPSE_PROXY_HTTP1_HTTP1_H
#define LAPSE_PROXY_HTTP1_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reason.h"
#include "proxy/exchange/message.h"
#include "proxy/leg/input.h"

struct text;

/* HTTP/1 messages as bytes: where a head ends, what it says, where a body ends. Pure, and the only door to llhttp, in its
 * strict mode. A message whose framing two parsers could read differently is an error here (RFC 9112 §6.3, §11.2). */

struct http1_limits {
	size_t head_bytes;
	size_t fields;
	size_t target_bytes;
	size_t chunk_extension_bytes; /* per message */
};

/* What the owner set for messages: their limits, and whether one that is refused ends the connection instead of going on unread. */
struct http1_settings {
	struct http1_limits limits;
	bool refuse_malformed;
};

enum http1_kind { HTTP1_REQUEST, HTTP1_RESPONSE };

/* Why a message is refused. For a response every reason is REASON_SERVER_INVALID. */
struct http1_error {
	enum reason_id reason; /* REASON_REQUEST_INVALID, _REQUEST_AMBIGUOUS, _HEAD_TOO_LARGE, _SERVER_INVALID */
	int status;            /* 400, 414, 431; 502 for a response */
	const char *what;      /* "a header field line is folded"; static */
	size_t offset;         /* of the byte in the message where it was noticed */
	uint64_t limit;        /* the value of the limit that `what` ends with, 0 = it names none */
};

/* Looks for the end of the head that starts at bytes[0], resuming where the last call stopped: bytes is the same head, longer.
 * Refuses bare CR, bare LF, NUL, folded lines and what is over a limit as soon as it can be seen.
 * 0 and the head's length with its blank line; -EAGAIN: more bytes are needed; -EBADMSG and *error. */
int http1_scan_head(struct input_scan *scan, enum http1_kind kind, const uint8_t *bytes, size_t length,
                    const struct http1_limits *limits, size_t *head_length, struct http1_error *error);

/* What a complete head says. request: the one a response answers (its method decides whether a body follows), NULL for a request.
 * 0, or -EBADMSG and *error. */
int http1_parse_head(enum http1_kind kind, const uint8_t *bytes, size_t head_length, const struct message_head *request,
                     const struct http1_limits *limits, struct message_head *out, struct http1_error *error);

/* Both: 0 and what the head that starts at bytes[0] says, *scan being ready for the next; -EAGAIN: more bytes are needed; -EBADMSG and
 * *error. */
int http1_read_head(struct input_scan *scan, enum http1_kind kind, const uint8_t *bytes, size_t length, const struct message_head *request,
                    const struct http1_limits *limits, size_t *head_length, struct message_head *out, struct http1_error *error);

/* The body behind this head begins. 0 or -ENOMEM. */
int http1_body_start(struct message_body *body, const struct message_head *head);

/* How many of these bytes belong to the body, trailers included; body->complete says whether it ends there.
 * 0 or -EBADMSG and *error, then none of the bytes may go on. */
int http1_body_feed(struct message_body *body, enum http1_kind kind, const uint8_t *bytes, size_t length,
                    const struct http1_limits *limits, size_t *consumed, struct http1_error *error);

/* Whether a header field line (at bytes, up to its CRLF) has this name, given in lower case. */
bool http1_line_is(const uint8_t *bytes, size_t length, const char *name);

/* The version of llhttp. */
void http1_library(struct text *out);

#endif
