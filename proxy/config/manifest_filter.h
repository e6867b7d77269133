#ifndef LAPSE_PROXY_CONFIG_MANIFEST_FILTER_H
#define LAPSE_PROXY_CONFIG_MANIFEST_FILTER_H

#include "proxy/config/fields.h"

/* The filters of an HTTPRoute or a GRPCRoute into a struct filters. On a backend only the header modifiers are carried out: with a
 * redirect or rewrite, which are kept to be checked, it is unusable. */
field_read manifest_filter_read_rule;
field_read manifest_filter_read_backend;

#endif
