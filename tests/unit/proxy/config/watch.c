#include "proxy/config/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/loop.h"

enum {
	SEEN_MS = 3000,                   /* a change that is not reported by then is lost */
	UNSEEN_MS = WATCH_QUIET_MS + 100, /* a change that is not reported by then was none */
};

/* A directory of its own, which is the working directory, and a loop with a watch in a thread of its own. */
struct world {
	char directory[64];
	const char *files[2];
	struct config_paths paths;
	struct loop *loop;
	struct log *log;
	int log_pipe[2];
	struct watch *watch;
	pthread_t thread;
	_Atomic bool ending, free_early, blocked;
	_Atomic unsigned calls;
	unsigned seen;
};

static void pause_ms(int ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

static void idle(void *owner)
{
	struct world *world = owner;

	if (atomic_load(&world->ending))
		loop_stop(world->loop);
}

static void changed(void *owner)
{
	struct world *world = owner;

	if (atomic_load(&world->free_early)) {
		watch_free(world->watch);
		world->watch = NULL;
	}
	atomic_fetch_add(&world->calls, 1);
	while (atomic_load(&world->blocked))
		pause_ms(5);
}

static void *run(void *argument)
{
	struct world *world = argument;

	loop_run(world->loop);
	return NULL;
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof *world);

	strcpy(world->directory, "/tmp/lapse-watch-XXXXXX");
	if (!mkdtemp(world->directory) || chdir(world->directory) || pipe2(world->log_pipe, O_NONBLOCK | O_CLOEXEC))
		return -1;
	*state = world;
	return log_new(&world->log, world->log_pipe[1], LOG_TEXT, LOG_INFO, 0) || loop_new(&world->loop, idle, world);
}

static int teardown(void **state)
{
	struct world *world = *state;
	char command[128];

	if (world->thread) {
		atomic_store(&world->ending, true);
		loop_wake(world->loop);
		pthread_join(world->thread, NULL);
	}
	watch_free(world->watch);
	loop_free(world->loop);
	log_free(world->log);
	close(world->log_pipe[0]);
	close(world->log_pipe[1]);
	snprintf(command, sizeof command, "rm -rf %s", world->directory);
	int result = chdir("/") || system(command);
	free(world);
	return result;
}

static void start(struct world *world, const char *path, const char *pod_info)
{
	world->files[0] = path;
	world->paths = (struct config_paths){.files = world->files, .count = path != NULL, .pod_info = pod_info};
	assert_int_equal(watch_new(&world->watch, world->loop, world->log, &world->paths, changed, world), 0);
	assert_int_equal(pthread_create(&world->thread, NULL, run, world), 0);
}

static void expect_change(struct world *world, const char *what)
{
	for (int waited = 0; atomic_load(&world->calls) == world->seen; waited += 5) {
		if (waited > SEEN_MS)
			fail_msg("%s: not seen", what);
		pause_ms(5);
	}
	world->seen = atomic_load(&world->calls);
}

