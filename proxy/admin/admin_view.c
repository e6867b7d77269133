/* /connections, /half-closed and /connections/close: what is asked for becomes a walk, its rows become the answer. */
#include "proxy/admin/admin_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/connection/conn.h"

enum {
	LIMIT_DEFAULT = 100,
	LIMIT_MOST = 10000,
	REFRESH_DEFAULT_S = 5,
	REFRESH_MOST_S = 3600,
};

static const char json_type[] = "application/json", html_type[] = "text/html; charset=utf-8";

static void admin_view_print_json(const struct view *view, FILE *out);

/* --- parameters --- */

static int admin_view_read_name(const char *value, unsigned count, const char *(*name)(unsigned), int *out)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(value, name(i)) == 0) {
			*out = (int)i;
			return 0;
		}
	return -EINVAL;
}

static int admin_view_read_number(const char *value, uint64_t least, uint64_t most, uint64_t *out)
{
	uint64_t number = 0;

	if (!*value)
		return -EINVAL;
	for (; *value; value++) {
		if (*value < '0' || *value > '9' || number > most / 10)
			return -EINVAL;
		number = number * 10 + (uint64_t)(*value - '0');
	}
	if (number < least || number > most)
		return -EINVAL;
	*out = number;
	return 0;
}

static const char *admin_view_timer(unsigned value)
{
	return value == TIMEOUT_NONE ? "none" : timeouts_name((enum timeout_id)value);
}

static int admin_view_read_direction(struct view *view, const char *value)
{
	return admin_view_read_name(value, DIRECTION_OUTBOUND + 1, words_direction, &view->walk.filter.direction);
}

static int admin_view_read_protocol(struct view *view, const char *value)
{
	return admin_view_read_name(value, PROTOCOL_OPAQUE + 1, words_protocol, &view->walk.filter.protocol);
}

static int admin_view_read_stage(struct view *view, const char *value)
{
	return admin_view_read_name(value, PHASE_COUNT, words_phase, &view->walk.filter.phase);
}

static int admin_view_read_timer(struct view *view, const char *value)
{
	return admin_view_read_name(value, TIMEOUT_NONE + 1, admin_view_timer, &view->walk.filter.timer);
}

static int admin_view_read_address(const char *value, struct prefix *out)
{
	struct addr addr;

	if (!addr_prefix_parse(value, out))
		return 0;
	if (addr_parse(value, &addr))
		return -EINVAL;
	*out = (struct prefix){addr, addr.family == AF_INET ? 32 : 128};
	return 0;
}

static int admin_view_read_client(struct view *view, const char *value)
{
	return admin_view_read_address(value, &view->walk.filter.client);
}

static int admin_view_read_server(struct view *view, const char *value)
{
	return admin_view_read_address(value, &view->walk.filter.server);
}

static int admin_view_read_service(struct view *view, const char *value)
{
	if (!strchr(value, '/'))
		return -EINVAL;
	memcpy(view->walk.filter.service, value, strlen(value) + 1);
	return 0;
}

static int admin_view_read_id(struct view *view, const char *value)
{
	return admin_view_read_number(value, 1, UINT64_MAX / 16, &view->walk.filter.id);
}

static int admin_view_read_sort(struct view *view, const char *value)
{
	view->walk.sort = strcmp(value, "age") == 0 ? WALK_BY_AGE : WALK_BY_DEADLINE;
	return view->walk.sort == WALK_BY_AGE || strcmp(value, "deadline") == 0 ? 0 : -EINVAL;
}

static int admin_view_read_limit(struct view *view, const char *value)
{
	uint64_t limit;
	int result = admin_view_read_number(value, 1, LIMIT_MOST, &limit);

	if (!result)
		view->walk.limit = (size_t)limit;
	return result;
}

static int admin_view_read_format(struct view *view, const char *value)
{
	bool html = strcmp(value, "html") == 0;

	if (!html && strcmp(value, "json") != 0)
		return -EINVAL;
	view->print = html ? admin_html_print : admin_view_print_json;
	view->type = html ? html_type : json_type;
	return 0;
}

static int admin_view_read_refresh(struct view *view, const char *value)
{
	uint64_t seconds;
	int result = admin_view_read_number(value, 0, REFRESH_MOST_S, &seconds);

	if (!result)
		view->refresh = (unsigned)seconds;
	return result;
}

