#ifndef LAPSE_PROXY_POLICY_FILTER_H
#define LAPSE_PROXY_POLICY_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/config/catalog.h"
#include "proxy/policy/route.h"

struct text;

/* What the filters of a rule make of a request (Gateway API HTTPRouteFilter). Pure. */

/* The Location of a redirect. Scheme: the filter's, else http, the request's. Host: the filter's, else the request's. Port: the
 * filter's, else the one its scheme has, else service_port; left out where it is the scheme's own. The query goes with it unless the
 * full path is replaced. A request without any host gets a relative reference. What does not fit is cut (text.truncated). */
void filter_location(const struct redirect *redirect, const struct route_match *match, const struct route_request *request,
                     uint16_t service_port, struct text *out);

/* The path of a rewrite or redirect, without query: full replacement, or the matched prefix replaced, by the table of the API's
 * HTTPPathModifier; a match that is no prefix keeps the path. value is not NULL unless how is PATH_KEEP. What may not stand in a path is
 * percent-encoded, in value also '?' and '#': the result may take three times the bytes of value and path, and two more. */
void filter_path(enum path_rewrite how, const char *value, const struct route_match *match, struct slice path,
                 struct text *out);

#endif
