#ifndef LAPSE_PROXY_METRICS_SERIES_H
#define LAPSE_PROXY_METRICS_SERIES_H

#include <stddef.h>

/* The routes and Services that have series of their own in the metrics, as numbers: those that come first, for as long as the process
 * runs, so that a series goes on over a reload. One thread. */
enum series_kind { SERIES_ROUTE, SERIES_SERVICE, SERIES_KINDS };

/* Numbers: of what belongs to none; of what came when there were SERIES_MOST already; from there on one a name. */
enum { SERIES_NONE, SERIES_OTHER, SERIES_FIRST, SERIES_MOST = 1024, SERIES_END = SERIES_FIRST + SERIES_MOST };

enum { SERIES_NAME_MOST = 1024 }; /* longer names are SERIES_OTHER */

struct series;
struct series *series_new(void); /* NULL when there is no memory */
void series_free(struct series *series); /* NULL is fine */

/* The number of a name, whose bytes are copied. series NULL, no name, or no memory: SERIES_NONE or SERIES_OTHER. */
unsigned series_number(struct series *series, enum series_kind kind, const char *name);

/* One more than the greatest number given. */
unsigned series_end(const struct series *series, enum series_kind kind);

/* As the value of a label, escaped: "none", "other", "HTTPRoute default/web rule 0". number < series_end(). */
const char *series_label(const struct series *series, enum series_kind kind, unsigned number);

#endif
