#ifndef LAPSE_INIT_STATUS_H
#define LAPSE_INIT_STATUS_H

#include <stdbool.h>
#include <stdio.h>

struct netlink;
struct text;

/* Prints the installed rules with their counters, and conntrack's timeouts, table use and losses. 0, or -errno with one sentence
 * in `error`. No table is no error: that is printed too. As text, or one JSON object. */
int status_print(struct netlink *netlink, bool as_json, FILE *to, struct text *error);

#endif
