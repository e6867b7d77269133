#include "proxy/publish/watcher.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "proxy/publish/api.h"
#include "proxy/publish/discovery.h"
#include "proxy/publish/kinds.h"
#include "proxy/publish/reflector.h"
#include "proxy/publish/watcher_grant.h"

enum { SENTENCE_SIZE = 1024, GRANT_SIZE = 2048 };

/* One kind in one place. */
struct watcher_slot {
	const struct watch_kind *kind;
	const char *namespace; /* NULL = the whole cluster; borrowed of the watcher */
	struct reflector *reflector;
	enum reflector_trouble trouble;
};

struct watcher {
	struct loop_deferred deferred;
	struct loop *loop;
	struct log *log;
	struct api *api;
	struct discovery *discovery;
	struct watcher_events events;
	void *owner;
	struct watcher_slot *slots;
	size_t count;
	char **namespaces; /* NULL: the whole cluster */
	size_t namespace_count;
	char *service_account;
	struct watcher_counts counts;
	bool unreachable; /* the owner was told */
};

static struct watcher_slot *watcher_slot(struct watcher *watcher, const struct reflector *reflector)
{
	for (size_t i = 0; i < watcher->count; i++)
		if (watcher->slots[i].reflector == reflector)
			return &watcher->slots[i];
	return NULL;
}

static void watcher_problem(struct watcher *watcher, const struct watch_kind *kind, const char *namespace, const char *sentence, const char *grant)
{
	watcher->events.problem(watcher->owner, kind, namespace, sentence, grant);
}

/* --- what reflectors say --- */

static void watcher_on_object(void *owner, struct reflector *reflector, const char *namespace, const char *name, const char *version,
                              const struct yaml_node *object)
{
	struct watcher *watcher = owner;

	watcher->events.object(watcher->owner, reflector_kind(reflector), namespace, name, version, object);
}

static void watcher_on_refused(void *owner, struct reflector *reflector, const char *namespace, const char *name, const char *sentence)
{
	struct watcher *watcher = owner;

	watcher->events.refused(watcher->owner, reflector_kind(reflector), namespace, name, sentence);
}

static void watcher_on_restart(void *owner, struct reflector *reflector)
{
	struct watcher *watcher = owner;

	watcher->events.restart(watcher->owner, reflector_kind(reflector), reflector_namespace(reflector));
}

static void watcher_on_synced(void *owner, struct reflector *reflector)
{
	struct watcher *watcher = owner;

	watcher->events.synced(watcher->owner, reflector_kind(reflector), reflector_namespace(reflector));
}

static void watcher_on_absent(void *owner, struct reflector *reflector)
{
	struct watcher *watcher = owner;

	discovery_doubt(watcher->discovery, reflector_kind(reflector));
}

/* An answer, so those that wait for the API server need not wait longer. */
static void watcher_on_reached(void *owner, struct reflector *reflector)
{
	struct watcher *watcher = owner;

	(void)reflector;
	if (!watcher->unreachable)
		return;
	watcher->unreachable = false;
	for (size_t i = 0; i < watcher->count; i++)
		if (watcher->slots[i].reflector != NULL)
			reflector_hurry(watcher->slots[i].reflector);
	watcher_problem(watcher, NULL, NULL, NULL, NULL);
}

static void watcher_say_forbidden(struct watcher *watcher, const struct watcher_slot *slot, const char *verb, const char *said)
{
	TEXT_ON_STACK(sentence, SENTENCE_SIZE);
	TEXT_ON_STACK(grant, GRANT_SIZE);
	bool cluster = slot->namespace == NULL || slot->kind->cluster_wide;

	text_printf(&sentence, "may not %s ", verb);
	kinds_resource(slot->kind, &sentence);
	if (!cluster)
		text_printf(&sentence, " in namespace %s", slot->namespace);
	else if (slot->namespace != NULL)
		text_printf(&sentence, " of name %s", slot->namespace);
	else
		text_string(&sentence, " in the whole cluster");
	text_printf(&sentence, ": %s", said);
	watcher_grant(&grant, slot->kind, slot->namespace, watcher->service_account);
	watcher_problem(watcher, slot->kind, slot->namespace, sentence.data, grant.data);
}

static void watcher_on_trouble(void *owner, struct reflector *reflector, enum reflector_trouble trouble, const char *sentence, const char *verb)
{
	struct watcher *watcher = owner;
	struct watcher_slot *slot = watcher_slot(watcher, reflector);
	enum reflector_trouble before = slot != NULL ? slot->trouble : TROUBLE_NONE;
	bool was_said = before == TROUBLE_FORBIDDEN || before == TROUBLE_REFUSED;

	if (slot == NULL)
		return;
	slot->trouble = trouble;
	switch (trouble) {
	case TROUBLE_UNREACHABLE: /* said once, of all */
		if (was_said)
			watcher_problem(watcher, slot->kind, slot->namespace, NULL, NULL);
		if (!watcher->unreachable) {
			watcher->unreachable = true;
			watcher_problem(watcher, NULL, NULL, sentence, NULL);
		}
		break;
	case TROUBLE_FORBIDDEN:
		watcher_say_forbidden(watcher, slot, verb, sentence);
		break;
	case TROUBLE_REFUSED:
		watcher_problem(watcher, slot->kind, slot->namespace, sentence, NULL);
		break;
	case TROUBLE_NONE:
		if (was_said)
			watcher_problem(watcher, slot->kind, slot->namespace, NULL, NULL);
	}
}