/* choices: how many `choice` names; 0: any text that `read` takes. */
static const struct {
	const char *name;
	int (*read)(struct view *view, const char *value);
	const char *accepted;
	unsigned choices;
	const char *(*choice)(unsigned at);
} parameters[VIEW_PARAMETERS] = {
    [VIEW_DIRECTION] = {"direction", admin_view_read_direction, "inbound or outbound", DIRECTION_OUTBOUND + 1, words_direction},
    [VIEW_CLIENT] = {"client", admin_view_read_client, "an address, as 10.1.0.7, 10.1.0.7:40112, [::1]:80 or 10.1.0.0/16"},
    [VIEW_SERVER] = {"server", admin_view_read_server, "an address, as 10.1.0.9, 10.1.0.9:8080, [::1]:80 or 10.1.0.0/16"},
    [VIEW_SERVICE] = {"service", admin_view_read_service, "NAMESPACE/NAME"},
    [VIEW_PROTOCOL] = {"protocol", admin_view_read_protocol, "undetected, http/1.1, http/2, tls or opaque", PROTOCOL_OPAQUE + 1,
                       words_protocol},
    [VIEW_STAGE] = {"stage", admin_view_read_stage,
                    "accept, detect, connect, opaque, idle, head, exchange (request, wait, backoff or response), tunnel or closing",
                    PHASE_COUNT, words_phase},
    [VIEW_TIMER] = {"timer", admin_view_read_timer, "a timeout's name, as idleConnection, or none", TIMEOUT_NONE + 1, admin_view_timer},
    [VIEW_ID] = {"id", admin_view_read_id, "the number of a connection"},
    [VIEW_SORT] = {"sort", admin_view_read_sort, "deadline or age"},
    [VIEW_LIMIT] = {"limit", admin_view_read_limit, "a number from 1 to 10000"},
    [VIEW_FORMAT] = {"format", admin_view_read_format, "html or json"},
    [VIEW_REFRESH] = {"refresh", admin_view_read_refresh, "seconds from 0, for never, to 3600"},
};

const char *admin_view_parameter_name(enum view_parameter parameter)
{
	return parameters[parameter].name;
}

const char *admin_view_parameter_choice(enum view_parameter parameter, unsigned at)
{
	return at < parameters[parameter].choices ? parameters[parameter].choice(at) : NULL;
}

/* --- JSON --- */

static void admin_view_print_row(struct json *json, const struct walk_row *row)
{
	char text[ADDR_TEXT_SIZE], duration[DURATION_TEXT_SIZE];

	json_open(json, NULL, '{');
	json_number(json, "id", (int64_t)row->id);
	json_string(json, "direction", words_direction(row->direction));
	json_string(json, "client", row->client.family ? addr_format(&row->client, text) : NULL);
	json_string(json, "server", row->server.family ? addr_format(&row->server, text) : NULL);
	json_string(json, "service", row->service);
	json_string(json, "protocol", words_protocol(row->protocol));
	json_string(json, "stage", words_phase(row->phase));
	json_number(json, "age_ms", row->age);
	json_number(json, "idle_ms", row->idle);
	if (row->left == INT64_MAX)
		json_null(json, "deadline_ms");
	else
		json_number(json, "deadline_ms", row->left);
	json_string(json, "timer", row->timer == TIMEOUT_NONE ? NULL : timeouts_name(row->timer));
	json_string(json, "value", row->timer == TIMEOUT_NONE ? NULL : duration_format(row->value, duration));
	json_string(json, "source", row->source);
	json_string(json, "finished", !row->half_closed ? NULL : row->client_finished ? "client" : "server");
	json_string(json, "unread", row->unread);
	json_number(json, "sent_client", (int64_t)row->sent_client);
	json_number(json, "received_client", (int64_t)row->received_client);
	json_number(json, "sent_server", (int64_t)row->sent_server);
	json_number(json, "received_server", (int64_t)row->received_server);
	json_number(json, "requests", row->requests);
	if (row->protocol == PROTOCOL_HTTP2)
		json_raw(json, "streams", '[', row->streams ? row->streams : "");
	json_close(json, '}');
}

