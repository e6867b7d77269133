#ifndef LAPSE_PROXY_CONNECTION_ENDING_H
#define LAPSE_PROXY_CONNECTION_ENDING_H

#include <stdarg.h>

struct cause;
struct conn;
struct ending;

/* How and why a connection or an exchange ended (struct ending, conn.h), made of its cause. */

/* Fills *ending for a cause as of now, without words. */
void ending_fill(struct ending *ending, const struct conn *conn, struct cause cause);

/* Its words: the detail, to which the remedy is added, and the kernel's view. */
void ending_explain(struct ending *ending, const struct conn *conn, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* Another fact, which the remedy is added to, in place of what it said. */
void ending_reword(struct ending *ending, const struct conn *conn, const char *fact);

/* The timer that fired, if one did, into the metrics: once for each record. */
void ending_count(const struct conn *conn, const struct ending *ending);
void ending_free(struct ending *ending);

#endif
