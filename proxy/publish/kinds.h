#ifndef LAPSE_PROXY_PUBLISH_KINDS_H
#define LAPSE_PROXY_PUBLISH_KINDS_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config/catalog.h"

struct text;

/* What is watched: a row for each resource of the API server whose objects are documents for manifest.h. Two rows may have one
 * enum kind: HTTPRoute is one of Gateway API and one of Linkerd. */
struct watch_kind {
	enum kind kind;
	const char *group;           /* "gateway.networking.k8s.io"; "" = the core group */
	const char *plural;          /* "httproutes" */
	const char *name;            /* "HTTPRoute" */
	const char *const *versions; /* those manifest.h reads, best first; ends with NULL */
	bool cluster_wide;
	bool built_in;               /* served by every API server; else it is there when its CRD is */
};

size_t kinds_count(void);
const struct watch_kind *kinds_at(size_t index);

/* "httproutes.gateway.networking.k8s.io", "services": as RBAC and kubectl have it. */
void kinds_resource(const struct watch_kind *kind, struct text *out);

#endif
