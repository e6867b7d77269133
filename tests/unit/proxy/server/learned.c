#include "proxy/server/learned.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"

static struct learned *table;
static struct addr server, other;
static int64_t now;

static int setup(void **state)
{
	table = calloc(1, sizeof *table);
	now = 1000;
	return !table || addr_parse("10.0.0.1:80", &server) || addr_parse("10.0.0.1:81", &other);
}

static int teardown(void **state)
{
	free(table);
	return 0;
}

/* A close after this rest, a while after what was before. */
static bool closes(int64_t idle_ms)
{
	now += idle_ms + 1000;
	return learned_observe(table, &server, idle_ms, now);
}

static const char *said(const struct addr *destination)
{
	static char bytes[128];
	struct text text;

	text_init(&text, bytes, sizeof bytes);
	learned_describe(table, destination, &text);
	return bytes;
}

static void nothing_is_known_at_first(void **state)
{
	assert_int_equal(learned_limit(table, &server), 0);
	assert_string_equal(said(&server), "");
}

static void two_closes_at_one_age_are_believed(void **state)
{
	static const struct {
		int64_t first, second;
		bool agree;
	} rows[] = {
	    {5000, 5000, true},    {5000, 5500, true},    {5000, 5501, false},    {5000, 4500, true},  {5000, 4499, false},
	    {60000, 66000, true},  {60000, 66001, false}, {60000, 54000, true},   {60000, 53999, false},
	    {1200, 1500, true},    {1200, 1501, false},   {400, 300, true},       {400, 299, false},   {100, 125, true},
	    {100, 126, false},     {99, 99, false},       {0, 0, false},          {-5, -5, false},     {1 << 30, 1 << 30, true},
	    {INT64_MAX / 2, INT64_MAX / 2, true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		memset(table, 0, sizeof *table);
		assert_false(learned_observe(table, &server, rows[i].first, 1000));
		assert_int_equal(learned_limit(table, &server), 0);
		if (learned_observe(table, &server, rows[i].second, 9000) != rows[i].agree)
			fail_msg("%lld and %lld", (long long)rows[i].first, (long long)rows[i].second);
		assert_int_equal(learned_limit(table, &server) > 0, rows[i].agree);
	}
}

static void given_up_a_tenth_or_a_second_before(void **state)
{
	static const struct {
		int64_t announced, limit;
	} rows[] = {
	    {0, 1},       {-1, 1},       {1, 1},         {199, 100},     {198, 1 /* 99 is pointless */}, {500, 250},
	    {1200, 600},  {2000, 1000},  {2001, 1001},   {5000, 4000},   {10000, 9000}, {60000, 54000},
	    {75000, 67500}, {INT64_MAX, INT32_MAX / 2 - INT32_MAX / 20},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		learned_announce(table, &server, rows[i].announced);
		assert_int_equal(learned_limit(table, &server), rows[i].limit);
	}
}

static void the_shorter_of_announced_and_seen_holds(void **state)
{
	learned_announce(table, &server, 75000);
	assert_string_equal(said(&server), "this server announces to close idle connections after 75 s");
	closes(5020);
	closes(5060);
	assert_int_equal(learned_limit(table, &server), 4030); /* the later close counts for a quarter */
	assert_string_equal(said(&server), "this server closes idle connections after about 5 s");
	learned_announce(table, &server, 3000);
	assert_int_equal(learned_limit(table, &server), 2000);
}

static void said_to_a_tenth(void **state)
{
	closes(1230);
	closes(1230);
	assert_string_equal(said(&server), "this server closes idle connections after about 1.2 s");
}

static void closes_of_one_moment_count_once(void **state)
{
	assert_false(learned_observe(table, &server, 5000, 10000));
	assert_false(learned_observe(table, &server, 5000, 10000));
	assert_false(learned_observe(table, &server, 5000, 10499));
	assert_true(learned_observe(table, &server, 5000, 10500));
	assert_false(learned_observe(table, &other, 500, 10000));
	assert_false(learned_observe(table, &other, 500, 10099));
	assert_true(learned_observe(table, &other, 500, 10100));
}

/* Two connections rest since the same moment, and the two servers behind one address end within seconds of each other: a restart. */
static void replicas_that_end_teach_nothing(void **state)
{
	assert_false(learned_observe(table, &server, 20000, 100000));
	assert_false(learned_observe(table, &server, 21500, 101500));
	assert_int_equal(learned_limit(table, &server), 0);
	assert_string_equal(said(&server), "");
}

static void a_shorter_setting_is_learned_anew(void **state)
{
	closes(60000);
	assert_true(closes(60000));
	assert_false(closes(5000));
	assert_int_equal(learned_limit(table, &server), 54000);
	assert_true(closes(5000));
	assert_int_equal(learned_limit(table, &server), 4000);
}

static void a_longer_setting_is_seen_by_surviving(void **state)
{
	closes(5000);
	closes(5000);
	learned_survive(table, &server, 5500);
	assert_int_equal(learned_limit(table, &server), 4000);
	learned_survive(table, &server, 5501);
	assert_int_equal(learned_limit(table, &server), 0);
	learned_announce(table, &server, 5000);
	learned_survive(table, &server, 5501);
	assert_int_equal(learned_limit(table, &server), 0);
	/* Two are not enough any more. */
	assert_false(closes(9000));
	assert_false(closes(9000));
	assert_true(closes(9000));
}

static void a_restart_changes_nothing(void **state)
{
	closes(60000);
	closes(60000);
	for (int restart = 0; restart < 20; restart++) {
		closes(300 + 700 * (restart % 3));
		closes(60000);
		assert_int_equal(learned_limit(table, &server), 54000);
	}
}

static void what_is_seen_no_more_is_forgotten(void **state)
{
	closes(60000);
	closes(60000);
	closes(300);
	closes(4000);
	assert_int_equal(learned_limit(table, &server), 54000);
	closes(20000);
	assert_int_equal(learned_limit(table, &server), 0);
}

/* Each contradiction asks for one more agreeing close. */
static void random_ages_teach_nothing(void **state)
{
	uint32_t random = 1;
	int believed = 0;

	closes(1000);
	closes(3000);
	closes(1900);
	for (int i = 0; i < 1000; i++) {
		random = random * 1103515245 + 12345;
		believed += closes(300 + (random >> 8) % 3000);
	}
	assert_true(believed <= 2);
}

static void trusted_is_what_was_seen_to_last(void **state)
{
	assert_true(learned_trusts(table, &server, 99));
	assert_false(learned_trusts(table, &server, 100));
	learned_survive(table, &server, 30000);
	assert_true(learned_trusts(table, &server, 27000));
	assert_false(learned_trusts(table, &server, 27001));
	learned_survive(table, &server, 20000);
	assert_true(learned_trusts(table, &server, 27000));
	closes(5000); /* one is enough for caution */
	assert_true(learned_trusts(table, &server, 4000));
	assert_false(learned_trusts(table, &server, 4001));
	learned_announce(table, &server, 2000);
	assert_false(learned_trusts(table, &server, 1001));
}

static void destinations_are_apart(void **state)
{
	closes(5000);
	closes(5000);
	assert_int_equal(learned_limit(table, &other), 0);
	assert_false(learned_trusts(table, &other, 1000));
}

static void off_is_off(void **state)
{
	table->off = true;
	closes(5000);
	assert_false(closes(5000));
	learned_announce(table, &server, 5000);
	assert_int_equal(learned_limit(table, &server), 0);
	assert_true(learned_trusts(table, &server, 1000000));
	assert_string_equal(said(&server), "");
}

/* The table is full for ever; what is used stays. */
static void the_least_recently_used_gives_way(void **state)
{
	static struct learned_view views[2 * LEARNED_SETS * LEARNED_WAYS];
	struct addr many = server;

	learned_announce(table, &server, 5000);
	for (int i = 0; i < 20000; i++) {
		many.bytes[1] = (uint8_t)(1 + i / 65536);
		many.bytes[2] = (uint8_t)(i / 256);
		many.bytes[3] = (uint8_t)i;
		many.port = 8080;
		learned_announce(table, &many, 7000);
		assert_int_equal(learned_limit(table, &many), 6000);
		assert_int_equal(learned_limit(table, &server), 4000);
	}
	assert_int_equal(learned_list(table, views, 2 * LEARNED_SETS * LEARNED_WAYS), LEARNED_SETS * LEARNED_WAYS);
	assert_int_equal(learned_list(table, views, 7), 7);
}

static void *write_views(void *stop)
{
	for (int i = 1; !atomic_load((atomic_bool *)stop); i++) {
		learned_announce(table, &server, i);
		learned_announce(table, &other, i);
		learned_survive(table, i % 2 ? &server : &other, 100 + i);
	}
	return NULL;
}

/* Another thread sees whole entries or none. */
static void a_list_while_it_changes(void **state)
{
	struct learned_view views[4];
	atomic_bool stop = false;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, write_views, &stop), 0);
	for (int i = 0; i < 20000; i++) {
		size_t count = learned_list(table, views, 4);

		assert_true(count <= 2);
		for (size_t each = 0; each < count; each++)
			assert_true(addr_equal(&views[each].destination, &server) || addr_equal(&views[each].destination, &other));
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(learned_list(table, views, 4), 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(nothing_is_known_at_first),
	    TEST(two_closes_at_one_age_are_believed),
	    TEST(given_up_a_tenth_or_a_second_before),
	    TEST(the_shorter_of_announced_and_seen_holds),
	    TEST(said_to_a_tenth),
	    TEST(closes_of_one_moment_count_once),
	    TEST(replicas_that_end_teach_nothing),
	    TEST(a_shorter_setting_is_learned_anew),
	    TEST(a_longer_setting_is_seen_by_surviving),
	    TEST(a_restart_changes_nothing),
	    TEST(what_is_seen_no_more_is_forgotten),
	    TEST(random_ages_teach_nothing),
	    TEST(trusted_is_what_was_seen_to_last),
	    TEST(destinations_are_apart),
	    TEST(off_is_off),
	    TEST(the_least_recently_used_gives_way),
	    TEST(a_list_while_it_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
