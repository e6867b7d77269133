#ifndef LAPSE_PROXY_SERVER_LEARNED_H
#define LAPSE_PROXY_SERVER_LEARNED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"

struct text;

/* What each destination was seen to do with connections that rest: after how long it closes them, by its `Keep-Alive: timeout=N` or
 * by two closes at a consistent age, and how long it surely leaves them open. Pure: instants are arguments. All times in ms.
 *
 * Consistent: within 10 %, or a quarter up to 500 ms, of each other. Who contradicts himself, closing at another age before one was
 * believed or leaving a connection open past it, needs one more agreeing close to be believed, each time. Closes of one moment count
 * once: a server that restarts ends all its connections together, at ages that mean nothing. */

enum {
	LEARNED_SETS = 256,
	LEARNED_WAYS = 4, /* of a set of destinations the one not asked for longest gives way */
	LEARNED_WORDS = 5,
	LEARNED_LEAST_MS = 100, /* no idle timeout is shorter: closes after less rest say nothing, and less rest needs no proof */
};

/* One destination, for people. */
struct learned_view {
	struct addr destination;
	int32_t closes_after; /* seen, 0 = not known */
	int32_t announced;    /* 0 = nothing */
	int32_t survived;     /* the longest rest it is known to allow */
	uint32_t closes;      /* of idle connections, seen in all */
};

struct learned_entry {
	struct learned_view view;
	int64_t observed_at;
	int32_t candidate;    /* an age seen, not yet believed; 0 = none */
	uint32_t used;        /* the table's turn then, 0 = free */
	uint8_t agreeing;     /* closes in a row at the candidate's age */
	uint8_t strays;       /* closes at another age than the believed one, since the last at it */
	uint8_t doubt;        /* how often it contradicted itself, up to a most */
	_Atomic uint32_t version;              /* odd while the words are being written */
	_Atomic uint64_t words[LEARNED_WORDS]; /* the view, for other threads */
};

/* All zero = nothing known. Of one thread, but for learned_list(). */
struct learned {
	bool off; /* learns nothing, trusts everything */
	uint32_t turn;
	struct learned_entry entries[LEARNED_SETS][LEARNED_WAYS];
};

/* The server closed a connection that had rested so long; ignored where that says nothing. True: its idle timeout is known now, and
 * was not or was another before. */
bool learned_observe(struct learned *learned, const struct addr *destination, int64_t idle_ms, int64_t now);

/* `Keep-Alive: timeout=N`. */
void learned_announce(struct learned *learned, const struct addr *destination, int64_t announced_ms);

/* A connection that had rested so long was still open: what is known and shorter holds no more. */
void learned_survive(struct learned *learned, const struct addr *destination, int64_t idle_ms);

/* After how long a rest a connection to it is not to be used any more: 10 % or 1 s, but no more than half, before the server closes
 * it. 1 where reuse has become pointless, 0 = not known. */
int64_t learned_view_limit(const struct learned_view *view);
int64_t learned_limit(struct learned *learned, const struct addr *destination);

/* Whether a connection can rest so long without fear of its end: connections to there have been seen open by the margin of
 * learned_limit() later. */
bool learned_trusts(struct learned *learned, const struct addr *destination, int64_t idle_ms);

/* "this server closes idle connections after about 5 s", or what it announces; nothing where nothing is known. */
void learned_view_describe(const struct learned_view *view, struct text *out);
void learned_describe(struct learned *learned, const struct addr *destination, struct text *out);

/* Copies what is known, at most `most`, in no order; how many. Any thread: an entry that changes just then is left out. */
size_t learned_list(const struct learned *learned, struct learned_view *out, size_t most);

#endif
