#include "proxy/dns/resolve.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/wheel.h"
#include "proxy/dns/resolve_channel.h"

/*
 * A name is two lookups, A and AAAA, that know nothing of each other: one may fail, or have nothing for years, while the other
 * serves. A lookup rests until its timer is due and is asked then; what comes back sets the timer again.
 */
enum { RECORD_A, RECORD_AAAA, RECORD_COUNT };
static const struct {
	const char *name;
	uint8_t family;
} resolve_records[RECORD_COUNT] = {
    [RECORD_A] = {"A", AF_INET},
    [RECORD_AAAA] = {"AAAA", AF_INET6},
};

/* How long until the next question, doubled while the outcome stays the same. Addresses bring a TTL. */
static const struct {
	int64_t first_ms, most_ms;
} resolve_waits[] = {
    [OUTCOME_NOTHING] = {5000, 60000},
    [OUTCOME_FAILURE] = {1000, 30000},
};

static const char *const resolve_state_names[] = {
    [RESOLVE_PENDING] = "pending",
    [RESOLVE_FOUND] = "found",
    [RESOLVE_ABSENT] = "absent",
    [RESOLVE_FAILED] = "failed",
};

enum { LINES_PER_SECOND = 10 };

struct resolve_lookup {
	struct wheel_timer timer;
	struct resolve_question question;
	struct resolve_name *name;
	int record;                   /* RECORD_A or RECORD_AAAA */
	bool tried, known;            /* there was an outcome; there was an answer, be it "nothing" */
	bool own;                     /* the last answer had addresses of this host, and the log says so */
	enum resolve_outcome outcome; /* the last one */
	int64_t wait_ms;              /* after it */
	size_t count;                 /* its share of the name's addresses */
};

/* Replaced as a whole, since borrowers may hold it until the next turn of the loop. */
struct resolve_answer {
	struct loop_deferred deferred;
	struct addr addresses[];
};

struct resolve_name {
	struct resolver *resolver;
	struct resolve_answer *answer; /* NULL = no addresses */
	struct resolve_lookup lookups[RECORD_COUNT];
	bool failing;   /* the log says so */
	bool wanted;
	bool forgotten; /* it only waits for answers that are on their way */
	char text[];
};

struct resolver {
	struct loop *loop;
	struct log *log;
	struct log_limit limit;
	void (*changed)(void *owner);
	void *owner;
	struct resolve_channel *channel;
	struct resolve_name **names; /* sorted, each once */
	size_t count;
	struct loop_deferred notice;
	bool noticed, closed; /* the notice is on its way; it frees the resolver */
};

#define resolve_container(pointer, type, member) ((struct type *)(void *)((char *)(pointer) - offsetof(struct type, member)))

static void resolve_notice_run(struct loop_deferred *deferred)
{
	struct resolver *resolver = resolve_container(deferred, resolver, notice);

	resolver->noticed = false;
	if (resolver->closed)
		free(resolver);
	else
		resolver->changed(resolver->owner);
}

static void resolve_notice(struct resolver *resolver)
{
	if (resolver->noticed)
		return;
	resolver->noticed = true;
	resolver->notice.run = resolve_notice_run;
	loop_defer(resolver->loop, &resolver->notice);
}

static size_t resolve_total(const struct resolve_name *name)
{
	return name->lookups[RECORD_A].count + name->lookups[RECORD_AAAA].count;
}

static enum resolve_state resolve_state(const struct resolve_name *name)
{
	const struct resolve_lookup *a = &name->lookups[RECORD_A], *aaaa = &name->lookups[RECORD_AAAA];

	if (name->answer)
		return RESOLVE_FOUND;
	if (!a->tried || !aaaa->tried)
		return RESOLVE_PENDING;
	return a->known && aaaa->known ? RESOLVE_ABSENT : RESOLVE_FAILED;
}

static void resolve_answer_swept(struct loop_deferred *deferred)
{
	free(resolve_container(deferred, resolve_answer, deferred));
}

