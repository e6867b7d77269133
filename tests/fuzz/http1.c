/* HTTP/1 messages: bytes that come one at a time mean what they mean at once, nothing is read behind them, and no message with two
 * readings gets through. The first byte chooses request or response, the limits and, for a response, the method it answers. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>

#include "proxy/http1/http1.h"
#include "proxy/http1/http1_plain.h"

static const struct http1_limits wide = {65536, 128, 16384, 1024}, narrow = {256, 4, 64, 16};

struct scanned {
	int result;
	size_t head_length;
	struct http1_error error;
};

static void is_refusal(const struct http1_error *error, enum http1_kind kind)
{
	HOLDS(error->what && *error->what);
	if (kind == HTTP1_RESPONSE)
		HOLDS(error->reason == REASON_SERVER_INVALID && error->status == 502);
	else
		HOLDS(error->status == 400 || error->status == 414 || error->status == 431);
}

/* The head, of which `step` more bytes arrive at a time. */
static struct scanned scan(enum http1_kind kind, const uint8_t *data, size_t size, size_t step, const struct http1_limits *limits)
{
	struct input_scan state = {0};
	struct scanned s = {.result = -EAGAIN};
	for (size_t length = step < size ? step : size;; length = size - length > step ? length + step : size) {
		uint8_t *bytes = exact_copy(data, length);
		s.result = http1_scan_head(&state, kind, bytes, length, limits, &s.head_length, &s.error);
		free(bytes);
		HOLDS(s.result == 0 || s.result == -EAGAIN || s.result == -EBADMSG);
		if (s.result == -EBADMSG)
			is_refusal(&s.error, kind);
		if (s.result == 0)
			HOLDS(s.head_length <= length && s.head_length >= 4 && memcmp(data + s.head_length - 4, "\r\n\r\n", 4) == 0);
		if (s.result != -EAGAIN || length == size)
			return s;
	}
}

static bool inside(struct slice slice, const uint8_t *head, size_t length)
{
	return slice.bytes >= head && slice.length <= length && (size_t)(slice.bytes - head) <= length - slice.length;
}

/* Fields with this name, counted line by line. */
static int lines_named(const uint8_t *head, size_t length, const char *name)
{
	int count = 0;
	const uint8_t *line = head, *end = head + length, *lf;
	for (; (lf = memchr(line, '\n', (size_t)(end - line))); line = lf + 1)
		count += line != head && http1_line_is(line, (size_t)(lf - line), name);
	return count;
}

/* What no accepted head may hold: it is looked for without a parser. */
static void has_one_reading(enum http1_kind kind, const uint8_t *head, size_t length, const struct message_head *parsed)
{
	int lengths = lines_named(head, length, "content-length"), codings = lines_named(head, length, "transfer-encoding");
	HOLDS(!memchr(head, '\0', length));
	for (size_t i = 0; i < length; i++) {
		HOLDS(head[i] != '\n' || (i > 0 && head[i - 1] == '\r'));
		HOLDS(head[i] != '\r' || (i + 1 < length && head[i + 1] == '\n'));
		HOLDS(head[i] != '\n' || i + 1 == length || (head[i + 1] != ' ' && head[i + 1] != '\t'));
	}
	HOLDS(!(lengths && codings));
	HOLDS(!codings || parsed->minor == 1);
	HOLDS(parsed->minor <= 1);
	if (kind == HTTP1_REQUEST) {
		int hosts = lines_named(head, length, "host");
		HOLDS(hosts <= 1 && (hosts == 1 || parsed->minor == 0));
		HOLDS(parsed->framing != MESSAGE_UNTIL_CLOSE);
		HOLDS(parsed->framing == (codings ? MESSAGE_CHUNKED : lengths ? MESSAGE_LENGTH : MESSAGE_NO_BODY));
		HOLDS(inside(parsed->method, head, length) && inside(parsed->target, head, length));
	} else {
		HOLDS(parsed->status >= 100 && parsed->status <= 999);
	}
}

static bool same(struct slice one, struct slice other)
{
	return one.bytes == other.bytes && one.length == other.length;
}

