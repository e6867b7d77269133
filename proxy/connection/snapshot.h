#ifndef LAPSE_PROXY_CONNECTION_SNAPSHOT_H
#define LAPSE_PROXY_CONNECTION_SNAPSHOT_H

#include <stdint.h>

struct policy;

/* One worker's hold of a policy: counted by its connections without atomics. */
struct snapshot {
	struct policy *policy; /* a reference */
	uint32_t users;        /* connections, and the worker while it is the current one */
};

/* Takes over the reference to the policy; one use is the caller's. NULL when there is no memory: the reference is dropped. */
struct snapshot *snapshot_new(struct policy *policy);
struct snapshot *snapshot_use(struct snapshot *snapshot);
void snapshot_release(struct snapshot *snapshot); /* NULL is fine */

#endif
