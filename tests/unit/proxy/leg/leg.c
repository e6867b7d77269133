#include "proxy/leg/leg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/text.h"
#include "tests/unit/proxy/guard.h"
#include "tests/unit/proxy/pair.h"

enum { BUFFER = 16384, MEGABYTE = 1 << 20 };

/* A leg over one end of a connection, its peer, and a loop to close it with. */
struct fixture {
	struct loop *loop;
	struct leg leg;
	int peer;
};

static void never(struct loop_source *source, uint32_t events)
{
	fail();
}

static struct fixture open_leg(int buffer)
{
	struct fixture f;
	int fds[2];

	assert_int_equal(loop_new(&f.loop, NULL, NULL), 0);
	pair_open(fds, buffer);
	leg_init(&f.leg, fds[0], false, never);
	f.peer = fds[1];
	return f;
}

static void close_leg(struct fixture *f)
{
	leg_close(&f->leg, f->loop, false);
	assert_false(leg_open(&f->leg));
	assert_null(f->leg.out.data);
	assert_null(f->leg.in.data);
	if (f->peer >= 0)
		close(f->peer);
	loop_free(f->loop);
}

static void describes(const struct leg *leg, const char *expected)
{
	TEXT_ON_STACK(text, 256);

	leg_describe(leg->events, "peer", &text);
	assert_string_equal(text_bytes, expected);
}

/* Sends the next `length` bytes of the stream from memory that ends with them. */
static int send_next(struct fixture *f, uint64_t *offset, size_t length, int64_t now)
{
	uint8_t *bytes = malloc(length);
	int result;

	assert_non_null(bytes);
	pair_fill(bytes, length, *offset);
	result = leg_send(&f->leg, bytes, length, now);
	free(bytes);
	*offset += length;
	return result;
}

static void sends_at_once(void **state)
{
	struct fixture f = open_leg(0);
	uint64_t offset = 0;
	int error;

	assert_int_equal(leg_send(&f.leg, NULL, 0, 5), 0);
	assert_int_equal(f.leg.unacked_since, 0);
	assert_int_equal(send_next(&f, &offset, 1000, 7), 0);
	assert_int_equal(send_next(&f, &offset, 1, 9), 0);
	assert_false(leg_pending(&f.leg));
	assert_null(f.leg.out.data);
	assert_int_equal(f.leg.sent, 1001);
	assert_int_equal(f.leg.unacked_since, 7); /* as long as nobody has looked */
	pair_wait(f.peer);
	assert_int_equal(pair_drain(f.peer, 0, &error), 1001);
	close_leg(&f);
}

/* More than the sockets take, in uneven pieces, some sent while some wait: everything arrives once and in order, FIN behind it. */
static void partial_writes_keep_order(void **state)
{
	struct fixture f = open_leg(BUFFER);
	uint64_t offset = 0;
	int64_t received = 0;
	int error = -EAGAIN;

	srand(3);
	while (offset < 4 * MEGABYTE) {
		assert_int_equal(send_next(&f, &offset, 1 + (size_t)rand() % 50000, 1), 0);
		assert_int_equal(f.leg.sent + buf_length(&f.leg.out), offset);
		if (offset > MEGABYTE && rand() % 2) {
			received = pair_drain(f.peer, received, &error);
			assert_true(received >= 0);
			if (rand() % 2) /* else the next bytes meet a socket that has room while older ones wait */
				assert_int_equal(leg_flush(&f.leg, 2), 0);
		}
	}
	assert_true(leg_pending(&f.leg));
	leg_finish(&f.leg);
	assert_true(f.leg.fin_wanted);
	assert_false(f.leg.fin_sent);
	describes(&f.leg, "");
	for (int round = 0; leg_pending(&f.leg); round++) {
		assert_true(round < 100000);
		received = pair_drain(f.peer, received, &error);
		assert_int_equal(error, -EAGAIN); /* no FIN before the last byte */
		assert_int_equal(leg_flush(&f.leg, 3), 0);
	}
	assert_true(f.leg.fin_sent);
	assert_null(f.leg.out.data);
	describes(&f.leg, "fin:proxy");
	while (error == -EAGAIN) {
		pair_wait(f.peer);
		received = pair_drain(f.peer, received, &error);
	}
	assert_int_equal(error, -EPIPE);
	assert_int_equal(received, offset);
	assert_int_equal(f.leg.sent, offset);
	close_leg(&f);
}

