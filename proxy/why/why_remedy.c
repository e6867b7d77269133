#include "proxy/why/why_remedy.h"

#include <string.h>

#include "lib/text.h"
#include "proxy/connection/advice.h"

enum { REMEDY_WORDS_SIZE = 256 };

/* Where the remedy begins, behind "; ": with the words of a clause up to its first placeholder. NULL: not there. */
static const char *why_remedy_find(const char *clause, size_t length, struct why_slice detail)
{
	size_t words = strcspn(clause, "{|");
	TEXT_ON_STACK(begin, REMEDY_WORDS_SIZE);

	if (words > length)
		words = length;
	text_string(&begin, "; ");
	text_append(&begin, clause, words);
	return words && detail.length ? memmem(detail.bytes, detail.length, begin.data, begin.length) : NULL;
}

void why_remedy_part(enum reason_id reason, struct why_slice detail, struct why_slice *fact, struct text *remedy)
{
	*fact = detail;
	for (const char *clause = reason_row(reason)->remedy; *clause;) {
		size_t length = strcspn(clause, "|");
		const char *found = why_remedy_find(clause, length, detail);

		if (found) {
			fact->length = (size_t)(found - detail.bytes);
			text_append(remedy, found + 2, detail.length - fact->length - 2);
			return;
		}
		clause += length + (clause[length] == '|');
	}
	if (!detail.length || why_slice_is(detail, reason_row(reason)->sentence))
		advice_write(reason, NULL, remedy);
}
