#include "proxy/http1/http1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <llhttp.h>

#include "lib/text.h"
#include "proxy/http1/http1_field.h"
#include "proxy/http1/http1_plain.h"

/* Longest method and version around a target, when the limit must be judged before the line has ended. */
enum { REQUEST_LINE_EXTRA = 64 };

static int http1_refuse(struct http1_error *error, enum http1_kind kind, enum reason_id reason, int status, const char *what,
                        size_t offset)
{
	bool response = kind == HTTP1_RESPONSE;

	*error = (struct http1_error){response ? REASON_SERVER_INVALID : reason, response ? 502 : status, what, offset};
	return -EBADMSG;
}

static int http1_refuse_over(struct http1_error *error, enum http1_kind kind, int status, const char *what, uint64_t limit, size_t offset)
{
	http1_refuse(error, kind, REASON_HEAD_TOO_LARGE, status, what, offset);
	error->limit = limit;
	return -EBADMSG;
}

static int http1_scan_line(const struct input_scan *scan, enum http1_kind kind, const uint8_t *bytes, size_t end,
                           struct http1_error *error)
{
	const uint8_t *line = bytes + scan->line, *odd;
	size_t length = end - scan->line; /* without the LF, if there is one */

	if (scan->fields && (line[0] == ' ' || line[0] == '\t'))
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a header field line is folded", scan->line);
	if ((odd = memchr(line, '\0', length)))
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a NUL byte", (size_t)(odd - bytes));
	odd = memchr(line, '\r', length);
	if (odd && odd != line + length - 1)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a CR that no LF follows", (size_t)(odd - bytes));
	return 0;
}

/* The length of a head that is here as a whole and has nothing wrong with its lines; 0 when that takes a closer look. */
static size_t http1_scan_whole(const uint8_t *bytes, size_t length, const struct http1_limits *limits)
{
	const uint8_t *line = bytes, *end = bytes + (length < limits->head_bytes ? length : limits->head_bytes), *lf;

	for (size_t lines = 0; lines <= limits->fields + 1; lines++, line = lf + 1) {
		lf = memchr(line, '\n', (size_t)(end - line));
		if (!lf || lf == line || memchr(line, '\r', (size_t)(lf - line)) != lf - 1)
			return 0;
		if (lines && lf == line + 1)
			return memchr(bytes, '\0', (size_t)(lf - bytes)) ? 0 : (size_t)(lf + 1 - bytes);
		if (lines ? *line == ' ' || *line == '\t' : (size_t)(lf - bytes) > limits->target_bytes)
			return 0;
	}
	return 0;
}

int http1_scan_head(struct input_scan *scan, enum http1_kind kind, const uint8_t *bytes, size_t length,
                    const struct http1_limits *limits, size_t *head_length, struct http1_error *error)
{
	size_t whole = scan->line ? 0 : http1_scan_whole(bytes, length, limits);

	if (whole) {
		*head_length = whole;
		return 0;
	}
	while (scan->line < length) {
		const uint8_t *lf = memchr(bytes + scan->line, '\n', length - scan->line);
		size_t end = lf ? (size_t)(lf - bytes) : length;
		int result = http1_scan_line(scan, kind, bytes, end, error);

		if (result)
			return result;
		if (!scan->fields && kind == HTTP1_REQUEST && end > limits->target_bytes + REQUEST_LINE_EXTRA)
			return http1_refuse_over(error, kind, 414, "the request target is over --max-target-size", limits->target_bytes, end);
		if ((lf ? end + 1 : end) > limits->head_bytes)
			return http1_refuse_over(error, kind, 431, "the head is over --max-head-size", limits->head_bytes, end);
		if (!lf)
			return -EAGAIN;
		if (end == scan->line || bytes[end - 1] != '\r')
			return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a line that ends in LF without CR", end);
		if (end == scan->line + 1u && scan->fields) {
			*head_length = end + 1;
			return 0;
		}
		if (++scan->fields > limits->fields + 1)
			return http1_refuse_over(error, kind, 431, "more header fields than --max-head-fields", limits->fields, end);
		scan->line = (uint32_t)end + 1;
	}
	return -EAGAIN;
}

