#ifndef LAPSE_PROXY_PUBLISH_DISCOVERY_H
#define LAPSE_PROXY_PUBLISH_DISCOVERY_H

#include <stddef.h>
#include <stdint.h>

struct api;
struct discovery;
struct loop;
struct watch_kind;

/* Which of kinds.h the API server has, and at which version. Kinds that are absent are looked for again: a CRD may come. That costs
 * at most one request a minute for each of them. */

struct discovery_events {
	/* version: of watch_kind.versions, the best one that can be listed and watched; NULL: there is none. Called when it is known
	 * first, and when it is another. */
	void (*found)(void *owner, const struct watch_kind *kind, const char *version);
	/* The API server does not say; sentence NULL: it does again. */
	void (*problem)(void *owner, const char *sentence);
};

/* Begins with the loop's next turn. events and api are borrowed. 0 or -errno. */
int discovery_new(struct discovery **out, struct loop *loop, struct api *api, const struct discovery_events *events, void *owner);
void discovery_free(struct discovery *discovery); /* before api_free(); NULL is fine */

/* Somebody found that the kind is not served any more (404): it is looked for anew. */
void discovery_doubt(struct discovery *discovery, const struct watch_kind *kind);

/* Requests so far. */
uint64_t discovery_requests(const struct discovery *discovery);

#endif
