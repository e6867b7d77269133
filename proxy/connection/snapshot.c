#include "proxy/connection/snapshot.h"

#include <stdlib.h>

#include "proxy/policy/policy.h"

struct snapshot *snapshot_new(struct policy *policy)
{
	struct snapshot *snapshot = malloc(sizeof *snapshot);

	if (!snapshot) {
		policy_unref(policy);
		return NULL;
	}
	*snapshot = (struct snapshot){policy, 1};
	return snapshot;
}

struct snapshot *snapshot_use(struct snapshot *snapshot)
{
	snapshot->users++;
	return snapshot;
}

void snapshot_release(struct snapshot *snapshot)
{
	if (!snapshot || --snapshot->users)
		return;
	policy_unref(snapshot->policy);
	free(snapshot);
}
