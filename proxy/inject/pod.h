#ifndef LAPSE_PROXY_INJECT_POD_H
#define LAPSE_PROXY_INJECT_POD_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct diagnostics;
struct inject_description;
struct inject_settings;
struct yaml_node;

/* What one run of `lapse-proxy inject` goes by. */
struct inject {
	struct arena *arena;
	const struct inject_description *description;
	const struct inject_settings *settings;
	struct diagnostics *diagnostics;
	size_t injected, removed; /* pods and pod templates that were changed */
	bool no_memory;
};

/* One object, named in messages as "deploy.yaml:3: Deployment shop/web"; *metadata and *spec are those of its pods, in the tree, and
 * are changed there. NULL is taken as absent. Refusals are errors in the diagnostics, and then nothing is changed. */
void pod_inject(struct inject *inject, const char *subject, struct yaml_node *metadata, struct yaml_node *spec);

#endif
