/* YAML files: refused with a line and a reason, or read as a tree that keeps what yaml.h promises, the same each time. The
 * documents are then read by a table of every type of field; what is said of them can be printed anywhere. The first byte chooses
 * whether unknown fields are errors. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>

#include "lib/arena.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/fields.h"
#include "proxy/config/yaml.h"

struct object {
	const char *text;
	bool flag;
	uint16_t port;
	int64_t number, go, gateway;
	const char **list;
	size_t list_count;
	struct object *inner;
	size_t inner_count;
};

static void read_list(struct reader *reader, const struct yaml_node *value, void *field);
static void read_inner(struct reader *reader, const struct yaml_node *value, void *field);

static const struct field rows[] = {
    {"t", fields_text, offsetof(struct object, text), true},
    {"b", fields_bool, offsetof(struct object, flag), false},
    {"p", fields_port, offsetof(struct object, port), false},
    {"n", fields_int, offsetof(struct object, number), false},
    {"d", fields_duration_go, offsetof(struct object, go), false},
    {"g", fields_duration_gateway, offsetof(struct object, gateway), false},
    {"l", read_list, 0, false},
    {"i", read_inner, 0, false},
    {"status", NULL, 0, false},
};

static void read_object(struct reader *reader, const struct yaml_node *value, void *field)
{
	FIELDS_READ(reader, value, rows, field);
}

static void read_list(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct object *object = field;
	void *items = reader;
	fields_list(reader, value, 16, sizeof *object->list, fields_text, &items, &object->list_count);
	HOLDS((items != NULL) == (object->list_count > 0) && object->list_count <= 16);
	object->list = items;
}

static void read_inner(struct reader *reader, const struct yaml_node *value, void *field)
{
	struct object *object = field;
	void *items = reader;
	fields_list(reader, value, 16, sizeof *object->inner, read_object, &items, &object->inner_count);
	HOLDS((items != NULL) == (object->inner_count > 0) && object->inner_count <= 16);
	object->inner = items;
}

static bool is_utf8(const char *text)
{
	for (size_t length = strlen(text), taken; length > 0; text += taken, length -= taken) {
		taken = yaml_character(text, length);
		if (taken == 0)
			return false;
	}
	return true;
}

static void is_tree(const struct yaml_node *node, const struct yaml_node *parent, uint32_t lines, int depth)
{
	HOLDS(depth <= YAML_DEPTH_MOST + 1 && node->line >= 1 && node->line <= lines);
	HOLDS((node->key != NULL) == (parent != NULL && parent->type == YAML_MAPPING));
	if (node->key != NULL)
		HOLDS(is_utf8(node->key) && yaml_field(parent, node->key) == node);
	if (node->type == YAML_SCALAR) {
		HOLDS(strlen(node->text) == node->length && is_utf8(node->text) && !node->children && !node->count);
		HOLDS(!yaml_is_null(node) || (node->plain && parent != NULL));
		return;
	}
	HOLDS(depth <= YAML_DEPTH_MOST && !node->plain && !yaml_is_null(node));
	uint32_t count = 0;
	for (const struct yaml_node *child = node->children; child != NULL; child = child->next, count++)
		is_tree(child, node, lines, depth + 1);
	HOLDS(count == node->count);
}

static bool same(const struct yaml_node *a, const struct yaml_node *b)
{
	for (; a != NULL && b != NULL; a = a->next, b = b->next) {
		if (a->type != b->type || a->line != b->line || a->count != b->count || a->plain != b->plain)
			return false;
		if (!a->key != !b->key || (a->key != NULL && strcmp(a->key, b->key) != 0))
			return false;
		if (a->type == YAML_SCALAR ? strcmp(a->text, b->text) != 0 : !same(a->children, b->children))
			return false;
	}
	return a == b;
}

static void read_all(struct arena *arena, const struct yaml_node *documents, bool strict)
{
	struct diagnostics found = {.arena = arena};
	for (const struct yaml_node *document = documents; document != NULL; document = document->next) {
		struct reader reader = {
		    .arena = arena, .diagnostics = &found, .file = "file", .subject = "a thing", .strict = strict,
		};
		struct object object = {0};
		size_t errors = found.errors, warnings = found.warnings;
		read_object(&reader, document, &object);
		HOLDS(!reader.no_memory && reader.path_length == 0 && reader.path[0] == '\0');
		HOLDS(reader.failed || found.errors == errors);
		HOLDS(!strict || found.warnings == warnings);
		HOLDS(reader.failed || object.text != NULL);
		HOLDS(object.go >= 0 && object.gateway >= 0);
	}
	size_t kept = 0;
	for (const struct diagnostic *one = found.first; one != NULL; one = one->next, kept++) {
		HOLDS(strlen(one->text) < DIAGNOSTIC_SIZE && is_utf8(one->text) && strncmp(one->text, "file:", 5) == 0);
		for (const char *at = one->text; *at != '\0'; at++)
			HOLDS((unsigned char)*at >= 0x20 && *at != 0x7f);
	}
	HOLDS(kept == found.kept && kept <= DIAGNOSTICS_MOST && kept <= found.errors + found.warnings);
}

/* With a byte order mark in front it means the same. */
static void mark_changes_nothing(const uint8_t *data, size_t size, int result, const struct yaml_node *documents,
				 const struct yaml_error *error)
{
	static const char mark[] = "\xef\xbb\xbf";
	struct arena arena = {0};
	struct yaml_node *again = NULL;
	struct yaml_error again_error = {0};
	char *bytes = malloc(size + 3);
	HOLDS(bytes);
	memcpy(bytes, mark, 3);
	if (size > 0)
		memcpy(bytes + 3, data, size);
	int again_result = yaml_parse(&arena, bytes, size + 3, &again, &again_error);
	free(bytes);
	HOLDS(again_result == result && same(documents, again) && again_error.line == error->line);
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct yaml_node untouched;
	if (size < 1)
		return 0;
	bool strict = data[0] & 1;
	data++;
	size--;

	struct arena arena = {0};
	struct yaml_node *documents = &untouched;
	struct yaml_error error = {0};
	uint32_t lines = 1;
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0x85 || data[i] == 0xa8 || data[i] == 0xa9;
	uint8_t *bytes = exact_copy(data, size);
	int result = yaml_parse(&arena, (const char *)bytes, size, &documents, &error);
	free(bytes);

	HOLDS(result == 0 || result == -EBADMSG);
	if (result) {
		HOLDS(documents == &untouched && error.line >= 1 && error.line <= lines);
		HOLDS(error.text[0] != '\0' && memchr(error.text, '\0', sizeof error.text));
		documents = NULL;
	}
	for (const struct yaml_node *document = documents; document != NULL; document = document->next)
		is_tree(document, NULL, lines, 1);
	/* What starts with a mark already has two then. */
	if (size < 3 || memcmp(data, "\xef\xbb\xbf", 3) != 0)
		if (size < 2 || data[0] < 0xfe)
			mark_changes_nothing(data, size, result, documents, &error);
	read_all(&arena, documents, strict);
	arena_free(&arena);
	return 0;
}
