#ifndef LAPSE_PROXY_PUBLISH_JSON_H
#define LAPSE_PROXY_PUBLISH_JSON_H

#include <stddef.h>
#include <stdint.h>

struct arena;
struct text;
struct yaml_node;

/* JSON (RFC 8259) as the tree that YAML becomes, so that who reads documents reads objects of the API server too. The only door to
 * jansson. */

enum { JSON_NODES_MOST = 200000 };

struct json_error {
	size_t offset; /* bytes before the place */
	char text[160]; /* "nested deeper than 64 levels" */
};

/* One value. Scalars are plain unless they are strings; lines are 1. Nodes live in the arena; nothing borrows the bytes. Nesting over
 * YAML_DEPTH_MOST, more than JSON_NODES_MOST values, NUL characters, bytes that are not UTF-8 and keys that stand twice in one
 * object are errors, found before much memory is taken. 0, -EBADMSG with *error, or -ENOMEM. */
int json_parse(struct arena *arena, const char *bytes, size_t length, struct yaml_node **out, struct json_error *error);

/* The version of jansson. */
void json_library(struct text *out);

#endif
