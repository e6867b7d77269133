#include "proxy/connection/record.h"

#include <string.h>

#include "lib/duration.h"
#include "lib/log.h"
#include "lib/text.h"
#include "proxy/connection/advice.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/proto.h"
#include "proxy/connection/tls_hello.h"
#include "proxy/connection/worker.h"
#include "proxy/metrics/metrics.h"
#include "proxy/policy/terms.h"
#include "proxy/server/upstream.h"

static void record_addresses(struct log_line *line, const struct addr *client, const struct addr *server)
{
	char text[ADDR_TEXT_SIZE];

	log_string(line, "client", addr_format(client, text));
	if (server->family)
		log_string(line, "server", addr_format(server, text));
}

static void record_protocol(struct log_line *line, const struct conn *conn)
{
	if (conn->protocol == PROTOCOL_UNDETECTED)
		return;
	if (conn->protocol == PROTOCOL_HTTP1 && conn->requests && conn->http_minor == 0)
		log_string(line, "protocol", "http/1.0");
	else
		log_string(line, "protocol", words_protocol(conn->protocol));
}

static void record_timer(struct log_line *line, const struct conn *conn, enum timeout_id timer)
{
	char text[DURATION_TEXT_SIZE];

	if (timer == TIMEOUT_NONE)
		return;
	log_string(line, "timer", timeouts_name(timer));
	log_string(line, "value", duration_format(conn_timeout(conn, timer)->milliseconds, text));
	log_string(line, "set_by", conn_timeout(conn, timer)->source);
	if (timeouts_counted_from(conn_timeout(conn, timer)))
		log_string(line, "counted_from", timeouts_counted_from(conn_timeout(conn, timer)));
}

/* Which timers were set and apply to requests only, since those are not read any more. */
static void record_unread(struct log_line *line, const struct conn *conn)
{
	static const enum timeout_id timers[] = {TIMEOUT_REQUEST, TIMEOUT_BACKEND_REQUEST, TIMEOUT_REQUEST_HEADERS};
	TEXT_ON_STACK(off, 96);

	if (!conn->unread)
		return;
	log_string(line, "unread", conn->unread->words);
	for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
		if (conn_timeout(conn, timers[i])->milliseconds)
			text_printf(&off, "%s%s", off.length ? " " : "", timeouts_name(timers[i]));
	if (off.length)
		log_string(line, "timers_off", off_bytes);
}

static void record_server_leg(struct log_line *line, const struct conn *conn)
{
	TEXT_ON_STACK(text, 128);

	if (conn->server_reused)
		text_printf(&text, "reused:%u", conn->server_reused);
	leg_describe(conn->server_events, "server", &text);
	log_string(line, "server_leg", text.length ? text_bytes : "kept");
}

static void record_legs(struct log_line *line, const struct conn *conn)
{
	const struct upstream *upstream = conn->upstream;
	uint64_t sent_server = conn->sent_server + (upstream ? upstream->leg.sent - upstream->sent_before : 0);
	TEXT_ON_STACK(events, 96);

	log_number(line, "sent_client", (int64_t)conn->client.sent);
	log_number(line, "sent_server", (int64_t)sent_server);
	leg_describe(conn->client.events, "client", &events);
	if (events.length)
		log_string(line, "client_leg", events_bytes);
	if (conn->server_legs)
		record_server_leg(line, conn);
	if (conn->server_legs > 1)
		log_number(line, "server_legs", conn->server_legs);
	if (conn->retries)
		log_number(line, "retries", conn->retries);
}

static void record_tls(struct log_line *line, const struct conn *conn)
{
	if (conn->protocol != PROTOCOL_TLS || !conn->tls)
		return;
	if (conn->tls->server_name[0])
		log_string(line, "sni", conn->tls->server_name);
	if (conn->tls->alpn[0])
		log_string(line, "alpn", conn->tls->alpn);
}

static void record_http(struct log_line *line, const struct conn *conn)
{
	const char *space;

	if (conn->protocol != PROTOCOL_HTTP1 || !conn->last_request)
		return;
	space = strchr(conn->last_request, ' ');
	log_bytes(line, "last_method", conn->last_request, (size_t)(space - conn->last_request));
	log_string(line, "last_path", space + 1);
	if (conn->last_status)
		log_number(line, "last_status", conn->last_status);
}

void record_subject(struct log_line *line, const struct conn *conn)
{
	log_string(line, "direction", words_direction(conn->direction));
	record_protocol(line, conn);
	record_addresses(line, &conn->client_addr, &conn->server_addr);
	if (conn->terms->service)
		log_string(line, "service", conn->terms->service);
}

/* What of the configuration applied: the rule, and where that sent it. */
void record_rule(struct log_line *line, const struct conn *conn)
{
	char text[ADDR_TEXT_SIZE];

	if (conn->terms->rule)
		log_string(line, "route", conn->terms->rule);
	if (conn->dial.family)
		log_string(line, "backend", addr_format(&conn->dial, text));
}

/* Opens the line, unless its level is not wanted or its reason has had its share of this second. */
static bool record_begin(struct log_line *line, struct worker *worker, enum log_level level, const char *message,
                         enum reason_id reason, uint64_t *suppressed)
{
	int64_t rate = worker->proxy->settings->log_rate;

	if (!log_wants(worker->log, level))
		return false;
	if (rate && !log_limit_pass(&worker->record_limits[reason], worker_now(worker), (int)rate, suppressed)) {
		metrics_add(worker->metrics, METRIC_RECORDS_SUPPRESSED, reason, 0, 0, 0, 1);
		return false;
	}
	log_begin(line, worker->log, level, message);
	log_string(line, "reason", reason_row(reason)->name);
	return true;
}

