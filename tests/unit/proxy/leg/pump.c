#include "proxy/leg/pump.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/loop.h"
#include "proxy/leg/leg.h"
#include "tests/unit/proxy/pair.h"

enum { MEGABYTE = 1 << 20 };

/* Two legs: bytes go from `sender` through `from` and `to` to `receiver`. */
struct fixture {
	struct pump *pump;
	struct leg from, to;
	int sender, receiver;
	uint64_t sent;     /* by the sender */
	int64_t received;  /* by the receiver */
	int receiver_error;
};

static struct fixture open_pump(int to_buffer)
{
	struct fixture f = {.pump = calloc(1, sizeof *f.pump)};
	int fds[2];

	assert_non_null(f.pump);
	assert_int_equal(loop_new(&f.pump->loop, NULL, NULL), 0);
	f.pump->scratch = malloc(PUMP_SCRATCH);
	assert_non_null(f.pump->scratch);
	pair_open(fds, 0);
	leg_init(&f.from, fds[0], false, NULL);
	f.sender = fds[1];
	pair_open(fds, to_buffer);
	leg_init(&f.to, fds[0], false, NULL);
	f.receiver = fds[1];
	return f;
}

static void close_pump(struct fixture *f)
{
	pump_drop(f->pump, &f->to);
	leg_close(&f->from, f->pump->loop, false);
	leg_close(&f->to, f->pump->loop, false);
	pump_free_pipes(f->pump);
	assert_null(f->pump->pipes);
	assert_int_equal(f->pump->pipes_idle, 0);
	assert_int_equal(f->pump->pipes_open, 0);
	loop_free(f->pump->loop);
	free(f->pump->scratch);
	free(f->pump);
	if (f->sender >= 0)
		close(f->sender);
	if (f->receiver >= 0)
		close(f->receiver);
}

/* The sender writes as much as it can of the stream up to `until`. */
static void say(struct fixture *f, uint64_t until)
{
	uint8_t bytes[65536];

	while (f->sent < until) {
		size_t length = until - f->sent < sizeof bytes ? (size_t)(until - f->sent) : sizeof bytes;
		ssize_t put;

		pair_fill(bytes, length, f->sent);
		put = send(f->sender, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put < 0)
			break;
		f->sent += (uint64_t)put;
	}
	pair_wait(f->from.source.fd);
}

static void listen_up(struct fixture *f)
{
	f->received = pair_drain(f->receiver, f->received, &f->receiver_error);
	assert_true(f->received >= 0);
}

static void listen_until(struct fixture *f, int64_t length)
{
	while (f->received < length) {
		pair_wait(f->receiver);
		listen_up(f);
	}
	assert_int_equal(f->received, length);
}

static void copies(void **state)
{
	static const uint64_t lengths[] = {1, 100, 4096, PUMP_BULK - 1};

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct fixture f = open_pump(0);
		uint64_t moved = 99, total = 0;

		assert_int_equal(pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved), PUMP_DRAINED);
		assert_int_equal(moved, 0);
		say(&f, lengths[i]);
		while (total < lengths[i]) {
			assert_int_equal(pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved), PUMP_DRAINED);
			total += moved;
		}
		assert_int_equal(f.from.received, lengths[i]);
		assert_int_equal(f.to.sent, lengths[i]);
		assert_null(f.pump->pipes); /* no pipe for so little */
		assert_false(leg_pending(&f.to));
		listen_until(&f, (int64_t)lengths[i]);
		close_pump(&f);
	}
}

/* Megabytes to a receiver that keeps up now and then: all arrives, in order, with back-pressure, through a pipe at times. */
static void moves_much(void **state)
{
	static const int buffers[] = {0, 65536};

	for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
		struct fixture f = open_pump(buffers[i]);
		const uint64_t all = 32 * MEGABYTE;
		uint64_t moved, total = 0, blocked = 0, piped = 0;

		srand(7);
		while (total < all) {
			enum pump_end end;

			say(&f, all);
			end = pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved);
			total += moved;
			piped += f.to.pipe || f.pump->pipes;
			assert_true(end == PUMP_DRAINED || end == PUMP_BLOCKED || end == PUMP_YIELD);
			assert_int_equal(leg_pending(&f.to), end == PUMP_BLOCKED);
			assert_true(moved <= 16 * 256 * 1024); /* one turn is not for ever */
			while (leg_pending(&f.to)) {
				blocked++;
				if (rand() % 4)
					listen_up(&f);
				assert_int_equal(pump_flush(f.pump, &f.to), 0);
			}
		}
		assert_int_equal(f.from.received, all);
		assert_int_equal(f.to.sent, all);
		listen_until(&f, (int64_t)all);
		assert_true(piped > 0);
		assert_true(!buffers[i] || blocked > 0);
		assert_true(f.pump->pipes_idle <= 16);
		close_pump(&f);
	}
}

