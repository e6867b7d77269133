#ifndef LAPSE_PROXY_CONFIG_MANIFEST_TEXT_H
#define LAPSE_PROXY_CONFIG_MANIFEST_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "proxy/config/fields.h"

/* The texts of the Gateway API that have rules of their own. What breaks them is an error of the reader and leaves the field
 * untouched. */

/* Which of the names the value is; -1, and an error that lists them all, when it is none. */
int manifest_text_choice(struct reader *reader, const struct yaml_node *value, const char *const *names, size_t count);

#define MANIFEST_TEXT_CHOICE(reader, value, names) manifest_text_choice(reader, value, names, sizeof(names) / sizeof((names)[0]))

/* A whole number within bounds. Whether it is one. */
bool manifest_text_integer(struct reader *reader, const struct yaml_node *value, int64_t least, int64_t most, int64_t *out);

field_read manifest_text_header_name;  /* const char *, as given; HTTPHeaderName */
field_read manifest_text_header_value; /* const char *; HTTPHeader's value, fit to be sent */
field_read manifest_text_host;         /* const char *; PreciseHostname */
field_read manifest_text_host_pattern; /* const char *; Hostname, which may start with "*." */
field_read manifest_text_name;         /* const char *; SectionName, ObjectName: RFC 1123 subdomain */
field_read manifest_text_namespace;    /* const char *; RFC 1123 label */

/* An address that leads to another host: neither of loopback nor 0.0.0.0 nor ::, where the proxy would dial itself and its pod. `or` ends
 * the sentence of what is accepted (", or None"). Whether it is one. */
bool manifest_text_address(struct reader *reader, const struct yaml_node *value, const char *text, const char *or, struct addr *out);

/* The name of a container's port: at most 15 lower-case letters, digits and inner dashes, a letter among them (RFC 6335). */
bool manifest_text_is_port_name(const char *text, size_t length);

/* A copy in lower case (ASCII) in the arena, NULL when there is no memory, which the reader then knows. */
const char *manifest_text_lower(struct reader *reader, const char *text);

#endif
