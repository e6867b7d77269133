#ifndef LAPSE_PROXY_EXPLAIN_CHECK_CONFIG_H
#define LAPSE_PROXY_EXPLAIN_CHECK_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

struct config;
struct settings;

/* The exit status when the configuration has errors (EX_DATAERR), and when none is named (EX_USAGE). */
enum { CHECK_CONFIG_REFUSED = 65, CHECK_CONFIG_NOTHING = 64 };

/* What the settings name, read. 0, then one reference is the caller's; -ENOMEM. */
int check_config_load(const struct settings *settings, struct config **out);

/* The command: every diagnostic to `errors`, what was read to `out`, one line or with --json one object. Returns the exit status:
 * 0, one of the above, or 1 when there is no memory. */
int check_config_run(const struct settings *settings, FILE *out, FILE *errors);

#endif
