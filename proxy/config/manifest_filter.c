#include "proxy/config/manifest_filter.h"

#include <string.h>
#include <strings.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/catalog.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/yaml.h"

enum { FILTERS_MOST = 16, EDITS_MOST = 16, PATH_MOST = 1024 };

/* --- header modifiers --- */

static void manifest_filter_read_header(struct reader *reader, const struct yaml_node *value, void *element)
{
	static const struct field rows[] = {
	    {"name", manifest_text_header_name, offsetof(struct header_field, name), .required = true},
	    {"value", manifest_text_header_value, offsetof(struct header_field, value), .required = true},
	};

	FIELDS_READ(reader, value, rows, element);
}

static void manifest_filter_read_set(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct header_edits *edits = field;
	void *items;

	fields_list(reader, value, EDITS_MOST, sizeof(struct header_field), manifest_filter_read_header, &items, &edits->set_count);
	edits->set = items;
}

static void manifest_filter_read_add(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct header_edits *edits = field;
	void *items;

	fields_list(reader, value, EDITS_MOST, sizeof(struct header_field), manifest_filter_read_header, &items, &edits->add_count);
	edits->add = items;
}

static void manifest_filter_read_remove(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct header_edits *edits = field;
	void *items;

	fields_list(reader, value, EDITS_MOST, sizeof(const char *), manifest_text_header_name, &items, &edits->remove_count);
	edits->remove = items;
}

/* Only one action for a name, in whatever case, or the filter is invalid (HTTPHeaderFilter). */
static void manifest_filter_check_edits(struct reader *reader, const struct yaml_node *value, const struct header_edits *edits)
{
	const char *names[3 * EDITS_MOST];
	size_t count = 0;

	for (size_t i = 0; i < edits->set_count; i++)
		names[count++] = edits->set[i].name;
	for (size_t i = 0; i < edits->add_count; i++)
		names[count++] = edits->add[i].name;
	for (size_t i = 0; i < edits->remove_count; i++)
		names[count++] = edits->remove[i];
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (names[i] != NULL && names[j] != NULL && strcasecmp(names[i], names[j]) == 0) {
				fields_error(reader, value, names[i], "must be named once: a header takes one action");
				return;
			}
}

static void manifest_filter_read_edits(struct reader *reader, const struct yaml_node *value, const struct header_edits **out)
{
	static const struct field rows[] = {
	    {"set", manifest_filter_read_set, 0},
	    {"add", manifest_filter_read_add, 0},
	    {"remove", manifest_filter_read_remove, 0},
	};
	struct header_edits *edits = arena_alloc(reader->arena, sizeof *edits);

	if (edits == NULL) {
		fields_no_memory(reader);
		return;
	}
	FIELDS_READ(reader, value, rows, edits);
	manifest_filter_check_edits(reader, value, edits);
	*out = edits;
}

static void manifest_filter_read_request_edits(struct reader *reader, const struct yaml_node *value, void *filters)
{
	manifest_filter_read_edits(reader, value, &((struct filters *)filters)->request);
}

static void manifest_filter_read_response_edits(struct reader *reader, const struct yaml_node *value, void *filters)
{
	manifest_filter_read_edits(reader, value, &((struct filters *)filters)->response);
}

/* --- redirect and rewrite --- */

struct path_modifier {
	enum path_rewrite how;
	const char *value;
	const char *unusable; /* NULL, or why requests of the rule must get an error: the API takes any text as a path */
};

struct path_modifier_document {
	enum path_rewrite how;
	const char *values[PATH_REPLACE_PREFIX + 1];
};

static const char *const manifest_filter_path_types[] = {"ReplaceFullPath", "ReplacePrefixMatch"};
static const char *const manifest_filter_path_fields[] = {
    [PATH_REPLACE_FULL] = "replaceFullPath",
    [PATH_REPLACE_PREFIX] = "replacePrefixMatch",
};

static void manifest_filter_read_path_type(struct reader *reader, const struct yaml_node *value, void *field)
{
	int choice = MANIFEST_TEXT_CHOICE(reader, value, manifest_filter_path_types);

	if (choice >= 0)
		*(enum path_rewrite *)field = choice == 0 ? PATH_REPLACE_FULL : PATH_REPLACE_PREFIX;
}

static void manifest_filter_read_path_value(struct reader *reader, const struct yaml_node *value, void *field)
{
	const char *text = NULL;

	fields_text(reader, value, &text);
	if (text == NULL)
		return;
	if (strlen(text) <= PATH_MOST)
		*(const char **)field = text;
	else
		fields_error(reader, value, NULL, "must have at most %d bytes", PATH_MOST);
}

/* It becomes a part of a request line or of a Location. */
static bool manifest_filter_is_path(const char *text)
{
	bool fits = *text == '\0' || *text == '/';

	for (; *text != '\0'; text++)
		fits &= *text > ' ' && *text < 0x7f && *text != '#';
	return fits;
}

