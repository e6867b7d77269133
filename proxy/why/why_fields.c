#include "proxy/why/why_fields.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

enum { NESTED_MOST = 64 }; /* brackets within each other */

bool why_slice_is(struct why_slice slice, const char *text)
{
	return slice.bytes && slice.length == strlen(text) && memcmp(slice.bytes, text, slice.length) == 0;
}

void why_fields_begin(struct why_fields *fields, const char *bytes, size_t length)
{
	*fields = (struct why_fields){.at = bytes, .end = bytes + length, .json = length && *bytes == '{'};
}

/* What stands between two quotes, from the first one on; -EBADMSG: the second is missing. */
static int why_fields_quoted(struct why_fields *fields, struct why_slice *value, bool *escaped)
{
	const char *first = fields->at + 1, *at = first;

	*escaped = false;
	while ((at = at < fields->end ? memchr(at, '"', (size_t)(fields->end - at)) : NULL)) {
		const char *before = at;

		while (before > first && before[-1] == '\\')
			before--;
		if ((at - before) % 2 == 0)
			break;
		at++;
	}
	if (!at)
		return -EBADMSG;
	*value = (struct why_slice){first, (size_t)(at - first)};
	*escaped = memchr(first, '\\', value->length) != NULL;
	fields->at = at + 1;
	return 0;
}

/* --- logfmt --- */

static int why_fields_next_text(struct why_fields *fields, struct why_field *out)
{
	const char *key, *equals;

	while (fields->at < fields->end && *fields->at == ' ')
		fields->at++;
	if (fields->at == fields->end)
		return 0;
	key = fields->at;
	for (equals = key; equals < fields->end && *equals != '=' && *equals != ' ' && *equals != '"'; equals++)
		;
	if (equals == fields->end || *equals != '=' || equals == key)
		return -EBADMSG;
	*out = (struct why_field){.key = {key, (size_t)(equals - key)}};
	fields->at = equals + 1;
	if (fields->at < fields->end && *fields->at == '"') {
		out->text = true;
		if (why_fields_quoted(fields, &out->value, &out->escaped) || (fields->at < fields->end && *fields->at != ' '))
			return -EBADMSG;
		return 1;
	}
	const char *space = fields->at < fields->end ? memchr(fields->at, ' ', (size_t)(fields->end - fields->at)) : NULL;
	out->value = (struct why_slice){fields->at, (size_t)((space ? space : fields->end) - fields->at)};
	fields->at += out->value.length;
	return out->value.length ? 1 : -EBADMSG;
}

/* --- JSON --- */

static bool why_fields_is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static void why_fields_blanks(struct why_fields *fields)
{
	while (fields->at < fields->end && why_fields_is_blank(*fields->at))
		fields->at++;
}

static bool why_fields_take(struct why_fields *fields, char byte)
{
	why_fields_blanks(fields);
	if (fields->at == fields->end || *fields->at != byte)
		return false;
	fields->at++;
	return true;
}

/* An object or a list, whatever is in it: its brackets must close in order. */
static int why_fields_skip(struct why_fields *fields)
{
	char closing[NESTED_MOST];
	struct why_slice ignored;
	bool escaped;
	int depth = 0;

	while (fields->at < fields->end) {
		char byte = *fields->at;

		if (byte == '"') {
			if (why_fields_quoted(fields, &ignored, &escaped))
				return -EBADMSG;
			continue;
		}
		fields->at++;
		if (byte == '{' || byte == '[') {
			if (depth == NESTED_MOST)
				return -EBADMSG;
			closing[depth++] = byte == '{' ? '}' : ']';
		} else if (byte == '}' || byte == ']') {
			if (!depth || byte != closing[depth - 1])
				return -EBADMSG;
			if (!--depth)
				return 0;
		}
	}
	return -EBADMSG;
}

static bool why_fields_is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool why_fields_is_word(struct why_slice word)
{
	for (size_t i = 0; i < word.length; i++) {
		char byte = word.bytes[i];

		if (!why_fields_is_digit(byte) && byte != '.' && byte != '-' && byte != '+' && byte != 'e' && byte != 'E')
			return why_slice_is(word, "true") || why_slice_is(word, "false") || why_slice_is(word, "null");
	}
	return word.length && (*word.bytes == '-' || why_fields_is_digit(*word.bytes));
}

