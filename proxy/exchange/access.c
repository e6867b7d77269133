#include "proxy/exchange/access.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/record.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/policy/route.h"

enum {
	HOST_MOST = 255,             /* of a DNS name (RFC 1035 §2.3.4) */
	TARGET_MOST = LOG_LINE_SIZE, /* longer ones make the line longer than it may be, and it says so */
	LINE_MOST = 512,             /* of a request line that was refused */
};

static struct slice access_cut(struct slice slice, size_t most)
{
	return (struct slice){slice.bytes, slice.length < most ? slice.length : most};
}

/* Appends it; its length. */
static size_t access_copy(char **to, struct slice slice)
{
	if (slice.length)
		memcpy(*to, slice.bytes, slice.length);
	*to += slice.length;
	return slice.length;
}

void access_begin(struct conn *conn, const struct request_head *head, struct slice target)
{
	struct slice host;
	struct route_request request;
	struct access *access;
	char *end;

	target = access_cut(target, TARGET_MOST);
	route_request_read(&request, head);
	host = access_cut(request.host, HOST_MOST);
	access = malloc(sizeof *access + head->method.length + host.length + target.length);
	if (!access)
		return;
	end = access->bytes;
	*access = (struct access){
	    .request_bytes = head->size, .sent_before = conn->client.sent, .retries_before = conn->retries};
	access->method = access_copy(&end, head->method);
	access->host = access_copy(&end, host);
	access->target = access_copy(&end, target);
	conn->exchange->access = access;
}

/* Who answered the client: "cut" is a response of the server that it got only a part of. */
static const char *access_answer(const struct exchange *exchange)
{
	if (exchange->own_answer)
		return "proxy";
	if (exchange->through)
		return exchange->status ? "server" : "unread";
	return exchange->status ? "cut" : "none";
}

/* Why the proxy answered itself, or why there was no whole answer. */
static enum reason_id access_reason(const struct conn *conn)
{
	const struct exchange *exchange = conn->exchange;

	return exchange->own_answer ? exchange->failure : exchange->through ? REASON_NONE : exchange->ended;
}

static void access_figures(struct log_line *line, const struct conn *conn, const struct access *access)
{
	const struct exchange *exchange = conn->exchange;
	uint64_t sent = conn->client.sent - access->sent_before;

	if (exchange->through) /* what is on its way counts too */
		sent += buf_length(&conn->client.out);
	if (conn->retries > access->retries_before)
		log_number(line, "retries", conn->retries - access->retries_before);
	log_number(line, "request_bytes", (int64_t)access->request_bytes);
	log_number(line, "response_bytes", (int64_t)sent);
	if (access->first_byte_us)
		log_precise_seconds(line, "first_byte_s", access->first_byte_us - exchange->started_us);
}

/* The target comes last: where a line is cut, only that is. */
static void access_head(struct log_line *line, const struct access *access)
{
	const char *host = access->bytes + access->method;

	log_bytes(line, "method", access->bytes, access->method);
	if (access->host)
		log_bytes(line, "host", host, access->host);
	log_bytes(line, "path", host + access->host, access->target);
}

static void access_write(const struct conn *conn, bool succeeded)
{
	const struct exchange *exchange = conn->exchange;
	enum reason_id reason = access_reason(conn);
	struct log_line line;

	log_begin(&line, conn->worker->log, LOG_INFO, "request");
	record_subject(&line, conn);
	record_rule(&line, conn);
	if (exchange->status)
		log_number(&line, "status", exchange->status);
	log_string(&line, "answer", access_answer(exchange));
	log_string(&line, "classification", succeeded ? "success" : "failure");
	if (reason)
		log_string(&line, "reason", reason_row(reason)->name);
	log_precise_seconds(&line, "duration_s", loop_now_us(conn->worker->loop) - exchange->started_us);
	if (exchange->access) {
		access_figures(&line, conn, exchange->access);
		access_head(&line, exchange->access);
	}
	log_end(&line);
}

void access_end(struct conn *conn, bool succeeded)
{
	if (log_wants(conn->worker->log, LOG_INFO))
		access_write(conn, succeeded);
	free(conn->exchange->access);
	conn->exchange->access = NULL;
}

void access_refused(struct conn *conn, enum reason_id reason, int status)
{
	const struct buf *in = &conn->client.in;
	struct log_line line;
	size_t length = 0;

	if (!conn->worker->proxy->exchange->access_log || !log_wants(conn->worker->log, LOG_INFO))
		return;
	while (length < buf_length(in) && length < LINE_MOST && buf_bytes(in)[length] != '\r' && buf_bytes(in)[length] != '\n')
		length++;
	log_begin(&line, conn->worker->log, LOG_INFO, "request");
	record_subject(&line, conn);
	log_number(&line, "status", status);
	log_string(&line, "answer", "proxy");
	log_string(&line, "classification", "failure");
	log_string(&line, "reason", reason_row(reason)->name);
	if (length)
		log_bytes(&line, "line", (const char *)buf_bytes(in), length);
	log_end(&line);
}
