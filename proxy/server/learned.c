#include "proxy/server/learned.h"

#include <string.h>

#include "lib/text.h"

enum {
	MARGIN_MS = 1000,
	TOLERANCE_MS = 500,
	TOGETHER_MS = 100, /* closes in this time are one; or in a tenth of their rest, up to the most */
	TOGETHER_MOST_MS = 5000,
	AGREEING_LEAST = 2,
	DOUBT_MOST = 6,
	STRAYS_MOST = 3, /* in a row: what was believed is given up */
};

_Static_assert(sizeof(struct learned_view) == LEARNED_WORDS * sizeof(uint64_t), "a view is published by words");

static int32_t learned_clamp(int64_t ms)
{
	return ms < 1 ? 1 : ms > INT32_MAX / 2 ? INT32_MAX / 2 : (int32_t)ms;
}

/* How much two closes of one idle timeout may lie apart: servers look at their connections now and then. */
static int32_t learned_tolerance(int32_t ms)
{
	int32_t tenth = ms / 10, quarter = ms / 4 < TOLERANCE_MS ? ms / 4 : TOLERANCE_MS;

	return tenth > quarter ? tenth : quarter;
}

static bool learned_agree(int32_t known, int32_t ms)
{
	int32_t apart = known > ms ? known - ms : ms - known;

	return known && apart <= learned_tolerance(known);
}

/* How long a connection is used that is known to live so long. */
static int32_t learned_before(int32_t ms)
{
	int32_t margin = ms / 10 > MARGIN_MS ? ms / 10 : MARGIN_MS;

	return ms - (margin < ms / 2 ? margin : ms / 2);
}

static struct learned_entry *learned_find(struct learned *learned, const struct addr *destination)
{
	struct learned_entry *set;

	if (!learned->turn)
		return NULL; /* of no server was anything learned yet */
	set = learned->entries[addr_hash(destination) % LEARNED_SETS];
	for (int way = 0; way < LEARNED_WAYS; way++) {
		if (!set[way].used || !addr_equal(&set[way].view.destination, destination))
			continue;
		set[way].used = ++learned->turn ? learned->turn : ++learned->turn;
		return &set[way];
	}
	return NULL;
}

