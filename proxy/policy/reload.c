#include "proxy/policy/reload.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/text.h"
#include "lib/wheel.h"
#include "proxy/config/config.h"
#include "proxy/config/watch.h"
#include "proxy/dns/resolve.h"
#include "proxy/metrics/series.h"
#include "proxy/policy/policy.h"

enum {
	REBUILD_LEAST_MS = 10, /* after a DNS answer: others may follow */
	REBUILD_SHARE = 10,    /* and at most a tenth of the time goes into rebuilding */
};

struct reload {
	struct reload_settings settings;
	struct loop *loop;
	struct log *log;
	void (*publish)(void *owner, struct policy *policy);
	void *owner;
	struct config *config;
	struct policy *policy;
	struct series *series;     /* owned; lives over all policies */
	struct resolver *resolver; /* NULL until a name is to be resolved */
	struct watch *watch;       /* NULL without documents */
	struct wheel_timer rebuild;
	int64_t build_ms; /* what the last policy took */
	uint64_t taken, refused; /* readings after the first */
	int64_t read_ms;         /* wall clock, when config was read */
	int64_t tried_ms;        /* and when the last reading was */
	size_t refusals;         /* its errors */
	char refusal[DIAGNOSTIC_SIZE]; /* the first of them; empty: it was taken */
};

#define reload_of(pointer, member) ((struct reload *)(void *)((char *)(pointer) - offsetof(struct reload, member)))

/* --- what was said about the documents --- */

static bool reload_said_before(const struct diagnostics *before, const char *text)
{
	for (const struct diagnostic *each = before ? before->first : NULL; each; each = each->next)
		if (strcmp(each->text, text) == 0)
			return true;
	return false;
}

/* Warnings are logged once, not again at every reading; errors always. */
static void reload_say(const struct reload *reload, const struct diagnostics *diagnostics, const struct diagnostics *before)
{
	for (const struct diagnostic *each = diagnostics->first; each; each = each->next)
		if (each->error || !reload_said_before(before, each->text))
			log_message(reload->log, each->error ? LOG_ERROR : LOG_WARN, "%s", each->text);
}

/* Which values the pod's annotations set otherwise than before. */
static void reload_say_annotations(const struct reload *reload, const struct timeouts *before, const struct timeouts *now)
{
	static const struct timeout_value unset = {TIMEOUT_UNSET, NULL};

	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		const struct timeout_value *old = before ? &before->of[id] : &unset, *new = now ? &now->of[id] : &unset;
		char from[DURATION_TEXT_SIZE], to[DURATION_TEXT_SIZE];

		if (old->milliseconds == new->milliseconds)
			continue;
		log_message(reload->log, LOG_INFO, "%s: %s → %s", new->source ? new->source : old->source,
		            old->source ? duration_format(old->milliseconds, from) : "not set",
		            new->source ? duration_format(new->milliseconds, to) : "not set");
	}
}

static void reload_say_read(const struct reload *reload, const struct config *config, int64_t milliseconds)
{
	TEXT_ON_STACK(kinds, 512);

	if (!reload->settings.paths.count) {
		log_message(reload->log, LOG_INFO, "configuration read in %lld ms: %zu annotation%s and %zu label%s of the pod; %zu warning%s",
		            (long long)milliseconds, config->podinfo.annotation_count, config->podinfo.annotation_count == 1 ? "" : "s",
		            config->podinfo.label_count, config->podinfo.label_count == 1 ? "" : "s", config->diagnostics.warnings,
		            config->diagnostics.warnings == 1 ? "" : "s");
		return;
	}
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (config->catalog->counts[kind])
			text_printf(&kinds, "%s%zu %s", kinds.length ? ", " : "", config->catalog->counts[kind], catalog_kind_name(kind));
	log_message(reload->log, LOG_INFO, "configuration read in %lld ms: %s from %zu file%s; %zu warning%s", (long long)milliseconds,
	            kinds.length ? kinds_bytes : "no document", config->files, config->files == 1 ? "" : "s",
	            config->diagnostics.warnings, config->diagnostics.warnings == 1 ? "" : "s");
}

/* --- policies --- */

static void reload_resolved(void *owner)
{
	struct reload *reload = owner;
	int64_t wait = reload->build_ms * REBUILD_SHARE > REBUILD_LEAST_MS ? reload->build_ms * REBUILD_SHARE : REBUILD_LEAST_MS;

	if (!wheel_armed(&reload->rebuild))
		wheel_arm(loop_wheel(reload->loop), &reload->rebuild, loop_now(reload->loop) + wait);
}

static int reload_want_names(struct reload *reload, const struct policy *policy)
{
	size_t count;
	const char *const *names = policy_names(policy, &count);
	int result = 0;

	if (count && !reload->resolver) {
		result = resolve_new(&reload->resolver, reload->loop, reload->log, reload_resolved, reload);
		if (!result && reload->settings.dns_server.family)
			result = resolve_use_server(reload->resolver, &reload->settings.dns_server);
	}
	if (!result && reload->resolver)
		result = resolve_want(reload->resolver, names, count);
	return result;
}

/* A policy of this config and of what DNS says now takes the place of the one in force. */
static int reload_build(struct reload *reload, struct config *config)
{
	int64_t start = clock_monotonic_ms();
	struct policy *policy = policy_new(reload->settings.policy, config, reload->resolver, reload->series, NULL, NULL);
	int result;

	if (!policy)
		return -ENOMEM;
	result = reload_want_names(reload, policy);
	if (result) {
		policy_unref(policy);
		return result;
	}
	reload_say(reload, policy_diagnostics(policy), reload->policy ? policy_diagnostics(reload->policy) : NULL);
	if (reload->policy)
		policy_supersede(policy, reload->policy);
	reload->policy = policy;
	reload->build_ms = clock_monotonic_ms() - start;
	return 0;
}

