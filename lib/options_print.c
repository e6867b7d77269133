#include "lib/options.h"

#include <string.h>

#include "lib/text.h"

#define HELP_WIDTH 100
#define HELP_INDENT 8

/* Prints one option; options_print_groups() calls it for each. */
typedef void options_print_row(FILE *to, const struct option_row *row);

/* The rows of every command, then those of some commands, each set of commands under a heading of its own. */
static void options_print_group(const struct options *options, unsigned commands, options_print_row *print, FILE *to)
{
	for (size_t i = 0; i < options->row_count; i++) {
		if (options->rows[i].commands == commands)
			print(to, &options->rows[i]);
	}
}

/* Whether no row before it belongs to the same commands. */
static bool options_print_is_first(const struct options *options, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (options->rows[i].commands == options->rows[index].commands)
			return false;
	}
	return true;
}

/* Words of text in lines of HELP_WIDTH, each behind `indent` blanks. */
static void options_print_wrapped(FILE *to, const char *text, int indent)
{
	int column = 0;

	while (*(text += strspn(text, " ")) != '\0') {
		int length = (int)strcspn(text, " ");
		if (column > 0 && column + 1 + length > HELP_WIDTH) {
			fputc('\n', to);
			column = 0;
		}
		if (column == 0)
			column = fprintf(to, "%*s%.*s", indent, "", length, text);
		else
			column += fprintf(to, " %.*s", length, text);
		text += length;
	}
	fputc('\n', to);
}

/* "-l ARGUMENT, --name ARGUMENT, --alias ARGUMENT" */
static void options_print_usage(const struct option_row *row, struct text *text)
{
	const char *name = row->name, *argument = row->argument != NULL ? row->argument : "";
	const char *blank = row->argument != NULL ? " " : "";

	if (row->letter != '\0')
		text_printf(text, "-%c%s%s, ", row->letter, blank, argument);
	for (size_t i = 0; name != NULL; name = i < 3 ? row->aliases[i] : NULL, i++)
		text_printf(text, "%s--%s%s%s", i > 0 ? ", " : "", name, blank, argument);
}

/* "help [repeatable; default 4143; LAPSE_INBOUND_PORT]" */
static void options_print_description(const struct option_row *row, struct text *text)
{
	char environment[OPTIONS_ENVIRONMENT_SIZE];

	options_environment_name(row->name, environment);
	text_printf(text, "%s [", row->help);
	if (row->repeatable)
		text_string(text, "repeatable; ");
	if (row->default_value != NULL)
		text_printf(text, "default %s; ", row->default_value[0] != '\0' ? row->default_value : "none");
	text_printf(text, "%s]", environment);
}

static void options_print_help_row(FILE *to, const struct option_row *row)
{
	TEXT_ON_STACK(usage, 512);
	TEXT_ON_STACK(description, 4096);

	options_print_usage(row, &usage);
	options_print_wrapped(to, usage.data, 2);
	options_print_description(row, &description);
	options_print_wrapped(to, description.data, HELP_INDENT);
}

/* "explain [METHOD URL]" */
static void options_print_command(FILE *to, const struct option_command *command)
{
	fprintf(to, "%s%s%s", command->name, command->words != NULL ? " " : "", command->words != NULL ? command->words : "");
}

static void options_print_help_commands(FILE *to, const struct option_command *commands)
{
	fputs("\nCommands:\n", to);
	for (int i = 0; commands[i].name != NULL; i++) {
		fputs("  ", to);
		options_print_command(to, &commands[i]);
		fputs(i == 0 ? " (when none is given)\n" : "\n", to);
		options_print_wrapped(to, commands[i].help, HELP_INDENT);
	}
}

