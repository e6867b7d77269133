#include "proxy/publish/discovery.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/loop.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/config/yaml.h"
#include "proxy/publish/api.h"
#include "proxy/publish/dialer.h"
#include "proxy/publish/kinds.h"

/*
 * A round goes through the groups of which a kind is not known or absent: /apis/GROUP says which versions are served, then
 * /apis/GROUP/VERSION which resources a version has, best version first, until all its kinds are found. Kinds that every API server
 * has are not asked for.
 */
enum { KINDS_MOST = 32, VERSIONS_MOST = 8, ROUND_MS = 60000, RETRY_MS = 1000, RETRY_MOST_MS = 30000, DOUBT_MS = 2000 };

struct discovery_kind {
	const struct watch_kind *kind;
	const char *version; /* NULL = absent */
	bool known;          /* somebody was told */
	bool doubted;
	bool asked;          /* in the group at hand */
	const char *found;   /* in this round */
	size_t at;           /* of its versions, the next to look at */
};

struct discovery {
	struct loop_deferred deferred;
	struct wheel_timer timer;
	struct loop *loop;
	struct api *api;
	const struct discovery_events *events;
	void *owner;
	struct discovery_kind kinds[KINDS_MOST];
	size_t count;
	const char *group;            /* at hand; NULL = none */
	const char *version;          /* at hand; NULL: which there are is asked */
	char served[VERSIONS_MOST][64];
	size_t served_count;
	uint64_t requests, round_requests;
	int64_t retry_ms;
	bool failing;
};

static void discovery_step(struct discovery *discovery);

static struct discovery *discovery_of(struct wheel_timer *timer)
{
	return (struct discovery *)(void *)((char *)timer - offsetof(struct discovery, timer));
}

static void discovery_rest(struct discovery *discovery, int64_t milliseconds)
{
	discovery->group = NULL;
	discovery->round_requests = 0;
	wheel_arm(loop_wheel(discovery->loop), &discovery->timer,
	          loop_now(discovery->loop) + milliseconds + dialer_jitter(api_dialer(discovery->api), milliseconds / 10 + 1));
}

static void discovery_fail(struct discovery *discovery, const char *sentence, int64_t retry_after_ms)
{
	int64_t wait = discovery->retry_ms > retry_after_ms ? discovery->retry_ms : retry_after_ms;

	discovery->retry_ms = discovery->retry_ms * 2 < RETRY_MOST_MS ? discovery->retry_ms * 2 : RETRY_MOST_MS;
	discovery_rest(discovery, wait);
	if (!discovery->failing) {
		discovery->failing = true;
		discovery->events->problem(discovery->owner, sentence);
	}
}

static bool discovery_wants(const struct discovery_kind *kind)
{
	return !kind->kind->built_in && (!kind->known || kind->version == NULL || kind->doubted);
}

/* --- what a group has --- */

static const char *discovery_text(const struct yaml_node *mapping, const char *key)
{
	const struct yaml_node *node = yaml_field(mapping, key);

	return node != NULL && node->type == YAML_SCALAR ? node->text : "";
}

static void discovery_take_versions(struct discovery *discovery, const struct yaml_node *tree)
{
	const struct yaml_node *versions = tree != NULL ? yaml_field(tree, "versions") : NULL;

	discovery->served_count = 0;
	for (const struct yaml_node *at = versions != NULL ? versions->children : NULL; at != NULL; at = at->next) {
		const char *name = discovery_text(at, "version");

		if (discovery->served_count < VERSIONS_MOST && *name != '\0' && strlen(name) < sizeof *discovery->served)
			strcpy(discovery->served[discovery->served_count++], name);
	}
}

static bool discovery_serves(const struct discovery *discovery, const char *version)
{
	for (size_t i = 0; i < discovery->served_count; i++)
		if (strcmp(discovery->served[i], version) == 0)
			return true;
	return false;
}

