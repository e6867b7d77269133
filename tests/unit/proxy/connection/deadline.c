#include "proxy/connection/deadline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ALL_TIMERS (TIMER_BIT(TIMEOUT_COUNT) - 1)

/* The contract of DESIGN §6, column "runs": which moment each timer counts from. */
static const struct {
	enum timeout_id timer;
	enum instant since;
	bool half_closed; /* the state in which the timer may run; the idle ones only in the other */
} clocks[] = {
    {TIMEOUT_REQUEST, INSTANT_REQUEST, false},
    {TIMEOUT_BACKEND_REQUEST, INSTANT_ATTEMPT, false},
    {TIMEOUT_STREAM_IDLE, INSTANT_LAST_BYTE, false},
    {TIMEOUT_REQUEST_HEADERS, INSTANT_HEAD, false},
    {TIMEOUT_IDLE_CONNECTION, INSTANT_IDLE, false},
    {TIMEOUT_TCP_IDLE, INSTANT_LAST_BYTE, false},
    {TIMEOUT_HALF_CLOSE, INSTANT_LAST_BYTE, true},
    {TIMEOUT_CONNECT, INSTANT_DIAL, false},
    {TIMEOUT_DETECT, INSTANT_FIRST_BYTE, false},
    {TIMEOUT_UNACKNOWLEDGED, INSTANT_UNACKED, false},
    {TIMEOUT_MAX_CONNECTION, INSTANT_ACCEPTED, false},
};

enum { CLOCKS = sizeof clocks / sizeof clocks[0] };

static struct timeouts timeouts_of(int64_t milliseconds)
{
	struct timeouts timeouts;

	for (int id = 0; id < TIMEOUT_COUNT; id++)
		timeouts.of[id] = (struct timeout_value){milliseconds, "test"};
	return timeouts;
}

static void is(struct deadline found, int64_t at, enum timeout_id timer, enum instant since, int row)
{
	if (found.at != at || found.timer != timer || (timer != TIMEOUT_NONE && found.since != since))
		fail_msg("row %d: at %lld by %d since %d, not at %lld by %d since %d", row, (long long)found.at, (int)found.timer,
		         (int)found.since, (long long)at, (int)timer, (int)since);
}

static void never_without_timers_or_moments(void **state)
{
	int64_t instants[INSTANT_COUNT] = {0};
	struct timeouts timeouts = timeouts_of(1000);

	is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, 0);
	for (int i = 0; i < INSTANT_COUNT; i++)
		instants[i] = 5;
	is(deadline_next(0, instants, ALARM_NONE, 0, false, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, 1);
	is(deadline_next(0, instants, ALARM_NONE, 0, true, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, 2);
	timeouts = timeouts_of(0);
	is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, 3);
	is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, true, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, 4);
}

/* A value that counts from the end of the request does not run before that, however long its attempt has taken. */
static void from_the_end_of_the_request(void **state)
{
	struct timeouts timeouts = timeouts_of(0);
	int64_t instants[INSTANT_COUNT] = {[INSTANT_REQUEST] = 1000, [INSTANT_ATTEMPT] = 1000, [INSTANT_LAST_BYTE] = 1000};

	timeouts.of[TIMEOUT_BACKEND_REQUEST] = (struct timeout_value){250, "test", .after_request = true};
	is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, 0);
	instants[INSTANT_REQUEST_END] = 4000;
	is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts), 4250, TIMEOUT_BACKEND_REQUEST, INSTANT_REQUEST_END, 1);
	timeouts.of[TIMEOUT_BACKEND_REQUEST].after_request = false;
	is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts), 1250, TIMEOUT_BACKEND_REQUEST, INSTANT_ATTEMPT, 2);
}

/* Each timer alone: it counts from its own moment, from no other, and not when it is 0 or its bit is off. */
static void each_timer_from_its_moment(void **state)
{
	for (int row = 0; row < CLOCKS; row++) {
		enum timeout_id timer = clocks[row].timer;
		bool half = clocks[row].half_closed;
		struct timeouts timeouts = timeouts_of(0);
		int64_t instants[INSTANT_COUNT] = {0};

		timeouts.of[timer].milliseconds = 250;
		instants[clocks[row].since] = 1000;
		is(deadline_next(TIMER_BIT(timer), instants, ALARM_NONE, 0, half, &timeouts), 1250, timer, clocks[row].since, row);
		is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, half, &timeouts), 1250, timer, clocks[row].since, row);
		is(deadline_next(ALL_TIMERS & ~TIMER_BIT(timer), instants, ALARM_NONE, 0, half, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, row);
		for (int i = 0; i < INSTANT_COUNT; i++)
			instants[i] = i == (int)clocks[row].since ? 0 : 1;
		is(deadline_next(TIMER_BIT(timer), instants, ALARM_NONE, 0, half, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, row);
	}
}

