/* The reasons of failed dials (DESIGN §7); legs and the pool are seen from outside (tests/e2e). */
#include "proxy/server/upstream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void dial_errors_have_reasons(void **state)
{
	static const struct {
		int error;
		enum reason_id reason;
	} rows[] = {
	    {ECONNREFUSED, REASON_CONNECT_REFUSED},     {ECONNRESET, REASON_CONNECT_RESET},
	    {ECONNABORTED, REASON_CONNECT_RESET},       {EPIPE, REASON_CONNECT_RESET},
	    {ETIMEDOUT, REASON_CONNECT_TIMEOUT},        {EADDRNOTAVAIL, REASON_NO_LOCAL_PORT},
	    {EMFILE, REASON_FD_LIMIT},                  {ENFILE, REASON_FD_LIMIT},
	    {ENOMEM, REASON_MEMORY_LIMIT},              {ENOBUFS, REASON_MEMORY_LIMIT},
	    {EHOSTUNREACH, REASON_CONNECT_UNREACHABLE}, {ENETUNREACH, REASON_CONNECT_UNREACHABLE},
	    {ENETDOWN, REASON_CONNECT_UNREACHABLE},     {EHOSTDOWN, REASON_CONNECT_UNREACHABLE},
	    {EACCES, REASON_CONNECT_UNREACHABLE},       {EPERM, REASON_CONNECT_UNREACHABLE},
	    {EINVAL, REASON_CONNECT_UNREACHABLE},       {EPROTO, REASON_CONNECT_UNREACHABLE},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (upstream_dial_reason(-rows[i].error) != rows[i].reason)
			fail_msg("errno %d: %s", rows[i].error, reason_row(upstream_dial_reason(-rows[i].error))->name);
}

/* Whatever errno comes, a client without an answer yet gets a status, and is cut by RST otherwise. */
static void every_failed_dial_can_be_answered(void **state)
{
	for (int error = 1; error < 140; error++) {
		const struct reason *row = reason_row(upstream_dial_reason(-error));

		assert_true(row->status >= 502 && row->status <= 504);
		assert_int_equal(row->ending, ENDING_RST);
		assert_int_not_equal(upstream_dial_reason(-error), REASON_INTERNAL_ERROR);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(dial_errors_have_reasons),
	    cmocka_unit_test(every_failed_dial_can_be_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
