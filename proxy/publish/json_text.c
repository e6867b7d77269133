#include "proxy/publish/json_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "lib/json.h"
#include "proxy/config/yaml.h"

static void json_text_write_string(const char *text, size_t length, FILE *to)
{
	char escaped[JSON_ESCAPED_SIZE];

	fputc('"', to);
	for (size_t at = 0, taken = 0; at < length; at += taken) {
		size_t plain = 0;

		while (at + plain < length && json_is_plain((unsigned char)text[at + plain]))
			plain++;
		fwrite(text + at, 1, plain, to);
		at += plain;
		taken = 0;
		if (at < length) {
			size_t size = json_escape((const unsigned char *)text + at, length - at, escaped, &taken);
			fwrite(escaped, 1, size, to);
		}
	}
	fputc('"', to);
}

static size_t json_text_digits(const char *text)
{
	return strspn(text, "0123456789");
}

/* RFC 8259 section 6. */
static bool json_text_is_number(const char *text)
{
	text += *text == '-';
	size_t digits = json_text_digits(text);
	if (digits == 0 || (digits > 1 && *text == '0'))
		return false;
	text += digits;
	if (*text == '.') {
		digits = json_text_digits(++text);
		if (digits == 0)
			return false;
		text += digits;
	}
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '+' || *text == '-';
		digits = json_text_digits(text);
		if (digits == 0)
			return false;
		text += digits;
	}
	return *text == '\0';
}

static void json_text_write_scalar(const struct yaml_node *node, FILE *to)
{
	switch (yaml_resolve(node)) {
	case YAML_NULL:
		fputs("null", to);
		return;
	case YAML_BOOL:
		fputs(tolower((unsigned char)*node->text) == 't' ? "true" : "false", to);
		return;
	case YAML_INT:
	case YAML_FLOAT:
		if (json_text_is_number(node->text)) {
			fputs(node->text, to);
			return;
		}
		break;
	case YAML_TEXT:
		break;
	}
	json_text_write_string(node->text, node->length, to);
}

void json_text_write(const struct yaml_node *node, FILE *to)
{
	bool mapping = node->type == YAML_MAPPING;

	if (node->type == YAML_SCALAR || node->type == YAML_ALIAS) {
		json_text_write_scalar(node, to);
		return;
	}
	fputc(mapping ? '{' : '[', to);
	for (const struct yaml_node *child = node->children; child != NULL; child = child->next) {
		if (child != node->children)
			fputc(',', to);
		if (mapping) {
			json_text_write_string(child->key, strlen(child->key), to);
			fputc(':', to);
		}
		json_text_write(child, to);
	}
	fputc(mapping ? '}' : ']', to);
}
