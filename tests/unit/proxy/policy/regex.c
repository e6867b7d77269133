#include "proxy/policy/regex.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "lib/text.h"

static const struct regex *compiled(struct arena *arena, const char *pattern)
{
	const struct regex *regex = NULL;
	TEXT_ON_STACK(why, 256);

	if (regex_compile(arena, pattern, &regex, &why) != 0 || !regex)
		fail_msg("\"%s\": %s", pattern, why.data);
	assert_int_equal(why.length, 0);
	return regex;
}

static void covers_the_whole_subject(void **state)
{
	static const struct {
		const char *pattern, *subject;
		bool matches;
	} rows[] = {
		{"/x", "/x", true}, {"/x", "/xy", false}, {"/x", "a/x", false}, {"/x", "", false}, {"", "", true}, {"", "x", false},
		/* any alternative may be the one that covers it */
		{"/x|/y", "/x", true}, {"/x|/y", "/y", true}, {"/x|/y", "/xz", false}, {"/x|/y", "z/y", false},
		{"/foo|/foo/bar", "/foo/bar", true}, {"/foo|/foo/bar", "/foo", true}, {"/a*?", "/aaa", true},
		/* anchors of its own change nothing */
		{"^/x$", "/x", true}, {"^/x$", "/xy", false}, {"^/x|/y$", "/xz", false}, {"\\A/x\\z", "/x", true},
		{"/x$", "/x\n", false},
		{"(?m)^/x$", "/x\n/y", false}, {"/x\\Z", "/x\n", false}, {"/x$\n", "/x\n", false},
		/* what would reach out of a wrapping */
		{"(?x) /x # note", "/x", true}, {"(?x) /x # note", "/xy", false}, {"\\Q/x", "/x", true}, {"\\Q/x", "/xy", false},
		{"/x(*ACCEPT)y", "/x", true}, {"/x(*ACCEPT)y", "/xz", false}, {"/x\\K", "/x", true}, {"/(?=x)", "/x", false},
		{"/(?i)x", "/X", true}, {"/x", "/X", false}, {"/users/\\d+/.*", "/users/42/mail", true},
		{"/users/\\d+", "/users/", false}, {"/(a)(b)\\2\\1", "/abba", true}, {".*", "/x", true}, {".*", "a\nb", false},
		/* bytes: one of two halves of a letter is a byte too */
		{"/.", "/\xc3", true}, {"/.", "/\xc3\xa9", false}, {"/\xc3\xa9", "/\xc3\xa9", true}, {"/[^/]+", "/\xff\xfe", true},
	};
	struct arena arena = {0};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t length = strlen(rows[i].subject);
		char *subject = malloc(length + 1); /* of this length: a read behind its end is seen */

		memcpy(subject, rows[i].subject, length);
		if (regex_matches(compiled(&arena, rows[i].pattern), subject, length) != rows[i].matches)
			fail_msg("\"%s\" on \"%s\": expected %d", rows[i].pattern, rows[i].subject, rows[i].matches);
		free(subject);
	}
	assert_true(regex_matches(compiled(&arena, "a.b"), "a\0b", 3));
	assert_true(regex_matches(compiled(&arena, "a*"), NULL, 0));
	arena_free(&arena);
}

static void refuses(void **state)
{
	static const struct {
		const char *pattern, *says;
	} rows[] = {
		{"a)|(b", "parenthes"}, {"(", "missing closing parenthesis at offset 1"}, {"a)", "at offset 1"},
		{"[", "at offset 1"},
		{"*", "quantifier does not follow"}, {"a{2,1}", "out of order"}, {"\\C", "\\C"}, {"\\", "at end of pattern"},
		{"(*UTF)a", "UTF"}, {"(*UCP)a", "UCP"}, {"(?<n>a)(?<n>b)", "same name"}, {"\\1", "non-existent"},
		{"((((a{1,60000}){1,60000}){1,60000}){1,60000})", "too large"}, {"(?<=a*)b", "lookbehind"},
	};
	struct arena arena = {0};
	const struct regex *untouched = (const struct regex *)(const void *)&arena, *regex = untouched;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TEXT_ON_STACK(why, 256);

		assert_int_equal(regex_compile(&arena, rows[i].pattern, &regex, &why), -EINVAL);
		if (!strstr(why.data, rows[i].says) || !strstr(why.data, " at offset "))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", rows[i].pattern, why.data, rows[i].says);
		assert_ptr_equal(regex, untouched);
	}
	arena_free(&arena);
}

