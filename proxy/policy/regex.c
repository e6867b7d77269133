#include "proxy/policy/regex.h"

#include <errno.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "lib/arena.h"
#include "lib/text.h"

/* Steps of backtracking, and KiB for what to come back to: a group repeated for every byte of a 16 KiB path fits. The former take a
 * worker some milliseconds, the latter are given back after the match. */
enum { REGEX_STEPS_MOST = 100000, REGEX_HEAP_KIB = 8192 };

struct regex {
	const pcre2_code *code;
};

static void *regex_alloc(PCRE2_SIZE size, void *arena)
{
	return arena_alloc(arena, size);
}

static void regex_free(void *memory, void *arena)
{
}

static int regex_refuse(int error, size_t offset, struct text *why)
{
	PCRE2_UCHAR words[256];

	if (error == PCRE2_ERROR_HEAP_FAILED)
		return -ENOMEM;
	pcre2_get_error_message(error, words, sizeof words);
	text_printf(why, "%s at offset %zu", (const char *)words, offset);
	return -EINVAL;
}

int regex_compile(struct arena *arena, const char *pattern, const struct regex **out, struct text *why)
{
	/* Nothing is put around the pattern: its own parentheses, comments and quotes could reach out of it. */
	static const uint32_t options =
	    PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP;
	size_t length = strlen(pattern), offset;
	int error;

	if (length > REGEX_PATTERN_MOST) {
		text_printf(why, "a pattern of %zu bytes, at most %d are accepted", length, (int)REGEX_PATTERN_MOST);
		return -EINVAL;
	}
	struct regex *regex = arena_alloc(arena, sizeof *regex);
	pcre2_general_context *memory = pcre2_general_context_create(regex_alloc, regex_free, arena);
	pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
	if (!regex || !context)
		return -ENOMEM;
	regex->code = pcre2_compile((PCRE2_SPTR)pattern, length, options, &error, &offset, context);
	if (!regex->code)
		return regex_refuse(error, offset, why);
	*out = regex;
	return 0;
}

bool regex_matches(const struct regex *regex, const char *subject, size_t length)
{
	/* Made anew for each match, from malloc: the arena belongs to no thread. */
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	bool matches = false;

	if (limits && data) {
		pcre2_set_match_limit(limits, REGEX_STEPS_MOST);
		pcre2_set_heap_limit(limits, REGEX_HEAP_KIB);
		matches = pcre2_match(regex->code, (PCRE2_SPTR)(length ? subject : ""), length, 0, 0, data, limits) >= 0;
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	return matches;
}

void regex_library(struct text *out)
{
	char version[64]; /* "10.42 2022-12-11" */

	if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) <= (int)sizeof version && pcre2_config(PCRE2_CONFIG_VERSION, version) > 0)
		text_append(out, version, strcspn(version, " "));
}
