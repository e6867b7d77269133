#ifndef LAPSE_PROXY_CONFIG_CATALOG_H
#define LAPSE_PROXY_CONFIG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/arena.h"
#include "lib/map.h"
#include "lib/timeouts.h"

struct ports;
struct regex;

/* What the documents say, as values: everything valid, defaults filled in, nothing resolved or attached yet (policy.c does that).
 * All of it lives in one arena and is constant once read. Optional text is NULL, optional lists are NULL with count 0. */

enum kind {
	KIND_CONFIG,
	KIND_TENANT,
	KIND_KUBELB_ROUTE,
	KIND_LOAD_BALANCER,
	KIND_HTTP_ROUTE,
	KIND_GRPC_ROUTE,
	KIND_TCP_ROUTE,
	KIND_TLS_ROUTE,
	KIND_INGRESS,
	KIND_SERVICE_PROFILE,
	KIND_SERVICE,
	KIND_NAMESPACE,
	KIND_POD, /* of the downward API; never a document */
	KIND_COUNT,
};

/* "HTTPRoute", "LoadBalancer", … */
const char *catalog_kind_name(enum kind kind);

/* The head of every object. `namespace` is "default" where a namespaced document gives none, "" for cluster-wide kinds. */
struct object {
	struct object *next; /* of the same kind, in the order they were read */
	enum kind kind;
	const char *namespace, *name;
	const char *file;
	uint32_t line;
	int64_t created; /* metadata.creationTimestamp, seconds since 1970; INT64_MAX when absent: older wins */
	const struct timeouts *annotated; /* what its annotations set, with sources; NULL = nothing */
	const struct retry *retry;        /* retry.linkerd.io annotations, NULL = none */
	const struct ports *opaque_ports; /* config.linkerd.io/opaque-ports, NULL = not given */
};

/* How a request is tried again. Sources: Gateway API `retry`, Linkerd's annotations, ServiceProfile isRetryable. */
enum { RETRY_STATUS_FIRST = 400, RETRY_STATUS_COUNT = 200 };
struct retry {
	uint32_t codes[(RETRY_STATUS_COUNT + 31) / 32]; /* bit n: status 400 + n is tried again */
	uint32_t attempts;        /* retries after the first attempt, 0 = none; UINT32_MAX: only the budget limits */
	int64_t backoff_ms;       /* least wait before a retry, 0 = none */
	int64_t backoff_most_ms;  /* the wait grows to this with jitter; equal to backoff_ms = constant */
	int64_t attempt_ms;       /* retry.linkerd.io/timeout: to the response head, all attempts but the last; 0 = none */
	bool on_failure;          /* connection errors and backendRequest expiry too (Gateway API) */
	bool by_class;            /* codes come from the profile route's response classes, not from here */
	const char *source;       /* "HTTPRoute default/web rule 0 retry", "annotation retry.linkerd.io/http on …" */
	uint64_t grpc;            /* bit n: grpc-status n is tried again; for HTTP/2 */
};

/* --- Service --- */
struct service_port {
	const char *name; /* "" for a single unnamed one */
	uint16_t port;
	uint16_t target_port;    /* 0 when it is named */
	const char *target_name; /* NULL when it is a number */
	const char *app_protocol;
	bool tcp;
};

struct label {
	const char *key, *value;
};

struct service {
	struct object object;
	const struct addr *addresses; /* clusterIPs, port 0; none: unknown (headless or external: see below) */
	size_t address_count;
	const struct service_port *ports;
	size_t port_count;
	const struct label *selector; /* none selects nothing */
	size_t selector_count;
	bool headless, external_name;
};

/* --- routes: HTTPRoute, GRPCRoute, TCPRoute, TLSRoute, Ingress --- */
struct route_parent {
	bool service;          /* a Service; else a Gateway or the like */
	const char *namespace, *name;
	uint16_t port;         /* 0 = all */
	const char *section;   /* Service port name, NULL = all */
};

enum path_type { PATH_EXACT, PATH_PREFIX, PATH_REGEX };
enum value_type { VALUE_EXACT, VALUE_REGEX };

struct value_match { /* a header (name in lower case) or a query parameter */
	const char *name;
	enum value_type type;
	const char *value;
	const struct regex *regex; /* VALUE_REGEX */
};

struct route_match {
	enum path_type path_type;
	const char *path; /* of a prefix: without trailing '/', "" = all */
	const struct regex *path_regex;
	const char *method; /* NULL = any */
	const struct value_match *headers, *queries; /* no name twice: the first counts */
	size_t header_count, query_count;
	/* GRPCRoute: */
	const char *grpc_service, *grpc_method; /* NULL = any */
	const struct regex *grpc_service_regex, *grpc_method_regex;
};

struct header_field {
	const char *name, *value; /* name as given */
};

struct header_edits {
	const struct header_field *set, *add;
	const char *const *remove;
	size_t set_count, add_count, remove_count;
};

