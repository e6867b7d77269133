#ifndef LAPSE_PROXY_CONNECTION_WORKER_THREAD_H
#define LAPSE_PROXY_CONNECTION_WORKER_THREAD_H

struct policy;
struct proxy;
struct worker;

/* A worker's life: its listeners and its thread, whose loop has everything that happens to its connections. */

/* Opens the listeners. 0 or -errno. log_fd is borrowed. */
int worker_new(struct worker **out, struct proxy *proxy, int log_fd);

/* Starts the thread. 0 or -errno. */
int worker_start(struct worker *worker);

/* Gives the worker another policy, of which it takes a reference. Main's thread. */
void worker_set_policy(struct worker *worker, struct policy *policy);

/* Waits for the thread to end, which it does at DRAIN_STOP. */
void worker_join(struct worker *worker);
void worker_free(struct worker *worker);

#endif
