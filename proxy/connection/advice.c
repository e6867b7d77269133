#include "proxy/connection/advice.h"

#include <stdbool.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/text.h"

enum {
	CONNTRACK_LONGEST_MS = 120 * 3600 * 1000, /* what the kernel keeps an established flow */
	CLAUSE_SIZE = 1024,
	SOURCE_MOST = 240, /* a longer one would leave no room; the record has it as set_by */
};

/* The flag or environment variable that a source is; NULL: it is an object's. */
static const char *advice_setting(const char *source)
{
	static const char *const prefixes[] = {"flag ", "environment variable "};

	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
		if (strncmp(source, prefixes[i], strlen(prefixes[i])) == 0)
			return source + strlen(prefixes[i]);
	return NULL;
}

/* "idleConnection=1s (--timeout-idle-connection or annotation …)": where to change it so that it has effect. An annotation goes
 * above a flag, and what an object says above both. */
static void advice_value(enum timeout_id timer, const struct timeout_value *value, struct text *out)
{
	const char *source = value->source, *setting = advice_setting(source);
	char duration[DURATION_TEXT_SIZE], flag[TIMEOUTS_FLAG_SIZE];

	timeouts_flag_name(timer, flag);
	text_printf(out, "%s=%s (", timeouts_name(timer), duration_format(value->milliseconds, duration));
	if (strcmp(source, "built-in") == 0)
		text_printf(out, "built-in; --%s or annotation lapse.proxy/%s)", flag, flag);
	else if (strcmp(source, "built-in ServiceProfile default") == 0)
		text_string(out, "built-in; the ServiceProfile or --service-profile-default-timeout)");
	else if (setting && (strstr(setting, "service-profile") || strstr(setting, "SERVICE_PROFILE")))
		text_printf(out, "the ServiceProfile or %s)", setting);
	else if (setting)
		text_printf(out, "%s or annotation lapse.proxy/%s)", setting, flag);
	else
		text_printf(out, "%s)", strlen(source) <= SOURCE_MOST ? source : "where set_by of the record says");
}

static bool advice_timer(const struct advice *advice, struct text *out)
{
	if (advice->timer == TIMEOUT_NONE)
		return false;
	advice_value(advice->timer, advice->value, out);
	return true;
}

static bool advice_server_idle(const struct advice *advice, struct text *out)
{
	if (!advice->server_idle)
		return false;
	advice_value(TIMEOUT_SERVER_IDLE, advice->server_idle, out);
	return true;
}

/* A little more than what was seen. */
static bool advice_idle(const struct advice *advice, struct text *out)
{
	int64_t step = advice->idle_ms < 1000 ? 10 : 100;
	char duration[DURATION_TEXT_SIZE];

	if (advice->idle_ms <= 0)
		return false;
	text_string(out, duration_format((advice->idle_ms / step + 1) * step, duration));
	return true;
}

int64_t advice_conntrack_ms(int64_t keep_ms)
{
	return keep_ms ? (keep_ms + 999) / 1000 * 1000 : CONNTRACK_LONGEST_MS;
}

void advice_conntrack(enum conntrack_state state, int64_t keep_ms, struct text *out)
{
	char duration[DURATION_TEXT_SIZE];

	duration_format(advice_conntrack_ms(keep_ms), duration);
	if (state == CONNTRACK_CLOSE_WAIT)
		text_printf(out, "lapse-init --close-wait-timeout %s", duration);
	else
		text_printf(out, "lapse-init --conntrack-timeout %s=%s", conntrack_state_name(state), duration);
}

/* Writes nothing: a clause for servers of which nothing is known. */
static bool advice_unheard(const struct advice *advice, struct text *out)
{
	return !advice->queue_full;
}

static bool advice_kept(const struct advice *advice, struct text *out)
{
	if (!advice->keep_ms)
		return false;
	advice_conntrack(advice->state, advice->keep_ms, out);
	return true;
}

/* What may stand in braces in a remedy: in general, and in one case; false: there it is not known. */
static const struct {
	const char *name, *general;
	bool (*write)(const struct advice *advice, struct text *out);
} placeholders[] = {
    {"timer", "`timer`", advice_timer},
    {"serverIdle", "`serverIdle`", advice_server_idle},
    {"idle", "the idle time seen", advice_idle},
    {"unheard", "", advice_unheard},
    {"conntrack", "`lapse-init --close-wait-timeout` or `--conntrack-timeout established=`", advice_kept},
};

static bool advice_fill(const char *name, size_t length, const struct advice *advice, struct text *out)
{
	for (size_t i = 0; i < sizeof placeholders / sizeof placeholders[0]; i++) {
		if (strncmp(placeholders[i].name, name, length) != 0 || placeholders[i].name[length])
			continue;
		if (advice)
			return placeholders[i].write(advice, out);
		text_string(out, placeholders[i].general);
		return true;
	}
	return false;
}

/* One clause with its placeholders filled; false: one of them is not known. */
static bool advice_clause(const char *clause, size_t length, const struct advice *advice, struct text *out)
{
	for (const char *at = clause, *end = clause + length; at < end; at++) {
		const char *close = *at == '{' ? memchr(at, '}', (size_t)(end - at)) : NULL;

		if (!close)
			text_char(out, *at);
		else if (!advice_fill(at + 1, (size_t)(close - at - 1), advice, out))
			return false;
		else
			at = close;
	}
	return true;
}

void advice_write(enum reason_id reason, const struct advice *advice, struct text *out)
{
	const char *separator = "";

	for (const char *clause = reason_row(reason)->remedy; *clause;) {
		size_t length = strcspn(clause, "|");
		TEXT_ON_STACK(filled, CLAUSE_SIZE);

		if (advice_clause(clause, length, advice, &filled)) {
			text_printf(out, "%s%s", separator, filled_bytes);
			separator = "; ";
		}
		clause += length + (clause[length] == '|');
	}
}

void advice_detail(enum reason_id reason, const struct advice *advice, const char *fact, const char *between, struct text *out)
{
	size_t length = strlen(fact), room;
	TEXT_ON_STACK(rest, ADVICE_DETAIL_SIZE);
	TEXT_ON_STACK(remedy, ADVICE_DETAIL_SIZE);

	text_string(&rest, between);
	advice_write(reason, advice, &remedy);
	if (remedy.length)
		text_printf(&rest, "; %s", remedy_bytes);
	room = ADVICE_DETAIL_SIZE - 1 - rest.length;
	if (length > room) {
		text_append(out, fact, room > 3 ? room - 3 : 0);
		text_string(out, "...");
	} else {
		text_append(out, fact, length);
	}
	text_string(out, rest_bytes);
}