static bool discovery_has_verb(const struct yaml_node *resource, const char *verb)
{
	const struct yaml_node *verbs = yaml_field(resource, "verbs");

	for (const struct yaml_node *at = verbs != NULL ? verbs->children : NULL; at != NULL; at = at->next)
		if (at->type == YAML_SCALAR && strcmp(at->text, verb) == 0)
			return true;
	return false;
}

static bool discovery_lists(const struct yaml_node *tree, const char *plural)
{
	const struct yaml_node *resources = tree != NULL ? yaml_field(tree, "resources") : NULL;

	for (const struct yaml_node *at = resources != NULL ? resources->children : NULL; at != NULL; at = at->next)
		if (strcmp(discovery_text(at, "name"), plural) == 0)
			return discovery_has_verb(at, "list") && discovery_has_verb(at, "watch");
	return false;
}

/* The kinds for which the version at hand was the next best: found in it, or there is a worse one. */
static void discovery_take_resources(struct discovery *discovery, const struct yaml_node *tree)
{
	for (size_t i = 0; i < discovery->count; i++) {
		struct discovery_kind *kind = &discovery->kinds[i];

		if (!kind->asked || kind->found != NULL || kind->kind->versions[kind->at] == NULL ||
		    strcmp(kind->kind->versions[kind->at], discovery->version) != 0)
			continue;
		if (discovery_lists(tree, kind->kind->plural))
			kind->found = kind->kind->versions[kind->at];
		else
			kind->at++;
	}
}

/* The next version to look at, NULL: all is known of this group. */
static const char *discovery_next_version(struct discovery *discovery)
{
	for (size_t i = 0; i < discovery->count; i++) {
		struct discovery_kind *kind = &discovery->kinds[i];

		if (!kind->asked || kind->found != NULL)
			continue;
		while (kind->kind->versions[kind->at] != NULL && !discovery_serves(discovery, kind->kind->versions[kind->at]))
			kind->at++;
		if (kind->kind->versions[kind->at] != NULL)
			return kind->kind->versions[kind->at];
	}
	return NULL;
}

static void discovery_tell(struct discovery *discovery, struct discovery_kind *kind, const char *version)
{
	bool news = !kind->known || kind->doubted || kind->version != version;

	kind->known = true;
	kind->doubted = false;
	kind->version = version;
	if (news)
		discovery->events->found(discovery->owner, kind->kind, version);
}

static void discovery_finish_group(struct discovery *discovery)
{
	for (size_t i = 0; i < discovery->count; i++) {
		struct discovery_kind *kind = &discovery->kinds[i];

		if (kind->asked) {
			kind->asked = false;
			discovery_tell(discovery, kind, kind->found);
		}
	}
}

/* --- asking --- */

static void discovery_answered(void *owner, int status, const struct yaml_node *tree, int64_t retry_after_ms, const char *error)
{
	struct discovery *discovery = owner;

	if (status != 200 && status != 404) {
		TEXT_ON_STACK(sentence, 512);
		text_printf(&sentence, "GET /apis/%s%s%s: %s", discovery->group, discovery->version != NULL ? "/" : "",
		            discovery->version != NULL ? discovery->version : "", error);
		discovery_fail(discovery, sentence.data, retry_after_ms);
		return;
	}
	if (discovery->failing) {
		discovery->failing = false;
		discovery->events->problem(discovery->owner, NULL);
	}
	discovery->retry_ms = RETRY_MS;
	if (discovery->version == NULL)
		discovery_take_versions(discovery, status == 200 ? tree : NULL);
	else
		discovery_take_resources(discovery, status == 200 ? tree : NULL);
	discovery->version = discovery_next_version(discovery);
	if (discovery->version == NULL)
		discovery_finish_group(discovery);
	discovery_step(discovery);
}

