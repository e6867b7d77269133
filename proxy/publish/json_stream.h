#ifndef LAPSE_PROXY_PUBLISH_JSON_STREAM_H
#define LAPSE_PROXY_PUBLISH_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct text;

/* Cuts what the API server sends into objects while it arrives, so that a list need not be held as a whole. Pure; what an object is
 * made of is for json.h to judge. */

enum json_stream_form {
	JSON_STREAM_EVENTS, /* one object after another: a watch */
	JSON_STREAM_LIST,   /* one object, whose "items" are handed out one by one and left out of the rest */
};

enum { JSON_STREAM_REST_MOST = 64 << 10 }; /* of a list without its items */

/* The first `most` bytes at least are kept of an object; of a larger one value() gets its beginning, and cut is set. The bytes are
 * borrowed for the call. False: no more is wanted. */
struct json_stream {
	enum json_stream_form form;
	size_t most;
	bool (*value)(void *owner, const char *bytes, size_t length, bool cut);
	void *owner;
	/* Below: json_stream.c's; zero at first. */
	struct buf item, rest;
	uint32_t depth;
	uint8_t key_length;
	char key[6]; /* the last text one level deep, if it is that short */
	bool quoted, escaped, in_items, in_item, cut, whole;
};

/* 0; -EBADMSG: no objects, or no list; -EMSGSIZE: a list whose rest is too large; -ECANCELED: value() wants no more; -ENOMEM. */
int json_stream_feed(struct json_stream *stream, const char *bytes, size_t length);

/* Whether nothing half is left: between two events, or behind a list. */
bool json_stream_is_whole(const struct json_stream *stream);

/* A list without its items, valid until the next feed or reset. */
const char *json_stream_rest(const struct json_stream *stream, size_t *length);

/* Forgets all that was fed; gives the memory back. */
void json_stream_reset(struct json_stream *stream);

/* metadata.namespace and metadata.name of an object of which only the beginning is there; of an event's object when `event`. Texts
 * are left alone where it does not show. */
void json_stream_find_name(const char *bytes, size_t length, bool event, struct text *namespace, struct text *name);

#endif
