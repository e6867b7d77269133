#ifndef LAPSE_PROXY_CONFIG_ANNOTATIONS_H
#define LAPSE_PROXY_CONFIG_ANNOTATIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/timeouts.h"
#include "proxy/config/catalog.h"

struct arena;
struct diagnostics;

/* One annotation as a document or a downward-API file has it. */
struct annotation {
	const char *key, *value; /* borrowed */
	uint32_t line;
};

/* What the annotations of an object set: object->annotated and object->retry, in the arena, each value with its source
 * ("annotation kubelb.k8c.io/timeout-connect on TCPRoute default/postgres"). object->kind, namespace, name and file are set.
 *
 * Families: kubelb.k8c.io/timeout-{request,stream-idle,request-headers,idle-connection,tcp-idle,connect} on Ingress, HTTPRoute,
 * GRPCRoute, TCPRoute, TLSRoute, and KubeLB's Route and LoadBalancer; timeout.linkerd.io/{request,response,idle} and
 * retry.linkerd.io/{http,grpc,limit,timeout} on HTTPRoute, GRPCRoute and Service; lapse.proxy/timeout-<any row> on all kinds and
 * on the pod. Where several set one row: lapse.proxy over kubelb.k8c.io over timeout.linkerd.io.
 * An invalid or negative one is ignored alone, with one warning; so is one on a kind it does not belong to, and one of these
 * domains whose name is unknown (of kubelb.k8c.io only timeout-…: KubeLB has annotations of other use there). 0s turns a timeout off.
 * Warning: "FILE:LINE: KIND ns/name: annotation KEY: \"VALUE\": what is accepted; ignored". A retry needs http or grpc: limit and timeout
 * alone make none. 0 or -ENOMEM, then the object is as it was. */
int annotations_apply(struct arena *arena, struct diagnostics *diagnostics, struct object *object,
                      const struct annotation *annotations, size_t count);

/* The same for the pod, of KIND_POD. before: what its annotations set at the reading in force, NULL = nothing: where a value became wrong,
 * that stays. */
int annotations_apply_pod(struct arena *arena, struct diagnostics *diagnostics, struct object *object,
                          const struct annotation *annotations, size_t count, const struct timeouts *before);

/* All keys, as a table in Markdown. */
void annotations_print(FILE *to);

#endif
