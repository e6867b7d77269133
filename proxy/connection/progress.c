#include "proxy/connection/progress.h"

#include <errno.h>
#include <poll.h>

#include "lib/duration.h"
#include "lib/sock.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/worker.h"
#include "proxy/leg/leg.h"
#include "proxy/leg/pump.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

/* What the kernel holds for the peer; a FIN of ours that is not acknowledged counts there as a byte. */
static uint64_t progress_queued(const struct leg *leg)
{
	int queued = leg_open(leg) && !leg->connecting ? sock_send_queue(leg->source.fd) : 0;

	if (queued > 0 && leg->fin_sent)
		queued--;
	return queued > 0 ? (uint64_t)queued : 0;
}

uint64_t progress_undelivered(const struct leg *leg)
{
	return progress_queued(leg) + buf_length(&leg->out) + pump_waiting(leg);
}

/* True when something of it is still outstanding. *at: when the peer last acknowledged bytes, if it did since the last look. */
static bool progress_look_at(struct leg *leg, int64_t now, int64_t *at)
{
	uint64_t queued = progress_queued(leg), delivered = leg->sent - queued;
	struct tcp_info info;

	if (delivered > leg->delivered && !sock_info(leg->source.fd, &info)) {
		if (now - info.tcpi_last_ack_recv > *at)
			*at = now - info.tcpi_last_ack_recv;
		leg->unacked_since = now; /* what is outstanding was sent after the last look, or that acknowledgement came after it */
	}
	leg->delivered = delivered;
	if (!queued)
		leg->unacked_since = 0;
	return queued || leg_pending(leg);
}

void progress_look(struct conn *conn)
{
	int64_t now = conn_now(conn), at = conn->instants[INSTANT_LAST_BYTE];
	bool outstanding = progress_look_at(&conn->client, now, &at);

	if (conn->upstream)
		outstanding |= progress_look_at(&conn->upstream->leg, now, &at);
	conn->instants[INSTANT_LAST_BYTE] = at;
	if (conn->instants[INSTANT_IDLE] && conn->instants[INSTANT_IDLE] < at && conn->stage != STAGE_STREAMS) /* where what was acknowledged may be a PING */
		conn->instants[INSTANT_IDLE] = at;
	conn->instants[INSTANT_LOOKED] = outstanding ? now : 0;
}

static struct pollfd progress_awaited(const struct leg *leg)
{
	short events = 0;

	if (leg->connecting || leg_pending(leg))
		events |= POLLOUT;
	if (!leg->connecting && !leg->fin_received)
		events |= POLLIN | POLLRDHUP;
	return (struct pollfd){leg->source.fd, events, 0};
}

void progress_catch_up(struct conn *conn)
{
	struct upstream *upstream = conn->upstream;
	struct pollfd fds[2] = {progress_awaited(&conn->client), {-1, 0, 0}};

	if (upstream)
		fds[1] = progress_awaited(&upstream->leg);
	if (poll(fds, 2, 0) <= 0)
		return;
	/* The server first: its answer is what a client that has gone meanwhile was waiting for. */
	if (upstream && fds[1].revents)
		upstream->leg.source.ready(&upstream->leg.source, (uint32_t)fds[1].revents);
	if (fds[0].revents && leg_open(&conn->client))
		conn->client.source.ready(&conn->client.source, (uint32_t)fds[0].revents);
}

/* The peer has acknowledged nothing for `limit`: is it gone, or has it merely closed its window? Moves unacked_since on. */
static bool progress_vanished(struct leg *leg, int64_t now, int64_t limit)
{
	enum { UNANSWERED_PROBES = 3 };
	struct tcp_info info;
	int64_t last_ack;

	if (!leg->unacked_since || now - leg->unacked_since < limit)
		return false;
	if (sock_info(leg->source.fd, &info) || (!info.tcpi_unacked && !progress_queued(leg))) {
		leg->unacked_since = 0;
		return false;
	}
	last_ack = now - info.tcpi_last_ack_recv;
	if (last_ack > leg->unacked_since) {
		leg->unacked_since = last_ack;
		return false;
	}
	if ((info.tcpi_unacked && info.tcpi_retransmits) || info.tcpi_probes >= UNANSWERED_PROBES)
		return true;
	leg->unacked_since = now; /* it was not asked again yet: the kernel is in no hurry */
	return false;
}

/* How many probes of TCP keep-alive went unanswered when the kernel gave up; 0: it was not they that found it. */
static unsigned progress_probes(const struct leg *leg)
{
	struct tcp_info info;

	return progress_queued(leg) || sock_info(leg->source.fd, &info) ? 0 : info.tcpi_probes;
}

const char *progress_vanished_words(const struct conn *conn, const struct leg *leg, struct text *out)
{
	const struct worker_settings *settings = conn->worker->proxy->settings;
	char idle[DURATION_TEXT_SIZE], interval[DURATION_TEXT_SIZE];
	unsigned probes = progress_probes(leg);

	if (leg->vanished)
		text_string(out, ", found by asking the kernel for its last acknowledgement");
	else if (!probes)
		text_string(out, ", found by the kernel, which sent again what was outstanding until it gave up");
	else
		text_printf(out,
		            ", found by TCP keep-alive: %u probe%s not answered (--keepalive-idle %s, --keepalive-interval %s, "
		            "--keepalive-probes %lld)",
		            probes, probes == 1 ? " was" : "s were", duration_format(settings->keepalive_idle, idle),
		            duration_format(settings->keepalive_interval, interval), (long long)settings->keepalive_probes);
	return out->data;
}

void progress_check_unacknowledged(struct conn *conn)
{
	int64_t now = conn_now(conn), limit = conn->terms->timeouts.of[TIMEOUT_UNACKNOWLEDGED].milliseconds;

	if (progress_vanished(&conn->client, now, limit)) {
		conn->client.vanished = true;
		leg_fail(&conn->client, -ETIMEDOUT);
		conn->proto->client_failed(conn);
		return;
	}
	if (conn->upstream && progress_vanished(&conn->upstream->leg, now, limit)) {
		conn->upstream->leg.vanished = true;
		leg_fail(&conn->upstream->leg, -ETIMEDOUT);
		conn->proto->server_failed(conn);
	}
}
