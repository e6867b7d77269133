#ifndef LAPSE_PROXY_CONFIG_REGEX_H
#define LAPSE_PROXY_CONFIG_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct regex;
struct text;

/* A regular expression that must cover the whole subject, as \A(?:…)\z would, with any of its alternatives. PCRE2, bytes. The only
 * door to PCRE2. */

enum {
	REGEX_PATTERN_MOST = 4096,
	REGEX_STEPS_MOST = 800000, /* of one request, for all the patterns that it meets */
	REGEX_HEAP_KIB = 384,       /* of one match, to come back to: what is touched for the first time costs more than the steps do */
};

/* What matching one request has cost so far, {0} at first. A step takes about a nanosecond: an item of a pattern that is tried is some
 * seventy of them, a byte that it passes a few. */
struct regex_work {
	uint32_t steps;
	bool undecided;      /* a limit was reached, on steps or PCRE2's own on memory: nothing is known of what was asked then or later */
	const char *pattern; /* the one that reached it, NULL = none; borrowed as it was */
	bool missed; /* PCRE2 counted more than we did, which is a fault of ours: tests/fuzz/regex.c looks for it */
};

/* Compiled in the arena, never to be freed apart; the pattern is borrowed for as long. 0, -ENOMEM, or -EINVAL with PCRE2's words and
 * the offset in `why`. */
int regex_compile(struct arena *arena, const char *pattern, const struct regex **out, struct text *why);

/* Counts. False, and work->undecided, when they are more than there may be. */
bool regex_work_add(struct regex_work *work, uint64_t steps);

/* Whether it matches; false once work->undecided, which the caller must tell from no match. Any thread. */
bool regex_matches(const struct regex *regex, const char *subject, size_t length, struct regex_work *work);

/* The version of PCRE2. */
void regex_library(struct text *out);

#endif
