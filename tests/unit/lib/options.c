#include "lib/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/duration.h"
#include "lib/log.h"
#include "lib/ports.h"
#include "lib/text.h"

/* A program's options, one of each kind. */
struct program {
	uint16_t inbound_port;
	int64_t proxy_uid, wait, memory, shift;
	struct ports skip;
	bool fork, keep;
	const char *netns;
	enum log_level level;
	struct text list; /* what --item was called with */
	char list_bytes[256];
};

/* "value@origin" and "!" for the first of an origin. */
static int parse_item(const struct option_call *call, void *field, struct text *accepted)
{
	struct text *list = field;

	if (strcmp(call->value, "bad") == 0 || call->value[0] == '\0') {
		text_string(accepted, "a good item");
		return -EINVAL;
	}
	if (strcmp(call->value, "huge") == 0)
		return -ENOMEM;
	text_printf(list, "%s%s@%d%s<%s>", list->length > 0 ? " " : "", call->value, (int)call->origin, call->first ? "!" : "",
		    call->given_as);
	return 0;
}

#define FIELD(name) offsetof(struct program, name)

static const struct option_row rows[] = {
	{.name = "inbound-port", .aliases = {"incoming-proxy-port"}, .argument = "PORT", .default_value = "4143",
	 .help = "Where inbound connections go.", .parse = options_parse_port, .offset = FIELD(inbound_port)},
	{.name = "proxy-uid", .aliases = {"uid", "user-id", "owner"}, .argument = "UID", .default_value = "2102",
	 .help = "Whose connections are left alone.", .parse = options_parse_number,
	 .offset = FIELD(proxy_uid), .greatest = 4294967295},
	{.name = "shift", .argument = "N", .help = "A number that may be negative.", .parse = options_parse_number,
	 .offset = FIELD(shift), .least = -10, .greatest = 10},
	{.name = "close-wait-timeout", .argument = "DURATION", .help = "How long conntrack remembers.",
	 .parse = options_parse_duration, .offset = FIELD(wait)},
	{.name = "memory", .argument = "SIZE", .default_value = "64KiB", .help = "How much | may be held.",
	 .parse = options_parse_size, .offset = FIELD(memory), .greatest = INT64_MAX},
	{.name = "skip-ports", .aliases = {"ports-to-ignore"}, .argument = "PORTS", .default_value = "4190-4191",
	 .help = "Ports that are left alone.", .parse = options_parse_ports, .offset = FIELD(skip), .repeatable = true},
	{.name = "item", .argument = "ITEM", .help = "Something.", .parse = parse_item, .offset = FIELD(list),
	 .default_value = "zero", .repeatable = true},
	{.name = "fork", .help = "Goes into the background, where it stays for as long as nobody sends it a signal"
				 " that asks it to end, which is a sentence long enough to need a second line.",
	 .parse = options_parse_flag, .offset = FIELD(fork)},
	{.name = "keep-invalid", .help = "Keeps \\ what is invalid.", .parse = options_parse_flag, .offset = FIELD(keep)},
	{.name = "netns", .argument = "PATH", .help = ".hidden beginnings are safe.",
	 .parse = options_parse_text, .offset = FIELD(netns)},
	{.name = "log-level", .argument = "LEVEL", .default_value = "info", .help = "What is logged.", .parse = log_parse_level,
	 .offset = FIELD(level)},
};

static const struct option_command commands[] = {
	{"install", "Puts the rules in place."}, {"remove", "Takes them away."}, {"status", "Shows them."}, {NULL, NULL}};

static const struct options table = {
	.program = "lapse-test", .summary = "Does nothing, well.", .commands = commands, .rows = rows,
	.row_count = sizeof rows / sizeof *rows,
};

/* One call: arguments and environment as one string each, separated by '|'. */
struct call {
	struct program program;
	int result, command;
	char error[512];
	char words[2][512];
	char *argv[24], *environment[24];
};

