#include "init/options.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/duration.h"
#include "lib/text.h"

/* conntrack counts in jiffies within 31 bits: 2^31 at 1000 Hz. */
enum { OPTIONS_CONNTRACK_MAX = 2147483 };

/* --- parsers of this program's own values --- */

static int options_parse_id(const struct option_call *call, struct owner_id *out, uint32_t (*lookup)(const char *name, bool *found),
                            struct text *accepted, const char *kind)
{
	const char *value = call->value;
	bool found = false;
	char *end;
	uint32_t id;

	if (isdigit((unsigned char)value[0])) {
		errno = 0;
		unsigned long long number = strtoull(value, &end, 10);
		/* the all-ones id means "no owner" to the kernel */
		found = !errno && !*end && number < UINT32_MAX;
		id = (uint32_t)number;
	} else {
		id = lookup(value, &found);
	}
	if (!found) {
		text_printf(accepted, "a number from 0 to 4294967294 or the name of an existing %s", kind);
		return -EINVAL;
	}
	*out = (struct owner_id){.set = true, .id = id};
	return 0;
}

static uint32_t options_lookup_user(const char *name, bool *found)
{
	const struct passwd *user = getpwnam(name);

	*found = user != NULL;
	return user ? user->pw_uid : 0;
}

static uint32_t options_lookup_group(const char *name, bool *found)
{
	const struct group *group = getgrnam(name);

	*found = group != NULL;
	return group ? group->gr_gid : 0;
}

static int options_parse_uid(const struct option_call *call, void *field, struct text *accepted)
{
	return options_parse_id(call, field, options_lookup_user, accepted, "user");
}

static int options_parse_gid(const struct option_call *call, void *field, struct text *accepted)
{
	return options_parse_id(call, field, options_lookup_group, accepted, "group");
}

/* The next entry of a comma-separated list without the blanks around it; false at the end. */
static bool options_next_entry(const char **rest, const char **entry, size_t *length)
{
	const char *at = *rest;

	while (*at == ' ' || *at == ',')
		at++;
	*entry = at;
	*length = strcspn(at, ",");
	*rest = at + *length;
	while (*length && at[*length - 1] == ' ')
		(*length)--;
	return *length > 0;
}

static int options_parse_subnets(const struct option_call *call, void *field, struct text *accepted)
{
	struct subnets *subnets = field;
	const char *rest = call->value, *entry;
	size_t length;

	if (call->first)
		subnets->count = 0;
	while (options_next_entry(&rest, &entry, &length)) {
		char text[PREFIX_TEXT_SIZE] = "";
		struct prefix prefix, *list;

		if (length < sizeof text)
			memcpy(text, entry, length);
		if (addr_prefix_parse(text, &prefix)) {
			text_printf(accepted, "subnets such as 10.0.0.0/8,fd00::/8 (\"%.*s\" is none)", (int)length, entry);
			return -EINVAL;
		}
		list = reallocarray(subnets->list, subnets->count + 1, sizeof *list);
		if (!list)
			return -ENOMEM;
		subnets->list = list;
		list[subnets->count++] = prefix;
	}
	return 0;
}

static bool options_is_interface(const char *name, size_t length)
{
	if (length >= INTERFACE_NAME_SIZE || name[length - 1] == '+' || !strncmp(name, ".", length) || (length == 2 && !strncmp(name, "..", 2)))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isgraph((unsigned char)name[i]) || strchr("/:\"*\\", name[i]))
			return false;
	return true;
}

static int options_parse_interfaces(const struct option_call *call, void *field, struct text *accepted)
{
	struct interfaces *interfaces = field;
	const char *rest = call->value, *entry;
	size_t length;

	if (call->first)
		interfaces->count = 0;
	while (options_next_entry(&rest, &entry, &length)) {
		struct interface_name *list;

		if (!options_is_interface(entry, length)) {
			text_printf(accepted, "interface names of 1 to 15 characters such as eth0,net1 (\"%.*s\" is none%s)", (int)length,
			            entry, entry[length - 1] == '+' ? ": name each one, a + stands for no others here" : "");
			return -EINVAL;
		}
		list = reallocarray(interfaces->list, interfaces->count + 1, sizeof *list);
		if (!list)
			return -ENOMEM;
		interfaces->list = list;
		list[interfaces->count] = (struct interface_name){0};
		memcpy(list[interfaces->count++].text, entry, length);
	}
	return 0;
}

