#ifndef LAPSE_PROXY_POLICY_RELOAD_H
#define LAPSE_PROXY_POLICY_RELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"
#include "proxy/config/config.h"

struct log;
struct loop;
struct policy;
struct policy_settings;
struct reload;
struct series;

/* The configuration of a running proxy: documents, pod information and DNS answers made into policies, again whenever one of them
 * changes. A reading with errors changes nothing: the policy at hand stays. One thread. */

struct reload_settings {
	const struct policy_settings *policy;
	struct config_paths paths;
	struct addr dns_server; /* AF_UNSPEC: those of /etc/resolv.conf */
};

/* Reads everything for the first time. publish(owner, policy) is called from the loop with every later policy, which it may keep
 * references to. What settings refers to, loop and log are borrowed. 0; -EBADMSG: the documents are wrong, the log says how; another -errno. */
int reload_new(struct reload **out, const struct reload_settings *settings, struct loop *loop, struct log *log,
               void (*publish)(void *owner, struct policy *policy), void *owner);
void reload_free(struct reload *reload); /* NULL is fine */

/* Frees policies that are not in force any more and that the workers have let go. Before every wait of the loop. */
void reload_collect(struct reload *reload);

/* The policy in force, borrowed. */
struct policy *reload_policy(const struct reload *reload);

/* The names that policies have given numbers to, borrowed. */
const struct series *reload_series(const struct reload *reload);

/* What came of the readings so far. */
struct reload_status {
	const struct config *config; /* the documents in force, borrowed until the next turn of the loop */
	uint64_t taken, refused;     /* readings after the first */
	int64_t read_ms;             /* clock_realtime_ms() when those in force were read */
	int64_t tried_ms;            /* and when the last reading was, which may have been refused */
	const char *refusal;         /* of the last reading, in words; NULL: it was taken. Borrowed as config is */
	size_t refusals;             /* how many errors it had, the first of which is told */
	size_t warnings;             /* about them, and about what policy was made of them */
};
void reload_status(const struct reload *reload, struct reload_status *out);

/* Reads everything again (SIGHUP). */
void reload_now(struct reload *reload);

#endif