static void expect_none(struct world *world, const char *what)
{
	pause_ms(UNSEEN_MS);
	if (atomic_load(&world->calls) != world->seen)
		fail_msg("%s: taken for a change", what);
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* What kubelet does with the volume of a ConfigMap: a new directory, a link to it that replaces ..data, the old one removed. */
static void project(const char *volume, const char *old, const char *new, const char *text)
{
	char path[PATH_MAX], link[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", volume, new);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/%s/a.yaml", volume, new);
	put(path, text);
	snprintf(path, sizeof path, "%s/..data_tmp", volume);
	assert_int_equal(symlink(new, path), 0);
	snprintf(link, sizeof link, "%s/..data", volume);
	assert_int_equal(rename(path, link), 0);
	if (old) {
		snprintf(path, sizeof path, "%s/%s/a.yaml", volume, old);
		assert_int_equal(unlink(path), 0);
		snprintf(path, sizeof path, "%s/%s", volume, old);
		assert_int_equal(rmdir(path), 0);
	} else {
		snprintf(path, sizeof path, "%s/a.yaml", volume);
		assert_int_equal(symlink("..data/a.yaml", path), 0);
	}
}

static void file_is_seen(void **state)
{
	struct world *world = *state;
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/a.yaml", world->directory);
	put("a.yaml", "a: 1\n");
	start(world, path, NULL);
	put("a.yaml", "a: 2\n");
	expect_change(world, "a file written in place");
	put("b.yaml", "a: 3\n");
	rename("b.yaml", "a.yaml");
	expect_change(world, "a file renamed over it");
	put("a.yaml", "a: 4\n");
	expect_change(world, "the new file written in place");
	unlink("a.yaml");
	expect_change(world, "its end");
	put("a.yaml", "a: 5\n");
	expect_change(world, "its return");
	chmod("a.yaml", 0600);
	expect_change(world, "its rights");
}

static void file_is_all_that_counts(void **state)
{
	struct world *world = *state;
	char text[16];

	put("a.yaml", "a: 1\n");
	start(world, "a.yaml", NULL);
	expect_none(world, "nothing");
	put("b.yaml", "a: 1\n");
	put(".a.yaml.swp", "a: 1\n");
	put("a.yaml~", "a: 1\n");
	unlink("a.yaml~");
	mkdir("c", 0755);
	put("c/a.yaml", "a: 1\n");
	FILE *file = fopen("a.yaml", "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof text, file));
	fclose(file);
	expect_none(world, "others, and reading");
}

static void directory_is_seen(void **state)
{
	struct world *world = *state;

	mkdir("d", 0755);
	put("d/a.yaml", "a: 1\n");
	start(world, "d", NULL);
	put("d/b.json", "{}\n");
	expect_change(world, "a new file");
	put("d/b.json", "{ }\n");
	expect_change(world, "a file written");
	put("x", "a: 2\n");
	rename("x", "d/a.yaml");
	expect_change(world, "a file renamed into it");
	rename("d/a.yaml", "a.yaml");
	expect_change(world, "a file renamed out of it");
	assert_int_equal(link("a.yaml", "d/c.yml"), 0);
	expect_change(world, "a file linked into it");
	put("d/.c.yaml.swp", "");
	put("d/README.md", "");
	put("d/4913", "");
	put("d/c.yml~", "");
	mkdir("d/sub", 0755);
	expect_none(world, "names that are not read");
}

static void directory_comes_and_goes(void **state)
{
	struct world *world = *state;

	start(world, "p/q/d", NULL);
	mkdir("p", 0755);
	expect_change(world, "the first directory on the way");
	mkdir("p/q", 0755);
	mkdir("p/q/d", 0755);
	expect_change(world, "the others");
	put("p/q/d/a.yaml", "a: 1\n");
	expect_change(world, "a file in it");
	unlink("p/q/d/a.yaml");
	rmdir("p/q/d");
	mkdir("p/q/d", 0755);
	expect_change(world, "the directory removed and made again");
	put("p/q/d/a.yaml", "a: 2\n");
	expect_change(world, "a file in the new one");
	rename("p", "old");
	expect_change(world, "a directory above it renamed");
	put("old/q/d/a.yaml", "a: 3\n");
	expect_none(world, "what is elsewhere now");
	mkdir("new", 0755);
	mkdir("new/q", 0755);
	mkdir("new/q/d", 0755);
	put("new/q/d/a.yaml", "a: 4\n");
	rename("new", "p");
	expect_change(world, "another one in its place");
	put("p/q/d/a.yaml", "a: 5\n");
	expect_change(world, "a file in that");
}

static void volume_is_seen(void **state)
{
	struct world *world = *state;

	mkdir("d", 0755);
	project("d", NULL, "..1", "a: 1\n");
	start(world, "d", NULL);
	project("d", "..1", "..2", "a: 2\n");
	expect_change(world, "a swap of ..data");
	project("d", "..2", "..3", "a: 3\n");
	expect_change(world, "the next one");
	put("d/..3/a.yaml", "a: 4\n");
	expect_change(world, "a file behind the links");
}

static void volume_file_is_seen(void **state)
{
	struct world *world = *state;

	mkdir("d", 0755);
	project("d", NULL, "..1", "a: 1\n");
	start(world, "d/a.yaml", NULL);
	project("d", "..1", "..2", "a: 2\n");
	expect_change(world, "a swap of ..data");
	project("d", "..2", "..3", "a: 3\n");
	expect_change(world, "the next one");
	put("d/b.yaml", "a: 1\n");
	expect_none(world, "another file");
}

static void pod_info_is_seen(void **state)
{
	struct world *world = *state;

	mkdir("d", 0755);
	put("d/labels", "a=\"b\"\n");
	start(world, NULL, "d");
	put("d/annotations", "a=\"b\"\n");
	expect_change(world, "new annotations");
	put("d/labels", "a=\"c\"\n");
	expect_change(world, "other labels");
	put("d/a.yaml", "a: 1\n");
	expect_none(world, "another file");
}

/* What the kernel watches for this process. */
static int count_watches(void)
{
	char path[64], line[256];
	int count = 0;

	for (int fd = 3; fd < 64; fd++) {
		snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
		FILE *file = fopen(path, "r");
		while (file && fgets(line, sizeof line, file))
			count += strncmp(line, "inotify ", strlen("inotify ")) == 0;
		if (file)
			fclose(file);
	}
	return count;
}

static void links_are_seen(void **state)
{
	struct world *world = *state;
	char two[PATH_MAX];

	snprintf(two, sizeof two, "%s/two", world->directory);
	mkdir("one", 0755);
	mkdir("two", 0755);
	put("one/a.yaml", "a: 1\n");
	put("two/a.yaml", "a: 2\n");
	put("two/real", "a: 3\n");
	assert_int_equal(symlink("one", "d"), 0);
	start(world, "d", NULL);
	assert_int_equal(symlink(two, "x"), 0);
	rename("x", "d");
	expect_change(world, "another directory behind the link");
	put("two/b.yaml", "a: 3\n");
	expect_change(world, "a file in it");
	assert_int_equal(symlink("../two/./real", "two/c.yaml"), 0);
	expect_change(world, "a link in it");
	put("two/real", "a: 4\n");
	expect_change(world, "what that links to");
	put("one/b.yaml", "a: 1\n");
	expect_none(world, "the directory of before");
	int watches = 0;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(symlink(i % 2 ? "two" : "one", "x"), 0);
		rename("x", "d");
		expect_change(world, "there and back");
		if (i == 1)
			watches = count_watches();
	}
	assert_true(watches > 0);
	assert_int_equal(count_watches(), watches);
}

static void bad_links_do_no_harm(void **state)
{
	struct world *world = *state;
	char longest[PATH_MAX];

	mkdir("d", 0755);
	assert_int_equal(symlink("loop.yaml", "d/loop.yaml"), 0);
	assert_int_equal(symlink("nowhere/at/all", "d/dangling.yaml"), 0);
	assert_int_equal(symlink("../d", "d/self.yaml"), 0);
	assert_int_equal(symlink("loop.yaml/x", "d/through.yaml"), 0);
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(symlink(longest, "d/long.yaml"), 0);
	for (size_t i = 1; i < sizeof longest - 1; i += 2)
		longest[i] = '/';
	assert_int_equal(symlink(longest, "d/deep.yaml"), 0);
	start(world, "d", NULL);
	expect_none(world, "the start");
	mkdir("d/nowhere", 0755);
	expect_change(world, "a part of where a link leads");
}

static void many_writes_are_few_calls(void **state)
{
	struct world *world = *state;
	struct timespec from, to;

	mkdir("d", 0755);
	start(world, "d", NULL);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < 1000; i++)
		put(i % 2 ? "d/a.yaml" : "d/b.yaml", "a: 2\n");
	clock_gettime(CLOCK_MONOTONIC, &to);
	expect_change(world, "1,000 writes");
	pause_ms(UNSEEN_MS);
	/* One, or one a second where the machine is slow. */
	assert_true(atomic_load(&world->calls) <= 1 + (unsigned)(to.tv_sec - from.tv_sec) * 2);
}

