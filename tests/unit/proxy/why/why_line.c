#include "proxy/why/why_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT "ts=2026-11-21T06:11:50.071Z level=info msg=x a=\"b ts=1\""
#define JSON "{\"ts\":\"2026-11-21T06:11:50.071Z\",\"msg\":\"x\"}"
#define STAMP "2026-11-21T06:11:50.071234567Z "

static struct why_lines *lines;

static int makes(void **state)
{
	lines = calloc(1, sizeof *lines);
	return !lines;
}

static int frees(void **state)
{
	free(lines);
	return 0;
}

static bool is(struct why_slice slice, const char *text)
{
	return text ? why_slice_is(slice, text) : !slice.bytes;
}

/* The record in a line, NULL: none; and the pod. */
static const struct {
	const char *line, *record, *pod;
} rows[] = {
    {TEXT, TEXT, NULL},
    {JSON, JSON, NULL},
    {TEXT "\r", TEXT, NULL},
    {"[pod/shop-1/lapse-proxy] " TEXT, TEXT, "shop-1"},
    {"[pod/shop-1/lapse-proxy] " JSON, JSON, "shop-1"},
    {"[pod/shop-1/lapse-proxy] " STAMP TEXT, TEXT, "shop-1"},
    {STAMP TEXT, TEXT, NULL},
    {STAMP "stdout F " TEXT, TEXT, NULL},
    {STAMP "stderr F:tag " JSON, JSON, NULL},
    {"shop-1  | " TEXT, TEXT, "shop-1"},
    {"shop-1  | " JSON, JSON, "shop-1"},
    {"Nov 21 06:11:50 node lapse-proxy[12]: " TEXT, TEXT, NULL},
    {"shop-1 lapse-proxy " TEXT, TEXT, NULL},
    {"{\"log\":\"ts=2026 msg=\\\"x y\\\"\\n\",\"stream\":\"stdout\",\"time\":\"t\"}", "ts=2026 msg=\"x y\"", NULL},
    {"{\"log\":\"{\\\"ts\\\":1}\\r\\n\"}", "{\"ts\":1}", NULL},
    {"{\"PRIORITY\":\"6\",\"MESSAGE\":\"ts=2026 a=1\"}", "ts=2026 a=1", NULL},
    {"{\"by\":\"client\",\"ts\":\"2026\"}", "{\"by\":\"client\",\"ts\":\"2026\"}", NULL}, /* sorted by a shipper */
    {"{\"log\":\"nothing of ours\"}", NULL, NULL},
    {"{\"log\":\"\\n\"}", NULL, NULL},
    {"the counts=2026 of it", NULL, NULL},
    {"a ts=x", NULL, NULL},
    {"{\"t", "{\"t", NULL},
    {"", NULL, NULL},
    {"\r", NULL, NULL},
    {"1", NULL, NULL},
    {STAMP "stdout F ", NULL, NULL},
    {"cut ts", NULL, NULL},
};

static void finds_records(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct why_line line;

		why_line_find(lines, rows[i].line, strlen(rows[i].line), &line);
		if (!is(line.record, rows[i].record) || !is(line.pod, rows[i].pod) || line.part || line.over)
			fail_msg("%s: record %.*s, pod %.*s", rows[i].line, (int)line.record.length, line.record.bytes, (int)line.pod.length,
			         line.pod.bytes);
	}
}

static void find(const char *text, struct why_line *line)
{
	why_line_find(lines, text, strlen(text), line);
}

/* Parts are joined stream by stream, and each line stands for itself again after its end. */
static void joins_parts(void **state)
{
	struct why_line line;

	find(STAMP "stdout P ts=2026 a", &line);
	assert_true(line.part && !line.record.bytes);
	find(STAMP "stderr P {\"ts\":", &line);
	assert_true(line.part);
	find(STAMP "stdout P =1 b", &line);
	assert_true(line.part);
	find(STAMP "stderr F 1}", &line);
	assert_true(!line.part && is(line.record, "{\"ts\":1}"));
	find(STAMP "stdout F =2", &line);
	assert_true(!line.part && is(line.record, "ts=2026 a=1 b=2"));
	find(STAMP "stdout F " TEXT, &line);
	assert_true(is(line.record, TEXT));
}

/* Parts without end are dropped, and the next line is read again. */
static void bounds_parts(void **state)
{
	static char part[40000];
	struct why_line line;

	memset(part, 'x', sizeof part - 1);
	memcpy(part, STAMP "stdout P ", strlen(STAMP "stdout P "));
	for (int i = 0; i < 5; i++) {
		find(part, &line);
		assert_true(line.part);
	}
	find(STAMP "stdout F end", &line);
	assert_true(line.over);
	find(STAMP "stdout F " TEXT, &line);
	assert_true(!line.over && is(line.record, TEXT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_records),
	    cmocka_unit_test(joins_parts),
	    cmocka_unit_test(bounds_parts),
	};

	return cmocka_run_group_tests(tests, makes, frees);
}
