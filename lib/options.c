#include "lib/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/duration.h"
#include "lib/options_guess.h"
#include "lib/ports.h"
#include "lib/text.h"

void options_environment_name(const char *name, char out[static OPTIONS_ENVIRONMENT_SIZE])
{
	struct text text;

	text_init(&text, out, OPTIONS_ENVIRONMENT_SIZE);
	text_string(&text, "LAPSE_");
	for (; *name != '\0'; name++)
		text_char(&text, *name == '-' ? '_' : (char)toupper((unsigned char)*name));
}

void options_list_commands(const struct options *options, unsigned commands, struct text *out)
{
	const char *separator = "";

	for (int i = 0; options->commands[i].name != NULL; i++) {
		if ((commands >> i & 1) == 0)
			continue;
		text_printf(out, "%s%s", separator, options->commands[i].name);
		separator = ", ";
	}
}

/* ---- parsers ---- */

int options_parse_flag(const struct option_call *call, void *field, struct text *accepted)
{
	const char *value = call->value;

	if (value == NULL || strcmp(value, "true") == 0 || strcmp(value, "1") == 0) {
		*(bool *)field = true;
	} else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0) {
		*(bool *)field = false;
	} else {
		text_string(accepted, "true or false");
		return -EINVAL;
	}
	return 0;
}

int options_parse_text(const struct option_call *call, void *field, struct text *accepted)
{
	*(const char **)field = call->value;
	return 0;
}

int options_parse_texts(const struct option_call *call, void *field, struct text *accepted)
{
	struct option_texts *texts = field;
	size_t count = call->first ? 0 : texts->count;
	const char **items = reallocarray(texts->items, count + 1, sizeof *items);

	if (items == NULL)
		return -ENOMEM;
	texts->items = items;
	texts->items[count] = call->value;
	texts->count = count + 1;
	return 0;
}

void options_texts_free(struct option_texts *texts)
{
	free(texts->items);
	*texts = (struct option_texts){0};
}

/* Decimal digits at *cursor, which moves behind them. */
static int options_read_digits(const char **cursor, int64_t *out)
{
	int64_t value = 0;
	const char *at = *cursor;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *at - '0', &value))
			return -ERANGE;
	}
	if (at == *cursor)
		return -EINVAL;
	*cursor = at;
	*out = value;
	return 0;
}

int options_parse_number(const struct option_call *call, void *field, struct text *accepted)
{
	const struct option_row *row = call->row;
	bool negative = call->value[0] == '-';
	const char *cursor = call->value + negative;
	int64_t value;

	if (options_read_digits(&cursor, &value) == 0 && *cursor == '\0') {
		value = negative ? -value : value;
		if (value >= row->least && value <= row->greatest) {
			*(int64_t *)field = value;
			return 0;
		}
	}
	text_printf(accepted, "a number from %lld to %lld", (long long)row->least, (long long)row->greatest);
	return -EINVAL;
}

int options_parse_port(const struct option_call *call, void *field, struct text *accepted)
{
	const char *cursor = call->value;
	int64_t value;

	if (options_read_digits(&cursor, &value) != 0 || *cursor != '\0' || value < 1 || value > 65535) {
		text_string(accepted, "a port from 1 to 65535");
		return -EINVAL;
	}
	*(uint16_t *)field = (uint16_t)value;
	return 0;
}

int options_parse_duration(const struct option_call *call, void *field, struct text *accepted)
{
	const struct option_row *row = call->row;
	char least[DURATION_TEXT_SIZE], greatest[DURATION_TEXT_SIZE];
	int64_t value;

	if (duration_parse(DURATION_GO, call->value, &value) != 0 || value < row->least ||
	    (row->greatest && value > row->greatest)) {
		text_string(accepted, "a duration such as 500ms, 30s or 1h30m");
		if (row->greatest)
			text_printf(accepted, ", from %s to %s", duration_format(row->least, least),
			            duration_format(row->greatest, greatest));
		return -EINVAL;
	}
	*(int64_t *)field = value;
	return 0;
}

