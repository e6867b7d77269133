/* Durations: refused or read, never anything else; what is read prints in a form that reads as the same value. The first byte
 * chooses the grammar. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>

#include "lib/duration.h"

#define GO_MOST (INT64_MAX / 1000000)
#define UNTOUCHED INT64_C(0x5a5a5a5a5a5a5a5a)

/* GEP-2257 once more, in the plainest way: ([0-9]{1,5}(h|m|s|ms)){1,4} */
static bool is_gep2257(const char *text)
{
	int components = 0;
	while (*text) {
		size_t digits = strspn(text, "0123456789");
		if (digits < 1 || digits > 5)
			return false;
		text += digits;
		if (strncmp(text, "ms", 2) == 0)
			text += 2;
		else if (*text && strchr("hms", *text))
			text++;
		else
			return false;
		components++;
	}
	return components >= 1 && components <= 4;
}

static void formats_back(int64_t value)
{
	char text[DURATION_TEXT_SIZE + 1] = "";
	int64_t again = UNTOUCHED;
	text[DURATION_TEXT_SIZE] = '#';
	HOLDS(duration_format(value, text) == text && memchr(text, '\0', DURATION_TEXT_SIZE) && text[DURATION_TEXT_SIZE] == '#');
	/* The last millisecond of Go's range is rounded up out of it. */
	if (value <= GO_MOST && value >= -GO_MOST)
		HOLDS(duration_parse(DURATION_GO, text, &again) == 0 && again == value);
	/* Five digits of hours are as far as GEP-2257 goes. */
	if (value >= 0 && value / 3600000 <= 99999)
		HOLDS(is_gep2257(text) && duration_parse(DURATION_GEP2257, text, &again) == 0 && again == value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	enum duration_grammar grammar = data[0] & 1 ? DURATION_GEP2257 : DURATION_GO;
	char *text = (char *)exact_copy(data, size);
	memmove(text, text + 1, size - 1);
	text[size - 1] = '\0';

	int64_t value = UNTOUCHED, as_go = UNTOUCHED;
	int result = duration_parse(grammar, text, &value);
	HOLDS(result == 0 || result == -EINVAL || result == -ERANGE);
	if (result == 0)
		formats_back(value);
	else
		HOLDS(value == UNTOUCHED);
	if (grammar == DURATION_GEP2257) {
		/* Whatever GEP-2257 takes, Go takes for the same value. */
		HOLDS((result == 0) == is_gep2257(text));
		if (result == 0)
			HOLDS(value >= 0 && duration_parse(DURATION_GO, text, &as_go) == 0 && as_go == value);
	}
	free(text);
	return 0;
}
