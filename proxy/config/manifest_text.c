#include "proxy/config/manifest_text.h"

#include <inttypes.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/text.h"
#include "proxy/config/manifest_kinds.h"
#include "proxy/config/yaml.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { HEADER_NAME_MOST = 256, HEADER_VALUE_MOST = 4096, HOST_MOST = 253, NAMESPACE_MOST = 63 };

int manifest_text_choice(struct reader *reader, const struct yaml_node *value, const char *const *names, size_t count)
{
	const char *given = NULL;
	TEXT_ON_STACK(all, 256);

	fields_text(reader, value, &given);
	if (given == NULL)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], given) == 0)
			return (int)i;
		text_printf(&all, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", names[i]);
	}
	fields_error(reader, value, NULL, "must be %s", all.data);
	return -1;
}

bool manifest_text_integer(struct reader *reader, const struct yaml_node *value, int64_t least, int64_t most, int64_t *out)
{
	bool failed = reader->failed;
	int64_t number = 0;

	reader->failed = false;
	fields_int(reader, value, &number);
	bool fits = !reader->failed && number >= least && number <= most;
	if (fits)
		*out = number;
	else if (!reader->failed)
		fields_error(reader, value, NULL, "must be a number from %" PRId64 " to %" PRId64, least, most);
	reader->failed |= failed;
	return fits;
}

/* Reads a text that passes the test; complains with the sentence otherwise. */
static void manifest_text_tested(struct reader *reader, const struct yaml_node *value, void *field, bool (*test)(const char *text),
				 const char *accepted)
{
	const char *text = NULL;

	fields_text(reader, value, &text);
	if (text == NULL)
		return;
	if (test(text))
		*(const char **)field = text;
	else
		fields_error(reader, value, NULL, "must be %s", accepted);
}

static bool manifest_text_is_header_name(const char *text)
{
	size_t length = strlen(text);

	return length >= 1 && length <= HEADER_NAME_MOST && strspn(text, LOWER UPPER DIGITS "!#$%&'*+-.^_`|~") == length;
}

static bool manifest_text_is_header_value(const char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
			return false;
	return length >= 1 && length <= HEADER_VALUE_MOST;
}

/* Labels may be longer than DNS has them: so has the API. */
static bool manifest_text_is_host(const char *text)
{
	if (strlen(text) > HOST_MOST)
		return false;
	for (;;) {
		size_t label = strspn(text, LOWER DIGITS "-");
		if (label == 0 || text[0] == '-' || text[label - 1] == '-')
			return false;
		if (text[label] == '\0')
			return true;
		if (text[label] != '.')
			return false;
		text += label + 1;
	}
}

static bool manifest_text_is_host_pattern(const char *text)
{
	return strlen(text) <= HOST_MOST && manifest_text_is_host(strncmp(text, "*.", 2) == 0 ? text + 2 : text);
}

static bool manifest_text_is_namespace(const char *text)
{
	return strlen(text) <= NAMESPACE_MOST && strchr(text, '.') == NULL && manifest_text_is_host(text);
}

bool manifest_text_address(struct reader *reader, const struct yaml_node *value, const char *text, const char *or, struct addr *out)
{
	struct addr addr;

	if (addr_parse_host(text, &addr) != 0) {
		fields_error(reader, value, NULL, "must be an IPv4 or IPv6 address%s", or);
		return false;
	}
	if (addr_is_loopback(&addr) || addr_is_unspecified(&addr)) {
		fields_error(reader, value, NULL, "must be an address of another host: this one leads back to the proxy's own");
		return false;
	}
	*out = addr;
	return true;
}

void manifest_text_header_name(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_text_tested(reader, value, field, manifest_text_is_header_name,
			     "a name of 1 to 256 letters, digits and !#$%&'*+-.^_`|~");
}

void manifest_text_header_value(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_text_tested(reader, value, field, manifest_text_is_header_value, "1 to 4096 bytes without control characters");
}

void manifest_text_host(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_text_tested(reader, value, field, manifest_text_is_host,
			     "a hostname of lower-case letters, digits, '-' and '.', without wildcard and port, at most 253 bytes");
}

void manifest_text_host_pattern(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_text_tested(reader, value, field, manifest_text_is_host_pattern,
			     "a hostname as www.example.com or *.example.com: lower-case, without port, at most 253 bytes");
}

void manifest_text_name(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_text_tested(reader, value, field, manifest_is_subdomain,
			     "a name of lower-case letters, digits, '-' and '.', at most 253 bytes");
}

void manifest_text_namespace(struct reader *reader, const struct yaml_node *value, void *field)
{
	manifest_text_tested(reader, value, field, manifest_text_is_namespace,
			     "a namespace of lower-case letters, digits and '-', at most 63 bytes");
}

bool manifest_text_is_port_name(const char *text, size_t length)
{
	bool letter = false;

	if (length < 1 || length > 15 || text[0] == '-' || text[length - 1] == '-')
		return false;
	for (size_t i = 0; i < length; i++) {
		bool dash = text[i] == '-';

		if ((dash && text[i - 1] == '-') || (!dash && !(text[i] >= 'a' && text[i] <= 'z') && !(text[i] >= '0' && text[i] <= '9')))
			return false;
		letter |= text[i] >= 'a' && text[i] <= 'z';
	}
	return letter;
}

const char *manifest_text_lower(struct reader *reader, const char *text)
{
	char *copy = arena_text(reader->arena, text, strlen(text));

	if (copy == NULL) {
		fields_no_memory(reader);
		return NULL;
	}
	for (char *at = copy; *at != '\0'; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at += 'a' - 'A';
	return copy;
}
