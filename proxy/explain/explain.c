#include "proxy/explain/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/catalog.h"
#include "proxy/config/config.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/explain/check_config.h"
#include "proxy/explain/explain_print.h"
#include "proxy/http1/http1.h"
#include "proxy/http1/http1_request.h"
#include "proxy/http1/reply.h"
#include "proxy/http2/head.h"
#include "proxy/http2/stream.h"
#include "proxy/policy/filter.h"
#include "proxy/settings/settings.h"

/* One question under way. */
struct explain {
	const struct settings *settings;
	FILE *errors;
	struct arena arena; /* of all that is made up for the answer */
	bool named;         /* --to is a Service: */
	struct policy_question question;
	uint16_t port;
	struct addr address; /* else */
	const char *head;    /* NULL: an opaque connection */
	size_t head_length;
	struct message_head parsed;
	struct route_request request;
	struct timeouts timeouts; /* of HTTP/2: a stream's and its connection's */
	struct explanation explanation;
};

/* --- what is asked --- */

static int explain_refuse(const struct explain *explain, const char *what, const char *given, const char *accepted)
{
	fprintf(explain->errors, "lapse-proxy: %s: \"%s\" is not accepted; give %s\n", what, given, accepted);
	return -EINVAL;
}

/* The port behind the last colon; 0 when there is none. */
static uint16_t explain_port(const char *colon)
{
	unsigned port = 0;
	const char *digit;

	if (!colon)
		return 0;
	for (digit = colon + 1; *digit >= '0' && *digit <= '9' && port <= UINT16_MAX; digit++)
		port = port * 10 + (unsigned)(*digit - '0');
	return *digit || port > UINT16_MAX ? 0 : (uint16_t)port;
}

/* NAME.NAMESPACE:PORT, as a client in the cluster would write it, or with .svc and the cluster's domain behind: its namespace, NULL = it is
 * none. Addresses and names that begin with a digit are not taken for one. */
static const char *explain_dotted(const struct explain *explain, const char *to, const char *colon, size_t *length)
{
	const char *dot = strchr(to, '.'), *end, *domain = explain->settings->policy.cluster_domain;
	size_t rest;

	if (!colon || !dot || dot > colon || dot == to || (*to >= '0' && *to <= '9') || strchr(to, ':') != colon)
		return NULL;
	end = memchr(dot + 1, '.', (size_t)(colon - dot - 1));
	if (!end)
		end = colon;
	*length = (size_t)(end - dot - 1);
	rest = (size_t)(colon - end);
	if (rest >= 4 && strncmp(end, ".svc", 4) == 0 &&
	    (rest == 4 || (end[4] == '.' && rest == 5 + strlen(domain) && strncmp(end + 5, domain, strlen(domain)) == 0)))
		rest = 0;
	return rest || !*length ? NULL : dot + 1;
}

static int explain_read_to(struct explain *explain)
{
	static const char accepted[] =
	    "ADDRESS:PORT as 10.96.0.7:80 or [fd00::7]:80, or NAMESPACE/NAME:PORT as default/web:80, or NAME.NAMESPACE:PORT as web.default:80";
	const char *to = explain->settings->to, *slash = to ? strchr(to, '/') : NULL, *colon = to ? strrchr(to, ':') : NULL;
	const char *namespace = to, *name = slash ? slash + 1 : to;
	size_t length = slash ? (size_t)(slash - to) : 0;

	if (!to) {
		fprintf(explain->errors, "lapse-proxy: --to is missing; give %s\n", accepted);
		return -EINVAL;
	}
	if (!slash && !addr_parse(to, &explain->address) && explain->address.port)
		return 0;
	if (!slash && !(namespace = explain_dotted(explain, to, colon, &length)))
		return explain_refuse(explain, "--to", to, accepted);
	explain->named = true;
	explain->port = explain_port(colon);
	if (!length || !explain->port || colon <= name || strchr(name, '/'))
		return explain_refuse(explain, "--to", to, accepted);
	explain->question.namespace = arena_text(&explain->arena, namespace, length);
	explain->question.name = arena_text(&explain->arena, name, slash ? (size_t)(colon - name) : (size_t)(namespace - 1 - name));
	if (!explain->question.namespace || !explain->question.name)
		return -ENOMEM;
	if (strchr(explain->question.namespace, '.') || !manifest_is_subdomain(explain->question.namespace) ||
	    !manifest_is_subdomain(explain->question.name))
		return explain_refuse(explain, "--to", to, accepted);
	return 0;
}