/* Readers take the words for good only when the version was even before and the same after (a sequence lock with one writer). */
static void learned_publish(struct learned_entry *entry)
{
	uint64_t words[LEARNED_WORDS];
	uint32_t version = atomic_load_explicit(&entry->version, memory_order_relaxed);

	memcpy(words, &entry->view, sizeof words);
	atomic_store_explicit(&entry->version, version + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (int word = 0; word < LEARNED_WORDS; word++)
		atomic_store_explicit(&entry->words[word], words[word], memory_order_relaxed);
	atomic_store_explicit(&entry->version, version + 2, memory_order_release);
}

/* Found or made, in place of the one not used longest. */
static struct learned_entry *learned_at(struct learned *learned, const struct addr *destination)
{
	struct learned_entry *set = learned->entries[addr_hash(destination) % LEARNED_SETS], *entry = learned_find(learned, destination);

	if (entry)
		return entry;
	entry = set;
	for (int way = 1; way < LEARNED_WAYS && entry->used; way++)
		if (!set[way].used || learned->turn - set[way].used > learned->turn - entry->used)
			entry = &set[way];
	entry->view = (struct learned_view){.destination = *destination};
	entry->observed_at = 0;
	entry->candidate = 0;
	entry->agreeing = entry->strays = entry->doubt = 0;
	entry->used = ++learned->turn ? learned->turn : ++learned->turn;
	return entry;
}

static void learned_contradicted(struct learned_entry *entry)
{
	entry->candidate = 0;
	entry->agreeing = 0;
	if (entry->doubt < DOUBT_MOST)
		entry->doubt++;
}

/* Earlier at once, later slowly: it is the earliest close that costs a request. */
static void learned_blend(int32_t *known, int32_t ms)
{
	*known = ms < *known ? ms : *known + (ms - *known) / 4;
}

/* A close at an age that is not the believed one. True: it is now. */
static bool learned_consider(struct learned_entry *entry, int32_t ms)
{
	if (entry->view.closes_after && ++entry->strays >= STRAYS_MOST)
		entry->view.closes_after = 0;
	if (learned_agree(entry->candidate, ms)) {
		learned_blend(&entry->candidate, ms);
		entry->agreeing++;
	} else {
		if (entry->candidate)
			learned_contradicted(entry);
		entry->candidate = ms;
		entry->agreeing = 1;
	}
	if (entry->agreeing < AGREEING_LEAST + entry->doubt)
		return false;
	entry->view.closes_after = entry->candidate;
	entry->candidate = 0;
	entry->agreeing = entry->strays = 0;
	return true;
}

/* Closes of so short a time say one thing. Replicas that end one after another end seconds apart, and connections to them may well rest
 * since the same moment: that is no idle timeout. */
static int32_t learned_together(int32_t ms)
{
	int32_t tenth = ms / 10 < TOGETHER_MOST_MS ? ms / 10 : TOGETHER_MOST_MS;

	return tenth > TOGETHER_MS ? tenth : TOGETHER_MS;
}

bool learned_observe(struct learned *learned, const struct addr *destination, int64_t idle_ms, int64_t now)
{
	struct learned_entry *entry;
	int32_t ms = learned_clamp(idle_ms);
	bool together, fresh = false;

	if (learned->off || idle_ms < LEARNED_LEAST_MS)
		return false;
	learned_survive(learned, destination, idle_ms);
	entry = learned_at(learned, destination);
	together = entry->view.closes && now - entry->observed_at < learned_together(ms);
	if (ms < entry->view.survived)
		entry->view.survived = ms;
	entry->view.closes++;
	if (!together) {
		entry->observed_at = now;
		if (learned_agree(entry->view.closes_after, ms)) {
			learned_blend(&entry->view.closes_after, ms);
			entry->candidate = 0;
			entry->agreeing = entry->strays = 0;
		} else {
			fresh = learned_consider(entry, ms);
		}
	}
	learned_publish(entry);
	return fresh;
}

void learned_announce(struct learned *learned, const struct addr *destination, int64_t announced_ms)
{
	struct learned_entry *entry;
	int32_t ms = learned_clamp(announced_ms);

	if (learned->off)
		return;
	entry = learned_at(learned, destination);
	if (entry->view.announced == ms)
		return;
	entry->view.announced = ms;
	if (entry->view.survived > ms)
		entry->view.survived = ms;
	learned_publish(entry);
}

static bool learned_outlived(int32_t *known, int32_t ms)
{
	bool outlived = *known && ms > *known + learned_tolerance(*known);

	if (outlived)
		*known = 0;
	return outlived;
}

void learned_survive(struct learned *learned, const struct addr *destination, int64_t idle_ms)
{
	struct learned_entry *entry;
	int32_t ms = learned_clamp(idle_ms);

	if (learned->off || idle_ms < LEARNED_LEAST_MS)
		return;
	entry = learned_at(learned, destination);
	if (ms <= entry->view.survived)
		return;
	entry->view.survived = ms;
	learned_outlived(&entry->view.announced, ms);
	if (learned_outlived(&entry->view.closes_after, ms) || learned_outlived(&entry->candidate, ms))
		learned_contradicted(entry);
	learned_publish(entry);
}

int64_t learned_view_limit(const struct learned_view *view)
{
	int32_t closes = view->closes_after, announced = view->announced;
	int32_t known = !announced || (closes && closes < announced) ? closes : announced;

	if (!known)
		return 0;
	known = learned_before(known);
	return known < LEARNED_LEAST_MS ? 1 : known;
}

int64_t learned_limit(struct learned *learned, const struct addr *destination)
{
	const struct learned_entry *entry = learned->off ? NULL : learned_find(learned, destination);

	return entry ? learned_view_limit(&entry->view) : 0;
}

bool learned_trusts(struct learned *learned, const struct addr *destination, int64_t idle_ms)
{
	const struct learned_entry *entry;

	if (learned->off || idle_ms < LEARNED_LEAST_MS)
		return true;
	entry = learned_find(learned, destination);
	return entry && idle_ms <= learned_before(entry->view.survived);
}

static void learned_seconds(struct text *out, int32_t ms)
{
	int32_t tenths = (ms + 50) / 100;

	if (tenths % 10)
		text_printf(out, "%d.%d s", tenths / 10, tenths % 10);
	else
		text_printf(out, "%d s", tenths / 10);
}

void learned_view_describe(const struct learned_view *view, struct text *out)
{
	if (view->closes_after) {
		text_string(out, "this server closes idle connections after about ");
		learned_seconds(out, view->closes_after);
	} else if (view->announced) {
		text_string(out, "this server announces to close idle connections after ");
		learned_seconds(out, view->announced);
	}
}

void learned_describe(struct learned *learned, const struct addr *destination, struct text *out)
{
	const struct learned_entry *entry = learned->off ? NULL : learned_find(learned, destination);

	if (entry)
		learned_view_describe(&entry->view, out);
}

static bool learned_read(const struct learned_entry *entry, struct learned_view *out)
{
	uint32_t version = atomic_load_explicit(&entry->version, memory_order_acquire);
	uint64_t words[LEARNED_WORDS];

	if (!version || version % 2)
		return false;
	for (int word = 0; word < LEARNED_WORDS; word++)
		words[word] = atomic_load_explicit(&entry->words[word], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&entry->version, memory_order_relaxed) != version)
		return false;
	memcpy(out, words, sizeof *out);
	return true;
}

size_t learned_list(const struct learned *learned, struct learned_view *out, size_t most)
{
	size_t count = 0;

	for (int set = 0; set < LEARNED_SETS; set++)
		for (int way = 0; way < LEARNED_WAYS && count < most; way++)
			count += learned_read(&learned->entries[set][way], &out[count]);
	return count;
}
