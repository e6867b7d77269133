#include "proxy/config/manifest_reference.h"

#include <string.h>
#include <strings.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/manifest_filter.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/yaml.h"

enum { PARENTS_MOST = 32, BACKENDS_MOST = 16, WEIGHT_MOST = 1000000 };

/* A reference as it is written; NULL and 0 where nothing is. */
struct reference {
	const char *group, *kind, *namespace, *name, *section;
	uint16_t port;
	int64_t weight;
	struct filters filters;
	const struct yaml_node *node;
};

static bool manifest_reference_same(const char *left, const char *right)
{
	return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

/* "core" is no name of a group, but Linkerd takes it for one. */
static bool manifest_reference_is_service(const struct reference *reference)
{
	return strcmp(reference->kind, "Service") == 0 && (*reference->group == '\0' || strcasecmp(reference->group, "core") == 0);
}

/* --- parentRefs --- */

static bool manifest_reference_is_gateway(const struct reference *reference)
{
	static const struct {
		const char *group, *kind;
	} rows[] = {
	    {"gateway.networking.k8s.io", "Gateway"},
	    {"gateway.networking.k8s.io", "ListenerSet"},
	    {"gateway.networking.x-k8s.io", "XListenerSet"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(rows[i].group, reference->group) == 0 && strcmp(rows[i].kind, reference->kind) == 0)
			return true;
	return false;
}

static void manifest_reference_read_parent(struct reader *reader, const struct yaml_node *value, void *element)
{
	static const struct field rows[] = {
	    {"group", fields_text, offsetof(struct reference, group)},
	    {"kind", fields_text, offsetof(struct reference, kind)},
	    {"namespace", manifest_text_namespace, offsetof(struct reference, namespace)},
	    {"name", manifest_text_name, offsetof(struct reference, name), .required = true},
	    {"sectionName", manifest_text_name, offsetof(struct reference, section)},
	    {"port", fields_port, offsetof(struct reference, port)},
	};
	struct reference *reference = element;

	*reference = (struct reference){.group = "gateway.networking.k8s.io", .kind = "Gateway", .node = value};
	FIELDS_READ(reader, value, rows, reference);
}

/* Several references to one object set the same of sectionName and port, and no two of them to the same (the API's CEL rules, which
 * compare namespaces as they are written). */
static void manifest_reference_check_parents(struct reader *reader, const struct reference *parents, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t j = 0; j < i; j++) {
			const struct reference *a = &parents[i], *b = &parents[j];
			if (!manifest_reference_same(a->name, b->name) || !manifest_reference_same(a->namespace, b->namespace) ||
			    strcmp(a->group, b->group) != 0 || strcmp(a->kind, b->kind) != 0)
				continue;
			bool alike = (a->section == NULL) == (b->section == NULL) && (a->port == 0) == (b->port == 0);
			if (alike && !(manifest_reference_same(a->section, b->section) && a->port == b->port))
				continue;
			size_t mark = fields_enter(reader, NULL, i);
			fields_error(reader, a->node, "",
				     "refers to the same parent as [%zu]; such references must all set sectionName, port or both, "
				     "to values that differ",
				     j);
			fields_leave(reader, mark);
			return;
		}
}

void manifest_reference_read_parents(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct route *route = field;
	void *items;
	size_t count;

	fields_list(reader, value, PARENTS_MOST, sizeof(struct reference), manifest_reference_read_parent, &items, &count);
	if (count == 0)
		return;
	const struct reference *references = items;
	struct route_parent *parents = arena_array(reader->arena, count, sizeof *parents);
	if (parents == NULL) {
		fields_no_memory(reader);
		return;
	}
	manifest_reference_check_parents(reader, references, count);
	route->parents = parents;
	for (size_t i = 0; i < count; i++) {
		const struct reference *reference = &references[i];
		bool service = manifest_reference_is_service(reference);
		if (!service && !manifest_reference_is_gateway(reference)) {
			size_t mark = fields_enter(reader, NULL, i);
			fields_warn(reader, reference->node, "",
				    "a parent of group \"%.80s\" and kind %.80s is ignored; taken are Service (group \"\") and "
				    "Gateway (group gateway.networking.k8s.io)",
				    reference->group, reference->kind);
			fields_leave(reader, mark);
			continue;
		}
		parents[route->parent_count++] = (struct route_parent){
		    .service = service,
		    .namespace = reference->namespace != NULL ? reference->namespace : route->object.namespace,
		    .name = reference->name,
		    .port = reference->port,
		    .section = reference->section,
		};
	}
	route->orphaned = route->parent_count == 0;
}

/* --- backendRefs --- */

static void manifest_reference_read_weight(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_text_integer(reader, value, 0, WEIGHT_MOST, field);
}

/* Whether it hangs on a Service; otherwise its Gateway does what it says, and it brings timeouts only. parentRefs are read first. */
static bool manifest_reference_acts(const struct route *route)
{
	for (size_t i = 0; i < route->parent_count; i++)
		if (route->parents[i].service)
			return true;
	return false;
}

static void manifest_reference_check_backend(struct reader *reader, const struct reference *reference)
{
	if (!manifest_reference_is_service(reference)) {
		bool acts = manifest_reference_acts((const struct route *)reader->object);

		fields_warn(reader, reference->node, "",
			    "a backend of group \"%.80s\" and kind %.80s cannot be dialled%s; taken are Services (group \"\")",
			    reference->group, reference->kind, acts ? ": its share of the requests gets an error" : "");
		return;
	}
	if (!manifest_is_subdomain(reference->name)) {
		size_t mark = fields_enter(reader, "name", 0);
		fields_error(reader, yaml_field(reference->node, "name"), NULL,
			     "must be the name of a Service: lower-case letters, digits, '-' and '.'");
		fields_leave(reader, mark);
	}
	if (reference->port == 0)
		fields_error(reader, reference->node, "", "must have a port, since it is a Service");
}

static void manifest_reference_read_backend(struct reader *reader, const struct yaml_node *value, void *element, bool http)
{
	static const struct field rows[] = {
	    {"group", fields_text, offsetof(struct reference, group)},
	    {"kind", fields_text, offsetof(struct reference, kind)},
	    {"namespace", manifest_text_namespace, offsetof(struct reference, namespace)},
	    {"name", fields_text, offsetof(struct reference, name), .required = true},
	    {"port", fields_port, offsetof(struct reference, port)},
	    {"weight", manifest_reference_read_weight, offsetof(struct reference, weight)},
	    {"filters", manifest_filter_read_backend, offsetof(struct reference, filters)}, /* the last: TCP and TLS have none */
	};
	struct reference reference = {.group = "", .kind = "Service", .weight = 1, .node = value};

	fields_read(reader, value, rows, sizeof rows / sizeof *rows - !http, &reference);
	if (!reader->failed)
		manifest_reference_check_backend(reader, &reference);
	*(struct route_backend *)element = (struct route_backend){
	    .namespace = reference.namespace != NULL ? reference.namespace : reader->object->namespace,
	    .name = reference.name,
	    .port = reference.port,
	    .weight = (uint32_t)reference.weight,
	    .invalid = !manifest_reference_is_service(&reference),
	    .kind = reference.kind,
	    .filters = reference.filters,
	};
}

static void manifest_reference_read_plain_backend(struct reader *reader, const struct yaml_node *value, void *element)
{
	manifest_reference_read_backend(reader, value, element, false);
}

static void manifest_reference_read_http_backend(struct reader *reader, const struct yaml_node *value, void *element)
{
	manifest_reference_read_backend(reader, value, element, true);
}

static void manifest_reference_read_list(struct reader *reader, const struct yaml_node *value, field_read *read,
					 struct route_rule *rule)
{
	void *items;

	fields_list(reader, value, BACKENDS_MOST, sizeof(struct route_backend), read, &items, &rule->backend_count);
	rule->backends = items;
}

void manifest_reference_read_backends(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_reference_read_list(reader, value, manifest_reference_read_plain_backend, field);
}

void manifest_reference_read_http_backends(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_reference_read_list(reader, value, manifest_reference_read_http_backend, field);
}