static void manifest_filter_read_path(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const struct field rows[] = {
	    {"type", manifest_filter_read_path_type, offsetof(struct path_modifier_document, how), .required = true},
	    {"replaceFullPath", manifest_filter_read_path_value,
	     offsetof(struct path_modifier_document, values[PATH_REPLACE_FULL])},
	    {"replacePrefixMatch", manifest_filter_read_path_value,
	     offsetof(struct path_modifier_document, values[PATH_REPLACE_PREFIX])},
	};
	struct path_modifier_document document = {0};

	FIELDS_READ(reader, value, rows, &document);
	if (reader->failed)
		return;
	enum path_rewrite other = document.how == PATH_REPLACE_FULL ? PATH_REPLACE_PREFIX : PATH_REPLACE_FULL;
	if (document.values[document.how] == NULL || document.values[other] != NULL)
		fields_error(reader, value, "", "must have %s with this type, and no %s", manifest_filter_path_fields[document.how],
			     manifest_filter_path_fields[other]);
	struct path_modifier *modifier = field;
	*modifier = (struct path_modifier){document.how, document.values[document.how], NULL};
	if (modifier->value == NULL || manifest_filter_is_path(modifier->value))
		return;
	const char *name = manifest_filter_path_fields[document.how];
	size_t mark = fields_enter(reader, name, 0);
	fields_warn(reader, yaml_field(value, name), NULL,
		    "should be empty, or a path that starts with \"/\": printable ASCII without blanks and \"#\"; requests of this rule "
		    "get an error");
	fields_leave(reader, mark);
	modifier->unusable = arena_printf(reader->arena, "%s: \"%s\"", name, modifier->value);
	modifier->value = "";
	if (modifier->unusable == NULL)
		fields_no_memory(reader);
}

static void manifest_filter_refuse(struct filters *filters, const char *what)
{
	if (what == NULL)
		return;
	filters->unusable = true;
	filters->unusable_what = what;
}

struct redirect_document {
	struct redirect redirect;
	struct path_modifier path;
};

static void manifest_filter_read_scheme(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const char *const schemes[] = {"http", "https"};
	int choice = MANIFEST_TEXT_CHOICE(reader, value, schemes);

	if (choice >= 0)
		*(const char **)field = schemes[choice];
}

static void manifest_filter_read_status(struct reader *reader, const struct yaml_node *value, void *field)
{
	int64_t status = 302;

	fields_int(reader, value, &status);
	if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308)
		*(uint16_t *)field = (uint16_t)status;
	else
		fields_error(reader, value, NULL, "must be 301, 302, 303, 307 or 308");
}

static void manifest_filter_read_redirect(struct reader *reader, const struct yaml_node *value, void *filters)
{
	static const struct field rows[] = {
	    {"scheme", manifest_filter_read_scheme, offsetof(struct redirect_document, redirect.scheme)},
	    {"hostname", manifest_text_host, offsetof(struct redirect_document, redirect.hostname)},
	    {"path", manifest_filter_read_path, offsetof(struct redirect_document, path)},
	    {"port", fields_port, offsetof(struct redirect_document, redirect.port)},
	    {"statusCode", manifest_filter_read_status, offsetof(struct redirect_document, redirect.status)},
	};
	struct redirect_document document = {.redirect.status = 302};
	struct redirect *redirect = arena_alloc(reader->arena, sizeof *redirect);

	if (redirect == NULL) {
		fields_no_memory(reader);
		return;
	}
	FIELDS_READ(reader, value, rows, &document);
	*redirect = document.redirect;
	redirect->path = document.path.how;
	redirect->path_value = document.path.value;
	((struct filters *)filters)->redirect = redirect;
	manifest_filter_refuse(filters, document.path.unusable);
}

static void manifest_filter_read_rewrite(struct reader *reader, const struct yaml_node *value, void *filters)
{
	struct rewrite_document {
		const char *host;
		struct path_modifier path;
	} document = {0};
	static const struct field rows[] = {
	    {"hostname", manifest_text_host, offsetof(struct rewrite_document, host)},
	    {"path", manifest_filter_read_path, offsetof(struct rewrite_document, path)},
	};
	struct filters *into = filters;

	FIELDS_READ(reader, value, rows, &document);
	into->rewrite_host = document.host;
	into->rewrite_path = document.path.how;
	into->rewrite_value = document.path.value;
	manifest_filter_refuse(into, document.path.unusable);
}

/* --- the list --- */

enum fate { CARRIED_OUT, CARRIED_OUT_BY_RULES, LEFT_OUT, REFUSED };

struct filter_type {
	const char *name, *field;
	field_read *read; /* into a struct filters; NULL: not looked into */
	enum fate fate;
	bool grpc; /* GRPCRoute has it too */
	bool many; /* may stand several times in a list */
};

