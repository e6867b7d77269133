#include "proxy/config/annotations_value.h"
#include "proxy/explain/explain_print.h"
#include "proxy/http2/stream.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/json.h"
#include "lib/reason.h"
#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/policy/profile.h"

/* --- words of the documents --- */

static const char *explain_print_path_type(enum kind kind, enum path_type type)
{
	static const char *const names[] = {
	    [PATH_EXACT] = "Exact",
	    [PATH_PREFIX] = "PathPrefix",
	    [PATH_REGEX] = "RegularExpression",
	};

	return kind == KIND_INGRESS && type == PATH_PREFIX ? "Prefix" : names[type];
}

static const char *explain_print_path(const struct route_match *match)
{
	return *match->path ? match->path : "/";
}

static const char *explain_print_value_type(bool regex)
{
	return regex ? "RegularExpression" : "Exact";
}

static bool explain_print_grpc_is_regex(const struct route_match *match)
{
	return match->grpc_service_regex || match->grpc_method_regex;
}

/* Whether a response of this status is tried again. */
static bool explain_print_retries(const struct policy_choice *choice, unsigned status)
{
	unsigned bit = status - RETRY_STATUS_FIRST;

	if (choice->retry->by_class)
		return choice->profile_route && profile_is_failure(choice->profile_route, status);
	return choice->retry->codes[bit / 32] >> bit % 32 & 1;
}

/* Whether all of its backends are where the connection goes anyway. */
static bool explain_print_stays(const struct explanation *explanation)
{
	for (size_t i = 0; i < explanation->rule.backend_count; i++) {
		const struct route_backend *backend = &explanation->rule.backends[i];
		TEXT_ON_STACK(service, 512);

		text_printf(&service, "%s/%s", backend->namespace, backend->name);
		if (backend->weight && (!explanation->service || strcmp(service_bytes, explanation->service) != 0 || backend->port != explanation->port))
			return false;
	}
	return true;
}

/* Whether its rule does more than to bring timeouts, and that is for HTTP/1 only; a TCPRoute takes connections, whatever they carry. */
static bool explain_print_acts(const struct explanation *explanation)
{
	if (explanation->choice.rule && explanation->rule.kind == KIND_TCP_ROUTE)
		return false;
	return explanation->status || !explain_print_stays(explanation) || explanation->host || explanation->path ||
	       explanation->request_headers.count || explanation->response_headers.count || explanation->choice.retry;
}

/* --- JSON --- */

