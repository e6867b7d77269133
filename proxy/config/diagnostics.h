#ifndef LAPSE_PROXY_CONFIG_DIAGNOSTICS_H
#define LAPSE_PROXY_CONFIG_DIAGNOSTICS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct arena;

enum { DIAGNOSTICS_MOST = 500, DIAGNOSTICS_BUCKETS = 64, DIAGNOSTIC_SIZE = 512 };

/* One sentence about the configuration: "routes.yaml:12: HTTPRoute default/web: spec.rules[0].timeouts.request: 1x: …". */
struct diagnostic {
	struct diagnostic *next;
	struct diagnostic *bucket_next;
	const char *text; /* UTF-8; control bytes are replaced: it may quote a hostile file */
	bool error;       /* the documents are not taken; else a warning */
};

/* What was found while configuration was read, in order, the same sentence once, a bounded number of sentences. All zero but the
 * arena = empty. */
struct diagnostics {
	struct arena *arena; /* borrowed */
	struct diagnostic *first, *last;
	struct diagnostic *buckets[DIAGNOSTICS_BUCKETS]; /* by a hash of the text */
	size_t errors, warnings; /* those not kept included, repetitions of kept ones not */
	size_t kept;
};

void diagnostics_add(struct diagnostics *diagnostics, bool error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diagnostics_add_list(struct diagnostics *diagnostics, bool error, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* How many bytes, `most` of them or a few less, stand before a character that would not be whole. `length` when it all fits. */
size_t diagnostics_cut(const char *text, size_t length, size_t most);

/* One line each: "error: …" and, where wanted, "warning: …"; then how many more there were than are kept. */
void diagnostics_print(const struct diagnostics *diagnostics, bool warnings, FILE *to);

#endif