static int split(char *text, char **out)
{
	int count = 0;

	if (*text == '\0')
		return 0;
	for (char *at = text; at != NULL; at = strchr(at, '|')) {
		if (at != text)
			*at++ = '\0';
		out[count++] = at;
	}
	return count;
}

static struct call *parse_with(const struct options *options, const char *arguments, const char *environment)
{
	static struct call call;
	struct text error;

	memset(&call, 0, sizeof call);
	text_init(&error, call.error, sizeof call.error);
	text_init(&call.program.list, call.program.list_bytes, sizeof call.program.list_bytes);
	strcpy(call.words[0], arguments);
	strcpy(call.words[1], environment);
	call.argv[0] = call.error;
	int count = 1 + split(call.words[0], call.argv + 1);
	split(call.words[1], call.environment);
	call.command = 77;
	call.result = options_parse(options, count, call.argv, call.environment, &call.program, &call.command, &error);
	return &call;
}

static struct call *parse(const char *arguments, const char *environment)
{
	return parse_with(&table, arguments, environment);
}

static void done(struct call *call)
{
	ports_free(&call->program.skip);
}

static void defaults_environment_flags(void **state)
{
	static const struct {
		const char *arguments, *environment;
		int port;
	} port_rows[] = {
		{"", "", 4143},
		{"", "LAPSE_INBOUND_PORT=1", 1},
		{"--inbound-port|2", "LAPSE_INBOUND_PORT=1", 2},
		{"--inbound-port=2", "", 2},
		{"--incoming-proxy-port=3", "LAPSE_INBOUND_PORT=1", 3},
		{"--inbound-port|2|--incoming-proxy-port|2", "", 2}, {"--inbound-port|02|--incoming-proxy-port=2", "", 2},
		{"--inbound-port|2|--inbound-port=3", "", 3},
		{"", "LAPSE_INBOUND_PORT=tcp://10.96.7.7:80", 4143},
		{"", "LAPSE_INBOUND_PORT=", 4143},
		{"", "LAPSE_INBOUND_PORTS=1|LAPSE_UNKNOWN=x|INBOUND_PORT=9|LAPSE_INBOUND_POR=8", 4143},
		{"", "LAPSE_INCOMING_PROXY_PORT=3", 4143},
	};

	for (size_t i = 0; i < sizeof port_rows / sizeof *port_rows; i++) {
		struct call *call = parse(port_rows[i].arguments, port_rows[i].environment);
		assert_string_equal(call->error, "");
		assert_int_equal(call->result, 0);
		assert_int_equal(call->command, 0);
		assert_int_equal(call->program.inbound_port, port_rows[i].port);
		done(call);
	}
}

static void every_kind_of_value(void **state)
{
	struct call *call = parse("--proxy-uid=4294967295|--shift|-10|--close-wait-timeout|1h30m|--memory=16MiB|--fork|--netns=a=b|"
				  "--log-level|warn|status", "LAPSE_KEEP_INVALID=true");

	assert_string_equal(call->error, "");
	assert_true(call->program.proxy_uid == 4294967295);
	assert_true(call->program.shift == -10);
	assert_true(call->program.wait == 5400000);
	assert_true(call->program.memory == 16 << 20);
	assert_true(call->program.fork && call->program.keep);
	assert_string_equal(call->program.netns, "a=b");
	assert_int_equal(call->program.level, LOG_WARN);
	assert_int_equal(call->command, 2);
	done(call);

	call = parse("--fork=false|--netns=", "LAPSE_FORK=1|LAPSE_KEEP_INVALID=0");
	assert_string_equal(call->error, "");
	assert_false(call->program.fork || call->program.keep);
	assert_string_equal(call->program.netns, "");
	assert_true(call->program.memory == 65536);
	done(call);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes; /* -1 = refused */
	} size_rows[] = {{"0", 0}, {"4096", 4096}, {"64KiB", 65536}, {"16MiB", 16777216}, {"2GiB", INT64_C(2147483648)},
	{"64K", -1},
			 {"64KB", -1}, {"64kib", -1}, {"64 KiB", -1}, {"KiB", -1}, {"-1", -1}, {"1.5MiB", -1},
			 {"9223372036854775807", INT64_MAX},
			 {"9223372036854775808", -1}, {"9223372036854775807KiB", -1}, {"0x10", -1}};

	for (size_t i = 0; i < sizeof size_rows / sizeof *size_rows; i++) {
		char argument[64];

		snprintf(argument, sizeof argument, "--memory=%s", size_rows[i].text);
		struct call *call = parse(argument, "");
		assert_int_equal(call->result, size_rows[i].bytes < 0 ? -EINVAL : 0);
		if (size_rows[i].bytes >= 0)
			assert_true(call->program.memory == size_rows[i].bytes);
		done(call);
	}
}