static void record_socket_number(struct log_line *line, const char *side, const char *name, uint64_t value)
{
	TEXT_ON_STACK(key, 40);

	text_printf(&key, "%s_%s", side, name);
	log_number(line, key_bytes, (int64_t)value);
}

/* The kernel's view of one socket. */
static void record_socket(struct log_line *line, const char *side, const struct ending_leg *leg)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
	    {"rtt_us", leg->rtt_us},
	    {"retransmits", leg->retransmits},
	    {"unacked", leg->unacked},
	    {"probes", leg->probes},
	    {"notsent", leg->notsent},
	    {"last_data_recv_ms", leg->last_data_recv_ms},
	    {"last_ack_recv_ms", leg->last_ack_recv_ms},
	};

	if (!leg->known)
		return;
	if (leg->connecting) {
		record_socket_number(line, side, "syn_retransmits", leg->retransmits);
		return;
	}
	record_socket_number(line, side, "undelivered", leg->undelivered);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		record_socket_number(line, side, fields[i].name, fields[i].value);
}

static void record_write(struct conn *conn, const struct ending *ending, const char *message, enum log_level level)
{
	const struct reason *row = reason_row(ending->reason);
	struct worker *worker = conn->worker;
	uint64_t suppressed = 0;
	struct log_line line;

	if (!record_begin(&line, worker, level, message, ending->reason, &suppressed))
		return;
	log_string(&line, "by", reason_by_name(ending->by));
	log_string(&line, "phase", words_phase(ending->phase));
	record_subject(&line, conn);
	record_rule(&line, conn);
	if (conn->protocol == PROTOCOL_HTTP1)
		log_number(&line, "requests", conn->requests);
	log_seconds(&line, "open_s", ending->at - conn->instants[INSTANT_ACCEPTED]);
	log_seconds(&line, "idle_s", ending->idle_ms);
	record_timer(&line, conn, ending->timer);
	record_unread(&line, conn);
	record_legs(&line, conn);
	record_tls(&line, conn);
	record_http(&line, conn);
	if (conn->protocol == PROTOCOL_HTTP2 && conn->session)
		worker->proxy->http2_proto->record(conn, &line);
	if (ending->legs) {
		record_socket(&line, "client", &ending->legs->client);
		record_socket(&line, "server", &ending->legs->server);
	}
	if (suppressed)
		log_number(&line, "suppressed", (int64_t)suppressed);
	log_string(&line, "detail", ending->detail ? ending->detail : row->sentence);
	log_end(&line);
}

/* Probes come every few seconds for as long as a pod lives: those that ended as they should are for who looks closely. */
static enum log_level record_level(const struct conn *conn, enum reason_id reason)
{
	bool clean = reason == REASON_DONE || reason == REASON_CONNECTION_CLOSE || reason == REASON_CLIENT_CLOSED_IDLE;

	if (conn->unread)
		return LOG_WARN; /* one bad byte switched the timers of requests off */
	if (clean && conn->only_probes && conn->direction == DIRECTION_INBOUND)
		return LOG_DEBUG;
	return reason_row(reason)->level;
}

bool record_wanted(const struct conn *conn, enum reason_id reason)
{
	const struct worker *worker = conn->worker;
	int64_t rate = worker->proxy->settings->log_rate;

	return log_wants(worker->log, record_level(conn, reason)) &&
	       !(rate && log_limit_spent(&worker->record_limits[reason], worker_now(worker), (int)rate));
}

void record_connection(struct conn *conn)
{
	record_write(conn, &conn->ending, "connection closed", record_level(conn, conn->ending.reason));
}

void record_exchange(struct conn *conn, const struct ending *ending)
{
	record_write(conn, ending, "request failed", reason_row(ending->reason)->level);
}

void record_unborn(struct worker *worker, const struct origin *origin)
{
	const struct reason *row = reason_row(REASON_MEMORY_LIMIT);
	uint64_t suppressed = 0;
	const struct advice nothing_known = {.timer = TIMEOUT_NONE};
	struct log_line line;
	TEXT_ON_STACK(detail, ADVICE_DETAIL_SIZE);

	metrics_add(worker->metrics, METRIC_CONNECTIONS_OPENED, origin->direction, 0, 0, 0, 1);
	metrics_add(worker->metrics, METRIC_CONNECTIONS_CLOSED, origin->direction, REASON_MEMORY_LIMIT, row->by, STAGE_ACCEPT, 1);
	if (!record_begin(&line, worker, row->level, "connection closed", REASON_MEMORY_LIMIT, &suppressed))
		return;
	log_string(&line, "by", reason_by_name(row->by));
	log_string(&line, "phase", "accept");
	log_string(&line, "direction", words_direction(origin->direction));
	record_addresses(&line, &origin->client, &origin->destination);
	log_seconds(&line, "open_s", 0);
	log_seconds(&line, "idle_s", 0);
	log_number(&line, "sent_client", 0);
	log_number(&line, "sent_server", 0);
	if (suppressed)
		log_number(&line, "suppressed", (int64_t)suppressed);
	advice_detail(REASON_MEMORY_LIMIT, &nothing_known, row->sentence, "", &detail);
	log_string(&line, "detail", detail_bytes);
	log_end(&line);
}

void record_suppressed(struct worker *worker)
{
	struct log_line line;

	for (int id = 0; id < REASON_COUNT; id++) {
		uint64_t suppressed = worker->record_limits[id].suppressed;

		if (!suppressed || !log_wants(worker->log, LOG_INFO))
			continue;
		worker->record_limits[id].suppressed = 0;
		log_begin(&line, worker->log, LOG_INFO, "records held back");
		log_string(&line, "reason", reason_row(id)->name);
		log_number(&line, "suppressed", (int64_t)suppressed);
		log_end(&line);
	}
}
