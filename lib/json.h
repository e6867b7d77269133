#ifndef LAPSE_LIB_JSON_H
#define LAPSE_LIB_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* JSON out (RFC 8259), whatever bytes the values hold. Hidden, since a library that a program links may have these names too, and
 * would call ours in the place of its own (jansson: json_null). */
#pragma GCC visibility push(hidden)

/* Whether a byte stands for itself between quotes. */
bool json_is_plain(unsigned char byte);

/* What stands for the character at bytes (length >= 1) between quotes: quotes, backslashes, control characters (those from U+0080
 * to U+009F too) and what is not UTF-8 are escaped. *taken is how many bytes the character is made of. Returns the length of out,
 * which gets no NUL. */
enum { JSON_ESCAPED_SIZE = 8 };
size_t json_escape(const unsigned char *bytes, size_t length, char out[static JSON_ESCAPED_SIZE], size_t *taken);

/* Writes one value after another; the caller opens and closes. key NULL: an element of a list, or the value at the top. */
struct json {
	FILE *to;
	bool more; /* a comma is due before the next value */
};

void json_open(struct json *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);                 /* '}' or ']' */
void json_string(struct json *json, const char *key, const char *value); /* NULL = null */
void json_number(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);
/* A list or an object whose inside is JSON already. */
void json_raw(struct json *json, const char *key, char bracket, const char *inside);
void json_null(struct json *json, const char *key);

#pragma GCC visibility pop

#endif