/* --- the request --- */

/* A request line in parts; host NULL: that of --to. */
struct explain_line {
	const char *method, *host, *target;
	size_t method_length, host_length, target_length;
};

/* POST /package.Service/Method. */
static bool explain_is_method(const struct explain_line *line)
{
	size_t service = line->target_length ? 1 + strcspn(line->target + 1, "/?#") : 0;

	return line->method_length == 4 && strncmp(line->method, "POST", 4) == 0 && service > 1 && *line->target == '/' &&
	       service + 1 < line->target_length && line->target[service] == '/' && !memchr(line->target, '?', line->target_length);
}

static int explain_read_line(const struct explain *explain, struct explain_line *line)
{
	static const char request[] = "METHOD URL as 'GET http://web/path?query' or 'GET /path'", http[] = "http://",
	                  method[] = "a gRPC method as /package.Service/Method or http://web/package.Service/Method";
	const struct option_words *words = &explain->settings->words;
	const char *blank = strchr(words->items[0], ' '), *one = blank ? blank + 1 : "", *scheme;
	const char *url = words->count > 1 ? words->items[1] : one;
	bool grpc = explain->settings->protocol == ASKED_GRPC;
	const char *accepted = grpc ? method : request;

	line->method = words->items[0];
	line->method_length = strcspn(line->method, " ");
	if (grpc && words->count == 1 && !blank) {
		url = line->method;
		line->method = "POST";
		line->method_length = 4;
	}
	if (!line->method_length || !*url || (words->count > 1 && blank))
		return explain_refuse(explain, "the request", words->items[0], accepted);
	if (strncasecmp(url, http, strlen(http)) == 0) {
		line->host = url + strlen(http);
		line->host_length = strcspn(line->host, "/?#");
		const char *user = memrchr(line->host, '@', line->host_length);
		url = line->host + line->host_length;
		line->host = user ? user + 1 : line->host; /* clients send no user information (RFC 9110 §4.2.4) */
		line->host_length = (size_t)(url - line->host);
	} else if ((scheme = strstr(url, "://")) && memchr(url, '/', (size_t)(scheme + 2 - url)) == scheme + 1) {
		return explain_refuse(explain, "the request", url, "an http:// URL or a path, or none: TLS is opaque bytes");
	}
	line->target = url;
	line->target_length = strcspn(url, "#");
	return grpc && !explain_is_method(line) ? explain_refuse(explain, "the request", words->items[words->count - 1], accepted) : 0;
}

/* The fields that were given; of a gRPC call its content-type is there in any case. */
struct explain_fields {
	bool host, type;
};

static int explain_check_fields(struct explain *explain, struct explain_fields *has)
{
	const struct option_texts *headers = &explain->settings->headers;
	const struct option_words *words = &explain->settings->words;

	*has = (struct explain_fields){0};
	for (size_t i = 0; i < words->count; i++)
		if (strpbrk(words->items[i], "\r\n"))
			return explain_refuse(explain, "the request", words->items[i], "it in one line");
	for (size_t i = 0; i < headers->count; i++) {
		const char *field = headers->items[i], *colon = strchr(field, ':');

		if (!colon || colon == field || strpbrk(field, "\r\n"))
			return explain_refuse(explain, "--header", field, "'NAME: VALUE' in one line");
		has->host |= http1_line_is((const uint8_t *)field, strlen(field), "host");
		has->type |= http1_line_is((const uint8_t *)field, strlen(field), "content-type");
	}
	return 0;
}

static void explain_write_head(const struct explain *explain, const struct explain_line *line, const struct explain_fields *has, FILE *to)
{
	const struct settings *settings = explain->settings;

	fprintf(to, "%.*s %s%.*s HTTP/1.1\r\n", (int)line->method_length, line->method,
	        line->host && (!line->target_length || *line->target == '?') ? "/" : "", (int)line->target_length, line->target);
	if (!has->host && line->host)
		fprintf(to, "Host: %.*s\r\n", (int)line->host_length, line->host);
	else if (!has->host && explain->named)
		fprintf(to, "Host: %s.%s.svc.%s:%u\r\n", explain->question.name, explain->question.namespace, settings->policy.cluster_domain,
		        explain->port);
	else if (!has->host)
		fprintf(to, "Host: %s\r\n", settings->to);
	for (size_t i = 0; i < settings->headers.count; i++)
		fprintf(to, "%s\r\n", settings->headers.items[i]);
	if (settings->protocol == ASKED_GRPC && !has->type)
		fputs("content-type: application/grpc\r\n", to);
	fputs("\r\n", to);
}

