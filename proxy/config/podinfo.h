#ifndef LAPSE_PROXY_CONFIG_PODINFO_H
#define LAPSE_PROXY_CONFIG_PODINFO_H

#include <stddef.h>

#include "proxy/config/annotations.h"

struct arena;
struct diagnostics;

/* What the downward API tells of our own pod. */
struct podinfo {
	struct annotation *annotations; /* in the arena */
	size_t annotation_count;
	struct label *labels;
	size_t label_count;
};

/* Reads a downward-API file: one `key="value"` a line, the value escaped as by Go's strconv.Quote. A line that is not so is left out
 * with a warning. Each pair is given to annotations or labels by the two functions. 0 or -ENOMEM. */
int podinfo_read_annotations(struct podinfo *podinfo, struct arena *arena, struct diagnostics *diagnostics, const char *file,
                             const char *bytes, size_t length);
int podinfo_read_labels(struct podinfo *podinfo, struct arena *arena, struct diagnostics *diagnostics, const char *file,
                        const char *bytes, size_t length);

#endif
