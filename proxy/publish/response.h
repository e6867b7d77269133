#ifndef LAPSE_PROXY_PUBLISH_RESPONSE_H
#define LAPSE_PROXY_PUBLISH_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

/* HTTP/1.1 responses (RFC 9112), piece by piece. A door to llhttp. */

enum { RESPONSE_HEAD_MOST = 64 << 10 };

struct response_head {
	int status;             /* 200 – 599; what is before a 1xx's end is passed over */
	bool json;              /* the content type is application/json */
	int64_t retry_after_ms; /* -1 = none, or a date; at most an hour */
};

/* Called from response_feed(). False: no more is wanted. */
struct response_events {
	bool (*head)(void *owner, const struct response_head *head);
	bool (*body)(void *owner, const char *bytes, size_t length);
};

struct response;

/* events is borrowed for its life. NULL when there is no memory. */
struct response *response_new(const struct response_events *events, void *owner);
void response_free(struct response *response); /* NULL is fine; not from a call of its own */

/* The next response is a new one. */
void response_begin(struct response *response);

/* 0: more is to come; 1: the response is complete; -EBADMSG with a sentence; -ECANCELED: an event wanted no more. */
int response_feed(struct response *response, const char *bytes, size_t length, struct text *error);

/* The connection has ended: 1 when that completes the response, else -EBADMSG with a sentence. */
int response_end(struct response *response, struct text *error);

/* Whether any byte of it has come; once complete, whether the connection may carry another request. */
bool response_begun(const struct response *response);
bool response_keeps(const struct response *response);

#endif
