/* Terms are written as bytes and read back by the same functions, field by field, so that a copy has what its original had and nothing
 * that points elsewhere; and what is the same as bytes is the same. */
#include "proxy/policy/terms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "proxy/config/catalog.h"
#include "proxy/policy/budget.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/profile.h"

enum { FAILURES_SIZE = (TERMS_STATUSES + 7) / 8 };

/* --- as bytes --- */

struct terms_image {
	bool reading;
	bool no_memory;
	struct buf bytes;      /* written */
	const uint8_t *at;     /* read next */
	size_t room;           /* written: what their arrays will take */
	unsigned char *arrays; /* read: room for the next one */
};

static void terms_bytes(struct terms_image *image, void *bytes, size_t size)
{
	if (!image->reading) {
		image->no_memory |= buf_append(&image->bytes, bytes, size) != 0;
		return;
	}
	memcpy(bytes, image->at, size);
	image->at += size;
}

/* Bytes that are pointed to; read, they stay where they are. size 0 = NULL. */
static void terms_piece(struct terms_image *image, const void **piece, size_t size)
{
	terms_bytes(image, &size, sizeof size);
	if (!image->reading) {
		image->no_memory |= size && buf_append(&image->bytes, *piece, size);
		return;
	}
	*piece = size ? image->at : NULL;
	image->at += size;
}

static void terms_text(struct terms_image *image, const char **text)
{
	const void *piece = *text;

	terms_piece(image, &piece, image->reading || !piece ? 0 : strlen(piece) + 1);
	*text = piece;
}

/* Read: room for so many; written: NULL. */
static void *terms_array(struct terms_image *image, size_t count, size_t size)
{
	unsigned char *array = image->arrays;

	image->room += count * size;
	if (image->reading)
		image->arrays += count * size;
	return array;
}

/* Most sources are the same few texts. */
/* Returns which of them are on. */
static uint32_t terms_timeouts(struct terms_image *image, struct timeouts *timeouts)
{
	_Static_assert(TIMEOUT_COUNT <= 32, "an id is a byte, and a bit of a word");
	uint32_t on = 0;

	for (unsigned id = 0; id < TIMEOUT_COUNT; id++) {
		struct timeout_value *value = &timeouts->of[id];
		uint8_t same = 0;

		while (!image->reading && same < id && strcmp(timeouts->of[same].source, value->source) != 0)
			same++;
		terms_bytes(image, &value->milliseconds, sizeof value->milliseconds);
		terms_bytes(image, &value->after_request, sizeof value->after_request);
		terms_bytes(image, &same, sizeof same);
		if (same == id)
			terms_text(image, &value->source);
		else
			value->source = timeouts->of[same].source;
		on |= (uint32_t)(value->milliseconds != 0) << id;
	}
	return on;
}

static void terms_retry(struct terms_image *image, const struct retry **retry)
{
	bool there = *retry;
	struct retry *copy, value = {0};

	terms_bytes(image, &there, sizeof there);
	if (!there)
		return;
	if (!image->reading)
		value = **retry;
	value.source = NULL;
	terms_bytes(image, value.codes, sizeof value.codes);
	terms_bytes(image, &value.attempts, sizeof value.attempts);
	terms_bytes(image, &value.backoff_ms, sizeof value.backoff_ms);
	terms_bytes(image, &value.backoff_most_ms, sizeof value.backoff_most_ms);
	terms_bytes(image, &value.attempt_ms, sizeof value.attempt_ms);
	terms_bytes(image, &value.on_failure, sizeof value.on_failure);
	terms_bytes(image, &value.by_class, sizeof value.by_class);
	terms_bytes(image, &value.grpc, sizeof value.grpc);
	copy = terms_array(image, 1, sizeof *copy);
	if (!copy)
		return;
	*copy = value;
	*retry = copy;
}

static void terms_fields(struct terms_image *image, const struct header_field **fields, size_t *count)
{
	struct header_field *copies;

	terms_bytes(image, count, sizeof *count);
	copies = terms_array(image, *count, sizeof *copies);
	for (size_t i = 0; i < *count; i++) {
		struct header_field field = {0};

		if (!copies)
			field = (*fields)[i];
		terms_text(image, &field.name);
		terms_text(image, &field.value);
		if (copies)
			copies[i] = field;
	}
	if (copies)
		*fields = copies;
}

static void terms_names(struct terms_image *image, const char *const **names, size_t *count)
{
	const char **copies;

	terms_bytes(image, count, sizeof *count);
	copies = terms_array(image, *count, sizeof *copies);
	for (size_t i = 0; i < *count; i++) {
		const char *name = copies ? NULL : (*names)[i];

		terms_text(image, &name);
		if (copies)
			copies[i] = name;
	}
	if (copies)
		*names = copies;
}

static void terms_edits(struct terms_image *image, const struct header_edits **edits)
{
	bool there = *edits;
	struct header_edits *copy, value = {0};

	terms_bytes(image, &there, sizeof there);
	if (!there)
		return;
	if (!image->reading)
		value = **edits;
	copy = terms_array(image, 1, sizeof *copy);
	terms_fields(image, &value.set, &value.set_count);
	terms_fields(image, &value.add, &value.add_count);
	terms_names(image, &value.remove, &value.remove_count);
	if (!copy)
		return;
	*copy = value;
	*edits = copy;
}

