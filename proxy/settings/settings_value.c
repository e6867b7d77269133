#include "proxy/settings/settings_value.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/text.h"
#include "proxy/admin/admin_host.h"
#include "proxy/metrics/words.h"
#include "proxy/settings/settings.h"

enum { DOMAIN_MOST = 180 }; /* of a name's 253 characters, with a Service and a namespace before it */

int settings_value_parse_admin(const struct option_call *call, void *field, struct text *accepted)
{
	struct addr *addr = field;

	if (strcmp(call->value, "off") == 0) {
		*addr = (struct addr){0};
		return 0;
	}
	if (!addr_parse(call->value, addr) && addr->port)
		return 0;
	text_string(accepted, "an address with its port, as 127.0.0.1:4191 or [::1]:4191, or off");
	return -EINVAL;
}

int settings_value_parse_admin_host(const struct option_call *call, void *field, struct text *accepted)
{
	const char *name = call->value;
	size_t length = admin_host_name_length(name);

	while (length && name[length]) {
		name += length + 1;
		length = admin_host_name_length(name);
	}
	if (!length) {
		text_string(accepted, "names of hosts without ports, as prometheus-targets.shop.svc or web.shop,web.example.org");
		return -EINVAL;
	}
	return options_parse_texts(call, field, accepted);
}

int settings_value_parse_forwarded(const struct option_call *call, void *field, struct text *accepted)
{
	bool on = false;

	if (call->value && strcmp(call->value, call->row->follows) == 0) {
		*(enum forwarded *)field = FORWARDED_X_FOR;
		return 0;
	}
	if (options_parse_flag(call, &on, accepted)) {
		text_printf(accepted, ", or %s", call->row->follows);
		return -EINVAL;
	}
	*(enum forwarded *)field = on ? FORWARDED_RFC7239 : FORWARDED_NONE;
	return 0;
}

int settings_value_parse_dns(const struct option_call *call, void *field, struct text *accepted)
{
	struct addr addr;

	if (addr_parse(call->value, &addr) || !addr.port) {
		text_string(accepted, "an address with its port, as 10.96.0.10:53 or [fd00::a]:53");
		return -EINVAL;
	}
	*(struct addr *)field = addr;
	return 0;
}

/* Letters, digits and hyphens, neither first nor last a hyphen (RFC 1123), in lower case as Kubernetes has it. */
static bool settings_value_is_label(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9') ||
		      (text[i] == '-' && i && i + 1 < length)))
			return false;
	return length && length <= 63;
}

int settings_value_parse_namespace(const struct option_call *call, void *field, struct text *accepted)
{
	if (!settings_value_is_label(call->value, strlen(call->value))) {
		text_string(accepted, "a namespace: 1 to 63 of a-z, 0-9 and hyphens inside");
		return -EINVAL;
	}
	*(const char **)field = call->value;
	return 0;
}

int settings_value_parse_domain(const struct option_call *call, void *field, struct text *accepted)
{
	const char *label = call->value;
	size_t length = strcspn(label, ".");

	while (settings_value_is_label(label, length) && label[length]) {
		label += length + 1;
		length = strcspn(label, ".");
	}
	if (!settings_value_is_label(label, length) || strlen(call->value) > DOMAIN_MOST) {
		text_string(accepted, "a domain in lower case without a dot at its end, as cluster.local");
		return -EINVAL;
	}
	*(const char **)field = call->value;
	return 0;
}

int settings_value_parse_direction(const struct option_call *call, void *field, struct text *accepted)
{
	for (enum direction direction = DIRECTION_INBOUND; direction <= DIRECTION_OUTBOUND; direction++)
		if (strcmp(call->value, words_direction(direction)) == 0) {
			*(enum direction *)field = direction;
			return 0;
		}
	text_string(accepted, "inbound or outbound");
	return -EINVAL;
}

int settings_value_parse_protocol(const struct option_call *call, void *field, struct text *accepted)
{
	static const char *const names[] = {[ASKED_HTTP_1] = "http/1.1", [ASKED_HTTP_2] = "http/2", [ASKED_GRPC] = "grpc"};

	for (enum asked_protocol protocol = 0; protocol < ASKED_PROTOCOLS; protocol++)
		if (strcmp(call->value, names[protocol]) == 0) {
			*(enum asked_protocol *)field = protocol;
			return 0;
		}
	text_string(accepted, "http/1.1, http/2 or grpc");
	return -EINVAL;
}

