#ifndef LAPSE_PROXY_POLICY_POLICY_H
#define LAPSE_PROXY_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/reason.h"
#include "lib/timeouts.h"
#include "proxy/metrics/words.h"
#include "proxy/policy/route.h"

struct budget;
struct config;
struct resolver;
struct series;

/* What the owner set: the level of flags, and the names of the cluster. */
struct policy_settings {
	struct timeouts timeouts; /* unset where neither flag nor environment speaks; sources are owned */
	const char *cluster_domain;
	int64_t service_profile_default_timeout;    /* ms, 0 = off */
	const char *service_profile_default_source; /* owned: "built-in ServiceProfile default", "flag --service-…", … */
};

/* Which rules and timeouts apply to what: one snapshot of all levels, made of the settings, the documents and what DNS says.
 * Constant but for its counters; shared by all workers; reference counted. */
struct policy;

/* What applies to a destination: a port of a Service, an endpoint, or neither. Lives as long as its policy. */
struct policy_target;

/* One rule as it applies to one target. */
struct policy_rule;

/* What explain is asked about: a Service by its name, or an address (namespace and name NULL). Outlives the policy. */
struct policy_question {
	const char *namespace, *name;
};

/* Levels, lowest first: built-in, Config, environment and flags, Tenant, pod annotations, Service annotations, KubeLB's Route or
 * LoadBalancer and its annotations, the route's rule, the route's annotations. config may be NULL: none but the first and third.
 * resolver: for Services without a document, NULL = such names stay unknown. Only read during the call.
 * series: gives its rules and Services their numbers in the metrics, NULL = none is counted.
 * from_namespace: whose clients we are, NULL = the config's own. The policy keeps a reference to config; settings must outlive it.
 * question: NULL but for explain. With one a Service without a known address counts as there, inbound targets are made of Services
 * that do not select this pod too, and the Service that it names has targets even if no document speaks of it.
 * NULL when there is no memory. */
struct policy *policy_new(const struct policy_settings *settings, struct config *config, const struct resolver *resolver,
                          struct series *series, const char *from_namespace, const struct policy_question *question);
struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy *policy); /* any thread; NULL is fine */

/* It takes the place of `before`, before any worker has it: retry budgets on the same terms go on with what is in them. Takes over the
 * reference to that one; policy_collect() frees such when nobody else has them any more, so that this costs no worker any time. */
void policy_supersede(struct policy *policy, struct policy *before);
void policy_collect(struct policy *policy);

/* The effective timeouts of what belongs to no Service: built-in to pod annotations. */
const struct timeouts *policy_timeouts(const struct policy *policy);

/* The names that should be resolved for this policy; they live as long as it. */
const char *const *policy_names(const struct policy *policy, size_t *count);

/* Conflicts met while attaching ("TCPRoute default/a is ignored on default/web:80: HTTPRoute default/b is there"), as warnings. */
struct diagnostics;
const struct diagnostics *policy_diagnostics(const struct policy *policy);

/* What applies to a connection. Never NULL. */
const struct policy_target *policy_target(const struct policy *policy, enum direction direction, const struct addr *destination);

/* The target of a Service by name and port; NULL when the policy knows none. */
const struct policy_target *policy_target_named(const struct policy *policy, enum direction direction, const char *namespace,
                                                const char *name, uint16_t port);

/* The targets of all ports of a Service, or with NULL for both names of every Service, one a call, in no order: *at is 0 at first.
 * NULL: there are no more. */
const struct policy_target *policy_target_next(const struct policy *policy, enum direction direction, const char *namespace,
                                               const char *name, size_t *at);

/* Effective before a request or a server name is known: the timeouts, and all of it as a choice. */
const struct timeouts *policy_target_timeouts(const struct policy_target *target);
struct policy_choice;
void policy_target_choice(const struct policy_target *target, struct policy_choice *choice);

/* Whether requests to it need policy_route(), and opaque connections policy_connection(), at all. */
bool policy_target_has_routes(const struct policy_target *target);
bool policy_target_has_connection(const struct policy_target *target);

/* Whether a request to it must be read to know what becomes of it: routes attached as parents, a profile or retries. */
bool policy_target_decides(const struct policy_target *target);

/* Whether connections to it are carried as opaque bytes without a look at them; port: of the original destination. */
bool policy_is_opaque(const struct policy *policy, enum direction direction, const struct policy_target *target, uint16_t port);

/* The Service: namespace, name and port; false when the target is none of a Service. */
bool policy_target_service(const struct policy_target *target, const char **namespace, const char **name, uint16_t *port);

/* "default/web", NULL: for records. */
const char *policy_target_name(const struct policy_target *target);

/* Their numbers in the metrics; SERIES_NONE for no rule (NULL), or a target of no Service. */
unsigned policy_rule_series(const struct policy_rule *rule);
unsigned policy_target_series(const struct policy_target *target);

/* What is to be done with a request or an opaque connection. Everything borrowed from the policy. */
struct policy_choice {
	unsigned number;                   /* choices of one number differ in match, address and refusal only */
	const struct timeouts *timeouts;
	const struct policy_rule *rule;    /* NULL: none applies */
	const struct route_match *match;   /* of an HTTP rule */
	const struct filters *filters;     /* of the rule, NULL = none to apply */
	const struct route_backend *backend; /* the one chosen, NULL: the destination itself */
	const struct addr *address;        /* where it is, NULL: the original destination */
	const struct retry *retry;         /* NULL = none */
	const struct profile_route *profile_route; /* of a ServiceProfile */
	struct budget *budget;             /* of its retries, NULL = none */
	bool until_head;                   /* `request` ends with the response head (ServiceProfile) */
	enum reason_id refusal;            /* REASON_NONE, or why the proxy answers itself: no_route, route_undecided, route_invalid,
	                                    * backend_unresolved */
};

/* Chooses for a request; policy_connection(), for an opaque connection, server_name from its ClientHello, NULL = none. Both also move
 * on the turn of weighted backends. */
void policy_route(const struct policy_target *target, struct route_request *request, struct policy_choice *choice);
void policy_connection(const struct policy_target *target, const char *server_name, struct policy_choice *choice);

/* A choice that is refused for its backend becomes that of another backend, where one has a share and takes requests: the rule
 * itself works then. For explain. */
void policy_choose_able(struct policy_choice *choice);

/* For a request of HTTP/2: the sentence which says that this choice does more for HTTP/1, once for each route, profile or Service, whoever
 * said it before: check-config and the log at load where documents tell that HTTP/2 is spoken there (GRPCRoute, appProtocol). NULL: there is
 * nothing to say. */
const char *policy_note_http1_only(const struct policy_target *target, const struct policy_choice *choice);

/* One more than the greatest number of a choice. */
unsigned policy_numbers(const struct policy *policy);

/* What a rule is, for records and explain. */
struct policy_rule_view {
	enum kind kind;
	const char *namespace, *name; /* of the route or profile */
	const char *rule_name;        /* NULL = unnamed */
	size_t index;
	const struct route_backend *backends; /* none where it advises */
	size_t backend_count;
	const char *text;             /* "HTTPRoute default/web rule 0", "ServiceProfile default/web… route NAME" */
	bool advises;                 /* brings timeouts, and nothing else: of a Gateway or an Ingress, or inbound */
};
void policy_rule_view(const struct policy_rule *rule, struct policy_rule_view *view);

#endif
