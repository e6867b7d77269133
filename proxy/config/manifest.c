#include "proxy/config/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "proxy/config/annotations.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/fields.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/manifest_text.h"
#include "proxy/config/yaml.h"

enum { MANIFEST_LIST_DEPTH_MOST = 8 };

/* One row per kind. Of a group that is known, only these versions are read. */
struct manifest_row {
	const char *const *api_versions; /* ends with NULL; the first one is what messages name */
	enum kind kind;
	size_t size; /* of the kind's struct */
	manifest_read_spec *read;
	const char *what; /* of its spec is read; its annotations are in annotations.c */
	bool cluster_wide;
	bool strict; /* unknown fields are errors */
	bool single; /* there should be but one of it; of several the later wins, field by field */
};

#define GATEWAY "gateway.networking.k8s.io/"
#define LINKERD_POLICY "policy.linkerd.io/"
static const char *const manifest_kubelb[] = {"kubelb.k8c.io/v1alpha1", NULL};
static const char *const manifest_gateway[] = {GATEWAY "v1", GATEWAY "v1beta1", GATEWAY "v1alpha3", GATEWAY "v1alpha2", NULL};
static const char *const manifest_http[] = {
    GATEWAY "v1",
    GATEWAY "v1beta1",
    GATEWAY "v1alpha3",
    GATEWAY "v1alpha2",
    LINKERD_POLICY "v1beta3",
    LINKERD_POLICY "v1beta2",
    LINKERD_POLICY "v1beta1",
    LINKERD_POLICY "v1alpha1",
    NULL,
};
static const char *const manifest_networking[] = {"networking.k8s.io/v1", NULL};
static const char *const manifest_linkerd[] = {"linkerd.io/v1alpha2", NULL};
static const char *const manifest_core[] = {"v1", NULL};

static const struct manifest_row manifest_rows[] = {
    {manifest_kubelb, KIND_CONFIG, sizeof(struct kubelb), manifest_kubelb_read, "every timeout, under its name in `timeouts`",
     .single = true},
    {manifest_kubelb, KIND_TENANT, sizeof(struct kubelb), manifest_kubelb_read, "the same", .cluster_wide = true},
    {manifest_kubelb, KIND_KUBELB_ROUTE, sizeof(struct kubelb), manifest_kubelb_read, "the same, and `endpoints`"},
    {manifest_kubelb, KIND_LOAD_BALANCER, sizeof(struct kubelb), manifest_kubelb_read, "the same, and `endpoints`"},
    {manifest_http, KIND_HTTP_ROUTE, sizeof(struct route), manifest_route_read,
     "`parentRefs`, `hostnames`; of rules `matches`, `filters`, `backendRefs`, `timeouts`, `retry`"},
    {manifest_gateway, KIND_GRPC_ROUTE, sizeof(struct route), manifest_route_read,
     "`parentRefs`, `hostnames`; of rules `matches`, `filters`, `backendRefs`"},
    {manifest_gateway, KIND_TCP_ROUTE, sizeof(struct route), manifest_route_read, "`parentRefs`; of rules `backendRefs`"},
    {manifest_gateway, KIND_TLS_ROUTE, sizeof(struct route), manifest_route_read,
     "`parentRefs`, `hostnames` as server names; of rules `backendRefs`"},
    {manifest_networking, KIND_INGRESS, sizeof(struct route), manifest_ingress_read, "`rules` and `defaultBackend`"},
    {manifest_linkerd, KIND_SERVICE_PROFILE, sizeof(struct profile), manifest_profile_read,
     "of routes `condition`, `timeout`, `isRetryable`, `responseClasses`; `retryBudget`, `opaquePorts`", .strict = true},
    {manifest_core, KIND_SERVICE, sizeof(struct service), manifest_service_read,
     "`clusterIP` and `clusterIPs`, `type`, `ports`, `selector`"},
    {manifest_core, KIND_NAMESPACE, sizeof(struct object), manifest_service_read_namespace, "its annotations", .cluster_wide = true},
};