/* A FIN that is wanted while bytes wait goes out behind the last of them. */
static void fin_waits_for_the_rest(struct fixture *f)
{
	leg_finish(&f->to);
	assert_false(f->to.fin_sent);
	for (int round = 0; leg_pending(&f->to); round++) {
		assert_true(round < 100000);
		listen_up(f);
		assert_int_equal(f->receiver_error, -EAGAIN);
		assert_int_equal(pump_flush(f->pump, &f->to), 0);
	}
	assert_true(f->to.fin_sent);
	while (f->receiver_error == -EAGAIN) {
		pair_wait(f->receiver);
		listen_up(f);
	}
	assert_int_equal(f->receiver_error, -EPIPE);
	assert_int_equal(f->received, f->to.sent);
}

/* A receiver that does not read: a bounded amount is taken, then nothing more is lost or gained. */
static void blocks(void **state)
{
	struct fixture f = open_pump(16384);
	enum pump_end end = PUMP_DRAINED;
	uint64_t moved, total = 0;

	while (end != PUMP_BLOCKED) {
		say(&f, f.sent + MEGABYTE);
		end = pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved);
		total += moved;
		assert_true(total < 8 * MEGABYTE);
	}
	assert_true(leg_pending(&f.to));
	assert_int_equal(f.from.received, total);
	assert_true(f.to.sent < total);
	assert_true(total - f.to.sent <= 256 * 1024 + PUMP_SCRATCH);
	fin_waits_for_the_rest(&f);
	assert_int_equal(f.received, total);
	close_pump(&f);
}

/* Not a byte over the limit is read, by whichever way they go. */
static void keeps_to_the_limit(void **state)
{
	static const uint64_t limits[] = {0, 1, 100, 65535, 65536, 65537, 131072, 200000, 1000000, 4194304, 4194305};

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct fixture f = open_pump(0);
		uint64_t moved, total = 0;
		enum pump_end end = PUMP_DRAINED;

		while (end != PUMP_LIMIT) {
			say(&f, limits[i] + 1000);
			end = pump_move(f.pump, &f.from, &f.to, limits[i] - total, &moved);
			total += moved;
			assert_true(total <= limits[i]);
			listen_up(&f);
			if (leg_pending(&f.to))
				assert_int_equal(pump_flush(f.pump, &f.to), 0);
			if (total == limits[i] && end != PUMP_LIMIT)
				assert_true(end == PUMP_BLOCKED || end == PUMP_DRAINED);
		}
		assert_int_equal(total, limits[i]);
		say(&f, limits[i] + 1000);
		while (leg_pending(&f.to)) {
			listen_up(&f);
			assert_int_equal(pump_flush(f.pump, &f.to), 0);
		}
		listen_until(&f, (int64_t)limits[i]);
		total = 0;
		while (total < 1000) { /* what lies behind is still there */
			say(&f, limits[i] + 1000);
			end = pump_move(f.pump, &f.from, &f.to, 1000 - total, &moved);
			assert_true(end == PUMP_LIMIT || end == PUMP_DRAINED);
			total += moved;
		}
		listen_until(&f, (int64_t)limits[i] + 1000);
		close_pump(&f);
	}
}

static void fin_comes_behind_the_last_byte(void **state)
{
	static const uint64_t lengths[] = {0, 1, 5000, 65536, 131072, 3 * MEGABYTE};

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct fixture f = open_pump(0);
		uint64_t moved, total = 0;
		enum pump_end end = PUMP_DRAINED;
		bool shut = false;

		while (end != PUMP_FIN) {
			if (f.sent < lengths[i])
				say(&f, lengths[i]);
			if (f.sent == lengths[i] && !shut)
				shut = !shutdown(f.sender, SHUT_WR);
			pair_wait(f.from.source.fd);
			end = pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved);
			total += moved;
			while (leg_pending(&f.to)) {
				listen_up(&f);
				assert_int_equal(pump_flush(f.pump, &f.to), 0);
			}
			assert_true(end == PUMP_FIN || !f.from.fin_received);
		}
		assert_true(f.from.fin_received);
		assert_int_equal(f.from.error, 0);
		assert_int_equal(total, lengths[i]);
		listen_until(&f, (int64_t)lengths[i]);
		close_pump(&f);
	}
}

