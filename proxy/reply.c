#include "proxy/reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "lib/text.h"
#include "proxy/http1.h"

const char *reply_phrase(int status)
{
	switch (status) {
	case 400:
		return "Bad Request";
	case 408:
		return "Request Timeout";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	default:
		return "Error";
	}
}

/* A header value holds no control bytes and nothing outside ASCII, whatever a detail quotes. */
static void reply_header(struct text *out, const char *name, const char *value)
{
	text_printf(out, "%s: ", name);
	for (; *value; value++)
		text_char(out, *value >= 0x20 && *value < 0x7f ? *value : '?');
	text_string(out, "\r\n");
}

void reply_write(const struct reply *reply, struct text *out)
{
	TEXT_ON_STACK(body, 1024);

	if (reply->body)
		text_printf(&body, "%d %s: %s: %s\n", reply->status, reply_phrase(reply->status), reason_row(reply->reason)->name,
		            reply->detail);
	text_printf(out, "HTTP/1.1 %d %s\r\ncontent-length: %zu\r\n", reply->status, reply_phrase(reply->status), body.length);
	if (reply->body)
		text_string(out, "content-type: text/plain; charset=utf-8\r\n");
	if (reply->reason_headers) {
		reply_header(out, "lapse-reason", reason_row(reply->reason)->name);
		reply_header(out, "lapse-detail", reply->detail);
	}
	if (reply->close)
		text_string(out, "connection: close\r\n");
	text_string(out, "\r\n");
	text_append(out, body_bytes, body.length);
}

int reply_rewrite_head(const uint8_t *head, size_t length, bool close, const struct addr *forwarded, struct buf *out)
{
	const uint8_t *line = head, *end = head + length - 2; /* the blank line */
	char extra[ADDR_TEXT_SIZE + 64], host[ADDR_TEXT_SIZE];
	size_t before = buf_length(out);
	int result = 0, extra_length = 0;

	while (line < end && !result) {
		const uint8_t *lf = memchr(line, '\n', (size_t)(end - line));
		const uint8_t *next = lf ? lf + 1 : end;

		if (!close || !http1_line_is(line, (size_t)(next - line), "connection"))
			result = buf_append(out, line, (size_t)(next - line));
		line = next;
	}
	if (forwarded) {
		const char *quote = forwarded->family == AF_INET6 ? "\"" : "";

		addr_format_host(forwarded, host);
		extra_length = snprintf(extra, sizeof extra, "Forwarded: for=%s%s%s%s%s\r\n", quote, *quote ? "[" : "", host,
		                        *quote ? "]" : "", quote);
	}
	if (!result)
		result = buf_append(out, extra, (size_t)extra_length);
	if (!result && close)
		result = buf_append(out, "Connection: close\r\n", strlen("Connection: close\r\n"));
	if (!result)
		result = buf_append(out, "\r\n", 2);
	if (result)
		out->end = out->start + (uint32_t)before;
	return result;
}
