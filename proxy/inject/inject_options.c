#include "proxy/inject/inject_options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/inject/inject_description.h"
#include "proxy/settings/settings.h"

#define FIELD(member) offsetof(struct inject_settings, member)

/* Of the settings and, behind them, one inject_given for each flag: what options_parse() fills. */
struct inject_fields {
	struct inject_settings settings;
	struct inject_given given[];
};

static const struct inject_kind {
	const char *name, *argument, *accepted;
} inject_kinds[] = {
    {"address", "ADDRESS:PORT", "an address with its port, as 10.96.0.10:53 or [fd00::a]:53"},
    {"boolean", NULL, "true or false"},
    {"conntrack", "STATE=DURATION", "STATE=DURATION such as established=24h"},
    {"deadline", "observe|enforce", "observe or enforce"},
    {"domain", "DOMAIN", "a domain in lower case without a dot at its end, as cluster.local"},
    {"duration", "DURATION", "a duration from 0s (off) on, as 500ms, 30s, 1h30m"},
    {"families", "FAMILIES", "auto, ipv4, ipv6 or both"},
    {"malformed", "pass|refuse", "pass or refuse"},
    {"format", "text|json", "text or json"},
    {"hosts", "NAMES", "names of hosts such as shop.example,shop"},
    {"label", "NAME", "a name of a-z, 0-9 and hyphens inside"},
    {"level", "LEVEL", "debug, info, warn, error or off"},
    {"names", "NAMES", "names of 1 to 15 characters such as eth0,net1"},
    {"number", "N", "a number from 0 to 999999999"},
    {"port", "PORT", "a port from 1 to 65535"},
    {"ports", "PORTS", "ports and ranges from 1 to 65535 such as 80,443,8000-8999"},
    {"positive", "DURATION", "a duration above 0s, as 500ms, 30s, 1h30m"},
    {"size", "SIZE", "a size such as 4096, 64KiB or 16MiB"},
    {"subnets", "CIDRS", "subnets such as 10.0.0.0/8,fd00::/8"},
};

static const struct inject_kind *inject_options_kind(const char *name)
{
	size_t i = 0;

	while (strcmp(inject_kinds[i].name, name) != 0) /* each has one: the tests hold it */
		i++;
	return &inject_kinds[i];
}

const char *inject_options_accepted(const struct inject_flag *flag)
{
	return inject_options_kind(flag->kind)->accepted;
}

/* --- parsers --- */

/* What the program itself would say of the flag, when it is one of this program. */
static int inject_options_ask_proxy(const struct inject_flag *flag, const char *value, struct text *accepted)
{
	TEXT_ON_STACK(argument, 512);
	TEXT_ON_STACK(error, 512);
	char *words[] = {(char *)"lapse-proxy", argument_bytes, NULL}, *environment[] = {NULL};
	struct settings settings;
	const char *give;
	int command, result;

	text_printf(&argument, "--%s=%s", flag->name, value);
	if (argument.truncated) {
		text_string(accepted, "less text");
		return -EINVAL;
	}
	result = settings_parse(2, words, environment, &settings, &command, &error);
	settings_free(&settings);
	give = strstr(error_bytes, "; give ");
	if (result)
		text_string(accepted, give ? give + strlen("; give ") : inject_options_accepted(flag));
	return result;
}

static int inject_options_parse_flag(const struct option_call *call, void *field, struct text *accepted)
{
	struct inject_given *given = field;
	struct option_call ours = *call;

	ours.value = call->value ? call->value : "true";
	ours.first = call->first || !given->flag->repeatable;
	if (!inject_description_fits(given->flag, ours.value)) {
		text_string(accepted, inject_options_accepted(given->flag));
		return -EINVAL;
	}
	if (given->flag->containers & INJECT_PROXY) {
		int result = inject_options_ask_proxy(given->flag, ours.value, accepted);

		if (result)
			return result;
	}
	return options_parse_texts(&ours, &given->values, accepted);
}