int options_parse_ports(const struct option_call *call, void *field, struct text *accepted)
{
	struct ports fresh = {0}, *ports = field;
	const char *bad;
	size_t bad_length;
	int result = ports_parse(call->first ? &fresh : ports, call->value, &bad, &bad_length);

	if (result == -EINVAL) {
		text_string(accepted, "ports and ranges from 1 to 65535 such as 80,443,8000-8999");
		if (bad_length < strlen(call->value))
			text_printf(accepted, " (\"%.*s\" is none)", (int)bad_length, bad);
	}
	if (result == 0 && call->first) {
		ports_free(ports);
		*ports = fresh;
	}
	return result;
}

int options_parse_size(const struct option_call *call, void *field, struct text *accepted)
{
	static const struct {
		const char *name;
		int64_t bytes;
	} units[] = {{"", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
	const struct option_row *row = call->row;
	const char *cursor = call->value;
	int64_t value;

	if (options_read_digits(&cursor, &value) == 0) {
		for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
			int64_t bytes;
			if (strcmp(cursor, units[i].name) == 0 && !__builtin_mul_overflow(value, units[i].bytes, &bytes) &&
			    bytes >= row->least && bytes <= row->greatest) {
				*(int64_t *)field = bytes;
				return 0;
			}
		}
	}
	text_printf(accepted, "a size from %lld to %lld bytes such as 4096, 64KiB or 16MiB", (long long)row->least,
		    (long long)row->greatest);
	return -EINVAL;
}

/* ---- an unknown name ---- */

static void options_say_unknown(const struct options *options, const char *argument, size_t length, struct text *error)
{
	struct options_guess guess = {.word = argument + 2, .length = length - 2};

	if (argument[1] != '-') {
		guess.word = argument + 1;
		guess.length = length - 1;
	}
	for (size_t i = 0; i < options->row_count; i++) {
		const struct option_row *row = &options->rows[i];
		options_guess_try(&guess, row->name);
		for (size_t j = 0; j < 3 && row->aliases[j] != NULL; j++)
			options_guess_try(&guess, row->aliases[j]);
	}
	options_guess_try(&guess, "help");
	options_guess_try(&guess, "version");
	text_printf(error, "%.*s: unknown option; ", (int)length, argument);
	if (guess.closest != NULL)
		text_printf(error, "did you mean --%s?", guess.closest);
	else
		text_string(error, "--help lists them");
}

/* ---- parsing ---- */

/* How an option was first spelt, and its value then. */
struct options_spelling {
	const char *argument; /* NULL = not yet */
	size_t length;        /* of the spelling */
	const char *value;    /* NULL = none */
};

/* Two walks over the arguments: the first finds the command, the second reads the options that may belong to it. */
struct options_walk {
	const struct options *options;
	int argc;
	char **argv;
	void *out;
	struct text *error;
	bool *seen; /* row_count; has had a value from the command line */
	struct options_spelling *spellings; /* row_count */
	bool reads; /* the second walk */
	bool named; /* there was a word for the command, in this walk */
	int command;
};

/* An option as it stands in an argument. */
struct options_given {
	const struct option_row *row; /* NULL = unknown */
	size_t length;                /* of its name with the dashes */
	const char *value;            /* behind the name, NULL = none is attached */
};

static const struct option_row *options_find(const struct options *options, const char *name, size_t length)
{
	for (size_t i = 0; i < options->row_count; i++) {
		const struct option_row *row = &options->rows[i];
		const char *known = row->name;
		for (size_t j = 0; known != NULL; known = j < 3 ? row->aliases[j] : NULL, j++) {
			if (strncmp(known, name, length) == 0 && known[length] == '\0')
				return row;
		}
	}
	return NULL;
}

static struct options_given options_look(const struct options *options, const char *argument)
{
	struct options_given given = {.length = strcspn(argument, "=")};

	if (argument[1] == '-') {
		given.row = options_find(options, argument + 2, given.length - 2);
		given.value = argument[given.length] == '=' ? argument + given.length + 1 : NULL;
		return given;
	}
	for (size_t i = 0; i < options->row_count; i++) {
		const struct option_row *row = &options->rows[i];
		if (row->letter != '\0' && row->letter == argument[1] && (argument[2] == '\0' || row->argument != NULL))
			return (struct options_given){row, 2, argument[2] != '\0' ? argument + 2 : NULL};
	}
	return given;
}

/* Whether its value is the argument behind it. */
static bool options_takes_next(const struct options_given *given)
{
	return given->row != NULL && given->row->argument != NULL && given->value == NULL;
}

static bool options_belongs(const struct option_row *row, int command)
{
	return row->commands == 0 || (row->commands >> command & 1) != 0;
}

static int options_apply(const struct option_call *call, void *out, struct text *error)
{
	TEXT_ON_STACK(accepted, 512);
	int result = call->row->parse(call, (char *)out + call->row->offset, &accepted);

	if (result == -ENOMEM)
		text_printf(error, "%s: no memory", call->given_as);
	else if (result != 0)
		text_printf(error, "%s: \"%s\" is not accepted; give %s", call->given_as, call->value != NULL ? call->value : "",
			    accepted.length > 0 ? accepted.data : call->row->argument);
	return result;
}

static int options_apply_defaults(const struct options *options, void *out, struct text *error)
{
	for (size_t i = 0; i < options->row_count; i++) {
		const struct option_row *row = &options->rows[i];
		struct option_call call = {row, row->default_value, row->name, OPTION_ORIGIN_DEFAULT, true};
		int result = row->default_value == NULL ? 0 : options_apply(&call, out, error);
		if (result != 0)
			return result;
	}
	return 0;
}

/* The value of a variable; NULL when it is unset, empty or a Service's. */
static const char *options_getenv(char **environment, const char *name)
{
	size_t length = strlen(name);

	for (; environment != NULL && *environment != NULL; environment++) {
		if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
			return (*environment)[length + 1] == '\0' || options_environment_is_link(*environment + length + 1) ? NULL : *environment + length + 1;
	}
	return NULL;
}

static int options_apply_environment(const struct options_walk *walk, char **environment)
{
	for (size_t i = 0; i < walk->options->row_count; i++) {
		const struct option_row *row = &walk->options->rows[i];
		char name[OPTIONS_ENVIRONMENT_SIZE];

		options_environment_name(row->name, name);
		const char *value = options_belongs(row, walk->command) ? options_getenv(environment, name) : NULL;
		struct option_call call = {row, value, name, OPTION_ORIGIN_ENVIRONMENT, true};
		int result = value == NULL ? 0 : options_apply(&call, walk->out, walk->error);
		if (result != 0)
			return result;
	}
	return 0;
}

/* The parser itself says what it would have accepted, when it refuses an empty value. */
static int options_say_missing(struct option_call *call, void *out, struct text *error)
{
	TEXT_ON_STACK(accepted, 512);

	call->value = "";
	if (call->row->parse(call, (char *)out + call->row->offset, &accepted) == 0 || accepted.length == 0)
		text_string(&accepted, call->row->argument);
	text_printf(error, "%s: a value is missing; give %s", call->given_as, accepted.data);
	return -EINVAL;
}

static int options_say_foreign(const struct options_walk *walk, const struct option_call *call)
{
	text_printf(walk->error, "%s: only with ", call->given_as);
	options_list_commands(walk->options, call->row->commands, walk->error);
	return -EINVAL;
}

static bool options_whole_number(const char *text, int64_t *out)
{
	return options_read_digits(&text, out) == 0 && *text == '\0';
}

/* Whether two values are one, as 60m and 1h, 080 and 80, and a flag without a word and "true" or "1". NULL: no word. */
static bool options_mean_one(const char *one, const char *other)
{
	int64_t first, second;

	one = one != NULL ? one : "true";
	other = other != NULL ? other : "true";
	if (strcmp(one, other) == 0)
		return true;
	if (options_whole_number(one, &first) && options_whole_number(other, &second))
		return first == second;
	if (duration_parse(DURATION_GO, one, &first) == 0 && duration_parse(DURATION_GO, other, &second) == 0)
		return first == second;
	return (strcmp(one, "true") == 0 && strcmp(other, "1") == 0) || (strcmp(one, "1") == 0 && strcmp(other, "true") == 0);
}

/* Two names of one option with two values: nobody can mean both. True then, and says so. */
static bool options_spelt_otherwise(struct options_walk *walk, const struct options_given *given, const char *argument, const char *value)
{
	struct options_spelling *first = &walk->spellings[given->row - walk->options->rows];

	if (first->argument == NULL) {
		*first = (struct options_spelling){argument, given->length, value};
		return false;
	}
	if (given->row->repeatable || (first->length == given->length && strncmp(first->argument, argument, given->length) == 0) ||
	    options_mean_one(first->value, value))
		return false;
	text_printf(walk->error, "%.*s and %.*s are one option, and have two values: %s and %s; give one of them", (int)first->length,
		    first->argument, (int)given->length, argument, first->value != NULL ? first->value : "true", value != NULL ? value : "true");
	return true;
}

/* The option at argv[*at], and its value, for which *at moves on. */
static int options_take_option(struct options_walk *walk, int *at)
{
	const char *argument = walk->argv[*at];
	struct options_given given = options_look(walk->options, argument);
	char given_as[OPTIONS_ENVIRONMENT_SIZE * 2];

	if (given.row == NULL) {
		options_say_unknown(walk->options, argument, given.length, walk->error);
		return -EINVAL;
	}
	snprintf(given_as, sizeof given_as, "%.*s", (int)given.length, argument);
	bool *seen = &walk->seen[given.row - walk->options->rows], missing = false;
	struct option_call call = {given.row, given.value, given_as, OPTION_ORIGIN_FLAG, !*seen};
	if (options_takes_next(&given) && *at + 1 < walk->argc)
		call.value = walk->argv[++*at];
	else if (given.row->follows != NULL && given.value == NULL && *at + 1 < walk->argc &&
		 strcmp(walk->argv[*at + 1], given.row->follows) == 0)
		call.value = walk->argv[++*at];
	else
		missing = options_takes_next(&given);
	if (!walk->reads)
		return 0;
	if (!options_belongs(given.row, walk->command))
		return options_say_foreign(walk, &call);
	if (missing)
		return options_say_missing(&call, walk->out, walk->error);
	if (options_spelt_otherwise(walk, &given, argument, call.value))
		return -EINVAL;
	*seen = true;
	return options_apply(&call, walk->out, walk->error);
}

/* A word that stands for "--name word". */
static int options_take_option_word(const struct options_walk *walk, const char *name, const char *word)
{
	const struct option_row *row = options_find(walk->options, name, strlen(name));
	bool *seen = &walk->seen[row - walk->options->rows];
	struct option_call call = {row, word, name, OPTION_ORIGIN_FLAG, !*seen};

	*seen = true;
	return options_apply(&call, walk->out, walk->error);
}

/* A word behind the command. */
static int options_take_further(const struct options_walk *walk, const char *word)
{
	const struct option_command *command = walk->options->commands ? &walk->options->commands[walk->command] : NULL;
	struct option_words *words = (void *)((char *)walk->out + walk->options->words_offset);

	if (command != NULL && command->words_option != NULL)
		return walk->reads ? options_take_option_word(walk, command->words_option, word) : 0;
	if (walk->reads)
		return 0;
	if (command == NULL || command->words == NULL || words->count >= command->words_most) {
		text_printf(walk->error, "\"%s\": one word too many; options begin with --", word);
		return -EINVAL;
	}
	words->items[words->count++] = word;
	return 0;
}

static int options_take_word(struct options_walk *walk, const char *word)
{
	const struct option_command *commands = walk->options->commands;
	struct options_guess guess = {.word = word, .length = strlen(word)};

	if (walk->named || commands == NULL)
		return options_take_further(walk, word);
	walk->named = true;
	if (walk->reads)
		return 0;
	for (int i = 0; commands[i].name != NULL; i++) {
		if (strcmp(commands[i].name, word) == 0) {
			walk->command = i;
			return 0;
		}
		options_guess_try(&guess, commands[i].name);
	}
	text_printf(walk->error, "\"%s\": unknown command; ", word);
	if (guess.closest != NULL)
		text_printf(walk->error, "did you mean %s?", guess.closest);
	else
		text_string(walk->error, "--help lists them");
	return -EINVAL;
}

static int options_walk_arguments(struct options_walk *walk)
{
	bool only_words = false;

	for (int at = 1; at < walk->argc; at++) {
		const char *argument = walk->argv[at];
		int result = 0;

		if (only_words || argument[0] != '-' || argument[1] == '\0')
			result = options_take_word(walk, argument);
		else if (strcmp(argument, "--") == 0)
			only_words = true;
		else
			result = options_take_option(walk, &at);
		if (result != 0)
			return result;
	}
	return 0;
}

static bool options_has_command(const struct options *options, const char *name)
{
	for (int i = 0; options->commands != NULL && options->commands[i].name != NULL; i++)
		if (strcmp(options->commands[i].name, name) == 0)
			return true;
	return false;
}

/* Help is given whatever else is wrong, so it is looked for first. 0 = neither asked for. */
static int options_asks_for_help(const struct options *options, int argc, char **argv)
{
	for (int at = 1; at < argc && strcmp(argv[at], "--") != 0; at++) {
		if (strcmp(argv[at], "-h") == 0 || strcmp(argv[at], "--help") == 0)
			return OPTIONS_HELP;
		if (strcmp(argv[at], "--version") == 0)
			return OPTIONS_VERSION;
		if (at == 1 && strcmp(argv[at], "help") == 0)
			return OPTIONS_HELP;
		if (at == 1 && strcmp(argv[at], "version") == 0 && !options_has_command(options, "version"))
			return OPTIONS_VERSION;
		if (argv[at][0] == '-') {
			struct options_given given = options_look(options, argv[at]);
			at += options_takes_next(&given); /* its value may look like anything */
		}
	}
	return 0;
}

int options_parse(const struct options *options, int argc, char **argv, char **environment, void *out, int *command,
		  struct text *error)
{
	struct options_walk walk = {.options = options, .argc = argc, .argv = argv, .out = out, .error = error};
	int result = options_asks_for_help(options, argc, argv);

	if (result != 0) {
		*command = result;
		return 0;
	}
	walk.seen = calloc(options->row_count + 1, sizeof *walk.seen);
	walk.spellings = calloc(options->row_count + 1, sizeof *walk.spellings);
	if (walk.seen == NULL || walk.spellings == NULL) {
		free(walk.seen);
		free(walk.spellings);
		text_string(error, "no memory");
		return -ENOMEM;
	}
	result = options_walk_arguments(&walk);
	if (result == 0)
		result = options_apply_defaults(options, out, error);
	if (result == 0)
		result = options_apply_environment(&walk, environment);
	walk.reads = true;
	walk.named = false;
	if (result == 0)
		result = options_walk_arguments(&walk);
	free(walk.seen);
	free(walk.spellings);
	if (result == 0)
		*command = walk.command;
	return result;
}
