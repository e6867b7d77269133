#ifndef LAPSE_TESTS_PLATFORM_H
#define LAPSE_TESTS_PLATFORM_H

/* What the platform programs share. Each makes network namespaces of its own; they vanish with the process. One process moves
 * between them: a socket stays in the namespace it was made in. Every program prints `ok NAME` or `not ok NAME: why`. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define HELPER static inline __attribute__((unused))

struct platform {
	const char *program;
	int failed;
};

/* `why` is a printf format; NULL says ok. */
__attribute__((format(printf, 3, 4))) HELPER bool verdict(struct platform *p, const char *name, const char *why, ...)
{
	if (!why) {
		printf("ok %s/%s\n", p->program, name);
		return true;
	}
	va_list args;
	va_start(args, why);
	printf("not ok %s/%s: ", p->program, name);
	vprintf(why, args);
	putchar('\n');
	va_end(args);
	p->failed++;
	return false;
}

/* A condition that a case stands on: without it nothing further can be said. */
#define NEED(condition)                                                                                                          \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			printf("not ok setup: %s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));                \
			exit(1);                                                                                                 \
		}                                                                                                                \
	} while (0)

/* The fd of a new network namespace with lo up; the process is in it. */
HELPER int new_netns(void)
{
	NEED(unshare(CLONE_NEWNET) == 0);
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	NEED(fd >= 0);
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	NEED(s >= 0 && ioctl(s, SIOCSIFFLAGS, &lo) == 0);
	close(s);
	return fd;
}

HELPER void enter_netns(int fd)
{
	NEED(setns(fd, CLONE_NEWNET) == 0);
}

HELPER struct platform platform_begin(const char *program, bool needs_root)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (needs_root && geteuid() != 0) {
		printf("not ok %s: needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN)\n", program);
		exit(1);
	}
	signal(SIGPIPE, SIG_IGN);
	alarm(30);
	return (struct platform){.program = program};
}

HELPER int platform_end(const struct platform *p)
{
	return p->failed ? 1 : 0;
}

/* Runs a tool with `input` as its standard input; its exit status, or -1. */
HELPER int run_tool(const char *const argv[], const char *input)
{
	int in[2];
	pid_t pid;
	posix_spawn_file_actions_t actions;
	NEED(pipe2(in, O_CLOEXEC) == 0 && setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1) == 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	int error = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	ssize_t sent = error ? 0 : write(in[1], input, strlen(input));
	close(in[1]);
	int status = 0;
	if (error || sent != (ssize_t)strlen(input) || waitpid(pid, &status, 0) != pid) {
		errno = error ? error : errno;
		return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

HELPER void nft(const char *rules)
{
	const char *const argv[] = {"nft", "-f", "-", NULL};
	NEED(run_tool(argv, rules) == 0);
}

/* Lines of `ip`, without the word ip. */
HELPER void ip(const char *lines)
{
	const char *const argv[] = {"ip", "-batch", "-", NULL};
	NEED(run_tool(argv, lines) == 0);
}

/* Two namespaces joined by a veth: near has 10.9.0.1 and fd09::1, far has 10.9.0.2 and fd09::2. Ends in near. */
HELPER void veth_pair(int *near, int *far)
{
	char line[256];
	*far = new_netns();
	*near = new_netns();
	snprintf(line, sizeof line,
		"link add v0 type veth peer name v1 netns /proc/%d/fd/%d\naddr add 10.9.0.1/24 dev v0\n"
		"addr add fd09::1/64 dev v0 nodad\nlink set v0 up\n",
		(int)getpid(), *far);
	ip(line);
	enter_netns(*far);
	ip("addr add 10.9.0.2/24 dev v1\naddr add fd09::2/64 dev v1 nodad\nlink set v1 up\n");
	enter_netns(*near);
}

HELPER bool put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int kept = errno;
	close(fd);
	errno = kept;
	return done;
}

/* The number in a file, or -1. */
HELPER long get_file(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	return n > 0 ? strtol(text, NULL, 10) : -1;
}

HELPER int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

HELPER void sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

struct address {
	socklen_t length;
	struct sockaddr_storage value;
};

HELPER struct address address_of(const char *host, uint16_t port)
{
	struct address a = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a.value;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a.value;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		a.length = sizeof *v4;
	} else {
		NEED(inet_pton(AF_INET6, host, &v6->sin6_addr) == 1);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		a.length = sizeof *v6;
	}
	return a;
}

/* "10.9.9.9:80", "[fd09::9]:80" */
HELPER void address_text(const void *address, char out[static 64])
{
	char host[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in *v4 = address;
	const struct sockaddr_in6 *v6 = address;
	if (v4->sin_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		snprintf(out, 64, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		snprintf(out, 64, "%s:%u", host, ntohs(v4->sin_port));
	}
}

/* Host "::" listens for both families. */
HELPER int listen_at(const char *host, uint16_t port)
{
	struct address a = address_of(host, port);
	int one = 1, zero = 0, s = socket(a.value.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	NEED(s >= 0 && setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
	if (a.value.ss_family == AF_INET6)
		NEED(setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) == 0);
	NEED(bind(s, (struct sockaddr *)&a.value, a.length) == 0 && listen(s, 16) == 0);
	return s;
}

HELPER int connect_to(const char *host, uint16_t port)
{
	struct address a = address_of(host, port);
	int s = socket(a.value.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	NEED(s >= 0 && connect(s, (struct sockaddr *)&a.value, a.length) == 0);
	return s;
}

HELPER bool readable_within(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, ms) == 1;
}

/* -1 when nobody comes within 3 s. */
HELPER int accept_from(int listener)
{
	return readable_within(listener, 3000) ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
}

/* True when the bytes written at one end come out at the other. */
HELPER bool carries(int from, int to, const char *text)
{
	char got[64] = "";
	size_t n = strlen(text);
	return write(from, text, n) == (ssize_t)n && readable_within(to, 1000) && read(to, got, sizeof got) == (ssize_t)n &&
		memcmp(got, text, n) == 0;
}

#endif
