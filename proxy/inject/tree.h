#ifndef LAPSE_PROXY_INJECT_TREE_H
#define LAPSE_PROXY_INJECT_TREE_H

#include <stddef.h>

struct arena;
struct yaml_node;

/* Changes to a tree of YAML. What is new lives in the arena; NULL there means no memory. Nodes that are put in must hang nowhere. */

/* As yaml_field(), to be changed. */
struct yaml_node *tree_field(struct yaml_node *mapping, const char *key);

/* The element of a sequence of mappings whose field "name" is that; NULL when there is none, or `sequence` is NULL. */
struct yaml_node *tree_named(struct yaml_node *sequence, const char *name);

/* A copy with all below it, which hangs nowhere: no key, no next. */
struct yaml_node *tree_copy(struct arena *arena, const struct yaml_node *node);
struct yaml_node *tree_text(struct arena *arena, const char *text);
struct yaml_node *tree_new(struct arena *arena, int type); /* an empty mapping or sequence */

/* The value becomes that of `key`: in the place of the one that is there, else behind the others. */
void tree_set(struct yaml_node *mapping, const char *key, struct yaml_node *value);

/* Before the element with that index, or behind all. */
void tree_insert(struct yaml_node *sequence, size_t index, struct yaml_node *element);
void tree_append(struct yaml_node *sequence, struct yaml_node *element);

/* Takes a child out, if it is one. */
void tree_remove(struct yaml_node *parent, const struct yaml_node *child);

#endif
