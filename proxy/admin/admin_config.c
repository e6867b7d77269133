/* GET /config: what is in force, and where it was set. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "lib/clock.h"
#include "lib/conntrack.h"
#include "lib/duration.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/admin_pages.h"
#include "proxy/config/config.h"
#include "proxy/config/regex.h"
#include "proxy/config/yaml.h"
#include "proxy/connection/worker.h"
#include "proxy/dns/resolve_channel.h"
#include "proxy/http1/http1.h"
#include "proxy/policy/policy.h"
#include "proxy/policy/reload.h"
#include "proxy/server/learned.h"

enum {
	SERVICE_SIZE = 320,
	TARGETS_SHOWN = 1000, /* unless a Service is asked for */
	SERVERS_SHOWN = 1000,
};

/* What ?service= asks for. */
struct asked {
	char text[SERVICE_SIZE]; /* empty: nothing */
	const char *namespace, *name; /* NULL likewise */
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

/* --- targets --- */

static bool admin_config_differs(const struct timeout_value *value, const struct timeout_value *base)
{
	return value->milliseconds != base->milliseconds || value->after_request != base->after_request || strcmp(value->source, base->source) != 0;
}

/* How many of a target's timeouts are not those of the pod; json not NULL: they are printed too. */
static int admin_config_differences(struct json *json, const struct timeouts *timeouts, const struct timeouts *base)
{
	int count = 0;

	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		if (!admin_config_differs(&timeouts->of[id], &base->of[id]))
			continue;
		count++;
		if (json)
			timeouts_print_json_value(json, (enum timeout_id)id, &timeouts->of[id], false);
	}
	return count;
}

/* base NULL: all of its timeouts, else those that differ. */
static void admin_config_target(struct json *json, enum direction direction, const struct policy_target *target,
                                const struct timeouts *base)
{
	const char *namespace, *name;
	uint16_t port;

	json_open(json, NULL, '{');
	json_string(json, "direction", words_direction(direction));
	json_string(json, "service", policy_target_name(target));
	if (policy_target_service(target, &namespace, &name, &port) && port)
		json_number(json, "port", port);
	else
		json_null(json, "port");
	if (base) {
		json_open(json, "timeouts", '{');
		admin_config_differences(json, policy_target_timeouts(target), base);
		json_close(json, '}');
	} else {
		timeouts_print_json(json, policy_target_timeouts(target), false);
	}
	json_close(json, '}');
}

/* The ports of Services whose timeouts are not those of the pod: a Service's annotations, its Tenant, KubeLB's Route of its name. */
static void admin_config_differing(struct json *json, const struct policy *policy)
{
	const struct timeouts *base = policy_timeouts(policy);
	size_t count = 0;

	json_open(json, "targets", '[');
	for (enum direction direction = DIRECTION_INBOUND; direction <= DIRECTION_OUTBOUND; direction++) {
		const struct policy_target *target;

		for (size_t at = 0; (target = policy_target_next(policy, direction, NULL, NULL, &at));)
			if (admin_config_differences(NULL, policy_target_timeouts(target), base) && count++ < TARGETS_SHOWN)
				admin_config_target(json, direction, target, base);
	}
	json_close(json, ']');
	json_number(json, "targets_differing", (int64_t)count);
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
				admin_config_target(json, direction, target, NULL);
			continue;
		}
		for (size_t at = 0; (target = policy_target_next(policy, direction, asked->namespace, asked->name, &at));)
			admin_config_target(json, direction, target, NULL);
	}
	json_close(json, ']');
}

/* --- documents --- */

static void admin_config_warnings(struct json *json, const struct diagnostics *diagnostics)
{
	for (const struct diagnostic *each = diagnostics->first; each; each = each->next)
		if (!each->error)
			json_string(json, NULL, each->text);
}

static void admin_config_last_reading(struct json *json, const struct reload_status *status)
{
	char at[CLOCK_TEXT_SIZE];

	clock_format(status->tried_ms, at);
	json_open(json, "last_reading", '{');
	json_string(json, "at", at);
	json_string(json, "result", status->refusal ? "refused" : "taken");
	json_number(json, "errors", (int64_t)status->refusals);
	json_string(json, "first_error", status->refusal);
	json_close(json, '}');
}

