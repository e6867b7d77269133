#ifndef LAPSE_INIT_HALF_CLOSED_H
#define LAPSE_INIT_HALF_CLOSED_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/addr.h"
#include "lib/conntrack.h"

/* Half-closed TCP flows as conntrack has them: values and pure functions of them. */

struct half_closed_place;
struct text;

enum half_closed_side { HALF_CLOSED_UNKNOWN, HALF_CLOSED_CLIENT, HALF_CLOSED_SERVER };

struct half_closed_counter {
	uint64_t packets, bytes;
};

struct half_closed_flow {
	struct addr client, destination; /* as the client addresses its packets (the original tuple) */
	struct addr answerer, answered;  /* as the answers are addressed (the reply tuple): from, to */
	struct half_closed_counter from_client, to_client; /* when `counted` */
	const struct half_closed_place *place; /* its network namespace; borrowed, may be NULL */
	uint32_t id;        /* conntrack's, not unique alone */
	uint32_t remaining; /* s until it is forgotten, a fraction dropped */
	int64_t silent;     /* s since the last packet at least, -1 = cannot be told */
	uint16_t zone;
	uint8_t state;      /* enum conntrack_state; CONNTRACK_STATE_COUNT = not told */
	uint8_t first;      /* enum half_closed_side: who sent the first FIN */
	bool counted;       /* the kernel counts (nf_conntrack_acct) */
	bool unacknowledged; /* data is on its way: the lifetime is nf_conntrack_tcp_timeout_unacknowledged at most */
};

/* FIN_WAIT, CLOSE_WAIT and LAST_ACK. */
enum { HALF_CLOSED_STATES = 3 };
extern const enum conntrack_state half_closed_states[HALF_CLOSED_STATES];
bool half_closed_is(unsigned state);
/* "CLOSE_WAIT", "" for a state that is none of the three. */
const char *half_closed_state_name(unsigned state);
/* "one side has finished, the other may still speak" */
const char *half_closed_state_meaning(unsigned state);

/* Whether packets get another destination, or another source. */
bool half_closed_is_redirected(const struct half_closed_flow *flow);
bool half_closed_is_masqueraded(const struct half_closed_flow *flow);

/* What `silent` is: the configured lifetime of its state (`seconds`, 0 = unknown) less what remains of it. Both are whole seconds
 * with a fraction dropped, so one second less is what is certain. -1: unknown, or more remains than is configured. */
int64_t half_closed_silence(const struct half_closed_flow *flow, const uint32_t seconds[static CONNTRACK_STATE_COUNT]);

/* --min-age: silent for at least so long. What cannot be told passes: better one too many than one unseen. */
bool half_closed_is_old(const struct half_closed_flow *flow, int64_t min_age_ms);

/* "forgotten in 12 s; a later FIN or RST is then lost" */
void half_closed_risk(const struct half_closed_flow *flow, struct text *out);

/* "12 s", "119 s", "59m30s" */
void half_closed_duration(int64_t seconds, struct text *out);

/* The same connection in the same namespace, whatever its state. */
bool half_closed_same(const struct half_closed_flow *a, const struct half_closed_flow *b);
uint32_t half_closed_hash(const struct half_closed_flow *flow);

/* For qsort(): the sooner forgotten comes first. */
int half_closed_compare(const void *a, const void *b);

/* "/kubepods.slice/…-pod3f0c2a1e_77d0_….slice/…" -> "3f0c2a1e-77d0-…", the pod's uid. false: no pod's. */
#define HALF_CLOSED_POD_SIZE 37
bool half_closed_pod(const char *cgroup, char out[static HALF_CLOSED_POD_SIZE]);

/* The line of /proc/PID/cgroup that says most, without number and controllers; "" when there is none. Returns out. */
const char *half_closed_cgroup(const char *lines, struct text *out);

#endif
