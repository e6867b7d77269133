#include "proxy/config/regex.h"

#include <errno.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "lib/arena.h"
#include "lib/text.h"

/* PCRE2 calls back before each item of a pattern (PCRE2_AUTO_CALLOUT), and there the work is counted: bytes that the item before has
 * passed, and what the next one may pass before it is known to fail, after which nobody calls. PCRE2's own match limit counts points to
 * come back to and no bytes, so that one such step can take as long as the subject is; here it is only the fence behind ours. */

enum {
	COST_MATCH = 200, /* to begin */
	COST_ITEM = 16,    /* and half a step for each byte of a frame, which is what PCRE2 keeps to come back to */
	COST_BYTE = 2,
	COST_CLUSTER = 6,        /* \X */
	COST_RECURSION = 400,
	BACKTRACKS_MOST = REGEX_STEPS_MOST / 16,
};

/* What an item may cost. */
struct regex_item {
	uint32_t once;
	uint32_t byte;  /* for each that it passes */
	uint32_t ahead; /* bytes it may pass and then fail */
};

struct regex {
	const pcre2_code *code;
	const char *pattern;
	uint32_t step;
	struct regex_item *items; /* by their offset in the pattern, with one for its end */
};

/* One match under way. */
struct regex_match {
	const struct regex *regex;
	struct regex_work *work;
	size_t position; /* of the item before */
	uint32_t byte;
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

/* --- what an item costs --- */

static bool regex_has(const char *item, size_t length, const char *what)
{
	return memmem(item, length, what, strlen(what)) != NULL;
}

/* The greatest number behind a '{': a quantifier's, else it is only too much. */
static uint32_t regex_most_repeats(const char *item, size_t length)
{
	uint32_t most = 0, number;

	for (size_t i = 0; i < length; i++) {
		if (item[i] != '{')
			continue;
		while (i + 1 < length && item[i + 1] == ' ')
			i++;
		for (number = 0; i + 1 < length && item[i + 1] >= '0' && item[i + 1] <= '9' && number <= UINT16_MAX; i++)
			number = number * 10 + (uint32_t)(item[i + 1] - '0');
		most = number > most ? number : most;
	}
	return most;
}

/* \1, \g{1}, \k<name>, (?P=name): it may pass all the bytes that a group has. */
static bool regex_refers_back(const char *item, size_t length)
{
	if (length > 1 && item[0] == '\\')
		return (item[1] >= '1' && item[1] <= '9') || item[1] == 'k' || item[1] == 'g';
	return length > 3 && memcmp(item, "(?P=", 4) == 0;
}

/* (?R), (?1), (?+1), (?-1), (?&name), (?P>name), \g<name>. */
static bool regex_recurses(const char *item, size_t length)
{
	if (length > 2 && item[0] == '(' && item[1] == '?')
		return strchr("R0123456789+-&P", item[2]) != NULL;
	return length > 1 && item[0] == '\\' && item[1] == 'g';
}

static void regex_weigh(const char *item, size_t length, struct regex_item *out)
{
	*out = (struct regex_item){.byte = COST_BYTE, .ahead = regex_most_repeats(item, length)};
	/* Properties of a class are asked one by one: so dear that the whole rest is counted beforehand. */
	if (regex_has(item, length, "\\p") || regex_has(item, length, "\\P") || regex_has(item, length, "(?[")) {
		out->byte += (uint32_t)length;
		out->ahead = UINT32_MAX;
	}
	if (regex_has(item, length, "\\X"))
		out->byte = COST_CLUSTER;
	if (regex_refers_back(item, length))
		out->ahead = UINT32_MAX;
	if (regex_recurses(item, length))
		out->once = COST_RECURSION;
}

static int regex_weigh_callout(pcre2_callout_enumerate_block *block, void *compiled)
{
	struct regex *regex = compiled;

	regex_weigh(regex->pattern + block->pattern_position, block->next_item_length, &regex->items[block->pattern_position]);
	return 0;
}

/* --- compiling --- */

int regex_compile(struct arena *arena, const char *pattern, const struct regex **out, struct text *why)
{
	/* Nothing is put around the pattern: its own parentheses, comments and quotes could reach out of it. */
	static const uint32_t options =
	    PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP |
	    PCRE2_AUTO_CALLOUT;
	size_t length = strlen(pattern), offset, frame;
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
	regex->pattern = pattern;
	regex->items = arena_array(arena, length + 1, sizeof *regex->items);
	if (!regex->items)
		return -ENOMEM;
	regex->code = pcre2_compile((PCRE2_SPTR)pattern, length, options, &error, &offset, context);
	if (!regex->code)
		return regex_refuse(error, offset, why);
	pcre2_pattern_info(regex->code, PCRE2_INFO_FRAMESIZE, &frame);
	regex->step = COST_ITEM + (uint32_t)frame / 2;
	pcre2_callout_enumerate(regex->code, regex_weigh_callout, regex);
	*out = regex;
	return 0;
}

/* --- matching --- */

bool regex_work_add(struct regex_work *work, uint64_t steps)
{
	steps += work->steps;
	work->steps = steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX;
	work->undecided |= steps > REGEX_STEPS_MOST;
	return !work->undecided;
}

static int regex_step(pcre2_callout_block *block, void *under_way)
{
	struct regex_match *match = under_way;
	const struct regex_item *item = &match->regex->items[block->pattern_position];
	size_t position = block->current_position, rest = block->subject_length - position;
	uint64_t steps = match->regex->step + item->once;

	if (position > match->position)
		steps += (uint64_t)match->byte * (position - match->position);
	steps += (uint64_t)item->byte * (1 + (item->ahead < rest ? item->ahead : rest)); /* and the one that it does not pass */
	match->position = position;
	match->byte = item->ahead == UINT32_MAX ? 0 : item->byte; /* counted */
	return regex_work_add(match->work, steps) ? 0 : PCRE2_ERROR_CALLOUT;
}

bool regex_matches(const struct regex *regex, const char *subject, size_t length, struct regex_work *work)
{
	struct regex_match match = {.regex = regex, .work = work};
	pcre2_match_context *limits;
	pcre2_match_data *data;
	int result = PCRE2_ERROR_CALLOUT;

	if (work->undecided)
		return false;
	/* Made anew for each match, from malloc: the arena belongs to no thread. */
	limits = pcre2_match_context_create(NULL);
	data = pcre2_match_data_create(1, NULL);
	if (!limits || !data) {
		result = PCRE2_ERROR_NOMEMORY;
	} else if (regex_work_add(work, COST_MATCH + length / 16)) { /* some bytes are looked for before anything else */
		pcre2_set_match_limit(limits, BACKTRACKS_MOST);
		pcre2_set_heap_limit(limits, REGEX_HEAP_KIB);
		pcre2_set_callout(limits, regex_step, &match);
		result = pcre2_match(regex->code, (PCRE2_SPTR)(length ? subject : ""), length, 0, 0, data, limits);
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	work->missed |= result == PCRE2_ERROR_MATCHLIMIT;
	if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
		work->undecided = true;
		work->pattern = regex->pattern;
	}
	return result >= 0;
}

void regex_library(struct text *out)
{
	char version[64]; /* "10.42 2022-12-11" */

	if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) <= (int)sizeof version && pcre2_config(PCRE2_CONFIG_VERSION, version) > 0)
		text_append(out, version, strcspn(version, " "));
}
