#include "proxy/exchange/choice.h"

#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/text.h"
#include "proxy/connection/conn.h"
#include "proxy/connection/conn_close.h"
#include "proxy/connection/steer.h"
#include "proxy/connection/worker.h"
#include "proxy/exchange/answer.h"
#include "proxy/exchange/exchange.h"
#include "proxy/policy/filter.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/route.h"
#include "proxy/policy/terms.h"

static void choice_refuse_undecided(struct conn *conn, const struct route_request *request)
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
		              service, request->head.size, (int)REGEX_STEPS_MOST);
}

static void choice_refuse(struct conn *conn, const struct policy_choice *choice, const struct route_request *request)
{
	struct policy_rule_view view = {0};

	if (choice->refusal == REASON_NO_ROUTE) {
		exchange_fail(conn, cause_of(choice->refusal), "no rule of the routes of Service %s takes %.*s %.*s with Host %.*s",
		              policy_target_name(conn->target), (int)request->head.method.length, (const char *)request->head.method.bytes,
		              request->path.length < 200 ? (int)request->path.length : 200, (const char *)request->path.bytes,
		              (int)request->host.length, (const char *)request->host.bytes);
		return;
	}
	if (choice->refusal == REASON_ROUTE_UNDECIDED) {
		choice_refuse_undecided(conn, request);
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

static void choice_redirect(struct conn *conn, const struct policy_choice *choice, const struct route_request *request)
{
	const char *namespace, *name;
	uint16_t port = 0;
	TEXT_ON_STACK(location, LOCATION_MOST + 1);
	struct policy_rule_view view;

	policy_target_service(conn->target, &namespace, &name, &port);
	if (!port) /* of a Service without a document */
		port = conn->server_addr.port;
	filter_location(choice->filters->redirect, choice->match, request, port, &location);
	if (!location.truncated) {
		exchange_redirect(conn, choice->filters->redirect->status, location_bytes);
		return;
	}
	policy_rule_view(choice->rule, &view);
	exchange_fail(conn, cause_of(REASON_REDIRECT_TOO_LONG),
	              "the Location that %s makes of this path and query of %zu bytes has more than %d bytes; cut short it would lead elsewhere",
	              view.text, request->path.length + request->query.length, (int)LOCATION_MOST);
}

/* The path that the backend is to see, with the query. False: no memory, or no room. */
static bool choice_rewrite_path(struct conn *conn, const struct policy_choice *choice, const struct route_request *request)
{
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

static void choice_rewrite_request(const struct conn *conn, const struct policy_choice *choice, struct rewrite *rewrite)
{
	rewrite->target = conn->exchange->target;
	if (choice->filters) {
		rewrite->host = choice->filters->rewrite_host;
		rewrite->edits[0] = choice->filters->request;
	}
	if (choice->backend)
		rewrite->edits[1] = choice->backend->filters.request;
}

bool choice_begin(struct conn *conn, struct rewrite *rewrite)
{
	if (conn->worker->proxy->exchange->forwarded && conn->direction == DIRECTION_INBOUND) {
		rewrite->forwarded = &conn->client_addr;
		rewrite->x_forwarded_for = conn->worker->proxy->exchange->forwarded == FORWARDED_X_FOR;
	}
	if (steer_renew(conn))
		return true;
	exchange_no_memory(conn);
	return false;
}

bool choice_request(struct conn *conn, const struct request_head *head, struct rewrite *rewrite)
{
	struct route_request request;
	struct policy_choice choice;

	route_request_read(&request, head);
	policy_route(conn->target, &request, &choice);
	if (!steer_take(conn, &choice)) {
		exchange_no_memory(conn);
		return false;
	}
	conn->exchange->terms = conn->terms;
	conn->exchange->refusal = choice.refusal;
	if (choice.refusal) {
		choice_refuse(conn, &choice, &request);
		return false;
	}
	if (choice.filters && choice.filters->redirect) {
		choice_redirect(conn, &choice, &request);
		return false;
	}
	if (choice.filters && choice.filters->rewrite_path != PATH_KEEP && !choice_rewrite_path(conn, &choice, &request)) {
		exchange_no_memory(conn);
		return false;
	}
	choice_rewrite_request(conn, &choice, rewrite);
	return true;
}

void choice_rewrite_response(const struct conn *conn, struct rewrite *rewrite)
{
	const struct terms *terms = conn->exchange->terms;

	if (!terms)
		return;
	rewrite->edits[0] = terms->edits[0];
	rewrite->edits[1] = terms->edits[1];
}
