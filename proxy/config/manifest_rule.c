#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/catalog.h"
#include "proxy/config/fields.h"
#include "proxy/config/manifest_filter.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_reference.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/regex.h"
#include "proxy/config/yaml.h"

enum {
	MATCHES_MOST = 64,
	VALUES_MOST = 16,
	PATH_MOST = 1024,
	HEADER_MOST = 4096,
	QUERY_MOST = 1024,
	GRPC_NAME_MOST = 1024,
	RETRIES_MOST = 1000000,
};

/* --- texts that are exact or regular expressions --- */

static const char *const manifest_rule_value_types[] = {[VALUE_EXACT] = "Exact", [VALUE_REGEX] = "RegularExpression"};

static void manifest_rule_read_value_type(struct reader *reader, const struct yaml_node *value, void *field)
{
	int choice = MANIFEST_TEXT_CHOICE(reader, value, manifest_rule_value_types);

	if (choice >= 0)
		*(enum value_type *)field = (enum value_type)choice;
}

/* An error at a field of the mapping that has been read. */
static void manifest_rule_refuse(struct reader *reader, const struct yaml_node *mapping, const char *name, const char *accepted)
{
	const struct yaml_node *node = yaml_field(mapping, name);
	size_t mark = fields_enter(reader, name, 0);

	fields_error(reader, node != NULL ? node : mapping, node != NULL ? NULL : "", "must be %s", accepted);
	fields_leave(reader, mark);
}

/* Compiles the text that stands in a field of the mapping. */
static const struct regex *manifest_rule_regex(struct reader *reader, const struct yaml_node *mapping, const char *name,
					       const char *pattern)
{
	const struct regex *regex = NULL;
	TEXT_ON_STACK(why, 256);
	TEXT_ON_STACK(accepted, 320);

	int result = regex_compile(reader->arena, pattern, &regex, &why);
	if (result == -ENOMEM) {
		fields_no_memory(reader);
	} else if (result != 0) {
		text_printf(&accepted, "a regular expression (PCRE2): %s", why.data);
		manifest_rule_refuse(reader, mapping, name, accepted.data);
	}
	return regex;
}

/* --- path --- */

static const char *const manifest_rule_path_types[] = {
    [PATH_EXACT] = "Exact",
    [PATH_PREFIX] = "PathPrefix",
    [PATH_REGEX] = "RegularExpression",
};

static void manifest_rule_read_path_type(struct reader *reader, const struct yaml_node *value, void *field)
{
	int choice = MANIFEST_TEXT_CHOICE(reader, value, manifest_rule_path_types);

	if (choice >= 0)
		*(enum path_type *)field = (enum path_type)choice;
}

static bool manifest_rule_is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool manifest_rule_is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Whether it may stand in an exact path or a prefix (HTTPPathMatch). */
static bool manifest_rule_is_path(const char *path)
{
	static const char *const forbidden[] = {"//", "/./", "/../", "%2f", "%2F"};
	size_t length = strlen(path);

	for (size_t i = 0; i < length; i++) {
		if (path[i] == '%' && manifest_rule_is_hex(path[i + 1]) && manifest_rule_is_hex(path[i + 2]))
			continue;
		if (!manifest_rule_is_letter_or_digit(path[i]) && strchr("/-._~!$&'()*+,;=:@", path[i]) == NULL)
			return false;
	}
	for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
		if (strstr(path, forbidden[i]) != NULL)
			return false;
	return path[0] == '/' && (length < 2 || strcmp(path + length - 2, "/.") != 0) &&
	       (length < 3 || strcmp(path + length - 3, "/..") != 0);
}

static void manifest_rule_read_path(struct reader *reader, const struct yaml_node *value, void *route_match)
{
	struct path_document {
		enum path_type type;
		const char *value;
	} document = {PATH_PREFIX, "/"};
	static const struct field rows[] = {
	    {"type", manifest_rule_read_path_type, offsetof(struct path_document, type)},
	    {"value", fields_text, offsetof(struct path_document, value)},
	};
	struct route_match *match = route_match;

	FIELDS_READ(reader, value, rows, &document);
	size_t length = strlen(document.value);
	match->path_type = document.type;
	match->path = document.value;
	if (length > PATH_MOST)
		manifest_rule_refuse(reader, value, "value", "at most 1024 bytes");
	else if (document.type == PATH_REGEX)
		match->path_regex = manifest_rule_regex(reader, value, "value", document.value);
	else if (!manifest_rule_is_path(document.value))
		manifest_rule_refuse(reader, value, "value",
				     "a path as /a/b%20c: from \"/\" on, without \"//\", \"/./\", \"/../\", an encoded \"/\", "
				     "query and fragment");
	else if (document.type == PATH_PREFIX && document.value[length - 1] == '/')
		match->path = arena_text(reader->arena, document.value, length - 1);
	if (match->path == NULL)
		fields_no_memory(reader);
}

