#ifndef LAPSE_PROXY_PUBLISH_WATCHER_GRANT_H
#define LAPSE_PROXY_PUBLISH_WATCHER_GRANT_H

struct text;
struct watch_kind;

/* The YAML of a Role and its binding (ClusterRole where the whole cluster, or a cluster-wide kind, is watched) that let a service
 * account read the kind. service_account: "NAMESPACE:NAME", NULL = not known: the reader is to fill it in. Pure. */
void watcher_grant(struct text *out, const struct watch_kind *kind, const char *namespace, const char *service_account);

#endif
