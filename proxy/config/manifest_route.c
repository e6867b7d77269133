#include <string.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/fields.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_reference.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/yaml.h"

enum { HOSTNAMES_MOST = 16, TLS_HOSTNAMES_MOST = 1024, RULES_MOST = 16, MATCHES_MOST = 128 };

static void manifest_route_read_hostnames(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct route *route = field;
	size_t most = route->object.kind == KIND_TLS_ROUTE ? TLS_HOSTNAMES_MOST : HOSTNAMES_MOST;
	void *items;

	fields_list(reader, value, most, sizeof(const char *), manifest_text_host_pattern, &items, &route->hostname_count);
	route->hostnames = items;
}

/* A rule of a TCPRoute or TLSRoute. */
static void manifest_route_read_rule(struct reader *reader, const struct yaml_node *value, void *element)
{
	static const struct field rows[] = {
	    {"name", manifest_text_name, offsetof(struct route_rule, name)},
	    {"backendRefs", manifest_reference_read_backends, 0},
	};

	FIELDS_READ(reader, value, rows, element);
}

static void manifest_route_check_name(struct reader *reader, const struct yaml_node *node, const struct route_rule *rules,
				      size_t index)
{
	for (size_t other = 0; rules[index].name != NULL && other < index; other++)
		if (rules[other].name != NULL && strcmp(rules[other].name, rules[index].name) == 0) {
			size_t mark = fields_enter(reader, NULL, index);
			fields_enter(reader, "name", 0);
			fields_error(reader, yaml_field(node, "name"), NULL, "must not be the name of rule %zu too", other);
			fields_leave(reader, mark);
			return;
		}
}

static field_read *const manifest_route_rule[KIND_COUNT] = {
    [KIND_HTTP_ROUTE] = manifest_rule_read_http,
    [KIND_GRPC_ROUTE] = manifest_rule_read_grpc,
    [KIND_TCP_ROUTE] = manifest_route_read_rule,
    [KIND_TLS_ROUTE] = manifest_route_read_rule,
};

static void manifest_route_read_rules(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct route *route = field;
	size_t matches = 0;
	void *items;

	fields_list(reader, value, RULES_MOST, sizeof(struct route_rule), manifest_route_rule[route->object.kind], &items,
		    &route->rule_count);
	struct route_rule *rules = items;
	const struct yaml_node *node = value->children;
	for (size_t i = 0; i < route->rule_count; i++, node = node->next) {
		rules[i].index = i;
		matches += rules[i].match_count;
		manifest_route_check_name(reader, node, rules, i);
	}
	route->rules = rules;
	if (matches > MATCHES_MOST)
		fields_error(reader, value, "", "must have at most %d matches in all rules, not %zu", MATCHES_MOST, matches);
}

/* Without rules an HTTPRoute has one that matches everything, by the API's default; a GRPCRoute is taken the same way. */
static void manifest_route_default_rule(struct reader *reader, const struct yaml_node *nothing, struct route *route)
{
	struct route_rule *rule = arena_alloc(reader->arena, sizeof *rule);

	if (rule == NULL) {
		fields_no_memory(reader);
		return;
	}
	manifest_route_rule[route->object.kind](reader, nothing, rule);
	route->rules = rule;
	route->rule_count = 1;
}

void manifest_route_read(struct reader *reader, const struct yaml_node *spec, struct object *object)
{
	static const struct field rows[] = {
	    {"parentRefs", manifest_reference_read_parents, 0},
	    {"rules", manifest_route_read_rules, 0},
	    {.name = "useDefaultGateways"},
	    {"hostnames", manifest_route_read_hostnames, 0}, /* the last: a TCPRoute has none */
	};
	const struct yaml_node nothing = {.type = YAML_MAPPING, .line = object->line};
	struct route *route = (struct route *)object;

	if (spec == NULL)
		spec = &nothing;
	fields_read(reader, spec, rows, sizeof rows / sizeof *rows - (object->kind == KIND_TCP_ROUTE), route);
	if (route->rule_count > 0 || reader->failed)
		return;
	if (object->kind == KIND_HTTP_ROUTE || object->kind == KIND_GRPC_ROUTE)
		manifest_route_default_rule(reader, &nothing, route);
	else
		fields_error(reader, spec, "", "must have at least one rule");
}
