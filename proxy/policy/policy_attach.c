/* Filling a target: which routes hang on a Service's port, and what each of their rules comes to there. */
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "proxy/metrics/series.h"
#include "proxy/policy/policy_data.h"
#include "proxy/policy/route_table.h"

/* The routes that concern one target, before rules are made of them. */
struct attachment {
	struct policy_build *build;
	const struct policy_service *service;
	struct policy_target *target;
	enum direction direction;
	struct timeouts base; /* all levels below the routes */
	bool mesh;            /* there are routes with this Service as parent, for clients like us: only they count */
	bool acts;            /* they decide, filter and split too; otherwise routes bring nothing but timeouts */
	bool http2;           /* documents say that HTTP/2 is spoken there */
	enum kind winner;     /* of these, the kind that counts: GRPCRoute over HTTPRoute over TLSRoute over TCPRoute */
	bool consumer;        /* of our namespace, not the Service's */
	struct route_entry *entries;
	size_t entry_count;
	size_t rules, tls_rules; /* at most */
	const struct route *sole; /* the one route object seen, unless `several` */
	bool several;
};

/* --- which links count --- */

static bool policy_attach_covers(const struct policy_link *link, uint16_t port, const char *port_name)
{
	const char *section = link->parent ? link->parent->section : link->port_name;

	if (link->port && link->port != port)
		return false;
	return !section || (port_name && strcmp(section, port_name) == 0);
}

void policy_attach_check_parents(struct policy_build *build, const struct policy_service *service)
{
	const struct service *document = service->document;

	for (const struct policy_link *link = service->links; link; link = link->next) {
		const struct object *route = &link->route->object;
		bool covers = !link->parent;

		for (size_t i = 0; i < document->port_count && !covers; i++)
			covers = document->ports[i].tcp && policy_attach_covers(link, document->ports[i].port, document->ports[i].name);
		if (!covers)
			diagnostics_add(&build->policy->diagnostics, false,
			                "%s:%u: %s %s/%s: a parentRef to Service %s applies to nothing: no TCP port of it fits",
			                route->file, route->line, catalog_kind_name(route->kind), route->namespace, route->name, service->key);
	}
}

/* Lower is stronger where several kinds hang on one Service (GEP-1294). */
static int policy_attach_rank(enum kind kind)
{
	switch (kind) {
	case KIND_GRPC_ROUTE:
		return 0;
	case KIND_HTTP_ROUTE:
		return 1;
	case KIND_TLS_ROUTE:
		return 2;
	default:
		return 3;
	}
}

/* Whether a parentRef link is for clients like us: the producer's routes for all, a consumer's for those of its namespace. */
static bool policy_attach_is_ours(const struct attachment *attachment, const struct policy_link *link, bool consumer)
{
	const char *namespace = link->route->object.namespace;
	bool producer = strcmp(namespace, attachment->service->namespace) == 0;

	if (!consumer)
		return producer;
	return !producer && attachment->direction == DIRECTION_OUTBOUND && strcmp(namespace, attachment->build->namespace) == 0;
}

/* Decides between consumer and producer routes, and between their kinds. */
static void policy_attach_decide(struct attachment *attachment, const char *port_name)
{
	for (int consumer = 1; consumer >= 0 && !attachment->mesh; consumer--)
		for (const struct policy_link *link = attachment->service->links; link; link = link->next) {
			if (!link->parent || !policy_attach_covers(link, attachment->target->port, port_name) ||
			    !policy_attach_is_ours(attachment, link, consumer))
				continue;
			if (!attachment->mesh ||
			    policy_attach_rank(link->route->object.kind) < policy_attach_rank(attachment->winner))
				attachment->winner = link->route->object.kind;
			attachment->mesh = true;
			attachment->consumer = consumer;
		}
	/* Inbound nobody is routed anywhere: the client's side has done that. */
	attachment->acts = attachment->mesh && attachment->direction == DIRECTION_OUTBOUND;
}