static int options_parse_families(const struct option_call *call, void *field, struct text *accepted)
{
	static const char *const names[] = {"auto", "ipv4", "ipv6", "both"};
	struct init_options *out = field;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(call->value, names[i])) {
			out->families = (enum ip_families)i;
			out->families_from = (struct option_origin_of){call->row, call->origin};
			return 0;
		}
	text_string(accepted, "auto, ipv4, ipv6 or both");
	return -EINVAL;
}

/* Linkerd's switch: true is its default and means what auto means here. */
static int options_parse_ipv6(const struct option_call *call, void *field, struct text *accepted)
{
	struct init_options *out = field;
	bool on;
	int error = options_parse_flag(call, &on, accepted);

	if (error)
		return error;
	out->without_ipv6 = !on;
	out->ipv6_from = (struct option_origin_of){call->row, call->origin};
	return 0;
}

/* A duration as whole seconds for conntrack, a fraction rounded up. */
static int options_conntrack_seconds(const char *value, uint32_t *seconds)
{
	int64_t milliseconds;

	if (duration_parse(DURATION_GO, value, &milliseconds) || milliseconds < 1 ||
	    milliseconds > OPTIONS_CONNTRACK_MAX * INT64_C(1000))
		return -EINVAL;
	*seconds = (uint32_t)((milliseconds + 999) / 1000);
	return 0;
}

/* Several options set one state: the same from two of them is fine, another value is refused unless it overrides an earlier origin. */
static int options_set_conntrack(const struct option_call *call, struct init_options *out, enum conntrack_state state, uint32_t seconds,
                                 struct text *accepted)
{
	struct option_origin_of *from = &out->conntrack_from[state];

	if (from->row && from->row != call->row && from->origin == call->origin && out->conntrack_seconds[state] != seconds) {
		text_printf(accepted, "%s one value: --%s made it %us already", conntrack_state_name(state), from->row->name,
		            out->conntrack_seconds[state]);
		return -EINVAL;
	}
	out->conntrack_seconds[state] = seconds;
	*from = (struct option_origin_of){call->row, call->origin};
	return 0;
}

static int options_parse_close_wait(const struct option_call *call, void *field, struct text *accepted)
{
	uint32_t seconds;

	if (options_conntrack_seconds(call->value, &seconds)) {
		text_string(accepted, "a duration from 1s to 596h31m23s such as 30s or 1h");
		return -EINVAL;
	}
	return options_set_conntrack(call, field, CONNTRACK_CLOSE_WAIT, seconds, accepted);
}

static int options_parse_close_wait_seconds(const struct option_call *call, void *field, struct text *accepted)
{
	int64_t seconds;
	int error = options_parse_number(call, &seconds, accepted);

	if (error)
		text_string(accepted, "; 0 leaves the kernel's value alone");
	else if (seconds)
		error = options_set_conntrack(call, field, CONNTRACK_CLOSE_WAIT, (uint32_t)seconds, accepted);
	return error;
}

static int options_parse_conntrack(const struct option_call *call, void *field, struct text *accepted)
{
	const char *equals = strchr(call->value, '=');
	char name[32] = "";
	enum conntrack_state state;
	uint32_t seconds;

	if (equals && (size_t)(equals - call->value) < sizeof name) {
		memcpy(name, call->value, (size_t)(equals - call->value));
		state = conntrack_state_find(name);
		if (state != CONNTRACK_STATE_COUNT && !options_conntrack_seconds(equals + 1, &seconds))
			return options_set_conntrack(call, field, state, seconds, accepted);
	}
	text_string(accepted, "STATE=DURATION such as established=24h, 1s to 596h31m23s, with one of the states");
	for (int i = 0; i < CONNTRACK_STATE_COUNT; i++)
		text_printf(accepted, "%s %s", i ? "," : "", conntrack_state_name((enum conntrack_state)i));
	return -EINVAL;
}

