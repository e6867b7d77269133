#ifndef LAPSE_PROXY_CONNECTION_RECORD_H
#define LAPSE_PROXY_CONNECTION_RECORD_H

#include <stdbool.h>

#include "lib/reason.h"

struct conn;
struct ending;
struct log_line;
struct origin;
struct worker;

/* One line: the end of a connection, or of an exchange on a connection that lives on. Rate limited per reason. */
void record_connection(struct conn *conn);

/* Whether the record of the connection, ended now with this reason, would be written. */
bool record_wanted(const struct conn *conn, enum reason_id reason);

/* A connection for which there was no memory: what is known of it without a struct conn. */
void record_unborn(struct worker *worker, const struct origin *origin);

/* Counts of records that --log-rate held back and no later record told: at the worker's end. */
void record_suppressed(struct worker *worker);

void record_exchange(struct conn *conn, const struct ending *ending);

/* What records and the lines of requests have in common: direction, protocol, client, server and Service; then route and backend of
 * the last request. */
void record_subject(struct log_line *line, const struct conn *conn);
void record_rule(struct log_line *line, const struct conn *conn);

#endif
