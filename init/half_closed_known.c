#include "init/half_closed_known.h"

#include <errno.h>
#include <stdlib.h>

enum { KNOWN_BUCKETS = 1024 };

struct half_closed_entry {
	struct half_closed_entry *next; /* in its bucket */
	struct half_closed_flow flow;
	int64_t since, seen;            /* first; and when `flow` was as it is */
	unsigned scan;                  /* the last one that met it, or in which an event did */
	uint8_t left;                   /* the state in which that scan met it when it was half-closed no more, else STATE_COUNT */
	bool told;
};

struct half_closed_known {
	struct half_closed_entry **buckets; /* owned; a power of two */
	size_t bucket_count, count, most, missed;
	int64_t min_age_ms;
	void (*tell)(const struct half_closed_news *news, void *context);
	void *context;
	unsigned scan;
	bool first;
};

int half_closed_known_new(struct half_closed_known **out, size_t most, int64_t min_age_ms,
                          void (*tell)(const struct half_closed_news *news, void *context), void *context)
{
	struct half_closed_known *known = malloc(sizeof *known);
	struct half_closed_entry **buckets = calloc(KNOWN_BUCKETS, sizeof *buckets);

	if (!known || !buckets) {
		free(known);
		free(buckets);
		return -ENOMEM;
	}
	*known = (struct half_closed_known){.buckets = buckets, .bucket_count = KNOWN_BUCKETS, .most = most,
	                                    .min_age_ms = min_age_ms, .tell = tell, .context = context};
	*out = known;
	return 0;
}

void half_closed_known_free(struct half_closed_known *known)
{
	if (!known)
		return;
	for (size_t i = 0; i < known->bucket_count; i++)
		while (known->buckets[i]) {
			struct half_closed_entry *entry = known->buckets[i];

			known->buckets[i] = entry->next;
			free(entry);
		}
	free(known->buckets);
	free(known);
}

size_t half_closed_known_count(const struct half_closed_known *known)
{
	return known->count;
}

size_t half_closed_known_take_missed(struct half_closed_known *known)
{
	size_t missed = known->missed;

	known->missed = 0;
	return missed;
}

/* --- the table --- */

/* The place of the pointer to the flow's entry, or to the NULL where it would be. */
static struct half_closed_entry **half_closed_known_find(struct half_closed_known *known, const struct half_closed_flow *flow)
{
	struct half_closed_entry **at = &known->buckets[half_closed_hash(flow) & (known->bucket_count - 1)];

	while (*at && !half_closed_same(&(*at)->flow, flow))
		at = &(*at)->next;
	return at;
}

/* Without memory it stays as it is, only slower. */
static void half_closed_known_grow(struct half_closed_known *known)
{
	size_t bucket_count = known->bucket_count * 2;
	struct half_closed_entry **buckets = calloc(bucket_count, sizeof *buckets);

	if (!buckets)
		return;
	for (size_t i = 0; i < known->bucket_count; i++)
		for (struct half_closed_entry *entry = known->buckets[i], *next; entry; entry = next) {
			struct half_closed_entry **at = &buckets[half_closed_hash(&entry->flow) & (bucket_count - 1)];

			next = entry->next;
			entry->next = *at;
			*at = entry;
		}
	free(known->buckets);
	known->buckets = buckets;
	known->bucket_count = bucket_count;
}

static struct half_closed_entry *half_closed_known_add(struct half_closed_known *known, const struct half_closed_flow *flow,
                                                       int64_t now)
{
	struct half_closed_entry *entry = known->count < known->most ? malloc(sizeof *entry) : NULL, **at;

	if (!entry) {
		known->missed++;
		return NULL;
	}
	if (known->count >= known->bucket_count)
		half_closed_known_grow(known);
	at = &known->buckets[half_closed_hash(flow) & (known->bucket_count - 1)];
	*entry = (struct half_closed_entry){.next = *at, .flow = *flow, .since = now, .seen = now, .scan = known->scan,
	                                    .left = CONNTRACK_STATE_COUNT};
	*at = entry;
	known->count++;
	return entry;
}

static void half_closed_known_tell(struct half_closed_known *known, enum half_closed_change change,
                                   const struct half_closed_entry *entry, int64_t now, const char *detail)
{
	struct half_closed_news news = {change, &entry->flow, now - entry->since, detail};

	if (entry->told)
		known->tell(&news, known->context);
}

/* Takes the entry out, having told why. */
static void half_closed_known_remove(struct half_closed_known *known, struct half_closed_entry **at,
                                     enum half_closed_change change, int64_t now, const char *detail)
{
	struct half_closed_entry *entry = *at;