/* serverIdle belongs to the upstream and drain to the worker: no connection waits for them. */
static void two_timers_are_not_a_connections(void **state)
{
	static const enum timeout_id others[] = {TIMEOUT_SERVER_IDLE, TIMEOUT_DRAIN};
	int64_t instants[INSTANT_COUNT];

	for (int i = 0; i < INSTANT_COUNT; i++)
		instants[i] = 7;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct timeouts timeouts = timeouts_of(0);

		timeouts.of[others[i]].milliseconds = 1;
		is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts), INT64_MAX, TIMEOUT_NONE, 0, (int)i);
	}
}

static void half_closed_has_one_timer(void **state)
{
	static const struct {
		uint32_t timers;
		bool half_closed;
		int64_t at;
		enum timeout_id timer;
	} rows[] = {
	    {TIMER_BIT(TIMEOUT_TCP_IDLE) | TIMER_BIT(TIMEOUT_HALF_CLOSE), false, 110, TIMEOUT_TCP_IDLE},
	    {TIMER_BIT(TIMEOUT_TCP_IDLE) | TIMER_BIT(TIMEOUT_HALF_CLOSE), true, 150, TIMEOUT_HALF_CLOSE},
	    {TIMER_BIT(TIMEOUT_STREAM_IDLE) | TIMER_BIT(TIMEOUT_HALF_CLOSE), false, 120, TIMEOUT_STREAM_IDLE},
	    {TIMER_BIT(TIMEOUT_STREAM_IDLE) | TIMER_BIT(TIMEOUT_HALF_CLOSE), true, 150, TIMEOUT_HALF_CLOSE},
	    {TIMER_BIT(TIMEOUT_TCP_IDLE), true, INT64_MAX, TIMEOUT_NONE},
	    {TIMER_BIT(TIMEOUT_STREAM_IDLE), true, INT64_MAX, TIMEOUT_NONE},
	    {TIMER_BIT(TIMEOUT_HALF_CLOSE), false, INT64_MAX, TIMEOUT_NONE},
	    {TIMER_BIT(TIMEOUT_HALF_CLOSE) | TIMER_BIT(TIMEOUT_MAX_CONNECTION), true, 130, TIMEOUT_MAX_CONNECTION},
	};
	int64_t instants[INSTANT_COUNT] = {[INSTANT_LAST_BYTE] = 100, [INSTANT_ACCEPTED] = 50};
	struct timeouts timeouts = timeouts_of(0);

	timeouts.of[TIMEOUT_TCP_IDLE].milliseconds = 10;
	timeouts.of[TIMEOUT_STREAM_IDLE].milliseconds = 20;
	timeouts.of[TIMEOUT_HALF_CLOSE].milliseconds = 50;
	timeouts.of[TIMEOUT_MAX_CONNECTION].milliseconds = 80;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		is(deadline_next(rows[i].timers, instants, ALARM_NONE, 0, rows[i].half_closed, &timeouts), rows[i].at, rows[i].timer,
		   rows[i].timer == TIMEOUT_MAX_CONNECTION ? INSTANT_ACCEPTED : INSTANT_LAST_BYTE, (int)i);
}

/* The earliest of all wins, whichever it is: every clock in turn is made the first. */
static void the_earliest_wins(void **state)
{
	for (int row = 0; row < CLOCKS; row++) {
		struct timeouts timeouts = timeouts_of(1000);
		int64_t instants[INSTANT_COUNT];

		for (int i = 0; i < INSTANT_COUNT; i++)
			instants[i] = i == INSTANT_LOOKED ? 0 : 500;
		/* LAST_BYTE starts three timers, and two moments start `unacknowledged`: the one meant is the shorter or older. */
		if (clocks[row].timer == TIMEOUT_UNACKNOWLEDGED)
			instants[clocks[row].since] = 499;
		else
			timeouts.of[clocks[row].timer].milliseconds = 999;
		is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, clocks[row].half_closed, &timeouts), 1499, clocks[row].timer,
		   clocks[row].since, row);
	}
}

/* An alarm is due like a timer, and is itself again when it is. */
static void alarms_are_due(void **state)
{
	int64_t instants[INSTANT_COUNT] = {[INSTANT_DIAL] = 100};
	struct timeouts timeouts = timeouts_of(50);

	is(deadline_next(0, instants, ALARM_TURN, 70, false, &timeouts), 70, TIMEOUT_NONE, 0, 0);
	is(deadline_next(ALL_TIMERS, instants, ALARM_TURN, 149, false, &timeouts), 149, TIMEOUT_NONE, 0, 1);
	is(deadline_next(ALL_TIMERS, instants, ALARM_TURN, 151, false, &timeouts), 150, TIMEOUT_CONNECT, INSTANT_DIAL, 2);
	is(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts), 150, TIMEOUT_CONNECT, INSTANT_DIAL, 3);
	for (int alarm = ALARM_NONE + 1; alarm < ALARM_COUNT; alarm++) {
		assert_int_equal(deadline_next(ALL_TIMERS, instants, (enum alarm)alarm, 149, false, &timeouts).alarm, alarm);
		assert_int_equal(deadline_next(ALL_TIMERS, instants, (enum alarm)alarm, 151, false, &timeouts).alarm, ALARM_NONE);
	}
}

