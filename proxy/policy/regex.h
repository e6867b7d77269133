#ifndef LAPSE_PROXY_POLICY_REGEX_H
#define LAPSE_PROXY_POLICY_REGEX_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct regex;
struct text;

/* A regular expression that must cover the whole subject, as \A(?:…)\z would, with any of its alternatives. PCRE2, bytes, with
 * limits on time and memory, so that no pattern takes long; a match that reaches a limit is none. The only door to PCRE2. */

enum { REGEX_PATTERN_MOST = 4096 };

/* Compiled in the arena, never to be freed apart. 0, -ENOMEM, or -EINVAL with PCRE2's words and the offset in `why`. */
int regex_compile(struct arena *arena, const char *pattern, const struct regex **out, struct text *why);

/* Any thread. */
bool regex_matches(const struct regex *regex, const char *subject, size_t length);

/* The version of PCRE2. */
void regex_library(struct text *out);

#endif