static void repeatable(void **state)
{
	static const struct {
		const char *arguments, *environment, *items;
	} item_rows[] = {
		{"", "", "zero@0!<item>"},
		{"--item|a|--item=b", "", "zero@0!<item> a@2!<--item> b@2<--item>"},
		{"--item|a", "LAPSE_ITEM=e", "zero@0!<item> e@1!<LAPSE_ITEM> a@2!<--item>"},
	};
	static const struct {
		const char *arguments, *environment;
		uint16_t yes, no;
	} ports_rows[] = {
		{"", "", 4190, 80}, {"--skip-ports|80", "", 80, 4190}, {"", "LAPSE_SKIP_PORTS=80,443", 443, 4190},
		{"--skip-ports|80|--ports-to-ignore=443", "", 80, 4191}, {"--skip-ports|80|--ports-to-ignore=443", "", 443, 4191},
		{"--skip-ports|80", "LAPSE_SKIP_PORTS=443", 80, 443}, {"--skip-ports=|--skip-ports=1", "", 1, 4190},
	};

	for (size_t i = 0; i < sizeof item_rows / sizeof *item_rows; i++) {
		struct call *call = parse(item_rows[i].arguments, item_rows[i].environment);
		assert_string_equal(call->program.list.data, item_rows[i].items);
		done(call);
	}
	for (size_t i = 0; i < sizeof ports_rows / sizeof *ports_rows; i++) {
		struct call *call = parse(ports_rows[i].arguments, ports_rows[i].environment);
		assert_string_equal(call->error, "");
		assert_true(ports_contain(&call->program.skip, ports_rows[i].yes));
		assert_false(ports_contain(&call->program.skip, ports_rows[i].no));
		done(call);
	}
}

