#include "proxy/http2/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* gRPC over HTTP/2: TimeoutValue is 1 to 8 digits, the unit one letter. */
static const struct {
	const char *text;
	int64_t milliseconds;
} timeouts[] = {
    {"1H", 3600000}, {"2M", 120000}, {"3S", 3000}, {"500m", 500}, {"99999999m", 99999999}, {"1500u", 2}, {"1u", 1}, {"1n", 1}, {"1000000n", 1},
    {"1000001n", 2}, {"99999999H", INT64_C(359999996400000)}, {"0S", 0}, {"", 0}, {"S", 0}, {"1", 0}, {"100000000S", 0}, {"-1S", 0}, {"1s", 0},
    {"1 S", 0}, {"1.5S", 0}, {"0x1S", 0},
};

static void test_grpc_timeout(void **state)
{
	for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
		struct slice value = {(const uint8_t *)timeouts[i].text, strlen(timeouts[i].text)};

		if (head_grpc_timeout(value) != timeouts[i].milliseconds)
			fail_msg("\"%s\" is %lld ms", timeouts[i].text, (long long)head_grpc_timeout(value));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_grpc_timeout)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
