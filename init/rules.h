#ifndef LAPSE_INIT_RULES_H
#define LAPSE_INIT_RULES_H

struct batch;
struct plan;

/* The door to libnftnl on the way in: plans become messages. On the way out it is image.h. */

/* Adds what installs the plan in place of any table before it; and what leaves no table. 0 or -ENOMEM. */
int rules_add_install(struct batch *batch, const struct plan *plan);
int rules_add_remove(struct batch *batch);

#endif