/* What the callbacks gather. */
struct gather {
	llhttp_t parser; /* first: the callbacks get its address */
	struct message_head *head;
	struct slice name;
	struct slice value;
	struct slice host;
	unsigned hosts, transfer_encodings, content_lengths;
	bool other_coding, odd_host; /* a Transfer-Encoding that is not `chunked` alone; a Host that is none */
	uint16_t flags; /* of the complete head: llhttp forgets them with the message */
};

static struct gather *http1_gather(llhttp_t *parser)
{
	return (struct gather *)(void *)parser;
}

static int http1_on_name(llhttp_t *parser, const char *at, size_t length)
{
	http1_gather(parser)->name = (struct slice){(const uint8_t *)at, length};
	http1_gather(parser)->value = (struct slice){0};
	return 0;
}

static int http1_on_value(llhttp_t *parser, const char *at, size_t length)
{
	http1_gather(parser)->value = (struct slice){(const uint8_t *)at, length};
	return 0;
}

static int http1_on_value_complete(llhttp_t *parser)
{
	struct gather *gather = http1_gather(parser);
	struct slice name = gather->name;

	switch (name.length) {
	case 4:
		if (!http1_is(name, "host"))
			break;
		gather->hosts++;
		gather->host = gather->value;
		gather->odd_host |= !http1_is_host(gather->value);
		break;
	case 6:
		if (http1_is(name, "accept"))
			gather->head->accepts_text |= http1_allows_text(gather->value);
		else if (http1_is(name, "expect"))
			gather->head->expects_continue |= http1_is(http1_trimmed(gather->value), "100-continue");
		break;
	case 10:
		if (http1_is(name, "keep-alive"))
			gather->head->keep_alive_timeout_s = http1_keep_alive_timeout(gather->value);
		else if (http1_is(name, "user-agent"))
			gather->head->kube_probe |= http1_is_kube_probe(gather->value);
		break;
	case 14:
		gather->content_lengths += http1_is(name, "content-length");
		break;
	case 17:
		if (!http1_is(name, "transfer-encoding"))
			break;
		gather->transfer_encodings++;
		gather->other_coding |= !http1_is(http1_trimmed(gather->value), "chunked");
		break;
	default:
		break;
	}
	gather->head->connection_auth |= http1_binds_connection(name, gather->value);
	return 0;
}

static int http1_on_headers_complete(llhttp_t *parser)
{
	http1_gather(parser)->flags = parser->flags;
	return 0;
}

static const llhttp_settings_t head_settings = {
    .on_header_field = http1_on_name,
    .on_header_value = http1_on_value,
    .on_header_value_complete = http1_on_value_complete,
    .on_headers_complete = http1_on_headers_complete,
};

static bool http1_method_is(struct slice method, const char *name)
{
	return method.length == strlen(name) && memcmp(method.bytes, name, method.length) == 0;
}