static bool policy_attach_counts(const struct attachment *attachment, const struct policy_link *link, const char *port_name)
{
	if (!policy_attach_covers(link, attachment->target->port, port_name))
		return false;
	if (!attachment->mesh)
		return link->rule;
	if (!link->parent || !policy_attach_is_ours(attachment, link, attachment->consumer))
		return false;
	if (link->route->object.kind == attachment->winner)
		return true;
	diagnostics_add(&attachment->build->policy->diagnostics, false, "%s:%u: %s %s/%s: ignored on Service %s port %u, which has a %s",
	                link->route->object.file, link->route->object.line, catalog_kind_name(link->route->object.kind),
	                link->route->object.namespace, link->route->object.name, attachment->service->key, attachment->target->port,
	                catalog_kind_name(attachment->winner));
	return false;
}

/* --- backends --- */

static struct addr *policy_attach_addresses(struct policy_build *build, const struct policy_service *service, uint16_t port)
{
	struct addr *addresses = policy_build_alloc(build, service->address_count, sizeof *addresses);

	for (size_t i = 0; addresses && i < service->address_count; i++) {
		addresses[i] = service->addresses[i];
		addresses[i].port = port;
	}
	return addresses;
}

static const struct service_port *policy_attach_port(const struct service *document, uint16_t port)
{
	for (size_t i = 0; i < document->port_count; i++)
		if (document->ports[i].tcp && document->ports[i].port == port)
			return &document->ports[i];
	return NULL;
}

static void policy_attach_backend(struct attachment *attachment, const struct object *route, const struct route_backend *document,
                                  struct policy_backend *backend)
{
	const struct policy_target *target = attachment->target;
	struct policy_build *build = attachment->build;
	const struct policy_service *service;
	uint16_t port = document->port;
	const char *key;

	*backend = (struct policy_backend){.backend = document, .state = BACKEND_INVALID};
	if (document->filters.response)
		backend->number = policy_build_numbers(build, 1);
	if (document->invalid)
		return;
	if (strcmp(document->name, target->name) == 0 && strcmp(document->namespace, target->namespace) == 0 &&
	    document->port == target->port) {
		backend->state = BACKEND_SELF;
		return;
	}
	key = arena_printf(&build->policy->arena, "%s/%s", document->namespace, document->name);
	service = key ? map_get(&build->services, key) : NULL;
	build->no_memory |= !key;
	if (!service || service->unknown)
		return;
	if (service->document) {
		const struct service_port *found = policy_attach_port(service->document, document->port);

		if (!found) {
			diagnostics_add(&build->policy->diagnostics, false,
			                "%s:%u: %s %s/%s: the backend %s has no TCP port %u%s",
			                route->file, route->line, catalog_kind_name(route->kind), route->namespace, route->name, service->key,
			                document->port, attachment->acts ? "; its share of the requests gets an error" : "");
			return;
		}
		/* Behind a headless Service's name are its pods, and nobody there translates ports. */
		if (service->document->headless && found->target_port)
			port = found->target_port;
	}
	if (service->address_count) {
		backend->addresses = policy_attach_addresses(build, service, port);
		backend->address_count = backend->addresses ? service->address_count : 0;
		backend->state = BACKEND_ADDRESSES;
	} else {
		backend->state = build->question ? BACKEND_SELF : BACKEND_UNRESOLVED;
	}
}

static void policy_attach_backends(struct attachment *attachment, const struct object *route, const struct route_rule *document,
                                   struct policy_rule *rule)
{
	rule->backends = policy_build_alloc(attachment->build, document->backend_count, sizeof *rule->backends);
	if (!rule->backends)
		return;
	rule->backend_count = document->backend_count;
	for (size_t i = 0; i < document->backend_count; i++) {
		policy_attach_backend(attachment, route, &document->backends[i], &rule->backends[i]);
		rule->weight += document->backends[i].weight;
	}
}

/* --- HTTP/2 --- */

/* GEP-1911, and what meshes know beside it. */
static bool policy_attach_speaks_http2(const struct attachment *attachment)
{
	static const char *const protocols[] = {"kubernetes.io/h2c", "h2c", "http2", "grpc"};
	const struct service *document = attachment->service->document;
	const struct service_port *port = document ? policy_attach_port(document, attachment->target->port) : NULL;

	for (size_t i = 0; port && port->app_protocol && i < sizeof protocols / sizeof protocols[0]; i++)
		if (strcmp(port->app_protocol, protocols[i]) == 0)
			return true;
	return attachment->mesh && attachment->winner == KIND_GRPC_ROUTE;
}

