#ifndef LAPSE_PROXY_INJECT_INJECT_OPTIONS_H
#define LAPSE_PROXY_INJECT_INJECT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/options.h"

struct arena;
struct inject_description;
struct inject_flag;
struct text;

/* What was given for one flag of the containers. */
struct inject_given {
	const struct inject_flag *flag;
	struct option_texts values; /* as they were written; empty = not given */
};

/* The command line of `lapse-proxy inject`. */
struct inject_settings {
	bool remove, ordinary;
	const char *image, *pull_policy, *config_map; /* the last two NULL = none */
	const char *cpu_request, *cpu_limit, *memory_request, *memory_limit; /* of lapse-proxy, NULL = the description's */
	int64_t uid;
	uint16_t admin_port;
	struct option_texts files; /* "-" = standard input; none = that */
	struct inject_given *given; /* one for each flag of the description, in its order */
};

/* Reads argv, whose second word is "inject". *command is 0, OPTIONS_HELP or OPTIONS_VERSION. 0, -ENOMEM, or -EINVAL with one
 * sentence in error. */
int inject_options_parse(struct arena *arena, const struct inject_description *description, int argc, char **argv,
                         char **environment, struct inject_settings *out, int *command, struct text *error);
/* "ports and ranges …": what is accepted as the value of a flag. */
const char *inject_options_accepted(const struct inject_flag *flag);

void inject_options_free(const struct inject_description *description, struct inject_settings *settings);

/* --help, and the section of the man page (roff). 0 or -ENOMEM. */
int inject_options_print(struct arena *arena, const struct inject_description *description, bool man, FILE *to);

#endif