static bool explain_is_named(struct slice slice, const char *name)
{
	return slice.length == strlen(name) && strncasecmp((const char *)slice.bytes, name, slice.length) == 0;
}

/* What a stream of HTTP/2 is told apart by. */
static void explain_read_grpc(struct explain *explain)
{
	struct explanation *explanation = &explain->explanation;
	struct slice name, value;
	size_t at = 0;

	while (explanation->http2 && route_next_field(&explain->request, &at, &name, &value)) {
		if (explain_is_named(name, "content-type"))
			explanation->grpc = head_is_grpc(value);
		else if (explain_is_named(name, "grpc-timeout"))
			explanation->grpc_timeout = head_grpc_timeout(value);
	}
	explanation->enforced = explain->settings->exchange.grpc_deadline;
}

/* The head goes through the parser of the data path, which refuses what it refuses there. Of HTTP/2 that is read as a request of HTTP/1
 * would be, whose limits do not count. */
static int explain_parse_head(struct explain *explain)
{
	bool http2 = explain->settings->protocol != ASKED_HTTP_1;
	const struct http1_limits limits = http2 ? (struct http1_limits){HEAD_LIST_MOST, HEAD_LIST_MOST, HEAD_LIST_MOST, 0} : settings_limits(explain->settings);
	const uint8_t *bytes = (const uint8_t *)explain->head;
	struct input_scan scan = {0};
	struct request_head request;
	struct http1_error error;
	size_t length;

	if (http1_read_head(&scan, HTTP1_REQUEST, bytes, explain->head_length, NULL, &limits, &length, &explain->parsed, &error)) {
		if (http2)
			fprintf(explain->errors, "lapse-proxy: no end sends this request: %s", error.what);
		else
			fprintf(explain->errors, "lapse-proxy: the proxy refuses this request with %d %s: %s", error.status,
			        reason_row(error.reason)->name, error.what);
		fprintf(explain->errors, error.limit ? " %llu\n" : "\n", (unsigned long long)error.limit);
		return -EINVAL;
	}
	http1_request_head(&request, bytes, length, explain->parsed.method, explain->parsed.target);
	route_request_read(&explain->request, &request);
	explain_read_grpc(explain);
	return 0;
}

static int explain_read_request(struct explain *explain)
{
	struct explain_line line = {0};
	char *bytes = NULL;
	size_t length = 0;
	struct explain_fields has;
	FILE *head;
	int result = explain_check_fields(explain, &has);

	explain->explanation.http2 = explain->settings->protocol != ASKED_HTTP_1;
	if (!result && !explain->settings->words.count && explain->explanation.http2) {
		fputs("lapse-proxy: the request is missing; with --protocol http/2 give METHOD URL, with grpc /package.Service/Method\n", explain->errors);
		return -EINVAL;
	}
	if (result || !explain->settings->words.count)
		return result;
	result = explain_read_line(explain, &line);
	if (result)
		return result;
	head = open_memstream(&bytes, &length);
	if (!head)
		return -ENOMEM;
	explain_write_head(explain, &line, &has, head);
	result = fclose(head) ? -ENOMEM : 0;
	if (!result && !(explain->head = arena_text(&explain->arena, bytes, length)))
		result = -ENOMEM;
	free(bytes);
	explain->head_length = length;
	return result ? result : explain_parse_head(explain);
}

/* --- the answer --- */

/* What the edits before did to this name, an addition apart, no longer counts; two additions make one list of values. */
static bool explain_edit(struct explain *explain, struct explain_edits *edits, enum explain_action action, const char *name,
                         const char *value)
{
	size_t kept = 0;

	for (size_t i = 0; i < edits->count; i++) {
		struct explain_edit *edit = &edits->items[i];
		bool same = strcasecmp(edit->name, name) == 0;

		if (same && action == EXPLAIN_ADD && edit->action == EXPLAIN_ADD) {
			edit->value = arena_printf(&explain->arena, "%s, %s", edit->value, value);
			return edit->value != NULL;
		}
		if (!same || action == EXPLAIN_ADD)
			edits->items[kept++] = *edit;
	}
	edits->items[kept] = (struct explain_edit){action, name, value};
	edits->count = kept + 1;
	return true;
}