static bool http1_is_idempotent(struct slice method)
{
	static const char *const names[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (http1_method_is(method, names[i]))
			return true;
	return false;
}

static enum message_framing http1_framing_of(enum http1_kind kind, const struct gather *gather, const struct message_head *request)
{
	const llhttp_t *parser = &gather->parser;

	if (kind == HTTP1_RESPONSE && (request->is_head || parser->status_code / 100 == 1 || parser->status_code == 204 ||
	                               parser->status_code == 304 || (request->is_connect && parser->status_code / 100 == 2)))
		return MESSAGE_NO_BODY;
	if (gather->transfer_encodings)
		return MESSAGE_CHUNKED;
	if (gather->content_lengths)
		return MESSAGE_LENGTH;
	return kind == HTTP1_REQUEST ? MESSAGE_NO_BODY : MESSAGE_UNTIL_CLOSE;
}

static const char *http1_ambiguity(const struct gather *gather)
{
	const llhttp_t *parser = &gather->parser;

	if (gather->transfer_encodings && gather->content_lengths)
		return "Content-Length beside Transfer-Encoding";
	if (gather->content_lengths > 1)
		return "more than one Content-Length";
	if (gather->transfer_encodings > 1)
		return "more than one Transfer-Encoding";
	if (gather->transfer_encodings && parser->http_minor == 0)
		return "Transfer-Encoding in HTTP/1.0";
	if (gather->other_coding)
		return "a Transfer-Encoding other than chunked";
	return NULL;
}

static int http1_refuse_llhttp(struct http1_error *error, enum http1_kind kind, const struct gather *gather, const uint8_t *bytes)
{
	const llhttp_t *parser = &gather->parser;
	const char *position = llhttp_get_error_pos(parser);
	size_t offset = position && position >= (const char *)bytes ? (size_t)(position - (const char *)bytes) : 0;

	const char *what = llhttp_get_error_reason(parser);
	enum reason_id reason = REASON_REQUEST_AMBIGUOUS;

	bool length = parser->flags & F_CONTENT_LENGTH || http1_is(gather->name, "content-length");
	bool coding = parser->flags & F_TRANSFER_ENCODING || http1_is(gather->name, "transfer-encoding");

	if (length && coding)
		what = "Content-Length beside Transfer-Encoding";
	else if (llhttp_get_errno(parser) == HPE_UNEXPECTED_CONTENT_LENGTH)
		what = "more than one Content-Length";
	else if (llhttp_get_errno(parser) == HPE_INVALID_TRANSFER_ENCODING)
		what = "a Transfer-Encoding other than chunked";
	else
		reason = REASON_REQUEST_INVALID;
	return http1_refuse(error, kind, reason, 400, what, offset);
}

/* METHOD SP TARGET SP HTTP/1.x CRLF, any token being a method and any bytes but controls and blanks a target. Its length, or 0. */
static size_t http1_request_line(const uint8_t *bytes, size_t length, struct message_head *head)
{
	static const char version[] = " HTTP/1.";
	const uint8_t *end = memchr(bytes, '\n', length), *blank = end ? memchr(bytes, ' ', (size_t)(end - bytes)) : NULL, *target, *at;

	if (!blank || !http1_is_token((struct slice){bytes, (size_t)(blank - bytes)}))
		return 0;
	for (at = target = blank + 1; *at > ' ' && *at != 0x7f; at++)
		;
	if (at == target || end - at != sizeof version + 1 || memcmp(at, version, sizeof version - 1) != 0 || end[-1] != '\r' ||
	    end[-2] < '0' || end[-2] > '9')
		return 0;
	head->method = (struct slice){bytes, (size_t)(blank - bytes)};
	head->target = (struct slice){target, (size_t)(at - target)};
	head->minor = end[-2] - '0';
	return (size_t)(end + 1 - bytes);
}

static void http1_drop_port(const uint8_t *host, size_t *length, const char *port)
{
	size_t size = strlen(port);

	if (*length > size && memcmp(host + *length - size, port, size) == 0)
		*length -= size;
}

/* The authority of a target that has one (RFC 9112 §3.2.2), where Host says another; else empty. */
static struct slice http1_other_host(const struct gather *gather)
{
	struct slice target = gather->head->target, host = http1_trimmed(gather->host);
	const uint8_t *scheme = target.length && target.bytes[0] != '/' ? memmem(target.bytes, target.length, "://", 3) : NULL, *at;
	size_t length = 0;

	struct slice authority;

	if (!gather->hosts || !scheme || memchr(target.bytes, '/', (size_t)(scheme - target.bytes)))
		return (struct slice){0};
	for (at = scheme + 3; at + length < target.bytes + target.length && !strchr("/?#", at[length]); length++)
		if (at[length] == '@') { /* Host has no userinfo (RFC 9112 §3.2) */
			at += length + 1;
			length = SIZE_MAX;
		}
	authority = (struct slice){at, length};
	http1_drop_port(at, &length, (size_t)(scheme - target.bytes) == 4 ? ":80" : ":443");
	http1_drop_port(host.bytes, &host.length, (size_t)(scheme - target.bytes) == 4 ? ":80" : ":443");
	if (length == host.length && strncasecmp((const char *)at, (const char *)host.bytes, length) == 0)
		return (struct slice){0};
	return authority;
}

static int http1_check_request(const struct gather *gather, const struct http1_limits *limits, struct http1_error *error)
{
	const enum http1_kind kind = HTTP1_REQUEST;

	if (gather->head->target.length > limits->target_bytes)
		return http1_refuse_over(error, kind, 414, "the request target is over --max-target-size", limits->target_bytes, 0);
	if (gather->hosts > 1)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "more than one Host", 0);
	if (!gather->hosts && gather->head->minor == 1)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "no Host in HTTP/1.1", 0);
	if (gather->odd_host)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a Host that is no host and port", 0);
	return 0;
}

