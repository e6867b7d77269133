#include "proxy/publish/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/yaml.h"

static int json_fail(struct json_error *error, size_t offset, const char *text)
{
	snprintf(error->text, sizeof error->text, "%s", text);
	error->offset = offset;
	return -EBADMSG;
}

/* jansson takes up to a hundred bytes for one of input, and nests by recursion: so values and levels are counted before. What is
 * counted here of bytes that are no JSON does not matter, as jansson stops there. */
static int json_check_bounds(const char *bytes, size_t length, struct json_error *error)
{
	size_t depth = 0, values = 1;
	char text[64];
	bool quoted = false;

	for (size_t at = 0; at < length; at++) {
		char c = bytes[at];
		size_t character = (unsigned char)c < 0x80 ? 1 : yaml_character(bytes + at, length - at);

		if (character == 0) {
			snprintf(text, sizeof text, "the byte 0x%02x is not UTF-8", (unsigned char)c);
			return json_fail(error, at, text);
		}
		at += character - 1;
		if (quoted) {
			if (c == '\\')
				at++;
			else if (c == '"')
				quoted = false;
			continue;
		}
		if (c == '"')
			quoted = true;
		else if (c == '{' || c == '[')
			depth++, values++;
		else if ((c == '}' || c == ']') && depth > 0)
			depth--;
		else if (c == ',')
			values++;
		if (depth > YAML_DEPTH_MOST) {
			snprintf(text, sizeof text, "nested deeper than %d levels", YAML_DEPTH_MOST);
			return json_fail(error, at, text);
		}
		if (values > JSON_NODES_MOST) {
			snprintf(text, sizeof text, "more than %d values", JSON_NODES_MOST);
			return json_fail(error, at, text);
		}
	}
	return 0;
}

static int json_take_text(struct arena *arena, const char *text, size_t length, bool plain, struct yaml_node *node)
{
	node->type = YAML_SCALAR;
	node->plain = plain;
	node->length = (uint32_t)length;
	node->text = arena_text(arena, text, length);
	return node->text != NULL ? 0 : -ENOMEM;
}

/* The shortest digits that mean this number. */
static int json_take_real(struct arena *arena, double value, struct yaml_node *node)
{
	char text[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	return json_take_text(arena, text, strlen(text), true, node);
}

static int json_take(struct arena *arena, json_t *value, struct yaml_node *node);

static struct yaml_node *json_append(struct arena *arena, struct yaml_node *parent, struct yaml_node ***tail)
{
	struct yaml_node *node = arena_alloc(arena, sizeof *node);

	if (node == NULL)
		return NULL;
	node->line = 1;
	parent->count++;
	**tail = node;
	*tail = &node->next;
	return node;
}

static int json_take_object(struct arena *arena, json_t *value, struct yaml_node *node)
{
	struct yaml_node **tail = &node->children;
	int result = 0;

	node->type = YAML_MAPPING;
	for (void *at = json_object_iter(value); at != NULL && result == 0; at = json_object_iter_next(value, at)) {
		const char *key = json_object_iter_key(at);
		struct yaml_node *field = json_append(arena, node, &tail);

		if (field == NULL || (field->key = arena_text(arena, key, strlen(key))) == NULL)
			return -ENOMEM;
		result = json_take(arena, json_object_iter_value(at), field);
	}
	return result;
}

static int json_take_array(struct arena *arena, json_t *value, struct yaml_node *node)
{
	struct yaml_node **tail = &node->children;
	int result = 0;

	node->type = YAML_SEQUENCE;
	for (size_t i = 0; i < json_array_size(value) && result == 0; i++) {
		struct yaml_node *element = json_append(arena, node, &tail);

		result = element != NULL ? json_take(arena, json_array_get(value, i), element) : -ENOMEM;
	}
	return result;
}

static int json_take(struct arena *arena, json_t *value, struct yaml_node *node)
{
	char text[32];

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return json_take_object(arena, value, node);
	case JSON_ARRAY:
		return json_take_array(arena, value, node);
	case JSON_STRING:
		return json_take_text(arena, json_string_value(value), json_string_length(value), false, node);
	case JSON_INTEGER:
		snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return json_take_text(arena, text, strlen(text), true, node);
	case JSON_REAL:
		return json_take_real(arena, json_real_value(value), node);
	case JSON_TRUE:
		return json_take_text(arena, "true", 4, true, node);
	case JSON_FALSE:
		return json_take_text(arena, "false", 5, true, node);
	default:
		return json_take_text(arena, "null", 4, true, node);
	}
}

int json_parse(struct arena *arena, const char *bytes, size_t length, struct yaml_node **out, struct json_error *error)
{
	json_error_t found;
	size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;
	int result = json_check_bounds(bytes, length, error);

	if (result != 0)
		return result;
	json_t *value = json_loadb(bytes, length, flags, &found);
	/* A number that is a float to the API server may be written without a fraction. */
	if (value == NULL && json_error_code(&found) == json_error_numeric_overflow)
		value = json_loadb(bytes, length, flags | JSON_DECODE_INT_AS_REAL, &found);
	if (value == NULL) {
		if (json_error_code(&found) == json_error_out_of_memory)
			return -ENOMEM;
		size_t offset = found.position > 0 ? (size_t)found.position : 0;
		return json_fail(error, offset < length ? offset : length, found.text);
	}
	struct yaml_node *node = arena_alloc(arena, sizeof *node);
	if (node == NULL) {
		result = -ENOMEM;
	} else {
		node->line = 1;
		result = json_take(arena, value, node);
	}
	json_decref(value);
	if (result == 0)
		*out = node;
	return result;
}

void json_library(struct text *out)
{
	text_printf(out, "jansson %s", jansson_version_str());
}
