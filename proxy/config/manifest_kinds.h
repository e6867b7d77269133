#ifndef LAPSE_PROXY_CONFIG_MANIFEST_KINDS_H
#define LAPSE_PROXY_CONFIG_MANIFEST_KINDS_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config/catalog.h"

struct reader;
struct annotation;
struct yaml_node;

/* The readers of the kinds, rows of manifest.c. Each gets its zeroed struct with the object's head filled in, and the document's
 * spec (NULL when it has none), to which the reader's path leads and which is gone when the file has been read; the annotations are
 * applied afterwards. What is wrong goes to the reader. */
typedef void manifest_read_spec(struct reader *reader, const struct yaml_node *spec, struct object *object);

manifest_read_spec manifest_kubelb_read;     /* manifest_kubelb.c: Config, Tenant, Route, LoadBalancer */
manifest_read_spec manifest_service_read;    /* manifest_service.c */
manifest_read_spec manifest_service_read_namespace; /* likewise: Namespace, of whose spec nothing concerns us */
manifest_read_spec manifest_ingress_read;    /* manifest_ingress.c */
manifest_read_spec manifest_profile_read;    /* manifest_profile.c: ServiceProfile */
manifest_read_spec manifest_route_read;      /* manifest_route.c: HTTPRoute, GRPCRoute, TCPRoute, TLSRoute */

/* A timeout for the catalog: the struct is made in the arena at first use. source: "HTTPRoute default/web rule 0 timeouts.request",
 * formatted into the arena. The reader fails when there is no memory. */
void manifest_set_timeout(struct reader *reader, const struct timeouts **timeouts, enum timeout_id id, int64_t milliseconds,
                          const char *source, ...) __attribute__((format(printf, 5, 6)));

/* A name as Kubernetes writes it (RFC 1123 subdomain): 1–253 bytes, labels of at most 63 lower-case letters, digits and dashes,
 * parted by dots, that start and end with a letter or a digit. */
bool manifest_is_subdomain(const char *text);

/* TCP, UDP or SCTP of a port; a field_read into a bool: whether it is TCP. */
void manifest_read_protocol(struct reader *reader, const struct yaml_node *value, void *field);

/* manifest_ingress.c: whether ingress-nginx would take the paths of an Ingress with these annotations for regular expressions: use-regex,
 * or rewrite-target, which implies it. */
bool manifest_ingress_reads_regex(const struct annotation *annotations, size_t count);

/* manifest_rule.c: the parts of an HTTPRoute or GRPCRoute rule. */
void manifest_rule_read_http(struct reader *reader, const struct yaml_node *value, void *route_rule);
void manifest_rule_read_grpc(struct reader *reader, const struct yaml_node *value, void *route_rule);

#endif
