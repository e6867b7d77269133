#include "proxy/settings/settings_check.h"

#include <errno.h>

#include "lib/duration.h"
#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/settings/settings.h"

static int settings_check_drain(const struct settings *settings, struct text *error)
{
	const struct timeout_value *least = &settings->policy.timeouts.of[TIMEOUT_DRAIN_LEAST], *drain = &settings->policy.timeouts.of[TIMEOUT_DRAIN];
	char least_text[DURATION_TEXT_SIZE], drain_text[DURATION_TEXT_SIZE];

	if (drain->milliseconds <= 0 || least->milliseconds <= drain->milliseconds)
		return 0;
	text_printf(error, "%s %s is above %s %s, when all ends: give no more than that", least->source,
	            duration_format(least->milliseconds, least_text), drain->source, duration_format(drain->milliseconds, drain_text));
	return -EINVAL;
}

/* 0, or -EINVAL with a sentence: each listener has a port of its own. */
static int settings_check_ports(const struct settings *settings, struct text *error)
{
	const char *both = settings->worker.inbound_port == settings->worker.outbound_port                                ? "--outbound-port"
	                   : settings->admin.family && settings->admin.port == settings->worker.inbound_port  ? "--admin"
	                                                                                               : NULL;

	if (both) {
		text_printf(error, "--inbound-port and %s are both %u; give each its own port", both, settings->worker.inbound_port);
		return -EINVAL;
	}
	if (settings->admin.family && settings->admin.port == settings->worker.outbound_port) {
		text_printf(error, "--outbound-port and --admin are both %u; give each its own port", settings->worker.outbound_port);
		return -EINVAL;
	}
	return 0;
}

int settings_check(const struct settings *settings, bool listens, struct text *error)
{
	int result = settings_check_drain(settings, error);

	return result || !listens ? result : settings_check_ports(settings, error);
}
