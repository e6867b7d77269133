#ifndef LAPSE_LIB_SLICE_H
#define LAPSE_LIB_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that lie in something else, which owns them. */
struct slice {
	const uint8_t *bytes;
	size_t length;
};

static inline bool slice_is(struct slice slice, const char *text)
{
	return slice.length == strlen(text) && (slice.length == 0 || memcmp(slice.bytes, text, slice.length) == 0);
}

#endif