static const struct reflector_events watcher_reflector_events = {
    watcher_on_object, watcher_on_refused, watcher_on_restart, watcher_on_synced, watcher_on_absent, watcher_on_reached, watcher_on_trouble,
};

/* --- what discovery says --- */

static void watcher_on_found(void *owner, const struct watch_kind *kind, const char *version)
{
	struct watcher *watcher = owner;

	for (size_t i = 0; i < watcher->count; i++) {
		struct watcher_slot *slot = &watcher->slots[i];

		if (slot->kind != kind)
			continue;
		bool was_said = slot->trouble == TROUBLE_FORBIDDEN || slot->trouble == TROUBLE_REFUSED;
		reflector_free(slot->reflector);
		slot->reflector = NULL;
		slot->trouble = TROUBLE_NONE;
		if (was_said)
			watcher_problem(watcher, kind, slot->namespace, NULL, NULL);
		if (version != NULL && reflector_new(&slot->reflector, api_dialer(watcher->api), kind, version, slot->namespace, &watcher->counts,
		                                     &watcher_reflector_events, watcher) != 0)
			watcher_problem(watcher, kind, slot->namespace, "out of memory", NULL);
	}
	if (version == NULL)
		watcher->events.absent(watcher->owner, kind);
	else
		log_message(watcher->log, LOG_DEBUG, "watching %s%s%s %s", kind->plural, *kind->group != '\0' ? "." : "", kind->group, version);
}

static void watcher_on_undiscovered(void *owner, const char *sentence)
{
	struct watcher *watcher = owner;

	/* That the API server cannot be reached the watches say too. */
	if (sentence != NULL && !watcher->unreachable) {
		watcher->unreachable = true;
		watcher_problem(watcher, NULL, NULL, sentence, NULL);
	} else if (sentence == NULL) {
		watcher_on_reached(watcher, NULL);
	}
}

static const struct discovery_events watcher_discovery_events = {watcher_on_found, watcher_on_undiscovered};

/* --- beginning and end --- */

static void watcher_forget(struct watcher *watcher)
{
	for (size_t i = 0; i < watcher->namespace_count; i++)
		free(watcher->namespaces[i]);
	free(watcher->namespaces);
	free(watcher->service_account);
	free(watcher->slots);
	free(watcher);
}

static int watcher_copy(struct watcher *watcher, const char *const *namespaces, const char *service_account)
{
	size_t count = 0;

	if (service_account != NULL && (watcher->service_account = strdup(service_account)) == NULL)
		return -ENOMEM;
	while (namespaces != NULL && namespaces[count] != NULL)
		count++;
	if (namespaces != NULL && (watcher->namespaces = calloc(count + 1, sizeof(char *))) == NULL)
		return -ENOMEM;
	for (; watcher->namespace_count < count; watcher->namespace_count++)
		if ((watcher->namespaces[watcher->namespace_count] = strdup(namespaces[watcher->namespace_count])) == NULL)
			return -ENOMEM;
	return 0;
}

/* Namespaces given: each kind in each, Namespace objects one by one; other cluster-wide kinds as a whole all the same. */
static int watcher_lay_out(struct watcher *watcher)
{
	size_t places = watcher->namespaces != NULL ? watcher->namespace_count : 1;

	watcher->slots = calloc(kinds_count() * (places > 0 ? places : 1), sizeof *watcher->slots);
	if (watcher->slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < kinds_count(); i++) {
		const struct watch_kind *kind = kinds_at(i);
		bool whole = watcher->namespaces == NULL || (kind->cluster_wide && kind->kind != KIND_NAMESPACE);

		for (size_t j = 0; j < (whole ? 1 : places); j++)
			watcher->slots[watcher->count++] =
			    (struct watcher_slot){.kind = kind, .namespace = whole ? NULL : watcher->namespaces[j]};
	}
	return 0;
}

int watcher_new(struct watcher **out, struct loop *loop, struct log *log, struct api *api, const char *const *namespaces,
                const char *service_account, const struct watcher_events *events, void *owner)
{
	struct watcher *watcher = calloc(1, sizeof *watcher);

	if (watcher == NULL)
		return -ENOMEM;
	watcher->loop = loop;
	watcher->log = log;
	watcher->api = api;
	watcher->events = *events;
	watcher->owner = owner;
	int result = watcher_copy(watcher, namespaces, service_account);
	if (result == 0)
		result = watcher_lay_out(watcher);
	if (result == 0)
		result = discovery_new(&watcher->discovery, loop, api, &watcher_discovery_events, watcher);
	if (result != 0)
		watcher_forget(watcher);
	else
		*out = watcher;
	return result;
}

static void watcher_swept(struct loop_deferred *deferred)
{
	watcher_forget((struct watcher *)(void *)((char *)deferred - offsetof(struct watcher, deferred)));
}

void watcher_free(struct watcher *watcher)
{
	if (watcher == NULL)
		return;
	discovery_free(watcher->discovery);
	for (size_t i = 0; i < watcher->count; i++) {
		reflector_free(watcher->slots[i].reflector);
		watcher->slots[i].reflector = NULL;
	}
	watcher->deferred.run = watcher_swept;
	loop_defer(watcher->loop, &watcher->deferred);
}

const struct watcher_counts *watcher_counts(const struct watcher *watcher)
{
	return &watcher->counts;
}
