#ifndef LAPSE_PROXY_POLICY_ROUTE_H
#define LAPSE_PROXY_POLICY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/slice.h"
#include "proxy/config/catalog.h"
#include "proxy/config/regex.h"

/* The head of a request, whatever protocol carried it. Everything is borrowed. */
struct request_head {
	struct slice method;
	struct slice authority; /* with its port, as it came: HTTP/2's :authority, HTTP/1's Host or the target's own */
	struct slice path;      /* raw, with query; of CONNECT and "*" empty */
	const void *fields;     /* the protocol's own, for next_field() */
	size_t size;            /* bytes of the head: what reading its fields costs */
	/* The next field after *at (0 at first; moved on), its value trimmed of blanks. False: there is none. */
	bool (*next_field)(const struct request_head *head, size_t *at, struct slice *name, struct slice *value);
};

/* A request as matching sees it. */
struct route_request {
	struct request_head head;
	struct slice path;  /* raw, without query */
	struct slice query; /* behind '?', without it; empty when there is none */
	struct slice host;  /* of the authority, without port and without one trailing dot */
	uint16_t host_port; /* 0 when none was given */
	struct regex_work work; /* what matching it has cost; once that is undecided, no answer counts */
};

void route_request_read(struct route_request *request, const struct request_head *head);

/* head.next_field(); of a request that is all zero there is none. */
bool route_next_field(const struct route_request *request, size_t *offset, struct slice *name, struct slice *value);

/* Whether all that the match names is so (Gateway API HTTPRouteMatch; GRPCRouteMatch when grpc: then POST to /service/method).
 * Of several header lines of a name any may match; of several query parameters the first counts, form-decoded. Pure but for
 * request->work. */
bool route_matches(const struct route_match *match, bool grpc, struct route_request *request);

/* Whether a hostname pattern ("a.example.com", "*.example.com": one or more labels; lower case) covers this host. */
bool route_host_matches(const char *pattern, struct slice host);

#endif
