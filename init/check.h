#ifndef LAPSE_INIT_CHECK_H
#define LAPSE_INIT_CHECK_H

#include <stddef.h>

struct image;
struct netlink;
struct plan;
struct report;
struct text;

/* Compares the installed table with the plan and reports the difference. 0 equal; 1 different or
 * absent, then `error` says so; or -errno with one sentence in `error`. */
int check_rules(struct netlink *netlink, const struct plan *plan, struct report *report, struct text *error);

/* The number of things that differ, each reported as missing (-) or not wanted (+). */
size_t check_compare(const struct image *expected, const struct image *found, struct report *report);

#endif
