#ifndef LAPSE_INIT_NETNS_H
#define LAPSE_INIT_NETNS_H

#include <stdbool.h>

struct text;

/* Moves this process into the network namespace at path. 0, or -errno with one sentence in `error`. */
int netns_enter(const char *path, struct text *error);

/* Some sysctls exist in the first network namespace of the machine only. Without /proc nobody knows, and the answer is true. */
bool netns_is_host(void);

/* IPv6 is in this kernel and not disabled in this namespace. */
bool netns_has_ipv6(void);

#endif
