/* Making a policy: Services and what refers to them, addresses, targets, the index. policy_attach.c fills the targets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/dns/resolve.h"
#include "proxy/metrics/series.h"
#include "proxy/policy/policy_data.h"

void *policy_build_alloc(struct policy_build *build, size_t count, size_t size)
{
	void *memory = arena_array(&build->policy->arena, count, size);

	build->no_memory |= !memory;
	return memory;
}

unsigned policy_build_numbers(struct policy_build *build, unsigned count)
{
	build->policy->numbers += count;
	return build->policy->numbers - count;
}

static void **policy_build_slot(struct policy_build *build, struct map *map, const char *key)
{
	void **slot = key ? map_at(map, &build->policy->arena, key) : NULL;

	build->no_memory |= !slot;
	return slot;
}

/* --- levels --- */

static void policy_build_level(struct timeouts *base, const struct timeouts *over)
{
	if (over)
		timeouts_merge(base, over);
}

/* A Config or Tenant, and what its annotations say. */
static void policy_build_object(struct timeouts *base, const struct object *object)
{
	policy_build_level(base, ((const struct kubelb *)object)->timeouts);
	policy_build_level(base, object->annotated);
}

/* What is of the proxy stays what it was. */
static void policy_build_keep_whole(struct timeouts *timeouts, const struct timeouts *from)
{
	for (int id = 0; id < TIMEOUT_COUNT; id++)
		if (timeouts_of_proxy(id))
			timeouts->of[id] = from->of[id];
}

void policy_build_merge(struct timeouts *base, const struct timeouts *over)
{
	struct timeouts before = *base;

	policy_build_level(base, over);
	policy_build_keep_whole(base, &before);
}

void policy_build_base(const struct policy_build *build, const char *namespace, struct timeouts *out)
{
	const struct object *tenant = NULL;

	timeouts_init_defaults(out);
	if (build->config) {
		CATALOG_EACH(build->config->catalog, KIND_CONFIG, object)
			policy_build_object(out, object);
		tenant = map_get(&build->tenants, namespace);
		if (!tenant)
			tenant = map_get(&build->tenants, build->namespace);
	}
	timeouts_merge(out, &build->settings->timeouts);
	if (tenant)
		policy_build_object(out, tenant);
	if (build->config)
		policy_build_level(out, build->config->pod.annotated);
	if (out != &build->policy->none.timeouts)
		policy_build_keep_whole(out, &build->policy->none.timeouts);
}

static void policy_build_say_tenant(struct policy_build *build, const struct object *first, const struct object *second,
                                    const char *namespace)
{
	diagnostics_add(&build->policy->diagnostics, false,
	                "%s:%u: Tenant %s: does not hold for the namespace %s: Tenant %s at %s:%u does, which is read earlier",
	                second->file, second->line, second->name, namespace, first->name, first->file, first->line);
}

/* A Tenant, which is in no namespace, holds for "NAME" and, as KubeLB names a tenant's, for "tenant-NAME". */
static void policy_build_tenants(struct policy_build *build)
{
	CATALOG_EACH(build->config->catalog, KIND_TENANT, object) {
		const char *names[] = {object->name, arena_printf(&build->policy->arena, "tenant-%s", object->name)};

		for (size_t i = 0; i < 2; i++) {
			void **slot = policy_build_slot(build, &build->tenants, names[i]);

			if (slot && *slot)
				policy_build_say_tenant(build, *slot, object, names[i]);
			else if (slot)
				*slot = (void *)object;
		}
	}
}

/* --- Services --- */

struct policy_service *policy_build_service(struct policy_build *build, const char *namespace, const char *name)
{
	const char *key = arena_printf(&build->policy->arena, "%s/%s", namespace, name);
	void **slot = policy_build_slot(build, &build->services, key);
	struct policy_service *service;

	if (!slot)
		return NULL;
	if (!*slot) {
		service = policy_build_alloc(build, 1, sizeof *service);
		if (!service)
			return NULL;
		*service = (struct policy_service){.namespace = namespace, .name = name, .key = key};
		*build->last = service;
		build->last = &service->next;
		*slot = service;
	}
	return *slot;
}