static void a_reset_sender_is_told(void **state)
{
	struct fixture f = open_pump(0);
	uint64_t moved;

	pair_reset(f.sender);
	f.sender = -1;
	pair_wait(f.from.source.fd);
	assert_int_equal(pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved), PUMP_FROM_FAILED);
	assert_int_equal(moved, 0);
	assert_int_equal(f.from.error, -ECONNRESET);
	assert_false(f.from.fin_received);
	assert_int_equal(f.to.error, 0);
	close_pump(&f);
}

/* Until bytes wait for the receiver: in the leg's buffer, or in a pipe, for which its socket must first take a whole scratch. */
static struct fixture open_blocked(bool in_pipe)
{
	struct fixture f = open_pump(in_pipe ? 131072 : 16384);
	uint64_t moved;

	for (int round = 0; in_pipe ? !f.to.pipe : !leg_pending(&f.to); round++) {
		assert_true(round < 1000);
		while (leg_pending(&f.to)) {
			listen_up(&f);
			assert_int_equal(pump_flush(f.pump, &f.to), 0);
		}
		listen_up(&f);
		say(&f, f.sent + 4 * MEGABYTE);
		pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved);
	}
	return f;
}

/* The receiver resets before it is written to, while bytes wait in the buffer, and while they wait in a pipe. */
static void a_reset_receiver_is_told(void **state)
{
	for (int where = 0; where < 3; where++) {
		struct fixture f = where ? open_blocked(where == 2) : open_pump(0);
		uint64_t moved;

		say(&f, f.sent + 1000);
		pair_reset(f.receiver);
		f.receiver = -1;
		pair_wait(f.to.source.fd);
		if (where)
			assert_true(pump_flush(f.pump, &f.to) < 0);
		else
			assert_int_equal(pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved), PUMP_TO_FAILED);
		assert_true(f.to.error == -ECONNRESET || f.to.error == -EPIPE);
		assert_true(f.to.write_failed);
		assert_false(leg_pending(&f.to));
		assert_null(f.pump->pipes); /* one with bytes in it is not used again */
		assert_int_equal(f.from.error, 0);
		close_pump(&f);
	}
}

static int open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Given up with bytes in it, a pipe is not used again: the next connection must not get them. */
static void a_dropped_pipe_is_gone(void **state)
{
	int before = open_descriptors();
	struct fixture f = open_blocked(true);

	pump_drop(f.pump, &f.to);
	assert_null(f.to.pipe);
	assert_false(leg_pending(&f.to));
	assert_null(f.pump->pipes);
	close_pump(&f);
	assert_int_equal(open_descriptors(), before);
}

/* An emptied one serves the next, and the FIN has waited for it. */
static void an_emptied_pipe_is_kept(void **state)
{
	struct fixture f = open_blocked(true);

	fin_waits_for_the_rest(&f);
	assert_non_null(f.pump->pipes);
	assert_int_equal(f.pump->pipes_idle, 1);
	close_pump(&f);
}

/* What comes by the buffer goes through a pipe from its first byte on, until less comes at a time. */
static void a_pipe_serves_bulk(void **state)
{
	static const struct {
		bool bulk;
		size_t open; /* pipes there are already */
		uint64_t length;
		bool piped, bulk_after;
	} rows[] = {
	    {false, 0, 20000, false, false},
	    {true, 0, 20000, true, true},
	    {true, 0, 1000, true, false},
	    {true, 128, 20000, false, false}, /* as many as there may be */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fixture f = open_pump(0);
		uint64_t moved;

		f.from.bulk = rows[i].bulk;
		f.pump->pipes_open = rows[i].open;
		say(&f, rows[i].length);
		assert_int_equal(pump_move(f.pump, &f.from, &f.to, UINT64_MAX, &moved), PUMP_DRAINED);
		assert_int_equal(moved, rows[i].length);
		assert_int_equal(f.pump->pipes != NULL, rows[i].piped);
		assert_int_equal(f.from.bulk, rows[i].bulk_after);
		listen_until(&f, (int64_t)rows[i].length);
		f.pump->pipes_open -= rows[i].open;
		close_pump(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(copies),
	    cmocka_unit_test(moves_much),
	    cmocka_unit_test(blocks),
	    cmocka_unit_test(keeps_to_the_limit),
	    cmocka_unit_test(fin_comes_behind_the_last_byte),
	    cmocka_unit_test(a_reset_sender_is_told),
	    cmocka_unit_test(a_reset_receiver_is_told),
	    cmocka_unit_test(a_dropped_pipe_is_gone),
	    cmocka_unit_test(an_emptied_pipe_is_kept),
	    cmocka_unit_test(a_pipe_serves_bulk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
