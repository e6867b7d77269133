#ifndef LAPSE_PROXY_HTTP1_REPLY_H
#define LAPSE_PROXY_HTTP1_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reason.h"

struct addr;
struct buf;
struct text;

/* A synthesised answer: status line, the reason headers, one line of text for clients that accept text. */
struct reply {
	int status;
	const char *location; /* of a redirect, which has neither reason nor body, at most LOCATION_MOST bytes; NULL otherwise */
	enum reason_id reason;
	const char *detail;  /* without full stop */
	bool reason_headers; /* lapse-reason, lapse-detail and Proxy-Status (RFC 9209); without, there is no body either */
	bool body;           /* the client accepts text and the request was not HEAD */
	bool close;
};

enum { LOCATION_MOST = 16384, REPLY_MOST = LOCATION_MOST + 4096 };
void reply_write(const struct reply *reply, struct text *out);

/* The registered phrase of the statuses we answer with (RFC 9110 §15). */
const char *reply_phrase(int status);

#endif
