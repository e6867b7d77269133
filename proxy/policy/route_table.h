#ifndef LAPSE_PROXY_POLICY_ROUTE_TABLE_H
#define LAPSE_PROXY_POLICY_ROUTE_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config/catalog.h"
#include "proxy/policy/route.h"

struct arena;

/* Every match of every rule of the routes given, in the order of precedence (Gateway API HTTPRouteSpec, GRPCRouteSpec): hostname
 * not wildcard by length, hostname by length, exact path, prefix by length, method, headers, queries, age, namespace/name, rule,
 * match. A regular expression counts as a prefix of its length would, behind exact paths. A GRPCRoute goes before other routes of the same
 * hostname and ranks by service, method and headers. TCPRoutes and TLSRoutes are left out. Found by hash of host and path: the cost
 * does not grow with the number of routes, but for regular expressions and for matches of the same host and path. */
struct route_table;

/* One entry to be ranked: its matches, for each of the route's hostnames, or for the rule's own host (Ingress, whose wildcard
 * stands for one label only). `payload` is the caller's, returned by the search. */
struct route_entry {
	const struct route *route;
	const struct route_rule *rule;
	const void *payload;
};

/* The table lives in the arena and borrows the routes, not the entries. NULL when there is no memory. */
struct route_table *route_table_new(struct arena *arena, const struct route_entry *entries, size_t count);

struct route_found {
	const struct route *route;
	const struct route_rule *rule;
	const struct route_match *match;
	const void *payload;
};

/* Which of two that match alike counts: negative when `a` is older, or of the same age and before `b` by the text "namespace/name". */
int route_table_compare_age(const struct object *a, const struct object *b);

/* The match that takes the request; false when none does, then *found is as it was. Nothing of this counts once
 * request->work.undecided. Pure but for that. */
bool route_table_find(const struct route_table *table, struct route_request *request, struct route_found *found);

#endif
