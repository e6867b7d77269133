#ifndef LAPSE_PROXY_ADMIN_H
#define LAPSE_PROXY_ADMIN_H

struct addr;
struct log;
struct loop;
struct proxy;

/* The admin listener in the main thread's loop: GET /ready (200, or 503 once draining) and GET /live. */
struct admin;

/* 0 or -errno. Everything is borrowed and outlives it. */
int admin_new(struct admin **out, const struct addr *addr, struct loop *loop, const struct proxy *proxy);
void admin_free(struct admin *admin);

#endif