static int options_parse_log_format(const struct option_call *call, void *field, struct text *accepted)
{
	struct option_call ours = *call;

	if (!strcmp(ours.value, "plain"))
		ours.value = "text";
	return log_parse_format(&ours, field, accepted);
}

/* Linkerd knows more levels than there are here. */
static int options_parse_log_level(const struct option_call *call, void *field, struct text *accepted)
{
	static const char *const theirs[][2] = {{"trace", "debug"}, {"warning", "warn"}, {"fatal", "error"}, {"panic", "error"}};
	struct option_call ours = *call;

	for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
		if (!strcasecmp(ours.value, theirs[i][0]))
			ours.value = theirs[i][1];
	return log_parse_level(&ours, field, accepted);
}

/* --- the table --- */

#define FIELD(member) .offset = offsetof(struct init_options, member)
#define WHOLE .offset = 0 /* for parsers that look at more than one member */

static int options_parse_docs(const struct option_call *call, void *field, struct text *accepted)
{
	if (call->origin == OPTION_ORIGIN_ENVIRONMENT)
		return 0; /* nobody means to keep a program from its work by a variable left over */
	if (strcmp(call->value, "man") != 0) {
		text_string(accepted, "man");
		return -EINVAL;
	}
	*(bool *)field = true;
	return 0;
}

/* Which commands an option belongs to. */
enum { OF_INSTALL = 1 << INIT_INSTALL, OF_REMOVE = 1 << INIT_REMOVE, OF_CHECK = 1 << INIT_CHECK, OF_STATUS = 1 << INIT_STATUS, OF_HALF_CLOSED = 1 << INIT_HALF_CLOSED };

