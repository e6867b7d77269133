#ifndef LAPSE_PROXY_PUBLISH_REFLECTOR_H
#define LAPSE_PROXY_PUBLISH_REFLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/publish/watcher.h"

struct dialer;
struct reflector;
struct watch_kind;

/*
 * One kind, in the whole cluster or one namespace, as it is and as it changes: list and watch as clients of the API server should
 * (kubernetes.io/docs/reference/using-api/api-concepts). The list comes through the watch itself where the server can do that
 * (sendInitialEvents), else in pages. After that the watch goes on from the last resourceVersion, over however many connections,
 * until the server has forgotten it (410).
 *
 * Pauses: 50 – 250 ms after a watch that was well; then, while it fails, 1 s, 2 s, … 30 s, each less up to half of it by chance; what
 * Retry-After says, if that is longer; a minute after 403. A watch that is silent for longer than it may is given up.
 */
enum {
	REFLECTOR_PAGE = 500,           /* objects of a page */
	REFLECTOR_WATCH_LEAST_S = 240,  /* the timeoutSeconds that is asked for, … */
	REFLECTOR_WATCH_SPREAD_S = 60,  /* … and up to so much more */
	REFLECTOR_GRACE_MS = 15000,     /* after that */
	REFLECTOR_BOOKMARKS_MS = 150000, /* silence, where bookmarks have come: they do every minute */
	REFLECTOR_ANSWER_MS = 45000,    /* for a head, or the next piece of a list */
	REFLECTOR_MOST_MS = 30000,
	REFLECTOR_FORBIDDEN_MS = 60000,
};

enum reflector_trouble { TROUBLE_NONE, TROUBLE_UNREACHABLE, TROUBLE_FORBIDDEN, TROUBLE_REFUSED };

struct reflector_events {
	void (*object)(void *owner, struct reflector *reflector, const char *namespace, const char *name, const char *version,
	               const struct yaml_node *object);
	void (*refused)(void *owner, struct reflector *reflector, const char *namespace, const char *name, const char *sentence);
	void (*restart)(void *owner, struct reflector *reflector);
	void (*synced)(void *owner, struct reflector *reflector);
	/* 404: the kind is not served; the reflector rests until it is freed. May free it. */
	void (*absent)(void *owner, struct reflector *reflector);
	void (*reached)(void *owner, struct reflector *reflector); /* an answer came, whatever it says */
	/* Once a change of trouble or sentence. verb: of TROUBLE_FORBIDDEN, "list" or "watch". */
	void (*trouble)(void *owner, struct reflector *reflector, enum reflector_trouble trouble, const char *sentence, const char *verb);
};

/* version: "v1". namespace: NULL = the whole cluster; of a cluster-wide kind: the one object of that name. counts, events, dialer
 * and kind are borrowed. Begins with the loop's next turn. 0 or -ENOMEM. */
int reflector_new(struct reflector **out, struct dialer *dialer, const struct watch_kind *kind, const char *version,
                  const char *namespace, struct watcher_counts *counts, const struct reflector_events *events, void *owner);
void reflector_free(struct reflector *reflector); /* NULL is fine; memory goes with the loop's next turn */

const struct watch_kind *reflector_kind(const struct reflector *reflector);
const char *reflector_namespace(const struct reflector *reflector); /* as given */
bool reflector_is_synced(const struct reflector *reflector);

/* The API server is there again: one that pauses since it could not be reached tries within a second. */
void reflector_hurry(struct reflector *reflector);

#endif