/* While the socket is being connected, bytes and FIN wait. */
static void connecting_holds_everything(void **state)
{
	struct fixture f = open_leg(0);
	uint64_t offset = 0;
	int error;

	f.leg.connecting = true;
	assert_int_equal(send_next(&f, &offset, 100, 1), 0);
	leg_finish(&f.leg);
	assert_int_equal(send_next(&f, &offset, 100, 1), 0);
	assert_int_equal(leg_flush(&f.leg, 1), 0);
	assert_int_equal(buf_length(&f.leg.out), 200);
	assert_int_equal(f.leg.sent, 0);
	assert_int_equal(f.leg.unacked_since, 0);
	assert_false(f.leg.fin_sent);
	f.leg.connecting = false;
	assert_int_equal(leg_flush(&f.leg, 1), 0);
	assert_true(f.leg.fin_sent);
	pair_wait(f.peer);
	assert_int_equal(pair_drain(f.peer, 0, &error), 200);
	assert_int_equal(error, -EPIPE);
	close_leg(&f);
}

/* A FIN that was wanted with nothing to send goes out once connected. */
static void fin_alone_waits_for_the_connection(void **state)
{
	struct fixture f = open_leg(0);
	int error;

	f.leg.connecting = true;
	leg_finish(&f.leg);
	f.leg.connecting = false;
	assert_false(f.leg.fin_sent);
	assert_int_equal(leg_flush(&f.leg, 1), 0);
	assert_true(f.leg.fin_sent);
	leg_finish(&f.leg); /* once only */
	describes(&f.leg, "fin:proxy");
	pair_wait(f.peer);
	assert_int_equal(pair_drain(f.peer, 0, &error), 0);
	assert_int_equal(error, -EPIPE);
	close_leg(&f);
}

static void reads_then_fin(void **state)
{
	const struct guard *guard = *state;
	struct fixture f = open_leg(0);
	uint8_t *room = guard->end - 5;

	assert_int_equal(leg_read(&f.leg, room, 5), 0);
	assert_int_equal(send(f.peer, "hello world", 11, 0), 11);
	shutdown(f.peer, SHUT_WR);
	pair_wait(f.leg.source.fd);
	assert_int_equal(leg_read(&f.leg, room, 5), 5);
	assert_memory_equal(room, "hello", 5);
	assert_int_equal(leg_read(&f.leg, room, 5), 5);
	assert_false(f.leg.fin_received);
	assert_int_equal(leg_read(&f.leg, room, 5), 1);
	assert_int_equal(leg_read(&f.leg, room, 5), -EPIPE);
	assert_true(f.leg.fin_received);
	assert_false(f.leg.write_failed);
	assert_int_equal(f.leg.error, 0);
	assert_int_equal(f.leg.received, 11);
	describes(&f.leg, "fin:peer");
	/* The other way is open still. */
	assert_int_equal(leg_send(&f.leg, "x", 1, 1), 0);
	assert_false(leg_pending(&f.leg));
	close_leg(&f);
}

static void reads_rst(void **state)
{
	struct fixture f = open_leg(BUFFER);
	uint64_t offset = 0;
	uint8_t byte;

	while (!leg_pending(&f.leg))
		assert_int_equal(send_next(&f, &offset, 10000, 1), 0);
	pair_reset(f.peer);
	f.peer = -1;
	pair_wait(f.leg.source.fd);
	assert_int_equal(leg_read(&f.leg, &byte, 1), -ECONNRESET);
	assert_int_equal(f.leg.error, -ECONNRESET);
	assert_true(f.leg.write_failed);
	assert_false(f.leg.fin_received);
	assert_false(leg_pending(&f.leg)); /* what waited is dropped */
	describes(&f.leg, "rst:peer");
	assert_int_equal(leg_send(&f.leg, "x", 1, 2), -ECONNRESET);
	assert_false(leg_pending(&f.leg));
	leg_close(&f.leg, f.loop, true); /* nothing is left to reset */
	describes(&f.leg, "rst:peer");
	close_leg(&f);
}

/* The peer says something, then resets because it is written to: the failed write must not hide its last words, and what follows
 * them is the reset, not a clean end. */
static void last_words_after_a_failed_write(void **state)
{
	struct fixture f = open_leg(0);
	uint8_t bytes[16];
	int result = 0;

	assert_int_equal(send(f.peer, "goodbye", 7, 0), 7);
	pair_wait(f.leg.source.fd);
	close(f.peer);
	f.peer = -1;
	for (int i = 0; i < 1000 && !result; i++) {
		result = leg_send(&f.leg, "x", 1, 1);
		usleep(100);
	}
	assert_true(result == -EPIPE || result == -ECONNRESET);
	assert_int_equal(f.leg.error, result);
	assert_true(f.leg.write_failed);
	describes(&f.leg, "rst:peer");
	assert_int_equal(leg_send(&f.leg, "x", 1, 1), result);
	assert_int_equal(leg_flush(&f.leg, 1), 0);
	result = leg_read(&f.leg, bytes, sizeof bytes);
	/* Linux keeps what was received before a FIN; a RST behind it may have thrown it away. */
	if (result > 0) {
		assert_int_equal(result, 7);
		assert_memory_equal(bytes, "goodbye", 7);
		result = leg_read(&f.leg, bytes, sizeof bytes);
	}
	assert_true(result < 0);
	assert_int_equal(f.leg.error, result);
	assert_false(f.leg.fin_received);
	describes(&f.leg, "rst:peer");
	close_leg(&f);
}

