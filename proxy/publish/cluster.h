#ifndef LAPSE_PROXY_PUBLISH_CLUSTER_H
#define LAPSE_PROXY_PUBLISH_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cluster;
struct text;

/* Where the API server is, whom it is to show to be, and who we are to it. */

/* In a pod: KUBERNETES_SERVICE_HOST and _PORT, and token, ca.crt and namespace of the service account, in `directory` (NULL: where
 * Kubernetes mounts them). 0; -ENOMEM, or -EINVAL with a sentence in error. */
int cluster_in_pod(struct cluster **out, const char *directory, struct text *error);

/* By a kubeconfig file: its current-context, or the one named. Honoured: server, certificate-authority, client-certificate and
 * client-key (and the -data forms of these), token, tokenFile, tls-server-name, insecure-skip-tls-verify (cluster_warning() says
 * so), namespace. Refused with a sentence: exec, auth-provider, username, proxy-url, as-…. 0; -ENOMEM, or -EINVAL with a
 * sentence. */
int cluster_kubeconfig(struct cluster **out, const char *path, const char *context, struct text *error);

void cluster_free(struct cluster *cluster); /* NULL is fine */

/* Reads token, CA bundle and client certificate anew where they are files: when `urgent` (the API server refused the token), else
 * when the last time is 30 s ago. What cannot be read stays as it was. True: something is another than before. */
bool cluster_refresh(struct cluster *cluster, int64_t now_ms, bool urgent);

const char *cluster_host(const struct cluster *cluster);     /* a name or an address, without brackets */
uint16_t cluster_port(const struct cluster *cluster);
const char *cluster_prefix(const struct cluster *cluster);   /* of every path, "" or "/k8s/clusters/c-1" */
const char *cluster_tls_name(const struct cluster *cluster); /* what the certificate must name */
bool cluster_tls(const struct cluster *cluster);             /* false: http, to this host alone (kubectl proxy) */
bool cluster_verifies(const struct cluster *cluster);
const char *cluster_namespace(const struct cluster *cluster); /* our own, "default" when nothing says */
const char *cluster_warning(const struct cluster *cluster);   /* NULL = none */

/* Borrowed until the next cluster_refresh(); NULL = none. PEM as read; no CA: the system's. */
const char *cluster_token(const struct cluster *cluster);
const char *cluster_ca(const struct cluster *cluster);
const char *cluster_certificate(const struct cluster *cluster);
const char *cluster_key(const struct cluster *cluster);
/* Another number whenever one of CA, certificate and key is another. */
uint32_t cluster_generation(const struct cluster *cluster);

#endif
