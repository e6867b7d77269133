#include "proxy/config/linkerd.h"

#include <stddef.h>
#include <string.h>

/* What can be had otherwise, by its name behind the domain. */
static const struct linkerd_row {
	const char *name;
	bool injected;
	const char *instead;
} linkerd_rows[] = {
    {"skip-inbound-ports", true, "use --skip-inbound-ports of lapse-init, or lapse.proxy/skip-inbound-ports on the pod before injection"},
    {"skip-outbound-ports", true, "use --skip-outbound-ports of lapse-init, or lapse.proxy/skip-outbound-ports on the pod before injection"},
    {"close-wait-timeout", true, "use --close-wait-timeout of lapse-init, or lapse.proxy/close-wait-timeout on the pod before injection"},
    {"proxy-outbound-connect-timeout", true, "it has a meaning on the pod; use lapse.proxy/timeout-connect here"},
    {"proxy-inbound-connect-timeout", false, "use lapse.proxy/timeout-connect, which holds for both directions"},
    {"skip-subnets", false, "use --skip-subnets of lapse-init, or lapse.proxy/skip-subnets on the pod before injection"},
    {"proxy-log-level", false, "use --log-level, or lapse.proxy/log-level on the pod before injection"},
    {"proxy-log-format", false, "use --log-format, or lapse.proxy/log-format on the pod before injection"},
    {"proxy-access-log", false, "use --access-log, or lapse.proxy/access-log on the pod before injection"},
    {"proxy-inbound-port", false, "use --inbound-port, or lapse.proxy/inbound-port on the pod before injection"},
    {"proxy-outbound-port", false, "use --outbound-port, or lapse.proxy/outbound-port on the pod before injection"},
    {"proxy-admin-port", false, "use --admin"},
    {"proxy-uid", false, "use --proxy-uid of lapse-init and the user of lapse-proxy's container"},
    {"proxy-wait-before-exit-seconds", false, "use lapse.proxy/timeout-drain, and a native sidecar, which ends last"},
    {"shutdown-grace-period", false, "use lapse.proxy/timeout-drain"},
};

static const char linkerd_nothing[] = "it has no effect: Lapse has nothing like it";
static const char linkerd_balancer[] =
    "it has no effect: Lapse dials the address that the application chose, and neither balances nor breaks circuits; "
    "weights of backendRefs split requests";

static const char *linkerd_name(const char *key)
{
	static const char *const domains[] = {"config.linkerd.io/", "config.alpha.linkerd.io/", "config.beta.linkerd.io/"};

	for (size_t i = 0; i < sizeof domains / sizeof *domains; i++)
		if (strncmp(key, domains[i], strlen(domains[i])) == 0)
			return key + strlen(domains[i]);
	return NULL;
}

static const struct linkerd_row *linkerd_find(const char *name)
{
	for (size_t i = 0; name && i < sizeof linkerd_rows / sizeof *linkerd_rows; i++)
		if (strcmp(name, linkerd_rows[i].name) == 0)
			return &linkerd_rows[i];
	return NULL;
}

const char *linkerd_instead(const char *key, bool pod)
{
	static const char balancer[] = "balancer.linkerd.io/", alpha[] = "balancer.alpha.linkerd.io/";
	const char *name = linkerd_name(key);
	const struct linkerd_row *row = linkerd_find(name);

	if (strncmp(key, balancer, strlen(balancer)) == 0 || strncmp(key, alpha, strlen(alpha)) == 0)
		return linkerd_balancer;
	if (row)
		return pod && row->injected ? NULL : row->instead;
	return name ? linkerd_nothing : NULL;
}