/* What is taken for a plain head the scan and llhttp read alike. */
static void is_as_llhttp_has_it(enum http1_kind kind, const uint8_t *bytes, size_t size, const struct message_head *request,
				const struct scanned *scanned, const struct http1_limits *limits)
{
	struct message_head plain, parsed;
	struct http1_error error;
	size_t length = http1_plain_head(kind, bytes, size, request, limits, &plain);
	if (!length)
		return;
	HOLDS(scanned->result == 0 && scanned->head_length == length);
	HOLDS(http1_parse_head(kind, bytes, length, request, limits, &parsed, &error) == 0);
	HOLDS(same(plain.method, parsed.method) && same(plain.target, parsed.target));
	HOLDS(plain.content_length == parsed.content_length && plain.keep_alive_timeout_s == parsed.keep_alive_timeout_s);
	HOLDS(plain.status == parsed.status && plain.minor == parsed.minor && plain.framing == parsed.framing);
	HOLDS(plain.keep_alive == parsed.keep_alive && plain.idempotent == parsed.idempotent && plain.is_head == parsed.is_head);
	HOLDS(plain.is_connect == parsed.is_connect && plain.upgrade == parsed.upgrade && plain.accepts_text == parsed.accepts_text);
	HOLDS(plain.kube_probe == parsed.kube_probe);
}

struct fed {
	int result;
	size_t consumed;
	bool complete;
};

/* The body, of which `step` bytes arrive at a time. */
static struct fed feed(enum http1_kind kind, const struct message_head *head, const uint8_t *data, size_t size, size_t step,
		       const struct http1_limits *limits)
{
	struct message_body body;
	struct fed f = {0};
	HOLDS(http1_body_start(&body, head) == 0);
	for (size_t at = 0; at < size && !body.complete && f.result == 0; at += step) {
		size_t length = size - at < step ? size - at : step, consumed = SIZE_MAX;
		uint8_t *bytes = exact_copy(data + at, length);
		struct http1_error error;
		f.result = http1_body_feed(&body, kind, bytes, length, limits, &consumed, &error);
		free(bytes);
		HOLDS(f.result == 0 || f.result == -EBADMSG);
		if (f.result == 0) {
			/* Bytes are left over only where the body has ended. */
			HOLDS(consumed <= length && (consumed == length || body.complete));
			f.consumed += consumed;
		} else {
			is_refusal(&error, kind);
		}
	}
	f.complete = body.complete;
	message_body_free(&body);
	HOLDS(body.complete && !body.chunked);
	return f;
}

static void body_is_the_same_split(enum http1_kind kind, const struct message_head *head, const uint8_t *data, size_t size,
				   const struct http1_limits *limits)
{
	struct fed whole = feed(kind, head, data, size, size ? size : 1, limits), bytewise = feed(kind, head, data, size, 1, limits);
	HOLDS(whole.result == bytewise.result && whole.complete == bytewise.complete);
	HOLDS(whole.result || whole.consumed == bytewise.consumed);
	if (head->framing == MESSAGE_NO_BODY)
		HOLDS(whole.complete && whole.consumed == 0);
	if (head->framing == MESSAGE_LENGTH && whole.complete)
		HOLDS(whole.consumed == head->content_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	enum http1_kind kind = data[0] & 1 ? HTTP1_RESPONSE : HTTP1_REQUEST;
	const struct http1_limits *limits = data[0] & 2 ? &narrow : &wide;
	struct message_head question = {.is_head = data[0] & 4, .is_connect = (data[0] & 12) == 8}, head;
	data++;
	size--;

	struct scanned whole = scan(kind, data, size, size ? size : 1, limits), bytewise = scan(kind, data, size, 1, limits);
	HOLDS(whole.result == bytewise.result);
	uint8_t *message = exact_copy(data, size);
	is_as_llhttp_has_it(kind, message, size, kind == HTTP1_RESPONSE ? &question : NULL, &whole, limits);
	free(message);
	if (whole.result == 0)
		HOLDS(whole.head_length == bytewise.head_length);
	/* Where a limit is near, which of two faults is named depends on what has arrived. */
	if (whole.result == -EBADMSG && limits == &wide && size < 8192)
		HOLDS(whole.error.reason == bytewise.error.reason && whole.error.status == bytewise.error.status);
	if (whole.result)
		return 0;

	struct http1_error error;
	uint8_t *bytes = exact_copy(data, whole.head_length);
	int result = http1_parse_head(kind, bytes, whole.head_length, kind == HTTP1_RESPONSE ? &question : NULL, limits, &head, &error);
	HOLDS(result == 0 || result == -EBADMSG);
	if (result) {
		is_refusal(&error, kind);
	} else {
		has_one_reading(kind, bytes, whole.head_length, &head);
		body_is_the_same_split(kind, &head, data + whole.head_length, size - whole.head_length, limits);
	}
	free(bytes);
	return 0;
}
