#ifndef LAPSE_PROXY_CONNECTION_DETECT_H
#define LAPSE_PROXY_CONNECTION_DETECT_H

#include <stddef.h>
#include <stdint.h>

enum protocol {
	PROTOCOL_UNDETECTED, /* more bytes are needed */
	PROTOCOL_HTTP1,
	PROTOCOL_HTTP2,
	PROTOCOL_TLS,
	PROTOCOL_OPAQUE,
};

/* What the first bytes a client sent are. Pure: a prefix gets PROTOCOL_UNDETECTED or the verdict of every longer one.
 * HTTP/1: a registered method and a space (RFC 9110 §9); HTTP/2: the whole preface (RFC 9113 §3.4); TLS: a handshake record of
 * version 3.x whose first message is a ClientHello (RFC 8446 §5.1); everything else is opaque, decided at the first byte that
 * fits none of them. */
enum protocol detect_protocol(const uint8_t *bytes, size_t length);

/* "undetected", "http/1.1", "http/2", "tls", "opaque" */
const char *detect_name(enum protocol protocol);

#endif
