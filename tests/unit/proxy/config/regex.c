#include "proxy/config/regex.h"

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

static bool matches(const struct regex *regex, const char *subject, size_t length)
{
	struct regex_work work = {0};
	bool result = regex_matches(regex, subject, length, &work);

	assert_false(work.undecided || work.pattern || work.missed);
	assert_in_range(work.steps, 1, REGEX_STEPS_MOST);
	return result;
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
		if (matches(compiled(&arena, rows[i].pattern), subject, length) != rows[i].matches)
			fail_msg("\"%s\" on \"%s\": expected %d", rows[i].pattern, rows[i].subject, rows[i].matches);
		free(subject);
	}
	assert_true(matches(compiled(&arena, "a.b"), "a\0b", 3));
	assert_true(matches(compiled(&arena, "a*"), NULL, 0));
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
	assert_true(matches(compiled(&arena, pattern), pattern, REGEX_PATTERN_MOST));
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

/* '/', many 'a', '!'. */
static const char *path_of(size_t length)
{
	static char subject[65536];

	memset(subject, 'a', length);
	subject[0] = '/';
	subject[length - 1] = '!';
	return subject;
}

/* What is decided, at which length; what is not is never a "no". */
static void limits_are_told_from_no_match(void **state)
{
	enum answer { NO, YES, LEFT };
	static const struct {
		const char *pattern;
		size_t length;
		enum answer answer;
	} rows[] = {
		/* an ordinary pattern, at the longest path there may be */
		{"/[a-z]+!", 16384, YES}, {"/.*!", 16384, YES}, {"/([^/]+/?)*", 16384, YES}, {"/users/[0-9]+", 16384, NO}, {"/.*x", 8192, NO},
		{"/[^/]+/a*", 16384, NO}, {"/a*a*a*!", 16384, YES}, {"/(a*)\\1!?", 258, YES}, {"/.*[^/]*/edit!", 700, NO},
		/* a byte at a time: as long as paths are */
		{"/.*?!", 8192, YES}, {"/.*a!", 8192, YES}, {"/(?:a|b)*!", 1300, YES}, {"/(a|b)+!", 1024, YES}, {"/(?:a)*!", 1300, YES},
		{"/.*?!", 16384, LEFT}, {"/(?:a|b)*!", 16384, LEFT}, {"/(a|b)+!", 16384, LEFT},
		/* few points to come back to, each far from the other */
		{"/.*[^/]*/!", 16384, LEFT}, {"/.*[a-z]+/!", 16384, LEFT}, {"/(?:a*+a|a)*b!", 16384, LEFT}, {"/(?:a(?=a*+))*!", 16384, LEFT},
		/* bytes that are passed and then not, which nobody is told of */
		{"/.*[^/]{9000}!", 16384, LEFT}, {"/.*a{5000}x{3}!", 16384, LEFT}, {"(?i)/(a*)\\1x!", 16384, LEFT},
		{"(?i)/(?<n>a*)(?P=n)x!", 16384, LEFT}, {"(?i)/(?<n>a*)\\k<n>x!", 16384, LEFT}, {"/.*\\X*+x!", 16384, LEFT},
		/* dear bytes: each property of a class is asked */
		{"/.*[\\p{Greek}\\p{Zs}\\p{Sc}\\p{Nd}\\p{Lu}\\p{Ll}]*+b!", 2000, LEFT}, {"/[\\p{L}\\p{N}_.-]+!", 16384, YES},
		{"/[\\p{Greek}\\p{Zs}\\p{Sc}\\p{Nd}\\p{Lu}\\p{Ll}]*!", 16384, YES},
		{"/[\\p{Greek}\\p{Zs}\\p{Sc}\\p{Nd}\\p{Lu}\\p{Ll}\\p{Cyrillic}]*!", 16384, LEFT},
		/* exponents */
		{"/(a+)+$", 64, LEFT}, {"/(a|aa)+", 64, LEFT}, {"/(a*)*b!", 64, LEFT}, {"/(?:a|b|ab)*c!", 16384, LEFT},
		{"/.*.*.*.*.*.*c!", 200, LEFT}, {"(?:/|a)(?R)?x!", 16384, LEFT}, {"((?2))(a|/)(?1)*", 16384, LEFT},
		{"/(?:a(?:|||||))*b!", 16384, LEFT},
	};
	static const char *const words[] = {"no", "yes", "undecided"};
	struct arena arena = {0};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct regex *regex = compiled(&arena, rows[i].pattern);
		struct regex_work work = {0};
		enum answer answer = regex_matches(regex, path_of(rows[i].length), rows[i].length, &work);

		if (work.undecided) {
			assert_int_equal(answer, NO);
			answer = LEFT;
			assert_ptr_equal(work.pattern, rows[i].pattern);
		}
		assert_false(work.missed);
		if (answer != rows[i].answer)
			fail_msg("\"%s\" on %zu bytes: %s after %u steps, expected %s", rows[i].pattern, rows[i].length, words[answer],
			         work.steps, words[rows[i].answer]);
	}
	arena_free(&arena);
}

