#include "proxy/http2/clock.h"

#include "lib/duration.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/progress.h"
#include "proxy/http2/account.h"
#include "proxy/http2/act.h"
#include "proxy/http2/flow.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

enum {
	HEARD_MS = 5000,  /* so long a client may take to answer the PING behind our GOAWAY */
	LOOKS = 32,       /* at what the peers acknowledged, in the time of streamIdle */
	LOOK_LEAST = 10,  /* ms */
	CROWD = 64,       /* streams; where there are more, */
	CROWD_MS = 4,     /* their timers are looked at no more often than this */
};

static int64_t clock_earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* A frame that is half passed keeps those of ours from their receiver. */
static int64_t clock_stuck(const struct session *session, const struct flow *flow)
{
	int64_t limit = session->conn->terms->timeouts.of[TIMEOUT_STREAM_IDLE].milliseconds;

	return buf_length(&flow->own) && !flow_at_rest(flow) && limit ? flow->moved + limit : INT64_MAX;
}

static int64_t clock_next(const struct session *session)
{
	const struct conn *conn = session->conn;
	int64_t at = session->alarm_at, limit = conn->terms->timeouts.of[TIMEOUT_STREAM_IDLE].milliseconds;

	at = clock_earlier(at, clock_stuck(session, &session->flows[FLOW_UP]));
	at = clock_earlier(at, clock_stuck(session, &session->flows[FLOW_DOWN]));
	if (session->going == GOING_ANNOUNCED)
		at = clock_earlier(at, session->going_at + HEARD_MS);
	if (conn->instants[INSTANT_LOOKED] && limit && session_open(session))
		at = clock_earlier(at, conn->instants[INSTANT_LOOKED] + (limit / LOOKS > LOOK_LEAST ? limit / LOOKS : LOOK_LEAST));
	return at;
}

void clock_arm(struct session *session)
{
	int64_t at = clock_next(session);

	if (at == INT64_MAX)
		conn_disarm(session->conn);
	else
		conn_arm(session->conn, ALARM_STREAM, at);
}

/* What the legs had delivered when they were last looked at, and whether that moved since. */
static void clock_look(struct session *session)
{
	struct conn *conn = session->conn;
	struct leg *legs[FLOW_WAYS] = {&conn->upstream->leg, &conn->client};
	uint64_t before[FLOW_WAYS] = {legs[FLOW_UP]->delivered, legs[FLOW_DOWN]->delivered};
	struct stream_walk walk = {0};
	struct stream *stream;

	progress_look(conn);
	if (legs[FLOW_UP]->delivered == before[FLOW_UP] && legs[FLOW_DOWN]->delivered == before[FLOW_DOWN])
		return;
	while ((stream = stream_next(&session->streams, &walk)))
		for (int way = 0; way < FLOW_WAYS; way++)
			if (stream->stage != STREAM_CUT && stream->mark[way] > before[way] && legs[way]->delivered > before[way] &&
			    conn->instants[INSTANT_LAST_BYTE] > stream->last)
				stream->last = conn->instants[INSTANT_LAST_BYTE];
}

/* streamIdle is over: silence, or a side that takes nothing more? */
static void clock_stream_idle(struct session *session, struct stream *stream)
{
	const struct conn *conn = session->conn;
	struct cause cause = cause_timer(REASON_STREAM_IDLE_TIMEOUT, TIMEOUT_STREAM_IDLE);
	const struct flow *flows = session->flows;
	int status = stream->client_ended ? 504 : 408;

	for (int way = 0; way < FLOW_WAYS; way++) {
		const struct leg *leg = way == FLOW_UP ? &conn->upstream->leg : &conn->client;
		const char *side = way == FLOW_UP ? "server" : "client";

		cause.reason = way == FLOW_UP ? REASON_SERVER_STALLED : REASON_CLIENT_STALLED;
		cause.by = way == FLOW_UP ? BY_SERVER : BY_CLIENT;
		if (stream->mark[way] > leg->delivered + 1 && progress_undelivered(leg)) {
			act_cut(session, stream, cause, 504, "the %s took none of the bytes that wait for it", side);
			return;
		}
		if (stream->data[way] && (stream->credit[way] + flows[!way].granted <= 0 || flows[way].window <= 0)) {
			act_cut(session, stream, cause, 504, "the %s gave no more window for the DATA of the %s", side,
			        flows[way].window <= 0 ? "connection" : "stream");
			return;
		}
	}
	cause = cause_timer(REASON_STREAM_IDLE_TIMEOUT, TIMEOUT_STREAM_IDLE);
	act_cut(session, stream, cause, status, "%s",
	        stream->stage == STREAM_RESPONSE ? "the server sent nothing more of its response"
	        : !stream->client_ended          ? "no byte of the unfinished request came"
	                                         : "the server sent no response");
}

