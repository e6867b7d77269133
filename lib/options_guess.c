#include "lib/options_guess.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/options.h"

/* Insertions, deletions and replacements that make a out of b; names are short, what is longer than a row counts as far. */
static size_t options_guess_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t row[OPTIONS_ENVIRONMENT_SIZE];

	if (b_length >= sizeof row / sizeof *row || a_length > 2 * sizeof row / sizeof *row)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 0; i < a_length; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < b_length; j++) {
			size_t best = diagonal + (a[i] != b[j]);
			diagonal = row[j + 1];
			best = best < row[j] + 1 ? best : row[j] + 1;
			row[j + 1] = best < diagonal + 1 ? best : diagonal + 1;
		}
	}
	return row[b_length];
}

static size_t options_guess_word(const char *text, const char *end)
{
	const char *hyphen = memchr(text, '-', (size_t)(end - text));

	return hyphen != NULL ? (size_t)(hyphen - text) : (size_t)(end - text);
}

/* 2: a word is among them; 1: one that was mistyped; 0: none. */
static size_t options_guess_has_word(const char *text, const char *end, const char *word, size_t length)
{
	enum { MISTYPED_LEAST = 4, MISTYPED_BY = 2 };
	size_t found = 0;

	for (; text < end; text += options_guess_word(text, end) + 1) {
		size_t given = options_guess_word(text, end);

		if (given == length && strncmp(text, word, length) == 0)
			return 2;
		if (given >= MISTYPED_LEAST && length >= MISTYPED_LEAST && options_guess_distance(text, given, word, length) <= MISTYPED_BY)
			found = 1;
	}
	return found;
}

/* Two words or more of `name` that were given too, whatever their order, say more than letters do: --idle-timeout is
 * --timeout-idle-connection, not --drain-timeout. Those that begin a name count double, so it is not --timeout-stream-idle. */
static bool options_guess_words(struct options_guess *guess, const char *name)
{
	const char *end = name + strlen(name);
	size_t shared = 0, points = 0;
	bool leads = true;

	for (const char *word = name; word < end; word += options_guess_word(word, end) + 1) {
		size_t given = options_guess_has_word(guess->word, guess->word + guess->length, word, options_guess_word(word, end));

		leads = leads && given;
		shared += given > 0;
		points += leads ? 2 * given : given;
	}
	if (shared < 2 || points < guess->points)
		return false;
	if (points > guess->points) {
		guess->points = points;
		guess->closest = name;
		guess->distance = 2; /* a letter away is closer */
	}
	return true;
}

void options_guess_try(struct options_guess *guess, const char *name)
{
	size_t distance = options_guess_distance(guess->word, guess->length, name, strlen(name));

	/* Half of it may be wrong; the beginning of a longer name is close whatever its length. */
	if (guess->length >= 3 && strncmp(guess->word, name, guess->length) == 0)
		distance = 1;
	if (distance > 1 && options_guess_words(guess, name))
		return;
	if (distance <= guess->length / 2 + 1 && (!guess->points || distance <= 1) && (guess->closest == NULL || distance < guess->distance)) {
		guess->closest = name;
		guess->distance = distance;
		guess->points = distance <= 1 ? SIZE_MAX : guess->points; /* words cannot say more */
	}
}