/* Back from now, or an instant. */
int settings_value_parse_since(const struct option_call *call, void *field, struct text *accepted)
{
	int64_t *since = field, milliseconds;

	if (!duration_parse(DURATION_GO, call->value, &milliseconds) && milliseconds > 0) {
		*since = clock_realtime_ms() - milliseconds;
		return 0;
	}
	if (!clock_parse(call->value, strlen(call->value), since))
		return 0;
	text_string(accepted, "a duration back from now, as 10m or 1h30m, or an instant, as 2026-01-02T03:04:05Z or 2026-01-02");
	return -EINVAL;
}

int settings_value_parse_reason(const struct option_call *call, void *field, struct text *accepted)
{
	enum reason_id id = reason_find(call->value);

	if (id != REASON_NONE && id != REASON_COUNT)
		return options_parse_texts(call, field, accepted);
	text_string(accepted, "a close reason, as idle_timeout; --print-docs reasons lists them");
	return -EINVAL;
}

/* A duration from 0s on, and where it was set, for the caller to free. Only that of ServiceProfiles has a default. */
static int settings_value_read_timeout(const struct option_call *call, struct timeout_value *out, struct text *accepted)
{
	static const char *const origins[] = {"built-in", "environment variable", "flag"};
	bool built_in = call->origin == OPTION_ORIGIN_DEFAULT;
	int64_t milliseconds;
	char *source;

	if (duration_parse(DURATION_GO, call->value, &milliseconds) || milliseconds < 0) {
		text_string(accepted, "a duration from 0s (off) on, as 500ms, 30s, 1h30m");
		return -EINVAL;
	}
	if (asprintf(&source, "%s %s", origins[call->origin], built_in ? "ServiceProfile default" : call->given_as) < 0)
		return -ENOMEM;
	*out = (struct timeout_value){milliseconds, source};
	return 0;
}

int settings_value_parse_timeout(const struct option_call *call, void *field, struct text *accepted)
{
	struct timeout_value *value = field, fresh;
	int result = settings_value_read_timeout(call, &fresh, accepted);

	if (!result) {
		free((char *)value->source);
		*value = fresh;
	}
	return result;
}

/* Two members of the policy's settings, which are the field. */
int settings_value_parse_profile_default(const struct option_call *call, void *field, struct text *accepted)
{
	struct policy_settings *settings = field;
	struct timeout_value fresh;
	int result = settings_value_read_timeout(call, &fresh, accepted);

	if (result)
		return result;
	free((char *)settings->service_profile_default_source);
	settings->service_profile_default_timeout = fresh.milliseconds;
	settings->service_profile_default_source = fresh.source;
	return 0;
}

static const char *const docs_names[] = {"none", "man", "timeouts", "costs", "reasons", "kinds", "annotations", "metrics", "inject"};

int settings_value_parse_docs(const struct option_call *call, void *field, struct text *accepted)
{
	if (call->origin == OPTION_ORIGIN_ENVIRONMENT)
		return 0; /* nobody means to keep a program from its work by a variable left over */
	for (size_t i = 1; i < sizeof docs_names / sizeof docs_names[0]; i++)
		if (strcmp(call->value, docs_names[i]) == 0) {
			*(enum proxy_docs *)field = (enum proxy_docs)i;
			return 0;
		}
	text_string(accepted, "man, timeouts, costs, reasons, kinds, annotations, metrics or inject");
	return -EINVAL;
}

/* One of two words; the second is true. */
static int settings_value_parse_either(const struct option_call *call, bool *field, struct text *accepted, const char *no, const char *yes)
{
	if (strcmp(call->value, no) != 0 && strcmp(call->value, yes) != 0) {
		text_printf(accepted, "%s or %s", no, yes);
		return -EINVAL;
	}
	*field = strcmp(call->value, yes) == 0;
	return 0;
}

int settings_value_parse_malformed(const struct option_call *call, void *field, struct text *accepted)
{
	return settings_value_parse_either(call, field, accepted, "pass", "refuse");
}

int settings_value_parse_deadline(const struct option_call *call, void *field, struct text *accepted)
{
	return settings_value_parse_either(call, field, accepted, "observe", "enforce");
}
