#include "proxy/http2/observe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/connection/conn.h"
#include "proxy/connection/worker.h"
#include "proxy/http2/account.h"
#include "proxy/http2/act.h"
#include "proxy/http2/head.h"
#include "proxy/http2/header.h"
#include "proxy/leg/leg.h"
#include "proxy/metrics/metrics.h"
#include "proxy/server/upstream.h"

enum flow_verdict observe_fault(struct session *session, enum flow_way way, const char *what)
{
	const struct flow *flow = &session->flows[way];

	snprintf(session->fault, sizeof session->fault, "%s frame %llu: %s %s", way == FLOW_UP ? "client" : "server",
	         (unsigned long long)flow->frames, frame_name(flow->frame.type), what);
	return session->parted ? FLOW_PARTED : FLOW_UNREAD;
}

/* Something of the stream went this way. */
static void observe_touch(struct session *session, enum flow_way way, struct stream *stream)
{
	const struct conn *conn = session->conn;
	const struct leg *leg = way == FLOW_UP ? &conn->upstream->leg : &conn->client;

	if (stream->stage == STREAM_CUT)
		return;
	stream->last = session_now(session);
	/* What is in hand goes there right behind this. */
	stream->mark[way] = leg->sent + buf_length(&leg->out) + 1;
}

/* Whether this end's frames on the stream are to be dropped: it was cut, or our last word to the client does not include it. */
static bool observe_unwanted(const struct session *session, enum flow_way way, uint32_t id)
{
	const struct stream *stream = stream_find(&session->streams, id);

	if (session->flows[way].passed)
		return false;
	if (stream)
		return stream->stage == STREAM_CUT;
	return way == FLOW_UP && session->going == GOING_FINAL && id & 1 && id > session->final;
}

/* --- the beginnings of frames --- */

static uint32_t observe_word(const uint8_t bytes[static 4])
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void observe_data(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way];
	struct stream *stream = stream_find(&session->streams, flow->frame.stream);

	if (observe_unwanted(session, way, flow->frame.stream)) {
		flow->dropping = session->parted = true;
		flow->credit += flow->frame.length;
		return;
	}
	flow->window -= flow->frame.length;
	if (flow->window <= 0 && !flow->blocked_since)
		flow->blocked_since = session_now(session);
	if (!stream)
		return;
	stream->credit[way] -= flow->frame.length;
	observe_touch(session, way, stream);
}

static enum flow_verdict observe_block(struct session *session, enum flow_way way, const uint8_t *fixed)
{
	struct flow *flow = &session->flows[way];
	struct block *block = &flow->block;
	const struct frame *frame = &flow->frame;
	size_t padded = frame->flags & FLAG_PADDED ? 1 : 0;
	struct stream *stream = stream_find(&session->streams, frame->stream);

	*block = (struct block){.stream = frame->stream, .type = frame->type, .flags = frame->flags, .open = true, .grpc_status = -1};
	if (frame->type == FRAME_PUSH_PROMISE || frame->flags & FLAG_PRIORITY)
		memcpy(block->lead, fixed + padded, frame->type == FRAME_PUSH_PROMISE ? 4 : 5);
	if (frame->type == FRAME_PUSH_PROMISE)
		block->promised = frame_number(block->lead);
	block->dropped = observe_unwanted(session, way, frame->stream);
	if (block->dropped)
		flow->anew = session->parted = true;
	block->size = FRAME_HEAD + frame->length;
	flow->dropping = flow->anew;
	if (stream)
		observe_touch(session, way, stream);
	if (way == FLOW_UP)
		head_begin(session);
	return FLOW_ON;
}

static enum flow_verdict observe_continuation(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way];

	if (!flow->block.open || flow->block.stream != flow->frame.stream)
		return observe_fault(session, way, "outside a header block");
	flow->block.size += FRAME_HEAD + flow->frame.length;
	flow->dropping = flow->anew;
	return FLOW_ON;
}

/* The receiver of the other way's DATA takes more of it. */
static void observe_window(struct session *session, enum flow_way way, const uint8_t *fixed)
{
	struct flow *flow = &session->flows[way], *other = &session->flows[!way];
	struct stream *stream = flow->frame.stream ? stream_find(&session->streams, flow->frame.stream) : NULL;

	flow->dropping = flow->frame.stream && observe_unwanted(session, way, flow->frame.stream);
	if (flow->frame.stream) {
		if (stream && !flow->dropping)
			stream->credit[!way] += frame_number(fixed);
		return;
	}
	other->window += frame_number(fixed);
	if (other->window > 0 && other->blocked_since) {
		other->blocked_ms += session_now(session) - other->blocked_since;
		other->blocked_since = 0;
	}
}