static int why_fields_value(struct why_fields *fields, struct why_field *out)
{
	const char *first;

	why_fields_blanks(fields);
	if (fields->at == fields->end)
		return -EBADMSG;
	if (*fields->at == '"') {
		out->text = true;
		return why_fields_quoted(fields, &out->value, &out->escaped);
	}
	first = fields->at;
	if (*first == '{' || *first == '[') {
		out->nested = true;
		if (why_fields_skip(fields))
			return -EBADMSG;
		out->value = (struct why_slice){first, (size_t)(fields->at - first)};
		return 0;
	}
	while (fields->at < fields->end && *fields->at != ',' && *fields->at != '}' && !why_fields_is_blank(*fields->at))
		fields->at++;
	out->value = (struct why_slice){first, (size_t)(fields->at - first)};
	return why_fields_is_word(out->value) ? 0 : -EBADMSG;
}

static int why_fields_next_json(struct why_fields *fields, struct why_field *out)
{
	bool escaped;

	*out = (struct why_field){0};
	if (!fields->begun)
		fields->at++; /* the bracket that said it is JSON */
	if (fields->ended || why_fields_take(fields, '}')) {
		fields->ended = true;
		why_fields_blanks(fields);
		return fields->at == fields->end ? 0 : -EBADMSG;
	}
	if (fields->begun && !why_fields_take(fields, ','))
		return -EBADMSG;
	fields->begun = true;
	why_fields_blanks(fields);
	if (fields->at == fields->end || *fields->at != '"' || why_fields_quoted(fields, &out->key, &escaped) ||
	    !why_fields_take(fields, ':') || why_fields_value(fields, out))
		return -EBADMSG;
	return 1;
}

int why_fields_next(struct why_fields *fields, struct why_field *out)
{
	return fields->json ? why_fields_next_json(fields, out) : why_fields_next_text(fields, out);
}

/* --- escapes --- */

/* Four hexadecimal digits, or -1. */
static int why_fields_hex(const char *at, const char *end)
{
	int value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char digit = at[i];

		if (digit >= '0' && digit <= '9')
			value = value * 16 + digit - '0';
		else if ((digit | 32) >= 'a' && (digit | 32) <= 'f')
			value = value * 16 + (digit | 32) - 'a' + 10;
		else
			return -1;
	}
	return value;
}

static size_t why_fields_utf8(uint32_t code, char *out)
{
	size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = length - 1; i; i--, code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)(first[length] | code);
	return length;
}

/* What follows "\u"; how many bytes of it were taken. Half a surrogate pair is U+FFFD. */
static size_t why_fields_code(const char *at, const char *end, uint32_t *code)
{
	int high = why_fields_hex(at, end), low;

	*code = 0xfffd;
	if (high < 0)
		return 0;
	if (high < 0xd800 || high > 0xdfff) {
		*code = (uint32_t)high;
		return 4;
	}
	if (high > 0xdbff || end - at < 10 || at[4] != '\\' || at[5] != 'u')
		return 4;
	low = why_fields_hex(at + 6, end);
	if (low < 0xdc00 || low > 0xdfff)
		return 4;
	*code = 0x10000 + (((uint32_t)high & 0x3ff) << 10) + ((uint32_t)low & 0x3ff);
	return 10;
}

size_t why_fields_unescape(struct why_slice value, char *out)
{
	static const char stands_for[256] = {['n'] = '\n', ['r'] = '\r', ['t'] = '\t', ['b'] = '\b', ['f'] = '\f'};
	const char *at = value.bytes, *end = at + value.length;
	char *to = out;

	while (at < end) {
		if (*at != '\\' || at + 1 == end) {
			*to++ = *at++;
			continue;
		}
		at++;
		if (*at == 'u') {
			uint32_t code;
			size_t taken = why_fields_code(at + 1, end, &code);

			if (taken)
				to += why_fields_utf8(code, to);
			at += 1 + taken; /* "\u" and no digits are left out */
		} else {
			*to++ = stands_for[(unsigned char)*at] ? stands_for[(unsigned char)*at] : *at;
			at++;
		}
	}
	return (size_t)(to - out);
}
