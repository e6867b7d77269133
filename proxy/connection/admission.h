#ifndef LAPSE_PROXY_CONNECTION_ADMISSION_H
#define LAPSE_PROXY_CONNECTION_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct proxy;

/* Which connections are carried, where --max-connections are the most. A hundredth of them is kept for each direction, so that clients
 * from outside cannot shut the application's own calls out, nor the other way round. Before one is refused, an idle one gives way: of
 * those of this worker, HTTP between requests or without a byte so far, the one idle longest. */

/* Counts the new connection in; false: it is to be refused. */
bool admission_take(struct conn *conn);

/* Counts it out, once. */
void admission_release(struct conn *conn);

/* How many are counted, both directions. */
uint64_t admission_count(const struct proxy *proxy);

/* How many of --max-connections one direction may have. */
uint64_t admission_most(const struct proxy *proxy);

#endif
