#include <string.h>

#include "lib/arena.h"
#include "proxy/config/annotations.h"
#include "proxy/config/catalog.h"
#include "proxy/config/fields.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/yaml.h"

enum { MANIFEST_INGRESS_RULES_MOST = 1000, MANIFEST_INGRESS_PATHS_MOST = 1000 };

/* An element of spec.rules, its paths as rules of a route. */
struct manifest_ingress_rule {
	const char *host;
	struct route_rule *paths;
	size_t path_count;
};

struct manifest_ingress_spec {
	struct manifest_ingress_rule *rules;
	size_t rule_count;
	struct route_backend *fallback; /* defaultBackend */
};

/* backend.service.port */
struct manifest_ingress_port {
	uint16_t number;
	const char *name;
};

/* An element of paths, before it is a rule. */
struct manifest_ingress_path {
	const char *path;
	int type; /* index in manifest_ingress_types, -1 after an error */
	struct route_backend backend;
};

enum { MANIFEST_INGRESS_EXACT, MANIFEST_INGRESS_PREFIX, MANIFEST_INGRESS_SPECIFIC };
static const char *const manifest_ingress_types[] = {"Exact", "Prefix", "ImplementationSpecific"};

static void manifest_ingress_read_port(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"number", fields_port, offsetof(struct manifest_ingress_port, number)},
	    {"name", fields_text, offsetof(struct manifest_ingress_port, name)},
	};
	struct manifest_ingress_port port = {0};
	struct route_backend *backend = field;

	FIELDS_READ(reader, value, rows, &port);
	if (!reader->failed && (port.number != 0) == (port.name != NULL))
		fields_error(reader, value, "", "must have either number or name");
	backend->port = port.number;
	backend->port_name = port.name;
}

static void manifest_ingress_read_service(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"name", fields_text, offsetof(struct route_backend, name), .required = true},
	    {"port", manifest_ingress_read_port, 0, .required = true},
	};
	struct route_backend *backend = field;

	backend->kind = "Service";
	FIELDS_READ(reader, value, rows, backend);
}

static void manifest_ingress_read_resource(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"kind", fields_text, offsetof(struct route_backend, kind), .required = true},
	    {"name", fields_text, offsetof(struct route_backend, name), .required = true},
	    {.name = "apiGroup"},
	};
	struct route_backend *backend = field;

	backend->invalid = true;
	FIELDS_READ(reader, value, rows, backend);
	if (!reader->failed)
		fields_warn(reader, value, "", "no %.80s can be dialled; requests for it get 500", backend->kind);
}

static void manifest_ingress_read_backend(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"service", manifest_ingress_read_service, 0},
	    {"resource", manifest_ingress_read_resource, 0},
	};
	struct route_backend *backend = field;
	size_t given = 0;

	*backend = (struct route_backend){.namespace = reader->object->namespace, .weight = 1};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct yaml_node *node = yaml_field(value, rows[i].name);
		given += node != NULL && !yaml_is_null(node);
	}
	if (value->type == YAML_MAPPING && given != 1)
		fields_error(reader, value, "", "must have either service or resource");
	else
		FIELDS_READ(reader, value, rows, backend);
}

static void manifest_ingress_read_default(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct route_backend *backend = arena_alloc(reader->arena, sizeof *backend);

	if (backend == NULL) {
		fields_no_memory(reader);
		return;
	}
	manifest_ingress_read_backend(reader, value, backend);
	*(struct route_backend **)field = backend;
}

/* What Kubernetes refuses in an Exact or Prefix path: another reading of the same path would match something else. */
static bool manifest_ingress_is_path(const char *path)
{
	static const char *const refused[] = {"//", "/./", "/../", "%2f", "%2F"}, *const endings[] = {"/.", "/.."};
	size_t length = strlen(path);

	if (path[0] != '/')
		return false;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		if (strstr(path, refused[i]) != NULL)
			return false;
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
		size_t ending = strlen(endings[i]);
		if (length >= ending && strcmp(path + length - ending, endings[i]) == 0)
			return false;
	}
	return true;
}

static void manifest_ingress_read_type(struct reader *reader, const struct yaml_node *value, void *field)
{
	*(int *)field = MANIFEST_TEXT_CHOICE(reader, value, manifest_ingress_types);
}

/* The rule of one path. ImplementationSpecific is read as Prefix. The host and the index come later. */
static void manifest_ingress_make_rule(struct reader *reader, const struct manifest_ingress_path *path, struct route_rule *rule)
{
	struct route_match *match = arena_alloc(reader->arena, sizeof *match);
	struct route_backend *backend = arena_alloc(reader->arena, sizeof *backend);
	size_t length = strlen(path->path);

	while (path->type != MANIFEST_INGRESS_EXACT && length > 0 && path->path[length - 1] == '/')
		length--;
	if (match != NULL)
		match->path = arena_text(reader->arena, path->path, length);
	if (match == NULL || match->path == NULL || backend == NULL) {
		fields_no_memory(reader);
		return;
	}
	match->path_type = path->type == MANIFEST_INGRESS_EXACT ? PATH_EXACT : PATH_PREFIX;
	*backend = path->backend;
	*rule = (struct route_rule){.matches = match, .match_count = 1, .backends = backend, .backend_count = 1};
}

bool manifest_ingress_reads_regex(const struct annotation *annotations, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if ((strcmp(annotations[i].key, "nginx.ingress.kubernetes.io/use-regex") == 0 && strcmp(annotations[i].value, "true") == 0) ||
		    strcmp(annotations[i].key, "nginx.ingress.kubernetes.io/rewrite-target") == 0)
			return true;
	return false;
}

