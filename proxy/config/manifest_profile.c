#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/ports.h"
#include "lib/text.h"
#include "proxy/config/catalog.h"
#include "proxy/config/fields.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/regex.h"
#include "proxy/config/yaml.h"

#define MANIFEST_PROFILE_WEIGHT_MOST 1e6

/* Linkerd sets no limits of its own; a request is held against every route in turn. */
enum {
	MANIFEST_PROFILE_ROUTES_MOST = 2000,
	MANIFEST_PROFILE_CONDITIONS_MOST = 256,
	MANIFEST_PROFILE_CLASSES_MOST = 64,
	MANIFEST_PROFILE_OVERRIDES_MOST = 256,
	MANIFEST_PROFILE_PORTS_MOST = 1000,
	MANIFEST_PROFILE_FIELDS_MOST = 5, /* of a condition: all, any, not, method, pathRegex */
};

/* A condition's fields, each a condition of its own; all of them must hold. */
struct manifest_profile_parts {
	struct condition of[MANIFEST_PROFILE_FIELDS_MOST];
	size_t count;
};

static field_read manifest_profile_read_request, manifest_profile_read_response;

static void manifest_profile_add_part(struct manifest_profile_parts *parts, struct condition condition)
{
	parts->of[parts->count++] = condition;
}

static void manifest_profile_read_group(struct reader *reader, const struct yaml_node *value, void *field, enum condition_type type,
					field_read *read)
{
	void *children;
	size_t count;

	fields_list(reader, value, MANIFEST_PROFILE_CONDITIONS_MOST, sizeof(struct condition), read, &children, &count);
	manifest_profile_add_part(field, (struct condition){.type = type, .children = children, .count = count});
}

static void manifest_profile_read_opposite(struct reader *reader, const struct yaml_node *value, void *field, field_read *read)
{
	struct condition *child = arena_alloc(reader->arena, sizeof *child);

	if (child == NULL) {
		fields_no_memory(reader);
		return;
	}
	read(reader, value, child);
	manifest_profile_add_part(field, (struct condition){.type = CONDITION_NOT, .children = child, .count = 1});
}

static void manifest_profile_read_request_all(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_profile_read_group(reader, value, field, CONDITION_ALL, manifest_profile_read_request);
}

static void manifest_profile_read_request_any(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_profile_read_group(reader, value, field, CONDITION_ANY, manifest_profile_read_request);
}

static void manifest_profile_read_request_not(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_profile_read_opposite(reader, value, field, manifest_profile_read_request);
}

static void manifest_profile_read_response_all(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_profile_read_group(reader, value, field, CONDITION_ALL, manifest_profile_read_response);
}

static void manifest_profile_read_response_any(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_profile_read_group(reader, value, field, CONDITION_ANY, manifest_profile_read_response);
}

static void manifest_profile_read_response_not(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_profile_read_opposite(reader, value, field, manifest_profile_read_response);
}

/* In upper case: so it is matched. */
static void manifest_profile_read_method(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"; /* RFC 9110 section 5.6.2 */
	const char *text = "GET";

	fields_text(reader, value, &text);
	char *method = arena_text(reader->arena, text, strlen(text));
	if (method == NULL) {
		fields_no_memory(reader);
		return;
	}
	for (char *c = method; *c != '\0'; c++)
		*c = (char)toupper((unsigned char)*c);
	if (*method == '\0' || method[strspn(method, token)] != '\0')
		fields_error(reader, value, NULL, "must be an HTTP method as GET");
	manifest_profile_add_part(field, (struct condition){.type = CONDITION_METHOD, .method = method});
}

/* Linkerd takes the blanks around it away. Its own ^ and $ change nothing: the whole path must match anyway. */
static void manifest_profile_read_path(struct reader *reader, const struct yaml_node *value, void *field)
{
	TEXT_ON_STACK(why, 256);
	const struct regex *regex = NULL;
	const char *text = "/";

	fields_text(reader, value, &text);
	text += strspn(text, " \t\r\n");
	size_t length = strlen(text);
	while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
		length--;
	const char *pattern = arena_text(reader->arena, text, length);
	int result = pattern != NULL ? regex_compile(reader->arena, pattern, &regex, &why) : -ENOMEM;
	if (result == -ENOMEM)
		fields_no_memory(reader);
	else if (length == 0)
		fields_error(reader, value, NULL, "must be a regular expression for a path, which is never empty");
	else if (result != 0)
		fields_error(reader, value, NULL, "must be a regular expression: %s", why.data);
	manifest_profile_add_part(field, (struct condition){.type = CONDITION_PATH, .path = regex});
}