static void closes_with_fin_or_rst(void **state)
{
	static const struct {
		bool reset, finished;
		int error; /* on the leg before */
		const char *events;
		int peer_sees;
	} rows[] = {
	    {false, false, 0, "fin:proxy", -EPIPE},
	    {false, true, 0, "fin:proxy", -EPIPE},
	    {true, false, 0, "rst:proxy", -ECONNRESET},
	    {true, true, 0, "fin:proxy rst:proxy", -EPIPE},
	    {false, false, -ETIMEDOUT, "timed-out:peer", -EPIPE},
	    {true, false, -EHOSTUNREACH, "failed:peer", -EPIPE},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fixture f = open_leg(0);
		int error;

		if (rows[i].finished)
			leg_finish(&f.leg);
		if (rows[i].error)
			assert_int_equal(leg_fail(&f.leg, rows[i].error), rows[i].error);
		leg_close(&f.leg, f.loop, rows[i].reset);
		describes(&f.leg, rows[i].events);
		pair_wait(f.peer);
		pair_drain(f.peer, 0, &error);
		if (error != rows[i].peer_sees && !(rows[i].finished && rows[i].reset))
			fail_msg("row %zu: %d", i, error);
		leg_close(&f.leg, f.loop, !rows[i].reset); /* closed is closed */
		leg_finish(&f.leg);
		describes(&f.leg, rows[i].events);
		close_leg(&f);
	}
}

static void notes_each_event_once_in_order(void **state)
{
	static const enum leg_event all[] = {LEG_FIN_PEER, LEG_FIN_PEER, LEG_FIN_PROXY, LEG_RST_PEER, LEG_FIN_PEER, LEG_TIMED_OUT,
	                                     LEG_FAILED, LEG_RST_PROXY};
	struct leg leg = {0};
	TEXT_ON_STACK(text, 256);

	describes(&leg, "");
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		leg_note(&leg, all[i]);
	describes(&leg, "fin:peer fin:proxy rst:peer timed-out:peer"); /* the first LEG_EVENTS */
	text_string(&text, "reused:2");
	leg_describe(leg.events, "server", &text);
	assert_string_equal(text_bytes, "reused:2 fin:server fin:proxy rst:server timed-out:server");
	leg = (struct leg){.events = {LEG_FAILED, LEG_RST_PROXY}};
	describes(&leg, "failed:peer rst:proxy");
}

/* What lies behind the events is none of them. */
static void describes_no_more_than_there_are(void **state)
{
	static const uint8_t events[LEG_EVENTS + 1] = {LEG_FIN_PEER, LEG_FIN_PROXY, LEG_RST_PEER, LEG_FAILED, LEG_RST_PROXY};
	TEXT_ON_STACK(text, 256);

	leg_describe(events, "client", &text);
	assert_string_equal(text_bytes, "fin:client fin:proxy rst:client failed:client");
}

static void errors_become_events(void **state)
{
	static const struct {
		int error;
		const char *event;
	} rows[] = {
	    {-ECONNRESET, "rst:peer"}, {-EPIPE, "rst:peer"}, {-ETIMEDOUT, "timed-out:peer"}, {-EHOSTUNREACH, "failed:peer"},
	    {-ENETDOWN, "failed:peer"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct leg leg = {0};

		assert_int_equal(buf_append(&leg.out, "abc", 3), 0);
		assert_int_equal(buf_append(&leg.in, "def", 3), 0);
		assert_int_equal(leg_fail(&leg, rows[i].error), rows[i].error);
		assert_int_equal(leg.error, rows[i].error);
		assert_true(leg.write_failed);
		assert_int_equal(buf_length(&leg.out), 0);
		assert_int_equal(buf_length(&leg.in), 3); /* read already: it is judged as it is */
		describes(&leg, rows[i].event);
		buf_release(&leg.in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sends_at_once),
	    cmocka_unit_test(partial_writes_keep_order),
	    cmocka_unit_test(connecting_holds_everything),
	    cmocka_unit_test(fin_alone_waits_for_the_connection),
	    cmocka_unit_test(reads_then_fin),
	    cmocka_unit_test(reads_rst),
	    cmocka_unit_test(last_words_after_a_failed_write),
	    cmocka_unit_test(closes_with_fin_or_rst),
	    cmocka_unit_test(notes_each_event_once_in_order),
	    cmocka_unit_test(describes_no_more_than_there_are),
	    cmocka_unit_test(errors_become_events),
	};

	return cmocka_run_group_tests(tests, guard_setup, guard_teardown);
}