/* The edits of the rule and then of the backend, as one. */
static bool explain_merge(struct explain *explain, const struct header_edits *const levels[2], struct explain_edits *out)
{
	size_t most = 1;

	for (size_t i = 0; i < 2; i++)
		most += levels[i] ? levels[i]->set_count + levels[i]->add_count + levels[i]->remove_count : 0;
	out->items = arena_array(&explain->arena, most, sizeof *out->items);
	if (!out->items)
		return false;
	for (size_t i = 0; i < 2; i++) {
		const struct header_edits *level = levels[i];

		for (size_t j = 0; level && j < level->set_count; j++)
			if (!explain_edit(explain, out, EXPLAIN_SET, level->set[j].name, level->set[j].value))
				return false;
		for (size_t j = 0; level && j < level->add_count; j++)
			if (!explain_edit(explain, out, EXPLAIN_ADD, level->add[j].name, level->add[j].value))
				return false;
		for (size_t j = 0; level && j < level->remove_count; j++)
			if (!explain_edit(explain, out, EXPLAIN_REMOVE, level->remove[j], NULL))
				return false;
	}
	return true;
}

/* Room for whatever a filter makes of this request: every byte may be percent-encoded. */
static bool explain_room(struct explain *explain, const char *value, struct text *out)
{
	size_t size = 3 * (explain->head_length + (value ? strlen(value) : 0)) + 1024;
	char *bytes = arena_alloc(&explain->arena, size);

	if (bytes)
		text_init(out, bytes, size);
	return bytes != NULL;
}

static bool explain_filters(struct explain *explain, const struct filters *filters)
{
	struct explanation *explanation = &explain->explanation;
	const struct redirect *redirect = filters->redirect;
	struct text text;

	if (redirect) {
		if (!explain_room(explain, redirect->path_value, &text))
			return false;
		filter_location(redirect, explanation->choice.match, &explain->request, explanation->port, &text);
		if (text.length > LOCATION_MOST)
			explanation->choice.refusal = REASON_REDIRECT_TOO_LONG;
		else
			explanation->location = text.data;
		explanation->status = text.length > LOCATION_MOST ? reason_row(REASON_REDIRECT_TOO_LONG)->status : redirect->status;
	}
	explanation->host = filters->rewrite_host;
	if (filters->rewrite_path != PATH_KEEP) {
		if (!explain_room(explain, filters->rewrite_value, &text))
			return false;
		filter_path(filters->rewrite_path, filters->rewrite_value, explanation->choice.match, explain->request.path, &text);
		explanation->path = text.data;
	}
	return true;
}

/* A stream has the timers of its request's rule, its connection those that it had before the first. */
static void explain_stream_timeouts(struct explain *explain, const struct policy_target *target)
{
	struct policy_choice *choice = &explain->explanation.choice, connection;

	policy_connection(target, NULL, &connection);
	explain->timeouts = *connection.timeouts;
	for (enum timeout_id id = 0; id < TIMEOUT_COUNT; id++)
		if (stream_is_timed(id))
			explain->timeouts.of[id] = choice->timeouts->of[id];
	choice->timeouts = &explain->timeouts;
}

/* Does what the data path does, as far as that decides anything. False: no memory. */
static bool explain_choose(struct explain *explain, const struct policy_target *target)
{
	struct explanation *explanation = &explain->explanation;
	struct policy_choice *choice = &explanation->choice;
	const char *namespace, *name;

	if (policy_target_service(target, &namespace, &name, &explanation->port)) {
		if (!explanation->port) /* of a Service without a document */
			explanation->port = explain->named ? explain->port : explain->address.port;
		explanation->service = arena_printf(&explain->arena, "%s/%s", namespace, name);
		if (!explanation->service)
			return false;
	}
	*choice = (struct policy_choice){.timeouts = policy_target_timeouts(target)};
	if (!explain->head)
		policy_connection(target, NULL, choice);
	else if (policy_target_has_routes(target))
		policy_route(target, &explain->request, choice);
	policy_choose_able(choice);
	if (explanation->http2)
		explain_stream_timeouts(explain, target);
	if (choice->rule)
		policy_rule_view(choice->rule, &explanation->rule);
	if (choice->refusal)
		explanation->status = reason_row(choice->refusal)->status;
	else if (explain->head && choice->filters && !explain_filters(explain, choice->filters))
		return false;
	if (explanation->status)
		choice->retry = NULL; /* nothing is sent, so nothing is sent again */

	const struct filters *rule = choice->filters, *backend = choice->backend ? &choice->backend->filters : NULL;
	const struct header_edits *requests[] = {rule ? rule->request : NULL, backend ? backend->request : NULL};
	const struct header_edits *responses[] = {rule ? rule->response : NULL, backend ? backend->response : NULL};

	return explain_merge(explain, requests, &explanation->request_headers) &&
	       explain_merge(explain, responses, &explanation->response_headers);
}