/* Whether a request that it takes gets more of it than timeouts. */
static bool policy_attach_does_more(const struct policy_rule *rule)
{
	if (rule->filters || rule->retry || (rule->backend_count && !rule->weight))
		return true;
	for (size_t i = 0; i < rule->backend_count; i++)
		if (rule->backends[i].backend->weight && rule->backends[i].state != BACKEND_SELF)
			return true;
	return false;
}

static void policy_attach_note(struct attachment *attachment, const struct object *object, struct policy_rule *rule)
{
	rule->note = policy_note_of(attachment->build, object);
	if (attachment->http2 && policy_attach_does_more(rule))
		policy_note_tell(attachment->build, rule->note);
}

/* --- rules --- */

static bool policy_attach_filters(const struct filters *filters)
{
	return filters->request || filters->response || filters->redirect || filters->rewrite_host ||
	       filters->rewrite_path != PATH_KEEP || filters->unusable;
}

static const struct retry *policy_attach_retry(const struct attachment *attachment, const struct route *route,
                                               const struct route_rule *rule)
{
	const struct service *service = attachment->service->document;

	if (route->object.retry)
		return route->object.retry;
	return rule->retry ? rule->retry : service ? service->object.retry : NULL;
}

static struct policy_rule *policy_attach_rule(struct attachment *attachment, const struct route *route, const struct route_rule *document)
{
	const struct object *object = &route->object;
	struct policy_build *build = attachment->build;
	struct policy_rule *rule = policy_build_alloc(build, 1, sizeof *rule);

	if (!rule)
		return NULL;
	rule->view = (struct policy_rule_view){
	    .kind = object->kind,
	    .namespace = object->namespace,
	    .name = object->name,
	    .rule_name = document->name,
	    .index = document->index,
	    .advises = !attachment->acts,
	    .backends = attachment->acts ? document->backends : NULL,
	    .backend_count = attachment->acts ? document->backend_count : 0,
	    .text = arena_printf(&build->policy->arena, "%s %s/%s rule %zu", catalog_kind_name(object->kind), object->namespace, object->name,
	                         document->index),
	};
	build->no_memory |= !rule->view.text;
	rule->number = policy_build_numbers(build, 1);
	rule->series = series_number(build->series, SERIES_ROUTE, rule->view.text);
	rule->timeouts = attachment->base;
	policy_build_merge(&rule->timeouts, document->timeouts);
	policy_build_merge(&rule->timeouts, object->annotated);
	rule->retry = attachment->target->retry;
	rule->note = attachment->target->note;
	if (!attachment->acts)
		return rule;
	rule->filters = policy_attach_filters(&document->filters) ? &document->filters : NULL;
	rule->retry = policy_attach_retry(attachment, route, document);
	policy_attach_backends(attachment, object, document, rule);
	if (policy_attach_rank(object->kind) <= 1) /* others take connections, whatever they carry */
		policy_attach_note(attachment, object, rule);
	else
		rule->note = NULL;
	return rule;
}

/* Of rules that match alike: that of the older route, then of the first by name, then the first of a route. */
static bool policy_attach_older(const struct object *a, const struct policy_rule *in_a, const struct object *b,
                                const struct policy_rule *in_b)
{
	int order = route_table_compare_age(a, b);

	return order ? order < 0 : in_a->view.index < in_b->view.index;
}

static void policy_attach_connection(struct attachment *attachment, const struct route *route, struct policy_rule *rule,
                                     const struct route **best)
{
	if (*best && !policy_attach_older(&route->object, rule, &(*best)->object, attachment->target->connection))
		return;
	*best = route;
	attachment->target->connection = rule;
}

/* Server names: the longest without wildcard first, then the longest, then "any"; what is equal by age and name. */
static bool policy_attach_before(const struct policy_tls *a, const struct policy_tls *b)
{
	size_t a_length = a->hostname ? strlen(a->hostname) : 0, b_length = b->hostname ? strlen(b->hostname) : 0;
	bool a_exact = a_length && a->hostname[0] != '*', b_exact = b_length && b->hostname[0] != '*';

	if (a_exact != b_exact)
		return a_exact;
	return a_length != b_length ? a_length > b_length : policy_attach_older(a->route, a->rule, b->route, b->rule);
}

