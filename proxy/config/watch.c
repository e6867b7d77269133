#include "proxy/config/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/wheel.h"

/* Every path is walked as the kernel walks it, symbolic links included, and each directory on the way is watched for the one name
 * that was looked up in it. So whatever replaces, removes or makes any part of the path is seen, and little else. */
enum {
	PLACES_MOST = 1024, /* watched directories and files */
	NAMES_MOST = 64,    /* of one directory; with more, all its names count */
	LINKS_MOST = 40,    /* as the kernel */
	RETRY_MS = WATCH_QUIET_MS, /* until a writer is asked after again */
	MASK_WAY = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF,
	/* IN_MODIFY is no change yet: a writer's close tells when a file is whole. */
	MASK_FILE = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB,
	MASK_WHOLE = IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO,
};

struct watch_name {
	struct watch_name *next;
	const char *name;
};

/* One inode that is watched: a directory, or a file for itself. */
struct watch_place {
	struct watch_place *next;
	const char *path;
	struct watch_name *names; /* that matter in it */
	struct watch_name *open;  /* of those that matter, written to and not closed since; "" is the file itself */
	size_t name_count;
	int wd;
	bool documents; /* those that config_reads() matter, too */
	bool any;       /* every name matters */
};

struct watch_map {
	struct arena arena;
	struct watch_place *places;
	size_t count;
};

struct watch {
	struct loop *loop;
	struct log *log;
	const struct config_paths *paths;
	void (*changed)(void *owner);
	void *owner;
	struct loop_source source; /* inotify */
	struct wheel_timer timer;
	struct loop_deferred deferred;
	int64_t first; /* change since the last call, while the timer is armed */
	struct watch_map map;
	bool told; /* that something cannot be watched */
};

#define watch_of(pointer, member) ((struct watch *)(void *)((char *)(pointer) - offsetof(struct watch, member)))

/* A walk along one path: `at` is a directory without links in it, `rest` what is still to be looked up there. */
struct watch_walk {
	struct watch *watch;
	struct watch_map *map; /* gathered so far */
	char at[PATH_MAX], rest[PATH_MAX];
	int links;
	bool file; /* it led to something that is no directory */
};

/* --- places and names --- */

static struct watch_place *watch_find(const struct watch_map *map, int wd)
{
	struct watch_place *place = map->places;

	while (place && place->wd != wd)
		place = place->next;
	return place;
}

static void watch_tell(struct watch *watch, const char *path, const char *why)
{
	if (!watch->told)
		log_message(watch->log, LOG_WARN, "changes of %s may go unseen until a SIGHUP: %s", path, why);
	watch->told = true;
}

/* *out is NULL when it cannot be watched. -ENOSPC: the kernel grants no more; -ENOMEM. */
static int watch_add(struct watch_walk *walk, const char *path, uint32_t mask, struct watch_place **out)
{
	struct watch *watch = walk->watch;
	int wd = inotify_add_watch(watch->source.fd, path, mask | IN_MASK_ADD);
	struct watch_place *place;

	*out = NULL;
	if (wd < 0 && (errno == ENOSPC || errno == ENOMEM))
		return -errno;
	if (wd < 0) {
		/* What is gone meanwhile, the directory it was in tells; a file, its directory. */
		if (errno == EACCES && (mask & IN_ONLYDIR) && (mask & MASK_FILE))
			watch_tell(watch, path, strerror(errno));
		return 0;
	}
	place = watch_find(walk->map, wd);
	if (!place && walk->map->count == PLACES_MOST) {
		if (!watch_find(&watch->map, wd))
			inotify_rm_watch(watch->source.fd, wd);
		watch_tell(watch, path, "the configuration is in too many directories");
		return 0;
	}
	if (!place) {
		place = arena_alloc(&walk->map->arena, sizeof *place);
		if (!place || !(place->path = arena_text(&walk->map->arena, path, strlen(path))))
			return -ENOMEM;
		place->wd = wd;
		place->next = walk->map->places;
		walk->map->places = place;
		walk->map->count++;
	}
	*out = place;
	return 0;
}

static bool watch_has(const struct watch_name *names, const char *name)
{
	while (names && strcmp(names->name, name) != 0)
		names = names->next;
	return names;
}

