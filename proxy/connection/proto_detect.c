/* The first stage. Bytes that wait decide at once; a silent client gets its server dialled after a short grace, and whichever side
 * speaks first settles it: a server that does makes the connection opaque, with no list of ports and no stall. */
#include "proxy/connection/proto_detect.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/conn_events.h"
#include "proxy/connection/detect.h"
#include "proxy/connection/probes.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/server_leg.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/tls_hello.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/input.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/policy.h"
#include "proxy/server/upstream.h"

static void proto_detect_dial_failed(struct conn *conn, int error)
{
	conn_enter(conn, STAGE_CONNECT);
	conn_close_dial_failed(conn, error);
}

static void proto_detect_decided(struct conn *conn, enum protocol protocol)
{
	struct metrics *metrics = conn->worker->metrics;

	conn->protocol = protocol;
	conn->instants[INSTANT_FIRST_BYTE] = 0;
	metrics_add(metrics, METRIC_DETECTED, conn->direction, protocol, 0, 0, 1);
	metrics_observe(metrics, METRIC_DETECT_SECONDS, conn->direction, 0,
	                (conn_now(conn) - conn->instants[INSTANT_ACCEPTED]) * 1000);
	PROBE_DETECT(conn->id, words_protocol(protocol));
}

/* Opaque from here on; what the client sent is held in its leg. */
static void proto_detect_opaque(struct conn *conn, enum protocol protocol, const uint8_t *server_bytes, size_t length)
{
	int result;

	proto_detect_decided(conn, protocol);
	if (!steer_opaque(conn))
		return;
	result = conn->upstream ? 0 : server_leg_dial(conn);
	if (result) {
		proto_detect_dial_failed(conn, result);
		return;
	}
	conn_enter(conn, conn->upstream->leg.connecting ? STAGE_CONNECT : STAGE_OPAQUE);
	proto_opaque_start(conn, server_bytes, length);
}

/* Its server is dialled before anything is understood, so that a failed dial is the client's to hear as a failed connection. False: it was,
 * or there is no such server. */
static bool proto_detect_begin_http2(struct conn *conn)
{
	int result;

	proto_detect_decided(conn, PROTOCOL_HTTP2);
	if (!steer_opaque(conn))
		return false;
	result = conn->upstream ? 0 : server_leg_dial(conn);
	if (result) {
		proto_detect_dial_failed(conn, result);
		return false;
	}
	conn->proto = conn->worker->proxy->http2_proto;
	conn_enter(conn, conn->upstream->leg.connecting ? STAGE_CONNECT : STAGE_STREAMS);
	return true;
}

static void proto_detect_http2(struct conn *conn, struct input *input)
{
	if (proto_detect_begin_http2(conn))
		conn->proto->first(conn, input);
}

/* A silent client's server spoke, and what it said is HTTP/2. */
static void proto_detect_http2_server(struct conn *conn, uint8_t *bytes, size_t length)
{
	if (proto_detect_begin_http2(conn))
		conn->proto->first_of_server(conn, bytes, length);
}

static void proto_detect_http1(struct conn *conn, struct input *input, bool refused)
{
	const struct proto *http1 = conn->worker->proxy->http1_proto;
	int64_t begun = conn->instants[INSTANT_FIRST_BYTE];

	proto_detect_decided(conn, PROTOCOL_HTTP1);
	conn->instants[INSTANT_IDLE] = conn_now(conn);
	conn->proto = http1;
	conn_enter(conn, STAGE_IDLE);
	if (refused)
		http1->refuse_first(conn, input);
	else
		http1->first(conn, input);
	if (conn->instants[INSTANT_HEAD])
		conn->instants[INSTANT_HEAD] = begun;
}

/* Not a request, but near enough that a server may take it for one: it may not get past rules that choose. */
static bool proto_detect_must_refuse(const struct conn *conn, const uint8_t *bytes, size_t length)
{
	return detect_begins_request(bytes, length) && !conn->worker->proxy->http1_proto->may_go_unread(conn);
}

/* True when the hello is complete or will never be one. */
static bool proto_detect_tls(struct conn *conn, const struct input *input)
{
	struct tls_hello hello;
	int result = tls_hello_parse(input->bytes, input->length, &hello);

	if (result == -EAGAIN && input->length < TLS_HELLO_MOST)
		return false;
	if (!result && (conn->tls = malloc(sizeof hello)))
		*conn->tls = hello;
	return true;
}

static void proto_detect_bytes(struct conn *conn, struct input *input)
{
	enum protocol protocol = detect_protocol(input->bytes, input->length);

	if (!conn->instants[INSTANT_FIRST_BYTE])
		conn->instants[INSTANT_FIRST_BYTE] = conn_now(conn);
	conn_touch(conn);
	if (protocol == PROTOCOL_TLS && !proto_detect_tls(conn, input))
		protocol = PROTOCOL_UNDETECTED;
	if (protocol == PROTOCOL_HTTP1)
		proto_detect_http1(conn, input, false);
	else if (protocol == PROTOCOL_HTTP2)
		proto_detect_http2(conn, input);
	else if (protocol == PROTOCOL_OPAQUE && proto_detect_must_refuse(conn, input->bytes, input->length))
		proto_detect_http1(conn, input, true);
	else if (input_hold(input, &conn->client, 0))
		conn_close(conn, cause_of(REASON_MEMORY_LIMIT), NULL);
	else if (protocol != PROTOCOL_UNDETECTED)
		proto_detect_opaque(conn, protocol, NULL, 0);
}

