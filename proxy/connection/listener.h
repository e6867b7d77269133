#ifndef LAPSE_PROXY_CONNECTION_LISTENER_H
#define LAPSE_PROXY_CONNECTION_LISTENER_H

#include <stdint.h>

#include "proxy/metrics/words.h"

struct listener;
struct worker;

/* Listens on the port, IPv6 with IPv4 where the namespace has IPv6, else IPv4. 0 or -errno. */
int listener_open(struct listener *listener, struct worker *worker, enum direction direction, uint16_t port);
void listener_close(struct listener *listener);

#endif
