#ifndef LAPSE_INIT_HALF_CLOSED_PLACES_H
#define LAPSE_INIT_HALF_CLOSED_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "init/half_closed.h"

struct netlink;
struct text;

#define HALF_CLOSED_PROCESS_SIZE 16  /* TASK_COMM_LEN */
#define HALF_CLOSED_CGROUP_SIZE 512

/* A network namespace, and who lives there: read before it is entered. */
struct half_closed_place {
	uint64_t inode; /* 0 = not known */
	int fd;         /* of the namespace, -1 = the one this process is in */
	pid_t pid;      /* one of its processes, 0 = none was looked for */
	char process[HALF_CLOSED_PROCESS_SIZE]; /* its name, printable; "" as pid 0 */
	char cgroup[HALF_CLOSED_CGROUP_SIZE];   /* its path, printable; "" = not known */
	char pod[HALF_CLOSED_POD_SIZE];         /* the pod's uid, "" = no pod's */
	struct netlink *netlink, *events;       /* NULL = not open */
	uint32_t seconds[CONNTRACK_STATE_COUNT];
	bool present;   /* some process was in it when last looked */
	/* --watch's: */
	unsigned scans;
	int64_t due;    /* of the next scan, monotonic ms; 0 at first */
	bool failed;    /* it could not be read, which has been said */
	bool lost;      /* events, since the last scan */
};

struct half_closed_places {
	struct half_closed_place **items; /* owned, each */
	size_t count;
	int home;           /* a descriptor of this process's own namespace, -1 = one never leaves it */
	size_t unreadable;  /* processes whose namespace we were not let see when last looked */
};

/* One place, the namespace this process is in; or, `all`, none yet: half_closed_places_look() finds them. The caller always calls
 * half_closed_places_free(). 0 or -errno with one sentence: -EPERM for `all` without CAP_SYS_ADMIN. */
int half_closed_places_open(struct half_closed_places *places, bool all, struct text *error);
void half_closed_places_free(struct half_closed_places *places);

/* Looks through /proc: new places come to the end of the list, `present` is set anew in all. 0 or -errno with one sentence. Does
 * nothing without `all`. */
int half_closed_places_look(struct half_closed_places *places, struct text *error);

/* Goes there, back, and takes a place off the list and frees it. 0 or -errno. */
int half_closed_places_enter(const struct half_closed_places *places, const struct half_closed_place *place);
int half_closed_places_leave(const struct half_closed_places *places);
void half_closed_places_drop(struct half_closed_places *places, size_t index);

/* Opens the place's sockets, `events` too when asked for, and reads its lifetimes; closes them. Enters and leaves. 0 or -errno. */
int half_closed_places_begin(const struct half_closed_places *places, struct half_closed_place *place, bool events);
void half_closed_places_end(struct half_closed_place *place);

/* "nginx[4711]", "" for the one place. */
void half_closed_places_name(const struct half_closed_place *place, struct text *out);

#endif