static void manifest_profile_read_bound(struct reader *reader, const struct yaml_node *value, void *field)
{
	int64_t status;

	if (yaml_resolve(value) == YAML_INT && strcmp(value->text, "0") == 0) /* as if it were not there */
		return;
	if (manifest_text_integer(reader, value, 100, 599, &status))
		*(uint16_t *)field = (uint16_t)status;
}

static void manifest_profile_read_status(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"min", manifest_profile_read_bound, offsetof(struct condition, least)},
	    {"max", manifest_profile_read_bound, offsetof(struct condition, greatest)},
	};
	struct condition condition = {.type = CONDITION_STATUS, .least = 0, .greatest = 999};

	FIELDS_READ(reader, value, rows, &condition);
	if (condition.greatest < condition.least)
		fields_error(reader, value, "", "max must not be below min");
	manifest_profile_add_part(field, condition);
}

/* The parts, of which there is at least one, as one condition. */
static void manifest_profile_join(struct reader *reader, const struct yaml_node *value, const struct manifest_profile_parts *parts,
				  const char *known, struct condition *condition)
{
	if (parts->count == 1) {
		*condition = parts->of[0];
		return;
	}
	if (parts->count == 0) {
		if (value->type == YAML_MAPPING)
			fields_error(reader, value, "", "must have at least one of %s", known);
		return;
	}
	struct condition *children = arena_array(reader->arena, parts->count, sizeof *children);
	if (children == NULL) {
		fields_no_memory(reader);
		return;
	}
	memcpy(children, parts->of, parts->count * sizeof *children);
	*condition = (struct condition){.type = CONDITION_ALL, .children = children, .count = parts->count};
}

static void manifest_profile_read_request(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"all", manifest_profile_read_request_all, 0}, {"any", manifest_profile_read_request_any, 0},
	    {"not", manifest_profile_read_request_not, 0}, {"method", manifest_profile_read_method, 0},
	    {"pathRegex", manifest_profile_read_path, 0},
	};
	struct manifest_profile_parts parts = {.count = 0};

	FIELDS_READ(reader, value, rows, &parts);
	manifest_profile_join(reader, value, &parts, "all, any, not, method, pathRegex", field);
}

static void manifest_profile_read_response(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"all", manifest_profile_read_response_all, 0},
	    {"any", manifest_profile_read_response_any, 0},
	    {"not", manifest_profile_read_response_not, 0},
	    {"status", manifest_profile_read_status, 0},
	};
	struct manifest_profile_parts parts = {.count = 0};

	FIELDS_READ(reader, value, rows, &parts);
	manifest_profile_join(reader, value, &parts, "all, any, not, status", field);
}

static void manifest_profile_read_class(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"condition", manifest_profile_read_response, offsetof(struct response_class, condition), .required = true},
	    {"isFailure", fields_bool, offsetof(struct response_class, failure)},
	};

	FIELDS_READ(reader, value, rows, field);
}

static void manifest_profile_read_classes(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct profile_route *route = field;
	void *items;

	fields_list(reader, value, MANIFEST_PROFILE_CLASSES_MOST, sizeof(struct response_class), manifest_profile_read_class,
		    &items, &route->class_count);
	route->classes = items;
}

/* "" is off, as 0s is. */
static void manifest_profile_read_timeout(struct reader *reader, const struct yaml_node *value, void *field)
{
	if (value->type == YAML_SCALAR && value->length == 0)
		*(int64_t *)field = 0;
	else
		fields_duration_go(reader, value, field);
}