enum path_rewrite { PATH_KEEP, PATH_REPLACE_FULL, PATH_REPLACE_PREFIX };

struct redirect {
	const char *scheme, *hostname; /* NULL = the request's */
	enum path_rewrite path;
	const char *path_value;
	uint16_t port;   /* 0 = not given */
	uint16_t status; /* 301 302 303 307 308 */
};

struct filters {
	const struct header_edits *request, *response; /* NULL = none */
	const struct redirect *redirect;
	const char *rewrite_host; /* URLRewrite, NULL = keep */
	enum path_rewrite rewrite_path;
	const char *rewrite_value;
	bool unusable; /* a filter that must not be skipped and is not ours: requests get 500 */
	const char *unusable_what; /* "ExtensionRef", … */
};

struct route_backend {
	const char *namespace, *name;
	uint16_t port;   /* 0 only where the kind leaves it open */
	const char *port_name; /* Ingress: by name; NULL otherwise */
	uint32_t weight; /* 0–1000000 */
	bool invalid;    /* of a kind nobody can dial: its share gets 500 */
	const char *kind; /* "Service", as given */
	struct filters filters;
};

struct route_rule {
	const char *name;  /* NULL */
	const char *host;  /* Ingress: the rule's own host, NULL = any; takes the place of the route's hostnames */
	const struct route_match *matches; /* at least one for HTTPRoute and Ingress; none for TCP, TLS */
	size_t match_count;
	struct filters filters;
	const struct route_backend *backends; /* none: the parent itself */
	size_t backend_count;
	const struct timeouts *timeouts; /* rules[].timeouts, with sources; NULL */
	const struct retry *retry;
	size_t index;
};

struct route {
	struct object object;
	const struct route_parent *parents; /* Ingress: none, it counts as attached to a Gateway */
	size_t parent_count;
	bool orphaned; /* it names parents, none of which is a Service or Gateway: it applies to nothing */
	const char *const *hostnames; /* lower case; none = all */
	size_t hostname_count;
	const struct route_rule *rules;
	size_t rule_count;
};

/* --- ServiceProfile --- */
enum condition_type { CONDITION_ALL, CONDITION_ANY, CONDITION_NOT, CONDITION_METHOD, CONDITION_PATH, CONDITION_STATUS };

struct condition {
	enum condition_type type;
	const struct condition *children; /* ALL, ANY; NOT: one */
	size_t count;
	const char *method;        /* upper case */
	const struct regex *path;
	uint16_t least, greatest;  /* STATUS: inclusive */
};

struct response_class {
	struct condition condition;
	bool failure;
};

struct profile_route {
	const char *name;
	struct condition condition;
	const struct response_class *classes;
	size_t class_count;
	bool retryable;
	int64_t timeout_ms; /* TIMEOUT_UNSET: the default for profiles */
	const struct timeouts *timeouts; /* `request`, with its source; NULL when unset */
	size_t index;
};

struct profile_override { /* dstOverrides */
	const char *authority;
	double weight;
};

struct retry_budget {
	double ratio;          /* 0.2 */
	uint32_t per_second;   /* 10 */
	int64_t ttl_ms;        /* 10 s */
	bool usable;           /* within Linkerd's ranges (ttl 1–60 s, ratio 0–1000); else no retries */
};

struct profile {
	struct object object; /* its name is the Service's FQDN */
	const struct profile_route *routes;
	size_t route_count;
	const struct profile_override *overrides;
	size_t override_count;
	const struct ports *opaque_ports; /* of the Service, outbound; NULL = not given */
	struct retry_budget budget;
};

/* --- KubeLB: Config, Tenant, Route, LoadBalancer --- */
struct kubelb {
	struct object object;
	const struct timeouts *timeouts; /* spec.timeouts, with sources; NULL = nothing set */
	const struct addr *endpoints;    /* Route, LoadBalancer: every address with every port of spec.endpoints */
	size_t endpoint_count;
};

struct catalog {
	struct arena arena;
	struct object *objects[KIND_COUNT], **tails[KIND_COUNT]; /* linked by next, each the head of its kind's struct */
	size_t counts[KIND_COUNT];
	struct map subjects; /* "GROUP/HTTPRoute default/web" → struct object: each stands once; manifest.c's */
};

/* NULL when there is no memory. */
struct catalog *catalog_new(void);
void catalog_free(struct catalog *catalog);

/* Appends a complete object. */
void catalog_add(struct catalog *catalog, struct object *object);

/* The one of that kind and name, NULL when there is none. Linear: for loading and tests. */
const struct object *catalog_find(const struct catalog *catalog, enum kind kind, const char *namespace, const char *name);

#define CATALOG_EACH(catalog, kind, variable) \
	for (const struct object *variable = (catalog)->objects[kind]; variable; variable = variable->next)

#endif