static void resolve_answer_free(struct resolver *resolver, struct resolve_answer *answer)
{
	if (!answer)
		return;
	answer->deferred.run = resolve_answer_swept;
	loop_defer(resolver->loop, &answer->deferred);
}

/* --- what comes back --- */

static bool resolve_same(const struct resolve_lookup *lookup, const struct resolve_reply *reply)
{
	const struct resolve_answer *answer = lookup->name->answer;
	size_t before = lookup->record == RECORD_A ? 0 : lookup->name->lookups[RECORD_A].count;

	if (reply->count != lookup->count)
		return false;
	for (size_t i = 0; answer && i < reply->count; i++) {
		if (!addr_equal(&answer->addresses[before + i], &reply->addresses[i]))
			return false;
	}
	return true;
}

/* Makes these the lookup's addresses. 0 or -ENOMEM. */
static int resolve_replace(struct resolve_lookup *lookup, const struct resolve_reply *reply)
{
	struct resolve_name *name = lookup->name;
	size_t total = resolve_total(name) - lookup->count + reply->count, from = 0, to = 0;
	struct resolve_answer *answer = NULL, *old = name->answer;

	if (total && !(answer = malloc(sizeof *answer + total * sizeof *answer->addresses)))
		return -ENOMEM;
	for (int record = 0; record < RECORD_COUNT; record++) {
		struct resolve_lookup *share = &name->lookups[record];
		const struct addr *addresses = share == lookup ? reply->addresses : old ? &old->addresses[from] : NULL;
		size_t count = share == lookup ? reply->count : share->count;

		for (size_t i = 0; answer && addresses && i < count; i++)
			answer->addresses[to++] = addresses[i];
		from += share->count;
	}
	lookup->count = reply->count;
	name->answer = answer;
	resolve_answer_free(name->resolver, old);
	return 0;
}

/* A name has one line when the first of its lookups fails, and one when none fails any more. */
static void resolve_report(struct resolve_name *name, const struct resolve_lookup *lookup, const char *error)
{
	struct resolver *resolver = name->resolver;
	enum log_level level;
	uint64_t suppressed = 0;
	struct log_line line;
	bool failing = false;

	for (int record = 0; record < RECORD_COUNT; record++)
		failing |= name->lookups[record].outcome == OUTCOME_FAILURE;
	if (failing == name->failing)
		return;
	name->failing = failing;
	level = failing ? LOG_WARN : LOG_INFO;
	if (!log_wants(resolver->log, level) ||
	    !log_limit_pass(&resolver->limit, loop_now(resolver->loop), LINES_PER_SECOND, &suppressed))
		return;
	log_begin(&line, resolver->log, level,
	          !failing       ? "DNS answers again"
	          : name->answer ? "DNS fails; the addresses of the last answer are used meanwhile"
	                         : "DNS fails; the name has no addresses meanwhile");
	log_string(&line, "name", name->text);
	log_string(&line, "record", resolve_records[lookup->record].name);
	if (failing)
		log_string(&line, "error", error);
	log_number(&line, "addresses", (int64_t)resolve_total(name));
	if (suppressed)
		log_number(&line, "suppressed", (int64_t)suppressed);
	log_end(&line);
}

/* An answer that leads back here is said once, until there is one without. */
static void resolve_report_own(struct resolve_lookup *lookup, const struct resolve_reply *reply)
{
	const char *record = resolve_records[lookup->record].name;

	if (reply->outcome == OUTCOME_FAILURE || lookup->own == (reply->own > 0))
		return;
	lookup->own = reply->own > 0;
	if (lookup->own)
		log_message(lookup->name->resolver->log, LOG_WARN,
		            "DNS: %s: %zu of %zu %s records are of loopback or unspecified, which lead back to this host; they are left out",
		            lookup->name->text, reply->own, reply->records, record);
	else
		log_message(lookup->name->resolver->log, LOG_INFO, "DNS: %s: no %s record leads back to this host any more",
		            lookup->name->text, record);
}

