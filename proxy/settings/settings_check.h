#ifndef LAPSE_PROXY_SETTINGS_SETTINGS_CHECK_H
#define LAPSE_PROXY_SETTINGS_SETTINGS_CHECK_H

#include <stdbool.h>

struct settings;
struct text;

/* Values that are right one by one and contradict each other; listens: the listeners will be opened. 0, or -EINVAL with one sentence
 * in `error`. */
int settings_check(const struct settings *settings, bool listens, struct text *error);

#endif
