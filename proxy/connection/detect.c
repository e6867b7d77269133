#include "proxy/connection/detect.h"

#include <string.h>

enum fit { FIT_NO, FIT_MORE, FIT_YES };

static enum fit detect_prefix(const uint8_t *bytes, size_t length, const char *expected, size_t expected_length)
{
	size_t common = length < expected_length ? length : expected_length;

	if (memcmp(bytes, expected, common) != 0)
		return FIT_NO;
	return length >= expected_length ? FIT_YES : FIT_MORE;
}

/* Methods of the IANA registry and those in common use with proxies and caches; each ends in the space that decides. */
static enum fit detect_http1(const uint8_t *bytes, size_t length)
{
	static const char *const methods[] = {
	    "GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PROPFIND ", "PROPPATCH ",
	    "MKCOL ", "COPY ", "MOVE ", "LOCK ", "UNLOCK ", "SEARCH ", "BIND ", "REBIND ", "UNBIND ", "ACL ", "REPORT ",
	    "MKACTIVITY ", "CHECKOUT ", "MERGE ", "M-SEARCH ", "NOTIFY ", "SUBSCRIBE ", "UNSUBSCRIBE ", "PURGE ", "MKCALENDAR ",
	    "LINK ", "UNLINK ",
	};
	enum fit fit = FIT_NO;

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		enum fit this = FIT_NO;

		if ((uint8_t)methods[i][0] == bytes[0])
			this = detect_prefix(bytes, length, methods[i], strlen(methods[i]));
		if (this == FIT_YES)
			return this;
		if (this > fit)
			fit = this;
	}
	return fit;
}

static enum fit detect_http2(const uint8_t *bytes, size_t length)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	return detect_prefix(bytes, length, preface, sizeof preface - 1);
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
	if ((http1 = detect_http1(bytes, length)) == FIT_YES)
		return PROTOCOL_HTTP1;
	if ((http2 = detect_http2(bytes, length)) == FIT_YES)
		return PROTOCOL_HTTP2;
	if ((tls = detect_tls(bytes, length)) == FIT_YES)
		return PROTOCOL_TLS;
	return http1 == FIT_MORE || http2 == FIT_MORE || tls == FIT_MORE ? PROTOCOL_UNDETECTED : PROTOCOL_OPAQUE;
}

const char *detect_name(enum protocol protocol)
{
	static const char *const names[] = {
	    [PROTOCOL_UNDETECTED] = "undetected", [PROTOCOL_HTTP1] = "http/1.1", [PROTOCOL_HTTP2] = "http/2",
	    [PROTOCOL_TLS] = "tls", [PROTOCOL_OPAQUE] = "opaque",
	};

	return names[protocol];
}