static void resolve_rest(struct resolve_lookup *lookup, enum resolve_outcome outcome, int64_t ttl_ms)
{
	struct resolver *resolver = lookup->name->resolver;

	if (outcome == OUTCOME_ADDRESSES)
		lookup->wait_ms = ttl_ms;
	else if (!lookup->tried || outcome != lookup->outcome)
		lookup->wait_ms = resolve_waits[outcome].first_ms;
	else if ((lookup->wait_ms *= 2) > resolve_waits[outcome].most_ms)
		lookup->wait_ms = resolve_waits[outcome].most_ms;
	lookup->outcome = outcome;
	lookup->tried = true;
	lookup->known |= outcome != OUTCOME_FAILURE;
	wheel_arm(loop_wheel(resolver->loop), &lookup->timer, loop_now(resolver->loop) + lookup->wait_ms);
}

static void resolve_take(struct resolve_lookup *lookup, const struct resolve_reply *reply)
{
	struct resolve_name *name = lookup->name;
	struct log *log = name->resolver->log;
	enum resolve_state before = resolve_state(name);
	enum resolve_outcome outcome = reply->outcome;
	const char *error = reply->error;
	bool changed = outcome != OUTCOME_FAILURE && !resolve_same(lookup, reply);

	if (changed && resolve_replace(lookup, reply)) {
		changed = false;
		outcome = OUTCOME_FAILURE;
		error = "out of memory";
	}
	resolve_rest(lookup, outcome, reply->ttl_ms);
	resolve_report(name, lookup, error);
	resolve_report_own(lookup, reply);
	if (reply->records > RESOLVE_ADDRESSES_MOST)
		log_message(log, LOG_DEBUG, "DNS: %s has %zu %s records, the lowest %zu addresses are used", name->text,
		            reply->records, resolve_records[lookup->record].name, reply->count);
	if (!changed && resolve_state(name) == before)
		return;
	log_message(log, LOG_DEBUG, "DNS: %s is %s, addresses: %zu", name->text, resolve_state_names[resolve_state(name)],
	            resolve_total(name));
	resolve_notice(name->resolver);
}

/* --- the names --- */

/* What is under way keeps the name until it is answered. */
static void resolve_forget(struct resolve_name *name)
{
	struct resolver *resolver = name->resolver;
	bool idle = true;

	for (int record = 0; record < RECORD_COUNT; record++) {
		wheel_cancel(loop_wheel(resolver->loop), &name->lookups[record].timer);
		idle &= resolve_channel_withdraw(&name->lookups[record].question);
	}
	name->forgotten = true;
	if (!idle)
		return;
	resolve_answer_free(resolver, name->answer);
	free(name);
}

static void resolve_answered(struct resolve_question *question, const struct resolve_reply *reply)
{
	struct resolve_lookup *lookup = resolve_container(question, resolve_lookup, question);

	if (lookup->name->forgotten)
		resolve_forget(lookup->name);
	else
		resolve_take(lookup, reply);
}

static void resolve_due(struct wheel_timer *timer)
{
	struct resolve_lookup *lookup = resolve_container(timer, resolve_lookup, timer);

	resolve_channel_ask(lookup->name->resolver->channel, &lookup->question);
}

/* Its lookups are due at once. NULL when there is no memory. */
static struct resolve_name *resolve_name_new(struct resolver *resolver, const char *text)
{
	size_t size = strlen(text) + 1;
	struct resolve_name *name = calloc(1, sizeof *name + size);

	if (!name)
		return NULL;
	memcpy(name->text, text, size);
	name->resolver = resolver;
	for (int record = 0; record < RECORD_COUNT; record++) {
		struct resolve_lookup *lookup = &name->lookups[record];

		lookup->name = name;
		lookup->record = record;
		lookup->question.answered = resolve_answered;
		lookup->question.name = name->text;
		lookup->question.family = resolve_records[record].family;
		lookup->timer.fire = resolve_due;
		wheel_arm(loop_wheel(resolver->loop), &lookup->timer, loop_now(resolver->loop));
	}
	return name;
}