/* The first kind of a group that has not had its turn in this round, whose group then begins. */
static bool discovery_begin_group(struct discovery *discovery)
{
	const char *before = discovery->group;
	bool passed = before == NULL;

	/* Groups stand together in kinds.h. */
	for (size_t i = 0; i < discovery->count; i++) {
		const char *group = discovery->kinds[i].kind->group;

		if (!passed) {
			passed = strcmp(group, before) == 0;
			continue;
		}
		if ((before != NULL && strcmp(group, before) == 0) || !discovery_wants(&discovery->kinds[i]))
			continue;
		discovery->group = group;
		discovery->version = NULL;
		for (size_t j = 0; j < discovery->count; j++) {
			struct discovery_kind *kind = &discovery->kinds[j];

			kind->asked = strcmp(kind->kind->group, group) == 0 && discovery_wants(kind);
			kind->found = NULL;
			kind->at = 0;
		}
		return true;
	}
	return false;
}

/* Asks for what is at hand, or rests: a minute, or longer when the round took more requests than kinds are absent. */
static void discovery_step(struct discovery *discovery)
{
	TEXT_ON_STACK(path, 256);
	size_t absent = 0;

	if (discovery->version == NULL && !discovery_begin_group(discovery)) {
		for (size_t i = 0; i < discovery->count; i++)
			absent += discovery_wants(&discovery->kinds[i]);
		int64_t rounds = absent > 0 ? (int64_t)((discovery->round_requests + absent - 1) / absent) : 1;
		discovery_rest(discovery, ROUND_MS * (rounds > 1 ? rounds : 1));
		return;
	}
	text_printf(&path, "/apis/%s%s%s", discovery->group, discovery->version != NULL ? "/" : "",
	            discovery->version != NULL ? discovery->version : "");
	discovery->requests++;
	discovery->round_requests++;
	struct api_request request = {.method = "GET", .path = path.data, .done = discovery_answered, .owner = discovery};
	int result = api_send(discovery->api, &request);
	if (result != 0)
		discovery_fail(discovery, strerror(-result), RETRY_MS);
}

static void discovery_due(struct wheel_timer *timer)
{
	struct discovery *discovery = discovery_of(timer);

	for (size_t i = 0; i < discovery->count; i++)
		if (discovery->kinds[i].kind->built_in && !discovery->kinds[i].known)
			discovery_tell(discovery, &discovery->kinds[i], discovery->kinds[i].kind->versions[0]);
	discovery->group = discovery->version = NULL;
	discovery_step(discovery);
}

int discovery_new(struct discovery **out, struct loop *loop, struct api *api, const struct discovery_events *events, void *owner)
{
	struct discovery *discovery = calloc(1, sizeof *discovery);

	if (discovery == NULL)
		return -ENOMEM;
	for (; discovery->count < kinds_count() && discovery->count < KINDS_MOST; discovery->count++)
		discovery->kinds[discovery->count].kind = kinds_at(discovery->count);
	discovery->loop = loop;
	discovery->api = api;
	discovery->events = events;
	discovery->owner = owner;
	discovery->retry_ms = RETRY_MS;
	discovery->timer.fire = discovery_due;
	wheel_arm(loop_wheel(loop), &discovery->timer, loop_now(loop));
	*out = discovery;
	return 0;
}

static void discovery_swept(struct loop_deferred *deferred)
{
	free((struct discovery *)(void *)((char *)deferred - offsetof(struct discovery, deferred)));
}

void discovery_free(struct discovery *discovery)
{
	if (discovery == NULL)
		return;
	api_forget(discovery->api, discovery);
	wheel_cancel(loop_wheel(discovery->loop), &discovery->timer);
	discovery->deferred.run = discovery_swept;
	loop_defer(discovery->loop, &discovery->deferred);
}

void discovery_doubt(struct discovery *discovery, const struct watch_kind *kind)
{
	for (size_t i = 0; i < discovery->count; i++)
		if (discovery->kinds[i].kind == kind)
			discovery->kinds[i].doubted = true;
	if (discovery->group == NULL) /* a round is not under way; what a CRD that goes leaves behind takes a moment */
		wheel_arm(loop_wheel(discovery->loop), &discovery->timer, loop_now(discovery->loop) + DOUBT_MS);
}

uint64_t discovery_requests(const struct discovery *discovery)
{
	return discovery->requests;
}
