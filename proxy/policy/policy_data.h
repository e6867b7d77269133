#ifndef LAPSE_PROXY_POLICY_POLICY_DATA_H
#define LAPSE_PROXY_POLICY_POLICY_DATA_H

/* The inside of a policy, for policy*.c. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/map.h"
#include "proxy/config/config.h"
#include "proxy/config/diagnostics.h"
#include "proxy/policy/budget.h"
#include "proxy/policy/policy.h"

enum backend_state {
	BACKEND_SELF,       /* the Service itself: the original destination */
	BACKEND_ADDRESSES,
	BACKEND_INVALID,    /* its share is answered with 500 */
	BACKEND_UNRESOLVED, /* with 503 */
};

struct policy_backend {
	const struct route_backend *backend;
	enum backend_state state;
	const struct addr *addresses; /* with ports */
	size_t address_count;
	unsigned number; /* of choices of it, 0 = its rule's */
};

/* A retry budget; lives on in later policies. */
struct policy_budget {
	struct policy_budget *next;
	struct budget *budget; /* a reference */
};

/* Who is to be told that his rules do more for HTTP/1 than for HTTP/2. Workers set `told`, of what is else constant. */
struct policy_note {
	const struct object *object; /* the route, profile or Service */
	const char *text;
	_Atomic bool told;
};

struct policy_rule {
	struct policy_rule_view view;
	struct timeouts timeouts;
	const struct filters *filters; /* NULL = none to apply */
	const struct retry *retry;
	const struct policy_budget *budget;
	const struct profile_route *profile_route;
	struct policy_note *note; /* NULL: it brings timeouts and nothing else, or takes whole connections */
	struct policy_backend *backends; /* none: the destination itself */
	size_t backend_count;
	uint64_t weight; /* of all backends */
	unsigned number; /* of choices of it */
	unsigned series; /* in the metrics */
	_Atomic uint32_t turn;
};

/* A TLSRoute's rule on a target. */
struct policy_tls {
	const char *hostname; /* pattern, NULL = any */
	struct policy_rule *rule;
	const struct object *route;
};

struct policy_target {
	const char *namespace, *name, *text; /* NULL: of no Service */
	uint16_t port;
	unsigned series;                 /* of the Service, in the metrics */
	unsigned number;                 /* of choices without a rule: of connections; one more: of requests */
	struct timeouts timeouts;        /* of connections, before a request or a server name is known */
	struct timeouts unrouted;        /* of requests that no rule takes: without what routes say */
	const struct retry *retry;       /* of these, NULL = none */
	struct policy_note *note;        /* of these, NULL = there is nothing to tell */
	const struct route_table *table; /* of HTTP requests; payloads are policy_rules. NULL = none */
	bool routed;                     /* what the table does not match is no_route */
	const struct profile *profile;
	struct policy_rule *profile_rules; /* by index */
	struct policy_budget *budget;      /* of these, NULL */
	struct policy_rule *connection;    /* the TCPRoute's, NULL */
	struct policy_tls *tls;            /* best first */
	size_t tls_count;
	const struct ports *opaque_ports; /* of the Service, else of its Namespace; NULL = none */
	const struct ports *profile_opaque_ports; /* of its ServiceProfile besides, outbound; NULL = none */
};

/* Address and port, port 0 = any, to what applies there. */
struct policy_index {
	struct policy_place {
		struct addr addr; /* family AF_UNSPEC: free, unless `taken` */
		const struct policy_target *target;
	} *places;
	size_t capacity; /* a power of two, 0 at first */
	size_t count;
};