static void errors(void **state)
{
	static const struct {
		const char *arguments, *environment, *error;
	} error_rows[] = {
		{"--proxy-uid|foo", "", "--proxy-uid: \"foo\" is not accepted; give a number from 0 to 4294967295"},
		{"--proxy-uid=4294967296", "", "--proxy-uid: \"4294967296\" is not accepted; give a number from 0 to 4294967295"},
		{"--uid=-1", "", "--uid: \"-1\" is not accepted; give a number from 0 to 4294967295"},
		{"--uid=99999999999999999999", "",
		 "--uid: \"99999999999999999999\" is not accepted; give a number from 0 to 4294967295"},
		{"--shift= 1", "", "--shift: \" 1\" is not accepted; give a number from -10 to 10"},
		{"--shift=1x", "", "--shift: \"1x\" is not accepted; give a number from -10 to 10"},
		{"--shift=-", "", "--shift: \"-\" is not accepted; give a number from -10 to 10"},
		{"--inbound-port=0", "", "--inbound-port: \"0\" is not accepted; give a port from 1 to 65535"},
		{"--incoming-proxy-port|65536", "",
		 "--incoming-proxy-port: \"65536\" is not accepted; give a port from 1 to 65535"},
		{"--inbound-port=", "", "--inbound-port: \"\" is not accepted; give a port from 1 to 65535"},
		{"--inbound-port", "", "--inbound-port: a value is missing; give a port from 1 to 65535"},
		{"--netns", "", "--netns: a value is missing; give PATH"},
		{"--item|a|--item", "", "--item: a value is missing; give a good item"},
		{"--item|bad", "", "--item: \"bad\" is not accepted; give a good item"},
		{"", "LAPSE_ITEM=bad", "LAPSE_ITEM: \"bad\" is not accepted; give a good item"},
		{"", "LAPSE_INBOUND_PORT=x", "LAPSE_INBOUND_PORT: \"x\" is not accepted; give a port from 1 to 65535"},
		{"--inbound-port=2", "LAPSE_INBOUND_PORT=x",
		 "LAPSE_INBOUND_PORT: \"x\" is not accepted; give a port from 1 to 65535"},
		{"--close-wait-timeout=5", "",
		 "--close-wait-timeout: \"5\" is not accepted; give a duration such as 500ms, 30s or 1h30m"},
		{"--close-wait-timeout=-1s", "",
		 "--close-wait-timeout: \"-1s\" is not accepted; give a duration such as 500ms, 30s or 1h30m"},
		{"--close-wait-timeout=999999999h", "",
		 "--close-wait-timeout: \"999999999h\" is not accepted; give a duration such as 500ms, 30s or 1h30m"},
		{"--skip-ports=80-79", "",
		 "--skip-ports: \"80-79\" is not accepted; give ports and ranges from 1 to 65535 such as 80,443,8000-8999"},
		{"--skip-ports=80,0,9", "",
		 "--skip-ports: \"80,0,9\" is not accepted; give ports and ranges from 1 to 65535 such as 80,443,8000-8999"
		 " (\"0\" is none)"},
		{"--log-level|loud", "", "--log-level: \"loud\" is not accepted; give debug, info, warn, error or off"},
		{"--fork=perhaps", "", "--fork: \"perhaps\" is not accepted; give true or false"},
		{"", "LAPSE_FORK=yes", "LAPSE_FORK: \"yes\" is not accepted; give true or false"},
		{"--foo", "", "--foo: unknown option; did you mean --fork?"},
		{"--incoming-proxy-port|3|--inbound-port=2", "",
		 "--incoming-proxy-port and --inbound-port are one option, and have two values: 3 and 2; give one of them"},
		{"--port-inbound", "", "--port-inbound: unknown option; did you mean --inbound-port?"},
		{"--timeout-wait", "", "--timeout-wait: unknown option; did you mean --close-wait-timeout?"},
		{"--close-wait-timout", "", "--close-wait-timout: unknown option; did you mean --close-wait-timeout?"},
		{"--wiat-timeuot", "", "--wiat-timeuot: unknown option; did you mean --close-wait-timeout?"},
		{"--foo=1", "", "--foo: unknown option; did you mean --fork?"},
		{"--inbound_port=1", "", "--inbound_port: unknown option; did you mean --inbound-port?"},
		{"--close-wait", "", "--close-wait: unknown option; did you mean --close-wait-timeout?"},
		{"--incoming-proxy-prot|1", "", "--incoming-proxy-prot: unknown option; did you mean --incoming-proxy-port?"},
		{"--inbound-por", "", "--inbound-por: unknown option; did you mean --inbound-port?"},
		{"--vresion", "", "--vresion: unknown option; did you mean --version?"},
		{"--zzzzzzzzzzzzzzzzzzzzzzzzzz", "", "--zzzzzzzzzzzzzzzzzzzzzzzzzz: unknown option; --help lists them"},
		{"-x", "", "-x: unknown option; --help lists them"},
		{"-fork", "", "-fork: unknown option; did you mean --fork?"},
		{"--=1", "", "--: unknown option; --help lists them"},
		{"instal", "", "\"instal\": unknown command; did you mean install?"},
		{"qqqqqqqqqqqq", "", "\"qqqqqqqqqqqq\": unknown command; --help lists them"},
		{"", "LAPSE_ITEM=huge", "LAPSE_ITEM: no memory"},
		{"install|remove", "", "\"remove\": one word too many; options begin with --"},
		{"status|--fork|x", "", "\"x\": one word too many; options begin with --"},
		{"--fork|true", "", "\"true\": unknown command; --help lists them"},
		{"--|--fork", "", "\"--fork\": unknown command; --help lists them"},
		{"-", "", "\"-\": unknown command; --help lists them"},
	};

	for (size_t i = 0; i < sizeof error_rows / sizeof *error_rows; i++) {
		struct call *call = parse(error_rows[i].arguments, error_rows[i].environment);
		if (strstr(call->error, "no memory") == NULL)
			assert_int_equal(call->result, -EINVAL);
		else
			assert_int_equal(call->result, -ENOMEM);
		assert_string_equal(call->error, error_rows[i].error);
		assert_int_equal(call->command, 77);
		done(call);
	}
}

