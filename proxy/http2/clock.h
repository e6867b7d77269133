#ifndef LAPSE_PROXY_HTTP2_CLOCK_H
#define LAPSE_PROXY_HTTP2_CLOCK_H

#include <stdbool.h>

struct conn;
struct deadline;
struct session;
struct text;
struct timeout_value;

/* The timers of the streams, behind the one alarm of their connection. */

/* Arms it for the earliest of what is known to be due. */
void clock_arm(struct session *session);

/* For /connections (connection/proto.h): the streams, and the earliest of their timers. */
void clock_streams(const struct conn *conn, struct text *out);
bool clock_next_timer(const struct conn *conn, struct deadline *deadline, const struct timeout_value **value);

/* It fired: what is due is done. */
void clock_alarm(struct session *session);

#endif
