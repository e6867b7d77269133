#include "init/half_closed_places.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/conntrack_apply.h"
#include "init/half_closed_flows.h"
#include "init/netlink.h"
#include "lib/text.h"

static struct half_closed_place *half_closed_places_add(struct half_closed_places *places, int fd, uint64_t inode)
{
	struct half_closed_place *place = malloc(sizeof *place), **items;

	if (!place)
		return NULL;
	items = reallocarray(places->items, places->count + 1, sizeof *items);
	if (!items) {
		free(place);
		return NULL;
	}
	*place = (struct half_closed_place){.fd = fd, .inode = inode, .present = true};
	places->items = items;
	items[places->count++] = place;
	return place;
}

/* A descriptor for each namespace. */
static void half_closed_places_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int half_closed_places_open(struct half_closed_places *places, bool all, struct text *error)
{
	struct stat status;
	int code;

	*places = (struct half_closed_places){.home = -1};
	if (!all) {
		uint64_t inode = stat("/proc/self/ns/net", &status) ? 0 : status.st_ino;
		if (half_closed_places_add(places, -1, inode))
			return 0;
		text_string(error, "out of memory");
		return -ENOMEM;
	}
	half_closed_places_raise_limit();
	places->home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	code = places->home < 0 || setns(places->home, CLONE_NEWNET) ? -errno : 0; /* whether we may at all */
	if (code)
		text_printf(error,
		            "cannot enter other network namespaces: %s; --all-namespaces needs CAP_SYS_ADMIN, CAP_SYS_PTRACE and "
		            "CAP_NET_ADMIN, and /proc of the node (hostPID: true)",
		            strerror(-code));
	return code;
}

void half_closed_places_free(struct half_closed_places *places)
{
	while (places->count)
		half_closed_places_drop(places, places->count - 1);
	free(places->items);
	if (places->home >= 0)
		close(places->home);
	*places = (struct half_closed_places){.home = -1};
}

void half_closed_places_drop(struct half_closed_places *places, size_t index)
{
	struct half_closed_place *place = places->items[index];

	half_closed_places_end(place);
	if (place->fd >= 0)
		close(place->fd);
	free(place);
	memmove(&places->items[index], &places->items[index + 1], (--places->count - index) * sizeof *places->items);
}

/* --- looking through /proc --- */

/* The file of a process as text, cut to size. false when it cannot be read. */
static bool half_closed_places_read(int proc, const char *pid, const char *file, char *out, size_t size)
{
	TEXT_ON_STACK(path, 64);
	ssize_t length;
	int fd;

	text_printf(&path, "%s/%s", pid, file);
	fd = openat(proc, path.data, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, out, size - 1);
	if (fd >= 0)
		close(fd);
	out[length > 0 ? length : 0] = '\0';
	return length >= 0;
}

/* Its name and cgroup. What a terminal would obey becomes '?'. */
static void half_closed_places_describe(struct half_closed_place *place, int proc, const char *pid)
{
	char lines[4096], name[HALF_CLOSED_PROCESS_SIZE + 1]; /* and the newline */
	struct text cgroup;

	if (!half_closed_places_read(proc, pid, "comm", name, sizeof name))
		return;
	place->pid = (pid_t)strtol(pid, NULL, 10);
	name[strcspn(name, "\n")] = '\0';
	for (size_t i = 0; i < sizeof place->process; i++)
		place->process[i] = !name[i] || isprint((unsigned char)name[i]) ? name[i] : '?';
	text_init(&cgroup, place->cgroup, sizeof place->cgroup);
	if (half_closed_places_read(proc, pid, "cgroup", lines, sizeof lines))
		half_closed_cgroup(lines, &cgroup);
	if (!half_closed_pod(place->cgroup, place->pod))
		place->pod[0] = '\0';
}

static struct half_closed_place *half_closed_places_find(const struct half_closed_places *places, uint64_t inode)
{
	for (size_t i = 0; i < places->count; i++)
		if (places->items[i]->inode == inode)
			return places->items[i];
	return NULL;
}

/* 0, or -errno when it is not for want of this process that it cannot be. */
static int half_closed_places_found(struct half_closed_places *places, int proc, const char *pid)
{
	struct half_closed_place *place;
	struct stat status;
	TEXT_ON_STACK(path, 64);
	int fd;

	text_printf(&path, "%s/ns/net", pid);
	if (fstatat(proc, path.data, &status, 0)) {
		places->unreadable += errno == EACCES || errno == EPERM;
		return 0;
	}
	place = half_closed_places_find(places, status.st_ino);
	if (place) { /* a sandbox's first process says nothing, and one that is gone neither */
		if (!place->present || !strcmp(place->process, "pause"))
			half_closed_places_describe(place, proc, pid);
		place->present = true;
		return 0;
	}
	fd = openat(proc, path.data, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
	if (fstat(fd, &status) || half_closed_places_find(places, status.st_ino)) { /* another process by now, seen already */
		close(fd);
		return 0;
	}
	place = half_closed_places_add(places, fd, status.st_ino);
	if (!place) {
		close(fd);
		return -ENOMEM;
	}
	half_closed_places_describe(place, proc, pid);
	return 0;
}

int half_closed_places_look(struct half_closed_places *places, struct text *error)
{
	DIR *directory = places->home < 0 ? NULL : opendir("/proc");
	const struct dirent *entry;
	int code = 0;

	if (places->home < 0)
		return 0;
	if (!directory) {
		code = -errno;
		text_printf(error, "cannot look for network namespaces in /proc: %s; it must be mounted", strerror(-code));
		return code;
	}
	places->unreadable = 0;
	for (size_t i = 0; i < places->count; i++)
		places->items[i]->present = false;
	while (!code && (entry = readdir(directory)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			code = half_closed_places_found(places, dirfd(directory), entry->d_name);
	closedir(directory);
	if (code)
		text_printf(error, "cannot hold %zu network namespaces at once: %s; raise the limit of open files", places->count,
		            strerror(-code));
	return code;
}

/* --- going there --- */

int half_closed_places_enter(const struct half_closed_places *places, const struct half_closed_place *place)
{
	return place->fd >= 0 && setns(place->fd, CLONE_NEWNET) ? -errno : 0;
}

int half_closed_places_leave(const struct half_closed_places *places)
{
	return places->home >= 0 && setns(places->home, CLONE_NEWNET) ? -errno : 0;
}

/* Sockets stay in the namespace they were made in. */
static int half_closed_places_sockets(struct half_closed_place *place, bool events)
{
	int status = place->netlink ? 0 : netlink_open(&place->netlink);

	if (!status && events && !place->events) {
		status = netlink_open(&place->events);
		if (!status)
			status = half_closed_flows_listen(place->events);
	}
	if (!status)
		(void)conntrack_apply_read(place->netlink, place->seconds); /* what cannot be read is 0: unknown */
	return status;
}

int half_closed_places_begin(const struct half_closed_places *places, struct half_closed_place *place, bool events)
{
	int status = half_closed_places_enter(places, place), back;

	if (status)
		return status;
	memset(place->seconds, 0, sizeof place->seconds);
	status = half_closed_places_sockets(place, events);
	if (status)
		half_closed_places_end(place);
	back = half_closed_places_leave(places);
	return status ? status : back;
}

void half_closed_places_end(struct half_closed_place *place)
{
	netlink_close(place->netlink);
	netlink_close(place->events);
	place->netlink = place->events = NULL;
}

void half_closed_places_name(const struct half_closed_place *place, struct text *out)
{
	if (place->pid)
		text_printf(out, "%s[%d]", place->process, (int)place->pid);
}
