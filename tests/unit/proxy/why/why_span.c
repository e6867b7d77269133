#include "proxy/why/why_span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static uint64_t sum(const struct why_span *span)
{
	uint64_t all = 0;

	for (int i = 0; i < WHY_SPAN_BUCKETS; i++)
		all += span->buckets[i];
	return all;
}

static void keeps_all(void **state)
{
	static const int64_t instants[] = {1795241510071, 1795241510070, 1795241600000, 1795200000000, 1800000000000, 0, -62167219200000,
	                                   253402300799999};
	struct why_span span = {0};

	for (size_t i = 0; i < sizeof instants / sizeof *instants; i++) {
		why_span_add(&span, instants[i], i + 1);
		assert_int_equal(sum(&span), (i + 1) * (i + 2) / 2);
		assert_true(span.base <= span.first && span.last < span.base + span.width * WHY_SPAN_BUCKETS);
		assert_true(span.width == 1000 || span.last >= span.base + span.width * WHY_SPAN_BUCKETS / 2);
	}
	assert_true(span.first == -62167219200000 && span.last == 253402300799999);
}

/* One a minute for a day, none around noon, ten in the evening. */
static void draws(void **state)
{
	struct why_span span = {0};
	TEXT_ON_STACK(drawn, 64);

	for (int minute = 0; minute < 1440; minute++)
		if (minute < 580 || minute >= 860)
			why_span_add(&span, 1795219200000 + minute * 60000, minute < 1220 ? 1 : 10);
	why_span_draw(&span, 1795219200000, 1795219200000 + 86399999, 12, &drawn);
	assert_string_equal(drawn_bytes, ".....  ...##");
}

static void draws_an_instant(void **state)
{
	struct why_span span = {0};
	TEXT_ON_STACK(drawn, 64);

	why_span_add(&span, 5, 1);
	why_span_draw(&span, 5, 5, 3, &drawn);
	assert_int_equal(strlen(drawn_bytes), 3);
	assert_int_equal(strspn(drawn_bytes, " "), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keeps_all),
	    cmocka_unit_test(draws),
	    cmocka_unit_test(draws_an_instant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