static const struct option_row options_rows[] = {
	{"inbound-port", {"incoming-proxy-port"}, "PORT", "4143", "Where connections from other hosts are redirected to.",
	 options_parse_port, FIELD(inbound_port)},
	{"outbound-port", {"outgoing-proxy-port"}, "PORT", "4140", "Where connections to other hosts are redirected to.",
	 options_parse_port, FIELD(outbound_port)},
	{"admin-port", {NULL}, "PORT", "4191", "The proxy's admin port: never redirected inbound.", options_parse_port,
	 FIELD(admin_port)},
	{"proxy-uid", {NULL}, "USER", "2102",
	 "The user the proxy runs as, a number or a name; its connections are never redirected. With 0 everything that runs as "
	 "root bypasses the proxy.",
	 options_parse_uid, FIELD(proxy_uid)},
	{"proxy-gid", {NULL}, "GROUP", NULL, "A group whose connections are not redirected either.", options_parse_gid,
	 FIELD(proxy_gid)},
	{"inbound-ports", {"ports-to-redirect"}, "PORTS", NULL, "The only ports redirected inbound. Without it all are.",
	 options_parse_ports, FIELD(inbound_ports), .repeatable = true},
	{"skip-inbound-ports", {"inbound-ports-to-ignore"}, "PORTS", NULL, "Ports of this namespace left alone.",
	 options_parse_ports, FIELD(skip_inbound_ports), .repeatable = true},
	{"skip-outbound-ports", {"outbound-ports-to-ignore"}, "PORTS", NULL, "Ports of other hosts left alone.",
	 options_parse_ports, FIELD(skip_outbound_ports), .repeatable = true},
	{"skip-subnets", {"subnets-to-ignore"}, "CIDRS", NULL,
	 "Other hosts left alone: inbound by source address, outbound by destination.", options_parse_subnets, FIELD(skip_subnets),
	 .repeatable = true},
	{"skip-interfaces", {NULL}, "NAMES", NULL, "Network interfaces left alone, both directions.", options_parse_interfaces,
	 FIELD(skip_interfaces), .repeatable = true},
	{"ip-families", {NULL}, "FAMILIES", "auto",
	 "Which IP versions are redirected: ipv4, ipv6, both, or auto for what the namespace has.", options_parse_families,
	 WHOLE},
	{"keep-invalid", {NULL}, NULL, NULL,
	 "Do not drop inbound TCP packets that conntrack cannot place. Without it they are dropped, since the kernel would answer "
	 "them by resetting a live connection; nf_conntrack_tcp_be_liberal=1 has the same effect.",
	 options_parse_flag, FIELD(keep_invalid)},
	{"redirect-dead-ports", {NULL}, NULL, NULL,
	 "Redirect inbound connections to ports where nobody listens too: the proxy accepts them and answers HTTP with a 502 that "
	 "says why. Without it the kernel refuses them, as it does without Lapse, so probes of such a port fail as they should.",
	 options_parse_flag, FIELD(redirect_dead_ports)},
	{"close-wait-timeout", {NULL}, "DURATION", NULL,
	 "How long conntrack remembers a half-closed connection. Without it the kernel's value stays (60s).",
	 options_parse_close_wait, WHOLE},
	{"timeout-close-wait-secs", {NULL}, "SECONDS", NULL,
	 "The same in seconds, as Linkerd's proxy-init takes it; 0 changes nothing.",
	 options_parse_close_wait_seconds, WHOLE, .greatest = OPTIONS_CONNTRACK_MAX},
	{"conntrack-timeout", {NULL}, "STATE=DURATION", NULL, "The same for any TCP state conntrack knows.",
	 options_parse_conntrack, WHOLE, .repeatable = true},
	{"keep-tcp-tw-reuse", {NULL}, NULL, NULL,
	 "Leave net.ipv4.tcp_tw_reuse alone. Without it install sets it to 1 where /proc/sys may be written, so that the proxy does not "
	 "run out of local ports under very many short connections to one port; the host's own it leaves alone.",
	 options_parse_flag, FIELD(keep_tcp_tw_reuse)},
	{"dry-run", {"simulate"}, NULL, NULL, "Change nothing; print the rules as text that nft -f takes.", options_parse_flag,
	 FIELD(dry_run), .commands = OF_INSTALL | OF_REMOVE},
	{"json", {NULL}, NULL, NULL, "Print JSON in place of text: one object, of half-closed one a line.", options_parse_flag, FIELD(json),
	 .commands = OF_CHECK | OF_STATUS | OF_HALF_CLOSED},
	{"watch", {NULL}, NULL, NULL,
	 "Go on until SIGINT or SIGTERM: a line whenever a flow becomes half-closed, changes, ends or is forgotten.",
	 options_parse_flag, FIELD(watch), .commands = OF_HALF_CLOSED},
	{"min-age", {NULL}, "DURATION", "0s", "Only flows that have been silent for so long.", options_parse_duration,
	 FIELD(min_age_ms), .commands = OF_HALF_CLOSED},
	{"all-namespaces", {NULL}, NULL, NULL,
	 "Every network namespace that some process under /proc is in, for a whole node. Needs CAP_SYS_ADMIN, and CAP_SYS_PTRACE to "
	 "see the processes of others.",
	 options_parse_flag, FIELD(all_namespaces), .commands = OF_HALF_CLOSED},
	{"without-proxy", {NULL}, NULL, NULL, "Before the proxy starts: do not look whether it listens, and as which user.",
	 options_parse_flag, FIELD(without_proxy), .commands = OF_CHECK},
	{"netns", {NULL}, "PATH", NULL, "Work in this network namespace, such as /run/netns/pod.", options_parse_text,
	 FIELD(netns)},
	{"allow-host-network", {NULL}, NULL, NULL, "Go ahead even in the host's network namespace.", options_parse_flag,
	 FIELD(allow_host_network)},
	{"log-format", {NULL}, "FORMAT", "text", "text (or plain) or json.", options_parse_log_format, FIELD(log_format)},
	{"log-level", {NULL}, "LEVEL", "info", "debug, info, warn, error or off.", options_parse_log_level, FIELD(log_level)},
	{"ipv6", {NULL}, NULL, NULL, "Linkerd's: false is --ip-families ipv4, true changes nothing.", options_parse_ipv6,
	 WHOLE},
	{"firewall-bin-path", {NULL}, "PATH", NULL, "Linkerd's; no effect.", options_parse_text, FIELD(ignored.firewall_bin_path)},
	{"firewall-save-bin-path", {NULL}, "PATH", NULL, "Linkerd's; no effect.", options_parse_text,
	 FIELD(ignored.firewall_save_bin_path)},
	{"iptables-mode", {NULL}, "MODE", NULL, "Linkerd's; no effect.", options_parse_text, FIELD(ignored.iptables_mode)},
	{"use-wait-flag", {NULL}, NULL, NULL, "Linkerd's; no effect.", options_parse_flag, FIELD(ignored.use_wait_flag)},
	{"print-docs", {NULL}, "WHICH", NULL, "Print a part of the documentation and exit: man.", options_parse_docs, FIELD(print_man)},
};