/* Whether ingress-nginx and its kind would read it as a regular expression: with the annotation use-regex any path but an exact one,
 * and of a type of their own what looks like one. */
static bool manifest_ingress_is_regex(const struct reader *reader, const struct manifest_ingress_path *path)
{
	bool regex = path->type == MANIFEST_INGRESS_SPECIFIC || (reader->regex_paths && path->type != MANIFEST_INGRESS_EXACT);

	return regex && strpbrk(path->path, "*+?()[]{}|\\^$") != NULL;
}

static void manifest_ingress_read_path(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"path", fields_text, offsetof(struct manifest_ingress_path, path)},
	    {"pathType", manifest_ingress_read_type, offsetof(struct manifest_ingress_path, type), .required = true},
	    {"backend", manifest_ingress_read_backend, offsetof(struct manifest_ingress_path, backend), .required = true},
	};
	struct manifest_ingress_path path = {.path = ""};

	FIELDS_READ(reader, value, rows, &path);
	if (reader->failed)
		return;
	bool specific = path.type == MANIFEST_INGRESS_SPECIFIC;
	bool fits = specific ? *path.path == '\0' || *path.path == '/' : manifest_ingress_is_path(path.path);
	if (!fits) {
		const struct yaml_node *node = yaml_field(value, "path");
		size_t mark = fields_enter(reader, "path", 0);
		fields_error(reader, node != NULL ? node : value, node != NULL ? NULL : "", "%s",
			     specific ? "must start with /, or be empty" : "must start with /, without //, ., .. and %2f in it");
		fields_leave(reader, mark);
		return;
	}
	if (!manifest_ingress_is_regex(reader, &path)) {
		manifest_ingress_make_rule(reader, &path, field);
		return;
	}
	size_t mark = fields_enter(reader, "path", 0);
	fields_warn(reader, yaml_field(value, "path"), NULL,
		    "a regular expression, which is not read in an Ingress: nothing of it applies to this path; an HTTPRoute can have "
		    "one (type RegularExpression)");
	fields_leave(reader, mark);
}

static void manifest_ingress_read_paths(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_ingress_rule *rule = field;
	void *items;

	fields_list(reader, value, MANIFEST_INGRESS_PATHS_MOST, sizeof *rule->paths, manifest_ingress_read_path, &items,
		    &rule->path_count);
	rule->paths = items;
	if (value->type == YAML_SEQUENCE && value->count == 0)
		fields_error(reader, value, "", "must have at least one path");
}

static void manifest_ingress_read_http(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {{"paths", manifest_ingress_read_paths, 0, .required = true}};

	FIELDS_READ(reader, value, rows, field);
}

static void manifest_ingress_read_host(struct reader *reader, const struct yaml_node *value, void *field)
{
	if (value->type != YAML_SCALAR || value->length > 0) /* an empty one is none */
		manifest_text_host_pattern(reader, value, field);
}

static void manifest_ingress_read_rule(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"host", manifest_ingress_read_host, offsetof(struct manifest_ingress_rule, host)},
	    {"http", manifest_ingress_read_http, 0},
	};

	FIELDS_READ(reader, value, rows, field);
}

static void manifest_ingress_read_rules(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_ingress_spec *spec = field;
	void *items;

	fields_list(reader, value, MANIFEST_INGRESS_RULES_MOST, sizeof *spec->rules, manifest_ingress_read_rule, &items,
		    &spec->rule_count);
	spec->rules = items;
}

/* One rule for each path in the order they stand in, and the default backend's, for any host and path, behind them. */
static void manifest_ingress_set_rules(struct reader *reader, const struct manifest_ingress_spec *spec, struct route *route)
{
	size_t count = spec->fallback != NULL, filled = 0;

	for (size_t i = 0; i < spec->rule_count; i++)
		count += spec->rules[i].path_count;
	if (count == 0)
		return;
	struct route_rule *rules = arena_array(reader->arena, count, sizeof *rules);
	if (rules == NULL) {
		fields_no_memory(reader);
		return;
	}
	for (size_t i = 0; i < spec->rule_count; i++) {
		for (size_t path = 0; path < spec->rules[i].path_count; path++) {
			if (spec->rules[i].paths[path].match_count == 0) /* left out */
				continue;
			rules[filled] = spec->rules[i].paths[path];
			rules[filled].host = spec->rules[i].host;
			rules[filled].index = filled;
			filled++;
		}
	}
	if (spec->fallback != NULL) {
		struct manifest_ingress_path all = {.path = "/", .type = MANIFEST_INGRESS_PREFIX, .backend = *spec->fallback};
		manifest_ingress_make_rule(reader, &all, &rules[filled]);
		rules[filled].index = filled;
		filled++;
	}
	route->rules = rules;
	route->rule_count = filled;
}

void manifest_ingress_read(struct reader *reader, const struct yaml_node *spec_node, struct object *object)
{
	static const struct field rows[] = {
	    {"rules", manifest_ingress_read_rules, 0},
	    {"defaultBackend", manifest_ingress_read_default, offsetof(struct manifest_ingress_spec, fallback)},
	    {.name = "ingressClassName"},
	    {.name = "tls"},
	};
	struct manifest_ingress_spec spec = {0};

	if (spec_node == NULL)
		return;
	FIELDS_READ(reader, spec_node, rows, &spec);
	if (!reader->failed)
		manifest_ingress_set_rules(reader, &spec, (struct route *)object);
}
