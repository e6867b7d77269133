#include "proxy/connection/steer.h"

#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/text.h"
#include "proxy/connection/closing.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/snapshot.h"
#include "proxy/connection/tls_hello.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/exchange.h"
#include "proxy/http1/rewrite.h"
#include "proxy/options.h"
#include "proxy/policy/filter.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/route.h"
#include "proxy/server/upstream.h"

enum { LOCATION_MOST = 8192 };

static void steer_aim(struct conn *conn)
{
	conn->target = policy_target(conn->snapshot->policy, conn->direction, &conn->server_addr);
	conn->timeouts = policy_target_timeouts(conn->target);
	conn->rule = NULL;
	conn->dial = NULL;
}

static void steer_connection(struct conn *conn, const char *server_name)
{
	struct policy_choice choice;

	policy_connection(conn->target, server_name, &choice);
	conn->timeouts = choice.timeouts;
	conn->rule = choice.rule;
	conn->dial = choice.address;
	conn->refusal = choice.refusal;
}

void steer_accept(struct conn *conn)
{
	conn->snapshot = snapshot_use(conn->worker->snapshot);
	steer_aim(conn);
	if (policy_target_has_connection(conn->target))
		steer_connection(conn, NULL);
}

bool steer_opaque(struct conn *conn)
{
	if (conn->tls && conn->tls->server_name[0] && policy_target_has_connection(conn->target))
		steer_connection(conn, conn->tls->server_name);
	if (conn->refusal) {
		conn_close(conn, cause_of(conn->refusal), NULL);
		return false;
	}
	if (conn->upstream && !addr_equal(&conn->upstream->destination, conn_destination(conn)))
		upstream_drop(conn, false);
	return true;
}

/* --- requests --- */

static void steer_refuse_undecided(struct conn *conn, const struct route_request *request)
{
	const char *service = policy_target_name(conn->target), *pattern = request->work.pattern;

	if (pattern)
		exchange_fail(conn, cause_of(REASON_ROUTE_UNDECIDED),
		              "the regular expression \"%.200s\" of a rule of Service %s needs more work on this path of %zu bytes than the %d "
		              "steps, under 1 ms, and the %d KiB that one request may take for all its rules",
		              pattern, service, request->path.length, (int)REGEX_STEPS_MOST, (int)REGEX_HEAP_KIB);
	else
		exchange_fail(conn, cause_of(REASON_ROUTE_UNDECIDED),
		              "finding the rule of Service %s for this request, %zu bytes of head, takes more than %d steps, under 1 ms",
		              service, request->head_length, (int)REGEX_STEPS_MOST);
}

static void steer_refuse(struct conn *conn, const struct route_request *request)
{
	const struct policy_choice *choice = &conn->exchange->choice;
	struct policy_rule_view view = {0};

	if (choice->refusal == REASON_NO_ROUTE) {
		exchange_fail(conn, cause_of(choice->refusal), "no rule of the routes of Service %s takes %.*s %.*s with Host %.*s",
		              policy_target_name(conn->target), (int)request->method.length, (const char *)request->method.bytes,
		              request->path.length < 200 ? (int)request->path.length : 200, (const char *)request->path.bytes,
		              (int)request->host.length, (const char *)request->host.bytes);
		return;
	}
	if (choice->refusal == REASON_ROUTE_UNDECIDED) {
		steer_refuse_undecided(conn, request);
		return;
	}
	policy_rule_view(choice->rule, &view);
	if (choice->refusal == REASON_BACKEND_UNRESOLVED)
		exchange_fail(conn, cause_of(choice->refusal), "no address is known for Service %s/%s, a backend of %s",
		              choice->backend->namespace, choice->backend->name, view.text);
	else if (choice->filters && choice->filters->unusable)
		exchange_fail(conn, cause_of(choice->refusal), "%s has the filter %s, which this proxy does not carry out and must not skip",
		              view.text, choice->filters->unusable_what);
	else if (choice->backend)
		exchange_fail(conn, cause_of(choice->refusal), "the backend %s %s/%s of %s does not exist or cannot be dialled",
		              choice->backend->kind, choice->backend->namespace, choice->backend->name, view.text);
	else
		exchange_fail(conn, cause_of(choice->refusal), "every backend of %s has weight 0", view.text);
}

static void steer_redirect(struct conn *conn, const struct route_request *request)
{
	const struct policy_choice *choice = &conn->exchange->choice;
	const char *namespace, *name;
	uint16_t port = 0;
	TEXT_ON_STACK(location, LOCATION_MOST);

	policy_target_service(conn->target, &namespace, &name, &port);
	if (!port) /* of a Service without a document */
		port = conn->server_addr.port;
	filter_location(choice->filters->redirect, choice->match, request, port, &location);
	exchange_redirect(conn, choice->filters->redirect->status, location_bytes);
}

/* The path that the backend is to see, with the query. False: no memory, or no room. */
static bool steer_rewrite_path(struct conn *conn, const struct route_request *request)
{
	const struct policy_choice *choice = &conn->exchange->choice;
	/* What no URI may hold becomes three bytes. */
	size_t most = 3 * (request->path.length + strlen(choice->filters->rewrite_value)) + request->query.length + 4;
	char *bytes = malloc(most);
	struct text target;

	if (!bytes)
		return false;
	text_init(&target, bytes, most);
	filter_path(choice->filters->rewrite_path, choice->filters->rewrite_value, choice->match, request->path, &target);
	if (request->query.length) {
		text_char(&target, '?');
		text_append(&target, (const char *)request->query.bytes, request->query.length);
	}
	conn->exchange->target = bytes;
	return !target.truncated;
}

bool steer_request(struct conn *conn, const uint8_t *bytes, size_t head_length, const struct http1_head *head)
{
	struct policy_choice *choice = &conn->exchange->choice;
	struct route_request request;

	if (conn->snapshot != conn->worker->snapshot) {
		snapshot_release(conn->snapshot);
		conn->snapshot = snapshot_use(conn->worker->snapshot);
		steer_aim(conn);
	}
	if (!policy_target_has_routes(conn->target))
		return true;
	route_request_read(&request, bytes, head_length, head->method, head->target);
	policy_route(conn->target, &request, choice);
	conn->timeouts = choice->timeouts;
	conn->rule = choice->rule;
	conn->dial = choice->address;
	if (choice->refusal) {
		steer_refuse(conn, &request);
		return false;
	}
	if (choice->filters && choice->filters->redirect) {
		steer_redirect(conn, &request);
		return false;
	}
	if (choice->filters && choice->filters->rewrite_path != PATH_KEEP && !steer_rewrite_path(conn, &request)) {
		exchange_no_memory(conn);
		return false;
	}
	return true;
}

void steer_rewrite_request(const struct conn *conn, struct rewrite *rewrite)
{
	const struct policy_choice *choice = &conn->exchange->choice;

	if (conn->worker->proxy->settings->forwarded && conn->direction == DIRECTION_INBOUND)
		rewrite->forwarded = &conn->client_addr;
	rewrite->target = conn->exchange->target;
	if (choice->filters) {
		rewrite->host = choice->filters->rewrite_host;
		rewrite->edits[0] = choice->filters->request;
	}
	if (choice->backend)
		rewrite->edits[1] = choice->backend->filters.request;
}

void steer_rewrite_response(const struct conn *conn, struct rewrite *rewrite)
{
	const struct policy_choice *choice = &conn->exchange->choice;

	if (choice->filters)
		rewrite->edits[0] = choice->filters->response;
	if (choice->backend)
		rewrite->edits[1] = choice->backend->filters.response;
}