/* Time, or the client's end, has decided. */
static void proto_detect_undecided(struct conn *conn, enum protocol protocol)
{
	struct input input;

	if (!proto_detect_must_refuse(conn, buf_bytes(&conn->client.in), buf_length(&conn->client.in))) {
		proto_detect_opaque(conn, protocol, NULL, 0);
		return;
	}
	input_take(&input, &conn->client);
	proto_detect_http1(conn, &input, true);
	input_free(&input);
}

static void proto_detect_client_readable(struct conn *conn)
{
	struct input input;
	int got = input_read(&input, &conn->client, conn->worker->scratch, WORKER_SCRATCH);

	if (got > 0)
		proto_detect_bytes(conn, &input);
	else if (got < 0 && conn->client.fin_received)
		/* A probe, or a client that only listens: its server hears the FIN and has the last word. */
		proto_detect_undecided(conn, buf_length(&conn->client.in) ? PROTOCOL_OPAQUE : PROTOCOL_UNDETECTED);
	else if (got < 0)
		conn_close_client_failed(conn);
	input_free(&input);
}

static void proto_detect_server_readable(struct conn *conn)
{
	struct worker *worker = conn->worker;
	int got = leg_read(&conn->upstream->leg, worker->scratch, WORKER_SCRATCH);

	if (got > 0) {
		conn_touch(conn);
		if (detect_server_http2(worker->scratch, (size_t)got) && detect_may_be_http2(buf_bytes(&conn->client.in), buf_length(&conn->client.in)))
			proto_detect_http2_server(conn, worker->scratch, (size_t)got);
		else
			proto_detect_opaque(conn, PROTOCOL_OPAQUE, worker->scratch, (size_t)got);
	} else if (got < 0) {
		proto_detect_opaque(conn, PROTOCOL_OPAQUE, NULL, 0);
		if (conn->stage == STAGE_OPAQUE && !conn->upstream->leg.fin_received)
			conn->proto->server_failed(conn);
	}
}

static void proto_detect_server_connected(struct conn *conn, int result)
{
	if (result)
		proto_detect_dial_failed(conn, result);
}

static void proto_detect_server_failed(struct conn *conn)
{
	proto_detect_dial_failed(conn, conn->upstream->leg.error);
}

static void proto_detect_writable(struct conn *conn)
{
	/* Nothing is written before the protocol is known. */
}

static void proto_detect_end_silent(struct conn *conn)
{
	conn_close(conn, cause_of(REASON_DRAIN), "the proxy is shutting down; neither side has sent a byte");
}

/* The grace is over: the server may speak first. While draining it has a second to do so. */
static void proto_detect_grace_over(struct conn *conn)
{
	enum { DRAIN_GRACE_MS = 1000 };
	int result = conn->upstream ? 0 : server_leg_dial(conn);

	if (result)
		proto_detect_dial_failed(conn, result);
	else if (conn->worker->leaving)
		conn_arm(conn, ALARM_DRAIN_GRACE, conn_now(conn) + DRAIN_GRACE_MS);
}

static void proto_detect_expired(struct conn *conn, enum timeout_id timer)
{
	switch (timer) {
	case TIMEOUT_DETECT:
		metrics_add(conn->worker->metrics, METRIC_TIMEOUTS, TIMEOUT_DETECT,
		            metrics_level(conn_timeout(conn, TIMEOUT_DETECT)->source), 0, 0, 1);
		proto_detect_undecided(conn, PROTOCOL_OPAQUE);
		break;
	case TIMEOUT_CONNECT:
		conn_close_dial_failed(conn, 0);
		break;
	default:
		conn_close(conn, cause_timer(REASON_TCP_IDLE_TIMEOUT, TIMEOUT_TCP_IDLE), "neither side ever sent a byte");
		break;
	}
}

static void proto_detect_alarmed(struct conn *conn, enum alarm alarm)
{
	if (alarm == ALARM_GRACE)
		proto_detect_grace_over(conn);
	else if (!conn->client.received)
		proto_detect_end_silent(conn);
}

static void proto_detect_drain(struct conn *conn)
{
	/* Past the grace and nobody has said a word: there is nothing to finish. */
	if (!conn->alarm && !conn->client.received)
		proto_detect_end_silent(conn);
}

void proto_detect_start(struct conn *conn)
{
	const struct worker_settings *settings = conn->worker->proxy->settings;

	conn_enter(conn, STAGE_DETECT);
	if (conn->refusal || ports_contain(&settings->opaque_ports, conn->server_addr.port) ||
	    policy_is_opaque(conn->worker->terms.policy, conn->direction, conn->target, conn->server_addr.port)) {
		proto_detect_opaque(conn, PROTOCOL_OPAQUE, NULL, 0);
	} else {
		conn_arm(conn, ALARM_GRACE, conn_now(conn) + settings->detect_grace);
		proto_detect_client_readable(conn);
	}
	conn_settle(conn);
}

const struct proto proto_detect = {
    .name = "detect",
    .client_readable = proto_detect_client_readable,
    .client_writable = proto_detect_writable,
    .server_connected = proto_detect_server_connected,
    .server_readable = proto_detect_server_readable,
    .server_writable = proto_detect_writable,
    .client_failed = conn_close_client_failed,
    .server_failed = proto_detect_server_failed,
    .expired = proto_detect_expired,
    .alarmed = proto_detect_alarmed,
    .drain = proto_detect_drain,
};
