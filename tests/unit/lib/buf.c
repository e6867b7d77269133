#include "lib/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void empty_owns_nothing(void **state)
{
	struct buf buf = {0};

	assert_int_equal(buf_length(&buf), 0);
	buf_consume(&buf, 0);
	buf_release(&buf);
	assert_int_equal(buf_append(&buf, "", 0), 0);
	assert_int_equal(buf_length(&buf), 0);
	assert_int_equal(buf_append(&buf, "abc", 3), 0);
	assert_non_null(buf.data);
	buf_consume(&buf, 3);
	assert_null(buf.data);
	assert_int_equal(buf.capacity, 0);
	assert_int_equal(buf_length(&buf), 0);
}

static void queues_in_order(void **state)
{
	struct buf buf = {0};

	assert_int_equal(buf_append(&buf, "hello ", 6), 0);
	assert_int_equal(buf_append(&buf, "world", 5), 0);
	buf_consume(&buf, 2);
	assert_int_equal(buf_length(&buf), 9);
	assert_memory_equal(buf_bytes(&buf), "llo world", 9);
	buf_release(&buf);
	assert_null(buf.data);
}

static void reserve_adds_nothing_until_commit(void **state)
{
	struct buf buf = {0};
	uint8_t *room = buf_reserve(&buf, 1000);

	assert_non_null(room);
	memset(room, 'x', 1000); /* all of it is ours: ASan watches */
	assert_int_equal(buf_length(&buf), 0);
	buf_commit(&buf, 3);
	assert_int_equal(buf_length(&buf), 3);
	assert_memory_equal(buf_bytes(&buf), "xxx", 3);
	room = buf_reserve(&buf, 5000);
	assert_non_null(room);
	memset(room, 'y', 5000);
	buf_commit(&buf, 5000);
	assert_int_equal(buf_length(&buf), 5003);
	assert_memory_equal(buf_bytes(&buf), "xxxy", 4);
	buf_release(&buf);
}

static void refuses_what_cannot_be(void **state)
{
	struct buf buf = {0};

	assert_int_equal(buf_append(&buf, "abc", 3), 0);
	assert_null(buf_reserve(&buf, (size_t)UINT32_MAX + 1));
	assert_int_equal(buf_length(&buf), 3);
	assert_memory_equal(buf_bytes(&buf), "abc", 3);
	buf_release(&buf);
}

/* Random appends, reservations and consumptions against counters: the n-th byte is a function of n. */
static uint8_t byte_at(uint64_t n)
{
	return (uint8_t)(n * 2654435761u >> 13);
}

static void agrees_with_a_counter(void **state)
{
	struct buf buf = {0};
	uint64_t written = 0, consumed = 0;
	uint32_t largest = 0;

	srand(11);
	for (int round = 0; round < 20000; round++) {
		size_t length = (size_t)(rand() % (round % 50 == 0 ? 20000 : 300));
		uint8_t bytes[20000];

		for (size_t i = 0; i < length; i++)
			bytes[i] = byte_at(written + i);
		if (rand() % 2 == 0) {
			assert_int_equal(buf_append(&buf, bytes, length), 0);
			written += length;
		} else if (length > 0) {
			uint8_t *room = buf_reserve(&buf, length);
			size_t used = (size_t)rand() % (length + 1);
			assert_non_null(room);
			memcpy(room, bytes, length);
			buf_commit(&buf, used);
			written += used;
		}
		assert_int_equal(buf_length(&buf), written - consumed);
		for (size_t i = 0; i < buf_length(&buf); i++)
			assert_int_equal(buf_bytes(&buf)[i], byte_at(consumed + i));
		size_t take = rand() % 8 == 0 ? buf_length(&buf) : (size_t)rand() % (buf_length(&buf) + 1);
		buf_consume(&buf, take);
		consumed += take;
		largest = buf.capacity > largest ? buf.capacity : largest;
	}
	assert_in_range(largest, 1, 1 << 18); /* consumed space is used again */
	buf_release(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_owns_nothing),
		cmocka_unit_test(queues_in_order),
		cmocka_unit_test(reserve_adds_nothing_until_commit),
		cmocka_unit_test(refuses_what_cannot_be),
		cmocka_unit_test(agrees_with_a_counter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
