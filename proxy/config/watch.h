#ifndef LAPSE_PROXY_CONFIG_WATCH_H
#define LAPSE_PROXY_CONFIG_WATCH_H

#include "proxy/config/config.h"

struct log;
struct loop;
struct watch;

enum {
	WATCH_QUIET_MS = 100,    /* a burst of changes is one: this long without another */
	WATCH_MOST_MS = 1000,    /* but no longer than this after the first */
	WATCH_WRITER_MS = 10000, /* or than this, while a file is open that has been written to: it would be read in part */
};

/* Calls changed(owner) from the loop after files under these paths have changed: written, replaced, removed, added, or swapped by
 * the ..data symlink of a Kubernetes volume; a file that is written in place, when its writer closes it. Until then other changes
 * wait, too. Paths that do not exist, whole or in part, are waited for. Create it before config_load(), then no change falls in
 * between. paths and log are borrowed.
 * changed() may free the watch. 0 or -errno, which is logged (the limit of inotify instances or watches: with its sysctl). */
int watch_new(struct watch **out, struct loop *loop, struct log *log, const struct config_paths *paths,
              void (*changed)(void *owner), void *owner);
void watch_free(struct watch *watch); /* NULL is fine */

#endif
