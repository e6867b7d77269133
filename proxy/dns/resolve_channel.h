#ifndef LAPSE_PROXY_DNS_RESOLVE_CHANNEL_H
#define LAPSE_PROXY_DNS_RESOLVE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"

struct text;
struct loop;
struct resolve_channel;

/* DNS questions on the loop, through c-ares: what resolve.c is made of. At most 64 are under way, others wait their turn. */

enum { RESOLVE_ADDRESSES_MOST = 64 };

enum resolve_outcome { OUTCOME_ADDRESSES, OUTCOME_NOTHING, OUTCOME_FAILURE };

struct resolve_reply {
	enum resolve_outcome outcome;
	const char *error;            /* of OUTCOME_FAILURE: what c-ares says of it */
	int64_t ttl_ms;               /* of OUTCOME_ADDRESSES: the least on the way to them, 1 s – 1 h */
	size_t records;               /* of the family asked for */
	size_t own;                   /* of these, left out: of loopback, or 0.0.0.0 or ::, which lead back to this host */
	size_t count;                 /* addresses: the lowest RESOLVE_ADDRESSES_MOST, sorted, port 0, each once */
	struct addr addresses[RESOLVE_ADDRESSES_MOST];
};

/* Embedded in its owner, who sets the first three. */
struct resolve_question {
	/* Called once for every asking, from inside c-ares: it may only take notes, ask nothing, and free the question. */
	void (*answered)(struct resolve_question *question, const struct resolve_reply *reply);
	const char *name; /* fully qualified, with or without the last dot */
	uint8_t family;   /* AF_INET: A records, AF_INET6: AAAA records */
	bool asked;       /* it is under way */
	struct resolve_channel *channel;
	struct resolve_question *next, **link; /* it waits its turn */
};

/* /etc/resolv.conf is read here. 0 or -errno. */
int resolve_channel_new(struct resolve_channel **out, struct loop *loop);
/* What is under way is answered with a failure; what waits must have been withdrawn. */
void resolve_channel_free(struct resolve_channel *channel);

/* See resolve_use_server(). */
int resolve_channel_use_server(struct resolve_channel *channel, const struct addr *server);

void resolve_channel_ask(struct resolve_channel *channel, struct resolve_question *question);

/* True: it is not asked any more. False: it is under way and will be answered. */
bool resolve_channel_withdraw(struct resolve_question *question);

/* The version of c-ares. */
void resolve_channel_library(struct text *out);

#endif