static int http1_check(enum http1_kind kind, const struct gather *gather, const struct http1_limits *limits,
                       struct http1_error *error)
{
	const llhttp_t *parser = &gather->parser;
	const char *ambiguity = http1_ambiguity(gather);

	if (parser->http_major != 1 || parser->http_minor > 1)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a version other than HTTP/1.0 and HTTP/1.1", 0);
	if (ambiguity)
		return http1_refuse(error, kind, REASON_REQUEST_AMBIGUOUS, 400, ambiguity, 0);
	if (gather->content_lengths && parser->content_length > INT64_MAX)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a Content-Length over 2^63-1", 0);
	if (kind == HTTP1_REQUEST)
		return http1_check_request(gather, limits, error);
	return parser->status_code >= 100 ? 0 : http1_refuse(error, kind, REASON_SERVER_INVALID, 502, "a status below 100", 0);
}

/* llhttp takes blanks behind a length or a coding, and no tabs (RFC 9110 §5.5 allows both): a copy that has the former in place of
 * the latter. NULL: nothing to replace. */
static uint8_t *http1_without_tabs(const uint8_t *bytes, size_t length)
{
	uint8_t *copy;

	if (!memchr(bytes, '\t', length) || !(copy = malloc(length)))
		return NULL;
	memcpy(copy, bytes, length);
	for (size_t at = length; at-- > 1;)
		if (copy[at] == '\r')
			for (size_t blank = at; blank && (copy[blank - 1] == '\t' || copy[blank - 1] == ' '); blank--)
				copy[blank - 1] = ' ';
	return copy;
}

/* llhttp gets the fields, and in place of a request line, of which it knows some methods and targets only, one of our own. */
static int http1_execute(struct gather *gather, enum http1_kind kind, const uint8_t *bytes, size_t line, size_t head_length,
                         struct http1_error *error)
{
	static const char *const lines[] = {"GET / HTTP/1.0\r\n", "GET / HTTP/1.1\r\n"};
	llhttp_errno_t parsed = HPE_OK;

	llhttp_init(&gather->parser, kind == HTTP1_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &head_settings);
	if (kind == HTTP1_REQUEST)
		parsed = llhttp_execute(&gather->parser, lines[gather->head->minor], strlen(lines[1]));
	if (parsed == HPE_OK)
		parsed = llhttp_execute(&gather->parser, (const char *)bytes + line, head_length - line);
	return parsed == HPE_OK || parsed == HPE_PAUSED_UPGRADE ? 0 : http1_refuse_llhttp(error, kind, gather, bytes);
}

