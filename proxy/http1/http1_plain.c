#include "proxy/http1/http1_plain.h"

#include <string.h>

#include "proxy/http1/http1_field.h"

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

/* At most 18 digits: no number that does not fit. */
static bool http1_plain_length(struct slice value, uint64_t *length)
{
	*length = 0;
	for (size_t i = 0; i < value.length; i++) {
		if (value.bytes[i] < '0' || value.bytes[i] > '9')
			return false;
		*length = *length * 10 + (value.bytes[i] - '0');
	}
	return value.length && value.length <= 18;
}

/* False: the field says something that is for llhttp to read. *once counts the one that there must be. */
static bool http1_plain_field(enum http1_kind kind, struct slice name, struct slice value, struct message_head *head,
                              unsigned *once)
{
	switch (name.length) {
	case 4:
		if (kind == HTTP1_RESPONSE || !http1_is(name, "host"))
			return true;
		++*once;
		return http1_is_host(value);
	case 6:
		if (http1_is(name, "accept"))
			head->accepts_text |= http1_allows_text(value);
		return !http1_is(name, "expect");
	case 7:
		return !http1_is(name, "upgrade");
	case 10:
		if (http1_is(name, "keep-alive"))
			head->keep_alive_timeout_s = http1_keep_alive_timeout(value);
		else if (http1_is(name, "user-agent"))
			head->kube_probe |= http1_is_kube_probe(value);
		return !http1_is(name, "connection") || http1_is(value, "keep-alive");
	case 13:
	case 18:
	case 19:
		return !http1_binds_connection(name, value);
	case 14:
		if (!http1_is(name, "content-length"))
			return true;
		++*once;
		return kind == HTTP1_RESPONSE && http1_plain_length(value, &head->content_length);
	case 16:
		return !http1_is(name, "proxy-connection") && !http1_binds_connection(name, value);
	case 17:
		if (!http1_is(name, "transfer-encoding"))
			return true;
		++*once;
		head->framing = MESSAGE_CHUNKED;
		return kind == HTTP1_RESPONSE && http1_is(value, "chunked");
	default:
		return true;
	}
}

/* The fields: where the blank line begins, or NULL. */
static const uint8_t *http1_plain_fields(enum http1_kind kind, const uint8_t *at, const uint8_t *end, size_t most,
                                         struct message_head *head)
{
	unsigned once = 0;

	for (size_t fields = 0; at < end && *at != '\r'; fields++) {
		const uint8_t *colon = http1_skip(at, NAME), *value, *stop;

		if (colon == at || *colon != ':' || fields == most)
			return NULL;
		for (value = colon + 1; *value == ' ' || *value == '\t';)
			value++;
		stop = http1_skip(value, VALUE);
		if (stop[0] != '\r' || stop[1] != '\n')
			return NULL;
		if (!http1_plain_field(kind, (struct slice){at, (size_t)(colon - at)},
		                       (struct slice){value, (size_t)(stop - value)}, head, &once))
			return NULL;
		at = stop + 2;
	}
	return end - at >= 2 && at[1] == '\n' && once == 1 ? at : NULL;
}

/* The first line: where the next begins, or NULL. */
static const uint8_t *http1_plain_request_line(const uint8_t *bytes, const uint8_t *end, size_t most, struct message_head *head)
{
	static const char version[] = " HTTP/1.1\r\n";
	const uint8_t *target, *stop;

	head->is_head = memcmp(bytes, "HEAD /", 6) == 0;
	if (!head->is_head && memcmp(bytes, "GET /", 5) != 0)
		return NULL;
	target = bytes + (head->is_head ? 5 : 4);
	stop = http1_skip(target, TARGET);
	head->method = (struct slice){bytes, (size_t)(target - bytes) - 1};
	head->target = (struct slice){target, (size_t)(stop - target)};
	head->idempotent = true;
	if (head->target.length > most || (size_t)(end - stop) < sizeof version - 1 || memcmp(stop, version, sizeof version - 1) != 0)
		return NULL;
	return stop + sizeof version - 1;
}

/* Of a status after which a body follows. */
static const uint8_t *http1_plain_status_line(const uint8_t *bytes, const struct message_head *request, struct message_head *head)
{
	static const char version[] = "HTTP/1.1 ";
	const uint8_t *code = bytes + sizeof version - 1, *stop;
	uint64_t status;

	if (memcmp(bytes, version, sizeof version - 1) != 0 || !http1_plain_length((struct slice){code, 3}, &status) ||
	    code[3] != ' ')
		return NULL;
	stop = http1_skip(code + 4, VALUE);
	if (stop[0] != '\r' || stop[1] != '\n' || request->is_head || request->is_connect || status < 200 || status == 204 || status == 304)
		return NULL;
	head->status = (uint16_t)status;
	head->framing = MESSAGE_LENGTH;
	return stop + 2;
}

size_t http1_plain_head(enum http1_kind kind, const uint8_t *bytes, size_t length, const struct message_head *request,
                        const struct http1_limits *limits, struct message_head *out)
{
	enum { SHORTEST = sizeof "HEAD / HTTP/1.1\r\n\r\n" - 1, MOST = 4096 };
	struct message_head head = {.keep_alive_timeout_s = -1, .minor = 1, .keep_alive = true};
	/* No class has LF in it, so no walk passes the last one. */
	const uint8_t *lf = memrchr(bytes, '\n', length < MOST ? length : MOST), *end = lf ? lf + 1 : bytes, *at;

	if (end - bytes < SHORTEST)
		return 0;
	if (kind == HTTP1_REQUEST)
		at = http1_plain_request_line(bytes, end, limits->target_bytes, &head);
	else
		at = http1_plain_status_line(bytes, request, &head);
	if (at)
		at = http1_plain_fields(kind, at, end, limits->fields, &head);
	if (!at || (size_t)(at - bytes) + 2 > limits->head_bytes)
		return 0;
	*out = head;
	return (size_t)(at - bytes) + 2;
}
