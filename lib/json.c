#include "lib/json.h"

#include <inttypes.h>
#include <string.h>

bool json_is_plain(unsigned char byte)
{
	return byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\';
}

/* The length of the UTF-8 sequence at bytes (RFC 3629: shortest form, no surrogates), 0 when it is none. */
static size_t json_utf8(const unsigned char *bytes, size_t length)
{
	unsigned int first = bytes[0], least = 0x80, greatest = 0xbf;
	size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;

	if (size == 0 || size > length)
		return 0;
	if (first == 0xe0)
		least = 0xa0;
	else if (first == 0xed)
		greatest = 0x9f;
	else if (first == 0xf0)
		least = 0x90;
	else if (first == 0xf4)
		greatest = 0x8f;
	if (bytes[1] < least || bytes[1] > greatest)
		return 0;
	for (size_t i = 2; i < size; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	}
	return size;
}

size_t json_escape(const unsigned char *bytes, size_t length, char out[static JSON_ESCAPED_SIZE], size_t *taken)
{
	static const char short_forms[256] = {['"'] = '"', ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	static const char digits[] = "0123456789abcdef";
	unsigned int first = bytes[0];

	*taken = 1;
	if (json_is_plain(bytes[0])) {
		out[0] = (char)first;
		return 1;
	}
	if (short_forms[first] != 0) {
		out[0] = '\\';
		out[1] = short_forms[first];
		return 2;
	}
	if (first >= 0x80) {
		*taken = json_utf8(bytes, length);
		if (*taken == 0) {
			*taken = 1;
			memcpy(out, "\\ufffd", 6); /* the replacement character */
			return 6;
		}
		if (first != 0xc2 || bytes[1] >= 0xa0) {
			memcpy(out, bytes, *taken);
			return *taken;
		}
		first = bytes[1]; /* U+0080 … U+009F: control characters, some of which move terminals */
	}
	memcpy(out, "\\u00", 4);
	out[4] = digits[first >> 4];
	out[5] = digits[first & 15];
	return 6;
}

static void json_quote(FILE *to, const char *value)
{
	const unsigned char *bytes = (const void *)value;
	size_t length = strlen(value), taken;

	fputc('"', to);
	for (; length > 0; bytes += taken, length -= taken) {
		char escaped[JSON_ESCAPED_SIZE];
		size_t size = json_escape(bytes, length, escaped, &taken);
		fwrite(escaped, 1, size, to);
	}
	fputc('"', to);
}

/* All that stands before a value. */
static void json_begin(struct json *json, const char *key)
{
	if (json->more)
		fputc(',', json->to);
	if (key != NULL) {
		json_quote(json->to, key);
		fputc(':', json->to);
	}
	json->more = true;
}

void json_open(struct json *json, const char *key, char bracket)
{
	json_begin(json, key);
	fputc(bracket, json->to);
	json->more = false;
}

void json_close(struct json *json, char bracket)
{
	fputc(bracket, json->to);
	json->more = true;
}

void json_string(struct json *json, const char *key, const char *value)
{
	if (value == NULL) {
		json_null(json, key);
		return;
	}
	json_begin(json, key);
	json_quote(json->to, value);
}

void json_number(struct json *json, const char *key, int64_t value)
{
	json_begin(json, key);
	fprintf(json->to, "%" PRId64, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
	json_begin(json, key);
	fputs(value ? "true" : "false", json->to);
}

void json_null(struct json *json, const char *key)
{
	json_begin(json, key);
	fputs("null", json->to);
}

void json_raw(struct json *json, const char *key, char bracket, const char *inside)
{
	json_open(json, key, bracket);
	fputs(inside, json->to);
	json_close(json, bracket == '[' ? ']' : '}');
}