static void overlong_arguments_are_errors(void **state)
{
	char argument[400] = "--";

	memset(argument + 2, 'a', 300);
	struct call *call = parse(argument, "");
	assert_int_equal(call->result, -EINVAL);
	assert_non_null(strstr(call->error, "unknown option"));
	done(call);
	strcpy(argument, "--inbound-port=");
	memset(argument + 15, '1', 380 - 15);
	call = parse(argument, "");
	assert_int_equal(call->result, -EINVAL);
	done(call);
}

static void commands_and_help(void **state)
{
	static const struct {
		const char *arguments;
		int command;
	} command_rows[] = {
		{"", 0}, {"install", 0}, {"remove", 1}, {"--fork|remove|--proxy-uid|0", 1}, {"--|status", 2}, {"-h", OPTIONS_HELP},
		{"--help", OPTIONS_HELP}, {"--version", OPTIONS_VERSION}, {"--nonsense|--help", OPTIONS_HELP},
		{"nonsense|-h", OPTIONS_HELP},
		{"--inbound-port=x|--version", OPTIONS_VERSION}, {"--netns|--help", 0}, {"--netns=x|--help", OPTIONS_HELP},
	};
	struct options wordless = table;

	for (size_t i = 0; i < sizeof command_rows / sizeof *command_rows; i++) {
		struct call *call = parse(command_rows[i].arguments, "");
		assert_int_equal(call->result, 0);
		assert_int_equal(call->command, command_rows[i].command);
		done(call);
	}
	struct call *call = parse("--help", "LAPSE_INBOUND_PORT=x");
	assert_int_equal(call->command, OPTIONS_HELP);
	wordless.commands = NULL;
	call = parse_with(&wordless, "run", "");
	assert_int_equal(call->result, -EINVAL);
	assert_string_equal(call->error, "\"run\": one word too many; options begin with --");
	done(call);
}

static void environment_names(void **state)
{
	char out[OPTIONS_ENVIRONMENT_SIZE];

	options_environment_name("idle-timeout", out);
	assert_string_equal(out, "LAPSE_IDLE_TIMEOUT");
	options_environment_name("a1", out);
	assert_string_equal(out, "LAPSE_A1");
	options_environment_name("an-option-with-a-name-that-nobody-in-his-right-mind-would-ever-want-to-type", out);
	assert_int_equal(strlen(out), OPTIONS_ENVIRONMENT_SIZE - 1);
}

/* ---- commands with words, letters, options of some commands ---- */

struct worded {
	struct option_words words;
	struct option_texts headers;
	bool json;
	int64_t count;
};

enum { RUN = 1, EXPLAIN = 2, CHECK = 4, READ = 8 };

