#ifndef LAPSE_PROXY_CONFIG_CONFIG_H
#define LAPSE_PROXY_CONFIG_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/podinfo.h"

/* Where configuration is read from. All borrowed. */
struct config_paths {
	const char *const *files; /* --config: files and directories */
	size_t count;
	const char *pod_info;     /* --pod-info: directory with `annotations` and `labels`, NULL = none */
	const char *namespace;    /* --namespace, NULL: the service account's file, else "default" */
};

enum { CONFIG_FILES_MOST = 10000 };

struct config_file {
	struct config_file *next;
	const char *path;
	size_t bytes;
};

/* One reading of all of it. Constant once read; shared by the policies made of it, in any thread. */
struct config {
	_Atomic unsigned users;
	struct arena arena; /* of the diagnostics, the pod, the strings below */
	struct catalog *catalog;
	struct diagnostics diagnostics;
	struct podinfo podinfo;
	struct object pod;     /* KIND_POD: its annotations as timeouts */
	const char *namespace; /* our own */
	struct config_file *first_file, **last_file; /* those read, in order */
	size_t files;          /* of these, with documents */
	size_t bytes;          /* of these */
};

/* Reads everything: a directory's files in name order, those whose names end in .yaml, .yml or .json and do not begin with '.'
 * (others: one warning; subdirectories are not entered). What is wrong is in config->diagnostics; with errors the config is not to
 * be used, but may be shown. A path that cannot be read is an error, a missing downward-API file a warning. Never waits:
 * what is no regular file (FIFO, device) is an error. Bounded in bytes and files.
 * before: the reading in force, of which an annotation of the pod keeps its value where it became wrong; NULL = none.
 * 0, then one reference is the caller's; -ENOMEM. */
int config_load(struct config **out, const struct config_paths *paths, const struct config *before);

/* Whether a file of that name in a --config directory is read. */
bool config_reads(const char *name);

struct config *config_ref(struct config *config);
void config_unref(struct config *config); /* NULL is fine */

#endif