static void clock_request(struct session *session, struct stream *stream, enum timeout_id timer)
{
	const struct conn *conn = session->conn;
	const struct flow *flows = session->flows;
	struct cause cause = cause_timer(timeouts_reason(timer), timer);
	const char *what = "the server's response was not complete";

	if (conn->upstream->leg.connecting)
		what = "the server had not accepted the connection";
	else if (stream->stage == STREAM_REQUEST && stream->data[FLOW_UP] && stream->credit[FLOW_UP] + flows[FLOW_DOWN].granted <= 0)
		what = "the server gave no more window for the request's body";
	else if (stream->stage == STREAM_REQUEST)
		what = "the client had not sent its whole request";
	else if (stream->stage == STREAM_WAIT)
		what = "no response came from the server";
	else if (stream->data[FLOW_DOWN] && stream->credit[FLOW_DOWN] + flows[FLOW_UP].granted <= 0)
		what = "the client gave no more window for the response's body";
	act_cut(session, stream, cause, 504, "%s", what);
}

/* A frame or block of the stream is half on its way and has not moved for its streamIdle: nothing can be said behind it. */
static bool clock_ends_connection(struct session *session, const struct stream *stream)
{
	for (int way = 0; way < FLOW_WAYS; way++) {
		if (!act_is_passing(&session->flows[way], stream->id))
			continue;
		conn_close(session->conn, cause_timer(REASON_STREAM_IDLE_TIMEOUT, TIMEOUT_STREAM_IDLE), "the %s stopped inside a %s frame of stream %u",
		           way == FLOW_UP ? "client" : "server", frame_name(session->flows[way].frame.type), stream->id);
		return true;
	}
	return false;
}

static void clock_due(struct session *session, struct stream *stream, unsigned timer)
{
	char deadline[DURATION_TEXT_SIZE];

	if (timer == STREAM_FORGET)
		account_forget(session, stream);
	else if (timer == TIMEOUT_STREAM_IDLE)
		clock_stream_idle(session, stream);
	else if (timer == STREAM_GRPC_DEADLINE) {
		stream->deadline_over = true;
		act_cut(session, stream, cause_of(REASON_GRPC_DEADLINE), 504, "the client's own deadline, grpc-timeout %s, is over",
		        duration_format(stream->grpc_timeout, deadline));
	} else
		clock_request(session, stream, (enum timeout_id)timer);
}

/* Before the server's SETTINGS nothing of ours may go out between its words: the client gets them from us, and the connection ends. */
static void clock_as_server(struct session *session, struct stream *stream, enum timeout_id timer)
{
	struct conn *conn = session->conn;
	struct cause cause = cause_timer(timer == TIMEOUT_STREAM_IDLE ? REASON_STREAM_IDLE_TIMEOUT : timeouts_reason(timer), timer);
	const char *what = conn->upstream->leg.connecting ? "the server had not accepted the connection" : "the server had not said a word";

	act_as_server(session, stream, cause, "%s when %s was over", what, timeouts_name(timer));
	(void)flow_flush(session, FLOW_DOWN);
	cause.answered = true;
	conn_close(conn, cause, "%s when %s was over", what, timeouts_name(timer));
}

