#ifndef LAPSE_TESTS_DOCUMENTS_H
#define LAPSE_TESTS_DOCUMENTS_H

/* Documents read by manifest_read(), and what it said of them. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"
#include "proxy/config/manifest.h"

struct documents {
	struct catalog *catalog;
	struct arena words;
	struct diagnostics diagnostics;
	int result; /* of the last file */
};

static inline void documents_start(struct documents *documents)
{
	*documents = (struct documents){.catalog = catalog_new()};
	documents->diagnostics.arena = &documents->words;
	assert_non_null(documents->catalog);
}

static inline void documents_add(struct documents *documents, const char *file, const char *text)
{
	documents->result = manifest_read(documents->catalog, &documents->diagnostics, file, text, strlen(text));
}

static inline void documents_end(struct documents *documents)
{
	catalog_free(documents->catalog);
	arena_free(&documents->words);
}

/* The sentence that has the words in it. */
static inline const struct diagnostic *documents_said(const struct documents *documents, const char *words)
{
	for (const struct diagnostic *one = documents->diagnostics.first; one != NULL; one = one->next)
		if (strstr(one->text, words) != NULL)
			return one;
	return NULL;
}

/* One file, of which nothing is to be said. */
static inline void documents_read(struct documents *documents, const char *text)
{
	documents_start(documents);
	documents_add(documents, "a.yaml", text);
	if (documents->diagnostics.first != NULL)
		fail_msg("said: %s", documents->diagnostics.first->text);
	assert_int_equal(documents->result, 0);
}

/* A document of `before` and `text`, and what the only sentence it is answered by starts with; NULL: none. */
struct documents_answer {
	const char *text, *sentence;
	bool warning;
};

static inline void documents_are_answered(const char *before, const struct documents_answer *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char whole[4096];
		struct documents documents;
		assert_true(strlen(before) + strlen(rows[i].text) < sizeof whole);
		strcpy(stpcpy(whole, before), rows[i].text);
		documents_start(&documents);
		documents_add(&documents, "a.yaml", whole);
		const struct diagnostic *said = documents.diagnostics.first;
		const char *first = said ? said->text : "nothing", *second = said && said->next ? said->next->text : "nothing";
		const char *expected = rows[i].sentence ? rows[i].sentence : "nothing";
		if (strncmp(first, expected, strlen(expected)) != 0 || (said && said->next))
			fail_msg("%s\nsaid:     %s\nand:      %s\nexpected: %s", rows[i].text, first, second, expected);
		assert_int_equal(documents.diagnostics.errors, rows[i].sentence != NULL && !rows[i].warning);
		assert_int_equal(documents.result, documents.diagnostics.errors > 0 ? -EBADMSG : 0);
		documents_end(&documents);
	}
}

#define DOCUMENTS_ARE_ANSWERED(before, rows) documents_are_answered(before, rows, sizeof(rows) / sizeof((rows)[0]))

#endif