/* Events that never pause for long are not put off for ever. */
static void endless_writes_are_seen(void **state)
{
	struct world *world = *state;

	put("a.yaml", "a: 1\n");
	start(world, "a.yaml", NULL);
	for (int waited = 0; waited < SEEN_MS && !atomic_load(&world->calls); waited += 20) {
		put("a.yaml", "a: 2\n");
		pause_ms(20);
	}
	assert_int_not_equal(atomic_load(&world->calls), 0);
}

/* What the kernel drops might have been a change. */
static void overflow_is_a_change(void **state)
{
	struct world *world = *state;
	FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
	long most = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%ld", &most), 1);
	fclose(file);
	put("a.yaml", "a: 1\n");
	atomic_store(&world->blocked, true);
	start(world, "a.yaml", NULL);
	put("a.yaml", "a: 2\n");
	expect_change(world, "a file written in place");
	for (long i = 0; i < most; i += 2) {
		put("b", "");
		unlink("b");
	}
	put("a.yaml", "a: 3\n");
	atomic_store(&world->blocked, false);
	expect_change(world, "an overflow");
}

/* Not before its writer closes it: a file that is still being written would be read in part. */
static void open_files_are_waited_for(void **state)
{
	struct world *world = *state;

	mkdir("d", 0755);
	start(world, "d", NULL);
	FILE *file = fopen("d/a.yaml", "w");
	assert_non_null(file);
	pause_ms(20);
	fputs("a: 1\n", file);
	fflush(file);
	expect_none(world, "a file being written");
	fclose(file);
	expect_change(world, "its end");
}

