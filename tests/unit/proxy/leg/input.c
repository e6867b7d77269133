#include "proxy/leg/input.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/connection/worker.h"
#include "proxy/leg/leg.h"
#include "tests/unit/proxy/pair.h"

struct fixture {
	struct leg leg;
	int peer;
	uint8_t *scratch; /* of exactly WORKER_SCRATCH bytes */
};

static struct fixture open_input(void)
{
	struct fixture f;
	int fds[2];

	pair_open(fds, 0);
	leg_init(&f.leg, fds[0], false, NULL);
	f.peer = fds[1];
	f.scratch = malloc(WORKER_SCRATCH);
	assert_non_null(f.scratch);
	return f;
}

static void close_input(struct fixture *f)
{
	buf_release(&f->leg.in);
	close(f->leg.source.fd);
	if (f->peer >= 0)
		close(f->peer);
	free(f->scratch);
}

static void say(struct fixture *f, const char *bytes)
{
	assert_int_equal(send(f->peer, bytes, strlen(bytes), 0), strlen(bytes));
	pair_wait(f->leg.source.fd);
}

static void holds(const struct leg *leg, const char *bytes)
{
	assert_int_equal(buf_length(&leg->in), strlen(bytes));
	if (*bytes)
		assert_memory_equal(buf_bytes(&leg->in), bytes, strlen(bytes));
}

static void is(const struct input *input, const char *bytes)
{
	assert_int_equal(input->length, strlen(bytes));
	assert_memory_equal(input->bytes, bytes, strlen(bytes));
}

static void reads_into_scratch(void **state)
{
	struct fixture f = open_input();
	struct input input;

	assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 0);
	assert_int_equal(input.length, 0);
	say(&f, "hello");
	assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 5);
	is(&input, "hello");
	assert_ptr_equal(input.bytes, f.scratch);
	assert_null(input.taken.data);
	holds(&f.leg, "");
	input_free(&input);
	close_input(&f);
}

/* What is not consumed is given back and comes in front of what is read next; only that is read into the leg's own buffer. */
static void held_bytes_come_first(void **state)
{
	struct fixture f = open_input();
	struct input input;

	say(&f, "one two");
	assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 7);
	assert_int_equal(input_hold(&input, &f.leg, 4), 0);
	holds(&f.leg, "two");
	input_free(&input);
	memset(f.scratch, 'x', WORKER_SCRATCH);
	assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 0); /* nothing new: they stay where they are */
	holds(&f.leg, "two");
	input_free(&input);
	holds(&f.leg, "two");
	say(&f, " three");
	assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 6);
	is(&input, "two three");
	holds(&f.leg, "");
	assert_int_equal(input_hold(&input, &f.leg, 0), 0);
	holds(&f.leg, "two three");
	input_free(&input);
	holds(&f.leg, "two three");
	input_take(&input, &f.leg);
	is(&input, "two three");
	holds(&f.leg, "");
	assert_int_equal(input_hold(&input, &f.leg, 8), 0);
	holds(&f.leg, "e");
	input_free(&input);
	holds(&f.leg, "e");
	close_input(&f);
}

static void all_consumed_holds_nothing(void **state)
{
	struct fixture f = open_input();

	for (size_t beyond = 0; beyond < 2; beyond++)
		for (int taken = 0; taken < 2; taken++) {
			struct input input;

			say(&f, "abc");
			assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 3);
			if (taken) {
				assert_int_equal(input_hold(&input, &f.leg, 0), 0);
				input_free(&input);
				input_take(&input, &f.leg);
			}
			assert_int_equal(input_hold(&input, &f.leg, 3 + beyond), 0);
			input_free(&input);
			assert_null(f.leg.in.data);
			assert_null(input.taken.data);
			assert_int_equal(input.length, 0);
		}
	close_input(&f);
}

static void a_closed_leg_takes_nothing(void **state)
{
	struct fixture f = open_input();
	struct input input;
	int fd = f.leg.source.fd;

	say(&f, "abc");
	assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 3);
	f.leg.source.fd = -1;
	assert_int_equal(input_hold(&input, &f.leg, 1), 0);
	assert_null(f.leg.in.data);
	f.leg.source.fd = fd;
	assert_int_equal(input_hold(&input, &f.leg, 1), 0);
	input_free(&input);
	input_take(&input, &f.leg);
	f.leg.source.fd = -1;
	assert_int_equal(input_hold(&input, &f.leg, 1), 0);
	assert_null(f.leg.in.data);
	input_free(&input); /* the taken bytes are freed here: ASan would say otherwise */
	f.leg.source.fd = fd;
	close_input(&f);
}

/* The end is told while bytes are held, and they are not lost. */
static void ends_with_bytes_held(void **state)
{
	static const int resets[] = {0, 1};

	for (size_t i = 0; i < sizeof resets / sizeof *resets; i++) {
		struct fixture f = open_input();
		struct input input;

		say(&f, "GET /");
		assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), 5);
		assert_int_equal(input_hold(&input, &f.leg, 0), 0);
		input_free(&input);
		if (resets[i])
			pair_reset(f.peer);
		else
			close(f.peer);
		f.peer = -1;
		pair_wait(f.leg.source.fd);
		assert_int_equal(input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH), resets[i] ? -ECONNRESET : -EPIPE);
		assert_int_equal(f.leg.fin_received, !resets[i]);
		assert_int_equal(input.length, 0);
		input_free(&input);
		holds(&f.leg, "GET /");
		close_input(&f);
	}
}

/* Many reads, each holding a part: every byte is seen once, in order, and a read never takes more than its room. */
static void a_long_stream_stays_whole(void **state)
{
	struct fixture f = open_input();
	uint64_t sent = 0, consumed = 0;

	srand(5);
	while (sent < 400000 || consumed < sent) {
		uint8_t bytes[9000];
		size_t length = 1 + (size_t)rand() % sizeof bytes, take;
		struct input input;
		int got;

		pair_fill(bytes, length, sent);
		if (sent < 400000 && send(f.peer, bytes, length, 0) == (ssize_t)length)
			sent += length;
		got = input_read(&input, &f.leg, f.scratch, WORKER_SCRATCH);
		if (got > 0) {
			for (size_t at = 0; at < input.length; at++)
				assert_int_equal(input.bytes[at], pair_byte(consumed + at));
			take = (size_t)rand() % 3 ? (size_t)rand() % (input.length + 1) : input.length;
			assert_int_equal(input_hold(&input, &f.leg, take), 0);
			assert_int_equal(buf_length(&f.leg.in), input.length - take);
			consumed += take;
		} else {
			assert_int_equal(got, 0);
			input_take(&input, &f.leg); /* only held bytes are left */
			consumed += input.length;
		}
		input_free(&input);
	}
	assert_int_equal(consumed, sent);
	close_input(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_into_scratch),
	    cmocka_unit_test(held_bytes_come_first),
	    cmocka_unit_test(all_consumed_holds_nothing),
	    cmocka_unit_test(a_closed_leg_takes_nothing),
	    cmocka_unit_test(ends_with_bytes_held),
	    cmocka_unit_test(a_long_stream_stays_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