static void policy_build_documents(struct policy_build *build)
{
	CATALOG_EACH(build->config->catalog, KIND_SERVICE, object) {
		const struct service *document = (const struct service *)object;
		struct policy_service *service = policy_build_service(build, object->namespace, object->name);

		if (!service)
			return;
		service->document = document;
		service->addresses = document->addresses;
		service->address_count = document->address_count;
	}
}

static void policy_build_link(struct policy_build *build, const char *namespace, const char *name, struct policy_link link)
{
	struct policy_service *service = policy_build_service(build, namespace, name);
	struct policy_link *kept = service ? policy_build_alloc(build, 1, sizeof *kept) : NULL;

	if (!kept)
		return;
	*kept = link;
	kept->next = service->links;
	service->links = kept;
	service->wanted = !service->address_count;
}

/* A route that hangs on a Gateway, or an Ingress, concerns the Services behind it. One that hangs on a Service may send requests
 * there: their addresses are needed. */
static void policy_build_backend(struct policy_build *build, const struct route *route, bool gateway, const struct route_rule *rule,
                                 const struct route_backend *backend)
{
	struct policy_link link = {.route = route, .rule = rule, .port = backend->port, .port_name = backend->port_name};
	struct policy_service *service;

	if (backend->invalid)
		return;
	if (gateway) {
		policy_build_link(build, backend->namespace, backend->name, link);
		return;
	}
	service = policy_build_service(build, backend->namespace, backend->name);
	if (service)
		service->wanted = !service->address_count;
}

static void policy_build_backends(struct policy_build *build, const struct route *route, bool gateway)
{
	for (size_t i = 0; i < route->rule_count; i++)
		for (size_t j = 0; j < route->rules[i].backend_count; j++)
			policy_build_backend(build, route, gateway, &route->rules[i], &route->rules[i].backends[j]);
}

static void policy_build_links(struct policy_build *build)
{
	static const enum kind kinds[] = {KIND_HTTP_ROUTE, KIND_GRPC_ROUTE, KIND_TCP_ROUTE, KIND_TLS_ROUTE, KIND_INGRESS};

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		CATALOG_EACH(build->config->catalog, kinds[i], object) {
			const struct route *route = (const struct route *)object;
			bool gateway = !route->parent_count;

			for (size_t p = 0; p < route->parent_count; p++) {
				const struct route_parent *parent = &route->parents[p];

				gateway |= !parent->service;
				if (parent->service)
					policy_build_link(build, parent->namespace, parent->name,
					                  (struct policy_link){.route = route, .parent = parent, .port = parent->port});
			}
			if (!route->orphaned)
				policy_build_backends(build, route, gateway);
		}
}

/* A profile's name is its Service's: "web.default.svc.cluster.local". */
static void policy_build_profiles(struct policy_build *build)
{
	CATALOG_EACH(build->config->catalog, KIND_SERVICE_PROFILE, object) {
		const char *first = strchr(object->name, '.'), *second = first ? strchr(first + 1, '.') : NULL;
		struct arena *arena = &build->policy->arena;
		void **slot = policy_build_slot(build, &build->profiles, arena_printf(arena, "%s/%s", object->namespace, object->name));
		struct policy_service *service;

		if (slot)
			*slot = (void *)object;
		if (!second || strncmp(second, ".svc.", 5) != 0 || strcmp(second + 5, build->settings->cluster_domain) != 0)
			diagnostics_add(&build->policy->diagnostics, false,
			                "%s:%u: ServiceProfile %s/%s: applies to nothing: its name must be that of a Service, "
			                "NAME.NAMESPACE.svc.%s", object->file, object->line, object->namespace, object->name,
			                build->settings->cluster_domain);
		if (!second)
			continue;
		service = policy_build_service(build, arena_text(arena, first + 1, (size_t)(second - first - 1)),
		                               arena_text(arena, object->name, (size_t)(first - object->name)));
		if (service)
			service->wanted = !service->address_count;
	}
}

static void policy_build_kubelb(struct policy_build *build, enum kind kind)
{
	CATALOG_EACH(build->config->catalog, kind, object) {
		struct policy_service *service = policy_build_service(build, object->namespace, object->name);

		if (!service || service->kubelb)
			continue;
		service->kubelb = object;
		service->wanted |= !service->address_count && !((const struct kubelb *)object)->endpoint_count;
	}
}

