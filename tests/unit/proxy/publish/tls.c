/* A client of `openssl s_server` with certificates made here. */
#include "proxy/publish/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/sock.h"
#include "lib/text.h"

static char directory[] = "/tmp/lapse-unit-XXXXXX";

/* The time by which certificates are judged. */
static time_t ahead;

time_t time(time_t *out)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec + ahead;
	return now.tv_sec + ahead;
}

static int make(void **state)
{
	char command[2048];

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory))
		return -1;
	snprintf(command, sizeof command,
	         "cd %s && exec >log 2>&1 && for n in ca other; do openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=$n -keyout $n.key -out "
	         "$n.pem || exit 1; done && for n in server client; do openssl req -newkey rsa:2048 -nodes -subj /CN=$n -keyout $n.key -out $n.csr && "
	         "printf 'subjectAltName=DNS:api.example,IP:127.0.0.1\\n' > ext && openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key "
	         "-CAcreateserial -days 10 -extfile ext -out $n.pem || exit 1; done", directory);
	return system(command);
}

static int unmake(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", directory);
	return system(command);
}

static char *read_file(const char *name)
{
	static char slots[4][8192];
	static int next;
	char path[128], *out = slots[next++ % 4];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	out[fread(out, 1, sizeof *slots - 1, file)] = '\0';
	fclose(file);
	return out;
}

struct peer {
	pid_t pid;
	struct addr addr;
};

static int dial(const struct peer *peer)
{
	int fd = sock_connect(&peer->addr);
	struct pollfd poll_fd = {fd, POLLOUT, 0};

	assert_true(fd >= 0);
	poll(&poll_fd, 1, 5000);
	if (sock_error(fd) == 0)
		return fd;
	close(fd);
	return -1;
}

/* options: of s_server; NULL: what answers is no TLS at all. */
static struct peer serve(const char *options)
{
	struct peer peer;
	struct addr any;
	char command[1024];

