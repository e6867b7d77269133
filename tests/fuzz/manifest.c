/* Configuration documents: taken or refused with a sentence, and what is taken keeps what catalog.h promises. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/manifest.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/regex.h"

static void is_valid_timeouts(const struct timeouts *timeouts)
{
	for (int id = 0; timeouts && id < TIMEOUT_COUNT; id++) {
		HOLDS(timeouts->of[id].milliseconds >= TIMEOUT_UNSET);
		HOLDS(timeouts->of[id].milliseconds == TIMEOUT_UNSET || *timeouts->of[id].source);
	}
}

static void is_valid_match(const struct route_match *match)
{
	HOLDS(match->path_type <= PATH_REGEX);
	if (match->path_type == PATH_REGEX)
		regex_matches(match->path_regex, "/a", 2, &(struct regex_work){0});
	else
		HOLDS(strlen(match->path) < 8192);
	for (size_t i = 0; i < match->header_count; i++)
		HOLDS(*match->headers[i].name && match->headers[i].value);
	for (size_t i = 0; i < match->query_count; i++)
		HOLDS(*match->queries[i].name && match->queries[i].value);
}

static void is_valid_route(const struct object *object)
{
	const struct route *route = (const struct route *)object;
	for (size_t i = 0; i < route->parent_count; i++)
		HOLDS(*route->parents[i].name && *route->parents[i].namespace);
	for (size_t i = 0; i < route->hostname_count; i++)
		HOLDS(*route->hostnames[i]);
	for (size_t i = 0; i < route->rule_count; i++) {
		const struct route_rule *rule = &route->rules[i];
		HOLDS(rule->index == i);
		if (object->kind == KIND_INGRESS || object->kind == KIND_HTTP_ROUTE)
			HOLDS(rule->match_count > 0);
		for (size_t match = 0; match < rule->match_count && object->kind != KIND_GRPC_ROUTE; match++)
			is_valid_match(&rule->matches[match]);
		for (size_t at = 0; at < rule->backend_count; at++)
			HOLDS(*rule->backends[at].namespace && rule->backends[at].kind && rule->backends[at].weight <= 1000000);
		is_valid_timeouts(rule->timeouts);
		HOLDS(!rule->retry || *rule->retry->source);
	}
}

static void is_valid_condition(const struct condition *condition)
{
	HOLDS(condition->type <= CONDITION_STATUS);
	HOLDS(condition->type != CONDITION_NOT || condition->count == 1);
	HOLDS(condition->type != CONDITION_METHOD || *condition->method);
	HOLDS(condition->type != CONDITION_STATUS || condition->least <= condition->greatest);
	if (condition->type == CONDITION_PATH)
		regex_matches(condition->path, "/a", 2, &(struct regex_work){0});
	for (size_t i = 0; i < condition->count; i++)
		is_valid_condition(&condition->children[i]);
}

static void is_valid_profile(const struct object *object)
{
	const struct profile *profile = (const struct profile *)object;
	for (size_t i = 0; i < profile->route_count; i++) {
		const struct profile_route *route = &profile->routes[i];
		HOLDS(route->name && route->index == i && route->timeout_ms >= TIMEOUT_UNSET);
		HOLDS((route->timeouts != NULL) == (route->timeout_ms != TIMEOUT_UNSET));
		is_valid_timeouts(route->timeouts);
		is_valid_condition(&route->condition);
		for (size_t class = 0; class < route->class_count; class++)
			is_valid_condition(&route->classes[class].condition);
	}
	for (size_t i = 0; i < profile->override_count; i++)
		HOLDS(*profile->overrides[i].authority && profile->overrides[i].weight > 0);
	HOLDS(!profile->budget.usable || (profile->budget.ttl_ms >= 1000 && profile->budget.ratio >= 0));
}

static void is_valid_service(const struct object *object)
{
	const struct service *service = (const struct service *)object;
	for (size_t i = 0; i < service->address_count; i++)
		HOLDS(service->addresses[i].family == AF_INET || service->addresses[i].family == AF_INET6);
	for (size_t i = 0; i < service->port_count; i++)
		HOLDS(service->ports[i].port && service->ports[i].name &&
		      (service->ports[i].target_port != 0) == (service->ports[i].target_name == NULL));
	for (size_t i = 0; i < service->selector_count; i++)
		HOLDS(service->selector[i].key && service->selector[i].value);
}

static void is_valid_kubelb(const struct object *object)
{
	const struct kubelb *kubelb = (const struct kubelb *)object;
	is_valid_timeouts(kubelb->timeouts);
	for (size_t i = 0; i < kubelb->endpoint_count; i++)
		HOLDS(kubelb->endpoints[i].port && kubelb->endpoints[i].family);
}

static void (*const is_valid[KIND_COUNT])(const struct object *object) = {
    [KIND_CONFIG] = is_valid_kubelb,        [KIND_TENANT] = is_valid_kubelb,     [KIND_KUBELB_ROUTE] = is_valid_kubelb,
    [KIND_LOAD_BALANCER] = is_valid_kubelb, [KIND_HTTP_ROUTE] = is_valid_route,  [KIND_GRPC_ROUTE] = is_valid_route,
    [KIND_TCP_ROUTE] = is_valid_route,      [KIND_TLS_ROUTE] = is_valid_route,   [KIND_INGRESS] = is_valid_route,
    [KIND_SERVICE] = is_valid_service,      [KIND_SERVICE_PROFILE] = is_valid_profile,
};

static void is_valid_catalog(const struct catalog *catalog)
{
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		size_t count = 0;
		CATALOG_EACH(catalog, kind, object) {
			HOLDS(object->kind == (enum kind)kind && manifest_is_subdomain(object->name) && object->line > 0);
			HOLDS(catalog_find(catalog, kind, object->namespace, object->name) == object);
			is_valid_timeouts(object->annotated);
			if (is_valid[kind])
				is_valid[kind](object);
			count++;
		}
		HOLDS(count == catalog->counts[kind]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct catalog *catalog = catalog_new();
	struct arena words = {0};
	struct diagnostics diagnostics = {.arena = &words};
	HOLDS(catalog);

	char *bytes = (char *)exact_copy(data, size);
	int result = manifest_read(catalog, &diagnostics, "fuzz.yaml", bytes, size);
	free(bytes); /* nothing borrows from it */
	HOLDS(result == 0 || result == -EBADMSG);
	HOLDS((result == 0) == (diagnostics.errors == 0));
	for (const struct diagnostic *one = diagnostics.first; one; one = one->next)
		HOLDS(*one->text && strlen(one->text) < DIAGNOSTIC_SIZE && !strchr(one->text, '\n'));
	is_valid_catalog(catalog);
	catalog_free(catalog);
	arena_free(&words);
	return 0;
}