	half_closed_known_tell(known, change, entry, now, detail);
	*at = entry->next;
	known->count--;
	free(entry);
}

/* --- what becomes of a flow --- */

static const char *half_closed_known_ending(unsigned state)
{
	switch (state) {
	case CONNTRACK_TIME_WAIT:
		return "both sides have finished"; /* as far as conntrack can tell */
	case CONNTRACK_CLOSE:
		return "reset";
	default:
		return "the connection began anew";
	}
}

/* Dropped, or not there any more: by its lifetime, or before that was up? */
static bool half_closed_known_is_overdue(const struct half_closed_entry *entry, int64_t now)
{
	return now >= entry->seen + (int64_t)entry->flow.remaining * 1000;
}

/* A state that a scan or an event saw; the entry is there. */
static void half_closed_known_update(struct half_closed_known *known, struct half_closed_entry *entry,
                                     const struct half_closed_flow *flow, int64_t now)
{
	uint8_t before = entry->flow.state;

	entry->flow = *flow;
	entry->seen = now;
	entry->scan = known->scan;
	entry->left = CONNTRACK_STATE_COUNT;
	if (flow->state != before)
		half_closed_known_tell(known, HALF_CLOSED_CHANGED, entry, now, "");
}

void half_closed_known_event(struct half_closed_known *known, const struct half_closed_flow *flow, bool destroyed, int64_t now)
{
	struct half_closed_entry **at = half_closed_known_find(known, flow), *entry = *at;

	if (!entry && !destroyed && half_closed_is(flow->state)) {
		entry = half_closed_known_add(known, flow, now);
		if (entry) {
			entry->told = known->min_age_ms <= 0;
			half_closed_known_tell(known, HALF_CLOSED_BECAME, entry, now, "");
		}
	} else if (!entry) {
		return;
	} else if (destroyed) {
		half_closed_known_remove(known, at, HALF_CLOSED_FORGOTTEN, now, half_closed_known_is_overdue(entry, now) ? ""
		                         : "before its time was up: deleted, or the table was full");
	} else if (half_closed_is(flow->state)) {
		half_closed_known_update(known, entry, flow, now);
	} else if (flow->state != CONNTRACK_STATE_COUNT) {
		half_closed_known_remove(known, at, HALF_CLOSED_ENDED, now, half_closed_known_ending(flow->state));
	}
}

void half_closed_known_scan_begin(struct half_closed_known *known, bool first)
{
	known->scan++;
	known->first = first;
}

/* That a flow is half-closed no more is told at the end: an event that waits may know better how it went. */
void half_closed_known_scanned(struct half_closed_known *known, const struct half_closed_flow *flow, int64_t now)
{
	struct half_closed_entry *entry = *half_closed_known_find(known, flow);

	if (entry && half_closed_is(flow->state)) {
		half_closed_known_update(known, entry, flow, now);
	} else if (entry) {
		entry->scan = known->scan;
		entry->left = flow->state;
		return;
	} else if (half_closed_is(flow->state)) {
		entry = half_closed_known_add(known, flow, now);
	}
	if (entry && !entry->told && half_closed_is_old(flow, known->min_age_ms)) {
		entry->told = true;
		half_closed_known_tell(known, known->first ? HALF_CLOSED_FOUND : HALF_CLOSED_BECAME, entry, now, "");
	}
}

void half_closed_known_scan_end(struct half_closed_known *known, const struct half_closed_place *place, int64_t now)
{
	for (size_t i = 0; i < known->bucket_count; i++)
		for (struct half_closed_entry **at = &known->buckets[i]; *at;) {
			struct half_closed_entry *entry = *at;

			if (entry->flow.place != place || (entry->scan == known->scan && entry->left == CONNTRACK_STATE_COUNT))
				at = &entry->next;
			else if (entry->scan == known->scan)
				half_closed_known_remove(known, at, HALF_CLOSED_ENDED, now, half_closed_known_ending(entry->left));
			else if (half_closed_known_is_overdue(entry, now))
				half_closed_known_remove(known, at, HALF_CLOSED_FORGOTTEN, now, "");
			else
				half_closed_known_remove(known, at, HALF_CLOSED_ENDED, now,
				                         "between two scans, before its time was up: finished, or deleted");
		}
}

void half_closed_known_place_gone(struct half_closed_known *known, const struct half_closed_place *place, int64_t now)
{
	for (size_t i = 0; i < known->bucket_count; i++)
		for (struct half_closed_entry **at = &known->buckets[i]; *at;)
			if ((*at)->flow.place == place)
				half_closed_known_remove(known, at, HALF_CLOSED_ENDED, now, "its network namespace is gone");
			else
				at = &(*at)->next;
}
