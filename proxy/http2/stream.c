#include "proxy/http2/stream.h"

#include <stdlib.h>
#include <string.h>

#include "lib/slab.h"
#include "proxy/metrics/words.h"
#include "proxy/policy/terms.h"

#define T(name) (1u << TIMEOUT_##name)
#define S(name) (1u << STREAM_##name)

static const struct {
	uint32_t timers;
	unsigned phase;
	uint32_t may_enter;
} stages[] = {
    [STREAM_REQUEST] = {T(REQUEST) | T(BACKEND_REQUEST) | T(STREAM_IDLE), PHASE_REQUEST, S(WAIT) | S(RESPONSE) | S(CUT)},
    [STREAM_WAIT] = {T(REQUEST) | T(BACKEND_REQUEST) | T(STREAM_IDLE), PHASE_WAIT, S(RESPONSE) | S(CUT)},
    [STREAM_RESPONSE] = {T(REQUEST) | T(BACKEND_REQUEST) | T(STREAM_IDLE), PHASE_RESPONSE, S(ANSWERED) | S(CUT)},
    [STREAM_ANSWERED] = {T(STREAM_IDLE), PHASE_REQUEST, S(CUT)},
    [STREAM_CUT] = {0, PHASE_RESPONSE, 0},
};

_Static_assert(sizeof stages / sizeof stages[0] == STREAM_STAGES, "one row per stage");

#undef T
#undef S

static struct stream **stream_bucket(const struct streams *streams, uint32_t id)
{
	/* The identifiers of one side are odd or even, and follow each other. */
	return &streams->buckets[(id >> 1) & (streams->size - 1)];
}

struct stream *stream_find(const struct streams *streams, uint32_t id)
{
	struct stream *stream;

	if (!streams->count)
		return NULL;
	for (stream = *stream_bucket(streams, id); stream && stream->id != id; stream = stream->next)
		;
	return stream;
}

static bool stream_grow(struct streams *streams)
{
	enum { FIRST = 8 };
	struct streams grown = {.size = streams->size ? 2 * streams->size : FIRST};
	struct stream *stream, *next, **bucket;

	grown.buckets = calloc(grown.size, sizeof *grown.buckets);
	if (!grown.buckets)
		return false;
	for (uint32_t i = 0; i < streams->size; i++) {
		for (stream = streams->buckets[i]; stream; stream = next) {
			next = stream->next;
			bucket = stream_bucket(&grown, stream->id);
			stream->next = *bucket;
			*bucket = stream;
		}
	}
	free(streams->buckets);
	streams->buckets = grown.buckets;
	streams->size = grown.size;
	return true;
}

struct stream *stream_new(struct streams *streams, struct slab *memory, uint32_t id)
{
	struct stream *stream, **bucket;

	if (streams->count >= streams->size && !stream_grow(streams) && !streams->size)
		return NULL;
	stream = slab_alloc(memory);
	if (!stream)
		return NULL;
	stream->id = id;
	stream->grpc_status = -1;
	bucket = stream_bucket(streams, id);
	stream->next = *bucket;
	*bucket = stream;
	streams->count++;
	return stream;
}

void stream_free(struct streams *streams, struct slab *memory, struct stream *stream)
{
	enum { KEPT = 64 };
	struct stream **link = stream_bucket(streams, stream->id);

	while (*link != stream)
		link = &(*link)->next;
	*link = stream->next;
	if (stream->stage == STREAM_CUT)
		streams->cut--;
	free(stream->request);
	free(stream->detail);
	slab_release(memory, stream);
	if (--streams->count || streams->size <= KEPT)
		return;
	free(streams->buckets);
	*streams = (struct streams){0};
}

struct stream *stream_next(const struct streams *streams, struct stream_walk *walk)
{
	struct stream *stream = walk->next;

	while (!stream && walk->bucket < streams->size)
		stream = streams->buckets[walk->bucket++];
	walk->next = stream ? stream->next : NULL;
	return stream;
}

bool stream_enter(struct stream *stream, enum stream_stage stage)
{
	if (!(stages[stream->stage].may_enter & (1u << stage)))
		return false;
	stream->stage = stage;
	return true;
}

unsigned stream_phase(const struct stream *stream)
{
	return stages[stream->stage].phase;
}

bool stream_is_timed(enum timeout_id id)
{
	uint32_t timers = 0;

	for (enum stream_stage stage = 0; stage < STREAM_STAGES; stage++)
		timers |= stages[stage].timers;
	return timers >> id & 1;
}

/* Which of the stage's timers run: not those of a request once it is a tunnel, or where `request` ends with the response's head. */
static uint32_t stream_timers(const struct stream *stream)
{
	uint32_t timers = stages[stream->stage].timers & stream->terms->timers;

	if (stream->connect && stream->status / 100 == 2)
		timers &= 1u << TIMEOUT_STREAM_IDLE;
	if (stream->terms->until_head && stream->status)
		timers &= ~(1u << TIMEOUT_REQUEST);
	return timers;
}

int64_t stream_deadline(const struct stream *stream, unsigned *timer)
{
	int64_t next = INT64_MAX;

	*timer = STREAM_FORGET;
	if (stream->stage == STREAM_CUT)
		return stream->last + STREAM_CUT_MS;
	for (uint32_t timers = stream_timers(stream); timers; timers &= timers - 1) {
		enum timeout_id id = (enum timeout_id)__builtin_ctz(timers);
		const struct timeout_value *value = &stream->terms->timeouts.of[id];
		int64_t since = id == TIMEOUT_STREAM_IDLE ? stream->last : value->after_request ? stream->request_end : stream->begun_us / 1000;

		if (!value->milliseconds || !since || since + value->milliseconds >= next)
			continue;
		next = since + value->milliseconds;
		*timer = id;
	}
	if (stream->enforced && !stream->server_ended && stream->begun_us / 1000 + stream->grpc_timeout < next) {
		next = stream->begun_us / 1000 + stream->grpc_timeout;
		*timer = STREAM_GRPC_DEADLINE;
	}
	return next;
}

void stream_messages_feed(struct stream_messages *messages, const uint8_t *bytes, size_t length)
{
	while (length) {
		size_t part;

		if (messages->left) {
			part = length < messages->left ? length : messages->left;
			messages->left -= (uint32_t)part;
		} else {
			part = sizeof messages->head - messages->have;
			part = length < part ? length : part;
			memcpy(messages->head + messages->have, bytes, part);
			messages->have += (uint8_t)part;
			if (messages->have == sizeof messages->head)
				messages->size = messages->left = (uint32_t)messages->head[1] << 24 | (uint32_t)messages->head[2] << 16 |
				                                  (uint32_t)messages->head[3] << 8 | messages->head[4];
		}
		if (messages->have == sizeof messages->head && !messages->left) {
			messages->complete++;
			messages->have = 0;
		}
		bytes += part;
		length -= part;
	}
}

bool stream_messages_whole(const struct stream_messages *messages)
{
	return !messages->have;
}