void options_print_help(const struct options *options, FILE *to)
{
	const struct option_command *commands = options->commands;

	fprintf(to, "Usage: %s", options->program);
	for (int i = 0; commands != NULL && commands[i].name != NULL; i++) {
		fputs(i == 0 ? " [" : " | ", to);
		options_print_command(to, &commands[i]);
	}
	fprintf(to, "%s [OPTION]...\n\n", commands != NULL ? "]" : "");
	options_print_wrapped(to, options->summary, 0);
	if (commands != NULL)
		options_print_help_commands(to, commands);
	fputs("\nOptions, each with its default and its environment variable:\n", to);
	options_print_group(options, 0, options_print_help_row, to);
	fputs("  -h, --help\n        Print this.\n  --version\n        Print the version.\n", to);
	for (size_t i = 0; i < options->row_count; i++) {
		TEXT_ON_STACK(list, 512);

		if (options->rows[i].commands == 0 || !options_print_is_first(options, i))
			continue;
		options_list_commands(options, options->rows[i].commands, &list);
		fprintf(to, "\nOptions of %s only:\n", list.data);
		options_print_group(options, options->rows[i].commands, options_print_help_row, to);
	}
}

/* Text for roff: hyphens stay hyphens, and nothing is taken for a request. */
static void options_print_roff(FILE *to, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", to);
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			fputs("\\e", to);
		else if (*text == '-')
			fputs("\\-", to);
		else
			fputc(*text, to);
	}
}

/* One of an option's names, with its dashes. */
static void options_print_man_name(FILE *to, const char *dashes, const char *name, const char *argument)
{
	fputs("\\fB", to);
	options_print_roff(to, dashes);
	options_print_roff(to, name);
	fputs("\\fR", to);
	if (argument != NULL) {
		fputs(" \\fI", to);
		options_print_roff(to, argument);
		fputs("\\fR", to);
	}
}

static void options_print_man_row(FILE *to, const struct option_row *row)
{
	const char letter[] = {row->letter, '\0'}, *name = row->name;

	fputs(".TP\n", to);
	if (row->letter != '\0') {
		options_print_man_name(to, "-", letter, row->argument);
		fputs(", ", to);
	}
	for (size_t i = 0; name != NULL; name = i < 3 ? row->aliases[i] : NULL, i++) {
		fputs(i > 0 ? ", " : "", to);
		options_print_man_name(to, "--", name, row->argument);
	}
	fputc('\n', to);
	options_print_roff(to, row->help);
	if (row->repeatable)
		fputs(" May be given several times.", to);
	if (row->default_value != NULL && row->default_value[0] != '\0') {
		fputs(" Default: ", to);
		options_print_roff(to, row->default_value);
		fputc('.', to);
	}
	fputc('\n', to);
}

/* Only where there is more to a command than its name. */
static void options_print_man_commands(FILE *to, const struct option_command *commands)
{
	bool words = false;

	for (int i = 0; commands != NULL && commands[i].name != NULL; i++)
		words = words || commands[i].words != NULL;
	if (!words)
		return;
	fputs(".SH COMMANDS\n", to);
	for (; commands->name != NULL; commands++) {
		fputs(".TP\n", to);
		options_print_man_name(to, "", commands->name, commands->words);
		fputc('\n', to);
		options_print_roff(to, commands->help);
		fputc('\n', to);
	}
}

void options_print_man(const struct options *options, FILE *to)
{
	char environment[OPTIONS_ENVIRONMENT_SIZE];

	options_print_man_commands(to, options->commands);
	fputs(".SH OPTIONS\n", to);
	options_print_group(options, 0, options_print_man_row, to);
	fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nPrint a summary of the options.\n", to);
	fputs(".TP\n\\fB\\-\\-version\\fR\nPrint the version.\n", to);
	for (size_t i = 0; i < options->row_count; i++) {
		TEXT_ON_STACK(list, 512);

		if (options->rows[i].commands == 0 || !options_print_is_first(options, i))
			continue;
		options_list_commands(options, options->rows[i].commands, &list);
		fputs(".SS Of ", to);
		options_print_roff(to, list.data);
		fputs(" only\n", to);
		options_print_group(options, options->rows[i].commands, options_print_man_row, to);
	}
	fputs(".SH ENVIRONMENT\nEvery option can be set in the environment too; the command line wins.\n"
	      "An empty variable counts as unset.\n", to);
	for (size_t i = 0; i < options->row_count; i++) {
		options_environment_name(options->rows[i].name, environment);
		fprintf(to, ".TP\n\\fB%s\\fR\n\\fB\\-\\-", environment);
		options_print_roff(to, options->rows[i].name);
		fputs("\\fR\n", to);
	}
}
