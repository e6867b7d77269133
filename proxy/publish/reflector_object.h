#ifndef LAPSE_PROXY_PUBLISH_REFLECTOR_OBJECT_H
#define LAPSE_PROXY_PUBLISH_REFLECTOR_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct watch_kind;
struct yaml_node;

/* What a reflector reads of objects. Pure. */

struct reflector_object {
	const char *namespace, *name, *version; /* "" of a cluster-wide kind; version "" when it has none; borrowed of the tree */
	const struct yaml_node *tree;           /* with apiVersion and kind, which items of a list may leave to the list */
};

/* 0; -EBADMSG when there is no name, or no namespace where there must be one; -ENOMEM. */
int reflector_object_read(struct arena *arena, const struct yaml_node *object, const struct watch_kind *kind, const char *api_version,
                          struct reflector_object *out);

/* metadata.resourceVersion and metadata.continue of an object or a list; "" when there is none. */
const char *reflector_object_version(const struct yaml_node *object);
const char *reflector_object_continue(const struct yaml_node *list);

/* Whether a bookmark ends the initial list (annotation k8s.io/initial-events-end). */
bool reflector_object_ends_list(const struct yaml_node *bookmark);

/* An object of kind Status. */
struct reflector_status {
	int code;               /* 500 when it says none */
	int64_t retry_after_ms; /* -1 = none; at most an hour */
	const char *message;
};
void reflector_object_read_status(const struct yaml_node *status, struct reflector_status *out);

#endif