static void manifest_profile_read_route(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"name", fields_text, offsetof(struct profile_route, name), .required = true},
	    {"condition", manifest_profile_read_request, offsetof(struct profile_route, condition), .required = true},
	    {"responseClasses", manifest_profile_read_classes, 0},
	    {"isRetryable", fields_bool, offsetof(struct profile_route, retryable)},
	    {"timeout", manifest_profile_read_timeout, offsetof(struct profile_route, timeout_ms)},
	};
	struct profile_route *route = field;

	route->timeout_ms = TIMEOUT_UNSET;
	FIELDS_READ(reader, value, rows, route);
	if (route->name != NULL && route->timeout_ms != TIMEOUT_UNSET)
		manifest_set_timeout(reader, &route->timeouts, TIMEOUT_REQUEST, route->timeout_ms, "%s route %s timeout",
				     reader->subject, route->name);
}

static void manifest_profile_read_routes(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct profile *profile = field;
	void *items;

	fields_list(reader, value, MANIFEST_PROFILE_ROUTES_MOST, sizeof(struct profile_route), manifest_profile_read_route, &items,
		    &profile->route_count);
	struct profile_route *routes = items;
	for (size_t i = 0; i < profile->route_count; i++)
		routes[i].index = i;
	profile->routes = routes;
}

/* A decimal number at the start of text, as 0.2, .5 or 1e3; what is behind it is *rest. */
static bool manifest_profile_number(const char *text, double *number, const char **rest)
{
	size_t length = *text == '-' || *text == '+', digits = strspn(text + length, "0123456789");
	char copy[64], *end;

	length += digits;
	if (text[length] == '.') {
		size_t fraction = strspn(text + length + 1, "0123456789");
		length += 1 + fraction;
		digits += fraction;
	}
	if (text[length] == 'e' || text[length] == 'E') {
		size_t sign = text[length + 1] == '-' || text[length + 1] == '+';
		size_t exponent = strspn(text + length + 1 + sign, "0123456789");
		length += exponent > 0 ? 1 + sign + exponent : 0;
	}
	if (digits == 0 || length >= sizeof copy)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	*number = strtod(copy, &end);
	*rest = text + length;
	return *end == '\0';
}

static void manifest_profile_read_ratio(struct reader *reader, const struct yaml_node *value, void *field)
{
	enum yaml_scalar scalar = yaml_resolve(value);
	const char *rest;
	double ratio;

	if ((scalar == YAML_INT || scalar == YAML_FLOAT) && manifest_profile_number(value->text, &ratio, &rest) && *rest == '\0')
		*(double *)field = ratio;
	else
		fields_error(reader, value, NULL, "must be a decimal number as 0.2, without quotes");
}

static void manifest_profile_read_rate(struct reader *reader, const struct yaml_node *value, void *field)
{
	int64_t rate;

	if (manifest_text_integer(reader, value, 0, UINT32_MAX, &rate))
		*(uint32_t *)field = (uint32_t)rate;
}

static void manifest_profile_read_budget(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"retryRatio", manifest_profile_read_ratio, offsetof(struct retry_budget, ratio)},
	    {"minRetriesPerSecond", manifest_profile_read_rate, offsetof(struct retry_budget, per_second)},
	    {"ttl", fields_duration_go, offsetof(struct retry_budget, ttl_ms), .required = true},
	};
	struct retry_budget budget = {0};

	FIELDS_READ(reader, value, rows, &budget);
	budget.usable = budget.ttl_ms >= 1000 && budget.ttl_ms <= 60000 && budget.ratio >= 0 && budget.ratio <= 1000;
	if (!reader->failed && !budget.usable)
		fields_warn(reader, value, "", "nothing is retried: ttl must be from 1s to 60s and retryRatio from 0 to 1000");
	*(struct retry_budget *)field = budget;
}

