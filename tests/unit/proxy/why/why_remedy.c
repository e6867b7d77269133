#include "proxy/why/why_remedy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"
#include "lib/timeouts.h"
#include "proxy/connection/advice.h"

static void part(enum reason_id reason, const char *detail, const char *fact, const char *remedy)
{
	struct why_slice got;
	TEXT_ON_STACK(rest, 1024);

	why_remedy_part(reason, (struct why_slice){detail, strlen(detail)}, &got, &rest);
	if (!why_slice_is(got, fact) || strcmp(rest_bytes, remedy) != 0)
		fail_msg("%s: \"%.*s\", \"%s\"", detail, (int)got.length, got.bytes, rest_bytes);
}

/* What advice_detail() puts together for any reason comes apart where it was joined. */
static void parts_every_detail(void **state)
{
	const struct timeout_value value = {90000, "flag --timeout-x"}, idle = {60000, "built-in"};
	const struct advice full = {.timer = TIMEOUT_REQUEST, .value = &value, .server_idle = &idle, .idle_ms = 61300,
	                            .state = CONNTRACK_CLOSE_WAIT, .keep_ms = 3600000};
	const struct advice nothing = {.timer = TIMEOUT_NONE};
	const struct advice *const known[] = {&full, &nothing};
	int parted = 0;

	for (int id = REASON_NONE + 1; id < REASON_COUNT; id++)
		for (size_t i = 0; i < 2; i++) {
			TEXT_ON_STACK(detail, ADVICE_DETAIL_SIZE);
			TEXT_ON_STACK(remedy, ADVICE_DETAIL_SIZE);

			advice_write(id, known[i], &remedy);
			advice_detail(id, known[i], "something was seen", "; and; more", &detail);
			part(id, detail_bytes, "something was seen; and; more", remedy_bytes);
			parted += remedy.length > 0;
		}
	assert_true(parted > 40);
}

static void says_what_the_row_says(void **state)
{
	part(REASON_SERVER_RESET, "", "", "the server's log should say why: a crash, a restart, a limit of its own");
	part(REASON_SERVER_RESET, "the server reset the connection", "the server reset the connection",
	     "the server's log should say why: a crash, a restart, a limit of its own");
	part(REASON_DONE, "both sides ended; all is well", "both sides ended; all is well", "");
	part(REASON_DRAIN_FORCED, "the proxy was told twice to shut down", "the proxy was told twice to shut down", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_every_detail),
	    cmocka_unit_test(says_what_the_row_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