struct policy {
	_Atomic unsigned users;
	struct policy *before; /* what it has taken the place of and is still used, linked; references */
	struct config *config; /* a reference; NULL */
	struct arena arena;
	struct policy_target none;   /* what belongs to no Service */
	struct policy_index outbound; /* by address and port */
	struct policy_index inbound;  /* by endpoint address and port, and by port alone (address 0.0.0.0) */
	struct map named[2];          /* by direction: "namespace/name:port" */
	const char **names;           /* to be resolved */
	size_t name_count;
	unsigned numbers;             /* of choices */
	const struct ports *opaque_ports; /* of the pod, else of its Namespace, inbound; NULL = none */
	struct policy_budget *budgets;
	struct map notes;             /* text → policy_note */
	struct diagnostics diagnostics;
};

/* --- policy_build.c and policy_attach.c, while a policy is made --- */

/* A Service, by its document or by what refers to it. */
struct policy_service {
	struct policy_service *next;
	const char *namespace, *name, *key; /* "namespace/name" */
	const struct service *document;     /* NULL = none */
	const struct addr *addresses;       /* port 0 */
	size_t address_count;
	bool unknown;                       /* DNS says that the name does not exist */
	bool wanted;                        /* its name is to be resolved */
	struct policy_link *links;          /* routes that refer to it */
	const struct object *kubelb;        /* Route or LoadBalancer of the same name and namespace, NULL */
};

/* One rule's (rule NULL: a route's) interest in a Service. */
struct policy_link {
	struct policy_link *next;
	const struct route *route;
	const struct route_rule *rule;     /* through its backendRefs, from a Gateway or Ingress; NULL: through a parentRef */
	const struct route_parent *parent; /* NULL likewise */
	uint16_t port;                     /* 0 = all, unless port_name */
	const char *port_name;
};

struct policy_build {
	struct policy *policy;
	const struct policy_settings *settings;
	const struct config *config; /* NULL */
	const struct resolver *resolver;
	struct series *series;
	const char *namespace;
	struct map services; /* "namespace/name" → policy_service */
	struct policy_service *first, **last;
	struct map tenants;  /* namespace → kubelb */
	struct map profiles; /* "namespace/fqdn" → profile */
	const struct policy_question *question; /* NULL */
	struct policy_note *note; /* the last that was asked for: the rules of a route come one after the other; NULL */
	bool no_memory;
};

/* What holds for a namespace: built-in, Config, flags, Tenant, pod. */
void policy_build_base(const struct policy_build *build, const char *namespace, struct timeouts *out);

/* What is dialled comes over it, field by field; NULL = nothing. How long we drain is not for that to say. */
void policy_build_merge(struct timeouts *base, const struct timeouts *over);

/* The service of that name, made on first use; NULL when there is no memory. */
struct policy_service *policy_build_service(struct policy_build *build, const char *namespace, const char *name);

/* Warns of parentRefs that fit none of the ports in a Service's document. */
void policy_attach_check_parents(struct policy_build *build, const struct policy_service *service);

/* Fills a target of a Service's port, whose names and port are set: levels, rules, profile. port_name NULL = not known. */
void policy_attach(struct policy_build *build, const struct policy_service *service, enum direction direction, const char *port_name,
                   struct policy_target *target);

/* The note of that object, made on first use; NULL when there is no memory. */
struct policy_note *policy_note_of(struct policy_build *build, const struct object *object);

/* Says it now, as a diagnostic, unless it was; NULL is fine. */
void policy_note_tell(struct policy_build *build, struct policy_note *note);

/* What was told under the policy before is not told again. */
void policy_note_inherit(struct policy *policy, const struct policy *before);

/* The first of `count` numbers for choices. */
unsigned policy_build_numbers(struct policy_build *build, unsigned count);

/* Arena memory of the policy; NULL also sets no_memory. */
void *policy_build_alloc(struct policy_build *build, size_t count, size_t size);

/* Makes room and sets; an address that is there keeps what it has. False: there was something already. */
bool policy_index_add(struct policy_build *build, struct policy_index *index, const struct addr *addr,
                      const struct policy_target *target);
const struct policy_target *policy_index_find(const struct policy_index *index, const struct addr *addr);

#endif
