#include "lib/local_ports.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/sock.h"

/* What this machine gives the kernel to choose from. */
static void kernels_range(unsigned *first, unsigned *last)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%u %u", first, last), 2);
	fclose(file);
}

static void every_unprivileged_port_counts_once(void **state)
{
	struct local_ports *ports;

	assert_int_equal(local_ports_new(&ports), 0);
	assert_in_range(local_ports_count(ports), 1, 65536 - 1024);
	local_ports_free(ports);
}

static void the_kernel_chooses_while_it_can(void **state)
{
	struct addr listener = {.family = AF_INET, .bytes = {127, 0, 0, 1}}, local;
	struct local_ports *ports;
	unsigned first, last;
	int listening = sock_listen(&listener, 8, false), fd;

	assert_true(listening >= 0);
	assert_int_equal(sock_local(listening, &listener), 0);
	kernels_range(&first, &last);
	assert_int_equal(local_ports_new(&ports), 0);
	fd = local_ports_connect(ports, &listener, 1);
	assert_true(fd >= 0);
	assert_int_equal(sock_local(fd, &local), 0);
	assert_in_range(local.port, first, last);
	close(fd);
	close(listening);
	local_ports_free(ports);
}

static void other_errors_are_told_as_they_are(void **state)
{
	const struct addr nowhere = {.family = AF_INET, .port = 9, .bytes = {255, 255, 255, 255}};
	struct local_ports *ports;
	int fd;

	assert_int_equal(local_ports_new(&ports), 0);
	fd = local_ports_connect(ports, &nowhere, 1);
	assert_true(fd < 0 && fd != -EADDRNOTAVAIL);
	local_ports_free(ports);
}

/* A port of one's own choice serves several servers at a time, one connection each. */
static void a_port_by_number(void **state)
{
	struct addr listeners[2] = {{.family = AF_INET, .bytes = {127, 0, 0, 1}}, {.family = AF_INET, .bytes = {127, 0, 0, 1}}}, local;
	int listening[2], fds[2], first;
	uint16_t port;

	for (int i = 0; i < 2; i++) {
		listening[i] = sock_listen(&listeners[i], 8, false);
		assert_true(listening[i] >= 0);
		assert_int_equal(sock_local(listening[i], &listeners[i]), 0);
	}
	first = sock_connect(&listeners[0]);
	assert_true(first >= 0);
	assert_int_equal(sock_local(first, &local), 0);
	sock_set_reset_on_close(first);
	close(first); /* its port is free now, and known to be */
	port = local.port;
	for (int i = 0; i < 2; i++) {
		fds[i] = sock_connect_from(&listeners[i], port, false);
		assert_true(fds[i] >= 0);
		assert_int_equal(sock_local(fds[i], &local), 0);
		assert_int_equal(local.port, port);
	}
	assert_int_equal(sock_connect_from(&listeners[0], port, false), -EADDRNOTAVAIL);
	assert_int_equal(sock_connect_from(&listeners[0], listeners[1].port, false), -EADDRINUSE);
	for (int i = 0; i < 2; i++) {
		sock_set_reset_on_close(fds[i]);
		close(fds[i]);
		close(listening[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_unprivileged_port_counts_once),
	    cmocka_unit_test(the_kernel_chooses_while_it_can),
	    cmocka_unit_test(other_errors_are_told_as_they_are),
	    cmocka_unit_test(a_port_by_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