static bool watch_matters(const struct watch_place *place, const char *name)
{
	return place->any || (place->documents && config_reads(name)) || watch_has(place->names, name);
}

static int watch_put_name(struct watch_map *map, struct watch_name **names, const char *name)
{
	struct watch_name *added = arena_alloc(&map->arena, sizeof *added);

	if (!added || !(added->name = arena_text(&map->arena, name, strlen(name))))
		return -ENOMEM;
	added->next = *names;
	*names = added;
	return 0;
}

static int watch_add_name(struct watch_map *map, struct watch_place *place, const char *name)
{
	if (watch_matters(place, name))
		return 0;
	if (place->name_count == NAMES_MOST) {
		place->any = true;
		return 0;
	}
	place->name_count++;
	return watch_put_name(map, &place->names, name);
}

/* --- walking --- */

/* Appends to a path that has room. -ENAMETOOLONG. */
static int watch_join(char path[static PATH_MAX], const char *name)
{
	size_t length = strlen(path), more = strlen(name);
	bool slash = length && path[length - 1] != '/' && more;

	if (length + slash + more >= PATH_MAX)
		return -ENAMETOOLONG;
	if (slash)
		path[length++] = '/';
	memcpy(path + length, name, more + 1);
	return 0;
}

/* Takes the first component off the rest; false when there is none. */
static bool watch_next(struct watch_walk *walk, char name[static NAME_MAX + 1], int *error)
{
	const char *start = walk->rest + strspn(walk->rest, "/");
	size_t length = strcspn(start, "/");

	*error = length > NAME_MAX ? -ENAMETOOLONG : 0;
	if (!length || *error)
		return false;
	memcpy(name, start, length);
	name[length] = '\0';
	start += length;
	start += strspn(start, "/");
	memmove(walk->rest, start, strlen(start) + 1);
	return true;
}

/* The link's text takes the place of its name. */
static int watch_follow(struct watch_walk *walk, const char *link)
{
	char target[PATH_MAX];
	ssize_t length = readlink(link, target, sizeof target - 1);
	int result;

	if (length < 0)
		return -errno;
	if (++walk->links > LINKS_MOST)
		return -ELOOP;
	target[length] = '\0';
	result = watch_join(target, walk->rest);
	if (result)
		return result;
	if (*target == '/')
		strcpy(walk->at, "/");
	strcpy(walk->rest, target);
	return 0;
}

/* One component. What is wrong with a path ends its walk, and is no error of ours: up to there it is watched. */
static int watch_step(struct watch_walk *walk, const char *name)
{
	struct watch_place *place;
	struct stat status;
	char full[PATH_MAX];
	int result;

	strcpy(full, walk->at);
	result = watch_join(full, name);
	if (!result && strcmp(name, "..") != 0) {
		/* First watched, then looked at: no change falls in between. */
		result = watch_add(walk, walk->at, MASK_WAY | (*walk->rest ? 0 : MASK_FILE) | IN_ONLYDIR, &place);
		if (!result && place)
			result = watch_add_name(walk->map, place, name);
	}
	if (result)
		return result;
	if (lstat(full, &status))
		return -errno;
	if (S_ISLNK(status.st_mode))
		return watch_follow(walk, full);
	walk->file = !S_ISDIR(status.st_mode);
	if (walk->file && *walk->rest)
		return -ENOTDIR;
	strcpy(walk->at, full);
	return 0;
}

/* From `at` along `rest`. 0 when it leads somewhere, then `at` is it; -ENOMEM, -ENOSPC, or why not. */
static int watch_walk(struct watch_walk *walk)
{
	char name[NAME_MAX + 1];
	int result = 0;

	walk->links = 0;
	walk->file = false;
	while (!result && watch_next(walk, name, &result))
		if (strcmp(name, ".") != 0)
			result = watch_step(walk, name);
	return result;
}

static bool watch_is_fatal(int result)
{
	return result == -ENOMEM || result == -ENOSPC;
}

/* A file for itself: what is mounted there is written elsewhere, under a name of another directory. */
static int watch_add_file(struct watch_walk *walk, const char *path)
{
	struct watch_place *place;

	return watch_add(walk, path, MASK_FILE | IN_DONT_FOLLOW, &place);
}

