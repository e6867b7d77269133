#ifndef LAPSE_PROXY_CONFIG_MANIFEST_REFERENCE_H
#define LAPSE_PROXY_CONFIG_MANIFEST_REFERENCE_H

#include "proxy/config/fields.h"

/* The references of a route to other objects. */

field_read manifest_reference_read_parents;       /* parentRefs of a struct route */
field_read manifest_reference_read_backends;      /* backendRefs of a struct route_rule */
field_read manifest_reference_read_http_backends; /* the same, with filters: HTTPRoute, GRPCRoute */

#endif
