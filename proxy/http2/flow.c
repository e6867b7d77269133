#include "proxy/http2/flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/connection/conn.h"
#include "proxy/http2/observe.h"
#include "proxy/leg/leg.h"
#include "proxy/server/upstream.h"

static struct leg *flow_leg(const struct session *session, enum flow_way way)
{
	return way == FLOW_UP ? &session->conn->upstream->leg : &session->conn->client;
}

static enum flow_verdict flow_send(struct session *session, enum flow_way way, const uint8_t *bytes, size_t length)
{
	int result = length ? leg_send(flow_leg(session, way), bytes, length, session_now(session)) : 0;

	return !result ? FLOW_ON : result == -ENOMEM ? FLOW_NO_MEMORY : FLOW_FAILED;
}

enum flow_verdict flow_flush(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way];
	enum flow_verdict verdict;

	if (!buf_length(&flow->own) || !flow_at_rest(flow))
		return FLOW_ON;
	/* Behind the FIN of the other side, which has gone on, nothing more can be said this way. */
	verdict = flow_leg(session, way)->fin_wanted ? FLOW_ON : flow_send(session, way, buf_bytes(&flow->own), buf_length(&flow->own));
	buf_release(&flow->own);
	return verdict;
}

/* A frame's first bytes: *taken of them are its own. */
static enum flow_verdict flow_begin(struct session *session, enum flow_way way, uint8_t *bytes, size_t length, size_t *taken)
{
	struct flow *flow = &session->flows[way];
	enum flow_verdict verdict;
	int64_t padding = 0;
	const char *fault;
	size_t fixed;

	if (length < FRAME_HEAD)
		return FLOW_MORE;
	frame_read(bytes, &flow->frame);
	fault = frame_fault(&flow->frame);
	fixed = fault ? 0 : frame_fixed(&flow->frame);
	if (length < FRAME_HEAD + fixed)
		return FLOW_MORE;
	flow->frames++;
	if (!fault)
		padding = frame_padding(&flow->frame, bytes + FRAME_HEAD);
	if (padding < 0)
		fault = "with more padding than it is long";
	if (fault)
		return observe_fault(session, way, fault);
	flow->padding = (uint32_t)padding;
	flow->left = flow->frame.length - (uint32_t)fixed;
	verdict = observe_begin(session, way, bytes + FRAME_HEAD);
	flow->inside = verdict == FLOW_ON;
	flow->passed = 0;
	*taken = FRAME_HEAD + fixed;
	return verdict;
}

/* More of its payload, or its end. */
static enum flow_verdict flow_go_on(struct session *session, enum flow_way way, const uint8_t *bytes, size_t length)
{
	struct flow *flow = &session->flows[way];
	enum flow_verdict verdict = FLOW_ON;
	uint32_t body = flow->left > flow->padding ? flow->left - flow->padding : 0;

	if (body && length)
		verdict = observe_payload(session, way, bytes, length < body ? length : body);
	flow->left -= (uint32_t)length;
	flow->moved = session_now(session);
	if (verdict != FLOW_ON || flow->left)
		return verdict;
	flow->inside = false;
	return observe_end(session, way);
}

/* The frames that are whole, and the beginning of the last one. *at: behind what was understood; *run: behind what has gone on or was
 * dropped. */
static enum flow_verdict flow_walk(struct session *session, enum flow_way way, uint8_t *bytes, size_t length, size_t *at, size_t *run)
{
	struct flow *flow = &session->flows[way];
	enum flow_verdict verdict = FLOW_ON;
	size_t taken = 0;

	for (;;) {
		if (!flow->inside) {
			if (buf_length(&flow->own) && flow_at_rest(flow)) {
				verdict = flow_send(session, way, bytes + *run, *at - *run);
				*run = *at;
				if (verdict == FLOW_ON)
					verdict = flow_flush(session, way);
				if (verdict != FLOW_ON)
					return verdict;
			}
			verdict = flow_begin(session, way, bytes + *at, length - *at, &taken);
			if (verdict != FLOW_ON)
				return verdict;
			if (flow->dropping) {
				verdict = flow_send(session, way, bytes + *run, *at - *run);
				*run = *at + taken;
			}
			*at += taken;
		} else {
			taken = length - *at < flow->left ? length - *at : flow->left;
			if (!taken && flow->left)
				return FLOW_ON;
			verdict = flow_go_on(session, way, bytes + *at, taken);
			*at += taken;
			if (flow->dropping)
				*run = *at;
		}
		if (verdict != FLOW_ON)
			return verdict;
	}
}

/* Whether a frame that has begun to come may have to be dropped, or may not begin before one of ours. */
static bool flow_must_hold(const struct session *session, const struct flow *flow)
{
	return session->parted || session->ping_out || session->told_last != FRAME_LAST_ID || buf_length(&flow->own);
}

enum flow_verdict flow_preface(struct session *session, const uint8_t *bytes, size_t length, size_t *taken)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	size_t left = FRAME_PREFACE - session->preface, part = length < left ? length : left;

	if (memcmp(bytes, preface + session->preface, part)) {
		snprintf(session->fault, sizeof session->fault, "the client began with something else than HTTP/2's preface");
		*taken = length;
	} else {
		session->preface += (uint8_t)part;
		*taken = part;
	}
	return flow_send(session, FLOW_UP, bytes, *taken) != FLOW_ON ? FLOW_FAILED : session->fault[0] ? FLOW_UNREAD : FLOW_ON;
}

enum flow_verdict flow_feed(struct session *session, enum flow_way way, uint8_t *bytes, size_t length)
{
	struct flow *flow = &session->flows[way];
	size_t at = 0, run = flow->passed;
	enum flow_verdict verdict, sent;

	flow->held_length = 0;
	verdict = flow_walk(session, way, bytes, length, &at, &run);
	if (verdict == FLOW_UNREAD) {
		at = length;
		flow->passed = 0;
	}
	if (verdict == FLOW_MORE) {
		flow->held_length = (uint8_t)(length - at);
		memcpy(flow->held, bytes + at, length - at);
		flow->moved = session_now(session);
		if (flow->passed || (length > at && !flow_must_hold(session, flow))) {
			flow->passed = flow->held_length;
			at = length;
		}
		verdict = FLOW_ON;
	}
	if (verdict != FLOW_ON && verdict != FLOW_UNREAD)
		return verdict;
	sent = flow_send(session, way, bytes + run, at - run);
	return sent == FLOW_ON ? verdict : sent;
}

enum flow_verdict flow_finish(struct session *session, enum flow_way way)
{
	struct flow *flow = &session->flows[way];
	uint8_t length = flow->held_length, passed = flow->passed;

	flow->held_length = flow->passed = 0;
	return flow_send(session, way, flow->held + passed, length - passed);
}
