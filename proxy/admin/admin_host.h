#ifndef LAPSE_PROXY_ADMIN_ADMIN_HOST_H
#define LAPSE_PROXY_ADMIN_ADMIN_HOST_H

#include <stdbool.h>

struct option_texts;

/* Who a request may be meant for. A page in a browser can make its own name mean 127.0.0.1 and then ask us as its own host (DNS
 * rebinding), but it cannot choose what its requests say in Host. */

/* The names of this pod, all borrowed. */
struct admin_host_names {
	const char *hostname;            /* gethostname(2) */
	const char *cluster_domain;      /* "cluster.local" */
	const struct option_texts *more; /* --admin-host: names, several of them between commas */
};

/* Whether a Host field's value (RFC 9112, 3.2: host[:port]) is localhost or an address, which no DNS can turn elsewhere. */
bool admin_host_is_plain(const char *host);

/* Whether it is one of the pod's names: its host name, alone or as DNS in Kubernetes has it (HOSTNAME.SERVICE.NAMESPACE.svc.DOMAIN,
 * 10-1-2-3.NAMESPACE.pod.DOMAIN), or one of --admin-host. */
bool admin_host_is_ours(const char *host, const struct admin_host_names *names);

/* The length of the first name in a list "a,b,c"; 0: it is none. Letters, digits, hyphens, underscores and dots. */
unsigned admin_host_name_length(const char *names);

#endif
