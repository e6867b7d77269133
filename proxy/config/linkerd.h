#ifndef LAPSE_PROXY_CONFIG_LINKERD_H
#define LAPSE_PROXY_CONFIG_LINKERD_H

#include <stdbool.h>

/* Annotations that configure Linkerd's proxy and balancer (config.linkerd.io, config.alpha.linkerd.io, balancer.linkerd.io), which mean
 * nothing here as they are. */

/* What to use instead, as a clause. NULL: it is none of Linkerd's, or stands on a pod and injection made a flag of it. */
const char *linkerd_instead(const char *key, bool pod);

#endif
