#include "proxy/policy/route.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Steps of work, as regex.h has them. */
enum { COST_FIELD = 20, COST_PARAMETER = 20, BYTES_A_STEP = 16 };

static bool route_is(struct http1_slice slice, const char *text)
{
	return slice.length == strlen(text) && (slice.length == 0 || memcmp(slice.bytes, text, slice.length) == 0);
}

/* A pattern if there is one, else a text, of which NULL is anything. */
static bool route_text_matches(const char *text, const struct regex *regex, struct http1_slice slice, struct regex_work *work)
{
	if (regex)
		return regex_matches(regex, (const char *)slice.bytes, slice.length, work);
	return !text || route_is(slice, text);
}

/* What stands before the first of the stops; *rest begins with it then, or is empty. */
static struct http1_slice route_cut(struct http1_slice *rest, const char *stops)
{
	struct http1_slice cut = {rest->bytes, 0};

	while (cut.length < rest->length && !strchr(stops, rest->bytes[cut.length]))
		cut.length++;
	*rest = (struct http1_slice){rest->bytes + cut.length, rest->length - cut.length};
	return cut;
}

static void route_read_host(struct route_request *request, struct http1_slice authority)
{
	size_t length = authority.length, digits = length;
	uint32_t port = 0;

	if (!length)
		return;
	while (digits > 0 && isdigit(authority.bytes[digits - 1]))
		digits--;
	if (digits > 0 && authority.bytes[digits - 1] == ':') {
		for (size_t i = digits; i < length && port <= UINT16_MAX; i++)
			port = port * 10 + (uint32_t)(authority.bytes[i] - '0');
		length = digits - 1;
	}
	if (length > 0 && authority.bytes[length - 1] == '.')
		length--;
	request->host = (struct http1_slice){authority.bytes, length};
	request->host_port = port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* The authority of an absolute-form target, without user information; *target begins with the path then. */
static struct http1_slice route_cut_authority(struct http1_slice *target)
{
	const uint8_t *scheme_end = memmem(target->bytes, target->length, "://", 3), *at;
	struct http1_slice authority;

	if (!scheme_end)
		return (struct http1_slice){0};
	target->length -= (size_t)(scheme_end + 3 - target->bytes);
	target->bytes = scheme_end + 3;
	authority = route_cut(target, "/?#");
	at = memrchr(authority.bytes, '@', authority.length);
	if (at) {
		authority.length -= (size_t)(at + 1 - authority.bytes);
		authority.bytes = at + 1;
	}
	return authority;
}

void route_request_read(struct route_request *request, const uint8_t *head, size_t head_length, struct http1_slice method,
                        struct http1_slice target)
{
	struct http1_slice authority = {0}, name, value;
	size_t offset = 0;

	*request = (struct route_request){.method = method, .head = head, .head_length = head_length};
	if (route_is(method, "CONNECT") || route_is(target, "*"))
		target.length = 0;
	else if (target.length > 0 && isalpha(target.bytes[0]))
		authority = route_cut_authority(&target);

	request->path = route_cut(&target, "?#");
	if (authority.bytes && !request->path.length)
		request->path = (struct http1_slice){(const uint8_t *)"/", 1};
	if (target.length > 0 && target.bytes[0] == '?') {
		target = (struct http1_slice){target.bytes + 1, target.length - 1};
		request->query = route_cut(&target, "#");
	}

	while (!authority.bytes && route_next_field(request, &offset, &name, &value))
		if (name.length == 4 && strncasecmp((const char *)name.bytes, "host", 4) == 0)
			authority = value;
	route_read_host(request, authority);
}

static bool route_is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

bool route_next_field(const struct route_request *request, size_t *offset, struct http1_slice *name, struct http1_slice *value)
{
	const uint8_t *lf, *colon, *start, *stop;

	for (size_t at = *offset; at < request->head_length; at = (size_t)(lf + 1 - request->head)) {
		const uint8_t *line = request->head + at;

		lf = memchr(line, '\n', request->head_length - at);
		if (!lf)
			return false;
		colon = memchr(line, ':', (size_t)(lf - line));
		if (at == 0 || !colon)
			continue; /* the request line, the blank line */
		for (start = colon + 1; start < lf && route_is_blank(*start); start++)
			;
		for (stop = lf; stop > start && route_is_blank(stop[-1]); stop--)
			;
		*name = (struct http1_slice){line, (size_t)(colon - line)};
		*value = (struct http1_slice){start, (size_t)(stop - start)};
		*offset = (size_t)(lf + 1 - request->head);
		return true;
	}
	return false;
}

bool route_host_matches(const char *pattern, struct http1_slice host)
{
	bool wildcard = pattern[0] == '*' && pattern[1] == '.';
	size_t length = strlen(pattern + wildcard);

	if (wildcard ? host.length <= length : host.length != length)
		return false;
	return length == 0 || strncasecmp((const char *)host.bytes + host.length - length, pattern + wildcard, length) == 0;
}

/* --- what a match names --- */

static bool route_path_matches(const struct route_match *match, struct route_request *request)
{
	struct http1_slice path = request->path;
	size_t length;

	if (match->path_type != PATH_PREFIX)
		return route_text_matches(match->path, match->path_type == PATH_REGEX ? match->path_regex : NULL, path,
		                          &request->work);
	length = strlen(match->path);
	if (path.length < length || (length && memcmp(path.bytes, match->path, length) != 0))
		return false;
	return length == 0 || path.length == length || path.bytes[length] == '/';
}

static bool route_header_matches(const struct value_match *wanted, struct route_request *request)
{
	size_t offset = 0, length = strlen(wanted->name);
	struct http1_slice name, value;

	if (!regex_work_add(&request->work, request->head_length / BYTES_A_STEP))
		return false;
	while (route_next_field(request, &offset, &name, &value) && regex_work_add(&request->work, COST_FIELD))
		if (name.length == length && strncasecmp((const char *)name.bytes, wanted->name, length) == 0 &&
		    route_text_matches(wanted->value, wanted->type == VALUE_REGEX ? wanted->regex : NULL, value, &request->work))
			return true;
	return false;
}

static uint8_t route_digit(uint8_t hexadecimal)
{
	return (uint8_t)(hexadecimal <= '9' ? hexadecimal - '0' : (hexadecimal | 0x20) - 'a' + 10);
}

/* The first byte of a form-encoded text that is not empty, which moves behind it. A '%' without two digits stands for itself. */
static uint8_t route_decode(struct http1_slice *encoded)
{
	const uint8_t *at = encoded->bytes;
	size_t used = 1;
	uint8_t byte = *at;

	if (byte == '+') {
		byte = ' ';
	} else if (byte == '%' && encoded->length > 2 && isxdigit(at[1]) && isxdigit(at[2])) {
		byte = (uint8_t)(route_digit(at[1]) << 4 | route_digit(at[2]));
		used = 3;
	}
	*encoded = (struct http1_slice){at + used, encoded->length - used};
	return byte;
}

static bool route_decoded_is(struct http1_slice encoded, const char *text)
{
	while (encoded.length > 0)
		if (*text == '\0' || route_decode(&encoded) != (uint8_t)*text++)
			return false;
	return *text == '\0';
}

static bool route_decoded_matches(struct http1_slice encoded, const struct regex *regex, struct regex_work *work)
{
	char *decoded = malloc(encoded.length + 1);
	size_t length = 0;
	bool matches;

	if (!decoded)
		work->undecided = true;
	if (!decoded || !regex_work_add(work, 4 * encoded.length)) {
		free(decoded);
		return false;
	}
	while (encoded.length > 0)
		decoded[length++] = (char)route_decode(&encoded);
	matches = regex_matches(regex, decoded, length, work);
	free(decoded);
	return matches;
}

/* What stands before the byte, which is taken away too; all of it where there is none. */
static struct http1_slice route_split(struct http1_slice *rest, uint8_t byte)
{
	const uint8_t *found = rest->length ? memchr(rest->bytes, byte, rest->length) : NULL;
	struct http1_slice part = {rest->bytes, found ? (size_t)(found - rest->bytes) : rest->length};

	*rest = found ? (struct http1_slice){found + 1, rest->length - part.length - 1} : (struct http1_slice){0};
	return part;
}

static bool route_query_matches(const struct value_match *wanted, struct route_request *request)
{
	struct http1_slice query = request->query;

	if (!regex_work_add(&request->work, query.length / BYTES_A_STEP))
		return false;
	while (query.length > 0 && regex_work_add(&request->work, COST_PARAMETER)) {
		struct http1_slice value = route_split(&query, '&'), name = route_split(&value, '=');

		if (route_decoded_is(name, wanted->name))
			return wanted->type == VALUE_REGEX ? route_decoded_matches(value, wanted->regex, &request->work)
			                                   : route_decoded_is(value, wanted->value);
	}
	return false;
}

static bool route_grpc_matches(const struct route_match *match, struct route_request *request)
{
	struct http1_slice method = request->path, service;

	if (!route_is(request->method, "POST") || !method.length || method.bytes[0] != '/')
		return false;
	method = (struct http1_slice){method.bytes + 1, method.length - 1};
	service = route_cut(&method, "/");
	if (!service.length || method.length < 2 || memchr(method.bytes + 1, '/', method.length - 1))
		return false;
	method = (struct http1_slice){method.bytes + 1, method.length - 1};
	return route_text_matches(match->grpc_service, match->grpc_service_regex, service, &request->work) &&
	       route_text_matches(match->grpc_method, match->grpc_method_regex, method, &request->work);
}

bool route_matches(const struct route_match *match, bool grpc, struct route_request *request)
{
	if (grpc ? !route_grpc_matches(match, request)
	         : !route_text_matches(match->method, NULL, request->method, &request->work) || !route_path_matches(match, request))
		return false;
	for (size_t i = 0; i < match->header_count; i++)
		if (!route_header_matches(&match->headers[i], request))
			return false;
	for (size_t i = 0; i < match->query_count; i++)
		if (!route_query_matches(&match->queries[i], request))
			return false;
	return true;
}