static void admin_config_documents(struct json *json, const struct reload_status *status, const struct policy *policy)
{
	const struct config *config = status->config;
	char read_at[CLOCK_TEXT_SIZE];

	clock_format(status->read_ms, read_at);
	json_open(json, "documents", '{');
	json_open(json, "files", '[');
	for (const struct config_file *file = config->first_file; file; file = file->next) {
		json_open(json, NULL, '{');
		json_string(json, "path", file->path);
		json_number(json, "bytes", (int64_t)file->bytes);
		json_close(json, '}');
	}
	json_close(json, ']');
	json_number(json, "bytes", (int64_t)config->bytes);
	json_string(json, "read_at", read_at);
	json_number(json, "reloads_taken", (int64_t)status->taken);
	json_number(json, "reloads_refused", (int64_t)status->refused);
	admin_config_last_reading(json, status);
	json_open(json, "objects", '{');
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		if (config->catalog->counts[kind])
			json_number(json, catalog_kind_name(kind), (int64_t)config->catalog->counts[kind]);
	json_close(json, '}');
	json_open(json, "warnings", '[');
	admin_config_warnings(json, &config->diagnostics);
	admin_config_warnings(json, policy_diagnostics(policy));
	json_close(json, ']');
	json_close(json, '}');
}

/* --- what was learned --- */

struct known {
	struct learned_view view;
	int worker;
};

static int admin_config_compare_known(const void *left, const void *right)
{
	const struct known *a = left, *b = right;
	const struct addr *to = &a->view.destination, *other = &b->view.destination;
	int order = memcmp(to->bytes, other->bytes, sizeof to->bytes);

	if (to->family != other->family)
		return to->family < other->family ? -1 : 1;
	if (order)
		return order;
	if (to->port != other->port)
		return to->port < other->port ? -1 : 1;
	if (to->scope != other->scope)
		return to->scope < other->scope ? -1 : 1;
	return a->worker - b->worker;
}

/* What all workers know, by destination; NULL with *count 0: nothing, or there is no memory (*no_memory). */
static struct known *admin_config_gather(const struct proxy *proxy, size_t *count, bool *no_memory)
{
	size_t most = (size_t)LEARNED_SETS * LEARNED_WAYS;
	struct learned_view *views = malloc(most * sizeof *views);
	struct known *known = views ? malloc((size_t)proxy->worker_count * most * sizeof *known) : NULL;

	*count = 0;
	*no_memory = !known;
	for (int i = 0; i < proxy->worker_count && known; i++) {
		size_t got = proxy->workers[i] ? learned_list(&proxy->workers[i]->pool.learned, views, most) : 0;

		for (size_t each = 0; each < got; each++)
			known[(*count)++] = (struct known){views[each], i};
	}
	free(views);
	if (*count)
		qsort(known, *count, sizeof *known, admin_config_compare_known);
	return known;
}

static void admin_config_milliseconds(struct json *json, const char *key, int64_t milliseconds)
{
	if (milliseconds)
		json_number(json, key, milliseconds);
	else
		json_null(json, key);
}

static void admin_config_view(struct json *json, const struct learned_view *view)
{
	admin_config_milliseconds(json, "closes_after_ms", view->closes_after);
	admin_config_milliseconds(json, "announced_ms", view->announced);
	admin_config_milliseconds(json, "reused_until_ms", learned_view_limit(view));
	admin_config_milliseconds(json, "seen_open_ms", view->survived);
	json_number(json, "closes_seen", view->closes);
}

