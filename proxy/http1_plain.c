#include "proxy/http1_plain.h"

#include <string.h>

#include "proxy/http1_field.h"

/* RFC 9110 §5.6.2 (token), §5.5 (field value), RFC 3986 §3.3 and §3.4 (path and query). */
enum { NAME = 1, VALUE = 2, TARGET = 4, ALL = NAME | VALUE | TARGET };

static const uint8_t classes[256] = {
    ['0' ... '9'] = ALL, ['A' ... 'Z'] = ALL, ['a' ... 'z'] = ALL,
    ['!'] = ALL, ['$'] = ALL, ['%'] = ALL, ['&'] = ALL, ['\''] = ALL, ['*'] = ALL, ['+'] = ALL, ['-'] = ALL, ['.'] = ALL, ['_'] = ALL,
    ['~'] = ALL,
    ['#'] = NAME | VALUE, ['^'] = NAME | VALUE, ['`'] = NAME | VALUE, ['|'] = NAME | VALUE,
    ['('] = VALUE | TARGET, [')'] = VALUE | TARGET, [','] = VALUE | TARGET, ['/'] = VALUE | TARGET, [':'] = VALUE | TARGET,
    [';'] = VALUE | TARGET, ['='] = VALUE | TARGET, ['?'] = VALUE | TARGET, ['@'] = VALUE | TARGET,
    ['\t'] = VALUE, [' '] = VALUE, ['"'] = VALUE, ['<'] = VALUE, ['>'] = VALUE, ['['] = VALUE, ['\\'] = VALUE, [']'] = VALUE,
    ['{'] = VALUE, ['}'] = VALUE, [0x80 ... 0xff] = VALUE,
};

static const uint8_t *http1_skip(const uint8_t *at, uint8_t class)
{
	while (classes[*at] & class)
		at++;
	return at;
}

/* False: the field says something that is for llhttp to read. */
static bool http1_plain_field(struct http1_slice name, struct http1_slice value, struct http1_head *head, unsigned *hosts)
{
	switch (name.length) {
	case 4:
		*hosts += http1_is(name, "host");
		return true;
	case 6:
		if (http1_is(name, "accept"))
			head->accepts_text |= http1_allows_text(value);
		return true;
	case 7:
		return !http1_is(name, "upgrade");
	case 10:
		return !http1_is(name, "keep-alive") && (!http1_is(name, "connection") || http1_is(value, "keep-alive"));
	case 14:
		return !http1_is(name, "content-length");
	case 16:
		return !http1_is(name, "proxy-connection");
	case 17:
		return !http1_is(name, "transfer-encoding");
	default:
		return true;
	}
}

/* The fields: where the blank line begins, or NULL. */
static const uint8_t *http1_plain_fields(const uint8_t *at, const uint8_t *end, size_t most, struct http1_head *head)
{
	unsigned hosts = 0;

	for (size_t fields = 0; at < end && *at != '\r'; fields++) {
		const uint8_t *colon = http1_skip(at, NAME), *value, *stop;

		if (colon == at || *colon != ':' || fields == most)
			return NULL;
		for (value = colon + 1; *value == ' ' || *value == '\t';)
			value++;
		stop = http1_skip(value, VALUE);
		if (stop[0] != '\r' || stop[1] != '\n')
			return NULL;
		if (!http1_plain_field((struct http1_slice){at, (size_t)(colon - at)}, (struct http1_slice){value, (size_t)(stop - value)}, head,
		                       &hosts))
			return NULL;
		at = stop + 2;
	}
	return end - at >= 2 && at[1] == '\n' && hosts == 1 ? at : NULL;
}

size_t http1_plain_request(const uint8_t *bytes, size_t length, const struct http1_limits *limits, struct http1_head *out)
{
	static const char version[] = " HTTP/1.1\r\n", shortest[] = "HEAD / HTTP/1.1\r\n\r\n";
	struct http1_head head = {.keep_alive_timeout_s = -1, .minor = 1, .keep_alive = true, .idempotent = true};
	const uint8_t *end = bytes + length, *target, *stop;

	/* No class has LF in it, so no walk passes the last byte. */
	if (length < sizeof shortest - 1 || bytes[length - 1] != '\n')
		return 0;
	head.is_head = memcmp(bytes, "HEAD /", 6) == 0;
	if (!head.is_head && memcmp(bytes, "GET /", 5) != 0)
		return 0;
	target = bytes + (head.is_head ? 5 : 4);
	stop = http1_skip(target, TARGET);
	head.method = (struct http1_slice){bytes, (size_t)(target - bytes) - 1};
	head.target = (struct http1_slice){target, (size_t)(stop - target)};
	if (head.target.length > limits->target_bytes || (size_t)(end - stop) < sizeof version - 1 ||
	    memcmp(stop, version, sizeof version - 1) != 0)
		return 0;
	stop = http1_plain_fields(stop + sizeof version - 1, end, limits->fields, &head);
	if (!stop || (size_t)(stop - bytes) + 2 > limits->head_bytes)
		return 0;
	*out = head;
	return (size_t)(stop - bytes) + 2;
}
