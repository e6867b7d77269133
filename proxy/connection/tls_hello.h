#ifndef LAPSE_PROXY_CONNECTION_TLS_HELLO_H
#define LAPSE_PROXY_CONNECTION_TLS_HELLO_H

#include <stddef.h>
#include <stdint.h>

#define TLS_HELLO_NAME_SIZE 256 /* a DNS name has at most 255 octets */
#define TLS_HELLO_ALPN_SIZE 64

/* What a ClientHello tells an observer; empty strings where it does not say. Bytes outside printable ASCII become '?'. */
struct tls_hello {
	char server_name[TLS_HELLO_NAME_SIZE]; /* SNI, RFC 6066 §3 */
	char alpn[TLS_HELLO_ALPN_SIZE];        /* protocols joined by ',', RFC 7301 §3.1; cut at a whole name */
};

/* Reads a ClientHello from the first record(s) of a connection (RFC 8446 §4.1.2), which may be split over records.
 * 0; -EAGAIN when it is not complete yet; -EINVAL when it is no ClientHello. *out is written only on 0. Pure. */
int tls_hello_parse(const uint8_t *bytes, size_t length, struct tls_hello *out);

/* A hello longer than this is not waited for. */
enum { TLS_HELLO_MOST = 16384 };

#endif