int http1_parse_head(enum http1_kind kind, const uint8_t *bytes, size_t head_length, const struct message_head *request,
                     const struct http1_limits *limits, struct message_head *out, struct http1_error *error)
{
	struct message_head head = {.keep_alive_timeout_s = -1};
	struct gather gather = {.head = &head};
	llhttp_t *parser = &gather.parser;
	size_t line = kind == HTTP1_REQUEST ? http1_request_line(bytes, head_length, &head) : 0;
	uint8_t *copy;
	int result;

	if (kind == HTTP1_REQUEST && !line)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a request line other than METHOD TARGET HTTP/1.x", 0);
	if (head.minor > 1)
		return http1_refuse(error, kind, REASON_REQUEST_INVALID, 400, "a version other than HTTP/1.0 and HTTP/1.1", 0);
	if (kind == HTTP1_RESPONSE && *bytes == '\r')
		return http1_refuse(error, kind, REASON_SERVER_INVALID, 502, "an empty line before the status line", 0);
	copy = http1_without_tabs(bytes, head_length);
	result = http1_execute(&gather, kind, copy ? copy : bytes, line, head_length, error);
	if (!result)
		result = http1_check(kind, &gather, limits, error);
	if (!result && kind == HTTP1_REQUEST)
		head.authority = http1_other_host(&gather);
	free(copy);
	if (result)
		return result;
	head.status = parser->status_code;
	head.minor = parser->http_minor;
	head.is_head = kind == HTTP1_REQUEST && http1_method_is(head.method, "HEAD");
	head.is_connect = kind == HTTP1_REQUEST && http1_method_is(head.method, "CONNECT");
	head.idempotent = kind == HTTP1_REQUEST && http1_is_idempotent(head.method);
	head.framing = http1_framing_of(kind, &gather, request);
	head.content_length = parser->content_length;
	head.keep_alive = !(gather.flags & F_CONNECTION_CLOSE) && (head.minor || (gather.flags & F_CONNECTION_KEEP_ALIVE));
	head.upgrade = (gather.flags & F_UPGRADE) && (gather.flags & F_CONNECTION_UPGRADE);
	*out = head;
	return 0;
}

int http1_read_head(struct input_scan *scan, enum http1_kind kind, const uint8_t *bytes, size_t length, const struct message_head *request,
                    const struct http1_limits *limits, size_t *head_length, struct message_head *out, struct http1_error *error)
{
	int result;

	if (!scan->line && (*head_length = http1_plain_head(kind, bytes, length, request, limits, out)))
		return 0;
	result = http1_scan_head(scan, kind, bytes, length, limits, head_length, error);
	if (result == -EAGAIN)
		return result;
	*scan = (struct input_scan){0};
	return result ? result : http1_parse_head(kind, bytes, *head_length, request, limits, out, error);
}

/* A chunked body is read by a parser that has been given a head of our own, so that heads and bodies need not share one. */
struct http1_chunked {
	llhttp_t parser; /* first: the callbacks get its address */
	size_t extension_bytes, trailer_bytes, trailer_fields;
	const struct http1_limits *limits; /* during a feed */
	bool complete;
	const char *over; /* the limit that was passed */
	uint64_t limit;   /* its value */
};

static struct http1_chunked *http1_chunked(llhttp_t *parser)
{
	return (struct http1_chunked *)(void *)parser;
}

static int http1_on_extension(llhttp_t *parser, const char *at, size_t length)
{
	struct http1_chunked *chunked = http1_chunked(parser);

	chunked->extension_bytes += length;
	if (!chunked->limits || chunked->extension_bytes <= chunked->limits->chunk_extension_bytes)
		return 0;
	chunked->over = "chunk extensions over --max-chunk-extensions";
	chunked->limit = chunked->limits->chunk_extension_bytes;
	return HPE_USER;
}

/* Its ';' or '='. */
static int http1_on_extension_complete(llhttp_t *parser)
{
	return http1_on_extension(parser, NULL, 1);
}

static int http1_on_trailer(llhttp_t *parser, const char *at, size_t length)
{
	struct http1_chunked *chunked = http1_chunked(parser);

	if (!chunked->limits)
		return 0; /* our own head */
	chunked->trailer_bytes += length;
	if (chunked->trailer_bytes <= chunked->limits->head_bytes)
		return 0;
	chunked->over = "trailers over --max-head-size";
	chunked->limit = chunked->limits->head_bytes;
	return HPE_USER;
}

