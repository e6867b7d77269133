#include "proxy/http1/reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/addr.h"
#include "lib/buf.h"
#include "lib/text.h"
#include "proxy/http1/http1.h"

const char *reply_phrase(int status)
{
	switch (status) {
	case 301:
		return "Moved Permanently";
	case 302:
		return "Found";
	case 303:
		return "See Other";
	case 307:
		return "Temporary Redirect";
	case 308:
		return "Permanent Redirect";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 408:
		return "Request Timeout";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
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

/* The error type of RFC 9209, 2.3, for Proxy-Status. */
static const char *reply_error(const struct answer *answer)
{
	switch (answer->reason) {
	case REASON_CONNECT_REFUSED:
		return "connection_refused";
	case REASON_CONNECT_UNREACHABLE:
		return "destination_ip_unroutable";
	case REASON_CONNECT_TIMEOUT:
		return "connection_timeout";
	case REASON_BACKEND_UNRESOLVED:
		return "destination_not_found";
	case REASON_SERVER_TRUNCATED:
		return "http_response_incomplete";
	case REASON_SERVER_INVALID:
		return "http_protocol_error";
	case REASON_NO_LOCAL_PORT:
		return "destination_unavailable";
	case REASON_CONN_LIMIT:
		return "connection_limit_reached";
	case REASON_NO_ROUTE:
		return "http_request_denied";
	case REASON_ROUTE_INVALID:
		return "proxy_configuration_error";
	case REASON_REDIRECT_LOOP:
		return "proxy_loop_detected";
	default:
		break;
	}
	if (answer->status == 504)
		return "http_response_timeout";
	if (answer->status < 500)
		return "http_request_error";
	return reason_row(answer->reason)->by == BY_SERVER ? "connection_terminated" : "proxy_internal_error";
}

/* A header value holds no control bytes and nothing outside ASCII, whatever a detail quotes. */
static void reply_header(struct text *out, const char *name, const char *value)
{
	text_printf(out, "%s: ", name);
	for (; *value; value++)
		text_char(out, *value >= 0x20 && *value < 0x7f ? *value : '?');
	text_string(out, "\r\n");
}

void reply_write(const struct answer *answer, struct text *out)
{
	TEXT_ON_STACK(body, 1024);

	bool body_wanted = answer->body && answer->reason_headers;

	if (body_wanted)
		text_printf(&body, "%d %s: %s: %s\n", answer->status, reply_phrase(answer->status), reason_row(answer->reason)->name,
		            answer->detail);
	text_printf(out, "HTTP/1.1 %d %s\r\ncontent-length: %zu\r\n", answer->status, reply_phrase(answer->status), body.length);
	if (body_wanted)
		text_string(out, "content-type: text/plain; charset=utf-8\r\n");
	if (answer->location)
		reply_header(out, "location", answer->location);
	if (answer->reason_headers) {
		reply_header(out, "lapse-reason", reason_row(answer->reason)->name);
		reply_header(out, "lapse-detail", answer->detail);
		text_printf(out, "proxy-status: lapse-proxy; error=%s\r\n", reply_error(answer));
	}
	if (answer->close)
		text_string(out, "connection: close\r\n");
	text_string(out, "\r\n");
	text_append(out, body_bytes, body.length);
}
