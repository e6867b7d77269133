#ifndef LAPSE_PROXY_POLICY_PROFILE_H
#define LAPSE_PROXY_POLICY_PROFILE_H

#include <stdbool.h>

#include "proxy/config/catalog.h"
#include "proxy/policy/route.h"

/* Linkerd ServiceProfiles as values (linkerd.io/v1alpha2). All pure, but for request->work. */

/* The first route in list order whose condition holds, NULL when none does. Conditions see the method and the path without
 * query. Nothing of this counts once request->work.undecided. */
const struct profile_route *profile_find(const struct profile *profile, struct route_request *request);

/* Whether a response of this status is a failure: the first response class that holds decides, else 5xx is one. route NULL: of no
 * route of the profile. */
bool profile_is_failure(const struct profile_route *route, unsigned status);

#endif
