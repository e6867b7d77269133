#ifndef LAPSE_PROXY_CONNECTION_ADMISSION_H
#define LAPSE_PROXY_CONNECTION_ADMISSION_H

#include <stdbool.h>

struct conn;
struct worker;

/* Which connections are carried, where --max-connections are the most. A hundredth of them is kept for each direction, so that clients
 * from outside cannot shut the application's own calls out, nor the other way round. Before one is refused, an idle one gives way: HTTP
 * between requests, or without a byte in the second since its accept. The one idle longest of this worker; where it has none, of
 * another, which ends it a moment later: until then there may be a few more than the most. */

/* Counts the new connection in; false: it is to be refused. */
bool admission_take(struct conn *conn);

/* Ends idle ones that other workers have asked for. */
void admission_make_room(struct worker *worker);

#endif
