#ifndef LAPSE_PROXY_PUBLISH_JSON_TEXT_H
#define LAPSE_PROXY_PUBLISH_JSON_TEXT_H

#include <stdio.h>

struct yaml_node;

/* Writes a tree as JSON (RFC 8259) without blanks: the same tree, the same bytes. Keys as they stand; plain scalars that are null,
 * booleans or JSON numbers as they are (~ as null), everything else as a string. What the stream cannot take is ferror()'s. */
void json_text_write(const struct yaml_node *node, FILE *to);

#endif