/* --- headers and query parameters --- */

static void manifest_rule_read_value(struct reader *reader, const struct yaml_node *value, struct value_match *match, size_t most)
{
	static const struct field rows[] = {
	    {"type", manifest_rule_read_value_type, offsetof(struct value_match, type)},
	    {"name", manifest_text_header_name, offsetof(struct value_match, name), .required = true},
	    {"value", fields_text, offsetof(struct value_match, value), .required = true},
	};
	TEXT_ON_STACK(accepted, 64);

	match->type = VALUE_EXACT;
	FIELDS_READ(reader, value, rows, match);
	if (match->name == NULL || match->value == NULL)
		return;
	size_t length = strlen(match->value);
	if (length < 1 || length > most) {
		text_printf(&accepted, "1 to %zu bytes", most);
		manifest_rule_refuse(reader, value, "value", accepted.data);
	} else if (match->type == VALUE_REGEX) {
		match->regex = manifest_rule_regex(reader, value, "value", match->value);
	}
}

static void manifest_rule_read_header(struct reader *reader, const struct yaml_node *value, void *value_match)
{
	struct value_match *match = value_match;

	manifest_rule_read_value(reader, value, match, HEADER_MOST);
	if (match->name != NULL)
		match->name = manifest_text_lower(reader, match->name);
}

static void manifest_rule_read_query(struct reader *reader, const struct yaml_node *value, void *value_match)
{
	manifest_rule_read_value(reader, value, value_match, QUERY_MOST);
}

/* Of several with one name the first counts (HTTPHeaderMatch, HTTPQueryParamMatch). */
static void manifest_rule_read_values(struct reader *reader, const struct yaml_node *value, field_read *read,
				      const struct value_match **out, size_t *out_count)
{
	void *items;
	size_t count, kept = 0, other;

	fields_list(reader, value, VALUES_MOST, sizeof(struct value_match), read, &items, &count);
	struct value_match *matches = items;
	for (size_t i = 0; i < count; i++) {
		if (matches[i].name == NULL)
			continue;
		for (other = 0; other < kept && strcmp(matches[other].name, matches[i].name) != 0; other++)
			;
		if (other == kept)
			matches[kept++] = matches[i];
		else
			fields_warn(reader, value, matches[i].name, "given more than once; only the first counts");
	}
	*out = matches;
	*out_count = kept;
}

static void manifest_rule_read_headers(struct reader *reader, const struct yaml_node *value, void *route_match)
{
	struct route_match *match = route_match;

	manifest_rule_read_values(reader, value, manifest_rule_read_header, &match->headers, &match->header_count);
}

static void manifest_rule_read_queries(struct reader *reader, const struct yaml_node *value, void *route_match)
{
	struct route_match *match = route_match;

	manifest_rule_read_values(reader, value, manifest_rule_read_query, &match->queries, &match->query_count);
}

/* --- matches --- */

static void manifest_rule_read_method(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	int choice = MANIFEST_TEXT_CHOICE(reader, value, methods);

	if (choice >= 0)
		*(const char **)field = methods[choice];
}

/* A name of letters, digits and '_' that starts with no digit; with dots, several of them, parted by dots, one of which may stand
 * in front. */
static bool manifest_rule_is_grpc_name(const char *text, bool dots)
{
	bool first = true;

	for (text += dots && *text == '.'; *text != '\0'; text++) {
		if (dots && *text == '.' && !first)
			first = true;
		else if (*text == '_' || (manifest_rule_is_letter_or_digit(*text) && !(first && *text <= '9')))
			first = false;
		else
			return false;
	}
	return !first;
}

struct grpc_method_document {
	enum value_type type;
	const char *service, *method;
};

/* One of the two names into the match; an empty or absent one is any. */
static void manifest_rule_take_grpc_name(struct reader *reader, const struct yaml_node *value, const char *field, const char *text,
					 enum value_type type, bool dots, const char **out, const struct regex **regex)
{
	if (text == NULL || (*text == '\0' && type == VALUE_REGEX))
		return;
	if (strlen(text) > GRPC_NAME_MOST)
		manifest_rule_refuse(reader, value, field, "at most 1024 bytes");
	else if (type == VALUE_REGEX)
		*regex = manifest_rule_regex(reader, value, field, text);
	else if (!manifest_rule_is_grpc_name(text, dots))
		manifest_rule_refuse(reader, value, field, dots ? "a service as package.v1.Service" : "a method as GetThing");
	*out = text;
}

