#ifndef LAPSE_INIT_SHOW_H
#define LAPSE_INIT_SHOW_H

#include <stdio.h>

#include "init/plan.h"

struct text;

#define SHOW_TEXT_SIZE 512 /* holds any rule, chain head or range */

/* What nft calls the type of a set's elements: "inet_service". */
const char *show_type_name(enum plan_type type);

/* nft's text of one rule ("iifname @skip_interfaces counter accept comment …") and of one range of a set ("10.0.0.0/8", "80-89",
 * "\"eth0\""). */
void show_rule(const struct plan_rule *rule, struct text *text);
void show_range(enum plan_type type, const struct plan_range *range, struct text *text);

/* The whole plan as a script that `nft -f` takes: the same transaction that install sends. */
void show_plan(const struct plan *plan, FILE *to);

#endif