static void policy_attach_server_names(struct attachment *attachment, const struct route *route, struct policy_rule *rule)
{
	struct policy_target *target = attachment->target;

	for (size_t i = 0; i < (route->hostname_count ? route->hostname_count : 1); i++) {
		struct policy_tls tls = {route->hostname_count ? route->hostnames[i] : NULL, rule, &route->object};
		size_t at = target->tls_count++;

		for (; at && policy_attach_before(&tls, &target->tls[at - 1]); at--)
			target->tls[at] = target->tls[at - 1];
		target->tls[at] = tls;
	}
}

static void policy_attach_take(struct attachment *attachment, const struct route *route, const struct route_rule *document,
                               const struct route **best)
{
	struct policy_rule *rule = policy_attach_rule(attachment, route, document);

	if (!rule)
		return;
	if (attachment->sole && attachment->sole != route)
		attachment->several = true;
	attachment->sole = route;
	switch (route->object.kind) {
	case KIND_TCP_ROUTE:
		policy_attach_connection(attachment, route, rule, best);
		break;
	case KIND_TLS_ROUTE:
		policy_attach_server_names(attachment, route, rule);
		break;
	default:
		attachment->entries[attachment->entry_count++] = (struct route_entry){route, document, rule};
		break;
	}
}

static size_t policy_attach_size(const struct policy_link *link)
{
	return link->rule ? 1 : link->route->rule_count;
}

static void policy_attach_routes(struct attachment *attachment, const char *port_name)
{
	struct policy_build *build = attachment->build;
	const struct policy_link *link;
	const struct route *best = NULL;
	size_t most = 0, names = 0;

	for (link = attachment->service->links; link; link = link->next) {
		most += policy_attach_size(link);
		names += policy_attach_size(link) * (link->route->hostname_count + 1);
	}
	attachment->entries = policy_build_alloc(build, most, sizeof *attachment->entries);
	attachment->target->tls = policy_build_alloc(build, names, sizeof *attachment->target->tls);
	if (!attachment->entries || !attachment->target->tls)
		return;
	for (link = attachment->service->links; link; link = link->next) {
		if (!policy_attach_counts(attachment, link, port_name))
			continue;
		for (size_t i = 0; i < policy_attach_size(link); i++)
			policy_attach_take(attachment, link->route, link->rule ? link->rule : &link->route->rules[i], &best);
	}
	attachment->target->routed = attachment->acts && policy_attach_rank(attachment->winner) <= 1;
	if (!attachment->entry_count)
		return;
	if (attachment->target->routed) /* what no rule takes is 404 because there is this one, among others */
		attachment->target->note = policy_note_of(build, &attachment->entries[0].route->object);
	attachment->target->table = route_table_new(&build->policy->arena, attachment->entries, attachment->entry_count);
	build->no_memory |= !attachment->target->table;
}

/* --- ServiceProfiles --- */

static const struct profile *policy_attach_find_profile(const struct attachment *attachment)
{
	struct policy_build *build = attachment->build;
	const char *namespaces[] = {build->namespace, attachment->service->namespace};

	for (size_t i = 0; i < 2; i++) {
		char key[1024];
		const struct profile *profile;

		snprintf(key, sizeof key, "%s/%s.%s.svc.%s", namespaces[i], attachment->service->name, attachment->service->namespace,
		         build->settings->cluster_domain);
		profile = map_get(&build->profiles, key);
		if (profile)
			return profile;
	}
	return NULL;
}

static void policy_attach_profile_rule(struct attachment *attachment, const struct profile *profile, struct policy_rule *rule,
                                       const struct profile_route *route)
{
	const struct policy_settings *settings = attachment->build->settings;
	struct arena *arena = &attachment->build->policy->arena;
	struct retry *retry;

	rule->profile_route = route;
	rule->view = (struct policy_rule_view){
	    .kind = KIND_SERVICE_PROFILE,
	    .namespace = profile->object.namespace,
	    .name = profile->object.name,
	    .rule_name = route->name,
	    .index = route->index,
	    .text = arena_printf(arena, "ServiceProfile %s/%s route \"%s\"", profile->object.namespace, profile->object.name, route->name),
	};
	attachment->build->no_memory |= !rule->view.text;
	rule->number = policy_build_numbers(attachment->build, 1);
	rule->series = series_number(attachment->build->series, SERIES_ROUTE, rule->view.text);
	rule->timeouts = attachment->base;
	if (route->timeouts)
		timeouts_merge(&rule->timeouts, route->timeouts);
	else
		rule->timeouts.of[TIMEOUT_REQUEST] =
		    (struct timeout_value){settings->service_profile_default_timeout, settings->service_profile_default_source};
	policy_build_merge(&rule->timeouts, profile->object.annotated);
	if (!route->retryable || !profile->budget.usable)
		return;
	retry = policy_build_alloc(attachment->build, 1, sizeof *retry);
	if (!retry)
		return;
	*retry = (struct retry){.attempts = UINT32_MAX, .by_class = true, .source = rule->view.text};
	rule->retry = retry;
	rule->budget = attachment->target->budget;
	policy_attach_note(attachment, &profile->object, rule);
}

