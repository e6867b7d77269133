#include "lib/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RUN = 1, EXPLAIN = 2, CHECK = 4 };

static const struct option_row rows[] = {
	{.name = "port", .aliases = {"incoming-port", "p-port", "door"}, .argument = "PORT", .default_value = "4143",
	 .help = "Where connections go.", .parse = options_parse_port},
	{.name = "workers", .argument = "N", .help = "How many.", .parse = options_parse_number, .commands = RUN},
	{.name = "config", .argument = "PATH", .help = "What is read.", .parse = options_parse_texts, .repeatable = true,
	 .commands = RUN | EXPLAIN | CHECK},
	{.name = "header", .letter = 'H', .argument = "'NAME: VALUE'", .help = "A field.", .parse = options_parse_texts,
	 .repeatable = true, .commands = EXPLAIN},
	{.name = "fork", .letter = 'f', .parse = options_parse_flag, .commands = RUN,
	 .help = "Goes into the background, where it stays for as long as nobody sends it a signal that asks it to end,"
		 " which is a sentence long enough to need a second line."},
	{.name = "skip-ports", .argument = "PORTS", .default_value = "4190-4191", .help = "Ports left alone.",
	 .parse = options_parse_ports, .repeatable = true},
	{.name = "none", .argument = "X", .default_value = "", .help = "Keeps \\ what is none.", .parse = options_parse_text},
	{.name = "netns", .argument = "PATH", .help = ".hidden beginnings are safe.", .parse = options_parse_text},
};

static const struct option_command commands[] = {
	{"run", "Puts the rules in place."}, {"explain", "Says what happens.", "[METHOD URL]", 2}, {"check", "Checks."}, {NULL}};

static const struct option_command plain_commands[] = {{"run", "Puts the rules in place."}, {"check", "Checks."}, {NULL}};

static char *printed(const struct option_command *known, void (*print)(const struct options *options, FILE *to))
{
	struct options table = {.program = "lapse-test", .summary = "Does nothing, well.", .commands = known, .rows = rows,
				.row_count = known != NULL ? sizeof rows / sizeof *rows : 1};
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	print(&table, to);
	fclose(to);
	return text;
}

/* Where a part is; it has to be there. */
static const char *find(const char *text, const char *part)
{
	const char *at = strstr(text, part);

	if (at == NULL)
		fail_msg("\"%s\" is not in:\n%s", part, text);
	return at;
}

static void help_is_complete_and_narrow(void **state)
{
	char *text = printed(commands, options_print_help), part[128], environment[OPTIONS_ENVIRONMENT_SIZE];

	find(text, "Usage: lapse-test [run | explain [METHOD URL] | check] [OPTION]...\n");
	find(text, "Does nothing, well.\n");
	find(text, "  run (when none is given)\n        Puts the rules in place.\n");
	find(text, "  explain [METHOD URL]\n        Says what happens.\n");
	find(text, "  --port PORT, --incoming-port PORT, --p-port PORT, --door PORT\n"
		   "        Where connections go. [default 4143; LAPSE_PORT]\n");
	find(text, "  -H 'NAME: VALUE', --header 'NAME: VALUE'\n        A field. [repeatable; LAPSE_HEADER]\n");
	find(text, "  -f, --fork\n");
	find(text, "[repeatable; default 4190-4191; LAPSE_SKIP_PORTS]\n");
	find(text, "[default none; LAPSE_NONE]\n");
	find(text, "--version\n");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(part, sizeof part, "--%s", rows[i].name);
		const char *first = find(text, part);
		assert_true(i == 0 || strstr(first + 1, part) == NULL);
		options_environment_name(rows[i].name, environment);
		find(text, environment);
	}
	for (char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
		size_t length = strcspn(line, "\n");
		assert_in_range(length, 0, 100);
		assert_true(length == 0 || line[length - 1] != ' ');
	}
	free(text);
}

/* Whose options they are is said once, above them. */
static void groups(void **state)
{
	static const struct {
		const char *heading, *first, *last; /* NULL: as first */
	} groups[] = {
		{"\nOptions, each with its default and its environment variable:\n", "  --port", "  --netns"},
		{"\nOptions of run only:\n", "  --workers", "  -f, --fork"},
		{"\nOptions of run, explain, check only:\n", "  --config", NULL},
		{"\nOptions of explain only:\n", "  -H ", NULL},
	};
	char *text = printed(commands, options_print_help);
	const char *at = text;

	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
		const char *heading = find(at, groups[i].heading);
		assert_ptr_equal(find(heading, groups[i].first), heading + strlen(groups[i].heading));
		at = find(heading, groups[i].last != NULL ? groups[i].last : groups[i].first);
		assert_true(i + 1 == sizeof groups / sizeof *groups || at < find(text, groups[i + 1].heading));
	}
	free(text);
}

static void man_is_roff(void **state)
{
	char *text = printed(commands, options_print_man);

	find(text, ".SH COMMANDS\n.TP\n\\fBrun\\fR\nPuts the rules in place.\n"
		   ".TP\n\\fBexplain\\fR \\fI[METHOD URL]\\fR\nSays what happens.\n");
	find(text, ".SH OPTIONS\n.TP\n\\fB\\-\\-port\\fR \\fIPORT\\fR, \\fB\\-\\-incoming\\-port\\fR \\fIPORT\\fR");
	find(text, "Where connections go. Default: 4143.\n");
	find(text, ".SS Of run, explain, check only\n.TP\n\\fB\\-\\-config\\fR \\fIPATH\\fR\n");
	find(text, ".TP\n\\fB\\-H\\fR \\fI\\&'NAME: VALUE'\\fR, \\fB\\-\\-header\\fR \\fI\\&'NAME: VALUE'\\fR\n");
	find(text, "\n\\&.hidden beginnings"); /* else a request */
	find(text, "Keeps \\e what");
	find(text, "May be given several times. Default: 4190\\-4191.\n");
	find(text, ".SH ENVIRONMENT\n");
	find(text, "\\fBLAPSE_SKIP_PORTS\\fR\n\\fB\\-\\-skip\\-ports\\fR\n");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char environment[OPTIONS_ENVIRONMENT_SIZE];
		options_environment_name(rows[i].name, environment);
		find(text, environment);
	}
	free(text);
}

/* Commands without words are left to the page around. */
static void man_without_words(void **state)
{
	char *text = printed(plain_commands, options_print_man);

	assert_int_equal(strncmp(text, ".SH OPTIONS\n", strlen(".SH OPTIONS\n")), 0);
	free(text);
	text = printed(NULL, options_print_help);
	find(text, "Usage: lapse-test [OPTION]...\n");
	assert_null(strstr(text, "Commands:"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help_is_complete_and_narrow), cmocka_unit_test(groups),
		cmocka_unit_test(man_is_roff),                 cmocka_unit_test(man_without_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
