#ifndef LAPSE_PROXY_HTTP1_REPLY_H
#define LAPSE_PROXY_HTTP1_REPLY_H

#include "proxy/exchange/answer.h"

struct text;

/* A synthesised answer: status line, the reason headers, one line of text for clients that accept text. */
enum { REPLY_MOST = LOCATION_MOST + 4096 };
void reply_write(const struct answer *answer, struct text *out);

/* The registered phrase of the statuses we answer with (RFC 9110 §15). */
const char *reply_phrase(int status);

#endif
