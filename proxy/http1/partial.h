#ifndef LAPSE_PROXY_HTTP1_PARTIAL_H
#define LAPSE_PROXY_HTTP1_PARTIAL_H

struct conn;

/* A head that does not come in one go. Where nothing is decided by reading it and requestHeaders is off, what is here goes on after the
 * grace that a silent client has, and more as it comes: a server has timers of its own for such clients, and may answer them. conn->passed says how much of what
 * the client leg holds its server leg has been sent; when the leg goes first, the whole head goes on another. */

/* More of a head has come, and not its end. */
void partial_held(struct conn *conn);

/* The grace is over. */
void partial_pass(struct conn *conn);

/* The server leg of a head that was passed on in part can be read, or has failed; nothing else is under way on it. */
void partial_server_readable(struct conn *conn);
void partial_server_failed(struct conn *conn);

/* The head is whole. It goes on where its beginning went, unless there is something to decide by now. */
void partial_complete(struct conn *conn);

#endif
