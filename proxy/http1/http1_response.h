#ifndef LAPSE_PROXY_HTTP1_HTTP1_RESPONSE_H
#define LAPSE_PROXY_HTTP1_HTTP1_RESPONSE_H

struct conn;

/* The server leg can be read while an exchange is under way: what came goes to the client, as far as whole heads and body bytes
 * go; the exchange may end, fail, become a tunnel, or be tried again. */
void http1_response_readable(struct conn *conn);

/* The same while no request is under way on it: bytes that nobody asked for, or its end. */
void http1_response_unasked(struct conn *conn);

#endif