/* A file under way. The reader is that of the document at hand. */
struct manifest {
	struct catalog *catalog;
	struct reader reader;
	struct arena *tree; /* of the documents; much larger than what is read from them, and given back */
	struct map unread;  /* "kind (apiVersion)" that is not read: each is told of once */
	bool failed;        /* a document of it did */
};

struct manifest_metadata {
	const char *name, *namespace;
	int64_t created;
	struct annotation *annotations;
	size_t annotation_count;
};

bool manifest_is_subdomain(const char *text)
{
	size_t length = strlen(text), label = 0;

	if (length > 253)
		return false;
	for (size_t i = 0; i <= length; i++) {
		bool edge = text[i] == '.' || text[i] == '\0';
		if (edge ? label == 0 || text[i - 1] == '-' : text[i] == '-' && label == 0)
			return false;
		if (!edge && (strchr("abcdefghijklmnopqrstuvwxyz0123456789-", text[i]) == NULL || label == 63))
			return false;
		label = edge ? 0 : label + 1;
	}
	return true;
}

static void manifest_read_namespace(struct reader *reader, const struct yaml_node *value, void *field)
{
	if (value->type != YAML_SCALAR || value->length > 0) /* an empty one is none */
		manifest_text_namespace(reader, value, field);
}

void manifest_read_protocol(struct reader *reader, const struct yaml_node *value, void *field)
{
	static const char *const protocols[] = {"TCP", "UDP", "SCTP"};

	*(bool *)field = MANIFEST_TEXT_CHOICE(reader, value, protocols) == 0;
}

/* `count` digits at *cursor, which moves behind them and behind the character that must follow ('\0': any). -1 when they are not
 * there. */
static int manifest_digits(const char **cursor, int count, char behind)
{
	const char *at = *cursor;
	int value = 0;

	for (; count > 0; count--, at++) {
		if (*at < '0' || *at > '9')
			return -1;
		value = value * 10 + (*at - '0');
	}
	if (behind != '\0' && *at++ != behind)
		return -1;
	*cursor = at;
	return value;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar, INT64_MIN when there is no such day. */
static int64_t manifest_days(int year, int month, int day)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	if (year < 0 || month < 1 || month > 12 || day < 1)
		return INT64_MIN;
	if (day > before[month] - before[month - 1] + (leap && month == 2))
		return INT64_MIN;
	/* Counted from 399 years before the year 0, so that nothing is negative; 1970 began 865259 days after that. */
	int64_t past = year + 399;
	int64_t days = past * 365 + past / 4 - past / 100 + past / 400 + before[month - 1] + (leap && month > 2) + day - 1;
	return days - 865259;
}