static void observe_ping(struct session *session, enum flow_way way, const uint8_t *fixed)
{
	struct flow *flow = &session->flows[way];

	if (way == FLOW_UP && flow->frame.flags & FLAG_ACK && session->ping_out && !memcmp(fixed, session->ping, sizeof session->ping)) {
		flow->dropping = true;
		session->ping_out = false;
		act_go_finally(session);
		return;
	}
	if (!(flow->frame.flags & FLAG_ACK))
		metrics_add(session->conn->worker->metrics, METRIC_PINGS, session->conn->direction, way == FLOW_UP ? LEG_CLIENT : LEG_SERVER, 0, 0, 1);
}

static void observe_goaway(struct session *session, enum flow_way way, uint8_t *fixed)
{
	struct flow *flow = &session->flows[way];

	flow->goaway = true;
	flow->goaway_last = frame_number(fixed);
	flow->goaway_code = observe_word(fixed + 4);
	flow->goaway_debug[0] = '\0';
	account_goaway(session, way);
	if (way == FLOW_UP)
		return;
	if (flow->goaway_last > session->told_last) /* it must not rise (RFC 9113 §6.8) */
		for (int i = 0; i < 4; i++)
			fixed[i] = (uint8_t)(session->told_last >> (24 - 8 * i));
	else
		session->told_last = flow->goaway_last;
	account_unprocessed(session, session->told_last);
}

enum flow_verdict observe_begin(struct session *session, enum flow_way way, uint8_t *fixed)
{
	struct flow *flow = &session->flows[way];
	const struct frame *frame = &flow->frame;

	flow->dropping = false;
	if (!flow->greeted && (frame->type != FRAME_SETTINGS || frame->flags & FLAG_ACK))
		return observe_fault(session, way, "instead of SETTINGS");
	if (flow->block.open && frame->type != FRAME_CONTINUATION)
		return observe_fault(session, way, "inside a header block");
	switch (frame->type) {
	case FRAME_DATA:
		observe_data(session, way);
		return FLOW_ON;
	case FRAME_HEADERS:
	case FRAME_PUSH_PROMISE:
		return observe_block(session, way, fixed);
	case FRAME_CONTINUATION:
		return observe_continuation(session, way);
	case FRAME_RST_STREAM:
		flow->dropping = observe_unwanted(session, way, frame->stream);
		account_reset(session, way, frame->stream, observe_word(fixed));
		return FLOW_ON;
	case FRAME_SETTINGS:
		flow->setting_have = 0;
		flow->wish = (struct flow_wish){0};
		return FLOW_ON;
	case FRAME_WINDOW_UPDATE:
		observe_window(session, way, fixed);
		return FLOW_ON;
	case FRAME_PING:
		observe_ping(session, way, fixed);
		return FLOW_ON;
	case FRAME_GOAWAY:
		observe_goaway(session, way, fixed);
		return FLOW_ON;
	default:
		return FLOW_ON;
	}
}

/* --- what is inside them --- */

static void observe_setting(struct session *session, struct flow *flow)
{
	unsigned name = (unsigned)flow->setting[0] << 8 | flow->setting[1];
	uint32_t value = observe_word(flow->setting + 2);

	if (name == SETTING_INITIAL_WINDOW_SIZE)
		flow->granted = value;
	if (name != SETTING_HEADER_TABLE_SIZE)
		return;
	if (!flow->wish.any || value < flow->wish.least)
		flow->wish.least = value;
	flow->wish.last = value;
	flow->wish.any = true;
}

static void observe_settings(struct session *session, struct flow *flow, const uint8_t *bytes, size_t length)
{
	while (length--) {
		flow->setting[flow->setting_have++] = *bytes++;
		if (flow->setting_have < sizeof flow->setting)
			continue;
		observe_setting(session, flow);
		flow->setting_have = 0;
	}
}

static void observe_debug(struct flow *flow, const uint8_t *bytes, size_t length)
{
	size_t have = strlen(flow->goaway_debug), room = sizeof flow->goaway_debug - 1 - have;

	length = strnlen((const char *)bytes, length < room ? length : room);
	memcpy(flow->goaway_debug + have, bytes, length);
	flow->goaway_debug[have + length] = '\0';
}