/* Nor is anything else read meanwhile: it would be read along with what is whole. */
static void other_changes_wait_for_a_writer(void **state)
{
	struct world *world = *state;

	mkdir("d", 0755);
	put("d/a.yaml", "a: 1\n");
	start(world, "d", NULL);
	FILE *file = fopen("d/a.yaml", "w");
	assert_non_null(file);
	put("d/b.yaml", "a: 1\n");
	expect_none(world, "a change beside a file that was truncated");
	fputs("a: 2\n", file);
	fflush(file);
	pause_ms(WATCH_MOST_MS);
	expect_none(world, "a change beside a file that is being written");
	fclose(file);
	expect_change(world, "the end of both");
	put("d/b.yaml", "a: 2\n");
	expect_change(world, "a change later");
	/* One that is removed, or replaced, has no part in it any more. */
	for (int replaced = 0; replaced < 2; replaced++) {
		file = fopen("d/a.yaml", "w");
		assert_non_null(file);
		fputs("a: 3\n", file);
		fflush(file);
		if (replaced) {
			put("d/new", "a: 4\n");
			assert_int_equal(rename("d/new", "d/a.yaml"), 0);
		} else {
			assert_int_equal(unlink("d/a.yaml"), 0);
		}
		expect_change(world, "a file in the place of one that is being written");
		fclose(file);
		pause_ms(UNSEEN_MS);
		world->seen = atomic_load(&world->calls);
	}
}

/* A writer that never ends puts off the reading for a while only. */
static void endless_writer_is_not_waited_for(void **state)
{
	struct world *world = *state;

	put("a.yaml", "a: 1\n");
	start(world, "a.yaml", NULL);
	FILE *file = fopen("a.yaml", "w");
	assert_non_null(file);
	assert_int_equal(chmod("a.yaml", 0600), 0);
	pause_ms(WATCH_WRITER_MS - 1000);
	expect_none(world, "a writer that takes its time");
	expect_change(world, "a writer that does not end");
	fclose(file);
}

static void mounted_file_is_seen(void **state)
{
	struct world *world = *state;

	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	mkdir("d", 0755);
	put("source", "a: 1\n");
	put("d/a.yaml", "");
	assert_int_equal(mount("source", "d/a.yaml", NULL, MS_BIND, NULL), 0);
	start(world, "d", NULL);
	put("source", "a: 2\n");
	expect_change(world, "a mounted file of a directory");
	assert_int_equal(umount("d/a.yaml"), 0);
}

static void can_be_freed_when_called(void **state)
{
	struct world *world = *state;

	put("a.yaml", "a: 1\n");
	atomic_store(&world->free_early, true);
	start(world, "a.yaml", NULL);
	put("a.yaml", "a: 2\n");
	expect_change(world, "a file written in place");
	put("a.yaml", "a: 3\n");
	expect_none(world, "what nobody watches");
}

static void failure_names_the_limit(void **state)
{
	struct world *world = *state;
	struct rlimit before, none;
	char said[1024] = "";

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int result = watch_new(&world->watch, world->loop, world->log, &world->paths, changed, world);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(result, -EMFILE);
	assert_null(world->watch);
	assert_true(read(world->log_pipe[0], said, sizeof said - 1) > 0);
	assert_non_null(strstr(said, "fs.inotify.max_user_instances"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(file_is_seen),
		CASE(file_is_all_that_counts),
		CASE(directory_is_seen),
		CASE(directory_comes_and_goes),
		CASE(volume_is_seen),
		CASE(volume_file_is_seen),
		CASE(pod_info_is_seen),
		CASE(links_are_seen),
		CASE(bad_links_do_no_harm),
		CASE(many_writes_are_few_calls),
		CASE(endless_writes_are_seen),
		CASE(overflow_is_a_change),
		CASE(open_files_are_waited_for),
		CASE(other_changes_wait_for_a_writer),
		CASE(endless_writer_is_not_waited_for),
		CASE(mounted_file_is_seen),
		CASE(can_be_freed_when_called),
		CASE(failure_names_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
