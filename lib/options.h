#ifndef LAPSE_LIB_OPTIONS_H
#define LAPSE_LIB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct text;
struct option_row;

enum option_origin { OPTION_ORIGIN_DEFAULT, OPTION_ORIGIN_ENVIRONMENT, OPTION_ORIGIN_FLAG };

/* One value on its way into the program's struct. */
struct option_call {
	const struct option_row *row;
	const char *value;    /* NULL for a flag without argument */
	/* As the user wrote it: "--close-wait-timeout", an alias, "LAPSE_CLOSE_WAIT_TIMEOUT". Gone after the call. */
	const char *given_as;
	enum option_origin origin;
	bool first; /* the first value of this option from this origin: it replaces what the origins before it gave */
};

/* Reads the value into field; 0, -ENOMEM, or -EINVAL and then says in `accepted` what is accepted ("a port from 1 to 65535"). */
typedef int option_parse(const struct option_call *call, void *field, struct text *accepted);

/* One option. The environment variable is derived: "proxy-uid" -> LAPSE_PROXY_UID. */
struct option_row {
	const char *name;          /* without dashes */
	const char *aliases[3];    /* further names, without dashes, NULL = none */
	const char *argument;      /* placeholder in help ("PORT"), NULL = a flag without argument */
	const char *default_value; /* parsed first, as the user could have written it; NULL = none */
	const char *help;          /* one or more sentences */
	option_parse *parse;
	size_t offset;             /* of the field in the program's struct */
	int64_t least, greatest;   /* for the numeric parsers */
	bool repeatable;
	const char *follows;       /* of a flag: a word that may be its value, also as the argument behind it; NULL = none */
	char letter;               /* a short name: 'H' = "-H VALUE" and "-HVALUE"; 0 = none */
	unsigned commands;         /* bit n: it belongs to commands[n], which is there; 0 = to every one */
};

/* The words behind a command, borrowed from argv. */
enum { OPTION_WORDS_MOST = 4 };
struct option_words {
	const char *items[OPTION_WORDS_MOST];
	size_t count;
};

/* The values of a repeatable option: the list is owned, the texts are borrowed from argv or the environment. */
struct option_texts {
	const char **items;
	size_t count;
};

/* A program's command line. */
struct options {
	const char *program;                /* "lapse-init" */
	const char *summary;                /* one sentence for --help and the man page */
	const struct option_command {
		const char *name, *help;
		const char *words;          /* placeholder in help ("[METHOD URL]"), NULL = it takes none */
		size_t words_most;          /* up to OPTION_WORDS_MOST */
		const char *words_option;   /* the words are values of this repeatable option instead, NULL = they are not */
	} *commands;                        /* ends with name NULL; the first one is the default */
	const struct option_row *rows;      /* row_count rows in the order of help */
	size_t row_count;
	const char *const *others;          /* names of another program's options, whose variables are nobody's mistake; NULL = none */
	size_t words_offset;                /* of a struct option_words in the program's struct, where a command takes words */
};

/* The parsers every program needs. The field's type is in the comment. Number bounds are the row's least and greatest. */
option_parse options_parse_flag;     /* bool: present = true; the environment accepts true/false/1/0 */
option_parse options_parse_text;     /* const char *: borrowed from argv or the environment */
option_parse options_parse_texts;    /* struct option_texts; adds to what the same origin gave before */
option_parse options_parse_number;   /* int64_t */
option_parse options_parse_port;     /* uint16_t, 1–65535 */
option_parse options_parse_duration; /* int64_t ms, DURATION_GO, from least (0) to greatest, if that is not 0 */
option_parse options_parse_ports;    /* struct ports; adds to what the same origin gave before */
option_parse options_parse_size;     /* int64_t bytes: 4096, 64KiB, 16MiB */

void options_texts_free(struct option_texts *texts);

/* Fills `out`, which is all zero before: defaults, then environment, then command line, later wins. *command is the chosen
 * command's index, 0 when none is given. Both "--name value" and "--name=value". -h and --help are not errors: *command is then
 * OPTIONS_HELP; likewise --version and OPTIONS_VERSION; so are the first words "help" and "version".
 * 0, or -EINVAL with one sentence in `error`: the option as given, the value, what is accepted. Unknown options name the closest
 * known one. An option of another command is an error; its environment variable is not read then. Empty environment variables
 * count as unset. Nothing may be used of `out` after an error but to free it. */
enum { OPTIONS_HELP = -1, OPTIONS_VERSION = -2 };
int options_parse(const struct options *options, int argc, char **argv, char **environment, void *out, int *command,
                  struct text *error);

/* Whether a variable's value is what Kubernetes makes of a Service, as tcp://10.96.7.7:80. It counts as unset. In
 * lib/options_environment.c, like the next. */
bool options_environment_is_link(const char *value);

/* The names of lapse-init's and of lapse-proxy's options, these without those of timeouts.def; NULL ends them. In lib/options_names.c. */
extern const char *const options_names_init[], *const options_names_proxy[];

/* Variables LAPSE_… that are none of these options and none of `others` or timeouts.def, each with the closest one, into `unknown`; and those that Kubernetes made for a
 * Service called lapse-…, which are not read, into `services`. */
void options_environment_look(const struct options *options, char **environment, struct text *unknown, struct text *services);

/* What --help prints; the OPTIONS and ENVIRONMENT sections of the man page (roff). In lib/options_print.c. */
void options_print_help(const struct options *options, FILE *to);
void options_print_man(const struct options *options, FILE *to);

/* "explain, check-config": the commands of a row's mask. */
void options_list_commands(const struct options *options, unsigned commands, struct text *out);

/* "idle-timeout" -> "LAPSE_IDLE_TIMEOUT" */
#define OPTIONS_ENVIRONMENT_SIZE 64
void options_environment_name(const char *name, char out[static OPTIONS_ENVIRONMENT_SIZE]);

#endif
