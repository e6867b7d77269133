#ifndef LAPSE_PROXY_CONFIG_ANNOTATIONS_VALUE_H
#define LAPSE_PROXY_CONFIG_ANNOTATIONS_VALUE_H

#include <stdbool.h>
#include <stdint.h>

struct retry;

/* The values of annotations. False: it is none, and nothing has changed that counts. */

/* A duration in ms from 0 on: as Go writes it; as Linkerd does. */
typedef bool annotations_value_duration(const char *value, int64_t *milliseconds);
annotations_value_duration annotations_value_go, annotations_value_linkerd;

/* A part of a retry, under its name behind retry.linkerd.io/. */
typedef bool annotations_value_retry(const char *value, struct retry *retry);
annotations_value_retry annotations_value_http, annotations_value_grpc, annotations_value_limit;
annotations_value_retry annotations_value_attempt; /* "timeout" */

/* What Linkerd calls a gRPC status ("unavailable" of 14); NULL where it has no name for it. */
const char *annotations_value_grpc_name(unsigned number);

#endif
