#include "init/listeners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "init/options.h"
#include "init/plan.h"
#include "init/report.h"
#include "lib/text.h"

#define OF_UID(uid) " 00000000:00000000 00:00000000 00000000  " uid "        0 4242 1 0000000000000000 100 0 0 10 0\n"
#define LISTENS4(address) "   0: " address ":102F 00000000:0000 0A" OF_UID("2102")
#define LISTENS6(address) "   1: " address ":102F 00000000000000000000000000000000:0000 0A" OF_UID("2102")

enum { IN4 = 1, OUT4 = 2, IN6 = 4, OUT6 = 8 };

/* For which redirected connections a line serves port 4143. */
static int serves(const char *line, bool ipv6)
{
	static const struct {
		int bit, family;
		bool loopback;
	} ways[] = {{IN4, AF_INET, false}, {OUT4, AF_INET, true}, {IN6, AF_INET6, false}, {OUT6, AF_INET6, true}};
	int found = 0;

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		uint32_t uid = 0;

		if (!listeners_match(line, ipv6, ways[i].family, 4143, ways[i].loopback, &uid))
			continue;
		assert_int_equal(uid, 2102);
		found |= ways[i].bit;
	}
	return found;
}

/* The kernel prints addresses as numbers of the machine; these are of a little-endian one. */
static void addresses(void **state)
{
	if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		skip();
	assert_int_equal(serves(LISTENS4("00000000"), false), IN4 | OUT4);
	assert_int_equal(serves(LISTENS4("0100007F"), false), OUT4);
	assert_int_equal(serves(LISTENS4("02014D0A"), false), IN4);
	assert_int_equal(serves(LISTENS6("00000000000000000000000000000000"), true), IN4 | OUT4 | IN6 | OUT6);
	assert_int_equal(serves(LISTENS6("00000000000000000000000001000000"), true), OUT6);
	assert_int_equal(serves(LISTENS6("7700FD00000000000000000002000000"), true), IN6);
	assert_int_equal(serves(LISTENS6("0000000000000000FFFF00000100007F"), true), OUT4);
	assert_int_equal(serves(LISTENS6("0000000000000000FFFF000002014D0A"), true), IN4);
}

static void other_lines(void **state)
{
	assert_int_equal(serves("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n", false), 0);
	assert_int_equal(serves("   0: 00000000:1030 00000000:0000 0A" OF_UID("2102"), false), 0);
	assert_int_equal(serves("   0: 00000000:102F 01014D0A:9C40 01" OF_UID("2102"), false), 0);
	assert_int_equal(serves("", false), 0);
	assert_int_equal(serves("   0: 00000000:102F 00000000:0000 0A", true), 0);
}

/* It is reported, and no failure of the check. */
static void cannot_be_looked_for(void **state)
{
	const struct init_options options = {.proxy_uid = {.id = 2102}};
	const struct plan plan = {.ipv4 = true};
	struct rlimit limit, none;
	struct report report;
	char *said = NULL;
	size_t size;
	FILE *to = open_memstream(&said, &size);
	TEXT_ON_STACK(error, 512);
	int status;

	report_begin(&report, to, false);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){0, limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	status = listeners_check(&options, &plan, &report, &error);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fclose(to);
	assert_int_equal(status, 0);
	assert_non_null(strstr(said, "not looked for, /proc/net/tcp cannot be read: Too many open files"));
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(other_lines), cmocka_unit_test(cannot_be_looked_for)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
