#ifndef LAPSE_PROXY_HTTP1_TURN_AWAY_H
#define LAPSE_PROXY_HTTP1_TURN_AWAY_H

#include <stdbool.h>

#include "lib/reason.h"

struct conn;

/* The connection cannot be taken. True: its client has sent a request already, and was told why. */
bool turn_away_client(struct conn *conn, enum reason_id reason, const char *fact);

#endif
