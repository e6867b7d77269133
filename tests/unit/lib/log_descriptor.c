/* What the log writes to: full, closed, shared, growing. */
#include "lib/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void broken_descriptor_counts(void **state)
{
	struct log *log;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(log_new(&log, fd, LOG_TEXT, LOG_INFO, 8192), 0);
	for (int i = 0; i < 3; i++)
		log_message(log, LOG_INFO, "lost");
	assert_false(log_failing(log));
	assert_false(log_flush(log));
	assert_int_equal(log_dropped(log), 3);
	assert_true(log_failing(log));
	log_free(log);
	close(fd);
}

/* The most that a file may hold ends within a line, as a disk may. */
static void full_disk_tears_one_line(void **state)
{
	char path[] = "/tmp/lapse-log-XXXXXX", content[8192] = "", *torn;
	struct rlimit before, small;
	struct log *log;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){100, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(log_new(&log, fd, LOG_TEXT, LOG_INFO, 8192), 0);
	for (int i = 0; i < 5; i++) /* of 54 bytes each */
		log_message(log, LOG_INFO, "number %d", i);
	assert_false(log_flush(log));
	assert_true(log_failing(log));
	assert_int_equal(log_dropped(log), 4);
	log_message(log, LOG_INFO, "still full");
	assert_false(log_flush(log));
	assert_int_equal(log_dropped(log), 5);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	log_message(log, LOG_INFO, "room again");
	log_message(log, LOG_INFO, "and more");
	assert_false(log_flush(log));
	assert_false(log_failing(log));
	assert_int_equal(log_dropped(log), 5);

	assert_true(pread(fd, content, sizeof content - 1, 0) > 0);
	assert_non_null(strstr(content, "number 0\"\nts="));
	torn = strchr(content, '\n') + 1;
	assert_int_equal(strchr(torn, '\n') - content, 100);
	assert_null(strstr(content, "number 1\"\n"));
	assert_memory_equal(content + 101, "ts=", 3);
	assert_non_null(strstr(content + 101, "room again\"\nts="));
	assert_non_null(strstr(content, "and more\"\n"));
	log_free(log);
	close(fd);
}

static void closed_standard_descriptors_are_filled(void **state)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		close(STDIN_FILENO);
		close(STDOUT_FILENO);
		log_fill_standard();
		_exit(open("/dev/null", O_RDONLY) > STDERR_FILENO && write(STDOUT_FILENO, "x", 1) == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void opens_a_descriptor_of_its_own(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	int own = log_open_fd(fds[1]);
	assert_int_not_equal(own, fds[1]);
	assert_true(fcntl(own, F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	close(own);
	close(fds[0]);
	close(fds[1]);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0); /* cannot be opened again */
	assert_int_equal(log_open_fd(fds[1]), fds[1]);
	assert_true(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
}

static void file_keeps_what_it_holds(void **state)
{
	char path[] = "/tmp/lapse-log-XXXXXX", content[64] = "";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "before ", 7), 7);
	int own = log_open_fd(fd);
	assert_int_equal(write(own, "ours ", 5), 5);
	assert_int_equal(write(fd, "after", 5), 5);
	assert_int_equal(pread(fd, content, sizeof content, 0), 17);
	assert_string_equal(content, "before ours after");
	unlink(path);
	if (own != fd)
		close(own);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(broken_descriptor_counts),
		cmocka_unit_test(full_disk_tears_one_line),
		cmocka_unit_test(closed_standard_descriptors_are_filled),
		cmocka_unit_test(opens_a_descriptor_of_its_own),
		cmocka_unit_test(file_keeps_what_it_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
