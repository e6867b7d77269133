#include "proxy/policy.h"

#include <stdlib.h>

#include "lib/timeouts.h"
#include "proxy/options.h"

struct policy {
	struct timeouts timeouts;
};

struct policy *policy_new(const struct settings *settings)
{
	struct policy *policy = malloc(sizeof *policy);

	if (!policy)
		return NULL;
	timeouts_init_defaults(&policy->timeouts);
	timeouts_merge(&policy->timeouts, &settings->timeouts);
	return policy;
}

void policy_free(struct policy *policy)
{
	free(policy);
}

const struct timeouts *policy_timeouts(const struct policy *policy, const struct origin *origin)
{
	return &policy->timeouts;
}