static void length_is_limited(void **state)
{
	char pattern[REGEX_PATTERN_MOST + 2];
	const struct regex *regex;
	struct arena arena = {0};
	TEXT_ON_STACK(why, 256);

	memset(pattern, 'a', sizeof pattern);
	pattern[REGEX_PATTERN_MOST] = '\0';
	assert_true(regex_matches(compiled(&arena, pattern), pattern, REGEX_PATTERN_MOST));
	pattern[REGEX_PATTERN_MOST] = 'a';
	pattern[REGEX_PATTERN_MOST + 1] = '\0';
	assert_int_equal(regex_compile(&arena, pattern, &regex, &why), -EINVAL);
	assert_string_equal(why.data, "a pattern of 4097 bytes, at most 4096 are accepted");
	memset(pattern, '(', REGEX_PATTERN_MOST / 2);
	memset(pattern + REGEX_PATTERN_MOST / 2, ')', REGEX_PATTERN_MOST / 2);
	pattern[REGEX_PATTERN_MOST] = '\0';
	assert_int_equal(regex_compile(&arena, pattern, &regex, &why), -EINVAL);
	arena_free(&arena);
}

/* A 16 KiB path that a pattern can be led astray by is refused soon; one that it covers step by step is accepted. */
static void long_subjects_end(void **state)
{
	static const struct {
		const char *pattern;
		bool matches;
		size_t length; /* 0 = 16 KiB */
	} rows[] = {
		/* too many steps, too much to remember */
		{"/.*.*.*[cd]|/.*", false, 200}, {"/.*.*[cd]|/.*", true, 200},
		{"/(?:a|(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b)(b))*!", false}, {"/(?:a|(b)(b)(b)(b))*!", true},
		{"/(a+)+$", false}, {"/(a|aa)+", false}, {"/(a*)*b", false}, {"/(?:a|b|ab)*c", false}, {"/.*.*.*.*.*.*c", false},
		{"/(?R)?a*c", false}, {"(?:/|a)(?R)?x", false}, {"/(?:[^c]*+c|.)*", true},
		{"/a*!", true}, {"/(?:a)*!", true}, {"/(?:a|b)*!", true}, {"/(a|b)+!", true}, {"/([^/]+/?)*", true},
		{"/.*?!", true},
	};
	static char subject[16384];
	struct arena arena = {0};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct regex *regex = compiled(&arena, rows[i].pattern);
		size_t length = rows[i].length ? rows[i].length : sizeof subject;
		struct timespec before, after;

		memset(subject, 'a', length);
		subject[0] = '/';
		subject[length - 1] = '!';

		clock_gettime(CLOCK_MONOTONIC, &before);
		if (regex_matches(regex, subject, length) != rows[i].matches)
			fail_msg("\"%s\": expected %d", rows[i].pattern, rows[i].matches);
		clock_gettime(CLOCK_MONOTONIC, &after);
		if (after.tv_sec - before.tv_sec > 2)
			fail_msg("\"%s\" took %ld s", rows[i].pattern, (long)(after.tv_sec - before.tv_sec));
	}
	arena_free(&arena);
}

/* Matching takes nothing from the arena, so that any thread may. */
static void *match_many(void *regex)
{
	intptr_t matched = 0;

	for (int i = 0; i < 200; i++)
		matched += regex_matches(regex, "/abcabcabcabc", 13);
	return (void *)matched;
}

static void threads_share_one(void **state)
{
	struct arena arena = {0};
	void *regex = (void *)(uintptr_t)compiled(&arena, "/(?:(a)|(b)|(c))+");
	size_t total = arena.total;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, match_many, regex), 0);
	for (int i = 0; i < 4; i++) {
		void *matched;
		assert_int_equal(pthread_join(threads[i], &matched), 0);
		assert_int_equal((intptr_t)matched, 200);
	}
	assert_int_equal(arena.total, total);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(covers_the_whole_subject),
		cmocka_unit_test(refuses),
		cmocka_unit_test(length_is_limited),
		cmocka_unit_test(long_subjects_end),
		cmocka_unit_test(threads_share_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
