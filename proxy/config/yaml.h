#ifndef LAPSE_PROXY_CONFIG_YAML_H
#define LAPSE_PROXY_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct text;
struct arena;

/* YAML 1.1 (and JSON, a part of it) as a tree. The only door to libyaml. */

enum yaml_type { YAML_SCALAR, YAML_MAPPING, YAML_SEQUENCE, YAML_ALIAS /* yaml_parse_as_written() alone gives it */ };

/* How a value or a key is written, beyond what it means. */
struct yaml_form {
	const char *anchor, *tag; /* NULL = none */
	int style;                /* libyaml's, of a scalar, mapping or sequence */
	bool plain_implicit, quoted_implicit; /* libyaml's; the first one also for "a mapping or sequence has no tag" */
};

struct yaml_node {
	struct yaml_node *next;     /* the next document, element or field */
	struct yaml_node *children; /* of a mapping or sequence, in order */
	uint32_t count;             /* of these */
	uint32_t line;              /* from 1; of a field: the line of its key */
	enum yaml_type type;
	bool plain;                 /* scalar: neither quoted nor tagged !!str, so ~, true and 80 are no text */
	const char *key;            /* of a field of a mapping, NULL otherwise */
	const char *text;           /* scalar: NUL-terminated, no NUL inside, UTF-8; alias: the name of the anchor */
	uint32_t length;
	const struct yaml_form *form, *key_form; /* of yaml_parse_as_written(); NULL: yaml_write() chooses */
};

struct yaml_error {
	uint32_t line;
	char text[160]; /* "nested deeper than 64 levels" */
};

enum { YAML_DEPTH_MOST = 64, YAML_BYTES_MOST = 64 << 20, YAML_NODES_MOST = 4 << 20, YAML_TAG_DIRECTIVES_MOST = 64 };

/* Reads all documents of a file; *documents is the first of them, empty documents left out, NULL when there is none. Nodes live in
 * the arena; nothing borrows the bytes. Aliases, tags other than the core schema's, merge keys, keys that are no scalars or stand
 * twice in one mapping, NUL bytes, bytes that are not UTF-8, nesting over YAML_DEPTH_MOST, more than YAML_NODES_MOST nodes,
 * YAML_TAG_DIRECTIVES_MOST %TAG directives or YAML_BYTES_MOST bytes are errors.
 * 0, -EBADMSG with *error, or -ENOMEM. */
int yaml_parse(struct arena *arena, const char *bytes, size_t length, struct yaml_node **documents, struct yaml_error *error);

/* The same for a tree that will be written back: forms are kept, and aliases, merge keys (a field "<<"), tags and styles with them.
 * Comments and directives are lost, and so are documents without a value. */
int yaml_parse_as_written(struct arena *arena, const char *bytes, size_t length, struct yaml_node **documents,
                          struct yaml_error *error);

/* Writes documents in order, "---" between them. What yaml_parse_as_written() read keeps its form; what else was put in is written
 * in block style, text quoted where it would be something else. 0, -ENOMEM, -EIO, or -EBADMSG for what is not YAML, as an alias
 * without its anchor. */
int yaml_write(const struct yaml_node *documents, FILE *to);

/* Whether two trees mean the same to any reader: types, keys in order, texts, what is plain, tags, anchors. */
bool yaml_same(const struct yaml_node *a, const struct yaml_node *b);

/* Whether the text, written without quotes, is text for YAML 1.1 and 1.2 alike. A cautious answer. */
bool yaml_safe_plain(const char *text);

/* The field of that name in a mapping, NULL when there is none (or the node is no mapping). */
const struct yaml_node *yaml_field(const struct yaml_node *mapping, const char *key);

/* What a node is by the core schema (YAML 1.2.2 section 10.3.2); YAML_TEXT for whatever is not plain, and for what is no scalar. */
enum yaml_scalar { YAML_TEXT, YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT };
enum yaml_scalar yaml_resolve(const struct yaml_node *node);

/* Whether it is null: ~, null, Null, NULL or nothing, unquoted. Kubernetes takes such a field as absent. */
bool yaml_is_null(const struct yaml_node *node);

/* The length of the UTF-8 character at bytes (RFC 3629), 0 when there is none that is whole and valid. */
size_t yaml_character(const char *bytes, size_t length);

/* The version of libyaml. */
void yaml_library(struct text *out);

#endif