/* The Service that is asked about is there, whoever else speaks of it. */
static void policy_build_question(struct policy_build *build)
{
	struct policy_service *service = NULL;

	if (build->question && build->question->name)
		service = policy_build_service(build, build->question->namespace, build->question->name);
	if (service)
		service->wanted = !service->address_count;
}

static void policy_build_resolve(struct policy_build *build)
{
	struct policy *policy = build->policy;
	struct policy_service *service;
	size_t count = 0;

	for (service = build->first; service; service = service->next)
		count += service->wanted;
	policy->names = policy_build_alloc(build, count + 1, sizeof *policy->names);
	for (service = build->first; service && policy->names; service = service->next) {
		const char *name;

		if (!service->wanted)
			continue;
		name = arena_printf(&policy->arena, "%s.%s.svc.%s", service->name, service->namespace, build->settings->cluster_domain);
		build->no_memory |= !name;
		if (!name)
			return;
		policy->names[policy->name_count++] = name;
		if (build->resolver)
			service->unknown = resolve_get(build->resolver, name, &service->addresses, &service->address_count) == RESOLVE_ABSENT;
	}
}

/* --- targets --- */

static bool policy_build_selects(const struct policy_build *build, const struct service *document)
{
	const struct podinfo *pod = &build->config->podinfo;

	for (size_t i = 0; i < document->selector_count; i++) {
		bool found = false;

		for (size_t j = 0; j < pod->label_count && !found; j++)
			found = strcmp(pod->labels[j].key, document->selector[i].key) == 0 &&
			        strcmp(pod->labels[j].value, document->selector[i].value) == 0;
		if (!found)
			return false;
	}
	return document->selector_count > 0;
}

/* What an object says, else what its namespace does; NULL: nothing. */
static const struct ports *policy_build_opaque_ports(const struct policy_build *build, const struct object *object, const char *namespace)
{
	const struct object *room = NULL;

	if (object && object->opaque_ports)
		return object->opaque_ports;
	if (build->config && namespace)
		room = catalog_find(build->config->catalog, KIND_NAMESPACE, "", namespace);
	return room ? room->opaque_ports : NULL;
}

static struct policy_target *policy_build_target(struct policy_build *build, const struct policy_service *service,
                                                 enum direction direction, uint16_t port, const char *port_name)
{
	struct policy_target *target = policy_build_alloc(build, 1, sizeof *target);
	const char *key = arena_printf(&build->policy->arena, "%s:%u", service->key, port);
	void **slot = policy_build_slot(build, &build->policy->named[direction], key);

	if (!target || !slot)
		return NULL;
	target->namespace = service->namespace;
	target->name = service->name;
	target->text = service->key;
	target->port = port;
	target->opaque_ports = policy_build_opaque_ports(build, service->document ? &service->document->object : NULL, service->namespace);
	target->number = policy_build_numbers(build, 2);
	target->series = series_number(build->series, SERIES_SERVICE, target->text);
	policy_attach(build, service, direction, port_name, target);
	*slot = target;
	return target;
}

static void policy_build_inbound(struct policy_build *build, const struct policy_service *service, const struct service_port *port)
{
	bool selected = policy_build_selects(build, service->document);
	struct policy_target *target;
	struct addr addr = {.family = AF_INET, .port = port->target_port};

	if (!selected && !build->question)
		return;
	target = policy_build_target(build, service, DIRECTION_INBOUND, port->port, port->name);
	if (!target || !selected)
		return;
	if (!port->target_port)
		diagnostics_add(&build->policy->diagnostics, false,
		                "%s:%u: Service %s: port %u: targetPort \"%s\" is a name; inbound connections are matched by number only",
		                service->document->object.file, service->document->object.line, service->key, port->port,
		                port->target_name);
	else if (!policy_index_add(build, &build->policy->inbound, &addr, target))
		diagnostics_add(&build->policy->diagnostics, false,
		                "%s:%u: Service %s: port %u: another Service that selects this pod has targetPort %u already; it applies",
		                service->document->object.file, service->document->object.line, service->key, port->port,
		                port->target_port);
}

static void policy_build_outbound(struct policy_build *build, const struct policy_service *service, uint16_t port,
                                  const char *port_name)
{
	struct policy_target *target = policy_build_target(build, service, DIRECTION_OUTBOUND, port, port_name);

	/* Connections to a pod's own address are none to its Service: headless and external ones attach by name alone. */
	if (!target || (service->document && (service->document->headless || service->document->external_name)))
		return;
	for (size_t i = 0; i < service->address_count; i++) {
		struct addr addr = service->addresses[i];

		addr.port = port;
		policy_index_add(build, &build->policy->outbound, &addr, target);
	}
}

