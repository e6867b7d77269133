#include "proxy/connection/detect.h"

#include <stdbool.h>
#include <string.h>

static enum fit detect_prefix(const uint8_t *bytes, size_t length, const char *expected, size_t expected_length)
{
	size_t common = length < expected_length ? length : expected_length;

	if (memcmp(bytes, expected, common) != 0)
		return FIT_NO;
	return length >= expected_length ? FIT_YES : FIT_MORE;
}

enum {
	EMPTY_LINES = 8,           /* before a request line (RFC 9112 §2.2 asks for one at least) */
	REQUEST_LINE_MOST = 16384, /* with them */
};

/* RFC 9110 §5.6.2 */
static bool detect_is_token(uint8_t byte)
{
	return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
	       (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

size_t detect_skip_empty_lines(const uint8_t *bytes, size_t length)
{
	size_t at = 0;

	for (int lines = 0; at < length && (bytes[at] == '\n' || bytes[at] == '\r'); lines++) {
		if (lines == EMPTY_LINES)
			return SIZE_MAX;
		if (bytes[at] == '\r' && at + 1 == length)
			return length;
		if (bytes[at] == '\r' && bytes[at + 1] != '\n')
			return SIZE_MAX;
		at += bytes[at] == '\r' ? 2 : 1;
	}
	return at;
}

/* Behind the method, 0 when there is none. */
static size_t detect_skip_token(const uint8_t *bytes, size_t length)
{
	size_t at = 0;

	while (at < length && detect_is_token(bytes[at]))
		at++;
	return at;
}

enum fit detect_request_line(const uint8_t *bytes, size_t length)
{
	static const char version[] = " HTTP/1.";
	enum fit fit, more = length < REQUEST_LINE_MOST ? FIT_MORE : FIT_NO;
	size_t at, method, target, left;

	if (length > REQUEST_LINE_MOST)
		length = REQUEST_LINE_MOST;
	at = detect_skip_empty_lines(bytes, length);
	if (at == SIZE_MAX)
		return FIT_NO;
	method = detect_skip_token(bytes + at, length - at);
	if (at + method == length)
		return more;
	if (!method || bytes[at + method] != ' ' || (method == 3 && memcmp(bytes + at, "PRI", 3) == 0))
		return FIT_NO; /* PRI is HTTP/2's (RFC 9113 §11.6) */
	at += method;
	for (target = ++at; at < length && bytes[at] > ' ' && bytes[at] != 0x7f; at++)
		;
	if (at == length)
		return more;
	if (at == target)
		return FIT_NO;
	left = length - at;
	fit = detect_prefix(bytes + at, left, version, sizeof version - 1);
	if (fit != FIT_YES)
		return fit == FIT_MORE ? more : FIT_NO;
	at += sizeof version - 1;
	if (at < length && (bytes[at] < '0' || bytes[at] > '9'))
		return FIT_NO;
	if (++at >= length)
		return more;
	if (bytes[at] == '\r' && at + 1 == length)
		return more;
	return bytes[at] == '\n' || (bytes[at] == '\r' && bytes[at + 1] == '\n') ? FIT_YES : FIT_NO;
}

bool detect_begins_request(const uint8_t *bytes, size_t length)
{
	size_t at = 0, method;

	while (at < length && (bytes[at] == '\r' || bytes[at] == '\n'))
		at++;
	method = detect_skip_token(bytes + at, length - at);
	return method && at + method < length && bytes[at + method] == ' ';
}

static enum fit detect_http2(const uint8_t *bytes, size_t length)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	return detect_prefix(bytes, length, preface, sizeof preface - 1);
}

bool detect_may_be_http2(const uint8_t *bytes, size_t length)
{
	return detect_http2(bytes, length) != FIT_NO;
}

bool detect_server_http2(const uint8_t *bytes, size_t length)
{
	enum { FRAME_HEAD = 9, SETTINGS = 4, SETTING = 6 };
	static const uint8_t behind_length[] = {SETTINGS, 0, 0, 0, 0, 0};

	return length >= FRAME_HEAD && !bytes[0] && !bytes[1] && bytes[2] % SETTING == 0 && !memcmp(bytes + 3, behind_length, sizeof behind_length);
}

/* Record type 22, version 3.x, a length that can hold a handshake header, message type 1. */
static enum fit detect_tls(const uint8_t *bytes, size_t length)
{
	enum { HANDSHAKE = 22, CLIENT_HELLO = 1, RECORD_MAX = 16384 };

	if (bytes[0] != HANDSHAKE || (length > 1 && bytes[1] != 3) || (length > 2 && bytes[2] > 4) ||
	    (length > 3 && bytes[3] > RECORD_MAX >> 8))
		return FIT_NO;
	if (length > 4) {
		size_t record = (size_t)bytes[3] << 8 | bytes[4];

		if (record < 4 || record > RECORD_MAX)
			return FIT_NO;
	}
	if (length > 5 && bytes[5] != CLIENT_HELLO)
		return FIT_NO;
	return length > 5 ? FIT_YES : FIT_MORE;
}

enum protocol detect_protocol(const uint8_t *bytes, size_t length)
{
	enum fit http1, http2, tls;

	if (!length)
		return PROTOCOL_UNDETECTED;
	if ((http1 = detect_request_line(bytes, length)) == FIT_YES)
		return PROTOCOL_HTTP1;
	if ((http2 = detect_http2(bytes, length)) == FIT_YES)
		return PROTOCOL_HTTP2;
	if ((tls = detect_tls(bytes, length)) == FIT_YES)
		return PROTOCOL_TLS;
	return http1 == FIT_MORE || http2 == FIT_MORE || tls == FIT_MORE ? PROTOCOL_UNDETECTED : PROTOCOL_OPAQUE;
}
