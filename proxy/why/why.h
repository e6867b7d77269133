#ifndef LAPSE_PROXY_WHY_WHY_H
#define LAPSE_PROXY_WHY_WHY_H

#include <stdio.h>

struct settings;

/* lapse-proxy why: reads a log, from files or standard input, and says what ended and why. */

/* Exit codes: EXIT_SUCCESS; WHY_NO_RECORD where the log holds none; WHY_NO_INPUT where a file cannot be read (the others are read all
 * the same). As sysexits.h has them. */
enum { WHY_USAGE = 64, WHY_NO_RECORD = 65, WHY_NO_INPUT = 66 };

int why_run(const struct settings *settings, FILE *out, FILE *errors);

#endif
