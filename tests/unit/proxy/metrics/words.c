#include "proxy/metrics/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void directions(void **state)
{
	assert_string_equal(words_direction(DIRECTION_INBOUND), "inbound");
	assert_string_equal(words_direction(DIRECTION_OUTBOUND), "outbound");
}

static void protocols(void **state)
{
	static const char *const expected[] = {"undetected", "http/1.1", "http/2", "tls", "opaque"};

	for (int protocol = PROTOCOL_UNDETECTED; protocol <= PROTOCOL_OPAQUE; protocol++)
		assert_string_equal(words_protocol(protocol), expected[protocol]);
}

static void every_stage_has_a_name(void **state)
{
	for (int stage = 0; stage < PHASE_COUNT; stage++) {
		const char *name = words_phase(stage);

		assert_non_null(name);
		assert_true(strlen(name) > 0);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz"), strlen(name));
		for (int other = 0; other < stage; other++)
			assert_string_not_equal(name, words_phase(other));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(directions),
	    cmocka_unit_test(protocols),
	    cmocka_unit_test(every_stage_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
