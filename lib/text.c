#include "lib/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_init(struct text *text, char *data, size_t size)
{
	*text = (struct text){.data = data, .size = size};
	data[0] = '\0';
}

void text_printf(struct text *text, const char *format, ...)
{
	size_t room = text->size - text->length;
	va_list arguments;

	va_start(arguments, format);
	int wanted = vsnprintf(text->data + text->length, room, format, arguments);
	va_end(arguments);

	if (wanted < 0) {
		text->data[text->length] = '\0';
		text->truncated = true;
	} else if ((size_t)wanted >= room) {
		text->length = text->size - 1;
		text->truncated = true;
	} else {
		text->length += (size_t)wanted;
	}
}

void text_append(struct text *text, const char *bytes, size_t length)
{
	size_t room = text->size - 1 - text->length;

	if (length > room) {
		length = room;
		text->truncated = true;
	}
	if (length == 0)
		return;
	memcpy(text->data + text->length, bytes, length);
	text->length += length;
	text->data[text->length] = '\0';
}

void text_string(struct text *text, const char *string)
{
	text_append(text, string, strlen(string));
}

void text_char(struct text *text, char c)
{
	text_append(text, &c, 1);
}