/* A Kubernetes quantity as 500m, 1, 1e3 or 2k. */
static void manifest_profile_read_weight(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct {
		const char *suffix;
		double factor;
	} units[] = {
	    {"", 1},        {"n", 1e-9},    {"u", 1e-6},    {"m", 1e-3},    {"k", 1e3},     {"M", 1e6},
	    {"G", 1e9},     {"T", 1e12},    {"P", 1e15},    {"E", 1e18},    {"Ki", 0x1p10}, {"Mi", 0x1p20},
	    {"Gi", 0x1p30}, {"Ti", 0x1p40}, {"Pi", 0x1p50}, {"Ei", 0x1p60},
	};
	const char *rest;
	double number, weight = -1;

	if (value->type == YAML_SCALAR && manifest_profile_number(value->text, &number, &rest))
		for (size_t i = 0; i < sizeof units / sizeof *units; i++)
			if (strcmp(rest, units[i].suffix) == 0)
				weight = number * units[i].factor;
	if (weight >= 0 && weight <= MANIFEST_PROFILE_WEIGHT_MOST)
		*(double *)field = weight;
	else
		fields_error(reader, value, NULL, "must be a quantity from 0 to 1M, as 500m or 1");
}

static void manifest_profile_read_authority(struct reader *reader, const struct yaml_node *value, void *field)
{
	const char *text = NULL;

	fields_text(reader, value, &text);
	if (text == NULL || *text != '\0')
		*(const char **)field = text;
	else
		fields_error(reader, value, NULL, "must be the name of a Service, as web-v2.default.svc.cluster.local");
}

static void manifest_profile_read_override(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"authority", manifest_profile_read_authority, offsetof(struct profile_override, authority), .required = true},
	    {"weight", manifest_profile_read_weight, offsetof(struct profile_override, weight), .required = true},
	};

	FIELDS_READ(reader, value, rows, field);
}

/* Those of weight 0 are left out: nothing goes there. */
static void manifest_profile_read_overrides(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct profile *profile = field;
	void *items;
	size_t count;

	fields_list(reader, value, MANIFEST_PROFILE_OVERRIDES_MOST, sizeof(struct profile_override), manifest_profile_read_override,
		    &items, &count);
	struct profile_override *overrides = items;
	profile->overrides = overrides;
	profile->override_count = 0;
	for (size_t i = 0; i < count; i++)
		if (overrides[i].weight > 0)
			overrides[profile->override_count++] = overrides[i];
}

static void manifest_profile_read_opaque_port(struct reader *reader, const struct yaml_node *value, const char *text, struct ports *ports)
{
	int result = *text != '\0' ? ports_parse(ports, text, NULL, NULL) : -EINVAL;

	if (result == -ENOMEM)
		fields_no_memory(reader);
	else if (result != 0)
		fields_error(reader, value, text, "must be a port from 1 to 65535, or a range as 8000-8099");
}

/* A list of ports, or a mapping whose keys are ports, as Linkerd's own types have it. */
static void manifest_profile_read_opaque_ports(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct profile *profile = field;
	struct ports ports = {0};
	size_t index = 0;

	if ((value->type != YAML_SEQUENCE && value->type != YAML_MAPPING) || value->count > MANIFEST_PROFILE_PORTS_MOST) {
		fields_error(reader, value, NULL, "must be a list of at most %d ports", MANIFEST_PROFILE_PORTS_MOST);
		return;
	}
	for (const struct yaml_node *item = value->children; item != NULL; item = item->next) {
		size_t mark = fields_enter(reader, item->key, index++);
		const char *text = item->key != NULL ? item->key : item->type == YAML_SCALAR ? item->text : "";

		manifest_profile_read_opaque_port(reader, item, text, &ports);
		fields_leave(reader, mark);
	}
	profile->opaque_ports = ports_keep(&ports, reader->arena);
	if (profile->opaque_ports == NULL)
		fields_no_memory(reader);
}

void manifest_profile_read(struct reader *reader, const struct yaml_node *spec, struct object *object)
{
	static const struct field rows[] = {
	    {"routes", manifest_profile_read_routes, 0},
	    {"retryBudget", manifest_profile_read_budget, offsetof(struct profile, budget)},
	    {"dstOverrides", manifest_profile_read_overrides, 0},
	    {"opaquePorts", manifest_profile_read_opaque_ports, 0},
	};
	struct profile *profile = (struct profile *)object;

	profile->budget = (struct retry_budget){.ratio = 0.2, .per_second = 10, .ttl_ms = 10000, .usable = true};
	if (spec != NULL)
		FIELDS_READ(reader, spec, rows, profile);
}