/* Without a document the ports are those that something names, and port 0 for the others. */
static void policy_build_undocumented(struct policy_build *build, const struct policy_service *service)
{
	const struct policy_link *link, *earlier;

	for (link = service->links; link; link = link->next) {
		for (earlier = service->links; earlier != link && earlier->port != link->port; earlier = earlier->next)
			;
		if (earlier != link || !link->port)
			continue;
		policy_build_outbound(build, service, link->port, NULL);
		if (build->question)
			policy_build_target(build, service, DIRECTION_INBOUND, link->port, NULL);
	}
	policy_build_outbound(build, service, 0, NULL);
	if (build->question)
		policy_build_target(build, service, DIRECTION_INBOUND, 0, NULL);
}

static void policy_build_targets(struct policy_build *build)
{
	for (const struct policy_service *service = build->first; service && !build->no_memory; service = service->next) {
		const struct service *document = service->document;

		if (!document && service->wanted)
			policy_build_undocumented(build, service);
		for (size_t i = 0; document && i < document->port_count; i++) {
			if (!document->ports[i].tcp)
				continue;
			policy_build_outbound(build, service, document->ports[i].port, document->ports[i].name);
			policy_build_inbound(build, service, &document->ports[i]);
		}
		if (document)
			policy_attach_check_parents(build, service);
	}
}

/* The endpoints of KubeLB's Routes and LoadBalancers, wherever no Service has the address. */
static void policy_build_endpoints(struct policy_build *build, enum kind kind)
{
	CATALOG_EACH(build->config->catalog, kind, object) {
		const struct kubelb *kubelb = (const struct kubelb *)object;
		struct policy_target *target;

		if (!kubelb->endpoint_count)
			continue;
		target = policy_build_alloc(build, 1, sizeof *target);
		if (!target)
			return;
		target->number = policy_build_numbers(build, 2);
		policy_build_base(build, object->namespace, &target->timeouts);
		policy_build_merge(&target->timeouts, kubelb->timeouts);
		policy_build_merge(&target->timeouts, object->annotated);
		for (size_t i = 0; i < kubelb->endpoint_count; i++) {
			policy_index_add(build, &build->policy->outbound, &kubelb->endpoints[i], target);
			policy_index_add(build, &build->policy->inbound, &kubelb->endpoints[i], target);
		}
	}
}

static void policy_build_all(struct policy_build *build)
{
	build->policy->opaque_ports = policy_build_opaque_ports(build, &build->config->pod, build->config->namespace);
	policy_build_documents(build);
	policy_build_links(build);
	policy_build_profiles(build);
	policy_build_kubelb(build, KIND_KUBELB_ROUTE);
	policy_build_kubelb(build, KIND_LOAD_BALANCER);
	policy_build_question(build);
	policy_build_resolve(build);
	policy_build_targets(build);
	policy_build_endpoints(build, KIND_KUBELB_ROUTE);
	policy_build_endpoints(build, KIND_LOAD_BALANCER);
}

struct policy *policy_new(const struct policy_settings *settings, struct config *config, const struct resolver *resolver,
                          struct series *series, const char *from_namespace, const struct policy_question *question)
{
	struct policy *policy = calloc(1, sizeof *policy);
	struct policy_build build = {
	    .policy = policy,
	    .settings = settings,
	    .config = config,
	    .resolver = resolver,
	    .series = series,
	    .namespace = from_namespace ? from_namespace : config ? config->namespace : "default",
	    .question = question,
	};

	if (!policy)
		return NULL;
	build.last = &build.first;
	atomic_init(&policy->users, 1);
	policy->diagnostics.arena = &policy->arena;
	policy->config = config ? config_ref(config) : NULL;
	policy->none.number = policy_build_numbers(&build, 2);
	if (config)
		policy_build_tenants(&build);
	policy_build_base(&build, build.namespace, &policy->none.timeouts);
	if (config)
		policy_build_all(&build);
	if (build.no_memory) {
		policy_unref(policy);
		return NULL;
	}
	return policy;
}
