#ifndef LAPSE_PROXY_PUBLISH_TLS_H
#define LAPSE_PROXY_PUBLISH_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct text;
struct tls;
struct tls_context;

/* TLS as a client, 1.2 or later (RFC 8446, RFC 5246), over a connected non-blocking socket. The door to OpenSSL. The program ignores
 * SIGPIPE. */

/* PEM texts: ca NULL = the system's authorities; certificate and key both or neither. verify false: any certificate will do.
 * 0; -ENOMEM, or -EINVAL with a sentence that says which text is wrong. */
int tls_context_new(struct tls_context **out, const char *ca, const char *certificate, const char *key, bool verify, struct text *error);
void tls_context_free(struct tls_context *context); /* NULL is fine; connections made of it go on */

/* name: what the server's certificate must be for, a name or an address; also sent as SNI when it is a name. fd is borrowed. 0 or
 * -ENOMEM. */
int tls_new(struct tls **out, const struct tls_context *context, int fd, const char *name);
void tls_free(struct tls *tls); /* NULL is fine; says goodbye when it can */

/* Each: the count (handshake: 0); -EAGAIN, then tls_wants_write() says what to wait for; -EPROTO with a sentence in error. A sentence
 * says which it was: expired, not yet valid, an authority that is not ours, another name, refused by the peer, not TLS. tls_read()
 * gives 0 at the end; an end without the peer's goodbye is one too, since HTTP knows its own. */
int tls_handshake(struct tls *tls, struct text *error);
ssize_t tls_read(struct tls *tls, void *bytes, size_t size, struct text *error);
ssize_t tls_write(struct tls *tls, const void *bytes, size_t length, struct text *error);
bool tls_wants_write(const struct tls *tls);
/* Bytes that are here already, of which no socket will tell. */
bool tls_pending(const struct tls *tls);

/* The version of OpenSSL. */
void tls_library(struct text *out);

#endif
