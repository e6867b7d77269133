#ifndef LAPSE_PROXY_CONNECTION_DETECT_H
#define LAPSE_PROXY_CONNECTION_DETECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/metrics/words.h"

/* What the first bytes a client sent are. Pure: a prefix gets PROTOCOL_UNDETECTED or the verdict of every longer one.
 * HTTP/1: a whole request line; HTTP/2: the whole preface (RFC 9113 §3.4); TLS: a handshake record of version 3.x whose first message
 * is a ClientHello (RFC 8446 §5.1); everything else is opaque, decided at the first byte that fits none of them, or where the first
 * 16 KiB end no line. */
enum protocol detect_protocol(const uint8_t *bytes, size_t length);

/* Whether a server that speaks first speaks HTTP/2: with a whole SETTINGS frame's head (RFC 9113 §3.4, §6.5), which needs no preface of its
 * client before it. Pure. */
bool detect_server_http2(const uint8_t *bytes, size_t length);

/* Whether a client's bytes, none of them too, are or may become HTTP/2's preface. Pure. */
bool detect_may_be_http2(const uint8_t *bytes, size_t length);

/* Whether bytes do not begin with, may begin with, or begin with a request line: `token SP target SP HTTP/1.x` ended by LF or CRLF,
 * after at most 8 empty lines (RFC 9112 §2.2, §3). Any token is a method. */
enum fit { FIT_NO, FIT_MORE, FIT_YES };
enum fit detect_request_line(const uint8_t *bytes, size_t length);

/* How many bytes those empty lines are; `length`: there may be more; SIZE_MAX: there are more than 8, or half a one. */
size_t detect_skip_empty_lines(const uint8_t *bytes, size_t length);

/* Whether they begin like one, with `token SP` behind any number of empty lines: lenient servers answer such a line too. */
bool detect_begins_request(const uint8_t *bytes, size_t length);

#endif
