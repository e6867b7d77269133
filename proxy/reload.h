#ifndef LAPSE_PROXY_RELOAD_H
#define LAPSE_PROXY_RELOAD_H

struct log;
struct loop;
struct policy;
struct reload;
struct settings;

/* The configuration of a running proxy: documents, pod information and DNS answers made into policies, again whenever one of them
 * changes. A reading with errors changes nothing: the policy at hand stays. One thread. */

/* Reads everything for the first time. publish(owner, policy) is called from the loop with every later policy, which it may keep
 * references to. settings, loop and log are borrowed. 0; -EBADMSG: the documents are wrong, the log says how; another -errno. */
int reload_new(struct reload **out, const struct settings *settings, struct loop *loop, struct log *log,
               void (*publish)(void *owner, struct policy *policy), void *owner);
void reload_free(struct reload *reload); /* NULL is fine */

/* The policy in force, borrowed. */
struct policy *reload_policy(const struct reload *reload);

/* Reads everything again (SIGHUP). */
void reload_now(struct reload *reload);

#endif