static bool watch_is_link(int directory, const struct dirent *entry)
{
	struct stat status;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_LNK;
	return !fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) && S_ISLNK(status.st_mode);
}

static bool watch_is_mounted(int directory, const char *name)
{
	struct statx status;

	return !statx(directory, name, AT_SYMLINK_NOFOLLOW, 0, &status) && (status.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* A document of a directory: nothing to do for a plain file, which the directory itself tells of. */
static int watch_entry(struct watch_walk *walk, const char *directory, int fd, const struct dirent *entry)
{
	int result;

	if (!watch_is_link(fd, entry) && !watch_is_mounted(fd, entry->d_name))
		return 0;
	strcpy(walk->at, directory);
	strcpy(walk->rest, entry->d_name);
	result = watch_walk(walk);
	if (!result && walk->file && watch_is_mounted(AT_FDCWD, walk->at))
		result = watch_add_file(walk, walk->at);
	return watch_is_fatal(result) ? result : 0;
}

/* walk->at is a --config directory. */
static int watch_directory(struct watch_walk *walk)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	struct watch_place *place;
	DIR *directory;
	int result = watch_add(walk, walk->at, MASK_WAY | MASK_FILE | IN_ONLYDIR, &place);

	if (result)
		return result;
	if (place)
		place->documents = true;
	strcpy(path, walk->at);
	directory = opendir(path);
	if (!directory)
		return 0;
	for (size_t left = CONFIG_FILES_MOST; !result && left && (entry = readdir(directory));) {
		if (!config_reads(entry->d_name))
			continue;
		result = watch_entry(walk, path, dirfd(directory), entry);
		left--;
	}
	closedir(directory);
	return result;
}

static int watch_path(struct watch_walk *walk, const char *path, const char *name)
{
	int result;

	strcpy(walk->at, *path == '/' ? "/" : ".");
	*walk->rest = '\0';
	result = watch_join(walk->rest, path);
	if (!result)
		result = watch_join(walk->rest, name);
	if (!result)
		result = watch_walk(walk);
	if (!result)
		result = walk->file ? watch_add_file(walk, walk->at) : watch_directory(walk);
	return watch_is_fatal(result) ? result : 0;
}

/* --- all of it --- */

/* Takes out of the kernel what `map` has and `kept` has not, and frees `map`. */
static void watch_drop(struct watch *watch, struct watch_map *map, const struct watch_map *kept)
{
	for (const struct watch_place *place = map->places; place; place = place->next)
		if (!watch_find(kept, place->wd))
			inotify_rm_watch(watch->source.fd, place->wd); /* fails when the inode is gone: so is the watch */
	arena_free(&map->arena);
}

/* Watches what the paths lead to now; when that fails, what they led to before. */
static int watch_refresh(struct watch *watch)
{
	struct watch_walk *walk = malloc(sizeof *walk);
	struct watch_map map = {0};
	int result = 0;

	if (!walk)
		return -ENOMEM;
	walk->watch = watch;
	walk->map = &map;
	for (size_t i = 0; i < watch->paths->count && !result; i++)
		result = watch_path(walk, watch->paths->files[i], "");
	if (!result && watch->paths->pod_info)
		result = watch_path(walk, watch->paths->pod_info, "annotations");
	if (!result && watch->paths->pod_info)
		result = watch_path(walk, watch->paths->pod_info, "labels");
	free(walk);
	if (result) {
		watch_drop(watch, &map, &watch->map);
	} else {
		watch_drop(watch, &watch->map, &map);
		watch->map = map;
	}
	return result;
}

static void watch_log_failure(struct watch *watch, int error)
{
	log_message(watch->log, LOG_ERROR, "watching the configuration for changes failed: %s%s", strerror(-error),
	            error == -ENOSPC    ? "; sysctl fs.inotify.max_user_watches raises the limit"
	            : error == -EMFILE ? "; sysctl fs.inotify.max_user_instances or the limit of open files (ulimit -n) raises it"
	                               : "");
}

/* --- events --- */

/* A file made just now is empty; its writer's close will tell. */
static bool watch_is_unwritten(const struct watch_place *place, const char *name)
{
	char path[PATH_MAX];
	struct stat status;

	strcpy(path, place->path);
	return !watch_join(path, name) && !lstat(path, &status) && S_ISREG(status.st_mode) && !status.st_size;
}

/* Its writer has written some of it, or all: known with its close. */
static void watch_opened(struct watch *watch, struct watch_place *place, const char *name)
{
	if (!watch_has(place->open, name))
		watch_put_name(&watch->map, &place->open, name); /* without memory it is not waited for */
}

static void watch_closed(struct watch_place *place, const char *name)
{
	for (struct watch_name **at = &place->open; *at; at = &(*at)->next)
		if (strcmp((*at)->name, name) == 0) {
			*at = (*at)->next;
			return;
		}
}

static bool watch_is_change(struct watch *watch, const struct inotify_event *event)
{
	const char *name = event->len ? event->name : ""; /* "": the inode itself: written, gone, moved, its rights */
	struct watch_place *place;

	if (event->mask & IN_Q_OVERFLOW) {
		for (place = watch->map.places; place; place = place->next)
			place->open = NULL; /* their closes may be lost */
		return true;
	}
	place = watch_find(&watch->map, event->wd);
	if (!place || (event->len && !watch_matters(place, name)))
		return false;
	if (event->mask & IN_MODIFY) {
		watch_opened(watch, place, name);
		return false;
	}
	if (event->mask & IN_IGNORED)
		place->open = NULL;
	if (event->mask & MASK_WHOLE)
		watch_closed(place, name);
	return !((event->mask & IN_CREATE) && watch_is_unwritten(place, name));
}

static bool watch_is_written(const struct watch *watch)
{
	const struct watch_place *place = watch->map.places;

	while (place && !place->open)
		place = place->next;
	return place;
}

static void watch_note(struct watch *watch)
{
	int64_t now = loop_now(watch->loop), due = now + WATCH_QUIET_MS;

	if (!wheel_armed(&watch->timer))
		watch->first = now;
	if (due > watch->first + WATCH_MOST_MS)
		due = watch->first + WATCH_MOST_MS;
	wheel_arm(loop_wheel(watch->loop), &watch->timer, due);
}

/* One read a round: the loop comes again while there is more. */
static void watch_ready(struct loop_source *source, uint32_t events)
{
	struct watch *watch = watch_of(source, source);
	_Alignas(struct inotify_event) char bytes[16384];
	ssize_t length = read(source->fd, bytes, sizeof bytes);
	bool change = false;

	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);

		change |= watch_is_change(watch, event);
		at += (ssize_t)(sizeof *event + event->len);
	}
	if (change)
		watch_note(watch);
}

