#include "proxy/config/podinfo.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/arena.h"
#include "proxy/config/catalog.h"
#include "proxy/config/diagnostics.h"

enum { SHORTEST_LINE = sizeof "k=\"\"", /* with its line feed */ LINE_SHOWN = 80 };

/* --- strconv.Quote --- */

/* A code point in UTF-8, 1–4 bytes; 0 for what is none. */
static size_t podinfo_encode(uint32_t point, char out[static 4])
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
	if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	for (size_t i = length - 1; i > 0; i--, point >>= 6)
		out[i] = (char)(0x80 | (point & 0x3f));
	out[0] = (char)((0xf0 << (4 - length) & 0xff) | point);
	return length;
}

/* `count` digits at bytes, all before end. */
static bool podinfo_read_digits(const char *bytes, const char *end, size_t count, uint32_t base, uint32_t *out)
{
	uint32_t value = 0;

	if ((size_t)(end - bytes) < count)
		return false;
	for (size_t i = 0; i < count; i++) {
		uint32_t c = (unsigned char)bytes[i], lower = c | 0x20;
		uint32_t digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : base;

		if (digit >= base)
			return false;
		value = value * base + digit;
	}
	*out = value;
	return true;
}

/* The escape behind a backslash: *cursor moves behind it; the number of bytes it stands for, 0 when it is none. */
static size_t podinfo_unescape(const char **cursor, const char *end, char out[static 4])
{
	static const char plain[] = "abfnrtv\\\"", means[] = "\a\b\f\n\r\t\v\\\"";
	static const struct {
		char letter;
		size_t digits;
		uint32_t base;
		bool byte; /* else a code point */
	} numbers[] = {{'x', 2, 16, true}, {'u', 4, 16, false}, {'U', 8, 16, false}, {'\0', 3, 8, true}};
	const char *at = *cursor, *letter;
	uint32_t value;
	size_t row = 0;

	if (at == end || *at == '\0')
		return 0;
	letter = strchr(plain, *at);
	if (letter) {
		*out = means[letter - plain];
		*cursor = at + 1;
		return 1;
	}
	while (numbers[row].letter && numbers[row].letter != *at)
		row++;
	at += numbers[row].letter != '\0';
	if (!podinfo_read_digits(at, end, numbers[row].digits, numbers[row].base, &value) || (numbers[row].byte && value > 0xff))
		return 0;
	*cursor = at + numbers[row].digits;
	if (!numbers[row].byte)
		return podinfo_encode(value, out);
	*out = (char)value;
	return 1;
}

/* What stands between the quotes becomes what it means, in its own place, with a NUL behind. False: not so quoted, or with a NUL. */
static bool podinfo_unquote(char *text, size_t length)
{
	const char *cursor = text, *end = text + length;

	while (cursor < end) {
		char decoded[4] = {*cursor++};
		size_t bytes = 1;

		if (*decoded == '\\')
			bytes = podinfo_unescape(&cursor, end, decoded);
		else if (*decoded == '"')
			return false;
		if (bytes == 0 || *decoded == '\0')
			return false;
		memcpy(text, decoded, bytes);
		text += bytes;
	}
	*text = '\0';
	return true;
}

/* --- lines --- */

static bool podinfo_is_key(const char *bytes, size_t length)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";

	for (size_t i = 0; i < length; i++)
		if (bytes[i] == '\0' || !strchr(allowed, bytes[i]))
			return false;
	return length > 0;
}

/* 0, -ENOMEM, or -EINVAL when the line is not key="value". */
static int podinfo_read_line(struct arena *arena, const char *line, const char *end, struct annotation *out)
{
	const char *equals = memchr(line, '=', (size_t)(end - line));

	if (!equals || end - equals < 3 || equals[1] != '"' || end[-1] != '"' || !podinfo_is_key(line, (size_t)(equals - line)))
		return -EINVAL;
	size_t quoted = (size_t)(end - equals) - strlen("=\"\"");
	char *key = arena_text(arena, line, (size_t)(equals - line)), *value = arena_text(arena, equals + 2, quoted);
	if (!key || !value)
		return -ENOMEM;
	if (!podinfo_unquote(value, quoted))
		return -EINVAL;
	*out = (struct annotation){.key = key, .value = value};
	return 0;
}

/* Room for every line that can be one. */
static size_t podinfo_most(const char *bytes, size_t length)
{
	size_t lines = 1, most = length / SHORTEST_LINE + 1;

	for (size_t i = 0; i < length; i++)
		lines += bytes[i] == '\n';
	return lines < most ? lines : most;
}

int podinfo_read_annotations(struct podinfo *podinfo, struct arena *arena, struct diagnostics *diagnostics, const char *file,
                             const char *bytes, size_t length)
{
	struct annotation *pairs = arena_array(arena, podinfo_most(bytes, length), sizeof *pairs);
	const char *next, *all_end = length ? bytes + length : bytes;
	uint32_t number = 1;
	size_t count = 0;

	if (!pairs)
		return -ENOMEM;
	for (const char *line = bytes; line < all_end; line = next, number++) {
		const char *lf = memchr(line, '\n', (size_t)(all_end - line)), *end = lf ? lf : all_end;
		int result = line < end ? podinfo_read_line(arena, line, end, &pairs[count]) : 0;

		next = end + (lf != NULL);
		if (result == -ENOMEM)
			return result;
		if (result == -EINVAL) {
			int shown = (int)diagnostics_cut(line, (size_t)(end - line), LINE_SHOWN);
			diagnostics_add(diagnostics, false, "%s:%u: %.*s%s: accepted is key=\"value\" as the downward API writes it; "
			                "ignored", file, number, shown, line, shown < end - line ? "…" : "");
		} else if (line < end) {
			pairs[count++].line = number;
		}
	}
	podinfo->annotations = pairs;
	podinfo->annotation_count = count;
	return 0;
}

int podinfo_read_labels(struct podinfo *podinfo, struct arena *arena, struct diagnostics *diagnostics, const char *file,
                        const char *bytes, size_t length)
{
	struct podinfo read;
	int result = podinfo_read_annotations(&read, arena, diagnostics, file, bytes, length);

	if (result != 0)
		return result;
	struct label *labels = arena_array(arena, read.annotation_count, sizeof *labels);
	if (!labels)
		return -ENOMEM;
	for (size_t i = 0; i < read.annotation_count; i++)
		labels[i] = (struct label){read.annotations[i].key, read.annotations[i].value};
	podinfo->labels = labels;
	podinfo->label_count = read.annotation_count;
	return 0;
}