/* Why a reading is not taken, for who asks later. */
static void reload_refuse(struct reload *reload, const struct diagnostics *diagnostics, int error)
{
	const struct diagnostic *first = diagnostics->first;
	struct text text;

	while (first && !first->error)
		first = first->next;
	text_init(&text, reload->refusal, sizeof reload->refusal);
	text_string(&text, error == -EBADMSG && first ? first->text : strerror(-error));
	reload->refusals = error == -EBADMSG ? diagnostics->errors : 1;
}

/* A file that had documents and is empty is one that could not be written, as on a full disk, or not yet; nobody means that. */
static void reload_check_emptied(const struct config *before, struct config *config)
{
	const struct config_file *file = config->first_file, *old;

	for (size_t i = 0; i < config->files; i++, file = file->next) {
		old = file->bytes ? NULL : before->first_file;
		while (old && strcmp(old->path, file->path) != 0)
			old = old->next;
		if (old && old->bytes)
			diagnostics_add(&config->diagnostics, true,
			                "%s: empty, and was not before: remove it, or leave a comment in it, if its documents are to go",
			                file->path);
	}
}

static int reload_read(struct reload *reload)
{
	const struct diagnostics *before = reload->config ? &reload->config->diagnostics : NULL;
	int64_t start = clock_monotonic_ms();
	struct config *config;
	int result;

	reload->tried_ms = clock_realtime_ms();
	reload->refusal[0] = '\0';
	reload->refusals = 0;
	result = config_load(&config, &reload->settings.paths, reload->config);
	if (result) {
		reload_refuse(reload, &(struct diagnostics){0}, result);
		return result;
	}
	if (reload->config)
		reload_check_emptied(reload->config, config);
	reload_say(reload, &config->diagnostics, before);
	result = config->diagnostics.errors ? -EBADMSG : reload_build(reload, config);
	if (result) {
		reload_refuse(reload, &config->diagnostics, result);
		config_unref(config);
		return result;
	}
	if (reload->config)
		reload_say_annotations(reload, reload->config->pod.annotated, config->pod.annotated);
	config_unref(reload->config);
	reload->config = config;
	reload->read_ms = reload->tried_ms;
	if (reload->settings.paths.count || reload->settings.paths.pod_info)
		reload_say_read(reload, config, clock_monotonic_ms() - start);
	return 0;
}

static void reload_rebuild(struct wheel_timer *timer)
{
	struct reload *reload = reload_of(timer, rebuild);
	int result = reload_build(reload, reload->config);

	if (result)
		log_message(reload->log, LOG_ERROR, "new addresses of Services could not be taken up: %s", strerror(-result));
	else
		reload->publish(reload->owner, reload->policy);
}

void reload_now(struct reload *reload)
{
	int result = reload_read(reload);

	if (result)
		reload->refused++;
	else
		reload->taken++;
	if (result == -EBADMSG)
		log_message(reload->log, LOG_ERROR, "the configuration has errors; the one in force stays");
	else if (result)
		log_message(reload->log, LOG_ERROR, "the configuration could not be read: %s; the one in force stays", strerror(-result));
	else
		reload->publish(reload->owner, reload->policy);
}

static void reload_changed(void *owner)
{
	reload_now(owner);
}

int reload_new(struct reload **out, const struct reload_settings *settings, struct loop *loop, struct log *log,
               void (*publish)(void *owner, struct policy *policy), void *owner)
{
	struct reload *reload = calloc(1, sizeof *reload);
	int result = 0;

	if (!reload)
		return -ENOMEM;
	*reload = (struct reload){
	    .settings = *settings,
	    .loop = loop,
	    .log = log,
	    .publish = publish,
	    .owner = owner,
	    .rebuild = {.fire = reload_rebuild},
	    .series = series_new(),
	};
	if (!reload->series)
		result = -ENOMEM;
	if (!result && (reload->settings.paths.count || reload->settings.paths.pod_info)) /* first, so that no change is missed */
		result = watch_new(&reload->watch, loop, log, &reload->settings.paths, reload_changed, reload);
	if (!result)
		result = reload_read(reload);
	if (result)
		reload_free(reload);
	else
		*out = reload;
	return result;
}

void reload_free(struct reload *reload)
{
	if (!reload)
		return;
	wheel_cancel(loop_wheel(reload->loop), &reload->rebuild);
	watch_free(reload->watch);
	resolve_free(reload->resolver);
	policy_unref(reload->policy);
	config_unref(reload->config);
	series_free(reload->series);
	free(reload);
}

void reload_collect(struct reload *reload)
{
	policy_collect(reload->policy);
}

struct policy *reload_policy(const struct reload *reload)
{
	return reload->policy;
}

const struct series *reload_series(const struct reload *reload)
{
	return reload->series;
}

void reload_status(const struct reload *reload, struct reload_status *out)
{
	*out = (struct reload_status){
	    .config = reload->config,
	    .taken = reload->taken,
	    .refused = reload->refused,
	    .read_ms = reload->read_ms,
	    .tried_ms = reload->tried_ms,
	    .refusal = reload->refusal[0] ? reload->refusal : NULL,
	    .refusals = reload->refusals,
	    .warnings = reload->config->diagnostics.warnings + policy_diagnostics(reload->policy)->warnings,
	};
}
