/* Variables LAPSE_… that are no options. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/options.h"
#include "lib/options_guess.h"
#include "lib/text.h"
#include "lib/timeouts.h"

/* What Kubernetes puts into every container for a Service: one that is called lapse-admin makes LAPSE_ADMIN_PORT=tcp://10.96.7.7:80. */
bool options_environment_is_link(const char *value)
{
	return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0 || strncmp(value, "sctp://", 7) == 0;
}

/* LAPSE_X_SERVICE_HOST, LAPSE_X_SERVICE_PORT, LAPSE_X_SERVICE_PORT_HTTP, LAPSE_X_PORT_80_TCP, …_PROTO, …_PORT, …_ADDR */
static bool options_environment_is_of_service(const char *name, size_t length, const char *value)
{
	char copy[128];

	if (options_environment_is_link(value))
		return true;
	snprintf(copy, sizeof copy, "%.*s", (int)length, name);
	if (strstr(copy, "_SERVICE_HOST") != NULL || strstr(copy, "_SERVICE_PORT") != NULL)
		return true;
	for (const char *port = strstr(copy, "_PORT_"); port != NULL; port = strstr(port + 1, "_PORT_"))
		if (isdigit((unsigned char)port[6]))
			return true;
	return false;
}

static bool options_environment_is_option(const struct options *options, const char *name, size_t length)
{
	char known[OPTIONS_ENVIRONMENT_SIZE];

	for (size_t i = 0; i < options->row_count; i++) {
		options_environment_name(options->rows[i].name, known);
		if (strlen(known) == length && strncmp(known, name, length) == 0)
			return true;
	}
	return false;
}

/* Whether the other program has it. */
static bool options_environment_is_of_other(const struct options *options, const char *name, size_t length)
{
	char known[OPTIONS_ENVIRONMENT_SIZE], flag[TIMEOUTS_FLAG_SIZE];

	if (options->others == NULL)
		return false;
	for (size_t i = 0; options->others[i] != NULL; i++) {
		options_environment_name(options->others[i], known);
		if (strlen(known) == length && strncmp(known, name, length) == 0)
			return true;
	}
	for (int id = 0; id < TIMEOUT_COUNT; id++) {
		timeouts_flag_name((enum timeout_id)id, flag);
		options_environment_name(flag, known);
		if (strlen(known) == length && strncmp(known, name, length) == 0)
			return true;
	}
	return false;
}

/* "LAPSE_IDLE_TIMEOUT" as an option would be written, and the one that is closest. */
static void options_environment_say(const struct options *options, const char *name, size_t length, struct text *out)
{
	char word[OPTIONS_ENVIRONMENT_SIZE], known[OPTIONS_ENVIRONMENT_SIZE];
	struct options_guess guess = {.word = word};

	for (size_t i = sizeof "LAPSE_" - 1; i < length && guess.length + 1 < sizeof word; i++)
		word[guess.length++] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
	for (size_t i = 0; i < options->row_count; i++)
		options_guess_try(&guess, options->rows[i].name);
	text_printf(out, "%s%.*s", out->length > 0 ? ", " : "", (int)length, name);
	if (guess.closest != NULL) {
		options_environment_name(guess.closest, known);
		text_printf(out, " (did you mean %s?)", known);
	}
}

void options_environment_look(const struct options *options, char **environment, struct text *unknown, struct text *services)
{
	for (; environment != NULL && *environment != NULL; environment++) {
		const char *name = *environment;
		size_t length = strcspn(name, "=");

		if (strncmp(name, "LAPSE_", 6) != 0 || name[length] != '=' || name[length + 1] == '\0')
			continue;
		if (options_environment_is_of_service(name, length, name + length + 1))
			text_printf(services, "%s%.*s", services->length > 0 ? ", " : "", (int)length, name);
		else if (!options_environment_is_option(options, name, length) && !options_environment_is_of_other(options, name, length))
			options_environment_say(options, name, length, unknown);
	}
}
