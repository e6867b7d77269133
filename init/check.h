#ifndef LAPSE_INIT_CHECK_H
#define LAPSE_INIT_CHECK_H

#include <stddef.h>
#include <stdio.h>

struct image;
struct netlink;
struct plan;
struct text;

/* Compares the installed table with the plan and prints the difference to `to`, unless that is NULL. 0 equal; 1 different or
 * absent, then `error` says so; or -errno with one sentence in `error`. */
int check_rules(struct netlink *netlink, const struct plan *plan, FILE *to, struct text *error);

/* The number of differing lines, each printed with what is missing (-) or not wanted (+). `expected` is the image of `plan`. */
size_t check_compare(const struct plan *plan, const struct image *expected, const struct image *found, FILE *to);

#endif
