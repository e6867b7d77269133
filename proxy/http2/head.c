#include "proxy/http2/head.h"

#include <stdbool.h>
#include <string.h>

#include "lib/buf.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http2/header.h"
#include "proxy/http2/session.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/route.h"

enum {
	ANEW_MOST = 1 << 20,  /* of a block that is written anew */
};

int64_t head_grpc_timeout(struct slice value)
{
	static const char units[] = "HMSmun";
	static const struct {
		int64_t multiply, divide;
	} factors[] = {{3600000, 1}, {60000, 1}, {1000, 1}, {1, 1}, {1, 1000}, {1, 1000000}};
	const char *unit;
	int64_t number = 0;

	if (value.length < 2 || value.length > 9)
		return 0;
	for (size_t i = 0; i + 1 < value.length; i++) {
		if (value.bytes[i] < '0' || value.bytes[i] > '9')
			return 0;
		number = 10 * number + value.bytes[i] - '0';
	}
	unit = memchr(units, value.bytes[value.length - 1], sizeof units - 1);
	if (!unit)
		return 0;
	number = number * factors[unit - units].multiply;
	return (number + factors[unit - units].divide - 1) / factors[unit - units].divide;
}

bool head_is_grpc(struct slice value)
{
	static const char type[] = "application/grpc";

	return value.length >= sizeof type - 1 && !memcmp(value.bytes, type, sizeof type - 1) &&
	       (value.length == sizeof type - 1 || strchr("+;", value.bytes[sizeof type - 1]));
}

/* Whose rules look at it, and who writes it into a log. */
static bool head_is_wanted(const struct conn *conn)
{
	const struct exchange_settings *settings = conn->worker->proxy->exchange;

	return settings->log_paths || settings->access_log || policy_target_has_routes(conn->target);
}

void head_begin(struct session *session)
{
	buf_clear(&session->list);
	session->list_over = false;
	session->no_memory |= !steer_renew(session->conn); /* the target that is asked below is of the newest policy, or it is gone */
	session->keep_list = head_is_wanted(session->conn);
	memset(session->method, 0, sizeof session->method);
	memset(session->path, 0, sizeof session->path);
	memset(session->authority, 0, sizeof session->authority);
}

static void head_write_anew(struct session *session, struct flow *flow, const struct header_line *field)
{
	if (!flow->anew || flow->block.dropped)
		return;
	flow->anew_over |= buf_length(&flow->block.anew) > ANEW_MOST;
	session->no_memory |= !flow->anew_over && header_put(&flow->block.anew, field);
}

/* Lengths, name and value, one behind the other. */
static void head_keep(struct session *session, const struct header_line *field)
{
	uint32_t lengths[2] = {(uint32_t)field->name.length, (uint32_t)field->value.length};
	uint32_t value = (uint32_t)(buf_length(&session->list) + sizeof lengths) + lengths[0];
	uint32_t *place = slice_is(field->name, ":method") ? session->method
	                  : slice_is(field->name, ":path") ? session->path
	                  : slice_is(field->name, ":authority") || (!session->authority[1] && slice_is(field->name, "host")) ? session->authority
	                                                                                                                     : NULL;

	if (session->list_over || value + lengths[1] > HEAD_LIST_MOST) {
		session->list_over = true;
		return;
	}
	session->list_over |= buf_append(&session->list, lengths, sizeof lengths) || buf_append(&session->list, field->name.bytes, lengths[0]) ||
	                      buf_append(&session->list, field->value.bytes, lengths[1]);
	if (!place)
		return;
	place[0] = value;
	place[1] = lengths[1];
}

void head_up(void *owner, const struct header_line *field)
{
	struct session *session = owner;
	struct flow *flow = &session->flows[FLOW_UP];
	struct block *block = &flow->block;

	head_write_anew(session, flow, field);
	if (session->keep_list)
		head_keep(session, field);
	if (slice_is(field->name, ":method"))
		block->connect = slice_is(field->value, "CONNECT");
	else if (slice_is(field->name, "content-type"))
		block->grpc = head_is_grpc(field->value);
	else if (slice_is(field->name, "user-agent"))
		block->probe = field->value.length > 11 && !memcmp(field->value.bytes, "kube-probe/", 11);
	else if (slice_is(field->name, "grpc-timeout"))
		block->grpc_timeout = head_grpc_timeout(field->value);
}

/* Three digits; else 0. */
static uint16_t head_status(struct slice value)
{
	uint16_t status = 0;

	if (value.length != 3)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (value.bytes[i] < '0' || value.bytes[i] > '9')
			return 0;
		status = (uint16_t)(10 * status + value.bytes[i] - '0');
	}
	return status;
}

/* One or two digits; what is no status of gRPC's is UNKNOWN. */
static int8_t head_grpc_status(struct slice value)
{
	enum { UNKNOWN = 2, LAST = 16 };
	int status = 0;

	if (!value.length || value.length > 2)
		return UNKNOWN;
	for (size_t i = 0; i < value.length; i++) {
		if (value.bytes[i] < '0' || value.bytes[i] > '9')
			return UNKNOWN;
		status = 10 * status + value.bytes[i] - '0';
	}
	return (int8_t)(status <= LAST ? status : UNKNOWN);
}

void head_down(void *owner, const struct header_line *field)
{
	struct session *session = owner;
	struct flow *flow = &session->flows[FLOW_DOWN];

	head_write_anew(session, flow, field);
	if (slice_is(field->name, ":status"))
		flow->block.status = head_status(field->value);
	else if (slice_is(field->name, "grpc-status"))
		flow->block.grpc_status = head_grpc_status(field->value);
}

static bool head_next_field(const struct request_head *head, size_t *at, struct slice *name, struct slice *value)
{
	const uint8_t *list = head->fields;
	uint32_t lengths[2];

	while (*at < head->size) {
		memcpy(lengths, list + *at, sizeof lengths);
		*name = (struct slice){list + *at + sizeof lengths, lengths[0]};
		*value = (struct slice){name->bytes + lengths[0], lengths[1]};
		*at += sizeof lengths + lengths[0] + lengths[1];
		if (lengths[0] && name->bytes[0] != ':')
			return true;
	}
	return false;
}

static struct slice head_part(const struct session *session, const uint32_t part[static 2])
{
	return (struct slice){buf_bytes(&session->list) + part[0], part[1]};
}

void head_request(const struct session *session, struct request_head *out)
{
	*out = (struct request_head){.next_field = head_next_field};
	if (!session->keep_list || session->list_over)
		return;
	out->method = head_part(session, session->method);
	out->authority = head_part(session, session->authority);
	out->path = head_part(session, session->path);
	out->fields = buf_bytes(&session->list);
	out->size = buf_length(&session->list);
}
