#include "proxy/http1/http1_field.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Whether the value has this word, given in lower case, in it. */
static inline bool http1_mentions(struct slice value, const char *word)
{
	size_t length = strlen(word);

	for (size_t i = 0; i + length <= value.length; i++)
		if (http1_same(value.bytes + i, word, length))
			return true;
	return false;
}

bool http1_is_token(struct slice value)
{
	for (size_t i = 0; i < value.length; i++) {
		uint8_t byte = value.bytes[i];

		if (!((byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
		      (byte && strchr("!#$%&'*+-.^_`|~", byte))))
			return false;
	}
	return value.length;
}

struct slice http1_trimmed(struct slice value)
{
	while (value.length && (value.bytes[value.length - 1] == ' ' || value.bytes[value.length - 1] == '\t'))
		value.length--;
	return value;
}

bool http1_is_host(struct slice value)
{
	static const bool odd[256] = {
	    [0 ... ' '] = true, ['"'] = true, ['#'] = true, ['/'] = true, ['<'] = true, ['>'] = true, ['?'] = true, ['@'] = true, ['\\'] = true,
	    [0x7f] = true,
	};
	bool bracket = false, port = false;

	value = http1_trimmed(value);
	for (size_t i = 0; i < value.length; i++) {
		uint8_t byte = value.bytes[i];

		if (odd[byte] || (port && (byte < '0' || byte > '9')))
			return false;
		bracket = byte == '[' || (bracket && byte != ']');
		port |= byte == ':' && !bracket;
	}
	return !bracket;
}

bool http1_binds_connection(struct slice name, struct slice value)
{
	switch (name.length) {
	case 13:
		if (!http1_is(name, "authorization"))
			return false;
		break;
	case 16:
		if (!http1_is(name, "www-authenticate"))
			return false;
		break;
	case 18:
		if (!http1_is(name, "proxy-authenticate"))
			return false;
		break;
	case 19:
		if (!http1_is(name, "proxy-authorization"))
			return false;
		break;
	default:
		return false;
	}
	return http1_mentions(value, "ntlm") || http1_mentions(value, "negotiate");
}

bool http1_allows_text(struct slice value)
{
	return http1_mentions(value, "*/*") || http1_mentions(value, "text/");
}

bool http1_is_kube_probe(struct slice value)
{
	static const char agent[] = "kube-probe/";

	return value.length >= sizeof agent - 1 && memcmp(value.bytes, agent, sizeof agent - 1) == 0;
}

int32_t http1_keep_alive_timeout(struct slice value)
{
	static const char name[] = "timeout=";
	const uint8_t *at = value.bytes, *end = value.bytes + value.length;

	while (at < end) {
		const uint8_t *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end, *digit;
		int32_t seconds = 0;

		while (at < stop && (*at == ' ' || *at == '\t'))
			at++;
		if ((size_t)(stop - at) >= sizeof name && strncasecmp((const char *)at, name, sizeof name - 1) == 0) {
			for (digit = at + sizeof name - 1; digit < stop && isdigit(*digit) && seconds < 100000000; digit++)
				seconds = seconds * 10 + (*digit - '0');
			return digit > at + sizeof name - 1 ? seconds : -1;
		}
		at = comma ? comma + 1 : end;
	}
	return -1;
}

bool http1_line_is(const uint8_t *bytes, size_t length, const char *name)
{
	size_t name_length = strlen(name);

	return length > name_length && bytes[name_length] == ':' && strncasecmp((const char *)bytes, name, name_length) == 0;
}
