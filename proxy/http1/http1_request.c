#include "proxy/http1/http1_request.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "proxy/policy/route.h"

static bool http1_request_is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

static bool http1_request_next_field(const struct request_head *head, size_t *offset, struct slice *name, struct slice *value)
{
	const uint8_t *bytes = head->fields, *lf, *colon, *start, *stop;

	for (size_t at = *offset; at < head->size; at = (size_t)(lf + 1 - bytes)) {
		const uint8_t *line = bytes + at;

		lf = memchr(line, '\n', head->size - at);
		if (!lf)
			return false;
		colon = memchr(line, ':', (size_t)(lf - line));
		if (at == 0 || !colon)
			continue; /* the request line, the blank line */
		for (start = colon + 1; start < lf && http1_request_is_blank(*start); start++)
			;
		for (stop = lf; stop > start && http1_request_is_blank(stop[-1]); stop--)
			;
		*name = (struct slice){line, (size_t)(colon - line)};
		*value = (struct slice){start, (size_t)(stop - start)};
		*offset = (size_t)(lf + 1 - bytes);
		return true;
	}
	return false;
}

/* The authority of an absolute-form target, without user information; *target begins with the path then. */
static struct slice http1_request_cut_authority(struct slice *target)
{
	const uint8_t *scheme_end = memmem(target->bytes, target->length, "://", 3), *at;
	struct slice authority;

	if (!scheme_end)
		return (struct slice){0};
	target->length -= (size_t)(scheme_end + 3 - target->bytes);
	target->bytes = scheme_end + 3;
	authority = (struct slice){target->bytes, 0};
	while (authority.length < target->length && !strchr("/?#", authority.bytes[authority.length]))
		authority.length++;
	*target = (struct slice){target->bytes + authority.length, target->length - authority.length};
	at = memrchr(authority.bytes, '@', authority.length);
	if (at) {
		authority.length -= (size_t)(at + 1 - authority.bytes);
		authority.bytes = at + 1;
	}
	return authority;
}

void http1_request_head(struct request_head *out, const uint8_t *bytes, size_t head_length, struct slice method, struct slice target)
{
	struct slice name, value;
	size_t offset = 0;

	*out = (struct request_head){
	    .method = method, .path = target, .fields = bytes, .size = head_length, .next_field = http1_request_next_field};
	if (slice_is(method, "CONNECT") || slice_is(target, "*"))
		out->path.length = 0;
	else if (target.length > 0 && isalpha(target.bytes[0]))
		out->authority = http1_request_cut_authority(&out->path);
	if (out->authority.bytes && !out->path.length)
		out->path = (struct slice){(const uint8_t *)"/", 1};
	while (!out->authority.bytes && http1_request_next_field(out, &offset, &name, &value))
		if (name.length == 4 && strncasecmp((const char *)name.bytes, "host", 4) == 0)
			out->authority = value;
}
