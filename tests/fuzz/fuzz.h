#ifndef LAPSE_TESTS_FUZZ_H
#define LAPSE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold; the fuzzer keeps the input that breaks it. */
#define HOLDS(property)                                                                                                          \
	do {                                                                                                                     \
		if (!(property)) {                                                                                               \
			fprintf(stderr, "ERROR: %s:%d: does not hold: %s\n", __FILE__, __LINE__, #property);                     \
			abort();                                                                                                 \
		}                                                                                                                \
	} while (0)

/* A copy of exactly this length: a read behind its end is seen. To be freed. */
static inline uint8_t *exact_copy(const void *bytes, size_t length)
{
	uint8_t *copy = malloc(length ? length : 1);
	HOLDS(copy);
	if (length)
		memcpy(copy, bytes, length);
	return copy;
}

#endif
