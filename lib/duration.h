#ifndef LAPSE_LIB_DURATION_H
#define LAPSE_LIB_DURATION_H

#include <stdint.h>

/* DURATION_GO: Go's time.ParseDuration (flags, environment, KubeLB, ServiceProfile, our annotations).
 * DURATION_GEP2257: Gateway API GEP-2257, `^([0-9]{1,5}(h|m|s|ms)){1,4}$`. */
enum duration_grammar { DURATION_GO, DURATION_GEP2257 };

/* Reads the whole of text. Sum of components; anything between two milliseconds rounds away from zero, so 1ns is 1 ms and
 * never "off". Go allows a sign: the result may be negative, and refusing that is the caller's decision.
 * Returns 0, -EINVAL (not in the grammar) or -ERANGE (over Go's int64 nanoseconds); *milliseconds is untouched on failure. */
int duration_parse(enum duration_grammar grammar, const char *text, int64_t *milliseconds);

/* GEP-2257's canonical form: descending, largest unit first, "2h30m", "1s500ms", "0s". Negative values get a leading "-". */
#define DURATION_TEXT_SIZE 40
const char *duration_format(int64_t milliseconds, char out[static DURATION_TEXT_SIZE]);

#endif
