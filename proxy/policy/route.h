#ifndef LAPSE_PROXY_POLICY_ROUTE_H
#define LAPSE_PROXY_POLICY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/config/catalog.h"
#include "proxy/config/regex.h"
#include "proxy/http1/http1.h"

/* A request as matching sees it: values borrowed from its head. */
struct route_request {
	struct http1_slice method;
	struct http1_slice path;  /* raw, without query; of an absolute-form target its path, "/" when it has none; of CONNECT and "*" empty */
	struct http1_slice query; /* behind '?', without it; empty when there is none */
	struct http1_slice host;  /* Host, or the authority of an absolute-form target, without port and without one trailing dot */
	uint16_t host_port;       /* 0 when none was given */
	const uint8_t *head;      /* the whole head, for its fields */
	size_t head_length;
	struct regex_work work; /* what matching it has cost; once that is undecided, no answer counts */
};

/* Fills *request from a head that http1_parse_head() has accepted, whose method and target these are. */
void route_request_read(struct route_request *request, const uint8_t *head, size_t head_length, struct http1_slice method,
                        struct http1_slice target);

/* The next field of the head after *offset (0 at first; moved on). False: there is none. Values are trimmed of blanks. */
bool route_next_field(const struct route_request *request, size_t *offset, struct http1_slice *name, struct http1_slice *value);

/* Whether all that the match names is so (Gateway API HTTPRouteMatch; GRPCRouteMatch when grpc: then POST to /service/method).
 * Of several header lines of a name any may match; of several query parameters the first counts, form-decoded. Pure but for
 * request->work. */
bool route_matches(const struct route_match *match, bool grpc, struct route_request *request);

/* Whether a hostname pattern ("a.example.com", "*.example.com": one or more labels; lower case) covers this host. */
bool route_host_matches(const char *pattern, struct http1_slice host);

#endif