static void manifest_rule_read_grpc_method(struct reader *reader, const struct yaml_node *value, void *route_match)
{
	static const struct field rows[] = {
	    {"type", manifest_rule_read_value_type, offsetof(struct grpc_method_document, type)},
	    {"service", fields_text, offsetof(struct grpc_method_document, service)},
	    {"method", fields_text, offsetof(struct grpc_method_document, method)},
	};
	struct grpc_method_document document = {0};
	struct route_match *match = route_match;

	FIELDS_READ(reader, value, rows, &document);
	manifest_rule_take_grpc_name(reader, value, "service", document.service, document.type, true, &match->grpc_service,
				     &match->grpc_service_regex);
	manifest_rule_take_grpc_name(reader, value, "method", document.method, document.type, false, &match->grpc_method,
				     &match->grpc_method_regex);
	if (!reader->failed && match->grpc_service == NULL && match->grpc_method == NULL)
		fields_error(reader, value, "", "must have service, method or both");
}

/* Everything: what a match is that says nothing. */
static const struct route_match manifest_rule_any = {.path_type = PATH_PREFIX, .path = ""};

static void manifest_rule_read_http_match(struct reader *reader, const struct yaml_node *value, void *element)
{
	static const struct field rows[] = {
	    {"path", manifest_rule_read_path, 0},
	    {"headers", manifest_rule_read_headers, 0},
	    {"queryParams", manifest_rule_read_queries, 0},
	    {"method", manifest_rule_read_method, offsetof(struct route_match, method)},
	};

	*(struct route_match *)element = manifest_rule_any;
	FIELDS_READ(reader, value, rows, element);
}

static void manifest_rule_read_grpc_match(struct reader *reader, const struct yaml_node *value, void *element)
{
	static const struct field rows[] = {
	    {"method", manifest_rule_read_grpc_method, 0},
	    {"headers", manifest_rule_read_headers, 0},
	};

	*(struct route_match *)element = manifest_rule_any;
	FIELDS_READ(reader, value, rows, element);
}

static void manifest_rule_read_matches(struct reader *reader, const struct yaml_node *value, field_read *read,
				       struct route_rule *rule)
{
	void *items;
	size_t count;

	fields_list(reader, value, MATCHES_MOST, sizeof(struct route_match), read, &items, &count);
	if (count == 0)
		return;
	rule->matches = items;
	rule->match_count = count;
}

static void manifest_rule_read_http_matches(struct reader *reader, const struct yaml_node *value, void *route_rule)
{
	manifest_rule_read_matches(reader, value, manifest_rule_read_http_match, route_rule);
}

static void manifest_rule_read_grpc_matches(struct reader *reader, const struct yaml_node *value, void *route_rule)
{
	manifest_rule_read_matches(reader, value, manifest_rule_read_grpc_match, route_rule);
}

/* --- timeouts and retry --- */

void manifest_set_timeout(struct reader *reader, const struct timeouts **timeouts, enum timeout_id id, int64_t milliseconds,
			  const char *source, ...)
{
	struct timeouts *into = (struct timeouts *)*timeouts; /* made here, below */
	char text[1024];
	va_list arguments;

	va_start(arguments, source);
	int length = vsnprintf(text, sizeof text, source, arguments);
	va_end(arguments);
	if (into == NULL) {
		into = arena_alloc(reader->arena, sizeof *into);
		if (into != NULL)
			timeouts_init_unset(into);
	}
	const char *kept = arena_text(reader->arena, text, length < 0 ? 0 : strlen(text));
	if (into == NULL || kept == NULL) {
		fields_no_memory(reader);
		return;
	}
	into->of[id] = (struct timeout_value){milliseconds, kept};
	*timeouts = into;
}

struct timeouts_document {
	int64_t request, backend_request;
};

static void manifest_rule_read_timeouts(struct reader *reader, const struct yaml_node *value, void *route_rule)
{
	static const struct field rows[] = {
	    {"request", fields_duration_gateway, offsetof(struct timeouts_document, request)},
	    {"backendRequest", fields_duration_gateway, offsetof(struct timeouts_document, backend_request)},
	};
	struct timeouts_document document = {TIMEOUT_UNSET, TIMEOUT_UNSET};
	struct route_rule *rule = route_rule;

	FIELDS_READ(reader, value, rows, &document);
	if (document.request > 0 && document.backend_request > document.request)
		manifest_rule_refuse(reader, value, "backendRequest", "at most what request says, unless that is 0s");
	if (document.request != TIMEOUT_UNSET)
		manifest_set_timeout(reader, &rule->timeouts, TIMEOUT_REQUEST, document.request, "%s %s.request", reader->subject,
				     reader->path);
	if (document.backend_request != TIMEOUT_UNSET)
		manifest_set_timeout(reader, &rule->timeouts, TIMEOUT_BACKEND_REQUEST, document.backend_request,
				     "%s %s.backendRequest", reader->subject, reader->path);
}