static const struct option_row worded_rows[] = {
	{.name = "header", .letter = 'H', .argument = "FIELD", .help = "A field.", .parse = options_parse_texts,
	 .offset = offsetof(struct worded, headers), .repeatable = true, .commands = EXPLAIN | READ},
	{.name = "json", .letter = 'j', .help = "JSON.", .parse = options_parse_flag, .offset = offsetof(struct worded, json),
	 .commands = EXPLAIN | CHECK},
	{.name = "count", .argument = "N", .default_value = "3", .help = "How many.", .parse = options_parse_number,
	 .offset = offsetof(struct worded, count), .greatest = 9},
};

static const struct option_command worded_commands[] = {
	{"run", "Runs."}, {"explain", "Explains.", "[METHOD URL]", 2}, {"check", "Checks."},
	{"read", "Reads.", "[FIELD ...]", .words_option = "header"}, {NULL}};

static const struct options worded_table = {
	.program = "lapse-test", .summary = "Explains itself.", .commands = worded_commands, .rows = worded_rows,
	.row_count = sizeof worded_rows / sizeof *worded_rows, .words_offset = offsetof(struct worded, words),
};

/* Items separated by ',', in brackets. */
static void joined(char *out, size_t size, const char *const *items, size_t count)
{
	struct text text;

	text_init(&text, out, size);
	for (size_t i = 0; i < count; i++)
		text_printf(&text, "%s%s", i > 0 ? "," : "", items[i]);
}

static const struct {
	const char *arguments, *environment;
	const char *error; /* NULL: accepted, with what follows */
	int command;
	const char *words, *headers;
	bool json;
} worded_calls[] = {
	{"", "", NULL, 0, "", "", false},
	{"explain", "", NULL, 1, "", "", false},
	{"explain|GET /", "", NULL, 1, "GET /", "", false},
	{"explain|GET|/", "", NULL, 1, "GET,/", "", false},
	{"--json|explain|GET|--count=2|/|-H|a: b", "", NULL, 1, "GET,/", "a: b", true},
	{"explain|-Ha: b|-H|c=d|--header|e|--header=f", "", NULL, 1, "", "a: b,c=d,e,f", false},
	{"-Ha|explain", "LAPSE_HEADER=x", NULL, 1, "", "a", false},
	{"explain", "LAPSE_HEADER=x|LAPSE_JSON=1", NULL, 1, "", "x", true},
	{"explain|-H|--help|-j", "", NULL, 1, "", "--help", true},
	{"-H|run|explain", "", NULL, 1, "", "run", false},
	{"explain|--|-j|--x", "", NULL, 1, "-j,--x", "", false},
	{"check|-j", "LAPSE_HEADER=x", NULL, 2, "", "", true},
	{"run", "LAPSE_JSON=perhaps|LAPSE_HEADER=x", NULL, 0, "", "", false},
	{"read|a|read|c", "LAPSE_HEADER=x", NULL, 3, "", "a,read,c", false},
	{"read|a|-Hb|--count=2|c|--|-d", "", NULL, 3, "", "a,b,c,-d", false},
	{"-Ha|read|b", "LAPSE_HEADER=x", NULL, 3, "", "a,b", false},
	{"read", "LAPSE_HEADER=x", NULL, 3, "", "x", false},
	{"check", "LAPSE_JSON=perhaps", "LAPSE_JSON: \"perhaps\" is not accepted; give true or false"},
	{"explain|a|b|c", "", "\"c\": one word too many; options begin with --"},
	{"check|a", "", "\"a\": one word too many; options begin with --"},
	{"run|--json", "", "--json: only with explain, check"},
	{"--json=true", "", "--json: only with explain, check"},
	{"-j|run", "", "-j: only with explain, check"},
	{"-Hx|check", "", "-H: only with explain, read"},
	{"check|--header", "", "--header: only with explain, read"},
	{"explain|-H", "", "-H: a value is missing; give FIELD"},
	{"explain|-jx", "", "-jx: unknown option; --help lists them"},
	{"explain|-J", "", "-J: unknown option; --help lists them"},
	{"explain|--count|10", "", "--count: \"10\" is not accepted; give a number from 0 to 9"},
};

