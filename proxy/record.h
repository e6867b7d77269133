#ifndef LAPSE_PROXY_RECORD_H
#define LAPSE_PROXY_RECORD_H

struct conn;
struct ending;

/* One line: the end of a connection, or of an exchange on a connection that lives on. Rate limited per reason. */
void record_connection(struct conn *conn);
void record_exchange(struct conn *conn, const struct ending *ending);

#endif
