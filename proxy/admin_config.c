/* GET /config: what is in force, and where it was set. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/conntrack.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "proxy/admin.h"
#include "proxy/admin_pages.h"
#include "proxy/config.h"
#include "proxy/explain_print.h"
#include "proxy/options.h"
#include "proxy/policy.h"
#include "proxy/reload.h"
#include "proxy/worker.h"

enum { SERVICE_SIZE = 320 };

/* What ?service= asks for. */
struct asked {
	char text[SERVICE_SIZE]; /* empty: nothing */
	const char *namespace, *name;
	uint16_t port; /* 0 = all */
};

/* "default/web" or "default/web:80"; the text is cut into its parts. */
static bool admin_config_parse(struct asked *asked)
{
	char *slash = strchr(asked->text, '/'), *colon = slash ? strchr(slash, ':') : NULL, *end = NULL;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!slash || slash == asked->text || !slash[1] || slash + 1 == colon)
		return false;
	if (colon && (colon[1] < '0' || colon[1] > '9' || *end || !port || port > UINT16_MAX))
		return false;
	*slash = '\0';
	if (colon)
		*colon = '\0';
	asked->namespace = asked->text;
	asked->name = slash + 1;
	asked->port = (uint16_t)port;
	return true;
}

static void admin_config_target(struct json *json, enum direction direction, const struct policy_target *target)
{
	const char *namespace, *name;
	uint16_t port;

	json_open(json, NULL, '{');
	json_string(json, "direction", origin_direction_name(direction));
	json_string(json, "service", policy_target_name(target));
	if (policy_target_service(target, &namespace, &name, &port) && port)
		json_number(json, "port", port);
	else
		json_null(json, "port");
	explain_print_json_timeouts(json, policy_target_timeouts(target));
	json_close(json, '}');
}

/* The Service's ports, each as clients and as servers meet it. */
static void admin_config_targets(struct json *json, const struct policy *policy, const struct asked *asked)
{
	json_open(json, "targets", '[');
	for (enum direction direction = DIRECTION_INBOUND; direction <= DIRECTION_OUTBOUND; direction++) {
		const struct policy_target *target;

		if (asked->port) {
			target = policy_target_named(policy, direction, asked->namespace, asked->name, asked->port);
			if (target)
				admin_config_target(json, direction, target);
			continue;
		}
		for (size_t at = 0; (target = policy_target_next(policy, direction, asked->namespace, asked->name, &at));)
			admin_config_target(json, direction, target);
	}
	json_close(json, ']');
}

static void admin_config_warnings(struct json *json, const struct diagnostics *diagnostics)
{
	for (const struct diagnostic *each = diagnostics->first; each; each = each->next)
		if (!each->error)
			json_string(json, NULL, each->text);
}

static void admin_config_documents(struct json *json, const struct reload_status *status, const struct policy *policy)
{
	const struct config *config = status->config;
	char read_at[CLOCK_TEXT_SIZE];

	clock_format(status->read_ms, read_at);
	json_open(json, "documents", '{');
	json_number(json, "files", (int64_t)config->files);
	json_number(json, "bytes", (int64_t)config->bytes);
	json_string(json, "read_at", read_at);
	json_number(json, "reloads_taken", (int64_t)status->taken);
	json_number(json, "reloads_refused", (int64_t)status->refused);
	json_open(json, "objects", '{');
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		if (config->catalog->counts[kind])
			json_number(json, kind_name(kind), (int64_t)config->catalog->counts[kind]);
	json_close(json, '}');
	json_open(json, "warnings", '[');
	admin_config_warnings(json, &config->diagnostics);
	admin_config_warnings(json, policy_diagnostics(policy));
	json_close(json, ']');
	json_close(json, '}');
}

/* What of conntrack can be read here; of a kernel or namespace without it, nothing. */
static void admin_config_conntrack(struct json *json)
{
	static const char *const numbers[] = {"nf_conntrack_max", "nf_conntrack_count", "nf_conntrack_tcp_be_liberal", "nf_conntrack_tcp_loose"};
	uint32_t seconds;
	uint64_t number;

	json_open(json, "conntrack", '{');
	json_open(json, "timeouts_s", '{');
	for (enum conntrack_state state = 0; state < CONNTRACK_STATE_COUNT; state++)
		if (!conntrack_timeout_read(state, &seconds))
			json_number(json, conntrack_state_name(state), seconds);
	json_close(json, '}');
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (!conntrack_setting_read(numbers[i], &number))
			json_number(json, numbers[i], (int64_t)number);
	json_close(json, '}');
}

static void admin_config_print(const struct admin_call *call, const struct asked *asked, FILE *out)
{
	const struct proxy *proxy = call->context->proxy;
	const struct policy *policy = proxy->policy;
	struct json json = {.to = out};
	struct reload_status status;

	reload_status(call->context->reload, &status);
	json_open(&json, NULL, '{');
	json_string(&json, "version", LAPSE_VERSION);
	json_string(&json, "namespace", status.config->namespace);
	json_bool(&json, "draining", atomic_load_explicit(&proxy->drain, memory_order_relaxed) != DRAIN_NONE);
	json_number(&json, "workers", proxy->worker_count);
	json_number(&json, "max_connections", (int64_t)proxy->max_connections);
	explain_print_json_timeouts(&json, policy_timeouts(policy));
	if (asked->name)
		admin_config_targets(&json, policy, asked);
	admin_config_documents(&json, &status, policy);
	admin_config_conntrack(&json);
	proxy_options_print_changed(proxy->settings, &json);
	json_close(&json, '}');
	fputc('\n', out);
}

void admin_config_page(struct admin_call *call)
{
	struct asked asked = {0};
	struct text text;
	FILE *out;

	text_init(&text, asked.text, sizeof asked.text);
	if (admin_pages_parameter(call, "service", &text) && (text.truncated || !admin_config_parse(&asked))) {
		admin_pages_say(call, 400, "service: NAMESPACE/NAME or NAMESPACE/NAME:PORT");
		return;
	}
	out = admin_pages_open(call->answer);
	if (out)
		admin_config_print(call, &asked, out);
	admin_pages_close(call->answer, out, 200, "application/json");
}