static void admin_view_print_json(const struct view *view, FILE *out)
{
	struct json json = {.to = out};

	json_open(&json, NULL, '{');
	json_number(&json, "open", (int64_t)view->walk.open);
	json_number(&json, "matched", (int64_t)view->walk.matched);
	json_string(&json, "sort", view->walk.sort == WALK_BY_AGE ? "age" : "deadline");
	json_open(&json, "connections", '[');
	for (size_t i = 0; i < view->walk.row_count; i++)
		admin_view_print_row(&json, view->walk.rows[i]);
	json_close(&json, ']');
	json_close(&json, '}');
	fputc('\n', out);
}

static void admin_view_print_closed(const struct view *view, FILE *out)
{
	struct json json = {.to = out};

	json_open(&json, NULL, '{');
	json_number(&json, "closed", (int64_t)view->walk.matched);
	json_close(&json, '}');
	fputc('\n', out);
}

/* --- the pages --- */

static void admin_view_free(struct walk *walk)
{
	free(walk); /* the view's first member */
}

static void admin_view_done(struct walk *walk)
{
	const struct view *view = (const struct view *)walk;
	struct admin_answer answer = {0};
	FILE *out;

	if (!walk->client)
		return;
	out = walk->no_memory ? NULL : admin_pages_open(&answer);
	if (out)
		view->print(view, out);
	admin_pages_close(&answer, out, walk->action == WALK_CLOSE && walk->filter.id && !walk->matched ? 404 : 200, view->type);
	admin_answer_later((void *)(uintptr_t)walk->client, &answer);
}

/* False: a parameter is wrong, and the answer says so. */
static bool admin_view_read(struct view *view, struct admin_call *call)
{
	for (int i = 0; i < VIEW_PARAMETERS; i++) {
		struct text text;

		text_init(&text, view->values[i], sizeof view->values[i]);
		if (!admin_pages_parameter(call, parameters[i].name, &text))
			continue;
		if (!text.length && view->walk.action == WALK_LIST) /* a field of the page's form that was left empty */
			continue;
		if (text.truncated || parameters[i].read(view, view->values[i])) {
			admin_pages_say(call, 400, "%s: %s", parameters[i].name, parameters[i].accepted);
			return false;
		}
	}
	return true;
}

/* A view of this call with its parameters read; NULL: the call is answered. */
static struct view *admin_view_new(struct admin_call *call, enum walk_action action, void (*print)(const struct view *, FILE *),
                                   const char *type)
{
	struct view *view = calloc(1, sizeof *view);

	if (!view) {
		admin_pages_say(call, 503, "there is no memory for this page");
		return NULL;
	}
	walk_filter_init(&view->walk.filter);
	view->walk.action = action;
	view->walk.limit = LIMIT_DEFAULT;
	view->walk.client = call->client;
	view->walk.done = admin_view_done;
	view->walk.free_walk = admin_view_free;
	view->context = call->context;
	view->print = print;
	view->type = type;
	view->refresh = REFRESH_DEFAULT_S;
	if (admin_view_read(view, call))
		return view;
	free(view);
	return NULL;
}

static void admin_view_start(struct view *view, struct admin_call *call)
{
	if (!walk_start(call->walks, &view->walk))
		return;
	free(view);
	admin_pages_say(call, 503, "there is no memory for this page");
}

void admin_view_connections(struct admin_call *call)
{
	bool html = admin_pages_field_has(call, "accept", "text/html"); /* as browsers say */
	struct view *view = admin_view_new(call, WALK_LIST, html ? admin_html_print : admin_view_print_json, html ? html_type : json_type);

	if (view)
		admin_view_start(view, call);
}

void admin_view_half_closed(struct admin_call *call)
{
	struct view *view = admin_view_new(call, WALK_LIST, admin_view_print_json, json_type);

	if (!view)
		return;
	view->walk.filter.half_closed = true;
	admin_view_start(view, call);
}

void admin_view_close(struct admin_call *call)
{
	struct view *view = admin_view_new(call, WALK_CLOSE, admin_view_print_closed, json_type);
	TEXT_ON_STACK(which, 512);

	if (!view)
		return;
	for (int i = 0; i < VIEW_FILTERS; i++)
		if (view->values[i][0])
			text_printf(&which, " %s=%s", parameters[i].name, view->values[i]);
	if (!which.length) { /* all of them is never what was meant */
		free(view);
		admin_pages_say(call, 400, "say which: id=, direction=, client=, server=, service=, protocol=, stage= or timer=");
		return;
	}
	log_message(call->context->log, LOG_INFO, "POST /connections/close:%s", which_bytes);
	admin_view_start(view, call);
}
