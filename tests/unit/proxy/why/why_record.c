#include "proxy/why/why_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/connection/conn.h"

#define HEAD "ts=2026-11-21T06:11:50.071Z level=info "
#define SUBJECT " direction=outbound protocol=http/1.1 client=10.0.0.1:40000 server=10.0.0.2:80 service=default/web"
#define RACE \
	HEAD "msg=\"request failed\" reason=keepalive_race by=server phase=wait" SUBJECT " requests=2 suppressed=7 " \
	"detail=\"the server closed this connection, idle for 61.3 s before, as \\\"it\\\" came\""
#define CLOSED HEAD "msg=\"connection closed\" reason=done by=client phase=opaque" SUBJECT " requests=12 detail=\"both sides ended\""
#define REQUEST HEAD "msg=request" SUBJECT " status=504 answer=proxy classification=failure reason=request_timeout duration_s=1.002003 path=/"

static struct why_record *record;

static int makes(void **state)
{
	record = malloc(sizeof *record);
	return !record;
}

static int frees(void **state)
{
	free(record);
	return 0;
}

static void read(const char *text, size_t length)
{
	const struct why_line line = {.record = {text, length}};

	why_record_read(&line, record);
}

static const struct {
	const char *line;
	enum why_kind kind;
} rows[] = {
    {RACE, WHY_FAILED},
    {CLOSED, WHY_CLOSED},
    {REQUEST, WHY_REQUEST},
    {HEAD "msg=request" SUBJECT " status=200 answer=server classification=success", WHY_REQUEST},
    {HEAD "msg=\"records held back\" reason=done suppressed=12", WHY_HELD_BACK},
    {HEAD "msg=\"records held back\" reason=done", WHY_UNREADABLE},
    {"ts=2026-11-21T06:11:50.071Z level=warn msg=\"conntrack forgets\"", WHY_MESSAGE},
    {"ts=2026-11-21T06:11:50.071Z level=error msg=\"no\" caller=main.go:1", WHY_OTHER},
    {"ts=2026-11-21T06:11:50.071Z level=warning msg=no", WHY_OTHER},
    {HEAD "msg=\"lapse-proxy 0.1.0 runs as uid 2102\"", WHY_OTHER},
    {HEAD "msg=\"connection closed\" reason=asleep by=client phase=opaque" SUBJECT " detail=x", WHY_UNKNOWN},
    {HEAD "msg=\"connection closed\" reason=none by=client phase=opaque" SUBJECT " detail=x", WHY_UNKNOWN},
    {HEAD "msg=\"connection closed\" reason=done by=nobody phase=opaque" SUBJECT " detail=x", WHY_UNREADABLE},
    {HEAD "msg=\"connection closed\" reason=done by=client phase=opaque" SUBJECT, WHY_UNREADABLE},
    {HEAD "msg=\"connection closed\" reason=done by=client phase=opaque" SUBJECT " truncated=true", WHY_CLOSED},
    {HEAD "msg=\"connection closed\" reason=done by=client phase=opaque client=a server=b detail=x", WHY_UNREADABLE},
    {"ts=yesterday level=info msg=\"connection closed\" reason=done by=client phase=opaque" SUBJECT " detail=x", WHY_OTHER},
    {HEAD "msg=request method=GET status=200", WHY_OTHER},
    {"ts=2026-11-21T06:11:50.071Z level=inf", WHY_OTHER},
    {"ts=2026-11-21T06:11:50.071Z level=", WHY_UNREADABLE},
    {"{\"ts\":\"2026-11-21T06:11:50.071Z\",\"level\":\"info\",\"msg\":\"connection cl", WHY_UNREADABLE},
    {"{\"ts\":1700000000.5,\"level\":\"info\",\"logger\":\"x\",\"msg\":\"request\"}", WHY_OTHER},
    {"{\"by\":\"client\",\"client\":\"10.0.0.1:1\",\"detail\":\"x\",\"direction\":\"inbound\",\"level\":\"info\",\"msg\":"
     "\"connection closed\",\"phase\":\"idle\",\"reason\":\"done\",\"server\":\"10.0.0.2:80\",\"ts\":\"2026-11-21T06:11:50.071Z\"}",
     WHY_CLOSED},
    {"{\"some\":{\"thing\":1}}", WHY_OTHER},
};

static void tells_kinds(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		read(rows[i].line, strlen(rows[i].line));
		if (record->kind != rows[i].kind)
			fail_msg("%s: kind %d, expected %d", rows[i].line, (int)record->kind, (int)rows[i].kind);
	}
}

static void reads_values(void **state)
{
	read(RACE, strlen(RACE));
	assert_true(record->at_ms == INT64_C(1795241510071));
	assert_int_equal(record->reason, REASON_KEEPALIVE_RACE);
	assert_int_equal(record->by, BY_SERVER);
	assert_int_equal(record->phase, PHASE_WAIT);
	assert_true(record->outbound);
	assert_int_equal(record->requests, 2);
	assert_int_equal(record->suppressed, 7);
	assert_int_equal(why_record_race_idle(record), 61300);
	assert_true(why_slice_is(record->values[WHY_DETAIL], "the server closed this connection, idle for 61.3 s before, as \"it\" came"));
	assert_true(why_slice_is(record->values[WHY_SERVICE], "default/web"));
	assert_null(record->values[WHY_TIMER].bytes);
	read(REQUEST, strlen(REQUEST));
	assert_true(record->duration_us == 1002003);
	assert_int_equal(record->reason, REASON_REQUEST_TIMEOUT);
	assert_int_equal(why_record_race_idle(record), -1);
	read(CLOSED, strlen(CLOSED));
	assert_int_equal(record->reason, REASON_DONE);
	assert_int_equal(record->suppressed, 0); /* nothing is left of the line before */
}

/* Cut anywhere, a record is never taken for a whole one. */
static void sees_cuts(void **state)
{
	for (size_t length = sizeof HEAD "msg=\"connection closed\""; length < strlen(CLOSED); length++) {
		char *cut = malloc(length); /* no byte behind it may be read */

		memcpy(cut, CLOSED, length);
		read(cut, length);
		assert_int_equal(record->kind, WHY_UNREADABLE);
		free(cut);
	}
}

static void belongs_to_services(void **state)
{
	static const char *const own[] = {"default/web", "web", "10.0.0.2:80", "10.0.0.2"};
	static const char *const others[] = {"default", "default/we", "eb", "/web", "10.0.0.2:8", "10.0.0.1", ""};

	read(RACE, strlen(RACE));
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		assert_true(why_record_is_of(record, own[i]));
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_false(why_record_is_of(record, others[i]));
}

static void parts_addresses(void **state)
{
	static const char *const hosts[][2] = {{"10.0.0.1:80", "10.0.0.1"}, {"[fd00::1]:80", "fd00::1"}, {"x", "x"}, {"", ""}};

	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
		assert_true(why_slice_is(why_record_host((struct why_slice){hosts[i][0], strlen(hosts[i][0])}), hosts[i][1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tells_kinds),
	    cmocka_unit_test(reads_values),
	    cmocka_unit_test(sees_cuts),
	    cmocka_unit_test(belongs_to_services),
	    cmocka_unit_test(parts_addresses),
	};

	return cmocka_run_group_tests(tests, makes, frees);
}
