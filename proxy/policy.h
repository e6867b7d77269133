#ifndef LAPSE_PROXY_POLICY_H
#define LAPSE_PROXY_POLICY_H

struct origin;
struct settings;
struct timeouts;

/* Which timeouts apply to what. So far two levels: built-in, and this proxy's own flags and environment. */
struct policy;

/* NULL when there is no memory. Sources are borrowed from the settings. */
struct policy *policy_new(const struct settings *settings);
void policy_free(struct policy *policy);

/* The effective timeouts of a connection, each with its source; they live as long as the policy. */
const struct timeouts *policy_timeouts(const struct policy *policy, const struct origin *origin);

#endif
