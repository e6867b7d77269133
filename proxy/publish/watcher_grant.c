#include "proxy/publish/watcher_grant.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "lib/text.h"
#include "proxy/publish/kinds.h"

static void watcher_grant_metadata(struct text *out, const struct watch_kind *kind, const char *namespace, bool cluster)
{
	text_printf(out, "metadata:\n  name: lapse-publish-");
	kinds_resource(kind, out);
	if (cluster && namespace != NULL)
		text_printf(out, "-%s", namespace);
	text_char(out, '\n');
	if (!cluster)
		text_printf(out, "  namespace: %s\n", namespace);
}

void watcher_grant(struct text *out, const struct watch_kind *kind, const char *namespace, const char *service_account)
{
	bool cluster = namespace == NULL || kind->cluster_wide;
	const char *role = cluster ? "ClusterRole" : "Role", *colon = service_account != NULL ? strchr(service_account, ':') : NULL;

	text_printf(out, "apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\n", role);
	watcher_grant_metadata(out, kind, namespace, cluster);
	text_printf(out, "rules:\n  - apiGroups: [\"%s\"]\n    resources: [%s]\n", kind->group, kind->plural);
	if (cluster && namespace != NULL)
		text_printf(out, "    resourceNames: [%s]\n", namespace);
	text_printf(out, "    verbs: [get, list, watch]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: %sBinding\n", role);
	watcher_grant_metadata(out, kind, namespace, cluster);
	text_printf(out, "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: %s\n  name: lapse-publish-", role);
	kinds_resource(kind, out);
	if (cluster && namespace != NULL)
		text_printf(out, "-%s", namespace);
	if (colon != NULL)
		text_printf(out, "\nsubjects:\n  - kind: ServiceAccount\n    namespace: %.*s\n    name: %s\n", (int)(colon - service_account),
		            service_account, colon + 1);
	else
		text_string(out, "\nsubjects:\n  - kind: ServiceAccount\n    namespace: NAMESPACE # where lapse-publish runs\n    name: lapse-publish\n");
}