static void policy_attach_budget(struct attachment *attachment, const struct profile *profile)
{
	struct policy *policy = attachment->build->policy;
	struct policy_budget *kept = policy_build_alloc(attachment->build, 1, sizeof *kept);

	if (!kept)
		return;
	kept->budget = budget_new(&profile->budget, clock_monotonic_ms());
	attachment->build->no_memory |= !kept->budget;
	kept->next = policy->budgets;
	policy->budgets = attachment->target->budget = kept;
}

/* A profile with routes takes the place of HTTPRoutes (linkerd.io). */
static void policy_attach_profile(struct attachment *attachment)
{
	const struct profile *profile = policy_attach_find_profile(attachment);
	struct policy_target *target = attachment->target;
	struct policy_build *build = attachment->build;

	if (!profile)
		return;
	if (profile->override_count)
		diagnostics_add(&build->policy->diagnostics, false, "%s:%u: ServiceProfile %s/%s: spec.dstOverrides is not carried out",
		                profile->object.file, profile->object.line, profile->object.namespace, profile->object.name);
	target->profile_opaque_ports = profile->opaque_ports;
	if (!profile->route_count)
		return;
	policy_attach_budget(attachment, profile);
	target->profile_rules = policy_build_alloc(build, profile->route_count, sizeof *target->profile_rules);
	if (!target->profile_rules)
		return;
	for (size_t i = 0; i < profile->route_count; i++)
		policy_attach_profile_rule(attachment, profile, &target->profile_rules[i], &profile->routes[i]);
	if (attachment->mesh && target->table)
		diagnostics_add(&build->policy->diagnostics, false,
		                "%s:%u: ServiceProfile %s/%s: takes the place of the routes of Service %s port %u", profile->object.file,
		                profile->object.line, profile->object.namespace, profile->object.name, attachment->service->key,
		                target->port);
	target->profile = profile;
	target->table = NULL;
}

/* --- the target --- */

static void policy_attach_base(struct attachment *attachment)
{
	const struct policy_service *service = attachment->service;

	policy_build_base(attachment->build, service->namespace, &attachment->base);
	if (service->document)
		policy_build_merge(&attachment->base, service->document->object.annotated);
	if (service->kubelb) {
		policy_build_merge(&attachment->base, ((const struct kubelb *)service->kubelb)->timeouts);
		policy_build_merge(&attachment->base, service->kubelb->annotated);
	}
}

void policy_attach(struct policy_build *build, const struct policy_service *service, enum direction direction, const char *port_name,
                   struct policy_target *target)
{
	struct attachment attachment = {.build = build, .service = service, .target = target, .direction = direction};

	policy_attach_base(&attachment);
	target->timeouts = target->unrouted = attachment.base;
	if (direction == DIRECTION_OUTBOUND && service->document)
		target->retry = service->document->object.retry;
	if (target->retry)
		target->note = policy_note_of(build, &service->document->object);
	if (service->links)
		policy_attach_decide(&attachment, port_name);
	attachment.http2 = policy_attach_speaks_http2(&attachment);
	if (target->retry && attachment.http2)
		policy_note_tell(build, target->note);
	if (service->links)
		policy_attach_routes(&attachment, port_name);
	/* What a connection is held to before its first request: an only route's annotations are meant for that too. */
	if (attachment.sole && !attachment.several)
		policy_build_merge(&target->timeouts, attachment.sole->object.annotated);
	if (target->connection && !target->table)
		target->timeouts = target->connection->timeouts;
	if (direction == DIRECTION_OUTBOUND)
		policy_attach_profile(&attachment);
}