static void terms_all(struct terms_image *image, struct terms *terms)
{
	const void *failures = terms->failures;

	terms->timers = terms_timeouts(image, &terms->timeouts);
	terms_text(image, &terms->service);
	terms_text(image, &terms->rule);
	terms_bytes(image, &terms->service_series, sizeof terms->service_series);
	terms_bytes(image, &terms->rule_series, sizeof terms->rule_series);
	terms_bytes(image, &terms->until_head, sizeof terms->until_head);
	terms_bytes(image, &terms->budget, sizeof terms->budget);
	terms_retry(image, &terms->retry);
	for (size_t i = 0; i < 2; i++)
		terms_edits(image, &terms->edits[i]);
	terms_piece(image, &failures, failures ? FAILURES_SIZE : 0);
	terms->failures = failures;
}

/* --- of a choice --- */

static void terms_note_failures(const struct profile_route *route, uint8_t failures[static FAILURES_SIZE])
{
	memset(failures, 0, FAILURES_SIZE);
	for (unsigned status = 0; status < TERMS_STATUSES; status++)
		failures[status / 8] |= (uint8_t)(profile_is_failure(route, status) << status % 8);
}

/* Borrowed from the policy. */
static void terms_of_choice(struct terms *terms, const struct policy_target *target, const struct policy_choice *choice,
                            uint8_t failures[static FAILURES_SIZE])
{
	struct policy_rule_view view = {0};

	if (choice->rule)
		policy_rule_view(choice->rule, &view);
	*terms = (struct terms){
	    .timeouts = *choice->timeouts,
	    .service = policy_target_name(target),
	    .rule = view.text,
	    .service_series = policy_target_series(target),
	    .rule_series = policy_rule_series(choice->rule),
	    .until_head = choice->until_head,
	    .retry = choice->retry,
	    .budget = choice->budget,
	    .edits = {choice->filters ? choice->filters->response : NULL, choice->backend ? choice->backend->filters.response : NULL},
	};
	if (!choice->profile_route)
		return;
	terms_note_failures(choice->profile_route, failures);
	terms->failures = failures;
}

/* --- the book --- */

static uint64_t terms_hash(const uint8_t *bytes, size_t length)
{
	/* FNV-1a (Fowler, Noll, Vo) */
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	return hash;
}

static struct terms *terms_find(struct terms *terms, const struct buf *image, uint64_t hash)
{
	while (terms && !(terms->hash == hash && terms->length == buf_length(image) &&
	                  memcmp(terms->image, buf_bytes(image), terms->length) == 0))
		terms = terms->next;
	return terms;
}

/* One block: the struct, the arrays, the bytes. */
static struct terms *terms_new(const struct terms_image *image, uint64_t hash)
{
	size_t length = buf_length(&image->bytes);
	struct terms *terms = malloc(sizeof *terms + image->room + length);
	struct terms_image reader = {.reading = true};
	uint8_t *bytes;

	if (!terms)
		return NULL;
	reader.arrays = (unsigned char *)(terms + 1);
	bytes = reader.arrays + image->room;
	reader.at = memcpy(bytes, buf_bytes(&image->bytes), length);
	*terms = (struct terms){.image = bytes, .length = length, .hash = hash};
	terms_all(&reader, terms);
	if (terms->budget)
		budget_ref(terms->budget);
	return terms;
}

static struct terms *terms_keep(struct terms_book *book, const struct policy_target *target, const struct policy_choice *choice)
{
	uint8_t failures[FAILURES_SIZE];
	struct terms_image image = {0};
	struct terms draft, *terms = NULL, **bucket;
	uint64_t hash;

	terms_of_choice(&draft, target, choice, failures);
	terms_all(&image, &draft);
	if (!image.no_memory) {
		hash = terms_hash(buf_bytes(&image.bytes), buf_length(&image.bytes));
		bucket = &book->buckets[hash % TERMS_BUCKETS];
		terms = terms_find(*bucket, &image.bytes, hash);
		if (!terms && (terms = terms_new(&image, hash))) {
			terms->next = *bucket;
			*bucket = terms;
			book->count++;
		}
	}
	buf_release(&image.bytes);
	return terms;
}

struct terms *terms_use(struct terms_book *book, const struct policy_target *target, const struct policy_choice *choice)
{
	struct terms **of = &book->of[choice->number];

	if (!*of) {
		*of = terms_keep(book, target, choice);
		if (!*of)
			return NULL;
		(*of)->users++;
	}
	(*of)->users++;
	return *of;
}

void terms_release(struct terms_book *book, struct terms *terms)
{
	struct terms **link;

	if (!terms || --terms->users)
		return;
	link = &book->buckets[terms->hash % TERMS_BUCKETS];
	while (*link != terms)
		link = &(*link)->next;
	*link = terms->next;
	book->count--;
	budget_unref(terms->budget);
	free(terms);
}

int terms_begin(struct terms_book *book, struct policy *policy)
{
	unsigned numbers = policy_numbers(policy);
	struct terms **of = calloc(numbers, sizeof *of);

	if (!of) {
		policy_unref(policy);
		return -ENOMEM;
	}
	terms_end(book);
	book->policy = policy;
	book->of = of;
	book->numbers = numbers;
	book->turn = book->turn == UINT32_MAX ? 1 : book->turn + 1;
	return 0;
}

void terms_end(struct terms_book *book)
{
	for (unsigned i = 0; i < book->numbers; i++)
		terms_release(book, book->of[i]);
	free(book->of);
	policy_unref(book->policy);
	book->policy = NULL;
	book->of = NULL;
	book->numbers = 0;
}