static int http1_on_trailer_complete(llhttp_t *parser)
{
	struct http1_chunked *chunked = http1_chunked(parser);

	if (!chunked->limits || ++chunked->trailer_fields <= chunked->limits->fields)
		return 0;
	chunked->over = "more trailers than --max-head-fields";
	chunked->limit = chunked->limits->fields;
	return HPE_USER;
}

static int http1_on_chunk(llhttp_t *parser)
{
	if (parser->content_length <= INT64_MAX)
		return 0;
	http1_chunked(parser)->over = "a chunk size over 2^63-1";
	return HPE_USER;
}

static int http1_on_complete(llhttp_t *parser)
{
	http1_chunked(parser)->complete = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t chunked_settings = {
    .on_chunk_header = http1_on_chunk,
    .on_chunk_extension_name = http1_on_extension,
    .on_chunk_extension_value = http1_on_extension,
    .on_chunk_extension_name_complete = http1_on_extension_complete,
    .on_chunk_extension_value_complete = http1_on_extension_complete,
    .on_header_field = http1_on_trailer,
    .on_header_value = http1_on_trailer,
    .on_header_value_complete = http1_on_trailer_complete,
    .on_message_complete = http1_on_complete,
};

int http1_body_start(struct message_body *body, const struct message_head *head)
{
	static const char own_head[] = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
	struct http1_chunked *chunked = NULL;

	if (head->framing == MESSAGE_CHUNKED) {
		chunked = malloc(sizeof *chunked); /* glibc's calloc passes by what its thread has at hand */
		if (!chunked)
			return -ENOMEM;
		*chunked = (struct http1_chunked){0};
		llhttp_init(&chunked->parser, HTTP_REQUEST, &chunked_settings);
		llhttp_execute(&chunked->parser, own_head, sizeof own_head - 1);
	}
	*body = (struct message_body){
	    .framing = head->framing,
	    .remaining = head->content_length,
	    .chunked = chunked,
	    .complete = head->framing == MESSAGE_NO_BODY || (head->framing == MESSAGE_LENGTH && !head->content_length),
	};
	return 0;
}

static int http1_feed_chunked(struct http1_chunked *chunked, enum http1_kind kind, const uint8_t *bytes, size_t length,
                              const struct http1_limits *limits, size_t *consumed, struct http1_error *error)
{
	llhttp_errno_t parsed;
	const char *end;

	chunked->limits = limits;
	parsed = llhttp_execute(&chunked->parser, (const char *)bytes, length);
	end = llhttp_get_error_pos(&chunked->parser);
	if (chunked->complete) {
		*consumed = (size_t)(end - (const char *)bytes);
		return 0;
	}
	if (parsed == HPE_OK) {
		*consumed = length;
		return 0;
	}
	http1_refuse(error, kind, REASON_REQUEST_INVALID, 400,
	             chunked->over ? chunked->over : llhttp_get_error_reason(&chunked->parser),
	             end ? (size_t)(end - (const char *)bytes) : 0);
	error->limit = chunked->over ? chunked->limit : 0;
	return -EBADMSG;
}

int http1_body_feed(struct message_body *body, enum http1_kind kind, const uint8_t *bytes, size_t length,
                    const struct http1_limits *limits, size_t *consumed, struct http1_error *error)
{
	struct http1_chunked *chunked = body->chunked;
	int result;

	if (body->complete) {
		*consumed = 0;
		return 0;
	}
	switch (body->framing) {
	case MESSAGE_LENGTH:
		*consumed = length < body->remaining ? length : (size_t)body->remaining;
		body->remaining -= *consumed;
		body->complete = !body->remaining;
		return 0;
	case MESSAGE_CHUNKED:
		result = http1_feed_chunked(chunked, kind, bytes, length, limits, consumed, error);
		body->complete = chunked->complete;
		return result;
	default:
		*consumed = length;
		return 0;
	}
}

void http1_library(struct text *out)
{
	text_printf(out, "%d.%d.%d", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}