/* One row per type of filter: name, field, reader, fate, of GRPCRoute, several. */
#define MANIFEST_FILTERS(ROW)                                                                                                      \
	ROW("RequestHeaderModifier", "requestHeaderModifier", manifest_filter_read_request_edits, CARRIED_OUT, true, false)        \
	ROW("ResponseHeaderModifier", "responseHeaderModifier", manifest_filter_read_response_edits, CARRIED_OUT, true, false)     \
	ROW("RequestRedirect", "requestRedirect", manifest_filter_read_redirect, CARRIED_OUT_BY_RULES, false, false)               \
	ROW("URLRewrite", "urlRewrite", manifest_filter_read_rewrite, CARRIED_OUT_BY_RULES, false, false)                          \
	ROW("RequestMirror", "requestMirror", NULL, LEFT_OUT, true, true)                                                          \
	ROW("CORS", "cors", NULL, LEFT_OUT, false, false)                                                                          \
	ROW("ExternalAuth", "externalAuth", NULL, REFUSED, false, true)                                                            \
	ROW("ExtensionRef", "extensionRef", NULL, REFUSED, true, true)

#define TYPE_ROW(name, field, read, fate, grpc, many) {name, field, read, fate, grpc, many},
static const struct filter_type manifest_filter_types[] = {MANIFEST_FILTERS(TYPE_ROW)};
#define TYPE_COUNT (sizeof manifest_filter_types / sizeof *manifest_filter_types)

/* An element of the list: its type and what the type's own field holds. */
struct filter_element {
	const struct filter_type *type;
	const struct yaml_node *node, *body;
};

static void manifest_filter_read_type(struct reader *reader, const struct yaml_node *value, void *field)
{
	const struct filter_type *types[TYPE_COUNT];
	const char *names[TYPE_COUNT];
	size_t count = 0;

	for (size_t i = 0; i < TYPE_COUNT; i++)
		if (manifest_filter_types[i].grpc || reader->object->kind != KIND_GRPC_ROUTE) {
			types[count] = &manifest_filter_types[i];
			names[count++] = manifest_filter_types[i].name;
		}
	int choice = manifest_text_choice(reader, value, names, count);
	if (choice >= 0)
		*(const struct filter_type **)field = types[choice];
}

/* The field of the type is there, and those of the others are not. */
static void manifest_filter_read_element(struct reader *reader, const struct yaml_node *value, void *field)
{
#define FIELD_ROW(type, field, read, fate, grpc, many) {.name = field},
	static const struct field rows[] = {
	    {"type", manifest_filter_read_type, offsetof(struct filter_element, type), .required = true},
	    MANIFEST_FILTERS(FIELD_ROW)
	};
	struct filter_element *element = field;

	element->node = value;
	FIELDS_READ(reader, value, rows, element);
	if (element->type == NULL)
		return;
	for (size_t i = 0; i < TYPE_COUNT; i++) {
		const struct filter_type *type = &manifest_filter_types[i];
		const struct yaml_node *body = yaml_field(value, type->field);
		bool given = body != NULL && !yaml_is_null(body);
		if (given && type == element->type)
			element->body = body;
		else if (given || type == element->type)
			fields_error(reader, given ? body : value, "", "must have %s with the type %s, and with no other",
				     type->field, type->name);
	}
}

static void manifest_filter_apply(struct reader *reader, const struct filter_element *element, bool backend,
				  struct filters *filters)
{
	const struct filter_type *type = element->type;

	if (type->read != NULL) {
		size_t mark = fields_enter(reader, type->field, 0);
		type->read(reader, element->body, filters);
		fields_leave(reader, mark);
	}
	if (type->fate == LEFT_OUT) {
		fields_warn(reader, element->node, "", "%s is not carried out; requests go on without it", type->name);
	} else if (type->fate == REFUSED || (type->fate == CARRIED_OUT_BY_RULES && backend)) {
		fields_warn(reader, element->node, "", "%s is not carried out%s; it must not be skipped, so requests get an error",
			    type->name, backend ? " on a backend" : "");
		manifest_filter_refuse(filters, type->name);
	}
}

static void manifest_filter_read_list(struct reader *reader, const struct yaml_node *value, bool backend, struct filters *filters)
{
	void *items;
	size_t count;
	unsigned seen = 0, replacing = 0;

	fields_list(reader, value, FILTERS_MOST, sizeof(struct filter_element), manifest_filter_read_element, &items, &count);
	const struct filter_element *elements = items;
	for (size_t i = 0; i < count; i++) {
		const struct filter_element *element = &elements[i];
		if (element->body == NULL)
			continue;
		unsigned bit = 1U << (element->type - manifest_filter_types);
		size_t mark = fields_enter(reader, NULL, i);
		if (seen & bit && !element->type->many)
			fields_error(reader, element->node, "", "must not be a second %s", element->type->name);
		seen |= bit;
		replacing |= element->type->fate == CARRIED_OUT_BY_RULES ? bit : 0;
		manifest_filter_apply(reader, element, backend, filters);
		fields_leave(reader, mark);
	}
	if ((replacing & (replacing - 1)) != 0)
		fields_error(reader, value, "", "must not have both RequestRedirect and URLRewrite");
}

void manifest_filter_read_rule(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_filter_read_list(reader, value, false, field);
}

void manifest_filter_read_backend(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_filter_read_list(reader, value, true, field);
}