/* All the patterns of a request share one limit, and behind it nothing is asked any more. */
static void a_request_has_one_limit(void **state)
{
	struct arena arena = {0};
	const struct regex *dear = compiled(&arena, "/.*[^/]*/!"), *plain = compiled(&arena, "/a*!");
	struct regex_work work = {0};
	uint32_t before;
	int matched = 0;

	do {
		before = work.steps;
		assert_false(regex_matches(dear, path_of(300), 300, &work));
		matched++;
	} while (!work.undecided);
	assert_in_range(matched, 5, 50);
	assert_in_range(before, REGEX_STEPS_MOST / 2, REGEX_STEPS_MOST);
	assert_in_range(work.steps, REGEX_STEPS_MOST + 1, 2 * REGEX_STEPS_MOST);
	before = work.steps;
	assert_false(regex_matches(plain, path_of(300), 300, &work));
	assert_int_equal(work.steps, before);
	assert_string_equal(work.pattern, "/.*[^/]*/!");
	arena_free(&arena);
}

static int64_t processor_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The limit on steps is one on time: a step is about a nanosecond, whatever the pattern does in it. The bound is loose, since the
 * machine may be slow and the build a slow one; the best of some tries counts. */
static void steps_are_time(void **state)
{
	enum { TRIES = 7, MOST_US = 5000 };
	static char properties[3000] = "/.*[", groups[3000] = "(?:";
	const char *patterns[] = {
		"/.*x!", "/.*[^/]*/!", "/.*[a-z]+/!", "/(.*)/[^/]+/items/[^/]+/!", "(/?[a-z]+)*/x!", "/(a|b)*x!", "/.*[^/]{1000}x!", "/.*\\X*x!",
		"(?i)/(a*)\\1\\1x!", "/(?:a*+a|a)*b!", "(?:/|a)(?R)?x!", "(a(?1)?|/(?1))x!", "((?2))(a|/)(?1)*", "/(?:a(?:|||||))*x!",
		"/(?:a(?<=a)(?!b)(?=.))*x!", "/[[:alpha:][:^digit:]]*?x!", "/(?:(?:(?:(?:a*)*)*)*)*b!", "(?i)/.*A{400}x!", "/(?>a|b)*+x!",
		properties, groups,
	};
	static const size_t lengths[] = {30, 500, 4000, 16384, 65536};
	struct arena arena = {0};

	while (strlen(properties) < 2000)
		strcat(properties, "\\p{Greek}\\p{Zs}\\p{Sc}");
	strcat(properties, "]*b!");
	while (strlen(groups) < 2000)
		strcat(groups, "(z)|");
	strcat(groups, "[/a])*!");
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		const struct regex *regex = compiled(&arena, patterns[i]);

		for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
			const char *path = path_of(lengths[j]);
			int64_t best = INT64_MAX;
			uint32_t steps = 0;

			for (int try = 0; try < TRIES && best > MOST_US / 10; try++) {
				struct regex_work work = {0};
				int64_t start = processor_us();

				for (int rule = 0; rule < 1000 && !work.undecided; rule++)
					regex_matches(regex, path, lengths[j], &work);
				start = processor_us() - start;
				best = start < best ? start : best;
				steps = work.steps;
				assert_false(work.missed);
			}
			if (getenv("SHOW"))
				print_message("%6lld us %8u steps %6zu bytes %.60s\n", (long long)best, steps, lengths[j], patterns[i]);
#ifndef __SANITIZE_ADDRESS__ /* which makes a step many times as long */
			if (best > MOST_US)
				fail_msg("\"%.60s\" on %zu bytes: %lld us for %u steps", patterns[i], lengths[j], (long long)best, steps);
#endif
		}
	}
	arena_free(&arena);
}

/* Matching takes nothing from the arena, so that any thread may. */
static void *match_many(void *regex)
{
	intptr_t matched = 0;

	for (int i = 0; i < 200; i++)
		matched += regex_matches(regex, "/abcabcabcabc", 13, &(struct regex_work){0});
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
		cmocka_unit_test(limits_are_told_from_no_match),
		cmocka_unit_test(a_request_has_one_limit),
		cmocka_unit_test(steps_are_time),
		cmocka_unit_test(threads_share_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
