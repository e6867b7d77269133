#include "proxy/connection/origin.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "proxy/server/dials.h"
#include "tests/unit/proxy/pair.h"

enum { ORIGINAL_DST = 80 };

/* What the kernel says of a connection's original destination. netfilter is not needed here: getsockopt() below answers for it,
 * and asks the kernel about everything else. */
struct netfilter {
	struct addr destination;
	int error; /* errno, 0 = none */
};

static struct netfilter *netfilter_said(void)
{
	static struct netfilter said;

	return &said;
}

int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict length)
{
	const struct netfilter *said = netfilter_said();
	struct sockaddr_storage storage;

	if (option != ORIGINAL_DST || (level != IPPROTO_IP && level != IPPROTO_IPV6))
		return (int)syscall(SYS_getsockopt, fd, level, option, value, length);
	if (said->error || (level == IPPROTO_IPV6) != (said->destination.family == AF_INET6)) {
		errno = said->error ? said->error : ENOPROTOOPT;
		return -1;
	}
	*length = addr_to_sockaddr(&said->destination, &storage);
	memcpy(value, &storage, *length);
	return 0;
}

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

struct fixture {
	int fds[2];
	struct origin_guard guard;
	struct origin origin;
};

/* An accepted connection, of which netfilter says that it wanted to go to `destination`. */
static struct fixture open_origin(const char *destination, int error)
{
	struct fixture f = {.guard = {.inbound_port = 4143, .outbound_port = 4140, .dials = dials_new()}};
	struct addr client;

	assert_non_null(f.guard.dials);
	pair_open(f.fds, 0);
	assert_int_equal(sock_local(f.fds[0], &client), 0);
	f.origin.client = client;
	*netfilter_said() = (struct netfilter){.error = error};
	if (destination)
		netfilter_said()->destination = addr_of(destination);
	return f;
}

static void close_origin(struct fixture *f)
{
	close(f->fds[0]);
	close(f->fds[1]);
	dials_free(f->guard.dials);
}

static void judges(void **state)
{
	static const struct {
		const char *destination;
		int error;
		enum reason_id reason;
	} rows[] = {
	    {"203.0.113.7:80", 0, REASON_NONE},
	    {"203.0.113.7:4140", 0, REASON_NONE}, /* somebody else's proxy */
	    {"203.0.113.7:4143", 0, REASON_NONE},
	    {"127.0.0.1:80", 0, REASON_NONE},
	    {"127.0.0.1:4143", 0, REASON_REDIRECT_LOOP},
	    {"127.0.0.1:4140", 0, REASON_REDIRECT_LOOP},
	    {"127.9.8.7:4140", 0, REASON_REDIRECT_LOOP},
	    {NULL, ENOENT, REASON_NO_ORIGINAL_DST},
	    {NULL, ENOPROTOOPT, REASON_NO_ORIGINAL_DST},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fixture f = open_origin(rows[i].destination, rows[i].error);
		struct addr client = f.origin.client;
		enum reason_id found = origin_find(f.fds[1], &f.guard, &f.origin);

		if (found != rows[i].reason)
			fail_msg("row %zu: %s", i, reason_row(found)->name);
		if (rows[i].destination)
			assert_true(addr_equal(&f.origin.destination, &netfilter_said()->destination));
		assert_true(addr_equal(&f.origin.client, &client));
		close_origin(&f);
	}
}

static void straight_to_the_port_is_not_redirected(void **state)
{
	struct fixture f = open_origin(NULL, 0);

	assert_int_equal(sock_local(f.fds[1], &netfilter_said()->destination), 0);
	f.guard.inbound_port = netfilter_said()->destination.port;
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NOT_REDIRECTED);
	/* The same address at another port is. */
	netfilter_said()->destination.port ^= 1;
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NONE);
	close_origin(&f);
}

/* A connection between the ends of a dial of ours is that dial, come back. */
static void our_own_dial_is_a_loop(void **state)
{
	const struct addr other = addr_of("203.0.113.8:80"), other_port = addr_of("203.0.113.7:81");
	struct fixture f = open_origin("203.0.113.7:80", 0);
	const struct addr *destination = &netfilter_said()->destination;
	struct dials *dials = f.guard.dials;
	struct addr client = f.origin.client, elsewhere = client;
	struct dials_entry dial = dials_add(dials, &client, destination), later;

	assert_false(dials_looped(dials, dial));
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_REDIRECT_LOOP);
	assert_true(dials_looped(dials, dial));
	/* Another dial from the same port takes the place, and has not looped. */
	dials_add(dials, &client, &other);
	assert_false(dials_looped(dials, dial));
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NONE);
	later = dials_add(dials, &client, &other_port);
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NONE);
	assert_false(dials_looped(dials, later));
	dials_remove(dials, dial); /* which is no longer there */
	dials_remove(dials, later);
	elsewhere.port ^= 1;
	dials_add(dials, &elsewhere, destination);
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NONE);
	/* The same port at another address is another host's connection. */
	elsewhere = client;
	elsewhere.bytes[3] = 9;
	dials_add(dials, &elsewhere, destination);
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NONE);
	dial = dials_add(dials, &client, destination);
	dials_remove(dials, dial);
	assert_false(dials_looped(dials, dial));
	assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NONE);
	close_origin(&f);
}

/* Every port has its place. */
static void dials_of_all_ports(void **state)
{
	static const uint16_t ports[] = {1, 2, 1023, 1024, 32768, 65534, 65535};
	struct fixture f = open_origin("203.0.113.7:80", 0);

	for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
		struct dials_entry dial;

		f.origin.client.port = ports[i];
		assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin), REASON_NONE);
		dial = dials_add(f.guard.dials, &f.origin.client, &netfilter_said()->destination);
		for (size_t other = 0; other < sizeof ports / sizeof *ports; other++) {
			f.origin.client.port = ports[other];
			assert_int_equal(origin_find(f.fds[1], &f.guard, &f.origin),
			                 other == i ? REASON_REDIRECT_LOOP : REASON_NONE);
		}
		dials_remove(f.guard.dials, dial);
	}
	close_origin(&f);
}

static void conntrack_forgets(void **state)
{
	static const struct {
		const char *destination; /* what it says now */
		int error;
		bool lost;
	} rows[] = {
	    {NULL, ENOENT, true},
	    {NULL, ENOPROTOOPT, false},
	    {NULL, ENOMEM, false},
	    {"203.0.113.7:80", 0, false},
	    {"203.0.113.7:81", 0, true},
	    {"203.0.113.8:80", 0, true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct addr known = addr_of("203.0.113.7:80");
		struct fixture f = open_origin(rows[i].destination, rows[i].error);

		if (origin_lost(f.fds[1], &known) != rows[i].lost)
			fail_msg("row %zu", i);
		close_origin(&f);
	}
}

/* IPv6 is asked for at its own level. */
static void asks_in_the_family_of_the_destination(void **state)
{
	const struct addr six = addr_of("[2001:db8::1]:80"), other = addr_of("[2001:db8::2]:80");
	struct fixture f = open_origin("[2001:db8::1]:80", 0);

	assert_false(origin_lost(f.fds[1], &six));
	assert_true(origin_lost(f.fds[1], &other));
	close_origin(&f);
	dials_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(judges),
	    cmocka_unit_test(straight_to_the_port_is_not_redirected),
	    cmocka_unit_test(our_own_dial_is_a_loop),
	    cmocka_unit_test(dials_of_all_ports),
	    cmocka_unit_test(conntrack_forgets),
	    cmocka_unit_test(asks_in_the_family_of_the_destination),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
