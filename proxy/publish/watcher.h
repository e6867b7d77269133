#ifndef LAPSE_PROXY_PUBLISH_WATCHER_H
#define LAPSE_PROXY_PUBLISH_WATCHER_H

#include <stddef.h>
#include <stdint.h>

struct api;
struct log;
struct loop;
struct watch_kind;
struct watcher;
struct yaml_node;

/* All objects of all kinds of kinds.h, as they are and as they change: discovery, and list+watch of each kind that is served. */

enum { WATCHER_OBJECT_MOST = 4 << 20 /* bytes of JSON; a larger one is left out and said by refused() */ };

/* All calls come from the loop. Trees and texts are borrowed for the call. `namespace` of restart, synced and problem: what is watched,
 * NULL = the whole cluster; with namespaces given, Namespace objects are watched one by one, and `namespace` names the one. */
struct watcher_events {
	/* One object as it is now; object NULL: it is gone. version: its resourceVersion. apiVersion and kind are in the tree always.
	 * namespace "" for cluster-wide kinds. */
	void (*object)(void *owner, const struct watch_kind *kind, const char *namespace, const char *name, const char *version,
	               const struct yaml_node *object);
	/* One object that cannot be read (too large, nested too deep, no JSON): it is not what object() said last, but nobody knows
	 * what it is now. name and namespace "" where even these could not be read. */
	void (*refused)(void *owner, const struct watch_kind *kind, const char *namespace, const char *name, const char *sentence);
	/* A full list begins. What neither object() nor refused() names between here and synced() is gone then, not before. May come
	 * again before synced(): the list begins anew. */
	void (*restart)(void *owner, const struct watch_kind *kind, const char *namespace);
	void (*synced)(void *owner, const struct watch_kind *kind, const char *namespace);
	/* The kind is not served (any more): it has no objects, and counts as synced. Once a change. */
	void (*absent)(void *owner, const struct watch_kind *kind);
	/* Something keeps us from watching; sentence NULL: mended. Once a change. kind NULL: the API server as a whole. grant: YAML of
	 * the RBAC objects that would give what is missing, NULL when it is not that. */
	void (*problem)(void *owner, const struct watch_kind *kind, const char *namespace, const char *sentence, const char *grant);
};

/* The counts since the start, for metrics. */
struct watcher_counts {
	uint64_t requests; /* lists, pages and watches begun */
	uint64_t restarts; /* full lists begun after the first of each */
	uint64_t ends;     /* watches that ended, for whatever reason */
	uint64_t gone;     /* answers of 410 */
	uint64_t throttled; /* answers of 429 */
	uint64_t events;
};

/* namespaces: NULL = the whole cluster, else those, ended by NULL; copied. service_account: for grants, "NAMESPACE:NAME", NULL when
 * not known; copied. events is copied, owner borrowed. Begins with the loop's next turn. 0 or -errno. */
int watcher_new(struct watcher **out, struct loop *loop, struct log *log, struct api *api, const char *const *namespaces,
                const char *service_account, const struct watcher_events *events, void *owner);

/* Before api_free(). No call comes any more; memory goes with the loop's next turn. NULL is fine. */
void watcher_free(struct watcher *watcher);

const struct watcher_counts *watcher_counts(const struct watcher *watcher);

#endif