static void words_letters_and_commands(void **state)
{
	for (size_t i = 0; i < sizeof worded_calls / sizeof *worded_calls; i++) {
		char arguments[256], environment[256], text[256], *argv[16] = {NULL}, *variables[16] = {NULL};
		struct worded worded = {0};
		int command = 77;
		TEXT_ON_STACK(error, 512);

		strcpy(arguments, worded_calls[i].arguments);
		strcpy(environment, worded_calls[i].environment);
		int count = 1 + split(arguments, argv + 1);
		split(environment, variables);
		int result = options_parse(&worded_table, count, argv, variables, &worded, &command, &error);
		assert_string_equal(error.data, worded_calls[i].error != NULL ? worded_calls[i].error : "");
		assert_int_equal(result, worded_calls[i].error != NULL ? -EINVAL : 0);
		assert_int_equal(command, worded_calls[i].error != NULL ? 77 : worded_calls[i].command);
		if (worded_calls[i].error == NULL) {
			joined(text, sizeof text, worded.words.items, worded.words.count);
			assert_string_equal(text, worded_calls[i].words);
			joined(text, sizeof text, worded.headers.items, worded.headers.count);
			assert_string_equal(text, worded_calls[i].headers);
			assert_int_equal(worded.json, worded_calls[i].json);
		}
		options_texts_free(&worded.headers);
		assert_null(worded.headers.items);
	}
}

static void lists_commands(void **state)
{
	TEXT_ON_STACK(list, 64);

	options_list_commands(&worded_table, RUN | CHECK, &list);
	assert_string_equal(list.data, "run, check");
}

static void variables_that_are_no_options(void **state)
{
	static const char *const environment[] = {"LAPSE_INBOUND_PORT=1", "LAPSE_PORT_INBOUND=1", "LAPSE_EMPTY=", "HOME=/", "LAPSE_ADMIN_PORT=tcp://10.96.7.7:80",
	                       "LAPSE_ADMIN_SERVICE_HOST=10.96.7.7", "LAPSE_ADMIN_PORT_80_TCP_ADDR=10.96.7.7", "LAPSE_QQQQQQQQQQ=1", NULL};
	static const char *const another[] = {"LAPSE_NO_REASON_HEADERS=1", "LAPSE_TIMEOUT_IDLE_CONNECTION=1h", "LAPSE_PROXY_UIDS=3", NULL};
	struct options shared = table;
	TEXT_ON_STACK(unknown, 256);
	TEXT_ON_STACK(services, 256);

	shared.others = options_names_proxy;
	options_environment_look(&table, (char **)environment, &unknown, &services);
	assert_string_equal(unknown.data, "LAPSE_PORT_INBOUND (did you mean LAPSE_INBOUND_PORT?), LAPSE_QQQQQQQQQQ");
	text_init(&unknown, unknown.data, unknown.size);
	options_environment_look(&shared, (char **)another, &unknown, &services);
	assert_string_equal(unknown.data, "LAPSE_PROXY_UIDS (did you mean LAPSE_PROXY_UID?)");
	assert_string_equal(services.data, "LAPSE_ADMIN_PORT, LAPSE_ADMIN_SERVICE_HOST, LAPSE_ADMIN_PORT_80_TCP_ADDR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_environment_flags), cmocka_unit_test(every_kind_of_value),
		cmocka_unit_test(sizes),                      cmocka_unit_test(repeatable),
		cmocka_unit_test(errors),
		cmocka_unit_test(variables_that_are_no_options),                     cmocka_unit_test(overlong_arguments_are_errors),
		cmocka_unit_test(commands_and_help),          cmocka_unit_test(environment_names),
		cmocka_unit_test(words_letters_and_commands), cmocka_unit_test(lists_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