	addr_parse("127.0.0.1:1", &any);
	any.port = 0;
	int listener = sock_listen(&any, 1, false), fd;
	assert_int_equal(sock_local(listener, &peer.addr), 0);
	close(listener);
	if (options)
		snprintf(command, sizeof command, "cd %s && exec openssl s_server -quiet -accept 127.0.0.1:%u -cert server.pem -key server.key -rev %s "
		         "</dev/null >>log 2>&1", directory, peer.addr.port, options);
	else
		snprintf(command, sizeof command, "exec /usr/bin/python3 -c \"import socket;l=socket.create_server(('127.0.0.1',%u));\n"
		         "while 1: c=l.accept()[0]; c.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'); c.recv(9999); c.close()\"", peer.addr.port);
	peer.pid = fork();
	if (peer.pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	for (int i = 0; (fd = dial(&peer)) < 0; i++) {
		assert_true(i < 500);
		usleep(20000);
	}
	close(fd);
	return peer;
}

static void stop(struct peer *peer)
{
	kill(peer->pid, SIGKILL);
	waitpid(peer->pid, NULL, 0);
}

static void wait_for(int fd, const struct tls *tls)
{
	struct pollfd poll_fd = {fd, tls_wants_write(tls) ? POLLOUT : POLLIN, 0};

	assert_int_equal(poll(&poll_fd, 1, 10000), 1);
}

/* A handshake, a line there and back. "" when all went well, else the sentence. */
static void talk(const struct peer *peer, const struct tls_context *context, const char *name, struct text *error)
{
	struct tls *tls;
	int fd = dial(peer), result;
	ssize_t count;
	char answer[64] = "";

	assert_true(fd >= 0);
	assert_int_equal(tls_new(&tls, context, fd, name), 0);
	while ((result = tls_handshake(tls, error)) == -EAGAIN)
		wait_for(fd, tls);
	if (result == 0) {
		while ((count = tls_write(tls, "olleh\n", 6, error)) == -EAGAIN)
			wait_for(fd, tls);
		while ((count = tls_read(tls, answer, sizeof answer - 1, error)) == -EAGAIN)
			wait_for(fd, tls);
		if (count > 0)
			assert_string_equal(answer, "hello\n");
		else
			assert_true(error->length > 0);
	}
	tls_free(tls);
	close(fd);
}

static void says(const char *options, const char *ca, const char *name, time_t seconds, bool verify, const char *want)
{
	struct peer peer = serve(options);
	struct tls_context *context;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(tls_context_new(&context, read_file(ca), NULL, NULL, verify, &error), 0);
	ahead = seconds;
	talk(&peer, context, name, &error);
	ahead = 0;
	tls_context_free(context);
	stop(&peer);
	if (!strstr(error.data, want) || (!*want && error.length))
		fail_msg("said: %s; wanted: %s", error.data, want);
}

static void right_certificates_are_accepted(void **state)
{
	says("", "ca.pem", "api.example", 0, true, "");
	says("", "ca.pem", "127.0.0.1", 0, true, "");
	says("-tls1_2", "ca.pem", "api.example", 0, true, "");
	says("", "other.pem", "whoever", 0, false, "");
}

static void wrong_ones_are_named(void **state)
{
	says("", "ca.pem", "api.example", 15 * 86400, true, "has expired (it ended ");
	says("", "ca.pem", "api.example", -15 * 86400, true, "not yet valid (it begins ");
	says("", "other.pem", "api.example", 0, true, "by an authority that the CA bundle does not hold");
	says("", "ca.pem", "other.example", 0, true, "is not for other.example, but for api.example, 127.0.0.1");
	says("", "ca.pem", "127.0.0.2", 0, true, "is not for 127.0.0.2, but for api.example, 127.0.0.1");
}

static void what_is_no_tls_of_ours_is_named(void **state)
{
	says(NULL, "ca.pem", "api.example", 0, true, "does not speak TLS");
	says("-tls1_1 -cipher DEFAULT@SECLEVEL=0", "ca.pem", "api.example", 0, true, "1.2");
}

static void client_certificates_are_shown(void **state)
{
	struct peer peer = serve("-Verify 2 -verify_return_error -CAfile ca.pem");
	struct tls_context *context;
	TEXT_ON_STACK(error, 512);

	assert_int_equal(tls_context_new(&context, read_file("ca.pem"), read_file("client.pem"), read_file("client.key"), true, &error), 0);
	talk(&peer, context, "api.example", &error);
	assert_string_equal(error.data, "");
	tls_context_free(context);
	assert_int_equal(tls_context_new(&context, read_file("ca.pem"), NULL, NULL, true, &error), 0);
	talk(&peer, context, "api.example", &error);
	if (!strstr(error.data, "refused the TLS connection (tlsv13 alert certificate required"))
		fail_msg("said: %s", error.data);
	tls_context_free(context);
	stop(&peer);
}

static void texts_that_are_wrong_are_named(void **state)
{
	struct tls_context *context = NULL;
	TEXT_ON_STACK(one, 512);
	TEXT_ON_STACK(two, 512);
	TEXT_ON_STACK(three, 512);
	TEXT_ON_STACK(four, 512);

	assert_int_equal(tls_context_new(&context, "nothing", NULL, NULL, true, &one), -EINVAL);
	assert_non_null(strstr(one.data, "CA bundle"));
	assert_int_equal(tls_context_new(&context, NULL, "nothing", "nothing", true, &two), -EINVAL);
	assert_non_null(strstr(two.data, "client certificate"));
	assert_int_equal(tls_context_new(&context, NULL, read_file("client.pem"), "nothing", true, &three), -EINVAL);
	assert_non_null(strstr(three.data, "client key cannot be read"));
	assert_int_equal(tls_context_new(&context, NULL, read_file("client.pem"), read_file("server.key"), true, &four), -EINVAL);
	assert_non_null(strstr(four.data, "does not belong"));
	assert_null(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(right_certificates_are_accepted), cmocka_unit_test(wrong_ones_are_named),
	    cmocka_unit_test(what_is_no_tls_of_ours_is_named), cmocka_unit_test(client_certificates_are_shown),
	    cmocka_unit_test(texts_that_are_wrong_are_named),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