/* RFC 3339 to seconds since 1970; INT64_MIN when it is none. Fractions of a second are dropped. */
static int64_t manifest_instant(const char *text)
{
	int year = manifest_digits(&text, 4, '-'), month = manifest_digits(&text, 2, '-'), day = manifest_digits(&text, 2, 'T');
	int hour = manifest_digits(&text, 2, ':'), minute = manifest_digits(&text, 2, ':');
	int second = manifest_digits(&text, 2, '\0');
	int64_t days = manifest_days(year, month, day);
	int offset = 0;

	if (days == INT64_MIN || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
		return INT64_MIN;
	if (*text == '.') {
		size_t digits = strspn(++text, "0123456789");
		if (digits == 0)
			return INT64_MIN;
		text += digits;
	}
	if (*text == '+' || *text == '-') {
		int sign = *text++ == '+' ? 1 : -1;
		int hours = manifest_digits(&text, 2, ':'), minutes = manifest_digits(&text, 2, '\0');
		if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
			return INT64_MIN;
		offset = sign * (hours * 60 + minutes);
	} else if (*text++ != 'Z') {
		return INT64_MIN;
	}
	return *text == '\0' ? ((days * 24 + hour) * 60 + minute - offset) * 60 + second : INT64_MIN;
}

static void manifest_read_created(struct reader *reader, const struct yaml_node *value, void *field)
{
	const char *text = NULL;

	fields_text(reader, value, &text);
	if (text == NULL)
		return;
	int64_t seconds = manifest_instant(text);
	if (seconds == INT64_MIN)
		fields_error(reader, value, NULL, "must be an RFC 3339 instant as 2026-01-02T03:04:05Z");
	else
		*(int64_t *)field = seconds;
}

static void manifest_read_annotations(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct manifest_metadata *metadata = field;

	if (value->type != YAML_MAPPING) {
		fields_error(reader, value, NULL, "must be a mapping of names to texts");
		return;
	}
	struct annotation *annotations = arena_array(reader->arena, value->count, sizeof *annotations);
	if (annotations == NULL) {
		fields_no_memory(reader);
		return;
	}
	metadata->annotations = annotations;
	for (const struct yaml_node *node = value->children; node != NULL; node = node->next) {
		if (node->type == YAML_SCALAR && yaml_resolve(node) == YAML_TEXT) {
			annotations[metadata->annotation_count++] = (struct annotation){node->key, node->text, node->line};
			continue;
		}
		size_t mark = fields_enter(reader, node->key, 0);
		fields_warn(reader, node, NULL, "is no text and is ignored; quote it");
		fields_leave(reader, mark);
	}
}

static void manifest_read_metadata(struct reader *reader, const struct yaml_node *document, struct manifest_metadata *metadata)
{
	static const struct field rows[] = {
	    {"name", manifest_text_name, offsetof(struct manifest_metadata, name), .required = true},
	    {"namespace", manifest_read_namespace, offsetof(struct manifest_metadata, namespace)},
	    {"creationTimestamp", manifest_read_created, offsetof(struct manifest_metadata, created)},
	    {"annotations", manifest_read_annotations, 0},
	    {.name = "labels"},
	    {.name = "generateName"},
	    {.name = "generation"},
	    {.name = "resourceVersion"},
	    {.name = "uid"},
	    {.name = "selfLink"},
	    {.name = "clusterName"},
	    {.name = "ownerReferences"},
	    {.name = "finalizers"},
	    {.name = "managedFields"},
	    {.name = "deletionTimestamp"},
	    {.name = "deletionGracePeriodSeconds"},
	};
	const struct yaml_node *node = yaml_field(document, "metadata");
	size_t mark = fields_enter(reader, "metadata", 0);

	if (node == NULL || yaml_is_null(node))
		fields_error(reader, document, "", "missing; metadata.name is required");
	else
		FIELDS_READ(reader, node, rows, metadata);
	fields_leave(reader, mark);
}

static void manifest_keep_node(struct reader *reader, const struct yaml_node *value, void *field)
{
	*(const struct yaml_node **)field = value;
}

static void manifest_read_document_spec(struct reader *reader, const struct yaml_node *document, const struct manifest_row *row,
					struct object *object)
{
	static const struct field rows[] = {
	    {"spec", manifest_keep_node, 0},
	    {.name = "apiVersion"},
	    {.name = "kind"},
	    {.name = "metadata"},
	    {.name = "status"},
	};
	const struct yaml_node *spec = NULL;

	FIELDS_READ(reader, document, rows, &spec);
	size_t mark = fields_enter(reader, "spec", 0);
	row->read(reader, spec, object);
	fields_leave(reader, mark);
}

/* "apps/" of "apps/v1", nothing of "v1". */
static size_t manifest_group_length(const char *api_version)
{
	const char *slash = strrchr(api_version, '/');

	return slash != NULL ? (size_t)(slash + 1 - api_version) : 0;
}

static bool manifest_same_group(const char *left, const char *right)
{
	size_t length = manifest_group_length(left);

	return length == manifest_group_length(right) && memcmp(left, right, length) == 0;
}

/* What a document says it is. */
struct manifest_type {
	const char *api_version, *kind;
};

/* "Service default/web" of a document that is not read yet; without the name where that is missing or wrong. */
static const char *manifest_subject(struct reader *reader, const struct yaml_node *document, const struct manifest_row *row)
{
	const struct yaml_node *metadata = yaml_field(document, "metadata");
	const struct yaml_node *name = metadata != NULL ? yaml_field(metadata, "name") : NULL;
	const struct yaml_node *namespace = metadata != NULL ? yaml_field(metadata, "namespace") : NULL;
	const char *kind = catalog_kind_name(row->kind), *where = row->cluster_wide ? "" : "default";

	if (name == NULL || name->type != YAML_SCALAR || !manifest_is_subdomain(name->text))
		return kind;
	if (!row->cluster_wide && namespace != NULL && namespace->type == YAML_SCALAR && manifest_is_subdomain(namespace->text))
		where = namespace->text;
	const char *subject = arena_printf(reader->arena, "%s %s%s%s", kind, where, *where != '\0' ? "/" : "", name->text);
	if (subject == NULL)
		fields_no_memory(reader);
	return subject != NULL ? subject : kind;
}

/* Each object stands once in all files. HTTPRoutes of two groups are two objects. */
static void manifest_check_once(struct manifest *manifest, const struct manifest_row *row, const struct yaml_node *document,
				const char *api_version, struct object *object)
{
	struct reader *reader = &manifest->reader;
	const char *key = arena_printf(reader->arena, "%.*s%s", (int)manifest_group_length(api_version), api_version, reader->subject);
	void **place = key != NULL ? map_at(&manifest->catalog->subjects, reader->arena, key) : NULL;

	if (place == NULL) {
		fields_no_memory(reader);
		return;
	}
	const struct object *other = *place;
	if (other != NULL) {
		fields_error(reader, document, "", "is given twice, first at %s:%u", other->file, other->line);
		return;
	}
	*place = object;
	other = manifest->catalog->objects[object->kind];
	if (row->single && other != NULL)
		fields_warn(reader, document, "",
			    "%s %s/%s is at %s:%u already; of a field that both set, this one counts, which is read later",
			    catalog_kind_name(row->kind), other->namespace, other->name, other->file, other->line);
}

static void manifest_read_object(struct manifest *manifest, const struct manifest_row *row, const struct yaml_node *document,
				 const char *api_version)
{
	struct reader *reader = &manifest->reader;
	struct manifest_metadata metadata = {.namespace = row->cluster_wide ? "" : "default", .created = INT64_MAX};

	reader->strict = row->strict;
	reader->subject = manifest_subject(reader, document, row);
	manifest_read_metadata(reader, document, &metadata);
	if (metadata.name == NULL)
		return;
	if (row->cluster_wide) /* whatever stands there means nothing */
		metadata.namespace = "";

	struct object *object = arena_alloc(reader->arena, row->size);
	const char *subject = arena_printf(reader->arena, "%s %s%s%s", catalog_kind_name(row->kind), metadata.namespace,
					   *metadata.namespace != '\0' ? "/" : "", metadata.name);
	if (object == NULL || subject == NULL) {
		fields_no_memory(reader);
		return;
	}
	*object = (struct object){.kind = row->kind,
				  .namespace = metadata.namespace,
				  .name = metadata.name,
				  .file = reader->file,
				  .line = document->line,
				  .created = metadata.created};
	reader->subject = subject;
	reader->object = object;
	manifest_check_once(manifest, row, document, api_version, object);
	reader->regex_paths = manifest_ingress_reads_regex(metadata.annotations, metadata.annotation_count);
	manifest_read_document_spec(reader, document, row, object);
	if (annotations_apply(reader->arena, reader->diagnostics, object, metadata.annotations, metadata.annotation_count) != 0)
		fields_no_memory(reader);
	if (!reader->failed)
		catalog_add(manifest->catalog, object);
}

static void manifest_say_unread(struct manifest *manifest, const struct yaml_node *document, const struct manifest_type *type)
{
	struct reader *reader = &manifest->reader;
	const char *what = arena_printf(manifest->tree, "kind %.80s (%.80s)", type->kind, type->api_version);
	void **place = what != NULL ? map_at(&manifest->unread, manifest->tree, what) : NULL;

	if (place == NULL)
		fields_no_memory(reader);
	else if (*place == NULL)
		diagnostics_add(reader->diagnostics, false, "%s:%u: %s is not read", reader->file, document->line, what);
	if (place != NULL)
		*place = manifest;
}

/* The row of a type; NULL when it is not read, which has been said then. */
static const struct manifest_row *manifest_find_row(struct manifest *manifest, const struct yaml_node *document,
						    const struct manifest_type *type)
{
	struct reader *reader = &manifest->reader;

	for (size_t i = 0; i < sizeof manifest_rows / sizeof *manifest_rows; i++) {
		const struct manifest_row *row = &manifest_rows[i];
		const char *known = NULL;
		if (strcmp(catalog_kind_name(row->kind), type->kind) != 0)
			continue;
		for (const char *const *api_version = row->api_versions; *api_version != NULL; api_version++) {
			if (strcmp(*api_version, type->api_version) == 0)
				return row;
			if (known == NULL && manifest_same_group(*api_version, type->api_version))
				known = *api_version;
		}
		if (known == NULL)
			continue;
		const struct yaml_node *node = yaml_field(document, "apiVersion");
		reader->subject = manifest_subject(reader, document, row);
		size_t mark = fields_enter(reader, "apiVersion", 0);
		fields_error(reader, node != NULL ? node : document, node != NULL ? NULL : type->api_version,
			     "not a version that is read, as %s", known);
		fields_leave(reader, mark);
		return NULL;
	}
	manifest_say_unread(manifest, document, type);
	return NULL;
}

/* apiVersion or kind; the elements of a typed list may leave both to the list. */
static void manifest_read_type(struct reader *reader, const struct yaml_node *document, const char *name, const char *of_list,
			       const char **out)
{
	const struct yaml_node *node = yaml_field(document, name);
	size_t mark = fields_enter(reader, name, 0);

	if (node != NULL && !yaml_is_null(node))
		fields_text(reader, node, out);
	else if (of_list != NULL)
		*out = of_list;
	else
		fields_error(reader, document, "", "missing; a Kubernetes object has apiVersion, kind and metadata");
	fields_leave(reader, mark);
}

/* A List, or an HTTPRouteList and the like. What is not of our kinds is one only if it has items. */
static bool manifest_is_list(const struct yaml_node *document, const char *kind)
{
	size_t length = strlen(kind);
	const struct yaml_node *items = yaml_field(document, "items");

	if (length < 4 || strcmp(kind + length - 4, "List") != 0)
		return false;
	for (size_t i = 0; i < sizeof manifest_rows / sizeof *manifest_rows; i++) {
		const char *name = catalog_kind_name(manifest_rows[i].kind);
		if (strlen(name) == length - 4 && strncmp(name, kind, length - 4) == 0)
			return true;
	}
	return length == 4 || (items != NULL && items->type == YAML_SEQUENCE);
}

static void manifest_read_document(struct manifest *manifest, const struct yaml_node *document, const struct manifest_type *of_list,
				   int depth);

/* The elements of a list; NULL when there are none, which has been said then. */
static const struct yaml_node *manifest_items(struct reader *reader, const struct yaml_node *list, const char *kind)
{
	const struct yaml_node *items = yaml_field(list, "items");
	size_t mark = fields_enter(reader, "items", 0);

	reader->subject = kind;
	if (items == NULL || yaml_is_null(items))
		fields_warn(reader, items != NULL ? items : list, "", "missing or null; taken as an empty list");
	else if (items->type != YAML_SEQUENCE)
		fields_error(reader, items, NULL, "must be a list");
	fields_leave(reader, mark);
	return items != NULL && items->type == YAML_SEQUENCE ? items->children : NULL;
}

static void manifest_read_list(struct manifest *manifest, const struct yaml_node *document, const struct manifest_type *list,
			       int depth)
{
	struct reader *reader = &manifest->reader;
	struct manifest_type type = {0};

	if (depth == MANIFEST_LIST_DEPTH_MOST) {
		fields_error(reader, document, "", "lists in lists, more than %d deep", MANIFEST_LIST_DEPTH_MOST);
		return;
	}
	if (strcmp(list->kind, "List") != 0) {
		type.api_version = list->api_version;
		type.kind = arena_text(reader->arena, list->kind, strlen(list->kind) - 4);
		if (type.kind == NULL) {
			fields_no_memory(reader);
			return;
		}
	}
	for (const struct yaml_node *item = manifest_items(reader, document, list->kind); item != NULL; item = item->next)
		manifest_read_document(manifest, item, &type, depth + 1);
}

/* A document or an element of a list. `of_list`: what its list says it is, all NULL otherwise. */
static void manifest_read_document(struct manifest *manifest, const struct yaml_node *document, const struct manifest_type *of_list,
				   int depth)
{
	struct reader *reader = &manifest->reader;
	struct manifest_type type = {0};

	reader->subject = NULL;
	reader->object = NULL;
	reader->strict = false;
	reader->failed = false;
	if (document->type == YAML_MAPPING) {
		manifest_read_type(reader, document, "apiVersion", of_list->api_version, &type.api_version);
		manifest_read_type(reader, document, "kind", of_list->kind, &type.kind);
	} else {
		fields_error(reader, document, NULL, "must be a Kubernetes object: a mapping with apiVersion, kind and metadata");
	}
	if (type.api_version != NULL && type.kind != NULL) {
		bool list = manifest_is_list(document, type.kind);
		const struct manifest_row *row = list ? NULL : manifest_find_row(manifest, document, &type);
		if (list)
			manifest_read_list(manifest, document, &type, depth);
		else if (row != NULL)
			manifest_read_object(manifest, row, document, type.api_version);
	}
	manifest->failed |= reader->failed;
}

int manifest_read(struct catalog *catalog, struct diagnostics *diagnostics, const char *file, const char *bytes, size_t length)
{
	struct arena tree = {0};
	struct manifest manifest = {
	    .catalog = catalog, .tree = &tree, .reader = {.arena = &catalog->arena, .diagnostics = diagnostics}};
	const struct manifest_type none = {0};
	struct yaml_node *documents = NULL;
	struct yaml_error error;

	manifest.reader.file = arena_text(&catalog->arena, file, strlen(file));
	if (manifest.reader.file == NULL)
		return -ENOMEM;
	int result = yaml_parse(&tree, bytes, length, &documents, &error);
	if (result == -EBADMSG)
		diagnostics_add(diagnostics, true, "%s:%u: %s", file, error.line, error.text);
	for (const struct yaml_node *document = documents; document != NULL; document = document->next)
		manifest_read_document(&manifest, document, &none, 0);
	arena_free(&tree);
	if (result != 0)
		return result;
	if (manifest.reader.no_memory)
		return -ENOMEM;
	return manifest.failed ? -EBADMSG : 0;
}

/* "`policy.linkerd.io/v1beta3`, `v1beta2`": of a group only the first with its name. */
static void manifest_print_versions(const char *const *versions, FILE *to)
{
	for (const char *const *version = versions; *version != NULL; version++) {
		bool again = version != versions && manifest_same_group(version[-1], *version);
		fprintf(to, "%s`%s`", version == versions ? "" : again ? ", " : "; ",
			*version + (again ? manifest_group_length(*version) : 0));
	}
}

void manifest_print_kinds(FILE *to)
{
	fprintf(to, "| kind | apiVersion | what is read |\n|---|---|---|\n");
	for (size_t i = 0; i < sizeof manifest_rows / sizeof *manifest_rows; i++) {
		fprintf(to, "| %s | ", catalog_kind_name(manifest_rows[i].kind));
		manifest_print_versions(manifest_rows[i].api_versions, to);
		fprintf(to, " | %s |\n", manifest_rows[i].what);
	}
}
