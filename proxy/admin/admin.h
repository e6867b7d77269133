#ifndef LAPSE_PROXY_ADMIN_ADMIN_H
#define LAPSE_PROXY_ADMIN_ADMIN_H

#include <stdint.h>

#include "proxy/admin/admin_host.h"

struct addr;
struct admin_answer;
struct json;
struct log;
struct loop;
struct proxy;
struct reload;

/* The admin listener in the main thread's loop: one HTTP/1 request a connection, answered from the table of admin_pages.c. Few
 * clients at a time, each with little time and memory: whoever is slow or silent is let go when others wait. */
struct admin;

/* What the pages tell of and act on. Everything is borrowed and outlives the listener. */
struct admin_context {
	struct loop *loop;
	struct log *log;
	struct proxy *proxy;
	struct reload *reload;
	void (*drain)(void *owner, const char *who); /* begins to shut down; who: for the log */
	void (*print_settings)(void *owner, struct json *json); /* a member of /config: what is set otherwise than its default */
	void *owner;
	struct admin_host_names names;
	int64_t started_ms; /* wall clock, when the process began */
};

/* 0 or -errno. */
int admin_new(struct admin **out, const struct addr *addr, const struct admin_context *context);

/* Only when no worker runs any more. NULL is fine. */
void admin_free(struct admin *admin);

/* Before each wait of main's loop: answers whose data the workers have gathered go out. NULL is fine. */
void admin_idle(struct admin *admin);

/* The answer to a request that a page put off (admin_pages.h); takes over its body. client: that call's. */
void admin_answer_later(void *client, struct admin_answer *answer);

#endif
