#ifndef LAPSE_PROXY_CONFIG_MANIFEST_H
#define LAPSE_PROXY_CONFIG_MANIFEST_H

#include <stddef.h>
#include <stdio.h>

struct catalog;
struct diagnostics;

/* Reads the Kubernetes documents of one file (YAML, multi-document, kind: List unpacked) into the catalog. What is wrong goes into
 * diagnostics: an error means that the whole configuration is not to be taken; unknown kinds and fields are warnings.
 * `file` names the source in messages and is copied. 0, -EBADMSG when an error was reported, -ENOMEM. */
int manifest_read(struct catalog *catalog, struct diagnostics *diagnostics, const char *file, const char *bytes, size_t length);

/* The kinds that are read, as a table in Markdown. */
void manifest_print_kinds(FILE *to);

#endif