/* One that is stuck ends the connection. */
static bool clock_end_stuck(struct session *session)
{
	struct conn *conn = session->conn;

	for (int way = 0; way < FLOW_WAYS; way++) {
		const struct flow *flow = &session->flows[way];

		if (clock_stuck(session, flow) > session_now(session))
			continue;
		conn_close(conn, cause_timer(REASON_STREAM_IDLE_TIMEOUT, TIMEOUT_STREAM_IDLE),
		           "the %s stopped inside a %s frame of stream %u, behind which others wait", way == FLOW_UP ? "client" : "server",
		           frame_name(flow->frame.type), flow->frame.stream);
		return true;
	}
	return false;
}

void clock_alarm(struct session *session)
{
	struct conn *conn = session->conn;
	struct stream_walk walk = {0};
	struct stream *stream;
	unsigned timer;
	int64_t now = session_now(session), next = INT64_MAX, at;

	if (conn->instants[INSTANT_LOOKED])
		clock_look(session);
	if (clock_end_stuck(session))
		return;
	if (session->going == GOING_ANNOUNCED && now >= session->going_at + HEARD_MS)
		act_go_finally(session);
	if (now < session->alarm_at)
		return;
	session->alarm_at = INT64_MAX;
	while ((stream = stream_next(&session->streams, &walk))) {
		at = stream_deadline(stream, &timer);
		if (at > now) {
			next = clock_earlier(next, at);
			continue;
		}
		if (timer < TIMEOUT_NONE && !session->flows[FLOW_DOWN].greeted) {
			clock_as_server(session, stream, (enum timeout_id)timer);
			return;
		}
		if (timer == TIMEOUT_STREAM_IDLE && clock_ends_connection(session, stream))
			return;
		clock_due(session, stream, timer);
	}
	if (session->streams.count > CROWD && next < now + CROWD_MS)
		next = now + CROWD_MS;
	session->alarm_at = clock_earlier(session->alarm_at, next);
}

/* --- for who looks --- */

static const char *clock_name(unsigned timer)
{
	return timer < TIMEOUT_NONE ? timeouts_name((enum timeout_id)timer) : "grpcDeadline";
}

void clock_streams(const struct conn *conn, struct text *out)
{
	enum { ROOM = 256 }; /* that one takes at most */
	struct stream_walk walk = {0};
	const struct stream *stream;
	int64_t now = conn_now(conn), at;
	unsigned timer;

	while ((stream = stream_next(&conn->session->streams, &walk)) && out->length + ROOM < out->size) {
		if (stream->stage == STREAM_CUT)
			continue;
		at = stream_deadline(stream, &timer);
		text_printf(out, "%s{\"stream\":%u,\"phase\":\"%s\",\"age_ms\":%lld,\"idle_ms\":%lld", out->length ? "," : "", stream->id,
		            words_phase(stream_phase(stream)), (long long)(now - stream->begun_us / 1000), (long long)(now - stream->last));
		if (stream->status)
			text_printf(out, ",\"status\":%u", stream->status);
		if (at != INT64_MAX)
			text_printf(out, ",\"deadline_ms\":%lld,\"timer\":\"%s\"", (long long)(at > now ? at - now : 0), clock_name(timer));
		text_printf(out, ",\"sent_client\":%llu,\"sent_server\":%llu}", (unsigned long long)stream->data[FLOW_DOWN],
		            (unsigned long long)stream->data[FLOW_UP]);
	}
}

bool clock_next_timer(const struct conn *conn, struct deadline *deadline, const struct timeout_value **value)
{
	struct stream_walk walk = {0};
	const struct stream *stream;
	bool found = false;
	unsigned timer;
	int64_t at;

	while ((stream = stream_next(&conn->session->streams, &walk))) {
		at = stream_deadline(stream, &timer);
		if (timer >= TIMEOUT_NONE || at >= deadline->at)
			continue;
		*deadline = (struct deadline){.at = at, .timer = (enum timeout_id)timer};
		*value = &stream->terms->timeouts.of[timer];
		found = true;
	}
	return found;
}
