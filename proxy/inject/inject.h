#ifndef LAPSE_PROXY_INJECT_INJECT_H
#define LAPSE_PROXY_INJECT_INJECT_H

#include <stdio.h>

/* The exit status when nothing is written because an object is refused or the input is no YAML. */
enum { INJECT_REFUSED = 65 };

/* The command: argv's second word is "inject". Reads files or `in`, writes all of the result to `out`, or nothing. Returns the exit
 * status: 0, 64 for its options, INJECT_REFUSED, 1 when a file cannot be read, `out` cannot be written or there is no memory. */
int inject_run(int argc, char **argv, char **environment, FILE *in, FILE *out, FILE *errors);

/* Its section of the manual (roff). */
void inject_print_man(FILE *to);

#endif
