#ifndef LAPSE_PROXY_READY_H
#define LAPSE_PROXY_READY_H

#include <stdio.h>

struct settings;

/* The command: asks /ready of the lapse-proxy behind --admin until it says 200 or --within is over. For a container's postStart hook:
 * the kubelet starts the next container when it has returned. Returns the exit status, 0 or 1. */
int ready_run(const struct settings *settings, FILE *errors);

#endif