static int inject_options_parse_policy(const struct option_call *call, void *field, struct text *accepted)
{
	static const char *const names[] = {"Always", "IfNotPresent", "Never"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(call->value, names[i]) == 0) {
			*(const char **)field = names[i];
			return 0;
		}
	text_string(accepted, "Always, IfNotPresent or Never");
	return -EINVAL;
}

/* The name of an image or object: no blank in it, and something. */
static int inject_options_parse_name(const struct option_call *call, void *field, struct text *accepted)
{
	for (const char *at = call->value; !*call->value || *at; at++)
		if (!isgraph((unsigned char)*at)) {
			text_string(accepted, "a name without blanks");
			return -EINVAL;
		}
	*(const char **)field = call->value;
	return 0;
}

/* Kubernetes' quantities, those that one would give here. */
static int inject_options_parse_quantity(const struct option_call *call, void *field, struct text *accepted)
{
	static const char *const units[] = {"", "m", "k", "M", "G", "Ki", "Mi", "Gi"};
	size_t digits = strspn(call->value, "0123456789");

	for (size_t i = 0; digits && i < sizeof units / sizeof *units; i++)
		if (strcmp(call->value + digits, units[i]) == 0) {
			*(const char **)field = call->value;
			return 0;
		}
	text_string(accepted, "a quantity such as 10m or 2 for CPU, 64Mi for memory");
	return -EINVAL;
}

/* --- the table --- */

static const struct option_row own_rows[] = {
    {.name = "remove", .parse = options_parse_flag, .offset = FIELD(remove),
     .help = "Take the two containers and their volumes out again."},
    {.name = "ordinary", .parse = options_parse_flag, .offset = FIELD(ordinary),
     .help = "lapse-proxy as an ordinary container, lapse-init as the last init container, for Kubernetes before 1.29. Without it "
             "lapse-proxy is a native sidecar and both stand before the pod's own init containers."},
    {.name = "image", .argument = "IMAGE", .default_value = "lapse:" LAPSE_VERSION, .parse = inject_options_parse_name,
     .offset = FIELD(image),
     .help = "The image of both containers."},
    {.name = "image-pull-policy", .argument = "POLICY", .parse = inject_options_parse_policy, .offset = FIELD(pull_policy),
     .help = "Always, IfNotPresent or Never. Without it Kubernetes decides."},
    {.name = "config-map", .argument = "NAME", .parse = inject_options_parse_name, .offset = FIELD(config_map),
     .help = "A ConfigMap of the pod's namespace with documents for lapse-proxy: routes, Config. It may be missing."},
    {.name = "cpu-request", .argument = "QUANTITY", .parse = inject_options_parse_quantity, .offset = FIELD(cpu_request),
     .help = "Of lapse-proxy, in place of 10m."},
    {.name = "cpu-limit", .argument = "QUANTITY", .parse = inject_options_parse_quantity, .offset = FIELD(cpu_limit),
     .help = "Of lapse-proxy, which has none otherwise."},
    {.name = "memory-request", .argument = "QUANTITY", .parse = inject_options_parse_quantity, .offset = FIELD(memory_request),
     .help = "Of lapse-proxy, in place of 16Mi."},
    {.name = "memory-limit", .argument = "QUANTITY", .parse = inject_options_parse_quantity, .offset = FIELD(memory_limit),
     .help = "Of lapse-proxy, in place of 256Mi."},
    {.name = "proxy-uid", .aliases = {"uid"}, .argument = "UID", .default_value = "2102", .parse = options_parse_number,
     .least = 1, .greatest = UINT_MAX - 1, .offset = FIELD(uid),
     .help = "The user lapse-proxy runs as. No container of the pod may be the same."},
    {.name = "admin-port", .argument = "PORT", .default_value = "4191", .parse = options_parse_port, .offset = FIELD(admin_port),
     .help = "Port of the admin listener, for probes and scrapers."},
    {.name = "file", .argument = "FILE", .parse = options_parse_texts, .offset = FIELD(files), .repeatable = true,
     .help = "The same as the word FILE; - is standard input, and so is none."},
};