/* While a peer is waited for, what it acknowledges is looked at every 32nd part of the shortest timer, every 10 ms at most. */
static void looks_while_something_is_outstanding(void **state)
{
	static const struct {
		uint32_t timers;
		int64_t limit, looked, at;
		enum alarm alarm;
	} rows[] = {
	    {TIMER_BIT(TIMEOUT_TCP_IDLE), 3200, 1000, 1100, ALARM_LOOK},
	    {TIMER_BIT(TIMEOUT_STREAM_IDLE), 3200, 1000, 1100, ALARM_LOOK},
	    {TIMER_BIT(TIMEOUT_IDLE_CONNECTION), 3200, 1000, 1100, ALARM_LOOK},
	    {TIMER_BIT(TIMEOUT_UNACKNOWLEDGED), 3200, 1000, 1100, ALARM_LOOK},
	    {TIMER_BIT(TIMEOUT_TCP_IDLE), 64, 1000, 1010, ALARM_LOOK},
	    {TIMER_BIT(TIMEOUT_TCP_IDLE), 3200, 4150, 4200, ALARM_NONE},  /* the timer is due before */
	    {TIMER_BIT(TIMEOUT_TCP_IDLE), 3200, 0, 4200, ALARM_NONE},      /* nothing is outstanding */
	    {TIMER_BIT(TIMEOUT_REQUEST), 3200, 1000, 4200, ALARM_NONE},    /* waits for nobody */
	    {TIMER_BIT(TIMEOUT_TCP_IDLE), 0, 1000, INT64_MAX, ALARM_NONE}, /* off */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct timeouts timeouts = timeouts_of(rows[i].limit);
		int64_t instants[INSTANT_COUNT];
		struct deadline next;

		for (int instant = 0; instant < INSTANT_COUNT; instant++)
			instants[instant] = instant == INSTANT_LOOKED ? rows[i].looked : 1000;
		next = deadline_next(rows[i].timers, instants, ALARM_NONE, 0, false, &timeouts);
		assert_int_equal(next.at, rows[i].at);
		assert_int_equal(next.alarm, rows[i].alarm);
	}
}

/* The longest duration that can be configured (Go's int64 nanoseconds) from the latest moment a machine can know. */
static void nothing_overflows(void **state)
{
	const int64_t longest = INT64_MAX / 1000000 + 1, late = INT64_C(1) << 52;
	int64_t instants[INSTANT_COUNT];
	struct timeouts timeouts = timeouts_of(longest);

	for (int i = 0; i < INSTANT_COUNT; i++)
		instants[i] = i == INSTANT_LOOKED ? 0 : late;
	assert_true(deadline_next(ALL_TIMERS, instants, ALARM_NONE, 0, false, &timeouts).at == late + longest);
}

/* A request's timers are found in its own instants, and no others there; of two ends at once the request's is told, but after an alarm. */
static void a_request_has_its_own(void **state)
{
	int64_t instants[INSTANT_COUNT];
	struct timeouts timeouts = timeouts_of(1000);
	struct deadline request, idle = {500, TIMEOUT_STREAM_IDLE, ALARM_NONE, INSTANT_LAST_BYTE}, alarm = {500, TIMEOUT_NONE, ALARM_GRACE, 0};

	for (int i = 0; i < INSTANT_COUNT; i++)
		instants[i] = i < INSTANT_OF_CONN ? 1 : 100;
	timeouts.of[TIMEOUT_BACKEND_REQUEST].milliseconds = 400;
	request = deadline_of_request(ALL_TIMERS, instants, &timeouts);
	is(request, 500, TIMEOUT_BACKEND_REQUEST, INSTANT_ATTEMPT, 0);
	is(deadline_sooner(request, idle), 500, TIMEOUT_BACKEND_REQUEST, INSTANT_ATTEMPT, 1);
	is(deadline_sooner(request, alarm), 500, TIMEOUT_NONE, 0, 2);
	idle.at = alarm.at = 499;
	is(deadline_sooner(request, idle), 499, TIMEOUT_STREAM_IDLE, INSTANT_LAST_BYTE, 3);
	is(deadline_sooner(request, alarm), 499, TIMEOUT_NONE, 0, 4);
	idle.at = alarm.at = 501;
	is(deadline_sooner(request, idle), 500, TIMEOUT_BACKEND_REQUEST, INSTANT_ATTEMPT, 5);
	is(deadline_sooner(request, alarm), 500, TIMEOUT_BACKEND_REQUEST, INSTANT_ATTEMPT, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(never_without_timers_or_moments),
	    cmocka_unit_test(from_the_end_of_the_request), cmocka_unit_test(each_timer_from_its_moment),
	    cmocka_unit_test(two_timers_are_not_a_connections),
	    cmocka_unit_test(half_closed_has_one_timer),
	    cmocka_unit_test(the_earliest_wins),
	    cmocka_unit_test(alarms_are_due),
	    cmocka_unit_test(looks_while_something_is_outstanding),
	    cmocka_unit_test(nothing_overflows),
		cmocka_unit_test(a_request_has_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
