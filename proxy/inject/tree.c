#include "proxy/inject/tree.h"

#include <stdint.h>
#include <string.h>

#include "lib/arena.h"
#include "proxy/config/yaml.h"

struct yaml_node *tree_field(struct yaml_node *mapping, const char *key)
{
	return (struct yaml_node *)yaml_field(mapping, key);
}

struct yaml_node *tree_named(struct yaml_node *sequence, const char *name)
{
	struct yaml_node *element = sequence && sequence->type == YAML_SEQUENCE ? sequence->children : NULL;

	for (; element; element = element->next) {
		const struct yaml_node *field = yaml_field(element, "name");

		if (field && field->type == YAML_SCALAR && strcmp(field->text, name) == 0)
			break;
	}
	return element;
}

struct yaml_node *tree_copy(struct arena *arena, const struct yaml_node *node)
{
	struct yaml_node *copy = arena_alloc(arena, sizeof *copy), **tail;

	if (!copy)
		return NULL;
	*copy = *node;
	copy->key = NULL;
	copy->key_form = NULL;
	copy->next = NULL;
	copy->children = NULL;
	tail = &copy->children;
	for (const struct yaml_node *child = node->children; child; child = child->next) {
		*tail = tree_copy(arena, child);
		if (!*tail)
			return NULL;
		(*tail)->key = child->key;
		(*tail)->key_form = child->key_form;
		tail = &(*tail)->next;
	}
	return copy;
}

struct yaml_node *tree_text(struct arena *arena, const char *text)
{
	struct yaml_node *node = arena_alloc(arena, sizeof *node);

	if (!node || !text)
		return NULL;
	*node = (struct yaml_node){.type = YAML_SCALAR, .text = text, .length = (uint32_t)strlen(text)};
	return node;
}

struct yaml_node *tree_new(struct arena *arena, int type)
{
	struct yaml_node *node = arena_alloc(arena, sizeof *node);

	if (node)
		node->type = (enum yaml_type)type;
	return node;
}

void tree_set(struct yaml_node *mapping, const char *key, struct yaml_node *value)
{
	struct yaml_node **at = &mapping->children;

	while (*at && strcmp((*at)->key, key) != 0)
		at = &(*at)->next;
	mapping->count += *at == NULL;
	value->key = key;
	value->key_form = *at ? (*at)->key_form : NULL;
	value->next = *at ? (*at)->next : NULL;
	*at = value;
}

void tree_insert(struct yaml_node *sequence, size_t index, struct yaml_node *element)
{
	struct yaml_node **at = &sequence->children;

	for (; *at && index; index--)
		at = &(*at)->next;
	element->next = *at;
	*at = element;
	sequence->count++;
}

void tree_append(struct yaml_node *sequence, struct yaml_node *element)
{
	tree_insert(sequence, SIZE_MAX, element);
}

void tree_remove(struct yaml_node *parent, const struct yaml_node *child)
{
	for (struct yaml_node **at = &parent->children; *at; at = &(*at)->next)
		if (*at == child) {
			*at = child->next;
			parent->count--;
			return;
		}
}
