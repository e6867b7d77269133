/* The stage machine of conn.c without sockets: names, phases, and which stage may follow which. */
#include "proxy/connection/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/exchange/exchange.h"
#include "proxy/http1/proto_http1.h"
#include "proxy/server/upstream.h"

#define S(name) (1u << STAGE_##name)

/* The map in conn.c's head, as a table. */
static const uint32_t may_enter[STAGE_COUNT] = {
    [STAGE_ACCEPT] = S(DETECT) | S(LINGER) | S(CLOSED),
    [STAGE_DETECT] = S(CONNECT) | S(OPAQUE) | S(STREAMS) | S(IDLE) | S(LINGER) | S(CLOSED),
    [STAGE_CONNECT] = S(OPAQUE) | S(STREAMS) | S(LINGER) | S(CLOSED),
    [STAGE_OPAQUE] = S(LINGER) | S(CLOSED),
    [STAGE_IDLE] = S(HEAD) | S(TUNNEL) | S(LINGER) | S(CLOSED),
    [STAGE_HEAD] = S(EXCHANGE) | S(TUNNEL) | S(LINGER) | S(CLOSED),
    [STAGE_EXCHANGE] = S(IDLE) | S(TUNNEL) | S(LINGER) | S(CLOSED),
    [STAGE_STREAMS] = S(TUNNEL) | S(LINGER) | S(CLOSED),
    [STAGE_TUNNEL] = S(LINGER) | S(CLOSED),
    [STAGE_LINGER] = S(CLOSED),
    [STAGE_CLOSED] = 0,
};

/* What the map does not show leaves the stage as it was and marks the connection, which conn_settle() then ends. */
static void moves_as_the_map_says(void **state)
{
	for (int from = 0; from < STAGE_COUNT; from++)
		for (int to = 0; to < STAGE_COUNT; to++) {
			bool legal = may_enter[from] & (1u << to);
			struct conn conn = {.stage = (enum stage)from, .alarm = ALARM_TURN};

			conn_enter(&conn, (enum stage)to);
			assert_int_equal(conn.stage, legal ? to : from);
			assert_int_equal(conn.broken, !legal);
			assert_int_equal(conn.alarm, ALARM_NONE); /* what was armed in one stage cannot fire in another */
		}
}

