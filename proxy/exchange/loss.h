#ifndef LAPSE_PROXY_EXCHANGE_LOSS_H
#define LAPSE_PROXY_EXCHANGE_LOSS_H

struct conn;

/* The client leg is dead: by its error and how far its request has come, the connection's end. */
void loss_of_client(struct conn *conn);

/* The server leg ended under an exchange: error 0 = FIN, else -errno. Tried again, answered for, left unanswered as the server left it,
 * or, where a response ends with its connection, its end. */
void loss_of_server(struct conn *conn, int error);

/* The client finished inside its request's body, which may have been answered all the same. */
void loss_of_body(struct conn *conn);

/* A time limit of the request is over: for whom the time went. */
const char *loss_of_time(const struct conn *conn);

#endif