static const struct option_command options_commands[] = {
	[INIT_INSTALL] = {"install", "Redirect this namespace's TCP to lapse-proxy, in place of what was installed before."},
	[INIT_REMOVE] = {"remove", "Take the rules away; it is no error when there are none."},
	[INIT_CHECK] = {"check", "Compare the rules with what install would make, look for the proxy's listeners and send a probe through; exit 95 if "
	                "not so."},
	[INIT_STATUS] = {"status", "Print the rules with their counters, and what conntrack holds."},
	[INIT_HALF_CLOSED] = {"half-closed", "List the half-closed TCP flows that conntrack knows and what they risk; exit 3 if any."},
	{NULL, NULL},
};

const struct options options_table = {
	.program = "lapse-init",
	.summary = "Redirects a network namespace's TCP to lapse-proxy and sets conntrack's timeouts, with CAP_NET_ADMIN alone.",
	.commands = options_commands,
	.rows = options_rows,
	.row_count = sizeof options_rows / sizeof *options_rows,
	.others = options_names_proxy,
};

/* --- reading --- */

/* Linkerd's short options, spelt out. */
static char *options_spell_out(char *argument)
{
	static const char *const rows[][2] = {
		{"-p", "--incoming-proxy-port"}, {"-o", "--outgoing-proxy-port"}, {"-u", "--proxy-uid"},
		{"-g", "--proxy-gid"},           {"-r", "--ports-to-redirect"},   {"-w", "--use-wait-flag"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!strcmp(argument, rows[i][0]))
			return (char *)rows[i][1];
	return argument;
}

static int options_check_ipv6(struct init_options *out, struct text *error)
{
	bool asks_for_it = out->families == IP_FAMILIES_IPV6 || out->families == IP_FAMILIES_BOTH;

	if (!out->without_ipv6 || (asks_for_it && out->families_from.origin > out->ipv6_from.origin))
		return 0;
	if (asks_for_it && out->families_from.origin == out->ipv6_from.origin) {
		text_printf(error, "--ipv6 false and --ip-families %s contradict each other: give one of them",
		            out->families == IP_FAMILIES_IPV6 ? "ipv6" : "both");
		return -EINVAL;
	}
	out->families = IP_FAMILIES_IPV4;
	return 0;
}

int options_read(int argc, char **argv, char **environment, struct init_options *out, int *command, struct text *error)
{
	char **spelt = calloc((size_t)argc + 1, sizeof *spelt);
	int status;

	*out = (struct init_options){0};
	if (!spelt) {
		text_string(error, "out of memory");
		return -ENOMEM;
	}
	for (int i = 0; i < argc; i++)
		spelt[i] = options_spell_out(argv[i]);
	status = options_parse(&options_table, argc, spelt, environment, out, command, error);
	free(spelt);
	if (!status && out->all_namespaces && out->netns && out->netns[0]) {
		text_string(error, "--all-namespaces and --netns: give one of them");
		return -EINVAL;
	}
	return status ? status : options_check_ipv6(out, error);
}

void options_free(struct init_options *options)
{
	ports_free(&options->inbound_ports);
	ports_free(&options->skip_inbound_ports);
	ports_free(&options->skip_outbound_ports);
	free(options->skip_subnets.list);
	free(options->skip_interfaces.list);
	*options = (struct init_options){0};
}
