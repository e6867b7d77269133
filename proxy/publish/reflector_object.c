#include "proxy/publish/reflector_object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "proxy/config/yaml.h"
#include "proxy/publish/kinds.h"

static const char *reflector_object_text(const struct yaml_node *mapping, const char *key)
{
	const struct yaml_node *node = mapping != NULL ? yaml_field(mapping, key) : NULL;

	return node != NULL && node->type == YAML_SCALAR ? node->text : "";
}

static struct yaml_node *reflector_object_add(struct arena *arena, struct yaml_node *mapping, const char *key, const char *value)
{
	struct yaml_node *field = arena_alloc(arena, sizeof *field);

	if (field == NULL)
		return NULL;
	field->type = YAML_SCALAR;
	field->line = mapping->line;
	field->key = key;
	field->text = value;
	field->length = (uint32_t)strlen(value);
	field->next = mapping->children;
	mapping->children = field;
	mapping->count++;
	return field;
}

int reflector_object_read(struct arena *arena, const struct yaml_node *object, const struct watch_kind *kind, const char *api_version,
                          struct reflector_object *out)
{
	const struct yaml_node *metadata = yaml_field(object, "metadata");
	struct reflector_object read = {"", reflector_object_text(metadata, "name"), reflector_object_version(object), object};

	if (!kind->cluster_wide)
		read.namespace = reflector_object_text(metadata, "namespace");
	if (*read.name == '\0' || (!kind->cluster_wide && *read.namespace == '\0'))
		return -EBADMSG;
	if (yaml_field(object, "apiVersion") == NULL || yaml_field(object, "kind") == NULL) {
		struct yaml_node *whole = arena_alloc(arena, sizeof *whole);

		if (whole == NULL)
			return -ENOMEM;
		*whole = *object;
		whole->next = NULL;
		if ((yaml_field(object, "kind") == NULL && reflector_object_add(arena, whole, "kind", kind->name) == NULL) ||
		    (yaml_field(object, "apiVersion") == NULL && reflector_object_add(arena, whole, "apiVersion", api_version) == NULL))
			return -ENOMEM;
		read.tree = whole;
	}
	*out = read;
	return 0;
}

const char *reflector_object_version(const struct yaml_node *object)
{
	return reflector_object_text(yaml_field(object, "metadata"), "resourceVersion");
}

const char *reflector_object_continue(const struct yaml_node *list)
{
	return reflector_object_text(yaml_field(list, "metadata"), "continue");
}

bool reflector_object_ends_list(const struct yaml_node *bookmark)
{
	const struct yaml_node *metadata = yaml_field(bookmark, "metadata");
	const struct yaml_node *annotations = metadata != NULL ? yaml_field(metadata, "annotations") : NULL;

	return strcmp(reflector_object_text(annotations, "k8s.io/initial-events-end"), "true") == 0;
}

static int64_t reflector_object_number(const struct yaml_node *mapping, const char *key, int64_t otherwise)
{
	enum { MOST = 3600 };
	const struct yaml_node *node = mapping != NULL ? yaml_field(mapping, key) : NULL;
	int64_t value;

	if (node == NULL || yaml_resolve(node) != YAML_INT)
		return otherwise;
	value = strtoll(node->text, NULL, 10);
	return value < 0 ? otherwise : value < MOST ? value : MOST;
}

void reflector_object_read_status(const struct yaml_node *status, struct reflector_status *out)
{
	int64_t seconds = reflector_object_number(yaml_field(status, "details"), "retryAfterSeconds", -1);

	out->code = (int)reflector_object_number(status, "code", 500);
	out->retry_after_ms = seconds > 0 ? seconds * 1000 : -1;
	out->message = reflector_object_text(status, "message");
	if (*out->message == '\0')
		out->message = "the API server ended the watch with an error";
}
