#ifndef LAPSE_INIT_HALF_CLOSED_LIST_H
#define LAPSE_INIT_HALF_CLOSED_LIST_H

#include <stddef.h>

struct half_closed_place;
struct half_closed_places;
struct init_options;
struct log;
struct text;

/* Prints the half-closed flows: a table, the soonest forgotten first, and a summary; with --json a line each as they are read.
 * *found: how many. 0, or -errno with one sentence in `error`: nothing could be read, or none was found where some could not. */
int half_closed_list(const struct init_options *options, struct log *log, size_t *found, struct text *error);

/* "nginx[4711]: cannot read conntrack's flows: …" of a place that failed with `status`. */
void half_closed_list_explain(const struct half_closed_place *place, int status, struct text *error);
/* One warning for all processes that we were not let look at. */
void half_closed_list_warn_unreadable(const struct half_closed_places *places, struct log *log);

#endif
