/* What a tree of YAML holds, without libyaml. */
#include "proxy/config/yaml.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define YAML_DIGITS "0123456789"

static const struct {
	const char *text;
	enum yaml_scalar scalar;
} yaml_words[] = {
    {"", YAML_NULL},       {"~", YAML_NULL},      {"null", YAML_NULL},   {"Null", YAML_NULL},   {"NULL", YAML_NULL},
    {"true", YAML_BOOL},   {"True", YAML_BOOL},   {"TRUE", YAML_BOOL},   {"false", YAML_BOOL},  {"False", YAML_BOOL},
    {"FALSE", YAML_BOOL},  {".inf", YAML_FLOAT},  {".Inf", YAML_FLOAT},  {".INF", YAML_FLOAT},  {"+.inf", YAML_FLOAT},
    {"+.Inf", YAML_FLOAT}, {"+.INF", YAML_FLOAT}, {"-.inf", YAML_FLOAT}, {"-.Inf", YAML_FLOAT}, {"-.INF", YAML_FLOAT},
    {".nan", YAML_FLOAT},  {".NaN", YAML_FLOAT},  {".NAN", YAML_FLOAT},
};

size_t yaml_character(const char *bytes, size_t length)
{
	static const struct {
		unsigned char first, last, second_least, second_most, length;
	} rows[] = {
	    {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	const unsigned char *at = (const unsigned char *)bytes;

	for (size_t i = 0; length > 0 && i < sizeof rows / sizeof *rows; i++) {
		if (at[0] < rows[i].first || at[0] > rows[i].last)
			continue;
		if (rows[i].length > length)
			return 0;
		if (rows[i].length > 1 && (at[1] < rows[i].second_least || at[1] > rows[i].second_most))
			return 0;
		for (size_t j = 2; j < rows[i].length; j++)
			if ((at[j] & 0xc0) != 0x80)
				return 0;
		return rows[i].length;
	}
	return 0;
}

/* What is no number is text. */
static enum yaml_scalar yaml_resolve_number(const char *text)
{
	if (text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
		const char *digits = text[1] == 'o' ? "01234567" : YAML_DIGITS "abcdefABCDEF";

		return text[2] != '\0' && text[2 + strspn(text + 2, digits)] == '\0' ? YAML_INT : YAML_TEXT;
	}
	text += *text == '-' || *text == '+';
	size_t digits = strspn(text, YAML_DIGITS);
	text += digits;
	if (*text == '\0')
		return digits > 0 ? YAML_INT : YAML_TEXT;
	if (*text == '.') {
		size_t fraction = strspn(++text, YAML_DIGITS);

		digits += fraction;
		text += fraction;
	}
	if (digits == 0)
		return YAML_TEXT;
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '-' || *text == '+';
		digits = strspn(text, YAML_DIGITS);
		text += digits;
	}
	return digits > 0 && *text == '\0' ? YAML_FLOAT : YAML_TEXT;
}

enum yaml_scalar yaml_resolve(const struct yaml_node *node)
{
	if (node->type != YAML_SCALAR || !node->plain)
		return YAML_TEXT;
	for (size_t i = 0; i < sizeof yaml_words / sizeof *yaml_words; i++)
		if (strcmp(node->text, yaml_words[i].text) == 0)
			return yaml_words[i].scalar;
	return yaml_resolve_number(node->text);
}

bool yaml_is_null(const struct yaml_node *node)
{
	return yaml_resolve(node) == YAML_NULL;
}

const struct yaml_node *yaml_field(const struct yaml_node *mapping, const char *key)
{
	if (mapping->type != YAML_MAPPING)
		return NULL;
	for (const struct yaml_node *field = mapping->children; field != NULL; field = field->next)
		if (strcmp(field->key, key) == 0)
			return field;
	return NULL;
}


bool yaml_safe_plain(const char *text)
{
	static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};

	if (!isalpha((unsigned char)*text) && *text != '/' && strncmp(text, "--", 2) != 0)
		return false;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(text, words[i]) == 0)
			return false;
	/* What needs no thought: no indicator of YAML anywhere, no blank, no control byte, ASCII. */
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" YAML_DIGITS "-_./=:@+")] == '\0' &&
	       text[strlen(text) - 1] != ':' && strcmp(text, "---") != 0;
}

static bool yaml_same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool yaml_same_form(const struct yaml_form *a, const struct yaml_form *b)
{
	static const struct yaml_form none;

	a = a != NULL ? a : &none;
	b = b != NULL ? b : &none;
	return yaml_same_text(a->anchor, b->anchor) && yaml_same_text(a->tag, b->tag);
}

/* Keys too: nothing and "null" are written for each other. */
static bool yaml_same_key(const struct yaml_node *a, const struct yaml_node *b)
{
	return yaml_same_text(a->key, b->key) || (a->key != NULL && b->key != NULL && *a->key == '\0' && strcmp(b->key, "null") == 0);
}

static bool yaml_same_scalar(const struct yaml_node *a, const struct yaml_node *b)
{
	enum yaml_scalar kind = yaml_resolve(a);

	return kind == yaml_resolve(b) && (kind == YAML_NULL || strcmp(a->text, b->text) == 0);
}

bool yaml_same(const struct yaml_node *a, const struct yaml_node *b)
{
	for (; a != NULL && b != NULL; a = a->next, b = b->next) {
		if (a->type != b->type || !yaml_same_key(a, b) || !yaml_same_form(a->form, b->form) ||
		    !yaml_same_form(a->key_form, b->key_form))
			return false;
		if (a->type == YAML_SCALAR ? !yaml_same_scalar(a, b)
		                           : a->type == YAML_ALIAS ? strcmp(a->text, b->text) != 0 : !yaml_same(a->children, b->children))
			return false;
	}
	return a == b;
}
