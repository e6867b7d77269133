#ifndef LAPSE_LIB_OPTIONS_GUESS_H
#define LAPSE_LIB_OPTIONS_GUESS_H

#include <stddef.h>

/* The known name that an unknown word most likely means. `word` and `length` are set by the caller, the rest is 0 at first. */
struct options_guess {
	const char *word;
	size_t length;
	const char *closest; /* NULL = nothing is close enough */
	size_t distance;
	size_t points; /* of the words that the closest shares with it, when these decided */
};

/* One known name; of equally close ones the first stays. */
void options_guess_try(struct options_guess *guess, const char *name);

#endif
