#ifndef LAPSE_PROXY_CONFIG_FIELDS_H
#define LAPSE_PROXY_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/duration.h"

struct arena;
struct diagnostics;
struct object;
struct yaml_node;

/* Reading one document: YAML nodes into structs by tables of fields, with errors that say where, what and what is accepted. */
struct reader {
	struct arena *arena;             /* borrowed: what is read lives there */
	struct diagnostics *diagnostics; /* borrowed */
	const char *file;
	const char *subject;             /* "HTTPRoute default/web", once it is known; NULL before */
	const struct object *object;     /* the object under way, NULL before its head is known */
	bool strict;                     /* unknown fields are errors, not warnings */
	bool regex_paths;                /* an annotation says that an Ingress's paths are regular expressions */
	bool failed;                     /* an error was reported, or there was no memory: the document is not to be used */
	bool no_memory;
	char path[256];                  /* "spec.rules[0].timeouts", of the mapping at hand */
	size_t path_length;
};

/* Reads a value into `field`, whose type the function knows. Complains through the reader. `value` is never null (yaml_is_null). */
typedef void field_read(struct reader *reader, const struct yaml_node *value, void *field);

struct field {
	const char *name;
	field_read *read; /* NULL: known, of no concern here, and not to be warned of */
	size_t offset;    /* of the field in the struct */
	bool required;
};

/* Reads a mapping by the `count` rows into `object`. Complains of what is no mapping, of missing required fields, and of unknown
 * ones (once each; "unknown field", a warning, an error when strict). Null counts as absent. The path is extended while a field
 * is read. */
void fields_read(struct reader *reader, const struct yaml_node *mapping, const struct field *rows, size_t count, void *object);

#define FIELDS_READ(reader, mapping, rows, object) fields_read(reader, mapping, rows, sizeof(rows) / sizeof((rows)[0]), object)

/* A list of at most `most` elements into an array in the arena, each of `size` bytes, read by `read`; "[3]" extends the path.
 * *items and *count are set, also to NULL and 0. */
void fields_list(struct reader *reader, const struct yaml_node *value, size_t most, size_t size, field_read *read, void **items,
                 size_t *count);

/* The types every document needs. Text is never NULL on success and lives in the arena. */
field_read fields_text;     /* const char *; any scalar that is text (a plain number or boolean is none) */
field_read fields_bool;     /* bool */
field_read fields_port;     /* uint16_t, 1–65535 */
field_read fields_int;      /* int64_t */
field_read fields_duration_go;      /* int64_t ms, Go grammar, not negative; "" and bare numbers are refused, 0 is accepted */
field_read fields_duration_gateway; /* int64_t ms, GEP-2257 */

/* "FILE:LINE: SUBJECT: PATH.FIELD: \"VALUE\": what is accepted". value NULL: the node's own text, shortened; "" leaves it out. The
 * first of each pair makes the document fail. */
void fields_error(struct reader *reader, const struct yaml_node *node, const char *value, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void fields_warn(struct reader *reader, const struct yaml_node *node, const char *value, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Extends the path by ".name" or "[index]" (name NULL) and returns what fields_leave() wants. */
size_t fields_enter(struct reader *reader, const char *name, size_t index);
void fields_leave(struct reader *reader, size_t mark);

/* No memory: the document fails without a word of its own. */
void fields_no_memory(struct reader *reader);

#endif