static void explain_print_json_values(struct json *json, const char *key, const struct value_match *values, size_t count)
{
	json_open(json, key, '[');
	for (size_t i = 0; i < count; i++) {
		json_open(json, NULL, '{');
		json_string(json, "name", values[i].name);
		json_string(json, "type", explain_print_value_type(values[i].type == VALUE_REGEX));
		json_string(json, "value", values[i].value);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void explain_print_json_match(struct json *json, enum kind kind, const struct route_match *match)
{
	if (!match) {
		json_null(json, "match");
		return;
	}
	json_open(json, "match", '{');
	if (kind == KIND_GRPC_ROUTE) {
		json_null(json, "path");
		json_open(json, "method", '{');
		json_string(json, "type", explain_print_value_type(explain_print_grpc_is_regex(match)));
		json_string(json, "service", match->grpc_service);
		json_string(json, "method", match->grpc_method);
		json_close(json, '}');
	} else {
		json_open(json, "path", '{');
		json_string(json, "type", explain_print_path_type(kind, match->path_type));
		json_string(json, "value", explain_print_path(match));
		json_close(json, '}');
		json_string(json, "method", match->method);
	}
	explain_print_json_values(json, "headers", match->headers, match->header_count);
	explain_print_json_values(json, "query", match->queries, match->query_count);
	json_close(json, '}');
}

static void explain_print_json_route(struct json *json, const struct explanation *explanation)
{
	const struct policy_rule_view *rule = &explanation->rule;

	if (!explanation->choice.rule) {
		json_null(json, "route");
		return;
	}
	json_open(json, "route", '{');
	json_string(json, "kind", catalog_kind_name(rule->kind));
	json_string(json, "namespace", rule->namespace);
	json_string(json, "name", rule->name);
	json_number(json, "rule", (int64_t)rule->index);
	json_string(json, "rule_name", rule->rule_name);
	explain_print_json_match(json, rule->kind, explanation->choice.match);
	json_close(json, '}');
}

static void explain_print_json_answer(struct json *json, const struct explanation *explanation)
{
	if (explanation->status)
		json_number(json, "status", explanation->status);
	else
		json_null(json, "status");
	if (explanation->location) {
		json_open(json, "redirect", '{');
		json_number(json, "status", explanation->status);
		json_string(json, "location", explanation->location);
		json_close(json, '}');
	} else {
		json_null(json, "redirect");
	}
}

static void explain_print_json_backends(struct json *json, const struct explanation *explanation)
{
	json_open(json, "backends", '[');
	for (size_t i = 0; i < explanation->rule.backend_count; i++) {
		const struct route_backend *backend = &explanation->rule.backends[i];

		json_open(json, NULL, '{');
		json_string(json, "kind", backend->kind);
		json_string(json, "namespace", backend->namespace);
		json_string(json, "name", backend->name);
		if (backend->port)
			json_number(json, "port", backend->port);
		else
			json_string(json, "port", backend->port_name);
		json_number(json, "weight", backend->weight);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void explain_print_json_edits(struct json *json, const char *key, const struct explain_edits *edits)
{
	static const char *const keys[] = {[EXPLAIN_SET] = "set", [EXPLAIN_ADD] = "add", [EXPLAIN_REMOVE] = "remove"};

	json_open(json, key, '{');
	for (enum explain_action action = 0; action < EXPLAIN_ACTIONS; action++) {
		bool list = action == EXPLAIN_REMOVE;

		json_open(json, keys[action], list ? '[' : '{');
		for (size_t i = 0; i < edits->count; i++) {
			const struct explain_edit *edit = &edits->items[i];

			if (edit->action == action)
				json_string(json, list ? NULL : edit->name, list ? edit->name : edit->value);
		}
		json_close(json, list ? ']' : '}');
	}
	json_close(json, '}');
}

static void explain_print_json_rewrite(struct json *json, const struct explanation *explanation)
{
	if (!explanation->host && !explanation->path) {
		json_null(json, "rewrite");
		return;
	}
	json_open(json, "rewrite", '{');
	json_string(json, "host", explanation->host);
	json_string(json, "path", explanation->path);
	json_close(json, '}');
}

static void explain_print_json_retry(struct json *json, const struct policy_choice *choice)
{
	if (!choice->retry) {
		json_null(json, "retry");
		return;
	}
	json_open(json, "retry", '{');
	if (choice->retry->attempts == UINT32_MAX)
		json_null(json, "attempts");
	else
		json_number(json, "attempts", choice->retry->attempts);
	json_open(json, "codes", '[');
	for (unsigned status = RETRY_STATUS_FIRST; status < RETRY_STATUS_FIRST + RETRY_STATUS_COUNT; status++)
		if (explain_print_retries(choice, status))
			json_number(json, NULL, status);
	json_close(json, ']');
	json_open(json, "grpc", '[');
	for (unsigned number = 0; number < 64; number++)
		if (choice->retry->grpc >> number & 1)
			json_string(json, NULL, annotations_value_grpc_name(number));
	json_close(json, ']');
	json_number(json, "backoff_ms", choice->retry->backoff_ms);
	json_close(json, '}');
}

/* What happens to the request beside its timeouts. */
static void explain_print_json_happens(struct json *json, const struct explanation *explanation)
{
	explain_print_json_answer(json, explanation);
	explain_print_json_backends(json, explanation);
	explain_print_json_edits(json, "request_headers", &explanation->request_headers);
	explain_print_json_edits(json, "response_headers", &explanation->response_headers);
	explain_print_json_rewrite(json, explanation);
	explain_print_json_retry(json, &explanation->choice);
}

/* Of HTTP/2: what would happen to the request over HTTP/1, null where that is the same; and the client's own deadline. */
static void explain_print_json_http2(struct json *json, const struct explanation *explanation)
{
	if (!explain_print_acts(explanation)) {
		json_null(json, "http1_only");
	} else {
		json_open(json, "http1_only", '{');
		explain_print_json_happens(json, explanation);
		json_close(json, '}');
	}
	if (!explanation->grpc)
		return;
	json_open(json, "grpcDeadline", '{');
	json_number(json, "ms", explanation->grpc_timeout);
	json_bool(json, "enforced", explanation->enforced);
	json_close(json, '}');
}

void explain_print_json(const struct explanation *explanation, FILE *out)
{
	static const struct explanation nothing;
	struct json json = {.to = out};

	json_open(&json, NULL, '{');
	json_string(&json, "to", explanation->to);
	json_string(&json, "direction", words_direction(explanation->direction));
	if (explanation->request)
		json_string(&json, "protocol", explanation->grpc ? "grpc" : explanation->http2 ? "http/2" : "http/1.1");
	else
		json_null(&json, "protocol");
	json_string(&json, "service", explanation->service);
	json_bool(&json, "service_documented", explanation->service && !explanation->undocumented);
	explain_print_json_route(&json, explanation);
	explain_print_json_happens(&json, explanation->http2 ? &nothing : explanation);
	if (explanation->http2)
		explain_print_json_http2(&json, explanation);
	timeouts_print_json(&json, explanation->choice.timeouts, false);
	json_bool(&json, "opaque_port", explanation->opaque_port);
	json_close(&json, '}');
	fputc('\n', out);
}

/* --- text --- */

enum { LABEL_WIDTH = 17, ROW_MOST = 4096 };

/* A label and what it says. Control bytes, which a document or a command line may hold, are escaped. */
static void explain_print_row(FILE *out, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void explain_print_row(FILE *out, const char *label, const char *format, ...)
{
	char escaped[JSON_ESCAPED_SIZE], *line = NULL;
	const unsigned char *bytes;
	va_list arguments;
	size_t taken, size;

	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	va_end(arguments);
	fprintf(out, "  %-*s ", LABEL_WIDTH, label);
	bytes = (const unsigned char *)(line ? line : "(no memory)");
	for (size_t left = strlen((const char *)bytes); left; bytes += taken, left -= taken) {
		size = json_escape(bytes, left, escaped, &taken);
		if (*bytes == '"' || *bytes == '\\')
			fputc(*bytes, out);
		else
			fwrite(escaped, 1, size, out);
	}
	fputc('\n', out);
	free(line);
}

static void explain_print_asked(const struct explanation *explanation, FILE *out)
{
	fputs("Asked\n", out);
	explain_print_row(out, "to", "%s, %s", explanation->to, words_direction(explanation->direction));
	if (explanation->from_namespace)
		explain_print_row(out, "from namespace", "%s", explanation->from_namespace);
	explain_print_row(out, "request", "%s", explanation->request ? explanation->request : "none: a connection of opaque bytes");
}

static void explain_print_values(const char *what, const struct value_match *values, size_t count, struct text *text)
{
	for (size_t i = 0; i < count; i++)
		text_printf(text, "%s%s %s %s %s", text->length ? ", " : "", what, values[i].name,
		            values[i].type == VALUE_REGEX ? "~" : "=", values[i].value);
}

static void explain_print_match(enum kind kind, const struct route_match *match, FILE *out)
{
	TEXT_ON_STACK(text, ROW_MOST);

	if (kind == KIND_GRPC_ROUTE)
		text_printf(&text, "gRPC %s %s/%s", explain_print_value_type(explain_print_grpc_is_regex(match)),
		            match->grpc_service ? match->grpc_service : "*", match->grpc_method ? match->grpc_method : "*");
	else
		text_printf(&text, "path %s %s", explain_print_path_type(kind, match->path_type), explain_print_path(match));
	if (match->method)
		text_printf(&text, ", method %s", match->method);
	explain_print_values("header", match->headers, match->header_count, &text);
	explain_print_values("query", match->queries, match->query_count, &text);
	explain_print_row(out, "match", "%s%s", text_bytes, text.truncated ? "…" : "");
}

static void explain_print_applies(const struct explanation *explanation, FILE *out)
{
	const struct policy_rule_view *rule = &explanation->rule;

	fputs("\nApplies\n", out);
	if (!explanation->service)
		explain_print_row(out, "Service", "none");
	else if (explanation->port)
		explain_print_row(out, "Service", "%s, port %u", explanation->service, explanation->port);
	else
		explain_print_row(out, "Service", "%s", explanation->service);
	if (explanation->service && explanation->undocumented)
		explain_print_row(out, "", "(no document of this Service was read: whether it has this port, and its address, DNS must know)");
	if (!explanation->choice.rule) {
		explain_print_row(out, "route", "none");
		return;
	}
	explain_print_row(out, "route", "%s %s/%s", catalog_kind_name(rule->kind), rule->namespace, rule->name);
	explain_print_row(out, "rule", "%zu%s%s", rule->index, rule->rule_name ? ", " : "", rule->rule_name ? rule->rule_name : "");
	if (explanation->choice.match)
		explain_print_match(rule->kind, explanation->choice.match, out);
	if (rule->advises)
		explain_print_row(out, "brings", "timeouts only: %s", explanation->direction == DIRECTION_INBOUND
		                  ? "inbound the client's side has done the rest" : "its Gateway does the rest");
}

/* What the proxy does by itself, if it does. */
static void explain_print_answer(const struct explanation *explanation, FILE *out)
{
	const struct policy_choice *choice = &explanation->choice;
	const struct reason *reason = reason_row(choice->refusal);

	if (explanation->location) {
		explain_print_row(out, "answer", "%d, a redirect", explanation->status);
		explain_print_row(out, "location", "%s", explanation->location);
	} else if (choice->refusal && explanation->request) {
		explain_print_row(out, "answer", "%d %s: %s", explanation->status, reason->name, reason->sentence);
	} else if (choice->refusal) {
		explain_print_row(out, "closed", "%s: %s", reason->name, reason->sentence);
	}
	if (choice->filters && choice->filters->unusable)
		explain_print_row(out, "because of", "the filter %s, which is not carried out and must not be skipped",
		                  choice->filters->unusable_what);
	else if (choice->refusal && choice->backend)
		explain_print_row(out, "because of", "%s %s/%s", choice->backend->kind, choice->backend->namespace,
		                  choice->backend->name);
}

static void explain_print_backends(const struct explanation *explanation, FILE *out)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < explanation->rule.backend_count; i++)
		sum += explanation->rule.backends[i].weight;
	for (size_t i = 0; i < explanation->rule.backend_count; i++) {
		const struct route_backend *backend = &explanation->rule.backends[i];
		TEXT_ON_STACK(port, 128);

		if (backend->port)
			text_printf(&port, ":%u", backend->port);
		else if (backend->port_name)
			text_printf(&port, ":%s", backend->port_name);
		explain_print_row(out, i ? "" : "backends", "%s %s/%s%s, weight %" PRIu32 " of %" PRIu64 "%s", backend->kind,
		                  backend->namespace, backend->name, port_bytes, backend->weight, sum,
		                  backend->invalid ? ", cannot be dialled" : "");
	}
	if (!explanation->rule.backend_count && !explanation->status)
		explain_print_row(out, "backends", "none: it goes where the connection was going");
}

static void explain_print_edits(const char *label, const struct explain_edits *edits, FILE *out)
{
	static const char *const words[] = {[EXPLAIN_SET] = "set", [EXPLAIN_ADD] = "add", [EXPLAIN_REMOVE] = "remove"};

	for (size_t i = 0; i < edits->count; i++) {
		const struct explain_edit *edit = &edits->items[i];

		explain_print_row(out, i ? "" : label, "%s %s%s%s", words[edit->action], edit->name, edit->value ? ": " : "",
		                  edit->value ? edit->value : "");
	}
}

/* "500, 502-504" */
static void explain_print_codes(const struct policy_choice *choice, struct text *text)
{
	unsigned end = RETRY_STATUS_FIRST + RETRY_STATUS_COUNT, last;

	for (unsigned status = RETRY_STATUS_FIRST; status < end; status = last + 1) {
		last = status;
		if (!explain_print_retries(choice, status))
			continue;
		while (last + 1 < end && explain_print_retries(choice, last + 1))
			last++;
		text_printf(text, "%s%u", text->length ? ", " : "on ", status);
		if (last > status)
			text_printf(text, "-%u", last);
	}
}

/* " and on gRPC internal, unavailable": Linkerd's statuses, which stand in HTTP/2's trailers. */
static void explain_print_grpc(uint64_t statuses, struct text *text)
{
	const char *separator = text->length ? " and on gRPC " : "on gRPC ";
	bool any = false;

	for (unsigned number = 0; number < 64; number++)
		if (statuses >> number & 1 && annotations_value_grpc_name(number)) {
			text_printf(text, "%s%s", any ? ", " : separator, annotations_value_grpc_name(number));
			any = true;
		}
	if (any)
		text_string(text, " (not yet: HTTP/2 gets timeouts only)");
}

static void explain_print_retry(const struct policy_choice *choice, FILE *out)
{
	const struct retry *retry = choice->retry;
	char duration[DURATION_TEXT_SIZE];
	TEXT_ON_STACK(text, ROW_MOST);

	if (!retry)
		return;
	explain_print_codes(choice, &text);
	explain_print_grpc(retry->grpc, &text);
	if (retry->on_failure)
		text_printf(&text, "%son failed connections and attempts out of time", text.length ? " and " : "");
	if (retry->attempts == UINT32_MAX)
		text_string(&text, ", as the budget allows");
	else
		text_printf(&text, ", up to %" PRIu32 " time%s", retry->attempts, retry->attempts == 1 ? "" : "s");
	if (retry->backoff_ms)
		text_printf(&text, ", after %s", duration_format(retry->backoff_ms, duration));
	if (retry->attempt_ms)
		text_printf(&text, ", each given %s", duration_format(retry->attempt_ms, duration));
	explain_print_row(out, "retry", "%s", text_bytes);
	if (retry->source)
		explain_print_row(out, "", "(%s)", retry->source);
}

static void explain_print_rule(const struct explanation *explanation, FILE *out)
{
	explain_print_answer(explanation, out);
	explain_print_backends(explanation, out);
	if (explanation->host)
		explain_print_row(out, "host becomes", "%s", explanation->host);
	if (explanation->path)
		explain_print_row(out, "path becomes", "%s", explanation->path);
	explain_print_edits("request fields", &explanation->request_headers, out);
	explain_print_edits("response fields", &explanation->response_headers, out);
	explain_print_retry(&explanation->choice, out);
}

static void explain_print_happens(const struct explanation *explanation, FILE *out)
{
	fputs("\nHappens\n", out);
	if (explanation->opaque_port)
		explain_print_row(out, "opaque port", "no request is read; what is said of requests does not apply");
	if (!explanation->http2) {
		explain_print_rule(explanation, out);
		return;
	}
	explain_print_row(out, "backends", "none: it goes where the connection was going");
	explain_print_row(out, "out of time", explanation->grpc ? "the call alone ends, with grpc-status 4 and the sentence where no answer had begun"
	                                                         : "the stream alone ends, with 504 or 408 where no answer had begun");
	if (!explain_print_acts(explanation))
		return;
	fputs("\nHTTP/1 only for now\n", out);
	explain_print_rule(explanation, out);
}

static bool explain_print_is_set(const struct timeout_value *value)
{
	return value->source && strcmp(value->source, "built-in") != 0;
}

/* Whose timers are asked for: of a connection that carries one request after the other these are the same. */
enum explain_scope { SCOPE_ALL, SCOPE_STREAM, SCOPE_CONNECTION };

static bool explain_print_is_of(enum timeout_id id, enum explain_scope scope)
{
	if (scope == SCOPE_CONNECTION) /* no connection of HTTP/2 is opaque, and its server's is kept for nobody else */
		return !stream_is_timed(id) && id != TIMEOUT_TCP_IDLE && id != TIMEOUT_SERVER_IDLE;
	return scope == SCOPE_ALL || stream_is_timed(id);
}

/* Those that somebody has set, or the others. */
static void explain_print_timeout_rows(const struct explanation *explanation, enum explain_scope scope, bool set, FILE *out)
{
	const struct timeouts *timeouts = explanation->choice.timeouts;

	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		const struct timeout_value *value = &timeouts->of[id];
		char duration[DURATION_TEXT_SIZE];

		if (explain_print_is_set(value) != set || !explain_print_is_of((enum timeout_id)id, scope))
			continue;
		explain_print_row(out, timeouts_name(id), "%-10s %s%s%s",
		                  value->milliseconds ? duration_format(value->milliseconds, duration) : "off",
		                  value->source ? value->source : "",
		                  id == TIMEOUT_REQUEST && explanation->choice.until_head ? " (to the response head)" : "",
		                  timeouts_counted_from(value) ? " (from the end of the request)" : "");
	}
}

static void explain_print_timeouts(const struct explanation *explanation, const char *title, enum explain_scope scope, FILE *out)
{
	fprintf(out, "\n%s\n", title);
	explain_print_timeout_rows(explanation, scope, true, out);
	explain_print_timeout_rows(explanation, scope, false, out);
}

static void explain_print_deadline(const struct explanation *explanation, FILE *out)
{
	char duration[DURATION_TEXT_SIZE];

	explain_print_row(out, "grpcDeadline", "%-10s %s", explanation->grpc_timeout ? duration_format(explanation->grpc_timeout, duration) : "off",
	                  !explanation->grpc_timeout ? "the call has no grpc-timeout"
	                  : explanation->enforced    ? "grpc-timeout of the call, by --grpc-deadline enforce"
	                                             : "grpc-timeout of the call, told of in records only (--grpc-deadline observe)");
}

void explain_print_text(const struct explanation *explanation, FILE *out)
{
	explain_print_asked(explanation, out);
	explain_print_applies(explanation, out);
	explain_print_happens(explanation, out);
	if (!explanation->http2) {
		explain_print_timeouts(explanation, "Timeouts", SCOPE_ALL, out);
		return;
	}
	explain_print_timeouts(explanation, "Timeouts of its stream", SCOPE_STREAM, out);
	if (explanation->grpc)
		explain_print_deadline(explanation, out);
	explain_print_timeouts(explanation, "Timeouts of the connection", SCOPE_CONNECTION, out);
}
