/* Regular expressions against long texts, looking for those that take long. Their work is counted before each of their items; PCRE2
 * counts by itself the points that it may come back to, and never gets to its limit before we do. What takes much time for its steps is
 * kept as if it were new code, and the dearest step so far is printed. The bytes: how many rules, how long a text, then lines: pattern,
 * the text's beginning, what is repeated, its end. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/regex.h"

enum { LINES = 4, COUNTERS = 64 };

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t dear[COUNTERS];

struct line {
	const uint8_t *bytes;
	size_t length;
};

static void split(const uint8_t *data, size_t size, struct line lines[LINES])
{
	for (int i = 0; i < LINES; i++) {
		const uint8_t *end = i < LINES - 1 && size ? memchr(data, '\n', size) : NULL;
		size_t length = end ? (size_t)(end - data) : size;

		lines[i] = (struct line){data, length};
		data += length + (end != NULL);
		size -= length + (end != NULL);
	}
}

static size_t put(uint8_t *subject, size_t at, size_t most, struct line line)
{
	size_t length = line.length < most - at ? line.length : most - at;

	if (length)
		memcpy(subject + at, line.bytes, length);
	return at + length;
}

/* Exactly so long: a read behind its end is seen. */
static uint8_t *subject_of(const struct line *lines, size_t length)
{
	uint8_t *subject = malloc(length + 1);
	size_t end = lines[2].length < length ? length - lines[2].length : 0, at;

	HOLDS(subject);
	memset(subject, 'a', length);
	at = put(subject, 0, length, lines[0]);
	while (at < end && lines[1].length)
		at = put(subject, at, end, lines[1]);
	put(subject, end, length, lines[2]);
	return subject;
}

static int64_t processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The work of one request that meets the pattern in so many rules. */
static struct regex_work ask(const struct regex *regex, const uint8_t *subject, size_t length, unsigned rules)
{
	struct regex_work work = {0};
	bool first = false;

	for (unsigned rule = 0; rule < rules; rule++) {
		bool matches = regex_matches(regex, (const char *)subject, length, &work);

		HOLDS(!work.missed);
		HOLDS(!matches || !work.undecided);
		HOLDS(work.undecided || work.steps <= REGEX_STEPS_MOST);
		HOLDS(work.undecided || !rule || matches == first);
		first = matches;
	}
	return work;
}

static void look_at_time(const struct regex *regex, const char *pattern, const uint8_t *subject, size_t length, unsigned rules)
{
	enum { TRIES = 3, ENOUGH_NS = 50000 };
	static double dearest;
	int64_t best = INT64_MAX, start;
	double a_step;

	for (int i = 0; i < TRIES; i++) {
		start = processor_ns();
		struct regex_work work = ask(regex, subject, length, rules);
		start = processor_ns() - start;
		best = start < best ? start : best;
		a_step = (double)best / work.steps;
		if (best < ENOUGH_NS)
			return;
	}
	dear[a_step * 8 < COUNTERS - 1 ? (int)(a_step * 8) : COUNTERS - 1] = 1;
	if (a_step > dearest * 1.1) {
		dearest = a_step;
		fprintf(stderr, "regex: %.2f ns a step, %lld us: %u times \"%s\" on %zu bytes\n", a_step, (long long)best / 1000, rules, pattern, length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct regex *regex = NULL;
	struct line lines[LINES];
	struct arena arena = {0};
	TEXT_ON_STACK(why, 256);

	if (size < 4)
		return 0;
	unsigned rules = 1 + data[0] % 16;
	size_t length = (size_t)data[1] << 8 | data[2];
	split(data + 3, size - 3, lines);
	const char *pattern = arena_text(&arena, (const char *)lines[0].bytes, lines[0].length);
	HOLDS(pattern);
	int result = regex_compile(&arena, pattern, &regex, &why);
	HOLDS(result == 0 || (result == -EINVAL && why.length && !regex));
	if (result == 0) {
		uint8_t *subject = subject_of(lines + 1, length);
		struct regex_work work = ask(regex, subject, length, rules);

		if (work.steps > REGEX_STEPS_MOST / 8)
			look_at_time(regex, pattern, subject, length, rules);
		free(subject);
	}
	arena_free(&arena);
	return 0;
}
