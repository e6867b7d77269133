#ifndef LAPSE_PROXY_EXPLAIN_EXPLAIN_H
#define LAPSE_PROXY_EXPLAIN_EXPLAIN_H

#include <stdio.h>

struct settings;

/* The exit status when --to, the request or a header field is not accepted (EX_USAGE). */
enum { EXPLAIN_BAD_REQUEST = 64 };

/* The command: what would apply to a request, or to an opaque connection where none is given. Nothing is dialled, and no name is
 * resolved. Returns the exit status: 0, EXPLAIN_BAD_REQUEST, 65 when the configuration has errors, 1 when there is no memory. */
int explain_run(const struct settings *settings, FILE *out, FILE *errors);

#endif
