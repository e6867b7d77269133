#ifndef LAPSE_PROXY_CONNECTION_PLACE_H
#define LAPSE_PROXY_CONNECTION_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/metrics/words.h"

struct conn;
struct proxy;
struct worker;

/* The places that --max-connections has, and which connections could leave theirs. admission.c decides. */

/* Counts the new connection in, once; false: it is one too many. */
bool place_take(struct conn *conn);

/* Counts it out, once. */
void place_release(struct conn *conn);

/* The connection's stage will be another one; is another one. */
void place_delist(struct conn *conn);
void place_enlist(struct conn *conn);

/* How many are counted, both directions. */
uint64_t place_count(const struct proxy *proxy);

/* How many of --max-connections one direction may have. */
uint64_t place_most(const struct proxy *proxy);

/* Whether a direction has more than that. */
bool place_is_over(const struct proxy *proxy, enum direction direction);

/* Of this worker's, the one idle longest of those that may give way to a new one in this direction. NULL: none may. */
struct conn *place_idlest(struct worker *worker, enum direction direction);

/* Since when, of one that may. */
int64_t place_idle_since(const struct conn *conn);

#endif