static int resolve_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int resolve_match(const void *text, const void *name)
{
	return strcmp(text, (*(struct resolve_name *const *)name)->text);
}

static struct resolve_name *resolve_find(const struct resolver *resolver, const char *text)
{
	struct resolve_name **found = NULL;

	if (resolver->count)
		found = bsearch(text, resolver->names, resolver->count, sizeof(struct resolve_name *), resolve_match);
	return found ? *found : NULL;
}

/* The names of these sorted texts, those known and new ones, each once. 0, or -ENOMEM, then there are no new ones. */
static int resolve_gather(struct resolver *resolver, const char *const *texts, size_t count, struct resolve_name **names,
                          size_t *gathered)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		struct resolve_name *name;

		if (i && strcmp(texts[i], texts[i - 1]) == 0)
			continue;
		name = resolve_find(resolver, texts[i]);
		if (!name)
			name = resolve_name_new(resolver, texts[i]);
		if (!name) {
			while (found--) {
				if (!names[found]->wanted)
					resolve_forget(names[found]);
			}
			return -ENOMEM;
		}
		names[found++] = name;
	}
	*gathered = found;
	return 0;
}

/* From now on these, all else is forgotten. */
static void resolve_adopt(struct resolver *resolver, struct resolve_name **names, size_t count)
{
	for (size_t i = 0; i < resolver->count; i++)
		resolver->names[i]->wanted = false;
	for (size_t i = 0; i < count; i++)
		names[i]->wanted = true;
	for (size_t i = 0; i < resolver->count; i++) {
		if (!resolver->names[i]->wanted)
			resolve_forget(resolver->names[i]);
	}
	free(resolver->names);
	resolver->names = names;
	resolver->count = count;
}

int resolve_want(struct resolver *resolver, const char *const *names, size_t count)
{
	const char **sorted = calloc(count + 1, sizeof *sorted);
	struct resolve_name **wanted = calloc(count + 1, sizeof(struct resolve_name *));
	size_t gathered = 0;
	int result = -ENOMEM;

	if (sorted && wanted) {
		for (size_t i = 0; i < count; i++)
			sorted[i] = names[i];
		qsort(sorted, count, sizeof *sorted, resolve_order);
		result = resolve_gather(resolver, sorted, count, wanted, &gathered);
	}
	free(sorted);
	if (result)
		free(wanted);
	else
		resolve_adopt(resolver, wanted, gathered);
	return result;
}

enum resolve_state resolve_get(const struct resolver *resolver, const char *name, const struct addr **addresses, size_t *count)
{
	const struct resolve_name *found = resolve_find(resolver, name);

	*addresses = found && found->answer ? found->answer->addresses : NULL;
	*count = found ? resolve_total(found) : 0;
	return found ? resolve_state(found) : RESOLVE_PENDING;
}

/* --- beginning and end --- */

int resolve_new(struct resolver **out, struct loop *loop, struct log *log, void (*changed)(void *owner), void *owner)
{
	struct resolver *resolver = calloc(1, sizeof *resolver);
	int result;

	if (!resolver)
		return -ENOMEM;
	resolver->loop = loop;
	resolver->log = log;
	resolver->changed = changed;
	resolver->owner = owner;
	result = resolve_channel_new(&resolver->channel, loop);
	if (result) {
		free(resolver);
		return result;
	}
	*out = resolver;
	return 0;
}

int resolve_use_server(struct resolver *resolver, const struct addr *server)
{
	return resolve_channel_use_server(resolver->channel, server);
}

void resolve_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	resolve_adopt(resolver, NULL, 0);
	resolve_channel_free(resolver->channel);
	resolver->closed = true;
	resolve_notice(resolver);
}
