#ifndef LAPSE_PROXY_CONNECTION_LISTENER_H
#define LAPSE_PROXY_CONNECTION_LISTENER_H

#include <stdint.h>

#include "lib/loop.h"
#include "lib/wheel.h"
#include "proxy/connection/origin.h"

struct worker;

/* One listening socket of a worker. */
struct listener {
	struct loop_source source;
	struct worker *worker;
	enum direction direction;
	struct wheel_timer resume; /* accepting is paused: no descriptor was left */
};

/* Listens on the port, IPv6 with IPv4 where the namespace has IPv6, else IPv4. 0 or -errno. */
int listener_open(struct listener *listener, struct worker *worker, enum direction direction, uint16_t port);
void listener_close(struct listener *listener);

#endif