static enum flow_verdict observe_fragment(struct session *session, enum flow_way way, const uint8_t *bytes, size_t length, bool last)
{
	switch (header_read(session->flows[way].reader, (struct slice){bytes, length}, last, way == FLOW_UP ? head_up : head_down, session)) {
	case 0:
		if (session->flows[way].anew_over)
			return observe_fault(session, way, "of a block over 1 MiB, too long to be written anew");
		return session->no_memory ? FLOW_NO_MEMORY : FLOW_ON;
	case -EBADMSG:
		return observe_fault(session, way, "whose header block is no HPACK");
	default:
		return FLOW_NO_MEMORY;
	}
}

enum flow_verdict observe_payload(struct session *session, enum flow_way way, const uint8_t *bytes, size_t length)
{
	struct flow *flow = &session->flows[way];
	struct stream *stream;

	switch (flow->frame.type) {
	case FRAME_DATA:
		stream = flow->dropping ? NULL : stream_find(&session->streams, flow->frame.stream);
		if (stream) {
			stream->data[way] += length;
			observe_touch(session, way, stream);
			if (stream->grpc)
				stream_messages_feed(&stream->messages[way], bytes, length);
		}
		return FLOW_ON;
	case FRAME_HEADERS:
	case FRAME_PUSH_PROMISE:
	case FRAME_CONTINUATION:
		return observe_fragment(session, way, bytes, length, false);
	case FRAME_SETTINGS:
		observe_settings(session, flow, bytes, length);
		return FLOW_ON;
	case FRAME_GOAWAY:
		observe_debug(flow, bytes, length);
		return FLOW_ON;
	default:
		return FLOW_ON;
	}
}

/* --- their ends --- */

/* The sender goes by the oldest SETTINGS that it had not acknowledged: that lowers its table, and its next block says so (RFC 7541 §4.2). */
static void observe_acknowledged(struct flow *flow)
{
	struct flow_wish wish = flow->wishes[0];
	uint32_t size = header_table_size(flow->reader);

	if (!flow->wish_count)
		return;
	memmove(flow->wishes, flow->wishes + 1, --flow->wish_count * sizeof flow->wishes[0]);
	if (!wish.any || (wish.least >= size && !flow->awaited.any))
		return;
	if (!flow->awaited.any || wish.least < flow->awaited.least)
		flow->awaited.least = wish.least;
	flow->awaited.last = wish.last < size ? wish.last : size;
	flow->awaited.any = true;
}

static enum flow_verdict observe_settings_end(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way], *other = &session->flows[!way];

	if (flow->frame.flags & FLAG_ACK) {
		observe_acknowledged(flow);
		return FLOW_ON;
	}
	if (other->wish_count == FLOW_WISHES)
		return observe_fault(session, way, "behind 8 that were not acknowledged");
	other->wishes[other->wish_count++] = flow->wish;
	if (!flow->greeted) {
		flow->greeted = true;
		if (way == FLOW_DOWN)
			act_greeted(session);
	}
	return FLOW_ON;
}

static enum flow_verdict observe_block_end(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way];
	struct block *block = &flow->block;
	static const uint8_t none[1];
	enum flow_verdict verdict = observe_fragment(session, way, none, 0, true);
	bool written;

	if (verdict != FLOW_ON)
		return verdict;
	block->open = false;
	written = !flow->anew || block->dropped || act_write_block(session, way);
	buf_release(&block->anew);
	flow->awaited.any &= block->dropped;
	if (!written)
		return FLOW_NO_MEMORY;
	if (block->type == FRAME_PUSH_PROMISE)
		return account_promised(session) ? FLOW_ON : FLOW_NO_MEMORY;
	return account_block(session, way) ? FLOW_ON : FLOW_NO_MEMORY;
}

enum flow_verdict observe_end(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way];
	struct stream *stream;

	switch (flow->frame.type) {
	case FRAME_DATA:
		stream = stream_find(&session->streams, flow->frame.stream);
		if (stream && flow->frame.flags & FLAG_END_STREAM)
			account_ended(session, way, stream);
		act_late(session, way, flow->frame.stream);
		return FLOW_ON;
	case FRAME_HEADERS:
	case FRAME_PUSH_PROMISE:
	case FRAME_CONTINUATION:
		return flow->frame.flags & FLAG_END_HEADERS ? observe_block_end(session, way) : FLOW_ON;
	case FRAME_SETTINGS:
		return observe_settings_end(session, way);
	default:
		return FLOW_ON;
	}
}