enum { OWN_ROWS = sizeof own_rows / sizeof own_rows[0] };

static const struct option_command inject_commands[] = {
    {"inject",
     "Puts lapse-init and lapse-proxy into the pods of Kubernetes objects, YAML or JSON: Pod, Deployment, StatefulSet, DaemonSet, "
     "ReplicaSet, ReplicationController, Job, CronJob, PodTemplate, lists of them, several documents. Everything else comes out as it "
     "came in, without comments. Again it changes nothing. Nothing is written when one of them is refused.",
     "[FILE|-]...", .words_option = "file"},
    {NULL},
};

static int inject_options_row(struct arena *arena, const struct inject_flag *flag, size_t index, struct option_row *out)
{
	static const char *const of[] = {[INJECT_INIT] = "lapse-init", [INJECT_PROXY] = "lapse-proxy",
	                                 [INJECT_INIT | INJECT_PROXY] = "lapse-init and lapse-proxy"};
	TEXT_ON_STACK(help, 512);

	text_printf(&help, "Of %s", of[flag->containers]);
	if (flag->containers & INJECT_PROXY) {
		text_string(&help, ": ");
		settings_write_help(flag->name, &help);
	} else {
		text_char(&help, '.');
	}
	*out = (struct option_row){
	    .name = flag->name,
	    .argument = inject_options_kind(flag->kind)->argument,
	    .help = arena_text(arena, help_bytes, help.length),
	    .parse = inject_options_parse_flag,
	    .offset = offsetof(struct inject_fields, given) + index * sizeof(struct inject_given),
	    .repeatable = flag->repeatable,
	};
	return out->help ? 0 : -ENOMEM;
}

static int inject_options_table(struct arena *arena, const struct inject_description *description, struct options *out)
{
	struct option_row *rows = arena_array(arena, OWN_ROWS + description->flag_count, sizeof *rows);

	if (!rows)
		return -ENOMEM;
	memcpy(rows, own_rows, sizeof own_rows);
	for (size_t i = 0; i < description->flag_count; i++)
		if (inject_options_row(arena, &description->flags[i], i, &rows[OWN_ROWS + i]))
			return -ENOMEM;
	*out = (struct options){
	    .program = "lapse-proxy",
	    .summary = "Every flag of lapse-init and lapse-proxy that makes sense in a pod is passed on to its container.",
	    .commands = inject_commands,
	    .rows = rows,
	    .row_count = OWN_ROWS + description->flag_count,
	};
	return 0;
}

int inject_options_parse(struct arena *arena, const struct inject_description *description, int argc, char **argv,
                         char **environment, struct inject_settings *out, int *command, struct text *error)
{
	struct inject_fields *fields =
	    arena_alloc(arena, sizeof *fields + description->flag_count * sizeof(struct inject_given));
	struct options options;
	int result;

	*out = (struct inject_settings){0};
	if (!fields || inject_options_table(arena, description, &options)) {
		text_string(error, "no memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < description->flag_count; i++)
		fields->given[i].flag = &description->flags[i];
	result = options_parse(&options, argc, argv, environment, fields, command, error);
	*out = fields->settings;
	out->given = fields->given;
	return result;
}

void inject_options_free(const struct inject_description *description, struct inject_settings *settings)
{
	options_texts_free(&settings->files);
	for (size_t i = 0; settings->given && i < description->flag_count; i++)
		options_texts_free(&settings->given[i].values);
}

int inject_options_print(struct arena *arena, const struct inject_description *description, bool man, FILE *to)
{
	struct options options;
	int result = inject_options_table(arena, description, &options);

	if (!result && man)
		options_print_man(&options, to);
	else if (!result)
		options_print_help(&options, to);
	return result;
}