static void manifest_rule_read_code(struct reader *reader, const struct yaml_node *value, void *element)
{
	manifest_text_integer(reader, value, RETRY_STATUS_FIRST, RETRY_STATUS_FIRST + RETRY_STATUS_COUNT - 1, element);
}

static void manifest_rule_read_codes(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct retry *retry = field;
	void *items;
	size_t count;

	fields_list(reader, value, RETRY_STATUS_COUNT, sizeof(int64_t), manifest_rule_read_code, &items, &count);
	const int64_t *codes = items;
	for (size_t i = 0; i < count; i++) {
		if (codes[i] == 0) /* refused */
			continue;
		uint32_t bit = (uint32_t)(codes[i] - RETRY_STATUS_FIRST);
		retry->codes[bit / 32] |= UINT32_C(1) << bit % 32;
	}
}

static void manifest_rule_read_attempts(struct reader *reader, const struct yaml_node *value, void *field)
{
	int64_t attempts;

	if (manifest_text_integer(reader, value, 0, RETRIES_MOST, &attempts))
		*(uint32_t *)field = (uint32_t)attempts;
}

static void manifest_rule_read_retry(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"codes", manifest_rule_read_codes, 0},
	    {"attempts", manifest_rule_read_attempts, offsetof(struct retry, attempts)},
	    {"backoff", fields_duration_gateway, offsetof(struct retry, backoff_ms)},
	};
	struct retry *retry = arena_alloc(reader->arena, sizeof *retry);
	const char *source = arena_printf(reader->arena, "%s %s", reader->subject, reader->path);

	if (retry == NULL || source == NULL) {
		fields_no_memory(reader);
		return;
	}
	*retry = (struct retry){.attempts = 1, .on_failure = true, .source = source};
	FIELDS_READ(reader, value, rows, retry);
	retry->backoff_most_ms = retry->backoff_ms;
	*(const struct retry **)field = retry;
}

/* --- the rule --- */

static void manifest_rule_leave_out(struct reader *reader, const struct yaml_node *value, void *field)
{
	fields_warn(reader, value, "", "is not carried out, ignored");
}

static bool manifest_rule_replaces_prefix(const struct filters *filters)
{
	return filters->rewrite_path == PATH_REPLACE_PREFIX ||
	       (filters->redirect != NULL && filters->redirect->path == PATH_REPLACE_PREFIX);
}

/* What the API's rules say of fields together. */
static void manifest_rule_check(struct reader *reader, const struct yaml_node *value, const struct route_rule *rule)
{
	bool prefix = manifest_rule_replaces_prefix(&rule->filters);

	for (size_t i = 0; i < rule->backend_count; i++)
		prefix |= manifest_rule_replaces_prefix(&rule->backends[i].filters);
	if (prefix && (rule->match_count != 1 || rule->matches[0].path_type != PATH_PREFIX))
		fields_error(reader, value, "", "must have exactly one match, of type PathPrefix, with ReplacePrefixMatch");
	if (rule->filters.redirect != NULL && rule->backend_count > 0)
		fields_error(reader, value, "", "must not have both RequestRedirect and backendRefs");
}

static void manifest_rule_finish(struct reader *reader, const struct yaml_node *value, struct route_rule *rule)
{
	if (rule->match_count == 0) {
		rule->matches = &manifest_rule_any;
		rule->match_count = 1;
	}
	if (!reader->failed)
		manifest_rule_check(reader, value, rule);
}

void manifest_rule_read_http(struct reader *reader, const struct yaml_node *value, void *route_rule)
{
	static const struct field rows[] = {
	    {"name", manifest_text_name, offsetof(struct route_rule, name)},
	    {"matches", manifest_rule_read_http_matches, 0},
	    {"filters", manifest_filter_read_rule, offsetof(struct route_rule, filters)},
	    {"backendRefs", manifest_reference_read_http_backends, 0},
	    {"timeouts", manifest_rule_read_timeouts, 0},
	    {"retry", manifest_rule_read_retry, offsetof(struct route_rule, retry)},
	    {"sessionPersistence", manifest_rule_leave_out, 0},
	};

	FIELDS_READ(reader, value, rows, route_rule);
	manifest_rule_finish(reader, value, route_rule);
}

void manifest_rule_read_grpc(struct reader *reader, const struct yaml_node *value, void *route_rule)
{
	static const struct field rows[] = {
	    {"name", manifest_text_name, offsetof(struct route_rule, name)},
	    {"matches", manifest_rule_read_grpc_matches, 0},
	    {"filters", manifest_filter_read_rule, offsetof(struct route_rule, filters)},
	    {"backendRefs", manifest_reference_read_http_backends, 0},
	    {"sessionPersistence", manifest_rule_leave_out, 0},
	};

	FIELDS_READ(reader, value, rows, route_rule);
	manifest_rule_finish(reader, value, route_rule);
}