static int32_t admin_config_shorter(int32_t a, int32_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* One destination, as `count` workers know it: the least they have met, since each heeds its own, and what each knows. */
static void admin_config_server(struct json *json, const struct known *known, size_t count)
{
	struct learned_view all = known->view;
	char destination[ADDR_TEXT_SIZE];
	TEXT_ON_STACK(sentence, 128);

	for (size_t i = 1; i < count; i++) {
		all.closes_after = admin_config_shorter(all.closes_after, known[i].view.closes_after);
		all.announced = admin_config_shorter(all.announced, known[i].view.announced);
		all.survived = all.survived > known[i].view.survived ? all.survived : known[i].view.survived;
		all.closes += known[i].view.closes;
	}
	learned_view_describe(&all, &sentence);
	json_open(json, NULL, '{');
	json_string(json, "destination", addr_format(&all.destination, destination));
	json_string(json, "known", sentence.length ? sentence_bytes : NULL);
	admin_config_view(json, &all);
	json_open(json, "workers", '[');
	for (size_t i = 0; i < count; i++) {
		json_open(json, NULL, '{');
		json_number(json, "worker", known[i].worker);
		admin_config_view(json, &known[i].view);
		json_close(json, '}');
	}
	json_close(json, ']');
	json_close(json, '}');
}

static void admin_config_learned(struct json *json, const struct proxy *proxy)
{
	size_t count, destinations = 0;
	bool no_memory;
	struct known *known = admin_config_gather(proxy, &count, &no_memory);

	json_open(json, "learned_server_idle", '{');
	json_bool(json, "enabled", !proxy->upstream->no_learned_idle);
	json_open(json, "servers", '[');
	for (size_t first = 0, end; first < count; first = end) {
		for (end = first + 1; end < count && addr_equal(&known[first].view.destination, &known[end].view.destination);)
			end++;
		if (destinations++ < SERVERS_SHOWN)
			admin_config_server(json, known + first, end - first);
	}
	json_close(json, ']');
	if (no_memory)
		json_null(json, "destinations");
	else
		json_number(json, "destinations", (int64_t)destinations);
	json_close(json, '}');
	free(known);
}

/* --- what is below us --- */

static void admin_config_versions(struct json *json)
{
	static const struct {
		const char *name;
		void (*print)(struct text *out);
	} libraries[] = {
	    {"llhttp", http1_library}, {"c-ares", resolve_channel_library}, {"libyaml", yaml_library}, {"PCRE2", regex_library},
	};
	struct utsname kernel;

	json_open(json, "versions", '{');
	json_string(json, "lapse", LAPSE_VERSION);
	for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
		TEXT_ON_STACK(version, 64);

		libraries[i].print(&version);
		json_string(json, libraries[i].name, version_bytes);
	}
	json_string(json, "kernel", uname(&kernel) ? NULL : kernel.release);
	json_close(json, '}');
}

/* As they are now in our network namespace; null: not to be read here, or the kernel shows no such number. */
static void admin_config_conntrack(struct json *json)
{
	static const char *const numbers[] = {"nf_conntrack_max", "nf_conntrack_count", "nf_conntrack_tcp_be_liberal", "nf_conntrack_tcp_loose"};
	uint32_t seconds;
	uint64_t number;

	json_open(json, "conntrack", '{');
	json_open(json, "timeouts_s", '{');
	for (enum conntrack_state state = 0; state < CONNTRACK_STATE_COUNT; state++)
		if (conntrack_timeout_read(state, &seconds))
			json_null(json, conntrack_state_name(state));
		else
			json_number(json, conntrack_state_name(state), seconds);
	json_close(json, '}');
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (conntrack_setting_read(numbers[i], &number))
			json_null(json, numbers[i]);
		else
			json_number(json, numbers[i], (int64_t)number);
	json_close(json, '}');
}

/* --- the page --- */

static void admin_config_print(const struct admin_call *call, const struct asked *asked, FILE *out)
{
	const struct proxy *proxy = call->context->proxy;
	const struct policy *policy = proxy->policy;
	struct json json = {.to = out};
	struct reload_status status;

	reload_status(call->context->reload, &status);
	json_open(&json, NULL, '{');
	json_string(&json, "version", LAPSE_VERSION);
	admin_config_versions(&json);
	json_string(&json, "namespace", status.config->namespace);
	json_bool(&json, "draining", atomic_load_explicit(&proxy->drain, memory_order_relaxed) != DRAIN_NONE);
	json_number(&json, "workers", proxy->worker_count);
	json_number(&json, "max_connections", (int64_t)proxy->max_connections);
	timeouts_print_json(&json, policy_timeouts(policy), true);
	if (asked->name)
		admin_config_targets(&json, policy, asked);
	else
		admin_config_differing(&json, policy);
	admin_config_learned(&json, proxy);
	admin_config_documents(&json, &status, policy);
	admin_config_conntrack(&json);
	call->context->print_settings(call->context->owner, &json);
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
