#include "proxy/config/diagnostics.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "proxy/config/yaml.h"

#define DIAGNOSTICS_ELLIPSIS "…"

/* Replaces what could move a terminal or break a line: C0, DEL, C1 (0xc2 and a byte below 0xa0), and what is not UTF-8. */
static void diagnostics_clean(char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		const unsigned char *byte = (const unsigned char *)text + at;
		size_t character = yaml_character(text + at, length - at);

		if (character == 0 || *byte < 0x20 || *byte == 0x7f || (*byte == 0xc2 && byte[1] < 0xa0)) {
			character = character == 0 ? 1 : character;
			memset(text + at, '?', character);
		}
		at += character;
	}
}

/* FNV-1a. */
static uint32_t diagnostics_hash(const char *text)
{
	uint32_t hash = 2166136261;

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619;
	return hash;
}

size_t diagnostics_cut(const char *text, size_t length, size_t most)
{
	if (length <= most)
		return length;
	/* No character is longer than four bytes. */
	for (size_t back = 0; back < 4 && back <= most; back++)
		if (((unsigned char)text[most - back] & 0xc0) != 0x80)
			return most - back;
	return most;
}

static void diagnostics_keep(struct diagnostics *diagnostics, struct diagnostic **bucket, bool error,
			     const char *text, size_t length)
{
	struct diagnostic *kept = arena_alloc(diagnostics->arena, sizeof *kept);
	const char *copy = arena_text(diagnostics->arena, text, length);

	if (kept == NULL || copy == NULL)
		return;
	*kept = (struct diagnostic){.text = copy, .error = error, .bucket_next = *bucket};
	*bucket = kept;
	*(diagnostics->last == NULL ? &diagnostics->first : &diagnostics->last->next) = kept;
	diagnostics->last = kept;
	diagnostics->kept++;
}

void diagnostics_add_list(struct diagnostics *diagnostics, bool error, const char *format, va_list arguments)
{
	enum { ELLIPSIS = sizeof DIAGNOSTICS_ELLIPSIS - 1 };
	char text[DIAGNOSTIC_SIZE];
	int wanted = vsnprintf(text, sizeof text, format, arguments);
	size_t length = wanted < 0 ? 0 : (size_t)wanted;

	if (length >= sizeof text) {
		length = diagnostics_cut(text, sizeof text - 1, sizeof text - 1 - ELLIPSIS);
		memcpy(text + length, DIAGNOSTICS_ELLIPSIS, ELLIPSIS);
		length += ELLIPSIS;
	}
	text[length] = '\0';
	diagnostics_clean(text, length);

	struct diagnostic **bucket = &diagnostics->buckets[diagnostics_hash(text) % DIAGNOSTICS_BUCKETS];
	for (const struct diagnostic *other = *bucket; other != NULL; other = other->bucket_next)
		if (other->error == error && strcmp(other->text, text) == 0)
			return;
	++*(error ? &diagnostics->errors : &diagnostics->warnings);
	if (diagnostics->kept < DIAGNOSTICS_MOST)
		diagnostics_keep(diagnostics, bucket, error, text, length);
}

void diagnostics_add(struct diagnostics *diagnostics, bool error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	diagnostics_add_list(diagnostics, error, format, arguments);
	va_end(arguments);
}

void diagnostics_print(const struct diagnostics *diagnostics, bool warnings, FILE *to)
{
	size_t found = diagnostics->errors + diagnostics->warnings;

	for (const struct diagnostic *one = diagnostics->first; one; one = one->next)
		if (one->error || warnings)
			fprintf(to, "%s: %s\n", one->error ? "error" : "warning", one->text);
	if (found > diagnostics->kept)
		fprintf(to, "%zu more are not shown\n", found - diagnostics->kept);
}
