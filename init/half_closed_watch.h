#ifndef LAPSE_INIT_HALF_CLOSED_WATCH_H
#define LAPSE_INIT_HALF_CLOSED_WATCH_H

struct init_options;
struct log;
struct text;

/* Prints what happens to half-closed flows, as it happens, until SIGINT or SIGTERM. 0, or -errno with one sentence in `error`. */
int half_closed_watch(const struct init_options *options, struct log *log, struct text *error);

#endif
