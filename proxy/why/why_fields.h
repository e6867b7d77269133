#ifndef LAPSE_PROXY_WHY_WHY_FIELDS_H
#define LAPSE_PROXY_WHY_WHY_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

/* The fields of one log line, as lib/log.c writes them: logfmt, or one flat JSON object (RFC 8259). Pure; nothing is copied. */

/* Bytes inside a line; bytes NULL: there are none. */
struct why_slice {
	const char *bytes;
	size_t length;
};

bool why_slice_is(struct why_slice slice, const char *text);

struct why_field {
	struct why_slice key;
	struct why_slice value; /* without its quotes */
	bool text;              /* it was quoted: in JSON a string */
	bool escaped;           /* it holds backslashes: why_fields_unescape() */
	bool nested;            /* JSON: an object or a list, whole */
};

struct why_fields {
	const char *at, *end;
	bool json; /* as the first byte says */
	bool begun, ended;
};

void why_fields_begin(struct why_fields *fields, const char *bytes, size_t length);

/* The next field. 1; 0 at the end of a line that is whole; -EBADMSG where it is cut off or is neither form. */
int why_fields_next(struct why_fields *fields, struct why_field *out);

/* The value without its escapes, never longer than it was. Returns its length; out gets no NUL. */
size_t why_fields_unescape(struct why_slice value, char *out);

#endif
