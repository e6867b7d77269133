#ifndef LAPSE_LIB_TEXT_H
#define LAPSE_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Builds a string in a caller's array; what does not fit is cut and `truncated` says so. Always NUL-terminated. */
struct text {
	char *data;    /* borrowed */
	size_t size;   /* of the array, >= 1 */
	size_t length; /* without the NUL */
	bool truncated;
};

void text_init(struct text *text, char *data, size_t size);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_append(struct text *text, const char *bytes, size_t length);
void text_string(struct text *text, const char *string);
void text_char(struct text *text, char c);

#define TEXT_ON_STACK(name, bytes) \
	char name##_bytes[bytes];  \
	struct text name;          \
	text_init(&name, name##_bytes, sizeof name##_bytes)

#endif