static void alarms_belong_to_stages(void **state)
{
	static const struct {
		enum stage stage;
		uint32_t alarms;
	} rows[] = {
	    {STAGE_ACCEPT, 0},
	    {STAGE_DETECT, ALARM_BIT(ALARM_GRACE) | ALARM_BIT(ALARM_DRAIN_GRACE)},
	    {STAGE_CONNECT, ALARM_BIT(ALARM_STREAM)},
	    {STAGE_OPAQUE, ALARM_BIT(ALARM_HALF_CLOSED)},
	    {STAGE_IDLE, ALARM_BIT(ALARM_TURN)},
	    {STAGE_HEAD, ALARM_BIT(ALARM_GRACE)},
	    {STAGE_EXCHANGE, ALARM_BIT(ALARM_BACKOFF) | ALARM_BIT(ALARM_ATTEMPT) | ALARM_BIT(ALARM_DISCARD)},
	    {STAGE_STREAMS, ALARM_BIT(ALARM_STREAM)},
	    {STAGE_TUNNEL, ALARM_BIT(ALARM_HALF_CLOSED)},
	    {STAGE_LINGER, ALARM_BIT(ALARM_LINGER)},
	    {STAGE_CLOSED, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int alarm = ALARM_NONE + 1; alarm < ALARM_COUNT; alarm++) {
			bool belongs = rows[i].alarms & ALARM_BIT(alarm);
			struct conn conn = {.stage = rows[i].stage};

			conn_arm(&conn, (enum alarm)alarm, 5);
			assert_int_equal(conn.alarm, belongs ? alarm : ALARM_NONE);
			assert_int_equal(conn.broken, !belongs);
			conn_disarm(&conn);
			assert_int_equal(conn.alarm, ALARM_NONE);
		}
}

static void phases(void **state)
{
	/* Without an exchange a phase is its stage's name; while the server is being dialled and waited for it is "connect". */
	for (int stage = 0; stage < STAGE_COUNT; stage++) {
		struct upstream upstream = {.leg = {.connecting = true}};
		struct conn conn = {.stage = (enum stage)stage};

		assert_string_equal(words_phase(conn_phase(&conn)), words_phase((enum stage)stage));
		conn.upstream = &upstream;
		if (stage == STAGE_CONNECT || stage == STAGE_EXCHANGE)
			assert_string_equal(words_phase(conn_phase(&conn)), "connect");
		if (stage == STAGE_IDLE || stage == STAGE_HEAD)
			assert_string_equal(words_phase(conn_phase(&conn)), words_phase((enum stage)stage));
		upstream.leg.connecting = false;
		assert_string_equal(words_phase(conn_phase(&conn)), words_phase((enum stage)stage));
	}
}

static void phases_of_an_exchange(void **state)
{
	static const struct {
		bool connecting, request_complete, response_head;
		const char *phase;
	} rows[] = {
	    {true, false, false, "connect"}, {true, true, false, "connect"}, {false, false, false, "request"},
	    {false, true, false, "wait"},    {false, true, true, "response"},
	    {false, false, true, "response"}, /* an early one */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct upstream upstream = {.leg = {.connecting = rows[i].connecting}};
		struct exchange exchange = {.request_body = {.complete = rows[i].request_complete},
		                            .response_head = rows[i].response_head};
		struct conn conn = {.stage = STAGE_EXCHANGE, .upstream = &upstream, .proto = &proto_http1, .exchange = &exchange};

		assert_string_equal(words_phase(conn_phase(&conn)), rows[i].phase);
	}
}

/* What a rule refuses was never sent anywhere, whether a connection to the server is there, is coming, or neither. */
static void phase_of_what_is_refused(void **state)
{
	for (int complete = 0; complete < 2; complete++)
		for (int leg = 0; leg < 3; leg++) {
			struct upstream upstream = {.leg = {.connecting = leg == 1}};
			struct exchange exchange = {.request_body = {.complete = complete}, .refusal = REASON_NO_ROUTE};
			struct conn conn = {.stage = STAGE_EXCHANGE, .upstream = leg ? &upstream : NULL, .proto = &proto_http1, .exchange = &exchange};

			assert_string_equal(words_phase(conn_phase(&conn)), complete ? "wait" : "request");
		}
}

/* What is read in each stage: with nothing waiting; while bytes wait for the client, and for the server. */
static void sides_are_read_as_the_table_says(void **state)
{
	enum { C = CONN_CLIENT, SV = CONN_SERVER };
	static const struct {
		enum stage stage;
		unsigned free, client_owed, server_owed;
	} rows[] = {
	    {STAGE_ACCEPT, 0, 0, 0},          {STAGE_DETECT, C | SV, C, SV}, {STAGE_CONNECT, 0, 0, 0}, {STAGE_OPAQUE, C | SV, C, SV},
	    {STAGE_IDLE, C | SV, 0, SV},      {STAGE_HEAD, C | SV, 0, SV},   {STAGE_EXCHANGE, C | SV, C, SV},
	    {STAGE_TUNNEL, C | SV, C, SV},    {STAGE_LINGER, C, C, 0},       {STAGE_CLOSED, 0, 0, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct upstream upstream = {0};
		struct conn conn = {.stage = rows[i].stage, .upstream = &upstream};

		assert_int_equal(conn_reads(&conn), rows[i].free);
		conn_hold_client(&conn, true);
		assert_int_equal(conn_reads(&conn), rows[i].free & SV);
		conn_hold_client(&conn, false);
		conn.client.fin_received = true;
		assert_int_equal(conn_reads(&conn), rows[i].free & SV);
		conn.client.fin_received = false;
		upstream.leg.fin_received = true;
		assert_int_equal(conn_reads(&conn), rows[i].free & C);
		upstream.leg.fin_received = false;
		assert_int_equal(buf_append(&conn.client.out, "x", 1), 0);
		assert_int_equal(conn_reads(&conn), rows[i].client_owed);
		buf_release(&conn.client.out);
		assert_int_equal(buf_append(&upstream.leg.out, "x", 1), 0);
		assert_int_equal(conn_reads(&conn), rows[i].server_owed);
		buf_release(&upstream.leg.out);
		conn.upstream = NULL;
		assert_int_equal(conn_reads(&conn), rows[i].free & C);
	}
}

/* A client that was held in one stage is read in the next. */
static void no_stage_holds_for_another(void **state)
{
	struct conn conn = {.stage = STAGE_EXCHANGE};

	conn_hold_client(&conn, true);
	assert_int_equal(conn_reads(&conn), 0);
	conn_enter(&conn, STAGE_IDLE);
	assert_int_equal(conn_reads(&conn), CONN_CLIENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(moves_as_the_map_says),
	    cmocka_unit_test(alarms_belong_to_stages),
	    cmocka_unit_test(phases),
	    cmocka_unit_test(phases_of_an_exchange),
	    cmocka_unit_test(phase_of_what_is_refused),
	    cmocka_unit_test(sides_are_read_as_the_table_says),
	    cmocka_unit_test(no_stage_holds_for_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