static void watch_fire(struct wheel_timer *timer)
{
	struct watch *watch = watch_of(timer, timer);
	int64_t now = loop_now(watch->loop);
	int result;

	if (watch_is_written(watch) && now < watch->first + WATCH_WRITER_MS) {
		wheel_arm(loop_wheel(watch->loop), timer, now + RETRY_MS);
		return;
	}
	result = watch_refresh(watch);
	if (result)
		watch_log_failure(watch, result);
	watch->changed(watch->owner);
}

/* --- life --- */

static void watch_swept(struct loop_deferred *deferred)
{
	free(watch_of(deferred, deferred));
}

int watch_new(struct watch **out, struct loop *loop, struct log *log, const struct config_paths *paths,
              void (*changed)(void *owner), void *owner)
{
	struct watch *watch = calloc(1, sizeof *watch);
	int result;

	if (!watch)
		return -ENOMEM;
	*watch = (struct watch){.loop = loop, .log = log, .paths = paths, .changed = changed, .owner = owner};
	watch->source = (struct loop_source){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .ready = watch_ready};
	watch->timer.fire = watch_fire;
	result = watch->source.fd < 0 ? -errno : watch_refresh(watch);
	if (!result)
		result = loop_watch(loop, &watch->source, EPOLLIN);
	if (result) {
		watch_log_failure(watch, result);
		watch_free(watch);
	} else {
		*out = watch;
	}
	return result;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	wheel_cancel(loop_wheel(watch->loop), &watch->timer);
	loop_close(watch->loop, &watch->source);
	arena_free(&watch->map.arena);
	watch->deferred.run = watch_swept;
	loop_defer(watch->loop, &watch->deferred);
}
