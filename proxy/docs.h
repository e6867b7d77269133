#ifndef LAPSE_PROXY_DOCS_H
#define LAPSE_PROXY_DOCS_H

#include <stdio.h>

#include "proxy/settings/settings.h"

/* What --print-docs prints of each of them. */
void docs_print(enum proxy_docs docs, FILE *to);

#endif