/* It has a document, or every port would do. */
static int explain_refuse_port(const struct explain *explain, const struct catalog *catalog)
{
	const struct object *object = catalog_find(catalog, KIND_SERVICE, explain->question.namespace, explain->question.name);
	const struct service *service = (const struct service *)object;
	TEXT_ON_STACK(accepted, 512);

	for (size_t i = 0; i < service->port_count; i++)
		if (service->ports[i].tcp)
			text_printf(&accepted, "%s%u", accepted.length ? ", " : "a TCP port that the Service has: ",
			            service->ports[i].port);
	if (!accepted.length)
		text_string(&accepted, "a Service that has TCP ports");
	text_printf(&accepted, " (%.200s:%u)", object->file, object->line);
	return explain_refuse(explain, "--to", explain->settings->to, accepted_bytes);
}

static int explain_answer(struct explain *explain, const struct catalog *catalog, const struct policy *policy, FILE *out)
{
	const struct settings *settings = explain->settings;
	struct explanation *explanation = &explain->explanation;
	const struct policy_target *target;

	if (explain->named)
		target = policy_target_named(policy, settings->direction, explain->question.namespace, explain->question.name,
		                             explain->port);
	else
		target = policy_target(policy, settings->direction, &explain->address);
	if (!target)
		return explain_refuse_port(explain, catalog);
	explanation->undocumented = explain->named && !catalog_find(catalog, KIND_SERVICE, explain->question.namespace, explain->question.name);
	explanation->to = settings->to;
	explanation->opaque_port = policy_is_opaque(policy, settings->direction, target, explain->named ? explain->port : explain->address.port);
	explanation->direction = settings->direction;
	explanation->from_namespace = settings->from_namespace;
	if (explain->head)
		explanation->request =
		    arena_printf(&explain->arena, "%.*s%s, host %.*s", (int)(strcspn(explain->head, "\r") - strlen("HTTP/1.1")), explain->head,
		                 explanation->grpc ? "HTTP/2, gRPC" : explanation->http2 ? "HTTP/2" : "HTTP/1.1",
		                 (int)explain->request.host.length, (const char *)explain->request.host.bytes);
	if ((explain->head && !explanation->request) || !explain_choose(explain, target))
		return -ENOMEM;
	if (settings->json)
		explain_print_json(explanation, out);
	else
		explain_print_text(explanation, out);
	return 0;
}

static int explain_with_config(struct explain *explain, FILE *out)
{
	struct policy *policy;
	struct config *config;
	int result = check_config_load(explain->settings, &config);

	if (result)
		return result;
	if (config->diagnostics.errors) {
		diagnostics_print(&config->diagnostics, false, explain->errors);
		config_unref(config);
		return -EBADMSG;
	}
	policy = policy_new(&explain->settings->policy, config, NULL, NULL, explain->settings->from_namespace, &explain->question);
	result = policy ? explain_answer(explain, config->catalog, policy, out) : -ENOMEM;
	policy_unref(policy);
	config_unref(config);
	return result;
}

int explain_run(const struct settings *settings, FILE *out, FILE *errors)
{
	struct explain explain = {.settings = settings, .errors = errors};
	int result = explain_read_to(&explain);

	if (!result)
		result = explain_read_request(&explain);
	if (!result)
		result = explain_with_config(&explain, out);
	arena_free(&explain.arena);
	switch (result) {
	case 0:
		return EXIT_SUCCESS;
	case -EINVAL:
		return EXPLAIN_BAD_REQUEST;
	case -EBADMSG:
		return CHECK_CONFIG_REFUSED;
	default:
		fputs("lapse-proxy: no memory\n", errors);
		return EXIT_FAILURE;
	}
}
